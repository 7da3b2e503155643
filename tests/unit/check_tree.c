/*
 * check_tree.c: copying, comparing, sealing and removing trees, and the single
 * files and directories beside them.  Linked without mom.c and node.c.  Needs
 * root and mounts; what the place forbids is skipped, and named.
 *
 * mkdirat, fdopendir, read and fsync of the program are those below: they do
 * what libc's do, and at that moment what an owner with time would do.
 */
#define _GNU_SOURCE			/* RTLD_NEXT */
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>

#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "../../cmregen.h"
#include "fixture.h"

/* cmregen.o has a table of these; finish runs what a test asks for. */
static int (*body)(void *);

static int
nothing(const struct options *o)
{
	(void)o;
	return NOT_DONE;
}

int
mom_clean(const struct options *o)
{
	return nothing(o);
}

int
mom_sign(const struct options *o)
{
	return nothing(o);
}

int
node_prepare(const struct options *o)
{
	return nothing(o);
}

int
node_finish(const struct options *o)
{
	return body == NULL ? nothing(o) : body(NULL);
}

int
node_restore(const struct options *o)
{
	return nothing(o);
}

int
node_status(const struct options *o)
{
	return nothing(o);
}

/*
 * The owner with time.  Each is called once: after a directory was made,
 * before one is read, before the bytes of a file are, and after so many
 * fsyncs.
 */
static void (*made)(void), (*reading)(void), (*bytes)(void), (*synced)(void);
static int syncs;

static void
happen(void (**what)(void))
{
	void (*now)(void);

	now = *what;
	*what = NULL;
	if (now != NULL)
		now();
}

/* What libc has by that name. */
#define REAL(NAME, TYPE) ((TYPE)(uintptr_t)dlsym(RTLD_NEXT, NAME))

int
mkdirat(int at, const char *name, mode_t mode)
{
	int rc;

	rc = REAL("mkdirat", int (*)(int, const char *, mode_t))(at, name,
	    mode);
	happen(&made);
	return rc;
}

DIR *
fdopendir(int fd)
{
	happen(&reading);
	return REAL("fdopendir", DIR *(*)(int))(fd);
}

ssize_t
pread(int fd, void *p, size_t n, off_t at)
{
	struct stat st;

	if (bytes != NULL && fstat(fd, &st) == 0 && S_ISREG(st.st_mode))
		happen(&bytes);
	return REAL("pread", ssize_t (*)(int, void *, size_t, off_t))(fd, p, n,
	    at);
}

/* What is on disk, in the order in which it got there, a line each. */
int
fsync(int fd)
{
	struct stat st;

	if (getenv("SYNCED") != NULL && fstat(fd, &st) == 0)
		(void)printf("%lu\n", (unsigned long)st.st_ino);
	if (--syncs == 0)
		happen(&synced);
	return REAL("fsync", int (*)(int))(fd);
}

static const char skip[] = "ssl.lock";

