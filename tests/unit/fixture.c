/*
 * fixture.c: what the suites share; the contracts are in fixture.h.
 */
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "fixture.h"

const char *const version[VERSIONS] = {
	"5.5.22", "6.0.2", "7.23.0", "8.10.0"
};

enum { TEXTS = 4096, PATHS = 32, ARGS = 32, LIMIT = 120 };

int	cmregen_main(int, char *[]);

static char base[2048];		/* a directory for the whole suite */
static char *dir;		/* the temporary directory in it */
static char *texts[TEXTS];	/* what is freed when the test ends */
static int text_count;
static char paths[PATHS][4096];
static int path_count;
static int situation_of;	/* its version */
static int situation_quiet;
static struct run result;
static struct timespec started;

static char *
keep(char *s)
{
	ck_assert_ptr_nonnull(s);
	ck_assert_int_lt(text_count, TEXTS);
	texts[text_count++] = s;
	return s;
}

const char *
path(const char *format, ...)
{
	va_list ap;
	char *p;
	int n;

	p = paths[path_count++ % PATHS];
	n = snprintf(p, sizeof(paths[0]), "%s/s/", dir);
	va_start(ap, format);
	(void)vsnprintf(p + n, sizeof(paths[0]) - (size_t)n, format, ap);
	va_end(ap);
	return p;
}

const char *
text(const char *format, ...)
{
	va_list ap;
	char *p;
	int n;

	va_start(ap, format);
	n = vsnprintf(NULL, 0, format, ap);
	va_end(ap);
	p = keep(malloc((size_t)n + 1));
	va_start(ap, format);
	(void)vsnprintf(p, (size_t)n + 1, format, ap);
	va_end(ap);
	return p;
}

/* Absolute or below the sandbox. */
static const char *
place(const char *name)
{
	return name[0] == '/' ? name : path("%s", name);
}

static char *
read_all(const char *name)
{
	char *p;
	size_t n, size;
	FILE *fp;

	fp = fopen(name, "r");
	ck_assert_msg(fp != NULL, "open %s: %s", name, strerror(errno));
	size = 4096;
	p = malloc(size);
	ck_assert_ptr_nonnull(p);
	for (n = 0;;) {
		n += fread(p + n, 1, size - n - 1, fp);
		if (n < size - 1)
			break;
		size *= 4;
		p = realloc(p, size);
		ck_assert_ptr_nonnull(p);
	}
	p[n] = '\0';
	(void)fclose(fp);
	return keep(p);
}

const char *
get(const char *name)
{
	return read_all(place(name));
}

void
put(const char *name, const char *s)
{
	FILE *fp;

	name = place(name);
	fp = fopen(name, "w");
	ck_assert_msg(fp != NULL, "write %s: %s", name, strerror(errno));
	ck_assert_int_ge(fputs(s, fp), 0);
	ck_assert_int_eq(fclose(fp), 0);
}

int
exists(const char *name)
{
	struct stat st;

	return lstat(place(name), &st) == 0;
}

void
skip_test(const char *why)
{
	ck_abort_msg("skipped: %s", why);
}

/* What a line wants that nobody can do here; NULL, it can be done. */
static const char *
forbidden(const char *line)
{
	static const struct {
		const char *words;	/* in the line */
		const char *try;	/* in an empty directory */
		const char *why;
	} want[] = {
		{ "mount -t tmpfs", "mount -t tmpfs none . && umount .",
		    "no file system can be mounted here" },
		{ "mount --bind", "mount --bind . . && umount .",
		    "nothing can be mounted here" },
		{ "mount -o loop", "truncate -s 1M i && mkfs.ext4 -q i && "
		    "mkdir m && mount -o loop i m && umount m",
		    "there are no loop devices here" },
		{ "mknod ", "mknod null c 1 3",
		    "no device can be made here" }
	};
	size_t i;

	for (i = 0; i < sizeof(want) / sizeof(want[0]); i++)
		if (strstr(line, want[i].words) != NULL &&
		    system(text("d=$(mktemp -d '%s/try.XXXXXX') && cd $d && "
		    "{ %s; } >$d.out 2>&1; s=$?; cd / && rm -r $d; exit $s",
		    dir, want[i].try)) != 0)
			return want[i].why;
	return NULL;
}

