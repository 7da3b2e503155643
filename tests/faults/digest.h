/*
 * digest.h: what a tree looks like, as text that can be compared.
 */
#ifndef DIGEST_H
#define DIGEST_H

enum {
	DIGEST_LOCK = 1,	/* also ssl.lock at the top */
	DIGEST_SHAPE = 2	/* not the bytes of files */
};

/*
 * One line for each name at and below a path: type, mode, owner, group, a sum
 * of its bytes or its link target.  "absent\n" where there is nothing.  The
 * text is the caller's to free.  Never fails: what cannot be read is a line
 * that says so.
 */
char	*digest(const char *, int);

#endif