/* Work on "tree", and on "copy" in the directory "to", as the program does. */
static int
open_dir(const char *name)
{
	int fd;

	fd = open(path("%s", name), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	ck_assert_int_ne(fd, -1);
	(void)umask(0);
	return fd;
}

static int
copy(void *arg)
{
	(void)arg;
	return tree_copy(open_dir("."), "tree", open_dir("to"), "copy",
	    skip) == 0 ? 0 : 1;
}

static int
compare(void *arg)
{
	static char difference[DIFFERENCE_SIZE];
	int rc;

	(void)arg;
	rc = tree_compare(open_dir("."), "tree", open_dir("to"), "copy", skip,
	    difference);
	if (rc == 1)
		(void)printf("%s\n", difference);
	return rc == -1 ? 2 : rc;
}

static int
discard(void *arg)
{
	return tree_remove(open_dir("."), arg) == 0 ? 0 : 1;
}

static void
begin(void)
{
	fixture_begin();
	sh("mkdir s s/to");
}

/* Whatever a test has mounted goes first. */
static void
end(void)
{
	sh("grep \" $PWD/\" /proc/mounts | cut -d' ' -f2 | sort -r | "
	    "while read -r m; do umount \"$m\"; done");
	fixture_end();
}

static void
assert_copied(void)
{
	assert_status(run_function(copy, NULL), 0);
	assert_same(tree_text("to/copy", NULL), tree_text("tree", NULL));
	sh("(cd tree && find . -printf '%%T@ %%p\\n' | sort) >t1; "
	    "(cd to/copy && find . -printf '%%T@ %%p\\n' | sort) >t2; "
	    "cmp t1 t2");
	assert_status(run_function(compare, NULL), 0);
}

/* Refused by that name; nothing is left of the copy, nothing changed. */
static void
assert_refused(const char *name)
{
	const struct run *r;
	const char *before;

	before = tree_text("tree", NULL);
	r = run_function(copy, NULL);
	assert_status(r, 1);
	assert_has(r->err, name);
	assert_same(tree_text("tree", NULL), before);
	sh("test -z \"$(ls -A to)\"");
}

/*
 * copy
 */

START_TEST(a_copy_is_the_same_in_all_that_counts)
{
	sh("mkdir -p tree/a/b/c tree/empty; echo 1 >tree/a/1; : >tree/a/b/0; "
	    "head -c 1000001 /dev/urandom >tree/a/b/c/big; "
	    "ln -s 1 tree/a/link; ln -s /nonexistent tree/dangling; "
	    "ln -s $(printf '%%04000d' 7) tree/long; "
	    "chmod 711 tree/a; chmod 600 tree/a/1; chmod 444 tree/a/b/0; "
	    "chmod 500 tree/a/b; chown -Rh 52001:52002 tree/a; "
	    "chown -h 52003:52004 tree/dangling; chown 52005:0 tree; "
	    "chmod 751 tree");
	assert_copied();
}
END_TEST

START_TEST(a_copy_of_an_ssldir)
{
	sandbox("5");
	sh("mkdir to; cp -a node/puppet/ssl tree");
	assert_copied();
}
END_TEST

START_TEST(an_empty_tree_is_copied)
{
	sh("mkdir tree; chown 52001 tree; chmod 2750 tree");
	assert_copied();
}
END_TEST

START_TEST(names_have_any_byte)
{
	char name[4];
	int c, fd;

	sh("mkdir tree tree/d");
	for (c = 1; c < 256; c++) {
		if (c == '/')
			continue;
		name[0] = name[2] = (char)c;
		name[1] = 'x';
		name[3] = '\0';
		fd = open(path("tree/%s", name), O_CREAT | O_WRONLY, 0644);
		ck_assert_int_ne(fd, -1);
		(void)close(fd);
		if (c != '.')
			ck_assert_int_eq(mkdir(path("tree/d/%c", c), 0755), 0);
	}
	assert_copied();
}
END_TEST

START_TEST(names_have_255_bytes)
{
	char name[256];

	sh("mkdir tree");
	memset(name, 'n', 255);
	name[255] = '\0';
	ck_assert_int_eq(mkdir(path("tree/%s", name), 0755), 0);
	name[0] = 'f';
	put(path("tree/%s", name), "x");
	name[0] = 'l';
	ck_assert_int_eq(symlink("x", path("tree/%s", name)), 0);
	assert_copied();
}
END_TEST

/* Forty names of 200 bytes below one another: too long for a shell's cd. */
static void
deep_make(void)
{
	char name[201];
	int at, fd, i;

	(void)memset(name, '0', 200);
	name[200] = '\0';
	sh("mkdir tree");
	at = open(path("tree"), O_RDONLY | O_DIRECTORY);
	for (i = 0; i < 40; i++) {
		ck_assert_int_eq(mkdirat(at, name, 0755), 0);
		fd = openat(at, name, O_RDONLY | O_DIRECTORY);
		(void)close(at);
		at = fd;
	}
	fd = openat(at, "f", O_WRONLY | O_CREAT, 0644);
	ck_assert_int_eq(write(fd, "x\n", 2), 2);
	(void)close(fd);
	(void)close(at);
}

START_TEST(paths_are_longer_than_PATH_MAX)
{
	deep_make();
	assert_status(run_function(copy, NULL), 0);
	sh("test $(cd to/copy; find . -name f | wc -c) -gt 8000");
	assert_status(run_function(compare, NULL), 0);
	sh("a=$(cd tree; find . | md5sum); b=$(cd to/copy; find . | md5sum); "
	    "test \"$a\" = \"$b\"");
}
END_TEST

START_TEST(mode_0_is_kept)
{
	sh("mkdir -p tree/d/e; echo x >tree/d/e/f; chmod 0 tree/d/e/f "
	    "tree/d/e tree/d; chown -R 52001:52001 tree; chmod 0 tree");
	assert_copied();
}
END_TEST

START_TEST(set_id_and_sticky_bits_are_kept)
{
	sh("mkdir -p tree/d; echo x >tree/u; echo x >tree/g; echo x >tree/t; "
	    "chown -R 52001:52002 tree; chmod 4755 tree/u; "
	    "chmod 2751 tree/g; chmod 1644 tree/t; chmod 7777 tree/d; "
	    "chmod 3755 tree");
	assert_copied();
}
END_TEST

START_TEST(a_set_group_id_parent_changes_nothing)
{
	sh("chown 0:52009 to; chmod 2755 to; mkdir -p tree/d; echo x >tree/d/f; "
	    "ln -s x tree/l; chown -Rh 52001:52001 tree");
	assert_copied();
}
END_TEST

START_TEST(hard_links_are_copied_never_changed)
{
	struct stat a, b;

	sh("mkdir tree; echo x >outside; ln outside tree/a; ln outside tree/b; "
	    "chown 52001 outside");
	ck_assert_int_eq(stat(path("outside"), &a), 0);
	assert_copied();
	ck_assert_int_eq(stat(path("outside"), &b), 0);
	ck_assert(a.st_nlink == b.st_nlink && a.st_ctim.tv_sec ==
	    b.st_ctim.tv_sec && a.st_ctim.tv_nsec == b.st_ctim.tv_nsec);
	ck_assert_int_eq(stat(path("to/copy/a"), &b), 0);
	ck_assert(a.st_ino != b.st_ino);
}
END_TEST

START_TEST(mtimes_are_kept_to_the_nanosecond)
{
	sh("mkdir -p tree/d; echo x >tree/d/f; ln -s x tree/d/l; "
	    "touch -d '2001-02-03 04:05:06.123456789' tree/d/f; "
	    "touch -h -d '1999-12-31 23:59:59.999999999' tree/d/l; "
	    "touch -d '2033-01-01 00:00:00.000000001' tree/d; "
	    "touch -d '1970-01-01 00:00:00.000000000' tree");
	assert_copied();
	assert_has(get("t2"), ".1234567890 ./d/f");
	assert_has(get("t2"), ".9999999990 ./d/l");
}
END_TEST

/*
 * Looks at the copy again and again while the child makes it.  Returns how
 * often it was closed; but for that it is never more open than the original.
 */
static int
closed_looks(pid_t pid)
{
	siginfo_t info;
	struct stat st;
	int n;

	info.si_pid = 0;
	for (n = 0; info.si_pid == 0; ) {
		ck_assert_int_eq(waitid(P_PID, (id_t)pid, &info,
		    WEXITED | WNOHANG | WNOWAIT), 0);
		if (stat(path("to/copy"), &st) == -1)
			continue;
		ck_assert_uint_eq(st.st_mode & 07777 & ~0750u, 0);
		n += st.st_uid == 0 && (st.st_mode & 07777) == 0700;
	}
	return n;
}

START_TEST(a_copy_is_closed_until_it_is_proved)
{
	pid_t pid;

	sh("mkdir -p tree/d; head -c 30000000 /dev/zero >tree/d/f; "
	    "chmod 777 tree/d/f; chmod 750 tree; chown -R 52001 tree");
	pid = start_function(copy, NULL);
	ck_assert_int_gt(closed_looks(pid), 10);
	assert_status(finish(pid), 0);
	assert_same(tree_text("to/copy", NULL), tree_text("tree", NULL));
}
END_TEST

/* The top comes last: what is in it can be trusted when it is open. */
START_TEST(all_of_a_copy_is_on_disk)
{
	const struct run *r;

	sh("mkdir -p tree/a/b tree/c; echo x >tree/a/b/f; echo y >tree/g; "
	    "ln -s x tree/c/l");
	ck_assert_int_eq(setenv("SYNCED", "1", 1), 0);
	r = run_function(copy, NULL);
	(void)unsetenv("SYNCED");
	assert_status(r, 0);
	put("synced", r->out);
	sh("sort -u synced >s1; { find to/copy ! -type l -printf '%%i\\n'; "
	    "stat -c %%i to; } | sort -u >s2; diff s1 s2; "
	    "stat -c %%i to/copy to >s3; tail -n 2 synced | diff - s3");
}
END_TEST

START_TEST(names_that_are_skipped_are_skipped_at_the_top)
{
	sh("mkdir -p tree/d; echo x >tree/ssl.lock; echo x >tree/d/ssl.lock");
	assert_status(run_function(copy, NULL), 0);
	sh("test ! -e to/copy/ssl.lock; test -f to/copy/d/ssl.lock");
	assert_status(run_function(compare, NULL), 0);
	sh("echo y >to/copy/ssl.lock; rm tree/ssl.lock");
	assert_status(run_function(compare, NULL), 0);
	sh("rm to/copy/d/ssl.lock");
	assert_status(run_function(compare, NULL), 1);
}
END_TEST

START_TEST(a_fifo_is_refused)
{
	sh("mkdir -p tree/a tree/b; echo x >tree/a/f; mkfifo tree/b/my-fifo");
	assert_refused("b/my-fifo");
}
END_TEST

/* Nor can its name print a line that looks like ours. */
START_TEST(a_name_forges_no_line)
{
	const struct run *r;

	sh("mkdir tree; mkfifo \"$(printf 'tree/x\\ncmregen: run "
	    "this\\302\\205\\033[2J\\303\\251')\"");
	r = run_function(copy, NULL);
	assert_status(r, 1);
	assert_has(r->err, "cmregen: tree/x?cmregen: run this???[2J\303\251: "
	    "neither a file");
	ck_assert_ptr_eq(strchr(r->err, '\n'), r->err + strlen(r->err) - 1);
}
END_TEST

START_TEST(a_device_is_refused)
{
	sh("mkdir -p tree/b; echo x >tree/f; mknod tree/b/my-%s",
	    _i == 0 ? "device c 1 3" : "device b 7 99");
	assert_refused("b/my-device");
}
END_TEST

START_TEST(a_socket_is_refused)
{
	struct sockaddr_un sun;
	int fd;

	sh("mkdir tree; echo x >tree/f");
	memset(&sun, 0, sizeof(sun));
	sun.sun_family = AF_UNIX;
	(void)snprintf(sun.sun_path, sizeof(sun.sun_path), "%s",
	    path("tree/my-socket"));
	fd = socket(AF_UNIX, SOCK_STREAM, 0);
	ck_assert_int_ne(fd, -1);
	ck_assert_int_eq(bind(fd, (struct sockaddr *)&sun, sizeof(sun)), 0);
	assert_refused("my-socket");
	(void)close(fd);
}
END_TEST

START_TEST(another_file_system_inside_is_refused)
{
	sh("mkdir -p tree/a/my-mount; echo x >tree/f; "
	    "mount -t tmpfs none tree/a/my-mount; echo y >tree/a/my-mount/y");
	assert_refused("a/my-mount");
	sh("test -f tree/a/my-mount/y");
}
END_TEST

/* Runs a line that mounts what not every kernel has. */
static void
mounts(const char *what, const char *line)
{
	(void)fflush(NULL);
	if (system(text("cd '%s' && { %s; } >/dev/null 2>&1", path("."),
	    line)) != 0)
		skip_test(text("%s cannot be mounted here", what));
}

/* An overlay gives its files the device of a lower layer. */
START_TEST(files_of_another_device_are_copied)
{
	sh("mkdir lower upper tree; mount -t tmpfs none lower; "
	    "mount -t tmpfs none upper; mkdir -p lower/d upper/u upper/w; "
	    "echo x >lower/d/f; chown -R 52001 lower");
	mounts("an overlay", "mount -t overlay none -o "
	    "lowerdir=lower,upperdir=upper/u,workdir=upper/w tree");
	sh("touch tree/g; test $(stat -c %%d tree/d) != "
	    "$(stat -c %%d tree/d/f)");
	assert_copied();
}
END_TEST

START_TEST(a_file_that_grows_is_refused)
{
	sh("mkdir tree; echo x >tree/a; : >tree/my-file; "
	    "mount --bind /proc/version tree/my-file");
	assert_refused("my-file: changed its size while it was read");
}
END_TEST

static void
shrink(void)
{
	ck_assert_int_eq(truncate(path("tree/my-file"), 5), 0);
}

START_TEST(a_file_that_shrinks_is_refused)
{
	const struct run *r;

	sh("mkdir tree; echo 'more than that' >tree/my-file");
	bytes = shrink;
	r = run_function(copy, NULL);
	bytes = NULL;
	assert_status(r, 1);
	assert_has(r->err, "my-file: changed its size while it was read");
	sh("test -z \"$(ls -A to)\"");
}
END_TEST

/* Before anything is made: the time of `to' would tell. */
static void
assert_refused_before(const char *words)
{
	const struct run *r;

	sh("touch -d 2001-01-01 to");
	r = run_function(copy, NULL);
	assert_status(r, 1);
	assert_has(r->err, words);
	sh("test $(stat -c %%Y to) = $(date -d 2001-01-01 +%%s)");
}

START_TEST(what_is_too_large_is_refused_before_a_byte_is_copied)
{
	static const char *const large[] = {
		"truncate -s 268435457 tree/d/my-file",
		"truncate -s 4T tree/d/my-file",
		"echo x >tree/a; truncate -s 268435455 tree/d/my-file"
	};

	sh("mkdir tree; mount -t tmpfs none tree; mkdir tree/d; %s",
	    large[_i]);
	assert_refused_before("more than 256 MiB");
}
END_TEST

START_TEST(what_is_as_large_as_it_may_be_is_compared)
{
	sh("mkdir tree; mount -t tmpfs none tree; mount -t tmpfs none to; "
	    "truncate -s 268435456 tree/f; cp -a tree to/copy");
	assert_status(run_function(compare, NULL), 0);
	sh("truncate -s 1 tree/g; cp -a tree/g to/copy");
	assert_status(run_function(compare, NULL), 2);
}
END_TEST

START_TEST(too_many_names_are_refused_before_a_byte_is_copied)
{
	sh("mkdir tree; mount -t tmpfs none tree; mkdir tree/d; "
	    "seq %d | (cd tree/d && xargs touch)", TREE_NAMES - 1);
	assert_refused_before("more than 100,000");
}
END_TEST

START_TEST(so_many_levels_and_no_more)
{
	sh("mkdir tree; cd tree; i=0; while [ $i -lt %d ]; do mkdir d; cd d; "
	    "i=$((i + 1)); done; echo x >f", _i == 0 ? TREE_DEPTH - 2 :
	    TREE_DEPTH + 2);
	if (_i == 0)
		assert_copied();
	else
		assert_refused("d/d");
}
END_TEST

START_TEST(an_existing_name_is_refused_and_left_alone)
{
	static const char *const there[] = {
		"mkdir to/copy", "echo y >to/copy", "ln -s nowhere to/copy",
		"ln -s ../tree to/copy", "mkdir -p to/copy/f"
	};
	const char *before;
	const struct run *r;

	sh("mkdir tree; echo x >tree/f; %s", there[_i]);
	before = tree_text(".", NULL);
	r = run_function(copy, NULL);
	assert_status(r, 1);
	assert_has(r->err, "copy");
	assert_same(tree_text(".", NULL), before);
}
END_TEST

START_TEST(a_top_that_is_no_directory_is_never_followed)
{
	static const char *const top[] = {
		"mkdir real; echo x >real/f; ln -s real tree",
		"ln -s nowhere tree", "mkfifo tree", ":"
	};

	sh("%s", top[_i]);
	(void)run_function(copy, NULL);
	sh("test ! -e to/copy/f");
	if (_i >= 2)
		sh("test -z \"$(ls -A to)\"");
}
END_TEST

START_TEST(a_full_disk_leaves_nothing)
{
	sh("mkdir tree; head -c 300000 /dev/urandom >tree/big; "
	    "mount -t tmpfs -o size=64k none to");
	assert_refused("big");
}
END_TEST

START_TEST(no_inodes_leave_nothing)
{
	sh("mkdir -p tree/a; for i in 1 2 3 4 5 6 7 8 9; do echo $i "
	    ">tree/a/$i; done; mount -t tmpfs -o nr_inodes=6 none to");
	assert_refused("tree");
}
END_TEST

START_TEST(a_read_only_file_system_is_told)
{
	sh("mkdir tree; echo x >tree/f; mount -t tmpfs -o ro none to");
	assert_refused("copy");
}
END_TEST

START_TEST(a_file_system_without_owners_is_refused)
{
	const struct run *r;

	sh("mkdir -p tree/d; echo x >tree/d/f; chown -R 52001:52001 tree");
	mounts("VFAT", "truncate -s 4M image && mkfs.vfat image && "
	    "mount -o loop image to");
	r = run_function(copy, NULL);
	assert_status(r, 1);
	assert_has(r->err, "keeps no owners");
	sh("test -z \"$(ls -A to)\"");
}
END_TEST

START_TEST(a_copy_to_another_file_system)
{
	sh("mkdir -p tree/d; echo x >tree/d/f; chown -R 52001:52001 tree; "
	    "mount -t tmpfs none to");
	assert_copied();
}
END_TEST

/* Inodes of 128 bytes keep seconds alone. */
START_TEST(a_file_system_without_nanoseconds_is_no_difference)
{
	sh("mkdir -p tree/d; echo x >tree/d/f; ln -s x tree/d/l; "
	    "touch -hd '2001-02-03 04:05:06.123456789' tree/d/f tree/d/l");
	mounts("an image of ext4", "truncate -s 4M image && "
	    "mkfs.ext4 -q -I 128 image && mount -o loop image to");
	assert_status(run_function(copy, NULL), 0);
	assert_status(run_function(compare, NULL), 0);
	assert_same(tree_text("to/copy", NULL), tree_text("tree", NULL));
	sh("test \"$(stat -c %%y to/copy/d/f | cut -c 1-29)\" = "
	    "'2001-02-03 04:05:06.000000000'");
}
END_TEST

/* What such a file system makes of the time, and what is none of it. */
static const struct {
	const char *time;
	int same;
} kept[] = {
	{ "2011-01-01 00:00:05.123456789", 1 },
	{ "2011-01-01 00:00:05.123456", 1 },
	{ "2011-01-01 00:00:05.1234567", 1 },
	{ "2011-01-01 00:00:05.12", 1 },
	{ "2011-01-01 00:00:05", 1 },
	{ "2011-01-01 00:00:05.123456788", 0 },
	{ "2011-01-01 00:00:05.123456790", 0 },
	{ "2011-01-01 00:00:05.123457", 0 },
	{ "2011-01-01 00:00:05.2", 0 },
	{ "2011-01-01 00:00:06", 0 },
	{ "2011-01-01 00:00:04.123456789", 0 }
};

static int kept_now;

static void
keep_less(void)
{
	sh("touch -d '%s' to/copy/d/f; touch -d 2011-01-01 to/copy/d",
	    kept[kept_now].time);
}

START_TEST(a_time_may_be_cut_off_but_is_no_other)
{
	sh("mkdir -p tree/d; echo x >tree/d/f; "
	    "touch -d '2011-01-01 00:00:05.123456789' tree/d/f; "
	    "touch -d 2011-01-01 tree/d");
	kept_now = _i;
	syncs = 2;
	synced = keep_less;
	assert_status(run_function(copy, NULL), kept[_i].same ? 0 : 1);
	synced = NULL;
}
END_TEST

/*
 * Signals: a copy, or what else the body is, as a command runs it.
 */

static const struct run *
as_command(int (*function)(void *))
{
	const struct run *r;

	body = function;
	r = program("node", "finish", NULL);
	body = NULL;
	return r;
}

static void
stop_now(void)
{
	(void)raise(SIGTERM);
}

static int
compare_dirs(void *arg)
{
	return compare(arg) == 2 ? 0 : 1;
}

START_TEST(a_signal_between_two_names_ends_a_copy)
{
	const struct run *r;

	sh("mkdir -p tree/d/e; echo x >tree/d/f");
	made = stop_now;
	r = as_command(copy);
	made = NULL;
	assert_status(r, 1);
	assert_has(r->err, "cmregen: tree: interrupted\n");
	ck_assert_ptr_eq(strchr(r->err, '\n'), r->err + strlen(r->err) - 1);
	sh("test -z \"$(ls -A to)\"");
}
END_TEST

START_TEST(a_signal_inside_a_file_ends_a_copy)
{
	const struct run *r;

	sh("mkdir -p tree/d; head -c 1000000 /dev/zero >tree/d/f");
	bytes = stop_now;
	r = as_command(copy);
	bytes = NULL;
	assert_status(r, 1);
	assert_has(r->err, "cmregen: tree/d/f: interrupted\n");
	ck_assert_ptr_eq(strchr(r->err, '\n'), r->err + strlen(r->err) - 1);
	sh("test -z \"$(ls -A to)\"");
}
END_TEST

START_TEST(a_signal_inside_a_file_ends_a_comparison)
{
	const struct run *r;

	sh("mkdir -p tree/d; head -c 1000000 /dev/zero >tree/d/f; "
	    "cp -a tree to/copy");
	bytes = stop_now;
	r = as_command(compare_dirs);
	bytes = NULL;
	assert_status(r, 0);
	assert_has(r->err, "cmregen: tree/d/f: interrupted\n");
}
END_TEST

static int
remove_tree(void *arg)
{
	(void)arg;
	return tree_remove(open_dir("."), "tree") == 0 ? 0 : 1;
}

START_TEST(a_signal_ends_a_removal)
{
	const struct run *r;

	sh("mkdir -p tree/d/e/f tree/g/h/i");
	reading = stop_now;
	r = as_command(remove_tree);
	reading = NULL;
	assert_status(r, 1);
	assert_has(r->err, "cmregen: tree: interrupted\n");
	ck_assert_ptr_eq(strchr(r->err, '\n'), r->err + strlen(r->err) - 1);
	ck_assert(exists("tree/d/e/f") && exists("tree/g/h/i"));
}
END_TEST

/*
 * An owner with time, of the directory above: he replaces what was made, as
 * soon as it is.
 */

static const char *const decoy[] = {
	"mkdir -m 755 copy",			/* of root */
	"mkdir -m 700 copy copy/d",		/* not empty */
	"mkdir -m 700 copy; chown 52001 copy",	/* his */
	"mkdir -m 700 away; ln -s away copy",
	"mkfifo -m 700 copy",
	"echo x >copy; chmod 700 copy",
	":"
};

static int decoy_now;

static void
replace(void)
{
	sh("cd to; mv copy mine; %s; ls -lnR . >../before", decoy[decoy_now]);
}

static void
replace_closed(void)
{
	sh("cd to; mv copy mine; mkdir -m 700 copy");
}

static int
make(void *arg)
{
	(void)arg;
	return dir_make(open_dir("to"), "copy") == 0 ? 0 : 1;
}

static int (*const making[])(void *) = { copy, make };

/* Nothing is put into a decoy, or given away; an empty one may be removed. */
START_TEST(a_directory_that_was_replaced_is_refused)
{
	const int decoys = (int)(sizeof(decoy) / sizeof(decoy[0]));
	const struct run *r;

	sh("mkdir tree; echo x >tree/f; chown -R 52003:52003 tree; "
	    "chown 52001 to");
	decoy_now = _i % decoys;
	made = replace;
	r = run_function(making[_i / decoys], NULL);
	made = NULL;
	assert_status(r, 1);
	assert_has(r->err, "copy");
	if (exists("to/copy"))
		sh("cd to; ls -lnR . | diff ../before -");
	else	/* an empty directory, or nothing */
		ck_assert(decoy_now == 0 || decoy_now == 2 || decoy_now == 6);
	sh("! ls -lnR to | grep -q 52003");
}
END_TEST

/* Then the name leads to another directory than the one that is open. */
START_TEST(a_directory_that_is_replaced_later_is_refused)
{
	const struct run *r;

	sh("mkdir tree; chown -R 52003:52003 tree; chown 52001 to");
	reading = replace_closed;
	r = run_function(making[_i], NULL);
	reading = NULL;
	assert_status(r, 1);
	sh("! ls -lnR to | grep -q 52003");
}
END_TEST

/*
 * compare
 */

static const struct {
	const char *change;	/* to a copy of a tree */
	const char *name;	/* which the difference must show */
	int seen;		/* by compare too */
} change[] = {
	{ "printf y | dd of=d/f conv=notrunc 2>/dev/null", "d/f", 1 },
	{ "echo more >>d/f", "d/f", 1 },
	{ ": >d/f", "d/f", 1 },
	{ "chmod 600 d/f", "d/f", 1 },
	{ "chmod 4644 d/f", "d/f", 1 },
	{ "chown 52002 d/f", "d/f", 1 },
	{ "chgrp 52002 d/f", "d/f", 1 },
	{ "chmod 700 d", "d", 1 },
	{ "chown 52002 d", "d", 1 },
	{ "chgrp 52002 d/e", "d/e", 1 },
	{ "chown -h 52002 d/l", "d/l", 1 },
	{ "ln -sfn y d/l; chown -h 52001:52001 d/l", "d/l", 1 },
	{ "ln -sfn xx d/l; chown -h 52001:52001 d/l", "d/l", 1 },
	{ "rm d/l; echo x >d/l", "d/l", 1 },
	{ "rm d/f; ln -s x d/f", "d/f", 1 },
	{ "rm d/f; mkdir d/f", "d/f", 1 },
	{ "rmdir d/e", "d/e", 1 },
	{ "rmdir d/e; : >d/e", "d/e", 1 },
	{ "rmdir d/e; mkfifo d/e", "d/e", 1 },
	{ "rm d/f", "d/f", 1 },
	{ "rm d/l", "d/l", 1 },
	{ ": >d/extra", "extra", 1 },
	{ "mkdir d/e/extra", "extra", 1 },
	{ "ln -s x extra", "extra", 1 },
	{ "touch -d 2001-01-01 d/f", "d/f", 0 },
	{ "touch -h -d 2001-01-01 d/l", "d/l", 0 },
	{ "touch -d 2001-01-01 d", "d", 0 },
	{ "touch -d '2011-01-01 00:00:00.000000001' d/f", "d/f", 0 }
};

static void
change_tree(void)
{
	sh("mkdir -p tree/d/e; echo x >tree/d/f; ln -s x tree/d/l; "
	    "chown -Rh 52001:52001 tree; "
	    "touch -h -d 2011-01-01 tree/d/f tree/d/l tree/d/e tree/d tree");
}

static int changed;

static void
change_copy(void)
{
	sh("cd to/copy; %s", change[changed].change);
	if (change[changed].seen)
		sh("cd to/copy; touch -hc -d 2011-01-01 d/e d .");
}

/* The copy is changed when f, e and d are done, before it is proved. */
START_TEST(a_copy_is_compared_with_its_original)
{
	const struct run *r;

	change_tree();
	changed = _i;
	syncs = 3;
	synced = change_copy;
	r = run_function(copy, NULL);
	synced = NULL;
	assert_status(r, 1);
	assert_has(r->err, "the copy of tree is not like the original: ");
	assert_has(r->err, change[_i].name);
	sh("test -z \"$(ls -A to)\"");
}
END_TEST

START_TEST(compare_sees_all_but_times)
{
	const struct run *r;
	const char *before;

	change_tree();
	assert_status(run_function(copy, NULL), 0);
	changed = _i;
	change_copy();
	before = tree_text(".", NULL);
	r = run_function(compare, NULL);
	assert_status(r, change[_i].seen);
	if (change[_i].seen)
		assert_has(r->out, change[_i].name);
	assert_same(tree_text(".", NULL), before);
}
END_TEST

START_TEST(compare_sees_the_top)
{
	static const char *const top[] = {
		"chmod 700 to/copy", "chown 52001 to/copy",
		"chgrp 52001 to/copy", "rmdir to/copy; : >to/copy",
		"rmdir to/copy; ln -s ../tree to/copy"
	};

	sh("mkdir tree; cp -a tree to/copy; %s", top[_i]);
	ck_assert_int_ne(run_function(compare, NULL)->status, 0);
}
END_TEST

START_TEST(what_is_not_there_is_not_equal)
{
	const struct run *r;

	sh("mkdir to/copy");
	r = run_function(compare, NULL);
	ck_assert_int_ne(r->status, 0);
	ck_assert_str_ne(text("%s%s", r->out, r->err), "");
	sh("mv to/copy tree");
	ck_assert_int_ne(run_function(compare, NULL)->status, 0);
}
END_TEST

/*
 * remove
 */

static void
assert_removed(const char *name)
{
	assert_status(run_function(discard, (void *)(uintptr_t)name), 0);
	ck_assert(!exists(name));
}

START_TEST(remove_takes_everything)
{
	sh("mkdir -p tree/a/b/c tree/e; echo x >tree/a/f; mkfifo tree/a/p; "
	    "ln -s ../outside tree/a/l; mknod tree/n c 1 3; mkdir outside; "
	    "echo x >outside/f; ln outside/f tree/hard; chmod 0 tree/a/b "
	    "tree/a; chmod 444 tree/e; chown -Rh 52001 tree");
	assert_removed("tree");
	assert_same(get("outside/f"), "x\n");
}
END_TEST

START_TEST(remove_takes_whatever_has_the_name)
{
	static const char *const what[] = {
		":", "echo x >tree", "ln -s to tree", "ln -s nowhere tree",
		"mkfifo tree", "mkdir tree", "mknod tree c 1 3"
	};

	sh(": >to/keep; %s", what[_i]);
	assert_removed("tree");
	ck_assert(exists("to/keep"));
}
END_TEST

START_TEST(remove_stops_at_a_mount_point_and_takes_the_rest)
{
	const struct run *r;

	/* in whatever order they come, some come after the mount point */
	sh("mkdir -p tree/b/c tree/z other; for i in $(seq 20); do "
	    "mkdir tree/$i; done; mkdir -p tree/a/m; "
	    "for i in $(seq 21 40); do mkdir tree/$i; done; "
	    "echo x >tree/b/c/f; echo y >other/y; echo z >tree/z/z; "
	    "%s tree/a/m; echo y >tree/a/m/y", _i == 0 ?
	    "mount -t tmpfs none" : "mount --bind other");
	r = run_function(discard, (void *)(uintptr_t)"tree");
	assert_status(r, 1);
	assert_has(r->err, "m");
	assert_same(get("tree/a/m/y"), "y\n");
	assert_same(get("other/y"), "y\n");
	sh("test \"$(ls tree)\" = a; umount tree/a/m");
	assert_removed("tree");
	assert_same(get("other/y"), "y\n");
}
END_TEST

START_TEST(remove_stops_at_a_file_that_is_a_mount_point)
{
	sh("mkdir tree; echo y >other; : >tree/f; mount --bind other tree/f");
	assert_status(run_function(discard, (void *)(uintptr_t)"tree"), 1);
	sh("umount tree/f");
	assert_same(get("other"), "y\n");
}
END_TEST

START_TEST(remove_leaves_the_content_of_a_top_that_is_a_mount_point)
{
	sh("mkdir tree; mount -t tmpfs none tree; echo x >tree/f");
	assert_status(run_function(discard, (void *)(uintptr_t)"tree"), 1);
	assert_same(get("tree/f"), "x\n");
}
END_TEST

START_TEST(remove_takes_many_names)
{
	sh("mkdir tree; cd tree; i=0; while [ $i -lt 3000 ]; do : >$i; "
	    "i=$((i + 1)); done");
	assert_removed("tree");
}
END_TEST

START_TEST(remove_takes_a_copy_as_deep_as_it_may_be)
{
	sh("mkdir tree; cd tree; i=0; while [ $i -lt %d ]; do mkdir d; cd d; "
	    "i=$((i + 1)); done; echo x >f", TREE_DEPTH - 2);
	assert_status(run_function(copy, NULL), 0);
	sh("mv to/copy mine");
	assert_removed("mine");
	assert_removed("tree");
}
END_TEST

#define LOOP(NAME, TABLE) tcase_add_loop_test(tc, (NAME), 0,		\
    (int)(sizeof(TABLE) / sizeof((TABLE)[0])))

