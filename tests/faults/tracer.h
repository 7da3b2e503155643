/*
 * tracer.h: runs a program under ptrace, counts its own system calls (not
 * those of its children), and does something to it at the N-th.  Linux on
 * x86_64 only.
 */
#ifndef TRACER_H
#define TRACER_H

#include <sys/types.h>

enum trace_act {
	TRACE_PLAIN,		/* nothing, and nothing is counted */
	TRACE_COUNT,		/* nothing: count all calls */
	TRACE_KILL,		/* SIGKILL; the call is not executed */
	TRACE_KILL_AFTER,	/* SIGKILL when the call was executed */
	TRACE_ERRNO,		/* fails with value, without being executed */
	TRACE_ERRNO_ON,		/* this one and every later one that can */
	TRACE_SIGNAL,		/* sends the signal in value, then goes on */
	TRACE_SHORT,		/* halves the length of a read or write */
	TRACE_HOOK		/* calls hook(arg), then goes on */
};

struct trace {
	/* given */
	char *const *argv;	/* argv[0] is the path */
	char *const *envp;
	const char *dir;	/* to run in; NULL: where we are */
	int out, err;		/* its outputs; -1: ours */
	int tty;		/* its terminal and 0, 1, 2; or -1 */
	enum trace_act act;
	long at;		/* the number of the call, from 1 */
	int value;
	void (*hook)(void *);
	void *arg;
	unsigned limit;		/* milliseconds; a hang is killed then */
	long nofile;		/* RLIMIT_NOFILE; 0: ours */
	int brief;		/* kill it where nothing can be done to it */
	int changing;		/* count only calls that change something: 1;
				   names, or the number of processes: 2 */
	/* found */
	long calls;		/* counted; up to `at' where it was hit */
	long number;		/* of the call hit; -1: never got there */
	unsigned long args[3];	/* its first arguments */
	int applied;		/* whether something was done to it */
	int hung;		/* the limit ended it */
	int status;		/* as waitpid gave it */
	pid_t pid;
};

/* Returns 0, or -1 where the program could not be run or traced. */
int	trace_run(struct trace *);

/* The name of a system call, "call NNN" of one that we have no name for. */
const char *
	trace_name(long);

/*
 * How much a call changes: 2, names or the number of processes, 1, anything
 * else of files and processes, or 0.
 */
int	trace_changes(long, const unsigned long [3]);

/* Whether the call, by its manual, may fail with that errno. */
int	trace_can(long, int, const unsigned long [3]);

/* By name ("EIO"): the errno, or -1; and back. */
int	trace_errno(const char *);
const char *
	trace_errno_name(int);

#endif
