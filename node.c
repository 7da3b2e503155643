/*
 * node.c: what is done on the compile master: node prepare, finish, restore
 * and status.
 *
 * One idea: stage, then exchange.  prepare has Puppet make the new key and
 * request in a directory of their own, beside the ssl that serves.  finish
 * fetches the certificate into it, then does all that interrupts in one
 * moment.  restore takes back what is under way; where nothing is, it
 * exchanges ssl for a copy of the backup.
 *
 * Beside the ssldir, which is ssl here, there is one name of ours while
 * something is under way, the work directory ssl.cmregen.  In it:
 *
 *     journal  held while a node command runs; its lines tell how far we got
 *     next     what becomes ssl: new key, request, certificate; or a copy of
 *              the backup
 *     old      ssl as it was, from the exchange until all is proved
 *
 * Everything else there is rubbish: make.N, in which next is made before it
 * gets its name; state.N, puppet's state directory below 6; gone.N, what is
 * being removed.  Beside the backup: ssl_bak.cmregen-part, a copy that is not
 * finished; ssl_bak.cmregen-gone, a backup that a newer one replaces.
 *
 * Each command first decides where we are (state_of), then does what the table
 * cell[] near the end has for that state.  What changes something prints,
 * under -n, the command to type instead, so that a dry run takes the same way
 * through the functions.
 *
 * A set of services is an int, with a bit for each of service_name.
 */
#include <sys/socket.h>
#include <sys/stat.h>

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "cmregen.h"

enum {
	SERVICES = 5,
	ALL = (1 << SERVICES) - 1,
	PUPPET = 1 << 0,		/* a bit for each service */
	SERVERS = 1 << 1 | 1 << 2,
	OTHERS = 1 << 3 | 1 << 4,
	TICK = 100,			/* milliseconds between two looks */
	RETRY = 2000,			/* between two questions to the MoM */
	MOMENT = 3,			/* seconds: what dies at once, dies */
	SSL_COMMAND = 6,		/* from this Puppet on: `puppet ssl' */
	TRIES = 100,			/* against those who come and go */
	VALUE_SIZE = 32768		/* of a setting that lists names */
};

static const char *const service_name[SERVICES] = {
	"puppet", "pe-puppetserver", "puppetserver", "mcollective",
	"pxp-agent"
};

/* Each agent run makes it in ssl, and removes it. */
static const char ssl_lock_name[] = "ssl.lock";

/*
 * The directories that we move, each a name in an open directory; of make.N,
 * state.N and gone.N the last that was named.
 */
enum {
	SSL, WORK, NEXT, OLD, BACKUP, PART, GONE,
	MAKE, STATE, RUBBISH,
	PLACES
};

struct place {
	int at;				/* the directory; -1: not there */
	char path[PATH_SIZE];		/* for messages */
	const char *name;		/* the end of that */
};

/*
 * The files of an ssl, each a path below it.  Those that must be in a new one
 * come first, up to CRL; the setting of REQUEST is its directory.
 */
enum { KEY, CERT, CA, CRL, REQUEST, FILES };

static const char *const file_setting[FILES] = {
	"hostprivkey", "hostcert", "localcacert", "hostcrl", "requestdir"
};

struct told {				/* by puppet: its settings */
	char certname[PATH_SIZE], ca_server[PATH_SIZE], cadir[PATH_SIZE];
	char client_datadir[PATH_SIZE], dns_alt_names[VALUE_SIZE];
	char run_lock[PATH_SIZE], ssl_lock[PATH_SIZE], disabled[PATH_SIZE];
};

struct journal {
	struct lock lock;		/* not held under -n, and by status */
	char text[TEXT_SIZE];		/* its lines; under -n also to come */
};

struct node {
	const struct options *o;
	int major;			/* Puppet's version */
	struct told told;
	char file[FILES][PATH_SIZE];
	struct place place[PLACES];
	struct journal journal;
	int running, enabled;		/* services, as puppet last reported */
};

static struct node node;

/*
 * Where we are: the table of states.
 */

enum state {
	IDLE, STAGED, EXCHANGING, EXCHANGED, UNPROVEN, RESTORING, RESTORED,
	GOING_BACK, ALL_DONE, FOREIGN, STATES
};

enum { NO, YES, ANY };

static const struct {
	enum state state;
	const char *last;		/* line of the journal begins so */
	int next, old;			/* they are there */
} table[] = {
	{ IDLE, "", ANY, NO },
	{ STAGED, "staged", YES, NO },
	{ EXCHANGING, "finish", YES, ANY },
	{ EXCHANGED, "finish", NO, ANY },
	{ UNPROVEN, "run", ANY, ANY },
	{ RESTORING, "restore", YES, ANY },
	{ RESTORED, "restore", NO, ANY },
	{ GOING_BACK, "back", ANY, ANY },
	{ ALL_DONE, "done", ANY, ANY }
};

/* Whether the first word of a line is this one; of no line it is "". */
static int
line_is(const char *line, const char *word)
{
	size_t n;

	n = strcspn(line, " \n");
	return n == strlen(word) && strncmp(line, word, n) == 0 &&
	    (n > 0 || *line == '\0');
}

/* The last line with that first word, or NULL. */
static const char *
line_find(const char *text, const char *word)
{
	const char *p, *found;

	found = NULL;
	for (p = text; *p != '\0'; p += strcspn(p, "\n") + 1)
		if (line_is(p, word))
			found = p;
	return found;
}

/* The last line that tells how far we got; where there is none, the end. */
static const char *
line_last(const char *text)
{
	const char *p, *last;

	last = NULL;
	for (p = text; *p != '\0'; p += strcspn(p, "\n") + 1)
		if (!line_is(p, "backup"))
			last = p;
	return last == NULL ? p : last;
}

static enum state
state_of(const char *text, int next, int old)
{
	const char *last;
	size_t i;

	last = line_last(text);
	for (i = 0; i < sizeof table / sizeof table[0]; i++)
		if (line_is(last, table[i].last) &&
		    (table[i].next == ANY || table[i].next == next) &&
		    (table[i].old == ANY || table[i].old == old))
			return table[i].state;
	return FOREIGN;
}

/*
 * Places and files.
 */

/*
 * A path as a runbook has it, one word for the shell.  Four of them can be in
 * use.
 */
static const char *
word(const char *path)
{
	static char words[4][4 * PATH_SIZE + 3];
	static size_t last;

	last = (last + 1) % 4;
	return quote(words[last], sizeof words[last], path);
}

/* Names a directory: what is in front of its path, and what its name is. */
static int
place_set(struct node *n, int which, int at, const char *path,
    const char *tail)
{
	struct place *const p = &n->place[which];
	const char *name;
	size_t len;
	int rc;

	p->at = at;
	for (len = strlen(path); len > 1 && path[len - 1] == '/'; )
		len--;
	rc = format(p->path, sizeof p->path, "%.*s%s", (int)len, path, tail);
	name = strrchr(p->path, '/');
	p->name = name == NULL ? "" : name + 1;
	if (rc == -1 || p->path[0] != '/' || p->name[0] == '\0' ||
	    strlen(p->name) >= NAME_SIZE || strcmp(p->name, ".") == 0 ||
	    strcmp(p->name, "..") == 0)
		return complainx("%s: a directory is to be named, by an "
		    "absolute path without . and .. at its end, and not too "
		    "long", p->path);
	return 0;
}

/* What is in a place, as a path below the directory that holds it. */
static const char *
in(const struct node *n, int which, const char *file)
{
	static char path[2][NAME_SIZE + PATH_SIZE];
	static size_t last;

	last = (last + 1) % 2;
	(void)format(path[last], sizeof path[last], "%s/%s",
	    n->place[which].name, file);
	return path[last];			/* both are shorter */
}

/* Whether it is there: 1, 0, or -1. */
static int
there(const struct node *n, int which)
{
	const struct place *const p = &n->place[which];

	return p->at == -1 ? 0 : name_exists(p->at, p->name);
}

/*
 * Gives a place a free name of that sort in the work directory, with a number
 * above all that are there: into those a child of a killed run may still
 * write.
 */
static int
place_free(struct node *n, int which, const char *sort)
{
	char tail[NAME_SIZE];
	int i, rc;

	rc = 0;
	for (i = TRIES; i >= 0 && rc == 0; i--) {
		(void)format(tail, sizeof tail, "/%s.%d", sort, i);
		if (place_set(n, which, n->place[NEXT].at,
		    n->place[WORK].path, tail) == -1)
			return -1;
		rc = i > 0 ? there(n, which) : 1;
	}
	if (rc == -1)
		return -1;
	if (i + 1 == TRIES)
		return complainx("%s is full of what could not be removed: "
		    "look at it, and remove %s.*", n->place[WORK].path, sort);
	(void)format(tail, sizeof tail, "/%s.%d", sort, i + 2);
	return place_set(n, which, n->place[NEXT].at, n->place[WORK].path,
	    tail);
}

static int
move(const struct node *n, int from, int to)
{
	const struct place *const p = &n->place[from];
	const struct place *const q = &n->place[to];

	if (!n->o->dry)
		return name_move(p->at, p->name, q->at, q->name);
	say("mv %s %s", word(p->path), word(q->path));
	return 0;
}

/* Copies one to another, which is not there yet. */
static int
copy(const struct node *n, int from, int to)
{
	const struct place *const p = &n->place[from];
	const struct place *const q = &n->place[to];
	char difference[DIFFERENCE_SIZE];

	if (!n->o->dry)
		return tree_copy(p->at, p->name, q->at, q->name,
		    ssl_lock_name);
	/* to compare with itself refuses what a copy refuses */
	if (tree_compare(p->at, p->name, p->at, p->name, ssl_lock_name,
	    difference) == -1)
		return -1;
	if (q->at == -1)
		say("mkdir -m 700 %s", word(n->place[WORK].path));
	say("cp -RPp %s %s", word(p->path), word(q->path));
	return 0;
}

/* What cannot be removed stops nobody. */
static void
rubbish(const struct node *n, int which)
{
	const struct place *const p = &n->place[which];

	if (there(n, which) == 0)
		return;
	if (n->o->dry)
		say("rm -rf %s", word(p->path));
	else if (tree_remove(p->at, p->name) == -1)
		note("that is left over, may hold a key, and stops nothing; "
		    "when nothing is mounted there: rm -rf %s", word(p->path));
}

/*
 * Makes rubbish of something by a rename, so that nothing half removed is ever
 * taken for more; rubbish_remove does the rest.
 */
static int
discard(struct node *n, int which)
{
	int rc;

	rc = there(n, which);
	if (rc != 1)
		return rc;
	if (n->o->dry) {
		rubbish(n, which);
		return 0;
	}
	return place_free(n, RUBBISH, "gone") == -1 ? -1 :
	    move(n, which, RUBBISH);
}

/*
 * Leaves the certname out of the alternative names: a CA adds it where there
 * are no others, so that it tells nothing.
 */
static void
certname_drop(const struct node *n, char *names)
{
	char line[NAME_SIZE + 8], *p, *next;

	(void)format(line, sizeof line, "DNS:%s\n", n->told.certname);
	for (p = names; *p != '\0'; p = next) {
		next = p + strcspn(p, "\n") + 1;
		if (strncmp(p, line, strlen(line)) == 0) {
			memmove(p, next, strlen(next) + 1);
			next = p;
		}
	}
}

/* Reads a key, request or certificate: 1; 0 where there is none; or -1. */
static int
load(const struct node *n, int which, int file, struct pem *pem)
{
	static const enum pem_kind kind[FILES] = {
		[KEY] = PEM_KEY, [CERT] = PEM_CERTIFICATE,
		[REQUEST] = PEM_REQUEST
	};
	int rc;

	memset(pem, 0, sizeof *pem);
	if (n->place[which].at == -1 || n->file[file][0] == '\0')
		return 0;
	rc = pem_load(pem, n->place[which].at, in(n, which, n->file[file]),
	    kind[file]);
	certname_drop(n, pem->names);
	return rc;
}

/*
 * Whether key and certificate in a place belong together: 1; 0, also where one
 * is missing; or -1.  Of a key that is neither RSA nor EC that cannot be told,
 * and is believed.
 */
static int
pair_fits(const struct node *n, int which)
{
	struct pem key, cert;
	int rc, other;

	rc = load(n, which, KEY, &key);
	other = load(n, which, CERT, &cert);
	if (rc == -1 || other == -1)
		return -1;
	return rc == 1 && other == 1 && pem_pair(&key, &cert) != 0;
}

/* Whether two places have the same key: 1, 0 or -1. */
static int
key_same(const struct node *n, int a, int b)
{
	struct pem one, two;
	int rc, other;

	rc = load(n, a, KEY, &one);
	other = load(n, b, KEY, &two);
	if (rc == -1 || other == -1)
		return -1;
	return rc == 1 && other == 1 && strcmp(one.fingerprint,
	    two.fingerprint) == 0;
}