static void
add_copy(TCase *tc)
{
	tcase_add_test(tc, a_copy_is_the_same_in_all_that_counts);
	tcase_add_test(tc, a_copy_of_an_ssldir);
	tcase_add_test(tc, an_empty_tree_is_copied);
	tcase_add_test(tc, names_have_any_byte);
	tcase_add_test(tc, names_have_255_bytes);
	tcase_add_test(tc, paths_are_longer_than_PATH_MAX);
	tcase_add_test(tc, mode_0_is_kept);
	tcase_add_test(tc, set_id_and_sticky_bits_are_kept);
	tcase_add_test(tc, a_set_group_id_parent_changes_nothing);
	tcase_add_test(tc, hard_links_are_copied_never_changed);
	tcase_add_test(tc, mtimes_are_kept_to_the_nanosecond);
	tcase_add_test(tc, a_copy_is_closed_until_it_is_proved);
	tcase_add_test(tc, all_of_a_copy_is_on_disk);
	tcase_add_test(tc, names_that_are_skipped_are_skipped_at_the_top);
	tcase_add_test(tc, a_fifo_is_refused);
	tcase_add_test(tc, a_name_forges_no_line);
	tcase_add_loop_test(tc, a_device_is_refused, 0, 2);
	tcase_add_test(tc, a_socket_is_refused);
	tcase_add_test(tc, another_file_system_inside_is_refused);
	tcase_add_test(tc, files_of_another_device_are_copied);
	tcase_add_test(tc, a_file_that_grows_is_refused);
	tcase_add_test(tc, a_file_that_shrinks_is_refused);
	tcase_add_loop_test(tc,
	    what_is_too_large_is_refused_before_a_byte_is_copied, 0, 3);
	tcase_add_test(tc,
	    too_many_names_are_refused_before_a_byte_is_copied);
	tcase_add_loop_test(tc, so_many_levels_and_no_more, 0, 2);
	tcase_add_loop_test(tc, an_existing_name_is_refused_and_left_alone, 0,
	    5);
	tcase_add_loop_test(tc, a_top_that_is_no_directory_is_never_followed,
	    0, 4);
	tcase_add_test(tc, a_full_disk_leaves_nothing);
	tcase_add_test(tc, no_inodes_leave_nothing);
	tcase_add_test(tc, a_read_only_file_system_is_told);
	tcase_add_test(tc, a_file_system_without_owners_is_refused);
	tcase_add_test(tc, a_copy_to_another_file_system);
	tcase_add_test(tc,
	    a_file_system_without_nanoseconds_is_no_difference);
	LOOP(a_time_may_be_cut_off_but_is_no_other, kept);
}

