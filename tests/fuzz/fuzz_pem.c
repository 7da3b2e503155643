/* PEM files: certificates and requests. */
#include "../../cmregen.h"
#include "fuzz.h"

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char *const labels[] = {
		"CERTIFICATE REQUEST", "CERTIFICATE"
	};
	char *text, *out;
	size_t i;

	text = text_of(data, size);
	if ((out = malloc(FINGERPRINT_SIZE)) == NULL)
		abort();
	for (i = 0; i < 2; i++) {
		if (pem_fingerprint(text, labels[i], out) == -1)
			continue;
		HOLDS(strstr(text, "-----BEGIN ") != NULL);
		HOLDS(strlen(out) == 95);
		HOLDS(fingerprint_ok(out));
		HOLDS(fingerprint_match(out, out));
	}
	free(out);
	free(text);
	return 0;
}
