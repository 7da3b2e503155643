/*
 * faults.c: disturbs the program at every system call of its own, and looks
 * at what stands afterwards.
 *
 *	faults [-v] [-m mode] [-1 sweep] [-s share] [-x text] WORK PROGRAM
 *
 * WORK holds the templates that the script beside this made: a sandbox for
 * each command, as it is before the command.  Each run gets a fresh copy.  Two
 * runs or more go on at a time, each in a mount namespace with a /run and a
 * /tmp of its own, so that what is left there is seen.  -s takes every
 * SHARE-th point only, -v prints all that fell, -x ends a sweep with the first
 * that fell and has that text in its line.
 *
 * Each sweep is done over all calls and over those alone that change something:
 * of these the numbers are the same in every run, while of all calls as many
 * go to waiting as the machine is slow.
 *
 * Prints a line for each sweep, and what fell; at the end "N passed, N
 * failed".
 */
#define _GNU_SOURCE
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "digest.h"
#include "view.h"

#define NODE "cm1.example.com"

enum {
	WORKERS = 12,		/* at most */
	SHOWN = 12		/* failures printed in full, of each sweep */
};

struct command {
	const char *name;
	const char *template;
	const char *args[10];	/* after PROGRAM node */
	const char *backup;	/* below the sandbox */
	int status;		/* of an undisturbed run */
	int shape;		/* it ends with a tree of the same shape */
	int once;		/* at its end it has nothing to do again */
	int workers;		/* at a time: more where it mostly sleeps */
	int ci;			/* 2: more of it, 1: sampled */
};

#define KEPT "node/puppet/ssl_bak"
#define P "-p", "@/node/bin/puppet"

/* @ stands for the directory of the sandbox */
static const struct command commands[] = {
	{ "prepare", "cleaned7", { "prepare", P, NULL }, KEPT, 0, 1, 0, 2, 2 },
	{ "finish", "signed7", { "finish", P, "-w", "0", NULL }, KEPT, 0, 0, 1,
	    2, 2 },
	{ "restore", "finished7", { "restore", P, "-a", NULL }, KEPT, 0, 0, 0,
	    2, 2 },
	{ "back", "unproven7", { "restore", P, NULL }, KEPT, 0, 0, 0, 2, 2 },
	{ "usb", "cleaned5", { "prepare", P, "-b", "@/usb/keep", NULL },
	    "usb/keep", 0, 1, 0, 2, 1 },
	{ "finish5", "signed5", { "finish", P, "-w", "0", NULL }, KEPT, 0, 0,
	    1, 2, 1 },
	{ "undo", "signed7", { "restore", P, NULL }, KEPT, 0, 0, 0, 2, 1 },
	{ "again", "signed7", { "prepare", P, NULL }, KEPT, 0, 0, 0, 2, 1 },
	{ "rescue", "finished7", { "restore", "-a", "-r", "@/node", "-s",
	    "/puppet/ssl", NULL }, KEPT, 0, 0, 0, 2, 1 },
	{ "rescue-back", "unproven7", { "restore", "-r", "@/node", "-s",
	    "/puppet/ssl", NULL }, KEPT, 0, 0, 0, 2, 1 },
	{ "status", "unproven7", { "status", P, NULL }, KEPT, 3, 0, 0, 2, 1 },
};

struct state {
	struct view view;
	char *full, *shape;	/* the directory of ssl, and the stick */
	char *catalogs;
	char *left;		/* in /run and /tmp */
};

/* What is done after a kill. */
enum then { THE_SAME, GOING_THE_WAY_BACK };

struct sweep {
	const char *name;
	const struct command *command;
	enum trace_act act;
	int value;
	int sample;		/* so many of the calls; 0: every one */
	int tty;
	int changing;		/* only the calls that change something */
	enum then then;
};

static struct shared {
	long next, tried, applied, fell, ended, calls, every;
} *shared;

static struct place place;
static const char *work, *program;
static struct state before, end;
static long passed, failed;
static int verbose;
static long share = 1;		/* every share-th point only */
static const char *hasty;	/* enough has been seen where this fell */
static char label[512];		/* what is wrong for a whole run */
static void (*heal)(void);	/* ends what was wrong for a whole run */
static enum then then;

static void
fresh(const struct command *c)
{
	while (umount(path("%s/usb", place.dir)) == 0)
		;
	tree_wipe(AT_FDCWD, place.dir);
	tree_wipe(AT_FDCWD, "/run/cmregen-output");
	tree_wipe(AT_FDCWD, "/tmp/cmregen-output");
	place_fill(&place, path("%s/template.%s", work, c->template));
	if (strcmp(c->name, "usb") == 0 && mount("usb", path("%s/usb",
	    place.dir), "tmpfs", 0, "size=16m") == -1)
		die("mount");
}

/*
 * What stands.
 */

static void
forget(struct state *s)
{
	view_free(&s->view);
	free(s->full);
	free(s->shape);
	free(s->catalogs);
	free(s->left);
	(void)memset(s, 0, sizeof(*s));
}

