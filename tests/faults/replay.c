/*
 * replay.c: cuts the power after every write of a record (recorder.c), and
 * looks whether nothing is lost.
 *
 *	replay [-c] [-e offset] [-j I/N] [-k key] [-n new] [-o original]
 *	    [-r random] [-t seconds] [-x command] [-y every] BASE LOG IMAGE
 *	    MOUNTPOINT TYPE TREE NAME ...
 *
 * What was written before the last flush is on the disk.  Of what came after
 * it, all is kept, all is dropped, or each block is taken at random, that many
 * times at each point.  The IMAGE so made is repaired and mounted (TYPE is ext4
 * or xfs), and one of the NAMEs in it must be equal to TREE.  -j takes the I-th
 * of every N points, -c counts the points and does nothing.
 *
 * The state by the table (where.h) must be one; and with -o, while something
 * is under way, ssl or old must be equal to that tree; with -n, next, and later
 * ssl, must be equal to that one as soon as the exchange has begun; with -k,
 * next must have that private key as soon as it is called staged.  -e is the
 * length of the record when the program ended: from there on the state must be
 * the one of the end.  -x is run for every so many points (-y), with the
 * MOUNTPOINT as its argument: a status other than 0 is a fall.
 *
 * Prints "points P tried T fell F"; exit status 1 where any fell, 2 where it
 * could not be done at all.
 */
#define _GNU_SOURCE
#include <linux/loop.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "digest.h"
#include "recorder.h"
#include "where.h"

enum { BLOCK = 4096, SHOWN = 3 };

struct entry {
	struct record r;
	const char *data;
	size_t end;		/* of it, in the record */
};

static const char *image, *mountpoint, *type, **names;
static char *expected;
static char *original, *staged;	/* what was in ssl, what comes there */
static const char *key;
static size_t ended;		/* the program, by then */
static enum where last;		/* the state of the end */
static const char *recovery;
static long every = 1;
static char *durable;		/* the disk as of the last flush */
static char *work;		/* the image, mapped */
static size_t size;
static struct entry *entries;
static size_t count;
static long tried, fell, points, part, parts = 1;

static int
die(const char *what)
{
	perror(what);
	exit(2);
}

static char *
map(const char *name, int writable, size_t *length)
{
	struct stat st;
	void *p;
	int fd;

	if ((fd = open(name, (writable ? O_RDWR : O_RDONLY) | O_CLOEXEC)) ==
	    -1 || fstat(fd, &st) == -1)
		(void)die(name);
	*length = (size_t)st.st_size;
	if (*length == 0)
		return NULL;
	p = mmap(NULL, *length, writable ? PROT_READ | PROT_WRITE : PROT_READ,
	    MAP_SHARED, fd, 0);
	if (p == MAP_FAILED)
		(void)die(name);
	(void)close(fd);
	return p;
}

static void
parse(const char *name)
{
	const char *begin, *p, *end;
	size_t length;

	begin = p = map(name, 0, &length);
	for (end = p + length; p < end; count++) {
		if ((count & 1023) == 0 && (entries = realloc(entries,
		    (count + 1024) * sizeof(*entries))) == NULL)
			(void)die("memory");
		(void)memcpy(&entries[count].r, p, sizeof(struct record));
		p += sizeof(struct record);
		entries[count].data = p;
		p += entries[count].r.length;
		entries[count].end = (size_t)(p - begin);
	}
}

