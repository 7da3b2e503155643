/*
 * node.c: what is done on the compile master: node prepare and node finish,
 * steps 3-8 and 11-12 of the documented procedure, and node restore, the way
 * back.  Read the tables of steps first, in prepare, late_finish and restore;
 * the rest is what they are made of.
 *
 * A directory gets its meaning by a rename, so that the names tell what a
 * command that broke off has done.  Beside the ssldir, which is ssl here:
 *
 *     ssl.cmregen-old    ssl, set aside by prepare, or finish after prepare -l
 *     ssl.cmregen-next   the new key and request of prepare -l, not in use yet
 *     ssl.cmregen-state  puppet's own, while it works on next
 *     ssl.cmregen-new    a copy of the backup, which restore puts in its place
 *     ssl.cmregen-bad    ssl, set aside by restore
 *     ssl.cmregen-del    what is being removed, or goes when all is done
 *     .cmregen.lock      held while a node command runs; its lines tell a run
 *                        after a crash which services ran before it
 *
 * and beside the backup, ssl_bak or -b:
 *
 *     ssl_bak.cmregen-part  a copy that is not finished, never trusted
 *     ssl_bak.cmregen-del   a backup that a newer one has replaced
 *
 * A step has an act, an undo, and a show that prints for -n what act does.
 * The acts are called in order.  Where one fails, or a signal asks us to stop,
 * every undo is called, the last first, also of a step that an earlier run has
 * done, or none: an undo looks at what is there.  Then all is as it was, and
 * the status 1.  The last step cleans up; where that fails the status is 3.
 *
 * Run again, a command goes on where it broke off: begin decides it for
 * prepare, late_begin for finish after prepare -l, restore_source and restored
 * for restore.  Whether ssl has still the key of the backup, or another one,
 * tells whether it is to be replaced or has been.
 *
 * A set of services is an int, with a bit for each of service_name.  What
 * puppet reports tells whether one runs, never an exit status.
 */
#include <sys/stat.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "cmregen.h"

#define LOCK ".cmregen.lock"

enum {
	SERVICES = 5,
	ALL = (1 << SERVICES) - 1,
	PUPPET = 1 << 0,		/* a bit for each service */
	SERVERS = 1 << 1 | 1 << 2,
	OTHERS = 1 << 3 | 1 << 4,
	TICK = 100,			/* milliseconds between two looks */
	RETRY = 5000,			/* between two agent runs */
	MOMENT = 3000,			/* one that dies at once is dead */
	PREPARE_WAIT = 120,		/* seconds, where -w is not given */
	FINISH_WAIT = 300,
	JUDGED = 2			/* seconds from fetched to judged */
};

static const char *const service_name[SERVICES] = {
	"puppet", "pe-puppetserver", "puppetserver", "mcollective",
	"pxp-agent"
};

/*
 * What is neither copied nor compared: a file that each agent run makes and
 * removes.  The second list is for one comparison, whether all else is equal.
 */
static const char *const volatile_name[] = { "ssl.lock", NULL };
static const char *const crl_name[] = { "ssl.lock", "crl.pem", NULL };

struct service {
	struct child child;		/* the call that is under way */
	const char *argv[7];
	int called;			/* there is such a call */
	int running, enabled;		/* as puppet last reported */
	int changed;			/* and that it changed this */
};

enum begin {			/* where prepare begins: */
	COPY,			/* with the backup */
	STOP,			/* it is there: with stopping the services */
	EMPTY,			/* ssl is aside already */
	START,			/* and puppet may have made another */
	DISCARD,		/* which is of no use */
	REFUSE			/* nowhere: a person has to look */
};

struct node {
	const struct options *o;
	long wait;			/* seconds */
	/* settings */
	char certname[PATH_SIZE], ssldir[PATH_SIZE], requestdir[PATH_SIZE];
	char hostcert[PATH_SIZE], hostprivkey[PATH_SIZE], cadir[PATH_SIZE];
	char client_datadir[PATH_SIZE], ca_server[PATH_SIZE];
	char run_lock[PATH_SIZE], ssl_lock[PATH_SIZE], disabled[PATH_SIZE];
	/* names below the ssldir */
	const char *key, *cert;
	char request[PATH_SIZE];
	/* the directory of the ssldir, and names in it */
	int at;
	char ssl[NAME_SIZE], old[NAME_SIZE], del[NAME_SIZE], new[NAME_SIZE];
	char bad[NAME_SIZE], next[NAME_SIZE], state[NAME_SIZE];
	/* the directory of the backup, and names in it */
	int bat;
	char path[PATH_SIZE], copy[NAME_SIZE], part[NAME_SIZE];
	char stale[NAME_SIZE];
	struct lock lock;
	struct service service[SERVICES];
	/* sets of services */
	int known;			/* whether they ran is on record */
	int ran;			/* and they did: undo starts them */
	int lost;			/* their answer to a stop is unknown */
	int started;			/* undo stops them */
	int late;			/* they may fail to start, for now */
	int down;			/* they did */
	int dead;			/* undo could not start them */
	int resumed;			/* a run before this one broke off */
	int exchanging;			/* and it was a finish after -l */
	int giving_up;			/* or a restore of that */
	enum begin begin;
	int made;			/* the backup is of this run */
	int replace;			/* one that is there may be replaced */
	const char *aside;		/* where the original ssl goes */
	int away;			/* it is there */
	const char *fresh;		/* what takes its place, or NULL */
	int swapped;			/* it has */
	int served;			/* services were told of it */
	int unclean;			/* mom clean has to come first */
	int absent;			/* there was no ssl */
	const char *unfit;		/* why nobody can use this ssl */
	int signed_already;		/* autosigning */
	char fingerprint[FINGERPRINT_SIZE];
};

struct step {
	int (*act)(struct node *);
	int (*undo)(struct node *);	/* safe also where act did nothing */
	void (*show)(struct node *);
};

static struct node node;
static char text[TEXT_SIZE], other[TEXT_SIZE], line[LINE_SIZE];

/*
 * Services.
 */

static const char *
value_of(const char *p, const char *name)
{
	p += strspn(p, " ");
	if (strncmp(p, name, strlen(name)) != 0)
		return NULL;
	p += strlen(name);
	p += strspn(p, " ");
	return strncmp(p, "=> '", 4) == 0 ? p + 4 : NULL;
}

/*
 * Takes one line of `puppet resource service`: the block tells the state, the
 * notice before it what has changed.  Returns 1 where it told the state.
 */
static int
service_line(struct service *s, const char *p)
{
	const char *value;

	if (strstr(p, "/ensure: ensure changed '") != NULL)
		s->changed = 1;
	value = value_of(p, "enable");
	if (value != NULL)
		s->enabled = strncmp(value, "true'", 5) == 0;
	value = value_of(p, "ensure");
	if (value == NULL)
		return 0;
	s->running = strncmp(value, "running'", 8) == 0;
	return 1;
}

static int
service_call(struct node *n, int i, const char *ensure)
{
	struct service *const s = &n->service[i];

	s->argv[0] = n->o->puppet;
	s->argv[1] = "resource";
	s->argv[2] = "service";
	s->argv[3] = service_name[i];
	s->argv[4] = "--color=false";
	s->argv[5] = ensure;
	s->argv[6] = NULL;
	s->called = 1;
	return child_start(&s->child, s->argv);
}

/* Reads what a call has answered.  Returns 0, or -1 where it is no answer. */
static int
service_read(struct node *n, int i)
{
	struct service *const s = &n->service[i];
	int rc, told;

	told = 0;
	s->changed = s->enabled = s->running = 0;
	while ((rc = child_line(&s->child, line, sizeof line)) == 1)
		told |= service_line(s, line);
	if (rc == 0 && (!told || child_status(&s->child) != 0)) {
		rc = complainx("puppet did not tell the state of the service "
		    "%s", service_name[i]);
		child_show(&s->child);
	} else if (n->o->verbose)
		child_show(&s->child);
	return rc;
}

/*
 * The answer to a stop is on disk before anything is built on it.  Of a
 * service that is down after a run that broke off, or whose answer was lost,
 * nobody knows who stopped it.
 */
static int
service_record(struct node *n, int i, int bad)
{
	const int bit = 1 << i, stopped = n->service[i].changed;
	char record[NAME_SIZE];

	if (bad)
		n->lost |= bit;
	if (stopped ? n->known & n->ran & bit : n->resumed ||
	    ((n->known | n->lost) & bit))
		return 0;
	n->known |= bit;
	if (stopped)
		n->ran |= bit;
	(void)format(record, sizeof record, "%s %s", service_name[i],
	    stopped ? "running" : "stopped");
	return lock_add(&n->lock, record);
}

/*
 * Ends the call of a service if it has ended.  Returns 1 where it has, 0 where
 * it goes on; *bad gets the services that did not answer, or not as wanted.
 */
static int
service_take(struct node *n, int i, const char *ensure, int *bad)
{
	struct service *const s = &n->service[i];

	if (!s->called || !child_ended(&s->child))
		return 0;
	s->called = 0;
	if (s->child.out == -1 || service_read(n, i) == -1)
		*bad |= 1 << i;
	else if (ensure != NULL &&
	    s->running != (strcmp(ensure, "ensure=running") == 0)) {
		*bad |= 1 << i;
		if ((n->late & 1 << i) == 0) {
			(void)complainx("the service %s is %s, not %s",
			    service_name[i], s->running ? "running" :
			    "stopped", s->running ? "stopped" : "running");
			child_show(&s->child);
		}
	} else if (s->running && !s->changed)
		n->started &= ~(1 << i);	/* it ran before */
	child_close(&s->child);
	return 1;
}

/*
 * Has the state of these services asked or changed, all at the same time, and
 * waits for the answers, whatever happens; each is recorded as it comes, where
 * a function for that is given.  Returns those that are not as they should be.
 */
static int
services_each(struct node *n, int set, const char *ensure,
    int (*record)(struct node *, int, int))
{
	int i, left, bad;

	bad = 0;
	for (i = 0; i < SERVICES; i++)
		if (set & 1 << i)
			(void)service_call(n, i, ensure);
	for (left = set; left != 0; ) {
		for (i = 0; i < SERVICES; i++) {
			if (!(left & 1 << i) ||
			    !service_take(n, i, ensure, &bad))
				continue;
			left &= ~(1 << i);
			if (record != NULL && record(n, i, bad & 1 << i) == -1)
				bad |= 1 << i;
		}
		if (left != 0)
			nap(1000);
	}
	return bad;
}

static int
services(struct node *n, int set, const char *ensure)
{
	return services_each(n, set, ensure, NULL);
}

static const char *
service_names(int set)
{
	static char names[NAME_SIZE];
	int i;

	names[0] = '\0';
	for (i = 0; i < SERVICES; i++)
		if (set & 1 << i)
			(void)format(names + strlen(names), sizeof names -
			    strlen(names), "%s%s", names[0] == '\0' ? "" :
			    ", ", service_name[i]);
	return names;
}

