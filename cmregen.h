/*
 * cmregen.h: everything that crosses a file, and nothing else.
 *
 * cmregen gives a compile master, which serves catalogs, a new key and
 * certificate.  The CA is on another host, the master of masters (MoM); it
 * knows each host by its certname.  mom.c is what is done on the MoM (revoke
 * the old certificate, sign the new request), node.c what is done on the
 * compile master (back up, have Puppet make key and request, run Puppet; the
 * way back).  cmregen.c holds what knows nothing of that: messages, signals,
 * processes, locks, fingerprints and trees; of Puppet it knows the program,
 * its version and its settings.
 *
 * Unless a contract says otherwise: a function returns 0, or -1 after it has
 * reported the error once with complain or complainx.  Nothing here exits.
 * Every call that a signal may interrupt (EINTR) is repeated.
 */
#ifndef CMREGEN_H
#define CMREGEN_H

#include <sys/types.h>

enum {				/* exit statuses, the same for every command */
	DONE = 0,		/* done */
	NOT_DONE = 1,		/* everything is as it was before */
	USAGE = 2,		/* a bad argument; nothing was looked at */
	PART_WAY = 3		/* stopped part way; the message says where */
};

enum {
	NAME_SIZE = 256,	/* a file name, with its final 0 */
	PATH_SIZE = 4096,	/* a path, with its final 0 */
	LINE_SIZE = 65536,	/* a line of output, with its final 0 */
	TEXT_SIZE = 65536,	/* a file that is read whole: key, request */
	FINGERPRINT_SIZE = 96,	/* AA:BB:.., 32 bytes, with its final 0 */
	FINGERPRINT_MIN = 16,	/* hex digits that -f must have */
	CERTNAME_MAX = 250,	/* bytes; NAME.json must fit a file name */
	TREE_DEPTH = 64,	/* directories below one another in a tree */
	DIFFERENCE_SIZE = 1024	/* what tree_compare has to say */
};

/*
 * What the command line asked for.  Strings are arguments of main: they are
 * absolute where they are paths, and checked; NULL where an option was not
 * given.
 */
struct options {
	const char *puppet;	/* -p: the puppet program, never NULL */
	const char *backup;	/* -b */
	const char *fingerprint; /* -f */
	const char *root;	/* -r */
	const char *ssldir;	/* -s */
	const char *certname;	/* the operand of the mom commands */
	long wait;		/* -w: seconds; -1 where it was not given */
	int dry;		/* -n */
	int verbose;		/* -v */
	int live;		/* -l: prepare without an outage */
};

/*
 * Messages.  complain and complainx report an error on standard error, say
 * prints a result on standard output, note tells on standard error what is
 * worth knowing.  Each adds the newline, writes at once and leaves errno
 * alone; control characters become '?'.  A standard error that cannot be
 * written is nobody's loss; where say could not write, the program ends with
 * status 3 instead of 0.
 */

/* Reports "cmregen: MESSAGE: strerror(errno)".  Returns -1. */
int	complain(const char *, ...);

/* Reports "cmregen: MESSAGE".  Returns -1. */
int	complainx(const char *, ...);

void	note(const char *, ...);
void	say(const char *, ...);

/*
 * Builds a string: %s, and %d for an int.  Returns 0, or -1, unreported, where
 * it does not fit and was cut.
 */
int	format(char *, size_t, const char *, ...);

/*
 * Names what is going on now, until the next message or quiet: on a terminal
 * as one line that nap rewrites with the seconds it has taken, elsewhere as
 * one line.  The same words again go on counting.
 */
void	busy(const char *, ...);
void	quiet(void);

/*
 * Puts an argument into the form in which a shell reads it as one word: as it
 * is where every byte is harmless, else in single quotes.  Returns the buffer,
 * which must have four times the bytes of the argument and three more.
 */
const char *
	quote(char *, size_t, const char *);

/*
 * Prints the next command and the host to type it on: the two words of the
 * command, -b (of a node command) and -p where they were given, and the rest,
 * which begins with a space if there is any.
 */
void	say_next(const struct options *, const char *, const char *,
	    const char *);

/*
 * Signals and time.  SIGINT, SIGTERM and SIGHUP set a flag (SIGHUP unless
 * nohup has it ignored), SIGPIPE is ignored.  An undo holds them: it can be
 * waited for, but not broken off.
 */

/* Whether a signal asked us to stop, and the undo does not hold it. */
int	interrupted(void);

/* From here on interrupted answers 0. */
void	hold(void);

/*
 * Sleeps for that many milliseconds, or until a signal comes, a child's end
 * included.  Keeps the line of busy up to date.
 */
void	nap(long);

/* Seconds of a clock that is never set (CLOCK_MONOTONIC). */
long	seconds(void);

/*
 * Processes.  A child is run without a shell, from an absolute program, with
 * standard input from /dev/null, both outputs into one unlinked file (a
 * daemon that it leaves behind may keep that open for ever), a fixed
 * environment, default signals, and a process group of its own.
 */
