/* What `puppet resource service` prints. */
#include "../../node.c"
#include "fuzz.h"

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *all, *rest, *one;
	int running, enabled;

	rest = all = text_of(data, size);
	while ((one = next_line(&rest)) != NULL) {
		running = enabled = -1;
		service_line(one, &running, &enabled);
		HOLDS(running == -1 || strstr(one, "ensure") != NULL);
		HOLDS(running != 1 || strstr(one, "'running'") != NULL);
		HOLDS(enabled == -1 || strstr(one, "enable") != NULL);
		HOLDS(enabled != 1 || strstr(one, "'true'") != NULL);
	}
	free(all);
	return 0;
}