static void
take(const struct command *c, struct state *s)
{
	const char *puppet, *stick;

	puppet = path("%s/node/puppet", place.dir);
	stick = path("%s/usb", place.dir);
	view_take(&s->view, &place, path("%s/%s", place.dir, c->backup));
	s->full = join(digest(puppet, DIGEST_LOCK), digest(stick,
	    DIGEST_LOCK));
	s->shape = join(digest(puppet, DIGEST_LOCK | DIGEST_SHAPE),
	    digest(stick, DIGEST_LOCK | DIGEST_SHAPE));
	s->catalogs = digest(path("%s/node/cache/client_data", place.dir),
	    DIGEST_SHAPE);
	s->left = join(digest("/run", 0), digest("/tmp", 0));
}

/* Whether each service that is not as it should be is named in the text. */
static int
named(const char *text)
{
	struct dirent *e;
	char *is, *sum;
	DIR *d;
	int rc;

	rc = 1;
	if ((d = opendir(path("%s/node/services", place.dir))) == NULL)
		return 0;
	while ((e = readdir(d)) != NULL) {
		if (e->d_name[0] == '.')
			continue;
		is = digest(path("%s/node/services/%s", place.dir, e->d_name),
		    0);
		sum = strstr(is, "  ");
		if (sum == NULL || (strstr(end.view.services, path("/%s %s",
		    e->d_name, sum + 2)) == NULL && strstr(text, e->d_name) ==
		    NULL))
			rc = 0;
		free(is);
	}
	(void)closedir(d);
	return rc;
}

/*
 * Running.
 */

static void
nothing(void *arg)
{
	(void)arg;
}

static void
hang_up(void *arg)
{
	(void)close(*(int *)arg);
	*(int *)arg = -1;
}

/* Runs the command in the sandbox; its outputs go to the files. */
static void
run(const struct command *c, struct trace *t)
{
	const char *args[12];
	int i;

	args[0] = "node";
	for (i = 0; c->args[i] != NULL; i++)
		args[i + 1] = c->args[i];
	args[i + 1] = NULL;
	place_run(&place, program, args, t);
	place_reap(&place, 1);
}

static void
plain(const struct command *c, struct trace *t)
{
	(void)memset(t, 0, sizeof(*t));
	t->tty = -1;
	t->act = TRACE_PLAIN;
	run(c, t);
}

/*
 * Judging.
 */

static char why[8192];

static int
bad(const char *fmt, ...)
{
	va_list ap;
	size_t n;

	n = strlen(why);
	va_start(ap, fmt);
	(void)vsnprintf(why + n, sizeof(why) - n, fmt, ap);
	va_end(ap);
	return -1;
}

static int
differs(const char *what, const char *is, const char *be)
{
	if (strcmp(is, be) == 0)
		return 0;
	return bad("%s: %s; ", what, difference(be, is));
}

static void
strike_out(char **text, const char *what)
{
	char *t;

	t = without(*text, what);
	free(*text);
	*text = t;
}

/* A work directory that was made, and could not be entered, may stay. */
static void
empty_work(struct state *s, const struct trace *t)
{
	char *full;

	if ((t->act != TRACE_ERRNO && t->act != TRACE_ERRNO_ON) ||
	    s->view.where != IDLE || before.view.work_mode != -1)
		return;
	full = without(s->full, "/ssl.cmregen/journal 0 ");
	if (strstr(full, "/ssl.cmregen/") == NULL) {
		strike_out(&full, "/ssl.cmregen");
		free(s->full);
		s->full = full;
	} else
		free(full);
}

/* Where puppet was let in and fchmod failed, it said so, and stays open. */
static void
open_work(char *tree)
{
	char *p;

	p = strstr(tree, "040711 0:0 /ssl.cmregen\n");
	if (p != NULL)
		(void)memcpy(p, "040700", 6);
}

/*
 * Where the call that failed is one that removes something of no use, that
 * may stay, if it is named; and where every call fails, nothing can be
 * removed, nor said.
 */
static void
excuse(struct state *s, const struct trace *t, const char *text)
{
	static const char *const names[] = {
		"ssl.cmregen/gone.", "ssl.cmregen/make.", "ssl.cmregen/state.",
		"ssl_bak.cmregen-part", "ssl_bak.cmregen-gone",
		"keep.cmregen-part", "keep.cmregen-gone", "ssl.cmregen"
	};
	size_t i, n;
	int on;

	on = t->act == TRACE_ERRNO_ON;
	empty_work(s, t);
	if (t->applied && strcmp(trace_name(t->number), "fchmod") == 0 &&
	    strstr(text, "set the mode of") != NULL) {
		open_work(s->full);
		open_work(s->shape);
	}
	if (!t->applied || (!on && strncmp(trace_name(t->number), "unlink", 6)
	    != 0 && strcmp(trace_name(t->number), "rmdir") != 0 &&
	    strstr(text, "rm -rf ") == NULL))
		return;
	n = sizeof(names) / sizeof(*names);
	if (s->view.where != IDLE && s->view.where != DONE)
		n--;
	for (i = 0; i < n; i++) {
		if (!on && strstr(text, names[i]) == NULL)
			continue;
		strike_out(&s->full, path("/%s", names[i]));
		strike_out(&s->shape, path("/%s", names[i]));
	}
	/* nor can a backup be taken back then */
	if (on && !view_has(&before.view, BAK)) {
		strike_out(&s->full, "/ssl_bak");
		strike_out(&s->full, "/keep");
	}
}

