/*
 * oracle.h: what a node command should do, in each state, and what must hold
 * whatever it does.  For walks.c and cells.c.
 */
#ifndef ORACLE_H
#define ORACLE_H

#include "view.h"

enum command { PREPARE, FINISH, RESTORE, COMMANDS };

extern const char *const command_name[COMMANDS];

/* What becomes of each command in each state. */
enum does { REFUSES, GOES_ON, ENDS };

extern const enum does table[WHERES][COMMANDS];

struct order {
	enum command command;
	int accept;		/* -a */
	char backup[PLACE_PATH];	/* -b */
	const char *argv[16];
};

/* The last arguments: -b or NULL, and whether -a. */
void	order_make(struct order *, enum command, const char *, int);
void	order_tell(const struct order *, const char *);

/* What is known of what stood before; and whether anything fell. */
extern struct memory {
	const struct place *place;
	int version;		/* of puppet */
	int verbose;
	char *original;		/* ssl as it was when the exchange began */
	char *kept;		/* the backup as it should be; NULL: absent */
	char backup[PLACE_PATH];	/* where that is */
	char printed[PLACE_ID];	/* the key whose fingerprint was printed */
	int fell;
} memory;

void	memory_clear(void);

/* The story, which memory_clear begins anew. */
void	tell(const char *, ...);
void	fall(const char *, ...);
const char *
	story(void);

/* Replaces a text by a copy of another, or NULL. */
void	replace(char **, const char *);
int	is(const char *, const char *);

int	under_way(enum where);

/* The state as a command finds it when it has cleared what is done. */
enum where
	begins(const struct view *);

/* Whether the backup is one that prepare and finish take, or make anew. */
int	backup_fits(const struct view *);

/* Whether old should become the backup, whose place is on another disk. */
int	stuck(const struct view *);

/* The exit status of a command that nobody disturbs. */
int	expect(const struct view *, const struct order *);

/* Looks at the invariants, and takes down what they are of from here on. */
void	point(const struct view *);

/*
 * Judges a command that was run (its outputs are where the place has them), by
 * what stood before and after.  SPEECHLESS: it could not tell what it did.
 */
enum care { UNDISTURBED, DISTURBED, SPEECHLESS };

void	judge(const struct order *, enum care, const struct trace *,
	    const struct view *, const struct view *);

#endif