void
sh(const char *format, ...)
{
	const char *why;
	va_list ap;
	char line[8192];
	int n, rc;

	n = snprintf(line, sizeof(line), "set -e; cd '%s'; ",
	    access(path("."), F_OK) == 0 ? path(".") : dir);
	va_start(ap, format);
	n += vsnprintf(line + n, sizeof(line) - (size_t)n, format, ap);
	va_end(ap);
	ck_assert_int_lt(n, (int)sizeof(line));
	(void)fflush(NULL);
	why = forbidden(line);
	if (why != NULL)
		skip_test(why);
	rc = system(line);
	ck_assert_msg(rc == 0, "status %d: %s", rc, line);
}

void
knob(const char *host, const char *name, const char *value)
{
	put(path("%s/knobs/%s", host, name), text("%s\n", value));
}

void
fixture_begin(void)
{
	char name[4096];

	(void)snprintf(name, sizeof(name), "%s/XXXXXX", base);
	ck_assert_ptr_nonnull(mkdtemp(name));
	ck_assert_int_eq(chmod(name, 0755), 0);
	dir = strdup(name);
	ck_assert_ptr_nonnull(dir);
	(void)umask(022);
}

/* Ends what the stand-in of a host has left running. */
static void
background_end(const char *host)
{
	const char *name;
	FILE *fp;
	int pid;

	name = path("%s/background", host);
	fp = fopen(name, "r");
	if (fp == NULL)
		return;
	while (fscanf(fp, "%d", &pid) == 1)
		if (pid > 1)
			(void)kill(pid, SIGKILL);
	(void)fclose(fp);
}

void
fixture_end(void)
{
	char line[5000];

	if (dir == NULL)
		return;
	background_end("mom");
	background_end("node");
	(void)snprintf(line, sizeof(line), "rm -rf '%s'", dir);
	(void)fflush(NULL);
	if (system(line) != 0)
		(void)fprintf(stderr, "%s: failed\n", line);
	free(dir);
	dir = NULL;
	while (text_count > 0)
		free(texts[--text_count]);
}

void
sandbox(const char *version)
{
	const char *tests;

	tests = getenv("TESTS");
	if (tests == NULL)
		tests = "tests";
	(void)fflush(NULL);
	ck_assert_int_eq(system(text("rm -rf '%s/s' && "
	    "'%s/common/sandbox' '%s/s' '%s'", dir, tests, dir, version)), 0);
}

/* FNV-1a over a file. */
static uint64_t
file_sum(const char *name)
{
	uint64_t sum;
	FILE *fp;
	int c;

	fp = fopen(name, "r");
	if (fp == NULL)
		return 0;
	sum = 14695981039346656037u;
	while ((c = getc(fp)) != EOF)
		sum = (sum ^ (uint64_t)c) * 1099511628211u;
	(void)fclose(fp);
	return sum;
}

static int
listed(const char *name, const char *const *list)
{
	for (; list != NULL && *list != NULL; list++)
		if (strcmp(name, *list) == 0)
			return 1;
	return 0;
}

static void
tree_line(FILE *fp, const char *name, const char *shown)
{
	char target[4096];
	struct stat st;
	ssize_t n;

	if (lstat(name, &st) == -1) {
		(void)fprintf(fp, "%s gone\n", shown);
		return;
	}
	(void)fprintf(fp, "%s %o %ld:%ld", shown, (unsigned)st.st_mode,
	    (long)st.st_uid, (long)st.st_gid);
	if (S_ISREG(st.st_mode))
		(void)fprintf(fp, " %ld %016llx", (long)st.st_size,
		    (unsigned long long)file_sum(name));
	if (S_ISLNK(st.st_mode)) {
		n = readlink(name, target, sizeof(target) - 1);
		target[n == -1 ? 0 : n] = '\0';
		(void)fprintf(fp, " -> %s", target);
	}
	(void)fputc('\n', fp);
}

