/*
 * tracer.c: see tracer.h.  With -DTRACER_MAIN it is a program:
 *
 *	tracer [-c] [-n N] [-k | -K | -e ERRNO | -E ERRNO | -s SIGNAL | -h]
 *	    [-t seconds] [-o report] program [argument ...]
 *
 * -k kills before the N-th call, -K after it, -e lets it fail, -E it and every
 * later one, -s sends a signal, -h halves a read or write.  One line about it
 * goes to the report (default: standard error).  Without -n all calls are
 * counted.  -c counts only those that change something, -cc only those that
 * change names or the number of processes.
 */
#define _GNU_SOURCE
#include <sys/ioctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <sys/wait.h>

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tracer.h"

enum {				/* what a call may fail with */
	IO = 1, SPC = 2, ACC = 4, INTR = 8, MFILE = 16, NOMEM = 32, AGAIN = 64
};

#define PATHS (IO | ACC | NOMEM)
#define MAKES (IO | SPC | ACC | NOMEM)

static const struct call {
	long number;
	const char *name;
	int may;
} calls[] = {
	{ SYS_read, "read", IO | INTR },
	{ SYS_write, "write", IO | SPC | INTR },
	{ SYS_readv, "readv", IO | INTR },
	{ SYS_writev, "writev", IO | SPC | INTR },
	{ SYS_pread64, "pread64", IO | INTR },
	{ SYS_pwrite64, "pwrite64", IO | SPC | INTR },
	{ SYS_open, "open", PATHS | INTR | MFILE },
	{ SYS_openat, "openat", PATHS | INTR | MFILE },
	{ SYS_close, "close", IO | INTR | SPC },
	{ SYS_stat, "stat", PATHS },
	{ SYS_fstat, "fstat", IO | NOMEM },
	{ SYS_lstat, "lstat", PATHS },
	{ SYS_newfstatat, "newfstatat", PATHS },
	{ SYS_statx, "statx", PATHS },
	{ SYS_lseek, "lseek", 0 },
	{ SYS_mmap, "mmap", NOMEM },
	{ SYS_mprotect, "mprotect", NOMEM },
	{ SYS_munmap, "munmap", 0 },
	{ SYS_mremap, "mremap", NOMEM },
	{ SYS_madvise, "madvise", 0 },
	{ SYS_brk, "brk", NOMEM },
	{ SYS_rt_sigaction, "rt_sigaction", 0 },
	{ SYS_rt_sigprocmask, "rt_sigprocmask", 0 },
	{ SYS_rt_sigsuspend, "rt_sigsuspend", INTR },
	{ SYS_rt_sigtimedwait, "rt_sigtimedwait", INTR | AGAIN },
	{ SYS_rt_sigreturn, "rt_sigreturn", 0 },
	{ SYS_ioctl, "ioctl", IO | NOMEM },
	{ SYS_access, "access", PATHS },
	{ SYS_faccessat, "faccessat", PATHS },
	{ SYS_faccessat2, "faccessat2", PATHS },
	{ SYS_pipe, "pipe", MFILE },
	{ SYS_pipe2, "pipe2", MFILE },
	{ SYS_select, "select", INTR | NOMEM },
	{ SYS_pselect6, "pselect6", INTR | NOMEM },
	{ SYS_poll, "poll", INTR | NOMEM },
	{ SYS_ppoll, "ppoll", INTR | NOMEM },
	{ SYS_dup, "dup", MFILE },
	{ SYS_dup2, "dup2", INTR | MFILE },
	{ SYS_dup3, "dup3", INTR | MFILE },
	{ SYS_nanosleep, "nanosleep", INTR },
	{ SYS_clock_nanosleep, "clock_nanosleep", INTR },
	{ SYS_clock_gettime, "clock_gettime", 0 },
	{ SYS_gettimeofday, "gettimeofday", 0 },
	{ SYS_getpid, "getpid", 0 },
	{ SYS_getppid, "getppid", 0 },
	{ SYS_gettid, "gettid", 0 },
	{ SYS_getuid, "getuid", 0 },
	{ SYS_geteuid, "geteuid", 0 },
	{ SYS_getgid, "getgid", 0 },
	{ SYS_getegid, "getegid", 0 },
	{ SYS_clone, "clone", NOMEM | AGAIN },
	{ SYS_clone3, "clone3", NOMEM | AGAIN },
	{ SYS_fork, "fork", NOMEM | AGAIN },
	{ SYS_vfork, "vfork", NOMEM | AGAIN },
	{ SYS_execve, "execve", IO | ACC | NOMEM },
	{ SYS_exit, "exit", 0 },
	{ SYS_exit_group, "exit_group", 0 },
	{ SYS_wait4, "wait4", INTR },
	{ SYS_waitid, "waitid", INTR },
	{ SYS_kill, "kill", 0 },
	{ SYS_tkill, "tkill", 0 },
	{ SYS_tgkill, "tgkill", 0 },
	{ SYS_setpgid, "setpgid", 0 },
	{ SYS_setsid, "setsid", 0 },
	{ SYS_uname, "uname", 0 },
	{ SYS_fcntl, "fcntl", 0 },
	{ SYS_flock, "flock", INTR | NOMEM },
	{ SYS_fsync, "fsync", IO | SPC | INTR },
	{ SYS_fdatasync, "fdatasync", IO | SPC | INTR },
	{ SYS_sync, "sync", 0 },
	{ SYS_syncfs, "syncfs", IO | SPC },
	{ SYS_truncate, "truncate", IO | ACC | INTR },
	{ SYS_ftruncate, "ftruncate", IO | INTR },
	{ SYS_fallocate, "fallocate", IO | SPC | INTR },
	{ SYS_fadvise64, "fadvise64", 0 },
	{ SYS_getdents, "getdents", IO | NOMEM },
	{ SYS_getdents64, "getdents64", IO | NOMEM },
	{ SYS_getcwd, "getcwd", NOMEM },
	{ SYS_chdir, "chdir", PATHS },
	{ SYS_fchdir, "fchdir", IO | ACC },
	{ SYS_rename, "rename", MAKES },
	{ SYS_renameat, "renameat", MAKES },
	{ SYS_renameat2, "renameat2", MAKES },
	{ SYS_link, "link", MAKES },
	{ SYS_linkat, "linkat", MAKES },
	{ SYS_mkdir, "mkdir", MAKES },
	{ SYS_mkdirat, "mkdirat", MAKES },
	{ SYS_rmdir, "rmdir", PATHS },
	{ SYS_unlink, "unlink", PATHS },
	{ SYS_unlinkat, "unlinkat", PATHS },
	{ SYS_symlink, "symlink", MAKES },
	{ SYS_symlinkat, "symlinkat", MAKES },
	{ SYS_readlink, "readlink", PATHS },
	{ SYS_readlinkat, "readlinkat", PATHS },
	{ SYS_chmod, "chmod", PATHS },
	{ SYS_fchmod, "fchmod", IO | INTR },
	{ SYS_fchmodat, "fchmodat", PATHS | INTR },
	{ SYS_chown, "chown", PATHS | INTR },
	{ SYS_fchown, "fchown", IO | INTR },
	{ SYS_lchown, "lchown", PATHS | INTR },
	{ SYS_fchownat, "fchownat", PATHS | INTR },
	{ SYS_utimensat, "utimensat", IO | ACC },
	{ SYS_statfs, "statfs", PATHS | INTR },
	{ SYS_fstatfs, "fstatfs", IO | NOMEM | INTR },
	{ SYS_umask, "umask", 0 },
	{ SYS_getrlimit, "getrlimit", 0 },
	{ SYS_setrlimit, "setrlimit", 0 },
	{ SYS_prlimit64, "prlimit64", 0 },
	{ SYS_arch_prctl, "arch_prctl", 0 },
	{ SYS_set_tid_address, "set_tid_address", 0 },
	{ SYS_set_robust_list, "set_robust_list", 0 },
	{ SYS_rseq, "rseq", 0 },
	{ SYS_getrandom, "getrandom", INTR | AGAIN },
	{ SYS_setitimer, "setitimer", 0 },
	{ SYS_alarm, "alarm", 0 },
	{ SYS_pause, "pause", INTR },
	{ SYS_restart_syscall, "restart_syscall", 0 },
	{ SYS_futex, "futex", 0 },
};

