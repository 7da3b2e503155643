/*
 * check_state.c: where we are.  The function that decides it is static, so
 * this suite has all of node.c inside, and none of the fixture's names.
 */
#include <sys/stat.h>

#include <check.h>
#include <stdio.h>
#include <stdlib.h>

#include "../../node.c"

/* As in fixture.h. */
int	suite_run(Suite *);
void	tests_add(TCase *, const TTest *, int, int);
#undef tcase_add_test
#define tcase_add_test(TC, TEST) tests_add((TC), (TEST), 0, 1)
#undef tcase_add_loop_test
#define tcase_add_loop_test(TC, TEST, FROM, TO)				\
    tests_add((TC), (TEST), (FROM), (TO))

/*
 * The table of the contract, again: what each last line means without next
 * and old, with old, with next, and with both.
 */
static const struct {
	const char *line;
	enum state is[4];
} lines[] = {
	{ "", { IDLE, FOREIGN, IDLE, FOREIGN } },
	{ "backup /a b", { IDLE, FOREIGN, IDLE, FOREIGN } },
	{ "staged", { FOREIGN, FOREIGN, STAGED, FOREIGN } },
	{ "finish", { EXCHANGED, EXCHANGED, EXCHANGING, EXCHANGING } },
	{ "finish puppet pxp-agent",
	    { EXCHANGED, EXCHANGED, EXCHANGING, EXCHANGING } },
	{ "run", { UNPROVEN, UNPROVEN, UNPROVEN, UNPROVEN } },
	{ "restore", { RESTORED, RESTORED, RESTORING, RESTORING } },
	{ "restore pe-puppetserver",
	    { RESTORED, RESTORED, RESTORING, RESTORING } },
	{ "back", { GOING_BACK, GOING_BACK, GOING_BACK, GOING_BACK } },
	{ "done", { ALL_DONE, ALL_DONE, ALL_DONE, ALL_DONE } },
	/* none of these is a line of ours */
	{ "stage", { FOREIGN, FOREIGN, FOREIGN, FOREIGN } },
	{ "stagedx", { FOREIGN, FOREIGN, FOREIGN, FOREIGN } },
	{ "Staged", { FOREIGN, FOREIGN, FOREIGN, FOREIGN } },
	{ "finished", { FOREIGN, FOREIGN, FOREIGN, FOREIGN } },
	{ "finish\tpuppet", { FOREIGN, FOREIGN, FOREIGN, FOREIGN } },
	{ "r", { FOREIGN, FOREIGN, FOREIGN, FOREIGN } },
	{ "restored", { FOREIGN, FOREIGN, FOREIGN, FOREIGN } },
	{ " done", { FOREIGN, FOREIGN, FOREIGN, FOREIGN } },
	{ "backups /a", { FOREIGN, FOREIGN, FOREIGN, FOREIGN } },
	{ " ", { FOREIGN, FOREIGN, FOREIGN, FOREIGN } },
	{ "\001", { FOREIGN, FOREIGN, FOREIGN, FOREIGN } }
};

enum { LINES = sizeof lines / sizeof lines[0] };

/* How many rows of the program's table fit. */
static int
rows(const char *text, int next, int old)
{
	size_t i;
	int n;

	n = 0;
	for (i = 0; i < sizeof table / sizeof table[0]; i++)
		n += line_is(line_last(text), table[i].last) &&
		    (table[i].next == ANY || table[i].next == next) &&
		    (table[i].old == ANY || table[i].old == old);
	return n;
}

static void
assert_state(const char *text, int next, int old, enum state want)
{
	enum state state;

	state = state_of(text, next, old);
	ck_assert_msg(state == want, "'%s' next %d old %d: %d, not %d", text,
	    next, old, (int)state, (int)want);
	ck_assert_int_eq(rows(text, next, old), want != FOREIGN);
}

/* The line alone, and behind every other. */
START_TEST(each_last_line_is_one_state_or_foreign)
{
	char text[256];
	const char *line;
	int i, j, is;

	line = lines[_i].line;
	for (i = 0; i < 4; i++) {
		(void)snprintf(text, sizeof text, "%s%s", line,
		    line[0] == '\0' ? "" : "\n");
		assert_state(text, i >> 1, i & 1, lines[_i].is[i]);
	}
	for (j = 0; j < LINES; j++) {
		if (lines[j].line[0] == '\0')
			continue;
		(void)snprintf(text, sizeof text, "%s\n%s%s", lines[j].line,
		    line, line[0] == '\0' ? "" : "\n");
		is = line[0] == '\0' || strncmp(line, "backup ", 7) == 0 ?
		    j : _i;
		for (i = 0; i < 4; i++)
			assert_state(text, i >> 1, i & 1, lines[is].is[i]);
	}
}
END_TEST

