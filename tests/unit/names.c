/*
 * names.c: prints what the program reads in PEM files, for the script names.
 *
 *	names KIND FILE		what stands in it, a word and a value a line
 *	names pair KEY KIND FILE	yes, no, or ? where that cannot be told
 *
 * KIND is certificate, request or key.
 */
#include <stdio.h>
#include <string.h>

#include "../../cmregen.h"

static const char *const word[] = { "certificate", "request", "key" };

static int
load(struct pem *p, const char *kind, const char *file)
{
	static char text[TEXT_SIZE];
	FILE *fp;
	int k;

	for (k = 0; k < 3 && strcmp(kind, word[k]) != 0; k++)
		;
	fp = fopen(file, "r");
	if (fp != NULL)
		text[fread(text, 1, sizeof(text) - 1, fp)] = '\0';
	if (k == 3 || fp == NULL || fclose(fp) != 0 ||
	    pem_read(p, text, (enum pem_kind)k) == -1) {
		(void)fprintf(stderr, "names: no %s in %s\n", kind, file);
		return -1;
	}
	return 0;
}

/* Each line of a list behind that word. */
static void
show(const char *what, const char *list)
{
	size_t n;

	for (; *list != '\0'; list += n + 1) {
		n = strcspn(list, "\n");
		(void)printf("%s %.*s\n", what, (int)n, list);
	}
}

int
main(int argc, char *argv[])
{
	static struct pem p, key;
	size_t i;

	if (argc == 5 && strcmp(argv[1], "pair") == 0) {
		if (load(&key, "key", argv[2]) == -1 ||
		    load(&p, argv[3], argv[4]) == -1)
			return 1;
		(void)puts(pem_pair(&key, &p) == 1 ? "yes" :
		    pem_pair(&key, &p) == 0 ? "no" : "?");
		return 0;
	}
	if (argc != 3 || load(&p, argv[1], argv[2]) == -1)
		return 1;
	(void)printf("fingerprint %s\nserial %s\nend %s\nodd %d\nkey ",
	    p.fingerprint, p.serial, p.end, p.odd);
	for (i = 0; i < p.key_size; i++)
		(void)printf("%02X", p.key[i]);
	(void)printf("\n");
	show("name", p.names);
	show("extension", p.extensions);
	return 0;
}