/* What messages say of the certificate in a place. */
static const char *
serial(const struct node *n, int which)
{
	static char text[2][SERIAL_SIZE + TIME_SIZE + 32];
	static size_t last;
	struct pem pem;

	last = (last + 1) % 2;
	if (load(n, which, CERT, &pem) != 1)
		return "no certificate";
	if (pem.odd)
		return "a certificate that cannot be read";
	(void)format(text[last], sizeof text[last],
	    "serial number %s, valid until %s", pem.serial, pem.end);
	return text[last];
}

/* The serial number alone, for a name; where there is none, that word. */
static const char *
serial_word(const struct node *n, int which, const char *none)
{
	static char text[SERIAL_SIZE];
	struct pem pem;

	(void)load(n, which, CERT, &pem);	/* it has complained */
	(void)format(text, sizeof text, "%s", pem.serial[0] == '\0' ? none :
	    pem.serial);
	return text;
}

/*
 * Calls the function for each name in an open directory.  Returns the first
 * that was not 0, or -1.
 */
static int
dir_each(struct node *n, int at, int (*visit)(struct node *, const char *))
{
	const char *name;
	DIR *d;
	int rc;

	d = names_open(at);
	if (d == NULL)
		return complain("read a directory");
	rc = 0;
	while (rc == 0 && (name = name_next(d)) != NULL)
		rc = visit(n, name);
	if (rc == 0 && errno != 0)
		rc = complain("read a directory");
	(void)closedir(d);		/* only read */
	return rc;
}

/*
 * The journal.
 */

/* Whether its last line, which tells how far we got, begins so. */
static int
journal_at(const struct node *n, const char *word)
{
	return line_is(line_last(n->journal.text), word);
}

/* Whether one of its lines does. */
static int
journal_has(const struct node *n, const char *word)
{
	return line_find(n->journal.text, word) != NULL;
}

/* Cuts off what stands from there on. */
static int
journal_cut(struct node *n, const char *from)
{
	const size_t keep = (size_t)(from - n->journal.text);

	if (!n->o->dry && lock_cut(&n->journal.lock, keep) == -1)
		return -1;
	n->journal.text[keep] = '\0';
	return 0;
}

/*
 * Adds a line; it is on disk before anything is built on it.  One that could
 * not be written is cut off; where that fails, too, it counts as written:
 * whether the next command finds it or not, what stands must fit.
 */
static int
journal_add(struct node *n, const char *first, const char *rest)
{
	char *end;
	size_t room;
	int rc;

	end = strchr(n->journal.text, '\0');
	/* a byte is left for the newline */
	room = sizeof n->journal.text - (size_t)(end - n->journal.text) - 1;
	if (format(end, room, "%s%s%s", first, rest[0] == '\0' ? "" : " ",
	    rest) == -1) {
		*end = '\0';
		return complainx("the journal is full: %s %s", first, rest);
	}
	rc = 0;
	if (n->o->dry)
		say("(umask 77; printf '%%s\\n' %s >>%s/journal)", word(end),
		    word(n->place[WORK].path));
	else
		rc = lock_add(&n->journal.lock, end);
	(void)format(strchr(end, '\0'), 2, "\n");
	if (rc == -1)
		(void)journal_cut(n, end);
	return rc;
}

/* The services that finish and restore lines name; below root, none. */
static int
journal_set(const struct node *n)
{
	const char *p;
	int i, set;

	set = 0;
	for (p = n->journal.text; *p != '\0'; p += strcspn(p, " \n") + 1) {
		if (line_is(p, "backup"))
			p += strcspn(p, "\n");
		for (i = 0; i < SERVICES; i++)
			if (line_is(p, service_name[i]))
				set |= 1 << i;
	}
	return n->o->root != NULL ? 0 : set;
}

/* Where we are now, in *state.  Returns 0, or -1. */
static int
state_look(const struct node *n, enum state *state)
{
	int next, old;

	next = there(n, NEXT);
	old = there(n, OLD);
	if (next == -1 || old == -1)
		return -1;
	*state = state_of(n->journal.text, next, old);
	return 0;
}

/*
 * What stands.
 */

/* What is there, by the serial number of its certificate. */
static void
places_show(const struct node *n)
{
	static const char *const what[PLACES] = {
		"in use", NULL, "what becomes ssl", "ssl as it was",
		"the backup", NULL, NULL
	};
	int i;

	for (i = 0; i < PLACES; i++)
		if (what[i] != NULL && there(n, i) == 1)
			note("    %s (%s): %s", n->place[i].path, what[i],
			    serial(n, i));
}

/* The command that goes on, from where we are. */
static void
next_show(const struct node *n)
{
	const char *last;
	int finish;

	if (n->o->root != NULL) {
		tell(n->o, "next, on this system: the same command again");
		return;
	}
	last = line_last(n->journal.text);
	finish = line_is(last, "staged") ||
	    line_is(last, "finish") || line_is(last, "run");
	if (line_is(last, "done"))
		tell(n->o, "any node command but status removes what is left");
	else if (last[0] != '\0')
		say_next(n->o, 1, n->told.certname, finish ? "node finish" :
		    "node restore", "");
	if (finish)
		say_next(n->o, 1, "the same host, to go back", "node restore",
		    "");
}

/* The end of a command that has not come to its end. */
static int
stands(const struct node *n)
{
	(void)complainx("stopped part way; what stands now:");
	places_show(n);
	note("fix what is said above, then go on%s", n->o->accept ? "" :
	    " (with -a past what cannot be fixed)");
	next_show(n);
	return PART_WAY;
}

/* What cmregen cannot have left. */
static int
foreign(struct node *n)
{
	const char *last;

	last = line_last(n->journal.text);
	(void)complainx("%s is not as cmregen leaves it (the last line of its "
	    "journal is '%.*s'); what is there:", n->place[WORK].path,
	    (int)strcspn(last, "\n"), last);
	places_show(n);
	note("decide by the serial numbers which is to be in use: the valid "
	    "certificate is in signed/ of the MoM's cadir");
	if (there(n, OLD) == 1) {
		note("only if that is ssl as it was:");
		note("    mv %s %s.set-aside", word(n->place[SSL].path),
		    word(n->place[SSL].path));
		note("    mv %s %s", word(n->place[OLD].path),
		    word(n->place[SSL].path));
	}
	note("then, in any case:");
	note("    mv %s %s.set-aside", word(n->place[WORK].path),
	    word(n->place[WORK].path));
	return NOT_DONE;
}

/*
 * What puppet says.
 */

/*
 * What puppet says that went wrong, in the words of 5.5, 7 and 8; the first in
 * this order counts.
 */
enum trouble {
	FULL, UNKNOWN_CA, OTHER_KEY, TAKEN, AWAY, NO_COMMAND, IN_PROGRESS,
	OTHER
};

static const struct {
	enum trouble trouble;
	const char *words;
} said[] = {
	{ FULL, "No space left on device" },
	{ FULL, "Disk quota exceeded" },
	{ FULL, "Read-only file system" },
	{ UNKNOWN_CA, "certificate verify failed" },
	{ OTHER_KEY, "does not match" },
	{ OTHER_KEY, "doesn't match" },
	{ OTHER_KEY, "mismatch" },
	{ TAKEN, "conflict on the server" },
	{ TAKEN, "already has a signed certificate" },
	{ TAKEN, "already has a requested certificate" },
	{ AWAY, "onnection refused" },
	{ AWAY, "Failed to open TCP" },
	{ AWAY, "timed out" },
	{ AWAY, "getaddrinfo" },
	{ NO_COMMAND, "is not a puppetserver command" },
	{ IN_PROGRESS, "Puppet configuration client already in progress" },
	{ IN_PROGRESS, "nother puppet instance is already running" }
};

static enum trouble
trouble_of(struct child *c)
{
	enum trouble found;
	char line[LINE_SIZE];
	size_t i;

	found = OTHER;
	c->from = 0;
	while (child_line(c, line, sizeof line) == 1)
		for (i = 0; i < sizeof said / sizeof said[0]; i++)
			if (said[i].trouble < found &&
			    strstr(line, said[i].words) != NULL)
				found = said[i].trouble;
	return found;
}

/*
 * Services.
 */

static const char *
service_names(int set)
{
	static char names[NAME_SIZE];
	int i;

	names[0] = '\0';
	for (i = 0; i < SERVICES; i++)
		if (set & 1 << i)
			(void)format(names + strlen(names), sizeof names -
			    strlen(names), "%s%s", names[0] == '\0' ? "" : " ",
			    service_name[i]);
	return names;
}

/* Whether a line gives that attribute this value: 1, 0; -1: another line. */
static int
value_is(const char *p, const char *name, const char *value)
{
	p += strspn(p, " ");
	if (strncmp(p, name, strlen(name)) != 0)
		return -1;
	p += strlen(name);
	p += strspn(p, " ");
	if (strncmp(p, "=> '", 4) != 0)
		return -1;
	return strncmp(p + 4, value, strlen(value)) == 0 &&
	    p[4 + strlen(value)] == '\'';
}

/* Takes one line of `puppet resource service'. */
static void
service_line(const char *line, int *running, int *enabled)
{
	int is;

	is = value_is(line, "ensure", "running");
	if (is != -1)
		*running = is;
	is = value_is(line, "enable", "true");
	if (is != -1)
		*enabled = is;
}

/* What has ended has answered.  Returns 0, or -1 where it is not as wanted. */
static int
service_take(struct node *n, int i, struct child *c, const char *ensure)
{
	char line[LINE_SIZE];
	int running, enabled, rc;

	running = -1;
	enabled = 0;
	while ((rc = child_line(c, line, sizeof line)) == 1)
		service_line(line, &running, &enabled);
	if (rc == 0 && (running == -1 || child_wait(c) != 0))
		rc = complainx("puppet did not tell the state of the service "
		    "%s", service_name[i]);
	else if (rc == 0 && ensure != NULL &&
	    running != (strcmp(ensure, "ensure=running") == 0))
		rc = complainx("the service %s did not %s", service_name[i],
		    running ? "stop" : "start");
	n->running = (n->running & ~(1 << i)) | (running == 1) << i;
	n->enabled = (n->enabled & ~(1 << i)) | enabled << i;
	if (rc == -1 || n->o->verbose)
		child_show(c);
	child_close(c);
	return rc;
}

/*
 * Has the state of these services asked (NULL) or changed, all at the same
 * time, and waits for the answers, whatever happens.  Returns those that did
 * not answer, or are not as they should be: what puppet reports tells that;
 * an exit status of 0 tells nothing.
 */
static int
services(struct node *n, int set, const char *ensure)
{
	const int dry = n->o->dry && ensure != NULL;
	struct child c[SERVICES];
	int i, bad;

	bad = 0;
	for (i = 0; i < SERVICES; i++) {
		const char *const argv[] = {
			n->o->puppet, "resource", "service", service_name[i],
			"--color=false", ensure, NULL
		};

		if ((set & 1 << i) != 0 && dry)
			child_say(argv);
		else if ((set & 1 << i) != 0)
			(void)child_start(&c[i], argv);
	}
	for (i = 0; i < SERVICES && !dry; i++) {
		if ((set & 1 << i) == 0)
			continue;
		(void)(ensure == NULL ? child_wait_or_stop(&c[i]) :
		    child_wait(&c[i]));
		if (service_take(n, i, &c[i], ensure) == -1)
			bad |= 1 << i;
	}
	return bad;
}

/*
 * Starts services.  A server may still be starting in vain, with what was
 * there before: puppet takes it for stopped, does not stop it, and its start
 * joins that one and fails with it.  Then it is started once more.  Returns
 * those that do not run.
 */
static int
services_start(struct node *n, int set)
{
	int bad;

	bad = services(n, set, "ensure=running");
	if ((bad & SERVERS) != 0) {
		busy("starting %s once more", service_names(bad & SERVERS));
		bad = (bad & ~SERVERS) | services(n, bad & SERVERS,
		    "ensure=running");
	}
	return bad;
}

/*
 * Has these take the ssl that is there now: the server by a reload, which is
 * the shortest time without an answer and gets the machine to itself; then the
 * others, which were stopped before.  Returns those that do not run.
 */
static int
services_serve(struct node *n, int set)
{
	char program[PROGRAM_SIZE];
	const char *const argv[] = { program, "reload", NULL };
	const int server = set & SERVERS, others = set & OTHERS;
	struct child c;
	int reloaded;

	if (set == 0)
		return 0;
	puppetserver_path(n->o, program);
	busy("%s%s%s%s", server == 0 ? "" : "reloading the server",
	    server == 0 || others == 0 ? "" : ", ", others == 0 ? "" :
	    "starting ", service_names(others));
	if (server != 0 && n->o->dry)
		child_say(argv);
	else if (server != 0) {
		(void)child_start(&c, argv);
		reloaded = child_wait(&c) == 0 && trouble_of(&c) != NO_COMMAND;
		if (!reloaded || n->o->verbose)
			child_show(&c);
		if (!reloaded)
			(void)services(n, server, "ensure=stopped");
		child_close(&c);
	}
	return services_start(n, set);
}

/*
 * Puppet runs of others.
 */

