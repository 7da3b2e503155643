/* Lock files: those of Puppet, which hold a process id, and our own. */
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

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct node n;
	static char dir[64], name[128];
	pid_t pid;
	int fd;

	if (dir[0] == '\0') {
		(void)snprintf(dir, sizeof dir, "/dev/shm/cmregen-fuzz.%d",
		    (int)getpid());
		(void)snprintf(name, sizeof name, "%s/" LOCK, dir);
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
	memset(&n, 0, sizeof n);
	n.at = open(dir, O_RDONLY | O_DIRECTORY);
	if (n.at == -1)
		abort();
	if (file_read(n.at, LOCK, text, sizeof text) != -1)
		records_take(&n);
	HOLDS((n.ran & ~n.known) == 0);
	(void)close(n.at);
	(void)unlink(name);
	(void)rmdir(dir);
	return 0;
}