static void
tree_walk(FILE *fp, const char *name, size_t top, const char *const *skip)
{
	char below[4096 + NAME_MAX];
	struct dirent **list;
	struct stat st;
	int i, n;

	tree_line(fp, name, name[top] == '\0' ? "." : name + top + 1);
	if (lstat(name, &st) == -1 || !S_ISDIR(st.st_mode))
		return;
	n = scandir(name, &list, NULL, alphasort);
	for (i = 0; i < n; i++) {
		(void)snprintf(below, sizeof(below), "%s/%s", name,
		    list[i]->d_name);
		if (strcmp(list[i]->d_name, ".") != 0 &&
		    strcmp(list[i]->d_name, "..") != 0 &&
		    !listed(list[i]->d_name, skip))
			tree_walk(fp, below, top, skip);
		free(list[i]);
	}
	if (n != -1)
		free(list);
}

const char *
tree_text(const char *name, const char *const *skip)
{
	char *buf;
	size_t size;
	FILE *fp;

	name = place(name);
	buf = NULL;
	fp = open_memstream(&buf, &size);
	ck_assert_ptr_nonnull(fp);
	tree_walk(fp, name, strlen(name), skip);
	(void)fclose(fp);
	return keep(buf);
}

const char *
snapshot(const char *name)
{
	static const char *const skip[] = {
		"log", "knobs", "background", "counter", "served", "record",
		NULL
	};

	return tree_text(name, skip);
}

const char *
services(void)
{
	char *buf;
	size_t size;
	struct dirent **list;
	FILE *fp;
	int i, n;

	buf = NULL;
	fp = open_memstream(&buf, &size);
	ck_assert_ptr_nonnull(fp);
	n = scandir(path("node/services"), &list, NULL, alphasort);
	ck_assert_int_gt(n, 0);
	for (i = 0; i < n; i++) {
		if (list[i]->d_name[0] != '.')
			(void)fprintf(fp, "%s %s", list[i]->d_name,
			    get(path("node/services/%s", list[i]->d_name)));
		free(list[i]);
	}
	free(list);
	(void)fclose(fp);
	return keep(buf);
}

int
running(const char *name)
{
	const char *file;

	file = path("node/services/%s", name);
	return exists(file) && strncmp(get(file), "running", 7) == 0;
}

/*
 * Running the program.
 */

static void
redirect(const char *name, int to)
{
	int fd;

	fd = open(text("%s/%s", dir, name), O_WRONLY | O_CREAT | O_TRUNC,
	    0644);
	if (fd == -1 || dup2(fd, to) == -1)
		_exit(99);
	(void)close(fd);
}

static pid_t
fork_captured(void)
{
	pid_t pid;
	int fd;

	(void)fflush(NULL);
	(void)clock_gettime(CLOCK_MONOTONIC, &started);
	pid = fork();
	ck_assert_int_ne(pid, -1);
	if (pid == 0) {
		/* what is open here at its end, it has opened itself */
		for (fd = 3; fd < 64; fd++)
			(void)close(fd);
		redirect("out", 1);
		redirect("err", 2);
	}
	return pid;
}

static pid_t
start_argv(int argc, char *argv[])
{
	const char *other;
	pid_t pid;

	other = getenv("CMREGEN");
	pid = fork_captured();
	if (pid != 0)
		return pid;
	if (other == NULL)
		exit(cmregen_main(argc, argv));
	(void)execv(other, argv);
	_exit(98);
}

static double
elapsed(void)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)(now.tv_sec - started.tv_sec) +
	    (double)(now.tv_nsec - started.tv_nsec) / 1e9;
}