/* An agent that ended with 0 and did nothing: there is no catalog of it. */
static int
said_it_ran(void)
{
	return strstr(label, "puppet agent --test") != NULL &&
	    (strncmp(label, "mute 0 ", 7) == 0 ||
	    strncmp(label, "say garbage ", 12) == 0);
}

/* Whether it ended as an undisturbed run does. */
static int
is_end(const struct command *c, const struct state *s, const char *text)
{
	/*
	 * puppet is ended when it may not have given the request away yet, or,
	 * with the certificate, not have removed it
	 */
	const char *const request = strncmp(c->name, "finish", 6) == 0 ?
	    "/certificate_requests/" : "/next/certificate_req";
	char *be, *is;
	int rc;

	rc = 0;
	is = without(c->shape ? s->shape : s->full, request);
	be = without(c->shape ? end.shape : end.full, request);
	rc |= differs("tree", is, be);
	free(is);
	free(be);
	if (c->shape && strcmp(s->view.request, s->view.key[NEXT]) != 0 &&
	    !view_pair(&s->view, NEXT))
		rc |= bad("next has no request of its key; ");
	rc |= differs("backup", s->view.tree[BAK], end.view.tree[BAK]);
	if (strcmp(s->view.services, end.view.services) != 0 && (text ==
	    NULL || !named(text)))
		rc |= differs("services", s->view.services,
		    end.view.services);
	if (!said_it_ran() && (text == NULL ||
	    strstr(text, "-a was given") == NULL))
		rc |= differs("catalogs", s->catalogs, end.catalogs);
	if (c->shape && (s->view.key[NEXT][0] == '\0' ||
	    strcmp(s->view.key[NEXT], before.view.key[SSL]) == 0))
		rc |= bad("the key is still the old one; ");
	return rc;
}

/*
 * A certificate that was fetched for the key of prepare may stay with it, as
 * may what puppet does about it there.
 */
static char *
unfetched(const char *text)
{
	static const char *const names[] = {
		"/ssl.cmregen/next/certs", "/ssl.cmregen/next/crl.pem",
		"/ssl.cmregen/next/certificate_requests"
	};
	char *t;
	size_t i;

	t = strdup(text);
	for (i = 0; i < sizeof(names) / sizeof(*names); i++)
		strike_out(&t, names[i]);
	return t;
}

static int
is_before(const struct state *s)
{
	char *is, *was;
	int rc;

	is = unfetched(s->full);
	was = unfetched(before.full);
	rc = differs("tree", is, was) |
	    differs("services", s->view.services, before.view.services) |
	    differs("other catalogs", s->view.catalogs,
	    before.view.catalogs);
	free(is);
	free(was);
	return rc;
}

static int
left(const struct state *s, const char *call)
{
	if (call != NULL && strncmp(call, "unlink", 6) == 0)
		return 0;
	return differs("left behind", s->left, before.left);
}

/* Does the message of a stop part way name what stands, and what to do? */
static int
tells(const char *text)
{
	return strstr(text, "cmregen") != NULL && (strstr(text, "ssl") !=
	    NULL || strstr(text, "run ") != NULL || strstr(text, "start") !=
	    NULL || strstr(text, "puppet") != NULL);
}

/* What was in ssl, or is to come back there, and the backup. */
static int
sound(const struct state *s)
{
	const struct view *b;
	const char *broken, *kept;

	b = &before.view;
	kept = view_has(b, BAK) ? b->tree[BAK] : NULL;
	broken = view_broken(&s->view, b->tree[view_has(b, OLD) ? OLD : SSL],
	    kept);
	return broken == NULL ? 0 : bad("%s; ", broken);
}

/* What the administrator does on the MoM before he tries again. */
static void
clean(void)
{
	tree_wipe(AT_FDCWD, path("%s/mom/ca/requests/" NODE ".pem",
	    place.dir));
}

/* Run again, without any trouble, it comes to the end. */
static int
again(const struct command *c, const struct view *from, const char *after)
{
	struct trace t;
	struct state s;
	char *text;
	int rc, status;

	if (heal != NULL)
		heal();
	status = c->status;
	if (c->once && from->where == IDLE)
		status = 1;
	if (strcmp(c->args[0], "prepare") == 0 && from->where == IDLE)
		clean();
	plain(c, &t);
	take(c, &s);
	text = slurp(place.err);
	rc = 0;
	if (t.hung)
		rc = bad("hangs when run again after %s; ", after);
	else if (!WIFEXITED(t.status) || WEXITSTATUS(t.status) != status)
		rc = bad("run again after %s: status %#x: %s; ", after,
		    (unsigned)t.status, gist(text));
	else if (is_end(c, &s, NULL) == -1 || left(&s, NULL) == -1)
		rc = bad("(run again after %s, which said: %s); ", after,
		    gist(text));
	free(text);
	forget(&s);
	return rc;
}

