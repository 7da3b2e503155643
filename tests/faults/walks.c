/*
 * walks.c: random walks.  From a random state, up to four node commands, each
 * disturbed at a random system call, with what else can happen in between;
 * then one undisturbed command after another must come to an end.
 *
 *	walks [-v] [-j workers] [-s seed] [-n walks] [-x falls] WORK PROGRAM
 *
 * WORK holds the templates that the script beside this made.  The walk of a
 * seed is always the same, but for what depends on the pace of the machine.
 * -v tells every step, -x ends when so many walks fell.
 *
 * Prints what fell, each with its seed and steps, then a table of what was
 * tried from which state, then "N passed, N failed".
 */
#define _GNU_SOURCE
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/wait.h>

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "oracle.h"

#define NODE "cm1.example.com"

enum {
	WORKERS = 8,
	STRUCK = 4,		/* disturbed commands of a walk, at most */
	SETTLE = 12,		/* undisturbed ones, at most */
	PLACES = 3,		/* of backups */
	DISK = 8 << 20
};

enum strike {
	NOTHING, KILL, KILL_AFTER, SIGNAL, ERROR, ERROR_ON, DISK_FULL, CHILD,
	STRIKES
};

static const char *const strike_name[STRIKES] = {
	"nothing", "kill", "kill-after", "signal", "error", "error-on",
	"disk-full", "child"
};

static const struct {
	const char *name;
	int weight;
} bases[] = {
	{ "idle", 8 }, { "cleaned", 17 }, { "staged", 10 }, { "signed", 35 },
	{ "finished", 15 }, { "unproven", 15 }
};

struct walk {
	uint64_t seed, dice;
	int backup;		/* the place that was named last */
};

static struct shared {
	long next, walks, fell;
	long struck[WHERES][COMMANDS][STRIKES];
	long quiet[WHERES][COMMANDS][4];
	long events[16];
} *shared;

static struct place place;
static const char *work, *program;
static struct walk w;

/*
 * Dice.
 */

static uint64_t
roll64(void)
{
	uint64_t z;

	z = w.dice += 0x9e3779b97f4a7c15U;
	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9U;
	z = (z ^ z >> 27) * 0x94d049bb133111ebU;
	return z ^ z >> 31;
}

static int
roll(int below)
{
	return (int)(roll64() % (uint64_t)below);
}

static int
chance(int percent)
{
	return roll(100) < percent;
}

/*
 * The sandbox.
 */

static char *
backup_path(int n)
{
	static const char *const names[PLACES] = {
		"node/puppet/ssl_bak", "usb/keep", "node/puppet/kept"
	};

	return path("%s/%s", place.dir, names[n]);
}

/* As -b has it: the usual place need not be named. */
static const char *
backup_named(void)
{
	return w.backup == 0 ? NULL : backup_path(w.backup);
}

/* By what the journal says; the argument is where the backup was before. */
static void
look(struct view *v, const char *before)
{
	char was[PLACE_PATH];

	(void)snprintf(was, sizeof(was), "%s", before);
	view_take(v, &place, NULL);
	if (v->journal.backup[0] == '\0' && strcmp(was, v->backup) != 0) {
		view_free(v);
		view_take(v, &place, was);
	}
}

/* After something else than a command. */
static void
look_again(struct view *v)
{
	char was[PLACE_PATH];

	(void)strcpy(was, v->backup);
	view_free(v);
	look(v, was);
	point(v);
}

static void
fresh(const char *base)
{
	const char *puppet, *size;

	puppet = path("%s/node/puppet", place.dir);
	while (umount(puppet) == 0)
		;
	while (umount(path("%s/usb", place.dir)) == 0)
		;
	tree_wipe(AT_FDCWD, place.dir);
	(void)mkdir(place.dir, 0755);
	(void)mkdir(path("%s/node", place.dir), 0755);
	(void)mkdir(puppet, 0755);
	(void)mkdir(path("%s/usb", place.dir), 0755);
	size = path("size=%d,mode=755", DISK);
	if (mount("disk", puppet, "tmpfs", 0, size) == -1 ||
	    mount("usb", path("%s/usb", place.dir), "tmpfs", 0, size) == -1)
		die("mount");
	place_fill(&place, path("%s/template.%s%d", work, base, memory.version));
}

/* Calls the stand-in for somebody else than the program. */
static void
call(const char *const *args)
{
	struct trace t;

	(void)memset(&t, 0, sizeof(t));
	t.tty = -1;
	t.act = TRACE_PLAIN;
	place_run(&place, path("%s/%s", place.dir, args[0]), args + 1, &t);
}