const struct run *
finish(pid_t pid)
{
	static const struct timespec tick = { 0, 2000000 };
	pid_t got;
	int status;

	status = 0;
	while ((got = waitpid(pid, &status, WNOHANG)) == 0 &&
	    elapsed() < LIMIT)
		(void)nanosleep(&tick, NULL);
	result.took = elapsed();
	if (got == 0) {
		(void)kill(pid, SIGKILL);
		(void)waitpid(pid, &status, 0);
		result.status = -1;
	} else if (WIFEXITED(status))
		result.status = WEXITSTATUS(status);
	else
		result.status = 128 + WTERMSIG(status);
	result.out = read_all(text("%s/out", dir));
	result.err = read_all(text("%s/err", dir));
	ck_assert_msg(strstr(result.err, "Sanitizer") == NULL &&
	    strstr(result.err, "runtime error: ") == NULL, "%.4000s",
	    result.err);
	return &result;
}

/* The arguments of a call, after the words that go before them. */
static int
collect(char *argv[], int argc, const char *first, va_list ap)
{
	const char *s;

	for (s = first; s != NULL; s = va_arg(ap, const char *)) {
		ck_assert_int_lt(argc, ARGS - 1);
		argv[argc++] = keep(strdup(s));
	}
	argv[argc] = NULL;
	return argc;
}

const struct run *
program(const char *first, ...)
{
	char *argv[ARGS];
	va_list ap;
	int argc;

	argv[0] = keep(strdup("cmregen"));
	va_start(ap, first);
	argc = collect(argv, 1, first, ap);
	va_end(ap);
	return finish(start_argv(argc, argv));
}

pid_t
start(const char *first, ...)
{
	char *argv[ARGS];
	va_list ap;
	int argc;

	argv[0] = keep(strdup("cmregen"));
	va_start(ap, first);
	argc = collect(argv, 1, first, ap);
	va_end(ap);
	return start_argv(argc, argv);
}

static int
host_words(char *argv[], const char *host, const char *command)
{
	argv[0] = keep(strdup("cmregen"));
	argv[1] = keep(strdup(host));
	argv[2] = keep(strdup(command));
	argv[3] = keep(strdup("-p"));
	argv[4] = keep(strdup(path("%s/bin/puppet", host)));
	return 5;
}

const struct run *
mom(const char *command, ...)
{
	char *argv[ARGS];
	const char *first;
	va_list ap;
	int argc;

	argc = host_words(argv, "mom", command);
	va_start(ap, command);
	first = va_arg(ap, const char *);
	argc = collect(argv, argc, first, ap);
	va_end(ap);
	return finish(start_argv(argc, argv));
}

const struct run *
node(const char *command, ...)
{
	char *argv[ARGS];
	const char *first;
	va_list ap;
	int argc;

	argc = host_words(argv, "node", command);
	va_start(ap, command);
	first = va_arg(ap, const char *);
	argc = collect(argv, argc, first, ap);
	va_end(ap);
	return finish(start_argv(argc, argv));
}

/* Waits for all children, those of children that have ended, too. */
static void
settle(void)
{
	static const struct timespec tick = { 0, 5000000 };
	int i;

	for (i = 0; i < 2000 && waitpid(-1, NULL, WNOHANG) != -1; i++)
		(void)nanosleep(&tick, NULL);
	ck_assert_int_lt(i, 2000);
}

void
node_killed(const char *pattern, const char *command, ...)
{
	char *argv[ARGS];
	const char *first_word;
	va_list ap;
	int argc;

	knob("node", "faults", text("parent KILL 1 %s", pattern));
	argc = host_words(argv, "node", command);
	va_start(ap, command);
	first_word = va_arg(ap, const char *);
	argc = collect(argv, argc, first_word, ap);
	va_end(ap);
	/* what it leaves running becomes ours: it may not have begun yet */
	ck_assert_int_eq(prctl(PR_SET_CHILD_SUBREAPER, 1), 0);
	ck_assert_int_eq(finish(start_argv(argc, argv))->status,
	    128 + SIGKILL);
	settle();
	ck_assert_int_eq(prctl(PR_SET_CHILD_SUBREAPER, 0), 0);
	sh("rm node/knobs/faults*");
}

