/*
 * cmregen.h: everything that crosses a file, and nothing else.
 *
 * cmregen gives a compile master, which serves catalogs, a new key and
 * certificate.  The CA is on another host, the master of masters (MoM); it
 * knows each host by its certname.  mom.c is what is done on the MoM (revoke
 * the old certificate, sign the new request), node.c what is done on the
 * compile master (back up, have Puppet make key and request, run Puppet; the
 * way back).  cmregen.c holds what knows nothing of that: messages, signals,
 * processes, locks, certificates and trees; of Puppet it knows the program,
 * its version and its settings.
 *
 * Unless a contract says otherwise: a function returns 0, or -1 after it has
 * reported the error once with complain or complainx.  Nothing here exits.
 * Every call that a signal may interrupt (EINTR) is repeated.
 */
#ifndef CMREGEN_H
#define CMREGEN_H

#include <sys/types.h>

#include <dirent.h>

enum {				/* exit statuses, the same for every command */
	DONE = 0,		/* done */
	NOT_DONE = 1,		/* everything is as it was before */
	USAGE = 2,		/* a bad argument; nothing was looked at */
	PART_WAY = 3		/* stopped part way; the message says where */
};

enum {
	NAME_SIZE = 256,	/* a file name, with its final 0 */
	PATH_SIZE = 4096,	/* a path, with its final 0 */
	PROGRAM_SIZE = PATH_SIZE + 16,	/* of one beside a program */
	CHILD_WORDS = 32,	/* of a command, with the final NULL */
	LINE_SIZE = 65536,	/* a line of output, with its final 0 */
	TEXT_SIZE = 65536,	/* a file that is read whole: key, request */
	FINGERPRINT_SIZE = 96,	/* AA:BB:.., 32 bytes, with its final 0 */
	FINGERPRINT_MIN = 16,	/* hex digits that -f must have */
	CERTNAME_MAX = 250,	/* bytes; NAME.json must fit a file name */
	TREE_DEPTH = 64,	/* directories below one another in a tree */
	TREE_NAMES = 100000,	/* names in a tree */
	TREE_BYTES = 268435456,	/* bytes in all files of a tree */
	DIFFERENCE_SIZE = PATH_SIZE + 64	/* for tree_compare's words */
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
	long wait;		/* -w: seconds */
	int dry;		/* -n */
	int verbose;		/* -v */
	int accept;		/* -a: what the command has stopped for */
};

/*
 * Messages.  complain and complainx report an error on standard error, say
 * prints a result on standard output, note tells on standard error what is
 * worth knowing.  Each is one line, whatever is in the arguments: control
 * characters, newlines and U+0080 to U+009F become '?'.  Each adds the
 * newline, writes at once and leaves errno alone.  A standard error that
 * cannot be written is nobody's loss; where say could not write, the program
 * ends with status 3 instead of 0.
 */

/* Reports "cmregen: MESSAGE: strerror(errno)".  Returns -1. */
int	complain(const char *, ...);

/* Reports "cmregen: MESSAGE".  Returns -1. */
int	complainx(const char *, ...);

void	note(const char *, ...);
void	say(const char *, ...);

/*
 * Builds a string, as snprintf.  Returns 0, or -1, unreported, where it does
 * not fit and was cut.
 */
int	format(char *, size_t, const char *, ...);

/*
 * Names the step that begins now, as a line on standard error which stays open
 * until quiet, another step, a message or a child's output ends it with the
 * seconds that the step took; on a terminal nap keeps these up to date.  The
 * same words again, while the line is open, go on counting.
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

/* As say; under -n, whose output is a script, as a comment. */
void	tell(const struct options *, const char *, ...);

/*
 * Tells the next command and the host to type it on: the two words of the
 * command, -p where it was given and it is for this host, and the rest, if
 * there is any.
 */
void	say_next(const struct options *, int same_host, const char *host,
	    const char *command, const char *rest);

/*
 * Signals and time.  SIGINT, SIGTERM and SIGHUP set a flag (SIGHUP unless
 * nohup has it ignored), SIGPIPE is ignored.  An undo holds them, and so does
 * a change of the CA: these can be waited for, but not broken off.
 */

/* Whether a signal asked us to stop, and is not held. */
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
	off_t from;		/* what was read of that; 0: read it again */
	const char *argv[CHILD_WORDS];	/* for messages */
};

/*
 * Starts a child of fewer than CHILD_WORDS words, which must outlive it.
 * Returns 0, or -1 where it could not be executed: then nothing runs, and its
 * status is -1; there is nothing to close, and child_close does no harm.  Else
 * child_close is owed.
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

/*
 * Reads the next line of what it has printed (nothing, where it was never
 * started), without the newline and any carriage return, into a buffer of that
 * size.  Returns 1, 0 at the end, or -1 where a line does not fit, cannot be
 * read, or is cut off before its newline.
 */
int	child_line(struct child *, char *, size_t);

/*
 * Shows on standard error, indented, the lines that it has printed since the
 * last call; after its end the rest, too.  Control characters become '?'.
 */
void	child_follow(struct child *);

