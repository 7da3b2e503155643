/* What a child has printed, line by line: settings, and any other. */
#define _GNU_SOURCE
#include <sys/mman.h>

#include "../../cmregen.c"
#include "fuzz.h"

static void
setting_of(struct setting *s, const char *name, size_t size)
{
	s->name = name;
	s->size = size;
	if ((s->value = malloc(size)) == NULL)
		abort();
}

/* Each line is as long as it says, and none is lost. */
static void
count(struct child *c, const uint8_t *data, size_t size)
{
	char *line;
	size_t ends, i, n;
	int rc;

	if ((line = malloc(LINE_SIZE)) == NULL)
		abort();
	for (ends = i = 0; i < size; i++)
		ends += data[i] == '\n';
	if (size > 0 && data[size - 1] != '\n')
		ends++;
	for (n = 0; (rc = child_line(c, line, LINE_SIZE)) == 1; n++)
		HOLDS(strchr(line, '\n') == NULL);
	HOLDS(rc == -1 || n == ends);
	free(line);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct setting s[2];
	struct child c;

	memset(&c, 0, sizeof c);
	c.argv[0] = "/puppet";
	if ((c.out = memfd_create("output", MFD_CLOEXEC)) == -1 ||
	    pwrite(c.out, data, size, 0) != (ssize_t)size)
		abort();
	count(&c, data, size);
	setting_of(&s[0], "certname", NAME_SIZE);
	setting_of(&s[1], "ssldir", PATH_SIZE);
	c.from = 0;
	if (settings_read(&c, s, 2) == 0)
		HOLDS(strlen(s[0].value) < NAME_SIZE);
	c.from = 0;
	child_show(&c);
	free(s[0].value);
	free(s[1].value);
	(void)close(c.out);
	return 0;
}
