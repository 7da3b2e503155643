/*
 * check_screens.c: what each command says from its first line to its last, on
 * a terminal and not, is what stands in screens/NAME.  Whoever changes a word
 * sees there what it does to the whole: screens/update writes the files anew.
 *
 * In them DIR is the sandbox, N seconds, TIME a time of today, FINGERPRINT a
 * fingerprint, and what comes in blanks and "Info:" or the like is Puppet's.
 */
#include <sys/types.h>
#include <sys/wait.h>

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fixture.h"

int	cmregen_main(int, char *[]);

enum {
	ARGUMENTS = 16,
	NORMAL_LINES = 10,	/* of a command that just works */
	END = 4,		/* no command prints it */
	NOBODY = 65534
};

static const struct screen {
	const char *name;
	const char *typed;	/* behind "cmregen", but for -p */
	int status;
	const char *situation;	/* as fixture.h has them */
	const char *before;	/* a line of shell, in the sandbox */
	int normal;		/* all is as it should be: few lines */
	uid_t uid;
} screen[] = {
	/* a regeneration, and where it is in between */
	{ "status-idle", "node status", 0, "fresh", NULL, 1, 0 },
	{ "clean", "mom clean " CM1, 0, "fresh", NULL, 1, 0 },
	{ "prepare", "node prepare", 0, "idle", NULL, 1, 0 },
	{ "prepare-again", "node prepare", 0, "staged", NULL, 1, 0 },
	{ "status-staged", "node status", 3, "staged", NULL, 1, 0 },
	{ "sign", "mom sign -f FINGERPRINT " CM1, 0, "staged", NULL, 1, 0 },
	{ "finish", "node finish", 0, "signed", NULL, 1, 0 },
	{ "finish-verbose", "node finish -v", 0, "signed", NULL, 0, 0 },
	{ "status-done", "node status", 0, "finished", NULL, 1, 0 },
	{ "restore-staged", "node restore", 0, "staged", NULL, 1, 0 },
	{ "restore", "node restore -a", 0, "finished", NULL, 1, 0 },
	{ "restore-rescue", "node restore -r DIR/disk -s "
	    "/etc/puppetlabs/puppet/ssl", 0, "finished",
	    "mkdir -p disk/etc/puppetlabs; mv node/puppet "
	    "disk/etc/puppetlabs/puppet; rm -rf "
	    "disk/etc/puppetlabs/puppet/ssl", 1, 0 },
	{ "version", "-V", 0, "fresh", NULL, 1, 0 },

	/* what would be done */
	{ "clean-dry", "mom clean -n " CM1, 0, "fresh", NULL, 0, 0 },
	{ "prepare-dry", "node prepare -n", 0, "fresh", NULL, 0, 0 },
	{ "sign-dry", "mom sign -n " CM1, 0, "staged", NULL, 0, 0 },
	{ "finish-dry", "node finish -n", 0, "signed", NULL, 0, 0 },
	{ "restore-dry", "node restore -n -a", 0, "finished", NULL, 0, 0 },

	/* usage */
	{ "usage", "", 2, "fresh", NULL, 0, 0 },
	{ "usage-command", "node renew", 2, "fresh", NULL, 0, 0 },
	{ "usage-option", "node finish -x", 2, "fresh", NULL, 0, 0 },
	{ "usage-certname", "mom clean ../cm1", 2, "fresh", NULL, 0, 0 },
	{ "usage-fingerprint", "mom sign -f 12AB " CM1, 2, "fresh", NULL, 0,
	    0 },

	/* refusals on the MoM */
	{ "clean-unknown", "mom clean cm2.example.com", 1, "fresh", NULL, 0,
	    0 },
	{ "clean-itself", "mom clean mom.example.com", 1, "fresh", NULL, 0,
	    0 },
	{ "clean-on-node", "mom clean -p DIR/node/bin/puppet " CM1, 1, "fresh",
	    NULL, 0, 0 },
	{ "sign-nothing", "mom sign " CM1, 1, "idle", NULL, 0, 0 },
	{ "sign-other", "mom sign -f 0123456789abcdef " CM1, 1, "staged",
	    NULL, 0, 0 },
	{ "sign-signed", "mom sign " CM1, 1, "signed", NULL, 0, 0 },
	{ "sign-forbidden", "mom sign " CM1, 1, "staged",
	    ": >mom/knobs/forbid-altnames", 0, 0 },
	{ "server-stopped", "mom clean " CM1, 1, "fresh",
	    ": >mom/knobs/server-stopped", 0, 0 },

	/* refusals on the compile master */
	{ "not-root", "node prepare", 1, "idle", NULL, 0, NOBODY },
	{ "no-puppet", "node prepare -p /nonexistent/puppet", 1, "idle",
	    NULL, 0, 0 },
	{ "prepare-on-mom", "node prepare -p DIR/mom/bin/puppet", 1, "fresh",
	    NULL, 0, 0 },
	{ "prepare-not-cleaned", "node prepare", 1, "fresh", NULL, 0, 0 },
	{ "prepare-disabled", "node prepare", 1, "idle",
	    "echo '{\"disabled_message\":\"patching\"}' "
	    ">node/cache/state/agent_disabled.lock", 0, 0 },
	{ "prepare-link", "node prepare", 1, "idle",
	    "mv " SSL " node/elsewhere; ln -s ../elsewhere " SSL, 0, 0 },
	{ "prepare-names", "node prepare", 1, "idle",
	    "echo plain >node/knobs/request-as", 0, 0 },
	{ "prepare-backup", "node prepare", 1, "finished",
	    "mom/bin/puppetserver ca clean --certname " CM1 " >out 2>&1", 0,
	    0 },
	{ "prepare-no-mom", "node prepare", 1, "idle",
	    ": >mom/knobs/server-stopped", 0, 0 },
	{ "finish-nothing", "node finish", 1, "fresh", NULL, 0, 0 },
	{ "finish-unsigned", "node finish -w 0", 1, "staged", NULL, 0, 0 },
	{ "finish-undone", "node finish", 1, "signed",
	    "echo 'wrong - 1 *pxp-agent*ensure=running*' >node/knobs/faults",
	    0, 0 },
	{ "finish-no-start", "node finish", 3, "signed",
	    ": >node/knobs/start-fails.pe-puppetserver; "
	    "echo 'exit 1 * *puppetserver*reload*' >node/knobs/faults", 0,
	    0 },
	{ "finish-run-failed", "node finish", 0, "signed",
	    "echo 4 >node/knobs/run-status", 0, 0 },
	{ "finish-no-run", "node finish", 3, "signed",
	    "echo 1 >node/knobs/run-status", 0, 0 },
	{ "restore-newer", "node restore", 1, "finished", NULL, 0, 0 },
	{ "restore-no-backup", "node restore", 1, "fresh", NULL, 0, 0 }
};

