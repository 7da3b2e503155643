/*
 * cmregen.c: the program.  Messages, signals and time, processes, files and
 * locks, fingerprints, Puppet's settings, the command line, and trees.  What
 * is done on either host stands in mom.c and node.c.
 */
#include <sys/select.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "cmregen.h"

#define VERSION "1.0"
#define PUPPET "/opt/puppetlabs/bin/puppet"

enum {
	MESSAGE_SIZE = 16384,	/* one message; a longer one is cut */
	COLUMNS = 79,		/* of the line of busy */
	TAIL_SIZE = 4096,	/* shown of a failed child's output */
	GRACE = 10,		/* seconds from SIGTERM to SIGKILL */
	FD_MAX = 4096,		/* descriptors below it are not inherited */
	WAIT_MAX = 604800,	/* seconds that -w takes: a week */
	BUF_SIZE = 262144,	/* for the bytes of files */
	SYNC_FILES = 64,	/* from so many files on, one sync pays */
	NAMES = 16384,		/* of directories that are being walked */
	LETTERS = 24 * NAMES,	/* of these names */
	AGAIN = 100		/* tries against a hostile owner */
};

extern char **environ;

static volatile sig_atomic_t stop;	/* a signal asked us to stop */
static int held;			/* an undo is running */
static int lost;			/* say could not write */

static struct {
	char text[512];
	long since, shown;
	int on, drawn;
} work;

static char buf[BUF_SIZE];

/*
 * Messages.
 */

static int
write_all(int fd, const char *p, size_t n)
{
	ssize_t w;

	while (n > 0) {
		w = write(fd, p, n);
		if (w == -1 && errno == EINTR)
			continue;
		if (w == -1)
			return -1;
		p += w;
		n -= (size_t)w;
	}
	return 0;
}

/*
 * printf alone would be a quarter of the program.  A conversion that is not in
 * the list below is a mistake of ours, and shows as what it is.
 */
static int
vformat(char *out, size_t size, const char *fmt, va_list ap)
{
	char number[12], *const end = number + sizeof number - 1;
	const char *p;
	char *q;
	unsigned int u;
	size_t n;
	int i;

	*end = '\0';
	for (n = 0; *fmt != '\0'; fmt++) {
		q = end;
		if (fmt[0] == '%' && fmt[1] == 's') {
			p = va_arg(ap, const char *);
			fmt++;
		} else if (fmt[0] == '%' && fmt[1] == 'd') {
			i = va_arg(ap, int);
			u = i < 0 ? 0 - (unsigned int)i : (unsigned int)i;
			do
				*--q = (char)('0' + u % 10);
			while ((u /= 10) > 0);
			if (i < 0)
				*--q = '-';
			p = q;
			fmt++;
		} else {
			*--q = *fmt;
			p = q;
		}
		for (; *p != '\0'; p++)
			if (n + 1 < size)
				out[n++] = *p;
			else {
				out[n] = '\0';
				return -1;
			}
	}
	out[n] = '\0';
	return 0;
}

int
format(char *out, size_t size, const char *fmt, ...)
{
	va_list ap;
	int rc;

	va_start(ap, fmt);
	rc = vformat(out, size, fmt, ap);
	va_end(ap);
	return rc;
}

/*
 * What a child printed, or a name in a hostile tree, must not control the
 * terminal.  Bytes above 127 are letters in UTF-8 and stay.
 */
static void
harmless(char *p, size_t n)
{
	for (; n > 0; n--, p++)
		if (((unsigned char)*p < ' ' && *p != '\n' && *p != '\t') ||
		    *p == 127)
			*p = '?';
}

/* What is too long is cut, but not the time. */
static void
line_draw(void)
{
	char line[COLUMNS + 2], took[24];
	size_t n;

	(void)format(took, sizeof took, " (%d s)", (int)work.shown);
	line[0] = '\r';
	(void)format(line + 1, COLUMNS - strlen(took), "cmregen: %s",
	    work.text);
	n = strlen(line);
	(void)format(line + n, sizeof line - n, "%s", took);
	n = strlen(line);
	memset(line + n, ' ', sizeof line - n);
	harmless(line + 1, COLUMNS);
	(void)write_all(STDERR_FILENO, line, COLUMNS + 1);
	work.drawn = 1;
}

static void
line_erase(void)
{
	char line[COLUMNS + 2];

	if (!work.drawn)
		return;
	memset(line, ' ', sizeof line);
	line[0] = line[COLUMNS + 1] = '\r';
	(void)write_all(STDERR_FILENO, line, sizeof line);
	work.drawn = 0;
}

/*
 * One write a message, so that those of two processes do not mix.  An error of
 * 0 adds no reason.
 */
static int
emit(int fd, int error, const char *fmt, va_list ap)
{
	static char text[MESSAGE_SIZE];
	size_t n, end;
	int rc, before;

	before = errno;
	line_erase();
	end = sizeof text - 1;
	(void)format(text, end, "%s", fd == STDERR_FILENO ? "cmregen: " : "");
	n = strlen(text);
	(void)vformat(text + n, end - n, fmt, ap);
	n = strlen(text);
	if (error != 0)
		(void)format(text + n, end - n, ": %s", strerror(error));
	n = strlen(text);
	harmless(text, n);
	text[n++] = '\n';
	rc = write_all(fd, text, n);
	errno = before;
	return rc;
}

int
complain(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	(void)emit(STDERR_FILENO, errno, fmt, ap);
	va_end(ap);
	return -1;
}

int
complainx(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	(void)emit(STDERR_FILENO, 0, fmt, ap);
	va_end(ap);
	return -1;
}

void
note(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	(void)emit(STDERR_FILENO, 0, fmt, ap);
	va_end(ap);
}

void
say(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	if (emit(STDOUT_FILENO, 0, fmt, ap) == -1)
		lost = 1;
	va_end(ap);
}

long
seconds(void)
{
	struct timespec ts;

	if (clock_gettime(CLOCK_MONOTONIC, &ts) == -1)
		return 0;
	return (long)ts.tv_sec;
}

void
quiet(void)
{
	line_erase();
	work.on = 0;
}

void
busy(const char *fmt, ...)
{
	char text[sizeof work.text];
	va_list ap;

	va_start(ap, fmt);
	(void)vformat(text, sizeof text, fmt, ap);
	va_end(ap);
	if (work.on && strcmp(text, work.text) == 0)
		return;
	memcpy(work.text, text, sizeof text);
	work.since = seconds();
	work.shown = 0;
	work.on = 1;
	if (isatty(STDERR_FILENO) == 1)
		line_draw();
	else
		note("%s", text);
}

const char *
quote(char *out, size_t size, const char *s)
{
	static const char plain[] = "abcdefghijklmnopqrstuvwxyz"
	    "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789@%+=:,./_-";
	size_t n;

	if (s[0] != '\0' && s[strspn(s, plain)] == '\0') {
		(void)format(out, size, "%s", s);
		return out;
	}
	n = 0;
	out[n++] = '\'';
	for (; *s != '\0' && n + 6 <= size; s++)
		if (*s == '\'') {
			memcpy(out + n, "'\\''", 4);
			n += 4;
		} else
			out[n++] = *s;
	out[n++] = '\'';
	out[n] = '\0';
	return out;
}

void
say_next(const struct options *o, const char *host, const char *command,
    const char *rest)
{
	char b[4 * PATH_SIZE + 3], p[4 * PATH_SIZE + 3];
	int backup, puppet;

	backup = o->backup != NULL && command[0] == 'n';
	puppet = strcmp(o->puppet, PUPPET) != 0;
	say("next, on %s:", host);
	say("    cmregen %s%s%s%s%s%s", command, backup ? " -b " : "",
	    backup ? quote(b, sizeof b, o->backup) : "", puppet ? " -p " : "",
	    puppet ? quote(p, sizeof p, o->puppet) : "", rest);
}

/*
 * Signals and time.
 */

static void
catch(int sig)
{
	if (sig != SIGCHLD)
		stop = 1;
}

int
interrupted(void)
{
	return stop && !held;
}

void
hold(void)
{
	held = 1;
}

/*
 * SIGCHLD is blocked but in here, so that no child can end unseen between a
 * look at it and the sleep.
 */
void
nap(long ms)
{
	struct timespec ts;
	sigset_t none;
	long now;

	now = seconds();
	if (work.on && now - work.since != work.shown) {
		work.shown = now - work.since;
		if (isatty(STDERR_FILENO) == 1)
			line_draw();
	}
	ts.tv_sec = ms / 1000;
	ts.tv_nsec = ms % 1000 * 1000000;
	(void)sigemptyset(&none);
	/* it may be cut short: by a signal it should be, else nobody minds */
	(void)pselect(0, NULL, NULL, NULL, &ts, &none);
}

static int
signals_set(void)
{
	static const int caught[] = { SIGINT, SIGTERM, SIGHUP, SIGCHLD };
	struct sigaction sa, before;
	sigset_t set;
	size_t i;

	memset(&sa, 0, sizeof sa);
	(void)sigemptyset(&sa.sa_mask);
	sa.sa_flags = SA_RESTART;
	sa.sa_handler = SIG_IGN;
	if (sigaction(SIGPIPE, &sa, NULL) == -1)
		return complain("ignore SIGPIPE");
	sa.sa_handler = catch;
	for (i = 0; i < sizeof caught / sizeof caught[0]; i++) {
		if (sigaction(caught[i], NULL, &before) == -1)
			return complain("look at signal %d", caught[i]);
		/* nohup asks that we go on */
		if (caught[i] == SIGHUP && before.sa_handler == SIG_IGN)
			continue;
		if (sigaction(caught[i], &sa, NULL) == -1)
			return complain("catch signal %d", caught[i]);
	}
	/* a parent may have left us with anything blocked */
	(void)sigemptyset(&set);
	(void)sigaddset(&set, SIGCHLD);
	if (sigprocmask(SIG_SETMASK, &set, NULL) == -1)
		return complain("set the signal mask");
	return 0;
}

