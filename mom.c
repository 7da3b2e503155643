/*
 * mom.c: what is done on the master of masters: steps 1-2 and 9-10.  Both
 * commands look what the CA has, act, and look again.
 */
#include <sys/stat.h>

#include <errno.h>
#include <string.h>

#include "cmregen.h"

enum {
	POLL = 1000,		/* milliseconds between two looks */
	SHOWN = 4000		/* bytes of what the CA prints in one line */
};

enum { REQUESTED = 1, VALID = 2, REVOKED = 4 };	/* what the CA can have */

/* What the CA has of the certname, as `list' prints it. */
struct listing {
	int pending;		/* requests */
	int valid, revoked;	/* certificates */
	int unknown;		/* the CA said that it has nothing of it */
	int refused;		/* `ca list` does not know --certname */
	char section;		/* of `ca list`: what its names are */
	char fingerprint[FINGERPRINT_SIZE];	/* of the request */
	char asks[LINE_SIZE];	/* for which names and extensions it asks */
};

struct mom {
	const struct options *o;
	const char *host;	/* the operand: whose certificate it is */
	int major;		/* Puppet's version; below 6 `puppet cert` */
	char puppetserver[PROGRAM_SIZE];
	char certname[PATH_SIZE], cadir[PATH_SIZE];	/* settings */
	struct listing list;
};

/*
 * Takes what stands behind the name: (SHA256) AA:BB:.. (alt names ..).  No
 * fingerprint is one that is too long.
 */
static void
list_request(struct listing *l, const char *p)
{
	size_t n;

	p += strspn(p, "\" ");
	if (*p == '(')
		p += strcspn(p, " \t");
	p += strspn(p, " \t");
	n = strcspn(p, " \t");
	(void)format(l->fingerprint, sizeof l->fingerprint, "%.*s",
	    n == FINGERPRINT_SIZE - 1 ? (int)n : 0, p);
	p += n;
	(void)format(l->asks, sizeof l->asks, "%s", p + strspn(p, " \t"));
}

static void
list_take(struct listing *l, char state, const char *rest)
{
	l->valid |= state == '+';
	l->revoked |= state == '-';
	l->unknown |= state == '?';
	if (state == ' ' && l->pending++ == 0)
		list_request(l, rest);
}

/*
 * Takes one line of either CA generation.
 *
 *     + "H" (SHA256) AA:BB:.. (alt names: "DNS:a")      puppet cert list
 *
 *     Requested Certificates:                           puppetserver ca list
 *         H       (SHA256)  AA:BB:..	alt names: ["DNS:a"]	..
 */
static void
list_line(struct listing *l, const char *certname, const char *p)
{
	static const struct {
		const char *text;
		char state;
	} header[] = {
		{ "Requested Certificates:", ' ' },
		{ "Signed Certificates:", '+' },
		{ "Revoked Certificates:", '-' },
		{ "Missing Certificates:", '?' }
	};
	size_t i, n;

	n = strlen(certname);
	for (i = 0; i < sizeof header / sizeof header[0]; i++)
		if (strcmp(p, header[i].text) == 0) {
			l->section = header[i].state;
			return;
		}
	if (strstr(p, "Could not find a certificate for ") != NULL ||
	    strcmp(p, "No certificates to list") == 0)
		l->unknown = 1;
	if (strstr(p, "invalid option: --certname") != NULL)
		l->refused = 1;
	if ((p[0] == ' ' || p[0] == '+' || p[0] == '-') && p[1] == ' ' &&
	    p[2] == '"' && strncmp(p + 3, certname, n) == 0 && p[3 + n] == '"')
		list_take(l, p[0], p + 3 + n);
	else if (l->section != '\0' && p[0] == ' ') {
		p += strspn(p, " ");
		if (strncmp(p, certname, n) == 0 &&
		    (p[n] == '\0' || p[n] == ' ' || p[n] == '\t'))
			list_take(l, l->section, p + n);
	}
}

/* What it has, as a set. */
static int
has(const struct listing *l)
{
	return (l->pending > 0 ? REQUESTED : 0) | (l->valid ? VALID : 0) |
	    (l->revoked ? REVOKED : 0);
}

/*
 * An answer says something of the certname, or was cut off; one for all may
 * name others only.
 */
