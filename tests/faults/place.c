/*
 * place.c: see place.h.
 */
#define _GNU_SOURCE
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "place.h"

static char *const env[] = {
	(char *)(size_t)"PATH=/usr/sbin:/usr/bin:/sbin:/bin", NULL
};

void
die(const char *what)
{
	perror(what);
	exit(2);
}

char *
path(const char *fmt, ...)
{
	static char buf[64][PLACE_PATH];
	static int i;
	va_list ap;

	i = (i + 1) % 64;
	va_start(ap, fmt);
	(void)vsnprintf(buf[i], PLACE_PATH, fmt, ap);
	va_end(ap);
	return buf[i];
}

long
now(void)
{
	struct timespec ts;

	(void)clock_gettime(CLOCK_MONOTONIC, &ts);
	return (long)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

char *
join(char *a, char *b)
{
	char *t;

	if ((t = malloc(strlen(a) + strlen(b) + 1)) == NULL)
		die("memory");
	(void)strcpy(t, a);
	(void)strcat(t, b);
	free(a);
	free(b);
	return t;
}

/* Takes out the lines that contain a text. */
char *
without(const char *text, const char *what)
{
	const char *e;
	char *t, *o;
	size_t n;

	if ((t = o = malloc(strlen(text) + 1)) == NULL)
		die("memory");
	for (; *text != '\0'; text = e) {
		e = strchr(text, '\n');
		e = e == NULL ? text + strlen(text) : e + 1;
		n = (size_t)(e - text);
		if (memmem(text, n, what, strlen(what)) == NULL) {
			(void)memcpy(o, text, n);
			o += n;
		}
	}
	*o = '\0';
	return t;
}

char *
slurp(const char *name)
{
	struct stat st;
	char *t;
	ssize_t n;
	int fd;

	if ((fd = open(name, O_RDONLY | O_CLOEXEC)) == -1)
		return strdup("");
	if (fstat(fd, &st) == -1 ||
	    (t = malloc((size_t)st.st_size + 1)) == NULL)
		die(name);
	n = read(fd, t, (size_t)st.st_size);
	t[n < 0 ? 0 : n] = '\0';
	(void)close(fd);
	return t;
}

void
put(const char *name, const char *text)
{
	FILE *f;

	if ((f = fopen(name, "we")) == NULL || fputs(text, f) == EOF ||
	    fclose(f) == EOF)
		die(name);
}

/*
 * Trees.
 */

void
tree_wipe(int at, const char *name)
{
	struct dirent *e;
	DIR *d;
	int fd;

	if (unlinkat(at, name, 0) == 0 || errno == ENOENT)
		return;
	(void)fchmodat(at, name, 0700, 0);
	fd = openat(at, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
	if (fd == -1 || (d = fdopendir(fd)) == NULL)
		return;
	while ((e = readdir(d)) != NULL)
		if (strcmp(e->d_name, ".") != 0 &&
		    strcmp(e->d_name, "..") != 0)
			tree_wipe(fd, e->d_name);
	(void)closedir(d);
	(void)unlinkat(at, name, AT_REMOVEDIR);
}

static void
copy_bytes(int s, int d)
{
	static char buf[65536];
	ssize_t n;

	while ((n = read(s, buf, sizeof(buf))) > 0)
		if (write(d, buf, (size_t)n) != n)
			die("copy");
	(void)close(s);
	if (close(d) == -1)
		die("copy");
}

static void
copy_names(int sat, const char *sname, int dat, const char *dname)
{
	struct dirent *e;
	DIR *d;
	int fd, to;

	if (mkdirat(dat, dname, 0700) == -1 && errno != EEXIST)
		die(dname);
	fd = openat(sat, sname, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	to = openat(dat, dname, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd == -1 || to == -1 || (d = fdopendir(fd)) == NULL)
		die(dname);
	while ((e = readdir(d)) != NULL)
		if (strcmp(e->d_name, ".") != 0 &&
		    strcmp(e->d_name, "..") != 0)
			tree_clone(fd, e->d_name, to, e->d_name);
	(void)closedir(d);
	(void)close(to);
}

void
tree_clone(int sat, const char *sname, int dat, const char *dname)
{
	char target[PLACE_PATH];
	struct timespec ts[2];
	struct stat st;
	ssize_t n;
	int fd, to;

	if (fstatat(sat, sname, &st, AT_SYMLINK_NOFOLLOW) == -1)
		die(sname);
	if (S_ISLNK(st.st_mode)) {
		n = readlinkat(sat, sname, target, sizeof(target) - 1);
		target[n < 0 ? 0 : n] = '\0';
		if (symlinkat(target, dat, dname) == -1)
			die(dname);
	} else if (S_ISREG(st.st_mode)) {
		fd = openat(sat, sname, O_RDONLY | O_CLOEXEC);
		to = openat(dat, dname, O_WRONLY | O_CREAT | O_EXCL |
		    O_CLOEXEC, 0600);
		if (fd == -1 || to == -1)
			die(dname);
		copy_bytes(fd, to);
	} else if (S_ISDIR(st.st_mode))
		copy_names(sat, sname, dat, dname);
	if (fchownat(dat, dname, st.st_uid, st.st_gid,
	    AT_SYMLINK_NOFOLLOW) == -1)
		die(dname);
	if (!S_ISLNK(st.st_mode) && fchmodat(dat, dname, st.st_mode & 07777,
	    0) == -1)
		die(dname);
	ts[0] = st.st_atim;
	ts[1] = st.st_mtim;
	(void)utimensat(dat, dname, ts, AT_SYMLINK_NOFOLLOW);
}

/*
 * Running.
 */

void
place_enter(struct place *p, const char *work, int i)
{
	if (unshare(CLONE_NEWNS) == -1 ||
	    mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) == -1 ||
	    mount("run", "/run", "tmpfs", 0, "mode=755,size=16m") == -1 ||
	    mount("tmp", "/tmp", "tmpfs", 0, "mode=1777,size=16m") == -1)
		die("a mount namespace");
	(void)prctl(PR_SET_CHILD_SUBREAPER, 1);
	(void)strcpy(p->dir, path("%s/w%d/sb", work, i));
	(void)strcpy(p->out, path("%s/w%d/out", work, i));
	(void)strcpy(p->err, path("%s/w%d/err", work, i));
	(void)mkdir(path("%s/w%d", work, i), 0755);
}

/* Puts one text in the place of another, wherever it is in a file. */
static void
file_change(const char *name, const char *from, const char *to)
{
	char *text, *at, *p;
	FILE *f;

	text = slurp(name);
	if ((f = fopen(name, "r+e")) == NULL || ftruncate(fileno(f), 0) == -1)
		die(name);
	for (p = text; (at = strstr(p, from)) != NULL; p = at + strlen(from))
		(void)fprintf(f, "%.*s%s", (int)(at - p), p, to);
	(void)fputs(p, f);
	if (fclose(f) == EOF)
		die(name);
	free(text);
}

void
place_journal(const struct place *p, const char *template)
{
	const char *journal;

	journal = path("%s/node/puppet/ssl.cmregen/journal", p->dir);
	if (access(journal, F_OK) == 0)
		file_change(journal, template, p->dir);
}

void
place_fill(const struct place *p, const char *template)
{
	tree_clone(AT_FDCWD, template, AT_FDCWD, p->dir);
	place_journal(p, template);
}

static void
kill_left(const struct place *p)
{
	FILE *f;
	int pid;

	if ((f = fopen(path("%s/node/background", p->dir), "re")) == NULL)
		return;
	while (fscanf(f, "%d", &pid) == 1)
		if (pid > 1)
			(void)kill(pid, SIGKILL);
	(void)fclose(f);
}

/* Our own descendants, all of them. */
static void
kill_children(void)
{
	char text[4096], *p;
	FILE *f;

	f = fopen(path("/proc/self/task/%d/children", (int)getpid()), "re");
	if (f == NULL)
		return;
	if (fgets(text, sizeof(text), f) != NULL)
		for (p = strtok(text, " \n"); p != NULL;
		    p = strtok(NULL, " \n"))
			(void)kill((pid_t)strtol(p, NULL, 10), SIGKILL);
	(void)fclose(f);
}

void
place_reap(const struct place *p, int wait)
{
	long until;
	pid_t pid;

	/* what the stand-in left running on purpose */
	kill_left(p);
	until = now() + (wait ? PLACE_ORPHANS : 0);
	for (;;) {
		pid = waitpid(-1, NULL, WNOHANG);
		if (pid == -1 && errno == ECHILD)
			return;
		if (pid != 0)
			continue;
		if (now() < until) {
			(void)usleep(300);
			continue;
		}
		kill_children();
		(void)usleep(wait ? 10000 : 300);
	}
}

int
terminal(int *slave)
{
	char name[64];
	int master, n, unlock;

	unlock = 0;
	master = open("/dev/ptmx", O_RDWR | O_NOCTTY | O_CLOEXEC);
	if (master == -1 ||
	    ioctl(master, TIOCSPTLCK, &unlock) == -1 ||
	    ioctl(master, TIOCGPTN, &n) == -1)
		die("/dev/ptmx");
	(void)snprintf(name, sizeof(name), "/dev/pts/%d", n);
	if ((*slave = open(name, O_RDWR | O_NOCTTY | O_CLOEXEC)) == -1)
		die(name);
	return master;
}

static int
output(const char *name)
{
	int fd;

	fd = open(name, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC,
	    0600);
	if (fd == -1)
		die(name);
	return fd;
}

void
place_run(const struct place *p, const char *program, const char *const *args,
    struct trace *t)
{
	char arg[16][PLACE_PATH];
	char *argv[17];
	const char *a;
	int n;

	argv[0] = strcpy(arg[0], program);
	for (n = 1; (a = args[n - 1]) != NULL && n < 16; n++) {
		argv[n] = arg[n];
		(void)snprintf(arg[n], PLACE_PATH, "%s%s", a[0] == '@' ?
		    p->dir : "", a[0] == '@' ? a + 1 : a);
	}
	argv[n] = NULL;
	t->argv = argv;
	t->envp = env;
	t->out = output(p->out);
	t->err = output(p->err);
	if (t->limit == 0)
		t->limit = PLACE_LIMIT;
	if (trace_run(t) == -1)
		die("trace");
	(void)close(t->out);
	(void)close(t->err);
}

const char *
gist(const char *text)
{
	static char buf[2048];
	size_t len, n;

	for (len = 0; *text != '\0'; text += n) {
		n = strcspn(text, "\n");
		n += text[n] == '\n';
		if (strncmp(text, "    ", 4) == 0 || n > sizeof(buf) - 1 - len)
			continue;
		(void)memcpy(buf + len, text, n);
		len += n;
	}
	buf[len] = '\0';
	return buf;
}
