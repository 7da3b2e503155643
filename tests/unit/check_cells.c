/*
 * check_cells.c: every cell of the table of states: what prepare, finish,
 * restore, their dry runs and status do in each, against the stand-in; and
 * what a kill at each call of puppet's leaves.
 */
#include <stdio.h>
#include <string.h>

#include "fixture.h"

enum { PREPARE, FINISH, RESTORE, COMMANDS };

static const char *const command[COMMANDS] = {
	"prepare", "finish", "restore"
};

static void
ends_same(void)
{
}

/* The status of each command, and what is there afterwards. */
static const struct {
	const char *situation;
	const char *under_way;	/* as status says it */
	int found;		/* status's own */
	const char *next;	/* the command that status names */
	struct {
		int status;
		void (*ends)(void);
		const char *says;
	} cell[COMMANDS];
} cells[] = {
	{ "idle", "nothing is under way", 0, NULL, {
		{ 0, ends_staged, "mom sign -f " },
		{ 1, ends_same, "nothing is under way" },
		{ 1, ends_same, "no backup" } } },
	{ "finished", "nothing is under way", 0, NULL, {
		{ 1, ends_same, "mv " },
		{ 1, ends_same, "nothing is under way" },
		{ 1, ends_same, "-a" } } },
	{ "staged", "prepare is done", 3, "mom sign -f ", {
		{ 0, ends_same, "mom sign -f " },
		{ 1, ends_same, "mom sign -f " },
		{ 0, ends_back, "mom clean " CM1 } } },
	{ "signed", "prepare is done", 3, "node finish", {
		{ 0, ends_same, "node finish" },
		{ 0, ends_finished, "rm -rf " },
		{ 0, ends_back, "mom clean " CM1 } } },
	{ "exchanging", "finish: the new certificate is not in place yet", 3,
	    "node finish", {
		{ 1, ends_same, "node finish" },
		{ 0, ends_finished, "rm -rf " },
		{ 0, ends_back, "mom clean " CM1 } } },
	{ "torn", "finish: the new certificate is not in place yet", 3,
	    "node finish", {
		{ 1, ends_same, "node finish" },
		{ 0, ends_finished, "rm -rf " },
		{ 0, ends_back, "mom clean " CM1 } } },
	{ "exchanged", "finish: the new certificate is in place", 3,
	    "node finish", {
		{ 1, ends_same, "node finish" },
		{ 0, ends_finished, "rm -rf " },
		{ 0, ends_back, "mom clean " CM1 } } },
	{ "unproven", "the Puppet run, and", 3, "node finish", {
		{ 1, ends_same, "node finish" },
		{ 0, ends_finished, "rm -rf " },
		{ 0, ends_back, "mom clean " CM1 } } },
	{ "restoring", "restore: the backup is copied", 3, "node restore", {
		{ 1, ends_same, "node restore" },
		{ 1, ends_same, "node restore" },
		{ 0, ends_back, "mom clean " CM1 } } },
	{ "halfway", "restore: the backup is copied", 3, "node restore", {
		{ 1, ends_same, "node restore" },
		{ 1, ends_same, "node restore" },
		{ 0, ends_back, "mom clean " CM1 } } },
	{ "restored", "restore: the backup is in place", 3, "node restore", {
		{ 1, ends_same, "node restore" },
		{ 1, ends_same, "node restore" },
		{ 0, ends_back, "mom clean " CM1 } } },
	{ "leaving", "restore: takes back", 3, "node restore", {
		{ 1, ends_same, "node restore" },
		{ 1, ends_same, "node restore" },
		{ 0, ends_back, "mom clean " CM1 } } },
	{ "returning", "restore: takes back", 3, "node restore", {
		{ 1, ends_same, "node restore" },
		{ 1, ends_same, "node restore" },
		{ 0, ends_back, "mom clean " CM1 } } },
	{ "done", "removal of what is left", 3, NULL, {
		{ 1, ends_finished, "mv " },
		{ 0, ends_finished, "all was done" },
		{ 1, ends_finished, "-a" } } },
	{ "undone", "removal of what is left", 3, NULL, {
		{ 1, ends_back, "mom clean " CM1 },
		{ 1, ends_back, "nothing is under way" },
		{ 0, ends_back, "all was done" } } }
};