static void
add_stop(TCase *tc)
{
	tcase_add_test(tc, a_signal_between_two_names_ends_a_copy);
	tcase_add_test(tc, a_signal_inside_a_file_ends_a_copy);
	tcase_add_test(tc, a_signal_inside_a_file_ends_a_comparison);
	tcase_add_test(tc, a_signal_ends_a_removal);
}

static void
add_race(TCase *tc)
{
	tcase_add_loop_test(tc, a_directory_that_was_replaced_is_refused, 0,
	    2 * (int)(sizeof(decoy) / sizeof(decoy[0])));
	tcase_add_loop_test(tc, a_directory_that_is_replaced_later_is_refused,
	    1, 2);
}

static void
add_compare(TCase *tc)
{
	LOOP(a_copy_is_compared_with_its_original, change);
	LOOP(compare_sees_all_but_times, change);
	tcase_add_loop_test(tc, compare_sees_the_top, 0, 5);
	tcase_add_test(tc, what_is_as_large_as_it_may_be_is_compared);
	tcase_add_test(tc, what_is_not_there_is_not_equal);
}

/* As a tree is that its owner has made too deep by a descriptor. */
START_TEST(remove_leaves_what_is_too_deep_and_takes_the_rest)
{
	const struct run *r;

	sh("mkdir -p tree/a tree/z; echo x >tree/a/f; echo x >tree/z/f; "
	    "cd tree; i=0; while [ $i -lt 75 ]; do mkdir d; cd d; "
	    "i=$((i + 1)); done");
	r = run_function(discard, (void *)(uintptr_t)"tree");
	assert_status(r, 1);
	assert_has(r->err, "too deep");
	ck_assert(!exists("tree/a") && !exists("tree/z"));
	sh("test $(find tree | wc -l) = 76; rm -r tree");
}
END_TEST

