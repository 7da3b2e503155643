/*
 * oracle.c: see oracle.h.
 */
#define _GNU_SOURCE
#include <sys/stat.h>
#include <sys/wait.h>

#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "digest.h"
#include "oracle.h"

enum { TEXT = 1 << 16 };

const char *const command_name[COMMANDS] = {
	"prepare", "finish", "restore"
};

const enum does table[WHERES][COMMANDS] = {
	[IDLE] = { GOES_ON, REFUSES, GOES_ON },
	[STAGED] = { GOES_ON, GOES_ON, GOES_ON },
	[EXCHANGING] = { REFUSES, GOES_ON, GOES_ON },
	[EXCHANGED] = { REFUSES, GOES_ON, GOES_ON },
	[UNPROVEN] = { REFUSES, GOES_ON, GOES_ON },
	[RESTORING] = { REFUSES, REFUSES, GOES_ON },
	[RESTORED] = { REFUSES, REFUSES, GOES_ON },
	[GOING_BACK] = { REFUSES, REFUSES, GOES_ON },
	[DONE] = { ENDS, ENDS, ENDS },
};

struct memory memory;

static char text[TEXT];		/* the story */
static size_t told;

void
tell(const char *fmt, ...)
{
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(text + told, TEXT - told, fmt, ap);
	va_end(ap);
	if (n > 0)
		told += (size_t)n < TEXT - told ? (size_t)n : TEXT - told - 1;
}

void
fall(const char *fmt, ...)
{
	char text[4096];
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	tell("    FELL: %s\n", text);
	memory.fell = 1;
}

/*
 * What must hold at every point.
 */

void
replace(char **text, const char *by)
{
	char *t;

	t = by == NULL ? NULL : strdup(by);
	free(*text);
	*text = t;
}

int
is(const char *a, const char *b)
{
	return a != NULL && strcmp(a, b) == 0;
}

int
under_way(enum where at)
{
	return at != IDLE && at != DONE;
}

/* The new key, once its fingerprint was printed. */
static void
point_key(const struct view *v)
{
	enum tree t;

	if (memory.printed[0] == '\0')
		return;
	switch (v->where) {
	case STAGED:
	case EXCHANGING:
		t = NEXT;
		break;
	case EXCHANGED:
	case UNPROVEN:
		t = SSL;
		break;
	default:
		memory.printed[0] = '\0';
		return;
	}
	if (strcmp(v->key[t], memory.printed) != 0)
		fall("%s: the key whose fingerprint was printed is not in %s",
		    where_name[v->where], t == NEXT ? "next" : "ssl");
}

/* Looks at the invariants, and takes down what they are of from here on. */
void
point(const struct view *v)
{
	const char *broken;

	if (strcmp(v->backup, memory.backup) != 0)
		replace(&memory.kept, NULL);
	(void)strcpy(memory.backup, v->backup);
	if ((broken = view_broken(v, memory.original, memory.kept)) != NULL)
		fall("%s", broken);
	if (v->work_mode == (S_IFDIR | 0711) && memory.version > 5)
		fall("the work directory is open");
	point_key(v);
	if (!under_way(v->where) || (v->where == STAGED &&
	    view_has(v, SSL)))
		replace(&memory.original, view_has(v, SSL) ? v->tree[SSL] :
		    NULL);
	if (view_has(v, BAK))
		replace(&memory.kept, v->tree[BAK]);
	else if (!view_has(v, BAK_GONE))
		replace(&memory.kept, NULL);
}

/*
 * What a command should do.
 */

/* The state as a command finds it when it has cleared what is done. */
enum where
begins(const struct view *v)
{
	return v->where == DONE ? IDLE : v->where;
}

/* The command comes again that has done all but the removal of what is left. */
static int
again(const struct view *v, const struct order *o)
{
	return v->where == DONE && (o->backup[0] == '\0' ||
	    v->journal.back) && o->command == (v->journal.back ||
	    v->journal.restored ? RESTORE : FINISH);
}