enum { CELLS = sizeof cells / sizeof cells[0] };

/* done begins where puppet was not started yet. */
static void
place(int i, int v)
{
	quiet_situation(v, cells[i].situation);
	if (strcmp(cells[i].situation, "done") == 0 ||
	    strcmp(cells[i].situation, "undone") == 0)
		sh("for s in pxp-agent mcollective; do "
		    "[ ! -e node/services/$s ] || echo running true "
		    ">node/services/$s; done");
}

static void
cell(int i, int c, int v)
{
	const struct run *r;
	const char *before;

	place(i, v);
	before = snapshot("node");
	if (c == FINISH)
		r = node("finish", "-w", "0", NULL);
	else
		r = node(command[c], NULL);
	ck_assert_msg(r->status == cells[i].cell[c].status,
	    "%s, %s: status %d, not %d:\n%s\n%s", cells[i].situation,
	    command[c], r->status, cells[i].cell[c].status, r->out, r->err);
	assert_has(text("%s%s", r->out, r->err), cells[i].cell[c].says);
	if (cells[i].cell[c].ends == ends_same)
		assert_same(snapshot("node"), before);
	cells[i].cell[c].ends();
}

START_TEST(each_cell_of_5)
{
	cell(_i / COMMANDS, _i % COMMANDS, FIVE);
}
END_TEST

START_TEST(each_cell_of_6)
{
	cell(_i / COMMANDS, _i % COMMANDS, SIX);
}
END_TEST

START_TEST(each_cell_of_7)
{
	cell(_i / COMMANDS, _i % COMMANDS, SEVEN);
}
END_TEST

START_TEST(each_cell_of_8)
{
	cell(_i / COMMANDS, _i % COMMANDS, EIGHT);
}
END_TEST

/* Whether a dry run cannot know what the command will meet. */
static int
is_surprise(int i, int c)
{
	return (strcmp(cells[i].situation, "staged") == 0 && c == FINISH) ||
	    (strcmp(cells[i].situation, "undone") == 0 && c == PREPARE);
}

/* All that is no command is a comment, and the ends say what this was. */
static void
assert_runbook(const char *s)
{
	const char *p;

	ck_assert_int_eq(s[0], '#');
	for (p = s; strchr(p, '\n')[1] != '\0'; p = strchr(p, '\n') + 1)
		continue;
	ck_assert_int_eq(strncmp(p, "# dry run: ", 11), 0);
	assert_has(p, "nothing was changed");
}

/* -n changes nothing, and what it prints, typed, ends as the command does. */
static void
dry(int i, int c, int v)
{
	const struct run *r;
	const char *before;

	place(i, v);
	before = snapshot("node");
	r = node(command[c], "-n", NULL);
	assert_same(snapshot("node"), before);
	assert_runbook(r->out);
	ck_assert_int_eq(logged("node", "ensure=", 0), -1);
	ck_assert_int_eq(logged("node", "agent --test", 0), -1);
	if (is_surprise(i, c))
		return;
	ck_assert_msg(r->status == cells[i].cell[c].status,
	    "%s, %s -n: status %d, not %d:\n%s\n%s", cells[i].situation,
	    command[c], r->status, cells[i].cell[c].status, r->out, r->err);
	runbook(r->out);
	if (cells[i].cell[c].ends == ends_same)
		assert_same(snapshot("node"), before);
	cells[i].cell[c].ends();
}

START_TEST(each_runbook_of_5)
{
	dry(_i / COMMANDS, _i % COMMANDS, FIVE);
}
END_TEST

START_TEST(each_runbook_of_8)
{
	dry(_i / COMMANDS, _i % COMMANDS, EIGHT);
}
END_TEST

