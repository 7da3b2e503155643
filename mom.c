/*
 * mom.c: what is done on the master of masters: steps 1-2 and 9-10.  Both
 * commands look what the CA has, act, and look again.
 */
#include <sys/stat.h>

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cmregen.h"

enum {
	POLL = 1000,		/* milliseconds between two looks */
	SHOWN = 4000,		/* bytes of what the CA prints in one line */
	FINGERPRINT_SHOWN = 32 * 3 - 1	/* AA:BB:.. */
};

/* What the CA has of the certname, as `list' prints it. */
struct listing {
	int pending, valid, revoked;
	int unknown;		/* the CA said that it has nothing */
	int refused;		/* `ca list` does not know --certname */
	int none;		/* it has no certificates at all */
	char section;		/* of `ca list`: what its names are */
	char fingerprint[FINGERPRINT_SIZE];	/* of the request */
	char asks[LINE_SIZE];	/* for which names and extensions it asks */
};

struct mom {
	const struct options *o;
	int major;		/* Puppet's version; below 6 `puppet cert` */
	char puppetserver[PATH_SIZE];
	char certname[PATH_SIZE], cadir[PATH_SIZE];	/* settings */
	struct listing list;
};

/*
 * Takes what stands behind the name: (SHA256) AA:BB:.. (alt names ..).  A
 * second request can only be forged, by a newline in an extension.
 */
static int
list_request(struct listing *l, const char *p)
{
	size_t n;

	if (l->pending)
		return complainx("the CA printed two requests: look at what "
		    "it has with its own tools");
	l->pending = 1;
	p += strspn(p, "\" ");
	if (*p == '(')
		p += strcspn(p, " \t");
	p += strspn(p, " \t");
	n = strcspn(p, " \t");
	if (n >= sizeof l->fingerprint)
		return complainx("the fingerprint that the CA printed is too "
		    "long");
	memcpy(l->fingerprint, p, n);
	l->fingerprint[n] = '\0';
	if (n != FINGERPRINT_SHOWN || !fingerprint_ok(l->fingerprint))
		return complainx("the CA printed '%s', which is no SHA-256 "
		    "fingerprint", l->fingerprint);
	p += n;
	return format(l->asks, sizeof l->asks, "%s", p + strspn(p, " \t"));
}

static int
list_take(struct listing *l, char state, const char *rest)
{
	switch (state) {
	case '+':
		l->valid = 1;
		return 0;
	case '-':
		l->revoked = 1;
		return 0;
	case '?':
		l->unknown = 1;
		return 0;
	default:
		return list_request(l, rest);
	}
}

/*
 * Takes one line of either CA generation.
 *
 *     + "H" (SHA256) AA:BB:.. (alt names: "DNS:a")      puppet cert list
 *
 *     Requested Certificates:                           puppetserver ca list
 *         H       (SHA256)  AA:BB:..	alt names: ["DNS:a"]	..
 */
static int
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
			return 0;
		}
	if (strstr(p, "Could not find a certificate for ") != NULL)
		l->unknown = 1;
	if (strstr(p, "invalid option: --certname") != NULL)
		l->refused = 1;
	if (strcmp(p, "No certificates to list") == 0)
		l->none = 1;
	if ((p[0] == ' ' || p[0] == '+' || p[0] == '-') && p[1] == ' ' &&
	    p[2] == '"' && strncmp(p + 3, certname, n) == 0 && p[3 + n] == '"')
		return list_take(l, p[0], p + 3 + n);
	if (l->section == '\0' || p[0] != ' ')
		return 0;
	p += strspn(p, " ");
	if (strncmp(p, certname, n) != 0 ||
	    (p[n] != '\0' && p[n] != ' ' && p[n] != '\t'))
		return 0;
	return list_take(l, l->section, p + n);
}

/* An empty answer is none. */
static int
list_told(const struct listing *l)
{
	return l->pending || l->valid || l->revoked || l->unknown ||
	    l->section != '\0' || l->none;
}

static int
list_run(struct mom *m, const char *const argv[])
{
	char line[LINE_SIZE];
	struct child c;
	int rc, status;

	memset(&m->list, 0, sizeof m->list);
	rc = child_start(&c, argv);
	status = rc == 0 ? child_wait_or_stop(&c) : -1;
	while (rc == 0) {
		rc = child_line(&c, line, sizeof line);
		if (rc < 1)
			break;
		rc = list_line(&m->list, m->o->certname, line);
	}
	if (rc == 0 && (status != 0 || !list_told(&m->list)) &&
	    !m->list.unknown && !m->list.refused)
		rc = complainx(interrupted() ? "interrupted" : "the CA did "
		    "not say what it has of %s: is its server running?",
		    m->o->certname);
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
		m->o->puppet, "cert", "--color=false", "list",
		m->o->certname, NULL
	};
	const char *const ca[] = {
		m->puppetserver, "ca", "list", "--certname",
		m->o->certname, NULL
	};
	const char *const all[] = {
		m->puppetserver, "ca", "list", "--all", NULL
	};
	int rc;

	rc = list_run(m, m->major < 6 ? cert : ca);
	if (rc == 0 && m->list.refused)
		rc = list_run(m, all);
	m->list.unknown = !m->list.pending && !m->list.valid &&
	    !m->list.revoked;
	return rc;
}