/* And so does the way back, from wherever it is. */
static int
way_back(const struct command *c, const struct view *from)
{
	static const struct command back = {
		"restore", NULL, { "restore", P, "-a", NULL }, KEPT, 0, 0, 0,
		1, 0
	};
	const struct view *b;
	struct command mine;
	struct trace t;
	struct state s;
	char *text;
	int rc;

	b = &before.view;
	mine = back;
	mine.backup = c->backup;
	if (strcmp(c->backup, KEPT) != 0) {
		mine.args[4] = "-b";
		mine.args[5] = path("@/%s", c->backup);
	}
	plain(&mine, &t);
	take(c, &s);
	text = slurp(place.err);
	rc = 0;
	if (t.hung || !WIFEXITED(t.status))
		rc = bad("restore after the kill: status %#x; ",
		    (unsigned)t.status);
	else if (WEXITSTATUS(t.status) == 1 && from->where == IDLE &&
	    !view_has(from, BAK))
		rc = sound(&s);
	else if (WEXITSTATUS(t.status) != 0)
		rc = bad("restore after the kill: status %#x: %s; ",
		    (unsigned)t.status, gist(text));
	else if (s.view.where != IDLE || s.view.journal.there ||
	    strstr(s.full, "cmregen") != NULL)
		rc = bad("restore after the kill leaves something; ");
	else
		rc = differs("restore after the kill: ssl", s.view.tree[SSL],
		    b->tree[view_has(b, OLD) ? OLD : view_has(b, BAK) &&
		    b->where == IDLE ? BAK : SSL]);
	free(text);
	forget(&s);
	return rc;
}

/*
 * A message that was to be the only one may be what could not be written; and
 * of the outputs nothing is seen where they were a terminal.
 */
static int
speechless(const struct trace *t)
{
	const char *name;

	name = trace_name(t->number);
	return t->tty != -1 || t->act == TRACE_ERRNO_ON || (t->applied &&
	    t->act != TRACE_SIGNAL && strncmp(name, "write", 5) == 0 &&
	    t->args[0] == 2);
}

/* A call whose failure cannot be passed over. */
static int
grave(const struct trace *t)
{
	const char *name;

	name = trace_name(t->number);
	return strcmp(name, "fsync") == 0 || strncmp(name, "rename", 6) == 0 ||
	    (strncmp(name, "write", 5) == 0 && t->args[0] != 2);
}

static int
judge_done(const struct command *c, const struct trace *t,
    const struct state *s, const char *out, const char *text,
    const char *call)
{
	if (t->act == TRACE_ERRNO && t->value != EINTR && grave(t) &&
	    strstr(text, strerror(t->value)) == NULL &&
	    strstr(text, t->value == EIO ? "I/O error" : "space") == NULL &&
	    strstr(text, "could not be written") == NULL)
		return bad("status %d, and no word of the error; ",
		    c->status);
	if (!speechless(t) && strcmp(c->args[0], "prepare") == 0 &&
	    strstr(out, "cmregen ") == NULL)
		(void)bad("done without the next command; ");
	if (is_end(c, s, text) == -1 || left(s, call) == -1)
		return bad("status %d, ", c->status);
	return why[0] == '\0' ? 0 : -1;
}

/* Ended by the signal that was sent, before it can have asked not to be? */
static int
judge_signal(const struct trace *t, const struct state *s)
{
	int sig;

	sig = WTERMSIG(t->status);
	if ((t->act == TRACE_SIGNAL && sig == t->value) ||
	    (t->act == TRACE_HOOK && sig == SIGHUP))
		return is_before(s);
	return bad("ended by signal %d; ", sig);
}

static int
judge_status(const struct command *c, const struct trace *t,
    const struct state *s, const char *out, const char *text)
{
	const char *call;
	int status;

	call = t->applied && t->act != TRACE_SIGNAL && t->act != TRACE_HOOK ?
	    trace_name(t->number) : NULL;
	if (t->act == TRACE_ERRNO_ON)
		call = "unlink";
	if (t->hung)
		return bad("hangs; ");
	if (WIFSIGNALED(t->status))
		return judge_signal(t, s);
	status = WEXITSTATUS(t->status);
	if (status == c->status)
		return judge_done(c, t, s, out, text, call);
	if (!speechless(t) && text[0] == '\0')
		return bad("status %d in silence; ", status);
	if (t->value == EINTR && t->act == TRACE_ERRNO)
		return bad("status %d after EINTR; ", status);
	if (status == 1) {
		if (is_before(s) == -1 || left(s, call) == -1)
			return bad("status 1, ");
		return 0;
	}
	if (status != 3)
		return bad("status %d; ", status);
	if (t->act == TRACE_SIGNAL && strcmp(c->args[0], "prepare") == 0)
		return bad("not undone after a signal: status 3; ");
	if (strstr(text, "the work is done") != NULL)
		return is_end(c, s, text) == -1 || left(s, call) == -1 ?
		    bad("status 3, done and not told, ") : 0;
	if (!speechless(t) && !tells(text))
		return bad("status 3, and no word of what stands; ");
	return 0;
}

