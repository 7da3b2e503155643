/*
 * siege: the hostile owner against whole commands.
 *
 *	siege [-v] [-r rounds] [-s seconds] WORK PROGRAM [row ...]
 *
 * One process, as the service user, who owns ssl, the backup and what puppet
 * makes for us, swaps what is in them for links to directories and files
 * outside and for fifos, in a tight loop, while root runs a command; in other
 * rows he also owns the directory that ssl is in, and swaps ssl, the backup
 * and the work directory themselves, or plants one of his own.  After each
 * round: was anything outside read, written, re-owned or removed by us (see
 * gate.c for puppet)?  Did the command hang?  `cp -a' of ssl must be seen to
 * fall.
 *
 * A row is named by words of its first two columns.  WORK holds the templates
 * that the script beside this made.
 */
#define _GNU_SOURCE
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <grp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "outside.h"
#include "place.h"

enum {
	OWNER = 52001,		/* uid and gid of the service user */
	ATTACK = 1500,		/* milliseconds at most */
	LIMIT = 90000		/* of a round; gate.c is patient, too */
};

#define NODE "cm1.example.com.pem"

/* What is swapped for what in a tree. */
struct swap {
	const char *name, *with;
};

static const struct swap inside[] = {
	{ "certs", "certs-link" },
	{ "private_keys", "keys-link" },
	{ "certificate_requests", "requests-link" },
	{ "certs/ca.pem", "file-link" },
	{ "certs/" NODE, "file-link" },
	{ "private_keys/" NODE, "file-link" },
	{ "certificate_requests/" NODE, "file-link" },
	{ "crl.pem", "file-link" },
	{ "certs", "fifo" },
	{ "certs/ca.pem", "fifo" },
	{ "certs/" NODE, "fifo" },
	{ "private_keys/" NODE, "fifo" },
	{ "crl.pem", "fifo" },
	{ "certs", "file" },
	{ "certs/ca.pem", "other" },
};

enum { MAKE = 3 };

static const char *const trees[] = {
	"ssl", "ssl", "ssl_bak", "ssl.cmregen/make.1", "ssl.cmregen/make.2",
	"ssl.cmregen/next", "ssl.cmregen/old", "ssl.cmregen/state.1"
};

/* Where the directory of ssl is his. */
static const char *const tops[] = {
	"ssl", "ssl.cmregen", "ssl.cmregen", "ssl_bak",
	"ssl_bak.cmregen-part", "ssl_bak.cmregen-gone"
};

static const char *const others[] = {
	"top-link", "other", "planted", "fifo", "file"
};

#define COUNT(a) ((int)(sizeof(a) / sizeof(*(a))))

enum how { SWAP_INSIDE, SWAP_TOP, PLANT };

struct row {
	const char *name, *template;
	const char *args[8];	/* of the program, or of another one */
	const char *program;	/* which must be seen to fall */
};

#define P "-p", "@/node/bin/puppet"

/* Those of the program are played twice, see his_parent. */
static const struct row rows[] = {
	{ "prepare", "cleaned7", { "node", "prepare", P, NULL }, NULL },
	{ "prepare", "cleaned5", { "node", "prepare", P, NULL }, NULL },
	{ "finish", "signed7", { "node", "finish", P, "-w", "0", NULL }, NULL },
	{ "finish", "signed5", { "node", "finish", P, "-w", "0", NULL }, NULL },
	{ "restore", "finished7", { "node", "restore", P, "-a", NULL }, NULL },
	{ "back", "unproven7", { "node", "restore", P, NULL }, NULL },
	{ "rescue", "finished7", { "node", "restore", "-a", "-r", "@/node",
	    "-s", "/puppet/ssl", NULL }, NULL },
	{ "status", "unproven7", { "node", "status", P, NULL }, NULL },
	{ "cp -a", "cleaned7", { "-a", "@/node/puppet/ssl",
	    "@/node/puppet/ssl_bak", NULL }, "/bin/cp" },
};

struct order {
	enum how how;
	int a, b, c;		/* which of them */
	int held;		/* by a descriptor of the tree */
	int delay;		/* microseconds */
	unsigned seed;
};

static struct {
	volatile int stop;
	volatile unsigned long swaps;
	volatile int reached;	/* something in the work directory */
} *shared;

static struct place place;
static const char *work, *program;
static unsigned dice = 1;
static int to_attacker, from_attacker, verbose;
static int his_parent;		/* the directory of ssl is his, too */
static pid_t attacker;

static unsigned
roll(unsigned below)
{
	dice ^= dice << 13;
	dice ^= dice >> 17;
	dice ^= dice << 5;
	return dice % below;
}

/*
 * The attacker.
 */