/*
 * Processes.
 */

/*
 * Two of us may use the same name at once: it stands only from the creation
 * to the unlink, whose file it was does not matter then.  A name with no
 * random part is one that the next run removes when a crash has left it.
 */
static int
output_open(void)
{
	static const char *const name[] = {
		"/run/cmregen-output", "/tmp/cmregen-output",
		"/var/tmp/cmregen-output"
	};
	size_t i;
	int fd, tries;

	fd = -1;
	for (i = 0; i < sizeof name / sizeof name[0] && fd == -1; i++)
		for (tries = 0; tries < AGAIN; tries++) {
			fd = open(name[i], O_RDWR | O_CREAT | O_EXCL |
			    O_APPEND | O_NOFOLLOW | O_CLOEXEC, 0600);
			if (fd != -1 || (errno != EEXIST && errno != EINTR))
				break;
			if (errno == EEXIST)
				(void)unlink(name[i]);	/* open tells */
		}
	if (fd == -1)
		return complain("create a file for a program's output "
		    "(/run, /tmp and /var/tmp were tried)");
	if (unlink(name[i - 1]) == -1 && errno != ENOENT) {
		(void)complain("remove %s", name[i - 1]);
		(void)close(fd);	/* nothing was written to it */
		return -1;
	}
	return fd;
}

/* In the child: what POSIX calls async-signal-safe, and nothing else. */
static int
child_exec(int out, const char *const argv[], char *const env[])
{
	static const int reset[] = {
		SIGHUP, SIGINT, SIGQUIT, SIGPIPE, SIGALRM, SIGTERM, SIGUSR1,
		SIGUSR2, SIGCHLD, SIGTSTP, SIGTTIN
	};
	struct sigaction sa;
	sigset_t none;
	size_t i;
	int in;

	memset(&sa, 0, sizeof sa);
	sa.sa_handler = SIG_DFL;
	for (i = 0; i < sizeof reset / sizeof reset[0]; i++)
		(void)sigaction(reset[i], &sa, NULL);	/* valid signals */
	sa.sa_handler = SIG_IGN;
	(void)sigaction(SIGTTOU, &sa, NULL);
	if (setpgid(0, 0) == -1)
		return -1;
	in = open("/dev/null", O_RDONLY);
	if (in == -1 || dup2(in, STDIN_FILENO) == -1 ||
	    dup2(out, STDOUT_FILENO) == -1 || dup2(out, STDERR_FILENO) == -1)
		return -1;
	if (in > STDERR_FILENO)
		(void)close(in);
	(void)umask(022);
	(void)sigemptyset(&none);
	(void)sigprocmask(SIG_SETMASK, &none, NULL);
	/* execve takes no const only for the sake of old compilers */
	return execve(argv[0], (char *const *)(uintptr_t)argv, env);
}

/*
 * The environment of a child: nothing of ours can change what puppet does.
 * A PATH without systemctl makes it report services stopped that run.
 */
static char *const *
child_env(void)
{
	static char path[] = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:"
	    "/usr/bin:/sbin:/bin:/opt/puppetlabs/bin";
	static char home[] = "HOME=/root", locale[] = "LC_ALL=C";
	static char *env[6];
	size_t i, n;

	n = 0;
	env[n++] = path;
	env[n++] = home;
	env[n++] = locale;
	for (i = 0; environ[i] != NULL && n < 5; i++)
		if (strncmp(environ[i], "TERM=", 5) == 0 ||
		    strncmp(environ[i], "TZ=", 3) == 0)
			env[n++] = environ[i];
	env[n] = NULL;
	return env;
}

static ssize_t
read_some(int fd, void *p, size_t n)
{
	ssize_t r;

	do
		r = read(fd, p, n);
	while (r == -1 && errno == EINTR);
	return r;
}

static int
pipe_open(int fd[2])
{
	if (pipe(fd) == -1)
		return complain("make a pipe");
	if (fcntl(fd[0], F_SETFD, FD_CLOEXEC) == -1 ||
	    fcntl(fd[1], F_SETFD, FD_CLOEXEC) == -1) {
		(void)complain("set up a pipe");
		(void)close(fd[0]);	/* unused pipes: nothing to lose */
		(void)close(fd[1]);
		return -1;
	}
	return 0;
}

static int
child_reap(struct child *c, int options)
{
	pid_t p;

	do
		p = waitpid(c->pid, &c->status, options);
	while (p == -1 && errno == EINTR);
	if (p == 0)
		return 0;
	if (p == -1) {
		(void)complain("wait for %s", c->argv[0]);
		c->status = -1;
	}
	c->pid = 0;
	return 1;
}

/*
 * The pipe closes at the exec, or brings the errno of what failed before it;
 * so "could not start" is never taken for an exit status.
 */
int
child_start(struct child *c, const char *const argv[])
{
	char *const *env;
	ssize_t n;
	int fd[2], e;

	memset(c, 0, sizeof *c);
	c->argv = argv;
	c->status = -1;
	c->out = output_open();
	if (c->out == -1 || pipe_open(fd) == -1)
		return -1;
	env = child_env();
	c->pid = fork();
	if (c->pid == 0) {
		(void)child_exec(c->out, argv, env);
		e = errno;
		(void)write_all(fd[1], (const char *)&e, sizeof e);
		_exit(127);
	}
	e = errno;
	(void)close(fd[1]);		/* pipes lose nothing at close */
	if (c->pid == -1) {
		c->pid = 0;
		(void)close(fd[0]);
		errno = e;
		return complain("fork");
	}
	n = read_some(fd[0], &e, sizeof e);
	(void)close(fd[0]);
	if (n == 0)
		return 0;
	(void)child_reap(c, 0);
	errno = n == sizeof e ? e : EIO;
	return complain("run %s", argv[0]);
}

int
child_ended(struct child *c)
{
	return c->pid == 0 || child_reap(c, WNOHANG) == 1;
}

int
child_status(const struct child *c)
{
	if (c->out == -1 || c->status == -1 || !WIFEXITED(c->status))
		return -1;
	return WEXITSTATUS(c->status);
}

int
child_wait(struct child *c)
{
	while (!child_ended(c))
		nap(1000);
	return child_status(c);
}

void
child_stop(struct child *c)
{
	long since;
	int sig;

	if (child_ended(c))
		return;
	sig = SIGTERM;
	since = seconds();
	(void)kill(-c->pid, sig);	/* it can have ended just now */
	while (!child_ended(c)) {
		nap(100);
		if (sig == SIGTERM && seconds() - since >= GRACE) {
			sig = SIGKILL;
			if (c->pid > 0)
				(void)kill(-c->pid, sig);
		}
	}
}

int
child_wait_or_stop(struct child *c)
{
	while (!child_ended(c)) {
		if (interrupted())
			child_stop(c);
		else
			nap(1000);
	}
	return child_status(c);
}

/*
 * The child has the same open file, whose offset moves as it prints; pread
 * does not touch that.
 */
static ssize_t
child_read(struct child *c, char *p, size_t n)
{
	ssize_t r;

	if (c->out == -1)
		return 0;
	do
		r = pread(c->out, p, n, c->from);
	while (r == -1 && errno == EINTR);
	if (r == -1)
		return complain("read the output of %s", c->argv[0]);
	c->from += r;
	return r;
}

int
child_line(struct child *c, char *line, size_t size)
{
	ssize_t r;
	size_t n;

	n = 0;
	for (;;) {
		if (c->used == c->have) {
			r = child_read(c, c->buf, sizeof c->buf);
			if (r == -1)
				return -1;
			if (r == 0)
				break;
			c->have = (size_t)r;
			c->used = 0;
		}
		if (c->buf[c->used] == '\n')
			break;
		if (n == size - 1)
			return complainx("%s printed a line of more than %d "
			    "bytes", c->argv[0], (int)size - 1);
		line[n++] = c->buf[c->used++];
	}
	if (c->used == c->have) {
		if (n == 0)
			return 0;
		return complainx("what %s printed ends in the middle of a "
		    "line", c->argv[0]);
	}
	c->used++;
	if (n > 0 && line[n - 1] == '\r')
		n--;
	line[n] = '\0';
	return 1;
}

void
child_rewind(struct child *c)
{
	c->from = 0;
	c->have = c->used = 0;
}

void
child_follow(struct child *c)
{
	char text[4096];
	ssize_t n;

	while ((n = child_read(c, text, sizeof text)) > 0) {
		line_erase();
		harmless(text, (size_t)n);
		(void)write_all(STDERR_FILENO, text, (size_t)n);
	}
}

static void
child_print(struct child *c)
{
	char text[1024], *p, *end;
	ssize_t n;
	size_t len;
	int begin;

	begin = 1;
	while ((n = child_read(c, text, sizeof text)) > 0) {
		harmless(text, (size_t)n);
		for (p = text; n > 0; p += len, n -= (ssize_t)len) {
			end = memchr(p, '\n', (size_t)n);
			len = end == NULL ? (size_t)n : (size_t)(end - p) + 1;
			if (begin)
				(void)write_all(STDERR_FILENO, "    ", 4);
			(void)write_all(STDERR_FILENO, p, len);
			begin = end != NULL;
		}
	}
	if (!begin)
		(void)write_all(STDERR_FILENO, "\n", 1);
}

static size_t
command_line(char *text, size_t size, const char *const argv[])
{
	char word[4 * PATH_SIZE + 3];
	size_t n;
	int i;

	n = 0;
	text[0] = '\0';
	for (i = 0; argv[i] != NULL && n < size; i++) {
		(void)format(text + n, size - n, "%s%s", i > 0 ? " " : "",
		    quote(word, sizeof word, argv[i]));
		n = strlen(text);
	}
	return n;
}

