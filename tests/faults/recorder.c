/*
 * recorder.c: a FUSE file system that holds one file, `disk', and records
 * every write and every flush to it in their order.  A loop device over that
 * file passes on what the file system above asks of its disk.
 *
 *	recorder BASE LOG MOUNTPOINT
 *
 * The file begins as a copy of BASE, in memory; BASE does not change.  Stays in
 * the foreground until it is unmounted.
 */
#define _GNU_SOURCE
#define FUSE_USE_VERSION 31
#include <fuse.h>

#include <sys/stat.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "recorder.h"

static char *disk;
static size_t size;
static FILE *record;

static int
put(uint64_t kind, uint64_t offset, const char *buf, uint64_t length)
{
	struct record r;

	r.kind = kind;
	r.offset = offset;
	r.length = length;
	if (fwrite(&r, sizeof(r), 1, record) != 1 ||
	    (length != 0 && fwrite(buf, length, 1, record) != 1) ||
	    fflush(record) == EOF)
		return -EIO;
	return 0;
}

static int
rec_getattr(const char *path, struct stat *st, struct fuse_file_info *fi)
{
	(void)fi;
	(void)memset(st, 0, sizeof(*st));
	if (strcmp(path, "/") == 0) {
		st->st_mode = S_IFDIR | 0755;
		st->st_nlink = 2;
		return 0;
	}
	if (strcmp(path, "/disk") != 0)
		return -ENOENT;
	st->st_mode = S_IFREG | 0600;
	st->st_nlink = 1;
	st->st_size = (off_t)size;
	return 0;
}

static int
rec_readdir(const char *path, void *buf, fuse_fill_dir_t fill, off_t offset,
    struct fuse_file_info *fi, enum fuse_readdir_flags flags)
{
	(void)path;
	(void)offset;
	(void)fi;
	(void)flags;
	(void)fill(buf, ".", NULL, 0, 0);
	(void)fill(buf, "..", NULL, 0, 0);
	(void)fill(buf, "disk", NULL, 0, 0);
	return 0;
}

static int
rec_open(const char *path, struct fuse_file_info *fi)
{
	(void)fi;
	return strcmp(path, "/disk") == 0 ? 0 : -ENOENT;
}

static int
rec_read(const char *path, char *buf, size_t n, off_t offset,
    struct fuse_file_info *fi)
{
	(void)path;
	(void)fi;
	if ((size_t)offset >= size)
		return 0;
	if (n > size - (size_t)offset)
		n = size - (size_t)offset;
	(void)memcpy(buf, disk + offset, n);
	return (int)n;
}

static int
rec_write(const char *path, const char *buf, size_t n, off_t offset,
    struct fuse_file_info *fi)
{
	(void)path;
	(void)fi;
	if ((size_t)offset >= size || n > size - (size_t)offset)
		return -ENOSPC;
	if (put(RECORD_WRITE, (uint64_t)offset, buf, n) != 0)
		return -EIO;
	(void)memcpy(disk + offset, buf, n);
	return (int)n;
}

static int
rec_fsync(const char *path, int data, struct fuse_file_info *fi)
{
	(void)path;
	(void)data;
	(void)fi;
	return put(RECORD_FLUSH, 0, NULL, 0);
}

static const struct fuse_operations operations = {
	.getattr = rec_getattr,
	.readdir = rec_readdir,
	.open = rec_open,
	.read = rec_read,
	.write = rec_write,
	.fsync = rec_fsync,
};

static int
load(const char *name)
{
	struct stat st;
	FILE *f;

	if ((f = fopen(name, "re")) == NULL || fstat(fileno(f), &st) == -1)
		return -1;
	size = (size_t)st.st_size;
	if ((disk = malloc(size)) == NULL || fread(disk, size, 1, f) != 1) {
		(void)fclose(f);
		return -1;
	}
	return fclose(f) == EOF ? -1 : 0;
}

int
main(int argc, char *argv[])
{
	char *args[5];
	char single[] = "-s", stay[] = "-f";

	if (argc != 4) {
		(void)fprintf(stderr, "usage: recorder BASE LOG MOUNTPOINT\n");
		return 2;
	}
	if (load(argv[1]) == -1) {
		perror(argv[1]);
		return 1;
	}
	if ((record = fopen(argv[2], "we")) == NULL) {
		perror(argv[2]);
		return 1;
	}
	args[0] = argv[0];
	args[1] = single;
	args[2] = stay;
	args[3] = argv[3];
	args[4] = NULL;
	return fuse_main(4, args, &operations, NULL);
}