pid_t
start_function(int (*function)(void *), void *arg)
{
	pid_t pid;

	pid = fork_captured();
	if (pid == 0)
		exit(function(arg));
	return pid;
}

const struct run *
run_function(int (*function)(void *), void *arg)
{
	return finish(start_function(function, arg));
}

const char *
printed(void)
{
	if (access(text("%s/out", dir), F_OK) == -1)
		return "";
	return read_all(text("%s/out", dir));
}

void
run_in_progress(const char *seconds)
{
	sh("sleep %s & echo $! | tee -a node/background >" RUNLOCK, seconds);
}

void
runbook(const char *s)
{
	put("runbook", s);
	sh("sh runbook >runbook.out 2>&1 || { cat runbook.out >&2; false; }; "
	    "rm runbook runbook.out");
}

void
await(const char *name)
{
	static const struct timespec tick = { 0, 5000000 };
	int i;

	for (i = 0; i < 2000 && !exists(name); i++)
		(void)nanosleep(&tick, NULL);
	ck_assert_msg(exists(name), "%s did not appear", name);
}

/* The text without these words. */
static const char *
without(const char *s, const char *words)
{
	char *p, *hit;
	size_t n;

	n = strlen(words);
	p = keep(strdup(s));
	for (hit = p; (hit = strstr(hit, words)) != NULL; )
		memmove(hit, hit + n, strlen(hit + n) + 1);
	return p;
}

int
logged(const char *host, const char *words, int from)
{
	const char *s, *end;
	const char *hit;
	int n;

	s = without(get(path("%s/log", host)), " --color=false");
	for (n = 0; *s != '\0'; n++, s = end + 1) {
		end = strchr(s, '\n');
		hit = strstr(s, words);
		if (hit != NULL && hit < end && n >= from)
			return n;
	}
	return -1;
}

int
logged_times(const char *host, const char *words)
{
	int at, n;

	at = -1;
	for (n = 0; (at = logged(host, words, at + 1)) != -1; n++)
		continue;
	return n;
}

void
log_clear(const char *host)
{
	put(path("%s/log", host), "");
}

pid_t
hold_lock(const char *name)
{
	struct flock fl;
	char c;
	int fd, pair[2];
	pid_t pid;

	name = place(name);
	ck_assert_int_eq(pipe(pair), 0);
	(void)fflush(NULL);
	pid = fork();
	ck_assert_int_ne(pid, -1);
	if (pid == 0) {
		memset(&fl, 0, sizeof(fl));
		fl.l_type = F_WRLCK;
		fl.l_whence = SEEK_SET;
		fd = open(name, O_RDWR | O_CREAT, 0600);
		if (fd == -1 || fcntl(fd, F_SETLK, &fl) == -1)
			_exit(1);
		(void)write(pair[1], "x", 1);
		(void)alarm(LIMIT);
		for (;;)
			(void)pause();
	}
	(void)close(pair[1]);
	ck_assert_int_eq((int)read(pair[0], &c, 1), 1);
	(void)close(pair[0]);
	return pid;
}

void
hold_end(pid_t pid)
{
	(void)kill(pid, SIGKILL);
	(void)waitpid(pid, NULL, 0);
}

/* What tests that failed have left: processes, mounts, files. */
static void
base_remove(void)
{
	char line[8192];

	(void)snprintf(line, sizeof(line), "cd '%s' || exit; "
	    "cat ./*/s/*/background 2>/dev/null | "
	    "while read -r p; do kill -9 $p 2>/dev/null; done; "
	    "grep \" $PWD/\" /proc/mounts | cut -d' ' -f2 | sort -r | "
	    "while read -r m; do umount \"$m\"; done; "
	    "cd / && rm -rf '%s'", base, base);
	(void)fflush(NULL);
	if (system(line) != 0)
		(void)fprintf(stderr, "%s is left behind\n", base);
}