static int
judge(const struct command *c, const struct trace *t)
{
	struct state s;
	char *out, *text;
	int rc;

	take(c, &s);
	rc = sound(&s);
	if (t->act == TRACE_KILL || t->act == TRACE_KILL_AFTER) {
		if (rc == 0)
			rc = then == THE_SAME ? again(c, &s.view,
			    "the kill") : way_back(c, &s.view);
		forget(&s);
		return rc;
	}
	out = slurp(place.out);
	text = slurp(place.err);
	excuse(&s, t, text);
	rc |= judge_status(c, t, &s, out, text);
	if (rc == -1)
		(void)bad("it said: %s", gist(text));
	else if (!t->hung && (!WIFEXITED(t->status) ||
	    WEXITSTATUS(t->status) != c->status))
		rc = again(c, &s.view, WIFEXITED(t->status) &&
		    WEXITSTATUS(t->status) == 3 ? "status 3" : "status 1");
	free(out);
	free(text);
	forget(&s);
	return rc;
}

/*
 * Sweeps.
 */

/* What stands before the command, and after it where nobody disturbs it. */
static long
undisturbed(const struct command *c, int changing)
{
	struct trace t;
	char *text;

	fresh(c);
	forget(&before);
	forget(&end);
	take(c, &before);
	(void)memset(&t, 0, sizeof(t));
	t.tty = -1;
	t.act = TRACE_COUNT;
	t.changing = changing;
	run(c, &t);
	take(c, &end);
	why[0] = '\0';
	if (!WIFEXITED(t.status) || WEXITSTATUS(t.status) != c->status) {
		text = slurp(place.err);
		(void)printf("%s, undisturbed: status %#x: %s\n", c->name,
		    (unsigned)t.status, gist(text));
		free(text);
		return -1;
	}
	if (differs("left behind", end.left, before.left) == -1 ||
	    sound(&end) == -1) {
		(void)printf("%s, undisturbed: %s\n", c->name, why);
		return -1;
	}
	return t.calls;
}

static void
report(const struct sweep *w, const struct trace *t)
{
	char line[12288];
	int n;

	n = (int)__sync_add_and_fetch(&shared->fell, 1);
	if (n > SHOWN && !verbose && hasty == NULL)
		return;
	n = snprintf(line, sizeof(line), "  %s %s%s: call %ld, %s(%#lx, %#lx, "
	    "%#lx): %s\n", w->command->name, w->name, w->changing ?
	    ", changes" : "", t->at, trace_name(t->number), t->args[0], t->args[1], t->args[2], why);
	if (hasty != NULL && strstr(line, hasty) != NULL)
		shared->ended = 1;
	if (n > 0 && write(1, line, (size_t)n < sizeof(line) ? (size_t)n :
	    sizeof(line) - 1) == -1)
		die("report");
}

static void
point(const struct sweep *w, struct trace *t)
{
	int master, slave;

	(void)memset(t, 0, sizeof(*t));
	t->tty = -1;
	t->act = w->act;
	t->value = w->value;
	t->changing = w->changing;
	t->at = __sync_fetch_and_add(&shared->next, shared->every);
	t->brief = 1;
	t->hook = nothing;
	master = slave = -1;
	if (w->tty) {
		master = terminal(&slave);
		t->tty = slave;
		t->hook = hang_up;
		t->arg = &master;
	}
	fresh(w->command);
	run(w->command, t);
	if (slave != -1)
		(void)close(slave);
	if (master != -1)
		(void)close(master);
}

static void
worker(const struct sweep *w, int i)
{
	struct trace t;
	long calls;

	place_enter(&place, work, i);
	then = w->then;
	if ((calls = undisturbed(w->command, w->changing)) == -1)
		exit(1);
	(void)__sync_val_compare_and_swap(&shared->calls, 0, calls);
	calls = w->sample == 0 ? 1 : shared->calls / w->sample;
	(void)__sync_val_compare_and_swap(&shared->every, 0, share * (calls < 1
	    ? 1 : calls));
	while (!shared->ended) {
		point(w, &t);
		if (t.number == -1 && !t.hung) {
			/* the number of polls differs from run to run */
			if (t.at > shared->calls)
				shared->ended = 1;
			else
				(void)__sync_fetch_and_add(&shared->tried, 1);
			continue;
		}
		(void)__sync_fetch_and_add(&shared->tried, 1);
		if (!t.applied && !t.hung)
			continue;
		(void)__sync_fetch_and_add(&shared->applied, 1);
		why[0] = '\0';
		if (judge(w->command, &t) == -1)
			report(w, &t);
	}
	(void)umount(path("%s/usb", place.dir));
	tree_wipe(AT_FDCWD, place.dir);
	exit(0);
}

/* Waits for the two of them.  Returns -1 where one could not do its work. */
static int
finish(const pid_t *pid, int n)
{
	int i, rc, status;

	rc = 0;
	for (i = 0; i < n; i++) {
		while (waitpid(pid[i], &status, 0) == -1)
			if (errno != EINTR)
				die("wait");
		if (status != 0)
			rc = -1;
	}
	return rc;
}