/*
 * Starts services.  A server may still be starting in vain, without the
 * certificate that is there only now: puppet takes it for stopped, does not
 * stop it, and its start joins that one and fails with it.  Then it is started
 * once more.  Returns those that do not run.
 */
static int
services_start(struct node *n, int set)
{
	const int late = n->late;
	int bad, again;

	busy("starting %s", service_names(set));
	n->late |= set & SERVERS;
	bad = services(n, set, "ensure=running");
	n->late = late;
	again = bad & SERVERS;
	if (again == 0)
		return bad;
	busy("starting %s once more", service_names(again));
	return (bad & ~SERVERS) | services(n, again, "ensure=running");
}

/*
 * A path, and what its name ends with, as a runbook has it: one word for the
 * shell.  Two of them can be in use.
 */
static const char *
word(const char *path, const char *tail)
{
	static char words[2][4 * PATH_SIZE + 3];
	static int last;
	char whole[PATH_SIZE];

	last = !last;
	(void)format(whole, sizeof whole, "%s%s", path, tail);
	return quote(words[last], sizeof words[last], whole);
}

static void
services_show(struct node *n, int set, const char *ensure)
{
	int i;

	for (i = 0; i < SERVICES; i++)
		if (set & 1 << i)
			say("%s resource service %s %s",
			    word(n->o->puppet, ""), service_name[i], ensure);
}

/*
 * Waits for Puppet runs to end.
 */

/* The process that holds a lock file of Puppet, or 0. */
static pid_t
lock_holder(const char *path)
{
	long pid;

	if (path[0] == '\0' || path_read(path, text, sizeof text) < 1)
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

	for (since = seconds(); ; nap(TICK)) {
		file = n->run_lock;
		pid = lock_holder(file);
		if (pid == 0) {
			file = n->ssl_lock;
			pid = lock_holder(file);
		}
		if (pid == 0)
			return 0;
		if (interrupted())
			return complainx("interrupted while it waited for a "
			    "Puppet run to end");
		if (seconds() - since >= n->wait)
			return complainx("a Puppet run did not end: PID %d "
			    "holds %s; if it is not Puppet, remove %s; else "
			    "run this again when it has ended", (int)pid,
			    file, file);
		busy("waiting for the Puppet run of PID %d to end", (int)pid);
	}
}

/*
 * Opening: settings, names, and the checks before anything changes.
 */

static int
settings(struct node *n)
{
	const struct setting s[] = {
		{ "certname", n->certname }, { "ssldir", n->ssldir },
		{ "requestdir", n->requestdir }, { "hostcert", n->hostcert },
		{ "hostprivkey", n->hostprivkey }, { "cadir", n->cadir },
		{ "client_datadir", n->client_datadir },
		{ "ca_server", n->ca_server },
		{ "agent_catalog_run_lockfile", n->run_lock },
		{ "agent_disabled_lockfile", n->disabled },
		{ "ssl_lockfile", n->ssl_lock }
	};

	if (settings_ask(n->o, "agent", s, sizeof s / sizeof s[0]) == -1)
		return -1;
	if (!certname_ok(n->certname))
		return complainx("puppet's setting certname is '%s', which "
		    "cmregen does not take: a to z, 0 to 9, '.', '_' and '-' "
		    "only", n->certname);
	if (n->ssldir[0] != '/')
		return complainx("puppet's setting ssldir is '%s', which is "
		    "no absolute path", n->ssldir);
	return 0;
}

/* What of a path stands below the ssldir, or NULL. */
static const char *
below(const struct node *n, const char *path)
{
	size_t len;

	len = strlen(n->ssldir);
	if (strncmp(path, n->ssldir, len) != 0 || path[len] != '/')
		return NULL;
	return path + len + 1;
}

static int
names_below(struct node *n)
{
	const char *dir;

	n->key = below(n, n->hostprivkey);
	n->cert = below(n, n->hostcert);
	dir = below(n, n->requestdir);
	if (n->key == NULL || n->cert == NULL || dir == NULL)
		return complainx("hostprivkey, hostcert and requestdir must "
		    "be below the ssldir %s: cmregen does not know other "
		    "layouts", n->ssldir);
	return format(n->request, sizeof n->request, "%s/%s.pem", dir,
	    n->certname) == -1 ? complainx("requestdir is too long") : 0;
}

/* The names beside the ssldir, and beside the backup. */
static int
names_beside(struct node *n)
{
	const struct {
		char *name;
		const char *base, *tail;
	} name[] = {
		{ n->old, n->ssl, ".cmregen-old" },
		{ n->del, n->ssl, ".cmregen-del" },
		{ n->new, n->ssl, ".cmregen-new" },
		{ n->bad, n->ssl, ".cmregen-bad" },
		{ n->next, n->ssl, ".cmregen-next" },
		{ n->state, n->ssl, ".cmregen-state" },
		{ n->part, n->copy, ".cmregen-part" },
		{ n->stale, n->copy, ".cmregen-del" }
	};
	size_t i;

	if (strstr(n->copy, ".cmregen-") != NULL)
		return complainx("%s: that name is cmregen's own: choose "
		    "another for -b", n->path);
	for (i = 0; i < sizeof name / sizeof name[0]; i++)
		if (format(name[i].name, NAME_SIZE, "%s%s", name[i].base,
		    name[i].tail) == -1)
			return complainx("%s: the name is too long",
			    name[i].base);
	return 0;
}

/*
 * Whether the directory is the one in question, or is inside it: 1, 0 or -1.
 */
static int
inside(int at, const struct stat *what)
{
	struct stat st, last;
	int fd, up, rc;

	fd = dir_open(at, ".");
	if (fd == -1 || fstat(fd, &st) == -1)
		rc = -1;
	else
		rc = 0;
	while (rc == 0) {
		if (st.st_dev == what->st_dev && st.st_ino == what->st_ino) {
			rc = 1;
			break;
		}
		last = st;
		up = dir_open(fd, "..");
		(void)close(fd);		/* only read */
		fd = up;
		if (fd == -1 || fstat(fd, &st) == -1)
			rc = -1;
		else if (st.st_dev == last.st_dev && st.st_ino == last.st_ino)
			break;			/* root is its own parent */
	}
	if (fd != -1)
		(void)close(fd);		/* only read */
	return rc == -1 ? complain("look at the directories above") : rc;
}

/*
 * The ssldir must be a directory that can be renamed: of a link or a mount
 * point only the outside would be.
 */
static int
ssl_check(const struct node *n, struct stat *ssl)
{
	struct stat up;
	ssize_t len;

	if (fstatat(n->at, n->ssl, ssl, AT_SYMLINK_NOFOLLOW) == -1) {
		if (errno != ENOENT)
			return complain("look at %s", n->ssldir);
		return 0;
	}
	if (S_ISLNK(ssl->st_mode)) {
		len = readlinkat(n->at, n->ssl, text, sizeof text - 1);
		if (len == -1)
			return complain("read the link %s", n->ssldir);
		text[len] = '\0';
		return complainx("%s is a symbolic link: let ssldir in "
		    "puppet.conf name %s instead", n->ssldir, text);
	}
	if (!S_ISDIR(ssl->st_mode))
		return complainx("%s is not a directory", n->ssldir);
	if (fstat(n->at, &up) == -1)
		return complain("look at the directory of %s", n->ssldir);
	if (up.st_dev != ssl->st_dev)
		return complainx("%s is a mount point: let ssldir in "
		    "puppet.conf name a directory inside it", n->ssldir);
	return 1;
}

static int
backup_check(const struct node *n, const struct stat *ssl, int there)
{
	struct stat b, up, bup;
	int rc;

	if (fstat(n->at, &up) == -1 || fstat(n->bat, &bup) == -1)
		return complain("look at the directory of %s", n->path);
	if (strcmp(n->copy, n->ssl) == 0 && up.st_dev == bup.st_dev &&
	    up.st_ino == bup.st_ino)
		return complainx("%s is the ssldir itself: choose another "
		    "for -b", n->path);
	rc = there ? inside(n->bat, ssl) : 0;
	if (rc == 1)
		return complainx("%s is inside the ssldir: choose another for "
		    "-b", n->path);
	if (rc == -1)
		return -1;
	if (fstatat(n->bat, n->copy, &b, AT_SYMLINK_NOFOLLOW) == -1)
		return errno == ENOENT ? 0 : complain("look at %s", n->path);
	if (!S_ISDIR(b.st_mode))
		return complainx("%s exists and is not a directory: move it "
		    "away, or choose another for -b", n->path);
	rc = inside(n->at, &b);
	if (rc == 1)
		return complainx("%s holds the ssldir: choose another for -b",
		    n->path);
	return rc;
}

static int
ca_check(const char *dir, const char *tail)
{
	char path[PATH_SIZE];
	struct stat st;

	if (format(path, sizeof path, "%s%s/ca_key.pem", dir, tail) == -1)
		return complainx("%s: too long", dir);
	if (stat(path, &st) == 0)
		return complainx("a CA is on this host (%s), which makes it "
		    "the MoM: node commands are for compile masters; only if "
		    "it is surely not the MoM, that CA was made by mistake: "
		    "move %s%s away", path, dir, tail);
	if (errno == ENOENT || errno == ENOTDIR)
		return 0;
	return complain("look at %s", path);
}

static int
backup_open(struct node *n)
{
	if (n->o->backup == NULL) {
		n->bat = n->at;
		if (format(n->path, sizeof n->path, "%s_bak", n->ssldir) == 0
		    && format(n->copy, sizeof n->copy, "%s_bak", n->ssl) == 0)
			return 0;
		return complainx("%s: the name is too long", n->ssldir);
	}
	(void)format(n->path, sizeof n->path, "%s", n->o->backup);
	n->bat = path_open(n->path, n->copy);
	if (n->bat == -1)
		note("the directory that -b is in must exist: is it mounted?");
	return n->bat == -1 ? -1 : 0;
}

static int
node_open(struct node *n, const struct options *o, long wait)
{
	struct stat ssl;
	size_t len;
	int there;

	memset(n, 0, sizeof *n);
	n->o = o;
	n->wait = o->wait == -1 ? wait : o->wait;
	n->at = n->bat = n->lock.fd = -1;
	n->aside = n->old;
	if (settings(n) == -1)
		return -1;
	len = strlen(n->ssldir);
	while (len > 1 && n->ssldir[len - 1] == '/')
		n->ssldir[--len] = '\0';
	if (names_below(n) == -1 || ca_check(n->cadir, "") == -1 ||
	    ca_check(n->ssldir, "/ca") == -1)
		return -1;
	n->at = path_open(n->ssldir, n->ssl);
	if (n->at == -1 || backup_open(n) == -1 || names_beside(n) == -1)
		return -1;
	there = ssl_check(n, &ssl);
	if (there == -1 || backup_check(n, &ssl, there) == -1)
		return -1;
	n->absent = !there;
	return 0;
}

static void
node_close(struct node *n)
{
	lock_drop(&n->lock);
	if (n->bat != n->at && n->bat != -1)
		(void)close(n->bat);	/* a directory: nothing to lose */
	if (n->at != -1)
		(void)close(n->at);	/* likewise */
}