static const struct {
	const char *name;
	int number, may;
} errors[] = {
	{ "EIO", EIO, IO }, { "ENOSPC", ENOSPC, SPC },
	{ "EACCES", EACCES, ACC },
	{ "EINTR", EINTR, INTR }, { "EMFILE", EMFILE, MFILE },
	{ "ENOMEM", ENOMEM, NOMEM }, { "EAGAIN", EAGAIN, AGAIN },
};

static volatile pid_t current;	/* what the alarm ends */
static volatile sig_atomic_t expired;

static const struct call *
call_find(long number)
{
	size_t i;

	for (i = 0; i < sizeof(calls) / sizeof(*calls); i++)
		if (calls[i].number == number)
			return &calls[i];
	return NULL;
}

const char *
trace_name(long number)
{
	static char buf[32];
	const struct call *c;

	if ((c = call_find(number)) != NULL)
		return c->name;
	(void)snprintf(buf, sizeof(buf), "call %ld", number);
	return buf;
}

int
trace_errno(const char *name)
{
	size_t i;

	for (i = 0; i < sizeof(errors) / sizeof(*errors); i++)
		if (strcmp(errors[i].name, name) == 0)
			return errors[i].number;
	return -1;
}

const char *
trace_errno_name(int number)
{
	size_t i;

	for (i = 0; i < sizeof(errors) / sizeof(*errors); i++)
		if (errors[i].number == number)
			return errors[i].name;
	return "?";
}

