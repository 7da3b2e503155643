/*
 * fixture.h: what the suites share.  A test works in a directory of its own
 * (fixture_begin, fixture_end), most often in a sandbox with two hosts, runs
 * the program as a child, and compares what there was with what there is.
 * What goes wrong in here ends the test, which then has failed.
 *
 * Strings that are returned are good until the test ends, or, of path, until
 * 32 more were asked for.
 */
#ifndef FIXTURE_H
#define FIXTURE_H

#include <sys/types.h>

#include <check.h>

#define CM1	"cm1.example.com"

struct run {
	int status;		/* of exit; 128 and a signal's number; -1: it
				   had to be killed, since it took too long */
	double took;		/* seconds */
	const char *out;	/* what it printed */
	const char *err;
};

/* The versions that the stand-in knows, and some of their numbers. */
enum { FIVE, SIX, SEVEN, EIGHT, VERSIONS };

extern const char *const version[VERSIONS];

/* What the sandbox has of the compile master CM1. */
#define SSL	"node/puppet/ssl"
#define BAK	"node/puppet/ssl_bak"
#define KEY	"/private_keys/" CM1 ".pem"
#define CERT	"/certs/" CM1 ".pem"
#define REQUEST	"/certificate_requests/" CM1 ".pem"
#define CATALOG	"node/cache/client_data/catalog/" CM1 ".json"
#define WORK	"node/puppet/ssl.cmregen"
#define JOURNAL	WORK "/journal"
#define NEXT	WORK "/next"
#define OLD	WORK "/old"

/* The temporary directory.  Unprivileged users may pass through it. */
void	fixture_begin(void);
void	fixture_end(void);

/* Makes the sandbox of that version in it: 5.5.22, or 5. */
void	sandbox(const char *);

/*
 * Makes the sandbox of that version (FIVE and on) stand where a regeneration,
 * or the way back, was left.  Each is made once, by the program itself, and
 * then copied:
 *
 *     fresh       nothing was done
 *     idle        the certificate was cleaned on the MoM
 *     staged      then prepare has run;  signed  then the MoM has signed
 *     finished    then finish has run
 *     exchanging  signed, and finish was killed before ssl was moved
 *     torn        the same between the two renames
 *     exchanged   after them;  unproven  at the Puppet run
 *     restoring   finished, and restore -a was killed before ssl was moved
 *     halfway     the same between the two renames;  restored  after them
 *     leaving     staged, and restore was killed when it began
 *     returning   exchanged, and restore was killed when it began
 *     done        unproven, and finish was killed at the end
 *     undone      restored, and restore was killed at the end
 *
 * quiet_situation makes puppet stand still and disabled there, so that finish
 * does not wait a moment to look at it again.
 */
void	situation(int, const char *);
void	quiet_situation(int, const char *);

/*
 * As signed, quiet, of Puppet 7; but its backup is on a medium that is mounted
 * at node/usb: node/usb/bak.  To unmount that is left to the test.
 */
void	signed_with_medium(void);

/* The tree in the situation idle, as tree_text has it. */
const char *first(const char *);

/*
 * What a command has ended with, and nothing besides.  The first ssl is in use
 * and nothing is under way (there may be a backup); the same, but next waits;
 * or the next generation is in use, and the backup is the first ssl.  In each
 * the services are as they were in the beginning.
 */
void	ends_back(void);
void	ends_staged(void);
void	ends_finished(void);

/* A path below the sandbox; text is any string, formatted. */
const char *path(const char *, ...) __attribute__((format(printf, 1, 2)));
const char *text(const char *, ...) __attribute__((format(printf, 1, 2)));

/*
 * Runs a line of shell in the sandbox; every command in it must succeed.
 * Where it mounts, or makes a device, and this place allows that to nobody,
 * the test ends and counts as skipped.
 */
void	sh(const char *, ...) __attribute__((format(printf, 1, 2)));

/* Ends the test, and has it counted as skipped, for that reason. */
void	skip_test(const char *);

/* A file below the sandbox: what is in it, writing it, is it there. */
const char *get(const char *);
void	put(const char *, const char *);
int	exists(const char *);

/* Sets a knob of a host: "node", its name, its value. */
void	knob(const char *, const char *, const char *);

/*
 * The tree below that path as text: a line for each name, with type, mode,
 * owner, group, size, link target or a sum over the bytes.  Names in the list
 * (it ends with NULL) are left out, wherever they are.  snapshot leaves out
 * what is not the program's doing: logs, and what the stand-in keeps.
 */
const char *tree_text(const char *, const char *const *);
const char *snapshot(const char *);