/* The process that holds a lock file of Puppet, or 0. */
static pid_t
lock_holder(const char *path)
{
	char text[NAME_SIZE];
	long pid;

	if (path_read(path, text, sizeof text) < 1)
		return 0;
	text[strcspn(text, " \r\n")] = '\0';
	pid = number_read(text);
	if (pid < 1 || (kill((pid_t)pid, 0) == -1 && errno == ESRCH))
		return 0;
	return (pid_t)pid;
}

static int
runs_wait(struct node *n)
{
	const char *file;
	long since;
	pid_t pid;

	if (n->o->dry) {
		say("# wait until no process holds %s %s", n->told.run_lock,
		    n->told.ssl_lock);
		return 0;
	}
	for (since = seconds(); ; nap(TICK)) {
		file = n->told.run_lock;
		pid = lock_holder(file);
		if (pid == 0) {
			file = n->told.ssl_lock;
			pid = lock_holder(file);
		}
		if (pid == 0)
			return 0;
		if (interrupted())
			return complainx("interrupted while it waited for a "
			    "Puppet run to end");
		if (seconds() - since >= n->o->wait)
			return complainx("a Puppet run did not end: PID %d "
			    "holds %s; if that is not Puppet, remove the "
			    "file; else wait until it has ended; then run "
			    "this again", (int)pid, file);
		busy("waiting for the Puppet run of PID %d to end", (int)pid);
	}
}

/*
 * Puppet that is disabled makes no request, and runs no catalog.  The file has
 * the reason: {"disabled_message":"REASON"}.
 */
static int
disabled_check(const struct node *n)
{
	static const char reason[] = "\"disabled_message\":\"";
	char text[PATH_SIZE], *p, *end;
	ssize_t len;

	len = path_read(n->told.disabled, text, sizeof text);
	if (len == -1 && (errno == ENOENT || errno == ENOTDIR))
		return 0;
	p = len > 0 ? strstr(text, reason) : NULL;
	if (p != NULL) {
		p += sizeof reason - 1;
		end = strrchr(p, '"');
		if (end != NULL)
			*end = '\0';
	}
	return complainx("Puppet is administratively disabled (%s): if it may "
	    "run, type %s agent --enable, then run this again", p == NULL ?
	    n->told.disabled : p, word(n->o->puppet));
}

/*
 * Opening: settings, places, and the checks before anything changes.
 */

/* The settings that name files. */
static void
files_table(struct setting *s, char file[FILES][PATH_SIZE])
{
	int i;

	for (i = 0; i < FILES; i++) {
		s[i].name = file_setting[i];
		s[i].value = file[i];
		s[i].size = PATH_SIZE;
	}
}

/* Leaves of each path what stands below the ssldir. */
static int
files_below(const char *ssldir, char file[FILES][PATH_SIZE])
{
	size_t len;
	int i;

	len = strlen(ssldir);
	for (i = 0; i < FILES; i++) {
		if (strncmp(file[i], ssldir, len) != 0 || file[i][len] != '/')
			return complainx("puppet's setting %s is %s although "
			    "the ssldir is %s: puppet would write into the "
			    "ssl in use; take that setting out of puppet.conf",
			    file_setting[i], file[i], ssldir);
		memmove(file[i], file[i] + len + 1, strlen(file[i] + len));
	}
	return 0;
}

static int
settings_read(struct node *n, char *ssldir)
{
	struct told *const t = &n->told;
	struct setting s[9 + FILES] = {
		{ "ssldir", ssldir, PATH_SIZE },
		{ "certname", t->certname, PATH_SIZE },
		{ "ca_server", t->ca_server, PATH_SIZE },
		{ "cadir", t->cadir, PATH_SIZE },
		{ "client_datadir", t->client_datadir, PATH_SIZE },
		{ "dns_alt_names", t->dns_alt_names, VALUE_SIZE },
		{ "agent_catalog_run_lockfile", t->run_lock, PATH_SIZE },
		{ "ssl_lockfile", t->ssl_lock, PATH_SIZE },
		{ "agent_disabled_lockfile", t->disabled, PATH_SIZE }
	};
	size_t len;

	files_table(s + 9, n->file);
	n->major = puppet_major(n->o);
	if (n->major == -1 || settings_ask(n->o, "agent", NULL, s, 9 + FILES)
	    == -1)
		return -1;
	for (len = strlen(ssldir); len > 1 && ssldir[len - 1] == '/'; )
		ssldir[--len] = '\0';
	if (!certname_ok(t->certname))
		return complainx("puppet's setting certname is '%s', which "
		    "cmregen does not take: a to z, 0 to 9, '.', '_' and '-' "
		    "only", t->certname);
	if (files_below(ssldir, n->file) == -1)
		return -1;
	if (strchr(n->file[KEY], '/') == NULL || strchr(n->file[CA], '/') ==
	    NULL)
		return complainx("%s and %s lie in %s itself: cmregen does "
		    "not know that layout", n->file[KEY], n->file[CA], ssldir);
	len = strlen(n->file[REQUEST]);
	return format(n->file[REQUEST] + len, PATH_SIZE - len, "/%s.pem",
	    t->certname) == -1 ? complainx("requestdir is too long") : 0;
}

static int
ca_check(const char *dir, const char *tail)
{
	char path[PATH_SIZE + NAME_SIZE];
	struct stat st;

	(void)format(path, sizeof path, "%s%s/ca_key.pem", dir, tail);
	if (stat(path, &st) == 0)
		return complainx("a CA is on this host (%s), which makes it "
		    "the MoM: node commands are for compile masters; only if "
		    "this surely is no MoM, that CA was made by mistake "
		    "(puppet cert does that): move %s%s away", path, dir,
		    tail);
	if (errno == ENOENT || errno == ENOTDIR)
		return 0;
	return complain("look at %s", path);
}

/* Whether another file system is mounted there: 1, 0 or -1. */
static int
mounted(const struct place *p)
{
	struct stat st, up;

	if (fstatat(p->at, p->name, &st, AT_SYMLINK_NOFOLLOW) == -1)
		return complain("look at %s", p->path);
	if (fstat(p->at, &up) == -1)
		return complain("look at the directory of %s", p->path);
	return st.st_dev != up.st_dev;
}

/*
 * The ssldir must be a directory that can be renamed: of a link or a mount
 * point only the outside would be.
 */
static int
ssl_check(const struct node *n)
{
	const struct place *const p = &n->place[SSL];
	char target[PATH_SIZE];
	struct stat st;
	ssize_t len;
	int rc;

	if (fstatat(p->at, p->name, &st, AT_SYMLINK_NOFOLLOW) == -1)
		return errno == ENOENT ? 0 : complain("look at %s", p->path);
	if (S_ISLNK(st.st_mode)) {
		len = readlinkat(p->at, p->name, target, sizeof target - 1);
		target[len == -1 ? 0 : len] = '\0';
		return complainx("%s is a symbolic link: let ssldir in "
		    "puppet.conf name %s instead", p->path, target);
	}
	if (!S_ISDIR(st.st_mode))
		return complainx("%s is not a directory", p->path);
	rc = mounted(p);
	return rc != 1 ? rc : complainx("%s is a mount point: let ssldir in "
	    "puppet.conf name a directory inside it", p->path);
}

/* Whether this is what an earlier version leaves beside ssl. */
static int
earlier_visit(struct node *n, const char *name)
{
	const char *const work = n->place[WORK].name;
	size_t len;

	len = strlen(work);
	if (strncmp(name, work, len) != 0 || name[len] != '-')
		return 0;
	return complainx("%s%s is of an earlier version of cmregen: finish "
	    "with that version what it has begun; if it is only left over, "
	    "move it away", n->place[WORK].path, name + len);
}

/*
 * Whether an open directory is the one in question, or is inside it: 1, 0 or
 * -1.
 */
static int
inside(int at, const struct place *what)
{
	struct stat want, st, last;
	int fd, up, rc;

	if (what->at == -1)
		return 0;
	if (fstatat(what->at, what->name, &want, AT_SYMLINK_NOFOLLOW) == -1)
		return errno == ENOENT ? 0 : -1;
	fd = dir_open(at, ".");
	rc = fd == -1 || fstat(fd, &st) == -1 ? -1 : 0;
	while (rc == 0) {
		if (st.st_dev == want.st_dev && st.st_ino == want.st_ino) {
			rc = 1;
			break;
		}
		last = st;
		up = dir_open(fd, "..");
		close_read(fd);
		fd = up;
		if (fd == -1 || fstat(fd, &st) == -1)
			rc = -1;
		else if (st.st_dev == last.st_dev && st.st_ino == last.st_ino)
			break;			/* root is its own parent */
	}
	close_read(fd);
	return rc;
}

/*
 * Whether the backup is apart from all that we move: 1; 0, also where it is
 * ssl or old by another name (a mount); or -1.
 */
static int
backup_apart(const struct node *n)
{
	const struct place *const b = &n->place[BACKUP];
	int fd, from, rc;

	fd = dir_open(b->at, b->name);
	from = fd == -1 ? b->at : fd;
	rc = inside(from, &n->place[SSL]);
	if (rc == 0)
		rc = inside(from, &n->place[WORK]);
	if (rc == 0)
		rc = inside(from, &n->place[OLD]);
	if (rc == 0)
		rc = inside(n->place[SSL].at, b);
	close_read(fd);
	return rc == -1 ? complain("look above %s", b->path) : rc == 0;
}

static int
backup_check(const struct node *n)
{
	const struct place *const b = &n->place[BACKUP];
	struct stat st;
	int rc;

	if (strstr(b->name, ".cmregen") != NULL || strchr(b->path, '\n') !=
	    NULL)
		return complainx("%s: that name is cmregen's own, or has a "
		    "newline: choose another for -b", b->path);
	if (b->at == -1)
		return 0;
	rc = strcmp(b->path, n->place[SSL].path) == 0 ? 0 : backup_apart(n);
	if (rc != 1)
		return rc == -1 ? -1 : complainx("%s is the ssldir itself, "
		    "inside it or above it: choose another for -b", b->path);
	if (fstatat(b->at, b->name, &st, AT_SYMLINK_NOFOLLOW) == -1)
		return errno == ENOENT ? 0 : complain("look at %s", b->path);
	return S_ISDIR(st.st_mode) ? 0 : complainx("%s exists and is not a "
	    "directory: move it away, or choose another for -b", b->path);
}

/*
 * Names the backup; the path is one of the system below root, unless that is
 * -1.  Its directory need not be there.
 */
static int
backup_set(struct node *n, int root, const char *path, size_t skip)
{
	int at;

	if (place_set(n, BACKUP, -1, path, "") == -1 ||
	    place_set(n, PART, -1, path, ".cmregen-part") == -1 ||
	    place_set(n, GONE, -1, path, ".cmregen-gone") == -1)
		return -1;
	at = path_above(root, n->place[BACKUP].path + skip);
	if (at == -1 && errno != ENOENT)
		return complain("open the directory of %s, where the backup "
		    "is", n->place[BACKUP].path);
	n->place[BACKUP].at = n->place[PART].at = n->place[GONE].at = at;
	return backup_check(n);
}

/*
 * Where the backup is: -b tells, or the journal, or it is beside ssl.  Where
 * the journal's cannot be one now, it counts as not there: what does without
 * a backup goes on.
 */
static int
backup_place(struct node *n, int root)
{
	const struct options *const o = n->o;
	const char *p;
	char path[2 * PATH_SIZE];
	size_t len;

	len = root == -1 ? 0 : strlen(o->root);
	p = line_find(n->journal.text, "backup");
	/* what ends has its own; -b is for what begins afterwards */
	if (o->backup != NULL && !journal_at(n, "done"))
		p = NULL;
	if (o->backup != NULL && p == NULL)
		(void)format(path, sizeof path, "%s", o->backup);
	else if (p == NULL)
		(void)format(path, sizeof path, "%s_bak", n->place[SSL].path);
	else
		(void)format(path, sizeof path, "%s%.*s", root == -1 ? "" :
		    o->root, (int)strcspn(p + 7, "\n"), p + 7);
	if (root != -1 && (strncmp(path, o->root, len) != 0 ||
	    (path[len] != '/' && path[len - 1] != '/')))
		root = -1;
	if (backup_set(n, root, path, root == -1 ? 0 : len) == 0)
		return 0;
	close_read(n->place[BACKUP].at);
	n->place[BACKUP].at = n->place[PART].at = n->place[GONE].at = -1;
	return p == NULL ? -1 : 0;
}

/*
 * The work directory.
 */

/*
 * Opens it.  Nobody else may have been in it; below 6 a run that was killed
 * can have left it open for puppet to pass.
 */
static int
work_enter(struct node *n)
{
	const struct place *const w = &n->place[WORK];
	struct stat st;
	int fd;

	fd = dir_open(w->at, w->name);
	if (fd == -1)
		return errno == ENOENT ? 0 : complain("open %s", w->path);
	if (fstat(fd, &st) == -1)
		(void)complain("look at %s", w->path);
	else if (st.st_uid != geteuid() || ((st.st_mode & 077) != 0 &&
	    (st.st_mode & 0777) != 0711))
		(void)complainx("%s was not made by cmregen, or was changed "
		    "(it must be root's, 0700): look what is in it before you "
		    "move it away", w->path);
	else {
		n->place[NEXT].at = n->place[OLD].at = fd;
		return 1;
	}
	close_read(fd);
	return -1;
}

