/*
 * attack: the hostile owner.
 *
 *	attack [-v] [-r rounds] [-s seconds] [-t driver] [row ...]
 *
 * A row is named by words of its first two columns, as "cp -a copy"; -v says
 * which attack each tool fell for.
 *
 * One process, as an unprivileged user who owns a tree, swaps what is in it
 * for links to a directory and files outside, for fifos and for more, in a
 * tight loop, while root copies, compares and removes the tree; in other rows
 * he also owns the directory that holds the tree, or the one it is copied to.
 * After each round: was anything outside read, written, re-owned or removed?
 * Did the tool hang?  GNU cp, rm and diff, and busybox, are attacked in the
 * same way, since an attack that nobody falls for proves nothing.
 *
 * All of it happens on a tmpfs of its own, in a mount namespace of its own,
 * with access times kept strictly: so even a read that leaves no trace in the
 * copy is seen.
 */
#define _GNU_SOURCE
#include <sys/types.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <dirent.h>
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <grp.h>
#include <limits.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "../../cmregen.h"
#include "outside.h"

enum {
	OWNER = 54321,		/* uid and gid of the attacker */
	PATHS = 256,
	OUR_LIMIT = 10000,	/* milliseconds a round; more is a hang */
	THEIR_LIMIT = 500
};

/* What the attacker can do; the letters stand for lists of these. */
enum kind {
	DIRECTORY_LINK,		/* directory <-> link to a directory outside */
	SUB_LINK,		/* the same, one level further down */
	FILE_LINK,		/* file <-> link to a file outside */
	FILE_FIFO,
	FILE_DIRECTORY,
	DIRECTORY_FIFO,
	DIRECTORY_FILE,
	LINK_FILE,
	MOVE_OUT,		/* a directory leaves the tree, and is back */
	RESIZE,
	LEASE,			/* an open that may wait would wait */
	MODES,
	FILL,			/* new names, as fast as can be */
	TOP_LINK,		/* the top itself <-> link to outside */
	TOP_OTHER,		/* <-> another directory of the attacker's */
	COPY_LINK,		/* the copy's top <-> link to outside */
	COPY_OTHER,		/* <-> a directory of the attacker's */
	COPY_VICTIM,		/* <-> a directory of root's beside it */
	COPY_BEFORE,		/* a link or directory is there first */
	KINDS
};

static const char *const kind_name[KINDS] = {
	"directory/link", "subdirectory/link", "file/link", "file/fifo",
	"file/directory", "directory/fifo", "directory/file", "link/file",
	"move out", "resize", "lease", "modes", "fill", "top/link",
	"top/other", "copy/link", "copy/other", "copy/victim", "copy/before"
};

enum operation { COPY, COMPARE, REMOVE, SEAL, FILE_COPY, LIKE, MOVE };

enum { INSIDE = 1, PARENT = 2, TARGET = 4 };	/* where he attacks */

struct row {
	const char *name;	/* what is attacked */
	enum operation op;
	int where;
	int must;		/* 0: not fall; 1: one of these; -1: either */
	int part;		/* one part in so many of the rounds */
	const char *argv[6];	/* none: in this process; SRC, DST follow */
};

