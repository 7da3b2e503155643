/*
 * outside.c: see outside.h.
 */
#define _GNU_SOURCE
#include <sys/stat.h>

#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "outside.h"

enum {
	LONG_AGO = 1000000000	/* the access time of what nobody read */
};

const char *const fall_name[FALLS] = {
	"read", "written", "owned", "removed", "hung", "left", "crashed",
	"reached", "planted"
};

void
put_file(const char *name, const char *text, mode_t mode)
{
	size_t n;
	int fd;

	n = strlen(text);
	if ((fd = open(name, O_WRONLY | O_CREAT | O_EXCL, mode)) == -1)
		err(2, "create %s", name);
	if (write(fd, text, n) != (ssize_t)n || close(fd) == -1)
		err(2, "write %s", name);
}

void
put_dir(const char *name, mode_t mode)
{
	if (mkdir(name, mode) == -1)
		err(2, "create %s", name);
}

static int
unlink_one(const char *name, const struct stat *st, int type, struct FTW *at)
{
	(void)st;
	(void)type;
	(void)at;
	return remove(name);
}

/* Removes a tree while nobody attacks. */
void
wipe(const char *name)
{
	if (nftw(name, unlink_one, 16, FTW_DEPTH | FTW_PHYS) == -1 &&
	    errno != ENOENT)
		err(2, "remove %s", name);
}

static const char *const outside[] = {
	"outside", "outside/secret", "outside/dir", "outside/dir/f0",
	"outside/dir/f1", "outside/dir/f2", "outside/dir/f3",
	"outside/dir/sub", "outside/dir/sub/f0", "outside/dir/sub/f1",
	/* and as ssl and the work directory are made */
	"outside/dir/journal", "outside/dir/crl.pem", "outside/dir/certs",
	"outside/dir/certs/ca.pem", "outside/dir/certs/cm1.example.com.pem",
	"outside/dir/private_keys",
	"outside/dir/private_keys/cm1.example.com.pem",
	"outside/dir/certificate_requests",
	"outside/dir/certificate_requests/cm1.example.com.pem",
	"outside/dir/next", "outside/dir/next/f0", "outside/dir/old",
	"outside/dir/old/f0"
};

enum { OUTSIDE = sizeof outside / sizeof outside[0] };

static struct stat was[OUTSIDE];

void
outside_age(int at, const char *name)
{
	const struct timespec times[2] = { { LONG_AGO, 0 }, { LONG_AGO, 0 } };

	if (utimensat(at, name, times, AT_SYMLINK_NOFOLLOW) == -1)
		err(2, "set the times of %s", name);
}

void
outside_build(void)
{
	size_t n;
	int i;

	wipe("outside");
	for (i = 0; i < OUTSIDE; i++) {
		/* a directory is followed by what is in it */
		n = strlen(outside[i]);
		if (i + 1 < OUTSIDE && strncmp(outside[i], outside[i + 1],
		    n) == 0 && outside[i + 1][n] == '/')
			put_dir(outside[i], 0700);
		else
			put_file(outside[i], MARK "\n", 0600);
	}
	for (i = 0; i < OUTSIDE; i++)
		outside_age(AT_FDCWD, outside[i]);
	for (i = 0; i < OUTSIDE; i++)
		if (lstat(outside[i], &was[i]) == -1)
			err(2, "look at %s", outside[i]);
}

static int
same_time(const struct timespec *a, const struct timespec *b)
{
	return a->tv_sec == b->tv_sec && a->tv_nsec == b->tv_nsec;
}

/* Adds to the falls what the difference between the two shows. */
void
outside_stat(const struct stat *a, const struct stat *b, int *fell)
{
	if (a->st_uid != b->st_uid || a->st_gid != b->st_gid ||
	    a->st_mode != b->st_mode)
		fell[OWNED] = 1;
	else if (!same_time(&a->st_mtim, &b->st_mtim) ||
	    a->st_size != b->st_size || a->st_nlink != b->st_nlink)
		fell[WRITTEN] = 1;
	if (!same_time(&a->st_atim, &b->st_atim))
		fell[READ] = 1;
}

void
outside_judge(int *fell)
{
	struct stat st;
	int before, f, i;

	before = 0;
	for (f = 0; f < FALLS; f++)
		before += fell[f];
	for (i = 0; i < OUTSIDE; i++) {
		if (lstat(outside[i], &st) == -1 ||
		    st.st_ino != was[i].st_ino) {
			fell[REMOVED] = 1;
			continue;
		}
		outside_stat(&was[i], &st, fell);
		if (!same_time(&was[i].st_ctim, &st.st_ctim) &&
		    !fell[OWNED] && !fell[REMOVED])
			fell[WRITTEN] = 1;
	}
	for (f = 0; f < FALLS; f++)
		before -= fell[f];
	if (before != 0)
		outside_build();
}