/* One word of what keys/tell knows of a file; 1 is the first. */
static const char *
told(const char *name, int column)
{
	sh("(keys/tell %s 2>fp.err || echo none none none none) | "
	    "cut -d' ' -f%d | tr -d '\\n' >fp; rm -f fp.err", name, column);
	return get("fp");
}

const char *
generation_of(const char *name)
{
	return told(name, 1);
}

const char *
serial_of(const char *name)
{
	const char *s;

	s = text("%lX", strtoul(told(name, 3), NULL, 10));
	return strlen(s) % 2 == 0 ? s : text("0%s", s);
}

/* Also of what is none of ours. */
const char *
fingerprint_of(const char *name)
{
	sh("grep -v -e ---- %s | base64 -d | sha256sum | cut -c1-64 | "
	    "sed 's/../:&/g;s/^://' | tr a-f A-F | tr -d '\\n' >fp", name);
	return get("fp");
}

void
give(const char *generation, const char *what, const char *name)
{
	sh("keys/give %s %s >'%s'", generation, what, name);
}

void
present(const char *variant)
{
	give("1", text("%s.crt", variant), SSL CERT);
	give("1", text("%s.crt", variant), "mom/ca/signed/" CM1 ".pem");
	sh("set -- $(keys/tell " SSL CERT "); echo 1 $3 >node/served; "
	    "sed -i \"s/^2 /$3 /\" mom/ca/inventory.txt");
}

const char *
served(void)
{
	sh("cut -d' ' -f1 node/served | tr -d '\\n' >fp");
	return get("fp");
}

void
sign(void)
{
	sh(". node/conf; case $VERSION in 5*) mom/bin/puppet cert "
	    "--allow-dns-alt-names sign " CM1 ";; *) mom/bin/puppetserver ca "
	    "sign --certname " CM1 ";; esac >out 2>&1");
}

void
no_leftover(void)
{
	sh("! find . -name '*cmregen*' | grep . >&2");
}

/*
 * Situations.
 */

static void
idle(void)
{
	sh("rm mom/ca/signed/" CM1 ".pem");
}

static void
staged(void)
{
	ck_assert_int_eq(node("prepare", NULL)->status, 0);
}

static void
finished(void)
{
	ck_assert_int_eq(node("finish", NULL)->status, 0);
}

static void
exchanging(void)
{
	node_killed("*puppet ensure=stopped*", "finish", NULL);
}

static void
torn(void)
{
	sh("mv " SSL " " OLD);
}

/* What was started with the reload has stopped, or has not yet. */
static void
others_stopped(void)
{
	sh("for s in puppet pxp-agent mcollective; do "
	    "[ ! -e node/services/$s ] || echo stopped true "
	    ">node/services/$s; done");
}

static void
exchanged(void)
{
	node_killed("puppetserver reload", "finish", NULL);
	others_stopped();
}

static void
unproven(void)
{
	node_killed("puppet agent --test", "finish", NULL);
}

static void
restoring(void)
{
	node_killed("*puppet ensure=stopped*", "restore", "-a", NULL);
}

static void
restored(void)
{
	node_killed("puppetserver reload", "restore", "-a", NULL);
	others_stopped();
}

static void
leaving(void)
{
	sh("echo back >>" JOURNAL);
}

static void
returning(void)
{
	node_killed("*puppet ensure=stopped*", "restore", NULL);
}

static void
done(void)
{
	sh("echo done >>" JOURNAL);
}

static const struct {
	const char *name, *after;
	void (*make)(void);
} situations[] = {
	{ "fresh", NULL, NULL },
	{ "idle", "fresh", idle },
	{ "staged", "idle", staged },
	{ "signed", "staged", sign },
	{ "finished", "signed", finished },
	{ "exchanging", "signed", exchanging },
	{ "torn", "exchanging", torn },
	{ "exchanged", "signed", exchanged },
	{ "unproven", "signed", unproven },
	{ "restoring", "finished", restoring },
	{ "halfway", "restoring", torn },
	{ "restored", "finished", restored },
	{ "leaving", "staged", leaving },
	{ "returning", "exchanged", returning },
	{ "done", "unproven", done },
	{ "undone", "restored", done }
};