static int
list_run(struct mom *m, const char *const argv[], int all)
{
	struct listing *const l = &m->list;
	char line[LINE_SIZE];
	struct child c;
	int rc, status;

	memset(l, 0, sizeof *l);
	rc = child_start(&c, argv);
	status = rc == 0 ? child_wait_or_stop(&c) : -1;
	while (rc == 0 && (rc = child_line(&c, line, sizeof line)) == 1) {
		list_line(l, m->host, line);
		rc = 0;
	}
	if (rc == 0 && !l->unknown && !l->refused && (status != 0 ||
	    (has(l) == 0 && !(all && l->section != '\0'))))
		rc = complainx(interrupted() ? "interrupted" : "the CA did "
		    "not say what it has of %s: is its server running?",
		    m->host);
	if (rc == -1 || m->o->verbose)
		child_show(&c);
	child_close(&c);
	return rc;
}

/* `list H` of the first releases knows no --certname, but always --all. */
static int
list(struct mom *m)
{
	const char *const cert[] = {
		m->o->puppet, "cert", "--color=false", "list", m->host, NULL
	};
	const char *const ca[] = {
		m->puppetserver, "ca", "list", "--certname", m->host, NULL
	};
	const char *const all[] = {
		m->puppetserver, "ca", "list", "--all", NULL
	};
	int rc;

	rc = list_run(m, m->major < 6 ? cert : ca, 0);
	if (rc == 0 && m->list.refused)
		rc = list_run(m, all, 1);
	return rc;
}

/* The same CA, but not on this host, or none at all. */
static int
ca_check(const struct mom *m)
{
	char path[PATH_SIZE + NAME_SIZE];
	struct stat st;

	(void)format(path, sizeof path, "%s/ca_crt.pem", m->cadir);
	if (stat(path, &st) == 0)
		return 0;
	if (errno == ENOENT || errno == ENOTDIR)
		return complainx("no CA on this host (%s does not exist): run "
		    "this on the MoM", path);
	return complain("look at %s", path);
}

static int
mom_open(struct mom *m, const struct options *o)
{
	const struct setting setting[] = {
		{ "cadir", m->cadir, PATH_SIZE },
		{ "certname", m->certname, PATH_SIZE }
	};

	memset(m, 0, sizeof *m);
	m->o = o;
	m->host = o->certname;
	puppetserver_path(o, m->puppetserver);
	m->major = puppet_major(o);
	if (m->major == -1 || settings_ask(o, m->major < 7 ? "master" :
	    "server", NULL, setting, sizeof setting / sizeof setting[0]) == -1)
		return -1;
	return ca_check(m);
}

/*
 * Runs what changes the CA; or, as the end of a dry run, says it.  It is left
 * alone until it has ended, whatever happens: what the CA has afterwards tells
 * what it did, and judge compares it with what it had.  Returns an exit
 * status.
 */
static int
change(struct mom *m, const char *const argv[], const char *changed,
    const char *next, int (*judge)(struct mom *, struct child *, int, int))
{
	const int had = has(&m->list);
	struct child c;
	int rc, status;

	if (m->o->dry) {
		child_say(argv);
		say_next(m->o, 0, m->host, next, "");
		return DONE;
	}
	if (interrupted()) {
		(void)complainx("interrupted; nothing was changed");
		return NOT_DONE;
	}
	hold();
	if (child_start(&c, argv) == -1)
		return NOT_DONE;
	status = child_wait(&c);
	if (list(m) == 0)
		rc = judge(m, &c, status, had);
	else {
		child_show(&c);
		(void)complainx("%s may be %s or not: run this again",
		    m->host, changed);
		rc = PART_WAY;
	}
	child_close(&c);
	return rc;
}

/* What was cleaned tells what the compile master has, and needs next. */
static void
clean_said(const struct mom *m, int request)
{
	if (request) {
		say("%s: its request is removed from the CA; there was no "
		    "certificate to revoke", m->host);
		say("if 'node prepare' has made that request, in this order:");
		say_next(m->o, 0, m->host, "node restore", "");
		say_next(m->o, 0, m->host, "node prepare", "");
		return;
	}
	say("%s: its certificate is revoked and removed from the CA; this "
	    "cannot be undone", m->host);
	say_next(m->o, 0, m->host, "node prepare", "");
	say("if that was run before this, its request is gone, too: run "
	    "'cmregen node restore' there first");
}

/*
 * With only a request there is nothing to revoke, and `puppetserver ca clean'
 * exits with 24.  Returns an exit status.
 */