void
child_show(struct child *c)
{
	char line[MESSAGE_SIZE / 2], how[64];
	struct stat st;
	const char *and;

	if (c->out == -1)
		return;
	(void)command_line(line, sizeof line, c->argv);
	if (c->status == -1 || !WIFEXITED(c->status))
		(void)format(how, sizeof how, "was ended by signal %d",
		    WTERMSIG(c->status));
	else
		(void)format(how, sizeof how, "exited with status %d",
		    WEXITSTATUS(c->status));
	child_rewind(c);
	and = "and printed:";
	if (fstat(c->out, &st) == -1 || st.st_size == 0)
		and = "and printed nothing";
	else if (st.st_size > TAIL_SIZE) {
		and = "and printed much, at the end:";
		c->from = st.st_size - TAIL_SIZE;
	}
	note("%s %s, %s", line, how, and);
	child_print(c);
	child_rewind(c);
}

void
child_close(struct child *c)
{
	if (c->out != -1)
		(void)close(c->out);	/* unlinked: it has no further use */
	c->out = -1;
}

void
child_say(const char *const argv[])
{
	char line[MESSAGE_SIZE / 2];

	(void)command_line(line, sizeof line, argv);
	say("%s", line);
}

/*
 * Files, directories, locks.
 */

/*
 * Every open of ours.  O_NONBLOCK: a fifo or a device that somebody put in the
 * place of a file must not hang us.
 */
static int
open_at(int at, const char *name, int flags, mode_t mode)
{
	int fd;

	do
		fd = openat(at, name, flags | O_NOFOLLOW | O_NONBLOCK |
		    O_CLOEXEC | O_NOCTTY, mode);
	while (fd == -1 && errno == EINTR);
	return fd;
}

int
dir_open(int at, const char *name)
{
	return open_at(at, name, O_RDONLY | O_DIRECTORY, 0);
}

int
path_dir(const char *path)
{
	int fd;

	do
		fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	while (fd == -1 && errno == EINTR);
	return fd;
}

/* EINTR is not a failed fsync: nothing was reported, and nothing is lost. */
static int
sync_fd(int fd)
{
	int rc;

	do
		rc = fsync(fd);
	while (rc == -1 && errno == EINTR);
	return rc;
}

/* Whatever close says of EINTR, the descriptor is gone. */
static int
close_fd(int fd)
{
	return close(fd) == -1 && errno != EINTR ? -1 : 0;
}

/*
 * Opens the directory that holds the last component of a relative path, and
 * follows no link on the way.  The component goes into the buffer.
 */
static int
descend(int at, const char *path, char *name)
{
	size_t n;
	int fd, next;

	fd = open_at(at, ".", O_RDONLY | O_DIRECTORY, 0);
	name[0] = '\0';
	while (fd != -1) {
		path += strspn(path, "/");
		n = strcspn(path, "/");
		if (n == 0)
			break;
		if (name[0] != '\0') {
			next = dir_open(fd, name);
			(void)close(fd);	/* only read */
			fd = next;
			if (next == -1)
				break;
		}
		if (n >= NAME_SIZE || strncmp(path, "..", n) == 0) {
			(void)close(fd);	/* only read */
			errno = n >= NAME_SIZE ? ENAMETOOLONG : EINVAL;
			return -1;
		}
		memcpy(name, path, n);
		name[n] = '\0';
		path += n;
	}
	return fd;
}

int
path_open_below(int at, const char *path, char *name)
{
	int fd;

	fd = descend(at, path, name);
	if (fd == -1)
		return complain("open the directory of %s without following "
		    "links", path);
	if (name[0] == '\0') {
		(void)close(fd);
		return complainx("%s names no file", path);
	}
	return fd;
}

/*
 * Splits an absolute path at its last component.  Returns 0, or -1 where there
 * is none to open something by.
 */
static int
path_split(const char *path, char dir[PATH_SIZE], char *name)
{
	size_t n, end;

	end = strlen(path);
	while (end > 0 && path[end - 1] == '/')
		end--;
	n = end;
	while (n > 0 && path[n - 1] != '/')
		n--;
	if (n == 0 || end == n || end - n >= NAME_SIZE || end >= PATH_SIZE)
		return complainx("%s: the path of something in a directory is "
		    "wanted, absolute and not too long", path);
	memcpy(name, path + n, end - n);
	name[end - n] = '\0';
	if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
		return complainx("%s: name the directory itself, without . "
		    "and ..", path);
	memcpy(dir, path, n);
	dir[n] = '\0';
	return 0;
}

int
path_open(const char *path, char *name)
{
	char dir[PATH_SIZE];
	int fd;

	if (path_split(path, dir, name) == -1)
		return -1;
	fd = path_dir(dir);
	return fd == -1 ? complain("open the directory %s", dir) : fd;
}

int
file_open(int at, const char *path)
{
	char name[NAME_SIZE];
	int dir, fd, e;

	dir = descend(at, path, name);
	if (dir == -1)
		return -1;
	fd = open_at(dir, name[0] == '\0' ? "." : name, O_RDONLY, 0);
	e = errno;
	(void)close(dir);		/* only read */
	errno = e;
	return fd;
}

ssize_t
file_read(int at, const char *path, char *text, size_t size)
{
	struct stat st;
	ssize_t n;
	size_t have;
	int fd, e;

	fd = file_open(at, path);
	if (fd == -1)
		return -1;
	n = -1;
	have = 0;
	if (fstat(fd, &st) == -1)
		goto out;
	if (!S_ISREG(st.st_mode)) {
		errno = EINVAL;
		goto out;
	}
	while (have < size && (n = read_some(fd, text + have,
	    size - have)) > 0)
		have += (size_t)n;
	if (have == size) {
		errno = EFBIG;
		n = -1;
	}
out:
	e = errno;
	(void)close(fd);		/* only read */
	errno = e;
	if (n == -1)
		return -1;
	text[have] = '\0';
	return (ssize_t)have;
}

ssize_t
path_read(const char *path, char *text, size_t size)
{
	char dir[PATH_SIZE], name[NAME_SIZE];
	ssize_t n;
	int at, e;

	if (path_split(path, dir, name) == -1) {
		errno = EINVAL;
		return -1;
	}
	at = path_dir(dir);
	if (at == -1)
		return -1;
	n = file_read(at, name, text, size);
	e = errno;
	(void)close(at);		/* only read */
	errno = e;
	return n;
}

int
name_exists(int at, const char *name)
{
	struct stat st;

	if (fstatat(at, name, &st, AT_SYMLINK_NOFOLLOW) == 0)
		return 1;
	if (errno == ENOENT)
		return 0;
	return complain("look at %s", name);
}

int
name_move(int from, const char *old, int to, const char *new)
{
	int rc;

	rc = name_exists(to, new);
	if (rc == 1)
		return complainx("rename %s: %s exists", old, new);
	if (rc == -1)
		return -1;
	if (renameat(from, old, to, new) == -1)
		return complain("rename %s to %s", old, new);
	if (sync_fd(to) == 0 && (from == to || sync_fd(from) == 0))
		return 0;
	(void)complain("have the rename of %s to %s on disk", old, new);
	if (renameat(to, new, from, old) == -1)
		(void)complain("rename %s back to %s", new, old);
	return -1;
}

static int
lock_fcntl(int fd, int cmd, struct flock *fl)
{
	int rc;

	memset(fl, 0, sizeof *fl);
	fl->l_type = F_WRLCK;
	fl->l_whence = SEEK_SET;
	do
		rc = fcntl(fd, cmd, fl);
	while (rc == -1 && errno == EINTR);
	return rc;
}

/*
 * A file that somebody else made, or a second name of one that matters
 * elsewhere, is not ours to write into.
 */
static int
lock_open(int at, const char *name, struct stat *st)
{
	int fd, made;

	memset(st, 0, sizeof *st);
	fd = open_at(at, name, O_RDWR | O_CREAT | O_EXCL | O_APPEND, 0600);
	made = fd != -1;
	if (!made && errno == EEXIST)
		fd = open_at(at, name, O_RDWR | O_CREAT | O_APPEND, 0600);
	if (fd == -1)
		return complain("open the lock file %s", name);
	if (fstat(fd, st) == -1) {
		(void)complain("look at the lock file %s", name);
	} else if (!S_ISREG(st->st_mode) || st->st_nlink > 1 ||
	    st->st_uid != geteuid()) {
		(void)complainx("the lock file %s is not one of ours: look at "
		    "it, and remove it", name);
	} else
		return fd;
	if (made && unlinkat(at, name, 0) == -1)
		(void)complain("remove %s", name);
	(void)close(fd);		/* nothing was written */
	return -1;
}

/* Returns 1 with the lock, 0 where somebody else has it, -1. */
static int
lock_try(struct lock *k, int at, const char *name)
{
	struct stat st, named;
	struct flock fl;
	int tries, e;

	k->at = at;
	k->name = name;
	k->lines = 0;
	for (tries = 0; tries < AGAIN; tries++) {
		k->fd = lock_open(at, name, &st);
		if (k->fd == -1)
			return -1;
		if (lock_fcntl(k->fd, F_SETLK, &fl) == -1) {
			e = errno;
			(void)close(k->fd);	/* nothing was written */
			k->fd = -1;
			if (e == EAGAIN || e == EACCES)
				return 0;
			errno = e;
			return complain("lock %s", name);
		}
		/* whoever had it may have removed it while we came */
		if (fstatat(at, name, &named, AT_SYMLINK_NOFOLLOW) == 0 &&
		    named.st_dev == st.st_dev && named.st_ino == st.st_ino) {
			k->lines = st.st_size > 0;
			return 1;
		}
		(void)close(k->fd);		/* nothing was written */
		k->fd = -1;
	}
	return complainx("lock %s: somebody keeps on replacing it", name);
}