static void
linger(void)
{
	volatile unsigned n;

	for (n = roll(4) == 0 ? roll(40000) : roll(400); n > 0; n--)
		continue;
}

static int
swap(int at, const char *a, const char *b)
{
	int rc;

	rc = renameat2(at, a, AT_FDCWD, b, RENAME_EXCHANGE);
	if (rc == 0)
		shared->swaps++;
	linger();
	return rc == 0;
}

static void
plant(const char *name, int what)
{
	switch (what) {
	case 0:
		(void)symlink(path("%s/w0/outside/dir", work), name);
		break;
	case 1:
		(void)mkdir(name, 0777);
		break;
	case 2:
		(void)rename("stage/planted", name);
		break;
	default:
		(void)mkfifo(name, 0666);
	}
	linger();
	if (roll(3) == 0) {
		(void)rename(name, "stage/taken");
		(void)unlink("stage/taken");
		(void)rmdir("stage/taken");
		(void)rename("stage/taken", "stage/planted");
	}
	shared->swaps++;
}

/* Swaps what is in a tree, by its name or by a descriptor of it. */
static void
attack_inside(const struct order *o, long end)
{
	char tree[PLACE_PATH], name[2 * PLACE_PATH];
	const char *with;
	int at, odd;

	(void)snprintf(tree, sizeof(tree), "sb/node/puppet/%s", trees[o->a]);
	(void)snprintf(name, sizeof(name), "%s/%s", tree, inside[o->b].name);
	with = path("stage/%s", inside[o->b].with);
	at = AT_FDCWD;
	for (odd = 0; !shared->stop && now() < end; ) {
		if (o->held && at == AT_FDCWD && (at = open(tree, O_RDONLY |
		    O_DIRECTORY)) == -1)
			at = AT_FDCWD;
		odd ^= swap(at, at == AT_FDCWD ? name : inside[o->b].name,
		    with);
		if ((odd || at != AT_FDCWD) && strchr(trees[o->a], '/') !=
		    NULL)
			shared->reached = 1;
	}
	if (odd)
		(void)swap(at, at == AT_FDCWD ? name : inside[o->b].name,
		    with);
	if (at != AT_FDCWD)
		(void)close(at);
}

static void
attack(const struct order *o)
{
	char name[PLACE_PATH];
	const char *with;
	long end;
	int odd;

	dice = o->seed;
	(void)usleep((useconds_t)o->delay);
	end = now() + ATTACK;
	if (o->how == SWAP_INSIDE) {
		attack_inside(o, end);
		return;
	}
	(void)snprintf(name, sizeof(name), "sb/node/puppet/%s", tops[o->a]);
	with = path("stage/%s", others[o->b]);
	for (odd = 0; !shared->stop && now() < end; )
		if (o->how == PLANT)
			plant(name, o->c);
		else
			odd ^= swap(AT_FDCWD, name, with);
	if (odd)
		(void)swap(AT_FDCWD, name, with);
}

static void
stage_link(const char *name, const char *outside)
{
	if (symlink(path("%s/w0/outside/%s", work, outside), name) == -1)
		err(2, "create %s", name);
}

static void
stage_build(void)
{
	stage_link("stage/certs-link", "dir/certs");
	stage_link("stage/keys-link", "dir/private_keys");
	stage_link("stage/requests-link", "dir/certificate_requests");
	stage_link("stage/file-link", "secret");
	stage_link("stage/top-link", "dir");
	put_dir("stage/other", 0755);
	put_file("stage/file", "a file\n", 0644);
	if (mkfifo("stage/fifo", 0644) == -1)
		err(2, "create stage/fifo");
	put_dir("stage/planted", 0700);
	put_file("stage/planted/journal", path("backup %s/w0/outside/dir\n"
	    "staged\n", work), 0600);
	stage_link("stage/planted/next", "dir/next");
	stage_link("stage/planted/old", "dir/old");
}

static void
attacker_main(int in, int out)
{
	struct order o;

	if (setgroups(0, NULL) == -1 || setgid(OWNER) == -1 ||
	    setuid(OWNER) == -1)
		err(2, "become the attacker");
	(void)umask(0);
	while (read(in, &o, sizeof(o)) == (ssize_t)sizeof(o)) {
		stage_build();
		if (write(out, "b", 1) != 1)
			break;
		attack(&o);
		if (write(out, "e", 1) != 1)
			break;
	}
	_exit(0);
}

static void
start_attacker(void)
{
	int to[2], from[2];

	if (pipe2(to, O_CLOEXEC) == -1 || pipe2(from, O_CLOEXEC) == -1 ||
	    (attacker = fork()) == -1)
		err(2, "start the attacker");
	if (attacker == 0) {
		(void)close(to[1]);
		(void)close(from[0]);
		attacker_main(to[0], from[1]);
	}
	(void)close(to[0]);
	(void)close(from[1]);
	to_attacker = to[1];
	from_attacker = from[0];
}