/*
 * seal
 */

static int
seal(void *arg)
{
	(void)arg;
	return tree_seal(open_dir("."), "tree", 52001) == 0 ? 0 : 1;
}

static void
puppets_tree(void)
{
	sh("mkdir -p tree/d/e; echo x >tree/d/f; : >tree/g; "
	    "chown -R 52001:52001 tree; chown 0 tree/d/e tree/g");
}

START_TEST(what_is_sealed_is_on_disk)
{
	const struct run *r;

	puppets_tree();
	ck_assert_int_eq(setenv("SYNCED", "1", 1), 0);
	r = run_function(seal, NULL);
	(void)unsetenv("SYNCED");
	assert_status(r, 0);
	put("synced", r->out);
	sh("sort -u synced >s1; find tree -printf '%%i\\n' | sort -u | "
	    "diff s1 -; tail -n 1 synced >s2; stat -c %%i tree | diff s2 -");
}
END_TEST

static const char *const unsealed[] = {
	"ln -s g tree/d/e/bad", "ln tree/g tree/d/bad",
	"mkfifo tree/d/bad; chown 52001 tree/d/bad",
	": >tree/bad; chown 52002 tree/bad",
	"mkdir tree/d/bad; chown 52002 tree/d/bad",
	"mkdir tree/d/bad; mount -t tmpfs none tree/d/bad",
	"rm -r tree; ln -s to tree", "rm -r tree; : >tree", "rm -r tree",
	"chown 52002 tree"
};