int
lock_take(struct lock *k, int at, const char *name)
{
	int rc;

	rc = lock_try(k, at, name);
	if (rc == 0)
		return complainx("another cmregen is running on this host: "
		    "wait until it has ended, then run this again");
	return rc == 1 ? 0 : -1;
}

int
lock_wait(struct lock *k, int at, const char *name)
{
	int rc;

	while ((rc = lock_try(k, at, name)) == 0) {
		if (interrupted())
			return complainx("interrupted while it waited for "
			    "another cmregen on this host");
		busy("waiting for another cmregen on this host");
		nap(200);
	}
	return rc == 1 ? 0 : -1;
}

int
lock_ask(int at, const char *name)
{
	struct flock fl;
	int fd, rc;

	fd = open_at(at, name, O_RDWR, 0);
	if (fd == -1 && errno == ENOENT)
		return 0;
	if (fd == -1)
		return complain("open the lock file %s", name);
	rc = lock_fcntl(fd, F_GETLK, &fl);
	if (rc == -1)
		(void)complain("look at the lock %s", name);
	else
		rc = fl.l_type != F_UNLCK;
	(void)close(fd);		/* nothing was written */
	return rc;
}

ssize_t
lock_lines(const struct lock *k, char *text, size_t size)
{
	ssize_t n;
	size_t have;

	have = 0;
	do {
		n = pread(k->fd, text + have, size - have, (off_t)have);
		if (n > 0)
			have += (size_t)n;
	} while ((n > 0 && have < size) || (n == -1 && errno == EINTR));
	if (n == -1)
		return complain("read %s", k->name);
	if (have == size)
		return complainx("%s is longer than it can be: look at it, "
		    "and remove it", k->name);
	text[have] = '\0';
	return (ssize_t)have;
}

int
lock_add(struct lock *k, const char *line)
{
	char text[NAME_SIZE];

	(void)format(text, sizeof text, "%s\n", line);
	k->lines = 1;
	if (write_all(k->fd, text, strlen(text)) == -1 ||
	    sync_fd(k->fd) == -1 || sync_fd(k->at) == -1)
		return complain("write to %s", k->name);
	return 0;
}

int
lock_forget(struct lock *k)
{
	int rc;

	do
		rc = ftruncate(k->fd, 0);
	while (rc == -1 && errno == EINTR);
	if (rc == -1)
		return complain("empty %s", k->name);
	k->lines = 0;
	return 0;
}

void
lock_drop(struct lock *k)
{
	if (k->fd == -1)
		return;
	if (!k->lines && unlinkat(k->at, k->name, 0) == -1)
		(void)complain("remove %s", k->name);
	(void)close(k->fd);		/* every line was fsynced */
	k->fd = -1;
}

/*
 * Puppet's settings, and names.
 */

int
settings_line(const struct setting *s, size_t count, const char *line)
{
	size_t i, n;

	for (i = 0; i < count; i++) {
		n = strlen(s[i].name);
		if (strncmp(line, s[i].name, n) != 0 ||
		    strncmp(line + n, " =", 2) != 0)
			continue;
		line += n + 2;
		line += strspn(line, " ");
		if (format(s[i].value, PATH_SIZE, "%s", line) == -1)
			return complainx("puppet's setting %s is longer than "
			    "%d bytes", s[i].name, PATH_SIZE - 1);
		return 1;
	}
	return 0;
}

/* A value that begins with a newline has not been printed yet. */
static int
settings_read(struct child *c, const struct setting *s, size_t count)
{
	static char line[LINE_SIZE];
	size_t i;
	int rc;

	for (i = 0; i < count; i++)
		(void)format(s[i].value, PATH_SIZE, "\n");
	while ((rc = child_line(c, line, sizeof line)) == 1)
		if (settings_line(s, count, line) == -1)
			return -1;
	if (rc == -1)
		return -1;
	for (i = 0; i < count; i++)
		if (s[i].value[0] == '\n')
			return complainx("puppet did not print its setting %s",
			    s[i].name);
	return 0;
}

int
settings_ask(const struct options *o, const char *section,
    const struct setting *s, size_t count)
{
	const char *argv[32];
	struct child c;
	size_t n, i;
	int rc;

	n = 0;
	argv[n++] = o->puppet;
	argv[n++] = "config";
	argv[n++] = "print";
	argv[n++] = "--color=false";
	argv[n++] = "--section";
	argv[n++] = section;
	if (n + count >= sizeof argv / sizeof argv[0])
		return complainx("too many settings");
	for (i = 0; i < count; i++)
		argv[n++] = s[i].name;
	argv[n] = NULL;
	busy("asking puppet for its settings");
	rc = child_start(&c, argv);
	if (rc == -1)
		note("where Puppet is elsewhere, name its program with -p");
	if (rc == 0 && (child_wait_or_stop(&c) != 0 ||
	    settings_read(&c, s, count) == -1)) {
		rc = complainx("puppet did not tell its settings: repair "
		    "what it says, then run this again");
		child_show(&c);
	} else if (rc == 0 && o->verbose)
		child_show(&c);
	child_close(&c);
	quiet();
	return rc;
}

int
puppet_major(const struct options *o)
{
	const char *const argv[] = { o->puppet, "--version", NULL };
	static char line[LINE_SIZE];
	struct child c;
	size_t n;
	int rc, major;

	major = -1;
	busy("asking puppet for its version");
	rc = child_start(&c, argv);
	if (rc == 0 && child_wait_or_stop(&c) == 0)
		while (major == -1 && child_line(&c, line, sizeof line) == 1) {
			n = strspn(line, "0123456789");
			if (n > 0 && line[n] == '.' &&
			    line[strspn(line, "0123456789.")] == '\0') {
				line[n] = '\0';
				major = (int)number_read(line);
			}
		}
	if (rc == 0 && major < 1 && interrupted())
		major = complainx("interrupted");
	else if (rc == 0 && major < 1) {
		(void)complainx("puppet did not tell its version: is %s the "
		    "puppet program (see -p)?", o->puppet);
		child_show(&c);
		major = -1;
	} else if (rc == 0 && o->verbose)
		child_show(&c);
	child_close(&c);
	quiet();
	return major;
}

int
puppetserver_path(const struct options *o, char program[PATH_SIZE])
{
	size_t dir;

	dir = (size_t)(strrchr(o->puppet, '/') - o->puppet);
	if (format(program, PATH_SIZE, "%s", o->puppet) == -1 ||
	    format(program + dir, PATH_SIZE - dir, "/puppetserver") == -1)
		return complainx("%s: too long", o->puppet);
	return 0;
}

long
number_read(const char *s)
{
	const int digits = *s != '\0';
	long n;

	for (n = 0; *s >= '0' && *s <= '9' && n < 100000000; s++)
		n = 10 * n + (*s - '0');
	return *s == '\0' && digits ? n : -1;
}

int
certname_ok(const char *s)
{
	size_t n;

	n = strspn(s, "abcdefghijklmnopqrstuvwxyz0123456789._-");
	return n > 0 && n <= CERTNAME_MAX && s[n] == '\0' && s[0] != '-' &&
	    strcmp(s, ".") != 0 && strcmp(s, "..") != 0;
}

/*
 * Fingerprints.
 */

/* FIPS 180-4, section 4.2.2. */
static const uint32_t sha256_k[64] = {
	0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1,
	0x923f82a4, 0xab1c5ed5, 0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3,
	0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174, 0xe49b69c1, 0xefbe4786,
	0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
	0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147,
	0x06ca6351, 0x14292967, 0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13,
	0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85, 0xa2bfe8a1, 0xa81a664b,
	0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
	0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a,
	0x5b9cca4f, 0x682e6ff3, 0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208,
	0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2
};

static uint32_t
rotate(uint32_t x, int n)
{
	return x >> n | x << (32 - n);
}

/* FIPS 180-4, section 6.2.2; the names are those of the standard. */
static void
sha256_block(uint32_t h[8], const unsigned char *p)
{
	uint32_t w[64], v[8], t1, t2;
	int t;

	for (t = 0; t < 16; t++)
		w[t] = (uint32_t)p[4 * t] << 24 |
		    (uint32_t)p[4 * t + 1] << 16 |
		    (uint32_t)p[4 * t + 2] << 8 | p[4 * t + 3];
	for (; t < 64; t++)
		w[t] = (rotate(w[t - 2], 17) ^ rotate(w[t - 2], 19) ^
		    w[t - 2] >> 10) + w[t - 7] + (rotate(w[t - 15], 7) ^
		    rotate(w[t - 15], 18) ^ w[t - 15] >> 3) + w[t - 16];
	memcpy(v, h, sizeof v);
	for (t = 0; t < 64; t++) {
		t1 = v[7] + (rotate(v[4], 6) ^ rotate(v[4], 11) ^
		    rotate(v[4], 25)) + ((v[4] & v[5]) ^ (~v[4] & v[6])) +
		    sha256_k[t] + w[t];
		t2 = (rotate(v[0], 2) ^ rotate(v[0], 13) ^ rotate(v[0], 22)) +
		    ((v[0] & v[1]) ^ (v[0] & v[2]) ^ (v[1] & v[2]));
		memmove(v + 1, v, 7 * sizeof v[0]);
		v[4] += t1;
		v[0] = t1 + t2;
	}
	for (t = 0; t < 8; t++)
		h[t] += v[t];
}

