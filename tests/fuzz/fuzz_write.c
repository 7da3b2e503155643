/* Every target is linked with this; see fuzz.h. */
#include "fuzz.h"

ssize_t
fuzz_write(int fd, const void *p, size_t n)
{
	(void)fd;
	(void)p;
	return (ssize_t)n;
}