START_TEST(what_puppet_does_not_make_is_refused_by_name)
{
	const struct run *r;

	puppets_tree();
	sh("%s", unsealed[_i]);
	r = run_function(seal, NULL);
	assert_status(r, 1);
	assert_has(r->err, _i < 6 && _i != 1 ? "/bad" : "tree");
}
END_TEST

/*
 * The single ones.
 */

static int
make_like(void *arg)
{
	return make(arg) == 0 && owner_like(open_dir("to"), "copy",
	    open_dir("."), "tree") == 0 ? 0 : 1;
}

START_TEST(a_directory_is_made_like_another)
{
	struct stat a, b;

	sh("mkdir -p tree/sub; chown 52001:52002 tree; chmod 2751 tree");
	assert_status(run_function(make_like, NULL), 0);
	ck_assert_int_eq(stat(path("tree"), &a), 0);
	ck_assert_int_eq(stat(path("to/copy"), &b), 0);
	ck_assert(a.st_mode == b.st_mode && a.st_uid == b.st_uid &&
	    a.st_gid == b.st_gid);
	ck_assert_int_eq(b.st_uid, 52001);
	sh("! ls -A to/copy | grep .");
}
END_TEST

START_TEST(a_directory_that_is_made_replaces_nothing)
{
	const struct run *r;

	sh("mkdir -p tree; ln -s tree to/copy");
	r = run_function(make, NULL);
	assert_status(r, 1);
	assert_has(r->err, "create copy");
	sh("test -L to/copy");
}
END_TEST

