/*
 * cells.c: each command in each state of the table, and in what else can stand
 * there; then each command with each of its children failing in turn, for the
 * undo.
 *
 *	cells [-v] [-u] [-o name] [-s share] WORK PROGRAM
 *
 * WORK holds the templates that the script beside this made.  -u leaves out
 * the second part, -s takes every SHARE-th child of it only, -o only those with
 * that text in their name.  Prints what fell, then "N passed, N failed".
 */
#define _GNU_SOURCE
#include <sys/stat.h>
#include <sys/wait.h>

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "oracle.h"

#define NODE "cm1.example.com"
#define CUT "sed -i '$d' ssl.cmregen/journal; "
#define WORK_DIR "mkdir -m 700 ssl.cmregen; umask 77; "
#define RESTORE_LINE WORK_DIR "cp -a ssl_bak ssl.cmregen/next; " \
	"echo restore puppet pe-puppetserver pxp-agent >ssl.cmregen/journal; "

struct state {
	const char *name, *template;
	enum where where;
	const char *how;	/* by the shell, in the directory of ssl */
};

static const struct state states[] = {
	{ "idle", "cleaned", IDLE, "" },
	{ "idle, not cleaned", "idle", IDLE, "" },
	{ "idle, after a killed prepare", "cleaned", IDLE, WORK_DIR
	    "mkdir ssl.cmregen/next ssl.cmregen/make.1; "
	    "echo x >ssl.cmregen/make.1/x; "
	    "echo backup $PWD/ssl_bak >ssl.cmregen/journal; "
	    "cp -a ssl ssl_bak.cmregen-part" },
	{ "idle, the backup set aside", "finished", IDLE,
	    "mv ssl_bak ssl_bak.cmregen-gone" },
	{ "idle, finished", "finished", IDLE, "" },
	{ "idle, no ssl", "finished", IDLE, "rm -rf ssl" },
	{ "idle, a backup of something else", "cleaned", IDLE,
	    "mkdir ssl_bak" },
	{ "staged, not signed", "staged", STAGED, "" },
	{ "staged", "signed", STAGED, "" },
	{ "staged, no backup", "signed", STAGED, "rm -rf ssl_bak" },
	{ "staged, cleaned on the MoM", "signed", STAGED,
	    "rm -f ../../mom/ca/signed/" NODE ".pem" },
	{ "staged, ssl has changed", "signed", STAGED, "echo >>ssl/crl.pem" },
	{ "staged, a torn line", "signed", STAGED,
	    "printf 'finish pup' >>ssl.cmregen/journal" },
	{ "staged, left open", "signed", STAGED, "chmod 711 ssl.cmregen" },
	{ "exchanging", "unproven", EXCHANGING, CUT
	    "mv ssl ssl.cmregen/next; mv ssl.cmregen/old ssl" },
	{ "exchanging, between", "unproven", EXCHANGING, CUT
	    "mv ssl ssl.cmregen/next" },
	{ "exchanging, an ssl of puppet's", "unproven", EXCHANGING, CUT
	    "mv ssl ssl.cmregen/next; cp -a ssl.cmregen/old ssl; "
	    "rm ssl/certs/" NODE ".pem; echo >ssl/private_keys/" NODE
	    ".pem" },
	{ "exchanging, next again", "unproven", EXCHANGING, CUT
	    "mkdir ssl.cmregen/next" },
	{ "exchanged", "unproven", EXCHANGED, CUT },
	{ "exchanged, no backup", "unproven", EXCHANGED, CUT
	    "rm -rf ssl_bak" },
	{ "unproven", "unproven", UNPROVEN, "" },
	{ "unproven, no backup", "unproven", UNPROVEN, "rm -rf ssl_bak" },
	{ "unproven, a torn line", "unproven", UNPROVEN,
	    "printf don >>ssl.cmregen/journal" },
	{ "unproven, next again", "unproven", UNPROVEN,
	    "mkdir ssl.cmregen/next" },
	{ "restoring", "finished", RESTORING, RESTORE_LINE },
	{ "restoring, between", "finished", RESTORING, RESTORE_LINE
	    "mv ssl ssl.cmregen/old" },
	{ "restored", "finished", RESTORED, RESTORE_LINE
	    "mv ssl ssl.cmregen/old; mv ssl.cmregen/next ssl" },
	{ "going back", "unproven", GOING_BACK,
	    "echo back >>ssl.cmregen/journal" },
	{ "going back, between", "unproven", GOING_BACK,
	    "echo back >>ssl.cmregen/journal; rm -rf ssl" },
	{ "going back, after", "unproven", GOING_BACK,
	    "echo back >>ssl.cmregen/journal; rm -rf ssl; "
	    "mv ssl.cmregen/old ssl" },
	{ "going back from staged", "signed", GOING_BACK,
	    "echo back >>ssl.cmregen/journal" },
	{ "going back from staged, after", "signed", GOING_BACK,
	    "echo back >>ssl.cmregen/journal; rm -rf ssl.cmregen/next" },
	{ "done", "unproven", DONE, "echo done >>ssl.cmregen/journal" },
	{ "done, no backup", "unproven", DONE,
	    "echo done >>ssl.cmregen/journal; rm -rf ssl_bak" },
	{ "done, after", "unproven", DONE,
	    "echo done >>ssl.cmregen/journal; rm -rf ssl.cmregen/old" },
	{ "old in idle", "finished", FOREIGN, WORK_DIR
	    "cp -a ssl_bak ssl.cmregen/old; : >ssl.cmregen/journal" },
	{ "staged without next", "signed", FOREIGN,
	    "rm -rf ssl.cmregen/next" },
	{ "staged with old", "signed", FOREIGN,
	    "cp -a ssl ssl.cmregen/old" },
	{ "an unknown word", "signed", FOREIGN,
	    "echo finished >>ssl.cmregen/journal" },
	{ "an empty line", "signed", FOREIGN, "echo >>ssl.cmregen/journal" },
};