static void
work_leave(struct node *n)
{
	close_read(n->place[NEXT].at);
	n->place[NEXT].at = n->place[OLD].at = -1;
}

static int
work_mode(const struct node *n, mode_t mode)
{
	int rc;

	do
		rc = fchmod(n->place[NEXT].at, mode);
	while (rc == -1 && errno == EINTR);
	return rc == 0 ? 0 : complain("set the mode of %s",
	    n->place[WORK].path);
}

/*
 * Makes the work directory where it is missing, takes the journal and reads
 * it.  Another command that ends may remove both at any moment: then we look
 * again.
 */
static int
work_take(struct node *n)
{
	struct journal *const j = &n->journal;
	const struct place *const w = &n->place[WORK];
	int tries, rc;

	for (tries = 0; tries < TRIES; tries++) {
		rc = work_enter(n);
		if (rc == 0 && dir_make(w->at, w->name) == -1 &&
		    there(n, WORK) != 1)
			return -1;
		if (rc == 0)
			continue;
		if (rc == -1 && tries == 0)
			return -1;		/* it may be another's */
		if (rc == 1)
			rc = lock_take(&j->lock, n->place[NEXT].at, "journal");
		if (rc == LOCK_HELD)
			return complainx("another cmregen is running on this "
			    "host: wait until it has ended");
		if (rc == -1) {
			/* only an empty one goes */
			(void)dir_remove(w->at, w->name);
			return -1;
		}
		if (rc == LOCK_TAKEN) {
			if (lock_lines(&j->lock, j->text, sizeof j->text) == 0)
				return work_mode(n, 0700);
			lock_leave(&j->lock);
			return -1;
		}
		work_leave(n);
	}
	return complainx("%s keeps being made and removed: what else works on "
	    "it?", w->path);
}

/* What a dry run and status do instead: they only look. */
static int
work_look(struct node *n)
{
	int rc;

	rc = work_enter(n);
	if (rc == 1)
		rc = lock_ask(n->place[NEXT].at, "journal", n->journal.text,
		    sizeof n->journal.text);
	return rc == 1 ? complainx("another cmregen is running on this host: "
	    "wait until it has ended") : rc;
}

/* It is gone by then. */
static int
work_none(struct node *n)
{
	(void)n;
	return 0;
}

static int
rubbish_visit(struct node *n, const char *name)
{
	char tail[NAME_SIZE + 1];

	(void)format(tail, sizeof tail, "/%s", name);	/* it fits */
	if (strcmp(name, "journal") != 0 && strcmp(name, "next") != 0 &&
	    strcmp(name, "old") != 0 && place_set(n, RUBBISH,
	    n->place[NEXT].at, n->place[WORK].path, tail) == 0)
		rubbish(n, RUBBISH);
	return 0;
}

/* What commands that broke off have left, and nobody needs. */
static int
rubbish_remove(struct node *n)
{
	struct place *const gone = &n->place[GONE];
	struct place *const backup = &n->place[BACKUP];

	/* where that fails it has complained, and there is no backup */
	if (there(n, GONE) == 1 && there(n, BACKUP) == 0 &&
	    move(n, GONE, BACKUP) == 0 && n->o->dry) {
		backup->name = gone->name;	/* where it still is */
		gone->at = -1;
	}
	rubbish(n, PART);
	if (there(n, BACKUP) == 1)
		rubbish(n, GONE);
	if (n->place[NEXT].at == -1)
		return 0;
	return dir_each(n, n->place[NEXT].at, rubbish_visit);
}

/* Removes what is left of the work directory, where nothing is under way. */
static int
work_end(struct node *n)
{
	const struct place *const w = &n->place[WORK];

	if (lock_drop(&n->journal.lock) == -1)
		return -1;
	n->journal.text[0] = '\0';
	/* what stays is rubbish that was named, or of a command that comes */
	if (dir_remove(w->at, w->name) == -1 && errno != ENOTEMPTY &&
	    errno != EEXIST)
		return complain("remove %s", w->path);
	work_leave(n);
	return 0;
}

static int
places_set(struct node *n, int at, const char *ssldir)
{
	if (at == -1)
		return complain("open the directory of %s", ssldir);
	if (place_set(n, SSL, at, ssldir, "") == -1 ||
	    place_set(n, WORK, at, ssldir, ".cmregen") == -1 ||
	    place_set(n, NEXT, -1, ssldir, ".cmregen/next") == -1 ||
	    place_set(n, OLD, -1, ssldir, ".cmregen/old") == -1)
		return -1;
	return ssl_check(n) == -1 || dir_each(n, at, earlier_visit) != 0 ?
	    -1 : 0;
}

static void
node_clear(struct node *n, const struct options *o)
{
	int i;

	memset(n, 0, sizeof *n);
	n->o = o;
	n->journal.lock.fd = -1;
	for (i = 0; i < PLACES; i++)
		n->place[i].at = -1;
}

static int
node_open(struct node *n, int (*enter)(struct node *))
{
	char ssldir[PATH_SIZE];

	if (settings_read(n, ssldir) == -1 ||
	    ca_check(n->told.cadir, "") == -1 || ca_check(ssldir, "/ca") == -1)
		return -1;
	if (places_set(n, path_above(-1, ssldir), ssldir) == -1 ||
	    enter(n) == -1)
		return -1;
	return backup_place(n, -1);
}

/* A CA that is mounted below root is as much a CA. */
static int
root_ca_check(const struct node *n)
{
	const struct place *const ssl = &n->place[SSL];
	int fd;

	fd = file_open(ssl->at, in(n, SSL, "ca/ca_key.pem"));
	if (fd == -1 && errno == ENOENT)
		return 0;
	close_read(fd);
	return complainx("a CA is in %s, or it cannot be looked for: node "
	    "commands are for compile masters", ssl->path);
}

/*
 * With no puppet to ask, the first name in ssl, old or the backup with a key
 * and its certificate is the one that counts, or the last with a key in the
 * first of them that has any; with -a that of the backup comes first, which
 * then may be of another name.
 */
static int
pair_visit(struct node *n, const char *name)
{
	(void)format(n->file[KEY], PATH_SIZE, "private_keys/%s", name);
	(void)format(n->file[CERT], PATH_SIZE, "certs/%s", name);
	return pair_fits(n, BACKUP) == 1 || pair_fits(n, OLD) == 1 ||
	    pair_fits(n, SSL) == 1;
}

static void
root_names(struct node *n)
{
	static const int orders[2][3] = {
		{ SSL, OLD, BACKUP }, { BACKUP, OLD, SSL }
	};
	const int *const which = orders[n->o->accept];
	int i, fd, found;

	for (found = i = 0; i < 3 && !found; i++) {
		fd = n->place[which[i]].at == -1 ? -1 :
		    file_open(n->place[which[i]].at,
		    in(n, which[i], "private_keys"));
		if (fd == -1)
			continue;
		found = dir_each(n, fd, pair_visit) == 1 ||
		    (!n->o->accept && n->file[KEY][0] != '\0');
		close_read(fd);
	}
}

/* Below root: no puppet is asked, and no link is followed. */
static int
root_open(struct node *n, int (*enter)(struct node *))
{
	const struct options *const o = n->o;
	const char *const ssldir = o->ssldir == NULL ?
	    "/etc/puppetlabs/puppet/ssl" : o->ssldir;
	char path[2 * PATH_SIZE];
	int root, at, rc;

	(void)format(path, sizeof path, "%s%s", o->root, ssldir);
	root = path_dir(o->root);
	if (root == -1)
		return complain("open %s", o->root);
	at = path_above(root, ssldir);
	rc = -1;
	if (places_set(n, at, path) == 0 && root_ca_check(n) == 0 &&
	    enter(n) != -1)
		rc = backup_place(n, root);
	else if (at == -1)
		note("is the system mounted at %s, and no part of %s a link?",
		    o->root, ssldir);
	close_read(root);
	if (rc == 0)
		root_names(n);
	return rc;
}

/* Where nothing is under way the work directory goes with us. */
static void
node_close(struct node *n)
{
	enum state state;

	if (n->journal.lock.fd != -1 && state_look(n, &state) == 0 &&
	    state == IDLE)
		(void)work_end(n);	/* it has complained */
	lock_leave(&n->journal.lock);
	work_leave(n);
	close_read(n->place[SSL].at);
	close_read(n->place[BACKUP].at);
}

/*
 * The backup.
 */

/*
 * Copies ssl to part and gives that its name.  A backup that is there is set
 * aside, and goes when the new one has proved to be wanted.
 */
static int
backup_copy(const struct node *n)
{
	int rc;

	busy("copying %s to %s", n->place[SSL].path, n->place[BACKUP].path);
	if (copy(n, SSL, PART) == -1)
		return -1;
	rc = there(n, BACKUP);
	if (rc == -1 || (rc == 1 && move(n, BACKUP, GONE) == -1) ||
	    move(n, PART, BACKUP) == -1)
		return -1;
	if (rc == 1 && n->o->dry)
		say("rm -rf %s", word(n->place[GONE].path));
	return 1;
}

/* Whether ssl differs from the backup, and in what first: 1, 0 or -1. */
static int
backup_differs(const struct node *n, char *difference)
{
	const struct place *const ssl = &n->place[SSL];
	const struct place *const b = &n->place[BACKUP];

	return tree_compare(ssl->at, ssl->name, b->at, b->name, ssl_lock_name,
	    difference);
}

/*
 * Sees to it that the backup is ssl: equal, it is used; with ssl's key, and in
 * ssl a certificate of that key, it is made anew; any other is of an earlier
 * regeneration.  Returns 1 where a backup was made, 0 or -1.
 */
static int
backup_make(const struct node *n)
{
	const struct place *const b = &n->place[BACKUP];
	char difference[DIFFERENCE_SIZE], away[PATH_SIZE + NAME_SIZE];
	struct pem pem;
	int rc;

	if (b->at == -1)
		return complainx("no backup can be made at %s: its directory "
		    "is not there; is it mounted?", b->path);
	rc = there(n, BACKUP);
	if (rc == 0)
		return backup_copy(n);
	if (rc == 1)
		rc = backup_differs(n, difference);
	if (rc != 1)
		return rc;
	rc = mounted(b);
	if (rc == 0 && key_same(n, SSL, BACKUP) == 1 &&
	    pair_fits(n, SSL) == 1) {
		note("the backup is out of date (%s), and is replaced",
		    difference);
		return backup_copy(n);
	}
	if (rc == 0)
		rc = load(n, BACKUP, KEY, &pem) == 0 &&
		    load(n, BACKUP, CERT, &pem) == 0;
	if (rc != 0)
		return rc == -1 ? -1 : complainx("%s is a mount point, or no "
		    "backup of an ssl directory: name one in it that is not "
		    "there yet, such as -b %s/ssl_bak", b->path, b->path);
	(void)format(away, sizeof away, "%s-%s", b->path,
	    serial_word(n, BACKUP, "earlier"));
	return complainx("%s (%s) is the backup of another ssl than this "
	    "(%s), most likely of an earlier regeneration: type mv %s %s, "
	    "then run this again", b->path, serial(n, BACKUP), serial(n, SSL),
	    word(b->path), word(away));
}

/*
 * Takes back what backup_make has made.  Should anything have written into ssl
 * since, the backup may hold what is nowhere else: then it stays.
 */
static void
backup_undo(const struct node *n)
{
	char difference[DIFFERENCE_SIZE];
	int rc;

	rc = backup_differs(n, difference);
	if (rc != 0)
		note("the backup %s stays: %s %s", n->place[BACKUP].path,
		    n->place[SSL].path, rc == 1 ? "has changed since" :
		    "could not be compared with it");
	else if (move(n, BACKUP, PART) == 0 && there(n, GONE) == 1)
		(void)move(n, GONE, BACKUP);	/* or the next command does */
}

/*
 * The names.
 */

static void
difference_show(char sign, const char *line)
{
	note("    %c %s", sign, line);
}

/*
 * Compares the names of the present certificate with those to come.  Returns
 * 0, or -1 where they differ and nobody has accepted that.
 */
static int
names_check(const struct node *n, const struct pem *then)
{
	struct pem now;
	int rc, names, extensions;

	rc = load(n, SSL, CERT, &now);
	if (rc == -1)
		return -1;
	if (rc == 0 || now.odd)		/* then it has no names here */
		note("the present certificate cannot be read to compare its "
		    "names; the new one gets:");
	names = lines_differ(now.names, then->names, difference_show);
	extensions = lines_differ(now.extensions, then->extensions,
	    difference_show);
	if (rc == 0 || now.odd || (names == 0 && extensions == 0))
		return 0;
	note("that is what the new certificate would lose (-) and gain (+) "
	    "against the present one");
	if (names != 0)
		note("its alternative names come from dns_alt_names in "
		    "puppet.conf, and the certname");
	if (extensions != 0)
		note("its extensions come from extension_requests in "
		    "csr_attributes.yaml");
	if (n->o->accept)
		return 0;
	return complainx("names or extensions are not those of the present "
	    "certificate: fix that, then run this again; or accept it with "
	    "-a");
}