/*
 * Puppet that is disabled makes no request, and runs no catalog.  The file has
 * the reason: {"disabled_message":"REASON"}.
 */
static int
disabled_check(const struct node *n)
{
	static const char reason[] = "\"disabled_message\":\"";
	char *p, *end;
	ssize_t len;

	if (n->disabled[0] == '\0')
		return 0;
	len = path_read(n->disabled, text, sizeof text);
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
	    "run, type: %s agent --enable", p == NULL ? n->disabled : p,
	    word(n->o->puppet, ""));
}

/*
 * What a run that broke off has written into the lock file: the services that
 * it has stopped were running, whatever they answer now.
 */
static void
records_take(struct node *n)
{
	const char *p;
	size_t len;
	int i;

	n->resumed = text[0] != '\0';
	n->exchanging = strstr(text, "exchanging\n") != NULL;
	n->giving_up = strstr(text, "giving up\n") != NULL;
	for (p = text; p != NULL; p = strchr(p, '\n')) {
		p += *p == '\n';
		for (i = 0; i < SERVICES; i++) {
			len = strlen(service_name[i]);
			if (strncmp(p, service_name[i], len) != 0)
				continue;
			if (strncmp(p + len, " running\n", 9) == 0)
				n->ran |= 1 << i;
			else if (strncmp(p + len, " stopped\n", 9) != 0)
				continue;
			n->known |= 1 << i;
		}
	}
}

static int
lock(struct node *n)
{
	int rc;

	if (!n->o->dry) {
		if (lock_take(&n->lock, n->at, LOCK) == -1 ||
		    lock_lines(&n->lock, text, sizeof text) == -1)
			return -1;
		records_take(n);
		return 0;
	}
	rc = lock_ask(n->at, LOCK);
	if (rc == 1)
		return complainx("another cmregen is running on this host");
	if (rc == 0 && file_read(n->at, LOCK, text, sizeof text) > 0)
		records_take(n);
	return rc;
}

/*
 * Where to begin.
 */

enum same { NONE, SAME, OTHER };	/* as another; NONE: not there */

/* Reads a file below a name.  Returns its bytes, or -1 with errno. */
static ssize_t
read_below(int at, const char *dir, const char *file, char bytes[TEXT_SIZE])
{
	char path[PATH_SIZE];

	if (format(path, sizeof path, "%s/%s", dir, file) == 0)
		return file_read(at, path, bytes, TEXT_SIZE);
	errno = ENAMETOOLONG;
	return -1;
}

/* How a file below one name compares with that below another, or -1. */
static int
alike(int at, const char *dir, int bat, const char *copy, const char *file)
{
	ssize_t a, b;

	a = read_below(at, dir, file, text);
	if (a == -1 && errno == ENOENT)
		return NONE;
	if (a == -1)
		return complain("read %s/%s", dir, file);
	b = read_below(bat, copy, file, other);
	if (b == -1 && errno == ENOENT)
		return OTHER;
	if (b == -1)
		return complain("read %s/%s", copy, file);
	return a == b && memcmp(text, other, (size_t)a) == 0 ? SAME : OTHER;
}

/* How a file below the ssldir compares with that of the backup. */
static int
same(const struct node *n, const char *file)
{
	return alike(n->at, n->ssl, n->bat, n->copy, file);
}

/*
 * Reads a PEM file below ssl, or next, and takes its fingerprint.  Returns 1;
 * 0 where there is none, or it is not complete yet; or -1.
 */
static int
pem_look(struct node *n, const char *dir, const char *file, const char *label)
{
	if (read_below(n->at, dir, file, text) == -1)
		return errno == ENOENT ? 0 : complain("read %s/%s", dir, file);
	return pem_fingerprint(text, label, n->fingerprint) == 0;
}

/* Whether ssl, or what is to be its backup, at least has private_keys. */
static int
ssl_like(const struct node *n, int at, const char *name)
{
	char path[PATH_SIZE];
	int fd;

	if (format(path, sizeof path, "%s/%s", name, n->key) == -1)
		return 0;
	path[strlen(path) - strlen(strrchr(path, '/'))] = '\0';
	fd = file_open(at, path);
	if (fd != -1)
		(void)close(fd);	/* only read */
	return fd != -1;
}

/*
 * Whether a certificate or request below a directory is of another key than
 * the one there, or no key is there: 1; 0, also where that cannot be told, or
 * where it is not there itself; or -1.
 */
static int
pem_foreign(struct node *n, const char *dir, const char *file,
    const char *label)
{
	int rc;

	rc = pem_look(n, dir, file, label);
	if (rc != 1)
		return rc;
	if (read_below(n->at, dir, n->key, other) == -1)
		return errno == ENOENT ? 1 : complain("read the key in %s",
		    dir);
	return pem_of_key(other, text, label) == 0;
}

/*
 * Nobody can use an ssl that the agent made with a certificate that is not of
 * its key, or a request that is not: the first where the MoM was not cleaned,
 * the second where somebody else had submitted one of this name.
 */
static int
ssl_unfit(struct node *n, int key, int cert)
{
	int rc;

	if (key != SAME && cert == SAME) {
		n->unfit = "its certificate was not cleaned on the MoM, and "
		    "is there without its key";
		return 1;
	}
	if (key == SAME)
		return 0;
	rc = cert == NONE ? pem_foreign(n, n->ssl, n->request,
	    "CERTIFICATE REQUEST") : pem_foreign(n, n->ssl, n->cert,
	    "CERTIFICATE");
	if (rc == 1)
		n->unfit = cert == NONE ? "its request is not of its key" :
		    "its certificate is not of its key";
	return rc;
}

/* What was set aside may go only where the backup has its key. */
static int
old_backed(struct node *n)
{
	int rc;

	rc = name_exists(n->bat, n->copy);
	if (rc == 1)
		rc = alike(n->at, n->old, n->bat, n->copy, n->key);
	else if (rc == 0)
		rc = OTHER;
	return rc != OTHER ? rc : complainx("%s is there, but %s is not its "
	    "backup: give the same -b as before", n->old, n->path);
}

/* The key is still that of the backup. */
static enum begin
begin_same(struct node *n, int cert)
{
	char difference[DIFFERENCE_SIZE], crl[DIFFERENCE_SIZE];
	int rc;

	rc = tree_compare(n->at, n->ssl, n->bat, n->copy, volatile_name,
	    difference);
	if (rc == 0)
		return STOP;
	if (rc == 1 && cert != OTHER)
		rc = tree_compare(n->at, n->ssl, n->bat, n->copy, crl_name,
		    crl);
	if (rc == 0) {
		note("only the CRL has changed since the backup %s was made: "
		    "it is made anew", n->path);
		n->replace = 1;
		return COPY;
	}
	if (rc == 1)
		(void)complainx("the backup %s has the present key, but %s: "
		    "move it away, or name another with -b", n->path,
		    difference);
	return REFUSE;
}

static enum begin
begin_new(struct node *n, int key, int cert)
{
	int unfit;

	unfit = ssl_unfit(n, key, cert);
	if (unfit == -1)
		return REFUSE;
	if (unfit) {
		n->aside = n->del;
		return DISCARD;
	}
	if (key == NONE || cert == NONE)
		return START;
	(void)complainx("the key and the certificate are newer than the "
	    "backup %s: if this regeneration is not finished, run `cmregen "
	    "node finish'; else move the backup away, or name another with -b",
	    n->path);
	return REFUSE;
}

/* An ssl set aside is there: a run broke off. */
static enum begin
begin_old(struct node *n, int copy, int key, int cert)
{
	int unfit;

	n->away = 1;
	if (!copy && n->absent)
		return COPY;
	if (old_backed(n) == -1)
		return REFUSE;
	if (n->absent)
		return EMPTY;
	if (key != SAME) {
		unfit = ssl_unfit(n, key, cert);
		return unfit == -1 ? REFUSE : unfit ? EMPTY : START;
	}
	(void)complainx("%s and %s both have the key of the backup %s: look "
	    "which is right, and move the other away", n->ssl, n->old,
	    n->path);
	return REFUSE;
}

/* What forbids to begin at all. */
static int
begin_check(struct node *n, int copy)
{
	int new, bad;

	new = name_exists(n->at, n->new);
	bad = name_exists(n->at, n->bad);
	if (new == -1 || bad == -1)
		return -1;
	if (new || bad)
		return complainx("a `cmregen node restore' broke off: run it "
		    "again");
	if (copy && !ssl_like(n, n->bat, n->copy))
		return complainx("%s exists, but has no %s: it is no backup "
		    "of ssl; choose another for -b", n->path, n->key);
	return 0;
}

/*
 * The first case that matches wins.  B is the backup.
 *
 *     a restore broke off, or B is no backup      refuse
 *     old: begin_old
 *     no ssl                                      B: empty; no B: refuse
 *     no B                                        copy
 *     the key of ssl is B's: begin_same           equal: stop; but for the
 *                                                 CRL: copy; else: refuse
 *     else: begin_new                             of no use: discard; half
 *                                                 made: start; else: refuse
 */
static enum begin
begin(struct node *n)
{
	int old, copy, key, cert;

	old = name_exists(n->at, n->old);
	copy = name_exists(n->bat, n->copy);
	if (old == -1 || copy == -1 || begin_check(n, copy) == -1)
		return REFUSE;
	key = cert = NONE;
	if (copy && !n->absent) {
		key = same(n, n->key);
		cert = same(n, n->cert);
	}
	if (key == -1 || cert == -1)
		return REFUSE;
	if (old)
		return begin_old(n, copy, key, cert);
	if (n->absent && copy)
		return EMPTY;
	if (n->absent) {
		(void)complainx("there is neither %s nor a backup %s: give "
		    "the same -b as before, or let Puppet make its key",
		    n->ssldir, n->path);
		return REFUSE;
	}
	if (!copy && !ssl_like(n, n->at, n->ssl)) {
		(void)complainx("%s has no %s, and so no key to make anew: "
		    "move it away, and let Puppet make its key", n->ssldir,
		    n->key);
		return REFUSE;
	}
	if (!copy && pem_look(n, n->ssl, n->cert, "CERTIFICATE") == 0)
		note("%s has no certificate: if `node prepare' was run with "
		    "-b before, break this off and give the same -b",
		    n->ssldir);
	if (!copy)
		return COPY;
	if (key == SAME)
		return begin_same(n, cert);
	return begin_new(n, key, cert);
}

/* A name beside ssl, as a runbook has it. */
static const char *
beside(const struct node *n, const char *name)
{
	return word(n->ssldir, name + strlen(n->ssl));
}

/*
 * Steps.  Removing starts with a rename to the name whose content nobody
 * needs, so that nothing half removed is ever taken for more.
 */

static int
discard(int at, const char *name, const char *del)
{
	int rc;

	rc = name_exists(at, name);
	if (rc == 1)
		rc = name_move(at, name, at, del);
	return rc == 0 ? tree_remove(at, del) : -1;
}