static const struct row rows[] = {
	{ "cmregen", COPY, INSIDE, 0, 1, { NULL } },
	{ "cmregen", COPY, TARGET, 0, 1, { NULL } },
	{ "cmregen", COPY, INSIDE | PARENT | TARGET, 0, 1, { NULL } },
	{ "cmregen", COPY, INSIDE | TARGET, 0, 1, { NULL } },
	{ "cmregen", COMPARE, INSIDE, 0, 1, { NULL } },
	{ "cmregen", COMPARE, INSIDE | PARENT | TARGET, 0, 1, { NULL } },
	{ "cmregen", REMOVE, INSIDE, 0, 1, { NULL } },
	{ "cmregen", REMOVE, INSIDE | PARENT, 0, 1, { NULL } },
	{ "cmregen", SEAL, INSIDE, 0, 1, { NULL } },
	{ "cmregen", SEAL, INSIDE | PARENT, 0, 1, { NULL } },
	{ "cmregen", FILE_COPY, INSIDE, 0, 1, { NULL } },
	{ "cmregen", FILE_COPY, INSIDE | PARENT | TARGET, 0, 1, { NULL } },
	{ "cmregen", LIKE, INSIDE, 0, 1, { NULL } },
	{ "cmregen", LIKE, INSIDE | PARENT, 0, 1, { NULL } },
	{ "driver", COPY, INSIDE, 0, 10, { "tree", "copy" } },
	{ "driver", COPY, INSIDE | TARGET, 0, 10, { "tree", "copy" } },
	{ "driver", REMOVE, INSIDE, 0, 10, { "tree", "remove" } },
	{ "driver", MOVE, INSIDE | PARENT | TARGET, 0, 10,
	    { "tree", "move" } },
	{ "cp -a", COPY, INSIDE, 1, 20, { "cp", "-a" } },
	{ "cp -a", COPY, TARGET, 1, 20, { "cp", "-a" } },
	{ "diff -r", COMPARE, INSIDE, -1, 20,
	    { "diff", "-r", "--no-dereference" } },
	{ "rm -rf", REMOVE, INSIDE, -1, 20, { "rm", "-rf" } },
	{ "busybox cp", COPY, INSIDE, -1, 20, { "busybox", "cp", "-a" } },
	{ "busybox cp", COPY, TARGET, -1, 20, { "busybox", "cp", "-a" } },
	{ "busybox rm", REMOVE, INSIDE, -1, 20, { "busybox", "rm", "-rf" } },
};

static const char *const operation_name[] = {
	"copy", "compare", "remove", "seal", "file", "like", "move"
};

/* What the attacker is told for a round. */
struct order {
	enum kind kind;
	enum operation op;
	unsigned int seed;
	int target;		/* attack what is to be compared with */
};

static struct {
	volatile int stop;
	volatile unsigned long swaps;
} *shared;

static char here[PATHS];	/* the tmpfs */
static const char *driver = "tree";
static int to_attacker, from_attacker;
static pid_t attacker;
static unsigned int dice = 1;

static unsigned int
roll(unsigned int below)
{
	dice ^= dice << 13;
	dice ^= dice >> 17;
	dice ^= dice << 5;
	return dice % below;
}

static long
milliseconds(void)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000L + now.tv_nsec / 1000000;
}

/*
 * The attacker.
 */

static void
swap(const char *a, const char *b)
{
	shared->swaps++;
	if (renameat2(AT_FDCWD, a, AT_FDCWD, b, RENAME_EXCHANGE) == 0 ||
	    errno != ENOENT)
		return;
	/* one of them is gone: bring it back from the other side */
	if (rename(b, a) == -1)
		(void)rename(a, b);
}

static void
linger(void)
{
	volatile unsigned int n;

	for (n = roll(4) == 0 ? roll(4000) : roll(200); n > 0; n--)
		continue;
}

static void
swap_twice(const char *a, const char *b)
{
	swap(a, b);
	linger();
	swap(a, b);
	linger();
}

/*
 * Puts something in the place of the copy's top as soon as that is made, and
 * then sees to it that the copy fails, so that it must be removed again.
 */
static void
swap_made(const char *copy, const char *with, const char *file)
{
	shared->swaps++;
	if (renameat2(AT_FDCWD, copy, AT_FDCWD, with, RENAME_EXCHANGE) == -1)
		return;
	(void)renameat2(AT_FDCWD, file, AT_FDCWD, "stage/fifo",
	    RENAME_EXCHANGE);
	while (!shared->stop && roll(1000) != 0)
		linger();
}

static void
move_out(const char *name)
{
	shared->swaps++;
	(void)rename(name, "stage/out");
	linger();
	(void)rename("stage/out", name);
	linger();
}