static enum tree
backup_of(const struct view *v)
{
	if (v->where == DONE && v->lost && view_has(v, OLD) &&
	    strcmp(v->usual, v->backup) == 0)
		return OLD;
	return !view_has(v, BAK) && view_has(v, BAK_GONE) ? BAK_GONE : BAK;
}

/* Whether a backup as it is there is one that may be used or made anew. */
int
backup_fits(const struct view *v)
{
	enum tree b;

	b = backup_of(v);
	return !view_has(v, b) || view_same(v, b, v, SSL) ||
	    (v->key[b][0] != '\0' && strcmp(v->key[b], v->key[SSL]) == 0 &&
	    view_pair(v, SSL));
}

static int
expect_prepare(const struct view *v)
{
	if (!view_has(v, SSL) || !backup_fits(v))
		return 1;
	/* a full disk can spoil what puppet has made */
	if (begins(v) == STAGED)
		return !view_pair(v, NEXT) && strcmp(v->request,
		    v->key[NEXT]) != 0;
	return v->ca_request[0] != '\0' || v->ca_certificate[0] != '\0';
}

static int
expect_finish(const struct view *v)
{
	if (v->where != STAGED)
		return v->where == EXCHANGING && !view_has(v, OLD) &&
		    !backup_fits(v);
	return !view_has(v, backup_of(v)) || !backup_fits(v) ||
	    (!view_pair(v, NEXT) &&
	    (strcmp(v->ca_certificate, v->key[NEXT]) != 0 || v->revoked));
}

static int
expect_restore(const struct view *v, const struct order *o)
{
	enum tree b;

	b = backup_of(v);
	if (begins(v) != IDLE)
		return 0;
	if (!view_pair(v, b))
		return 1;
	return !o->accept && view_pair(v, SSL) && strcmp(v->key[SSL],
	    v->key[b]) != 0;
}

/* old should become the backup, whose place is on another disk. */
int
stuck(const struct view *v)
{
	return v->lost && view_has(v, OLD) && strstr(v->usual, "/usb/") !=
	    NULL;
}

/* The exit status of a command that nobody disturbs. */
int
expect(const struct view *v, const struct order *o)
{
	if (stuck(v) && (v->where == DONE || (o->command == FINISH &&
	    table[v->where][FINISH] == GOES_ON)))
		return 3;
	if (again(v, o))
		return 0;
	if (table[begins(v)][o->command] == REFUSES)
		return 1;
	switch (o->command) {
	case PREPARE:
		return expect_prepare(v);
	case FINISH:
		return expect_finish(v);
	default:
		return expect_restore(v, o);
	}
}

/*
 * Judging.
 */

static enum care care;		/* with it */
static int accepted;		/* -a */
static const char *said;	/* on standard error */

enum { SERVERS = 1 << 1 | 1 << 2 };

/* Those that a journal line names. */
static int
line_set(const char *line)
{
	int i, set;

	set = 0;
	for (i = 0; i < SERVICES; i++)
		if (strstr(path(" %s ", line), path(" %s ",
		    service_name[i])) != NULL)
			set |= 1 << i;
	return set;
}

/* These must run; with -a they may be named instead. */
static void
judge_services(int set, const struct view *v)
{
	int i;

	for (i = 0; i < SERVICES; i++)
		if ((set & ~v->runs & 1 << i) != 0 && (!accepted ||
		    strstr(said, service_name[i]) == NULL))
			fall("%s does not run", service_name[i]);
}

/* The fingerprint that was printed, in small hex; or empty. */
static void
fingerprint(const char *out, char hex[PLACE_ID])
{
	size_t n;

	hex[0] = '\0';
	for (; *out != '\0'; out++) {
		for (n = 0; isxdigit((unsigned char)out[3 * n]) &&
		    isxdigit((unsigned char)out[3 * n + 1]) && n < 32; n++) {
			hex[2 * n] = (char)tolower((unsigned char)out[3 * n]);
			hex[2 * n + 1] = (char)tolower((unsigned char)
			    out[3 * n + 1]);
			hex[2 * n + 2] = '\0';
			if (out[3 * n + 2] != ':' && n < 31)
				break;
		}
		if (n == 32)
			return;
	}
	hex[0] = '\0';
}