static void
expect(char what)
{
	char got;

	if (read(from_attacker, &got, 1) != 1 || got != what)
		errx(2, "the attacker is gone");
}

/*
 * A round.
 */

static void
skeleton(const struct row *r)
{
	tree_wipe(AT_FDCWD, place.dir);
	tree_wipe(AT_FDCWD, "stage");
	place_fill(&place, path("%s/template.%s", work, r->template));
	put_dir("stage", 0755);
	if (chown("stage", OWNER, OWNER) == -1 || (his_parent &&
	    chown(path("%s/node/puppet", place.dir), OWNER, OWNER) == -1))
		err(2, "give away a directory");
	if (rename(path("%s/node/bin", place.dir), path("%s/node/real",
	    place.dir)) == -1)
		err(2, "move the stand-in");
	put_dir(path("%s/node/bin", place.dir), 0755);
	if (symlink(path("%s/gate", work), path("%s/node/bin/puppet",
	    place.dir)) == -1 || symlink(path("%s/gate", work),
	    path("%s/node/bin/puppetserver", place.dir)) == -1)
		err(2, "set the gate up");
}

static void
choose(const struct row *r, struct order *o)
{
	(void)memset(o, 0, sizeof(*o));
	o->seed = roll(1000000) + 1;
	o->held = roll(2) == 0;
	o->delay = roll(2) == 0 ? 0 : (int)roll(200000);
	if (r->program != NULL) {
		o->how = SWAP_INSIDE;
		o->b = (int)roll(2);
		o->delay = 0;
		return;
	}
	if (!his_parent || roll(4) == 0) {
		o->how = SWAP_INSIDE;
		o->a = (int)roll(COUNT(trees));
		o->b = (int)roll(COUNT(inside));
		/* what puppet works in */
		if (strcmp(r->name, "prepare") == 0 && roll(2) == 0)
			o->a = MAKE;
		return;
	}
	o->how = roll(4) == 0 ? PLANT : SWAP_TOP;
	o->a = (int)roll(COUNT(tops));
	o->b = (int)roll(COUNT(others));
	o->c = (int)roll(4);
}

static void
tell(const struct order *o)
{
	char *text;

	(void)printf("    %s %s %s %s after %d us:\n", o->how == SWAP_INSIDE ?
	    trees[o->a] : tops[o->a], o->how == PLANT ? "planted" :
	    "swapped for", o->how == PLANT ? "" : o->how == SWAP_INSIDE ?
	    inside[o->b].with : others[o->b], o->how == SWAP_INSIDE ?
	    inside[o->b].name : "", o->delay);
	text = slurp(place.err);
	(void)printf("%s", gist(text));
	free(text);
}

static int found;		/* for nftw, which passes nothing on */

static int
planted_one(const char *name, const struct stat *st, int type, struct FTW *at)
{
	(void)name;
	(void)type;
	(void)at;
	found |= !(S_ISDIR(st->st_mode) || (S_ISREG(st->st_mode) &&
	    st->st_nlink == 1)) || (st->st_uid != 0 && st->st_uid != OWNER);
	return 0;
}

/*
 * In the work directory nothing can be reached from 6 on; below, where it
 * stands open while puppet works, nothing that he has put there is called
 * next.  By a descriptor that he holds he can write into it all the same.
 * finish has puppet work in next itself, and an undone finish calls next what
 * was ssl: what he put there stays, and is refused before an exchange.
 */
static void
judge_work(const struct row *r, const struct order *o, int *fell)
{
	const char *next;

	if (his_parent || r->program != NULL)
		return;
	if (strchr(r->template, '5') == NULL)
		fell[REACHED] |= shared->reached;
	next = path("%s/node/puppet/ssl.cmregen/next", place.dir);
	found = 0;
	if (access(next, F_OK) == 0)
		(void)nftw(next, planted_one, 16, FTW_PHYS);
	fell[PLANTED] |= found && !o->held && strcmp(r->name, "finish") != 0;
}

/* Returns the exit status, or -1. */
static int
play(const struct row *r, int *fell)
{
	struct order o;
	struct trace t;
	int f, any;

	skeleton(r);
	choose(r, &o);
	shared->stop = shared->reached = 0;
	if (write(to_attacker, &o, sizeof(o)) != (ssize_t)sizeof(o))
		err(2, "write to the attacker");
	expect('b');
	(void)memset(&t, 0, sizeof(t));
	t.tty = -1;
	t.act = TRACE_PLAIN;
	t.limit = LIMIT;
	place_run(&place, r->program == NULL ? program : r->program, r->args,
	    &t);
	shared->stop = 1;
	expect('e');
	place_reap(&place, 1);
	outside_judge(fell);
	judge_work(r, &o, fell);
	fell[HUNG] |= t.hung;
	fell[CRASHED] |= !t.hung && WIFSIGNALED(t.status);
	for (any = f = 0; f < FALLS; f++)
		any |= fell[f];
	if ((any && r->program == NULL) || verbose)
		tell(&o);
	return WIFEXITED(t.status) ? WEXITSTATUS(t.status) : -1;
}

