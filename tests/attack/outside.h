/*
 * outside.h: what a hostile owner wants root to touch, below `outside' in the
 * working directory: directories and files of root's that nobody else can
 * open, with the mark in each file.
 */
#ifndef OUTSIDE_H
#define OUTSIDE_H

#include <sys/stat.h>

#define MARK "ROOT-ONLY-CONTENT"

enum {
	READ, WRITTEN, OWNED, REMOVED, HUNG, LEFT, CRASHED, REACHED, PLANTED,
	FALLS
};

extern const char *const fall_name[FALLS];

/* Small things; they end the program where they cannot be done. */
void	put_file(const char *, const char *, mode_t);
void	put_dir(const char *, mode_t);
void	wipe(const char *);

/* Makes it anew. */
void	outside_build(void);

/*
 * Adds to the falls what has been done to it since; it is made anew then.  The
 * file system must keep access times strictly.
 */
void	outside_judge(int *);

/* The same for one name, by what stat said before and says now. */
void	outside_age(int, const char *);
void	outside_stat(const struct stat *, const struct stat *, int *);

#endif