START_TEST(an_empty_line_is_none_of_ours)
{
	static const char *const texts[] = {
		"\n", "staged\n\n", "\nstaged\n\n", "done\n\n"
	};
	size_t i;
	int j;

	for (i = 0; i < sizeof texts / sizeof texts[0]; i++)
		for (j = 0; j < 4; j++)
			assert_state(texts[i], j >> 1, j & 1, FOREIGN);
}
END_TEST

START_TEST(the_words_of_a_line_are_its_services)
{
	static const struct options o;
	static struct node n;
	static const struct {
		const char *text;
		int set;
	} sets[] = {
		{ "", 0 },
		{ "staged\n", 0 },
		{ "finish\n", 0 },
		{ "finish puppet\n", PUPPET },
		{ "finish puppet\nrun\n", PUPPET },
		{ "finish puppet pe-puppetserver puppetserver mcollective "
		    "pxp-agent\nrun\ndone\n", ALL },
		{ "finish puppetserver\n", 1 << 2 },
		{ "finish pe-puppetserver pxp-agent\nback\n",
		    1 << 1 | 1 << 4 },
		{ "restore mcollective\n", 1 << 3 },
		{ "finish puppetx pxp xpuppet\n", 0 }
	};
	size_t i;

	n.o = &o;
	for (i = 0; i < sizeof sets / sizeof sets[0]; i++) {
		(void)strcpy(n.journal.text, sets[i].text);
		ck_assert_int_eq(journal_set(&n), sets[i].set);
	}
}
END_TEST

/*
 * Torn lines: what is read is the text up to its last newline, whatever was
 * written behind that.
 */

static char dir[64];
static int at;