static unsigned long
play_row(const struct row *r, long rounds, long seconds)
{
	unsigned long count[FALLS] = { 0 }, status[4] = { 0 }, fallen, n,
	    reached, swaps;
	int any, f, fell[FALLS], s;
	long end;

	n = fallen = reached = 0;
	swaps = shared->swaps;
	end = now() + seconds * 1000;
	while (n < (unsigned long)rounds && now() < end) {
		n++;
		(void)memset(fell, 0, sizeof(fell));
		s = play(r, fell);
		if (s >= 0 && s < 4)
			status[s]++;
		reached += shared->reached != 0;
		for (any = f = 0; f < FALLS; f++) {
			count[f] += (unsigned long)fell[f];
			any |= fell[f];
		}
		fallen += (unsigned long)any;
	}
	(void)printf("%-8s %-10s %-6s %6lu %6lu %6lu %6lu %7lu %6lu",
	    r->name, r->template, his_parent ? "parent" : "owner", n,
	    status[0], status[1], status[3], (shared->swaps - swaps) / n,
	    fallen);
	for (f = 0; f < FALLS; f++)
		if (count[f] != 0)
			(void)printf(" %s %lu", fall_name[f], count[f]);
	if (reached != 0)
		(void)printf(" (inside the work directory %lu times)",
		    reached);
	(void)printf("\n");
	(void)fflush(stdout);
	return fallen;
}

static int
wanted(const struct row *r, char *names[])
{
	if (names[0] == NULL)
		return 1;
	for (; names[0] != NULL; names++)
		if (strstr(path("%s %s %s", r->name, r->template, his_parent ?
		    "parent" : "owner"), names[0]) != NULL)
			return 1;
	return 0;
}

static void
begin(void)
{
	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE,
	    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (shared == MAP_FAILED)
		die("memory");
	place_enter(&place, work, 0);
	if (mount("siege", path("%s/w0", work), "tmpfs", MS_STRICTATIME,
	    "mode=755,size=64m") == -1 || chdir(path("%s/w0", work)) == -1)
		die("mount");
	(void)umask(0);
	put_dir("empty", 0700);
	outside_build();
	start_attacker();
}

/* Runs the rows; of his children are only those that a command leaves. */
static int
play_rows(char *names[], long rounds, long seconds)
{
	const struct row *r;
	unsigned long fallen;
	int failed, i, passed;

	(void)prctl(PR_SET_CHILD_SUBREAPER, 1);
	(void)printf("%-8s %-10s %-6s %6s %6s %6s %6s %7s %6s\n", "command",
	    "state", "he is", "rounds", "0", "1", "3", "swaps", "fallen");
	passed = failed = 0;
	for (i = 0; i < 2 * COUNT(rows); i++) {
		r = &rows[i % COUNT(rows)];
		his_parent = i >= COUNT(rows);
		if ((his_parent && r->program != NULL) || !wanted(r, names))
			continue;
		fallen = play_row(r, rounds, seconds);
		passed += (fallen == 0) == (r->program == NULL);
		failed += (fallen == 0) != (r->program == NULL);
	}
	(void)printf("%d passed, %d failed\n", passed, failed);
	(void)fflush(stdout);
	return failed != 0 || passed == 0;
}

int
main(int argc, char *argv[])
{
	long rounds, seconds;
	pid_t pid;
	int c, status;

	rounds = 300;
	seconds = 120;
	while ((c = getopt(argc, argv, "r:s:v")) != -1)
		switch (c) {
		case 'r': rounds = atol(optarg); break;
		case 's': seconds = atol(optarg); break;
		case 'v': verbose = 1; break;
		default: return 2;
		}
	if (argc - optind < 2) {
		(void)fprintf(stderr, "usage: siege [-v] [-r rounds] "
		    "[-s seconds] WORK PROGRAM [row ...]\n");
		return 2;
	}
	work = argv[optind];
	program = argv[optind + 1];
	begin();
	if ((pid = fork()) == -1)
		err(2, "fork");
	if (pid == 0)
		_exit(play_rows(argv + optind + 2, rounds, seconds));
	if (waitpid(pid, &status, 0) == -1)
		err(2, "wait");
	(void)close(to_attacker);
	(void)waitpid(attacker, NULL, 0);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 2;
}