START_TEST(status_tells_each_state_and_changes_nothing)
{
	const struct run *r;
	const char *before;

	place(_i, _i % VERSIONS);
	before = snapshot(".");
	r = node("status", NULL);
	assert_status(r, cells[_i].found);
	assert_has(r->out, cells[_i].under_way);
	assert_has(r->out, "serial number ");
	assert_has(r->out, path(BAK));
	if (cells[_i].next != NULL)
		assert_has(r->out, cells[_i].next);
	assert_same(snapshot("."), before);
	ck_assert_int_eq(logged("node", "resource", 0), -1);
}
END_TEST

/*
 * What is not of our making.
 */

static const char *const foreign[] = {
	"mkdir " WORK "/old && : >" JOURNAL,
	"echo nonsense >>" JOURNAL,
	"echo >>" JOURNAL,
	"mv " NEXT " " WORK "/away",
	"cp -a " SSL " " OLD
};

START_TEST(what_is_foreign_is_shown_and_left_alone)
{
	const struct run *r;
	const char *before;
	int c;

	situation(SEVEN, "staged");
	sh("%s", foreign[_i]);
	before = snapshot(".");
	for (c = 0; c < COMMANDS; c++) {
		r = node(command[c], NULL);
		assert_status(r, 1);
		assert_has(r->err, "is not as cmregen leaves it");
		assert_has(r->err, "serial number 02");
		assert_has(r->err, text("mv %s %s.set-aside", path(WORK),
		    path(WORK)));
		assert_same(snapshot("."), before);
		r = node(command[c], "-n", NULL);
		assert_status(r, 1);
		assert_same(snapshot("."), before);
	}
	r = node("status", NULL);
	assert_status(r, 3);
	assert_has(r->err, "is not as cmregen leaves it");
	assert_same(snapshot("."), before);
}
END_TEST

/*
 * Kills.  A pattern of a call, and which of those that match, after which the
 * same command again, or restore, comes to its end.
 */

static const char *const prepare_calls[] = {
	"puppet --version", "puppet config*agent ssldir*",
	"puppet config*make*", "*--ssldir*make.1"
};

static const char *const finish_calls[] = {
	"puppet --version", "puppet config*", "puppet ssl*",
	"puppet resource service puppet", "puppet resource service pxp-agent",
	"*puppet ensure=stopped", "*pxp-agent ensure=stopped",
	"puppetserver reload", "*pxp-agent ensure=running",
	"*pe-puppetserver ensure=running", "puppet agent --test",
	"*service puppet ensure=running"
};

static const char *const restore_calls[] = {
	"puppet --version", "puppet config*",
	"puppet resource service puppet", "puppet resource service pxp-agent",
	"*puppet ensure=stopped", "*pxp-agent ensure=stopped",
	"puppetserver reload", "*pxp-agent ensure=running",
	"*pe-puppetserver ensure=running", "*service puppet ensure=running"
};

/* Puts services right that a dry start could not: their answer was lost. */
static void
is_known(void)
{
	const struct run *r;

	r = node("status", NULL);
	ck_assert_int_ne(r->status, 1);
	assert_has_not(r->out, "not of our making");
}

START_TEST(prepare_killed_at_a_call_and_run_again)
{
	const char *pattern;

	situation(SEVEN, "idle");
	pattern = prepare_calls[_i / 2];
	if (_i / 2 == 3)
		pattern = "puppet ssl*";
	node_killed(pattern, "prepare", NULL);
	is_known();
	/* a request that was sent before the kill is in the way */
	if (exists("mom/ca/requests/" CM1 ".pem")) {
		assert_status(node("prepare", NULL), 1);
		ends_back();
		sh("rm mom/ca/requests/*; echo 1 >node/counter");
	}
	if (_i % 2 == 0) {
		assert_status(node("prepare", NULL), 0);
		ends_staged();
	} else {
		(void)node("restore", NULL);
		ends_back();
	}
}
END_TEST

