/*
 * digest.c: see digest.h.  With -DDIGEST_MAIN it is a program that prints the
 * digests of its arguments; -s leaves out the bytes.
 */
#define _XOPEN_SOURCE 700
#include <sys/stat.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "digest.h"

struct text {
	char *buf;
	size_t len, size;
};

static void
add(struct text *t, const char *fmt, ...)
{
	va_list ap;
	int n;

	if (t->size - t->len < 8192) {
		t->size = t->size * 2 + 16384;
		if ((t->buf = realloc(t->buf, t->size)) == NULL)
			abort();
	}
	va_start(ap, fmt);
	n = vsnprintf(t->buf + t->len, t->size - t->len, fmt, ap);
	va_end(ap);
	if (n > 0)
		t->len += (size_t)n < t->size - t->len ? (size_t)n :
		    t->size - t->len - 1;
}

/* Any good mixing will do: nobody attacks it. */
static uint64_t
sum(int fd, uint64_t *total)
{
	static uint64_t buf[16384];
	uint64_t h;
	ssize_t n;
	size_t i;

	h = 14695981039346656037U;
	*total = 0;
	while ((n = read(fd, buf, sizeof(buf))) > 0) {
		(void)memset((char *)buf + n, 0, (size_t)-n & 7);
		for (i = 0; i < ((size_t)n + 7) / 8; i++) {
			h = (h ^ buf[i]) * 1099511628211U;
			h ^= h >> 29;
		}
		*total += (uint64_t)n;
	}
	return n == -1 ? 0 : h;
}

static void	entry(struct text *, int, const char *, const char *, int);

/* A path to print, which is one line whatever a name has in it. */
static void
sub_path(char *sub, size_t size, const char *path, const char *name)
{
	size_t i;

	(void)snprintf(sub, size, "%s/%s", path, name);
	for (i = 0; sub[i] != '\0'; i++)
		if (sub[i] == '\n')
			sub[i] = '?';
}

static int
by_name(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static void
below(struct text *t, int fd, const char *path, int flags)
{
	char sub[4096], **names;
	struct dirent *e;
	DIR *d;
	size_t i, n;

	if ((d = fdopendir(fd)) == NULL) {
		add(t, "unreadable %s\n", path);
		(void)close(fd);
		return;
	}
	names = NULL;
	n = 0;
	while ((e = readdir(d)) != NULL) {
		if (strcmp(e->d_name, ".") == 0 ||
		    strcmp(e->d_name, "..") == 0)
			continue;
		if ((n & 63) == 0 && (names = realloc(names,
		    (n + 64) * sizeof(*names))) == NULL)
			abort();
		if ((names[n++] = strdup(e->d_name)) == NULL)
			abort();
	}
	if (n != 0)
		qsort(names, n, sizeof(*names), by_name);
	for (i = 0; i < n; i++) {
		sub_path(sub, sizeof(sub), path, names[i]);
		if ((flags & DIGEST_LOCK) != 0 ||
		    strcmp(sub, "/ssl.lock") != 0)
			entry(t, dirfd(d), names[i], sub, flags);
		free(names[i]);
	}
	free(names);
	(void)closedir(d);
}

static void
entry(struct text *t, int at, const char *name, const char *path, int flags)
{
	char target[4096];
	struct stat st;
	uint64_t h, total;
	ssize_t n;
	int fd;

	if (fstatat(at, name, &st, AT_SYMLINK_NOFOLLOW) == -1) {
		add(t, errno == ENOENT ? "absent%s\n" : "unreadable %s\n",
		    path);
		return;
	}
	add(t, "%06o %lu:%lu %s", (unsigned)st.st_mode,
	    (unsigned long)st.st_uid, (unsigned long)st.st_gid, path);
	if (S_ISLNK(st.st_mode)) {
		n = readlinkat(at, name, target, sizeof(target) - 1);
		target[n < 0 ? 0 : n] = '\0';
		add(t, " -> %s", target);
	}
	if (S_ISREG(st.st_mode) && (flags & DIGEST_SHAPE) == 0) {
		if ((fd = openat(at, name, O_RDONLY | O_NOFOLLOW)) == -1) {
			add(t, " unreadable");
		} else {
			h = sum(fd, &total);
			add(t, " %llu %016llx", (unsigned long long)total,
			    (unsigned long long)h);
			(void)close(fd);
		}
	}
	add(t, "\n");
	if (!S_ISDIR(st.st_mode))
		return;
	if ((fd = openat(at, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW)) == -1)
		add(t, "unreadable %s\n", path);
	else
		below(t, fd, path, flags);
}

char *
digest(const char *path, int flags)
{
	struct text t;

	(void)memset(&t, 0, sizeof(t));
	entry(&t, AT_FDCWD, path, "", flags);
	return t.buf;
}

#ifdef DIGEST_MAIN
int
main(int argc, char *argv[])
{
	char *text;
	int flags, i;

	flags = DIGEST_LOCK;
	i = 1;
	if (argc > 1 && strcmp(argv[1], "-s") == 0) {
		flags |= DIGEST_SHAPE;
		i++;
	}
	for (; i < argc; i++) {
		text = digest(argv[i], flags);
		(void)fputs(text, stdout);
		free(text);
	}
	return 0;
}
#endif