/*
 * Where the copies of a situation come from.  The parts of a suite can share
 * one directory.
 */
static const char *
made(int v, const char *name)
{
	const char *shared;

	shared = getenv("MADE");
	return text("%s/%s-%d", shared != NULL ? shared : text("%s/made",
	    base), name, v);
}

/* Keeps it there, in one moment, unless somebody else has. */
static void
situation_keep(int v, const char *name)
{
	const char *to;

	to = made(v, name);
	sh("rm -f out; mkdir -p %s.%ld && cp -a . %s.%ld/%s", to,
	    (long)getpid(), to, (long)getpid(), name);
	(void)rename(text("%s.%ld/%s", to, (long)getpid(), name), to);
	sh("rm -rf %s.%ld", to, (long)getpid());
}

const char *
first(const char *name)
{
	return tree_text(text("%s/%s", made(situation_of, "fresh"), name),
	    NULL);
}

/* Puts a copy of it in place, whose journal names its own backup. */
static void
situation_copy(int v, const char *name)
{
	sh("cd .. && rm -rf s && cp -a %s s && if [ -e s/" JOURNAL " ]; then "
	    "sed -i 's,^backup .*,backup %s,' s/" JOURNAL "; fi",
	    made(v, name), path(BAK));
}

void
situation(int v, const char *name)
{
	size_t i;

	situation_of = v;
	situation_quiet = 0;
	if (access(made(v, name), F_OK) == 0) {
		if (access(path("."), F_OK) == -1)
			ck_assert_int_eq(mkdir(path("%s", ""), 0755), 0);
		situation_copy(v, name);
		return;
	}
	for (i = 0; i < sizeof(situations) / sizeof(situations[0]); i++)
		if (strcmp(situations[i].name, name) == 0)
			break;
	ck_assert_uint_lt(i, sizeof(situations) / sizeof(situations[0]));
	if (situations[i].after == NULL)
		sandbox(version[v]);
	else
		situation(v, situations[i].after);
	if (situations[i].make != NULL)
		situations[i].make();
	log_clear("node");
	situation_keep(v, name);
}

void
quiet_situation(int v, const char *name)
{
	situation(v, name);
	situation_quiet = 1;
	put("node/services/puppet", "stopped false\n");
	if (exists(JOURNAL))
		sh("sed -i 's/^\\(finish\\|restore\\|back\\) puppet /\\1 /' "
		    JOURNAL);
}

void
signed_with_medium(void)
{
	quiet_situation(SEVEN, "idle");
	sh("mkdir node/usb; mount -t tmpfs none node/usb");
	assert_status(node("prepare", "-b", path("node/usb/bak"), NULL), 0);
	sign();
}

/* All services are as they were, and the server serves that generation. */
static void
ends_served(const char *generation)
{
	const char *want;

	sh("for f in %s/node/services/*; do s=${f##*/}; "
	    "[ $s = puppet ] || cmp $f node/services/$s; done",
	    made(situation_of, "fresh"));
	want = get(text("%s/node/services/puppet", made(situation_of,
	    "fresh")));
	ck_assert_str_eq(get("node/services/puppet"),
	    situation_quiet ? "stopped false\n" : want);
	ck_assert_str_eq(served(), generation);
}

void
ends_back(void)
{
	no_leftover();
	assert_same(tree_text(SSL, NULL), first(SSL));
	if (exists(BAK))
		assert_same(tree_text(BAK, NULL), first(SSL));
	ends_served("1");
}