/* What a run that broke off has left, and nobody needs. */
static int
leftovers_remove(struct node *n)
{
	int rc;

	rc = tree_remove(n->bat, n->part);
	rc |= tree_remove(n->bat, n->stale);
	return rc | tree_remove(n->at, n->del);
}

static void
leftovers_show(struct node *n)
{
	if (name_exists(n->bat, n->part) == 1)
		say("rm -rf %s", word(n->path, ".cmregen-part"));
	if (name_exists(n->bat, n->stale) == 1)
		say("rm -rf %s", word(n->path, ".cmregen-del"));
	if (name_exists(n->at, n->del) == 1)
		say("rm -rf %s", beside(n, n->del));
}

/*
 * Step 2: the backup.  A stale one is kept until the end, so that undo can
 * bring it back; only where ssl changes a second time during one run there is
 * no name left for it, and the newer copy stays.
 */
static int
copy_act(struct node *n)
{
	int exists, twice;

	busy("copying %s to %s", n->ssldir, n->path);
	exists = name_exists(n->bat, n->copy);
	twice = name_exists(n->bat, n->stale);
	if (exists == -1 || twice == -1 || tree_copy(n->at, n->ssl, n->bat,
	    n->part, volatile_name) == -1 || tree_settle(n->at, n->ssl, n->bat,
	    n->part, volatile_name) == -1)
		return -1;
	if (exists && !n->replace && !n->made)
		return complainx("%s has appeared meanwhile", n->path);
	if (twice && tree_remove(n->bat, n->stale) == -1)
		return -1;
	if (exists && name_move(n->bat, n->copy, n->bat, n->stale) == -1)
		return -1;
	if (name_move(n->bat, n->part, n->bat, n->copy) == -1) {
		/* where only its fsync failed, the rename may stand */
		n->made |= !twice && name_exists(n->bat, n->copy) == 1;
		return -1;
	}
	if (exists && n->made && !twice)
		return tree_remove(n->bat, n->stale);
	n->made = !twice;
	return 0;
}

/*
 * Before a backup goes it is compared once more: should anything have written
 * into ssl, it may hold the only copy of the key.
 */
static int
copy_undo(struct node *n)
{
	char difference[DIFFERENCE_SIZE];
	int there, stale;

	if (tree_remove(n->bat, n->part) == -1)
		return -1;
	there = name_exists(n->bat, n->copy);
	stale = name_exists(n->bat, n->stale);
	if (there == -1 || stale == -1)
		return -1;
	if (there && n->made) {
		if (tree_compare(n->at, n->ssl, n->bat, n->copy, volatile_name,
		    difference) != 0)
			return complainx("the backup %s stays, since %s is no "
			    "longer like it", n->path, n->ssldir);
		if (name_move(n->bat, n->copy, n->bat, n->part) == -1)
			return -1;
		there = 0;
	}
	if (stale && !there && name_move(n->bat, n->stale, n->bat, n->copy) ==
	    -1)
		return -1;
	return tree_remove(n->bat, n->part);
}

static void
copy_show(struct node *n)
{
	if (n->replace)
		say("mv %s %s", word(n->path, ""),
		    word(n->path, ".cmregen-del"));
	say("cp -Rp %s %s", word(n->ssldir, ""), word(n->path, ""));
}

/* Step 3: services. */
static int
stop_some(struct node *n, int set)
{
	busy("stopping %s", service_names(set));
	return services_each(n, set, "ensure=stopped", service_record) == 0 ?
	    0 : -1;
}

/* A run in progress could start the others again: they stop after it. */
static int
stop_act(struct node *n)
{
	if (lock_add(&n->lock, "stopping") == -1 ||
	    stop_some(n, PUPPET) == -1 || runs_wait(n) == -1)
		return -1;
	if (interrupted())
		return complainx("interrupted");
	if (n->begin == DISCARD || n->begin == START)
		return 0;
	return stop_some(n, ALL & ~PUPPET);
}

/*
 * Adds to a set those of the services asked for that are enabled.  Returns
 * those that did not answer.
 */
static int
enabled_find(struct node *n, int ask, int *set)
{
	int i, bad;

	if (ask == 0)
		return 0;
	busy("asking which services are enabled");
	bad = services(n, ask, NULL);
	for (i = 0; i < SERVICES; i++)
		if ((ask & ~bad & 1 << i) && n->service[i].enabled)
			*set |= 1 << i;
	return bad;
}

/*
 * Whether a service ran whose answer was lost, in a crash or otherwise, nobody
 * knows: one that is enabled did.  Returns those of which that is unknown.
 */
static int
ran_find(struct node *n)
{
	return enabled_find(n, (n->resumed ? ALL : n->lost) & ~n->known &
	    ~n->ran, &n->ran);
}

/* Adds to a set those that run now. */
static int
running_find(struct node *n, int *set)
{
	int i;

	busy("asking which services run");
	if (services(n, ALL, NULL) != 0)
		return -1;
	for (i = 0; i < SERVICES; i++)
		if (n->service[i].running)
			*set |= 1 << i;
	return 0;
}

static int
stop_undo(struct node *n)
{
	int unknown;

	unknown = ran_find(n);
	if (n->ran != 0)
		n->dead = services_start(n, n->ran);
	if (unknown != 0)
		return complainx("whether these ran before is not known, look "
		    "at them: %s", service_names(unknown));
	return n->dead == 0 ? 0 : -1;
}

static void
stop_show(struct node *n)
{
	services_show(n, PUPPET, "ensure=stopped");
	say("# wait until no Puppet run is in progress: %s", n->run_lock);
	if (n->begin != DISCARD && n->begin != START)
		services_show(n, n->ran & ~PUPPET, "ensure=stopped");
}

static void
again_show(struct node *n)
{
	if (n->begin <= STOP)
		say("diff -r %s %s", word(n->ssldir, ""), word(n->path, ""));
}

/* Step 4: a service may have written into ssl until it stopped. */
static int
again_act(struct node *n)
{
	char difference[DIFFERENCE_SIZE];
	int rc;

	if (n->begin > STOP)
		return 0;
	busy("comparing %s with %s", n->ssldir, n->path);
	rc = tree_compare(n->at, n->ssl, n->bat, n->copy, volatile_name,
	    difference);
	if (rc != 1)
		return rc;
	note("%s: the backup is made anew", difference);
	n->replace = 1;
	return copy_act(n);
}

/* Step 5: from here on there is no ssl; old, or del, is what it was. */
static int
aside_act(struct node *n)
{
	if (n->unfit != NULL && n->begin == EMPTY)
		return discard(n->at, n->ssl, n->del);
	if (n->absent || n->begin == EMPTY || n->begin == START)
		return 0;
	if (name_move(n->at, n->ssl, n->at, n->aside) == -1)
		return -1;
	n->away = 1;
	return 0;
}

/*
 * What was set aside comes back.  An ssl that the agent has made meanwhile
 * holds a key that nobody has used.
 */
static int
aside_undo(struct node *n)
{
	int there;

	if (n->swapped && name_move(n->at, n->ssl, n->at, n->fresh) == -1)
		return -1;
	n->swapped = 0;
	there = name_exists(n->at, n->ssl);
	if (there == -1)
		return -1;
	/* a rename whose fsync failed, and that could not be taken back */
	if (!n->away && !there)
		n->away = name_exists(n->at, n->aside) == 1;
	if (!n->away && !n->absent)
		return 0;
	if (there && n->aside == n->del && tree_remove(n->at, n->ssl) == -1)
		return -1;
	if (there && n->aside != n->del &&
	    name_move(n->at, n->ssl, n->at, n->del) == -1)
		return -1;
	if (n->away && name_move(n->at, n->aside, n->at, n->ssl) == -1)
		return -1;
	n->away = 0;
	return there ? tree_remove(n->at, n->del) : 0;
}

static void
aside_show(struct node *n)
{
	if (n->unfit != NULL && n->begin == EMPTY)
		say("rm -rf %s", word(n->ssldir, ""));
	else if (!n->absent && n->begin != START)
		say("mv %s %s", word(n->ssldir, ""), beside(n, n->aside));
}

/*
 * Exchanges ssl for another directory beside it.  Where a run that broke off
 * has set the original aside, what has its name now was made since.
 */
static int
swap_act(struct node *n)
{
	int there;

	if (n->swapped)
		return 0;
	there = name_exists(n->at, n->ssl);
	if (there == -1)
		return -1;
	if (there && n->away && discard(n->at, n->ssl, n->del) == -1)
		return -1;
	if (there && !n->away && name_move(n->at, n->ssl, n->at, n->aside) ==
	    -1)
		return -1;
	n->away |= there;
	if (name_move(n->at, n->fresh, n->at, n->ssl) == -1)
		return -1;
	n->swapped = 1;
	return 0;
}

static void
swap_show(struct node *n)
{
	if (n->swapped)
		return;
	if (!n->absent && n->away)
		say("rm -rf %s", word(n->ssldir, ""));
	else if (!n->absent)
		say("mv %s %s", word(n->ssldir, ""), beside(n, n->aside));
	say("mv %s %s", beside(n, n->fresh), word(n->ssldir, ""));
}

/* Step 6: the cached catalog. */
static int
catalog_act(struct node *n)
{
	char path[PATH_SIZE], name[NAME_SIZE];
	int at, rc;

	if (format(path, sizeof path, "%s/catalog/%s.json", n->client_datadir,
	    n->certname) == -1)
		return complainx("%s: too long", n->client_datadir);
	at = path_dir(n->client_datadir);
	if (at == -1)
		return errno == ENOENT ? 0 : complain("open %s",
		    n->client_datadir);
	rc = name_exists(at, "catalog");
	if (rc == 1) {
		rc = path_open_below(at, path + strlen(n->client_datadir),
		    name);
		(void)close(at);	/* only read */
		at = rc;
	}
	if (rc > 0 && unlinkat(at, name, 0) == -1 && errno != ENOENT)
		rc = complain("remove %s", path);
	if (at != -1)
		(void)close(at);	/* only read */
	return rc == -1 ? -1 : 0;
}

static void
catalog_show(struct node *n)
{
	char name[PATH_SIZE];

	(void)format(name, sizeof name, "/catalog/%s.json", n->certname);
	say("rm -f %s", word(n->client_datadir, name));
}

/* Step 7. */
static int
start_act(struct node *n)
{
	int i;

	if (ran_find(n) != 0)
		return -1;
	n->started = n->ran | PUPPET;
	n->late = ALL & ~PUPPET;
	busy("starting %s", service_names(n->started));
	for (i = 0; i < SERVICES; i++)
		if ((n->started & 1 << i) &&
		    service_call(n, i, "ensure=running") == -1)
			return -1;
	return 0;
}

/*
 * A start that is under way is ended first: a stop that overtook it would be
 * followed by it.
 */