static void
sweep(const struct sweep *w)
{
	pid_t pid[WORKERS];
	long since;
	int i, n;

	(void)memset(shared, 0, sizeof(*shared));
	shared->next = 1;
	since = now();
	n = w->command->workers;
	(void)fflush(stdout);
	for (i = 0; i < n; i++) {
		if ((pid[i] = fork()) == -1)
			die("fork");
		if (pid[i] == 0)
			worker(w, i);
	}
	if (finish(pid, n) == -1) {
		(void)printf("%s %s: could not be done\n", w->command->name,
		    w->name);
		failed++;
		return;
	}
	(void)printf("%s %s%s: %ld points tried of %ld calls, %ld hit, %ld fell"
	    " (%ld s)\n", w->command->name, w->name, w->changing ?
	    ", changes" : "", shared->tried,
	    shared->calls, shared->applied, shared->fell,
	    (now() - since + 500) / 1000);
	if (shared->tried < shared->calls / shared->every ||
	    (shared->applied == 0 && w->sample == 0)) {
		(void)printf("  too few points\n");
		failed++;
	}
	failed += shared->fell;
	passed += shared->applied - shared->fell;
}

/*
 * What is wrong for a whole run: a child, the disk, the descriptors.
 */

enum trouble { CHILDREN, SPACE, INODES, READONLY, DESCRIPTORS };

static const char *const actions[] = {
	"exit 1", "mute 0", "mute 1", "say garbage", "wrong -", "after 1",
	"quiet -", "cut -", "flood -", "endless -", "signal KILL",
	"signal-after KILL", "signal TERM", "daemon 30", "stubborn 1",
	"parent TERM", "parent-after INT", "parent-after HUP",
	"remove bin/puppet"
};

static const char *const knobs[] = {
	"start-fails.puppet", "start-fails.pxp-agent",
	"start-fails.pe-puppetserver", "stop-fails.puppet",
	"stop-fails.pxp-agent", "stop-fails.pe-puppetserver", "dies.puppet",
	"dies.pxp-agent", "dies.pe-puppetserver", "no-request", "key-only",
	"no-old-cert"
};

enum {
	ACTIONS = sizeof(actions) / sizeof(*actions),
	KNOBS = sizeof(knobs) / sizeof(*knobs)
};

struct group {
	const char *name;
	const struct command *command;
	enum trouble trouble;
	int step;		/* every so many of them */
};

static char *lines[64];		/* the calls of the stand-in */
static int nth[64], nlines;
static long used;		/* bytes, for SPACE; names, for INODES */

/* The log of the undisturbed run tells which children there are. */
static void
children_find(void)
{
	char *text, *line, *save;
	int i;

	nlines = 0;
	text = slurp(path("%s/node/log", place.dir));
	for (line = strtok_r(text, "\n", &save); line != NULL && nlines < 64;
	    line = strtok_r(NULL, "\n", &save)) {
		if ((lines[nlines] = strdup(line)) == NULL)
			die("memory");
		nth[nlines] = 1;
		for (i = 0; i < nlines; i++)
			if (strcmp(lines[i], line) == 0)
				nth[nlines]++;
		nlines++;
	}
	free(text);
}

static void
heal_children(void)
{
	size_t i;

	tree_wipe(AT_FDCWD, path("%s/node/knobs/faults", place.dir));
	for (i = 0; i < KNOBS; i++)
		tree_wipe(AT_FDCWD, path("%s/node/knobs/%s", place.dir,
		    knobs[i]));
	if (access(path("%s/node/bin/puppet", place.dir), F_OK) == -1)
		(void)symlink(path("%s/puppet", work),
		    path("%s/node/bin/puppet", place.dir));
}

static void
heal_disk(void)
{
	if (mount(NULL, path("%s/node/puppet", place.dir), NULL, MS_REMOUNT,
	    "size=64m,nr_inodes=100000") == -1)
		die("remount");
}

/* Makes a disk of that many bytes and names, with the tree on it. */
static void
disk_make(const struct command *c, long bytes, long names)
{
	char *at;

	at = path("%s/node/puppet", place.dir);
	if (mount("disk", at, "tmpfs", 0, path("size=%ld,nr_inodes=%ld", bytes,
	    names)) == -1)
		die("mount");
	tree_clone(AT_FDCWD, path("%s/template.%s/node/puppet", work,
	    c->template), AT_FDCWD, at);
	place_journal(&place, path("%s/template.%s", work, c->template));
}

/* What the tree itself takes of a disk. */
static void
disk_measure(const struct command *c, enum trouble trouble)
{
	pid_t pid;
	int status;

	for (used = 0;;) {
		used += trouble == SPACE ? 16384 : 4;
		fresh(c);
		(void)fflush(stdout);
		if ((pid = fork()) == 0) {
			(void)freopen("/dev/null", "w", stderr);
			disk_make(c, trouble == SPACE ? used : 1 << 26,
			    trouble == SPACE ? 100000 : used);
			_exit(0);
		}
		if (waitpid(pid, &status, 0) == -1)
			die("wait");
		(void)umount(path("%s/node/puppet", place.dir));
		if (status == 0)
			return;
	}
}

