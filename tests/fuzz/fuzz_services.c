/* What `puppet resource service` prints. */
#include "../../node.c"
#include "fuzz.h"

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *all, *rest, *one;
	int running, enabled;

	running = enabled = -1;
	rest = all = text_of(data, size);
	while ((one = next_line(&rest)) != NULL) {
		service_line(one, &running, &enabled);
		HOLDS(running == -1 || strstr(all, "ensure") != NULL ||
		    running == 0 || running == 1);
		HOLDS(running >= -1 && running <= 1);
		HOLDS(enabled >= -1 && enabled <= 1);
		HOLDS(running != 1 || strstr(one, "running'") != NULL ||
		    strstr(one, "ensure") == NULL);
	}
	free(all);
	return 0;
}