/*
 * Shows what became of a child that has ended on standard error: its command
 * line, how it ended, and what it printed, indented; of very long output the
 * end.
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
 * Opens a directory: a name in an open one, which may be no symbolic link, or
 * a path, whose links are followed.  Report nothing.  Return a descriptor, or
 * -1 with errno.
 */
int	dir_open(int, const char *);
int	path_dir(const char *);

/*
 * Closes what has no bytes to lose: a directory, or what was only read, or
 * synced; of -1 nothing.  Leaves errno alone.
 */
void	close_read(int);

/*
 * Opens for reading what a relative path names below an open directory, and
 * follows no symbolic link.  Reports nothing.  Returns a descriptor, or -1
 * with errno.
 */
int	file_open(int, const char *);

/*
 * Reads a file that a path names (links on the way to its last component are
 * followed) whole into a buffer of that size, and ends it with a 0 byte.
 * Reports nothing.  Returns the number of bytes, or -1 with errno: ENOENT
 * where it does not exist, EFBIG where it does not fit, EINVAL where it is no
 * regular file.
 */
ssize_t	path_read(const char *, char *, size_t);

/*
 * Opens the directory that holds what an absolute path names; or below an open
 * directory, unless that is -1, and then follows no symbolic link.  Slashes at
 * the end do not count.  Reports nothing.  Returns a descriptor, or -1 with
 * errno.
 */
int	path_above(int, const char *);

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
 * The names in an open directory, which stays where it is, without . and ..;
 * closedir ends it.  names_open returns NULL with errno, unreported, name_next
 * NULL with errno an error, or 0 at the end.
 */
DIR	*names_open(int);
const char *
	name_next(DIR *);

/* Removes a file, or nothing where nothing has the name; on disk, too. */
int	name_remove(int, const char *);

/* Makes an empty directory that is ours alone (0700); on disk, too. */
int	dir_make(int, const char *);

/*
 * Removes an empty directory; on disk, too.  Reports nothing: -1 with errno,
 * so that the caller can tell ENOTEMPTY.
 */
int	dir_remove(int, const char *);

/*
 * Gives a file, which must have no other name, or a directory owner, group and
 * mode of another of its type.  Both are named by relative paths, in which no
 * symbolic link is followed.
 */
int	owner_like(int at, const char *path, int mat, const char *mpath);

/*
 * A lock on a file, taken by fcntl, so that it ends with the process.  The
 * file belongs to us alone: regular, 0600, one name, and never opened through
 * a link; any other is an error.  It can keep lines, which outlive the
 * process.
 */
struct lock {
	int at;			/* the directory */
	int fd;			/* the file; -1: not locked */
	const char *name;
};

enum { LOCK_TAKEN, LOCK_HELD, LOCK_GONE };

/*
 * Takes the lock, and makes the file where it is missing.  Returns LOCK_TAKEN;
 * LOCK_HELD where somebody else has it; LOCK_GONE where the directory has been
 * removed; or -1.  lock_wait waits its turn, or until a signal asks us to
 * stop: 0 or -1.
 */
int	lock_take(struct lock *, int, const char *);
int	lock_wait(struct lock *, int, const char *);

/*
 * Looks at a lock and makes nothing: returns 1 where somebody else holds it,
 * 0, or -1.  The lines go into a buffer of that size, as by lock_lines; a file
 * that is not there has none.
 */
int	lock_ask(int, const char *, char *, size_t);

/*
 * Reads the lines into a buffer of that size, and cuts off, on disk too, what
 * has no newline at its end.  Not by another descriptor: closing that would
 * end the lock (POSIX, fcntl).
 */
int	lock_lines(const struct lock *, char *, size_t);

/* Adds a line (given without its newline), on disk when it returns. */
int	lock_add(const struct lock *, const char *);

/* Cuts the lines off behind that many bytes, on disk when it returns. */
int	lock_cut(const struct lock *, size_t);

/* Unlocks.  lock_drop removes the file first; it unlocks also on failure. */
void	lock_leave(struct lock *);
int	lock_drop(struct lock *);

/*
 * Puppet's settings, and names.
 */
struct setting {
	const char *name;	/* as puppet names it */
	char *value;
	size_t size;		/* of the value, with its final 0 */
};

/*
 * Asks puppet for settings, one call for all, of that section (the second
 * argument), as they are with that ssldir (the third) unless it is NULL.  Each
 * gets the value that was printed; one that was not printed is an error, an
 * empty value is not.
 */
