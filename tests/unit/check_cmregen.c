/*
 * check_cmregen.c: what cmregen.c offers besides trees: messages, signals,
 * processes, files, locks, settings, names, fingerprints, the command line.
 * Linked without mom.c and node.c: the commands are in here, so that a test
 * can run anything the way a command runs.
 */
#include <sys/stat.h>
#include <sys/wait.h>

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

static int (*body)(const struct options *);	/* what a command does */

static int
command(const char *name, const struct options *o)
{
	if (body != NULL)
		return body(o);
	(void)printf("%s p=%s b=%s f=%s r=%s s=%s c=%s w=%ld n=%d v=%d a=%d\n",
	    name, o->puppet, o->backup != NULL ? o->backup : "-",
	    o->fingerprint != NULL ? o->fingerprint : "-",
	    o->root != NULL ? o->root : "-",
	    o->ssldir != NULL ? o->ssldir : "-",
	    o->certname != NULL ? o->certname : "-", o->wait, o->dry,
	    o->verbose, o->accept);
	(void)fflush(stdout);		/* say writes at once */
	return DONE;
}

int
mom_clean(const struct options *o)
{
	return command("clean", o);
}

int
mom_sign(const struct options *o)
{
	return command("sign", o);
}

int
node_prepare(const struct options *o)
{
	return command("prepare", o);
}

int
node_finish(const struct options *o)
{
	return command("finish", o);
}

int
node_restore(const struct options *o)
{
	return command("restore", o);
}

int
node_status(const struct options *o)
{
	return command("status", o);
}

/* Runs a function as the program runs a command: signals set, and so on. */
static const struct run *
as_command(int (*function)(const struct options *))
{
	const struct run *r;

	body = function;
	r = program("node", "finish", NULL);
	body = NULL;
	return r;
}

static void
wake(int number_of)
{
	(void)number_of;
}

/* As a command has it: a child's end is seen while it naps, and only then. */
static void
begin(void)
{
	struct sigaction sa;
	sigset_t set;

	fixture_begin();
	body = NULL;
	sh("mkdir s");
	memset(&sa, 0, sizeof(sa));
	sa.sa_handler = wake;
	sa.sa_flags = SA_RESTART;
	(void)sigemptyset(&sa.sa_mask);
	ck_assert_int_eq(sigaction(SIGCHLD, &sa, NULL), 0);
	(void)sigemptyset(&set);
	(void)sigaddset(&set, SIGCHLD);
	ck_assert_int_eq(sigprocmask(SIG_BLOCK, &set, NULL), 0);
}

static void
end(void)
{
	sigset_t set;

	fixture_end();
	(void)signal(SIGCHLD, SIG_DFL);
	(void)sigemptyset(&set);
	(void)sigaddset(&set, SIGCHLD);
	(void)sigprocmask(SIG_UNBLOCK, &set, NULL);
}