START_TEST(a_directory_is_made_for_us_alone)
{
	struct stat st;

	sh("chmod 2777 to; chown 52001:52002 to");
	assert_status(run_function(make, NULL), 0);
	ck_assert_int_eq(stat(path("to/copy"), &st), 0);
	ck_assert(st.st_uid == 0 && (st.st_mode & 0777) == 0700);
	assert_status(run_function(make, NULL), 1);
}
END_TEST

static int
unmake(void *arg)
{
	(void)arg;
	return dir_remove(open_dir("to"), "copy") == 0 ? 0 : errno;
}

START_TEST(a_directory_that_is_not_empty_is_not_removed)
{
	const struct run *r;

	sh("mkdir -p to/copy/d");
	r = run_function(unmake, NULL);
	assert_status(r, ENOTEMPTY);
	ck_assert_str_eq(r->err, "");
	sh("rmdir to/copy/d");
	assert_status(run_function(unmake, NULL), 0);
	ck_assert(!exists("to/copy"));
	assert_status(run_function(unmake, NULL), ENOENT);
}
END_TEST

static int
forget(void *arg)
{
	return name_remove(open_dir("to"), arg) == 0 ? 0 : 1;
}

START_TEST(a_file_is_removed_or_nothing)
{
	static char name[] = "name";
	static const char *const file[] = {
		":", ": >to/name", "ln -s . to/name", "mkfifo to/name"
	};
	const struct run *r;

	sh("%s", file[_i]);
	assert_status(run_function(forget, name), 0);
	ck_assert(!exists("to/name"));
	sh("mkdir to/name");
	r = run_function(forget, name);
	assert_status(r, 1);
	assert_has(r->err, "remove name");
	ck_assert(exists("to/name"));
}
END_TEST

static int
forget_file(void *arg)
{
	static char name[] = "file";

	(void)arg;
	return forget(name);
}

static int
remove_copy(void *arg)
{
	(void)arg;
	return tree_remove(open_dir("to"), "copy") == 0 ? 0 : 1;
}

/* 0 where it is copied, 4 where there is none, 1. */
static int
put_file(void *arg)
{
	int rc;

	rc = file_copy(open_dir("."), arg == NULL ? "tree/f" : arg,
	    open_dir("to"), "file");
	return rc == 1 ? 0 : rc == 0 ? 4 : 1;
}

/* What makes or removes a name has its directory on disk. */
START_TEST(what_changes_a_directory_has_it_on_disk)
{
	static int (*const change_of[])(void *) = {
		make, unmake, copy, remove_copy, put_file, forget_file
	};
	const struct run *r;
	size_t i;

	sh("mkdir tree; echo x >tree/f; stat -c %%i to >expected");
	ck_assert_int_eq(setenv("SYNCED", "1", 1), 0);
	for (i = 0; i < sizeof(change_of) / sizeof(change_of[0]); i++) {
		r = run_function(change_of[i], NULL);
		assert_status(r, 0);
		put("synced", r->out);
		sh("tail -n 1 synced | diff - expected");
	}
	(void)unsetenv("SYNCED");
}
END_TEST