/* Sets the N-th trouble up.  Returns 0 where there are not so many. */
static int
trouble_make(const struct group *g, long n, struct trace *t)
{
	int i, k;

	heal = NULL;
	fresh(g->command);
	switch (g->trouble) {
	case CHILDREN:
		heal = heal_children;
		if (n >= nlines * ACTIONS + KNOBS)
			return 0;
		if (n >= nlines * ACTIONS) {
			i = (int)n - nlines * ACTIONS;
			put(path("%s/node/knobs/%s", place.dir, knobs[i]), "");
			(void)snprintf(label, sizeof(label), "%s", knobs[i]);
			return 1;
		}
		i = (int)n / ACTIONS;
		k = (int)n % ACTIONS;
		put(path("%s/node/knobs/garbage", place.dir), "}\n = \nservice { '"
		    "':\n  ensure => ,\n\001\033[31mcertname=\n");
		(void)snprintf(label, sizeof(label), "%s %d %s", actions[k],
		    nth[i], lines[i]);
		put(path("%s/node/knobs/faults", place.dir), path("%s\n", label));
		return 1;
	case SPACE:
	case INODES:
		heal = heal_disk;
		(void)snprintf(label, sizeof(label), "%s: %ld more",
		    g->trouble == SPACE ? "4 KiB blocks" : "names", n);
		disk_make(g->command, g->trouble == SPACE ? used + n * 4096 :
		    1 << 26, g->trouble == SPACE ? 100000 : used + n);
		return 1;
	case READONLY:
		heal = heal_disk;
		(void)snprintf(label, sizeof(label), "read-only");
		disk_make(g->command, 1 << 26, 100000);
		if (mount(NULL, path("%s/node/puppet", place.dir), NULL, MS_REMOUNT |
		    MS_RDONLY, NULL) == -1)
			die("remount");
		return n == 0;
	case DESCRIPTORS:
		t->nofile = n + 3;
		(void)snprintf(label, sizeof(label), "%ld descriptors",
		    t->nofile);
		return n <= 60;
	}
	return 0;
}

static void
group_worker(const struct group *g, int i)
{
	struct trace t;
	long n;
	int bounded;

	place_enter(&place, work, i);
	if (undisturbed(g->command, 0) == -1)
		exit(1);
	children_find();
	if (g->trouble == SPACE || g->trouble == INODES)
		disk_measure(g->command, g->trouble);
	bounded = g->trouble == SPACE || g->trouble == INODES;
	while (!shared->ended) {
		n = __sync_fetch_and_add(&shared->next, g->step * share);
		(void)memset(&t, 0, sizeof(t));
		t.tty = -1;
		t.act = TRACE_HOOK;
		t.at = 1;
		t.hook = nothing;
		if (!trouble_make(g, n, &t)) {
			shared->ended = 1;
			(void)umount(path("%s/node/puppet", place.dir));
			break;
		}
		run(g->command, &t);
		(void)__sync_fetch_and_add(&shared->tried, 1);
		(void)__sync_fetch_and_add(&shared->applied, 1);
		why[0] = '\0';
		if (judge(g->command, &t) == -1) {
			(void)bad("; %s", label);
			if (__sync_add_and_fetch(&shared->fell, 1) <= SHOWN ||
			    verbose) {
				(void)printf("  %s %s: %s: %s\n",
				    g->command->name, g->name, label, why);
				(void)fflush(stdout);
			}
		}
		(void)umount(path("%s/node/puppet", place.dir));
		if (bounded && (n > 2000 || (WIFEXITED(t.status) &&
		    WEXITSTATUS(t.status) == g->command->status)))
			shared->ended = 1;
	}
	(void)umount(path("%s/usb", place.dir));
	tree_wipe(AT_FDCWD, place.dir);
	exit(0);
}

static void
group(const struct group *g)
{
	pid_t pid[WORKERS];
	long since;
	int i, n;

	(void)memset(shared, 0, sizeof(*shared));
	since = now();
	n = g->command->workers;
	(void)fflush(stdout);
	for (i = 0; i < n; i++) {
		if ((pid[i] = fork()) == -1)
			die("fork");
		if (pid[i] == 0)
			group_worker(g, i);
	}
	if (finish(pid, n) == -1) {
		(void)printf("%s %s: could not be done\n", g->command->name,
		    g->name);
		failed++;
		return;
	}
	(void)printf("%s %s: %ld tried, %ld fell (%ld s)\n",
	    g->command->name, g->name, shared->tried, shared->fell,
	    (now() - since + 500) / 1000);
	failed += shared->fell + (shared->tried == 0);
	passed += shared->tried - shared->fell;
}

/*
 * All of it.
 */