/* The same CA, but not on this host, or none at all. */
static int
ca_check(const struct mom *m)
{
	char path[PATH_SIZE];
	struct stat st;

	if (format(path, sizeof path, "%s/ca_crt.pem", m->cadir) == -1)
		return complainx("%s: too long", m->cadir);
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
	if (puppetserver_path(o, m->puppetserver) == -1)
		return -1;
	m->major = puppet_major(o);
	if (m->major == -1 || settings_ask(o, m->major < 7 ? "master" :
	    "server", NULL, setting, sizeof setting / sizeof setting[0]) == -1)
		return -1;
	return ca_check(m);
}

/*
 * Runs what changes the CA.  It is left alone until it has ended: what the CA
 * has afterwards tells what it did.
 */
static int
act(struct child *c, const char *const argv[])
{
	return child_start(c, argv) == -1 ? -1 : child_wait(c);
}

/* The end of a dry run: the command that would have been run. */
static void
dry_end(const struct mom *m, const char *const argv[], const char *next)
{
	child_say(argv);
	say_next(m->o, 0, m->o->certname, next, "");
}

static const char *const *
clean_argv(const struct mom *m, const char *argv[6])
{
	const int cert = m->major < 6;

	argv[0] = cert ? m->o->puppet : m->puppetserver;
	argv[1] = cert ? "cert" : "ca";
	argv[2] = cert ? "--color=false" : "clean";
	argv[3] = cert ? "clean" : "--certname";
	argv[4] = m->o->certname;
	argv[5] = NULL;
	return argv;
}

/* What was cleaned tells what the compile master has, and needs next. */
static void
clean_said(const struct mom *m, int request)
{
	const struct options *const o = m->o;
	const char *const h = o->certname;

	if (request) {
		say("%s: its request is removed from the CA; there was no "
		    "certificate to revoke", h);
		say("if 'node prepare' has made that request, in this order:");
		say_next(o, 0, h, "node restore", "");
		say_next(o, 0, h, "node prepare", "");
		return;
	}
	say("%s: its certificate is revoked and removed from the CA; this "
	    "cannot be undone", h);
	say_next(o, 0, h, "node prepare", "");
	say("if that was run before this, its request is gone, too; then "
	    "first:");
	say_next(o, 0, h, "node restore", "");
}

/*
 * With only a request there is nothing to revoke, and `puppetserver ca clean'
 * exits with 24.  Returns an exit status.
 */
static int
clean_judge(struct mom *m, struct child *c, int status)
{
	const char *const h = m->o->certname;
	const int request = !m->list.valid && !m->list.revoked;

	if (list(m) == -1) {
		child_show(c);
		(void)complainx("%s may be cleaned or not: run this again", h);
		return PART_WAY;
	}
	if (m->list.unknown && (status == 0 || request)) {
		if (m->o->verbose)
			child_show(c);
		clean_said(m, request);
		return DONE;
	}
	(void)complainx("puppet did not clean %s%s", h, m->list.unknown ?
	    " without errors: look whether its serial is in the CRL" : "");
	child_show(c);
	return m->list.unknown || (m->list.revoked && !m->list.valid) ?
	    PART_WAY : NOT_DONE;
}

/* Returns an exit status. */
static int
clean(struct mom *m)
{
	const char *const h = m->o->certname;
	const char *argv[6];
	struct child c;
	int rc;

	busy("asking the CA about %s", h);
	if (list(m) == -1)
		return NOT_DONE;
	if (m->list.unknown) {
		(void)complainx("the CA knows no %s: it was cleaned "
		    "before, or is misspelt", h);
		tell(m->o, "if it was cleaned before:");
		say_next(m->o, 0, h, "node prepare", "");
		return NOT_DONE;
	}
	if (m->o->dry) {
		dry_end(m, clean_argv(m, argv), "node prepare");
		return DONE;
	}
	busy("cleaning %s", h);
	if (act(&c, clean_argv(m, argv)) == -1 && c.out == -1)
		rc = NOT_DONE;
	else
		rc = clean_judge(m, &c, child_wait(&c));
	child_close(&c);
	return rc;
}

/*
 * Parallel `puppet cert clean' lose revocations: each takes its turn, but a
 * dry run, which only asks.
 */
