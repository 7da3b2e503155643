/*
 * tree: an entry to the tree functions of cmregen, for measuring and for
 * trying them out.
 *
 *	tree copy SRC DST	tree_copy
 *	tree verify SRC DST	tree_copy, tree_verify
 *	tree settle SRC DST	tree_copy, tree_settle, fsync of the parent
 *	tree compare A B	tree_compare; prints the difference
 *	tree remove NAME	tree_remove
 *	tree move SRC DST	all of it: a copy under a part name, settled,
 *				renamed; SRC renamed and removed, for good
 *
 * Paths are absolute.  Exit status: 0; 1 on an error, or where the trees of
 * compare differ; 2 for an error of compare, and for usage.
 */
#include <sys/types.h>
#include <sys/stat.h>

#include <fcntl.h>
#include <stdio.h>
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
	    "usage: tree copy|verify|settle|compare|move SRC DST\n"
	    "       tree remove NAME\n");
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
settle(const struct place *s, const struct place *d)
{
	if (tree_copy(s->at, s->name, d->at, d->name, NULL) == -1 ||
	    tree_settle(s->at, s->name, d->at, d->name, NULL) == -1)
		return -1;
	if (fsync(d->at) == -1)
		return complain("fsync the directory of %s", d->name);
	return 0;
}

/*
 * The last fsync is not needed for safety, what has a -del name is removable
 * at any time; it is here because the pair of rm -rf and sync has it too.
 */
static int
move(const struct place *s, const struct place *d)
{
	char part[NAME_SIZE], del[NAME_SIZE];

	if (add(part, d->name, ".cmregen-part") == -1 ||
	    add(del, s->name, ".cmregen-del") == -1)
		return -1;
	if (tree_copy(s->at, s->name, d->at, part, NULL) == -1 ||
	    tree_settle(s->at, s->name, d->at, part, NULL) == -1 ||
	    name_move(d->at, part, d->at, d->name) == -1 ||
	    name_move(s->at, s->name, s->at, del) == -1 ||
	    tree_remove(s->at, del) == -1)
		return -1;
	if (fsync(s->at) == -1)
		return complain("fsync the directory of %s", s->name);
	return 0;
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
	if ((a.at = path_open(argv[2], a.name)) == -1)
		return 2;
	if (argc == 3 && strcmp(verb, "remove") == 0)
		return tree_remove(a.at, a.name) == -1;
	if (argc == 3)
		return usage();
	if ((b.at = path_open(argv[3], b.name)) == -1)
		return 2;
	if (strcmp(verb, "copy") == 0)
		return tree_copy(a.at, a.name, b.at, b.name, NULL) == -1;
	if (strcmp(verb, "verify") == 0)
		return tree_copy(a.at, a.name, b.at, b.name, NULL) == -1 ||
		    tree_verify(a.at, a.name, b.at, b.name, NULL) == -1;
	if (strcmp(verb, "settle") == 0)
		return settle(&a, &b) == -1;
	if (strcmp(verb, "compare") == 0)
		return compare(&a, &b);
	if (strcmp(verb, "move") == 0)
		return move(&a, &b) == -1;
	return usage();
}