static void
judge_prepared(const struct view *b, const struct view *v, const char *out)
{
	char hex[PLACE_ID];

	if (v->where != STAGED)
		fall("done, and the state is %s", where_name[v->where]);
	if (!view_same(v, SSL, b, SSL))
		fall("ssl: %s", difference(b->tree[SSL], v->tree[SSL]));
	if (!view_same(v, BAK, v, SSL) && !view_same(v, BAK, b, BAK))
		fall("backup: %s", difference(v->tree[SSL], v->tree[BAK]));
	if (v->key[NEXT][0] == '\0' || strcmp(v->key[NEXT], v->key[SSL]) == 0)
		fall("next has no new key");
	if (begins(b) == IDLE && strcmp(v->request, v->key[NEXT]) != 0 &&
	    !view_pair(v, NEXT))
		fall("next has no request or certificate of its key");
	if (strcmp(b->services, v->services) != 0)
		fall("services: %s", difference(b->services, v->services));
	if (b->has_catalog != v->has_catalog)
		fall("the catalog was touched");
	if ((strstr(out, "mom sign") == NULL && !view_pair(v, NEXT)) ||
	    strstr(out, "node finish") == NULL)
		fall("done without the next commands");
	fingerprint(out, hex);
	if (hex[0] == '\0' && !view_pair(v, NEXT))
		fall("done, and no fingerprint");
}

/*
 * A call that was to remove something failed, and that was said; or the lock
 * seemed to be somebody else's, or could not be looked at: then the directory
 * may be needed.
 */
static int
unremoved(void)
{
	return care == SPEECHLESS || (care == DISTURBED &&
	    (strstr(said, "remove ") != NULL ||
	    strstr(said, "removal of ") != NULL ||
	    strstr(said, "look at journal") != NULL ||
	    strstr(said, "another cmregen is running") != NULL));
}

/*
 * No trace of us beside ssl and beside the backup, unless what could not be
 * removed is named.
 */
static void
judge_clean(const struct view *b, const struct view *v)
{
	const char *p, *e;

	if ((p = strstr(v->all, "cmregen")) == NULL || (care != UNDISTURBED &&
	    (strstr(said, "rm -rf ") != NULL || care == SPEECHLESS)) ||
	    strstr(b->all, "cmregen-") != NULL)
		return;
	while (p > v->all && p[-1] != '\n')
		p--;
	e = p + strcspn(p, "\n");
	fall("left behind: %.*s", (int)(e - p), p);
}

static void
judge_idle(const struct view *b, const struct view *v)
{
	if (v->where != IDLE && (v->where != DONE || !unremoved()))
		fall("done, and the state is %s", where_name[v->where]);
	if (!unremoved())
		judge_clean(b, v);
}

static void
judge_finished(const struct view *b, const struct view *v)
{
	enum tree n;

	judge_idle(b, v);
	n = (b->where == STAGED || b->where == EXCHANGING) &&
	    b->key[NEXT][0] != '\0' ? NEXT : SSL;
	if (strcmp(v->key[SSL], b->key[n]) != 0 || !view_pair(v, SSL))
		fall("done, and ssl does not have the new key and its "
		    "certificate");
	if (memory.original != NULL && !is(memory.original, v->tree[BAK]) &&
	    (b->where == STAGED || !view_same(v, BAK, b, BAK)))
		fall("done, and the backup: %s", difference(memory.original,
		    v->tree[BAK]));
	judge_services(v->enabled | (b->where == STAGED ? b->runs :
	    line_set(b->journal.services)), v);
}

