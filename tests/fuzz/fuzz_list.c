/* Lists of what a CA has, of both generations. */
#include "../../mom.c"
#include "fuzz.h"

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct listing *l;
	char *text, *rest, *one;

	if ((l = calloc(1, sizeof(*l))) == NULL)
		abort();
	rest = text = text_of(data, size);
	while ((one = next_line(&rest)) != NULL)
		list_line(l, "cm1.example.com", one);
	HOLDS(l->section == '\0' || strchr(" +-?", l->section) != NULL);
	HOLDS(memchr(l->fingerprint, '\0', sizeof(l->fingerprint)) != NULL);
	HOLDS(memchr(l->asks, '\0', sizeof(l->asks)) != NULL);
	(void)fingerprint_ok(l->fingerprint);
	free(text);
	free(l);
	return 0;
}