/*
 * The keys, requests and certificates that the stand-in hands out, from
 * tests/keys, where `make' tells what there is.  What belongs together is of
 * one generation: "1" is in use when the sandbox is made, "2" is handed out
 * next; "none" is what is not there, was damaged, or is of nobody.  The serial
 * number is as openssl writes it, "0A".
 *
 * give writes one to a file, such as give("2", "names.req", SSL REQUEST); what
 * exists keeps its owner and mode.  present makes the certificate that is in
 * use one of "names", "plain", "extra", "role" or "auth", on both hosts.
 */
const char *generation_of(const char *);
const char *serial_of(const char *);
const char *fingerprint_of(const char *);
void	give(const char *, const char *, const char *);
void	present(const char *);

/* The generation of the certificate that the node's server serves. */
const char *served(void);

/* Signs the request of CM1 on the MoM. */
void	sign(void);

/* None of our names is left, beside ssl, the backup, or anywhere. */
void	no_leftover(void);

void	sleep_ms(long);

/* The units of the node and their state, a line each. */
const char *services(void);

/* Is X running on the node? */
int	running(const char *);

/*
 * Runs the program with these arguments, the last is NULL.  mom and node add
 * the host's word, the command and -p.  start leaves it running; finish waits
 * for its end.  Where the environment has CMREGEN, that program is run, else
 * the one that is linked.
 */
const struct run *program(const char *, ...);
const struct run *mom(const char *, ...);
const struct run *node(const char *, ...);
pid_t	start(const char *, ...);
const struct run *finish(pid_t);

/*
 * As node; a call of puppet's that matches the pattern (of knobs/faults) kills
 * it.  Returns when that call and all others have come to their ends.
 */
void	node_killed(const char *, const char *, ...);

/* Runs, or starts, a function in a child, which exits with its result. */
const struct run *run_function(int (*)(void *), void *);
pid_t	start_function(int (*)(void *), void *);

/* What a program that was started has printed by now. */
const char *printed(void);

/* Has the compile master's lock file name a process of that many seconds. */
#define RUNLOCK	"node/cache/state/agent_catalog_run.lock"
void	run_in_progress(const char *);

/* Types a runbook that -n has printed: all of it, into sh. */
void	runbook(const char *);

/* Waits until the file exists, at most ten seconds. */
void	await(const char *);

/*
 * The log of a host's calls, --color=false left out: the number of the first
 * line from that one on (0 is the first) that contains the string, or -1; how
 * many contain it.
 */
int	logged(const char *, const char *, int);
int	logged_times(const char *, const char *);
void	log_clear(const char *);

/* Holds an fcntl lock on a file (created) from a child; ends that. */
pid_t	hold_lock(const char *);
void	hold_end(pid_t);

/*
 * Runs a suite and prints the sum of it; returns what main returns.  With PART
 * in the environment, "3/8", only the third, eleventh, .. test of the suite is
 * run: what a suite adds to its cases goes through tests_add.
 */
int	suite_run(Suite *);
void	tests_add(TCase *, const TTest *, int, int);
#undef tcase_add_test
#define tcase_add_test(TC, TEST) tests_add((TC), (TEST), 0, 1)
#undef tcase_add_loop_test
#define tcase_add_loop_test(TC, TEST, FROM, TO)				\
    tests_add((TC), (TEST), (FROM), (TO))

/* Assertions. */
#define assert_status(R, STATUS) do {					\
	const struct run *run_ = (R);					\
	ck_assert_msg(run_->status == (STATUS),				\
	    "status %d, not %d; stdout:\n%.2000s\nstderr:\n%.2000s",	\
	    run_->status, (STATUS), run_->out, run_->err);		\
} while (0)
#define assert_has(TEXT, WORDS) do {					\
	const char *text_ = (TEXT), *words_ = (WORDS);			\
	ck_assert_msg(strstr(text_, words_) != NULL,			\
	    "\"%s\" is not in:\n%.3000s", words_, text_);		\
} while (0)
#define assert_has_not(TEXT, WORDS) do {				\
	const char *text_ = (TEXT), *words_ = (WORDS);			\
	ck_assert_msg(strstr(text_, words_) == NULL,			\
	    "\"%s\" is in:\n%.3000s", words_, text_);		\
} while (0)
#define assert_same(NOW, BEFORE) do {					\
	const char *now_ = (NOW), *before_ = (BEFORE);			\
	ck_assert_msg(strcmp(now_, before_) == 0,			\
	    "before:\n%.6000s\nnow:\n%.6000s", before_, now_);		\
} while (0)

#endif