static int
start_undo(struct node *n)
{
	int i, bad;

	n->late = 0;
	if (n->started == 0)
		return 0;
	busy("stopping %s again", service_names(n->started));
	for (i = 0; i < SERVICES; i++)
		if (n->service[i].called) {
			child_stop(&n->service[i].child);
			child_close(&n->service[i].child);
			n->service[i].called = 0;
		}
	bad = services(n, n->started, "ensure=stopped");
	if (!n->unclean)
		note("a request of %s may be left on the MoM: `cmregen mom "
		    "clean %s' removes it", n->certname, n->certname);
	return bad == 0 ? 0 : complainx("could not be stopped: %s",
	    service_names(bad));
}

static void
start_show(struct node *n)
{
	services_show(n, n->ran | PUPPET, "ensure=running");
}

/* Step 8: the request, or the certificate. */

/*
 * Below 6 an agent takes a request of its name that is on the CA for its own,
 * whoever put it there: signed, it would give somebody else a certificate.
 * Returns 1 where the request is of the key in the same directory, or where
 * that cannot be told, else -1.
 */
static int
request_own(struct node *n, const char *dir)
{
	int foreign;

	foreign = pem_foreign(n, dir, n->request, "CERTIFICATE REQUEST");
	if (foreign != 1)
		return foreign == 0 ? 1 : -1;
	n->unclean = 1;
	return complainx("the request in %s is not of the key there: another "
	    "one of this name was on the CA; find out whose, run `cmregen mom "
	    "clean %s' on the MoM, then this again", dir, n->certname);
}

/* Returns 1 when there is something to hand on, 0, or -1. */
static int
request_look(struct node *n)
{
	int rc, foreign;

	rc = pem_look(n, n->ssl, n->cert, "CERTIFICATE");
	foreign = rc == 1 ? pem_foreign(n, n->ssl, n->cert, "CERTIFICATE") : 0;
	if (foreign == -1)
		return -1;
	n->unclean = foreign || (rc == 1 && same(n, n->cert) == SAME);
	if (n->unclean)
		return complainx("the MoM still had %s certificate of %s, and "
		    "the agent has fetched that: run `cmregen mom clean %s' "
		    "on the MoM, then this again", foreign ? "another" :
		    "the old", n->certname, n->certname);
	if (rc != 0) {
		n->signed_already = 1;
		return rc;
	}
	rc = pem_look(n, n->ssl, n->request, "CERTIFICATE REQUEST");
	return rc == 1 ? request_own(n, n->ssl) : rc;
}

static void
hand_off(struct node *n)
{
	char rest[2 * PATH_SIZE];

	if (n->signed_already) {
		say("%s has its new certificate already (autosigning)",
		    n->certname);
		say_next(n->o, n->certname, "node finish", "");
		return;
	}
	say("request of %s, SHA-256 fingerprint:", n->certname);
	say("    %s", n->fingerprint);
	(void)format(rest, sizeof rest, " -f %s %s", n->fingerprint,
	    n->certname);
	(void)format(text, sizeof text, "the MoM (%s)", n->ca_server);
	say_next(n->o, text, "mom sign", rest);
	(void)format(text, sizeof text, "%s when it is signed", n->certname);
	say_next(n->o, text, "node finish", "");
}

static int
request_act(struct node *n)
{
	long since;
	int rc, i;

	for (since = seconds(); ; nap(TICK)) {
		rc = request_look(n);
		if (rc != 0)
			break;
		for (i = 0; i < SERVICES; i++)
			(void)service_take(n, i, "ensure=running", &n->down);
		if (n->down & PUPPET)
			return complainx("without the service puppet there "
			    "will be no request");
		if (interrupted())
			return complainx("interrupted while it waited for the "
			    "request");
		if (seconds() - since >= n->wait)
			return complainx("no request within %d s: does the "
			    "server of the MoM (%s) run, and can it be "
			    "reached from here?  Another request of this "
			    "name there may prevent it, too (`cmregen mom "
			    "clean %s' there removes it); the log of the "
			    "service puppet tells; or wait longer with -w",
			    (int)n->wait, n->ca_server, n->certname);
		busy("waiting for Puppet to make key and request");
	}
	if (rc == 1)
		hand_off(n);
	return rc == 1 ? 0 : -1;
}

static void
request_show(struct node *n)
{
	say("# wait for %s/%s.pem", n->requestdir, n->certname);
}

/* Step 9: nothing is undone any more. */
static int
end_act(struct node *n)
{
	int i, left, enabled, rc;

	rc = discard(n->at, n->old, n->del) | tree_remove(n->bat, n->stale);
	do {
		left = 0;
		for (i = 0; i < SERVICES; i++)
			if (n->service[i].called && !service_take(n, i,
			    "ensure=running", &n->down))
				left |= 1 << i;
		if (left != 0) {
			busy("go on as above; starting: %s (Ctrl-C is safe)",
			    service_names(left));
			nap(TICK);
		}
	} while (left != 0 && !interrupted());
	if (left != 0)
		note("not waiting for %s, which may still be starting; the "
		    "request stands: go on as above",
		    service_names(left));
	if (n->down & PUPPET)
		rc = complainx("the service puppet does not run: start it");
	else if (n->down != 0)
		note("%s: not running yet, which is usual without a "
		    "certificate; `cmregen node finish' starts what is "
		    "enabled", service_names(n->down));
	enabled = PUPPET;
	left = n->down & ~PUPPET;
	left &= ~enabled_find(n, left, &enabled);
	left &= ~enabled;
	if (left != 0)
		note("%s: not enabled: start that yourself after `cmregen "
		    "node finish'", service_names(left));
	return rc | lock_forget(&n->lock);
}

static void
end_show(struct node *n)
{
	if (!n->absent || n->away)
		say("rm -rf %s", beside(n, n->aside));
	if (n->replace)
		say("rm -rf %s", word(n->path, ".cmregen-del"));
}

/*
 * Running the steps.
 */

/* What stands where, after a stop part way. */
static int
standing(const struct node *n, const char *again)
{
	const struct {
		int at;
		const char *name, *what;
	} name[] = {
		{ n->at, n->ssl, "in use" },
		{ n->bat, n->copy, "the backup, complete" },
		{ n->at, n->old, "ssl as it was" },
		{ n->at, n->new, "an unfinished copy" },
		{ n->at, n->bad, "ssl as it was before the restore" },
		{ n->at, n->next, "the new key, of `prepare -l'" },
		{ n->at, n->del, "to be removed" },
		{ n->bat, n->part, "an unfinished copy" },
		{ n->bat, n->stale, "to be removed" }
	};
	size_t i;

	(void)complainx("stopped part way; what stands now, beside %s%s%s:",
	    n->ssldir, n->at == n->bat ? "" : " and ", n->at == n->bat ? "" :
	    n->path);
	for (i = 0; i < sizeof name / sizeof name[0]; i++)
		if (name_exists(name[i].at, name[i].name) == 1)
			note("    %s: %s", name[i].name, name[i].what);
	if (n->dead != 0)
		note("not running, though it was before, start it: %s",
		    service_names(n->dead));
	note("then run `cmregen node %s' again with the same options", again);
	return PART_WAY;
}

/*
 * The last step is not undone: what came before it has succeeded.  An undo is
 * called for every step, also for those that an earlier run has done.
 */
static int
steps_run(struct node *n, const struct step *s, int first, int count,
    const char *again)
{
	int i, rc;

	for (i = first; i < count; i++) {
		if (i < count - 1 && interrupted()) {
			(void)complainx("interrupted");
			break;
		}
		if (s[i].act != NULL && s[i].act(n) == -1)
			break;
	}
	if (i == count)
		return DONE;
	if (i == count - 1)
		return standing(n, again);
	hold();
	rc = 0;
	for (i = count - 2; i >= 0; i--)
		if (s[i].undo != NULL && s[i].undo(n) == -1)
			rc = -1;
	if (rc == -1 || lock_forget(&n->lock) == -1)
		return standing(n, again);
	note("not done; everything is as it was before");
	return NOT_DONE;
}

static int
steps_show(struct node *n, const struct step *s, int first, int count)
{
	int i;

	for (i = first; i < count; i++)
		if (s[i].show != NULL)
			s[i].show(n);
	return DONE;
}

/*
 * node prepare.
 */

static int
prepare_run(struct node *n, const struct step *s, int first, int count)
{
	if (leftovers_remove(n) == -1)
		return NOT_DONE;
	if (n->begin == COPY && n->away) {
		if (name_move(n->at, n->old, n->at, n->ssl) == -1)
			return NOT_DONE;
		n->away = n->absent = 0;
	}
	return steps_run(n, s, first, count, "prepare");
}

static int
prepare_show(struct node *n, const struct step *s, int first, int count)
{
	if (running_find(n, &n->ran) == -1 || ran_find(n) != 0)
		return NOT_DONE;
	leftovers_show(n);
	if (n->begin == COPY && n->away) {
		say("mv %s %s", beside(n, n->old), word(n->ssldir, ""));
		n->away = n->absent = 0;
	}
	if (first < 4)			/* there is no request yet */
		(void)format(n->fingerprint, sizeof n->fingerprint,
		    "FINGERPRINT");
	(void)steps_show(n, s, first, count);
	hand_off(n);
	return DONE;
}

/* Decides where to begin, past what `prepare -l' and finish have left. */
static int
prepare_check(struct node *n)
{
	int next;

	next = name_exists(n->at, n->next);
	if (next == 1)
		return complainx("`cmregen node prepare -l' has begun a "
		    "regeneration: go on with `cmregen node finish', or give "
		    "it up with `cmregen node restore'");
	n->begin = next == 0 ? begin(n) : REFUSE;
	if (n->begin > STOP && n->begin != REFUSE && n->exchanging)
		return complainx("a `cmregen node finish' broke off: run it "
		    "again");
	return n->begin == REFUSE ? -1 : 0;
}

static int
prepare(struct node *n)
{
	static const struct step step[] = {
		{ copy_act, copy_undo, copy_show },
		{ stop_act, stop_undo, stop_show },
		{ again_act, NULL, again_show },
		{ aside_act, aside_undo, aside_show },
		{ catalog_act, NULL, catalog_show },
		{ start_act, start_undo, start_show },
		{ request_act, NULL, request_show },
		{ end_act, NULL, end_show }
	};
	/* where ssl is gone services may run again since: stop them */
	static const int first[] = {	/* enum begin */
		0, 1, 1, 4, 1
	};
	const int count = sizeof step / sizeof step[0];
	int i, there;

	if (prepare_check(n) == -1)
		return NOT_DONE;
	if (n->unfit != NULL)
		note("%s is discarded: %s", n->ssldir, n->unfit);
	i = first[n->begin];
	there = n->begin == START ? request_look(n) : 1;
	if (there == -1)
		return NOT_DONE;
	if (there == 0)
		i = 1;			/* a puppet that runs makes none */
	else if (n->begin == START)
		n->away = 0;		/* handed on: the old is history */
	return n->o->dry ? prepare_show(n, step, i, count) :
	    prepare_run(n, step, i, count);
}

/*
 * Without an outage: node prepare -l, and what finish does after it.  The new
 * key and request are made in a directory of their own beside ssl, and the
 * certificate is fetched into it, while the old one serves; then everything
 * that interrupts comes in one moment.
 */