int
trace_changes(long number, const unsigned long args[3])
{
	switch (number) {
	case SYS_rename: case SYS_renameat: case SYS_renameat2:
	case SYS_mkdir: case SYS_mkdirat: case SYS_rmdir:
	case SYS_unlink: case SYS_unlinkat:
	case SYS_ftruncate:
	case SYS_clone: case SYS_fork: case SYS_vfork:
		return 2;
	case SYS_open:
		return ((int)args[1] & (O_CREAT | O_TRUNC)) != 0;
	case SYS_openat:
		return ((int)args[2] & (O_CREAT | O_TRUNC)) != 0;
	case SYS_write: case SYS_writev: case SYS_pwrite64:
	case SYS_fsync: case SYS_fdatasync:
	case SYS_link: case SYS_linkat:
	case SYS_symlink: case SYS_symlinkat:
	case SYS_fchmod: case SYS_fchmodat: case SYS_fchown:
	case SYS_fchownat: case SYS_utimensat:
	case SYS_kill:
		return 1;
	case SYS_fcntl:
		return (int)args[1] == F_SETLK || (int)args[1] == F_SETLKW;
	default:
		return 0;
	}
}

int
trace_can(long number, int error, const unsigned long args[3])
{
	const struct call *c;
	int may;
	size_t i;

	if ((c = call_find(number)) == NULL)
		return 0;
	may = c->may;
	if ((number == SYS_openat && ((int)args[2] & O_CREAT) != 0) ||
	    (number == SYS_open && ((int)args[1] & O_CREAT) != 0))
		may |= SPC;
	if (number == SYS_fcntl && (int)args[1] == F_SETLK)
		may = ACC | AGAIN;
	if (number == SYS_fcntl && (int)args[1] == F_SETLKW)
		may = INTR;
	if (number == SYS_fcntl && ((int)args[1] == F_DUPFD ||
	    (int)args[1] == F_DUPFD_CLOEXEC))
		may = MFILE;
	if (number == SYS_ioctl)	/* isatty: another answer, no error */
		may = IO;
	/* Nobody waits where WNOHANG is given. */
	if (number == SYS_wait4 && ((int)args[2] & WNOHANG) != 0)
		may = 0;
	for (i = 0; i < sizeof(errors) / sizeof(*errors); i++)
		if (errors[i].number == error)
			return (may & errors[i].may) != 0;
	return 0;
}

static void
on_alarm(int sig)
{
	(void)sig;
	expired = 1;
	if (current > 0)
		(void)kill(current, SIGKILL);
}