void
sha256(const unsigned char *p, size_t size, unsigned char out[32])
{
	uint32_t h[8] = {
		0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f,
		0x9b05688c, 0x1f83d9ab, 0x5be0cd19
	};
	unsigned char last[128];
	uint64_t bits;
	size_t n, i;

	for (n = size; n >= 64; n -= 64, p += 64)
		sha256_block(h, p);
	memset(last, 0, sizeof last);
	memcpy(last, p, n);
	last[n] = 0x80;
	bits = (uint64_t)size * 8;
	n = n < 56 ? 64 : 128;
	for (i = 0; i < 8; i++)
		last[n - 1 - i] = (unsigned char)(bits >> 8 * i);
	for (i = 0; i < n; i += 64)
		sha256_block(h, last + i);
	for (i = 0; i < 32; i++)
		out[i] = (unsigned char)(h[i / 4] >> (24 - 8 * (i % 4)));
}

/*
 * Decodes what stands between the lines of a PEM block.  Returns the number of
 * bytes, or -1 where it is not base64 (RFC 4648, section 4), padding included.
 */
static long
base64(const char *p, const char *end, unsigned char *out)
{
	static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
	    "abcdefghijklmnopqrstuvwxyz0123456789+/";
	const char *d;
	uint32_t word;
	long n;
	int count, pad;

	word = 0;
	n = 0;
	count = pad = 0;
	for (; p < end; p++) {
		if (strchr(" \t\r\n", *p) != NULL && *p != '\0')
			continue;
		d = *p == '\0' ? NULL : strchr(digits, *p);
		if (*p == '=')
			pad++;
		else if (d == NULL || pad > 0)
			return -1;
		word = word << 6 | (d == NULL ? 0 : (uint32_t)(d - digits));
		if (++count % 4 == 0) {
			out[n++] = (unsigned char)(word >> 16);
			out[n++] = (unsigned char)(word >> 8);
			out[n++] = (unsigned char)word;
		}
	}
	if (count % 4 != 0 || pad > 2 || n == 0)
		return -1;
	return n - pad;
}

/*
 * Finds "-----WORD LABEL-----" as a line of its own (RFC 7468, section 3).
 * Returns where it begins, and where it ends, or NULL.
 */
static const char *
pem_mark(const char *p, const char *word, const char *label,
    const char **after)
{
	char mark[NAME_SIZE];
	size_t n;

	if (format(mark, sizeof mark, "-----%s %s-----", word, label) == -1)
		return NULL;
	n = strlen(mark);
	while (p != NULL && (strncmp(p, mark, n) != 0 ||
	    (p[n] != '\0' && strchr(" \t\r\n", p[n]) == NULL))) {
		p = strchr(p, '\n');
		if (p != NULL)
			p++;
	}
	*after = p == NULL ? NULL : p + n;
	return p;
}

/* Decodes the first block of that label.  Returns its bytes, or -1. */
static long
pem_decode(const char *text, const char *label, unsigned char der[TEXT_SIZE])
{
	const char *begin, *end, *rest;

	if (pem_mark(text, "BEGIN", label, &begin) == NULL)
		return -1;
	end = pem_mark(begin, "END", label, &rest);
	if (end == NULL || end - begin > TEXT_SIZE)
		return -1;
	return base64(begin, end, der);
}

int
pem_fingerprint(const char *text, const char *label,
    char out[FINGERPRINT_SIZE])
{
	static const char digits[] = "0123456789ABCDEF";
	static unsigned char der[TEXT_SIZE];
	unsigned char digest[32];
	long n;
	int i;

	n = pem_decode(text, label, der);
	if (n == -1)
		return -1;
	sha256(der, (size_t)n, digest);
	for (i = 0; i < 32; i++) {
		*out++ = digits[digest[i] >> 4];
		*out++ = digits[digest[i] & 15];
		*out++ = i < 31 ? ':' : '\0';
	}
	return 0;
}

/*
 * Finds what of a private key is public: the modulus behind the version of an
 * RSA key (RFC 8017, A.1.2), also inside PKCS #8, or the point in the [1] of
 * an EC key (RFC 5915, section 3).  Returns NULL where it is neither.
 */
static const unsigned char *
key_public(const unsigned char *der, long size, long *len)
{
	const unsigned char *p;

	for (p = der; p + 8 < der + size; p++) {
		if (memcmp(p, "\2\1\0\2\202", 5) == 0) {
			*len = p[5] << 8 | p[6];
			p += 7;
		} else if (memcmp(p, "\2\1\0\2\201", 5) == 0) {
			*len = p[5];
			p += 6;
		} else if (p[0] == 0xa1 && p[2] == 3 && p[4] == 0 &&
		    p[5] == 4 && p[1] == p[3] + 2) {
			*len = p[3] - 1;
			p += 5;
		} else
			continue;
		return p + *len <= der + size && *len > 32 ? p : NULL;
	}
	return NULL;
}

int
pem_of_key(const char *key, const char *text, const char *label)
{
	static const char *const form[] = {
		"RSA PRIVATE KEY", "PRIVATE KEY", "EC PRIVATE KEY"
	};
	static unsigned char private[TEXT_SIZE], der[TEXT_SIZE];
	const unsigned char *p;
	long n, size, len, i;

	n = -1;
	for (i = 0; i < 3 && n == -1; i++)
		n = pem_decode(key, form[i], private);
	size = pem_decode(text, label, der);
	p = n == -1 ? NULL : key_public(private, n, &len);
	if (p == NULL || size == -1)
		return -1;
	for (i = 0; i + len <= size; i++)
		if (memcmp(der + i, p, (size_t)len) == 0)
			return 1;
	return 0;
}

/* The value of the next hex digit, past colons; -1 at the end or elsewhere. */
static int
hex_next(const char **p)
{
	static const char digits[] = "0123456789abcdef0123456789ABCDEF";
	const char *d;

	while (**p == ':')
		(*p)++;
	if (**p == '\0')
		return -1;
	d = strchr(digits, **p);
	if (d == NULL)
		return -1;
	(*p)++;
	return (int)(d - digits) % 16;
}

int
fingerprint_ok(const char *s)
{
	int n;

	for (n = 0; hex_next(&s) != -1; n++)
		;
	return *s == '\0' && n >= FINGERPRINT_MIN && n <= 64;
}

int
fingerprint_match(const char *begin, const char *whole)
{
	int digit;

	while ((digit = hex_next(&begin)) != -1)
		if (hex_next(&whole) != digit)
			return 0;
	return 1;
}

/*
 * The command line.
 */

static const struct command {
	const char *host, *verb, *letters, *synopsis;
	int (*run)(const struct options *);
} command[] = {
	{ "mom", "clean", "np:v", "[-nv] [-p puppet] certname", mom_clean },
	{ "mom", "sign", "f:np:vw:",
	    "[-nv] [-f fingerprint] [-p puppet] [-w seconds] certname",
	    mom_sign },
	{ "node", "prepare", "b:lnp:vw:",
	    "[-lnv] [-b backup] [-p puppet] [-w seconds]", node_prepare },
	{ "node", "finish", "b:np:vw:",
	    "[-nv] [-b backup] [-p puppet] [-w seconds]", node_finish },
	{ "node", "restore", "b:np:r:s:v",
	    "[-nv] [-b backup] [-p puppet] [-r root [-s ssldir]]",
	    node_restore }
};

enum { COMMANDS = sizeof command / sizeof command[0] };

static int
usage(void)
{
	size_t i;

	for (i = 0; i < COMMANDS; i++)
		note("%s cmregen %s %s %s", i == 0 ? "usage:" : "   or:",
		    command[i].host, command[i].verb, command[i].synopsis);
	note("   or: cmregen -V");
	note("in this order: mom clean, node prepare, mom sign, node finish; "
	    "mom on the");
	note("master of masters, node on the compile master; the way back is "
	    "node restore");
	return USAGE;
}

static int
path_ok(const char *path)
{
	return path[0] == '/' && strlen(path) < PATH_SIZE;
}

static int
option(struct options *o, int letter, const char *value)
{
	switch (letter) {
	case 'b':
		o->backup = value;
		return path_ok(value);
	case 'f':
		o->fingerprint = value;
		return fingerprint_ok(value);
	case 'l':
		o->live = 1;
		return 1;
	case 'n':
		o->dry = 1;
		return 1;
	case 'p':
		o->puppet = value;
		return path_ok(value) && value[strlen(value) - 1] != '/';
	case 'r':
		o->root = value;
		return path_ok(value);
	case 's':
		o->ssldir = value;
		return path_ok(value);
	case 'v':
		o->verbose = 1;
		return 1;
	default:			/* w */
		o->wait = number_read(value);
		return o->wait >= 0 && o->wait <= WAIT_MAX;
	}
}

static const char *
option_rule(int letter)
{
	switch (letter) {
	case 'f':
		return "16 to 64 hex digits, colons between them allowed";
	case 'w':
		return "seconds, 0 to 604800";
	default:
		return "an absolute path";
	}
}

/* The certname, of the commands that take one.  Returns 0, or USAGE. */
static int
operand_read(struct options *o, const struct command *c, int argc,
    char *argv[])
{
	if (strcmp(c->host, "mom") == 0 && optind < argc)
		o->certname = argv[optind++];
	if (optind < argc) {
		(void)complainx("'%s': one argument too many (options stand "
		    "before the certname)", argv[optind]);
		return usage();
	}
	if (strcmp(c->host, "mom") != 0)
		return 0;
	if (o->certname == NULL) {
		(void)complainx("name the certname of the compile master");
		return usage();
	}
	if (!certname_ok(o->certname)) {
		(void)complainx("'%s' is no certname: a to z, 0 to 9, '.', "
		    "'_' and '-' only, not '-' first, at most %d bytes",
		    o->certname, CERTNAME_MAX);
		return USAGE;
	}
	return 0;
}