int
mom_clean(const struct options *o)
{
	char name[NAME_SIZE];
	struct lock lock;
	struct mom m;
	int at, rc;

	if (mom_open(&m, o) == -1)
		return NOT_DONE;
	if (strcmp(m.certname, o->certname) == 0) {
		(void)complainx("%s is the MoM itself: its certificate is not "
		    "for cmregen to revoke", o->certname);
		return NOT_DONE;
	}
	if (o->dry)
		return clean(&m);
	at = path_open(m.cadir, name);
	if (at == -1)
		return NOT_DONE;
	rc = NOT_DONE;
	if (lock_wait(&lock, at, ".cmregen.lock") == 0) {
		rc = clean(&m);
		(void)lock_drop(&lock);	/* it has complained */
	}
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
	const char *const h = m->o->certname;
	char rest[NAME_SIZE + 2];

	(void)complainx("the CA has a certificate of %s and no request: "
	    "nothing to sign", h);
	(void)format(rest, sizeof rest, " %s", h);
	tell(m->o, "if it is the new one, signed before or by itself "
	    "(autosigning):");
	say_next(m->o, 0, h, "node finish", "");
	tell(m->o, "if it is the old one, since 'mom clean' was not run:");
	say_next(m->o, 1, "the MoM", "mom clean", rest);
}

static void
missing_explain(const struct mom *m)
{
	const char *const h = m->o->certname;

	(void)complainx("the CA has no request of %s: is the name right?  "
	    "(-w waits for one)", h);
	tell(m->o, "if 'node prepare' was not run there:");
	say_next(m->o, 0, h, "node prepare", "");
	tell(m->o, "if it was, its request was removed here since; first:");
	say_next(m->o, 0, h, "node restore", "");
}

/* Waits until the CA has a request.  Returns 0, or -1. */
static int
request_wait(struct mom *m)
{
	const char *const h = m->o->certname;
	long since;

	busy("asking the CA about %s", h);
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
		busy("waiting for the request of %s", h);
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

	tell(m->o, "request of %s, SHA-256 fingerprint:", m->o->certname);
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

/* Whether it is the one of -f, if that was given. */
static int
request_match(const struct mom *m)
{
	const char *const h = m->o->certname;
	char rest[NAME_SIZE + 2];

	if (m->o->fingerprint == NULL ||
	    fingerprint_match(m->o->fingerprint, m->list.fingerprint))
		return 0;
	(void)complainx("this is not the request that -f names, and was not "
	    "signed: compare it with what 'node prepare' printed on %s", h);
	(void)format(rest, sizeof rest, " %s", h);
	tell(m->o, "if they differ, this request is old or somebody else's; "
	    "to remove it:");
	say_next(m->o, 1, "the MoM", "mom clean", rest);
	return -1;
}

static const char *const *
sign_argv(const struct mom *m, const char *argv[7])
{
	const int cert = m->major < 6;
	int n;

	n = 0;
	argv[n++] = cert ? m->o->puppet : m->puppetserver;
	argv[n++] = cert ? "cert" : "ca";
	if (cert) {
		argv[n++] = "--color=false";
		argv[n++] = "--allow-dns-alt-names";
	}
	argv[n++] = "sign";
	if (!cert)
		argv[n++] = "--certname";
	argv[n++] = m->o->certname;
	argv[n] = NULL;
	return argv;
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
			    "extensions sign %s", m->o->certname,
			    m->o->puppet, m->o->certname);
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
sign_judge(struct mom *m, struct child *c, int status)
{
	const char *const h = m->o->certname;

	if (list(m) == -1) {
		child_show(c);
		(void)complainx("%s may be signed or not: run this again", h);
		return PART_WAY;
	}
	if (m->list.valid && !m->list.pending) {
		if (status != 0 || m->o->verbose)
			child_show(c);
		say("%s: its request is signed", h);
		say_next(m->o, 0, h, "node finish", "");
		return DONE;
	}
	(void)complainx("puppet did not sign the request of %s", h);
	child_show(c);
	sign_explain(m, c);
	return m->list.pending ? NOT_DONE : PART_WAY;
}

int
mom_sign(const struct options *o)
{
	const char *argv[7];
	struct child c;
	struct mom m;
	int rc;

	if (mom_open(&m, o) == -1 || request_wait(&m) == -1)
		return NOT_DONE;
	request_show(&m);
	if (request_match(&m) == -1)
		return NOT_DONE;
	if (o->dry) {
		dry_end(&m, sign_argv(&m, argv), "node finish");
		return DONE;
	}
	busy("signing the request of %s", o->certname);
	if (act(&c, sign_argv(&m, argv)) == -1 && c.out == -1)
		rc = NOT_DONE;
	else
		rc = sign_judge(&m, &c, child_wait(&c));
	child_close(&c);
	return rc;
}