static void
resize(const char *name)
{
	static const char more[4000] = "x";
	int fd;

	shared->swaps++;
	if ((fd = open(name, O_WRONLY | O_NONBLOCK)) == -1)
		return;
	(void)!write(fd, more, roll(sizeof more));
	linger();
	(void)!ftruncate(fd, (off_t)roll(9000));
	linger();
	(void)close(fd);
}

static void
lease(const char *name)
{
	int fd;

	shared->swaps++;
	if ((fd = open(name, O_RDWR | O_NONBLOCK)) == -1)
		return;
	if (fcntl(fd, F_SETLEASE, F_WRLCK) == 0)
		while (!shared->stop && roll(50) != 0)
			(void)sched_yield();
	(void)close(fd);
	linger();
}

static void
modes(const char *dir, const char *file)
{
	static const mode_t mode[] = { 0, 0755, 02777, 07777, 0644, 04711 };

	shared->swaps++;
	(void)chmod(file, mode[roll(6)]);
	linger();
	(void)chmod(dir, mode[roll(6)] | 0700);
	linger();
}

static void
fill(const char *dir, unsigned int *n)
{
	char name[PATHS];

	shared->swaps++;
	(void)snprintf(name, sizeof name, "%.200s/new%u", dir, ++*n % 400);
	if (roll(3) == 0)
		(void)unlink(name);
	else if (roll(2) == 0)
		(void)symlink("/", name);
	else if (mkdir(dir, 0755) == -1 && mkdir(name, 0755) == -1)
		(void)rmdir(name);
}

static void
before(const char *outside, const char *copy)
{
	shared->swaps++;
	if (roll(2) == 0) {
		(void)symlink(outside, copy);
		linger();
		(void)unlink(copy);
	} else {
		(void)mkdir(copy, 0777);
		linger();
		(void)rmdir(copy);
	}
	linger();
}

/* Attacks until told to stop. */
static void
attack(const struct order *o)
{
	char top[32], copy[32], dir[64], sub[80], file[80];
	static const char *const with[] = {
		"stage/dirlink", "stage/other", "dst/victim"
	};
	char outside[PATHS + 16];
	unsigned int n, patient;

	dice = o->seed;
	patient = roll(2);
	n = 0;
	(void)snprintf(top, sizeof top, o->target ? "dst/copy" : "src/tree");
	(void)snprintf(copy, sizeof copy,
	    o->op == MOVE ? "dst/copy.cmregen-part" : "dst/copy");
	(void)snprintf(outside, sizeof outside, "%s/outside/dir", here);
	(void)snprintf(dir, sizeof dir, "%s/d%u", top, roll(3));
	(void)snprintf(sub, sizeof sub, "%s/sub", dir);
	(void)snprintf(file, sizeof file, "%s/f%u", dir, roll(4));
	while (!shared->stop)
		switch (o->kind) {
		case DIRECTORY_LINK: swap_twice(dir, "stage/dirlink"); break;
		case SUB_LINK:	swap_twice(sub, "stage/sublink"); break;
		case FILE_LINK:	swap_twice(file, "stage/filelink"); break;
		case FILE_FIFO:	swap_twice(file, "stage/fifo"); break;
		case FILE_DIRECTORY: swap_twice(file, "stage/other"); break;
		case DIRECTORY_FIFO: swap_twice(dir, "stage/fifo"); break;
		case DIRECTORY_FILE: swap_twice(sub, "stage/file"); break;
		case LINK_FILE:
			(void)snprintf(file, sizeof file, "%s/l", top);
			swap_twice(file, "stage/file");
			break;
		case MOVE_OUT:	move_out(sub); break;
		case RESIZE:	resize(file); break;
		case LEASE:	lease(file); break;
		case MODES:	modes(dir, file); break;
		case FILL:	fill(dir, &n); break;
		case TOP_LINK:	swap_twice(top, "stage/dirlink"); break;
		case TOP_OTHER:	swap_twice(top, "stage/other"); break;
		case COPY_LINK:
		case COPY_OTHER:
		case COPY_VICTIM:
			if (patient)
				swap_made(copy, with[o->kind - COPY_LINK],
				    file);
			else
				swap_twice(copy, with[o->kind - COPY_LINK]);
			break;
		case COPY_BEFORE: before(outside, copy); break;
		case KINDS:	abort();
		}
}