struct child {
	pid_t pid;		/* 0: it has ended, and was waited for */
	int out;		/* what it printed; -1: never started */
	int status;		/* as waitpid gave it */
	off_t from;		/* what was read of that */
	size_t have, used;	/* bytes in the buffer of child_line */
	const char *const *argv; /* for messages; must outlive the child */
	char buf[1024];
};

/*
 * Starts a child.  Returns 0, or -1 where it could not be executed: then
 * nothing runs, and its status is -1.  child_close is owed in either case.
 */
int	child_start(struct child *, const char *const []);

/* Returns 1 when the child has ended, 0 while it has not, never waits. */
int	child_ended(struct child *);

/*
 * Waits for its end.  child_wait leaves it alone whatever happens, since a
 * service change that is torn apart is worse than one that is late;
 * child_wait_or_stop ends it when a signal asks us to stop: SIGTERM to its
 * group, SIGKILL ten seconds later.  Both return its exit status, or -1 where
 * a signal ended it (which child_show then says; nothing is reported here).
 */
int	child_wait(struct child *);
int	child_wait_or_stop(struct child *);

/* Sends SIGTERM to its group, SIGKILL ten seconds later; waits for it. */
void	child_stop(struct child *);

/* As child_wait, of a child that has ended. */
int	child_status(const struct child *);

/*
 * Reads the next line of what it has printed (nothing, where it was never
 * started), without the newline and any carriage return, into a buffer of that
 * size.  Returns 1, 0 at the end, or -1 where a line does not fit, cannot be
 * read, or is cut off before its newline.
 */
int	child_line(struct child *, char *, size_t);

/* Reads again from the first line. */
void	child_rewind(struct child *);

/* Copies to standard error what it has printed since the last call. */
void	child_follow(struct child *);

/*
 * Shows what became of it on standard error: its command line, how it ended,
 * and what it printed, indented; of very long output the end.
 */
void	child_show(struct child *);

/* Closes what is open.  The child must have ended or never started. */
void	child_close(struct child *);

/* Prints an argument vector as a command to type, on standard output. */
void	child_say(const char *const []);

/*
 * Files and directories.  What creates, renames or removes takes an open
 * directory and one name in it, so that nobody can swap a directory above it.
 */

/*
 * Opens the directory that holds the last component of an absolute path, and
 * puts that component into a buffer of NAME_SIZE.  Slashes at the end do not
 * count.  path_open_below does the same for a path below the open directory
 * given, and follows no symbolic link on the way.  Return a descriptor or -1.
 */
int	path_open(const char *, char *);
int	path_open_below(int, const char *, char *);

/*
 * Opens a directory: a name in an open one, which may be no symbolic link, or
 * a path, whose links are followed.  Report nothing.  Return a descriptor, or
 * -1 with errno.
 */
int	dir_open(int, const char *);
int	path_dir(const char *);

/*
 * Opens for reading what a relative path names below an open directory, and
 * follows no symbolic link.  Reports nothing.  Returns a descriptor, or -1
 * with errno.
 */
int	file_open(int, const char *);

/*
 * Reads such a file whole into a buffer of that size and ends it with a 0
 * byte.  Returns the number of bytes, or -1 with errno, unreported: ENOENT
 * where it does not exist, EFBIG where it does not fit, EINVAL where it is no
 * regular file.
 */
ssize_t	file_read(int, const char *, char *, size_t);

/*
 * Reads in the same way a file that an absolute path names; links on the way
 * to its last component are followed.  Reports nothing but a path that is
 * none.
 */
ssize_t	path_read(const char *, char *, size_t);

/* Whether the name exists in the directory: 1, 0, or -1. */
int	name_exists(int, const char *);

/*
 * Renames within or between directories, and has it on disk before it
 * returns.  Where the rename was done and only the fsync failed, it is undone.
 * Refuses to replace what exists; but an empty directory that somebody makes
 * by the new name at that very moment is replaced (POSIX rename).
 */
int	name_move(int, const char *, int, const char *);

/*
 * A lock on a file, taken by fcntl, so that it ends with the process.  The
 * file belongs to us alone (0600, never through a link).  Lines can be kept in
 * it; one with lines outlives the process.
 */
struct lock {
	int at;			/* the directory */
	int fd;			/* the file; -1: not locked */
	int lines;		/* it has some */
	const char *name;
};

/*
 * Takes the lock.  lock_take returns -1 at once where somebody else has it;
 * lock_wait waits its turn, or until a signal asks us to stop.  lock_ask
 * creates nothing: returns 1 where it is held by somebody else, 0, or -1.
 */
int	lock_take(struct lock *, int, const char *);
int	lock_wait(struct lock *, int, const char *);
int	lock_ask(int, const char *);

/*
 * Reads the lines into a buffer of that size.  Returns the number of bytes, or
 * -1.  Not by another descriptor: closing that would end the lock.
 */