/* Reads the options of one command.  Returns 0, or USAGE. */
static int
options_read(struct options *o, const struct command *c, int argc,
    char *argv[])
{
	char name[] = "?";
	int letter;

	memset(o, 0, sizeof *o);
	o->puppet = PUPPET;
	o->wait = -1;
	opterr = 0;
	while ((letter = getopt(argc, argv, c->letters)) != -1) {
		if (letter == '?') {
			name[0] = (char)optopt;
			(void)complainx("option -%s: %s %s %s", name,
			    optopt != ':' && strchr(c->letters, optopt) != NULL
			    ? "its value is missing in" : "unknown to",
			    c->host, c->verb);
			return usage();
		}
		if (!option(o, letter, optarg)) {
			name[0] = (char)letter;
			(void)complainx("-%s '%s': must be %s", name, optarg,
			    option_rule(letter));
			return USAGE;
		}
	}
	if (o->ssldir != NULL && o->root == NULL) {
		(void)complainx("-s goes with -r");
		return usage();
	}
	return operand_read(o, c, argc, argv);
}

/*
 * Descriptors 0 to 2 are open from here on, so that no file of ours can be
 * taken for an output; what else a caller left open is not for our children.
 * poll tells which are open, many at a time.
 */
static int
descriptors_set(void)
{
	enum { MANY = 256 };		/* below any usual limit */
	static struct pollfd p[MANY];
	int fd, i;

	do
		fd = open("/dev/null", O_RDWR);
	while ((fd != -1 && fd <= STDERR_FILENO) ||
	    (fd == -1 && errno == EINTR));
	if (fd == -1)
		return complain("open /dev/null");
	(void)close(fd);		/* unused */
	for (fd = STDERR_FILENO + 1; fd < FD_MAX; fd += MANY) {
		for (i = 0; i < MANY; i++) {
			p[i].fd = fd + i;
			p[i].events = p[i].revents = 0;
		}
		/* where poll refuses so many, each is tried */
		if (poll(p, MANY, 0) == -1)
			for (i = 0; i < MANY; i++)
				p[i].revents = 0;
		for (i = 0; i < MANY; i++)
			if ((p[i].revents & POLLNVAL) == 0)
				(void)fcntl(fd + i, F_SETFD, FD_CLOEXEC);
	}
	return 0;
}

/* What every command needs, whatever it does. */
static int
command_run(const struct command *c, const struct options *o)
{
	int rc;

	if (geteuid() != 0) {
		(void)complainx("not root: puppet would look at another "
		    "configuration; become root and run this again");
		return NOT_DONE;
	}
	if (chdir("/") == -1) {
		(void)complain("go to /");
		return NOT_DONE;
	}
	(void)umask(0);			/* a copy has the modes it is given */
	if (signals_set() == -1)
		return NOT_DONE;
	rc = c->run(o);
	quiet();
	if (!lost)
		return rc;
	(void)complainx("standard output could not be written%s", rc == DONE ?
	    ": the work is done, run this again to see what is next" : "");
	return rc == DONE ? PART_WAY : rc;
}

int
main(int argc, char *argv[])
{
	struct options o;
	size_t i;
	int rc;

	if (descriptors_set() == -1)
		return NOT_DONE;
	if (argc == 2 && strcmp(argv[1], "-V") == 0) {
		say("cmregen %s", VERSION);
		return lost ? NOT_DONE : DONE;
	}
	if (argc < 3)
		return usage();
	for (i = 0; i < COMMANDS; i++)
		if (strcmp(argv[1], command[i].host) == 0 &&
		    strcmp(argv[2], command[i].verb) == 0)
			break;
	if (i == COMMANDS) {
		(void)complainx("'%s %s' is no command", argv[1], argv[2]);
		return usage();
	}
	rc = options_read(&o, &command[i], argc - 2, argv + 2);
	return rc == 0 ? command_run(&command[i], &o) : rc;
}

/*
 * Trees.
 */

/* One name in a walk: where it is on either side, and the way to print it. */
struct link {
	const struct link *up;
	const char *name;	/* in the original */
	const char *as;		/* in the copy; another only at the top */
	int s, d;		/* the directories that hold it */
	int depth;		/* 0: the top */
};

struct walk {
	const char *const *skip; /* names at the top that do not count */
	dev_t dev;		/* the only file system of the tree */
	int (*visit)(struct walk *, const struct link *);
	int verify;		/* a copy: times count; finish the top */
	int settle;		/* and have it on disk */
	int removing;		/* an error does not end the walk */
	int made;		/* the top of the copy is ours to remove */
	unsigned long files;	/* fsynced so far */
	unsigned long names;	/* counted in one directory */
	char *difference;	/* in words */
};

static const char *
link_path(const struct link *l)
{
	static char path[PATH_SIZE];
	size_t n, at;

	at = sizeof path - 1;
	path[at] = '\0';
	for (; l != NULL; l = l->up) {
		n = strlen(l->name);
		if (n + 1 > at)
			break;
		if (path[at] != '\0')
			path[--at] = '/';
		at -= n;
		memcpy(path + at, l->name, n);
	}
	return path + at;
}

static int
refuse(const struct link *l, const char *why)
{
	return complainx("%s: %s", link_path(l), why);
}

static int
broken(const struct link *l, const char *operation)
{
	return complain("%s %s", operation, link_path(l));
}

static int
skipped(const struct walk *w, const struct link *l, const char *name)
{
	size_t i;

	if (l->depth > 0 || w->skip == NULL)
		return 0;
	for (i = 0; w->skip[i] != NULL; i++)
		if (strcmp(w->skip[i], name) == 0)
			return 1;
	return 0;
}

static void
walk_set(struct walk *w, const char *const *skip,
    int (*visit)(struct walk *, const struct link *))
{
	memset(w, 0, sizeof *w);
	w->skip = skip;
	w->visit = visit;
}

/*
 * Names wait here to be visited in the order of their inodes, in which a file
 * system has them together: with 100,000 that is a tenth of the time.  What a
 * directory has found no room for is visited as it is read.
 */
static struct name {
	uint32_t inode;		/* or what of it fits: it is but an order */
	uint32_t letter;
} kept[NAMES];

static char letters[LETTERS];
static size_t kept_used, letters_used;

/* Leaves an eighth of the room to the directories below. */
static int
name_keep(const struct dirent *e, size_t first, size_t letter)
{
	size_t n;

	n = strlen(e->d_name) + 1;
	if (kept_used >= first + (NAMES - first) / 8 * 7 ||
	    letters_used + n > letter + (LETTERS - letter) / 8 * 7)
		return 0;
	memcpy(letters + letters_used, e->d_name, n);
	kept[kept_used].inode = (uint32_t)e->d_ino;
	kept[kept_used].letter = (uint32_t)letters_used;
	kept_used++;
	letters_used += n;
	return 1;
}

static int
name_order(const void *a, const void *b)
{
	const struct name *const x = a, *const y = b;

	return (x->inode > y->inode) - (x->inode < y->inode);
}

static int
walk_name(struct walk *w, struct link *l, const char *name)
{
	l->name = l->as = name;
	return w->visit(w, l);
}

/* Visits the names that were kept, and makes room for others. */
static int
walk_kept(struct walk *w, struct link *l, size_t first, size_t letter)
{
	const size_t end = kept_used;
	size_t i;
	int rc;

	qsort(kept + first, end - first, sizeof kept[0], name_order);
	rc = 0;
	for (i = first; i < end && (rc == 0 || w->removing); i++)
		rc |= walk_name(w, l, letters + kept[i].letter);
	kept_used = first;
	letters_used = letter;
	return rc;
}

/* The next name that counts; NULL: none, or with errno an error. */
static const struct dirent *
name_next(const struct walk *w, const struct link *l, DIR *d)
{
	const struct dirent *e;

	do {
		errno = 0;
		e = readdir(d);
	} while ((e == NULL && errno == EINTR) || (e != NULL &&
	    (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0 ||
	    skipped(w, l, e->d_name))));
	return e;
}

/* Reads names until there is no room, or no other.  Returns the one unkept. */
static const struct dirent *
names_read(const struct walk *w, const struct link *l, DIR *d, size_t first,
    size_t letter)
{
	const struct dirent *e;

	do
		e = name_next(w, l, d);
	while (e != NULL && name_keep(e, first, letter));
	return e;
}

/* Of an open directory, which is closed where that fails. */
static DIR *
names_open(const struct link *l, int fd)
{
	DIR *d;

	d = fdopendir(fd);
	if (d == NULL) {
		(void)broken(l, "read the directory");
		(void)close(fd);	/* only read */
	}
	return d;
}

/* How many names there are in an open directory that stays open. */
static int
names_count(const struct walk *w, const struct link *l, int at,
    unsigned long *names)
{
	DIR *d;
	int fd, rc;

	fd = dir_open(at, ".");
	if (fd == -1)
		return broken(l, "open the copy of");
	d = names_open(l, fd);
	if (d == NULL)
		return -1;
	*names = 0;
	while (name_next(w, l, d) != NULL)
		++*names;
	rc = errno == 0 ? 0 : broken(l, "read the directory");
	(void)closedir(d);		/* only read */
	return rc;
}

/*
 * Visits each name in the open directory fd, which is what l names, and closes
 * it.  The two descriptors are those that the visit of a name finds in its
 * link.  Returns what the first visit returned that was not 0.
 */