START_TEST(a_file_is_copied_with_all_that_counts)
{
	sh("mkdir -p tree; head -c 100001 /dev/urandom >tree/f; "
	    "chown 52001:52002 tree/f; chmod 4640 tree/f; "
	    "touch -d '2001-02-03 04:05:06.123456789' tree/f");
	assert_status(run_function(put_file, NULL), 0);
	sh("cmp tree/f to/file; for f in tree/f to/file; do "
	    "stat -c '%%a %%u %%g %%y' $f; done | uniq | wc -l | grep -qx 1");
}
END_TEST

static const struct {
	const char *make, *name;
	int status;
} one_file[] = {
	{ ":", "tree/none", 4 },
	{ ":", "none/f", 4 },
	{ "echo y >to/file", "tree/f", 1 },
	{ "ln -s nowhere to/file", "tree/f", 1 },
	{ "ln -s f tree/l", "tree/l", 1 },
	{ "ln -s tree l", "l/f", 1 },
	{ "mkfifo tree/p", "tree/p", 1 },
	{ "mkdir tree/d", "tree/d", 1 },
	{ ":", "tree/../tree/f", 1 },
	{ "mount -t tmpfs none tree; truncate -s 268435457 tree/f", "tree/f",
	    1 },
	{ "head -c 300000 /dev/zero >tree/f; "
	    "mount -t tmpfs -o size=64k none to", "tree/f", 1 }
};

START_TEST(a_file_that_cannot_be_copied_leaves_nothing)
{
	const struct run *r;

	sh("mkdir tree; echo x >tree/f; %s; ls -lR to >before",
	    one_file[_i].make);
	r = run_function(put_file, (void *)(uintptr_t)one_file[_i].name);
	assert_status(r, one_file[_i].status);
	ck_assert_int_eq(r->err[0] == '\0', one_file[_i].status == 4);
	sh("ls -lR to | diff before -");
}
END_TEST

START_TEST(a_signal_ends_the_copy_of_a_file)
{
	const struct run *r;

	sh("mkdir tree; head -c 1000000 /dev/zero >tree/f");
	bytes = stop_now;
	r = as_command(put_file);
	bytes = NULL;
	assert_status(r, 1);
	assert_has(r->err, "cmregen: tree/f: interrupted\n");
	ck_assert(!exists("to/file"));
}
END_TEST

static int
own(void *arg)
{
	return owner_like(open_dir("to"), arg, open_dir("."), "tree/model") ==
	    0 ? 0 : 1;
}

static const struct {
	const char *make, *name;
	int status;
} owned[] = {
	{ ": >tree/model; : >to/x", "x", 0 },
	{ "mkdir tree/model to/x", "x", 0 },
	{ ": >tree/model; mkdir to/d; : >to/d/x", "d/x", 0 },
	{ ": >tree/model; : >to/y; ln to/y to/x", "x", 1 },
	{ ": >tree/model; : >to/y; ln -s y to/x", "x", 1 },
	{ ": >tree/model; mkdir to/d; : >to/d/x; ln -s d to/e", "e/x", 1 },
	{ "mkdir tree/model; : >to/x", "x", 1 },
	{ ": >tree/model; mkdir to/x", "x", 1 },
	{ ": >tree/model; mkfifo to/x", "x", 1 },
	{ ": >tree/model", "x", 1 },
	{ ": >m; ln -s ../m tree/model; : >to/x", "x", 1 }
};

START_TEST(owner_and_mode_are_given_to_what_is_meant)
{
	const struct run *r;

	sh("mkdir tree; %s; chown -h 52001:52002 tree/model; "
	    "chmod 2751 tree/model; ls -lnR to >before",
	    owned[_i].make);
	r = run_function(own, (void *)(uintptr_t)owned[_i].name);
	assert_status(r, owned[_i].status);
	if (owned[_i].status == 0)
		sh("test \"$(stat -c '%%a %%u %%g' to/%s)\" = "
		    "'2751 52001 52002'", owned[_i].name);
	else
		sh("ls -lnR to | diff before -");
}
END_TEST

static void
add_seal(TCase *tc)
{
	tcase_add_test(tc, what_is_sealed_is_on_disk);
	LOOP(what_puppet_does_not_make_is_refused_by_name, unsealed);
}

static void
add_single(TCase *tc)
{
	tcase_add_test(tc, a_directory_is_made_like_another);
	tcase_add_test(tc, a_directory_that_is_made_replaces_nothing);
	tcase_add_test(tc, a_directory_is_made_for_us_alone);
	tcase_add_test(tc, a_directory_that_is_not_empty_is_not_removed);
	tcase_add_loop_test(tc, a_file_is_removed_or_nothing, 0, 4);
	tcase_add_test(tc, what_changes_a_directory_has_it_on_disk);
	tcase_add_test(tc, a_file_is_copied_with_all_that_counts);
	LOOP(a_file_that_cannot_be_copied_leaves_nothing, one_file);
	tcase_add_test(tc, a_signal_ends_the_copy_of_a_file);
	LOOP(owner_and_mode_are_given_to_what_is_meant, owned);
}

static void
add_remove(TCase *tc)
{
	tcase_add_test(tc, remove_takes_everything);
	tcase_add_loop_test(tc, remove_takes_whatever_has_the_name, 0, 7);
	tcase_add_loop_test(tc,
	    remove_stops_at_a_mount_point_and_takes_the_rest, 0, 2);
	tcase_add_test(tc, remove_stops_at_a_file_that_is_a_mount_point);
	tcase_add_test(tc,
	    remove_leaves_the_content_of_a_top_that_is_a_mount_point);
	tcase_add_test(tc, remove_takes_many_names);
	tcase_add_test(tc, remove_leaves_what_is_too_deep_and_takes_the_rest);
	tcase_add_test(tc, remove_takes_a_copy_as_deep_as_it_may_be);
}

int
main(void)
{
	static void (*const add[])(TCase *) = {
		add_copy, add_stop, add_race, add_compare, add_remove,
		add_seal, add_single
	};
	static const char *const name[] = {
		"copy", "stop", "race", "compare", "remove", "seal", "single"
	};
	Suite *suite;
	TCase *tc;
	size_t i;

	suite = suite_create("tree");
	for (i = 0; i < sizeof(add) / sizeof(add[0]); i++) {
		tc = tcase_create(name[i]);
		tcase_add_checked_fixture(tc, begin, end);
		tcase_set_timeout(tc, 120);
		add[i](tc);
		suite_add_tcase(suite, tc);
	}
	return suite_run(suite);
}