/* A child that fails, and the command that it is a child of. */
static const struct undo {
	const char *name, *template;
	enum command command;
	int accept;
} undos[] = {
	{ "prepare", "cleaned", PREPARE, 0 },
	{ "finish", "signed", FINISH, 0 },
	{ "restore", "finished", RESTORE, 1 },
	{ "way back", "unproven", RESTORE, 0 },
};

static const char *const actions[] = {
	"exit 1", "wrong -", "parent TERM"
};

enum { CALLS = 60, SHOWN = 200 };

static struct place place;
static const char *work, *program, *only;
static long passed, failed;

static void
look(struct view *v)
{
	view_take(v, &place, NULL);
}

static void
fresh(const char *template)
{
	tree_wipe(AT_FDCWD, place.dir);
	place_fill(&place, path("%s/template.%s%d", work, template,
	    memory.version));
}

/* What stands when it begins is what must not be lost. */
static void
remember(const struct view *v)
{
	enum tree t;

	t = view_has(v, OLD) ? OLD : SSL;
	replace(&memory.original, view_has(v, t) ? v->tree[t] : NULL);
	replace(&memory.kept, view_has(v, BAK) ? v->tree[BAK] : NULL);
	(void)strcpy(memory.backup, v->backup);
}

static void
verdict(const char *name)
{
	if (memory.fell || memory.verbose)
		(void)printf("%s, Puppet %d:\n%s", name, memory.version,
		    story());
	(void)fflush(stdout);
	failed += memory.fell;
	passed += !memory.fell;
}

static int
run(const char *const *argv)
{
	struct trace t;

	(void)memset(&t, 0, sizeof(t));
	t.tty = -1;
	t.act = TRACE_PLAIN;
	place_run(&place, program, argv, &t);
	place_reap(&place, 1);
	return t.status;
}

/* What is not of our making is named, and nothing is done. */
static void
judge_foreign(int status, const struct view *b, const struct view *v)
{
	char *err, *now_, *was;

	err = slurp(place.err);
	if (!WIFEXITED(status) || WEXITSTATUS(status) != 1)
		fall("status %#x", (unsigned)status);
	/* an empty journal says nothing, whether it is there or not */
	was = without(b->all, "/ssl.cmregen/journal 0 ");
	now_ = without(v->all, "/ssl.cmregen/journal 0 ");
	if (strcmp(was, now_) != 0)
		fall("%s", difference(was, now_));
	free(was);
	free(now_);
	if (strcmp(b->services, v->services) != 0)
		fall("services: %s", difference(b->services, v->services));
	if (strstr(err, "not as cmregen leaves it") == NULL)
		fall("it does not say what is wrong: %s", err);
	free(err);
}

static void
cell(const struct state *s, enum command c, int accept)
{
	struct order o;
	struct view b, v;
	struct trace t;

	memory_clear();
	look(&b);
	if (b.where != s->where)
		fall("the state is %s", where_name[b.where]);
	remember(&b);
	order_make(&o, c, NULL, accept);
	order_tell(&o, "");
	(void)memset(&t, 0, sizeof(t));
	t.status = run(o.argv);
	look(&v);
	if (s->where == FOREIGN) {
		judge_foreign(t.status, &b, &v);
	} else {
		judge(&o, UNDISTURBED, &t, &b, &v);
		point(&v);
	}
	if (b.where == DONE && v.where == DONE)
		fall("what was done has not come to its end");
	view_free(&b);
	view_free(&v);
}

