/*
 * where.c: see where.h.
 */
#define _GNU_SOURCE
#include <sys/stat.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "where.h"

const char *const where_name[WHERES] = {
	"idle", "staged", "exchanging", "exchanged", "unproven", "restoring",
	"restored", "going back", "done", "FOREIGN"
};

static void
journal_line(struct journal *j, const char *line)
{
	const char *rest;
	size_t n;

	j->lines++;
	n = strcspn(line, " ");
	rest = line[n] == ' ' ? line + n + 1 : "";
	if (strncmp(line, "backup ", 7) == 0) {
		(void)snprintf(j->backup, sizeof(j->backup), "%s", rest);
		return;
	}
	(void)snprintf(j->last, sizeof(j->last), "%.*s", n == 0 ? 1 : (int)n,
	    n == 0 ? "?" : line);
	j->restored |= strcmp(j->last, "restore") == 0;
	j->back |= strcmp(j->last, "back") == 0;
	if (strcmp(j->last, "finish") == 0 ||
	    strcmp(j->last, "restore") == 0)
		j->touched = 1;
	if (rest[0] != '\0')
		(void)snprintf(j->services, sizeof(j->services), "%s", rest);
}

static void
journal_read(const char *name, struct journal *j)
{
	char *line;
	FILE *f;
	size_t size;
	ssize_t n;

	(void)memset(j, 0, sizeof(*j));
	if ((f = fopen(name, "re")) == NULL)
		return;
	j->there = 1;
	line = NULL;
	size = 0;
	while ((n = getline(&line, &size, f)) > 0 && line[n - 1] == '\n') {
		line[n - 1] = '\0';
		journal_line(j, line);
	}
	free(line);
	(void)fclose(f);
}

/* Whether there is something below the directory; NAME has a slash first. */
static int
there(const char *beside, const char *name)
{
	char path[4096];
	struct stat st;

	(void)snprintf(path, sizeof(path), "%s/ssl.cmregen%s", beside, name);
	return lstat(path, &st) == 0;
}

enum where
where_is(const char *beside, struct journal *journal)
{
	char path[4096];
	struct journal j;
	int next, old;

	(void)snprintf(path, sizeof(path), "%s/ssl.cmregen/journal", beside);
	journal_read(path, &j);
	if (journal != NULL)
		*journal = j;
	next = there(beside, "/next");
	old = there(beside, "/old");
	if (j.last[0] == '\0')
		return old ? FOREIGN : IDLE;
	if (strcmp(j.last, "staged") == 0)
		return next && !old ? STAGED : FOREIGN;
	if (strcmp(j.last, "finish") == 0)
		return next ? EXCHANGING : EXCHANGED;
	if (strcmp(j.last, "run") == 0)
		return UNPROVEN;
	if (strcmp(j.last, "restore") == 0)
		return next ? RESTORING : RESTORED;
	if (strcmp(j.last, "back") == 0)
		return GOING_BACK;
	return strcmp(j.last, "done") == 0 ? DONE : FOREIGN;
}
