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

/* The temporary directory.  Unprivileged users may pass through it. */
void	fixture_begin(void);
void	fixture_end(void);

/* Makes the sandbox of that version in it: 5.5.22, or 5. */
void	sandbox(const char *);

/* A path below the sandbox; text is any string, formatted. */
const char *path(const char *, ...) __attribute__((format(printf, 1, 2)));
const char *text(const char *, ...) __attribute__((format(printf, 1, 2)));

/* Runs a line of shell in the sandbox; it must succeed. */
void	sh(const char *, ...) __attribute__((format(printf, 1, 2)));

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
 * The nine digits that make a key, request or certificate of the stand-in what
 * it is, and the fingerprint of a request.
 */
const char *id_of(const char *);
const char *fingerprint_of(const char *);

/* Signs the request of CM1 on the MoM. */
void	sign(void);

/* None of our names is beside the ssl of the node. */
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

/* Runs a function in a child, which exits with what it returns. */
const struct run *run_function(int (*)(void *), void *);

/* What a program that was started has printed by now. */
const char *printed(void);

/* Has the compile master's lock file name a process of that many seconds. */
#define RUNLOCK	"node/cache/state/agent_catalog_run.lock"
void	run_in_progress(const char *);

/* Types the commands of a runbook that -n has printed. */
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

/* Runs a suite; returns what main returns. */
int	suite_run(Suite *);

/* Assertions. */
#define assert_status(R, STATUS) do {					\
	const struct run *run_ = (R);					\
	ck_assert_msg(run_->status == (STATUS),				\
	    "status %d, not %d; stdout:\n%.2000s\nstderr:\n%.2000s",		\
	    run_->status, (STATUS), run_->out, run_->err);		\
} while (0)
#define assert_has(TEXT, WORDS) do {					\
	const char *text_ = (TEXT), *words_ = (WORDS);			\
	ck_assert_msg(strstr(text_, words_) != NULL,			\
	    "\"%s\" is not in:\n%.3000s", words_, text_);			\
} while (0)
#define assert_has_not(TEXT, WORDS) do {				\
	const char *text_ = (TEXT), *words_ = (WORDS);			\
	ck_assert_msg(strstr(text_, words_) == NULL,			\
	    "\"%s\" is in:\n%.3000s", words_, text_);			\
} while (0)
#define assert_same(NOW, BEFORE) do {					\
	const char *now_ = (NOW), *before_ = (BEFORE);			\
	ck_assert_msg(strcmp(now_, before_) == 0,			\
	    "before:\n%.6000s\nnow:\n%.6000s", before_, now_);			\
} while (0)

#endif
