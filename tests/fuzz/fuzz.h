/*
 * fuzz.h: for the targets of libFuzzer, fuzz_*.c.  The program is compiled
 * with write renamed to fuzz_write, so that its messages cost nothing.
 */
#ifndef FUZZ_H
#define FUZZ_H

#include <sys/types.h>

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

ssize_t	fuzz_write(int, const void *, size_t);
int	LLVMFuzzerTestOneInput(const uint8_t *, size_t);

/* Ends the target where what must hold does not. */
#define HOLDS(what) do { if (!(what)) abort(); } while (0)

/* A copy with a final 0, of exactly that size: ASan sees a byte more. */
static inline char *
text_of(const uint8_t *data, size_t size)
{
	char *p;

	if ((p = malloc(size + 1)) == NULL)
		abort();
	if (size != 0)
		memcpy(p, data, size);
	p[size] = '\0';
	return p;
}

/* Cuts the next line off a text, in place; NULL at the end. */
static inline char *
next_line(char **text)
{
	char *line, *end;

	line = *text;
	if (line == NULL)
		return NULL;
	end = strchr(line, '\n');
	*text = end == NULL ? NULL : end + 1;
	if (end != NULL)
		*end = '\0';
	return line;
}

#endif
