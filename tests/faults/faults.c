/*
 * faults.c: disturbs the program at every system call of its own, and looks
 * at what stands afterwards.
 *
 *	faults [-v] [-m mode] [-1 sweep] [-x text] WORK PROGRAM
 *
 * WORK holds the templates that the script beside this made: a sandbox for
 * each command, as it is before the command.  Each run gets a fresh copy.  Two
 * runs or more go on at a time, each in a mount namespace with a /run and a /tmp of its
 * own, so that what is left there is seen.  -v prints all that fell, -x ends
 * a sweep with the first that fell and has that text in its line.
 *
 * Prints a line for each sweep, and what fell; at the end "N passed, N
 * failed".
 */
#define _GNU_SOURCE
#include <sys/ioctl.h>
#include <sys/mman.h>
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

#include "digest.h"
#include "tracer.h"

#define NODE_KEY "puppet/ssl/private_keys/cm1.example.com.pem"

enum {
	WORKERS = 12,		/* at most */
	PATH = 1024,
	SHOWN = 12,		/* failures printed in full, of each sweep */
	LIMIT = 25000,		/* milliseconds: longer is a hang */
	ORPHANS = 20000		/* what children left behind may take */
};

struct command {
	const char *name;	/* and template */
	const char *args[10];	/* after PROGRAM node */
	int shape;		/* it ends with a new ssl, of the same shape */
	int renews;		/* with another key, that is */
	int workers;		/* at a time: more where it mostly sleeps */
};

/* @ stands for the directory of the sandbox */
static const struct command commands[] = {
	{ "prepare", { "prepare", "-p", "@/node/bin/puppet", "-w", "2", NULL },
	    1, 1, 2 },
	{ "restore", { "restore", "-p", "@/node/bin/puppet", NULL }, 0, 0,
	    2 },
	{ "finish", { "finish", "-p", "@/node/bin/puppet", "-w", "2", NULL },
	    1, 1, 4 },
	{ "live", { "prepare", "-l", "-p", "@/node/bin/puppet", "-w", "2",
	    NULL }, 1, 0, 2 },
	{ "usb", { "prepare", "-p", "@/node/bin/puppet", "-w", "2", "-b",
	    "@/usb/keep", NULL }, 1, 1, 2 },
	{ "swap", { "finish", "-p", "@/node/bin/puppet", "-w", "2", NULL },
	    1, 1, 4 },
	{ "rescue", { "restore", "-r", "@/node", "-s", "/puppet/ssl", NULL },
	    0, 0, 2 },
};

struct state {
	char *full, *shape;	/* the directory of ssl, and the stick */
	char *copies;		/* backups, in full */
	char *services;
	char *catalogs, *others; /* the cached catalogs; those not ours */
	char *left;		/* in /run and /tmp */
	char *key;		/* its digest */
};

struct sweep {
	const char *name;
	const struct command *command;
	enum trace_act act;
	int value;
	int sample;		/* so many of the calls; 0: every one */
	int tty;
};

static struct shared {
	long next, tried, applied, fell, ended, calls, every;
} *shared;

static const char *work, *program;
static char sb[PATH], outfile[PATH], errfile[PATH];
static struct state before, end;
static char *original;		/* the digest of what must not be lost */
static char key_before[256];
static long passed, failed;
static int verbose;
static const char *hasty;	/* enough has been seen where this fell */
static void (*heal)(void);	/* ends what was wrong for a whole run */
static char *const env[] = {
	(char *)(size_t)"PATH=/usr/sbin:/usr/bin:/sbin:/bin", NULL
};

static void
die(const char *what)
{
	perror(what);
	exit(2);
}

static char *
path(const char *fmt, ...)
{
	static char buf[8][PATH];
	static int i;
	va_list ap;

	i = (i + 1) % 8;
	va_start(ap, fmt);
	(void)vsnprintf(buf[i], PATH, fmt, ap);
	va_end(ap);
	return buf[i];
}

