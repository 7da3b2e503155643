/* What is typed: certnames, fingerprints, paths that are quoted. */
#include "../../cmregen.h"
#include "fuzz.h"

static const char whole[] =
    "00:11:22:33:44:55:66:77:88:99:AA:BB:CC:DD:EE:FF:"
    "00:11:22:33:44:55:66:77:88:99:AA:BB:CC:DD:EE:FF";

static size_t
digits(const char *s)
{
	size_t n;

	for (n = 0; *s != '\0'; s++)
		n += *s != ':';
	return n;
}

/* Reads a word as a shell does. */
static void
unquote(const char *s, char *o)
{
	int in;

	for (in = 0; *s != '\0'; s++)
		if (*s == '\'')
			in = !in;
		else if (!in && *s == '\\')
			*o++ = *++s;
		else
			*o++ = *s;
	*o = '\0';
	HOLDS(!in);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text, *out, *back;
	size_t room;

	text = text_of(data, size);
	if (certname_ok(text)) {
		HOLDS(strlen(text) >= 1 && strlen(text) <= CERTNAME_MAX);
		HOLDS(text[0] != '-' && strchr(text, '/') == NULL &&
		    strchr(text, ',') == NULL && strcmp(text, "..") != 0);
	}
	if (fingerprint_ok(text)) {
		HOLDS(digits(text) >= FINGERPRINT_MIN && digits(text) <= 64);
		HOLDS(strspn(text, "0123456789abcdefABCDEF:") == strlen(text));
		(void)fingerprint_match(text, whole);
	}
	room = 4 * strlen(text) + 3;
	out = malloc(room);
	back = malloc(room);
	if (out == NULL || back == NULL)
		abort();
	HOLDS(quote(out, room, text) == out);
	unquote(out, back);
	HOLDS(strcmp(back, text) == 0);
	free(out);
	free(back);
	free(text);
	return 0;
}