static int
clean_judge(struct mom *m, struct child *c, int status, int had)
{
	const int request = had == REQUESTED, left = has(&m->list);

	if (left == 0 && (status == 0 || request)) {
		if (m->o->verbose)
			child_show(c);
		clean_said(m, request);
		return DONE;
	}
	(void)complainx("puppet did not clean %s%s", m->host, left == 0 ?
	    " without errors: look whether its serial is in the CRL" :
	    left == had ? "" : " to the end: run this again");
	child_show(c);
	return left == had ? NOT_DONE : PART_WAY;
}

/* Returns an exit status. */
static int
clean(struct mom *m)
{
	const char *const cert[] = {
		m->o->puppet, "cert", "--color=false", "clean", m->host, NULL
	};
	const char *const ca[] = {
		m->puppetserver, "ca", "clean", "--certname", m->host, NULL
	};

	busy("asking the CA about %s", m->host);
	if (list(m) == -1)
		return NOT_DONE;
	if (has(&m->list) == 0) {
		(void)complainx("the CA knows no %s: it was cleaned "
		    "before, or is misspelt", m->host);
		tell(m->o, "if it was cleaned before:");
		say_next(m->o, 0, m->host, "node prepare", "");
		return NOT_DONE;
	}
	busy("cleaning %s", m->host);
	return change(m, m->major < 6 ? cert : ca, "cleaned", "node prepare",
	    clean_judge);
}

/*
 * Parallel `puppet cert clean' lose revocations: each takes its turn, but a
 * dry run, which only asks.
 */
int
mom_clean(const struct options *o)
{
	struct lock lock;
	struct mom m;
	int at, rc;

	if (mom_open(&m, o) == -1)
		return NOT_DONE;
	/* below 6 the CA itself is called ca */
	if (strcmp(m.certname, m.host) == 0 ||
	    (m.major < 6 && strcmp(m.host, "ca") == 0)) {
		(void)complainx("%s is the MoM itself: its certificate is not "
		    "for cmregen to revoke", m.host);
		return NOT_DONE;
	}
	if (o->dry)
		return clean(&m);
	at = path_above(-1, m.cadir);
	rc = NOT_DONE;
	if (at == -1)
		(void)complain("open the directory of %s", m.cadir);
	else if (lock_wait(&lock, at, ".cmregen.lock") == 0) {
		rc = clean(&m);
		(void)lock_drop(&lock);	/* it has complained */
	} else
		note("that file is beside %s, and holds nothing", m.cadir);
	close_read(at);
	return rc;
}

/*
 * There is a certificate and no request: it is the new one, or the old.  What
 * is harmless where the guess is wrong comes first.
 */
static void
signed_explain(const struct mom *m)
{
	(void)complainx("the CA has a certificate of %s and no request: "
	    "nothing to sign", m->host);
	if (m->list.valid) {
		tell(m->o, "if it is the new one, signed before or by itself "
		    "(autosigning):");
		say_next(m->o, 0, m->host, "node finish", "");
	}
	tell(m->o, "if it is the old one, since 'mom clean' was not run:");
	say_next(m->o, 1, "the MoM", "mom clean", m->host);
}

static void
missing_explain(const struct mom *m)
{
	(void)complainx("the CA has no request of %s: is the name right?  "
	    "(-w waits for one)", m->host);
	tell(m->o, "if 'node prepare' was not run there:");
	say_next(m->o, 0, m->host, "node prepare", "");
	tell(m->o, "if it was, its request was removed here since: run "
	    "'cmregen node restore' there first");
}

/* Waits until the CA has a request.  Returns 0, or -1. */
static int
request_wait(struct mom *m)
{
	long since;

	busy("asking the CA about %s", m->host);
	for (since = seconds(); ; nap(POLL)) {
		if (list(m) == -1)
			return -1;
		if (m->list.pending)
			return 0;
		if (m->list.valid || m->list.revoked) {
			signed_explain(m);
			return -1;
		}
		if (interrupted())
			return complainx("interrupted; nothing was signed");
		if (seconds() - since >= m->o->wait) {
			missing_explain(m);
			return -1;
		}
		busy("waiting for the request of %s", m->host);
	}
}

/*
 * The request as the CA prints it, but that what a tab parts is a line of its
 * own; all of it, however long it is.
 */