/* Fills a directory that is there. */
static void
grow_tree(const char *top)
{
	char name[PATHS];
	int d, f;

	for (d = 0; d < 3; d++) {
		(void)snprintf(name, sizeof name, "%s/d%d", top, d);
		put_dir(name, 0755);
		for (f = 0; f < 4; f++) {
			(void)snprintf(name, sizeof name, "%s/d%d/f%d", top, d,
			    f);
			put_file(name, "harmless\n", f == 3 ? 04750 : 0640);
		}
		(void)snprintf(name, sizeof name, "%s/d%d/sub", top, d);
		put_dir(name, 0700);
		for (f = 0; f < 2; f++) {
			(void)snprintf(name, sizeof name, "%s/d%d/sub/f%d",
			    top, d, f);
			put_file(name, "harmless too\n", 0600);
		}
	}
	(void)snprintf(name, sizeof name, "%s/f0", top);
	put_file(name, "harmless again\n", 0644);
	(void)snprintf(name, sizeof name, "%s/l", top);
	if (symlink("f0", name) == -1)
		err(2, "create %s", name);
}

static void
stage_link(const char *name, const char *outside)
{
	char path[2 * PATHS];

	(void)snprintf(path, sizeof path, "%s/outside/%s", here, outside);
	if (symlink(path, name) == -1)
		err(2, "create %s", name);
}

static void
build(const struct order *o)
{
	if (mkdir("src/tree", 0755) == -1 && errno != EEXIST)
		err(2, "create src/tree");
	grow_tree("src/tree");
	if (o->op == COMPARE) {
		if (mkdir("dst/copy", 0755) == -1 && errno != EEXIST)
			err(2, "create dst/copy");
		grow_tree("dst/copy");
	}
	stage_link("stage/dirlink", "dir");
	stage_link("stage/sublink", "dir/sub");
	stage_link("stage/filelink", "secret");
	put_dir("stage/other", 0755);
	put_file("stage/other/f0", "another\n", 0644);
	put_file("stage/other/f1", "another\n", 0644);
	put_file("stage/file", "a file\n", 0644);
	if (mkfifo("stage/fifo", 0644) == -1)
		err(2, "create stage/fifo");
}

static void
attacker_main(int in, int out)
{
	struct order o;

	if (setgroups(0, NULL) == -1 || setgid(OWNER) == -1 ||
	    setuid(OWNER) == -1)
		err(2, "become the attacker");
	(void)umask(0);
	(void)signal(SIGIO, SIG_IGN);
	while (read(in, &o, sizeof o) == (ssize_t)sizeof o) {
		build(&o);
		if (write(out, "b", 1) != 1)
			break;
		attack(&o);
		if (write(out, "e", 1) != 1)
			break;
	}
	_exit(0);
}

/*
 * What must not be touched.
 */

static struct stat victim_was, victim_file_was;
static int victim = -1;

/* A directory of root's in the one that the attacker owns. */
static void
build_victim(void)
{
	if (victim != -1)
		(void)close(victim);
	put_dir("dst/victim", 0700);
	put_file("dst/victim/f0", MARK "\n", 0600);
	outside_age(AT_FDCWD, "dst/victim/f0");
	outside_age(AT_FDCWD, "dst/victim");
	victim = open("dst/victim", O_PATH | O_DIRECTORY);
	if (victim == -1 || fstat(victim, &victim_was) == -1 ||
	    fstatat(victim, "f0", &victim_file_was, 0) == -1)
		err(2, "look at dst/victim");
}

