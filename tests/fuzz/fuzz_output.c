/* What a child has printed, line by line: settings, and any other. */
#define _GNU_SOURCE
#include <sys/mman.h>

#include "../../cmregen.c"
#include "fuzz.h"

static char *
value_of(void)
{
	char *p;

	if ((p = malloc(PATH_SIZE)) == NULL)
		abort();
	return p;
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
	static const char *const argv[] = { "/puppet", NULL };
	struct setting s[2];
	struct child c;

	memset(&c, 0, sizeof c);
	c.argv = argv;
	if ((c.out = memfd_create("output", MFD_CLOEXEC)) == -1 ||
	    pwrite(c.out, data, size, 0) != (ssize_t)size)
		abort();
	count(&c, data, size);
	s[0].name = "certname";
	s[0].value = value_of();
	s[1].name = "ssldir";
	s[1].value = value_of();
	child_rewind(&c);
	if (settings_read(&c, s, 2) == 0)
		HOLDS(strlen(s[0].value) < PATH_SIZE);
	child_rewind(&c);
	child_show(&c);
	free(s[0].value);
	free(s[1].value);
	(void)close(c.out);
	return 0;
}