/* One name of the setting, as certificates have it. */
static int
name_plan(char *names, const char *p, size_t len)
{
	char *end;
	char one[NAME_SIZE];
	unsigned char address[16];

	end = strchr(names, '\0');
	if (len >= sizeof one)
		return -1;
	memcpy(one, p, len);
	one[len] = '\0';
	if (strncmp(one, "IP:", 3) == 0 &&
	    inet_pton(AF_INET6, one + 3, address) == 1)
		(void)inet_ntop(AF_INET6, address, one + 3,
		    (socklen_t)(sizeof one - 3));	/* as they write it */
	return format(end, NAMES_SIZE - (size_t)(end - names), "%s%s\n",
	    strncmp(one, "DNS:", 4) == 0 || strncmp(one, "IP:", 3) == 0 ?
	    "" : "DNS:", one);
}

/*
 * The same before anything is made, for what the setting dns_alt_names tells.
 */
static int
names_plan(const struct node *n)
{
	const char *p;
	struct pem now, then;
	size_t len;
	int rc;

	if (n->o->accept && !n->o->dry)
		return 0;		/* the request will tell */
	memset(&then, 0, sizeof then);
	rc = 0;
	for (p = n->told.dns_alt_names; *p != '\0' && rc == 0; p += len) {
		p += strspn(p, ", ");
		len = strcspn(p, ", ");
		if (len > 0)
			rc = name_plan(then.names, p, len);
	}
	if (rc == -1)
		return complainx("dns_alt_names is too long");
	certname_drop(n, then.names);
	if (load(n, SSL, CERT, &now) == 1)
		memcpy(then.extensions, now.extensions, sizeof now.extensions);
	return names_check(n, &then);
}

/* 0, or -1 where a signal asked us to stop. */
static int
signal_check(void)
{
	return interrupted() ? complainx("interrupted") : 0;
}

/*
 * Having puppet work on a directory of its own.
 */

/* The words for that: to submit a request, or to fetch a certificate. */
static void
puppet_words(const struct node *n, int dir, int wanted, const char *argv[])
{
	const char *const agent[] = {
		n->o->puppet, "agent", "--test", "--color=false", "--noop",
		"--ssldir", n->place[dir].path, "--statedir",
		n->place[STATE].path, NULL
	};
	const char *const ssl[] = {
		n->o->puppet, "ssl", wanted == REQUEST ? "submit_request" :
		"download_cert", "--color=false", "--waitforcert", "0",
		"--ssldir", n->place[dir].path, NULL
	};

	if (n->major < SSL_COMMAND)
		memcpy(argv, agent, sizeof agent);
	else
		memcpy(argv, ssl, sizeof ssl);
}

/* The bytes of a regular file in a place, or -1. */
static off_t
file_size(const struct node *n, int which, int file)
{
	struct stat st;
	int fd, rc;

	fd = file_open(n->place[which].at, in(n, which, n->file[file]));
	if (fd == -1)
		return -1;
	rc = fstat(fd, &st);
	close_read(fd);
	return rc == 0 && S_ISREG(st.st_mode) ? st.st_size : -1;
}

/*
 * Whether puppet need not go on.  From 6 on it ends by itself when it has the
 * certificate; below, the CRL comes before that.
 */
static int
ready(const struct node *n, int dir, int wanted)
{
	struct pem pem;

	if (wanted == CERT && (n->major >= SSL_COMMAND ||
	    file_size(n, dir, CRL) < 1))
		return 0;
	return load(n, dir, wanted, &pem) == 1;
}

/*
 * Starts puppet on the directory, to submit a request or to fetch the
 * certificate, and waits until it has ended or what is wanted is there: puppet
 * may go on for half a minute without need.  Without --waitforcert 0 it would
 * try for ever.  Below 6 an agent run does either, as the service user, who
 * must be let through our directory.
 */
static int
puppet_on(struct node *n, int dir, int wanted, struct child *c)
{
	const int old = n->major < SSL_COMMAND;
	const char *argv[CHILD_WORDS];
	int rc;

	c->out = -1;
	if (old && place_free(n, STATE, "state") == -1)
		return -1;
	puppet_words(n, dir, wanted, argv);
	if (n->o->dry) {
		if (old)
			say("chmod 711 %s", word(n->place[WORK].path));
		child_say(argv);
		if (old)
			say("chmod 700 %s; rm -rf %s",
			    word(n->place[WORK].path),
			    word(n->place[STATE].path));
		if (wanted == CERT)
			say("test -s %s/%s || exit 1",
			    word(n->place[dir].path), n->file[CERT]);
		return 0;
	}
	if (old && (dir_make(n->place[STATE].at, n->place[STATE].name) == -1 ||
	    work_mode(n, 0711) == -1)) {
		rubbish(n, STATE);
		return -1;
	}
	rc = child_start(c, argv);
	while (rc == 0 && !child_ended(c) && !interrupted() &&
	    !ready(n, dir, wanted))
		nap(TICK);
	child_stop(c);
	if (old && work_mode(n, 0700) == -1)
		rc = -1;
	if (old)
		rubbish(n, STATE);
	if (n->o->verbose)
		child_show(c);
	return signal_check() == -1 ? -1 : rc;
}

/* The certificate that the MoM has is not that of the request in next. */
static int
other_key(const struct node *n)
{
	return complainx("the MoM has a certificate of %s that is not of the "
	    "key in %s: run 'cmregen node restore' here, 'cmregen mom clean "
	    "%s' there, then begin again", n->told.certname,
	    n->place[NEXT].path, n->told.certname);
}

/*
 * Whether the certificate in next is there, of the key there, and not the one
 * in use: 1; 0 where there is none; or -1.
 */
static int
fetched(const struct node *n, struct pem *cert)
{
	struct pem key, now;
	int rc;

	rc = load(n, NEXT, CERT, cert);
	if (rc != 1)
		return rc;
	if (load(n, NEXT, KEY, &key) == 1 && pem_pair(&key, cert) != 0 &&
	    (load(n, SSL, CERT, &now) != 1 ||
	    strcmp(now.fingerprint, cert->fingerprint) != 0))
		return 1;
	return other_key(n);
}

/* What puppet could not do on the directory, and waiting does not fix. */
static int
puppet_refused(const struct node *n, int dir, struct child *c)
{
	const char *const path = n->place[dir].path;
	enum trouble what;

	what = trouble_of(c);
	if (what >= AWAY || (what == TAKEN && dir == NEXT))
		return 0;
	child_show(c);
	if (what == FULL)
		return complainx("puppet cannot write into %s: make room "
		    "there, then run this again", path);
	if (what == UNKNOWN_CA)
		return complainx("the certificate of the MoM does not verify "
		    "with %s/%s: copy the CA certificate there from the MoM "
		    "itself, then run this again", dir == NEXT ? path :
		    n->place[SSL].path, n->file[CA]);
	if (dir == NEXT)
		return other_key(n);
	return complainx("the MoM has a certificate or another request of "
	    "this name: run 'cmregen mom clean %s' there, then this again (or "
	    "it signs by itself, and its ca.conf forbids these names)",
	    n->told.certname);
}

/* There is no request: what helps. */
static int
submit_failed(const struct node *n, struct child *c)
{
	if (puppet_refused(n, MAKE, c) == -1)
		return -1;
	child_show(c);
	return complainx("the MoM (%s) has taken no request: does its server "
	    "run, and can it be reached from here?  Should it have one, "
	    "'cmregen mom clean %s' there removes it", n->told.ca_server,
	    n->told.certname);
}

/*
 * node prepare.
 */

/* Whether puppet, given that ssldir, keeps everything there. */
static int
files_follow(const struct node *n, int dir)
{
	char file[FILES][PATH_SIZE];
	struct setting s[FILES];

	files_table(s, file);
	return settings_ask(n->o, "agent", n->place[dir].path, s, FILES) == -1
	    ? -1 : files_below(n->place[dir].path, file);
}

/* The directory of a file, which has one. */
static void
dir_of(char dir[PATH_SIZE], const char *file)
{
	(void)format(dir, PATH_SIZE, "%.*s", (int)(strrchr(file, '/') - file),
	    file);
}

/*
 * Makes the directory that puppet is to work in, with the CA's certificate as
 * ssl has it: puppet then talks to that MoM alone (from 6 on).
 */
static int
make_begin(const struct node *n)
{
	const struct place *const ssl = &n->place[SSL];
	const struct place *const dir = &n->place[MAKE];
	const char *const ca = n->file[CA];
	char certs[PATH_SIZE];
	int rc;

	dir_of(certs, ca);
	if (n->o->dry) {
		say("mkdir -p %s/%s", word(dir->path), certs);
		say("cp -p %s/%s %s/%s", word(ssl->path), ca, word(dir->path),
		    ca);
		return 0;
	}
	if (dir_make(dir->at, dir->name) == -1 ||
	    dir_make(dir->at, in(n, MAKE, certs)) == -1)
		return -1;
	rc = file_copy(ssl->at, in(n, SSL, ca), dir->at, in(n, MAKE, ca));
	if (rc == 0)
		note("%s has no %s: puppet trusts the MoM that answers, so "
		    "compare the fingerprint, and sign with -f", ssl->path,
		    ca);
	/* until here all of it was ours alone */
	return rc == -1 || owner_like(dir->at, in(n, MAKE, certs), ssl->at,
	    in(n, SSL, certs)) == -1 ? -1 :
	    owner_like(dir->at, dir->name, ssl->at, ssl->name);
}

/*
 * Reads what puppet has made besides the key: the request, or where the CA has
 * signed it the certificate.  Returns as load does.
 */
static int
paper_load(const struct node *n, int dir, struct pem *paper)
{
	int rc;

	rc = dir == NEXT ? fetched(n, paper) : load(n, dir, CERT, paper);
	return rc == 0 ? load(n, dir, REQUEST, paper) : rc;
}

/*
 * Judges what puppet has made: there is a key, not the one in use, and the
 * request, or the certificate where the CA signs by itself, is of that key.
 * Below 6 an agent takes any request of its name for its own.
 */
static int
make_judge(const struct node *n, const struct pem *paper)
{
	const char *const dir = n->place[MAKE].path;
	struct pem key;
	int rc;

	rc = load(n, MAKE, KEY, &key);
	if (rc != 1)
		return rc == -1 ? -1 : complainx("puppet has made no key in "
		    "%s", dir);
	rc = key_same(n, MAKE, SSL);
	if (rc != 0)
		return rc == -1 ? -1 : complainx("puppet has made no new key: "
		    "the one in %s is the key in use", dir);
	if (pem_pair(&key, paper) == 0)
		return complainx("the %s in %s is not of the key there: the "
		    "MoM had another one of this name; find out whose, run "
		    "'cmregen mom clean %s' there, then this again",
		    paper->serial[0] == '\0' ? "request" : "certificate",
		    dir, n->told.certname);
	return names_check(n, paper);
}

/*
 * Has a tree on disk, and refuses it where something in it belongs to neither
 * root, as whom puppet makes files, too, nor to the user of ssl.
 */
static int
seal(const struct node *n, int which)
{
	const struct place *const ssl = &n->place[SSL];
	struct stat st;

	if (fstatat(ssl->at, ssl->name, &st, AT_SYMLINK_NOFOLLOW) == -1)
		return complain("look at %s", ssl->path);
	return tree_seal(n->place[which].at, n->place[which].name, st.st_uid);
}

static void
hand_off_mom(const struct node *n, const struct pem *paper)
{
	char host[PATH_SIZE], rest[2 * NAME_SIZE];

	tell(n->o, "request of %s, SHA-256 fingerprint %s", n->told.certname,
	    paper->fingerprint);
	(void)format(host, sizeof host, "the MoM (%s)", n->told.ca_server);
	(void)format(rest, sizeof rest, "-f %s %s", paper->fingerprint,
	    n->told.certname);
	say_next(n->o, 0, host, "mom sign", rest);
}

/* When a file in the work directory was written, as certificates have it. */
static const char *
time_of(const struct node *n, const char *file)
{
	static char text[TIME_SIZE];
	const struct tm *tm;
	struct stat st;

	if (n->place[NEXT].at == -1 || fstatat(n->place[NEXT].at, file, &st,
	    AT_SYMLINK_NOFOLLOW) == -1)
		return "an unknown time";
	tm = gmtime(&st.st_mtim.tv_sec);
	if (tm == NULL)
		return "an unknown time";
	(void)format(text, sizeof text, "%04d-%02d-%02d %02d:%02d:%02d UTC",
	    tm->tm_year + 1900, tm->tm_mon + 1, tm->tm_mday, tm->tm_hour,
	    tm->tm_min, tm->tm_sec);		/* it fits */
	return text;
}