static void
heal(void)
{
	tree_wipe(AT_FDCWD, path("%s/node/knobs/faults", place.dir));
	tree_wipe(AT_FDCWD, path("%s/mom/knobs/server-stopped", place.dir));
	(void)unlink(path("%s/node/puppet/fill", place.dir));
}

static void
disk_fill(void *arg)
{
	static const char zeros[4096];
	int fd;

	(void)arg;
	fd = open(path("%s/node/puppet/fill", place.dir),
	    O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	if (fd == -1)
		return;
	while (write(fd, zeros, sizeof(zeros)) > 0)
		continue;
	(void)close(fd);
}

/*
 * Commands.
 */

static const char *
strike_child(void)
{
	static const char *const actions[] = {
		"exit 1", "mute 0", "mute 1", "wrong -", "after 1",
		"signal KILL", "signal-after KILL", "parent TERM",
		"parent-after TERM", "quiet -", "cut -"
	};
	const char *line;

	line = path("%s %d *", actions[roll(sizeof(actions) /
	    sizeof(*actions))], 1 + roll(24));
	put(path("%s/node/knobs/faults", place.dir), path("%s\n", line));
	return path("child: %s", line);
}

/*
 * So many calls a whole one makes, as tracer counts them: all of them, those
 * that change something, those that change names or processes.
 */
static const int *
calls_of(enum where at, enum command c)
{
	static const int prepare[] = { 1400, 160, 27 };
	static const int again[] = { 260, 23, 6 };
	static const int finish[] = { 1700, 190, 90 };
	static const int on[] = { 1100, 140, 70 };
	static const int restore[] = { 1550, 200, 72 };
	static const int back[] = { 640, 96, 53 };
	static const int undo[] = { 440, 64, 35 };

	if (c == PREPARE)
		return at == IDLE ? prepare : again;
	if (c == FINISH)
		return at == STAGED ? finish : on;
	return at == IDLE ? restore : at == STAGED ? undo : back;
}

/* Sets the trace up, and says in words what it is. */
static const char *
strike_set(enum strike s, enum where at, enum command c, struct trace *t)
{
	static const int signals[] = { SIGTERM, SIGINT, SIGHUP };
	static const int errors[] = { EIO, ENOSPC, EACCES, ENOMEM };
	(void)memset(t, 0, sizeof(*t));
	t->tty = -1;
	t->changing = roll(5) == 0 ? 0 : 1 + roll(2);
	t->at = 1 + roll(calls_of(at, c)[t->changing]);
	/* the exchange itself is short */
	if (t->changing == 2 && chance(60) && (at == STAGED || at == IDLE))
		t->at = 18 + roll(c == FINISH ? 28 : 40);
	switch (s) {
	case KILL:
		t->act = TRACE_KILL;
		break;
	case KILL_AFTER:
		t->act = TRACE_KILL_AFTER;
		break;
	case SIGNAL:
		t->act = TRACE_SIGNAL;
		t->value = signals[roll(3)];
		break;
	case ERROR:
	case ERROR_ON:
		t->act = s == ERROR ? TRACE_ERRNO : TRACE_ERRNO_ON;
		t->value = errors[roll(4)];
		break;
	case DISK_FULL:
		t->act = TRACE_HOOK;
		t->hook = disk_fill;
		break;
	case CHILD:
		return strike_child();
	default:
		return "";
	}
	return path("%s %d at call %ld%s", strike_name[s], t->value, t->at,
	    t->changing == 0 ? "" : t->changing == 1 ?
	    " of those that change" : " of those that change names");
}

/* Runs one; the view is that from before, and afterwards that from after. */
static int
run(const struct order *o, enum strike s, struct view *v)
{
	struct trace t;
	struct view b;
	const char *how;
	enum care care;

	care = s == ERROR_ON ? SPEECHLESS : s != NOTHING || access(
	    path("%s/mom/knobs/server-stopped", place.dir), F_OK) == 0 ?
	    DISTURBED : UNDISTURBED;
	how = strike_set(s, begins(v), o->command, &t);
	order_tell(o, how);
	view_free(v);
	view_take(&b, &place, o->backup[0] == '\0' ? NULL : o->backup);
	place_run(&place, program, o->argv, &t);
	place_reap(&place, chance(50) || s == NOTHING);
	heal();
	if (t.number != -1 && s != NOTHING && s != CHILD)
		tell("    at %s(%#lx, %#lx, %#lx)%s\n", trace_name(t.number),
		    t.args[0], t.args[1], t.args[2], t.applied ? "" :
		    ", which cannot");
	look(v, b.backup);
	judge(o, care, &t, &b, v);
	point(v);
	if (s == NOTHING && WIFEXITED(t.status))
		shared->quiet[b.where][o->command][WEXITSTATUS(t.status) & 3]++;
	else
		shared->struck[b.where][o->command][s]++;
	view_free(&b);
	return WIFEXITED(t.status) ? WEXITSTATUS(t.status) : -1;
}

/*
 * What else happens.
 */

static const char *
event_boot(const struct view *v)
{
	static const char *const names[] = {
		"puppet", "pe-puppetserver", "mcollective", "pxp-agent"
	};
	const char *start[] = {
		"node/bin/puppet", "resource", "service", NULL,
		"ensure=running", NULL
	};
	const char *file;
	char *text;
	size_t i;

	(void)v;
	place_reap(&place, 0);
	for (i = 0; i < sizeof(names) / sizeof(*names); i++) {
		file = path("%s/node/services/%s", place.dir, names[i]);
		text = slurp(file);
		if (text[0] != '\0')
			put(file, strstr(text, "true") != NULL ?
			    "stopped true\n" : "stopped false\n");
		free(text);
	}
	put(path("%s/node/cache/state/agent_catalog_run.lock", place.dir),
	    "999999");
	for (i = 0; i < sizeof(names) / sizeof(*names); i++) {
		text = slurp(path("%s/node/services/%s", place.dir, names[i]));
		start[3] = names[i];
		if (strstr(text, "true") != NULL)
			call(start);
		free(text);
	}
	place_reap(&place, 1);
	return "the compile master boots";
}

static const char *
event_sign(const struct view *v)
{
	const char *const cert[] = {
		"mom/bin/puppet", "cert", "--allow-dns-alt-names", "sign",
		NODE, NULL
	};
	const char *const server[] = {
		"mom/bin/puppetserver", "ca", "sign", "--certname", NODE, NULL
	};

	if (v->ca_request[0] == '\0')
		return NULL;
	call(memory.version > 5 ? server : cert);
	return "the MoM signs";
}

static const char *
event_clean(const struct view *v)
{
	const char *const cert[] = {
		"mom/bin/puppet", "cert", "clean", NODE, NULL
	};
	const char *const server[] = {
		"mom/bin/puppetserver", "ca", "clean", "--certname", NODE, NULL
	};

	if (v->ca_request[0] == '\0' && v->ca_certificate[0] == '\0')
		return NULL;
	call(memory.version > 5 ? server : cert);
	return "the MoM cleans";
}

/* Only what the original can spare. */
static const char *
event_unplug(const struct view *v)
{
	if (!view_has(v, BAK) || (under_way(v->where) && !is(memory.original,
	    v->tree[SSL]) && !is(memory.original, v->tree[OLD])) || v->where ==
	    RESTORING || v->where == RESTORED)
		return NULL;
	tree_wipe(AT_FDCWD, v->backup);
	replace(&memory.kept, NULL);
	return "the backup disappears";
}

static const char *
event_puppet(const struct view *v)
{
	const char *const agent[] = {
		"node/bin/puppet", "agent", "--test", NULL
	};

	if (view_has(v, SSL))
		return NULL;
	call(agent);
	place_reap(&place, 1);
	return "Puppet makes an ssl";
}

static const char *
event_another(const struct view *v)
{
	if (v->where != IDLE && v->where != STAGED)
		return NULL;
	w.backup = roll(PLACES);
	replace(&memory.kept, NULL);
	return path("the backup shall be %s from now on",
	    backup_path(w.backup));
}

static const char *
event_server(const struct view *v)
{
	(void)v;
	put(path("%s/mom/knobs/server-stopped", place.dir), "");
	return "the server of the MoM stops, for the next command";
}

/* Owner and administrator go on with their lives. */
static const char *
event_service(const struct view *v)
{
	static const char *const lives[] = {
		"running true\n", "running false\n", "stopped false\n"
	};
	static const char *const names[] = { "pxp-agent", "mcollective" };
	const char *file, *life;

	if (v->where != IDLE && v->where != STAGED)
		return NULL;
	file = path("%s/node/services/%s", place.dir, names[roll(2)]);
	if (access(file, F_OK) == -1)
		return NULL;
	life = lives[roll(3)];
	put(file, life);
	return path("%s: %.*s", file, (int)strcspn(life, "\n"), life);
}

static const char *
event_crl(const struct view *v)
{
	FILE *f;

	if (!view_pair(v, SSL) || under_way(v->where))
		return NULL;
	if ((f = fopen(path("%s/node/puppet/ssl/crl.pem", place.dir), "ae")) ==
	    NULL)
		return NULL;
	(void)fputs("# again\n", f);
	(void)fclose(f);
	return "the CRL in ssl is fetched again";
}

static const struct {
	const char *(*act)(const struct view *);
	int weight;
} events[] = {
	{ event_sign, 30 }, { event_clean, 18 }, { event_boot, 15 },
	{ event_puppet, 12 }, { event_unplug, 8 }, { event_another, 5 },
	{ event_server, 5 }, { event_service, 5 }, { event_crl, 4 }
};

static void
event(struct view *v)
{
	const char *what;
	int i, n;

	n = roll(102);
	for (i = 0; n >= events[i].weight; i++)
		n -= events[i].weight;
	if ((what = events[i].act(v)) == NULL)
		return;
	tell("  %s\n", what);
	shared->events[i]++;
	look_again(v);
}

/*
 * A walk.
 */

static enum strike
strike_choose(void)
{
	static const int weights[STRIKES] = { 8, 30, 8, 14, 12, 10, 6, 12 };
	int i, n;

	n = roll(100);
	for (i = 0; n >= weights[i]; i++)
		n -= weights[i];
	return (enum strike)i;
}

static enum command
command_choose(enum where at)
{
	enum command c;

	if (chance(10))
		return (enum command)roll(COMMANDS);
	do
		c = (enum command)roll(COMMANDS);
	while (table[at][c] == REFUSES);
	/* the longest way is the one that should be taken most often */
	return at == STAGED && chance(50) ? FINISH : c;
}

/* What the program asks for where it cannot do it by a rename. */
static void
move_old(const struct view *v)
{
	const char *old;

	old = path("%s/node/puppet/ssl.cmregen/old", place.dir);
	tell("  mv %s %s\n", old, v->usual);
	if (system(path("mv %s %s", old, v->usual)) != 0)
		die("mv");
}

/* A backup of an earlier regeneration. */
static void
make_room(const struct order *o)
{
	struct view v;

	view_take(&v, &place, o->backup[0] == '\0' ? NULL : o->backup);
	if (!backup_fits(&v)) {
		tell("  the backup is moved away\n");
		tree_wipe(AT_FDCWD, v.backup);
		replace(&memory.kept, NULL);
	}
	view_free(&v);
}

/* What the administrator does elsewhere, that the command may succeed. */
static void
help(struct view *v, const struct order *o)
{
	const char *what;

	what = NULL;
	if (v->where == DONE && stuck(v))
		move_old(v);
	if (o->command == PREPARE && begins(v) == IDLE) {
		what = event_clean(v);
		make_room(o);
	} else if (o->command == FINISH && v->where == STAGED)
		what = event_sign(v);
	if (what != NULL)
		tell("  %s\n", what);
	look_again(v);
}

/*
 * Not where the MoM has neither request nor certificate of the key, nor where a
 * full disk has spoilt what puppet has fetched.
 */
static int
can_finish(const struct view *v)
{
	if (view_pair(v, NEXT))
		return 1;
	if (access(path("%s/node/puppet/ssl.cmregen/next/certs/" NODE ".pem",
	    place.dir), F_OK) == 0)
		return 0;
	return strcmp(v->ca_request, v->key[NEXT]) == 0 ||
	    strcmp(v->ca_certificate, v->key[NEXT]) == 0;
}

static void
settle_command(struct order *o, const struct view *v, int back)
{
	enum command c;
	int accept;

	accept = 0;
	switch (begins(v)) {
	case IDLE:
		c = back ? RESTORE : PREPARE;
		accept = back;
		break;
	case STAGED:
		c = back || !can_finish(v) ? RESTORE : view_has(v, BAK) ?
		    FINISH : PREPARE;
		break;
	case EXCHANGING:
	case EXCHANGED:
	case UNPROVEN:
		c = back ? RESTORE : FINISH;
		break;
	default:
		c = RESTORE;
	}
	order_make(o, c, backup_named(), accept);
}

/* Undisturbed commands, until it is at its end; it must come to one. */
static void
settle(struct view *v)
{
	enum command last;
	struct order o;
	int back, i, rc;

	back = chance(50);
	last = COMMANDS;
	tell("  now undisturbed, to the %s key\n", back ? "old" : "new");
	for (i = 0; i < SETTLE && !memory.fell; i++) {
		if (v->where == IDLE && last != COMMANDS && last == (back ?
		    RESTORE : FINISH))
			return;
		if (v->where == IDLE && back && !view_has(v, BAK))
			return;
		settle_command(&o, v, back);
		help(v, &o);
		rc = run(&o, NOTHING, v);
		last = rc == 0 ? o.command : COMMANDS;
	}
	if (!memory.fell)
		fall("no end after %d commands", SETTLE);
}

static void
walk(uint64_t seed)
{
	static const int versions[] = { 5, 6, 7, 8 };
	struct order o;
	struct view v;
	int i, n;

	(void)memset(&w, 0, sizeof(w));
	w.seed = w.dice = seed;
	memory_clear();
	memory.version = versions[roll(4)];
	n = roll(100);
	for (i = 0; n >= bases[i].weight; i++)
		n -= bases[i].weight;
	tell("walk %llu: Puppet %d, %s\n", (unsigned long long)seed,
	    memory.version, bases[i].name);
	fresh(bases[i].name);
	look(&v, backup_path(0));
	point(&v);
	n = 1 + roll(STRUCK);
	for (i = 0; i < n && !memory.fell; i++) {
		if (chance(50))
			event(&v);
		if (chance(20))
			event(&v);
		order_make(&o, command_choose(begins(&v)), backup_named(),
		    chance(40));
		if (chance(80))
			help(&v, &o);
		(void)run(&o, strike_choose(), &v);
	}
	if (!memory.fell)
		settle(&v);
	view_free(&v);
}

static void
worker(int i, uint64_t seed, long walks, long falls)
{
	long n;

	place_enter(&place, work, i);
	memory.place = &place;
	while ((n = __sync_fetch_and_add(&shared->next, 1)) < walks &&
	    shared->fell < falls) {
		walk(seed + (uint64_t)n);
		(void)__sync_fetch_and_add(&shared->walks, 1);
		if (memory.fell)
			(void)__sync_fetch_and_add(&shared->fell, 1);
		if ((memory.fell || memory.verbose) && write(1, story(),
		    strlen(story())) == -1)
			die("write");
	}
	exit(0);
}

static void
report(void)
{
	int a, c, s;

	(void)printf("%-12s %-8s", "from", "command");
	for (s = 1; s < STRIKES; s++)
		(void)printf(" %9s", strike_name[s]);
	(void)printf("  undisturbed: 0, 1, 3\n");
	for (a = 0; a < WHERES; a++)
		for (c = 0; c < COMMANDS; c++) {
			(void)printf("%-12s %-8s", where_name[a],
			    command_name[c]);
			for (s = 1; s < STRIKES; s++)
				(void)printf(" %9ld", shared->struck[a][c][s]);
			(void)printf("  %6ld %6ld %6ld\n",
			    shared->quiet[a][c][0], shared->quiet[a][c][1],
			    shared->quiet[a][c][3]);
		}
}

/* Lets the workers walk.  Returns -1 where one could not do its work. */
static int
walk_all(int workers, uint64_t seed, long walks, long falls)
{
	pid_t pid[WORKERS];
	int i, rc, status;

	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE,
	    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (shared == MAP_FAILED)
		die("memory");
	for (i = 0; i < workers; i++) {
		if ((pid[i] = fork()) == -1)
			die("fork");
		if (pid[i] == 0)
			worker(i, seed, walks, falls);
	}
	for (rc = i = 0; i < workers; i++)
		if (waitpid(pid[i], &status, 0) == -1 || status != 0)
			rc = -1;
	if (rc == -1)
		(void)printf("walks: a worker could not do its work\n");
	return rc;
}

int
main(int argc, char *argv[])
{
	unsigned long long seed;
	long falls, since, walks;
	int c, rc, workers;

	seed = 1;
	walks = 100;
	falls = 20;
	workers = 2;
	while ((c = getopt(argc, argv, "j:n:s:vx:")) != -1)
		switch (c) {
		case 'j': workers = atoi(optarg); break;
		case 'n': walks = atol(optarg); break;
		case 's': seed = strtoull(optarg, NULL, 10); break;
		case 'v': memory.verbose = 1; break;
		case 'x': falls = atol(optarg); break;
		default: return 2;
		}
	if (argc - optind != 2 || workers < 1 || workers > WORKERS) {
		(void)fprintf(stderr, "usage: walks [-v] [-j workers] "
		    "[-s seed] [-n walks] [-x falls] WORK PROGRAM\n");
		return 2;
	}
	work = argv[optind];
	program = argv[optind + 1];
	since = now();
	rc = walk_all(workers, seed, walks, falls);
	report();
	(void)printf("walks %llu to %llu: %ld walked, %ld fell (%ld s)\n",
	    seed, seed + (unsigned long long)walks - 1, shared->walks,
	    shared->fell, (now() - since + 500) / 1000);
	(void)printf("%ld passed, %ld failed\n", shared->walks - shared->fell,
	    shared->fell - rc);
	return shared->fell != 0 || rc != 0;
}