int	settings_ask(const struct options *, const char *, const char *,
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

/* The path of the program puppetserver, which is beside puppet. */
void	puppetserver_path(const struct options *, char [PROGRAM_SIZE]);

/* Whether it is a certname that we take ([a-z0-9._-], no - first). */
int	certname_ok(const char *);

/*
 * Certificates, the requests for them, and keys, as Puppet stores them: the
 * DER (X.690) of a certificate (RFC 5280), of a request (RFC 2986) or of a
 * private key (RFC 5958, 8017, 5915) in a PEM block (RFC 7468).  Nothing is
 * believed but the form: no signature is verified.
 */
enum pem_kind { PEM_CERTIFICATE, PEM_REQUEST, PEM_KEY };

enum {
	SERIAL_SIZE = 64,	/* a serial number in hex, with its final 0 */
	TIME_SIZE = 24,		/* 2031-11-26 09:30:12 UTC, the same */
	KEY_SIZE = 1100,	/* what is public of a key: RSA to 8192 bits */
	NAMES_SIZE = 32768	/* names, a line each, with the final 0 */
};

/*
 * What such a block says.
 *
 * A line of names is a GeneralName (RFC 5280, 4.2.1.6): DNS:x, IP:x as
 * inet_ntop writes it, email:x, URI:x, and hex for the others.  A line of
 * extensions is OID (short name): value, for a UTF8String, which is what
 * Puppet writes; for other types of string OID (short name) type: value, and
 * hex for the rest.  Bytes that are not printable ASCII, and backslashes, are
 * written as \xHH.  So two lines are equal if, and only if, what they stand
 * for is.  Those of a request are the ones that it asks for (RFC 2985, 5.4.2).
 */
struct pem {
	char fingerprint[FINGERPRINT_SIZE]; /* SHA-256 of the DER, AA:BB:.. */
	char serial[SERIAL_SIZE];	/* as openssl writes it; else "" */
	char end[TIME_SIZE];		/* of its validity; else "" */
	unsigned char key[KEY_SIZE];	/* equal for all of one key pair */
	size_t key_size;		/* 0: cannot be told */
	int odd;		/* not read: only the fingerprint counts */
	char names[NAMES_SIZE];		/* alternative names */
	char extensions[NAMES_SIZE];	/* those below 1.3.6.1.4.1.34380 */
};

/*
 * Reads the first block of that kind in a text.  Returns 0, or -1, unreported,
 * where there is no complete and well-formed one.  Where the block is that but
 * its DER is not as the standards want it, has something twice, or does not
 * fit here, or the key is encrypted, the block is odd.
 */
int	pem_read(struct pem *, const char *, enum pem_kind);

/*
 * Reads such a file, shorter than TEXT_SIZE, by file_open.  Returns 1; 0 where
 * it does not exist or is not complete yet; or -1.
 */
int	pem_load(struct pem *, int, const char *, enum pem_kind);

/*
 * Whether two are of the same key pair, by the public half of it: 1, 0, or -1,
 * unreported, where that cannot be told (neither RSA nor EC, or odd).
 */
int	pem_pair(const struct pem *, const struct pem *);

/*
 * Compares two texts of at most NAMES_SIZE, a line each, as sets.  Calls the
 * function with '-' for each line that only the first has, then with '+' for
 * each that only the second has.  Returns how many these were.
 */
int	lines_differ(const char *, const char *, void (*)(char, const char *));

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
 * tree is read or changed.  Each looks for signals at every name and every
 * buffer of bytes.  All but tree_remove refuse, by name, what is nothing of
 * that, a directory of another file system, more than TREE_DEPTH directories
 * below one another, more than TREE_NAMES names or TREE_BYTES bytes.
 * skip is a name at the top that does not count, or NULL.
 */

/*
 * Copies a directory to a name that must not exist yet.  What is refused is
 * refused before the first byte is copied, and again while it is; so is a file
 * that changes its size meanwhile.  All of the copy is on disk, and was
 * compared with the original, mtimes included (as far as the file system keeps
 * them), before the top, until then ours alone with mode 0700, gets its owner
 * and mode.  On failure, a signal too, nothing is left of the copy.
 */
int	tree_copy(int sat, const char *sname, int dat, const char *dname,
	    const char *skip);

/*
 * Compares two trees: names, types, bytes, link targets, owners, groups and
 * modes, not times.  Returns 0 where they are equal; 1 where they differ, with
 * the first difference in words in a buffer of DIFFERENCE_SIZE; or -1.
 */
int	tree_compare(int sat, const char *sname, int dat, const char *dname,
	    const char *skip, char *difference);

/*
 * Has all of a tree on disk that puppet has written, every file and directory,
 * and refuses besides, by name, what is a link, has another name elsewhere, or
 * belongs to neither root nor that owner.
 */
int	tree_seal(int at, const char *name, uid_t owner);

/*
 * Removes a tree, or whatever has that name; that nothing has it is no error.
 * Goes on after an error, but not after a signal: what cannot be removed
 * stays (a mount point with all that is below it), and -1 is returned.
 */
int	tree_remove(int at, const char *name);

/*
 * Copies one regular file, named by a relative path in which no symbolic link
 * is followed, to a name that must not exist yet: bytes, owner, group, mode
 * and mtime; on disk, too.  Returns 1; 0 where there is no original; or -1,
 * and nothing is left of the copy: an error, a signal, more than TREE_BYTES.
 */
int	file_copy(int sat, const char *spath, int dat, const char *dname);

/*
 * The commands.  Each takes the options and returns an exit status, having
 * said everything.
 */
int	mom_clean(const struct options *);
int	mom_sign(const struct options *);
int	node_prepare(const struct options *);
int	node_finish(const struct options *);
int	node_restore(const struct options *);
int	node_status(const struct options *);

#endif