static int
walk_names(struct walk *w, const struct link *l, int fd, int other)
{
	const size_t first = kept_used, letter = letters_used;
	struct link below = { l, NULL, NULL, fd, other, l->depth + 1 };
	const struct dirent *e;
	DIR *d;
	int rc, error;

	if (l->depth >= TREE_DEPTH) {
		(void)close(fd);	/* only read */
		return refuse(l, "directories are too deep below one another");
	}
	d = names_open(l, fd);
	if (d == NULL)
		return -1;
	rc = 0;
	do {
		e = names_read(w, l, d, first, letter);
		error = errno;
		rc |= walk_kept(w, &below, first, letter);
		if (e != NULL && (rc == 0 || w->removing) &&
		    !name_keep(e, first, letter))
			rc |= walk_name(w, &below, e->d_name);
	} while (e != NULL && (rc == 0 || w->removing));
	errno = error;
	if (rc == 0 && error != 0)
		rc = broken(l, "read the directory");
	(void)closedir(d);		/* only read */
	return rc;
}

/*
 * What no open for reading shows: a link, or what we refuse anyway.  Returns 1
 * for a link, else -1 after saying why.
 */
static int
unopened(int at, const struct link *l, struct stat *st)
{
	int e;

	e = errno;
	if (fstatat(at, l->name, st, AT_SYMLINK_NOFOLLOW) == -1)
		return broken(l, "look at");
	if (S_ISLNK(st->st_mode))
		return 1;
	errno = e;
	if (S_ISREG(st->st_mode) || S_ISDIR(st->st_mode))
		return broken(l, "open");
	return refuse(l, "neither a file, a directory nor a link: "
	    "remove it, or move it away");
}

/*
 * Opens a file or directory of the tree.  Returns a descriptor; -1; or -2 for
 * a symbolic link, which has no descriptor.
 */
static int
tree_open(struct walk *w, int at, const struct link *l, struct stat *st)
{
	int fd;

	fd = open_at(at, l->name, O_RDONLY, 0);
	if (fd == -1)
		return unopened(at, l, st) == 1 ? -2 : -1;
	if (fstat(fd, st) == -1)
		(void)broken(l, "look at");
	else if (!S_ISREG(st->st_mode) && !S_ISDIR(st->st_mode))
		(void)refuse(l, "neither a file, a directory nor a link: "
		    "remove it, or move it away");
	else if (l->depth > 0 && st->st_dev != w->dev)
		(void)refuse(l, "another file system is mounted here: "
		    "unmount it");
	else {
		w->dev = st->st_dev;
		return fd;
	}
	(void)close(fd);		/* only read */
	return -1;
}

/*
 * Owner, then set-id bits, which chown clears, then times.  The other bits of
 * a file's mode were given at its creation; a directory gets all of them here.
 */
static int
finish(int fd, const struct stat *st)
{
	struct timespec ts[2];
	int rc;

	do
		rc = fchown(fd, st->st_uid, st->st_gid);
	while (rc == -1 && errno == EINTR);
	if (rc == -1)
		return -1;
	if ((st->st_mode & 07000) != 0 || S_ISDIR(st->st_mode))
		do
			rc = fchmod(fd, st->st_mode & 07777);
		while (rc == -1 && errno == EINTR);
	if (rc == -1)
		return -1;
	ts[0].tv_sec = 0;
	ts[0].tv_nsec = UTIME_OMIT;
	ts[1] = st->st_mtim;
	return futimens(fd, ts);
}

/*
 * One byte more than the size is asked for: the short read that answers is the
 * end of the file, without another call to find it.
 */
static int
copy_bytes(const struct link *l, int s, int d, off_t left)
{
	ssize_t n;
	size_t want;

	for (;;) {
		want = left < BUF_SIZE ? (size_t)left + 1 : BUF_SIZE;
		n = read_some(s, buf, want);
		if (n == -1)
			return broken(l, "read");
		if (n > left || (n == 0 && left > 0))
			return refuse(l, "changed its size while it was read");
		if (write_all(d, buf, (size_t)n) == -1)
			return broken(l, "write the copy of");
		left -= n;
		if (left == 0 && (size_t)n < want)
			return 0;
	}
}

static int
copy_file(const struct link *l, int s, const struct stat *st)
{
	int d, rc;

	d = open_at(l->d, l->as, O_WRONLY | O_CREAT | O_EXCL,
	    st->st_mode & 0777);
	if (d == -1)
		return broken(l, "create the copy of");
	rc = copy_bytes(l, s, d, st->st_size);
	if (rc == 0 && finish(d, st) == -1)
		rc = broken(l, "keep owner, mode and time of");
	if (close_fd(d) == -1 && rc == 0)
		rc = broken(l, "close the copy of");
	return rc;
}

static int
copy_link(const struct link *l, const struct stat *st)
{
	struct timespec ts[2];
	ssize_t n;
	int rc;

	n = readlinkat(l->s, l->name, buf, sizeof buf);
	if (n == -1 || n == sizeof buf)
		return broken(l, "read the link");
	buf[n] = '\0';
	ts[0].tv_sec = 0;
	ts[0].tv_nsec = UTIME_OMIT;
	ts[1] = st->st_mtim;
	if (symlinkat(buf, l->d, l->as) == -1)
		return broken(l, "create the copy of");
	do
		rc = fchownat(l->d, l->as, st->st_uid, st->st_gid,
		    AT_SYMLINK_NOFOLLOW);
	while (rc == -1 && errno == EINTR);
	if (rc == -1 || utimensat(l->d, l->as, ts, AT_SYMLINK_NOFOLLOW) == -1)
		return broken(l, "keep owner and time of");
	return 0;
}

/*
 * Opens a directory that is to be emptied.  Returns a descriptor; -1; or -2
 * where there is no directory any more.
 */
static int
remove_open(struct walk *w, const struct link *l)
{
	struct stat st;
	int fd;

	fd = dir_open(l->s, l->name);
	if (fd == -1) {
		if (errno == ENOENT || errno == ENOTDIR || errno == ELOOP)
			return -2;
		return broken(l, "open");
	}
	if (fstat(fd, &st) == -1)
		(void)broken(l, "look at");
	else if (l->depth > 0 && st.st_dev != w->dev)
		(void)refuse(l, "another file system is mounted here: "
		    "unmount it");
	else {
		w->dev = st.st_dev;
		return fd;
	}
	(void)close(fd);		/* only read */
	return -1;
}

/*
 * Most names are files, so unlink is tried first; then rmdir, which answers
 * EBUSY at a mount point before anything below it is touched.  A hostile owner
 * can put a file, a link or another directory there between any two calls, and
 * new names into a directory that was just emptied: then it begins again.
 */
static int
remove_visit(struct walk *w, const struct link *l)
{
	int fd, tries;

	for (tries = 0; tries < AGAIN; tries++) {
		if (unlinkat(l->s, l->name, 0) == 0 || errno == ENOENT)
			return 0;
		if (errno != EISDIR && errno != EPERM)
			return broken(l, "remove");
		if (unlinkat(l->s, l->name, AT_REMOVEDIR) == 0 ||
		    errno == ENOENT)
			return 0;
		if (errno == EBUSY)
			return broken(l, "remove (is it a mount point?)");
		if (errno != ENOTEMPTY && errno != EEXIST && errno != ENOTDIR)
			return broken(l, "remove");
		fd = remove_open(w, l);
		if (fd == -1)
			return -1;
		if (fd != -2 && walk_names(w, l, fd, -1) != 0)
			return -1;
	}
	return broken(l, "remove");
}

/*
 * Opens the directory that was just made.  A hostile owner of the directory
 * above it can have put another one of ours there: then it is not empty, or
 * nothing is lost.
 */
static int
open_made(const struct link *l)
{
	static const struct walk all;
	unsigned long names;
	struct stat st;
	int fd, rc;

	fd = dir_open(l->d, l->as);
	if (fd == -1)
		return broken(l, "open the copy of");
	names = 0;
	rc = l->depth == 0 ? names_count(&all, l, fd, &names) : 0;
	if (rc == 0 && fstat(fd, &st) == -1)
		rc = broken(l, "look at the copy of");
	if (rc == 0 && names == 0 && st.st_uid == geteuid() &&
	    (st.st_mode & 0777) == 0700)
		return fd;
	if (rc == 0)
		(void)refuse(l, "somebody else changes what we copy to; or "
		    "the file system there keeps no owners and modes");
	(void)close(fd);		/* only read */
	return -1;
}

/*
 * What was copied goes by way of the descriptor with which it was made: under
 * its name may stand by now what a hostile owner of the directory above has
 * put there.
 */
static void
copy_undo(const struct link *l, int d)
{
	struct walk undo;
	struct stat st;
	int fd;

	fd = dir_open(d, ".");
	if (fd == -1) {
		(void)broken(l, "open the copy of");
		return;
	}
	walk_set(&undo, NULL, remove_visit);
	undo.removing = 1;
	if (fstat(d, &st) == -1) {
		(void)broken(l, "look at the copy of");
		(void)close(fd);	/* only read */
		return;
	}
	undo.dev = st.st_dev;
	(void)walk_names(&undo, l, fd, -1);	/* it has complained */
}

static int
copy_dir(struct walk *w, const struct link *l, int s, const struct stat *st)
{
	int d, rc;

	d = -1;
	if (mkdirat(l->d, l->as, 0700) == -1)
		(void)broken(l, "create the copy of");
	else {
		w->made = 1;
		d = open_made(l);
	}
	if (d == -1) {
		(void)close(s);		/* only read */
		return -1;
	}
	rc = walk_names(w, l, s, d);
	if (rc == 0 && l->depth > 0 && finish(d, st) == -1)
		rc = broken(l, "keep owner, mode and time of");
	if (rc == -1 && l->depth == 0)
		copy_undo(l, d);
	(void)close(d);			/* a directory has no bytes to lose */
	return rc;
}