static int
quietly(const char *const argv[])
{
	int null, status;
	pid_t pid;

	if ((pid = fork()) == -1)
		(void)die("fork");
	if (pid == 0) {
		if ((null = open("/dev/null", O_RDWR)) != -1) {
			(void)dup2(null, 1);
			(void)dup2(null, 2);
		}
		(void)execvp(argv[0], (char *const *)argv);
		_exit(127);
	}
	while (waitpid(pid, &status, 0) == -1)
		if (errno != EINTR)
			return -1;
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

/* Attaches the image to a free loop device that goes away with its last user. */
static int
attach(char *device, size_t n)
{
	struct loop_config c;
	int control, fd, i, number;

	if ((control = open("/dev/loop-control", O_RDWR | O_CLOEXEC)) == -1)
		(void)die("/dev/loop-control");
	(void)memset(&c, 0, sizeof(c));
	if ((i = open(image, O_RDWR | O_CLOEXEC)) == -1)
		(void)die(image);
	c.fd = (uint32_t)i;
	c.info.lo_flags = LO_FLAGS_AUTOCLEAR;
	for (i = 0; i < 1000; i++) {
		if ((number = ioctl(control, LOOP_CTL_GET_FREE)) == -1)
			(void)die("LOOP_CTL_GET_FREE");
		(void)snprintf(device, n, "/dev/loop%d", number);
		if ((fd = open(device, O_RDWR | O_CLOEXEC)) == -1)
			continue;
		if (ioctl(fd, LOOP_CONFIGURE, &c) == 0) {
			(void)close(control);
			(void)close((int)c.fd);
			return fd;
		}
		(void)close(fd);
		if (errno != EBUSY)
			break;
	}
	return die("LOOP_CONFIGURE");
}

static int
mounted(void)
{
	char device[32];
	int fd, rc;

	fd = attach(device, sizeof(device));
	rc = mount(device, mountpoint, type, MS_NOATIME,
	    strcmp(type, "xfs") == 0 ? "nouuid" : "");
	(void)close(fd);
	return rc;
}

static int
repaired(void)
{
	const char *const ext4[] = { "e2fsck", "-fy", image, NULL };
	const char *const xfs[] = { "xfs_repair", "-L", image, NULL };
	int rc;

	if (strcmp(type, "ext4") == 0) {
		rc = quietly(ext4);
		if (rc < 0 || rc > 3)
			return -1;
		return mounted();
	}
	if (mounted() == 0)
		return 0;
	return quietly(xfs) == 0 ? mounted() : -1;
}

/* Tells in what a tree is not the one that is wanted. */
static void
show(const char *name, const char *text)
{
	const char *is, *be;

	for (is = text, be = expected; *is != '\0' && *is == *be; is++, be++)
		;
	while (is > text && is[-1] != '\n') {
		is--;
		be--;
	}
	(void)printf("  %s: is '%.*s', should be '%.*s'\n", name,
	    (int)strcspn(is, "\n"), is, (int)strcspn(be, "\n"), be);
}

static void
show_names(void)
{
	struct dirent *e;
	DIR *d;

	(void)printf("  in all:");
	if ((d = opendir(mountpoint)) != NULL) {
		while ((e = readdir(d)) != NULL)
			if (e->d_name[0] != '.')
				(void)printf(" %s", e->d_name);
		(void)closedir(d);
	}
	(void)printf("\n");
}

/* Whether one of the names is the tree; tells why not where it is asked to. */
static int
complete(int tell)
{
	char path[4096], *text;
	size_t i;
	int found;

	found = 0;
	for (i = 0; names[i] != NULL && !found; i++) {
		(void)snprintf(path, sizeof(path), "%s/%s", mountpoint,
		    names[i]);
		text = digest(path, 0);
		found = strcmp(text, expected) == 0;
		free(text);
	}
	for (i = 0; names[i] != NULL && !found && tell; i++) {
		(void)snprintf(path, sizeof(path), "%s/%s", mountpoint,
		    names[i]);
		text = digest(path, 0);
		show(names[i], text);
		free(text);
	}
	return found;
}

static int
same(const char *name, const char *tree)
{
	char path[4096], *text;
	int rc;

	(void)snprintf(path, sizeof(path), "%s/%s", mountpoint, name);
	text = digest(path, 0);
	rc = strcmp(text, tree) == 0;
	free(text);
	return rc;
}

static int
same_key(void)
{
	char path[4096], *is, *be;
	int rc;

	(void)snprintf(path, sizeof(path), "%s/ssl.cmregen/next/private_keys/"
	    "cm1.example.com.pem", mountpoint);
	is = digest(path, 0);
	be = digest(key, 0);
	rc = strcmp(is, be) == 0;
	free(is);
	free(be);
	return rc;
}

/* What the manual promises of each state.  Returns what is missing, or NULL. */
static const char *
promised(size_t at)
{
	enum where w;

	w = where_is(mountpoint, NULL);
	if (w == FOREIGN)
		return "not of our making";
	if (original != NULL && w != IDLE && w != DONE &&
	    !same("ssl", original) && !same("ssl.cmregen/old", original))
		return "what was in ssl is neither there nor in old";
	if (key != NULL && w == STAGED && !same_key())
		return "staged, and next does not have the key";
	if (staged != NULL && (w == EXCHANGING || w == RESTORING) &&
	    !same("ssl.cmregen/next", staged))
		return "exchanging, and next is not what was made";
	if (staged != NULL && (w == EXCHANGED || w == UNPROVEN ||
	    w == RESTORED) && !same("ssl", staged))
		return "exchanged, and ssl is not what next was";
	if (ended != 0 && at > 0 && entries[at - 1].end > ended && w != last)
		return "it had ended, and that is not on disk";
	return NULL;
}

static const char *
recovered(void)
{
	const char *const argv[] = { recovery, mountpoint, NULL };

	if (recovery == NULL || tried % every != 0)
		return NULL;
	return quietly(argv) == 0 ? NULL : "the next command failed";
}

/* The image is made; looks at what it is worth. */
static void
look(size_t at, const char *how)
{
	const char *why;

	tried++;
	why = NULL;
	if (repaired() == -1)
		why = "cannot be repaired and mounted";
	else if (!complete(fell < SHOWN))
		why = "no complete copy";
	else if ((why = promised(at)) == NULL)
		why = recovered();
	if (why != NULL && fell++ < SHOWN) {
		show_names();
		(void)printf("power cut after record %zu of %zu, %s: %s "
		    "(%s)\n", at, count, how, why, where_name[where_is(
		    mountpoint, NULL)]);
	}
	while (umount(mountpoint) == -1 && errno == EBUSY)
		(void)usleep(1000);
}

/* All of it was written: the state that it ended in. */
static void
end_find(void)
{
	if (repaired() == -1)
		(void)die("the end cannot be mounted");
	last = where_is(mountpoint, NULL);
	while (umount(mountpoint) == -1 && errno == EBUSY)
		(void)usleep(1000);
}

static void
apply(char *to, const struct entry *e)
{
	if (e->r.kind == RECORD_WRITE && e->r.offset <= size &&
	    e->r.length <= size - e->r.offset)
		(void)memcpy(to + e->r.offset, e->data, e->r.length);
}

static void
apply_some(const struct entry *e)
{
	uint64_t n, o;

	if (e->r.kind != RECORD_WRITE)
		return;
	for (o = 0; o < e->r.length; o += BLOCK) {
		n = e->r.length - o < BLOCK ? e->r.length - o : BLOCK;
		if ((rand() >> 8 & 1) != 0)
			(void)memcpy(work + e->r.offset + o, e->data + o, n);
	}
}

static int
ours(void)
{
	return points++ % parts == part;
}

/* Tries the points that lie between from (just flushed) and to. */
static void
stretch(size_t from, size_t to, int random, int dry)
{
	size_t i, j;
	int k;

	if (ours() && !dry) {
		(void)memcpy(work, durable, size);
		look(from, "all since the flush dropped");
	}
	for (i = from; i < to; i++) {
		if (entries[i].r.kind != RECORD_WRITE)
			continue;
		if (ours() && !dry) {
			(void)memcpy(work, durable, size);
			for (j = from; j <= i; j++)
				apply(work, &entries[j]);
			look(i + 1, "all since the flush kept");
		}
		for (k = 0; k < random; k++)
			if (ours() && !dry) {
				(void)memcpy(work, durable, size);
				for (j = from; j <= i; j++)
					apply_some(&entries[j]);
				look(i + 1, "some since the flush kept");
			}
	}
}

int
main(int argc, char *argv[])
{
	const char *base;
	size_t i, from, length;
	time_t end;
	char *p;
	int c, dry, late, random;

	dry = late = 0;
	random = 1;
	end = 0;
	while ((c = getopt(argc, argv, "ce:j:k:n:o:r:t:x:y:")) != -1)
		switch (c) {
		case 'c':
			dry = 1;
			break;
		case 'e':
			ended = strtoul(optarg, NULL, 10);
			break;
		case 'k':
			key = optarg;
			break;
		case 'n':
			staged = digest(optarg, 0);
			break;
		case 'o':
			original = digest(optarg, 0);
			break;
		case 'x':
			recovery = optarg;
			break;
		case 'y':
			every = strtol(optarg, NULL, 10);
			break;
		case 'j':
			part = strtol(optarg, &p, 10);
			parts = *p == '/' ? strtol(p + 1, NULL, 10) : 0;
			break;
		case 'r':
			random = (int)strtol(optarg, NULL, 10);
			break;
		case 't':
			end = time(NULL) + (time_t)strtol(optarg, NULL, 10);
			break;
		default:
			parts = 0;
		}
	if (argc - optind < 7 || parts < 1 || every < 1) {
		(void)fprintf(stderr, "usage: replay [-c] [-e offset] "
		    "[-j I/N] [-k key] [-n new]\n\t[-o original] [-r random] "
		    "[-t seconds] [-x command] [-y every]\n\tBASE LOG IMAGE "
		    "MOUNTPOINT TYPE TREE NAME ...\n");
		return 2;
	}
	argv += optind;
	base = argv[0];
	image = argv[2];
	mountpoint = argv[3];
	type = argv[4];
	expected = digest(argv[5], 0);
	names = (const char **)argv + 6;
	parse(argv[1]);
	p = map(base, 0, &size);
	if ((durable = malloc(size)) == NULL)
		(void)die("memory");
	(void)memcpy(durable, p, size);
	if (!dry) {
		work = map(image, 1, &length);
		if (length != size) {
			(void)fprintf(stderr, "%s: wrong size\n", image);
			return 2;
		}
	}
	if (ended != 0 && !dry) {
		(void)memcpy(work, durable, size);
		for (i = 0; i < count; i++)
			apply(work, &entries[i]);
		end_find();
	}
	srand(1 + (unsigned)part);
	for (i = from = 0; i <= count; i++) {
		if (i < count && entries[i].r.kind != RECORD_FLUSH)
			continue;
		late = end != 0 && time(NULL) >= end;
		if (i > from || from == 0)
			stretch(from, i, random, dry || late);
		for (; from < i; from++)
			apply(durable, &entries[from]);
		from = i + 1;
	}
	(void)printf("points %ld tried %ld fell %ld\n",
	    points / parts + (points % parts > part), tried, fell);
	return fell != 0;
}
