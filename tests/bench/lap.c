/*
 * lap: the stop-watch of bench/run.
 *
 *	lap make DIR DIRS FILES BYTES BIG
 *		builds a tree: so many directories, so many files of that size
 *		spread over them, and one file of BIG bytes at the top.
 *	lap run ROUNDS < PLAN
 *		runs each line of the plan in turn, so many rounds, and prints
 *		for each "NAME WALL CPU RSS": microseconds, and the peak of
 *		the resident set in KiB.
 *
 * A line of the plan is a name and commands, with a ";" as a word between
 * them; "%" in a word becomes the number of the round.  A command that begins
 * with "!" is not timed, "!syncfs DIR" is done here.  The time of a command
 * is from before the fork to after the wait.
 */
#define _GNU_SOURCE
#include <sys/types.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum {
	LINES = 64,
	WORDS = 64,
	WORD = 512,
	OWNER = 52,		/* Puppet's, as good as any */
	CHUNK = 1 << 16
};

struct sample {
	long wall, cpu, rss;
};

static void
make_file(int at, const char *name, long bytes, mode_t mode)
{
	static char text[CHUNK];
	struct timespec times[2];
	long i, n;
	int fd;

	if (text[0] == 0)
		for (i = 0; i < CHUNK; i++)
			text[i] = i % 65 == 64 ? '\n' : 'A' + i * 7 % 26;
	if ((fd = openat(at, name, O_WRONLY | O_CREAT | O_EXCL, mode)) == -1)
		err(2, "create %s", name);
	for (; bytes > 0; bytes -= n) {
		n = bytes < CHUNK ? bytes : CHUNK;
		if (write(fd, text, (size_t)n) != n)
			err(2, "write %s", name);
	}
	times[0].tv_sec = times[1].tv_sec = 1400000000;
	times[0].tv_nsec = times[1].tv_nsec = 123456789;
	if (fchown(fd, OWNER, OWNER) == -1 || futimens(fd, times) == -1 ||
	    close(fd) == -1)
		err(2, "finish %s", name);
}

static int
make_dir(int at, const char *name)
{
	int fd;

	if (mkdirat(at, name, 0755) == -1)
		err(2, "create %s", name);
	if ((fd = openat(at, name, O_RDONLY | O_DIRECTORY)) == -1 ||
	    fchown(fd, OWNER, OWNER) == -1)
		err(2, "open %s", name);
	return fd;
}

static void
make(char *argv[])
{
	long dirs, files, bytes, big, d, i;
	char name[64];
	int top, fd;

	dirs = atol(argv[1]);
	files = atol(argv[2]);
	bytes = atol(argv[3]);
	big = atol(argv[4]);
	(void)umask(0);
	top = make_dir(AT_FDCWD, argv[0]);
	for (d = 0; d < dirs; d++) {
		(void)snprintf(name, sizeof name, "directory%ld", d);
		fd = make_dir(top, name);
		for (i = d; i < files; i += dirs) {
			(void)snprintf(name, sizeof name,
			    "host%06ld.example.com.pem", i);
			make_file(fd, name, bytes, i % 2 == 0 ? 0644 : 0640);
		}
		(void)close(fd);
	}
	if (big > 0)
		make_file(top, "crl.pem", big, 0644);
	(void)close(top);
}

static long
microseconds(void)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000000L + now.tv_nsec / 1000;
}

static long
cpu(const struct rusage *r)
{
	return (r->ru_utime.tv_sec + r->ru_stime.tv_sec) * 1000000L +
	    r->ru_utime.tv_usec + r->ru_stime.tv_usec;
}

static void
command(char *argv[], struct sample *s)
{
	struct rusage r;
	long before;
	pid_t pid;
	int null, status;

	before = microseconds();
	if ((pid = fork()) == -1)
		err(2, "fork");
	if (pid == 0) {
		if ((null = open("/dev/null", O_WRONLY)) != -1)
			(void)dup2(null, STDOUT_FILENO);
		(void)execv(argv[0], argv);
		warn("%s", argv[0]);
		_exit(127);
	}
	while (wait4(pid, &status, 0, &r) == -1)
		if (errno != EINTR)
			err(2, "wait");
	s->wall += microseconds() - before;
	s->cpu += cpu(&r);
	if (r.ru_maxrss > s->rss)
		s->rss = r.ru_maxrss;
	if (status != 0)
		errx(2, "%s %s: status %#x", argv[0], argv[1], status);
}

static void
flush(const char *dir)
{
	int fd;

	if ((fd = open(dir, O_RDONLY)) == -1 || syncfs(fd) == -1)
		err(2, "syncfs %s", dir);
	(void)close(fd);
}

static void
step(char *argv[], struct sample *s)
{
	struct sample untimed;

	(void)memset(&untimed, 0, sizeof untimed);
	if (strcmp(argv[0], "!syncfs") == 0) {
		flush(argv[1]);
	} else if (argv[0][0] == '!') {
		argv[0]++;
		command(argv, &untimed);
	} else
		command(argv, s);
}

/* Copies a word, with the number in place of each %. */
static void
fill(char *to, const char *from, long number)
{
	size_t n;

	n = 0;
	for (; *from != 0 && n < WORD - 24; from++)
		if (*from == '%')
			n += (size_t)sprintf(to + n, "%ld", number);
		else
			to[n++] = *from;
	to[n] = 0;
}

static void
line(const char *text, long number)
{
	static char word[WORDS][WORD];
	char copy[8192], *argv[WORDS], *name, *p;
	struct sample s;
	int n;

	(void)memset(&s, 0, sizeof s);
	(void)snprintf(copy, sizeof copy, "%s", text);
	if ((name = strtok(copy, " ")) == NULL)
		return;
	n = 0;
	while ((p = strtok(NULL, " ")) != NULL) {
		if (strcmp(p, ";") != 0 && n < WORDS - 1) {
			fill(word[n], p, number);
			argv[n] = word[n];
			n++;
			continue;
		}
		argv[n] = NULL;
		step(argv, &s);
		n = 0;
	}
	argv[n] = NULL;
	if (n > 0)
		step(argv, &s);
	(void)printf("%s %ld %ld %ld\n", name, s.wall, s.cpu, s.rss);
}

static void
run(long rounds)
{
	static char plan[LINES][8192];
	long number;
	int i, n;

	for (n = 0; n < LINES; n++) {
		if (fgets(plan[n], sizeof plan[n], stdin) == NULL)
			break;
		plan[n][strcspn(plan[n], "\n")] = 0;
	}
	/* each round begins with another line, so that none is always first */
	for (number = 0; number < rounds; number++)
		for (i = 0; i < n; i++)
			line(plan[(i + number) % n], number);
}

int
main(int argc, char *argv[])
{
	if (argc == 7 && strcmp(argv[1], "make") == 0)
		make(argv + 2);
	else if (argc == 3 && strcmp(argv[1], "run") == 0)
		run(atol(argv[2]));
	else
		errx(2, "usage: lap make DIR DIRS FILES BYTES BIG | run ROUNDS");
	if (fflush(stdout) == EOF)
		err(2, "write");
	return 0;
}