enum { SCREENS = sizeof(screen) / sizeof(screen[0]) };

/*
 * What is typed, as arguments of main, with the stand-in's puppet where it
 * names no other.
 */
static char word[ARGUMENTS][4096];
static char *argument[ARGUMENTS + 1];
static int count;
static uid_t uid;

static void
word_add(const char *s)
{
	int n;

	if (strcmp(s, "FINGERPRINT") == 0)
		s = fingerprint_of("mom/ca/requests/" CM1 ".pem");
	else if (strncmp(s, "DIR/", 4) == 0)
		s = path("%s", s + 4);
	ck_assert_int_lt(count, ARGUMENTS);
	n = snprintf(word[count], sizeof(word[count]), "%s", s);
	ck_assert_int_lt(n, (int)sizeof(word[count]));
	argument[count] = word[count];
	argument[++count] = NULL;
}

static void
words_read(const struct screen *s)
{
	char line[256];
	const char *w;

	count = 0;
	uid = s->uid;
	word_add("cmregen");
	(void)snprintf(line, sizeof(line), "%s", s->typed);
	for (w = strtok(line, " "); w != NULL; w = strtok(NULL, " ")) {
		word_add(w);
		if (count == 3 && s->status != 2 &&
		    strstr(s->typed, "-p") == NULL) {
			word_add("-p");
			word_add(path("%s/bin/puppet", word[1]));
		}
	}
}

static int
type(void *unused)
{
	(void)unused;
	if (uid != 0 && setuid(uid) == -1)
		return 99;
	return cmregen_main(count, argument);
}

/*
 * The terminal.
 */

/* The side that is looked at; the other, on which is typed, in *slave. */
static int
terminal_open(int *slave)
{
	const char *s;
	int fd;

	*slave = -1;
	fd = posix_openpt(O_RDWR | O_NOCTTY);
	if (fd != -1 && grantpt(fd) == 0 && unlockpt(fd) == 0 &&
	    (s = ptsname(fd)) != NULL)
		*slave = open(s, O_RDWR | O_NOCTTY);
	if (*slave == -1)
		skip_test("there are no terminals here");
	return fd;
}

static void
type_on(int slave)
{
	(void)setsid();
	if (dup2(slave, 0) == -1 || dup2(slave, 1) == -1 ||
	    dup2(slave, 2) == -1)
		_exit(98);
	if (slave > 2)
		(void)close(slave);
	exit(type(NULL));
}

/* Types it in a process of its own, and END on the terminal behind it. */
static void
type_to_the_end(int slave)
{
	const char end = END;
	pid_t pid;
	int status;

	pid = fork();
	if (pid == 0)
		type_on(slave);
	if (pid == -1 || waitpid(pid, &status, 0) != pid ||
	    write(slave, &end, 1) != 1)
		_exit(97);
	_exit(WIFEXITED(status) ? WEXITSTATUS(status) : 96);
}

