/*
 * cmregen.c: the program.  Messages, signals and time, processes, files and
 * locks, Puppet's settings, certificates, the command line, and trees.  What
 * is done on either host stands in mom.c and node.c.
 */
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <arpa/inet.h>
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
	WAIT = 300,		/* seconds, of a node command without -w */
	WAIT_MAX = 604800,	/* seconds that -w takes: a week */
	BYTES_SIZE = 32768,	/* of a file are read at once */
	AGAIN = 100		/* tries against a hostile owner */
};

extern char **environ;

static volatile sig_atomic_t stop;	/* a signal asked us to stop */
static int held;			/* an undo is running */
static int lost;			/* say could not write */

static struct {				/* what busy has named */
	char text[512];
	long since, shown;
	int on;				/* its line is not ended yet */
	int off;			/* a dry run takes no steps */
} work;

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

int
format(char *out, size_t size, const char *fmt, ...)
{
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(out, size, fmt, ap);
	va_end(ap);
	return n >= 0 && (size_t)n < size ? 0 : -1;
}

/* Reads from there on, until the buffer is full or the file ends. */
static ssize_t
read_at(int fd, char *p, size_t size, off_t at)
{
	ssize_t n;
	size_t have;

	for (have = 0; have < size; have += (size_t)n) {
		do
			n = pread(fd, p + have, size - have,
			    at + (off_t)have);
		while (n == -1 && errno == EINTR);
		if (n == -1)
			return -1;
		if (n == 0)
			break;
	}
	return (ssize_t)have;
}

void
close_read(int fd)
{
	const int before = errno;

	if (fd != -1)
		(void)close(fd);
	errno = before;
}

/*
 * How many bytes the letter that begins there has in UTF-8 (RFC 3629), or 0
 * where none begins.  Of one that the end cuts off: how many it would have.
 */
static size_t
letter_size(const unsigned char *p, size_t n)
{
	size_t size, i;

	if (p[0] < 0x80)
		return 1;
	if (p[0] < 0xc2 || p[0] > 0xf4)
		return 0;
	size = p[0] < 0xe0 ? 2 : p[0] < 0xf0 ? 3 : 4;
	for (i = 1; i < size && i < n; i++)
		if ((p[i] & 0xc0) != 0x80)
			return 0;
	/* nor does a control character that is longer than it must be */
	if (n > 1 && ((p[0] == 0xe0 && p[1] < 0xa0) ||
	    (p[0] == 0xf0 && p[1] < 0x90)))
		return 0;
	return size;
}

/*
 * What a child printed, or a name in a hostile tree, must not control the
 * terminal: control characters become '?', also U+0080 to U+009F, whether as
 * letters or as bytes that belong to none.  Newlines and tabs stay.
 */
static void
harmless(char *text, size_t n)
{
	unsigned char *const p = (unsigned char *)text;
	size_t i, size;
	int control;

	for (i = 0; i < n; i += size) {
		size = letter_size(p + i, n - i);
		if (size > n - i)
			size = 0;
		control = p[i] < ' ' ? p[i] != '\n' && p[i] != '\t' :
		    p[i] == 0x7f || (size == 0 && p[i] < 0xa0) ||
		    (size == 2 && p[i] == 0xc2 && p[i + 1] < 0xa0);
		if (size == 0)
			size = 1;
		if (control)
			memset(p + i, '?', size);
	}
}

/* And cannot begin a line that looks like ours. */
static void
one_line(char *text)
{
	harmless(text, strlen(text));
	for (; *text != '\0'; text++)
		if (*text == '\n' || *text == '\t')
			*text = '?';
}

long
seconds(void)
{
	struct timespec ts;

	if (clock_gettime(CLOCK_MONOTONIC, &ts) == -1)
		return 0;
	return (long)ts.tv_sec;
}

/* On a terminal.  What is too long is cut, but not the time. */
static void
line_draw(void)
{
	char line[COLUMNS + 2], took[24];
	int room;

	(void)format(took, sizeof took, " (%ld s)", work.shown);
	room = COLUMNS - (int)strlen(took);
	(void)format(line, sizeof line, "\r%.*s%s", room, work.text, took);
	(void)write_all(STDERR_FILENO, line, strlen(line));
}

/* On a terminal the whole of it goes over what was drawn, which is shorter. */
void
quiet(void)
{
	char line[sizeof work.text + 32];
	int terminal;

	if (!work.on)
		return;
	work.on = 0;
	terminal = isatty(STDERR_FILENO) == 1;
	(void)format(line, sizeof line, "%s%s (%ld s)\n",
	    terminal ? "\r" : "", terminal ? work.text : "",
	    seconds() - work.since);
	(void)write_all(STDERR_FILENO, line, strlen(line));
}

void
busy(const char *fmt, ...)
{
	char text[sizeof work.text] = "cmregen: ";
	va_list ap;
	size_t n;

	n = strlen(text);
	va_start(ap, fmt);
	(void)vsnprintf(text + n, sizeof text - n, fmt, ap);
	va_end(ap);
	one_line(text);
	if (work.off || (work.on && strcmp(text, work.text) == 0))
		return;
	quiet();
	memcpy(work.text, text, sizeof text);
	work.since = seconds();
	work.shown = 0;
	work.on = 1;
	if (isatty(STDERR_FILENO) == 1)
		line_draw();
	else
		(void)write_all(STDERR_FILENO, text, strlen(text));
}

/*
 * One write a message, so that those of two processes do not mix.  An error of
 * 0 adds no reason.
 */