/* status, and a dry run of each command, change nothing. */
static void
dry(const struct state *s)
{
	static const char *const verbs[] = {
		"status", "prepare", "finish", "restore"
	};
	const char *argv[] = {
		"node", NULL, "-p", "@/node/bin/puppet", NULL, NULL
	};
	struct view b, v;
	int i, status, want;

	look(&b);
	for (i = 0; i < 4; i++) {
		argv[1] = verbs[i];
		argv[4] = i == 0 ? NULL : "-n";
		status = run(argv);
		want = s->where == IDLE ? 0 : 3;
		tell("  cmregen node %s %s: %#x\n", argv[1], i == 0 ? "" :
		    argv[4], (unsigned)status);
		if (!WIFEXITED(status) || WEXITSTATUS(status) > 3 || (i == 0 &&
		    WEXITSTATUS(status) != want))
			fall("status %#x", (unsigned)status);
		look(&v);
		if (strcmp(b.all, v.all) != 0)
			fall("%s", difference(b.all, v.all));
		if (strcmp(b.services, v.services) != 0)
			fall("services: %s", difference(b.services,
			    v.services));
		view_free(&v);
	}
	view_free(&b);
}

static void
shell(const char *how)
{
	if (system(path("cd %s/node/puppet && { %s\n}", place.dir,
	    how[0] == '\0' ? ":" : how)) != 0)
		die(how);
}

static void
state_try(const struct state *s)
{
	int c;

	if (only != NULL && strstr(s->name, only) == NULL)
		return;
	fresh(s->template);
	shell(s->how);
	memory_clear();
	dry(s);
	verdict(path("%s, looked at", s->name));
	for (c = 0; c < COMMANDS; c++) {
		fresh(s->template);
		shell(s->how);
		cell(s, c, 0);
		verdict(path("%s, node %s", s->name, command_name[c]));
	}
}

/* One child failed, once: what can be undone must be undone. */
static void
judge_undo(const struct undo *u, const char *action, int status,
    enum where where)
{
	if (u->command == PREPARE && status == 0 &&
	    strcmp(action, "parent TERM") == 0)
		fall("the signal was not heard");
	if (WIFEXITED(status) && WEXITSTATUS(status) == 3 &&
	    (where == STAGED || where == EXCHANGING || where == EXCHANGED ||
	    where == RESTORING))
		fall("not undone: %s", where_name[where]);
}

/* Returns 0 where there is no such child. */
static int
undo_try(const struct undo *u, const char *action, int nth)
{
	struct order o;
	struct view b, v;
	struct trace t;
	char *text;
	int hit;

	fresh(u->template);
	memory_clear();
	put(path("%s/node/knobs/faults", place.dir), path("%s %d *\n", action,
	    nth));
	look(&b);
	remember(&b);
	order_make(&o, u->command, NULL, u->accept);
	order_tell(&o, path("%s, the child number %d", action, nth));
	(void)memset(&t, 0, sizeof(t));
	t.status = run(o.argv);
	text = slurp(path("%s/node/knobs/faults.1", place.dir));
	hit = atoi(text) >= nth;
	free(text);
	tree_wipe(AT_FDCWD, path("%s/node/knobs/faults", place.dir));
	if (hit) {
		look(&v);
		judge(&o, DISTURBED, &t, &b, &v);
		point(&v);
		judge_undo(u, action, t.status, v.where);
		view_free(&v);
		verdict(path("%s, %s, child %d", u->name, action, nth));
	}
	view_free(&b);
	return hit;
}

int
main(int argc, char *argv[])
{
	static const int versions[] = { 7, 5 };
	size_t a, i, n;
	int c, undo, share;

	undo = share = 1;
	while ((c = getopt(argc, argv, "o:s:uv")) != -1)
		switch (c) {
		case 'o': only = optarg; break;
		case 's': share = atoi(optarg); break;
		case 'u': undo = 0; break;
		case 'v': memory.verbose = 1; break;
		default: return 2;
		}
	if (argc - optind != 2 || share < 1) {
		(void)fprintf(stderr, "usage: cells [-uv] [-o name] "
		    "[-s share] WORK PROGRAM\n");
		return 2;
	}
	work = argv[optind];
	program = argv[optind + 1];
	place_enter(&place, work, 0);
	memory.place = &place;
	for (n = 0; n < 2; n++) {
		memory.version = versions[n];
		for (i = 0; i < sizeof(states) / sizeof(*states); i++)
			state_try(&states[i]);
		for (i = 0; undo && i < sizeof(undos) / sizeof(*undos); i++)
			for (a = 0; a < sizeof(actions) / sizeof(*actions);
			    a++)
				for (c = 1; c < CALLS && (only == NULL ||
				    strstr(undos[i].name, only) != NULL);
				    c += share)
					if (!undo_try(&undos[i], actions[a],
					    c))
						break;
	}
	(void)printf("%ld passed, %ld failed\n", passed, failed);
	return failed != 0 || passed == 0;
}
