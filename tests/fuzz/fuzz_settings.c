/* Lines of `puppet config print`. */
#include "../../cmregen.h"
#include "fuzz.h"

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char *const names[] = {
		"certname", "ssldir", "ssl_lockfile",
		"agent_catalog_run_lockfile"
	};
	struct setting s[4];
	char *text, *rest, *line;
	size_t i;
	int rc;

	for (i = 0; i < 4; i++) {
		s[i].name = names[i];
		s[i].size = i == 0 ? NAME_SIZE : PATH_SIZE;
		if ((s[i].value = malloc(s[i].size)) == NULL)
			abort();
		s[i].value[0] = '\0';
	}
	rest = text = text_of(data, size);
	while ((line = next_line(&rest)) != NULL) {
		rc = settings_line(s, 4, line);
		HOLDS(rc == 1 || rc == 0 || rc == -1);
		if (rc == 1)
			HOLDS(strstr(line, " =") != NULL);
		(void)certname_ok(line);
	}
	for (i = 0; i < 4; i++) {
		HOLDS(memchr(s[i].value, '\0', s[i].size) != NULL);
		free(s[i].value);
	}
	free(text);
	return 0;
}
