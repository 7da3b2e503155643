/*
 * view.h: what stands in a sandbox at one moment, for the walks.
 */
#ifndef VIEW_H
#define VIEW_H

#include "place.h"

enum { SERVICES = 5 };

extern const char *const service_name[SERVICES];

enum tree { SSL, NEXT, OLD, BAK, BAK_GONE, TREES };

struct view {
	enum where where;
	struct journal journal;
	char backup[PLACE_PATH];	/* where it is, or shall be */
	char usual[PLACE_PATH];	/* where it is without -b */
	int lost;		/* it is not there */
	char *tree[TREES];	/* digests; "absent\n" */
	char key[TREES][PLACE_ID];	/* public keys; empty where none */
	char certificate[TREES][PLACE_ID];
	char request[PLACE_ID];	/* of next */
	char fingerprint[PLACE_ID];	/* of that, in hex */
	char *all;		/* ssl's directory, the stick, all of it */
	char *services;
	int runs, enabled;	/* a bit for each of service_name */
	char *catalogs;		/* but that of the node */
	int has_catalog;
	char ca_request[PLACE_ID], ca_certificate[PLACE_ID];
	int revoked;
	int work_mode, journal_mode;	/* with the type; 0: not root's */
};

/*
 * The backup is at the third argument, which is what -b says; where that is
 * NULL, where the journal says, or else beside ssl.
 */
void	view_take(struct view *, const struct place *, const char *);
void	view_free(struct view *);

int	view_has(const struct view *, enum tree);
int	view_same(const struct view *, enum tree, const struct view *,
	    enum tree);

/*
 * What must hold at every moment, whoever was killed when: what was in ssl
 * when the exchange began (the second argument), and the backup (the third;
 * each NULL where there is none to lose) stand complete in a place that
 * node.c names; next has a key where it is called staged; the state is one
 * of the table; modes are closed.  Returns what does not, or NULL.
 */
const char *
	view_broken(const struct view *, const char *, const char *);

/* The first line in which two texts differ, in words. */
const char *
	difference(const char *, const char *);

/* Whether the tree holds a key and a certificate of that key. */
int	view_pair(const struct view *, enum tree);

/*
 * The public key of the key, certificate or request in a file, as a digest:
 * by openssl, which is asked once for each content; or the fingerprint of a
 * request.  Empty where there is no such file, or it cannot be read.
 */
void	public_key(const char *, const char *, char [PLACE_ID]);

#endif