static const struct {
	const char *name;
	enum trace_act act;
	int value, tty, ci;	/* ci: 0 sampled, 1 more of it, 2 not at all */
	enum then then;
} kinds[] = {
	{ "kill", TRACE_KILL, 0, 0, 1, THE_SAME },
	{ "kill-back", TRACE_KILL, 0, 0, 0, GOING_THE_WAY_BACK },
	{ "EIO", TRACE_ERRNO, EIO, 0, 1, THE_SAME },
	{ "ENOSPC", TRACE_ERRNO, ENOSPC, 0, 0, THE_SAME },
	{ "EACCES", TRACE_ERRNO, EACCES, 0, 0, THE_SAME },
	{ "EINTR", TRACE_ERRNO, EINTR, 0, 0, THE_SAME },
	{ "EMFILE", TRACE_ERRNO, EMFILE, 0, 0, THE_SAME },
	{ "ENOMEM", TRACE_ERRNO, ENOMEM, 0, 0, THE_SAME },
	{ "EAGAIN", TRACE_ERRNO, EAGAIN, 0, 0, THE_SAME },
	{ "short", TRACE_SHORT, 0, 0, 0, THE_SAME },
	{ "SIGINT", TRACE_SIGNAL, SIGINT, 0, 2, THE_SAME },
	{ "SIGTERM", TRACE_SIGNAL, SIGTERM, 0, 0, THE_SAME },
	{ "SIGHUP", TRACE_SIGNAL, SIGHUP, 0, 2, THE_SAME },
	{ "hangup", TRACE_HOOK, 0, 1, 0, THE_SAME },
	{ "EIO-on", TRACE_ERRNO_ON, EIO, 0, 2, THE_SAME },
	{ "ENOSPC-on", TRACE_ERRNO_ON, ENOSPC, 0, 2, THE_SAME },
	{ "kill-after", TRACE_KILL_AFTER, 0, 0, 2, THE_SAME },
};

static const struct {
	const char *name;
	enum trouble trouble;
	int step, ci;
} groups[] = {
	{ "children", CHILDREN, 1, 5 },
	{ "space", SPACE, 3, 10 },
	{ "inodes", INODES, 1, 3 },
	{ "read-only", READONLY, 1, 1 },
	{ "descriptors", DESCRIPTORS, 1, 3 },
};

/* Is it asked for?  "kill" is every kill, "prepare kill" that one. */
static int
wanted(const char *one, const char *command, const char *name)
{
	return one == NULL || strcmp(one, name) == 0 ||
	    strcmp(one, command) == 0 ||
	    strcmp(one, path("%s %s", command, name)) == 0;
}

/* No child of it, that is. */
static int
rescues(const struct command *c)
{
	return strcmp(c->args[0], "restore") == 0 &&
	    strncmp(c->name, "rescue", 6) == 0;
}

/* It has more than the one disk. */
static int
elsewhere(const struct command *c)
{
	return strcmp(c->backup, KEPT) != 0;
}

static void
command_try(const struct command *c, const char *one, int ci)
{
	struct sweep w;
	struct group g;
	size_t i;

	for (i = 0; i < sizeof(kinds) / sizeof(*kinds); i++) {
		if (!wanted(one, c->name, kinds[i].name) ||
		    (ci && kinds[i].ci == 2 && one == NULL))
			continue;
		w.name = kinds[i].name;
		w.command = c;
		w.act = kinds[i].act;
		w.value = kinds[i].value;
		w.tty = kinds[i].tty;
		w.then = kinds[i].then;
		w.changing = 1;
		w.sample = 0;
		if (!ci || kinds[i].ci == 1)
			sweep(&w);
		w.changing = 0;
		w.sample = !ci ? 0 : kinds[i].ci == 1 && c->ci == 2 ? 150 :
		    25;
		sweep(&w);
	}
	if (ci && c->ci != 2 && one == NULL)
		return;
	for (i = 0; i < sizeof(groups) / sizeof(*groups); i++) {
		if (!wanted(one, c->name, groups[i].name))
			continue;
		if (groups[i].trouble == CHILDREN ? rescues(c) :
		    groups[i].trouble != DESCRIPTORS && elsewhere(c))
			continue;
		g.name = groups[i].name;
		g.command = c;
		g.trouble = groups[i].trouble;
		g.step = ci ? groups[i].ci : groups[i].step;
		group(&g);
	}
}

static void
all(const char *mode, const char *one)
{
	size_t i;

	for (i = 0; i < sizeof(commands) / sizeof(*commands); i++)
		command_try(&commands[i], one, strcmp(mode, "ci") == 0);
}

static void
usage(void)
{
	(void)fprintf(stderr, "usage: faults [-v] [-m full|ci] [-1 sweep] "
	    "[-s share] [-x text]\n\tWORK PROGRAM\n");
	exit(2);
}

int
main(int argc, char *argv[])
{
	const char *mode, *one;
	int c;

	mode = "full";
	one = NULL;
	while ((c = getopt(argc, argv, "m:1:s:vx:")) != -1)
		switch (c) {
		case 'm':
			mode = optarg;
			break;
		case '1':
			one = optarg;
			break;
		case 's':
			share = atol(optarg);
			break;
		case 'v':
			verbose = 1;
			break;
		case 'x':
			hasty = optarg;
			break;
		default:
			usage();
		}
	if (argc - optind != 2 || share < 1)
		usage();
	work = argv[optind];
	program = argv[optind + 1];
	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE,
	    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (shared == MAP_FAILED)
		die("memory");
	all(mode, one);
	(void)printf("%ld passed, %ld failed\n", passed, failed);
	return failed != 0 || passed == 0;	/* no such sweep */
}