static int
copy_visit(struct walk *w, const struct link *l)
{
	struct stat st;
	int fd, rc;

	if (interrupted())
		return refuse(l, "interrupted before it was copied");
	fd = tree_open(w, l->s, l, &st);
	if (fd == -2 && l->depth > 0)
		return copy_link(l, &st);
	if (fd == -2)
		return refuse(l, "is a symbolic link, no directory");
	if (fd == -1)
		return -1;
	if (S_ISDIR(st.st_mode))
		return copy_dir(w, l, fd, &st);
	rc = l->depth > 0 ? copy_file(l, fd, &st) :
	    refuse(l, "is a file, no directory");
	(void)close(fd);		/* only read */
	return rc;
}

static int
differ(struct walk *w, const struct link *l, const char *how)
{
	(void)format(w->difference, DIFFERENCE_SIZE, "%s %s", link_path(l),
	    how);
	return 1;
}

static int
differ_stat(struct walk *w, const struct link *l, const struct stat *s,
    const struct stat *d)
{
	if ((s->st_mode & S_IFMT) != (d->st_mode & S_IFMT))
		return differ(w, l, "is of another type");
	if (w->verify && l->depth == 0)
		return 0;
	if (s->st_uid != d->st_uid || s->st_gid != d->st_gid)
		return differ(w, l, "has another owner or group");
	if ((s->st_mode & 07777) != (d->st_mode & 07777) &&
	    !S_ISLNK(s->st_mode))
		return differ(w, l, "has another mode");
	if (S_ISREG(s->st_mode) && s->st_size != d->st_size)
		return differ(w, l, "has another size");
	if (w->verify && (s->st_mtim.tv_sec != d->st_mtim.tv_sec ||
	    s->st_mtim.tv_nsec != d->st_mtim.tv_nsec))
		return differ(w, l, "has another time");
	return 0;
}

static int
compare_bytes(struct walk *w, const struct link *l, int s, int d, off_t left)
{
	char *const other = buf + BUF_SIZE / 2;
	ssize_t n, m, r;
	size_t want;

	for (;;) {
		want = left < BUF_SIZE / 2 ? (size_t)left + 1 : BUF_SIZE / 2;
		n = read_some(s, buf, want);
		for (m = 0; m < n; m += r) {
			r = read_some(d, other + m, (size_t)(n - m));
			if (r == -1)
				return broken(l, "read back");
			if (r == 0)
				break;
		}
		if (n == -1)
			return broken(l, "read");
		if (n != m || n > left || memcmp(buf, other, (size_t)n) != 0)
			return differ(w, l, "has other bytes");
		left -= n;
		if ((size_t)n < want && (left == 0 || n == 0))
			return left == 0 ? 0 : differ(w, l, "is shorter");
	}
}

static int
compare_links(struct walk *w, const struct link *l)
{
	char *const other = buf + BUF_SIZE / 2;
	ssize_t n, m;

	n = readlinkat(l->s, l->name, buf, BUF_SIZE / 2);
	m = readlinkat(l->d, l->as, other, BUF_SIZE / 2);
	if (n == -1 || m == -1)
		return broken(l, "read the link");
	if (n != m || memcmp(buf, other, (size_t)n) != 0)
		return differ(w, l, "points elsewhere");
	return 0;
}

/* Finds a name of the copy that the original does not have. */
static int
extra_visit(struct walk *w, const struct link *l)
{
	struct stat st;

	if (fstatat(l->d, l->as, &st, AT_SYMLINK_NOFOLLOW) == 0)
		return 0;
	if (errno == ENOENT)
		return differ(w, l, "is there only on one side");
	return broken(l, "look at");
}

/* Looks for one in the copy, which is open as d. */
static int
extra_find(const struct walk *w, const struct link *l, int d)
{
	struct walk extra = *w;
	int fd, s, rc;

	s = dir_open(l->s, l->name);
	if (s == -1)
		return broken(l, "open");
	extra.visit = extra_visit;
	fd = dir_open(d, ".");
	rc = fd == -1 ? broken(l, "open the copy of") :
	    walk_names(&extra, l, fd, s);
	(void)close(s);			/* only read */
	return rc;
}

/*
 * Every name of the original was found in the copy: as many there are no
 * others.
 */
static int
compare_names(struct walk *w, const struct link *l, int d)
{
	unsigned long names;
	int rc;

	names = 0;
	rc = names_count(w, l, d, &names);
	if (rc != 0 || names == w->names)
		return rc;
	rc = extra_find(w, l, d);
	return rc == 0 ? differ(w, l, "changes while it is compared") : rc;
}

static int
compare_dir(struct walk *w, const struct link *l, int s, int d,
    const struct stat *st)
{
	unsigned long outside;
	int rc;

	outside = w->names;
	w->names = 0;
	rc = walk_names(w, l, s, d);
	if (rc == 0)
		rc = compare_names(w, l, d);
	if (rc == 0 && w->verify && l->depth == 0 && finish(d, st) == -1)
		rc = broken(l, "keep owner, mode and time of");
	if (rc == 0 && w->settle && sync_fd(d) == -1)
		rc = broken(l, "have on disk the copy of");
	w->names = outside;
	return rc;
}

/*
 * The fsync comes before the file is read back, since reading makes its access
 * time dirty.  With many files one sync beforehand halves the flushes.
 */
static int
compare_file(struct walk *w, const struct link *l, int s, int d,
    const struct stat *st)
{
	if (w->settle) {
		if (++w->files == SYNC_FILES)
			sync();
		if (sync_fd(d) == -1)
			return broken(l, "have on disk the copy of");
	}
	return compare_bytes(w, l, s, d, st->st_size);
}

/* Both sides are open, or both are links (-2). */
static int
compare_open(struct walk *w, const struct link *l, int s, int d,
    const struct stat *st)
{
	if (s == -2)
		return compare_links(w, l);
	if (S_ISREG(st->st_mode))
		return compare_file(w, l, s, d, st);
	s = dir_open(s, ".");
	if (s == -1)
		return broken(l, "open");
	return compare_dir(w, l, s, d, st);
}

static int
compare_visit(struct walk *w, const struct link *l)
{
	struct stat s, d;
	int sfd, dfd, rc;

	w->names++;
	sfd = tree_open(w, l->s, l, &s);
	if (sfd == -1)
		return -1;
	dfd = open_at(l->d, l->as, O_RDONLY, 0);
	if (dfd != -1)
		rc = fstat(dfd, &d);
	else
		rc = fstatat(l->d, l->as, &d, AT_SYMLINK_NOFOLLOW);
	if (rc == -1 && errno == ENOENT)
		rc = differ(w, l, "is there only on one side");
	else if (rc == -1)
		rc = broken(l, "look at the copy of");
	else
		rc = differ_stat(w, l, &s, &d);
	if (rc == 0 && dfd == -1 && sfd != -2)
		rc = broken(l, "open the copy of");
	if (rc == 0)
		rc = compare_open(w, l, sfd, dfd, &s);
	if (dfd != -1)
		(void)close(dfd);	/* only read */
	if (sfd != -2)
		(void)close(sfd);	/* only read */
	return rc;
}

static void
link_set(struct link *l, int s, const char *name, int d, const char *as)
{
	l->up = NULL;
	l->name = name;
	l->as = as;
	l->s = s;
	l->d = d;
	l->depth = 0;
}

int
tree_copy(int sat, const char *sname, int dat, const char *dname,
    const char *const *skip)
{
	struct walk w;
	struct link l;
	int made, rc;

	made = name_exists(dat, dname);
	if (made == -1)
		return -1;
	if (made == 1)
		return complainx("copy %s to %s: that exists", sname, dname);
	walk_set(&w, skip, copy_visit);
	link_set(&l, sat, sname, dat, dname);
	rc = copy_visit(&w, &l);
	if (rc == -1 && w.made && unlinkat(dat, dname, AT_REMOVEDIR) == -1 &&
	    errno != ENOENT)
		(void)complain("remove %s", dname);
	return rc;
}

static int
tree_check(struct walk *w, const struct link *l)
{
	static char difference[DIFFERENCE_SIZE];
	int rc;

	w->verify = 1;
	w->difference = difference;
	rc = compare_visit(w, l);
	if (rc == 1)
		return complainx("the copy of %s is not like the original: %s",
		    l->name, difference);
	return rc;
}

int
tree_verify(int sat, const char *sname, int dat, const char *dname,
    const char *const *skip)
{
	struct walk w;
	struct link l;

	walk_set(&w, skip, compare_visit);
	link_set(&l, sat, sname, dat, dname);
	return tree_check(&w, &l);
}

int
tree_settle(int sat, const char *sname, int dat, const char *dname,
    const char *const *skip)
{
	struct walk w;
	struct link l;

	walk_set(&w, skip, compare_visit);
	link_set(&l, sat, sname, dat, dname);
	w.settle = 1;
	return tree_check(&w, &l);
}

int
tree_compare(int sat, const char *sname, int dat, const char *dname,
    const char *const *skip, char *difference)
{
	struct walk w;
	struct link l;

	walk_set(&w, skip, compare_visit);
	link_set(&l, sat, sname, dat, dname);
	w.difference = difference;
	return compare_visit(&w, &l);
}

int
dir_like(int at, const char *name, const char *model)
{
	struct stat st;
	int fd, rc;

	if (fstatat(at, model, &st, AT_SYMLINK_NOFOLLOW) == -1)
		return complain("look at %s", model);
	if (mkdirat(at, name, 0700) == -1)
		return complain("create %s", name);
	fd = dir_open(at, name);
	if (fd == -1)
		return complain("open %s", name);
	rc = finish(fd, &st) == -1 ? complain("keep owner and mode of %s for "
	    "%s", model, name) : 0;
	(void)close(fd);		/* a directory: nothing to lose */
	return rc;
}

int
tree_remove(int at, const char *name)
{
	struct walk w;
	struct link l;

	walk_set(&w, NULL, remove_visit);
	link_set(&l, at, name, -1, NULL);
	w.removing = 1;
	return remove_visit(&w, &l);
}