static void
child(const struct trace *t)
{
	struct rlimit lim;
	sigset_t none;
	int s;

	(void)sigemptyset(&none);
	(void)sigprocmask(SIG_SETMASK, &none, NULL);
	for (s = 1; s < 32; s++)
		(void)signal(s, SIG_DFL);
	if (t->dir != NULL && chdir(t->dir) == -1)
		_exit(126);
	if (t->tty != -1) {
		if (setsid() == -1 || ioctl(t->tty, TIOCSCTTY, 0) == -1)
			_exit(126);
		(void)dup2(t->tty, 0);
		(void)dup2(t->tty, 1);
		(void)dup2(t->tty, 2);
	} else {
		if (setpgid(0, 0) == -1)
			_exit(126);
		if (t->out != -1)
			(void)dup2(t->out, 1);
		if (t->err != -1)
			(void)dup2(t->err, 2);
	}
	for (s = 3; s < 64; s++)
		(void)close(s);
	if (t->nofile != 0) {
		lim.rlim_cur = lim.rlim_max = (rlim_t)t->nofile;
		if (setrlimit(RLIMIT_NOFILE, &lim) == -1)
			_exit(126);
	}
	if (ptrace(PTRACE_TRACEME, 0, NULL, NULL) == -1)
		_exit(126);
	(void)raise(SIGSTOP);
	(void)execve(t->argv[0], t->argv, t->envp);
	_exit(127);
}

/* Waits for the next stop or the end.  Returns 1 at a stop, 0 at the end. */
static int
await(struct trace *t)
{
	while (waitpid(t->pid, &t->status, 0) == -1)
		if (errno != EINTR)
			return 0;
	return WIFSTOPPED(t->status);
}

/* What one can say of the call that we are about to enter. */
static void
entered(struct trace *t, const struct user_regs_struct *r)
{
	t->number = (long)r->orig_rax;
	t->args[0] = r->rdi;
	t->args[1] = r->rsi;
	t->args[2] = r->rdx;
}

/*
 * Lets the call fail: it becomes one that does not exist.  A close that fails
 * on Linux has closed all the same.
 */
static int
refuse(struct trace *t, struct user_regs_struct *r)
{
	if (r->orig_rax != SYS_close)
		r->orig_rax = (unsigned long long)-1;
	if (ptrace(PTRACE_SETREGS, t->pid, NULL, r) == -1 ||
	    ptrace(PTRACE_SYSCALL, t->pid, NULL, NULL) == -1 || !await(t) ||
	    ptrace(PTRACE_GETREGS, t->pid, NULL, r) == -1)
		return -1;
	r->rax = (unsigned long long)-(long long)t->value;
	return ptrace(PTRACE_SETREGS, t->pid, NULL, r) == -1 ? -1 : 0;
}

/* The length of an iovec in its memory is changed for the time of the call. */
static int
shorten_vector(struct trace *t, const struct user_regs_struct *r)
{
	struct user_regs_struct back;
	unsigned long long at;
	long n;

	if (r->rdx == 0)
		return 0;
	at = r->rsi + (r->rdx - 1) * sizeof(struct iovec) +
	    offsetof(struct iovec, iov_len);
	errno = 0;
	n = ptrace(PTRACE_PEEKDATA, t->pid, at, NULL);
	if (errno != 0 || n < 2)
		return 0;
	if (ptrace(PTRACE_POKEDATA, t->pid, at, n / 2) == -1 ||
	    ptrace(PTRACE_SYSCALL, t->pid, NULL, NULL) == -1 || !await(t) ||
	    ptrace(PTRACE_GETREGS, t->pid, NULL, &back) == -1 ||
	    ptrace(PTRACE_POKEDATA, t->pid, at, n) == -1)
		return -1;
	return 1;
}

static int
shorten(struct trace *t, struct user_regs_struct *r)
{
	switch (t->number) {
	case SYS_readv:
	case SYS_writev:
		return shorten_vector(t, r);
	case SYS_read:
	case SYS_write:
	case SYS_pread64:
	case SYS_pwrite64:
		if (r->rdx < 2)
			return 0;
		r->rdx /= 2;
		return ptrace(PTRACE_SETREGS, t->pid, NULL, r) == -1 ? -1 : 1;
	default:
		return 0;
	}
}

/*
 * Does what was asked for to the call that is being entered.  Returns 1 where
 * the rest need not be looked at, 0 to go on, -1 on failure.
 */