static void
begin(void)
{
	(void)strcpy(dir, "/tmp/cmregen-state.XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(dir));
	at = dir_open(AT_FDCWD, dir);
	ck_assert_int_ne(at, -1);
}

static void
end_all(void)
{
	(void)unlinkat(at, "journal", 0);
	(void)close(at);
	(void)rmdir(dir);
}

/* Has the program read a journal of these bytes, twice. */
static const char *
read_journal(const char *text, size_t len)
{
	static char got[2][4096];
	struct lock lock;
	int fd, i;

	fd = openat(at, "journal", O_WRONLY | O_CREAT | O_TRUNC, 0600);
	ck_assert_int_ne(fd, -1);
	ck_assert_int_eq((int)write(fd, text, len), (int)len);
	(void)close(fd);
	for (i = 0; i < 2; i++) {
		ck_assert_int_eq(lock_ask(at, "journal", got[i],
		    sizeof got[i]), 0);
		ck_assert_int_eq(lock_take(&lock, at, "journal"), LOCK_TAKEN);
		ck_assert_int_eq(lock_lines(&lock, got[1 - i],
		    sizeof got[i]), 0);
		lock_leave(&lock);
		ck_assert_str_eq(got[0], got[1]);
	}
	return got[0];
}

static const char whole[] = "backup /b/ssl_bak\nstaged\nfinish puppet "
    "pe-puppetserver\nrun\nback\nrestore mcollective\ndone\n";

START_TEST(a_torn_line_does_not_count)
{
	char text[sizeof whole];
	const char *got;
	size_t len, keep;
	int i;

	for (len = 0; len < sizeof whole; len++) {
		for (keep = len; keep > 0 && whole[keep - 1] != '\n'; )
			keep--;
		(void)memcpy(text, whole, keep);
		text[keep] = '\0';
		got = read_journal(whole, len);
		ck_assert_str_eq(got, text);
		for (i = 0; i < 4; i++)
			ck_assert_int_eq(state_of(got, i >> 1, i & 1),
			    state_of(text, i >> 1, i & 1));
		if (len == 0 || keep != len)
			continue;
		ck_assert_int_ne(state_of(got, 1, 0) == FOREIGN &&
		    state_of(got, 0, 0) == FOREIGN, 1);
	}
}
END_TEST

/* A file system may have the length on disk, and zeroes for the bytes. */
START_TEST(zeroes_behind_the_last_line_do_not_count)
{
	static const char zeroes[] = "backup /b\nstaged\n\0\0\0\0\0\0";

	ck_assert_int_eq(state_of(read_journal(zeroes, sizeof zeroes), 1, 0),
	    STAGED);
}
END_TEST

/*
 * What the program leaves.  Each change of journal, next and old is a letter,
 * and each command, in each state, one or more rows of them, in the order of
 * node.c: a kill can come behind each letter, and any command after that.
 *
 *     B S F U R K D   a line: backup, staged, finish, run, restore, back, done
 *     C               the last line is cut off
 *     X               the journal goes
 *     N n             next gets its name; it loses that, or becomes ssl
 *     O o             ssl becomes old, unless that is there; old goes
 *     V               the undo: ssl becomes next, unless that is there
 */
static const struct {
	enum state state;
	const char *steps;
} ways[] = {
	{ IDLE, "nBNS" }, { IDLE, "nBNnX" }, { IDLE, "nX" },
	{ IDLE, "nNnX" }, { IDLE, "nNROnDoX" }, { IDLE, "nNRnDoX" },
	{ IDLE, "nNRCnX" },
	{ STAGED, "B" }, { STAGED, "FOnUDoX" }, { STAGED, "FVoC" },
	{ STAGED, "FOVoC" }, { STAGED, "FOnVoC" }, { STAGED, "KnoDX" },
	{ EXCHANGING, "OnUDoX" }, { EXCHANGING, "OVoC" },
	{ EXCHANGING, "VoC" }, { EXCHANGING, "OnVoC" },
	{ EXCHANGING, "KnoDX" },
	{ EXCHANGED, "UDoX" }, { EXCHANGED, "VoC" }, { EXCHANGED, "KnoDX" },
	{ UNPROVEN, "DoX" }, { UNPROVEN, "KnoDX" },
	{ RESTORING, "OnDoX" }, { RESTORING, "nDoX" },
	{ RESTORED, "DoX" },
	{ GOING_BACK, "noDX" },
	{ ALL_DONE, "onX" }
};

static const struct {
	char letter;
	const char *line;
} line_of[] = {
	{ 'B', "backup /b" }, { 'S', "staged" }, { 'F', "finish puppet" },
	{ 'U', "run" }, { 'R', "restore puppet" }, { 'K', "back" },
	{ 'D', "done" }
};

struct disk {
	char text[256];
	int next, old;
};

static struct disk seen[512];
static int seen_count;

static void
see(const struct disk *d)
{
	int i;

	for (i = 0; i < seen_count; i++)
		if (strcmp(seen[i].text, d->text) == 0 &&
		    seen[i].next == d->next && seen[i].old == d->old)
			return;
	ck_assert_int_lt(seen_count, 512);
	seen[seen_count++] = *d;
}

/* One letter.  Returns 0 where the program would stop there. */
static int
step(struct disk *d, char c)
{
	size_t i;

	for (i = 0; i < sizeof line_of / sizeof line_of[0]; i++)
		if (line_of[i].letter == c && (c != 'B' ||
		    strstr(d->text, line_of[i].line) == NULL)) {
			ck_assert_uint_lt(strlen(d->text), 200);
			(void)strcat(strcat(d->text, line_of[i].line), "\n");
		}
	if (c == 'V' && !d->next && !d->old)
		return 0;
	if (c == 'C')
		d->text[line_last(d->text) - d->text] = '\0';
	if (c == 'X')
		d->text[0] = '\0';
	if (c == 'N' || c == 'V')
		d->next = 1;
	if (c == 'n')
		d->next = 0;
	if (c == 'O')
		d->old = 1;
	if (c == 'o')
		d->old = 0;
	return 1;
}

START_TEST(no_order_of_steps_ends_in_what_is_foreign)
{
	static const struct disk nothing_yet;
	struct disk d;
	enum state state;
	const char *p;
	size_t j;
	int i, met[STATES] = { 0 };

	seen_count = 0;
	see(&nothing_yet);
	for (i = 0; i < seen_count; i++) {
		state = state_of(seen[i].text, seen[i].next, seen[i].old);
		ck_assert_msg(state != FOREIGN, "'%s' next %d old %d",
		    seen[i].text, seen[i].next, seen[i].old);
		met[state] = 1;
		for (j = 0; j < sizeof ways / sizeof ways[0]; j++) {
			if (ways[j].state != state)
				continue;
			d = seen[i];
			for (p = ways[j].steps; *p != '\0' && step(&d, *p);
			    p++)
				see(&d);
		}
	}
	for (i = 0; i < FOREIGN; i++)
		ck_assert_msg(met[i], "state %d is never met", i);
	ck_assert_int_gt(seen_count, 20);
}
END_TEST

int
main(void)
{
	Suite *s;
	TCase *tc;

	s = suite_create("state");
	tc = tcase_create("state");
	tcase_add_loop_test(tc, each_last_line_is_one_state_or_foreign, 0,
	    LINES);
	tcase_add_test(tc, an_empty_line_is_none_of_ours);
	tcase_add_test(tc, the_words_of_a_line_are_its_services);
	tcase_add_test(tc, no_order_of_steps_ends_in_what_is_foreign);
	suite_add_tcase(s, tc);
	tc = tcase_create("torn");
	tcase_add_checked_fixture(tc, begin, end_all);
	tcase_add_test(tc, a_torn_line_does_not_count);
	tcase_add_test(tc, zeroes_behind_the_last_line_do_not_count);
	suite_add_tcase(s, tc);
	return suite_run(s);
}