static int
emit(int fd, int error, const char *fmt, va_list ap)
{
	char text[MESSAGE_SIZE];
	size_t n;
	int rc, before;

	before = errno;
	quiet();
	(void)format(text, sizeof text, "%s", fd == STDERR_FILENO ?
	    "cmregen: " : "");
	n = strlen(text);
	/* a byte is left for the newline */
	(void)vsnprintf(text + n, sizeof text - n - 1, fmt, ap);
	n = strlen(text);
	if (error != 0)
		(void)format(text + n, sizeof text - n - 1, ": %s",
		    strerror(error));
	one_line(text);
	n = strlen(text);
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
tell(const struct options *o, const char *fmt, ...)
{
	char text[MESSAGE_SIZE / 2];
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(text, sizeof text, fmt, ap);	/* at worst cut */
	va_end(ap);
	say("%s%s", o->dry ? "# " : "", text);
}

void
say_next(const struct options *o, int same_host, const char *host,
    const char *command, const char *rest)
{
	char p[4 * PATH_SIZE + 3];
	int puppet;

	puppet = same_host && strcmp(o->puppet, PUPPET) != 0;
	tell(o, "next, on %s:", host);
	tell(o, "    cmregen %s%s%s%s%s", command, puppet ? " -p " : "",
	    puppet ? quote(p, sizeof p, o->puppet) : "",
	    rest[0] == '\0' ? "" : " ", rest);
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

/*
 * In the child: what POSIX calls async-signal-safe, and nothing else.  The
 * pipe closes at the exec, or brings the errno of what failed before it; so
 * "could not start" is never taken for an exit status.
 */
static int
child_exec(int out, int up, const char *const argv[], char *const env[])
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
	if (fcntl(up, F_SETFD, FD_CLOEXEC) == -1 || setpgid(0, 0) == -1)
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

/* Nothing runs. */
static int
child_none(struct child *c)
{
	child_close(c);
	c->pid = 0;
	c->status = -1;
	return -1;
}

int
child_start(struct child *c, const char *const argv[])
{
	char *const *env;
	ssize_t n;
	int fd[2], e;

	memset(c, 0, sizeof *c);
	for (n = 0; argv[n] != NULL; n++)
		c->argv[n] = argv[n];
	c->status = -1;
	c->out = output_open();
	if (c->out == -1)
		return -1;
	if (pipe(fd) == -1) {
		(void)complain("make a pipe");
		return child_none(c);
	}
	env = child_env();
	c->pid = fork();
	if (c->pid == 0) {
		close_read(fd[0]);
		(void)child_exec(c->out, fd[1], argv, env);
		e = errno;
		(void)write_all(fd[1], (const char *)&e, sizeof e);
		_exit(127);
	}
	close_read(fd[1]);
	if (c->pid == -1) {
		(void)complain("fork");
		close_read(fd[0]);
		return child_none(c);
	}
	do
		n = read(fd[0], &e, sizeof e);
	while (n == -1 && errno == EINTR);
	close_read(fd[0]);
	if (n == 0)
		return 0;
	(void)child_reap(c, 0);
	errno = n == sizeof e ? e : EIO;
	(void)complain("run %s", argv[0]);
	return child_none(c);
}

int
child_ended(struct child *c)
{
	return c->pid == 0 || child_reap(c, WNOHANG) == 1;
}

int
child_wait(struct child *c)
{
	while (!child_ended(c))
		nap(1000);
	if (c->status == -1 || !WIFEXITED(c->status))
		return -1;
	return WEXITSTATUS(c->status);
}

void
child_stop(struct child *c)
{
	long since;

	if (child_ended(c))
		return;
	(void)kill(-c->pid, SIGTERM);	/* it can have ended just now */
	for (since = seconds(); !child_ended(c); nap(100))
		if (seconds() - since >= GRACE)
			(void)kill(-c->pid, SIGKILL);
}

int
child_wait_or_stop(struct child *c)
{
	while (!child_ended(c) && !interrupted())
		nap(1000);
	child_stop(c);
	return child_wait(c);
}

/*
 * Reads on.  The child has the same open file, whose offset moves as it
 * prints; pread does not touch that.
 */
static ssize_t
child_read(struct child *c, char *p, size_t n)
{
	ssize_t r;

	if (c->out == -1)
		return 0;
	r = read_at(c->out, p, n, c->from);
	if (r == -1)
		return complain("read the output of %s", c->argv[0]);
	c->from += r;
	return r;
}

int
child_line(struct child *c, char *line, size_t size)
{
	ssize_t n;
	char *end;

	n = child_read(c, line, size);
	if (n < 1)
		return (int)n;
	end = memchr(line, '\n', (size_t)n);
	if (end == NULL && (size_t)n == size)
		return complainx("%s printed a line of more than %d bytes",
		    c->argv[0], (int)size - 1);
	if (end == NULL)
		return complainx("what %s printed ends in the middle of a "
		    "line", c->argv[0]);
	c->from -= n - (end + 1 - line);
	if (end > line && end[-1] == '\r')
		end--;
	*end = '\0';
	return 1;
}

/* How many bytes are lines: what has no newline at its end is none. */
static size_t
lines_whole(const char *text, size_t n)
{
	while (n > 0 && text[n - 1] != '\n')
		n--;
	return n;
}

/*
 * How much of what was read is printed now: whole lines; of a line that fills
 * the buffer, whole letters; what is left of a child that has ended.
 */
static size_t
output_whole(const struct child *c, const char *text, size_t n, size_t size)
{
	const unsigned char *const end = (const unsigned char *)text + n;
	size_t lines, cut;

	lines = lines_whole(text, n);
	if (lines > 0)
		return lines;
	if (n < size)
		return c->pid == 0 ? n : 0;
	for (cut = 1; cut < 4; cut++)
		if (letter_size(end - cut, cut) > cut)
			return n - cut;
	return n;
}

/* Indented, so that no word of puppet can pass for a line of ours. */
void
child_follow(struct child *c)
{
	char text[4096 + 1], line[sizeof text + 8], *p, *end;
	ssize_t got;
	size_t n;

	while ((got = child_read(c, text, sizeof text - 1)) > 0) {
		n = output_whole(c, text, (size_t)got, sizeof text - 1);
		c->from -= got - (ssize_t)n;
		if (n == 0)
			return;
		quiet();
		harmless(text, n);
		text[n] = '\0';
		for (p = text; *p != '\0'; p = end) {
			end = p + strcspn(p, "\n");
			if (*end == '\n')
				*end++ = '\0';
			(void)format(line, sizeof line, "    %s\n", p);
			(void)write_all(STDERR_FILENO, line, strlen(line));
		}
	}
}

static void
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
}

void
child_show(struct child *c)
{
	char line[MESSAGE_SIZE / 2], how[64];
	struct stat st;
	const char *and;

	if (c->out == -1)
		return;
	command_line(line, sizeof line, c->argv);
	if (c->status == -1 || !WIFEXITED(c->status))
		(void)format(how, sizeof how, "was ended by signal %d",
		    WTERMSIG(c->status));
	else
		(void)format(how, sizeof how, "exited with status %d",
		    WEXITSTATUS(c->status));
	c->from = 0;
	and = "and printed:";
	if (fstat(c->out, &st) == -1 || st.st_size == 0)
		and = "and printed nothing";
	else if (st.st_size > TAIL_SIZE) {
		and = "and printed much, at the end:";
		c->from = st.st_size - TAIL_SIZE;
	}
	note("%s %s, %s", line, how, and);
	child_follow(c);
	c->from = 0;
}

void
child_close(struct child *c)
{
	close_read(c->out);		/* unlinked: it has no further use */
	c->out = -1;
}

void
child_say(const char *const argv[])
{
	char line[MESSAGE_SIZE / 2];

	command_line(line, sizeof line, argv);
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

int
file_open(int at, const char *path)
{
	char name[NAME_SIZE];
	size_t n;
	int fd, next;

	path += strspn(path, "/");
	for (fd = dir_open(at, "."); fd != -1 && *path != '\0'; fd = next) {
		n = strcspn(path, "/");
		if (n >= NAME_SIZE || strncmp(path, "..", n) == 0) {
			close_read(fd);
			errno = n >= NAME_SIZE ? ENAMETOOLONG : EINVAL;
			return -1;
		}
		memcpy(name, path, n);
		name[n] = '\0';
		path += n;
		next = open_at(fd, name, *path == '/' ? O_RDONLY | O_DIRECTORY
		    : O_RDONLY, 0);
		path += strspn(path, "/");
		close_read(fd);
	}
	return fd;
}

int
path_above(int root, const char *path)
{
	char dir[PATH_SIZE];
	size_t n;

	for (n = strlen(path); n > 0 && path[n - 1] == '/'; )
		n--;
	while (n > 0 && path[n - 1] != '/')
		n--;
	if (format(dir, sizeof dir, "%.*s", (int)n, path) == -1) {
		errno = ENAMETOOLONG;
		return -1;
	}
	return root == -1 ? path_dir(dir) : file_open(root, dir);
}

/* Reads all of a file, and closes it. */
static ssize_t
read_all(int fd, char *text, size_t size)
{
	struct stat st;
	ssize_t n;

	if (fd == -1)
		return -1;
	n = -1;
	if (fstat(fd, &st) == 0) {
		errno = EINVAL;
		if (S_ISREG(st.st_mode))
			n = read_at(fd, text, size, 0);
	}
	close_read(fd);
	if (n == (ssize_t)size) {
		errno = EFBIG;
		return -1;
	}
	if (n != -1)
		text[n] = '\0';
	return n;
}

ssize_t
path_read(const char *path, char *text, size_t size)
{
	return read_all(open_at(AT_FDCWD, path, O_RDONLY, 0), text, size);
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

int
name_remove(int at, const char *name)
{
	if (unlinkat(at, name, 0) == -1)
		return errno == ENOENT ? 0 : complain("remove %s", name);
	return sync_fd(at) == -1 ?
	    complain("have the removal of %s on disk", name) : 0;
}

const char *
name_next(DIR *d)
{
	const struct dirent *e;

	do {
		errno = 0;
		e = readdir(d);
	} while ((e == NULL && errno == EINTR) || (e != NULL &&
	    (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)));
	return e == NULL ? NULL : e->d_name;
}

DIR *
names_open(int at)
{
	DIR *d;
	int fd;

	fd = dir_open(at, ".");
	if (fd == -1)
		return NULL;
	d = fdopendir(fd);
	if (d == NULL)
		close_read(fd);
	return d;
}

static int
dir_empty(int fd)
{
	DIR *d;
	int empty;

	d = names_open(fd);
	if (d == NULL)
		return 0;
	empty = name_next(d) == NULL && errno == 0;
	(void)closedir(d);		/* only read */
	return empty;
}

/* Whether a name is still of what was opened by it. */
static int
name_is(int at, const char *name, const struct stat *st)
{
	struct stat named;

	return fstatat(at, name, &named, AT_SYMLINK_NOFOLLOW) == 0 &&
	    named.st_dev == st->st_dev && named.st_ino == st->st_ino;
}

/*
 * Whether what was opened by a name is the directory that was just made by
 * it.  A hostile owner of the directory above can have put another there: what
 * is his does not belong to us, and of ours he can move there only what lies
 * beside it.  So this tells it from all but another empty one beside it that
 * is closed to everybody else: where that is taken for it, nothing is lost.
 */
static int
dir_ours(int at, const char *name, int fd)
{
	struct stat st;

	return fstat(fd, &st) == 0 && st.st_uid == geteuid() &&
	    (st.st_mode & 0777) == 0700 && dir_empty(fd) &&
	    name_is(at, name, &st);
}

/* Makes an empty directory, ours alone, and opens it. */
static int
dir_new(int at, const char *name)
{
	int fd;

	if (mkdirat(at, name, 0700) == -1)
		return complain("create %s", name);
	fd = dir_open(at, name);
	if (fd != -1 && dir_ours(at, name, fd))
		return fd;
	if (fd == -1)
		(void)complain("open %s, which was just made", name);
	else
		(void)complainx("%s is not as it was made: somebody else "
		    "changes it, or the file system there keeps no owners "
		    "and modes", name);
	close_read(fd);
	/* if it is still there, it is empty; if not, nothing is lost */
	(void)unlinkat(at, name, AT_REMOVEDIR);
	return -1;
}

int
dir_remove(int at, const char *name)
{
	return unlinkat(at, name, AT_REMOVEDIR) == -1 ? -1 : sync_fd(at);
}

int
dir_make(int at, const char *name)
{
	int fd;

	fd = dir_new(at, name);
	if (fd == -1)
		return -1;
	close_read(fd);
	if (sync_fd(at) == 0)
		return 0;
	(void)complain("have %s on disk", name);
	if (dir_remove(at, name) == -1)
		(void)complain("remove %s", name);
	return -1;
}

/* Owner, group and mode; set-id bits last, since chown clears them. */
static int
give(int fd, const struct stat *st)
{
	int rc;

	do
		rc = fchown(fd, st->st_uid, st->st_gid);
	while (rc == -1 && errno == EINTR);
	if (rc == -1)
		return -1;
	do
		rc = fchmod(fd, st->st_mode & 07777);
	while (rc == -1 && errno == EINTR);
	return rc;
}

int
owner_like(int at, const char *path, int mat, const char *mpath)
{
	struct stat st, model;
	int fd, mfd, rc;

	mfd = file_open(mat, mpath);
	if (mfd == -1)
		return complain("open %s", mpath);
	rc = 0;
	fd = file_open(at, path);
	if (fd == -1)
		rc = complain("open %s", path);
	else if (fstat(fd, &st) == -1 || fstat(mfd, &model) == -1)
		rc = complain("look at %s and %s", path, mpath);
	else if (!S_ISDIR(st.st_mode) && !S_ISREG(st.st_mode))
		rc = complainx("%s is neither a file nor a directory", path);
	else if (S_ISREG(st.st_mode) && st.st_nlink != 1)
		rc = complainx("%s has another name elsewhere", path);
	else if ((st.st_mode & S_IFMT) != (model.st_mode & S_IFMT))
		rc = complainx("%s is not of the type of %s", path, mpath);
	else if (give(fd, &model) == -1 || sync_fd(fd) == -1)
		rc = complain("give %s owner and mode of %s", path, mpath);
	close_read(fd);
	close_read(mfd);
	return rc;
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
 * A file that somebody else made or can write, or a second name of one that
 * matters elsewhere, is not ours to believe or to write into.
 */
static int
lock_ours(int fd, const char *name, struct stat *st)
{
	if (fstat(fd, st) == -1)
		return complain("look at %s", name);
	if (!S_ISREG(st->st_mode) || st->st_nlink > 1 ||
	    st->st_uid != geteuid() || (st->st_mode & 077) != 0)
		return complainx("%s is not as cmregen makes it (a regular "
		    "file of root's, 0600, one name): fix that, by chown, "
		    "chmod or rm of the other name; what it says is needed",
		    name);
	return 0;
}

/* Returns LOCK_TAKEN, LOCK_HELD, or -1. */
static int
lock_fd(const struct lock *k, struct stat *st)
{
	struct flock fl;

	if (lock_ours(k->fd, k->name, st) == -1)
		return -1;
	if (lock_fcntl(k->fd, F_SETLK, &fl) == 0)
		return LOCK_TAKEN;
	if (errno == EAGAIN || errno == EACCES)
		return LOCK_HELD;
	return complain("lock %s", k->name);
}

int
lock_take(struct lock *k, int at, const char *name)
{
	struct stat st;
	int tries, rc;

	k->at = at;
	k->name = name;
	for (tries = 0; tries < AGAIN; tries++) {
		k->fd = open_at(at, name, O_RDWR | O_CREAT | O_APPEND, 0600);
		if (k->fd == -1 && errno == ENOENT)
			return LOCK_GONE;
		if (k->fd == -1)
			return complain("open %s", name);
		rc = lock_fd(k, &st);
		/* whoever had it may have removed it while we came */
		if (rc == LOCK_TAKEN && name_is(at, name, &st))
			return LOCK_TAKEN;
		lock_leave(k);
		if (rc != LOCK_TAKEN)
			return rc;
	}
	return complainx("lock %s: somebody keeps on replacing it", name);
}

int
lock_wait(struct lock *k, int at, const char *name)
{
	int rc;

	while ((rc = lock_take(k, at, name)) == LOCK_HELD) {
		if (interrupted())
			return complainx("interrupted while it waited for "
			    "another cmregen on this host");
		busy("waiting for another cmregen on this host");
		nap(200);
	}
	if (rc == LOCK_GONE)
		return complainx("lock %s: its directory was removed", name);
	return rc;
}

/* Reads the lines there are.  Returns how many bytes, or -1. */
static ssize_t
lock_read(int fd, const char *name, char *text, size_t size)
{
	ssize_t n;
	size_t have;

	n = read_at(fd, text, size, 0);
	if (n == -1)
		return complain("read %s", name);
	have = lines_whole(text, (size_t)n);
	if ((size_t)n == size || memchr(text, '\0', have) != NULL)
		return complainx("%s is damaged: look at it, and move the "
		    "directory that it is in away, which may hold a key",
		    name);
	text[have] = '\0';
	return (ssize_t)have;
}

int
lock_ask(int at, const char *name, char *text, size_t size)
{
	struct stat st;
	struct flock fl;
	int fd, rc;

	memset(&fl, 0, sizeof fl);
	text[0] = '\0';
	fd = open_at(at, name, O_RDONLY, 0);
	if (fd == -1)
		return errno == ENOENT ? 0 : complain("open %s", name);
	rc = lock_ours(fd, name, &st);
	if (rc == 0 && lock_fcntl(fd, F_GETLK, &fl) == -1)
		rc = complain("look at the lock %s", name);
	if (rc == 0 && lock_read(fd, name, text, size) == -1)
		rc = -1;
	close_read(fd);
	return rc == -1 ? -1 : fl.l_type != F_UNLCK;
}

int
lock_cut(const struct lock *k, size_t size)
{
	int rc;

	do
		rc = ftruncate(k->fd, (off_t)size);
	while (rc == -1 && errno == EINTR);
	if (rc == -1 || sync_fd(k->fd) == -1)
		return complain("cut %s", k->name);
	return 0;
}

int
lock_lines(const struct lock *k, char *text, size_t size)
{
	struct stat st;
	ssize_t n;

	n = lock_read(k->fd, k->name, text, size);
	if (n == -1)
		return -1;
	if (fstat(k->fd, &st) == -1)
		return complain("look at %s", k->name);
	return st.st_size == n ? 0 : lock_cut(k, (size_t)n);
}

int
lock_add(const struct lock *k, const char *line)
{
	char text[2 * PATH_SIZE];

	if (format(text, sizeof text, "%s\n", line) == -1)
		return complainx("%s: a line is too long", k->name);
	if (write_all(k->fd, text, strlen(text)) == -1 ||
	    sync_fd(k->fd) == -1 || sync_fd(k->at) == -1)
		return complain("write to %s", k->name);
	return 0;
}

void
lock_leave(struct lock *k)
{
	close_read(k->fd);		/* every line was fsynced */
	k->fd = -1;
}

int
lock_drop(struct lock *k)
{
	int rc;

	rc = k->fd == -1 ? 0 : name_remove(k->at, k->name);
	lock_leave(k);
	return rc;
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
		if (format(s[i].value, s[i].size, "%s", line) == -1)
			return complainx("puppet's setting %s is longer than "
			    "%d bytes", s[i].name, (int)s[i].size - 1);
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
		(void)format(s[i].value, s[i].size, "\n");
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
settings_ask(const struct options *o, const char *section, const char *ssldir,
    const struct setting *s, size_t count)
{
	const char *argv[CHILD_WORDS];
	struct child c;
	size_t n, i;
	int rc;

	n = 0;
	argv[n++] = o->puppet;
	argv[n++] = "config";
	argv[n++] = "print";
	argv[n++] = "--color=false";
	if (ssldir != NULL) {
		argv[n++] = "--ssldir";
		argv[n++] = ssldir;
	}
	argv[n++] = "--section";
	argv[n++] = section;
	if (n + count >= CHILD_WORDS)
		return complainx("too many settings");
	for (i = 0; i < count; i++)
		argv[n++] = s[i].name;
	argv[n] = NULL;
	busy("asking puppet for version and settings");
	rc = child_start(&c, argv);
	if (rc == 0 && (child_wait_or_stop(&c) != 0 ||
	    settings_read(&c, s, count) == -1)) {
		rc = complainx(interrupted() ? "interrupted" : "puppet did "
		    "not tell its settings: fix what it says, then run this "
		    "again");
		child_show(&c);
	} else if (rc == 0 && o->verbose)
		child_show(&c);
	child_close(&c);
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
	busy("asking puppet for version and settings");
	rc = child_start(&c, argv);
	if (rc == -1)
		note("if Puppet is elsewhere, name it with -p");
	if (rc == 0 && child_wait_or_stop(&c) == 0)
		while (major == -1 && child_line(&c, line, sizeof line) == 1) {
			n = strspn(line, "0123456789");
			if (n > 0 && line[n] == '.' &&
			    line[strspn(line, "0123456789.")] == '\0') {
				line[n] = '\0';
				major = (int)number_read(line);
			}
		}
	if (rc == 0 && major < 1)
		major = complainx(interrupted() ? "interrupted" : "puppet did "
		    "not tell its version: is %s the puppet program (see -p)?",
		    o->puppet);
	if (rc == 0 && (major == -1 || o->verbose))
		child_show(&c);
	child_close(&c);
	return major;
}

void
puppetserver_path(const struct options *o, char program[PROGRAM_SIZE])
{
	int dir;

	dir = (int)(strrchr(o->puppet, '/') - o->puppet);
	(void)format(program, PROGRAM_SIZE, "%.*s/puppetserver", dir,
	    o->puppet);			/* it fits */
}

long
number_read(const char *s)
{
	size_t n;

	n = strspn(s, "0123456789");
	return n > 0 && n < 10 && s[n] == '\0' ? strtol(s, NULL, 10) : -1;
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
 * Certificates: sums and fingerprints, DER, what stands in it, PEM.
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

/* The value of the next hex digit, past colons; -1 at the end or elsewhere. */
static int
hex_next(const char **p)
{
	static const char digits[] = "0123456789abcdef0123456789ABCDEF";
	const char *d;

	*p += strspn(*p, ":");
	d = **p == '\0' ? NULL : strchr(digits, **p);
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
 * DER (X.690).  What it forbids (a length that is indefinite or longer than
 * needed, a number with bytes too many) is refused here, so equal values have
 * equal bytes; so is whatever is left behind the last element.
 */

struct der {
	const unsigned char *head;	/* its tag, where it is an element */
	const unsigned char *p;		/* what it contains; NULL: not there */
	size_t n;
};

static const struct der der_none = { NULL, NULL, 0 };

/* Tags (X.680, 8.4; X.690, 8.1.2).  A form is a string of them. */
#define BOOLEAN		"\x01"
#define INTEGER		"\x02"
#define BITS		"\x03"
#define OCTETS		"\x04"
#define OID		"\x06"
#define UTF8		"\x0c"
#define NUMERIC		"\x12"
#define PRINTABLE	"\x13"
#define T61		"\x14"
#define IA5		"\x16"
#define UTC_TIME	"\x17"
#define TIME		"\x18"
#define VISIBLE		"\x1a"
#define SEQUENCE	"\x30"
#define SET		"\x31"
#define VALUE_1		"\x81"		/* [1], a value */
#define CONTEXT_0	"\xa0"		/* [0], made of elements */
#define CONTEXT_1	"\xa1"
#define CONTEXT_3	"\xa3"
#define OPTIONAL	"?"		/* what follows may be missing */

/*
 * Takes the next element, which must have that tag.  Returns 0, with what it
 * contains, or -1.  A number must not be negative (8.3); a string of bits must
 * be one of bytes.  No length here needs more than two bytes (TEXT_SIZE).
 */
static int
der_take(struct der *in, const char *tag, struct der *out)
{
	size_t head, n;

	if (in->n < 2 || in->p[0] != (unsigned char)tag[0])
		return -1;
	head = 2;
	n = in->p[1];
	if (n == 0x81 && in->n > 2 && in->p[2] >= 0x80) {
		head = 3;
		n = in->p[2];
	} else if (n == 0x82 && in->n > 3 && in->p[2] != 0) {
		head = 4;
		n = (size_t)in->p[2] << 8 | in->p[3];
	} else if (n >= 0x80)
		return -1;
	if (n > in->n - head)
		return -1;
	out->head = in->p;
	out->p = in->p + head;
	out->n = n;
	in->p += head + n;
	in->n -= head + n;
	if (tag[0] == INTEGER[0] && (n == 0 || out->p[0] >= 0x80 ||
	    (n > 1 && out->p[0] == 0 && out->p[1] < 0x80)))
		return -1;
	if (tag[0] != BITS[0])
		return 0;
	if (n == 0 || out->p[0] != 0)
		return -1;
	out->p++;
	out->n--;
	return 0;
}

/* Takes what a form has, one after the other, and all that there is. */
static int
der_parts(struct der in, const char *form, struct der out[])
{
	size_t i;

	for (i = 0; *form != '\0'; form++, i++) {
		out[i] = der_none;
		if (*form == OPTIONAL[0]) {
			form++;
			if (in.n == 0 || in.p[0] != (unsigned char)*form)
				continue;
		}
		if (der_take(&in, form, &out[i]) == -1)
			return -1;
	}
	return in.n == 0 ? 0 : -1;
}

/* The same of a sequence, which is all that there is. */
static int
der_sequence(struct der in, const char *form, struct der out[])
{
	struct der all;

	if (der_take(&in, SEQUENCE, &all) == -1 || in.n != 0)
		return -1;
	return der_parts(all, form, out);
}

/* Whether these are the bytes of a string (none of them is 0). */
static int
der_is(struct der in, const char *bytes)
{
	return in.n == strlen(bytes) && memcmp(in.p, bytes, in.n) == 0;
}

static int
number_is(struct der in, int number)
{
	return in.n == 1 && in.p[0] == number;
}

/*
 * Text that is made of DER.  What does not fit leaves no room, and makes the
 * whole file odd in the end.
 */

struct list {
	char *p;			/* the next byte */
	size_t room;			/* with the final 0; 0: it was full */
};

static void
list_add(struct list *l, const char *fmt, ...)
{
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(l->p, l->room, fmt, ap);
	va_end(ap);
	if (n < 0 || (size_t)n >= l->room) {
		l->room = 0;
		return;
	}
	l->p += n;
	l->room -= (size_t)n;
}

static void
list_hex(struct list *l, struct der in)
{
	for (; in.n > 0; in.p++, in.n--)
		list_add(l, "%02X", in.p[0]);
}

/* Adds text, so that no two look the same, or like a line of their own. */
static void
list_text(struct list *l, struct der in)
{
	for (; in.n > 0; in.p++, in.n--)
		list_add(l, in.p[0] < ' ' || in.p[0] > '~' ||
		    in.p[0] == '\\' ? "\\x%02X" : "%c", in.p[0]);
}

/* Adds the numbers of an OID, or of its rest, a dot before each (8.19). */
static int
list_oid(struct list *l, struct der in)
{
	uint32_t arc;

	for (arc = 0; in.n > 0; in.p++, in.n--) {
		if ((arc == 0 && in.p[0] == 0x80) || arc >> 25 != 0)
			return -1;
		arc = arc << 7 | (in.p[0] & 0x7f);
		if (in.p[0] >= 0x80 && in.n == 1)
			return -1;
		if (in.p[0] >= 0x80)
			continue;
		list_add(l, ".%lu", (unsigned long)arc);
		arc = 0;
	}
	return 0;
}

/*
 * Keys.  Only what is public of one is kept: modulus and exponent of RSA, or
 * curve and point of EC, as they stand in the DER.  Where that is not there,
 * or in a form that has others beside it (a curve by its parameters, half a
 * point), nothing can be told, and nothing is wrong.
 */

enum algorithm { ALG_BAD, ALG_OTHER, ALG_RSA, ALG_CURVE };

static void
key_set(struct pem *p, struct der first, struct der second)
{
	const size_t n = (size_t)(first.p + first.n - first.head);
	const size_t m = (size_t)(second.p + second.n - second.head);

	if (n + m > KEY_SIZE)
		return;
	memcpy(p->key, first.head, n);
	memcpy(p->key + n, second.head, m);
	p->key_size = n + m;
}

/* An AlgorithmIdentifier (RFC 5280, 4.1.1.2): leaves its parameters. */
static enum algorithm
algorithm_read(struct der *in)
{
	struct der oid;

	if (der_take(in, OID, &oid) == -1)
		return ALG_BAD;
	if (der_is(oid, "\x2a\x86\x48\xce\x3d\x02\x01"))
		return ALG_CURVE;	/* 1.2.840.10045.2.1 */
	if (!der_is(oid, "\x2a\x86\x48\x86\xf7\x0d\x01\x01\x01"))
		return ALG_OTHER;	/* not 1.2.840.113549.1.1.1 */
	return in->n == 2 && in->p[0] == 5 && in->p[1] == 0 ? ALG_RSA :
	    ALG_BAD;
}

/* RSAPublicKey (RFC 8017, A.1.1): modulus and exponent. */
static int
rsa_public(struct pem *p, struct der in)
{
	struct der number[2];

	if (der_sequence(in, INTEGER INTEGER, number) == -1)
		return -1;
	key_set(p, number[0], number[1]);
	return 0;
}

/* RSAPrivateKey with two primes (RFC 8017, A.1.2). */
static int
rsa_key(struct pem *p, struct der in)
{
	struct der number[9];

	if (der_sequence(in, INTEGER INTEGER INTEGER INTEGER INTEGER INTEGER
	    INTEGER INTEGER INTEGER, number) == -1 || !number_is(number[0], 0))
		return -1;
	key_set(p, number[1], number[2]);
	return 0;
}

/* A curve by its OID, and an uncompressed point (RFC 5480, 2). */
static void
curve_set(struct pem *p, struct der curve, struct der point)
{
	struct der oid;

	if (der_parts(curve, OID, &oid) == 0 && point.n > 0 &&
	    point.p[0] == 4)
		key_set(p, oid, point);
}

/*
 * ECPrivateKey (RFC 5915, 3).  The curve may be known already; a second one
 * must be the same.
 */
static int
curve_key_of(struct pem *p, struct der in, struct der curve)
{
	struct der part[4], point;

	if (der_sequence(in, INTEGER OCTETS OPTIONAL CONTEXT_0
	    OPTIONAL CONTEXT_1, part) == -1 || !number_is(part[0], 1))
		return -1;
	if (part[2].p != NULL && curve.n != 0 && (part[2].n != curve.n ||
	    memcmp(part[2].p, curve.p, curve.n) != 0))
		return -1;
	if (part[3].p == NULL)
		return 0;
	if (der_parts(part[3], BITS, &point) == -1)
		return -1;
	curve_set(p, part[2].p != NULL ? part[2] : curve, point);
	return 0;
}

static int
curve_key(struct pem *p, struct der in)
{
	return curve_key_of(p, in, der_none);
}

/* OneAsymmetricKey, better known as PKCS #8 (RFC 5958, 2). */
static int
any_key(struct pem *p, struct der in)
{
	struct der part[5];

	if (der_sequence(in, INTEGER SEQUENCE OCTETS OPTIONAL CONTEXT_0
	    OPTIONAL VALUE_1, part) == -1 ||
	    !(number_is(part[0], 0) || number_is(part[0], 1)))
		return -1;
	switch (algorithm_read(&part[1])) {
	case ALG_RSA:
		return rsa_key(p, part[2]);
	case ALG_CURVE:
		return curve_key_of(p, part[2], part[1]);
	case ALG_OTHER:
		return 0;
	default:
		return -1;
	}
}

/* SubjectPublicKeyInfo (RFC 5280, 4.1.2.7). */
static int
public_read(struct pem *p, struct der in)
{
	struct der part[2];

	if (der_parts(in, SEQUENCE BITS, part) == -1)
		return -1;
	switch (algorithm_read(&part[0])) {
	case ALG_RSA:
		return rsa_public(p, part[1]);
	case ALG_CURVE:
		curve_set(p, part[0], part[1]);
		return 0;
	case ALG_OTHER:
		return 0;
	default:
		return -1;
	}
}

/*
 * Names and extensions.
 */

/* The next GeneralName (RFC 5280, 4.2.1.6) as a line. */
static int
altname_read(struct list *l, struct der *in)
{
	static const char tags[] = "\xa0\x81\x82\xa3\xa4\xa5\x86\x87\x88";
	static const char *const kind[] = {
		"otherName", "email", "DNS", "x400Address", "dirName",
		"ediPartyName", "URI", "IP", "RID"
	};
	char address[INET6_ADDRSTRLEN];
	struct der name;
	size_t i;

	for (i = 0; tags[i] != '\0'; i++)
		if (der_take(in, tags + i, &name) == 0)
			break;
	if (tags[i] == '\0')
		return -1;
	list_add(l, "%s:", kind[i]);
	if (i == 1 || i == 2 || i == 6)
		list_text(l, name);
	else if (i == 7 && (name.n == 4 || name.n == 16) &&
	    inet_ntop(name.n == 4 ? AF_INET : AF_INET6, name.p, address,
	    sizeof address) != NULL)
		list_add(l, "%s", address);
	else
		list_hex(l, name);
	list_add(l, "\n");
	return 0;
}

static int
altnames_read(struct list *l, struct der in)
{
	struct der names;

	if (der_parts(in, SEQUENCE, &names) == -1)
		return -1;
	while (names.n > 0)
		if (altname_read(l, &names) == -1)
			return -1;
	return 0;
}

/* What Puppet calls OIDs below 1.3.6.1.4.1.34380 (lib/puppet/ssl/oids.rb). */
static const struct {
	const char *oid, *name;
} puppet_oid[] = {
	{ ".1.1.1", "pp_uuid" },
	{ ".1.1.2", "pp_instance_id" },
	{ ".1.1.3", "pp_image_name" },
	{ ".1.1.4", "pp_preshared_key" },
	{ ".1.1.5", "pp_cost_center" },
	{ ".1.1.6", "pp_product" },
	{ ".1.1.7", "pp_project" },
	{ ".1.1.8", "pp_application" },
	{ ".1.1.9", "pp_service" },
	{ ".1.1.10", "pp_employee" },
	{ ".1.1.11", "pp_created_by" },
	{ ".1.1.12", "pp_environment" },
	{ ".1.1.13", "pp_role" },
	{ ".1.1.14", "pp_software_version" },
	{ ".1.1.15", "pp_department" },
	{ ".1.1.16", "pp_cluster" },
	{ ".1.1.17", "pp_provisioner" },
	{ ".1.1.18", "pp_region" },
	{ ".1.1.19", "pp_datacenter" },
	{ ".1.1.20", "pp_zone" },
	{ ".1.1.21", "pp_network" },
	{ ".1.1.22", "pp_securitypolicy" },
	{ ".1.1.23", "pp_cloudplatform" },
	{ ".1.1.24", "pp_apptier" },
	{ ".1.1.25", "pp_hostname" },
	{ ".1.1.26", "pp_owner" },
	{ ".1.3.1", "pp_authorization" },
	{ ".1.3.2", "pp_auth_auto_renew" },
	{ ".1.3.13", "pp_auth_role" },
	{ ".1.3.39", "pp_cli_auth" }
};

/* The value of an extension: Puppet writes a UTF8String; else named. */
static void
value_read(struct list *l, struct der in)
{
	static const struct {
		const char *tag, *type;
	} known[] = {
		{ UTF8, "" },
		{ PRINTABLE, " PrintableString" },
		{ IA5, " IA5String" },
		{ T61, " T61String" },
		{ VISIBLE, " VisibleString" },
		{ NUMERIC, " NumericString" }
	};
	struct der text;
	size_t i;

	for (i = 0; i < sizeof known / sizeof known[0]; i++)
		if (der_parts(in, known[i].tag, &text) == 0) {
			list_add(l, "%s: ", known[i].type);
			list_text(l, text);
			return;
		}
	list_add(l, " hex: ");
	list_hex(l, in);
}

/* The line after this one, or the end of the text. */
static const char *
line_next(const char *p)
{
	p += strcspn(p, "\n");
	return *p == '\n' ? p + 1 : p;
}

/* Whether a line of a list is that of an OID. */
static int
extension_seen(const char *list, const char *oid)
{
	size_t n;

	n = strlen(oid);
	for (; *list != '\0'; list = line_next(list))
		if (strncmp(list, oid, n) == 0 &&
		    (list[n] == ' ' || list[n] == ':'))
			return 1;
	return 0;
}

/* Adds an extension of Puppet, given the rest of its OID and its value. */
static int
extension_add(struct pem *p, struct list *l, struct der rest, struct der value)
{
	static const char puppet[] = "1.3.6.1.4.1.34380";
	char oid[NAME_SIZE];
	struct list o = { oid, sizeof oid };
	size_t i;

	list_add(&o, puppet);
	if (list_oid(&o, rest) == -1 || o.room == 0 ||
	    extension_seen(p->extensions, oid))
		return -1;
	list_add(l, "%s", oid);
	for (i = 0; i < sizeof puppet_oid / sizeof puppet_oid[0]; i++)
		if (strcmp(oid + strlen(puppet), puppet_oid[i].oid) == 0)
			list_add(l, " (%s)", puppet_oid[i].name);
	value_read(l, value);
	list_add(l, "\n");
	return 0;
}

/*
 * Extensions (RFC 5280, 4.2); none that is read here may come twice.  That one
 * is critical makes no difference.
 */
static int
extensions_read(struct pem *p, struct der in)
{
	static const char puppet[] = "\x2b\x06\x01\x04\x01\x82\x8c\x4c";
	struct list names = { p->names, sizeof p->names };
	struct list extensions = { p->extensions, sizeof p->extensions };
	struct der all, next, part[3];
	int seen;

	if (der_parts(in, SEQUENCE, &all) == -1)
		return -1;
	seen = 0;
	while (all.n > 0) {
		if (der_take(&all, SEQUENCE, &next) == -1 ||
		    der_parts(next, OID OPTIONAL BOOLEAN OCTETS, part) == -1 ||
		    (part[1].p != NULL && !der_is(part[1], "\xff")))
			return -1;
		if (der_is(part[0], "\x55\x1d\x11")) {	/* 2.5.29.17 */
			if (seen++ != 0 ||
			    altnames_read(&names, part[2]) == -1)
				return -1;
		} else if (part[0].n >= strlen(puppet) &&
		    memcmp(part[0].p, puppet, strlen(puppet)) == 0) {
			part[0].p += strlen(puppet);
			part[0].n -= strlen(puppet);
			if (extension_add(p, &extensions, part[0],
			    part[2]) == -1)
				return -1;
		}
	}
	return names.room == 0 || extensions.room == 0 ? -1 : 0;
}

/*
 * Certificates and requests.
 */

/* Either is what is signed, the algorithm, and the signature. */
#define SIGNED	SEQUENCE SEQUENCE BITS

/*
 * Takes a time, UTCTime or GeneralizedTime (RFC 5280, 4.1.2.5), and writes it
 * as 2031-11-26 09:30:12 UTC.
 */
static int
time_read(struct der *in, char out[TIME_SIZE])
{
	static const char *const most[] = { "12", "31", "23", "59", "59" };
	char d[16];
	struct der t;
	int i, utc, n;

	utc = der_take(in, UTC_TIME, &t) == 0;
	n = utc ? 12 : 14;
	if ((!utc && der_take(in, TIME, &t) == -1) ||
	    t.n != (size_t)n + 1 || t.p[n] != 'Z')
		return -1;
	(void)snprintf(d, sizeof d, "%s%.*s", !utc ? "" :
	    t.p[0] < '5' ? "20" : "19", n, (const char *)t.p); /* fits */
	if (strspn(d, "0123456789") != 14)
		return -1;
	for (i = 0; i < 5; i++)
		if (strncmp(d + 4 + 2 * i, most[i], 2) > 0 ||
		    (i < 2 && strncmp(d + 4 + 2 * i, "00", 2) == 0))
			return -1;
	(void)snprintf(out, TIME_SIZE,
	    "%.4s-%.2s-%.2s %.2s:%.2s:%.2s UTC", d, d + 4, d + 6, d + 8,
	    d + 10, d + 12);		/* fits */
	return 0;
}

static int
serial_read(struct pem *p, struct der number)
{
	struct list l = { p->serial, sizeof p->serial };

	if (number.n > 1 && number.p[0] == 0) {
		number.p++;
		number.n--;
	}
	list_hex(&l, number);
	return l.room == 0 ? -1 : 0;
}

/* Certificate (RFC 5280, 4.1), without the unique identifiers of old. */
static int
certificate_read(struct pem *p, struct der in)
{
	enum { EDITION, SERIAL, ALGORITHM, ISSUER, VALIDITY, SUBJECT, KEY,
	    EXTENSIONS, PARTS };
	struct der all[3], part[PARTS];
	int third;

	if (der_sequence(in, SIGNED, all) == -1 || der_parts(all[0],
	    OPTIONAL CONTEXT_0 INTEGER SEQUENCE SEQUENCE SEQUENCE SEQUENCE
	    SEQUENCE OPTIONAL CONTEXT_3, part) == -1)
		return -1;
	third = der_is(part[EDITION], "\2\1\2");
	if (part[EDITION].p != NULL && !third &&
	    !der_is(part[EDITION], "\2\1\1"))
		return -1;
	if (serial_read(p, part[SERIAL]) == -1 ||
	    time_read(&part[VALIDITY], p->end) == -1 ||
	    time_read(&part[VALIDITY], p->end) == -1 ||
	    part[VALIDITY].n != 0 || public_read(p, part[KEY]) == -1)
		return -1;
	if (part[EXTENSIONS].p == NULL)
		return 0;
	return third ? extensions_read(p, part[EXTENSIONS]) : -1;
}

/*
 * CertificationRequest (RFC 2986, 4).  The extensions that are asked for are
 * the value of one attribute (RFC 2985, 5.4.2), which Puppet also takes by the
 * OID that Microsoft once gave it.
 */
static int
request_read(struct pem *p, struct der in)
{
	enum { EDITION, SUBJECT, KEY, ATTRIBUTES, PARTS };
	struct der all[3], part[PARTS], next, attribute[2];
	int seen;

	if (der_sequence(in, SIGNED, all) == -1 || der_parts(all[0],
	    INTEGER SEQUENCE SEQUENCE CONTEXT_0, part) == -1 ||
	    !number_is(part[EDITION], 0) || public_read(p, part[KEY]) == -1)
		return -1;
	seen = 0;
	while (part[ATTRIBUTES].n > 0) {
		if (der_take(&part[ATTRIBUTES], SEQUENCE, &next) == -1 ||
		    der_parts(next, OID SET, attribute) == -1)
			return -1;
		/* 1.2.840.113549.1.9.14 and 1.3.6.1.4.1.311.2.1.14 */
		if (der_is(attribute[0],
		    "\x2a\x86\x48\x86\xf7\x0d\x01\x09\x0e") ||
		    der_is(attribute[0],
		    "\x2b\x06\x01\x04\x01\x82\x37\x02\x01\x0e"))
			if (seen++ != 0 ||
			    extensions_read(p, attribute[1]) == -1)
				return -1;
	}
	return 0;
}

/*
 * PEM files (RFC 7468).
 */

static const struct form {
	enum pem_kind kind;
	const char *label;
	int (*read)(struct pem *, struct der);
} form[] = {
	{ PEM_CERTIFICATE, "CERTIFICATE", certificate_read },
	{ PEM_REQUEST, "CERTIFICATE REQUEST", request_read },
	{ PEM_KEY, "PRIVATE KEY", any_key },
	{ PEM_KEY, "RSA PRIVATE KEY", rsa_key },
	{ PEM_KEY, "EC PRIVATE KEY", curve_key },
	{ PEM_KEY, "ENCRYPTED PRIVATE KEY", NULL }
};

enum { FORMS = sizeof form / sizeof form[0] };

/* Past "-----BEGIN LABEL-----" or "-----END LABEL-----", a line, or NULL. */
static const char *
mark_past(const char *p, const char *side, const char *label)
{
	char mark[64];
	size_t n;

	(void)format(mark, sizeof mark, "-----%s %s-----", side, label);
	n = strlen(mark);
	return strncmp(p, mark, n) == 0 && strchr(" \t\r\n", p[n]) != NULL ?
	    p + n : NULL;
}

/* The form of that kind that begins on this line, or NULL. */
static const struct form *
form_find(const char *p, enum pem_kind kind, const char **from)
{
	const struct form *f;

	for (f = form; f < form + FORMS; f++)
		if (f->kind == kind &&
		    (*from = mark_past(p, "BEGIN", f->label)) != NULL)
			return f;
	return NULL;
}

/* Finds the first block of that kind, and what stands between its lines. */
static const struct form *
block_find(const char *p, enum pem_kind kind, const char **from,
    const char **end)
{
	const struct form *f;

	while ((f = form_find(p, kind, from)) == NULL && *p != '\0')
		p = line_next(p);
	if (f == NULL)
		return NULL;
	while (*p != '\0' && mark_past(p, "END", f->label) == NULL)
		p = line_next(p);
	*end = p;
	return *p == '\0' ? NULL : f;
}

/*
 * Decodes a block.  The header of a key that is encrypted in the manner of RFC
 * 1421 is skipped: such a key is there, if only its fingerprint can be told.
 */
static long
block_decode(const char *p, const char *end, unsigned char der[TEXT_SIZE])
{
	static const char header[] = "\nProc-Type:";

	if (strncmp(p, header, strlen(header)) == 0)
		p = strstr(p, "\n\n");
	if (p == NULL || p > end || end - p > TEXT_SIZE)
		return -1;
	return base64(p, end, der);
}

static void
fingerprint_set(struct pem *p, struct der der)
{
	struct list l = { p->fingerprint, sizeof p->fingerprint };
	unsigned char digest[32];
	int i;

	sha256(der.p, der.n, digest);
	for (i = 0; i < 32; i++)
		list_add(&l, "%s%02X", i > 0 ? ":" : "", digest[i]);
}

int
pem_read(struct pem *p, const char *text, enum pem_kind kind)
{
	unsigned char bytes[TEXT_SIZE];
	const struct form *f;
	const char *from, *end;
	struct der der;
	long n;

	memset(p, 0, sizeof *p);
	f = block_find(text, kind, &from, &end);
	n = f == NULL ? -1 : block_decode(from, end, bytes);
	if (n == -1)
		return -1;
	der.head = der.p = bytes;
	der.n = (size_t)n;
	if (f->read == NULL || f->read(p, der) == -1) {
		memset(p, 0, sizeof *p);
		p->odd = 1;
	}
	fingerprint_set(p, der);
	return 0;
}

int
pem_load(struct pem *p, int at, const char *path, enum pem_kind kind)
{
	char text[TEXT_SIZE];

	if (read_all(file_open(at, path), text, sizeof text) == -1)
		return errno == ENOENT ? 0 : complain("read %s", path);
	return pem_read(p, text, kind) == 0;
}

int
pem_pair(const struct pem *a, const struct pem *b)
{
	if (a->key_size == 0 || b->key_size == 0)
		return -1;
	return a->key_size == b->key_size &&
	    memcmp(a->key, b->key, a->key_size) == 0;
}

/* Whether a list has that line before a place; NULL: anywhere. */
static int
lines_have(const char *list, const char *before, const char *line, size_t n)
{
	for (; *list != '\0' && list != before; list = line_next(list))
		if (strcspn(list, "\n") == n && memcmp(list, line, n) == 0)
			return 1;
	return 0;
}

/*
 * Tells of each line of the first list that the second does not have.  A line
 * is no longer than its list, so it fits.
 */
static int
lines_only(const char *a, const char *b, char sign,
    void (*show)(char, const char *))
{
	char line[NAMES_SIZE];
	const char *p;
	size_t n;
	int count;

	count = 0;
	for (p = a; *p != '\0'; p = line_next(p)) {
		n = strcspn(p, "\n");
		if (n == 0 || lines_have(b, NULL, p, n) ||
		    lines_have(a, p, p, n))
			continue;
		(void)snprintf(line, sizeof line, "%.*s", (int)n, p);
		show(sign, line);
		count++;
	}
	return count;
}

int
lines_differ(const char *a, const char *b, void (*show)(char, const char *))
{
	int count;

	count = lines_only(a, b, '-', show);
	return count + lines_only(b, a, '+', show);
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
	{ "node", "prepare", "ab:np:v", "[-anv] [-b backup] [-p puppet]",
	    node_prepare },
	{ "node", "finish", "anp:vw:", "[-anv] [-p puppet] [-w seconds]",
	    node_finish },
	{ "node", "restore", "ab:np:r:s:v",
	    "[-anv] [-b backup] [-p puppet] [-r root [-s ssldir]]",
	    node_restore },
	{ "node", "status", "p:v", "[-v] [-p puppet]", node_status }
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
	note("in this order: node prepare -n, mom clean, node prepare, mom "
	    "sign, node finish;");
	note("mom on the master of masters, node on the compile master; the "
	    "way back is");
	note("node restore, and node status says where you are");
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
	case 'a':
		o->accept = 1;
		return 1;
	case 'b':
		o->backup = value;
		return path_ok(value);
	case 'f':
		o->fingerprint = value;
		return fingerprint_ok(value);
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

/* The certname, of the commands that take one.  Returns 0, or -1. */
static int
operand_read(struct options *o, const struct command *c, int argc,
    char *argv[])
{
	const int wanted = strcmp(c->host, "mom") == 0;

	if (wanted && optind < argc)
		o->certname = argv[optind++];
	if (optind < argc)
		return complainx("'%s': one argument too many%s", argv[optind],
		    wanted ? " (options stand before the certname)" : "");
	if (wanted && o->certname == NULL)
		return complainx("the certname of the compile master is "
		    "missing");
	if (wanted && !certname_ok(o->certname))
		return complainx("'%s' is no certname: a to z, 0 to 9, '.', "
		    "'_' and '-' only, not '-' first, at most %d bytes",
		    o->certname, CERTNAME_MAX);
	return 0;
}

/* Reads the arguments of one command.  Returns 0, or -1. */
static int
options_read(struct options *o, const struct command *c, int argc,
    char *argv[])
{
	int letter;

	memset(o, 0, sizeof *o);
	o->puppet = PUPPET;
	o->wait = strcmp(c->host, "node") == 0 ? WAIT : 0;
	opterr = 0;
	while ((letter = getopt(argc, argv, c->letters)) != -1) {
		if (letter == '?')
			return complainx("option -%c: %s %s %s", optopt,
			    optopt != ':' && strchr(c->letters, optopt) != NULL
			    ? "its value is missing in" : "unknown to",
			    c->host, c->verb);
		if (!option(o, letter, optarg))
			return complainx("-%c '%s': must be %s", letter,
			    optarg, option_rule(letter));
	}
	if (o->ssldir != NULL && o->root == NULL)
		return complainx("-s is only for -r");
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
			p[i].revents = 0;
		}
		(void)poll(p, MANY, 0);	/* where it refuses, each is tried */
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
	work.off = o->dry;
	if (o->dry)
		say("# dry run: nothing is changed");
	rc = c->run(o);
	quiet();
	if (o->dry)
		say(rc == DONE ? "# dry run: every check passed, nothing was "
		    "changed" : "# dry run: it would stop here, see above; "
		    "nothing was changed");
	if (!lost)
		return rc;
	(void)complainx("standard output could not be written%s", rc == DONE &&
	    !o->dry ? ": the work is done; 'node status' says what is next"
	    : "");
	return rc == DONE ? PART_WAY : rc;
}

int
main(int argc, char *argv[])
{
	struct options o;
	size_t i;

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
	if (options_read(&o, &command[i], argc - 2, argv + 2) == -1) {
		note("usage: cmregen %s %s %s", command[i].host,
		    command[i].verb, command[i].synopsis);
		return USAGE;
	}
	return command_run(&command[i], &o);
}

/*
 * Trees.  What is opened is looked at again by its descriptor, since whoever
 * owns the tree can exchange names at any time.
 */

/* One name in a walk: where it is on either side, and the way to print it. */
struct place {
	const struct place *up;
	const char *name;	/* in s */
	const char *as;		/* in d; another only at the top */
	int s, d;		/* the directories; d is of the other tree */
	int depth;		/* 0: the top */
};

struct walk {
	int (*visit)(struct walk *, const struct place *);
	int (*act)(struct walk *, const struct place *, int,
	    const struct stat *);	/* where the visit is look_visit */
	const char *skip;	/* a name at the top that does not count */
	int removing;		/* an error does not end the walk */
	int fresh;		/* a new copy: times count, the top not */
	uid_t owner;		/* who, but for root, may own what is sealed */
	dev_t dev;		/* of all directories of the tree */
	off_t bytes;		/* so far */
	long names;		/* so far */
	char *difference;	/* in words */
};

/* What is said at a place: of a long path the end. */
static const char *
place_path(const struct place *p, char path[PATH_SIZE])
{
	size_t n, at;

	at = PATH_SIZE - 1;
	path[at] = '\0';
	for (; p != NULL; p = p->up) {
		n = strlen(p->name);
		if (n + 1 > at)
			break;
		if (path[at] != '\0')
			path[--at] = '/';
		at -= n;
		memcpy(path + at, p->name, n);
	}
	return path + at;
}

static int
refuse(const struct place *p, const char *why)
{
	char path[PATH_SIZE];

	return complainx("%s: %s", place_path(p, path), why);
}

static int
broken(const struct place *p, const char *operation)
{
	char path[PATH_SIZE];

	return complain("%s %s", operation, place_path(p, path));
}

static int
differ(const struct walk *w, const struct place *p, const char *how)
{
	char path[PATH_SIZE];

	(void)format(w->difference, DIFFERENCE_SIZE, "%s %s",
	    place_path(p, path), how);
	return 1;
}

/*
 * Visits each name in the directory s, which is what p names, together with
 * that of the other tree; d may be -1.  Returns what the first visit returned
 * that was not 0.
 */
static int
walk_names(struct walk *w, const struct place *p, int s, int d)
{
	struct place below = { p, NULL, NULL, s, d, p->depth + 1 };
	DIR *names;
	int rc;

	if (p->depth >= TREE_DEPTH)
		return refuse(p, "directories are too deep below one another");
	names = names_open(s);
	if (names == NULL)
		return broken(p, "read the directory");
	rc = 0;
	while ((rc == 0 || w->removing) && !interrupted()) {
		below.name = below.as = name_next(names);
		if (below.name == NULL)
			break;
		if (p->depth > 0 || w->skip == NULL ||
		    strcmp(below.name, w->skip) != 0)
			rc |= w->visit(w, &below);
	}
	if (rc == 0 && interrupted())
		rc = refuse(p, "interrupted");
	else if (rc == 0 && errno != 0)
		rc = broken(p, "read the directory");
	(void)closedir(names);		/* only read */
	return rc;
}

/* Whether the tree is within its limits with this name in it. */
static int
look_judge(struct walk *w, const struct place *p, const struct stat *st)
{
	if (p->depth == 0 && !S_ISDIR(st->st_mode))
		return refuse(p, "is no directory");
	if (S_ISDIR(st->st_mode)) {
		/* an overlay gives files another device than directories */
		if (p->depth > 0 && st->st_dev != w->dev)
			return refuse(p, "another file system is mounted "
			    "here: unmount it");
		w->dev = st->st_dev;
	} else if (S_ISREG(st->st_mode)) {
		if (st->st_size > TREE_BYTES - w->bytes)
			return refuse(p, "with this file the tree has more "
			    "than 256 MiB: move away what is no part of it");
		w->bytes += st->st_size;
	} else if (!S_ISLNK(st->st_mode))
		return refuse(p, "neither a file, a directory nor a link: "
		    "remove it, or move it away");
	if (++w->names > TREE_NAMES)
		return refuse(p, "with this name the tree has more than "
		    "100,000: move away what is no part of it");
	return 0;
}

/*
 * Opens what the place names on its first side, and calls act with that (-1:
 * a symbolic link) and what it is.
 */
static int
look_visit(struct walk *w, const struct place *p)
{
	struct stat st;
	int fd, e, rc;

	fd = open_at(p->s, p->name, O_RDONLY, 0);
	e = errno;
	rc = fd != -1 ? fstat(fd, &st) :
	    fstatat(p->s, p->name, &st, AT_SYMLINK_NOFOLLOW);
	rc = rc == -1 ? broken(p, "look at") : look_judge(w, p, &st);
	if (rc == 0 && fd == -1 && !S_ISLNK(st.st_mode)) {
		errno = e;
		rc = broken(p, "open");
	}
	if (rc == 0)
		rc = w->act(w, p, fd, &st);
	close_read(fd);
	return rc;
}

/* Counts what there is to copy, so that it is refused before it is. */
static int
count_act(struct walk *w, const struct place *p, int fd,
    const struct stat *st)
{
	return S_ISDIR(st->st_mode) ? walk_names(w, p, fd, -1) : 0;
}

static int
seal_act(struct walk *w, const struct place *p, int fd, const struct stat *st)
{
	int rc;

	if (S_ISLNK(st->st_mode))
		return refuse(p, "is a symbolic link, which puppet does not "
		    "make");
	rc = 0;
	if (st->st_uid != 0 && st->st_uid != w->owner)
		rc = refuse(p, "belongs to another user than it should");
	else if (S_ISDIR(st->st_mode))
		rc = walk_names(w, p, fd, -1);
	else if (st->st_nlink != 1)
		rc = refuse(p, "has another name elsewhere");
	if (rc == 0 && sync_fd(fd) == -1)
		rc = broken(p, "have on disk");
	return rc;
}

/*
 * A file system that keeps times less exactly cuts them off: to microseconds,
 * say, or seconds.
 */
static int
same_time(const struct timespec *s, const struct timespec *d)
{
	long unit;

	for (unit = 1; unit < 1000000000; unit *= 10)
		if (s->tv_nsec - s->tv_nsec % unit == d->tv_nsec)
			break;
	return s->tv_sec == d->tv_sec &&
	    (unit < 1000000000 || d->tv_nsec == 0);
}

static int
compare_stat(const struct walk *w, const struct place *p,
    const struct stat *s, const struct stat *d)
{
	if ((s->st_mode & S_IFMT) != (d->st_mode & S_IFMT))
		return differ(w, p, "is of another type");
	if (w->fresh && p->depth == 0)
		return 0;
	if (s->st_uid != d->st_uid || s->st_gid != d->st_gid)
		return differ(w, p, "has another owner or group");
	if ((s->st_mode & 07777) != (d->st_mode & 07777) &&
	    !S_ISLNK(s->st_mode))
		return differ(w, p, "has another mode");
	if (S_ISREG(s->st_mode) && s->st_size != d->st_size)
		return differ(w, p, "has another size");
	if (w->fresh && !same_time(&s->st_mtim, &d->st_mtim))
		return differ(w, p, "has another time");
	return 0;
}

static int
compare_bytes(const struct walk *w, const struct place *p, int s, int d,
    off_t size)
{
	char a[BYTES_SIZE], b[BYTES_SIZE];
	ssize_t n, m;
	off_t at;

	for (at = 0; ; at += n) {
		if (interrupted())
			return refuse(p, "interrupted");
		n = read_at(s, a, sizeof a, at);
		m = read_at(d, b, sizeof b, at);
		if (n == -1 || m == -1)
			return broken(p, "read");
		if (n != m || memcmp(a, b, (size_t)n) != 0)
			return differ(w, p, "has other bytes");
		if (n > size - at)
			return differ(w, p, "grows while it is compared");
		if (n == 0)
			return 0;
	}
}

static int
compare_links(const struct walk *w, const struct place *p)
{
	char a[PATH_SIZE], b[PATH_SIZE];
	ssize_t n, m;

	n = readlinkat(p->s, p->name, a, sizeof a);
	m = readlinkat(p->d, p->as, b, sizeof b);
	if (n == -1 || m == -1)
		return broken(p, "read the link");
	if (n != m || memcmp(a, b, (size_t)n) != 0)
		return differ(w, p, "points elsewhere");
	return 0;
}

/* Finds a name of the copy that the original does not have. */
static int
extra_visit(struct walk *w, const struct place *p)
{
	struct stat st;

	if (fstatat(p->d, p->as, &st, AT_SYMLINK_NOFOLLOW) == 0)
		return 0;
	if (errno == ENOENT)
		return differ(w, p, "is there only on one side");
	return broken(p, "look at");
}

/* Both sides are open, or both are links. */
static int
compare_open(struct walk *w, const struct place *p, int s, int d,
    const struct stat *st)
{
	struct walk extra;
	int rc;

	if (S_ISLNK(st->st_mode))
		return compare_links(w, p);
	if (S_ISREG(st->st_mode))
		return compare_bytes(w, p, s, d, st->st_size);
	rc = walk_names(w, p, s, d);
	if (rc != 0)
		return rc;
	extra = *w;
	extra.visit = extra_visit;
	return walk_names(&extra, p, d, s);
}

static int
compare_act(struct walk *w, const struct place *p, int s,
    const struct stat *st)
{
	struct stat other;
	int d, rc;

	d = open_at(p->d, p->as, O_RDONLY, 0);
	rc = d != -1 ? fstat(d, &other) :
	    fstatat(p->d, p->as, &other, AT_SYMLINK_NOFOLLOW);
	if (rc == -1 && errno == ENOENT)
		rc = differ(w, p, "is there only on one side");
	else if (rc == -1)
		rc = broken(p, "look at the copy of");
	else
		rc = compare_stat(w, p, st, &other);
	if (rc == 0 && d == -1 && s != -1)
		rc = broken(p, "open the copy of");
	if (rc == 0)
		rc = compare_open(w, p, s, d, st);
	close_read(d);
	return rc;
}

/*
 * Empties a directory.  Returns 0, also where there is none any more, or -1.
 */
static int
remove_below(struct walk *w, const struct place *p)
{
	struct stat st;
	int fd, rc;

	fd = dir_open(p->s, p->name);
	if (fd == -1)
		return errno == ENOENT || errno == ENOTDIR || errno == ELOOP ?
		    0 : broken(p, "open");
	if (fstat(fd, &st) == -1)
		rc = broken(p, "look at");
	else if (p->depth > 0 && st.st_dev != w->dev)
		rc = refuse(p, "another file system is mounted here: "
		    "unmount it");
	else {
		w->dev = st.st_dev;
		rc = walk_names(w, p, fd, -1);
	}
	close_read(fd);
	return rc;
}

/*
 * Most names are files, so unlink is tried first; then rmdir, which answers
 * EBUSY at a mount point before anything below it is touched.  A hostile owner
 * can put a file, a link or another directory there between any two calls, and
 * new names into a directory that was just emptied: then it begins again.
 */
static int
remove_visit(struct walk *w, const struct place *p)
{
	int tries;

	for (tries = 0; tries < AGAIN; tries++) {
		if (unlinkat(p->s, p->name, 0) == 0 || errno == ENOENT)
			return 0;
		if (errno != EISDIR && errno != EPERM)
			return broken(p, "remove");
		if (unlinkat(p->s, p->name, AT_REMOVEDIR) == 0 ||
		    errno == ENOENT)
			return 0;
		if (errno == EBUSY)
			return broken(p, "remove (is it a mount point?)");
		if (errno != ENOTEMPTY && errno != EEXIST && errno != ENOTDIR)
			return broken(p, "remove");
		if (remove_below(w, p) == -1)
			return -1;
	}
	return broken(p, "remove");
}

/* What a copy is given when all is in it: it is on disk then. */
static int
finish(int fd, const struct stat *st)
{
	const struct timespec ts[2] = {
		{ .tv_nsec = UTIME_OMIT }, st->st_mtim
	};

	return give(fd, st) == -1 || futimens(fd, ts) == -1 ? -1 : sync_fd(fd);
}

static int
copy_bytes(const struct place *p, int s, int d, off_t size)
{
	char bytes[BYTES_SIZE];
	ssize_t n;
	off_t at;

	for (at = 0; ; at += n) {
		if (interrupted())
			return refuse(p, "interrupted");
		n = read_at(s, bytes, sizeof bytes, at);
		if (n == -1)
			return broken(p, "read");
		if (n > size - at || (n == 0 && at < size))
			return refuse(p, "changed its size while it was read");
		if (n == 0)
			return 0;
		if (write_all(d, bytes, (size_t)n) == -1)
			return broken(p, "write the copy of");
	}
}

/* Nothing is left of a copy that failed. */
static int
copy_file(const struct place *p, int s, const struct stat *st)
{
	int d, rc;

	d = open_at(p->d, p->as, O_WRONLY | O_CREAT | O_EXCL,
	    st->st_mode & 0777);
	if (d == -1)
		return broken(p, "create the copy of");
	rc = copy_bytes(p, s, d, st->st_size);
	if (rc == 0 && finish(d, st) == -1)
		rc = broken(p, "keep owner, mode and time of");
	/* whatever close says of EINTR, the descriptor is gone */
	if (close(d) == -1 && errno != EINTR && rc == 0)
		rc = broken(p, "close the copy of");
	if (rc == -1 && unlinkat(p->d, p->as, 0) == -1)
		(void)broken(p, "remove the copy of");
	return rc;
}

static int
copy_link(const struct place *p, const struct stat *st)
{
	const struct timespec ts[2] = {
		{ .tv_nsec = UTIME_OMIT }, st->st_mtim
	};
	char target[PATH_SIZE];
	ssize_t n;
	int rc;

	n = readlinkat(p->s, p->name, target, sizeof target);
	if (n == -1 || n == sizeof target)
		return broken(p, "read the link");
	target[n] = '\0';
	if (symlinkat(target, p->d, p->as) == -1)
		return broken(p, "create the copy of");
	do
		rc = fchownat(p->d, p->as, st->st_uid, st->st_gid,
		    AT_SYMLINK_NOFOLLOW);
	while (rc == -1 && errno == EINTR);
	if (rc == -1 || utimensat(p->d, p->as, ts, AT_SYMLINK_NOFOLLOW) == -1)
		return broken(p, "keep owner and time of");
	return 0;
}

/* Holds a copy against its original, by the descriptor of its directory. */
static int
copy_prove(const struct place *top, int d, const char *skip)
{
	char difference[DIFFERENCE_SIZE];
	const struct place made = {
		.name = top->name, .as = ".", .s = top->s, .d = d
	};
	struct walk w = {
		.visit = look_visit, .act = compare_act, .skip = skip,
		.fresh = 1, .difference = difference
	};
	int rc;

	rc = look_visit(&w, &made);
	if (rc == 1)
		return complainx("the copy of %s is not like the original: %s",
		    top->name, difference);
	return rc;
}

/*
 * By the descriptor with which the copy was made: under its name may stand by
 * now what a hostile owner of the directory above has put there.
 */
static void
copy_undo(const struct place *top, int d)
{
	const struct place made = { .name = top->as, .s = top->d, .d = -1 };
	struct walk w = { .visit = remove_visit, .removing = 1 };
	struct stat st;
	int before;

	before = held;
	held = 1;
	if (fstat(d, &st) == 0) {
		w.dev = st.st_dev;
		(void)walk_names(&w, &made, d, -1);	/* it has complained */
	}
	if (dir_remove(top->d, top->as) == -1 && errno != ENOENT)
		(void)complain("remove %s", top->as);
	held = before;
}

/*
 * The top of a copy is closed to everybody else until all of it is proved; if
 * anything failed, nothing is left.
 */
static int
copy_dir(struct walk *w, const struct place *p, int s, const struct stat *st)
{
	int d, rc;

	d = dir_new(p->d, p->as);
	if (d == -1)
		return -1;
	rc = walk_names(w, p, s, d);
	if (rc == 0 && p->depth == 0)
		rc = copy_prove(p, d, w->skip);
	if (rc == 0 && finish(d, st) == -1)
		rc = broken(p, "keep owner, mode and time of");
	if (rc == 0 && p->depth == 0 && sync_fd(p->d) == -1)
		rc = broken(p, "have on disk the copy of");
	if (rc == -1 && p->depth == 0)
		copy_undo(p, d);
	close_read(d);
	return rc;
}

static int
copy_act(struct walk *w, const struct place *p, int s, const struct stat *st)
{
	if (S_ISLNK(st->st_mode))
		return copy_link(p, st);
	return S_ISREG(st->st_mode) ? copy_file(p, s, st) :
	    copy_dir(w, p, s, st);
}

int
tree_copy(int sat, const char *sname, int dat, const char *dname,
    const char *skip)
{
	const struct place top = {
		.name = sname, .as = dname, .s = sat, .d = dat
	};
	struct walk first = {
		.visit = look_visit, .act = count_act, .skip = skip
	};
	struct walk w = { .visit = look_visit, .act = copy_act, .skip = skip };

	return look_visit(&first, &top) == -1 ? -1 : look_visit(&w, &top);
}

int
tree_compare(int sat, const char *sname, int dat, const char *dname,
    const char *skip, char *difference)
{
	const struct place top = {
		.name = sname, .as = dname, .s = sat, .d = dat
	};
	struct walk w = {
		.visit = look_visit, .act = compare_act, .skip = skip,
		.difference = difference
	};

	return look_visit(&w, &top);
}

int
tree_seal(int at, const char *name, uid_t owner)
{
	const struct place top = { .name = name, .s = at, .d = -1 };
	struct walk w = {
		.visit = look_visit, .act = seal_act, .owner = owner
	};

	return look_visit(&w, &top);
}

int
tree_remove(int at, const char *name)
{
	const struct place top = { .name = name, .s = at, .d = -1 };
	struct walk w = { .visit = remove_visit, .removing = 1 };

	if (remove_visit(&w, &top) == -1)
		return -1;
	return sync_fd(at) == -1 ?
	    complain("have the removal of %s on disk", name) : 0;
}

int
file_copy(int sat, const char *spath, int dat, const char *dname)
{
	const struct place p = {
		.name = spath, .as = dname, .s = -1, .d = dat
	};
	struct stat st;
	int s, rc;

	s = file_open(sat, spath);
	if (s == -1)
		return errno == ENOENT ? 0 : broken(&p, "open");
	if (fstat(s, &st) == -1)
		rc = broken(&p, "look at");
	else if (!S_ISREG(st.st_mode))
		rc = refuse(&p, "is no regular file");
	else if (st.st_size > TREE_BYTES)
		rc = refuse(&p, "is larger than 256 MiB");
	else
		rc = copy_file(&p, s, &st);
	close_read(s);
	if (rc == -1)
		return -1;
	if (sync_fd(dat) == 0)
		return 1;
	(void)broken(&p, "have on disk the copy of");
	(void)name_remove(dat, dname);	/* it has complained */
	return -1;
}