START_TEST(finish_killed_at_a_call_and_run_again)
{
	quiet_situation(_i % 4 < 2 ? SEVEN : FIVE, "signed");
	if (_i / 4 >= 11 || (_i / 4 == 2 && _i % 4 >= 2))
		return;			/* no such call here */
	node_killed(finish_calls[_i / 4], "finish", NULL);
	is_known();
	assert_status(node(_i % 2 == 0 ? "finish" : "restore", NULL), 0);
	if (_i % 2 == 0)
		ends_finished();
	else
		ends_back();
}
END_TEST

START_TEST(restore_killed_at_a_call_and_run_again)
{
	quiet_situation(SEVEN, "finished");
	if (_i >= 9)
		return;
	node_killed(restore_calls[_i], "restore", "-a", NULL);
	is_known();
	assert_status(node("restore", "-a", NULL), 0);
	ends_back();
}
END_TEST

/* The way back is killed, and run again. */
START_TEST(going_back_killed_at_a_call_and_run_again)
{
	quiet_situation(SEVEN, _i % 2 == 0 ? "exchanged" : "unproven");
	if (_i / 2 == 2 || _i / 2 == 3 || _i / 2 >= 9)
		return;			/* it asks for no service */
	node_killed(restore_calls[_i / 2], "restore", NULL);
	is_known();
	assert_status(node("restore", NULL), 0);
	ends_back();
}
END_TEST

/* Two kills in a row, the second in finish again or in restore. */
START_TEST(finish_killed_twice)
{
	int first_call, second_call;

	first_call = 5 + _i / 6;
	second_call = 5 + _i % 6;
	quiet_situation(SEVEN, "signed");
	node_killed(finish_calls[first_call], "finish", NULL);
	if (first_call == 10 && second_call < 10)
		return;			/* only the run is left */
	node_killed(finish_calls[second_call], "finish", NULL);
	is_known();
	assert_status(node(_i % 2 == 0 ? "finish" : "restore", NULL), 0);
	if (_i % 2 == 0)
		ends_finished();
	else
		ends_back();
}
END_TEST

static TCase *
cells_case(void)
{
	TCase *tc;

	tc = tcase_create("cells");
	tcase_add_checked_fixture(tc, fixture_begin, fixture_end);
	tcase_set_timeout(tc, 120);
	tcase_add_loop_test(tc, each_cell_of_5, 0, CELLS * COMMANDS);
	tcase_add_loop_test(tc, each_cell_of_6, 0, CELLS * COMMANDS);
	tcase_add_loop_test(tc, each_cell_of_7, 0, CELLS * COMMANDS);
	tcase_add_loop_test(tc, each_cell_of_8, 0, CELLS * COMMANDS);
	tcase_add_loop_test(tc, each_runbook_of_5, 0, CELLS * COMMANDS);
	tcase_add_loop_test(tc, each_runbook_of_8, 0, CELLS * COMMANDS);
	tcase_add_loop_test(tc, status_tells_each_state_and_changes_nothing,
	    0, CELLS);
	tcase_add_loop_test(tc, what_is_foreign_is_shown_and_left_alone, 0,
	    (int)(sizeof foreign / sizeof foreign[0]));
	return tc;
}

static TCase *
kills_case(void)
{
	TCase *tc;

	tc = tcase_create("kills");
	tcase_add_checked_fixture(tc, fixture_begin, fixture_end);
	tcase_set_timeout(tc, 120);
	tcase_add_loop_test(tc, prepare_killed_at_a_call_and_run_again, 0, 8);
	tcase_add_loop_test(tc, finish_killed_at_a_call_and_run_again, 0, 48);
	tcase_add_loop_test(tc, restore_killed_at_a_call_and_run_again, 0,
	    10);
	tcase_add_loop_test(tc, going_back_killed_at_a_call_and_run_again, 0,
	    20);
	tcase_add_loop_test(tc, finish_killed_twice, 0, 36);
	return tc;
}

int
main(void)
{
	Suite *s;

	s = suite_create("cells");
	suite_add_tcase(s, cells_case());
	suite_add_tcase(s, kills_case());
	return suite_run(s);
}
