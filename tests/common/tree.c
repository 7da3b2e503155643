/*
 * tree: an entry to the tree functions of cmregen, for measuring and for
 * trying them out.
 *
 *	tree copy SRC DST	tree_copy
 *	tree compare A B	tree_compare; prints the difference
 *	tree seal NAME UID	tree_seal
 *	tree remove NAME	tree_remove
 *	tree move SRC DST	all of it: a copy under a part name, renamed;
 *				SRC renamed and removed, for good
 *
 * Paths are absolute.  Exit status: 0; 1 on an error, or where the trees of
 * compare differ; 2 for an error of compare, and for usage.
 */
#include <sys/types.h>
#include <sys/stat.h>

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../../cmregen.h"

struct place {
	int at;
	char name[NAME_SIZE];
};

static int
usage(void)
{
	(void)fprintf(stderr,
	    "usage: tree copy|compare|move SRC DST\n"
	    "       tree remove NAME\n"
	    "       tree seal NAME UID\n");
	return 2;
}

static int
add(char *buf, const char *name, const char *suffix)
{
	if (strlen(name) + strlen(suffix) >= NAME_SIZE)
		return complainx("%s: name too long", name);
	(void)strcpy(buf, name);
	(void)strcat(buf, suffix);
	return 0;
}

static int
move(const struct place *s, const struct place *d)
{
	char part[NAME_SIZE], gone[NAME_SIZE];

	if (add(part, d->name, ".cmregen-part") == -1 ||
	    add(gone, s->name, ".cmregen-gone") == -1)
		return -1;
	if (tree_copy(s->at, s->name, d->at, part, NULL) == -1 ||
	    name_move(d->at, part, d->at, d->name) == -1 ||
	    name_move(s->at, s->name, s->at, gone) == -1)
		return -1;
	return tree_remove(s->at, gone);
}

static int
place_open(struct place *p, const char *path)
{
	const char *name;

	name = strrchr(path, '/');
	if (name == NULL || name[1] == '\0' || format(p->name, sizeof p->name,
	    "%s", name + 1) == -1)
		return complainx("%s: an absolute path, and not too long",
		    path);
	p->at = path_above(-1, path);
	return p->at == -1 ? complain("open the directory of %s", path) : 0;
}

static int
compare(const struct place *a, const struct place *b)
{
	char difference[DIFFERENCE_SIZE];
	int rc;

	rc = tree_compare(a->at, a->name, b->at, b->name, NULL, difference);
	if (rc == 1)
		(void)printf("%s\n", difference);
	return rc == -1 ? 2 : rc;
}

int
main(int argc, char *argv[])
{
	struct place a, b;
	const char *verb;

	(void)umask(0);
	if (argc < 3 || argc > 4)
		return usage();
	verb = argv[1];
	if (place_open(&a, argv[2]) == -1)
		return 2;
	if (argc == 3)
		return strcmp(verb, "remove") == 0 ?
		    tree_remove(a.at, a.name) == -1 : usage();
	if (strcmp(verb, "seal") == 0)
		return tree_seal(a.at, a.name, (uid_t)strtoul(argv[3], NULL,
		    10)) == -1;
	if (place_open(&b, argv[3]) == -1)
		return 2;
	if (strcmp(verb, "copy") == 0)
		return tree_copy(a.at, a.name, b.at, b.name, NULL) == -1;
	if (strcmp(verb, "compare") == 0)
		return compare(&a, &b);
	if (strcmp(verb, "move") == 0)
		return move(&a, &b) == -1;
	return usage();
}