ssize_t	lock_lines(const struct lock *, char *, size_t);

/* Adds a line (given without its newline), on disk when it returns. */
int	lock_add(struct lock *, const char *);

/* Forgets all lines. */
int	lock_forget(struct lock *);

/* Removes the file if it has no lines, then unlocks it. */
void	lock_drop(struct lock *);

/*
 * Puppet's settings, and names.
 */
struct setting {
	const char *name;	/* as puppet names it */
	char *value;		/* PATH_SIZE bytes */
};

/*
 * Asks puppet for settings, one call for all, of that section.  Each gets the
 * value that was printed; one that was not printed is an error, an empty value
 * is not.
 */
int	settings_ask(const struct options *, const char *,
	    const struct setting *, size_t);

/*
 * Takes one line of `puppet config print`: where it is "NAME = VALUE" of a
 * setting in the table, stores the value.  Returns 1 where it did, 0 where the
 * line is something else, -1 where the value does not fit.
 */
int	settings_line(const struct setting *, size_t, const char *);

/* The value of decimal digits, or -1 where the string is none or too large. */
long	number_read(const char *);

/* The first number of `puppet --version`, 1 or more, or -1. */
int	puppet_major(const struct options *);

/*
 * Puts the path of the program puppetserver, which is beside puppet, into a
 * buffer of PATH_SIZE.
 */
int	puppetserver_path(const struct options *, char [PATH_SIZE]);

/* Whether it is a certname that we take (DESIGN: [a-z0-9._-], 1 to 250). */
int	certname_ok(const char *);

/*
 * Fingerprints.  pem_fingerprint finds the first PEM block (RFC 7468) of that
 * label in a text, decodes it (RFC 4648) and prints the SHA-256 (FIPS 180-4)
 * of the DER bytes as AA:BB:..  Returns 0, or -1, unreported, where there is
 * no complete, well-formed block.
 */
int	pem_fingerprint(const char *, const char *, char [FINGERPRINT_SIZE]);

/*
 * Whether a PEM block of that label in the text (the second argument) carries
 * the public half of the private key in the first: 1, 0, or -1, unreported,
 * where that cannot be told: no block, or a key that is neither RSA nor EC.
 */
int	pem_of_key(const char *, const char *, const char *);

/* SHA-256 of that many bytes, into 32. */
void	sha256(const unsigned char *, size_t, unsigned char [32]);

/*
 * Whether it can be given as -f: 16 to 64 hex digits, colons anywhere between.
 */
int	fingerprint_ok(const char *);

/*
 * Whether the second, a whole fingerprint, begins with the first (which is
 * fingerprint_ok).  Neither case nor colons matter.
 */
int	fingerprint_match(const char *, const char *);

/*
 * Trees.  Each is named by an open directory and one name in it.  Regular
 * files, directories and symbolic links; owner, group, mode and mtime.  The
 * owner of the tree may be hostile: no link is followed, nothing outside the
 * tree is read or changed.  The last argument of the first four ends with
 * NULL and lists names at the top of the tree which are neither copied nor
 * compared; NULL: none.
 */

/*
 * Copies a directory to a name that must not exist yet.  Refuses, by name,
 * what is no regular file, directory or symbolic link, another file system
 * inside, more than TREE_DEPTH directories below one another, and a file that
 * changes its size meanwhile.  The top of the copy is left to us with mode
 * 0700 (for tree_verify to finish); nothing is on disk yet.  On failure
 * nothing is left of the copy.
 */
int	tree_copy(int, const char *, int, const char *, const char *const *);

/*
 * Compares a copy that tree_copy has made with its original, mtimes included,
 * then gives the top its owner, mode and time.  tree_settle has all of it on
 * disk besides: every file and directory, before it is read back.  A
 * difference is an error.  The copy stays in either case.
 */
int	tree_verify(int, const char *, int, const char *, const char *const *);
int	tree_settle(int, const char *, int, const char *, const char *const *);

/*
 * Compares two trees: names, types, bytes, link targets, owners, groups and
 * modes, not times.  Returns 0 where they are equal; 1 where they differ, with
 * the first difference in words in a buffer of DIFFERENCE_SIZE; or -1.
 */
int	tree_compare(int, const char *, int, const char *, const char *const *,
	    char *);

/*
 * Removes a tree, or whatever has that name; that nothing has it is no error.
 * Stops at a mount point and leaves its content alone; removes all the rest,
 * and returns -1.
 */
int	tree_remove(int, const char *);

/*
 * Creates an empty directory with owner, group and mode of another one beside
 * it, the last argument.  On failure it may be there, with another owner.
 */
int	dir_like(int, const char *, const char *);

/*
 * The commands.  Each takes the options and returns an exit status, having
 * said everything.
 */
int	mom_clean(const struct options *);
int	mom_sign(const struct options *);
int	node_prepare(const struct options *);
int	node_finish(const struct options *);
int	node_restore(const struct options *);

#endif
