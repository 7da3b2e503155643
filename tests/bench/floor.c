/*
 * floor: the least that a copy, a verified copy and a removal can cost, for
 * bench/run: the bare system calls for each file, in the order of the
 * inodes, with all names of a directory in memory beforehand, with no thought
 * of an attacker, and nothing checked but that the calls succeed.  It is no
 * tool for copying.
 *
 *	floor copy SRC DST	open, fstat, read, open, write, fchown,
 *				futimens, close, close of each file
 *	floor verify SRC DST	then open, open, fstat, fstat, read, read,
 *				close, close
 *	floor remove DIR	unlink of each file
 *
 * Regular files and directories only; times and owners of directories are
 * left out.
 */
#include <sys/types.h>
#include <sys/stat.h>

#include <dirent.h>
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { CHUNK = 1 << 18 };

struct name {
	ino_t inode;
	char *name;
};

typedef void visit(int s, int d, const char *name);

static char chunk[CHUNK], other[CHUNK];

static int
order(const void *a, const void *b)
{
	const struct name *const x = a, *const y = b;

	return (x->inode > y->inode) - (x->inode < y->inode);
}

static struct name *
names_read(DIR *dir, size_t *count)
{
	struct dirent *e;
	struct name *names;
	size_t n;

	names = NULL;
	for (n = 0; (e = readdir(dir)) != NULL; ) {
		if (strcmp(e->d_name, ".") == 0 ||
		    strcmp(e->d_name, "..") == 0)
			continue;
		if (n % 1024 == 0)
			names = realloc(names, (n + 1024) * sizeof names[0]);
		if (names == NULL ||
		    (names[n].name = strdup(e->d_name)) == NULL)
			err(2, "names");
		names[n++].inode = e->d_ino;
	}
	*count = n;
	if (n > 1)
		qsort(names, n, sizeof names[0], order);
	return names;
}

/* Visits each name in the directory s. */
static void
each(int s, int d, visit *v)
{
	struct name *names;
	size_t i, count;
	DIR *dir;

	if ((dir = fdopendir(s)) == NULL)
		err(2, "fdopendir");
	names = names_read(dir, &count);
	for (i = 0; i < count; i++) {
		v(s, d, names[i].name);
		free(names[i].name);
	}
	free(names);
	(void)closedir(dir);
}

static int
file(int at, const char *name, int flags, mode_t mode)
{
	int fd;

	fd = openat(at, name, flags | O_NOFOLLOW | O_CLOEXEC, mode);
	if (fd == -1)
		err(2, "open %s", name);
	return fd;
}

static int
directory(int at, const char *name)
{
	return file(at, name, O_RDONLY | O_DIRECTORY, 0);
}

static void
copy(int s, int d, const char *name)
{
	struct timespec ts[2];
	struct stat st;
	off_t left;
	ssize_t n;
	int from, to;

	from = file(s, name, O_RDONLY, 0);
	if (fstat(from, &st) == -1)
		err(2, "fstat %s", name);
	if (S_ISDIR(st.st_mode)) {
		if (mkdirat(d, name, 0700) == -1)
			err(2, "mkdir %s", name);
		to = directory(d, name);
		each(from, to, copy);
		(void)close(to);
		return;
	}
	to = file(d, name, O_WRONLY | O_CREAT | O_EXCL, st.st_mode & 0777);
	for (left = st.st_size; left > 0; left -= n)
		if ((n = read(from, chunk, CHUNK)) < 1 ||
		    write(to, chunk, (size_t)n) != n)
			err(2, "copy %s", name);
	ts[0].tv_sec = 0;
	ts[0].tv_nsec = UTIME_OMIT;
	ts[1] = st.st_mtim;
	if (fchown(to, st.st_uid, st.st_gid) == -1 || futimens(to, ts) == -1)
		err(2, "owner and time of %s", name);
	(void)close(to);
	(void)close(from);
}

static void
compare(int s, int d, const char *name)
{
	struct stat st, dt;
	off_t left;
	ssize_t n;
	int from, to;

	from = file(s, name, O_RDONLY, 0);
	to = file(d, name, O_RDONLY, 0);
	if (fstat(from, &st) == -1 || fstat(to, &dt) == -1)
		err(2, "fstat %s", name);
	if (S_ISDIR(st.st_mode)) {
		each(from, to, compare);
		(void)close(to);
		return;
	}
	for (left = st.st_size; left > 0; left -= n)
		if ((n = read(from, chunk, CHUNK)) < 1 ||
		    read(to, other, CHUNK) != n ||
		    memcmp(chunk, other, (size_t)n) != 0)
			errx(2, "%s differs", name);
	(void)close(to);
	(void)close(from);
}

static void
discard(int s, int d, const char *name)
{
	(void)d;
	if (unlinkat(s, name, 0) == 0)
		return;
	if (errno != EISDIR)
		err(2, "remove %s", name);
	each(directory(s, name), -1, discard);
	if (unlinkat(s, name, AT_REMOVEDIR) == -1)
		err(2, "remove %s", name);
}

int
main(int argc, char *argv[])
{
	const char *const from = argc > 2 ? argv[2] : "";
	int d;

	if (argc == 3 && strcmp(argv[1], "remove") == 0) {
		discard(AT_FDCWD, -1, from);
		return 0;
	}
	if (argc != 4)
		errx(2, "usage: floor copy|verify SRC DST; floor remove DIR");
	if (mkdir(argv[3], 0700) == -1)
		err(2, "mkdir %s", argv[3]);
	d = directory(AT_FDCWD, argv[3]);
	each(directory(AT_FDCWD, from), d, copy);
	if (strcmp(argv[1], "verify") == 0)
		each(directory(AT_FDCWD, from), d, compare);
	return 0;
}