/*
 * Has puppet work on the directory: make key and request and submit it, or
 * fetch the certificate.  Below 6 one agent run does either; it is ended when
 * the certificate is there and the agent has had the time to say that it does
 * not fit the key.  Returns its exit status.
 */
static int
late_call(struct node *n, const char *verb, struct child *c)
{
	static char ssldir[PATH_SIZE], state[PATH_SIZE];
	const char *const ssl[] = {
		n->o->puppet, "ssl", verb, "--color=false", "--ssldir",
		ssldir, NULL
	};
	const char *const agent[] = {
		n->o->puppet, "agent", "--test", "--noop", "--color=false",
		"--ssldir", ssldir, "--statedir", state, NULL
	};
	static const char *argv[sizeof agent / sizeof agent[0]];
	long since;
	int major, seen;

	memset(c, 0, sizeof *c);
	c->out = -1;
	major = puppet_major(n->o);
	if (major == -1 || format(ssldir, sizeof ssldir, "%s.cmregen-next",
	    n->ssldir) == -1 || format(state, sizeof state,
	    "%s.cmregen-state", n->ssldir) == -1)
		return -1;
	memcpy(argv, major < 6 ? agent : ssl, major < 6 ? sizeof agent :
	    sizeof ssl);
	if (n->o->dry) {
		child_say(argv);
		return 0;
	}
	if (child_start(c, argv) == -1)
		return -1;
	seen = major < 6 ? 0 : -1;
	for (since = -1; !child_ended(c) && !interrupted(); nap(TICK)) {
		if (seen == 0)
			seen = pem_look(n, n->next, n->cert, "CERTIFICATE");
		if (seen == 1 && since == -1)
			since = seconds();
		if (since != -1 && seconds() - since >= JUDGED)
			break;
	}
	child_stop(c);
	return child_status(c);
}

/* Whether the certificate in next is the one that ssl has. */
static int
late_old(struct node *n)
{
	return alike(n->at, n->next, n->at, n->ssl, n->cert) == SAME;
}

/*
 * Whether the certificate that the MoM has is the old one, or another that
 * does not fit the new key.
 */
static int
late_refused(struct node *n, struct child *c)
{
	int refused;

	refused = late_old(n);
	child_rewind(c);
	while (c->out != -1 && child_line(c, line, sizeof line) == 1)
		if (strstr(line, "already has a signed certificate") != NULL ||
		    strstr(line, "conflict on the server") != NULL ||
		    strstr(line, "does not match") != NULL)
			refused = 1;
	return refused;
}

/* What was there without a request is of a run that broke off. */
static int
late_make(struct node *n)
{
	struct child c;
	int rc;

	if (discard(n->at, n->next, n->del) == -1 ||
	    dir_like(n->at, n->next, n->ssl) == -1)
		return -1;
	busy("having puppet make key and request in %s", n->next);
	(void)late_call(n, "submit_request", &c);
	n->unclean = late_refused(n, &c);
	rc = pem_look(n, n->next, n->cert, "CERTIFICATE");
	n->signed_already = rc == 1;
	if (rc == 0)
		rc = pem_look(n, n->next, n->request, "CERTIFICATE REQUEST");
	if (interrupted())
		rc = complainx("interrupted");
	else if (n->unclean)
		rc = complainx("the MoM refuses the request, since it has a "
		    "certificate or another request of this name: run "
		    "`cmregen mom clean %s' there, then this again",
		    n->certname);
	else if (rc != 1) {
		rc = complainx("there is no request that the MoM has taken");
		child_show(&c);
	} else if (!n->signed_already && request_own(n, n->next) == -1)
		rc = -1;
	else if (n->o->verbose)
		child_show(&c);
	child_close(&c);
	return rc == 1 ? tree_remove(n->at, n->state) : -1;
}

/*
 * Whether an earlier run has made a request in next, or has the certificate;
 * either is judged again, since that run may not have got so far: 1, 0 or -1.
 */
static int
late_made(struct node *n)
{
	const char *file, *label;
	int there;

	there = late_old(n) ? 0 : pem_look(n, n->next, n->cert, "CERTIFICATE");
	n->signed_already = there == 1;
	file = n->signed_already ? n->cert : n->request;
	label = n->signed_already ? "CERTIFICATE" : "CERTIFICATE REQUEST";
	if (there == 0)
		there = pem_look(n, n->next, file, label);
	if (there == 1 && pem_foreign(n, n->next, file, label) != 0)
		there = n->signed_already = 0;
	return there;
}

static int
late_prepare(struct node *n)
{
	struct child c;
	int there;

	n->begin = begin(n);
	if (n->begin == REFUSE)
		return NOT_DONE;
	if (n->begin > STOP || n->away) {
		(void)complainx(n->exchanging || name_exists(n->at, n->next) ==
		    1 ? "a `cmregen node finish' broke off: run it again" :
		    "a `cmregen node prepare' without -l has begun: run that "
		    "again");
		return NOT_DONE;
	}
	there = late_made(n);
	if (there == -1 || (!n->o->dry && (tree_remove(n->at, n->del) == -1 ||
	    tree_remove(n->at, n->state) == -1)))
		return NOT_DONE;
	if (n->o->dry && !there) {
		(void)late_call(n, "submit_request", &c);
		(void)format(n->fingerprint, sizeof n->fingerprint,
		    "FINGERPRINT");
	} else if (!there && late_make(n) == -1) {
		hold();
		if (!n->unclean)
			note("a request of %s may be left on the MoM: "
			    "`cmregen mom clean %s' removes it", n->certname,
			    n->certname);
		if (discard(n->at, n->next, n->del) == -1 ||
		    tree_remove(n->at, n->state) == -1)
			return standing(n, "prepare -l");
		note("not done; nothing was stopped, moved or removed");
		return NOT_DONE;
	}
	hand_off(n);
	return DONE;
}

int
node_prepare(const struct options *o)
{
	int rc;

	rc = NOT_DONE;
	if (node_open(&node, o, PREPARE_WAIT) == 0 &&
	    disabled_check(&node) == 0 && lock(&node) == 0)
		rc = o->live ? late_prepare(&node) : prepare(&node);
	node_close(&node);
	return rc;
}

/*
 * node finish.
 */

enum run { RAN, AGAIN, UNSIGNED, FAILED };

/* What a line tells of a run that did nothing. */
static enum run
run_line(const char *p, enum run now)
{
	if (strstr(p, "Puppet configuration client already in progress") !=
	    NULL || strstr(p, "nother puppet instance is already running") !=
	    NULL)
		return AGAIN;
	if (now == FAILED && (strstr(p, "no certificate found") != NULL ||
	    strstr(p, "Couldn't fetch certificate") != NULL))
		return UNSIGNED;
	return now;
}

/*
 * Once there is a certificate, the run is real: what it prints is shown as it
 * comes.
 */
static enum run
agent_run(struct node *n)
{
	const char *const argv[] = {
		n->o->puppet, "agent", "--test", "--color=false", NULL
	};
	enum run result;
	struct child c;
	int status, shown, seen;

	if (child_start(&c, argv) == -1) {
		child_close(&c);
		return FAILED;
	}
	seen = 0;
	while (!child_ended(&c) && !interrupted()) {
		if (seen == 0)
			seen = pem_look(n, n->ssl, n->cert, "CERTIFICATE");
		if (seen == 1)
			child_follow(&c);
		nap(TICK);
	}
	child_stop(&c);
	status = child_status(&c);
	result = status == 0 || status == 2 ? RAN : FAILED;
	shown = result == RAN || c.from > 0;
	if (shown)
		child_follow(&c);
	child_rewind(&c);
	while (status < 2 && child_line(&c, line, sizeof line) == 1)
		result = run_line(line, result);
	if (result == FAILED && shown)
		(void)complainx("the Puppet run failed, see above");
	else if (result == FAILED) {
		(void)complainx("the Puppet run failed");
		child_show(&c);
	}
	child_close(&c);
	return result;
}

/* Runs Puppet until it ran, failed, or the time is over. */
static enum run
agent_loop(struct node *n)
{
	enum run result;
	long since;

	for (since = seconds(); ; nap(RETRY)) {
		if (interrupted() || runs_wait(n) == -1)
			return AGAIN;
		busy("running Puppet");
		result = agent_run(n);
		if (interrupted() || result == RAN || result == FAILED ||
		    seconds() - since >= n->wait)
			return result;
		busy(result == UNSIGNED ? "waiting for the certificate: sign "
		    "the request on the MoM" : "waiting for another Puppet "
		    "run to end");
	}
}

/* Has every service run that is enabled.  Returns those that do not. */
static int
services_enabled(struct node *n)
{
	int i, set, bad, down;

	busy("asking which services are enabled");
	bad = services(n, ALL, NULL);
	for (set = down = i = 0; i < SERVICES; i++)
		if (n->service[i].enabled) {
			set |= 1 << i;
			if (!n->service[i].running)
				down |= 1 << i;
		}
	if (down != 0) {
		(void)services_start(n, down);
		nap(MOMENT);
	}
	busy("looking whether %s run", service_names(set));
	bad |= services(n, set, NULL);
	for (i = 0; i < SERVICES; i++)
		if ((set & 1 << i) && !n->service[i].running)
			bad |= 1 << i;
	return bad;
}

static int
finish_check(struct node *n)
{
	const char *const name[] = { n->old, n->new, n->bad };
	int i, rc;

	for (i = 0; i < 3; i++) {
		rc = name_exists(n->at, name[i]);
		if (rc == 1)
			(void)complainx("%s is there: run `cmregen node %s' "
			    "again first", name[i], i == 0 ? "prepare" :
			    "restore");
		if (rc != 0)
			return -1;
	}
	rc = name_exists(n->bat, n->copy);
	if (rc == 0)
		return complainx("no backup %s: give the same -b as before; "
		    "where all was finished, and the backup removed, nothing "
		    "is left to do; else begin with `cmregen mom clean %s' on "
		    "the MoM, then run `cmregen node prepare' here", n->path,
		    n->certname);
	if (rc == 1 && !ssl_like(n, n->bat, n->copy))
		return complainx("%s has no %s: it is no backup; give the -b "
		    "of `node prepare'", n->path, n->key);
	if (rc == 1)
		rc = n->absent ? NONE : same(n, n->key);
	if (rc == -1 || rc == OTHER)
		return rc == OTHER ? 0 : -1;
	return complainx("%s has %s key: when %s is cleaned on the MoM, run "
	    "`cmregen node prepare' first, or give the same -b", n->ssldir,
	    rc == NONE ? "no" : "still the backup's", n->certname);
}