static int
hit(struct trace *t)
{
	struct user_regs_struct r;

	if (ptrace(PTRACE_GETREGS, t->pid, NULL, &r) == -1)
		return -1;
	entered(t, &r);
	switch (t->act) {
	case TRACE_KILL:
		t->applied = 1;
		(void)kill(t->pid, SIGKILL);
		return 1;
	case TRACE_KILL_AFTER:
		if (ptrace(PTRACE_SYSCALL, t->pid, NULL, NULL) == -1)
			return -1;
		if (!await(t))
			return 1;
		t->applied = 1;
		(void)kill(t->pid, SIGKILL);
		return 1;
	case TRACE_ERRNO:
	case TRACE_ERRNO_ON:
		if (!trace_can(t->number, t->value, t->args)) {
			if (t->brief && t->act == TRACE_ERRNO)
				(void)kill(t->pid, SIGKILL);
			return t->act == TRACE_ERRNO;
		}
		t->applied = 1;
		if (refuse(t, &r) == -1)
			return -1;
		return t->act == TRACE_ERRNO;
	case TRACE_SIGNAL:
		t->applied = 1;
		(void)kill(t->pid, t->value);
		return 1;
	case TRACE_SHORT:
		t->applied = shorten(t, &r) == 1;
		if (t->brief && !t->applied)
			(void)kill(t->pid, SIGKILL);
		return 1;
	case TRACE_HOOK:
		t->applied = 1;
		t->hook(t->arg);
		return 1;
	default:
		return 0;
	}
}

/*
 * Lets it run to its end, looked at or not.  Detaching is refused while it
 * dies; it is then waited for all the same.
 */
static void
let_go(struct trace *t)
{
	int sig;

	sig = 0;
	while (!WIFEXITED(t->status) && !WIFSIGNALED(t->status)) {
		(void)ptrace(PTRACE_DETACH, t->pid, NULL, sig);
		if (!await(t))
			break;
		sig = WSTOPSIG(t->status) & 0x7f;
		if (sig == SIGTRAP)
			sig = 0;
	}
}

/* Whether the call that is being entered is one of those that are counted. */
static int
counted(const struct trace *t)
{
	struct user_regs_struct r;
	unsigned long args[3];

	if (t->changing == 0)
		return 1;
	if (ptrace(PTRACE_GETREGS, t->pid, NULL, &r) == -1)
		return 0;
	args[0] = r.rdi;
	args[1] = r.rsi;
	args[2] = r.rdx;
	return trace_changes((long)r.orig_rax, args) >= t->changing;
}

static int
follow(struct trace *t)
{
	unsigned long args[3];
	long first;
	int in, rc, sig;

	in = 1;			/* the first stop is the end of execve */
	first = -1;
	sig = 0;
	if (t->act == TRACE_PLAIN) {
		let_go(t);
		return 0;
	}
	for (;;) {
		if (ptrace(PTRACE_SYSCALL, t->pid, NULL, sig) == -1 &&
		    errno != ESRCH)
			return -1;
		if (!await(t))
			return 0;
		sig = 0;
		if (WSTOPSIG(t->status) != (SIGTRAP | 0x80)) {
			if ((sig = WSTOPSIG(t->status)) == SIGTRAP)
				sig = 0;
			continue;
		}
		in = !in;
		if (!in || !counted(t))
			continue;
		t->calls++;
		if (t->act == TRACE_COUNT || t->calls < t->at)
			continue;
		if (t->act == TRACE_ERRNO_ON) {
			rc = t->applied;
			if (hit(t) == -1)
				return t->hung ? 0 : -1;
			/* refuse has consumed the other end of the call */
			if (t->applied && trace_can(t->number, t->value,
			    t->args))
				in = 0;
			t->applied |= rc;
			if (first == -1 && t->applied) {
				first = t->number;
				(void)memcpy(args, t->args, sizeof(args));
			}
			if (first != -1) {
				t->number = first;
				(void)memcpy(t->args, args, sizeof(args));
			}
			continue;
		}
		rc = hit(t);
		let_go(t);
		return rc == -1 && !expired ? -1 : 0;
	}
}