static void
hand_off(const struct node *n, const struct pem *paper)
{
	char host[PATH_SIZE];

	if (paper->serial[0] != '\0') {
		tell(n->o, "the new certificate of %s is here (serial number "
		    "%s): nothing to sign", n->told.certname, paper->serial);
		(void)format(host, sizeof host, "%s", n->told.certname);
	} else {
		hand_off_mom(n, paper);
		(void)format(host, sizeof host, "%s when it is signed",
		    n->told.certname);
	}
	say_next(n->o, 1, host, "node finish", "");
	if (!n->o->dry)
		note("until then it serves with the certificate that 'mom "
		    "clean' revokes: agents that fetch the CRL refuse it, so "
		    "finish soon; if 'mom clean' is run after %s, begin again:"
		    " 'node restore', 'node prepare'",
		    time_of(n, in(n, NEXT, n->file[KEY])));
}

/*
 * Makes next, judged and on disk.  Returns 0; -1; or 1 where the MoM may have
 * a request of which nothing was said.
 */
static int
stage_next(struct node *n, struct pem *paper)
{
	struct child c;
	int rc, made;

	made = 0;
	if (make_begin(n) == -1)
		return -1;
	busy("having puppet make key and request");
	rc = puppet_on(n, MAKE, REQUEST, &c);
	if (rc == 0 && !n->o->dry) {
		rc = paper_load(n, MAKE, paper);
		if (rc == 0)
			(void)submit_failed(n, &c);
		made = rc == 1;
		rc = made ? make_judge(n, paper) : -1;
	}
	child_close(&c);
	if (!made && !n->o->dry && !interrupted())
		return -1;
	if (rc == 0 && !n->o->dry)
		rc = seal(n, MAKE);
	return rc == -1 || move(n, MAKE, NEXT) == -1 ||
	    journal_add(n, "staged", "") == -1;
}

static void
owner_note(const char *path)
{
	note("%s belongs to root: if that was not meant, give it to the user "
	    "of the server by chown -Rh first", path);
}

/* What is read of ssl when the request is made: a directory, and the file. */
static int
ssl_opens(const struct node *n, int file)
{
	const struct place *const ssl = &n->place[SSL];
	char dir[PATH_SIZE];
	int fd;

	dir_of(dir, n->file[file]);
	fd = file_open(ssl->at, in(n, SSL, dir));
	if (fd == -1)
		return complain("open %s in %s", dir, ssl->path);
	close_read(fd);
	fd = file_open(ssl->at, in(n, SSL, n->file[file]));
	if (fd == -1 && errno != ENOENT)
		return complain("open %s in %s", n->file[file], ssl->path);
	close_read(fd);
	return 0;
}