/* Waits for the signature.  Returns DONE when the certificate is there. */
static int
late_fetch(struct node *n)
{
	struct child c;
	long since;
	int rc;

	for (since = seconds(); ; nap(RETRY)) {
		if (n->o->dry)
			say("# wait until the request is signed");
		else
			busy("fetching the certificate: sign the request on "
			    "the MoM");
		(void)late_call(n, "download_cert", &c);
		rc = pem_look(n, n->next, n->cert, "CERTIFICATE");
		if (n->o->dry || rc == 1 || rc == -1 || interrupted() ||
		    seconds() - since >= n->wait)
			break;
		child_close(&c);
	}
	if (!n->o->dry)
		(void)tree_remove(n->at, n->state);	/* it complains */
	if (!n->o->dry && !interrupted() && rc == 1 && (late_refused(n, &c) ||
	    read_below(n->at, n->next, n->key, text) < 1)) {
		(void)complainx("the MoM's certificate of %s does not belong "
		    "to the key in %s: run `cmregen node restore' here, "
		    "`cmregen mom clean %s' there, and begin again",
		    n->certname, n->next, n->certname);
		child_close(&c);
		return NOT_DONE;
	}
	if (rc == 1 || n->o->dry) {
		child_close(&c);
		return DONE;
	}
	(void)complainx(interrupted() ? "interrupted" :
	    "there is no certificate yet: puppet says what it knows");
	child_show(&c);
	child_close(&c);
	if (pem_look(n, n->next, n->request, "CERTIFICATE REQUEST") == 1)
		hand_off(n);
	return NOT_DONE;
}

/* Which services run now is known from here on, also after a crash. */
static int
late_stop_act(struct node *n)
{
	int i, set;

	set = 0;
	if (lock_add(&n->lock, "exchanging") == -1 ||
	    running_find(n, &set) == -1)
		return -1;
	for (i = 0; i < SERVICES; i++) {
		n->service[i].changed = (set & 1 << i) != 0;
		if (service_record(n, i, 0) == -1)
			return -1;
	}
	return stop_some(n, PUPPET) == -1 ? -1 : runs_wait(n);
}

/* The server takes the certificate by a reload; where that fails, anew. */
static int
reload(struct node *n)
{
	char program[PATH_SIZE];
	const char *const argv[] = { program, "reload", NULL };
	struct child c;
	int rc;

	if (puppetserver_path(n->o, program) == -1)
		return -1;
	rc = child_start(&c, argv) == 0 && child_wait(&c) == 0 ? 0 : -1;
	if (rc == -1 || n->o->verbose)
		child_show(&c);
	child_close(&c);
	return rc;
}

/* Has what runs take the ssl that is there now. */
static int
late_serve(struct node *n)
{
	const int server = n->ran & SERVERS, plain = n->ran & OTHERS;
	int bad, again;

	again = plain;
	n->served = 1;
	busy("having the services take %s", n->ssldir);
	if (server != 0 && reload(n) == -1)
		again |= server;
	bad = services(n, again, "ensure=stopped");
	bad |= services(n, server | plain, "ensure=running");
	return bad == 0 ? 0 : complainx("not running with %s: %s", n->ssldir,
	    service_names(bad));
}

static int
late_serve_act(struct node *n)
{
	if (late_serve(n) == -1)
		return -1;
	return services(n, n->ran & PUPPET, "ensure=running") == 0 ? 0 : -1;
}

static int
late_stop_undo(struct node *n)
{
	int rc;

	rc = n->served ? late_serve(n) : 0;
	return stop_undo(n) | rc;
}

static void
late_stop_show(struct node *n)
{
	services_show(n, PUPPET, "ensure=stopped");
	say("# wait until no Puppet run is in progress: %s", n->run_lock);
}

static void
late_serve_show(struct node *n)
{
	char program[PATH_SIZE];

	if (n->ran & SERVERS && puppetserver_path(n->o, program) == 0)
		say("%s reload", word(program, ""));
	services_show(n, n->ran & OTHERS, "ensure=stopped");
	services_show(n, n->ran & (OTHERS | PUPPET), "ensure=running");
}

/*
 * Where a swap broke off, it goes on; else the certificate is fetched, and the
 * backup checked as prepare does.  Returns the first step, or -1.
 */
static int
late_begin(struct node *n, int next, int old)
{
	n->fresh = n->next;
	if (old) {
		n->begin = START;
		n->away = 1;
		n->swapped = n->served = !next;
		return old_backed(n) == -1 ? -1 : 1;
	}
	n->begin = begin(n);
	if (n->begin == COPY || n->begin == STOP)
		return late_fetch(n) == DONE ? n->begin == STOP : -1;
	if (n->begin != REFUSE)
		(void)complainx("%s and the backup %s do not belong to the "
		    "same regeneration as %s: `cmregen node restore' gives "
		    "it up", n->ssldir, n->path, n->next);
	return -1;
}

/* Returns DONE also where no prepare -l has begun. */
static int
late_finish(struct node *n)
{
	static const struct step step[] = {
		{ copy_act, copy_undo, copy_show },
		{ late_stop_act, late_stop_undo, late_stop_show },
		{ again_act, NULL, again_show },
		{ swap_act, aside_undo, swap_show },
		{ catalog_act, NULL, catalog_show },
		{ late_serve_act, NULL, late_serve_show },
		{ end_act, NULL, end_show }
	};
	const int count = sizeof step / sizeof step[0];
	int next, old, i;

	next = name_exists(n->at, n->next);
	old = name_exists(n->at, n->old);
	if (next == -1 || old == -1)
		return NOT_DONE;
	if (!next && (!old || n->absent || same(n, n->key) != OTHER ||
	    same(n, n->cert) != OTHER))
		return !n->o->dry && tree_remove(n->at, n->del) == -1 ?
		    NOT_DONE : DONE;
	i = late_begin(n, next, old);
	if (i == -1)
		return NOT_DONE;
	if (n->o->dry) {
		if (running_find(n, &n->ran) == -1)
			return NOT_DONE;
		leftovers_show(n);
		return steps_show(n, step, i, count);
	}
	if (leftovers_remove(n) == -1)
		return NOT_DONE;
	i = steps_run(n, step, i, count, "finish");
	n->absent = 0;
	return i;
}

static int
finish_unsigned(struct node *n)
{
	int stopped;

	stopped = interrupted();
	(void)complainx("%sthere is no certificate of %s yet", stopped ?
	    "interrupted; " : "", n->certname);
	if (pem_look(n, n->ssl, n->request, "CERTIFICATE REQUEST") == 1)
		hand_off(n);
	return stopped ? PART_WAY : NOT_DONE;
}

static int
finish_broken(const char *stands)
{
	(void)complainx("stopped part way: %s; repair what is said above, "
	    "then run `cmregen node finish' again", stands);
	return PART_WAY;
}

static const char in_place[] = "the new key and certificate are in place";

/* Returns an exit status. */
static int
finish_run(struct node *n)
{
	enum run result;
	int cert, down, foreign;

	result = agent_loop(n);
	cert = same(n, n->cert);
	if (cert == NONE && (interrupted() || result == UNSIGNED ||
	    result == AGAIN))
		return finish_unsigned(n);
	foreign = pem_foreign(n, n->ssl, n->cert, "CERTIFICATE") == 1;
	if (cert == SAME || foreign)
		(void)complainx("the certificate is %s: run `cmregen mom "
		    "clean %s' on the MoM, then `cmregen node prepare' here",
		    foreign ? "not of the new key" : "still the old one",
		    n->certname);
	down = cert == OTHER ? services_enabled(n) : 0;
	if (foreign)
		cert = NONE;
	if (down != 0)
		(void)complainx("not running: %s", service_names(down));
	if (interrupted())
		(void)complainx("interrupted");
	else if (result == AGAIN)
		(void)complainx("a Puppet run of somebody else did not end in "
		    "time");
	if (cert != OTHER || result != RAN || down != 0 || interrupted())
		return finish_broken(cert == OTHER ? in_place :
		    "there is a new key, but no new certificate");
	say("%s has a new key and certificate, and Puppet ran", n->certname);
	say("the backup %s holds the old key: remove it when nothing needs it "
	    "any more", n->path);
	return DONE;
}

/* Services that do not answer now are named, too. */
static int
finish_show(struct node *n, int late)
{
	int set, bad;

	set = 0;
	bad = enabled_find(n, ALL, &set);
	if (!late)
		say("# wait until the request is signed");
	say("%s agent --test", word(n->o->puppet, ""));
	services_show(n, set | bad, "ensure=running");
	return DONE;
}

int
node_finish(const struct options *o)
{
	struct node *const n = &node;
	int rc, late;

	rc = NOT_DONE;
	if (node_open(n, o, FINISH_WAIT) == 0 && disabled_check(n) == 0 &&
	    lock(n) == 0)
		rc = late_finish(n);
	late = rc == DONE && o->dry &&
	    (n->away || name_exists(n->at, n->next) == 1);
	if (rc == DONE && !late && finish_check(n) == -1)
		rc = n->swapped ? finish_broken(in_place) : NOT_DONE;
	else if (rc == DONE)
		rc = o->dry ? finish_show(n, late) : finish_run(n);
	if (rc == DONE && !o->dry && lock_forget(&n->lock) == -1)
		rc = PART_WAY;
	node_close(n);
	return rc;
}

/*
 * node restore.
 */

/* Below root: no puppet is asked, and no link is followed. */
static int
root_open(struct node *n, const struct options *o)
{
	const char *const inside_root = o->ssldir == NULL ?
	    "/etc/puppetlabs/puppet/ssl" : o->ssldir;
	struct stat ssl;
	size_t len;
	int root, there;

	memset(n, 0, sizeof *n);
	n->o = o;
	n->at = n->bat = n->lock.fd = -1;
	len = strlen(o->root);
	while (len > 0 && o->root[len - 1] == '/')
		len--;
	(void)format(n->ssldir, sizeof n->ssldir, "%s", o->root);
	if (format(n->ssldir + len, sizeof n->ssldir - len, "%s",
	    inside_root) == -1)
		return complainx("%s: too long", inside_root);
	root = path_dir(o->root);
	if (root == -1)
		return complain("open %s", o->root);
	n->at = path_open_below(root, inside_root, n->ssl);
	if (n->at != -1 && o->backup != NULL && o->backup[len] == '/' &&
	    strncmp(o->backup, o->root, len) == 0) {
		(void)format(n->path, sizeof n->path, "%s", o->backup);
		n->bat = path_open_below(root, o->backup + len, n->copy);
	} else if (n->at != -1 && backup_open(n) == -1)
		n->bat = -1;
	(void)close(root);		/* only read */
	if (n->at == -1)
		note("is the system mounted at %s?", o->root);
	if (n->at == -1 || n->bat == -1 || names_beside(n) == -1)
		return -1;
	there = ssl_check(n, &ssl);
	if (there == -1 || backup_check(n, &ssl, there) == -1)
		return -1;
	n->absent = !there;
	return 0;
}

static int
pair_named(const struct node *n)
{
	return read_below(n->bat, n->copy, n->key, text) > 0 &&
	    read_below(n->bat, n->copy, n->cert, text) > 0;
}

/*
 * With no puppet to ask: whether any NAME.pem has both key and certificate,
 * which are then those that count.
 */
