/*
 * where.h: the table of states, read anew: node.c has its own.
 */
#ifndef WHERE_H
#define WHERE_H

/*
 * Where a node command begins, by the harness's own reading of the journal and
 * of the two names, for the program to be held against.
 */
enum where {
	IDLE, STAGED, EXCHANGING, EXCHANGED, UNPROVEN, RESTORING, RESTORED,
	GOING_BACK, DONE, FOREIGN, WHERES
};

extern const char *const where_name[WHERES];

struct journal {
	int there;		/* a file of that name */
	int lines;		/* whole ones */
	int touched;		/* a `finish' or `restore' line is there */
	int restored;		/* a `restore' line is there */
	int back;		/* a `back' line is there */
	char last[32];		/* the first word of the last, but `backup' */
	char backup[1024];
	char services[256];	/* of the last line that names some */
};

/* The second argument gets what the journal says; NULL: nobody asks. */
enum where
	where_is(const char *, struct journal *);

#endif