static void
judge_restored(const struct view *b, const struct view *v)
{
	const char *want;

	judge_idle(b, v);
	switch (begins(b)) {
	case IDLE:
		want = b->tree[backup_of(b)];
		break;
	case RESTORING:
		want = b->tree[NEXT];
		break;
	case RESTORED:
		want = b->tree[SSL];
		break;
	default:
		want = b->tree[view_has(b, OLD) ? OLD : SSL];
	}
	if (strcmp(v->tree[SSL], want) != 0)
		fall("done, and ssl: %s", difference(want, v->tree[SSL]));
	if (begins(b) == IDLE)
		judge_services(view_same(b, SSL, b, backup_of(b)) ?
		    v->enabled : b->runs | (v->enabled & SERVERS), v);
	else if (b->journal.touched)
		judge_services(line_set(b->journal.services), v);
	else if (strcmp(b->services, v->services) != 0)
		fall("services: %s", difference(b->services, v->services));
}

/* It only removes what is left. */
static void
judge_again(const struct view *b, const struct view *v)
{
	judge_idle(b, v);
	if (strcmp(b->tree[SSL], v->tree[SSL]) != 0)
		fall("all was done, and ssl: %s", difference(b->tree[SSL],
		    v->tree[SSL]));
	if (strcmp(b->services, v->services) != 0)
		fall("all was done, and services: %s", difference(b->services,
		    v->services));
}

static void
judge_done(const struct order *o, const struct view *b, const struct view *v,
    const char *out)
{
	if (again(b, o)) {
		judge_again(b, v);
		return;
	}
	switch (o->command) {
	case PREPARE:
		judge_prepared(b, v, out);
		return;
	case FINISH:
		judge_finished(b, v);
		return;
	default:
		judge_restored(b, v);
	}
}

/* Status 1: everything is as it was before, or before the exchange. */
static void
judge_unchanged(const struct order *o, const struct view *b,
    const struct view *v)
{
	enum where was;

	was = begins(b);
	if (o->command == FINISH && v->where == STAGED &&
	    (was == EXCHANGING || was == EXCHANGED)) {
		if (!is(memory.original, v->tree[SSL]))
			fall("undone, and ssl: %s", difference(memory.original,
			    v->tree[SSL]));
		return;
	}
	if (begins(v) != was)
		fall("status 1, and the state was %s and is %s",
		    where_name[was], where_name[v->where]);
	if (strcmp(b->tree[SSL], v->tree[SSL]) != 0)
		fall("status 1, and ssl: %s", difference(b->tree[SSL],
		    v->tree[SSL]));
	if (was == IDLE && strstr(b->all, "cmregen") == NULL && !unremoved())
		judge_clean(b, v);
	if (o->command == PREPARE && care != SPEECHLESS &&
	    strstr(said, "rename ") == NULL &&
	    strstr(said, "could not be compared with it") == NULL &&
	    strcmp(b->backup, v->backup) == 0 && !view_has(b, backup_of(b)) &&
	    view_has(v, BAK))
		fall("status 1, and a backup was made");
	if (was != IDLE && (strcmp(b->key[NEXT], v->key[NEXT]) != 0 ||
	    strcmp(b->tree[OLD], v->tree[OLD]) != 0))
		fall("status 1, and next or old have changed");
	if (strcmp(b->services, v->services) != 0)
		fall("status 1, and services: %s", difference(b->services,
		    v->services));
	if (strcmp(b->catalogs, v->catalogs) != 0)
		fall("status 1, and other catalogs: %s",
		    difference(b->catalogs, v->catalogs));
}

/*
 * What old or the name beside the backup holds becomes the backup, which
 * prepare makes anew where it is out of date.
 */
static void
judge_backup(const struct order *o, const struct view *b,
    const struct view *v)
{
	enum tree was;

	was = backup_of(b);
	if ((was == OLD || (was == BAK_GONE && o->command != FINISH)) &&
	    v->where != DONE &&
	    !(o->command == PREPARE && view_same(v, BAK, v, SSL)) &&
	    strcmp(v->tree[BAK], b->tree[was]) != 0)
		fall("the backup: %s", difference(b->tree[was],
		    v->tree[BAK]));
}