static void
judge_victim(int *fell)
{
	struct stat st;

	if (fstat(victim, &st) == -1)
		err(2, "look at the victim");
	if (st.st_nlink == 0)
		fell[REMOVED] = 1;
	else if (fstatat(victim, "f0", &st, AT_SYMLINK_NOFOLLOW) == -1)
		fell[REMOVED] = 1;
	else {
		outside_stat(&victim_file_was, &st, fell);
		if (fstat(victim, &st) == -1)
			err(2, "look at the victim");
		/* whether it is empty may be looked at */
		st.st_atim = victim_was.st_atim;
		outside_stat(&victim_was, &st, fell);
	}
}

static int *judged;		/* for nftw, which passes nothing on */
static int in_copy;

static int
judge_one(const char *name, const struct stat *st, int type, struct FTW *at)
{
	char text[64];
	ssize_t n;
	int fd;

	(void)at;
	if (st->st_uid == 0 && !in_copy)
		judged[WRITTEN] = 1;
	if (type != FTW_F || !S_ISREG(st->st_mode) ||
	    st->st_size < (off_t)strlen(MARK))
		return 0;
	if (st->st_uid == 0 && (st->st_mode & 06000) != 0)
		judged[WRITTEN] = 1;
	if ((fd = open(name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK)) == -1)
		err(2, "open %s", name);
	n = read(fd, text, sizeof text);
	if (n > 0 && memmem(text, (size_t)n, MARK, strlen(MARK)) != NULL)
		judged[READ] = 1;
	(void)close(fd);
	return 0;
}

/* Looks for what root wrote where it should not, and for marked content. */
static void
judge_tree(const char *name, int copy, int *fell)
{
	struct stat a;

	if (lstat(name, &a) == -1)
		return;
	judged = fell;
	in_copy = copy;
	if (nftw(name, judge_one, 16, FTW_PHYS) == -1)
		err(2, "look through %s", name);
}

/* The victim may stand under either name, by the attacker's own doing. */
static void
judge_dst(int *fell)
{
	char name[PATHS + 8];
	struct dirent *e;
	struct stat st;
	DIR *d;

	if ((d = opendir("dst")) == NULL)
		err(2, "open dst");
	while ((e = readdir(d)) != NULL) {
		if (e->d_name[0] == '.')
			continue;
		(void)snprintf(name, sizeof name, "dst/%s", e->d_name);
		if (victim != -1 && lstat(name, &st) == 0 &&
		    st.st_ino == victim_was.st_ino)
			continue;
		judge_tree(name, 1, fell);
	}
	(void)closedir(d);
}

/*
 * A round.
 */

static void
own(const char *name)
{
	if (chown(name, OWNER, OWNER) == -1)
		err(2, "give away %s", name);
}

static void
skeleton(const struct row *r)
{
	wipe("src");
	wipe("dst");
	wipe("stage");
	put_dir("src", 0755);
	put_dir("dst", 0755);
	put_dir("stage", 0755);
	own("stage");
	if ((r->where & PARENT) != 0)
		own("src");
	else {
		put_dir("src/tree", 0755);
		own("src/tree");
	}
	if (r->op == COMPARE && (r->where & TARGET) == 0) {
		put_dir("dst/copy", 0755);
		own("dst/copy");
	}
	if ((r->where & TARGET) != 0) {
		build_victim();
		own("dst");
	}
}

static enum kind
choose(const struct row *r)
{
	static const enum kind inside[] = {
		DIRECTORY_LINK, DIRECTORY_LINK, DIRECTORY_LINK, SUB_LINK,
		SUB_LINK, SUB_LINK, FILE_LINK, FILE_LINK, FILE_FIFO,
		FILE_DIRECTORY, DIRECTORY_FIFO, DIRECTORY_FILE, LINK_FILE,
		MOVE_OUT, RESIZE, LEASE, MODES, FILL
	};
	static const enum kind target[] = {
		COPY_LINK, COPY_LINK, COPY_OTHER, COPY_VICTIM, COPY_BEFORE
	};
	int n;

	do
		n = 1 << roll(3);
	while ((n & r->where) == 0);
	if (n == TARGET && r->op != REMOVE)
		return target[roll(sizeof target / sizeof target[0])];
	if (n == PARENT)
		return roll(2) == 0 ? TOP_LINK : TOP_OTHER;
	return inside[roll(sizeof inside / sizeof inside[0])];
}