static long
now(void)
{
	struct timespec ts;

	(void)clock_gettime(CLOCK_MONOTONIC, &ts);
	return (long)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

/*
 * Sandboxes.
 */

static void
empty(int at, const char *name)
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
		if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0)
			empty(fd, e->d_name);
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
copy(int sat, const char *sname, int dat, const char *dname)
{
	char target[PATH];
	struct timespec ts[2];
	struct dirent *e;
	struct stat st;
	ssize_t n;
	DIR *d;
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
	} else if (S_ISDIR(st.st_mode)) {
		if (mkdirat(dat, dname, 0700) == -1 && errno != EEXIST)
			die(dname);
		fd = openat(sat, sname, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		to = openat(dat, dname, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		if (fd == -1 || to == -1 || (d = fdopendir(fd)) == NULL)
			die(dname);
		while ((e = readdir(d)) != NULL)
			if (strcmp(e->d_name, ".") != 0 &&
			    strcmp(e->d_name, "..") != 0)
				copy(fd, e->d_name, to, e->d_name);
		(void)closedir(d);
		(void)close(to);
	}
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

static void
fresh(const struct command *c)
{
	while (umount(path("%s/usb", sb)) == 0)
		;
	empty(AT_FDCWD, sb);
	empty(AT_FDCWD, "/run/cmregen-output");
	empty(AT_FDCWD, "/tmp/cmregen-output");
	copy(AT_FDCWD, path("%s/template.%s", work, c->name), AT_FDCWD, sb);
	if (strcmp(c->name, "usb") == 0 && mount("usb", path("%s/usb", sb),
	    "tmpfs", 0, "size=16m") == -1)
		die("mount");
}

/*
 * What stands.
 */

static void
forget(struct state *s)
{
	free(s->full);
	free(s->shape);
	free(s->copies);
	free(s->services);
	free(s->catalogs);
	free(s->others);
	free(s->left);
	free(s->key);
	(void)memset(s, 0, sizeof(*s));
}

static char *
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
static char *
without(const char *text, const char *what)
{
	const char *e;
	char *t, *o, *line;
	size_t n;

	if ((t = o = malloc(strlen(text) + 1)) == NULL)
		die("memory");
	for (; *text != '\0'; text = e) {
		e = strchr(text, '\n');
		e = e == NULL ? text + strlen(text) : e + 1;
		n = (size_t)(e - text);
		if ((line = strndup(text, n)) == NULL)
			die("memory");
		if (strstr(line, what) == NULL) {
			(void)memcpy(o, text, n);
			o += n;
		}
		free(line);
	}
	*o = '\0';
	return t;
}

static void
take(struct state *s)
{
	char *stick;

	stick = path("%s/usb", sb);
	s->full = join(digest(path("%s/node/puppet", sb), DIGEST_LOCK),
	    digest(stick, DIGEST_LOCK));
	s->shape = join(digest(path("%s/node/puppet", sb), DIGEST_LOCK |
	    DIGEST_SHAPE), digest(stick, DIGEST_LOCK | DIGEST_SHAPE));
	s->copies = join(digest(path("%s/node/puppet/ssl_bak", sb),
	    DIGEST_LOCK), digest(stick, DIGEST_LOCK));
	s->services = digest(path("%s/node/services", sb), 0);
	s->catalogs = digest(path("%s/node/cache/client_data", sb),
	    DIGEST_SHAPE);
	s->others = without(s->catalogs, "/cm1.example.com.json");
	s->left = join(digest("/run", 0), digest("/tmp", 0));
	s->key = digest(path("%s/node/" NODE_KEY, sb), 0);
}

static int
whole(void)
{
	static const char *const names[] = {
		"node/puppet/ssl", "node/puppet/ssl_bak",
		"node/puppet/ssl.cmregen-old", "usb/keep"
	};
	char *text;
	size_t i;
	int found;

	found = 0;
	for (i = 0; i < sizeof(names) / sizeof(*names) && !found; i++) {
		text = digest(path("%s/%s", sb, names[i]), 0);
		found = strcmp(text, original) == 0;
		free(text);
	}
	return found;
}

static char *
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

/* Whether each service that is not as it should be is named in the text. */
static int
named(const char *text)
{
	struct dirent *e;
	char *is, *sum;
	DIR *d;
	int rc;

	rc = 1;
	if ((d = opendir(path("%s/node/services", sb))) == NULL)
		return 0;
	while ((e = readdir(d)) != NULL) {
		if (e->d_name[0] == '.')
			continue;
		is = digest(path("%s/node/services/%s", sb, e->d_name), 0);
		sum = strstr(is, "  ");
		if (sum == NULL || (strstr(end.services, path("/%s %s",
		    e->d_name, sum + 2)) == NULL && strstr(text, e->d_name) ==
		    NULL))
			rc = 0;
		free(is);
	}
	(void)closedir(d);
	return rc;
}

/*
 * Running.
 */

static void
reap_all(void)
{
	char text[4096], *p;
	long until;
	FILE *f;
	int pid;

	/* what the stand-in left running on purpose */
	if ((f = fopen(path("%s/node/background", sb), "re")) != NULL) {
		while (fscanf(f, "%d", &pid) == 1)
			if (pid > 1)
				(void)kill(pid, SIGKILL);
		(void)fclose(f);
	}
	until = now() + ORPHANS;
	for (;;) {
		pid = waitpid(-1, NULL, WNOHANG);
		if (pid == -1 && errno == ECHILD)
			return;
		if (pid != 0)
			continue;
		if (now() < until) {
			(void)usleep(500);
			continue;
		}
		/* our own descendants, all of them */
		f = fopen(path("/proc/self/task/%d/children", (int)getpid()),
		    "re");
		if (f == NULL)
			return;
		if (fgets(text, sizeof(text), f) != NULL)
			for (p = strtok(text, " \n"); p != NULL;
			    p = strtok(NULL, " \n"))
				(void)kill((pid_t)strtol(p, NULL, 10),
				    SIGKILL);
		(void)fclose(f);
		(void)usleep(10000);
	}
}

static void
nothing(void *arg)
{
	(void)arg;
}

static void
hang_up(void *arg)
{
	(void)close(*(int *)arg);
	*(int *)arg = -1;
}

static int
terminal(int *slave)
{
	char name[64];
	int master, n, unlock;

	unlock = 0;
	if ((master = open("/dev/ptmx", O_RDWR | O_NOCTTY | O_CLOEXEC)) == -1 ||
	    ioctl(master, TIOCSPTLCK, &unlock) == -1 ||
	    ioctl(master, TIOCGPTN, &n) == -1)
		die("/dev/ptmx");
	(void)snprintf(name, sizeof(name), "/dev/pts/%d", n);
	if ((*slave = open(name, O_RDWR | O_NOCTTY | O_CLOEXEC)) == -1)
		die(name);
	return master;
}

/* Runs the command in the sandbox; its outputs go to the files. */
static void
run(const struct command *c, struct trace *t)
{
	char arg[16][PATH];
	char *argv[16];
	const char *a;
	int i, n;

	n = 0;
	argv[n++] = strcpy(arg[0], program);
	argv[n++] = strcpy(arg[1], "node");
	for (i = 0; (a = c->args[i]) != NULL; i++, n++) {
		argv[n] = arg[n];
		(void)snprintf(arg[n], PATH, "%s%s", a[0] == '@' ? sb : "",
		    a[0] == '@' ? a + 1 : a);
	}
	argv[n] = NULL;
	t->argv = argv;
	t->envp = env;
	t->out = open(outfile, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND |
	    O_CLOEXEC, 0600);
	t->err = open(errfile, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND |
	    O_CLOEXEC, 0600);
	if (t->limit == 0)
		t->limit = LIMIT;
	if (trace_run(t) == -1)
		die("trace");
	(void)close(t->out);
	(void)close(t->err);
	reap_all();
}

static void
plain(const struct command *c, struct trace *t)
{
	(void)memset(t, 0, sizeof(*t));
	t->tty = -1;
	t->act = TRACE_HOOK;
	t->at = 1;
	t->hook = nothing;
	run(c, t);
}

/*
 * Judging.
 */

static char why[8192];

static int
bad(const char *fmt, ...)
{
	va_list ap;
	size_t n;

	n = strlen(why);
	va_start(ap, fmt);
	(void)vsnprintf(why + n, sizeof(why) - n, fmt, ap);
	va_end(ap);
	return -1;
}

/* Names the first line in which two texts differ. */
static int
differs(const char *what, const char *is, const char *be)
{
	const char *i, *b;

	if (strcmp(is, be) == 0)
		return 0;
	for (i = is, b = be; *i == *b; i++, b++)
		;
	while (i > is && i[-1] != '\n') {
		i--;
		b--;
	}
	return bad("%s: is '%.*s', should be '%.*s'; ", what,
	    (int)strcspn(i, "\n"), i, (int)strcspn(b, "\n"), b);
}

/*
 * Where the call that failed is the one that removes something of no use,
 * that may stay, if it is named; so may a lock that somebody else seems to
 * have; and where every call fails, nothing can be removed, nor said.
 */
static void
excuse(struct state *s, const struct trace *t, const char *text)
{
	static const char *const names[] = {
		"/.cmregen.lock", "/ssl.cmregen-del", "/ssl.cmregen-part",
		"/ssl_bak.cmregen-part", "/ssl_bak.cmregen-del"
	};
	char *o;
	size_t i;

	if (!t->applied || (t->act != TRACE_ERRNO_ON &&
	    strncmp(trace_name(t->number), "unlink", 6) != 0 &&
	    strcmp(trace_name(t->number), "fcntl") != 0))
		return;
	for (i = 0; i < sizeof(names) / sizeof(*names); i++) {
		if (t->act != TRACE_ERRNO_ON && (strcmp(trace_name(t->number),
		    "fcntl") != 0 || i != 0) &&
		    strstr(text, names[i] + 1) == NULL)
			continue;
		o = s->full;
		s->full = without(o, names[i]);
		free(o);
		o = s->shape;
		s->shape = without(o, names[i]);
		free(o);
	}
}

/* Whether it ended as an undisturbed run does. */
static int
is_end(const struct command *c, const struct state *s, const char *text)
{
	int rc;

	rc = 0;
	if (c->shape)
		rc |= differs("tree", s->shape, end.shape);
	else
		rc |= differs("tree", s->full, end.full);
	rc |= differs("backup", s->copies, end.copies);
	if (strcmp(s->services, end.services) != 0 && (text == NULL ||
	    !named(text)))
		rc |= differs("services", s->services, end.services);
	rc |= differs("catalogs", s->catalogs, end.catalogs);
	if (c->renews && strcmp(c->name, "finish") != 0 &&
	    strcmp(s->key, key_before) == 0)
		rc |= bad("the key is still the old one; ");
	return rc;
}

/*
 * A certificate that was fetched for the key of prepare -l may stay with it,
 * as may what puppet does about it there.
 */
static char *
unfetched(const char *text)
{
	static const char *const names[] = {
		"/ssl.cmregen-next/certs", "/ssl.cmregen-next/crl.pem",
		"/ssl.cmregen-next/certificate_requests"
	};
	char *t, *o;
	size_t i;

	t = without(text, names[0]);
	for (i = 1; i < sizeof(names) / sizeof(*names); i++) {
		o = t;
		t = without(o, names[i]);
		free(o);
	}
	return t;
}

static int
is_before(const struct state *s)
{
	char *now_, *then;
	int rc;

	now_ = unfetched(s->full);
	then = unfetched(before.full);
	rc = differs("tree", now_, then) |
	    differs("services", s->services, before.services) |
	    differs("other catalogs", s->others, before.others);
	free(now_);
	free(then);
	return rc;
}

static int
left(const struct state *s, const char *call)
{
	if (call != NULL && strncmp(call, "unlink", 6) == 0)
		return 0;
	return differs("left behind", s->left, before.left);
}

/* Does the message of a stop part way name what stands, and what to do? */
static int
tells(const char *text)
{
	return strstr(text, "cmregen") != NULL && (strstr(text, "ssl") !=
	    NULL || strstr(text, "run ") != NULL || strstr(text, "start") !=
	    NULL || strstr(text, "puppet") != NULL);
}

/* What it said, without what its children said. */
static const char *
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

static int
again(const struct command *c, const char *after)
{
	struct trace t;
	struct state s;
	char *text;
	int rc;

	if (heal != NULL)
		heal();
	plain(c, &t);
	take(&s);
	text = slurp(errfile);
	rc = 0;
	if (t.hung)
		rc = bad("hangs when run again after %s; ", after);
	else if (!WIFEXITED(t.status) || WEXITSTATUS(t.status) != 0)
		rc = bad("run again after %s: status %#x: %s; ", after,
		    (unsigned)t.status, gist(text));
	else if (is_end(c, &s, NULL) == -1 || left(&s, NULL) == -1)
		rc = bad("(run again after %s, which said: %s); ", after,
		    gist(text));
	free(text);
	forget(&s);
	return rc;
}

/*
 * A message that was to be the only one may be what could not be written; and
 * of the outputs nothing is seen where they were a terminal.
 */
static int
speechless(const struct trace *t)
{
	const char *name;

	name = trace_name(t->number);
	return t->tty != -1 || t->act == TRACE_ERRNO_ON || (t->applied && t->act != TRACE_SIGNAL &&
	    strncmp(name, "write", 5) == 0 && t->args[0] == 2);
}

/* A call whose failure cannot be passed over. */
static int
grave(const struct trace *t)
{
	const char *name;

	name = trace_name(t->number);
	return strcmp(name, "fsync") == 0 || strncmp(name, "rename", 6) == 0 ||
	    (strncmp(name, "write", 5) == 0 && t->args[0] != 2);
}

static int
judge_status(const struct command *c, const struct trace *t,
    const struct state *s, const char *out, const char *text)
{
	const char *call;

	call = t->applied && t->act != TRACE_SIGNAL && t->act != TRACE_HOOK ?
	    trace_name(t->number) : NULL;
	if (t->act == TRACE_ERRNO_ON)
		call = "unlink";
	if (t->hung)
		return bad("hangs; ");
	if (WIFSIGNALED(t->status)) {
		/* before it can have said that it wants to be asked first */
		if ((t->act == TRACE_SIGNAL && WTERMSIG(t->status) ==
		    t->value) || (t->act == TRACE_HOOK && WTERMSIG(t->status)
		    == SIGHUP))
			return is_before(s);
		return bad("ended by signal %d; ", WTERMSIG(t->status));
	}
	if (WEXITSTATUS(t->status) != 0 && !speechless(t) && text[0] == '\0')
		return bad("status %d in silence; ", WEXITSTATUS(t->status));
	switch (WEXITSTATUS(t->status)) {
	case 0:
		if (t->act == TRACE_ERRNO && t->value != EINTR &&
		    grave(t) && strstr(text, strerror(t->value)) == NULL &&
		    strstr(text, t->value == EIO ? "I/O error" : "space") ==
		    NULL)
			return bad("status 0, and no word of the error; ");
		if (!speechless(t) && strcmp(c->args[0], "finish") != 0 &&
		    strcmp(c->name, "rescue") != 0 &&
		    strstr(out, "cmregen ") == NULL)
			(void)bad("status 0 without the next command; ");
		if (is_end(c, s, text) == -1 || left(s, call) == -1)
			return bad("status 0, ");
		return why[0] == '\0' ? 0 : -1;
	case 1:
		if (is_before(s) == -1 || left(s, call) == -1)
			return bad("status 1, ");
		if (t->value == EINTR && (t->act == TRACE_ERRNO))
			return bad("status 1 after EINTR; ");
		return 0;
	case 3:
		if (!whole())
			return bad("status 3, no complete copy; ");
		if (t->value == EINTR && (t->act == TRACE_ERRNO))
			return bad("status 3 after EINTR; ");
		if (t->act == TRACE_SIGNAL && strcmp(c->name, "prepare") == 0)
			return bad("not undone after a signal: status 3; ");
		if (!speechless(t) && !tells(text))
			return bad("status 3, and no word of what stands; ");
		return 0;
	default:
		return bad("status %d; ", WEXITSTATUS(t->status));
	}
}

static int
judge(const struct command *c, const struct trace *t)
{
	struct state s;
	char *out, *text;
	int rc;

	if (t->act == TRACE_KILL || t->act == TRACE_KILL_AFTER) {
		if (!whole())
			return bad("no complete copy; ");
		return again(c, "the kill");
	}
	take(&s);
	out = slurp(outfile);
	text = slurp(errfile);
	excuse(&s, t, text);
	rc = judge_status(c, t, &s, out, text);
	if (rc == -1)
		(void)bad("it said: %s", gist(text));
	else if (!t->hung && (!WIFEXITED(t->status) || WEXITSTATUS(t->status)
	    != 0))
		rc = again(c, WIFEXITED(t->status) &&
		    WEXITSTATUS(t->status) == 3 ? "status 3" : "status 1");
	if (rc == -1 && t->act == TRACE_COUNT)
		(void)bad("%s", text);
	free(out);
	free(text);
	forget(&s);
	return rc;
}

/*
 * Sweeps.
 */

static void
worker_enter(int i)
{
	if (unshare(CLONE_NEWNS) == -1 ||
	    mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) == -1 ||
	    mount("run", "/run", "tmpfs", 0, "mode=755,size=16m") == -1 ||
	    mount("tmp", "/tmp", "tmpfs", 0, "mode=1777,size=16m") == -1)
		die("a mount namespace");
	(void)prctl(PR_SET_CHILD_SUBREAPER, 1);
	(void)strcpy(sb, path("%s/w%d/sb", work, i));
	(void)strcpy(outfile, path("%s/w%d/out", work, i));
	(void)strcpy(errfile, path("%s/w%d/err", work, i));
	(void)mkdir(path("%s/w%d", work, i), 0755);
}

/* What stands before the command, and after it where nobody disturbs it. */
static long
undisturbed(const struct command *c)
{
	const char *kept;
	struct trace t;
	char *text;

	fresh(c);
	forget(&before);
	forget(&end);
	free(original);
	take(&before);
	kept = path("%s/node/puppet/ssl_bak", sb);
	if (access(kept, F_OK) == -1)
		kept = path("%s/node/puppet/ssl", sb);
	original = digest(kept, 0);
	(void)snprintf(key_before, sizeof(key_before), "%s", before.key);
	(void)memset(&t, 0, sizeof(t));
	t.tty = -1;
	t.act = TRACE_COUNT;
	run(c, &t);
	take(&end);
	if (!WIFEXITED(t.status) || WEXITSTATUS(t.status) != 0) {
		text = slurp(errfile);
		(void)printf("%s, undisturbed: status %#x: %s\n", c->name,
		    (unsigned)t.status, gist(text));
		free(text);
		return -1;
	}
	why[0] = '\0';
	if (differs("left behind", end.left, before.left) == -1) {
		(void)printf("%s, undisturbed: %s\n", c->name, why);
		return -1;
	}
	return t.calls;
}

static void
report(const struct sweep *w, const struct trace *t)
{
	char line[12288];
	int n;

	n = (int)__sync_add_and_fetch(&shared->fell, 1);
	if (n > SHOWN && !verbose && hasty == NULL)
		return;
	n = snprintf(line, sizeof(line), "  %s %s: call %ld, %s(%#lx, %#lx, "
	    "%#lx): %s\n", w->command->name, w->name, t->at,
	    trace_name(t->number), t->args[0], t->args[1], t->args[2], why);
	if (hasty != NULL && strstr(line, hasty) != NULL)
		shared->ended = 1;
	if (n > 0 && write(1, line, (size_t)n < sizeof(line) ? (size_t)n :
	    sizeof(line) - 1) == -1)
		die("report");
}

static void
point(const struct sweep *w, struct trace *t)
{
	int master, slave;

	(void)memset(t, 0, sizeof(*t));
	t->tty = -1;
	t->act = w->act;
	t->value = w->value;
	t->at = __sync_fetch_and_add(&shared->next, shared->every);
	t->brief = 1;
	t->hook = nothing;
	master = slave = -1;
	if (w->tty) {
		master = terminal(&slave);
		t->tty = slave;
		t->hook = hang_up;
		t->arg = &master;
	}
	fresh(w->command);
	run(w->command, t);
	if (slave != -1)
		(void)close(slave);
	if (master != -1)
		(void)close(master);
}

static void
worker(const struct sweep *w, int i)
{
	struct trace t;
	long calls;

	worker_enter(i);
	if ((calls = undisturbed(w->command)) == -1)
		exit(1);
	(void)__sync_val_compare_and_swap(&shared->calls, 0, calls);
	calls = w->sample == 0 ? 1 : shared->calls / w->sample;
	(void)__sync_val_compare_and_swap(&shared->every, 0, calls < 1 ? 1 :
	    calls);
	while (!shared->ended) {
		point(w, &t);
		if (t.number == -1 && !t.hung) {
			/* the number of polls differs from run to run */
			if (t.at > shared->calls)
				shared->ended = 1;
			else
				(void)__sync_fetch_and_add(&shared->tried, 1);
			continue;
		}
		(void)__sync_fetch_and_add(&shared->tried, 1);
		if (!t.applied && !t.hung)
			continue;
		(void)__sync_fetch_and_add(&shared->applied, 1);
		why[0] = '\0';
		if (judge(w->command, &t) == -1)
			report(w, &t);
	}
	(void)umount(path("%s/usb", sb));
	empty(AT_FDCWD, sb);
	exit(0);
}

/* Waits for the two of them.  Returns -1 where one could not do its work. */
static int
finish(const pid_t *pid, int n)
{
	int i, rc, status;

	rc = 0;
	for (i = 0; i < n; i++) {
		while (waitpid(pid[i], &status, 0) == -1)
			if (errno != EINTR)
				die("wait");
		if (status != 0)
			rc = -1;
	}
	return rc;
}

static void
sweep(const struct sweep *w)
{
	pid_t pid[WORKERS];
	long since;
	int i, n;

	(void)memset(shared, 0, sizeof(*shared));
	shared->next = 1;
	since = now();
	n = w->command->workers;
	(void)fflush(stdout);
	for (i = 0; i < n; i++) {
		if ((pid[i] = fork()) == -1)
			die("fork");
		if (pid[i] == 0)
			worker(w, i);
	}
	if (finish(pid, n) == -1) {
		(void)printf("%s %s: could not be done\n", w->command->name,
		    w->name);
		failed++;
		return;
	}
	(void)printf("%s %s: %ld points tried of %ld calls, %ld hit, %ld fell"
	    " (%ld s)\n", w->command->name, w->name, shared->tried,
	    shared->calls, shared->applied, shared->fell,
	    (now() - since + 500) / 1000);
	if (shared->tried < shared->calls / shared->every ||
	    (shared->applied == 0 && w->sample == 0)) {
		(void)printf("  too few points\n");
		failed++;
	}
	failed += shared->fell;
	passed += shared->applied - shared->fell;
}

/*
 * What is wrong for a whole run: a child, the disk, the descriptors.
 */

enum trouble { CHILDREN, SPACE, INODES, READONLY, DESCRIPTORS };

static const char *const actions[] = {
	"exit 1", "mute 0", "mute 1", "say garbage", "wrong -", "after 1",
	"quiet -", "cut -", "flood -", "endless -", "signal KILL",
	"signal-after KILL", "signal TERM", "daemon 30", "stubborn 1",
	"parent TERM", "parent-after INT", "parent-after HUP",
	"remove bin/puppet"
};

static const char *const knobs[] = {
	"start-fails.puppet", "start-fails.pxp-agent",
	"start-fails.pe-puppetserver", "stop-fails.puppet",
	"stop-fails.pxp-agent", "stop-fails.pe-puppetserver", "dies.puppet",
	"dies.pxp-agent", "dies.pe-puppetserver", "no-request", "key-only",
	"no-old-cert"
};

enum {
	ACTIONS = sizeof(actions) / sizeof(*actions),
	KNOBS = sizeof(knobs) / sizeof(*knobs)
};

struct group {
	const char *name;
	const struct command *command;
	enum trouble trouble;
	int step;		/* every so many of them */
};

static char *lines[64];		/* the calls of the stand-in */
static int nth[64], nlines;
static long used;		/* bytes, for SPACE; names, for INODES */
static char label[512];

static void
put(const char *name, const char *text)
{
	FILE *f;

	if ((f = fopen(name, "we")) == NULL || fputs(text, f) == EOF ||
	    fclose(f) == EOF)
		die(name);
}

/* The log of the undisturbed run tells which children there are. */
static void
children_find(void)
{
	char *text, *line, *save;
	int i;

	nlines = 0;
	text = slurp(path("%s/node/log", sb));
	for (line = strtok_r(text, "\n", &save); line != NULL && nlines < 64;
	    line = strtok_r(NULL, "\n", &save)) {
		if ((lines[nlines] = strdup(line)) == NULL)
			die("memory");
		nth[nlines] = 1;
		for (i = 0; i < nlines; i++)
			if (strcmp(lines[i], line) == 0)
				nth[nlines]++;
		nlines++;
	}
	free(text);
}

static void
heal_children(void)
{
	size_t i;

	empty(AT_FDCWD, path("%s/node/knobs/faults", sb));
	for (i = 0; i < KNOBS; i++)
		empty(AT_FDCWD, path("%s/node/knobs/%s", sb, knobs[i]));
	if (access(path("%s/node/bin/puppet", sb), F_OK) == -1)
		(void)symlink(path("%s/puppet", work),
		    path("%s/node/bin/puppet", sb));
}

static void
heal_disk(void)
{
	if (mount(NULL, path("%s/node/puppet", sb), NULL, MS_REMOUNT,
	    "size=64m,nr_inodes=100000") == -1)
		die("remount");
}

/* Makes a disk of that many bytes and names, with the tree on it. */
static void
disk_make(const struct command *c, long bytes, long names)
{
	char *at;

	at = path("%s/node/puppet", sb);
	if (mount("disk", at, "tmpfs", 0, path("size=%ld,nr_inodes=%ld", bytes,
	    names)) == -1)
		die("mount");
	copy(AT_FDCWD, path("%s/template.%s/node/puppet", work, c->name),
	    AT_FDCWD, at);
}

/* What the tree itself takes of a disk. */
static void
disk_measure(const struct command *c, enum trouble trouble)
{
	pid_t pid;
	int status;

	for (used = 0;;) {
		used += trouble == SPACE ? 16384 : 4;
		fresh(c);
		(void)fflush(stdout);
		if ((pid = fork()) == 0) {
			(void)freopen("/dev/null", "w", stderr);
			disk_make(c, trouble == SPACE ? used : 1 << 26,
			    trouble == SPACE ? 100000 : used);
			_exit(0);
		}
		if (waitpid(pid, &status, 0) == -1)
			die("wait");
		(void)umount(path("%s/node/puppet", sb));
		if (status == 0)
			return;
	}
}

/* Sets the N-th trouble up.  Returns 0 where there are not so many. */
static int
trouble_make(const struct group *g, long n, struct trace *t)
{
	int i, k;

	heal = NULL;
	fresh(g->command);
	switch (g->trouble) {
	case CHILDREN:
		heal = heal_children;
		if (n >= nlines * ACTIONS + KNOBS)
			return 0;
		if (n >= nlines * ACTIONS) {
			i = (int)n - nlines * ACTIONS;
			put(path("%s/node/knobs/%s", sb, knobs[i]), "");
			(void)snprintf(label, sizeof(label), "%s", knobs[i]);
			return 1;
		}
		i = (int)n / ACTIONS;
		k = (int)n % ACTIONS;
		put(path("%s/node/knobs/garbage", sb), "}\n = \nservice { '"
		    "':\n  ensure => ,\n\001\033[31mcertname=\n");
		(void)snprintf(label, sizeof(label), "%s %d %s", actions[k],
		    nth[i], lines[i]);
		put(path("%s/node/knobs/faults", sb), path("%s\n", label));
		return 1;
	case SPACE:
	case INODES:
		heal = heal_disk;
		(void)snprintf(label, sizeof(label), "%s: %ld more",
		    g->trouble == SPACE ? "4 KiB blocks" : "names", n);
		disk_make(g->command, g->trouble == SPACE ? used + n * 4096 :
		    1 << 26, g->trouble == SPACE ? 100000 : used + n);
		return 1;
	case READONLY:
		heal = heal_disk;
		(void)snprintf(label, sizeof(label), "read-only");
		disk_make(g->command, 1 << 26, 100000);
		if (mount(NULL, path("%s/node/puppet", sb), NULL, MS_REMOUNT |
		    MS_RDONLY, NULL) == -1)
			die("remount");
		return n == 0;
	case DESCRIPTORS:
		t->nofile = n + 3;
		(void)snprintf(label, sizeof(label), "%ld descriptors",
		    t->nofile);
		return n <= 60;
	}
	return 0;
}

static void
group_worker(const struct group *g, int i)
{
	struct trace t;
	long n;
	int bounded;

	worker_enter(i);
	if (undisturbed(g->command) == -1)
		exit(1);
	children_find();
	if (g->trouble == SPACE || g->trouble == INODES)
		disk_measure(g->command, g->trouble);
	bounded = g->trouble == SPACE || g->trouble == INODES;
	while (!shared->ended) {
		n = __sync_fetch_and_add(&shared->next, g->step);
		(void)memset(&t, 0, sizeof(t));
		t.tty = -1;
		t.act = TRACE_HOOK;
		t.at = 1;
		t.hook = nothing;
		if (!trouble_make(g, n, &t)) {
			shared->ended = 1;
			(void)umount(path("%s/node/puppet", sb));
			break;
		}
		run(g->command, &t);
		(void)__sync_fetch_and_add(&shared->tried, 1);
		(void)__sync_fetch_and_add(&shared->applied, 1);
		why[0] = '\0';
		if (judge(g->command, &t) == -1) {
			(void)bad("; %s", label);
			if (__sync_add_and_fetch(&shared->fell, 1) <= SHOWN ||
			    verbose) {
				(void)printf("  %s %s: %s: %s\n",
				    g->command->name, g->name, label, why);
				(void)fflush(stdout);
			}
		}
		(void)umount(path("%s/node/puppet", sb));
		if (bounded && (n > 2000 || (WIFEXITED(t.status) &&
		    WEXITSTATUS(t.status) == 0)))
			shared->ended = 1;
	}
	(void)umount(path("%s/usb", sb));
	empty(AT_FDCWD, sb);
	exit(0);
}

static void
group(const struct group *g)
{
	pid_t pid[WORKERS];
	long since;
	int i, n;

	(void)memset(shared, 0, sizeof(*shared));
	since = now();
	n = g->command->workers;
	(void)fflush(stdout);
	for (i = 0; i < n; i++) {
		if ((pid[i] = fork()) == -1)
			die("fork");
		if (pid[i] == 0)
			group_worker(g, i);
	}
	if (finish(pid, n) == -1) {
		(void)printf("%s %s: could not be done\n", g->command->name,
		    g->name);
		failed++;
		return;
	}
	(void)printf("%s %s: %ld tried, %ld fell (%ld s)\n",
	    g->command->name, g->name, shared->tried, shared->fell,
	    (now() - since + 500) / 1000);
	failed += shared->fell + (shared->tried == 0);
	passed += shared->tried - shared->fell;
}

/*
 * All of it.
 */

static const struct {
	const char *name;
	enum trace_act act;
	int value, tty, ci;	/* ci: 0 sampled, 1 in full, 2 not at all */
} kinds[] = {
	{ "kill", TRACE_KILL, 0, 0, 1 },
	{ "EIO", TRACE_ERRNO, EIO, 0, 1 },
	{ "ENOSPC", TRACE_ERRNO, ENOSPC, 0, 0 },
	{ "EACCES", TRACE_ERRNO, EACCES, 0, 0 },
	{ "EINTR", TRACE_ERRNO, EINTR, 0, 0 },
	{ "EMFILE", TRACE_ERRNO, EMFILE, 0, 0 },
	{ "ENOMEM", TRACE_ERRNO, ENOMEM, 0, 0 },
	{ "EAGAIN", TRACE_ERRNO, EAGAIN, 0, 0 },
	{ "short", TRACE_SHORT, 0, 0, 0 },
	{ "SIGINT", TRACE_SIGNAL, SIGINT, 0, 2 },
	{ "SIGTERM", TRACE_SIGNAL, SIGTERM, 0, 0 },
	{ "SIGHUP", TRACE_SIGNAL, SIGHUP, 0, 2 },
	{ "hangup", TRACE_HOOK, 0, 1, 0 },
	{ "EIO-on", TRACE_ERRNO_ON, EIO, 0, 2 },
	{ "ENOSPC-on", TRACE_ERRNO_ON, ENOSPC, 0, 2 },
	{ "kill-after", TRACE_KILL_AFTER, 0, 0, 2 },
};

static const struct {
	const char *name;
	enum trouble trouble;
	int step, ci;
} groups[] = {
	{ "children", CHILDREN, 1, 5 },
	{ "space", SPACE, 3, 10 },
	{ "inodes", INODES, 1, 3 },
	{ "read-only", READONLY, 1, 1 },
	{ "descriptors", DESCRIPTORS, 1, 3 },
};

/* Is it asked for?  "kill" is every kill, "prepare kill" that one. */
static int
wanted(const char *one, const char *command, const char *name)
{
	return one == NULL || strcmp(one, name) == 0 ||
	    strcmp(one, command) == 0 ||
	    strcmp(one, path("%s %s", command, name)) == 0;
}

static void
command_try(const struct command *c, const char *one, int ci)
{
	struct sweep w;
	struct group g;
	size_t i;

	for (i = 0; i < sizeof(kinds) / sizeof(*kinds); i++) {
		if (!wanted(one, c->name, kinds[i].name) ||
		    (ci && kinds[i].ci == 2 && one == NULL))
			continue;
		w.name = kinds[i].name;
		w.command = c;
		w.act = kinds[i].act;
		w.value = kinds[i].value;
		w.tty = kinds[i].tty;
		w.sample = ci && (kinds[i].ci != 1 || c > &commands[2]) ? 25 :
		    0;
		sweep(&w);
	}
	/* these want the stand-in, and the tree where it always is */
	if (c > &commands[3])
		return;
	for (i = 0; i < sizeof(groups) / sizeof(*groups); i++) {
		if (!wanted(one, c->name, groups[i].name))
			continue;
		/* an agent that has too few of them spoils its own ssl */
		if (groups[i].trouble == DESCRIPTORS && c == &commands[2])
			continue;
		g.name = groups[i].name;
		g.command = c;
		g.trouble = groups[i].trouble;
		g.step = ci ? groups[i].ci : groups[i].step;
		group(&g);
	}
}

static void
all(const char *mode, const char *one)
{
	size_t i;

	for (i = 0; i < sizeof(commands) / sizeof(*commands); i++)
		if (access(path("%s/template.%s", work, commands[i].name),
		    F_OK) == 0)
			command_try(&commands[i], one, strcmp(mode, "ci") ==
			    0);
}

static void
usage(void)
{
	(void)fprintf(stderr, "usage: faults [-v] [-m full|ci] [-1 sweep] [-x text] "
	    "WORK PROGRAM\n");
	exit(2);
}

int
main(int argc, char *argv[])
{
	const char *mode, *one;
	int c;

	mode = "full";
	one = NULL;
	while ((c = getopt(argc, argv, "m:1:vx:")) != -1)
		switch (c) {
		case 'm':
			mode = optarg;
			break;
		case '1':
			one = optarg;
			break;
		case 'v':
			verbose = 1;
			break;
		case 'x':
			hasty = optarg;
			break;
		default:
			usage();
		}
	if (argc - optind != 2)
		usage();
	work = argv[optind];
	program = argv[optind + 1];
	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE,
	    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (shared == MAP_FAILED)
		die("memory");
	all(mode, one);
	(void)printf("%ld passed, %ld failed\n", passed, failed);
	return failed != 0;
}
