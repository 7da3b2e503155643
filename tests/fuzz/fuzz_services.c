/* What `puppet resource service` prints. */
#include "../../node.c"
#include "fuzz.h"

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct service *s;
	char *all, *rest, *one;
	int rc;

	if ((s = calloc(1, sizeof(*s))) == NULL)
		abort();
	rest = all = text_of(data, size);
	while ((one = next_line(&rest)) != NULL) {
		rc = service_line(s, one);
		HOLDS(rc == 0 || (rc == 1 && strstr(one, "ensure") != NULL));
		HOLDS((s->running & ~1) == 0 && (s->enabled & ~1) == 0);
	}
	free(all);
	free(s);
	return 0;
}