static int
act(enum operation op)
{
	char difference[DIFFERENCE_SIZE];
	int s, d;

	(void)umask(0);
	s = open("src", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	d = open("dst", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	switch (op) {
	case COPY:
		return tree_copy(s, "tree", d, "copy", NULL);
	case COMPARE:
		return tree_compare(s, "tree", d, "copy", NULL, difference);
	case REMOVE:
		return tree_remove(s, "tree");
	case SEAL:
		return tree_seal(s, "tree", OWNER);
	case FILE_COPY:
		return file_copy(s, "tree/d1/sub/f1", d, "copy") != 1;
	case LIKE:
		return owner_like(s, "tree/d0/f1", s, "tree/d1/f3") == -1 ||
		    owner_like(s, "tree/d0/sub", s, "tree/d2") == -1;
	case MOVE:
		break;
	}
	return 2;
}

static void
tool(const struct row *r)
{
	char src[2 * PATHS], dst[2 * PATHS];
	char *argv[9];
	int i, null;

	if ((null = open("/dev/null", O_RDWR)) == -1)
		_exit(126);
	for (i = 0; i < 3; i++)
		(void)dup2(null, i);
	if (r->argv[0] == NULL)
		_exit(act(r->op) == 0 ? 0 : 1);
	(void)snprintf(src, sizeof src, "%s/src/tree", here);
	(void)snprintf(dst, sizeof dst, "%s/dst/copy", here);
	for (i = 0; r->argv[i] != NULL; i++)
		argv[i] = (char *)(size_t)r->argv[i];
	argv[i++] = src;
	if (r->op != REMOVE && r->op != SEAL)
		argv[i++] = dst;
	argv[i] = NULL;
	if (strcmp(argv[0], "tree") == 0)
		argv[0] = (char *)(size_t)driver;
	(void)execvp(argv[0], argv);
	_exit(126);
}

/* Runs the tool, so many milliseconds at most.  Returns its exit status. */
static int
run_tool(const struct row *r, long limit, int *fell)
{
	struct timespec left;
	sigset_t child;
	pid_t pid;
	long end, now;
	int status;

	(void)sigemptyset(&child);
	(void)sigaddset(&child, SIGCHLD);
	end = milliseconds() + limit;
	if ((pid = fork()) == -1)
		err(2, "fork");
	if (pid == 0) {
		(void)sigprocmask(SIG_UNBLOCK, &child, NULL);
		tool(r);
	}
	while (waitpid(pid, &status, WNOHANG) == 0) {
		now = milliseconds();
		if (now >= end) {
			fell[HUNG] = 1;
			(void)kill(pid, SIGKILL);
			(void)waitpid(pid, &status, 0);
			return 1;
		}
		left.tv_sec = (end - now) / 1000;
		left.tv_nsec = (end - now) % 1000 * 1000000;
		(void)sigtimedwait(&child, NULL, &left);
	}
	if (WIFSIGNALED(status))
		fell[CRASHED] = 1;
	if (WIFEXITED(status) && WEXITSTATUS(status) == 126)
		errx(2, "%s cannot be run", r->name);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}

static void
expect(char what)
{
	char got;

	if (read(from_attacker, &got, 1) != 1 || got != what)
		errx(2, "the attacker is gone");
}

/* Returns whether the tool said that it did its work. */
static int
play(const struct row *r, enum kind kind, int *fell)
{
	struct order o;
	struct stat st;
	int status;

	skeleton(r);
	(void)memset(&o, 0, sizeof o);
	o.kind = kind;
	o.op = r->op;
	o.seed = roll(1000000) + 1;
	o.target = r->op == COMPARE && roll(2) == 0;
	shared->stop = 0;
	if (write(to_attacker, &o, sizeof o) != (ssize_t)sizeof o)
		err(2, "write to the attacker");
	expect('b');
	status = run_tool(r, r->must == 0 ? OUR_LIMIT : THEIR_LIMIT, fell);
	shared->stop = 1;
	expect('e');
	outside_judge(fell);
	if ((r->where & TARGET) != 0)
		judge_victim(fell);
	judge_tree("stage", 0, fell);
	if ((r->where & TARGET) == 0)
		judge_tree("src", 1, fell);
	judge_dst(fell);
	if (status != 0 && (r->op == COPY || r->op == FILE_COPY) &&
	    (r->where & TARGET) == 0 &&
	    lstat("dst/copy", &st) == 0)
		fell[LEFT] = 1;
	return status == 0;
}

static int verbose;

/* Returns how often the tool fell. */
static unsigned long
play_row(const struct row *r, long rounds, long seconds)
{
	unsigned long count[FALLS] = { 0 }, by[KINDS] = { 0 }, n, fallen,
	    done, swaps;
	int fell[FALLS], any, f;
	enum kind kind;
	long end;

	n = fallen = done = 0;
	swaps = shared->swaps;
	end = milliseconds() + seconds * 1000;
	while (n < (unsigned long)rounds && milliseconds() < end) {
		n++;
		(void)memset(fell, 0, sizeof fell);
		kind = choose(r);
		done += (unsigned long)play(r, kind, fell);
		any = 0;
		for (f = 0; f < FALLS; f++) {
			/* only ours owes it to leave nothing behind */
			if (f == LEFT && r->must != 0)
				continue;
			count[f] += (unsigned long)fell[f];
			any |= fell[f];
		}
		fallen += (unsigned long)any;
		by[kind] += (unsigned long)any;
	}
	(void)printf("%-10s %-8s%c%c%c %6lu %6lu %7lu %6lu %5.1f%% ", r->name,
	    operation_name[r->op], (r->where & INSIDE) != 0 ? 'i' : '-',
	    (r->where & PARENT) != 0 ? 'p' : '-',
	    (r->where & TARGET) != 0 ? 't' : '-', n, done,
	    (shared->swaps - swaps) / n, fallen,
	    100.0 * (double)fallen / (double)n);
	for (f = 0; f < FALLS; f++)
		if (count[f] != 0)
			(void)printf(" %s %lu", fall_name[f], count[f]);
	if ((long)n < rounds)
		(void)printf(" (%ld seconds)", seconds);
	(void)putchar('\n');
	for (f = 0; f < KINDS; f++)
		if (by[f] != 0 && (verbose || r->must == 0))
			(void)printf("%22s %s %lu\n", "", kind_name[f],
			    by[f]);
	(void)fflush(stdout);
	return fallen;
}

/*
 * Each side has a processor of its own where there are two: taking turns on
 * one, they hardly ever meet.  The attacker gets the last.
 */
static void
take_processor(int last)
{
	cpu_set_t all, mine;
	int i, top;

	if (sched_getaffinity(0, sizeof all, &all) == -1 ||
	    CPU_COUNT(&all) < 2)
		return;
	for (top = CPU_SETSIZE - 1; !CPU_ISSET(top, &all); top--)
		continue;
	CPU_ZERO(&mine);
	for (i = 0; i < top; i++)
		if (!last && CPU_ISSET(i, &all))
			CPU_SET(i, &mine);
	if (last)
		CPU_SET(top, &mine);
	(void)sched_setaffinity(0, sizeof mine, &mine);
}

static void
start_attacker(void)
{
	int to[2], from[2];

	shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE,
	    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (shared == MAP_FAILED || pipe2(to, O_CLOEXEC) == -1 ||
	    pipe2(from, O_CLOEXEC) == -1)
		err(2, "prepare the attacker");
	if ((attacker = fork()) == -1)
		err(2, "fork");
	if (attacker == 0) {
		(void)close(to[1]);
		(void)close(from[0]);
		take_processor(1);
		attacker_main(to[0], from[1]);
	}
	take_processor(0);
	(void)close(to[0]);
	(void)close(from[1]);
	to_attacker = to[1];
	from_attacker = from[0];
}

static void
prepare(void)
{
	const char *dir;
	sigset_t child;

	if (getuid() != 0)
		errx(2, "needs root, to be attacked by somebody else");
	dir = getenv("TMPDIR");
	(void)snprintf(here, sizeof here, "%.200s/attack.XXXXXX",
	    dir == NULL ? "/tmp" : dir);
	if (mkdtemp(here) == NULL || chmod(here, 0755) == -1)
		err(2, "create %s", here);
	if (unshare(CLONE_NEWNS) == -1 ||
	    mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) == -1 ||
	    mount("attack", here, "tmpfs", MS_STRICTATIME | MS_NODEV,
	    "size=64m,mode=755") == -1)
		err(2, "mount a tmpfs at %s", here);
	if (chdir(here) == -1)
		err(2, "enter %s", here);
	(void)umask(0);
	(void)sigemptyset(&child);
	(void)sigaddset(&child, SIGCHLD);
	(void)sigprocmask(SIG_BLOCK, &child, NULL);
	/* both sides have a processor, whatever else is going on */
	(void)setpriority(PRIO_PROCESS, 0, -15);
	outside_build();
	start_attacker();
}

static void
clean_up(void)
{
	(void)close(to_attacker);
	(void)waitpid(attacker, NULL, 0);
	(void)chdir("/");
	(void)umount2(here, MNT_DETACH);
	(void)rmdir(here);
}

static int
wanted(const struct row *r, char *names[])
{
	char both[64];

	if (names[0] == NULL)
		return 1;
	(void)snprintf(both, sizeof both, "%s %s", r->name,
	    operation_name[r->op]);
	for (; names[0] != NULL; names++)
		if (strstr(both, names[0]) != NULL)
			return 1;
	return 0;
}

static int
installed(const char *name)
{
	char path[PATHS];

	(void)snprintf(path, sizeof path, "/bin/%s", name);
	if (access(path, X_OK) == 0)
		return 1;
	(void)snprintf(path, sizeof path, "/usr/bin/%s", name);
	return access(path, X_OK) == 0;
}

int
main(int argc, char *argv[])
{
	long rounds, seconds, n;
	size_t i;
	unsigned long fallen, proof;
	int c, passed, failed;

	rounds = 10000;
	seconds = 180;
	while ((c = getopt(argc, argv, "r:s:t:v")) != -1)
		switch (c) {
		case 'r': rounds = atol(optarg); break;
		case 's': seconds = atol(optarg); break;
		case 't': driver = optarg; break;
		case 'v': verbose = 1; break;
		default: return 2;
		}
	prepare();
	(void)printf("He attacks the inside of the tree (i), its parent (p), "
	    "where it is copied to (t).\n%-10s %-8s%3s %6s %6s %7s %6s\n",
	    "tool", "work", "", "rounds", "done", "swaps", "fallen");
	passed = failed = 0;
	proof = ULONG_MAX;
	for (i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		if (!wanted(&rows[i], argv + optind) || (rows[i].must != 0 &&
		    !installed(rows[i].argv[0])))
			continue;
		n = rounds / rows[i].part;
		fallen = play_row(&rows[i], n > 0 ? n : 1, seconds);
		if (rows[i].must == 0) {
			passed += fallen == 0;
			failed += fallen != 0;
		} else if (rows[i].must == 1)
			proof = fallen + (proof == ULONG_MAX ? 0 : proof);
	}
	clean_up();
	if (proof == 0)
		(void)printf("cp -a never fell: the attack proves nothing\n");
	passed += proof != 0 && proof != ULONG_MAX;
	failed += proof == 0;
	(void)printf("%d passed, %d failed\n", passed, failed);
	return failed != 0;
}
