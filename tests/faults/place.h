/*
 * place.h: a sandbox (tests/sandbox) that the program is run in, again and
 * again, and what stands in it afterwards.  For faults.c and walks.c.
 */
#ifndef PLACE_H
#define PLACE_H

#include "tracer.h"
#include "where.h"

enum {
	PLACE_PATH = 1024,
	PLACE_LIMIT = 25000,	/* milliseconds: longer is a hang */
	PLACE_ORPHANS = 20000,	/* what children left behind may take */
	PLACE_ID = 72		/* a digest as text */
};

/*
 * Messages and texts.  path() has a few buffers that it uses in turn; what
 * else returns text has it from malloc.
 */
void	die(const char *);
char	*path(const char *, ...);
long	now(void);
char	*join(char *, char *);
char	*without(const char *, const char *);
char	*slurp(const char *);
void	put(const char *, const char *);

/* Trees that nobody else works in: removed and copied as they are. */
void	tree_wipe(int, const char *);
void	tree_clone(int, const char *, int, const char *);

/*
 * A worker's place: a mount namespace with a /run and a /tmp of its own, so
 * that what is left there is seen; orphans of the program become the worker's
 * children.
 */
struct place {
	char dir[PLACE_PATH];	/* the sandbox */
	char out[PLACE_PATH];	/* what the program wrote */
	char err[PLACE_PATH];
};

void	place_enter(struct place *, const char *, int);

/* Fills it with a template; a journal in it then names this place. */
void	place_fill(const struct place *, const char *);
void	place_journal(const struct place *, const char *);

/*
 * Runs the program as `t' says, with these arguments; one that begins with @
 * has the sandbox in place of it.  Its outputs go to the files.
 */
void	place_run(const struct place *, const char *, const char *const *,
	    struct trace *);

/* Waits until all that was left running has ended, or ends it: at once, or
 * after a while. */
void	place_reap(const struct place *, int);

/* A new terminal: returns the master, or dies. */
int	terminal(int *);

/* What it said, without the indented lines, which are its children's. */
const char *
	gist(const char *);

#endif