int
trace_run(struct trace *t)
{
	struct itimerval on, off;
	struct sigaction act, was;
	int rc;

	(void)memset(&off, 0, sizeof(off));
	(void)memset(&on, 0, sizeof(on));
	(void)memset(&act, 0, sizeof(act));
	act.sa_handler = on_alarm;
	on.it_value.tv_sec = t->limit / 1000;
	on.it_value.tv_usec = t->limit % 1000 * 1000;
	on.it_interval.tv_usec = 100000;
	t->calls = 0;
	t->number = -1;
	t->applied = t->hung = 0;
	t->status = 0;
	expired = 0;
	if ((t->pid = fork()) == -1)
		return -1;
	if (t->pid == 0)
		child(t);
	current = t->pid;
	(void)sigaction(SIGALRM, &act, &was);
	if (t->limit != 0)
		(void)setitimer(ITIMER_REAL, &on, NULL);
	rc = -1;
	if (await(t) && ptrace(PTRACE_SETOPTIONS, t->pid, NULL,
	    PTRACE_O_EXITKILL | PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACEEXEC) ==
	    0 && ptrace(PTRACE_CONT, t->pid, NULL, NULL) == 0 && await(t))
		rc = follow(t);
	if (!WIFEXITED(t->status) && !WIFSIGNALED(t->status)) {
		(void)kill(t->pid, SIGKILL);
		while (await(t))
			;
	}
	(void)setitimer(ITIMER_REAL, &off, NULL);
	current = 0;
	(void)sigaction(SIGALRM, &was, NULL);
	t->hung = expired != 0;
	return rc;
}

#ifdef TRACER_MAIN
extern char **environ;

static const struct {
	const char *name;
	int number;
} signals[] = {
	{ "HUP", SIGHUP }, { "INT", SIGINT }, { "TERM", SIGTERM },
	{ "PIPE", SIGPIPE }, { "CHLD", SIGCHLD }, { "QUIT", SIGQUIT },
};

static void
usage(void)
{
	(void)fprintf(stderr, "usage: tracer [-c] [-n N] [-k | -K | "
	    "-e ERRNO | -E ERRNO | -s SIGNAL | -h]\n"
	    "\t[-t seconds] [-o report] program [argument ...]\n");
	exit(2);
}

static void
report(FILE *f, const struct trace *t)
{
	(void)fprintf(f, "calls=%ld", t->calls);
	if (t->act != TRACE_COUNT)
		(void)fprintf(f, " hit=%ld name=%s number=%ld applied=%d",
		    t->number == -1 ? 0 : t->at,
		    t->number == -1 ? "none" : trace_name(t->number),
		    t->number, t->applied);
	if (t->hung)
		(void)fprintf(f, " hung=1");
	if (WIFSIGNALED(t->status))
		(void)fprintf(f, " signal=%d\n", WTERMSIG(t->status));
	else
		(void)fprintf(f, " status=%d\n", WEXITSTATUS(t->status));
}

int
main(int argc, char *argv[])
{
	struct trace t;
	FILE *f;
	size_t i;
	int c;

	(void)memset(&t, 0, sizeof(t));
	t.act = TRACE_COUNT;
	t.out = t.err = t.tty = -1;
	t.limit = 60000;
	f = stderr;
	while ((c = getopt(argc, argv, "+cn:kKe:E:s:ht:o:")) != -1)
		switch (c) {
		case 'n':
			t.at = strtol(optarg, NULL, 10);
			break;
		case 'c':
			t.changing++;
			break;
		case 'k':
			t.act = TRACE_KILL;
			break;
		case 'K':
			t.act = TRACE_KILL_AFTER;
			break;
		case 'e':
		case 'E':
			t.act = c == 'e' ? TRACE_ERRNO : TRACE_ERRNO_ON;
			if ((t.value = trace_errno(optarg)) == -1)
				usage();
			break;
		case 's':
			t.act = TRACE_SIGNAL;
			for (i = 0; i < sizeof(signals) / sizeof(*signals);
			    i++)
				if (strcmp(signals[i].name, optarg) == 0)
					t.value = signals[i].number;
			if (t.value == 0)
				usage();
			break;
		case 'h':
			t.act = TRACE_SHORT;
			break;
		case 't':
			t.limit = (unsigned)strtoul(optarg, NULL, 10) * 1000;
			break;
		case 'o':
			if ((f = fopen(optarg, "we")) == NULL) {
				perror(optarg);
				return 2;
			}
			break;
		default:
			usage();
		}
	if (optind == argc || (t.act != TRACE_COUNT && t.at < 1))
		usage();
	t.argv = argv + optind;
	t.envp = environ;
	if (trace_run(&t) == -1) {
		perror("trace");
		return 2;
	}
	report(f, &t);
	return 0;
}
#endif