/* The open directory of the test. */
static int
here(void)
{
	int fd;

	fd = open(path("."), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	ck_assert_int_ne(fd, -1);
	return fd;
}

/*
 * The command line.
 */

/* What a dry run has around the command's own. */
#define DRY(TEXT)							\
    "# dry run: nothing is changed\n" TEXT				\
    "# dry run: every check passed, nothing was changed\n"

START_TEST(each_option_reaches_its_command)
{
	assert_same(program("mom", "clean", "-nv", "-p", "/x/puppet",
	    "h", NULL)->out, DRY(
	    "clean p=/x/puppet b=- f=- r=- s=- c=h w=0 n=1 v=1 a=0\n"));
	assert_same(program("mom", "sign", "-f", "0123456789abcdef", "-w",
	    "7", "a.b-c_d", NULL)->out,
	    "sign p=/opt/puppetlabs/bin/puppet b=- f=0123456789abcdef r=- "
	    "s=- c=a.b-c_d w=7 n=0 v=0 a=0\n");
	assert_same(program("node", "prepare", "-b", "/b", "-an", NULL)->out,
	    DRY("prepare p=/opt/puppetlabs/bin/puppet b=/b f=- r=- "
	    "s=- c=- w=300 n=1 v=0 a=1\n"));
	assert_same(program("node", "finish", "-avw9", NULL)->out,
	    "finish p=/opt/puppetlabs/bin/puppet b=- f=- r=- s=- c=- w=9 "
	    "n=0 v=1 a=1\n");
	assert_same(program("node", "restore", "-r", "/mnt", "-s", "/e/ssl",
	    "-b", "/b", NULL)->out, "restore p=/opt/puppetlabs/bin/puppet "
	    "b=/b f=- r=/mnt s=/e/ssl c=- w=300 n=0 v=0 a=0\n");
	assert_same(program("node", "status", "-v", NULL)->out,
	    "status p=/opt/puppetlabs/bin/puppet b=- f=- r=- s=- c=- w=300 "
	    "n=0 v=1 a=0\n");
}
END_TEST

static const char *const bad_line[][8] = {
	{ NULL },
	{ "mom", NULL },
	{ "clean", "h", NULL },
	{ "mom", "prepare", NULL },
	{ "node", "clean", "h", NULL },
	{ "mom", "clean", NULL },
	{ "mom", "clean", "a", "b", NULL },
	{ "mom", "clean", "A.example.com", NULL },
	{ "mom", "clean", "../x", NULL },
	{ "mom", "clean", "..", NULL },
	{ "mom", "clean", "a,b", NULL },
	{ "mom", "clean", "", NULL },
	{ "mom", "clean", "--", "-a", NULL },
	{ "mom", "clean", "-x", "a", NULL },
	{ "mom", "clean", "-w", "1", "a", NULL },
	{ "mom", "clean", "-f", "0123456789abcdef", "a", NULL },
	{ "mom", "sign", "-f", "0123456789abcde", "a", NULL },
	{ "mom", "sign", "-f", "0123456789abcdeg", "a", NULL },
	{ "mom", "sign", "-f", "", "a", NULL },
	{ "mom", "sign", "-b", "/b", "a", NULL },
	{ "mom", "sign", "-w", "-1", "a", NULL },
	{ "mom", "sign", "-w", "", "a", NULL },
	{ "mom", "sign", "-w", "1s", "a", NULL },
	{ "mom", "sign", "-w", "99999999999999999999", "a", NULL },
	{ "mom", "sign", "-w", NULL },
	{ "node", "prepare", "a", NULL },
	{ "node", "prepare", "-p", "puppet", NULL },
	{ "node", "prepare", "-p", "", NULL },
	{ "node", "prepare", "-b", "ssl_bak", NULL },
	{ "node", "prepare", "-b", "", NULL },
	{ "node", "prepare", "-r", "/", NULL },
	{ "node", "prepare", "-f", "0123456789abcdef", NULL },
	{ "node", "finish", "-s", "/x", NULL },
	{ "node", "restore", "-s", "/x", NULL },
	{ "node", "restore", "-r", "mnt", NULL },
	{ "node", "restore", "-w", "1", NULL },
	{ "node", "prepare", "-w", "1", NULL },
	{ "node", "prepare", "-l", NULL },
	{ "node", "finish", "-b", "/b", NULL },
	{ "node", "status", "-n", NULL },
	{ "node", "status", "-a", NULL },
	{ "node", "status", "x", NULL },
	{ "mom", "clean", "-a", "h", NULL },
	{ "mom", "sign", "-a", "h", NULL },
	{ "-V", "x", NULL }
};

START_TEST(a_bad_argument_ends_with_2)
{
	const char *const *a;
	const struct run *r;

	a = bad_line[_i];
	r = program(a[0], a[1], a[2], a[3], a[4], a[5], a[6], NULL);
	assert_status(r, USAGE);
	ck_assert_str_eq(r->out, "");
	ck_assert_str_ne(r->err, "");
}
END_TEST

START_TEST(a_missing_value_is_told_from_an_unknown_option)
{
	const struct run *r;

	r = program("node", "finish", "-w", NULL);
	assert_status(r, USAGE);
	assert_has(r->err, "option -w: its value is missing");
	r = program("node", "prepare", "-x", NULL);
	assert_status(r, USAGE);
	assert_has(r->err, "option -x: unknown to node prepare");
	r = program("node", "prepare", "-:", NULL);
	assert_status(r, USAGE);
	assert_has(r->err, "option -:: unknown to node prepare");
}
END_TEST

START_TEST(an_error_shows_the_synopsis_of_that_command_alone)
{
	const struct run *r;

	r = program("node", "restore", "-x", NULL);
	assert_status(r, USAGE);
	assert_has(r->err, "usage: cmregen node restore [-anv] [-b backup] "
	    "[-p puppet] [-r root [-s ssldir]]\n");
	assert_has_not(r->err, "node prepare");
	assert_has_not(r->err, "mom ");
}
END_TEST

START_TEST(usage_shows_every_command)
{
	const struct run *r;

	r = program("nosuch", "command", NULL);
	assert_status(r, USAGE);
	assert_has(r->err, "mom clean ");
	assert_has(r->err, "mom sign ");
	assert_has(r->err, "node prepare ");
	assert_has(r->err, "node finish ");
	assert_has(r->err, "node restore ");
	assert_has(r->err, "node status ");
	assert_has(r->err, "-V");
	assert_has(r->err, "in this order: node prepare -n, mom clean, "
	    "node prepare, mom sign, node finish");
}
END_TEST

START_TEST(V_prints_the_version)
{
	const struct run *r;

	r = program("-V", NULL);
	assert_status(r, DONE);
	assert_has(r->out, "cmregen ");
	ck_assert_str_eq(r->err, "");
}
END_TEST

static int
as_nobody(void *arg)
{
	static char a0[] = "cmregen", a1[] = "node", a2[] = "finish";
	char *argv[] = { a0, a1, a2, NULL };
	int cmregen_main(int, char *[]);

	(void)arg;
	if (setgid(65534) == -1 || setuid(65534) == -1)
		return 99;
	return cmregen_main(3, argv);
}

START_TEST(another_user_than_root_is_refused)
{
	const struct run *r;

	r = run_function(as_nobody, NULL);
	assert_status(r, NOT_DONE);
	ck_assert_str_eq(r->out, "");
	assert_has(r->err, "root");
}
END_TEST

static int
say_much(const struct options *o)
{
	(void)o;
	if (dup2(open("/dev/full", O_WRONLY), 1) == -1)
		return 99;
	say("a result");
	return DONE;
}

START_TEST(a_result_that_cannot_be_printed_is_not_done)
{
	const struct run *r;

	r = as_command(say_much);
	ck_assert_int_ne(r->status, DONE);
	assert_has(r->err, "standard output");
}
END_TEST

/*
 * Messages.
 */

static int
messages(void *arg)
{
	(void)arg;
	errno = ENOENT;
	if (complain("open %s", "x\001\033y") != -1 || errno != ENOENT)
		return 1;
	if (complainx("%d of %s", 7, "z") != -1 || errno != ENOENT)
		return 2;
	say("said %s", "a\nb");
	note("noted");
	return errno == ENOENT ? 0 : 3;
}

START_TEST(messages_go_where_they_belong)
{
	const struct run *r;

	r = run_function(messages, NULL);
	assert_status(r, 0);
	assert_has(r->err, "cmregen: open x??y: No such file or directory\n");
	assert_has(r->err, "cmregen: 7 of z\n");
	assert_has(r->err, "noted\n");
	assert_has_not(r->err, "said");
	ck_assert_str_eq(r->out, "said a?b\n");
	assert_has_not(r->out, "noted");
}
END_TEST

static int
message_long(void *arg)
{
	static char s[200000];

	(void)arg;
	memset(s, 'x', sizeof(s) - 1);
	return complainx("%s", s) == -1 ? 0 : 1;
}

START_TEST(a_message_of_any_length_is_one_line)
{
	const struct run *r;

	r = run_function(message_long, NULL);
	assert_status(r, 0);
	ck_assert_uint_gt(strlen(r->err), 1000);
	ck_assert_ptr_eq(strchr(r->err, '\n'),
	    r->err + strlen(r->err) - 1);
}
END_TEST

/* With each time as it is where nothing takes time. */
static const char *
timeless(const char *s)
{
	char *p, *time;

	p = (char *)(uintptr_t)text("%s", s);
	for (time = p; (time = strstr(time, " s)")) != NULL; time++)
		if (time[-1] >= '0' && time[-1] <= '9')
			time[-1] = '0';
	return p;
}

/* What a name or a child can have in it, and what is shown of that. */
static const struct {
	const char *text, *shown;
} shown_as[] = {
	{ "plain ~", "plain ~" },
	{ "\001\010\033[2J\177\r", "???[2J??" },
	{ "\303\251 \342\202\254 \360\237\230\200",	/* letters */
	    "\303\251 \342\202\254 \360\237\230\200" },
	{ "\302\200\302\205\302\237\302\240", "??????\302\240" },
	{ "\200\233\237\240\377", "???\240\377" },	/* bytes of none */
	{ "\342\202\033", "\342??" },			/* cut off */
	{ "\342\233m", "\342?m" },
	{ "\303", "\303" },
	{ "\302", "\302" },
	{ "\360\237\230", "\360??" },
	{ "\301\233\300\233", "\301?\300?" },		/* too long */
	{ "\340\202\233", "\340??" },
	{ "\360\200\202\233", "\360???" },
	{ "\365\200\200\233", "\365???" }
};

static int shown_now;

static int
message_of(void *arg)
{
	(void)arg;
	note("%s.", shown_as[shown_now].text);
	say("%s.", shown_as[shown_now].text);
	busy("%s.", shown_as[shown_now].text);
	errno = ENOENT;
	(void)complain("%s.", shown_as[shown_now].text);
	return 0;
}

START_TEST(a_message_is_harmless)
{
	const struct run *r;
	const char *shown;

	shown_now = _i;
	shown = shown_as[_i].shown;
	r = run_function(message_of, NULL);
	ck_assert_str_eq(r->out, text("%s.\n", shown));
	ck_assert_str_eq(timeless(r->err),
	    text("cmregen: %s.\ncmregen: %s. (0 s)\n"
	    "cmregen: %s.: No such file or directory\n", shown, shown,
	    shown));
}
END_TEST

static int
message_lines(void *arg)
{
	(void)arg;
	note("%s", "a\ncmregen: b\tc\r\nd");
	say("%s", "a\nnext, on c:");
	(void)complainx("%s\n", "a");
	busy("%s", "a\nb");
	quiet();
	return 0;
}

START_TEST(a_message_is_one_line)
{
	const struct run *r;

	r = run_function(message_lines, NULL);
	ck_assert_str_eq(r->out, "a?next, on c:\n");
	ck_assert_str_eq(timeless(r->err), "cmregen: a?cmregen: b?c??d\n"
	    "cmregen: a?\ncmregen: a?b (0 s)\n");
}
END_TEST

/* What is drawn on a terminal is read back, and printed. */
static int
terminal(void *arg)
{
	char text[4096];
	ssize_t n;
	int pty, i;

	(void)arg;
	pty = posix_openpt(O_RDWR | O_NOCTTY);
	if (pty == -1 || grantpt(pty) == -1 || unlockpt(pty) == -1 ||
	    dup2(open(ptsname(pty), O_RDWR | O_NOCTTY), 2) == -1)
		return 1;
	busy("waiting for %s", "x\033y");
	for (i = 0; i < 15; i++)
		nap(100);
	busy("waiting for %s", "x\033y");
	(void)complainx("%s", "over");
	nap(1100);
	busy("at %s long path of something that is no end of a long path, "
	    "which is cut off here", "the very");
	busy("at work");
	quiet();
	quiet();
	(void)fcntl(pty, F_SETFL, O_NONBLOCK);
	while ((n = read(pty, text, sizeof(text))) > 0)
		for (i = 0; i < n; i++)
			if (text[i] == '\r')
				(void)putchar('<');
			else
				(void)putchar(text[i]);
	return 0;
}

/* < is where the line begins again; the terminal adds one at each newline. */
START_TEST(busy_rewrites_one_line_of_a_terminal)
{
	const struct run *r;
	const char *out;

	r = run_function(terminal, NULL);
	assert_status(r, 0);
	out = timeless(r->out);
	assert_has(r->out, "<cmregen: waiting for x?y (0 s)"
	    "<cmregen: waiting for x?y (1 s)<");
	assert_has(out, " s)<\ncmregen: over<\n"
	    "<cmregen: at the very long path of something that is no "
	    "end of a long path (0 s)<");
	assert_has(out,
	    "<cmregen: at the very long path of something that is no "
	    "end of a long path, which is cut off here (0 s)<\n"
	    "<cmregen: at work (0 s)<cmregen: at work (0 s)<\n");
	ck_assert_uint_eq(strcspn(strstr(r->out, "cmregen: at the very"),
	    "<"), 79);
}
END_TEST

START_TEST(format_tells_what_does_not_fit)
{
	char s[8];

	ck_assert_int_eq(format(s, sizeof(s), "%s-%d", "abc", -12), 0);
	ck_assert_str_eq(s, "abc--12");
	ck_assert_int_eq(format(s, sizeof(s), "%s", "12345678"), -1);
	ck_assert_uint_lt(strlen(s), sizeof(s));
}
END_TEST

static int
busily(void *arg)
{
	(void)arg;
	busy("waiting for %s", "a");
	nap(10);
	busy("waiting for %s", "a");
	busy("waiting for %s", "b");
	note("seen");
	busy("waiting for %s", "b");
	quiet();
	busy("printing");
	say("said");
	quiet();
	return 0;
}

START_TEST(each_step_leaves_its_line)
{
	const struct run *r;

	r = run_function(busily, NULL);
	assert_status(r, 0);
	ck_assert_str_eq(timeless(r->err), "cmregen: waiting for a (0 s)\n"
	    "cmregen: waiting for b (0 s)\ncmregen: seen\n"
	    "cmregen: waiting for b (0 s)\ncmregen: printing (0 s)\n");
	ck_assert_str_eq(r->out, "said\n");
}
END_TEST

static int
busy_long(void *arg)
{
	int i;

	(void)arg;
	busy("copying");
	for (i = 0; i < 15; i++)
		nap(100);
	busy("copying");
	quiet();
	return 0;
}

START_TEST(the_line_has_the_seconds_of_the_step)
{
	const struct run *r;

	r = run_function(busy_long, NULL);
	ck_assert(strcmp(r->err, "cmregen: copying (1 s)\n") == 0 ||
	    strcmp(r->err, "cmregen: copying (2 s)\n") == 0);
}
END_TEST

/* It is there as soon as the step begins. */
static int
busy_killed(void *arg)
{
	(void)arg;
	busy("copying %s", "x");
	_exit(0);
}

START_TEST(a_step_is_named_when_it_begins)
{
	ck_assert_str_eq(run_function(busy_killed, NULL)->err,
	    "cmregen: copying x");
}
END_TEST

static const char *const quoted[][2] = {
	{ "abc", "abc" },
	{ "/usr/bin/a-b_c.d", "/usr/bin/a-b_c.d" },
	{ "ensure=stopped", "ensure=stopped" },
	{ "", "''" },
	{ "a b", "'a b'" },
	{ "$x", "'$x'" },
	{ "'", NULL },
	{ "a'b''c", NULL },
	{ "`~*?[]{}()<>|&;!#\\\"\t\n", NULL },
	{ "\377\200x", NULL },
	{ "-n", NULL }
};

START_TEST(quote_makes_one_word_for_a_shell)
{
	char s[256];
	const char *word;

	word = quoted[_i][0];
	ck_assert_ptr_eq(quote(s, strlen(word) * 4 + 3, word), s);
	if (quoted[_i][1] != NULL)
		ck_assert_str_eq(s, quoted[_i][1]);
	put("expected", word);
	sh("printf %%s %s >word; cmp word expected", s);
}
END_TEST

START_TEST(quote_takes_the_longest_in_its_space)
{
	char word[201], s[803];

	memset(word, '\'', 200);
	word[200] = '\0';
	quote(s, sizeof(s), word);
	put("expected", word);
	sh("printf %%s %s >word; cmp word expected", s);
}
END_TEST

/*
 * Signals and time.
 */

static int signal_number;

static int
signalled(const struct options *o)
{
	(void)o;
	if (interrupted())
		return 10;
	(void)raise(signal_number);
	if (!interrupted())
		return 11;
	hold();
	return interrupted() ? 12 : 0;
}

START_TEST(a_signal_is_seen_until_an_undo_holds_it)
{
	static const int number_of[] = { SIGINT, SIGTERM, SIGHUP };

	signal_number = number_of[_i];
	assert_status(as_command(signalled), 0);
}
END_TEST

static int
piped(const struct options *o)
{
	(void)o;
	(void)raise(SIGPIPE);
	return interrupted();
}

START_TEST(a_broken_pipe_ends_nothing)
{
	assert_status(as_command(piped), 0);
}
END_TEST

static int
napping(const struct options *o)
{
	const char *const argv[] = { "/bin/true", NULL };
	struct child c;

	(void)o;
	nap(100);
	if (child_start(&c, argv) == -1)
		return 10;
	while (!child_ended(&c))
		nap(60000);		/* its end wakes us */
	(void)alarm(0);
	child_close(&c);
	return 0;
}

START_TEST(nap_ends_early_when_a_child_does)
{
	const struct run *r;

	r = as_command(napping);
	assert_status(r, 0);
	ck_assert(r->took >= 0.1 && r->took < 10);
}
END_TEST

START_TEST(seconds_never_go_back)
{
	long a, b;

	a = seconds();
	nap(20);
	b = seconds();
	ck_assert(a >= 0 && b >= a && b - a < 10);
}
END_TEST

/*
 * Processes.
 */

/* Starts a line of shell. */
static int
shell(struct child *c, const char *line)
{
	static const char *argv[4] = { "/bin/sh", "-c" };

	argv[2] = line;
	return child_start(c, argv);
}

static int
status_of(const char *line)
{
	struct child c;
	int rc;

	ck_assert_int_eq(shell(&c, line), 0);
	rc = child_wait(&c);
	ck_assert_int_eq(child_wait(&c), rc);
	ck_assert_int_eq(c.pid, 0);
	child_close(&c);
	return rc;
}

START_TEST(child_wait_returns_the_exit_status)
{
	ck_assert_int_eq(status_of("exit 0"), 0);
	ck_assert_int_eq(status_of("exit 24"), 24);
	ck_assert_int_eq(status_of("exit 127"), 127);
	ck_assert_int_eq(status_of("exit 255"), 255);
}
END_TEST

START_TEST(a_child_that_a_signal_ended_is_minus_1)
{
	ck_assert_int_eq(status_of("kill -s KILL $$"), -1);
	ck_assert_int_eq(status_of("kill -s TERM $$"), -1);
}
END_TEST

static int
start_nothing(void *arg)
{
	const char *argv[] = { NULL, "argument", NULL };
	struct child c;
	int rc;

	argv[0] = arg;
	rc = child_start(&c, argv);
	child_show(&c);
	child_close(&c);
	return rc == -1 && c.status == -1 && c.out == -1 &&
	    waitpid(-1, NULL, WNOHANG) == -1 && errno == ECHILD ? 0 : 1;
}

START_TEST(what_cannot_be_executed_is_told_by_name)
{
	static char none[] = "/nonexistent/puppet", directory[] = "/etc";
	const struct run *r;

	r = run_function(start_nothing, none);
	assert_status(r, 0);
	ck_assert_str_eq(r->err, "cmregen: run /nonexistent/puppet: No such "
	    "file or directory\n");
	assert_has(r->err, "No such file");
	r = run_function(start_nothing, directory);
	assert_status(r, 0);
	assert_has(r->err, "/etc");
	assert_has(r->err, "Permission denied");
}
END_TEST

START_TEST(child_ended_never_waits)
{
	struct child c;
	int i;

	ck_assert_int_eq(shell(&c, "sleep 0.2"), 0);
	ck_assert_int_eq(child_ended(&c), 0);
	for (i = 0; i < 200 && !child_ended(&c); i++)
		nap(20);
	ck_assert_int_eq(child_ended(&c), 1);
	ck_assert_int_eq(child_ended(&c), 1);
	ck_assert_int_eq(child_wait(&c), 0);
	child_close(&c);
}
END_TEST

START_TEST(child_line_reads_line_by_line)
{
	char s[16];
	struct child c;
	int i;

	ck_assert_int_eq(shell(&c, "printf 'a\\r\\n\\nbc\\n' && "
	    "echo err >&2; printf '123456789012345\\nend\\n'"), 0);
	ck_assert_int_eq(child_wait(&c), 0);
	for (i = 0; i < 2; i++) {
		ck_assert_int_eq(child_line(&c, s, sizeof(s)), 1);
		ck_assert_str_eq(s, "a");
		ck_assert_int_eq(child_line(&c, s, sizeof(s)), 1);
		ck_assert_str_eq(s, "");
		ck_assert_int_eq(child_line(&c, s, sizeof(s)), 1);
		ck_assert_str_eq(s, "bc");
		ck_assert_int_eq(child_line(&c, s, sizeof(s)), 1);
		ck_assert_str_eq(s, "err");
		ck_assert_int_eq(child_line(&c, s, sizeof(s)), 1);
		ck_assert_str_eq(s, "123456789012345");
		ck_assert_int_eq(child_line(&c, s, sizeof(s)), 1);
		ck_assert_str_eq(s, "end");
		ck_assert_int_eq(child_line(&c, s, sizeof(s)), 0);
		ck_assert_int_eq(child_line(&c, s, sizeof(s)), 0);
		c.from = 0;
	}
	child_close(&c);
}
END_TEST

START_TEST(child_line_refuses_a_line_that_does_not_fit)
{
	char s[16];
	struct child c;

	ck_assert_int_eq(shell(&c, "printf '1234567890123456\\n'"), 0);
	ck_assert_int_eq(child_wait(&c), 0);
	ck_assert_int_eq(child_line(&c, s, sizeof(s)), -1);
	child_close(&c);
}
END_TEST

START_TEST(child_line_refuses_a_line_that_is_cut_off)
{
	char s[16];
	struct child c;

	ck_assert_int_eq(shell(&c, "printf 'a\\nssldir = /etc'"), 0);
	ck_assert_int_eq(child_wait(&c), 0);
	ck_assert_int_eq(child_line(&c, s, sizeof(s)), 1);
	ck_assert_str_eq(s, "a");
	ck_assert_int_eq(child_line(&c, s, sizeof(s)), -1);
	child_close(&c);
}
END_TEST

START_TEST(child_line_sees_a_line_that_comes_later)
{
	char s[16];
	struct child c;
	int i, rc;

	ck_assert_int_eq(shell(&c, "echo a; sleep 0.2; echo b"), 0);
	for (i = 0; i < 200; i++) {
		rc = child_line(&c, s, sizeof(s));
		ck_assert_int_ne(rc, -1);
		if (rc == 1 && strcmp(s, "b") == 0)
			break;
		nap(20);
	}
	ck_assert_int_lt(i, 200);
	ck_assert_int_eq(child_wait(&c), 0);
	child_close(&c);
}
END_TEST

static int
follow(void *arg)
{
	struct child c;

	(void)arg;
	if (shell(&c, "echo one; echo two >&2; sleep 0.3; echo three") == -1)
		return 1;
	nap(150);
	child_follow(&c);
	note("between");
	(void)child_wait(&c);
	child_follow(&c);
	child_follow(&c);
	child_close(&c);
	return 0;
}

START_TEST(child_follow_shows_what_is_new)
{
	const struct run *r;

	r = run_function(follow, NULL);
	assert_status(r, 0);
	ck_assert_str_eq(r->out, "");
	ck_assert_str_eq(r->err, "    one\n    two\ncmregen: between\n"
	    "    three\n");
}
END_TEST

static int
follow_parts(void *arg)
{
	struct child c;

	if (shell(&c, arg) == -1)
		return 1;
	busy("running");
	while (!child_ended(&c)) {
		child_follow(&c);
		nap(20);
	}
	child_follow(&c);
	child_close(&c);
	return 0;
}

START_TEST(child_follow_shows_whole_lines)
{
	static char parts[] = "printf 'a\\302'; sleep 0.1; "
	    "printf '\\205b\\n\\ncmregen: x\\tc'; sleep 0.1; "
	    "printf 'd\\303'; sleep 0.1; printf '\\251\\000\\033'";
	const struct run *r;

	r = run_function(follow_parts, parts);
	ck_assert_str_eq(timeless(r->err), "cmregen: running (0 s)\n"
	    "    a??b\n    \n"
	    "    cmregen: x\tcd\303\251??\n");
}
END_TEST

/* Letters of two bytes behind an odd one: each edge of a buffer cuts one. */
START_TEST(a_letter_at_the_edge_of_a_buffer_is_seen)
{
	static char long_line[] = "printf x; i=0; "
	    "while [ $i -lt 5000 ]; do printf '\\302\\205\\303\\251'; "
	    "i=$((i + 1)); done";
	const char *p;
	int controls, letters;

	p = strchr(run_function(follow_parts, long_line)->err, '\n');
	ck_assert_ptr_nonnull(p);
	for (controls = letters = 0; *p != '\0'; p++)
		if (*p == '?')
			controls++;
		else if (strncmp(p, "\303\251", 2) == 0) {
			letters++;
			p++;
		} else
			ck_assert(strchr("\n x", *p) != NULL);
	ck_assert_int_eq(controls, 2 * 5000);
	ck_assert_int_eq(letters, 5000);
}
END_TEST

static int
show(void *arg)
{
	struct child c;

	if (shell(&c, arg) == -1)
		return 1;
	(void)child_wait(&c);
	child_show(&c);
	child_close(&c);
	return 0;
}

START_TEST(child_show_tells_exit_and_signal_apart)
{
	static char exits[] = "echo 'why not'; exit 24";
	static char dies[] = "kill -s KILL $$";
	const struct run *r;

	r = run_function(show, exits);
	assert_has(r->err, "/bin/sh -c");
	assert_has(r->err, "24");
	assert_has(r->err, "why not");
	assert_has_not(r->err, "signal");
	ck_assert_str_eq(r->out, "");
	r = run_function(show, dies);
	assert_has(r->err, "signal");
}
END_TEST

START_TEST(child_show_shows_the_end_of_much)
{
	static char much[] = "i=0; while [ $i -lt 20000 ]; do "
	    "echo line $i of many; i=$((i + 1)); done; printf 'the end\\033'";
	static char one[] = "head -c 1048576 /dev/zero | tr '\\0' x";
	const struct run *r;

	r = run_function(show, much);
	assert_status(r, 0);
	assert_has(r->err, "line 19999 of many");
	assert_has(r->err, "the end");
	assert_has_not(r->err, "\033");
	ck_assert_uint_lt(strlen(r->err), 100000);
	r = run_function(show, one);
	assert_status(r, 0);
	assert_has(r->err, "xxx");
}
END_TEST

static int
say_command(void *arg)
{
	static const char *const argv[] = {
		"/opt/x y/puppet", "cert", "it's", "", NULL
	};

	(void)arg;
	child_say(argv);
	return 0;
}

START_TEST(child_say_prints_what_can_be_typed)
{
	const struct run *r;

	r = run_function(say_command, NULL);
	assert_has(r->out, "'/opt/x y/puppet' cert ");
	sh("mkdir '/%s/x y'; printf '#!/bin/sh\\nprintf \"<%%%%s>\" \"$@\"\\n' "
	    ">'x y/puppet'; chmod +x 'x y/puppet'", path("."));
	put("line", text("set -- %s", r->out));
	sh(". ./line; shift; test \"$#,$1,$2,$3\" = \"3,cert,it's,\"");
}
END_TEST

static int
child_sees(const struct options *o)
{
	struct child c;

	(void)o;
	if (shell(&c, "env; echo; cat; echo 'in: ended'; ls -l /proc/self/fd; "
	    "grep '^Sig' /proc/self/status; umask; "
	    "cut -d' ' -f5 /proc/self/stat; echo $$") == -1)
		return 10;
	(void)child_wait(&c);
	child_follow(&c);
	child_close(&c);
	return 0;
}

START_TEST(a_child_gets_a_fixed_world)
{
	const struct run *r;
	const char *ignored;
	int fd;

	ck_assert_int_eq(setenv("RUBYLIB", "/evil", 1), 0);
	ck_assert_int_eq(setenv("HOME", "/evil", 1), 0);
	ck_assert_int_eq(setenv("PATH", "/usr/sbin:/usr/bin:/sbin:/bin:/evil", 1), 0);
	ck_assert_int_eq(setenv("TZ", "UTC", 1), 0);
	(void)signal(SIGTERM, SIG_IGN);
	(void)signal(SIGINT, SIG_IGN);
	fd = dup2(open("/etc/passwd", O_RDONLY), 77);
	ck_assert_int_eq(fd, 77);
	r = as_command(child_sees);
	(void)close(fd);
	(void)signal(SIGTERM, SIG_DFL);
	(void)signal(SIGINT, SIG_DFL);
	(void)unsetenv("RUBYLIB");
	(void)setenv("HOME", "/root", 1);
	(void)setenv("PATH", "/usr/sbin:/usr/bin:/sbin:/bin", 1);
	assert_status(r, 0);
	assert_has(r->err, "PATH=");
	assert_has(r->err, "LC_ALL=");
	assert_has(r->err, "TZ=UTC");
	assert_has_not(r->err, "evil");
	assert_has_not(r->err, "passwd");
	assert_has(r->err, "in: ended");
	assert_has(r->err, "0 -> /dev/null");
	assert_has(r->err, "SigBlk:\t0000000000000000");
	ignored = strstr(r->err, "SigIgn:\t");
	ck_assert_ptr_nonnull(ignored);
	/* SIGTTOU; from 32 on they are the C library's own */
	ck_assert_uint_eq(strtoull(ignored + 8, NULL, 16) & 0x7fffffff,
	    0x00200000);
}
END_TEST

START_TEST(a_child_has_a_process_group_of_its_own)
{
	struct child c;

	ck_assert_int_eq(shell(&c, "sleep 0.3"), 0);
	ck_assert_int_eq(getpgid(c.pid), c.pid);
	ck_assert_int_ne(getpgid(c.pid), getpgrp());
	(void)child_wait(&c);
	child_close(&c);
}
END_TEST

START_TEST(a_daemon_that_holds_the_output_blocks_nothing)
{
	char s[64];
	struct child c;
	long at;

	at = seconds();
	ck_assert_int_eq(shell(&c, "sleep 20 & echo $!"), 0);
	ck_assert_int_eq(child_wait(&c), 0);
	ck_assert_int_eq(child_line(&c, s, sizeof(s)), 1);
	ck_assert_int_eq(child_line(&c, s + 32, 32), 0);
	child_close(&c);
	ck_assert_int_lt(seconds() - at, 10);
	(void)kill((pid_t)atol(s), SIGKILL);
}
END_TEST

/* A crash between creation and unlink leaves the name. */
START_TEST(a_stale_output_file_is_in_nobodys_way)
{
	struct child c;

	put("stale", "old");
	sh("ln stale /run/cmregen-output || cp stale /run/cmregen-output");
	ck_assert_int_eq(shell(&c, "echo new"), 0);
	ck_assert_int_eq(child_wait(&c), 0);
	child_close(&c);
	sh("test ! -e /run/cmregen-output");
	assert_same(get("stale"), "old");
}
END_TEST

START_TEST(child_stop_ends_one_that_ignores_SIGTERM)
{
	struct child c;
	long at;

	at = seconds();
	ck_assert_int_eq(shell(&c, "trap '' TERM; while :; do sleep 1; "
	    "done"), 0);
	nap(100);
	child_stop(&c);
	ck_assert_int_eq(c.pid, 0);
	ck_assert_int_eq(child_wait(&c), -1);
	ck_assert_int_ge(seconds() - at, 9);
	ck_assert_int_le(seconds() - at, 15);
	child_close(&c);
}
END_TEST

START_TEST(child_stop_ends_the_whole_group)
{
	char s[64];
	struct child c;
	int i;

	ck_assert_int_eq(shell(&c, "sleep 50 & echo $!; wait"), 0);
	for (i = 0; i < 500 && child_line(&c, s, sizeof(s)) != 1; i++)
		nap(10);
	child_stop(&c);
	child_close(&c);
	for (i = 0; i < 500 && kill((pid_t)atol(s), 0) == 0; i++)
		nap(10);
	ck_assert_int_eq(kill((pid_t)atol(s), 0), -1);
}
END_TEST

static int
stopped_child(const struct options *o)
{
	struct child c;
	int rc;

	(void)o;
	if (shell(&c, "trap 'exit 0' TERM; kill -s INT $PPID; "
	    "while :; do sleep 0.05; done") == -1)
		return 10;
	rc = child_wait_or_stop(&c);
	child_close(&c);
	return rc == 0 && interrupted() ? 0 : 11;
}

static int
left_child(const struct options *o)
{
	struct child c;
	int rc;

	(void)o;
	if (shell(&c, "kill -s INT $PPID; sleep 0.3; exit 7") == -1)
		return 10;
	rc = child_wait(&c);
	child_close(&c);
	return rc == 7 && interrupted() ? 0 : 11;
}

START_TEST(only_child_wait_or_stop_ends_a_child_at_a_signal)
{
	const struct run *r;

	r = as_command(stopped_child);
	assert_status(r, 0);
	ck_assert(r->took < 8);
	assert_status(as_command(left_child), 0);
}
END_TEST

/*
 * Files and directories.
 */

START_TEST(path_above_opens_what_holds_it)
{
	static const char *const names[] = { "a/b/c", "a/b/c///", "link/c" };
	struct stat st, dir;
	int i, fd;

	sh("mkdir -p a/b; ln -s a/b link");
	ck_assert_int_eq(stat(path("a/b"), &dir), 0);
	for (i = 0; i < 3; i++) {
		fd = path_above(-1, path(names[i]));
		ck_assert_int_ne(fd, -1);
		ck_assert_int_eq(fstat(fd, &st), 0);
		ck_assert(st.st_ino == dir.st_ino);
		(void)close(fd);
	}
	fd = path_above(-1, "/etc");
	ck_assert_int_ne(fd, -1);
	(void)close(fd);
	ck_assert_int_eq(path_above(-1, "/nonexistent/x/y"), -1);
	ck_assert_int_eq(errno, ENOENT);
	ck_assert_int_eq(path_above(-1, "/"), -1);
	ck_assert_int_eq(path_above(-1, "x"), -1);
}
END_TEST

START_TEST(path_read_follows_links_but_the_last)
{
	char bytes[16];

	sh("mkdir a; printf abc >a/f; ln -s a link; ln -s f a/last; "
	    "mkfifo a/fifo");
	ck_assert_int_eq(path_read(path("link/f"), bytes, sizeof(bytes)), 3);
	ck_assert_str_eq(bytes, "abc");
	ck_assert_int_eq(path_read(path("a/last"), bytes, sizeof(bytes)), -1);
	ck_assert_int_eq(errno, ELOOP);
	ck_assert_int_eq(path_read(path("a/none"), bytes, sizeof(bytes)), -1);
	ck_assert_int_eq(errno, ENOENT);
	ck_assert_int_eq(path_read(path("none/f"), bytes, sizeof(bytes)), -1);
	ck_assert_int_eq(errno, ENOENT);
	ck_assert_int_eq(path_read(path("a/fifo"), bytes, sizeof(bytes)), -1);
	ck_assert_int_eq(errno, EINVAL);
	ck_assert_int_eq(path_read(path("a/f"), bytes, 3), -1);
	ck_assert_int_eq(errno, EFBIG);
	ck_assert_int_eq(path_read("/", bytes, sizeof(bytes)), -1);
	ck_assert_int_eq(errno, EINVAL);
	ck_assert_int_eq(path_read("", bytes, sizeof(bytes)), -1);
	ck_assert_int_eq(errno, ENOENT);
}
END_TEST

START_TEST(puppetserver_is_the_program_beside_puppet)
{
	char program[PROGRAM_SIZE], puppet[PATH_SIZE];
	struct options o;

	memset(&o, 0, sizeof(o));
	o.puppet = "/opt/puppetlabs/bin/puppet";
	puppetserver_path(&o, program);
	ck_assert_str_eq(program, "/opt/puppetlabs/bin/puppetserver");
	o.puppet = "/p";
	puppetserver_path(&o, program);
	ck_assert_str_eq(program, "/puppetserver");
	memset(puppet, 'p', sizeof(puppet) - 1);
	puppet[0] = puppet[sizeof(puppet) - 3] = '/';
	puppet[sizeof(puppet) - 1] = '\0';
	o.puppet = puppet;
	puppetserver_path(&o, program);
	ck_assert_str_eq(strrchr(program, '/'), "/puppetserver");
}
END_TEST

START_TEST(path_above_follows_no_link_below)
{
	static const char *const refused[] = {
		"link/ssl", "/link/ssl", "a/link/ssl", "a/../x"
	};
	struct stat st, dir;
	int at, fd, i;

	sh("mkdir -p a/b; ln -s /etc link; ln -s b a/link");
	at = here();
	fd = path_above(at, "/a/b/c/");
	ck_assert_int_ne(fd, -1);
	ck_assert_int_eq(fstat(fd, &st), 0);
	ck_assert_int_eq(stat(path("a/b"), &dir), 0);
	ck_assert(st.st_ino == dir.st_ino);
	(void)close(fd);
	fd = path_above(at, "c");
	ck_assert_int_ne(fd, -1);
	(void)close(fd);
	for (i = 0; i < 4; i++)
		ck_assert_int_eq(path_above(at, refused[i]), -1);
	(void)close(at);
}
END_TEST

START_TEST(file_open_follows_no_link)
{
	int at, fd;

	sh("mkdir -p a/b; echo x >a/b/c; ln -s b a/link; ln -s c a/b/last");
	at = here();
	fd = file_open(at, "a/b/c");
	ck_assert_int_ne(fd, -1);
	(void)close(fd);
	ck_assert_int_eq(file_open(at, "a/link/c"), -1);
	ck_assert_int_eq(file_open(at, "a/b/last"), -1);
	errno = 0;
	ck_assert_int_eq(file_open(at, "a/none"), -1);
	ck_assert_int_eq(errno, ENOENT);
	(void)close(at);
}
END_TEST

START_TEST(path_read_reads_a_regular_file_whole)
{
	char s[9];

	sh("mkdir a; printf 12345678 >a/f; printf 123456789 >a/big; "
	    ": >a/empty; mkfifo a/fifo; mkdir a/dir; ln -s f a/link; "
	    "ln -s nowhere a/dangling");
	ck_assert_int_eq((int)path_read(path("a/f"), s, sizeof(s)), 8);
	ck_assert_str_eq(s, "12345678");
	ck_assert_int_eq((int)path_read(path("a/empty"), s, sizeof(s)), 0);
	ck_assert_str_eq(s, "");
	errno = 0;
	ck_assert_int_eq((int)path_read(path("a/big"), s, sizeof(s)), -1);
	ck_assert_int_eq(errno, EFBIG);
	errno = 0;
	ck_assert_int_eq((int)path_read(path("a/none"), s, sizeof(s)), -1);
	ck_assert_int_eq(errno, ENOENT);
	errno = 0;
	ck_assert_int_eq((int)path_read(path("a/fifo"), s, sizeof(s)), -1);
	ck_assert_int_eq(errno, EINVAL);
	errno = 0;
	ck_assert_int_eq((int)path_read(path("a/dir"), s, sizeof(s)), -1);
	ck_assert_int_eq(errno, EINVAL);
	ck_assert_int_eq((int)path_read(path("a/link"), s, sizeof(s)), -1);
	errno = 0;
	ck_assert_int_eq((int)path_read(path("a/dangling"), s, sizeof(s)), -1);
	ck_assert_int_ne(errno, ENOENT);
}
END_TEST

START_TEST(name_exists_sees_any_name)
{
	int at;

	sh("ln -s nowhere dangling; mkdir d; : >f");
	at = here();
	ck_assert_int_eq(name_exists(at, "dangling"), 1);
	ck_assert_int_eq(name_exists(at, "d"), 1);
	ck_assert_int_eq(name_exists(at, "f"), 1);
	ck_assert_int_eq(name_exists(at, "none"), 0);
	(void)close(at);
}
END_TEST

START_TEST(name_move_renames_between_directories)
{
	int at, to;

	sh("mkdir d e; echo x >d/f");
	at = here();
	to = open(path("e"), O_RDONLY | O_DIRECTORY);
	ck_assert_int_eq(name_move(at, "d", to, "n"), 0);
	sh("test -f e/n/f; test ! -e d");
	(void)close(at);
	(void)close(to);
}
END_TEST

static int
move_refused(void *arg)
{
	return name_move(here(), "d", here(), arg) == -1 ? 0 : 1;
}

START_TEST(name_move_replaces_nothing)
{
	static char file[] = "f", dir[] = "e", link[] = "dangling";
	const char *before;
	const struct run *r;

	sh("mkdir d e; : >f; ln -s nowhere dangling");
	before = snapshot(".");
	r = run_function(move_refused, file);
	assert_status(r, 0);
	ck_assert_str_ne(r->err, "");
	assert_status(run_function(move_refused, dir), 0);
	assert_status(run_function(move_refused, link), 0);
	assert_same(snapshot("."), before);
}
END_TEST

/*
 * Locks.
 */

static int
take(void *arg)
{
	struct lock k;

	if (lock_take(&k, here(), arg) != LOCK_TAKEN)
		return 1;
	if (access(path("%s", (char *)arg), F_OK) == -1)
		return 2;
	(void)lock_drop(&k);
	return 0;
}

START_TEST(a_lock_is_held_by_one)
{
	static char name[] = "l";
	struct stat st;
	struct lock k;
	char lines[64];
	int at;

	at = here();
	ck_assert_int_eq(lock_ask(at, "l", lines,
	    sizeof(lines)), 0);
	ck_assert(!exists("l"));
	ck_assert_int_eq(lock_take(&k, at, "l"), 0);
	ck_assert_int_eq(stat(path("l"), &st), 0);
	ck_assert_uint_eq(st.st_mode & 07777, 0600);
	assert_status(run_function(take, name), 1);
	(void)lock_drop(&k);
	ck_assert(!exists("l"));
	assert_status(run_function(take, name), 0);
	ck_assert(!exists("l"));
	(void)close(at);
}
END_TEST

START_TEST(lock_ask_creates_nothing)
{
	char lines[64];
	pid_t other;
	int at;

	at = here();
	other = hold_lock("l");
	ck_assert_int_eq(lock_ask(at, "l", lines,
	    sizeof(lines)), 1);
	hold_end(other);
	ck_assert_int_eq(lock_ask(at, "l", lines,
	    sizeof(lines)), 0);
	ck_assert(exists("l"));
	ck_assert_int_eq(lock_ask(at, "none", lines,
	    sizeof(lines)), 0);
	ck_assert(!exists("none"));
	(void)close(at);
}
END_TEST

START_TEST(a_lock_is_never_a_link)
{
	static char name[] = "l";
	const char *before;

	sh("ln -s other l; ln -s there m; echo content >there");
	before = snapshot(".");
	assert_status(run_function(take, name), 1);
	assert_same(snapshot("."), before);
	sh("rm l; mkfifo l");
	(void)run_function(take, name);
	sh("test ! -e other; test \"$(cat there)\" = content");
}
END_TEST

static int
lines_too_many(void *arg)
{
	char lines[4];
	struct lock k;
	int rc;

	(void)arg;
	if (lock_take(&k, here(), "l") == -1 || lock_add(&k, "abcd") == -1)
		return 1;
	rc = lock_lines(&k, lines, sizeof(lines)) == -1 ? 0 : 2;
	(void)lock_drop(&k);
	return rc;
}

START_TEST(more_lines_than_there_is_room_for_are_an_error)
{
	const struct run *r;

	r = run_function(lines_too_many, NULL);
	assert_status(r, 0);
	assert_has(r->err, "l is damaged");
}
END_TEST

START_TEST(lines_outlive_the_lock)
{
	char lines[64];
	struct lock k;
	int at;

	at = here();
	ck_assert_int_eq(lock_take(&k, at, "l"), LOCK_TAKEN);
	ck_assert_int_eq(lock_add(&k, "one 1"), 0);
	ck_assert_int_eq(lock_add(&k, "two 2"), 0);
	assert_same(get("l"), "one 1\ntwo 2\n");
	lock_leave(&k);
	assert_same(get("l"), "one 1\ntwo 2\n");
	ck_assert_int_eq(lock_ask(at, "l", lines, sizeof(lines)), 0);
	assert_same(lines, "one 1\ntwo 2\n");
	ck_assert_int_eq(lock_take(&k, at, "l"), LOCK_TAKEN);
	ck_assert_int_eq(lock_add(&k, "three"), 0);
	ck_assert_int_eq(lock_lines(&k, lines, sizeof(lines)), 0);
	assert_same(lines, "one 1\ntwo 2\nthree\n");
	ck_assert_int_eq(lock_cut(&k, 6), 0);
	ck_assert_int_eq(lock_add(&k, "x"), 0);
	assert_same(get("l"), "one 1\nx\n");
	ck_assert_int_eq(lock_cut(&k, 0), 0);
	assert_same(get("l"), "");
	(void)lock_drop(&k);
	ck_assert(!exists("l"));
	(void)lock_drop(&k);
	(void)close(at);
}
END_TEST

START_TEST(what_has_no_newline_at_its_end_is_cut_off)
{
	char lines[64];
	struct lock k;
	int at;

	at = here();
	put("l", "one\ntw");
	sh("chmod 600 l");
	ck_assert_int_eq(lock_ask(at, "l", lines, sizeof(lines)), 0);
	assert_same(lines, "one\n");
	assert_same(get("l"), "one\ntw");
	ck_assert_int_eq(lock_take(&k, at, "l"), LOCK_TAKEN);
	ck_assert_int_eq(lock_lines(&k, lines, sizeof(lines)), 0);
	assert_same(lines, "one\n");
	assert_same(get("l"), "one\n");
	lock_leave(&k);
	(void)close(at);
}
END_TEST

START_TEST(in_a_directory_that_is_gone_there_is_no_lock)
{
	struct lock k;
	int at;

	sh("mkdir d");
	at = open(path("d"), O_RDONLY | O_DIRECTORY);
	sh("rmdir d");
	ck_assert_int_eq(lock_take(&k, at, "l"), LOCK_GONE);
	lock_leave(&k);
	(void)close(at);
}
END_TEST

static int
take_odd(void *arg)
{
	char lines[64];
	struct lock k;
	int rc;

	(void)arg;
	rc = lock_take(&k, here(), "l") == -1 ? 0 : 1;
	lock_leave(&k);
	return lock_ask(here(), "l", lines, sizeof(lines)) == -1 ? rc : 2;
}

static const char *const odd_locks[] = {
	"chmod 640 l", "chmod 606 l", "ln l m", "chown 52001 l",
	"rm l; mkdir l", "rm l; mkfifo -m 600 l", "rm l; ln -s /dev/zero l"
};

START_TEST(a_lock_file_is_ours_alone)
{
	const char *before;
	const struct run *r;

	sh(": >l; chmod 600 l; %s", odd_locks[_i]);
	before = snapshot(".");
	r = run_function(take_odd, NULL);
	assert_status(r, 0);
	ck_assert_str_ne(r->err, "");
	assert_same(snapshot("."), before);
}
END_TEST

static int
wait_for_lock(const struct options *o)
{
	struct lock k;

	(void)o;
	if (lock_wait(&k, here(), "l") == -1)
		return interrupted() ? 5 : 6;
	(void)lock_drop(&k);
	return 0;
}

START_TEST(lock_wait_waits_its_turn)
{
	pid_t other, waiting;

	other = hold_lock("l");
	body = wait_for_lock;
	waiting = start("node", "finish", NULL);
	nap(700);
	ck_assert_int_eq(waitpid(waiting, NULL, WNOHANG), 0);
	hold_end(other);
	assert_status(finish(waiting), 0);
	ck_assert(!exists("l"));
}
END_TEST

START_TEST(lock_wait_ends_at_a_signal)
{
	pid_t other, waiting;

	other = hold_lock("l");
	body = wait_for_lock;
	waiting = start("node", "finish", NULL);
	nap(500);
	(void)kill(waiting, SIGTERM);
	assert_status(finish(waiting), 5);
	hold_end(other);
}
END_TEST

/* Takes and drops the lock many times; never two at once. */
static int
contend(const struct options *o)
{
	struct lock k;
	int at, fd, i;

	(void)o;
	at = here();
	for (i = 0; i < 200; i++) {
		if (lock_take(&k, at, "l") != LOCK_TAKEN)
			continue;
		fd = openat(at, "inside", O_CREAT | O_EXCL | O_WRONLY, 0600);
		if (fd == -1)
			return 20;
		(void)close(fd);
		(void)unlinkat(at, "inside", 0);
		(void)lock_drop(&k);
	}
	return 0;
}

START_TEST(two_never_hold_the_lock_at_once)
{
	pid_t other;
	int status;

	body = contend;
	other = start("node", "finish", NULL);
	assert_status(program("node", "finish", NULL), 0);
	ck_assert_int_eq(waitpid(other, &status, 0), other);
	ck_assert_int_eq(status, 0);
}
END_TEST

/*
 * Settings and names.
 */

static char certname_value[PATH_SIZE], ssldir_value[PATH_SIZE];
static const struct setting two[] = {
	{ "certname", certname_value, PATH_SIZE },
	{ "ssldir", ssldir_value, PATH_SIZE }
};

START_TEST(settings_line_takes_what_is_asked_for)
{
	certname_value[0] = ssldir_value[0] = '\0';
	ck_assert_int_eq(settings_line(two, 2, "ssldir = /a = b/ssl"), 1);
	ck_assert_str_eq(ssldir_value, "/a = b/ssl");
	ck_assert_str_eq(certname_value, "");
	ck_assert_int_eq(settings_line(two, 2, "certname = h"), 1);
	ck_assert_str_eq(certname_value, "h");
	ck_assert_int_eq(settings_line(two, 2, "certname = "), 1);
	ck_assert_str_eq(certname_value, "");
	ck_assert_int_eq(settings_line(two, 2, "certname ="), 1);
	ck_assert_str_eq(certname_value, "");
}
END_TEST

START_TEST(settings_line_passes_over_the_rest)
{
	static const char *const other[] = {
		"", "ssldi = /x", "ssldirx = /x", "ssldir", "ssldir: /x",
		"xssldir = /x", "Warning: ssldir = /x", "=", " = ", "[agent]"
	};
	size_t i;

	(void)strcpy(ssldir_value, "before");
	for (i = 0; i < sizeof(other) / sizeof(other[0]); i++)
		ck_assert_int_eq(settings_line(two, 2, other[i]), 0);
	ck_assert_str_eq(ssldir_value, "before");
	ck_assert_int_eq(settings_line(two, 0, "ssldir = /x"), 0);
}
END_TEST

static int
long_setting(void *arg)
{
	static char line[PATH_SIZE + 20];
	size_t n;

	(void)arg;
	n = (size_t)sprintf(line, "ssldir = /");
	memset(line + n, 'x', PATH_SIZE - 2);
	if (settings_line(two, 2, line) != 1 ||
	    strlen(ssldir_value) != PATH_SIZE - 1)
		return 1;
	line[n + PATH_SIZE - 2] = 'x';
	return settings_line(two, 2, line) == -1 ? 0 : 2;
}

START_TEST(settings_line_refuses_a_value_that_does_not_fit)
{
	assert_status(run_function(long_setting, NULL), 0);
}
END_TEST

static const char *asked;	/* the puppet program */

static int
ask(const struct options *o)
{
	struct options p;

	p = *o;
	p.puppet = asked;
	if (settings_ask(&p, "agent", NULL, two, 2) == -1)
		return 1;
	say("%s %s", certname_value, ssldir_value);
	return 0;
}

static int
ask_major(const struct options *o)
{
	struct options p;

	p = *o;
	p.puppet = asked;
	return puppet_major(&p) == -1 ? 100 : puppet_major(&p);
}

static void
puppet_of(const char *version)
{
	sandbox(version);
	asked = text("%s", path("node/bin/puppet"));
}

START_TEST(settings_are_asked_for_in_one_call)
{
	const struct run *r;

	puppet_of("7");
	r = as_command(ask);
	assert_status(r, 0);
	ck_assert_str_eq(r->out, text(CM1 " %s\n", path("node/puppet/ssl")));
	ck_assert_int_eq(logged_times("node", ""), 1);
	assert_has(get("node/log"), "config print ");
	assert_has(get("node/log"), "--section agent");
	assert_has(get("node/log"), "--color=false");
}
END_TEST

static const char *const unreadable[] = {
	"exit 1 * *", "mute 0 * *", "mute 1 * *", "signal KILL * *",
	"say half * *", "endless - * *", "cut - * *", "after 1 * *",
	"quiet - * *"
};

START_TEST(settings_that_puppet_does_not_tell_are_an_error)
{
	const struct run *r;

	puppet_of("5");
	knob("node", "half", "certname = x");
	knob("node", "faults", unreadable[_i]);
	r = as_command(ask);
	assert_status(r, 1);
	assert_has(r->err, "cmregen: ");
	ck_assert_str_eq(r->out, "");
}
END_TEST

static const char *const harmless_faults[] = {
	"flood - * *", "daemon 30 * *", "stall 0.1 * *"
};

static int
ask_much(const struct options *o)
{
	static char value[PATH_SIZE];
	struct setting s[40];
	size_t i;

	for (i = 0; i < 40; i++) {
		s[i].name = "certname";
		s[i].value = value;
	}
	return settings_ask(o, "agent", NULL, s, 40) == -1 ? DONE : NOT_DONE;
}

START_TEST(more_settings_than_an_argument_vector_holds_are_an_error)
{
	const struct run *r;

	r = as_command(ask_much);
	assert_status(r, DONE);
	assert_has(r->err, "too many settings");
}
END_TEST

START_TEST(settings_are_found_in_any_output)
{
	puppet_of("5");
	knob("node", "faults", harmless_faults[_i]);
	assert_status(as_command(ask), 0);
}
END_TEST

START_TEST(puppet_major_is_the_first_number)
{
	puppet_of("5.5.22");
	assert_status(as_command(ask_major), 5);
	puppet_of("8.10.0");
	assert_status(as_command(ask_major), 8);
	puppet_of("6.0.2");
	assert_status(as_command(ask_major), 6);
	sh("echo VERSION=10.1.2 >>node/conf");
	assert_status(as_command(ask_major), 10);
}
END_TEST

static const char *const versionless[] = {
	"exit 1 * *", "mute 0 * *", "signal KILL * *", "endless - * *",
	"say words * *", "say zero * *"
};

START_TEST(puppet_major_takes_nothing_else_for_a_version)
{
	puppet_of("7");
	knob("node", "words", "Puppet, the program");
	knob("node", "zero", "0.0");
	knob("node", "faults", versionless[_i]);
	assert_status(as_command(ask_major), 100);
}
END_TEST

START_TEST(number_takes_digits_alone)
{
	ck_assert_int_eq(number_read("0"), 0);
	ck_assert_int_eq(number_read("7"), 7);
	ck_assert_int_eq(number_read("604800"), 604800);
	ck_assert_int_eq(number_read("007"), 7);
	ck_assert_int_eq(number_read(""), -1);
	ck_assert_int_eq(number_read("-1"), -1);
	ck_assert_int_eq(number_read("+1"), -1);
	ck_assert_int_eq(number_read(" 1"), -1);
	ck_assert_int_eq(number_read("1 "), -1);
	ck_assert_int_eq(number_read("0x10"), -1);
	ck_assert_int_eq(number_read("99999999999999999999999999"), -1);
}
END_TEST

START_TEST(certname_ok_takes_a_certname)
{
	char s[CERTNAME_MAX + 2];

	ck_assert(certname_ok("cm1.example.com"));
	ck_assert(certname_ok("a"));
	ck_assert(certname_ok("0_-."));
	ck_assert(certname_ok("..."));
	ck_assert(certname_ok(".a"));
	memset(s, 'a', sizeof(s));
	s[CERTNAME_MAX] = '\0';
	ck_assert(certname_ok(s));
	s[CERTNAME_MAX] = 'a';
	s[CERTNAME_MAX + 1] = '\0';
	ck_assert(!certname_ok(s));
}
END_TEST

START_TEST(certname_ok_takes_nothing_else)
{
	static const char allowed[] =
	    "abcdefghijklmnopqrstuvwxyz0123456789._-";
	char s[3];
	int c;

	ck_assert(!certname_ok(""));
	ck_assert(!certname_ok("."));
	ck_assert(!certname_ok(".."));
	ck_assert(!certname_ok("-a"));
	ck_assert(!certname_ok("../x"));
	for (c = 1; c < 256; c++) {
		(void)snprintf(s, sizeof(s), "a%c", c);
		ck_assert_int_eq(certname_ok(s) != 0,
		    strchr(allowed, c) != NULL);
	}
}
END_TEST

/*
 * Fingerprints.
 */

static const char *
sha_text(const unsigned char *p, size_t n)
{
	static char s[65];
	unsigned char digest[32];
	int i;

	sha256(p, n, digest);
	for (i = 0; i < 32; i++)
		(void)sprintf(s + 2 * i, "%02x", digest[i]);
	return s;
}

/* FIPS 180-4's examples, and others of NIST's. */
static const struct {
	const char *text, *sum;
} vector[] = {
	{ "abc", "ba7816bf8f01cfea414140de5dae2223"
	    "b00361a396177a9cb410ff61f20015ad" },
	{ "", "e3b0c44298fc1c149afbf4c8996fb924"
	    "27ae41e4649b934ca495991b7852b855" },
	{ "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
	    "248d6a61d20638b8e5c026930c3e6039"
	    "a33ce45964ff2167f6ecedd419db06c1" },
	{ "abcdefghbcdefghicdefghijdefghijkefghijklfghijklmghijklmn"
	    "hijklmnoijklmnopjklmnopqklmnopqrlmnopqrsmnopqrstnopqrstu",
	    "cf5b16a778af8380036ce59e7b049237"
	    "0b249b11e8f07a51afac45037afee9d1" }
};

START_TEST(sha256_gives_the_published_sums)
{
	ck_assert_str_eq(sha_text((const unsigned char *)vector[_i].text,
	    strlen(vector[_i].text)), vector[_i].sum);
}
END_TEST

START_TEST(sha256_of_a_million_a)
{
	unsigned char *p;

	p = malloc(1000000);
	ck_assert_ptr_nonnull(p);
	memset(p, 'a', 1000000);
	ck_assert_str_eq(sha_text(p, 1000000),
	    "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
	free(p);
}
END_TEST

/* NIST's additional examples: so many bytes of that value. */
static const struct {
	size_t n;
	int byte;
	const char *sum;
} repeated[] = {
	{ 1, 0xbd, "68325720aabd7c82f30f554b313d0570"
	    "c95accbb7dc4b5aae11204c08ffe732b" },
	{ 55, 0, "02779466cdec163811d078815c633f21"
	    "901413081449002f24aa3e80f0b88ef7" },
	{ 56, 0, "d4817aa5497628e7c77e6b606107042b"
	    "bba3130888c5f47a375e6179be789fbb" },
	{ 57, 0, "65a16cb7861335d5ace3c60718b5052e"
	    "44660726da4cd13bb745381b235a1785" },
	{ 64, 0, "f5a5fd42d16a20302798ef6ed309979b"
	    "43003d2320d9f0e8ea9831a92759fb4b" },
	{ 1000, 0, "541b3e9daa09b20bf85fa273e5cbd3e8"
	    "0185aa4ec298e765db87742b70138a53" },
	{ 1000, 0x41, "c2e686823489ced2017f6059b8b23931"
	    "8b6364f6dcd835d0a519105a1eadd6e4" },
	{ 1005, 0x55, "f4d62ddec0f3dd90ea1380fa16a5ff8d"
	    "c4c54b21740650f24afc4120903552b0" },
	{ 1000000, 0, "d29751f2649b32ff572b5e0a9f541ea6"
	    "60a50f94ff0beedfb0b692b924cc8025" }
};

START_TEST(sha256_pads_at_every_length)
{
	unsigned char *p;

	p = malloc(repeated[_i].n);
	ck_assert_ptr_nonnull(p);
	memset(p, repeated[_i].byte, repeated[_i].n);
	ck_assert_str_eq(sha_text(p, repeated[_i].n), repeated[_i].sum);
	free(p);
}
END_TEST

static const char csr_sum[] = "D2:ED:4D:F3:B6:63:16:C3:FA:16:72:3F:40:16:8D:"
    "A3:5A:3E:17:52:98:85:9D:21:11:4E:F1:0F:AA:E5:37:9F";

START_TEST(fingerprint_ok_takes_16_to_64_digits)
{
	char s[200];

	ck_assert(fingerprint_ok("0123456789abcdef"));
	ck_assert(fingerprint_ok("0123456789ABCDEF"));
	ck_assert(fingerprint_ok("01:23:45:67:89:AB:cd:ef"));
	ck_assert(fingerprint_ok("0:1:2:3:4:5:6:7:8:9:a:b:c:d:e:f"));
	ck_assert(fingerprint_ok(csr_sum));
	ck_assert(!fingerprint_ok("0123456789abcde"));
	ck_assert(!fingerprint_ok("0:1:2:3:4:5:6:7"));
	ck_assert(!fingerprint_ok(""));
	ck_assert(!fingerprint_ok("::::::::::::::::"));
	ck_assert(!fingerprint_ok("0123456789abcdeg"));
	ck_assert(!fingerprint_ok("0123456789abcdef "));
	ck_assert(!fingerprint_ok("(SHA256) 0123456789abcdef"));
	ck_assert(!fingerprint_ok("0123456789abcdef-"));
	memset(s, 'a', 65);
	s[65] = '\0';
	ck_assert(!fingerprint_ok(s));
	s[64] = '\0';
	ck_assert(fingerprint_ok(s));
}
END_TEST

START_TEST(fingerprint_match_compares_a_beginning)
{
	ck_assert(fingerprint_match("d2ed4df3b66316c3", csr_sum));
	ck_assert(fingerprint_match("D2:ed:4D:f3:b6:63:16:C3:", csr_sum));
	ck_assert(fingerprint_match(csr_sum, csr_sum));
	ck_assert(fingerprint_match("d2ed4df3b66316c3fa16723f40168da35a3e1752"
	    "98859d21114ef10faae5379f", csr_sum));
	ck_assert(!fingerprint_match("d2ed4df3b66316c4", csr_sum));
	ck_assert(!fingerprint_match("ed4df3b66316c3fa", csr_sum));
	ck_assert(!fingerprint_match("d2ed4df3b66316c3fa16723f40168da35a3e175"
	    "298859d21114ef10faae53790", csr_sum));
	ck_assert(!fingerprint_match(csr_sum, "D2:ED:4D:F3"));
}
END_TEST

#define LOOP(TC, NAME, TABLE) tcase_add_loop_test((TC), (NAME), 0,	\
    (int)(sizeof(TABLE) / sizeof((TABLE)[0])))

static void
add_first(TCase *tc)
{
	tcase_add_test(tc, each_option_reaches_its_command);
	LOOP(tc, a_bad_argument_ends_with_2, bad_line);
	tcase_add_test(tc, a_missing_value_is_told_from_an_unknown_option);
	tcase_add_test(tc, an_error_shows_the_synopsis_of_that_command_alone);
	tcase_add_test(tc, usage_shows_every_command);
	tcase_add_test(tc, V_prints_the_version);
	tcase_add_test(tc, another_user_than_root_is_refused);
	tcase_add_test(tc, a_result_that_cannot_be_printed_is_not_done);
	tcase_add_test(tc, messages_go_where_they_belong);
	tcase_add_test(tc, a_message_of_any_length_is_one_line);
	tcase_add_test(tc, format_tells_what_does_not_fit);
	tcase_add_loop_test(tc, a_message_is_harmless, 0,
	    (int)(sizeof(shown_as) / sizeof(shown_as[0])));
	tcase_add_test(tc, a_message_is_one_line);
	tcase_add_test(tc, each_step_leaves_its_line);
	tcase_add_test(tc, the_line_has_the_seconds_of_the_step);
	tcase_add_test(tc, a_step_is_named_when_it_begins);
	tcase_add_test(tc, busy_rewrites_one_line_of_a_terminal);
	LOOP(tc, quote_makes_one_word_for_a_shell, quoted);
	tcase_add_test(tc, quote_takes_the_longest_in_its_space);
	tcase_add_loop_test(tc, a_signal_is_seen_until_an_undo_holds_it, 0, 3);
	tcase_add_test(tc, a_broken_pipe_ends_nothing);
	tcase_add_test(tc, nap_ends_early_when_a_child_does);
	tcase_add_test(tc, seconds_never_go_back);
}

static void
add_children(TCase *tc)
{
	tcase_add_test(tc, child_wait_returns_the_exit_status);
	tcase_add_test(tc, a_child_that_a_signal_ended_is_minus_1);
	tcase_add_test(tc, what_cannot_be_executed_is_told_by_name);
	tcase_add_test(tc, child_ended_never_waits);
	tcase_add_test(tc, child_line_reads_line_by_line);
	tcase_add_test(tc, child_line_refuses_a_line_that_does_not_fit);
	tcase_add_test(tc, child_line_refuses_a_line_that_is_cut_off);
	tcase_add_test(tc, child_line_sees_a_line_that_comes_later);
	tcase_add_test(tc, child_follow_shows_what_is_new);
	tcase_add_test(tc, child_follow_shows_whole_lines);
	tcase_add_test(tc, a_letter_at_the_edge_of_a_buffer_is_seen);
	tcase_add_test(tc, child_show_tells_exit_and_signal_apart);
	tcase_add_test(tc, child_show_shows_the_end_of_much);
	tcase_add_test(tc, child_say_prints_what_can_be_typed);
	tcase_add_test(tc, a_child_gets_a_fixed_world);
	tcase_add_test(tc, a_child_has_a_process_group_of_its_own);
	tcase_add_test(tc, a_daemon_that_holds_the_output_blocks_nothing);
	tcase_add_test(tc, a_stale_output_file_is_in_nobodys_way);
	tcase_add_test(tc, child_stop_ends_one_that_ignores_SIGTERM);
	tcase_add_test(tc, child_stop_ends_the_whole_group);
	tcase_add_test(tc, only_child_wait_or_stop_ends_a_child_at_a_signal);
}

static void
add_files(TCase *tc)
{
	tcase_add_test(tc, path_above_opens_what_holds_it);
	tcase_add_test(tc, path_read_follows_links_but_the_last);
	tcase_add_test(tc, puppetserver_is_the_program_beside_puppet);
	tcase_add_test(tc, path_above_follows_no_link_below);
	tcase_add_test(tc, file_open_follows_no_link);
	tcase_add_test(tc, path_read_reads_a_regular_file_whole);
	tcase_add_test(tc, name_exists_sees_any_name);
	tcase_add_test(tc, name_move_renames_between_directories);
	tcase_add_test(tc, name_move_replaces_nothing);
	tcase_add_test(tc, a_lock_is_held_by_one);
	tcase_add_test(tc, lock_ask_creates_nothing);
	tcase_add_test(tc, a_lock_is_never_a_link);
	tcase_add_test(tc, lines_outlive_the_lock);
	tcase_add_test(tc, what_has_no_newline_at_its_end_is_cut_off);
	tcase_add_test(tc, in_a_directory_that_is_gone_there_is_no_lock);
	tcase_add_loop_test(tc, a_lock_file_is_ours_alone, 0,
	    (int)(sizeof(odd_locks) / sizeof(odd_locks[0])));
	tcase_add_test(tc, more_lines_than_there_is_room_for_are_an_error);
	tcase_add_test(tc, lock_wait_waits_its_turn);
	tcase_add_test(tc, lock_wait_ends_at_a_signal);
	tcase_add_test(tc, two_never_hold_the_lock_at_once);
}

static void
add_names(TCase *tc)
{
	tcase_add_test(tc, settings_line_takes_what_is_asked_for);
	tcase_add_test(tc, settings_line_passes_over_the_rest);
	tcase_add_test(tc, settings_line_refuses_a_value_that_does_not_fit);
	tcase_add_test(tc, settings_are_asked_for_in_one_call);
	LOOP(tc, settings_that_puppet_does_not_tell_are_an_error, unreadable);
	tcase_add_test(tc,
	    more_settings_than_an_argument_vector_holds_are_an_error);
	LOOP(tc, settings_are_found_in_any_output, harmless_faults);
	tcase_add_test(tc, puppet_major_is_the_first_number);
	LOOP(tc, puppet_major_takes_nothing_else_for_a_version, versionless);
	tcase_add_test(tc, number_takes_digits_alone);
	tcase_add_test(tc, certname_ok_takes_a_certname);
	tcase_add_test(tc, certname_ok_takes_nothing_else);
}

static void
add_fingerprints(TCase *tc)
{
	LOOP(tc, sha256_gives_the_published_sums, vector);
	tcase_add_test(tc, sha256_of_a_million_a);
	LOOP(tc, sha256_pads_at_every_length, repeated);
	tcase_add_test(tc, fingerprint_ok_takes_16_to_64_digits);
	tcase_add_test(tc, fingerprint_match_compares_a_beginning);
}

int
main(void)
{
	static void (*const add[])(TCase *) = {
		add_first, add_children, add_files, add_names,
		add_fingerprints
	};
	static const char *const name[] = {
		"command line, messages, signals", "processes",
		"files and locks", "settings and names", "fingerprints"
	};
	Suite *suite;
	TCase *tc;
	size_t i;

	suite = suite_create("cmregen");
	for (i = 0; i < sizeof(add) / sizeof(add[0]); i++) {
		tc = tcase_create(name[i]);
		tcase_add_checked_fixture(tc, begin, end);
		tcase_set_timeout(tc, 120);
		add[i](tc);
		suite_add_tcase(suite, tc);
	}
	return suite_run(suite);
}