static int
stage_check(struct node *n)
{
	const struct place *const ssl = &n->place[SSL];
	struct stat st;
	struct pem key;
	int rc;

	if (disabled_check(n) == -1)
		return -1;
	rc = there(n, SSL);
	if (rc != 1)
		return rc == -1 ? -1 : complainx("there is no %s%s",
		    ssl->path, there(n, BACKUP) == 1 ? ": run 'cmregen node "
		    "restore' first" : ": let Puppet make it");
	if (fstatat(ssl->at, ssl->name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
	    st.st_uid == 0)
		owner_note(ssl->path);
	if (ssl_opens(n, KEY) == -1 || ssl_opens(n, CA) == -1)
		return -1;
	rc = load(n, SSL, KEY, &key);
	if (rc == -1)
		return -1;
	if (rc == 0)
		note("%s has no key: `node restore' will not be able to use "
		    "this backup", ssl->path);
	if (place_free(n, MAKE, "make") == -1)
		return -1;
	return files_follow(n, MAKE) == -1 || names_plan(n) == -1 ? -1 : 0;
}

/* The commands that a regeneration begins with. */
static void
begin_show(const struct node *n, const char *when)
{
	char host[PATH_SIZE], rest[4 * PATH_SIZE + NAME_SIZE];

	(void)format(host, sizeof host, "the MoM (%s), %s", n->told.ca_server,
	    when);
	say_next(n->o, 0, host, "mom clean", n->told.certname);
	(void)format(rest, sizeof rest, "%s_bak", n->place[SSL].path);
	if (strcmp(rest, n->place[BACKUP].path) == 0)
		rest[0] = '\0';
	else
		(void)format(rest, sizeof rest, "-b %s",
		    word(n->place[BACKUP].path));
	say_next(n->o, 1, n->told.certname, "node prepare", rest);
}

/* What is next: on the MoM, or, where nothing was done, all of it. */
static int
staged(struct node *n, const struct pem *paper)
{
	if (n->o->dry) {
		begin_show(n, "unless it was cleaned for this");
		tell(n->o, "(whether extensions stay the same is seen when "
		    "there is a request: look at csr_attributes.yaml)");
	} else {
		(void)rubbish_remove(n);	/* it has complained */
		hand_off(n, paper);
	}
	return DONE;
}

/* prepare in idle: everything that was made goes, where it fails. */
static int
stage(struct node *n)
{
	struct pem paper;
	int made, rc;

	memset(&paper, 0, sizeof paper);
	if (stage_check(n) == -1 || rubbish_remove(n) == -1)
		return NOT_DONE;
	made = n->o->dry ? backup_make(n) : 0;
	if (made == -1)
		return NOT_DONE;
	if (n->o->dry && n->place[NEXT].at == -1)
		say("mkdir -m 700 %s", word(n->place[WORK].path));
	if (journal_add(n, "backup", n->place[BACKUP].path) == -1)
		made = -1;
	else if (!n->o->dry)
		made = backup_make(n);
	rc = made == -1 ? -1 : stage_next(n, &paper);
	if (rc == 0)
		return staged(n, &paper);
	hold();
	if (line_last(n->journal.text)[0] != '\0')
		return stands(n);
	if (made == 1)
		backup_undo(n);
	(void)discard(n, NEXT);			/* it has complained */
	(void)rubbish_remove(n);		/* likewise */
	note("not done; ssl and services are as they were");
	if (rc == 1)
		note("the MoM may have the request: before you run this again,"
		    " run 'cmregen mom clean %s' there", n->told.certname);
	return NOT_DONE;
}

/* Whether the journal names the backup as it is by now. */
static int
backup_known(const struct node *n)
{
	const char *const path = n->place[BACKUP].path;
	const size_t len = strlen(path);
	const char *p;

	p = line_find(n->journal.text, "backup");
	return p != NULL && strncmp(p + 7, path, len) == 0 &&
	    p[7 + len] == '\n';
}

/* prepare in staged: the same hand-off; a missing backup is made. */
static int
stage_again(struct node *n)
{
	struct pem paper;
	int rc, made;

	rc = paper_load(n, NEXT, &paper);
	if (rc == 0)
		(void)complainx("the request in %s is gone: if it was signed, "
		    "'cmregen node finish' goes on; else 'cmregen node "
		    "restore', then this again", n->place[NEXT].path);
	if (rc != 1)
		return NOT_DONE;
	made = backup_make(n);
	rc = made == -1 ? -1 : backup_known(n) ? 0 :
	    journal_add(n, "backup", n->place[BACKUP].path);
	if (rc == -1 && made == 1)
		backup_undo(n);
	(void)rubbish_remove(n);	/* it has complained */
	if (rc == 0)
		hand_off(n, &paper);
	return rc == 0 ? DONE : NOT_DONE;
}

/*
 * The exchange.
 */

/*
 * Stops puppet, then the others: a run in progress could start them again, and
 * they could begin one.
 */
static int
stop(struct node *n)
{
	int others;

	others = journal_set(n) & OTHERS;
	if (n->o->root != NULL)
		return 0;
	busy("stopping %s", service_names(PUPPET | others));
	if (services(n, PUPPET, "ensure=stopped") != 0 || runs_wait(n) == -1 ||
	    signal_check() == -1)
		return -1;
	if (services(n, others, "ensure=stopped") != 0)
		return -1;
	return n->o->dry ? 0 : runs_wait(n);
}

/* Goes past what was just reported: 0 with -a, else -1. */
static int
past(const struct node *n)
{
	if (!n->o->accept)
		return -1;
	note("-a was given: going on all the same");
	return 0;
}

/* Where there is no other way out, -a goes past what does not stop. */
static int
stop_or_accept(struct node *n)
{
	if (stop(n) == 0)
		return 0;
	if (interrupted() || past(n) == -1)
		return -1;
	/* it may not have come to these */
	(void)services(n, journal_set(n) & OTHERS, "ensure=stopped");
	return 0;
}

/*
 * Whether what becomes ssl is there: 1, 0 or -1.  Once it was moved, puppet
 * that a killed finish has left behind may make an empty one beside it:
 * rubbish.
 */
static int
next_settle(struct node *n)
{
	int rc;

	rc = there(n, NEXT);
	if (rc == 1 && there(n, OLD) == 1 && there(n, SSL) == 1 &&
	    journal_has(n, "finish"))
		rc = pair_fits(n, NEXT);
	return rc == 0 ? discard(n, NEXT) : rc;
}

/*
 * Moves ssl to old and next to ssl.  Where old is there already, ssl was made
 * by Puppet meanwhile, and holds a key that nobody has used.
 */
static int
swap(struct node *n)
{
	int ssl, old;

	ssl = there(n, SSL);
	old = there(n, OLD);
	if (ssl == -1 || old == -1 || (ssl == 1 && (old == 1 ?
	    discard(n, SSL) : move(n, SSL, OLD)) == -1))
		return -1;
	return move(n, NEXT, SSL);
}

/* Its way back.  Where next is there, too, ssl is Puppet's. */
static int
swap_back(struct node *n)
{
	int ssl, next, old;

	ssl = there(n, SSL);
	next = next_settle(n);
	old = there(n, OLD);
	if (ssl == -1 || next == -1 || old == -1)
		return -1;
	if (old == 0)
		return 0;
	if (ssl == 1 && (next == 1 ? discard(n, SSL) : move(n, SSL, NEXT)) ==
	    -1)
		return -1;
	return move(n, OLD, SSL);
}

/* Removes the cached catalog; that there is none is fine. */
static int
catalog_remove(const struct node *n)
{
	const char *const data = n->told.client_datadir;
	char name[NAME_SIZE], path[PATH_SIZE + 2 * NAME_SIZE];
	int at, fd, rc;

	if (n->o->root != NULL)
		return 0;
	(void)format(name, sizeof name, "%s.json", n->told.certname);
	(void)format(path, sizeof path, "%s/catalog/%s", data, name);
	if (n->o->dry) {
		say("rm -f %s", word(path));
		return 0;
	}
	at = path_dir(data);
	fd = at == -1 ? -1 : dir_open(at, "catalog");
	if (fd != -1)
		rc = name_remove(fd, name);
	else
		rc = errno == ENOENT ? 0 : complain("open the directory of %s",
		    path);
	close_read(fd);
	close_read(at);
	return rc == -1 ? past(n) : 0;
}

/* Whether these may stay down: 0 where there are none, or with -a; or -1. */
static int
accepted(const struct node *n, int bad)
{
	if (bad == 0)
		return 0;
	(void)complainx("not running with %s: %s", n->place[SSL].path,
	    service_names(bad));
	return past(n);
}

/* Has the services of the line take ssl. */
static int
serve(struct node *n)
{
	return accepted(n, services_serve(n, journal_set(n) & ~PUPPET));
}

static int
exchange(struct node *n)
{
	int next;

	next = next_settle(n);
	if (next == -1 || (next == 1 && swap(n) == -1) ||
	    catalog_remove(n) == -1 || signal_check() == -1)
		return -1;
	return serve(n);
}

/*
 * Begins one: writes down which services shall run afterwards.  One that was
 * begun goes on whoever does not answer; a boot, a Puppet run, or where it was
 * begun below root, may have started more than its lines name.
 */
static int
exchange_begin(struct node *n, const char *line)
{
	const int begun = journal_has(n, "finish") ||
	    journal_has(n, "restore");
	const int before = journal_set(n);
	int set;

	set = before;
	if (n->o->root == NULL) {
		busy("asking which services run");
		if (services(n, ALL, NULL) != 0 && !begun)
			return -1;
		set |= n->running | (n->enabled & SERVERS);
	}
	if (signal_check() == -1)
		return -1;
	return journal_at(n, line) && set == before ? 0 :
	    journal_add(n, line, service_names(set));
}

/*
 * Whether what has the backup's name is of another key than old, which finish
 * has replaced: then it is not the backup.
 */
static int
backup_other(const struct node *n)
{
	struct pem key;

	return !journal_has(n, "restore") && there(n, BACKUP) == 1 &&
	    load(n, OLD, KEY, &key) == 1 && key_same(n, OLD, BACKUP) != 1;
}

/*
 * Where there is no backup any more, old becomes it.  Returns 0; 1 where that
 * is not possible, and a person has to; or -1.
 */
static int
end_backup(const struct node *n)
{
	int old, backup;

	if (n->o->dry && journal_at(n, "back"))
		return 0;		/* old is ssl by then */
	old = there(n, OLD);
	if (old == 0 && n->o->dry && there(n, NEXT) == 1 &&
	    journal_has(n, "restore"))
		old = there(n, SSL);	/* it is by then */
	backup = there(n, BACKUP);
	if (old == -1 || backup == -1)
		return -1;
	if (old == 0 || backup == 1)
		return old == 1 && backup_other(n);
	return n->place[BACKUP].at == -1 || move(n, OLD, BACKUP) == -1;
}

static int
backup_wanted(const struct node *n)
{
	const int done = journal_at(n, "done");

	(void)complainx("%s%s is not there, or not the backup of what was "
	    "replaced: mount it and run this again%s", done ?
	    "all is done, but " : "", n->place[BACKUP].path, done ?
	    "; or keep that elsewhere, then run this again:" : "");
	if (done)
		note("    mv %s %s_bak-%s", word(n->place[OLD].path),
		    word(n->place[SSL].path), serial_word(n, OLD, "old"));
	return PART_WAY;
}

/* The end: all is done, and served; what is left is rubbish. */
static int
conclude(struct node *n)
{
	int rc;

	if (!n->o->dry && !journal_at(n, "done") &&
	    journal_add(n, "done", "") == -1)
		return stands(n);
	rc = end_backup(n);
	if (rc == 1)
		return backup_wanted(n);
	if (rc == 0 && n->o->dry) {
		say("rm -rf %s", word(n->place[WORK].path));
		return DONE;
	}
	if (rc == -1 || discard(n, OLD) == -1 || discard(n, NEXT) == -1 ||
	    rubbish_remove(n) == -1)
		return stands(n);
	/* the key that was replaced may not be gone: the next command sees */
	if (interrupted()) {
		(void)complainx("interrupted while it removed what is left");
		return stands(n);
	}
	return work_end(n) == -1 ? stands(n) : DONE;
}

/*
 * node finish.
 */

/*
 * The end of every undo.  The other services were started by the caller, these
 * in vain; here comes puppet; then the line goes; then, of restore, next, so
 * that no line is left that next does not fit.
 */
static int
undone(struct node *n, int bad)
{
	bad |= services_start(n, journal_set(n) & PUPPET);
	if (bad != 0) {
		(void)complainx("not running with %s: %s", n->place[SSL].path,
		    service_names(bad));
		return stands(n);
	}
	if (journal_cut(n, line_last(n->journal.text)) == -1 ||
	    (line_last(n->journal.text)[0] == '\0' &&
	    discard(n, NEXT) == -1) || rubbish_remove(n) == -1)
		return stands(n);
	note("not done; everything is as it was before");
	next_show(n);
	return NOT_DONE;
}

/* Before anything was exchanged: the server has noticed nothing. */
static int
stop_undo(struct node *n)
{
	hold();
	if (journal_set(n) != 0)
		busy("starting what was stopped");
	return undone(n, services_start(n, journal_set(n) & OTHERS));
}

/* Takes back what was exchanged, by this run or one before it. */
static int
exchange_undo(struct node *n)
{
	int set, bad;

	hold();
	/* one of ssl and next is what was made, or it is lost */
	if (there(n, SSL) + there(n, NEXT) < 1 || swap_back(n) == -1 ||
	    there(n, NEXT) != 1)
		return stands(n);
	set = journal_set(n) & ~PUPPET;
	busy("going back to the old certificate");
	bad = services(n, set & OTHERS, "ensure=stopped");
	return undone(n, bad | services_serve(n, set));
}

/* There is no certificate in time. */
static int
fetch_failed(const struct node *n, struct child *c, const struct pem *request)
{
	child_show(c);
	if (trouble_of(c) == AWAY)
		return complainx("the MoM (%s) does not answer: does its "
		    "server run, and can it be reached from here?",
		    n->told.ca_server);
	(void)complainx("the request is not signed yet");
	if (request->fingerprint[0] != '\0')
		hand_off(n, request);
	return -1;
}

/* What puppet could not write whole is in its way. */
static int
torn_remove(const struct node *n, int file)
{
	const char *path;
	int at, rc;

	if (n->o->dry || file_size(n, NEXT, file) == -1)
		return 0;
	path = in(n, NEXT, n->file[file]);
	at = path_above(n->place[NEXT].at, path);
	if (at == -1)
		return complain("open the directory of %s", path);
	rc = name_remove(at, strrchr(path, '/') + 1);
	close_read(at);
	return rc;
}

/* Says what a CA has dropped or added. */
static void
changes_show(const struct pem *request, const struct pem *cert)
{
	if (request->fingerprint[0] != '\0' && !request->odd &&
	    lines_differ(request->names, cert->names, difference_show) +
	    lines_differ(request->extensions, cert->extensions,
	    difference_show) > 0)
		note("the CA has left that out (-) or added it (+); if that "
		    "is not wanted, go back with 'cmregen node restore', "
		    "later with -a");
}

/*
 * Fetches the certificate into next.  Puppet removes the request when it is
 * there, so that is read before.
 */
static int
fetch(struct node *n)
{
	struct pem request, cert;
	struct child c;
	long since;
	int rc, waiting;

	if (load(n, NEXT, REQUEST, &request) == -1)
		return -1;
	c.out = -1;
	waiting = 0;
	rc = fetched(n, &cert);
	if ((rc == 0 && torn_remove(n, CERT) == -1) ||
	    (file_size(n, NEXT, CRL) == 0 && torn_remove(n, CRL) == -1))
		return -1;
	/* below 6 an agent fetches a CRL only from a MoM that it verifies */
	if (rc == 1 && n->major < SSL_COMMAND && file_size(n, NEXT, CRL) < 1)
		rc = 0;
	busy("fetching the certificate");
	for (since = seconds(); rc == 0; nap(RETRY)) {
		if (puppet_on(n, NEXT, CERT, &c) == -1)
			rc = -1;
		else if (n->o->dry)
			return 0;
		else
			rc = fetched(n, &cert);
		if (rc == 0)
			rc = puppet_refused(n, NEXT, &c);
		if (rc != 0 || seconds() - since >= n->o->wait)
			break;
		child_close(&c);
		if (!waiting && request.fingerprint[0] != '\0')
			hand_off_mom(n, &request);
		waiting = 1;
		busy("waiting for the certificate");
	}
	if (rc == 0)
		rc = fetch_failed(n, &c, &request);
	child_close(&c);
	if (rc == 1)
		changes_show(&request, &cert);
	return rc == 1 ? 0 : -1;
}

/* The CRL of ssl, where puppet, from 6 on, may not have fetched one. */
static int
crl_carry(const struct node *n)
{
	const struct place *const ssl = &n->place[SSL];
	const struct place *const next = &n->place[NEXT];
	const char *const crl = n->file[CRL];

	if (n->major < SSL_COMMAND || file_size(n, SSL, CRL) < 1 ||
	    file_size(n, NEXT, CRL) != -1)
		return 0;
	if (!n->o->dry)
		return file_copy(ssl->at, in(n, SSL, crl), next->at,
		    in(n, NEXT, crl)) == -1 ? -1 : 0;
	say("[ -e %s/%s ] || cp -p %s/%s %s/%s", word(next->path), crl,
	    word(ssl->path), crl, word(next->path), crl);
	return 0;
}

/* Sees to it that next has what ssl has, with its owners and modes. */
static int
next_complete(const struct node *n)
{
	const int ssl = n->place[SSL].at, next = n->place[NEXT].at;
	const char *file;
	int i;

	for (i = KEY; i <= CRL; i++) {
		file = n->file[i];
		if (file_size(n, SSL, i) < 1)
			continue;
		if (i == CRL && crl_carry(n) == -1)
			return -1;
		if (file_size(n, NEXT, i) < 1)
			return complainx("puppet has left no %s in %s: does "
			    "the MoM's certificate verify with %s/%s?  Copy "
			    "the CA certificate there from the MoM itself, "
			    "then run this again",
			    file, n->place[NEXT].path, n->place[NEXT].path,
			    n->file[CA]);
		if (owner_like(next, in(n, NEXT, file), ssl,
		    in(n, SSL, file)) == -1)
			return -1;
	}
	if (seal(n, NEXT) == 0)
		return 0;
	note("if %s was given to another user since, begin again: 'cmregen "
	    "node restore', 'cmregen node prepare'", n->place[SSL].path);
	return -1;
}

enum run { RAN, AGAIN, FAILED };

/* A run that somebody ends says so, and has status 0. */
static int
run_ended(struct child *c)
{
	char line[LINE_SIZE];
	int ended;

	ended = 0;
	c->from = 0;
	while (child_line(c, line, sizeof line) == 1)
		ended |= strcmp(line, "Notice: Caught TERM; exiting") == 0 ||
		    strcmp(line, "Notice: Caught INT; exiting") == 0;
	return ended;
}

/*
 * Runs Puppet once, its output on the terminal.  4 and 6 mean that it ran with
 * the new certificate, and a resource failed.
 */
static enum run
agent_run(struct node *n)
{
	const char *const argv[] = {
		n->o->puppet, "agent", "--test", "--color=false", NULL
	};
	struct child c;
	enum run result;
	int status;

	if (n->o->dry) {
		child_say(argv);
		say("# 0 and 2 mean success, 4 and 6 a resource that failed");
		return RAN;
	}
	busy("running Puppet");
	(void)child_start(&c, argv);	/* it has complained, and ended */
	while (!child_ended(&c) && !interrupted()) {
		child_follow(&c);
		nap(TICK);
	}
	child_stop(&c);
	child_follow(&c);
	status = child_wait(&c);
	result = FAILED;
	if ((status == 0 && !run_ended(&c)) || status == 2 || status == 4 ||
	    status == 6)
		result = RAN;
	else if (status == 1 && trouble_of(&c) == IN_PROGRESS)
		result = AGAIN;
	child_close(&c);
	if (interrupted())
		(void)complainx("the Puppet run was interrupted");
	else if (result == RAN && status >= 4)
		note("Puppet ran with the new certificate, and a resource "
		    "failed (status %d, see above)", status);
	else if (result == FAILED)
		(void)complainx("the Puppet run failed (status %d, see above)",
		    status);
	return result;
}

/* Runs Puppet until it ran, failed, or the time is over. */
static enum run
agent_loop(struct node *n)
{
	enum run result;
	long since;

	if (disabled_check(n) == -1)
		return FAILED;
	for (since = seconds(); ; nap(RETRY)) {
		if (runs_wait(n) == -1)
			return FAILED;
		result = agent_run(n);
		if (interrupted() || result != AGAIN)
			return result;
		if (seconds() - since >= n->o->wait) {
			(void)complainx("another Puppet run did not end in "
			    "time");
			return FAILED;
		}
	}
}

/*
 * Has the services of a set run, and all that are enabled.  One that dies just
 * after its start is looked at a moment later.  Returns those that do not run.
 */
static int
services_prove(struct node *n, int set)
{
	long since;
	int silent, bad;

	busy("seeing to it that all services run");
	silent = services(n, ALL, NULL);
	set |= n->running | n->enabled;
	if (!n->o->dry)
		set &= ~n->running;
	(void)services_start(n, set);
	if (n->o->dry)
		return 0;
	for (since = seconds(); set != 0 && seconds() - since < MOMENT; )
		nap(TICK);
	(void)services(n, set, NULL);
	bad = (set | silent) & ~n->running;
	if (signal_check() == 0 && bad != 0)
		(void)complainx("not running: %s", service_names(bad));
	return bad;
}

/* Whether the pair in place is a new one: 0, or -1. */
static int
pair_new(const struct node *n)
{
	if (pair_fits(n, SSL) != 1)
		return complainx("key and certificate in %s do not belong "
		    "together", n->place[SSL].path);
	if (key_same(n, SSL, there(n, OLD) == 1 ? OLD : BACKUP) != 0)
		return complainx("%s still has the key that was to be "
		    "replaced", n->place[SSL].path);
	return 0;
}

static void
finished(const struct node *n)
{
	say("%s has a new key and certificate: %s", n->told.certname,
	    serial(n, SSL));
	say("before: %s; running now: %s", there(n, OLD) == 1 ?
	    serial(n, OLD) : "not there", service_names(n->running));
}

/* finish in unproven: the Puppet run, the services, the proof. */
static int
prove(struct node *n)
{
	int ran, bad, rc;

	ran = agent_loop(n) == RAN;
	if (interrupted())
		return stands(n);
	bad = services_prove(n, journal_set(n));
	if (interrupted())
		return stands(n);
	if (n->o->dry)
		return ran || n->o->accept ? conclude(n) : PART_WAY;
	if (pair_new(n) == -1 || ((!ran || bad != 0) && !n->o->accept))
		return stands(n);
	if (!ran || bad != 0)
		note("-a was given: done all the same");
	finished(n);
	rc = conclude(n);
	if (rc == DONE)
		say("the backup holds the old key; when nothing needs it any "
		    "more: rm -rf %s", word(n->place[BACKUP].path));
	return rc;
}

/* From the exchange of the directories on. */
static int
finish_exchange(struct node *n)
{
	if (exchange(n) == -1 || signal_check() == -1)
		return exchange_undo(n);
	if (journal_add(n, "run", "") == -1)
		return journal_at(n, "run") ? stands(n) : exchange_undo(n);
	return prove(n);
}

/* finish in staged. */
static int
finish_staged(struct node *n)
{
	int rc;

	if (disabled_check(n) == -1)
		return NOT_DONE;
	rc = there(n, BACKUP);
	if (rc == 0)
		(void)complainx("the backup %s is missing: is it mounted?  "
		    "'cmregen node prepare' makes it again",
		    n->place[BACKUP].path);
	if (rc == 1 && n->o->dry)
		say("# wait until the request is signed");
	if (rc != 1 || fetch(n) == -1 || (n->o->dry ? crl_carry(n) :
	    next_complete(n)) == -1)
		return NOT_DONE;
	if (exchange_begin(n, "finish") == -1)
		return journal_at(n, "finish") ? stop_undo(n) : NOT_DONE;
	if (stop(n) == -1 || backup_make(n) == -1)
		return stop_undo(n);
	return finish_exchange(n);
}

/*
 * finish in exchanging and exchanged.  Where the run before has exchanged,
 * what does not stop is no reason to go back.
 */
static int
finish_on(struct node *n)
{
	if (stop_or_accept(n) == -1 || (there(n, OLD) == 0 &&
	    there(n, NEXT) == 1 && backup_make(n) == -1))
		return next_settle(n) == 0 ? stands(n) : exchange_undo(n);
	return finish_exchange(n);
}

/*
 * node restore.
 */

/* What the files do not bring back, and how to begin again. */
static void
restored(const struct node *n)
{
	if (!n->o->dry)
		say("%s: %s; what 'mom clean' has revoked stays revoked",
		    n->place[SSL].path, serial(n, SSL));
	if (n->o->root != NULL) {
		tell(n->o, "next: start that system");
		return;
	}
	begin_show(n, "to begin again, unless it was cleaned since prepare");
}

/* The last steps of both ways back: puppet, and the end. */
static int
restore_end(struct node *n)
{
	int rc;

	if (accepted(n, services_start(n, journal_set(n) & PUPPET)) == -1)
		return stands(n);
	rc = conclude(n);
	if (rc == DONE)
		restored(n);
	return rc;
}

/*
 * restore while prepare or finish is under way: takes back what they have
 * done.  Where finish has not begun no service is touched.
 */
static int
go_back(struct node *n)
{
	int begun, old;

	begun = journal_has(n, "finish");
	if (n->o->backup != NULL)
		note("-b is not needed: what was there is put back");
	if (begun && !journal_at(n, "back") && there(n, OLD) == 0 &&
	    there(n, NEXT) == 0) {
		(void)complainx("%s is gone, which was to be put back: end "
		    "'cmregen node finish', then 'cmregen node restore -a' "
		    "takes the backup", n->place[OLD].path);
		return NOT_DONE;
	}
	if (begun) {
		if (exchange_begin(n, "back") == -1 || stop_or_accept(n) == -1)
			return stands(n);
	} else if (!journal_at(n, "back") && journal_add(n, "back", "") == -1)
		return journal_at(n, "back") ? stands(n) : NOT_DONE;
	old = there(n, OLD);
	if (old == -1 || discard(n, NEXT) == -1 || (old == 1 &&
	    (discard(n, SSL) == -1 || move(n, OLD, SSL) == -1)))
		return stands(n);
	if (begun && (catalog_remove(n) == -1 || serve(n) == -1))
		return stands(n);
	return restore_end(n);
}

/* restore in restoring and restored. */
static int
restore_on(struct node *n)
{
	return exchange_begin(n, "restore") == -1 || stop_or_accept(n) == -1 ||
	    exchange(n) == -1 ? stands(n) : restore_end(n);
}

/*
 * A backup that root made by `cp -r' is root's, and the service could not read
 * its key.
 */
static int
owner_check(const struct node *n)
{
	const struct place *const b = &n->place[BACKUP];
	const struct place *const ssl = &n->place[SSL];
	struct stat is, be;

	if (fstatat(b->at, b->name, &is, AT_SYMLINK_NOFOLLOW) == -1)
		return complain("look at %s", b->path);
	if (fstatat(ssl->at, ssl->name, &be, AT_SYMLINK_NOFOLLOW) == -1) {
		if (is.st_uid == 0)
			owner_note(b->path);
		return 0;
	}
	if ((be.st_uid == is.st_uid && be.st_gid == is.st_gid) ||
	    be.st_uid == 0)
		return 0;
	return complainx("the backup %s does not have the owner of %s, who "
	    "could then not read the key: type chown -Rh %d:%d %s, then run "
	    "this again", b->path, ssl->path, (int)be.st_uid, (int)be.st_gid,
	    word(b->path));
}

/*
 * Whether the backup can take the place of ssl, and whether that is needed:
 * 1; 0 where ssl is equal to it; or -1.
 */
static int
restore_check(const struct node *n)
{
	const char *const backup = n->place[BACKUP].path;
	char difference[DIFFERENCE_SIZE];
	int rc, fits;

	rc = there(n, BACKUP);
	if (rc != 1)
		return rc == -1 ? -1 : complainx("nothing is under way, and "
		    "there is no backup %s: name it with -b%s", backup,
		    n->o->root == NULL ? "" : " (the ssldir with -s)");
	rc = pair_fits(n, BACKUP);
	if (rc != 1)
		return rc == -1 ? -1 : complainx("%s holds no key with its "
		    "certificate: name the right backup with -b", backup);
	if (owner_check(n) == -1)
		return -1;
	rc = there(n, SSL);
	if (rc != 1)
		return rc == -1 ? -1 : 1;
	rc = backup_differs(n, difference);
	if (rc != 1 || key_same(n, SSL, BACKUP) == 1)
		return rc;
	fits = pair_fits(n, SSL);
	if (fits != 1)
		return fits == 0 || past(n) == 0 ? 1 : complainx("what %s has "
		    "could not be read: to give it up all the same, -a",
		    n->place[SSL].path);
	return n->o->accept ? 1 : complainx("%s (%s) has another key than the "
	    "backup %s (%s), whose certificate is most likely revoked: to give"
	    " up the one in use all the same, -a", n->place[SSL].path,
	    serial(n, SSL), backup, serial(n, BACKUP));
}

/* Makes next a copy of the backup. */
static int
restore_copy(struct node *n)
{
	busy("copying %s to %s", n->place[BACKUP].path, n->place[NEXT].path);
	return place_free(n, MAKE, "make") == -1 ||
	    copy(n, BACKUP, MAKE) == -1 ? -1 : move(n, MAKE, NEXT);
}

/* ssl is as the backup: what is enabled is started, and that is all. */
static int
restore_none(struct node *n)
{
	int bad;

	tell(n->o, "%s is as the backup %s already", n->place[SSL].path,
	    n->place[BACKUP].path);
	bad = n->o->root == NULL ? services_prove(n, 0) : 0;
	return bad != 0 && !n->o->accept ? PART_WAY : DONE;
}

/* restore in idle. */
static int
restore_idle(struct node *n)
{
	int rc;

	rc = restore_check(n);
	if (rc != 1)
		return rc == -1 ? NOT_DONE : restore_none(n);
	if (restore_copy(n) == -1 ||
	    (n->o->root == NULL && journal_add(n, "backup",
	    n->place[BACKUP].path) == -1) ||
	    exchange_begin(n, "restore") == -1 || stop(n) == -1)
		return stop_undo(n);
	if (n->o->dry && there(n, NEXT) == 0)
		(void)swap(n);		/* of a next that is not there yet */
	return exchange(n) == -1 ? stands(n) : restore_end(n);
}

/*
 * What the other states have for a command.
 */

/* finish in idle. */
static int
finish_idle(struct node *n)
{
	(void)complainx("nothing is under way; in use is %s: %s",
	    n->place[SSL].path, serial(n, SSL));
	note("a regeneration begins with 'cmregen node prepare -n' here, "
	    "'cmregen mom clean %s' on the MoM, then 'cmregen node prepare'",
	    n->told.certname);
	return NOT_DONE;
}

/* Another command has begun, and only that goes on. */
static int
other_first(struct node *n)
{
	const char *last;

	last = line_last(n->journal.text);
	if (line_is(last, "finish") || line_is(last, "run"))
		(void)complainx("a 'cmregen node finish' has begun: run that "
		    "again, or go back with 'cmregen node restore'");
	else
		(void)complainx("a 'cmregen node restore' has begun: run that "
		    "again");
	return NOT_DONE;
}

/* Only the end was left to do. */
static int
done_already(struct node *n)
{
	tell(n->o, "%s: %s; all was done, and what was left is removed",
	    n->place[SSL].path, serial(n, SSL));
	return DONE;
}

/*
 * What each command does in each state.  In ALL_DONE that is the end; where
 * another command comes it then does what it does in idle.
 */
enum { PREPARE, FINISH, RESTORE, COMMANDS };

static int (*const cell[STATES][COMMANDS])(struct node *) = {
	/*		 prepare	finish		restore */
	[IDLE]		= { stage,	finish_idle,	restore_idle },
	[STAGED]	= { stage_again, finish_staged,	go_back },
	[EXCHANGING]	= { other_first, finish_on,	go_back },
	[EXCHANGED]	= { other_first, finish_on,	go_back },
	[UNPROVEN]	= { other_first, prove,		go_back },
	[RESTORING]	= { other_first, other_first,	restore_on },
	[RESTORED]	= { other_first, other_first,	restore_on },
	[GOING_BACK]	= { other_first, other_first,	go_back },
	[ALL_DONE]	= { NULL,	done_already,	done_already },
	[FOREIGN]	= { foreign,	foreign,	foreign }
};

/* Whether it is this command that was done, and has come again. */
static int
was_done(const struct node *n, int command)
{
	const int back = journal_has(n, "back");

	return (n->o->backup == NULL || back) && command ==
	    (back || journal_has(n, "restore") ? RESTORE : FINISH);
}

/*
 * Opens the node; where only the end is left, does that, and looks again,
 * unless that was all to do: then the state is still ALL_DONE.  Returns an
 * exit status: DONE where the state is known.
 */
static int
command_open(struct node *n, const struct options *o, int command,
    enum state *state)
{
	int (*enter)(struct node *) = o->dry ? work_look : work_take;
	int again, rc;

	for (;;) {
		node_clear(n, o);
		rc = o->root != NULL ? root_open(n, enter) :
		    node_open(n, enter);
		if (rc == -1 || state_look(n, state) == -1)
			return NOT_DONE;
		if (*state != ALL_DONE)
			return DONE;
		again = was_done(n, command);
		rc = conclude(n);
		if (rc != DONE || again)
			return rc;
		node_close(n);
		if (o->dry)
			enter = work_none;
	}
}

static int
command_run(const struct options *o, int command)
{
	struct node *const n = &node;
	enum state state;
	int rc;

	rc = command_open(n, o, command, &state);
	/* stage takes its name first, then removes */
	if (rc == DONE && ((state == IDLE && discard(n, NEXT) == -1) ||
	    (state != FOREIGN && state != ALL_DONE &&
	    cell[state][command] != stage && rubbish_remove(n) == -1)))
		rc = NOT_DONE;
	if (rc == DONE)
		rc = cell[state][command](n);
	quiet();
	node_close(n);
	return rc;
}

int
node_prepare(const struct options *o)
{
	return command_run(o, PREPARE);
}

int
node_finish(const struct options *o)
{
	return command_run(o, FINISH);
}

int
node_restore(const struct options *o)
{
	return command_run(o, RESTORE);
}

/*
 * node status.
 */

static const char *const what_of[STATES] = {
	"nothing is under way",
	"prepare is done; finish remains",
	"finish: the new certificate is not in place yet, services may be "
	    "stopped",
	"finish: the new certificate is in place, not all services may have "
	    "it",
	"finish: the new certificate is in place; the Puppet run, and that "
	    "all services run, remain",
	"restore: the backup is copied, services may be stopped",
	"restore: the backup is in place, not all services may have it",
	"restore: takes back what prepare and finish did",
	"all is done but for the removal of what is left",
	"the work directory is not as cmregen leaves it"
};

int
node_status(const struct options *o)
{
	struct node *const n = &node;
	enum state state;
	struct pem paper;
	int rc;

	rc = NOT_DONE;
	node_clear(n, o);
	if (node_open(n, work_look) == 0 && state_look(n, &state) == 0) {
		rc = state == IDLE ? DONE : PART_WAY;
		say("%s: %s", n->told.certname, serial(n, SSL));
		if (rc == DONE || state == FOREIGN)
			say("%s", what_of[state]);
		else
			say("since %s: %s", time_of(n, "journal"),
			    what_of[state]);
		say("backup: %s: %s", n->place[BACKUP].path, there(n, BACKUP)
		    == 1 ? serial(n, BACKUP) : "is not there");
		if (state == FOREIGN)
			(void)foreign(n);
		else if (state == STAGED && paper_load(n, NEXT, &paper) == 1)
			hand_off(n, &paper);
		else
			next_show(n);
	}
	quiet();
	node_close(n);
	return rc;
}
