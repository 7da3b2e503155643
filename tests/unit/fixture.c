/*
 * fixture.c: what the suites share; the contracts are in fixture.h.
 */
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
sh(const char *format, ...)
{
	va_list ap;
	char line[8192];
	int n, rc;

	n = snprintf(line, sizeof(line), "cd '%s' && { ",
	    access(path("."), F_OK) == 0 ? path(".") : dir);
	va_start(ap, format);
	n += vsnprintf(line + n, sizeof(line) - (size_t)n, format, ap);
	va_end(ap);
	ck_assert_int_lt(n, (int)sizeof(line) - 8);
	(void)snprintf(line + n, sizeof(line) - (size_t)n, "\n}");
	(void)fflush(NULL);
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

const struct run *
run_function(int (*function)(void *), void *arg)
{
	pid_t pid;

	pid = fork_captured();
	if (pid == 0)
		exit(function(arg));
	return finish(pid);
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
	sh("grep -E '^(mv|cp|rm|/)' runbook >runbook.sh; test -s runbook.sh; "
	    "sh -x runbook.sh >runbook.out 2>&1; rm runbook runbook.sh");
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

const char *
id_of(const char *name)
{
	return text("%.9s", strchr(get(name), '\n') + 4);
}

const char *
fingerprint_of(const char *name)
{
	sh("grep -v -e ---- %s | base64 -d | sha256sum | cut -c1-64 | "
	    "sed 's/../:&/g;s/^://' | tr a-f A-F | tr -d '\\n' >fp", name);
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
	sh("! ls -A node/puppet | grep cmregen >&2");
}

void
sleep_ms(long ms)
{
	struct timespec ts;

	ts.tv_sec = ms / 1000;
	ts.tv_nsec = ms % 1000 * 1000000;
	(void)nanosleep(&ts, NULL);
}

int
suite_run(Suite *suite)
{
	static const int sent[] = { SIGHUP, SIGINT, SIGQUIT, SIGTERM };
	SRunner *runner;
	const char *tmp;
	size_t i;
	int failed;

	/* nohup, or a shell's &, may have them ignored */
	for (i = 0; i < sizeof(sent) / sizeof(*sent); i++)
		(void)signal(sent[i], SIG_DFL);
	tmp = getenv("TMPDIR");
	(void)snprintf(base, sizeof(base), "%s/cmregen-test.XXXXXX",
	    tmp == NULL ? "/tmp" : tmp);
	if (mkdtemp(base) == NULL || chmod(base, 0755) == -1) {
		perror(base);
		return EXIT_FAILURE;
	}
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	base_remove();
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
