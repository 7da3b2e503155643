/*
 * check_tree.c: copying, comparing and removing trees.  Linked without mom.c
 * and node.c.  Needs root, mounts, and a loop device.
 */
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "../../cmregen.h"
#include "fixture.h"

/* cmregen.o has a table of these; nothing here runs a command. */
int
mom_clean(const struct options *o)
{
	(void)o;
	return NOT_DONE;
}

int
mom_sign(const struct options *o)
{
	(void)o;
	return NOT_DONE;
}

int
node_prepare(const struct options *o)
{
	(void)o;
	return NOT_DONE;
}

int
node_finish(const struct options *o)
{
	(void)o;
	return NOT_DONE;
}

int
node_restore(const struct options *o)
{
	(void)o;
	return NOT_DONE;
}

static const char *const skip[] = { "ssl.lock", NULL };

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
verify(void *arg)
{
	(void)arg;
	return tree_verify(open_dir("."), "tree", open_dir("to"), "copy",
	    skip) == 0 ? 0 : 1;
}

static int
settle(void *arg)
{
	(void)arg;
	return tree_settle(open_dir("."), "tree", open_dir("to"), "copy",
	    skip) == 0 ? 0 : 1;
}

static int
copy_and_settle(void *arg)
{
	return copy(arg) == 0 ? settle(arg) : 1;
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
	assert_status(run_function(copy_and_settle, NULL), 0);
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
	assert_status(run_function(copy_and_settle, NULL), 0);
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

START_TEST(the_top_stays_ours_until_it_is_verified)
{
	struct stat st;

	sh("mkdir tree; echo x >tree/f; chmod 755 tree; chown -R 52001 tree");
	assert_status(run_function(copy, NULL), 0);
	ck_assert_int_eq(stat(path("to/copy"), &st), 0);
	ck_assert_uint_eq(st.st_mode & 07777, 0700);
	ck_assert_uint_eq(st.st_uid, 0);
	assert_status(run_function(verify, NULL), 0);
	assert_same(tree_text("to/copy", NULL), tree_text("tree", NULL));
}
END_TEST

START_TEST(names_that_are_skipped_are_skipped_at_the_top)
{
	sh("mkdir -p tree/d; echo x >tree/ssl.lock; echo x >tree/d/ssl.lock");
	assert_status(run_function(copy_and_settle, NULL), 0);
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

START_TEST(a_file_that_is_a_mount_point_of_another_is_refused)
{
	sh("mkdir tree m; mount -t tmpfs none m; echo x >m/f; : >tree/my-file; "
	    "mount --bind m/f tree/my-file");
	assert_refused("my-file");
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

	if (strstr(get("/proc/filesystems"), "\tvfat\n") == NULL &&
	    system("modprobe vfat 2>/dev/null") != 0) {
		(void)printf("a_file_system_without_owners_is_refused: "
		    "skipped: this kernel has no vfat\n");
		return;
	}
	sh("mkdir -p tree/d; echo x >tree/d/f; chown -R 52001:52001 tree; "
	    "truncate -s 4M image; mkfs.vfat image >/dev/null; "
	    "mount -o loop image to");
	r = run_function(copy_and_settle, NULL);
	assert_status(r, 1);
	ck_assert_str_ne(r->err, "");
}
END_TEST

START_TEST(a_copy_to_another_file_system)
{
	sh("mkdir -p tree/d; echo x >tree/d/f; chown -R 52001:52001 tree; "
	    "truncate -s 8M image && mkfs.ext4 -q image && "
	    "mount -o loop image to");
	assert_copied();
}
END_TEST

/*
 * verify, settle, compare
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
changed_tree(int i)
{
	sh("mkdir -p tree/d/e; echo x >tree/d/f; ln -s x tree/d/l; "
	    "chown -Rh 52001:52001 tree; "
	    "touch -h -d 2011-01-01 tree/d/f tree/d/l tree/d/e tree/d tree");
	assert_status(run_function(copy, NULL), 0);
	sh("cd to/copy; %s", change[i].change);
	if (change[i].seen)
		sh("cd to/copy; touch -hc -d 2011-01-01 d/e d .");
}

START_TEST(verify_sees_every_difference)
{
	const struct run *r;

	changed_tree(_i % (int)(sizeof(change) / sizeof(change[0])));
	r = run_function(_i < (int)(sizeof(change) / sizeof(change[0])) ?
	    verify : settle, NULL);
	assert_status(r, 1);
	assert_has(r->err,
	    change[_i % (int)(sizeof(change) / sizeof(change[0]))].name);
	ck_assert(exists("to/copy"));
}
END_TEST

START_TEST(compare_sees_all_but_times)
{
	const struct run *r;
	const char *before;

	changed_tree(_i);
	sh("chown 52001:52001 to/copy; chmod 755 to/copy");
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

	sh("mkdir -p tree/a/m tree/b/c tree/z; echo x >tree/b/c/f; "
	    "mkdir other; echo y >other/y; echo z >tree/z/z; %s tree/a/m; "
	    "echo y >tree/a/m/y", _i == 0 ? "mount -t tmpfs none" :
	    "mount --bind other");
	r = run_function(discard, (void *)(uintptr_t)"tree");
	assert_status(r, 1);
	assert_has(r->err, "m");
	assert_same(get("tree/a/m/y"), "y\n");
	assert_same(get("other/y"), "y\n");
	ck_assert(!exists("tree/b"));
	ck_assert(!exists("tree/z"));
	sh("umount tree/a/m");
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
	assert_status(run_function(copy_and_settle, NULL), 0);
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
	tcase_add_test(tc, the_top_stays_ours_until_it_is_verified);
	tcase_add_test(tc, names_that_are_skipped_are_skipped_at_the_top);
	tcase_add_test(tc, a_fifo_is_refused);
	tcase_add_loop_test(tc, a_device_is_refused, 0, 2);
	tcase_add_test(tc, a_socket_is_refused);
	tcase_add_test(tc, another_file_system_inside_is_refused);
	tcase_add_test(tc, a_file_that_is_a_mount_point_of_another_is_refused);
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
}

static void
add_compare(TCase *tc)
{
	tcase_add_loop_test(tc, verify_sees_every_difference, 0,
	    2 * (int)(sizeof(change) / sizeof(change[0])));
	LOOP(compare_sees_all_but_times, change);
	tcase_add_loop_test(tc, compare_sees_the_top, 0, 5);
	tcase_add_test(tc, what_is_not_there_is_not_equal);
}

/*
 * Directories below one another with so many names that there is no room for
 * those of the last.
 */
START_TEST(more_names_than_there_is_room_for)
{
	static char name[] = "tree";
	const char *before;

	sh("mkdir -p tree/d/d/d/d/d to; seq 14335 | (cd tree && xargs touch); "
	    "seq 1791 | (cd tree/d && xargs touch); "
	    "seq 223 | (cd tree/d/d && xargs touch); "
	    "seq 27 | (cd tree/d/d/d && xargs touch); "
	    "seq 20 | (cd tree/d/d/d/d && xargs touch); "
	    "echo x >tree/d/d/d/d/d/x; ls -R tree | wc -l >before");
	before = get("before");
	assert_status(run_function(copy_and_settle, NULL), 0);
	sh("mv to/copy tree.copy; ls -R tree.copy | wc -l >now; "
	    "diff -r tree tree.copy; mv tree.copy to/copy");
	assert_same(get("now"), before);
	assert_status(run_function(compare, NULL), 0);
	sh("rm to/copy/d/d/d/d/d/x");
	assert_status(run_function(compare, NULL), 1);
	assert_status(run_function(discard, name), 0);
	ck_assert(!exists("tree"));
}
END_TEST

static int
like_tree(void *arg)
{
	return dir_like(open_dir("."), arg, "tree") == 0 ? 0 : 1;
}

START_TEST(a_directory_is_like_another_but_empty)
{
	static char name[] = "new";
	struct stat a, b;

	sh("mkdir -p tree/sub; chown 52001:52002 tree; chmod 2751 tree");
	assert_status(run_function(like_tree, name), 0);
	ck_assert_int_eq(stat(path("tree"), &a), 0);
	ck_assert_int_eq(stat(path("new"), &b), 0);
	ck_assert(a.st_mode == b.st_mode && a.st_uid == b.st_uid &&
	    a.st_gid == b.st_gid);
	ck_assert_int_eq(b.st_uid, 52001);
	sh("! ls -A new | grep .");
}
END_TEST

START_TEST(a_directory_like_another_replaces_nothing)
{
	static char name[] = "new";
	const struct run *r;

	sh("mkdir -p tree; ln -s tree new");
	r = run_function(like_tree, name);
	assert_status(r, 1);
	assert_has(r->err, "create new");
	sh("test -L new; rm -r tree new");
	r = run_function(like_tree, name);
	assert_status(r, 1);
	assert_has(r->err, "look at tree");
	ck_assert(!exists("new"));
}
END_TEST

static void
add_like(TCase *tc)
{
	tcase_add_test(tc, a_directory_is_like_another_but_empty);
	tcase_add_test(tc, a_directory_like_another_replaces_nothing);
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
	tcase_add_test(tc, more_names_than_there_is_room_for);
	tcase_add_test(tc, remove_takes_a_copy_as_deep_as_it_may_be);
}

int
main(void)
{
	static void (*const add[])(TCase *) = {
		add_copy, add_compare, add_remove, add_like
	};
	static const char *const name[] = {
		"copy", "compare", "remove", "like"
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