void
ends_staged(void)
{
	assert_same(tree_text(SSL, NULL), first(SSL));
	assert_same(tree_text(BAK, NULL), first(SSL));
	ck_assert_str_eq(generation_of(NEXT KEY), "2");
	ck_assert_str_eq(generation_of(NEXT REQUEST), "2");
	assert_has(get(JOURNAL), text("backup %s\nstaged\n", path(BAK)));
	sh("ls -A " WORK " >fp");
	ck_assert_str_eq(get("fp"), "journal\nnext\n");
	sh("test \"$(stat -c %%a " WORK ")\" = 700");
	ends_served("1");
}

void
ends_finished(void)
{
	no_leftover();
	assert_same(tree_text(BAK, NULL), first(SSL));
	ck_assert_str_eq(generation_of(SSL KEY), "2");
	ck_assert_str_eq(generation_of(SSL CERT), "2");
	/* puppet may be ended before it gives its request away */
	sh("! find " SSL " ! -user 52001 ! -path '*_requests/*' | "
	    "grep . >&2");
	ends_served("2");
}

void
sleep_ms(long ms)
{
	struct timespec ts;

	ts.tv_sec = ms / 1000;
	ts.tv_nsec = ms % 1000 * 1000000;
	(void)nanosleep(&ts, NULL);
}

/* Is it the turn of the next test? */
static int
mine(void)
{
	static int part, parts;
	static int count;
	const char *s;

	s = getenv("PART");
	if (parts == 0 && (s == NULL ||
	    sscanf(s, "%d/%d", &part, &parts) != 2))
		part = parts = 1;
	return count++ % parts == part - 1;
}

/* The library's own, which fixture.h has given another meaning. */
#undef tcase_add_loop_test
#define tcase_add_loop_test(TC, TEST, FROM, TO)				\
    _tcase_add_test((TC), (TEST), 0, 0, (FROM), (TO))

void
tests_add(TCase *tc, const TTest *test, int from, int to)
{
	for (; from < to; from++)
		if (mine())
			tcase_add_loop_test(tc, test, from, from + 1);
}

/* How many of those that failed were skipped. */
static int
skipped(SRunner *runner)
{
	TestResult **results;
	int i, n;

	n = 0;
	results = srunner_failures(runner);
	for (i = 0; i < srunner_ntests_failed(runner); i++)
		if (strncmp(tr_msg(results[i]), "skipped: ", 9) == 0)
			n++;
	free(results);
	return n;
}

/*
 * Makes the directory for the suite.  The program has everything on disk
 * before it goes on, a hundred times in each test: where nobody has named a
 * place, memory is one, if programs can be run from there.
 */
static int
base_make(void)
{
	const char *tmp;
	char line[8192];

	tmp = getenv("TMPDIR");
	(void)snprintf(base, sizeof(base), "%s/cmregen-test.XXXXXX",
	    tmp == NULL ? "/dev/shm" : tmp);
	if (mkdtemp(base) != NULL) {
		(void)snprintf(line, sizeof(line), "cd '%s' && cp /bin/true t"
		    " && ./t && rm t || { cd / && rm -r '%s' && false; } "
		    "2>/dev/null", base, base);
		if (system(line) == 0)
			return chmod(base, 0755);
	}
	if (tmp != NULL)
		return -1;
	(void)snprintf(base, sizeof(base), "/tmp/cmregen-test.XXXXXX");
	return mkdtemp(base) == NULL ? -1 : chmod(base, 0755);
}

int
suite_run(Suite *suite)
{
	static const int sent[] = { SIGHUP, SIGINT, SIGQUIT, SIGTERM };
	SRunner *runner;
	size_t i;
	int failed, not_run, run;

	/* nohup, or a shell's &, may have them ignored */
	for (i = 0; i < sizeof(sent) / sizeof(*sent); i++)
		(void)signal(sent[i], SIG_DFL);
	if (base_make() == -1) {
		perror(base);
		return EXIT_FAILURE;
	}
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	run = srunner_ntests_run(runner);
	not_run = skipped(runner);
	failed = srunner_ntests_failed(runner) - not_run;
	srunner_free(runner);
	base_remove();
	(void)printf("%d passed, %d failed, %d skipped\n",
	    run - failed - not_run, failed, not_run);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