/* What is seen in the end: a carriage return goes back to the first column. */
static void
look(int terminal, FILE *fp)
{
	char line[8192];
	size_t at, n;
	char c;

	at = n = 0;
	while (read(terminal, &c, 1) == 1 && c != END)
		if (c == '\r')
			at = 0;
		else if (c == '\n') {
			(void)fprintf(fp, "%.*s\n", (int)n, line);
			at = n = 0;
		} else {
			ck_assert_uint_lt(at, sizeof(line));
			line[at++] = c;
			n = at > n ? at : n;
		}
	ck_assert_msg(n == 0, "the last line does not end: %.*s", (int)n,
	    line);
}

/*
 * Types it on a terminal; the screen is then in the file "seen".  The other
 * side stays open meanwhile: where nobody has that, Linux may say that there
 * is nothing more to read before it gives what was written last.
 */
static int
type_and_look(void)
{
	FILE *fp;
	pid_t pid;
	int fd, slave, status;

	fd = terminal_open(&slave);
	fp = fopen(path("seen"), "w");
	ck_assert_ptr_nonnull(fp);
	(void)fflush(NULL);
	pid = fork();
	ck_assert_int_ne(pid, -1);
	if (pid == 0) {
		(void)close(fd);
		type_to_the_end(slave);
	}
	look(fd, fp);
	(void)fclose(fp);
	(void)close(slave);
	(void)close(fd);
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_msg(WIFEXITED(status), "ended by a signal");
	return WEXITSTATUS(status);
}

/*
 * The files.
 */

/* Ends what the stand-in has left running. */
static void
calm(void)
{
	sh("cat mom/background node/background 2>/dev/null | "
	    "while read -r p; do kill -9 $p 2>/dev/null; done; :");
}

/* Names what differs from one time to the next, of a file. */
static const char *
levelled(const char *name)
{
	sh("LC_ALL=C sed -E -e \"s|${PWD%%/.}|DIR|g\" "
	    "-e 's/([0-9A-F]{2}:){31}[0-9A-F]{2}/FINGERPRINT/g' "
	    "-e 's/ \\([0-9]+ s\\)$/ (N s)/' "
	    "-e 's/20[23][0-9](-[0-9]{2}){2} [0-9:]{8}/TIME/g' "
	    "%s >levelled", name);
	return get("levelled");
}

/* Types it twice, from the same state, and puts together what was said. */
static const char *
take(const struct screen *s)
{
	const struct run *r;
	const char *seen;
	int status;

	sh("cp -a . ../again");
	words_read(s);
	status = type_and_look();
	sh("grep -Evc '^    (Debug|Info|Notice|Warning|Error): ' seen "
	    ">../lines; :");
	seen = levelled("seen");
	calm();
	sh("cd ..; rm -rf s; mv again s");
	r = run_function(type, NULL);
	assert_status(r, status);
	put("out", r->out);
	put("err", r->err);
	return text("# cmregen %s\n%s# status %d\n\n# standard output alone\n"
	    "%s\n# standard error alone\n%s", s->typed, seen, status,
	    levelled("out"), levelled("err"));
}

/* Where they are, from wherever. */
static const char *
screens(void)
{
	static char at[PATH_MAX];
	const char *tests;

	tests = getenv("TESTS");
	ck_assert_ptr_nonnull(realpath(tests == NULL ? "tests" : tests, at));
	return text("%s/unit/screens", at);
}

START_TEST(a_command_says_what_its_screen_has)
{
	const struct screen *s;
	const char *file, *now;
	int lines;

	s = &screen[_i];
	situation(SEVEN, s->situation);
	calm();
	if (s->before != NULL)
		sh("%s", s->before);
	now = take(s);
	file = text("%s/%s.txt", screens(), s->name);
	if (getenv("UPDATE") != NULL)
		put(file, now);
	assert_has(now, text("\n# status %d\n", s->status));
	lines = atoi(get("../lines"));
	ck_assert_msg(!s->normal || lines <= NORMAL_LINES,
	    "%s: %d lines, more than %d:\n%s", s->name, lines, NORMAL_LINES,
	    now);
	put("now", now);
	sh("diff -u %s now >diff 2>&1 || :", file);
	ck_assert_msg(get("diff")[0] == '\0', "%s\nIf that is right, "
	    "tests/unit/screens/update.", get("diff"));
}
END_TEST

START_TEST(every_screen_is_of_a_command)
{
	size_t i;

	if (getenv("UPDATE") != NULL)
		skip_test("they are being written");
	situation(SEVEN, "fresh");
	put("names", "");
	for (i = 0; i < SCREENS; i++)
		sh("echo %s.txt >>names", screen[i].name);
	sh("LC_ALL=C sort names >named; (cd '%s'; ls *.txt) | LC_ALL=C sort | "
	    "diff - named >&2", screens());
}
END_TEST

int
main(void)
{
	Suite *suite;
	TCase *tc;

	suite = suite_create("screens");
	tc = tcase_create("screens");
	tcase_add_checked_fixture(tc, fixture_begin, fixture_end);
	tcase_set_timeout(tc, 180);
	tcase_add_loop_test(tc, a_command_says_what_its_screen_has, 0,
	    SCREENS);
	tcase_add_test(tc, every_screen_is_of_a_command);
	suite_add_tcase(suite, tc);
	return suite_run(suite);
}