static void
request_show(const struct mom *m)
{
	const char *p;
	int n;

	tell(m->o, "request of %s, SHA-256 fingerprint:", m->host);
	tell(m->o, "    %s", m->list.fingerprint);
	if (strstr(m->list.asks, "alt names: ") == NULL)
		tell(m->o, "    no alternative names");
	for (p = m->list.asks; *p != '\0'; p += n + (p[n] == '\t')) {
		n = (int)strcspn(p, "\t");
		if (n > SHOWN)
			n = SHOWN;
		if (n > 0)
			tell(m->o, "    %.*s", n, p);
	}
}

/*
 * Whether it is one, and the one of -f, if that was given.  A second one can
 * only be forged, by a newline in an extension.
 */
static int
request_match(const struct mom *m)
{
	if (m->list.pending > 1)
		return complainx("the CA printed two requests: look at what "
		    "it has with its own tools");
	if (!fingerprint_ok(m->list.fingerprint))
		return complainx("the CA printed no SHA-256 fingerprint of "
		    "the request, or what is none");
	if (m->o->fingerprint == NULL ||
	    fingerprint_match(m->o->fingerprint, m->list.fingerprint))
		return 0;
	(void)complainx("this is not the request that -f names, and was not "
	    "signed: compare it with what 'node prepare' printed on %s",
	    m->host);
	tell(m->o, "if they differ, this request is old or somebody else's; "
	    "to remove it:");
	say_next(m->o, 1, "the MoM", "mom clean", m->host);
	return -1;
}

/*
 * The one refusal that a person can do something about, from 6 on; below,
 * puppet itself names the option.  From 8 on it keeps the reason to itself,
 * and in any version it names one setting at a time.
 */
static void
sign_explain(const struct mom *m, struct child *c)
{
	char line[LINE_SIZE];
	int names, extensions, refused, unsaid;

	names = strstr(m->list.asks, "alt names: ") != NULL;
	extensions = strstr(m->list.asks, "authorization extension") != NULL;
	refused = unsaid = 0;
	c->from = 0;
	while (child_line(c, line, sizeof line) == 1) {
		refused |= strstr(line, "disallowed") != NULL;
		unsaid |= strstr(line, "Error encountered when attempting to "
		    "sign") != NULL;
		names |= strstr(line, "subject alternative name") != NULL;
		extensions |= strstr(line, "authorization extension") != NULL;
	}
	if (!(refused || unsaid) || !(names || extensions))
		return;
	if (m->major < 6) {
		if (extensions)
			note("if %s may have these extensions, type: %s cert "
			    "--allow-dns-alt-names --allow-authorization-"
			    "extensions sign %s", m->host, m->o->puppet,
			    m->host);
		return;
	}
	if (unsaid && !refused)
		note("the reason is in the log of puppetserver; most likely:");
	if (names)
		note("alternative names need allow-subject-alt-names: true");
	if (extensions)
		note("extensions such as pp_auth_role need "
		    "allow-authorization-extensions: true");
	note("set that in the section certificate-authority of puppetserver's "
	    "ca.conf, restart the server, then run this again");
}

static int
sign_judge(struct mom *m, struct child *c, int status, int had)
{
	if (m->list.valid && !m->list.pending) {
		if (status != 0 || m->o->verbose)
			child_show(c);
		say("%s: its request is signed", m->host);
		say_next(m->o, 0, m->host, "node finish", "");
		return DONE;
	}
	(void)complainx("puppet did not sign the request of %s", m->host);
	child_show(c);
	sign_explain(m, c);
	if (has(&m->list) == 0)
		missing_explain(m);
	return has(&m->list) == had ? NOT_DONE : PART_WAY;
}

int
mom_sign(const struct options *o)
{
	struct mom m;
	const char *const cert[] = {
		o->puppet, "cert", "--color=false", "--allow-dns-alt-names",
		"sign", o->certname, NULL
	};
	const char *const ca[] = {
		m.puppetserver, "ca", "sign", "--certname", o->certname, NULL
	};

	if (mom_open(&m, o) == -1 || request_wait(&m) == -1)
		return NOT_DONE;
	request_show(&m);
	if (request_match(&m) == -1)
		return NOT_DONE;
	busy("signing the request of %s", m.host);
	return change(&m, m.major < 6 ? cert : ca, "signed", "node finish",
	    sign_judge);
}