/* Whether it was ended by what was done to it. */
static int
ended(const struct trace *t)
{
	return t->act == TRACE_KILL || t->act == TRACE_KILL_AFTER ||
	    (t->act == TRACE_SIGNAL && WTERMSIG(t->status) == t->value);
}

/* The only message may be what could not be written. */
static int
mute(const struct trace *t)
{
	return t->applied && strncmp(trace_name(t->number), "write", 5) == 0;
}

static void
judge_status(const struct order *o, const struct trace *t, int status,
    const struct view *b, const struct view *v, const char *out)
{
	if (t->hung)
		fall("it hangs");
	else if (WIFSIGNALED(t->status) && !ended(t))
		fall("ended by signal %d", WTERMSIG(t->status));
	else if (status == 0)
		judge_done(o, b, v, out);
	else if (status == 1)
		judge_unchanged(o, b, v);
	else if (status != 3 && status != -1)
		fall("status %d", status);
	if (status > 0 && said[0] == '\0' && care != SPEECHLESS && !mute(t))
		fall("status %d in silence", status);
	if (care == UNDISTURBED)
		judge_backup(o, b, v);
	if (care == UNDISTURBED && status != expect(b, o))
		fall("status %d, should be %d", status, expect(b, o));
}

/* What was printed is printed, whatever came afterwards. */
static void
judge_said(const struct order *o, const struct view *v, const char *out)
{
	char hex[PLACE_ID];

	if (strstr(said, "not as cmregen leaves it") != NULL)
		fall("it calls what stands not of our making");
	if (o->command != PREPARE)
		return;
	fingerprint(out, hex);
	if (hex[0] == '\0')
		return;
	if (v->where != STAGED || strcmp(hex, v->fingerprint) != 0)
		fall("the fingerprint that it printed is not that of next");
	(void)strcpy(memory.printed, v->key[NEXT]);
}

void
judge(const struct order *o, enum care how, const struct trace *t,
    const struct view *b, const struct view *v)
{
	char *out, *err;
	int status;

	out = slurp(memory.place->out);
	err = slurp(memory.place->err);
	care = how;
	accepted = o->accept;
	said = err;
	status = WIFEXITED(t->status) ? WEXITSTATUS(t->status) : -1;
	tell("    %s %#x, %s -> %s\n", t->hung ? "hung" : "status",
	    (unsigned)t->status, where_name[b->where], where_name[v->where]);
	judge_status(o, t, status, b, v, out);
	judge_said(o, v, out);
	if (memory.fell || memory.verbose) {
		tell("    it said: %s\n", gist(err));
		tell("    and on stdout: %s\n", gist(out));
	}
	free(out);
	free(err);
}

void
order_make(struct order *o, enum command c, const char *backup, int accept)
{
	int n;

	(void)memset(o, 0, sizeof(*o));
	o->command = c;
	o->accept = accept;
	n = 0;
	o->argv[n++] = "node";
	o->argv[n++] = command_name[c];
	o->argv[n++] = "-p";
	o->argv[n++] = "@/node/bin/puppet";
	if (accept)
		o->argv[n++] = "-a";
	if (c == FINISH) {
		o->argv[n++] = "-w";
		o->argv[n++] = "0";
	} else if (backup != NULL) {
		(void)snprintf(o->backup, sizeof(o->backup), "%s", backup);
		o->argv[n++] = "-b";
		o->argv[n++] = o->backup;
	}
	o->argv[n] = NULL;
}

void
order_tell(const struct order *o, const char *how)
{
	int n;

	tell("  cmregen");
	for (n = 0; o->argv[n] != NULL; n++)
		tell(" %s", o->argv[n]);
	tell("%s%s\n", how[0] == '\0' ? "" : ", ", how);
}

void
memory_clear(void)
{
	replace(&memory.original, NULL);
	replace(&memory.kept, NULL);
	memory.printed[0] = '\0';
	memory.fell = 0;
	told = 0;
	text[0] = '\0';
}

const char *
story(void)
{
	return text;
}
