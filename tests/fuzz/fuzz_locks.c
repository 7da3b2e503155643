/* Lock files: those of Puppet, which hold a process id, and our journal. */
#include <sys/stat.h>

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

/* Nothing is asked of processes that are not ours. */
static int
no_kill(int pid, int sig)
{
	return pid > 0 && sig == 0 ? 0 : -1;
}
#define kill(pid, sig) no_kill(pid, sig)
#include "../../node.c"
#undef kill
#include "fuzz.h"

/* What is read of lines is in them. */
static void
journal_holds(const char *lines)
{
	static const char *const word[] = {
		"backup", "staged", "finish", "run", "restore", "back", "done"
	};
	const char *p;
	char *text;
	size_t i, n;

	n = strlen(lines);
	HOLDS(n == 0 || lines[n - 1] == '\n');
	text = text_of((const uint8_t *)lines, n);
	p = line_last(text);
	HOLDS(*p == '\0' || (p >= text && p < text + n));
	for (i = 0; i < sizeof word / sizeof word[0]; i++) {
		p = line_find(text, word[i]);
		HOLDS(p == NULL || (p >= text && p < text + n));
	}
	for (i = 0; i < 4; i++)
		HOLDS(state_of(text, i & 1, i >> 1 & 1) < STATES);
	free(text);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct options o;
	static struct node n;
	static char dir[64], name[128];
	pid_t pid;
	int at, fd;

	if (dir[0] == '\0') {
		(void)snprintf(dir, sizeof dir, "/dev/shm/cmregen-fuzz.%d",
		    (int)getpid());
		(void)snprintf(name, sizeof name, "%s/lock", dir);
	}
	if (mkdir(dir, 0700) == -1)
		abort();
	fd = open(name, O_WRONLY | O_CREAT | O_EXCL, 0600);
	/* the program's own write goes nowhere */
	if (fd == -1 || pwrite(fd, data, size, 0) != (ssize_t)size)
		abort();
	(void)close(fd);
	pid = lock_holder(name);
	HOLDS(pid >= 0);
	HOLDS(pid == 0 || (size > 0 && data[0] >= '0' && data[0] <= '9'));
	at = open(dir, O_RDONLY | O_DIRECTORY);
	if (at == -1)
		abort();
	n.o = &o;
	if (lock_ask(at, "lock", n.journal.text, sizeof n.journal.text) == 0) {
		journal_holds(n.journal.text);
		HOLDS(journal_set(&n) >> SERVICES == 0);
	}
	(void)close(at);
	(void)unlink(name);
	(void)rmdir(dir);
	return 0;
}