static int
pair_any(struct node *n)
{
	char path[PATH_SIZE];
	struct dirent *e;
	DIR *d;
	int fd, found;

	(void)format(path, sizeof path, "%s/private_keys", n->copy);
	fd = file_open(n->bat, path);
	d = fd == -1 ? NULL : fdopendir(fd);
	if (d == NULL) {
		if (fd != -1)
			(void)close(fd);	/* only read */
		return 0;
	}
	n->key = n->hostprivkey;
	n->cert = n->hostcert;
	for (found = 0; !found && (e = readdir(d)) != NULL; ) {
		(void)format(n->hostprivkey, sizeof n->hostprivkey,
		    "private_keys/%s", e->d_name);
		(void)format(n->hostcert, sizeof n->hostcert, "certs/%s",
		    e->d_name);
		found = e->d_name[0] != '.' && pair_named(n);
	}
	(void)closedir(d);		/* only read */
	return found;
}

/* A CA that is mounted below root is as much a CA. */
static int
root_ca_check(struct node *n)
{
	char path[PATH_SIZE];
	int fd;

	(void)format(path, sizeof path, "%s/ca/ca_key.pem", n->ssl);
	fd = file_open(n->at, path);
	/* a link is ELOOP, or ENOTDIR where a directory was wanted */
	if (fd == -1 && errno != ELOOP && errno != ENOTDIR)
		return 0;
	if (fd != -1)
		(void)close(fd);	/* only read */
	return complainx("a CA is in %s: node commands are for compile "
	    "masters", n->ssldir);
}

static int
backup_copy_act(struct node *n)
{
	if (n->fresh == n->old)
		return 0;
	busy("copying %s to %s", n->path, n->new);
	if (tree_remove(n->at, n->new) == -1 || tree_copy(n->bat, n->copy,
	    n->at, n->new, volatile_name) == -1)
		return -1;
	return tree_settle(n->bat, n->copy, n->at, n->new, volatile_name);
}

static int
backup_copy_undo(struct node *n)
{
	return tree_remove(n->at, n->new);
}

static void
backup_copy_show(struct node *n)
{
	if (n->fresh == n->old)
		return;
	if (name_exists(n->at, n->new) == 1)
		say("rm -rf %s", beside(n, n->new));
	say("cp -Rp %s %s", word(n->path, ""), beside(n, n->new));
}

/* What ran, or is enabled; nobody waits for puppet to make a request. */
static int
back_start_act(struct node *n)
{
	int bad;

	n->started = n->ran;
	if (enabled_find(n, ALL & ~n->ran, &n->started) != 0)
		return -1;
	if (n->started == 0)
		return 0;
	bad = services_start(n, n->started);
	if (bad & PUPPET)
		return -1;
	n->down = bad;
	return 0;
}

static int
back_start_undo(struct node *n)
{
	int bad;

	bad = services(n, n->started, "ensure=stopped");
	return bad == 0 ? 0 : complainx("could not be stopped: %s",
	    service_names(bad));
}

static void
back_start_show(struct node *n)
{
	services_show(n, n->ran, "ensure=running");
	say("# and what else is enabled");
}

static int
back_end_act(struct node *n)
{
	const char *const name[] = { n->bad, n->old, n->next };
	int i, rc;

	rc = tree_remove(n->at, n->del);
	for (i = 0; i < 3; i++)
		rc |= discard(n->at, name[i], n->del);
	rc |= tree_remove(n->at, n->new) | tree_remove(n->at, n->state);
	if (n->down != 0)
		rc = complainx("%s is restored, but these do not run, start "
		    "them: %s", n->ssldir, service_names(n->down));
	return rc | lock_forget(&n->lock);
}

static void
back_end_show(struct node *n)
{
	const char *const name[] = { n->bad, n->old, n->next, n->state };
	size_t i;

	if (!n->absent)
		say("rm -rf %s", beside(n, n->aside));
	for (i = 0; i < sizeof name / sizeof name[0]; i++)
		if (name[i] != n->fresh && name_exists(n->at, name[i]) == 1)
			say("rm -rf %s", beside(n, name[i]));
	if (n->fresh == n->old && name_exists(n->at, n->new) == 1)
		say("rm -rf %s", beside(n, n->new));
}

/* What the files do not bring back, and how to go on. */
static int
restore_next(const struct node *n)
{
	if (n->o->root != NULL) {
		say("next: start that system; a certificate that was cleaned "
		    "on the MoM stays revoked");
		return DONE;
	}
	say("a certificate that was cleaned on the MoM stays revoked, and a "
	    "request may be left there; to make it anew:");
	(void)format(text, sizeof text, "the MoM (%s)", n->ca_server);
	(void)format(other, sizeof other, " %s", n->certname);
	say_next(n->o, text, "mom clean", other);
	say_next(n->o, n->certname, "node prepare", "");
	return DONE;
}

static int
restore_end(const struct node *n)
{
	if (!n->o->dry)
		say("%s is %s again", n->ssldir, n->fresh == n->old ?
		    "what prepare had set aside" : "as the backup");
	if (n->fresh != n->old)
		say("the backup %s stays", n->path);
	return restore_next(n);
}

/* Whether the work that is left is but to start and clean up. */
static int
restored(struct node *n)
{
	char difference[DIFFERENCE_SIZE];
	int left;

	left = name_exists(n->at, n->bad) | name_exists(n->at, n->old) |
	    name_exists(n->at, n->new) | name_exists(n->at, n->next);
	if (n->swapped)
		return 1;
	if (left == -1 || n->absent || n->fresh == n->old)
		return left == -1 ? -1 : 0;
	left = tree_compare(n->at, n->ssl, n->bat, n->copy, volatile_name,
	    difference);
	return left == -1 ? -1 : left == 0;
}

/*
 * A backup that root made by `cp -r' is root's, and the service could not read
 * its key.
 */
static int
owner_check(const struct node *n)
{
	struct stat ssl, copy;

	if (fstatat(n->bat, n->copy, &copy, AT_SYMLINK_NOFOLLOW) == -1)
		return complain("look at %s", n->path);
	if (n->absent || copy.st_uid != 0 || fstatat(n->at, n->ssl, &ssl,
	    AT_SYMLINK_NOFOLLOW) == -1 || ssl.st_uid == 0)
		return 0;
	return complainx("the backup %s belongs to root, %s to another user, "
	    "who could not read its key: type chown -Rh %d:%d %s, then run "
	    "this again", n->path, n->ssldir, (int)ssl.st_uid,
	    (int)ssl.st_gid, word(n->path, ""));
}

/* A regeneration that is finished can be undone, but that costs its result. */
static void
restore_warn(const struct node *n)
{
	if (!n->absent && same(n, n->key) == OTHER && same(n, n->cert) ==
	    OTHER)
		note("%s has a newer key and certificate than the backup: "
		    "they are given up", n->ssldir);
}

static int
restore_source(struct node *n)
{
	int old, copy, bad;

	old = name_exists(n->at, n->old);
	copy = name_exists(n->bat, n->copy);
	bad = name_exists(n->at, n->bad);
	if (old == -1 || copy == -1 || bad == -1)
		return -1;
	/* beside bad, ssl goes where an undo still finds it */
	n->aside = bad && !n->absent ? n->del : n->bad;
	n->away = bad && n->absent;
	n->fresh = n->new;
	if (copy && (n->o->root != NULL ? pair_any(n) : pair_named(n))) {
		if (old && old_backed(n) == -1)
			return -1;
		restore_warn(n);
		return owner_check(n);
	}
	if (copy)
		return complainx("%s holds no key with its certificate: it "
		    "is no backup; name the right one with -b", n->path);
	n->fresh = n->old;
	n->swapped = !old && !n->absent && bad;	/* and this run goes on */
	if (!old && !n->swapped)
		return complainx("no backup %s: name it with -b; where `node "
		    "prepare' did not get as far as to make one, nothing was "
		    "changed", n->path);
	if (n->swapped) {
		n->aside = n->bad;
		n->away = 1;
	}
	return 0;
}

/*
 * Whether `prepare -l' was run, and finish has not yet set ssl aside, or a
 * restore of that broke off.
 */
static int
late_begun(const struct node *n)
{
	return !n->absent && name_exists(n->at, n->old) == 0 &&
	    (n->giving_up || name_exists(n->at, n->next) == 1);
}

/*
 * Then nothing is to be taken back but a directory that nobody uses yet, and
 * what a finish that broke off has stopped.
 */
static int
late_restore(struct node *n)
{
	if (n->o->dry) {
		say("rm -rf %s", beside(n, n->next));
		services_show(n, n->ran, "ensure=running");
		return DONE;
	}
	if (lock_add(&n->lock, "giving up") == -1 ||
	    leftovers_remove(n) == -1 ||
	    discard(n->at, n->next, n->del) == -1 ||
	    tree_remove(n->at, n->state) == -1) {
		(void)complainx("stopped part way: run `cmregen node restore' "
		    "again");
		return PART_WAY;
	}
	say("%s is removed; %s stays as it was", n->next, n->ssldir);
	n->served = n->exchanging;	/* the server may have the new one */
	if (n->o->root == NULL && late_stop_undo(n) == -1) {
		if (n->dead != 0)
			(void)complainx("not running, though it was before, "
			    "start it: %s", service_names(n->dead));
		return PART_WAY;
	}
	return lock_forget(&n->lock) == -1 ? PART_WAY : restore_next(n);
}

static int
restore(struct node *n)
{
	static const struct step step[] = {
		{ stop_act, stop_undo, stop_show },
		{ backup_copy_act, backup_copy_undo, backup_copy_show },
		{ swap_act, aside_undo, swap_show },
		{ back_start_act, back_start_undo, back_start_show },
		{ back_end_act, NULL, back_end_show }
	};
	static const struct step mounted[] = {
		{ backup_copy_act, backup_copy_undo, backup_copy_show },
		{ swap_act, aside_undo, swap_show },
		{ back_end_act, NULL, back_end_show }
	};
	const struct step *const s = n->o->root != NULL ? mounted : step;
	const int count = n->o->root != NULL ? 3 : 5;
	int i, rc;

	if (late_begun(n))
		return late_restore(n);
	if (restore_source(n) == -1)
		return NOT_DONE;
	i = restored(n);
	if (i == -1)
		return NOT_DONE;
	if (i == 1)
		i = n->o->root != NULL ? 2 : 3;
	if (n->o->dry) {
		if (n->o->root == NULL && running_find(n, &n->ran) == -1)
			return NOT_DONE;
		leftovers_show(n);
		(void)steps_show(n, s, i, count);
		return restore_end(n);
	}
	if (leftovers_remove(n) == -1)
		return NOT_DONE;
	rc = steps_run(n, s, i, count, "restore");
	return rc == DONE ? restore_end(n) : rc;
}

int
node_restore(const struct options *o)
{
	struct node *const n = &node;
	int rc;

	if (o->root != NULL)
		rc = root_open(n, o) == 0 ? root_ca_check(n) : -1;
	else
		rc = node_open(n, o, PREPARE_WAIT);
	if (rc == 0 && lock(n) == 0)
		rc = restore(n);
	else
		rc = NOT_DONE;
	node_close(n);
	return rc;
}
