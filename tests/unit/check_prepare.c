/*
 * check_prepare.c: node prepare, its checks, its undo, and the rules of the
 * work directory, against the stand-in.
 */
#include <sys/stat.h>
#include <sys/wait.h>

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fixture.h"

#define COUNT(A) ((int)(sizeof(A) / sizeof((A)[0])))

static const char *before;

static void
place(int v, const char *name)
{
	situation(v, name);
	before = snapshot("node");
}

/* Status 1, these words, and nothing has changed. */
static void
assert_refused(const struct run *r, const char *words)
{
	assert_status(r, 1);
	assert_has(r->err, words);
	assert_same(snapshot("node"), before);
}

/* How puppet is asked for a request, by version. */
static const char *
submits(int v)
{
	return v == FIVE ? "puppet agent *--ssldir *" :
	    "puppet ssl submit_request *";
}

/*
 * As it should be.
 */

START_TEST(prepare_stages_and_touches_nothing)
{
	const struct run *r;

	place(_i, "idle");
	r = node("prepare", NULL);
	assert_status(r, 0);
	ends_staged();
	assert_has(r->out, fingerprint_of(NEXT REQUEST));
	assert_has(r->out, text("cmregen mom sign -f %s " CM1 "\n",
	    fingerprint_of(NEXT REQUEST)));
	assert_has(r->out, text("cmregen node finish -p %s\n",
	    path("node/bin/puppet")));
	ck_assert_str_eq(get("mom/ca/requests/" CM1 ".pem"),
	    get(NEXT REQUEST));
	ck_assert_int_eq(logged("node", "resource", 0), -1);
	ck_assert_int_eq(logged("node", "puppetserver", 0), -1);
	ck_assert(exists(CATALOG));
}
END_TEST

/* The only call of the log with these words, without newline and color. */
static const char *
call(const char *words)
{
	const char *s;

	ck_assert_int_eq(logged_times("node", words), 1);
	sh("sed 's/ --color=false//' node/log | grep -e '%s' >call", words);
	s = get("call");
	return text("%.*s", (int)strcspn(s, "\n"), s);
}

START_TEST(puppet_is_called_so_that_it_answers_at_once)
{
	const char *s;
	int asked;

	place(_i, "idle");
	assert_status(node("prepare", NULL), 0);
	s = call(_i == FIVE ? "agent --test" : "ssl submit_request");
	assert_has(s, text(" --ssldir %s", path(WORK "/make.1")));
	if (_i == FIVE) {
		assert_has(s, " --noop");
		assert_has(s, text(" --statedir %s", path(WORK "/state.1")));
	} else
		assert_has(s, " --waitforcert 0");
	/* before that it was asked where it would write */
	asked = logged("node", "hostprivkey hostcert localcacert hostcrl "
	    "requestdir", 2);
	ck_assert_int_ne(asked, -1);
	ck_assert_int_gt(logged("node", s, 0), asked);
	assert_has(call("--section agent hostprivkey"), text(" --ssldir %s",
	    path(WORK "/make.1")));
}
END_TEST

/* The CA's certificate was there before puppet; owners and modes are ssl's. */
START_TEST(next_is_as_ssl_is)
{
	situation(_i, "idle");
	sh("chmod 751 " SSL);
	node_killed(submits(_i), "prepare", NULL);
	sh("cmp " SSL "/certs/ca.pem " WORK "/make.1/certs/ca.pem; "
	    "rm -f mom/ca/requests/*");
	assert_status(node("prepare", NULL), 0);
	sh("for f in . private_keys private_keys/" CM1 ".pem certs "
	    "certs/ca.pem; do test \"$(stat -c '%%a %%u %%g' " SSL "/$f)\" = "
	    "\"$(stat -c '%%a %%u %%g' " NEXT "/$f)\" || [ $f = . ]; done");
}
END_TEST

START_TEST(prepare_again_says_the_same)
{
	const char *said;
	const struct run *r;

	place(_i, "idle");
	said = node("prepare", NULL)->out;
	before = snapshot(".");
	r = node("prepare", NULL);
	assert_status(r, 0);
	assert_same(r->out, said);
	assert_same(snapshot("."), before);
}
END_TEST

/* Below 6.4 puppet keeps one that is not of the key. */
START_TEST(a_foreign_certificate_in_next_is_not_the_new_one)
{
	const struct run *r;

	place(FIVE, "staged");
	give("1", "names.crt", NEXT CERT);
	r = node("prepare", NULL);
	assert_status(r, 1);
	assert_has(r->err, "not of the key");
	r = node("status", NULL);
	assert_has(r->err, "not of the key");
	assert_has_not(r->out, "nothing to sign");
}
END_TEST

START_TEST(the_hand_off_does_not_wait_for_puppet)
{
	const struct run *r;

	place(EIGHT, "idle");
	knob("node", "stall", "30");
	r = node("prepare", NULL);
	assert_status(r, 0);
	ck_assert(r->took < 15);
	ends_staged();
}
END_TEST

START_TEST(an_autosigned_request_goes_on_with_finish)
{
	const struct run *r;

	quiet_situation(_i, "idle");
	before = snapshot("node");
	knob("mom", "autosign", "");
	r = node("prepare", NULL);
	if (_i == FIVE) {		/* it signs no alternative names so */
		assert_refused(r, "disallowed");
		return;
	}
	assert_status(r, 0);
	assert_has(r->out, "cmregen node finish");
	assert_same(tree_text(SSL, NULL), first(SSL));
	assert_status(node("finish", NULL), 0);
	ends_finished();
}
END_TEST

START_TEST(v_shows_what_puppet_prints)
{
	const struct run *r;

	place(SEVEN, "idle");
	r = node("prepare", "-v", NULL);
	assert_status(r, 0);
	/* of a call that is not ended as soon as the request is there */
	assert_has(r->err, "--version exited with status 0, and printed:\n"
	    "    7.");
	situation(SEVEN, "idle");
	assert_has_not(node("prepare", NULL)->err, "--version");
}
END_TEST

/*
 * What is refused before anything is made.
 */

static const struct {
	const char *line, *words;
} checks[] = {
	{ "echo '{\"disabled_message\":\"by hand\"}' "
	    ">node/cache/state/agent_disabled.lock",
	    "administratively disabled (by hand)" },
	{ ": >node/cache/state/agent_disabled.lock",
	    "administratively disabled" },
	{ "mkdir " SSL "/ca; : >" SSL "/ca/ca_key.pem",
	    "a CA is on this host" },
	{ "mkdir -p node/puppetserver/ca; "
	    ": >node/puppetserver/ca/ca_key.pem", "a CA is on this host" },
	{ "mv " SSL " node/real; ln -s ../real " SSL,
	    "is a symbolic link: let ssldir in puppet.conf name ../real" },
	{ "rm -r " SSL "; : >" SSL, "is not a directory" },
	{ "rm -r " SSL, "let Puppet make it" },
	{ "cp -a " SSL " " BAK "; rm -r " SSL, "cmregen node restore" },
	{ "rm -r " SSL "/private_keys", "private_keys" },
	{ "mkdir " WORK "-next", "ssl.cmregen-next" },
	{ ": >" WORK "-old", "ssl.cmregen-old" },
	{ "echo SET_hostprivkey=$PWD/" SSL KEY " >node/settings",
	    "hostprivkey" },
	{ "echo SET_hostprivkey=/etc/key.pem >node/settings",
	    "hostprivkey" },
	{ "echo SET_hostcert=$PWD/" SSL CERT " >node/settings", "hostcert" },
	{ "echo SET_hostcrl=$PWD/" SSL "/crl.pem >node/settings",
	    "hostcrl" },
	{ "echo SET_localcacert=$PWD/" SSL "/certs/ca.pem >node/settings",
	    "localcacert" },
	{ "echo SET_requestdir=$PWD/" SSL "/certificate_requests "
	    ">node/settings", "requestdir" },
	{ "echo SET_certname=CM1 >node/settings", "certname" },
	{ "echo SET_ssldir=puppet/ssl >node/settings", "ssldir" },
	{ "echo SET_dns_alt_names= >node/settings",
	    "    - DNS:puppet.example.com\n" },
	{ "echo SET_dns_alt_names=puppet >node/settings",
	    "    - DNS:puppet.example.com\n" },
	{ "echo SET_dns_alt_names=puppet,puppet.example.com,"
	    "extra.example.com >node/settings",
	    "    + DNS:extra.example.com\n" },
	{ "cp -a " SSL " " BAK "; keys/give 3 key >" BAK KEY,
	    "ssl_bak-02" },
	{ "cp -a " SSL " " BAK "; keys/give 3 key >" SSL KEY "; "
	    ": >" SSL "/crl.pem", "is the backup of another ssl" },
	{ ": >" BAK, "not a directory" },
	{ "ln -s ssl " BAK, "not a directory" },
	{ "echo 'mute 0 1 puppet --version' >node/knobs/faults",
	    "version" },
	{ "echo 'exit 1 1 puppet config *' >node/knobs/faults",
	    "Injected failure" },
	{ "echo 'exit 1 2 puppet config *' >node/knobs/faults",
	    "Injected failure" },
	{ "echo 'cut - 1 puppet config *' >node/knobs/faults", "settings" },
	{ "mkfifo " SSL "/certs/fifo", "fifo" },
	{ "rm -r " SSL "/certs", "open certs in" },
	{ "cd " SSL "/certs; mv ca.pem ca; ln -s ca ca.pem",
	    "open certs/ca.pem in" },
	/* the work directory */
	{ "mkdir -m 755 " WORK, "was not made by cmregen" },
	{ "mkdir -m 770 " WORK, "was not made by cmregen" },
	{ "mkdir -m 700 " WORK "; chown 52001 " WORK,
	    "was not made by cmregen" },
	{ ": >" WORK, "ssl.cmregen" },
	{ "mkdir -m 700 node/w; ln -s ../w " WORK, "ssl.cmregen" },
	{ "mkdir -m 700 " WORK "; : >" JOURNAL "; chmod 644 " JOURNAL,
	    "journal" },
	{ "mkdir -m 700 " WORK "; : >" JOURNAL "; chmod 600 " JOURNAL
	    "; chown 52001 " JOURNAL, "journal" },
	{ "mkdir -m 700 " WORK "; umask 77; : >" JOURNAL "; ln " JOURNAL
	    " node/other", "journal" },
	{ "mkdir -m 700 " WORK "; umask 77; : >node/other; "
	    "ln -s ../../other " JOURNAL, "journal" },
	{ "mkdir -m 700 " WORK "; mkfifo -m 600 " JOURNAL, "journal" },
	{ "mkdir -m 700 " WORK " " JOURNAL, "journal" }
};

START_TEST(prepare_checks_before_it_makes_anything)
{
	situation(SEVEN, "idle");
	sh("%s", checks[_i].line);
	before = snapshot("node");
	assert_refused(node("prepare", NULL), checks[_i].words);
	ck_assert_int_eq(logged("node", "submit_request", 0), -1);
	ck_assert(!exists("mom/ca/requests/" CM1 ".pem"));
	sh("rm -f node/knobs/faults.*");
	assert_refused(node("prepare", "-n", NULL), checks[_i].words);
	ck_assert_int_eq(logged("node", "submit_request", 0), -1);
}
END_TEST

/* What belongs to the CA is 5's own place, too. */
START_TEST(a_CA_of_5_is_seen)
{
	situation(FIVE, "idle");
	sh("mkdir " SSL "/ca; : >" SSL "/ca/ca_key.pem");
	before = snapshot("node");
	assert_refused(node("prepare", NULL), "a CA is on this host");
}
END_TEST

START_TEST(a_mount_point_is_refused)
{
	const struct run *r;

	situation(SEVEN, "idle");
	sh("mount --bind " SSL " " SSL " 2>/dev/null || true; "
	    "cp -a " SSL " node/copy; umount " SSL "; "
	    "mount -t tmpfs none " SSL "; cp -a node/copy/. " SSL);
	r = node("prepare", NULL);
	sh("umount " SSL);
	assert_status(r, 1);
	assert_has(r->err, "is a mount point");
	no_leftover();
}
END_TEST

static const struct {
	const char *backup, *words;
} backups[] = {
	{ SSL, "is the ssldir itself, inside it or above it" },
	{ SSL "/", "is the ssldir itself, inside it or above it" },
	{ SSL "/bak", "inside it" },
	{ SSL "/certs/bak", "inside it" },
	{ "node/puppet/l/bak", "inside it" },
	{ "node/puppet/ssl/../ssl", "inside it" },
	{ "node/puppet", "above it" },
	{ "node", "above it" },
	{ "node/none/bak", "is it mounted?" },
	{ "node/conf/bak", "node/conf" },
	{ "node/conf", "not a directory" },
	{ "node/cache", "no backup of an ssl directory" },
	{ BAK ".cmregen-part", "cmregen's own" },
	{ WORK, "cmregen's own" },
	{ WORK "/bak", WORK "/bak" },
	{ "node/with\nnewline", "choose another" }
};

START_TEST(b_names_no_place_that_cannot_be_one)
{
	situation(SEVEN, "idle");
	sh("ln -s ssl node/puppet/l");
	before = snapshot("node");
	assert_refused(node("prepare", "-b", path("%s", backups[_i].backup),
	    NULL), backups[_i].words);
	assert_refused(node("prepare", "-nb", path("%s", backups[_i].backup),
	    NULL), backups[_i].words);
}
END_TEST

/* What a mount shows a second time is no second copy. */
static const struct {
	const char *mount, *words;
} mounts[] = {
	{ "mount --bind " SSL " node/usb", "is the ssldir itself" },
	{ "mount -t tmpfs none node/usb", "is a mount point" }
};

START_TEST(b_names_no_mount_point)
{
	const struct run *r;

	situation(SEVEN, "idle");
	sh("mkdir node/usb; %s", mounts[_i].mount);
	r = node("prepare", "-b", path("node/usb"), NULL);
	sh("umount node/usb; rmdir node/usb");
	assert_status(r, 1);
	assert_has(r->err, mounts[_i].words);
	no_leftover();
}
END_TEST

/* The same, when it was mounted after prepare: then old would be it. */
START_TEST(a_backup_that_shows_old_ends_nothing)
{
	const struct run *r;

	situation(SEVEN, "exchanged");
	sh("rm -r " BAK "; mkdir " BAK "; mount --bind " WORK "/old " BAK);
	r = node("finish", NULL);
	sh("umount " BAK "; rmdir " BAK);
	assert_status(r, 3);
	assert_has(r->err, "is the ssldir itself");
	assert_has(r->err, "is not there, or not the backup of what was");
	assert_same(tree_text(OLD, NULL), first(SSL));
}
END_TEST

/*
 * The backup.
 */

START_TEST(b_is_written_down_and_quoted)
{
	const struct run *r;
	const char *bak;

	quiet_situation(SEVEN, "idle");
	bak = path("node/it's here");
	r = node("prepare", "-b", bak, NULL);
	assert_status(r, 0);
	assert_has(get(JOURNAL), text("backup %s\n", bak));
	assert_same(tree_text(bak, NULL), first(SSL));
	ck_assert(!exists(BAK));
	assert_has(node("status", NULL)->out, "it's here");
	sign();
	sh("cp -a " SSL " " BAK "; keys/give 3 key >" BAK KEY);
	r = node("finish", NULL);
	assert_status(r, 0);
	assert_has(r->out, text("rm -rf '%s'\\''s here'\n", path("node/it")));
	sh("rm -r " BAK "; mv 'node/it'\\''s here' " BAK);
	ends_finished();
}
END_TEST

/* One that was set aside by a killed run, and one that is out of date. */
START_TEST(the_runbook_replaces_a_backup)
{
	place(SEVEN, "idle");
	sh("cp -a " SSL " " BAK "; echo >>" BAK "/crl.pem");
	if (_i == 0)
		sh("mv " BAK " " BAK ".cmregen-gone");
	runbook(node("prepare", "-n", NULL)->out);
	ends_staged();
	assert_same(tree_text(BAK, NULL), first(SSL));
	ck_assert(!exists(BAK ".cmregen-gone"));
}
END_TEST

/* What ends has its own backup; what begins has the one of -b. */
START_TEST(the_runbook_of_done_has_the_backup_of_b)
{
	const struct run *r;

	place(SEVEN, "done");
	r = node("prepare", "-n", "-b", path("node/other"), NULL);
	assert_status(r, 0);
	runbook(r->out);
	assert_same(tree_text("node/other", NULL), tree_text(SSL, NULL));
	ck_assert(exists(BAK));
	ck_assert(exists(NEXT));
}
END_TEST

START_TEST(an_equal_backup_is_used)
{
	struct stat was, is;

	situation(SEVEN, "idle");
	sh("cp -a " SSL " " BAK "; : >" SSL "/ssl.lock");
	ck_assert_int_eq(stat(path(BAK KEY), &was), 0);
	assert_status(node("prepare", NULL), 0);
	ck_assert_int_eq(stat(path(BAK KEY), &is), 0);
	ck_assert_uint_eq(was.st_ino, is.st_ino);
	sh("rm " SSL "/ssl.lock");
	ends_staged();
}
END_TEST

static const char *const differ[] = {
	"echo more >>" BAK "/crl.pem", "rm " BAK "/crl.pem",
	"chmod 700 " BAK "/certs", "chown -R 0 " BAK,
	"ln -sf other " BAK "/certs/12345678.0", ": >" BAK "/more",
	"rm " BAK CERT
};

START_TEST(a_backup_of_this_key_is_made_anew)
{
	const struct run *r;

	situation(SEVEN, "idle");
	sh("cp -a " SSL " " BAK "; %s", differ[_i]);
	r = node("prepare", NULL);
	assert_status(r, 0);
	assert_has(r->err, "the backup is out of date");
	ends_staged();
}
END_TEST

START_TEST(a_backup_that_was_made_anew_is_back_where_it_fails)
{
	situation(SEVEN, "idle");
	sh("cp -a " SSL " " BAK "; %s", differ[_i]);
	knob("mom", "server-stopped", "");
	before = snapshot("node");
	assert_refused(node("prepare", NULL), "not done");
}
END_TEST

START_TEST(a_backup_that_is_missing_is_made_again)
{
	place(SEVEN, "staged");
	sh("rm -r " BAK);
	assert_status(node("prepare", NULL), 0);
	ends_staged();
}
END_TEST

START_TEST(prepare_again_looks_at_the_backup)
{
	const struct run *r;

	place(SEVEN, "staged");
	sh("echo x >>" BAK "/crl.pem");
	assert_status(node("prepare", NULL), 0);
	ends_staged();
	place(SEVEN, "staged");
	give("3", "key", BAK KEY);
	r = node("prepare", NULL);
	assert_status(r, 1);
	assert_has(r->err, "type mv");
	assert_has_not(r->out, "node finish");
}
END_TEST

/* The journal does not grow. */
START_TEST(a_b_is_written_down_once)
{
	const char *journal;

	situation(SEVEN, "staged");
	assert_status(node("prepare", "-b", path("node/a b"), NULL), 0);
	journal = get(JOURNAL);
	assert_has(journal, path("node/a b"));
	assert_status(node("prepare", "-b", path("node/a b"), NULL), 0);
	assert_same(get(JOURNAL), journal);
}
END_TEST

/* A slip of the pen in -b must not be what finish then looks for. */
START_TEST(a_b_that_cannot_be_is_not_written_down)
{
	place(SEVEN, "signed");
	before = get(JOURNAL);
	assert_status(node("prepare", "-b", path("node/none/bak"), NULL), 1);
	assert_same(get(JOURNAL), before);
	assert_status(node("prepare", "-b", path("node/other"), NULL), 0);
	assert_has(get(JOURNAL), path("node/other"));
	assert_same(tree_text("node/other", NULL), first(SSL));
	sh("mkdir node/empty");
	assert_status(node("prepare", "-b", path("node/empty"), NULL), 1);
	assert_status(node("finish", NULL), 0);
}
END_TEST

/* Going back needs no backup, nor the directory that it was in. */
START_TEST(a_backup_that_cannot_be_reached_stops_no_way_back)
{
	const struct run *r;

	situation(SEVEN, "idle");
	sh("mkdir node/usb");
	assert_status(node("prepare", "-b", path("node/usb/bak"), NULL), 0);
	sh("rm -r node/usb; : >node/usb");
	r = node("status", NULL);
	assert_status(r, 3);
	assert_has(r->err, "where the backup is");
	assert_status(node("finish", NULL), 1);
	assert_status(node("restore", NULL), 0);
	ends_back();
}
END_TEST

/* As cp -r by root leaves it: said before anything is cleaned. */
START_TEST(an_ssl_of_root_gets_a_note)
{
	const struct run *r;

	situation(SEVEN, "fresh");
	sh("chown -Rh 0:0 " SSL);
	r = node("prepare", "-n", NULL);
	assert_status(r, 0);
	assert_has(r->err, "belongs to root");
}
END_TEST

START_TEST(a_key_that_is_a_link_is_found_by_n)
{
	situation(SEVEN, "fresh");
	sh("mv " SSL KEY " node/key; ln -s ../../../key " SSL KEY);
	assert_status(node("prepare", "-n", NULL), 1);
}
END_TEST

START_TEST(a_request_that_is_gone_leaves_two_ways)
{
	const struct run *r;

	situation(SEVEN, "staged");
	sh("rm " WORK "/next/certificate_requests/*");
	r = node("status", NULL);
	assert_status(r, 3);
	assert_has(r->out, "cmregen node finish");
	assert_has(r->out, "cmregen node restore");
}
END_TEST

START_TEST(an_ssl_without_a_key_gets_a_note)
{
	const struct run *r;

	situation(SEVEN, "idle");
	sh("rm " SSL KEY);
	r = node("prepare", NULL);
	assert_status(r, 0);
	assert_has(r->err, "has no key");
}
END_TEST

START_TEST(an_ssl_without_the_CA_gets_a_note)
{
	const struct run *r;

	situation(_i, "idle");
	sh("rm " SSL "/certs/ca.pem");
	r = node("prepare", NULL);
	assert_status(r, 0);
	assert_has(r->err, "sign with -f");
}
END_TEST

/*
 * What fails later: all that was made goes.
 */

static const struct {
	int v;
	const char *situation, *line, *words;
} failures[] = {
	{ FIVE, "idle", ": >mom/knobs/server-stopped", "mom.example.com" },
	{ SEVEN, "idle", ": >mom/knobs/server-stopped", "does its server" },
	{ FIVE, "fresh", ":", "cmregen mom clean " CM1 },
	{ SIX, "fresh", ":", "cmregen mom clean " CM1 },
	{ SEVEN, "fresh", ":", "cmregen mom clean " CM1 },
	{ EIGHT, "fresh", ":", "cmregen mom clean " CM1 },
	{ FIVE, "idle", "keys/give 3 names.req >mom/ca/requests/" CM1 ".pem",
	    "cmregen mom clean " CM1 },
	{ SEVEN, "idle", "keys/give 3 names.req >mom/ca/requests/" CM1
	    ".pem", "cmregen mom clean " CM1 },
	{ SIX, "idle", "keys/give ca2 crt >" SSL "/certs/ca.pem",
	    "/ssl/certs/ca.pem: copy the CA certificate" },
	{ SEVEN, "idle", "keys/give ca2 crt >" SSL "/certs/ca.pem",
	    "/ssl/certs/ca.pem: copy the CA certificate" },
	{ EIGHT, "idle", "keys/give ca2 crt >" SSL "/certs/ca.pem",
	    "/ssl/certs/ca.pem: copy the CA certificate" },
	{ FIVE, "idle", "echo 'exit 1 1 puppet agent *' >node/knobs/faults",
	    "Injected failure" },
	{ SEVEN, "idle", "echo 'exit 1 1 puppet ssl *' >node/knobs/faults",
	    "Injected failure" },
	{ SEVEN, "idle", "echo 'mute 0 1 puppet ssl *' >node/knobs/faults",
	    "no request" },
	{ SEVEN, "idle", "echo 'signal KILL 1 puppet ssl *' "
	    ">node/knobs/faults", "no request" },
	{ FIVE, "idle", ": >node/knobs/key-only", "no request" },
	{ SEVEN, "idle", "echo plain >node/knobs/request-as",
	    "    - DNS:puppet\n" },
	{ SEVEN, "idle", "echo extra >node/knobs/request-as",
	    "    + DNS:extra.example.com\n" },
	{ FIVE, "idle", "echo plain >node/knobs/request-as",
	    "    - DNS:puppet\n" },
	{ SEVEN, "idle", "echo 'pp_role: compile_master' "
	    ">node/puppet/csr_attributes.yaml", "    + 1.3.6.1.4.1.34380." },
	{ EIGHT, "idle", "echo 'pp_auth_role: pe_compiler' "
	    ">node/puppet/csr_attributes.yaml", "(pp_auth_role)" }
};

START_TEST(what_fails_leaves_nothing)
{
	const struct run *r;

	situation(failures[_i].v, failures[_i].situation);
	sh("%s", failures[_i].line);
	before = snapshot("node");
	r = node("prepare", NULL);
	assert_refused(r, failures[_i].words);
	assert_has(r->err, "not done; ssl and services are as they were");
	no_leftover();
	ck_assert_int_eq(logged("node", "resource", 0), -1);
}
END_TEST

/* The extensions that the present certificate has, and the request has not. */
static const char *const roles[] = { "role", "auth" };

START_TEST(an_extension_that_would_be_lost_is_named)
{
	const struct run *r;

	situation(_i / 2 == 0 ? SEVEN : FIVE, "fresh");
	present(roles[_i % 2]);
	sh("rm mom/ca/signed/" CM1 ".pem");
	before = snapshot("node");
	r = node("prepare", NULL);
	assert_refused(r, "    - 1.3.6.1.4.1.34380.");
	assert_has(r->err, "csr_attributes.yaml");
	sh("rm mom/ca/requests/*");
	r = node("prepare", "-a", NULL);
	assert_status(r, 0);
	assert_has(r->err, "    - 1.3.6.1.4.1.34380.");
}
END_TEST

START_TEST(a_accepts_other_names)
{
	const struct run *r;

	situation(_i, "idle");
	sh("echo SET_dns_alt_names= >node/settings");
	r = node("prepare", "-a", NULL);
	assert_status(r, 0);
	assert_has(r->err, "    - DNS:puppet\n");
	ends_staged();
}
END_TEST

START_TEST(a_present_certificate_that_cannot_be_read_stops_nobody)
{
	const struct run *r;

	situation(SEVEN, "idle");
	sh(_i == 0 ? "echo junk >" SSL CERT : "rm " SSL CERT);
	r = node("prepare", NULL);
	assert_status(r, 0);
	assert_has(r->err, "cannot be read");
	assert_has(r->err, "    + DNS:puppet\n");
}
END_TEST

static const int sent[] = { SIGINT, SIGTERM, SIGHUP };

START_TEST(a_signal_takes_all_back)
{
	const struct run *r;
	pid_t pid;

	place(_i % 2 == 0 ? SEVEN : FIVE, "idle");
	knob("node", "faults", text("stall 20 1 %s", submits(_i % 2 == 0 ?
	    SEVEN : FIVE)));
	pid = start("node", "prepare", "-p", path("node/bin/puppet"), NULL);
	await(WORK "/make.1/certs/ca.pem");
	sleep_ms(200);
	(void)kill(pid, sent[_i / 2]);
	r = finish(pid);
	assert_refused(r, "interrupted");
	ck_assert(r->took < 15);
	no_leftover();
}
END_TEST

/*
 * The work directory.
 */

START_TEST(one_command_at_a_time)
{
	static const char *const all[] = {
		"prepare", "finish", "restore", "status"
	};
	const struct run *r;
	pid_t other;
	size_t i;

	place(SEVEN, "staged");
	other = hold_lock(JOURNAL);
	for (i = 0; i < 4; i++) {
		r = node(all[i], NULL);
		assert_refused(r, "another cmregen is running");
		if (i < 3)
			assert_refused(node(all[i], "-n", NULL),
			    "another cmregen is running");
	}
	hold_end(other);
	assert_status(node("prepare", NULL), 0);
}
END_TEST

START_TEST(an_open_work_directory_is_closed_again)
{
	place(FIVE, "staged");
	sh("chmod 711 " WORK);
	assert_status(node("status", NULL), 3);
	sh("test $(stat -c %%a " WORK ") = 711");
	assert_status(node("prepare", NULL), 0);
	ends_staged();
}
END_TEST

static const char *const rubbish[] = {
	"mkdir " WORK "/make.1", "cp -a " SSL " " WORK "/make.7",
	"mkdir -p " WORK "/state.1/a/b", "cp -a " SSL " " WORK "/gone.1",
	": >" WORK "/file", "ln -s / " WORK "/link", "mkfifo " WORK "/fifo",
	"mkdir " WORK "/.hidden " WORK "/nextt", ": >" WORK "/gone.1",
	"cp -a " SSL " " BAK ".cmregen-part",
	"cp -a " SSL " " BAK ".cmregen-gone",
	"mv " BAK " " BAK ".cmregen-gone"
};

START_TEST(rubbish_is_removed)
{
	situation(SEVEN, "staged");
	sh("%s", rubbish[_i]);
	assert_status(node("prepare", NULL), 0);
	ends_staged();
	sh("! find node/puppet -name '*-part' -o -name '*-gone' | grep .");
}
END_TEST

START_TEST(rubbish_without_a_journal_is_removed)
{
	situation(SEVEN, "idle");
	sh("mkdir -m 700 " WORK "; cp -a " SSL " " NEXT "; "
	    "mkdir " WORK "/make.1");
	assert_status(node("finish", NULL), 1);
	ends_back();
	sh("mkdir -m 700 " WORK "; cp -a " SSL " " NEXT "; "
	    "mkdir " WORK "/make.1");
	assert_status(node("prepare", NULL), 0);
	ends_staged();
}
END_TEST

/* 75 directories below one another cannot be removed by us, nor a mount. */
static const char *const stubborn[] = {
	"mkdir -p " WORK "/gone.1 && (cd " WORK "/gone.1 && i=0 && "
	    "while [ $i -lt 75 ]; do mkdir d && cd d; i=$((i + 1)); done)",
	"mkdir -p " WORK "/gone.1/m && mount -t tmpfs none " WORK "/gone.1/m"
};

START_TEST(rubbish_that_stays_stops_nobody)
{
	const struct run *r;

	quiet_situation(SEVEN, "signed");
	sh("%s", stubborn[_i]);
	r = node("prepare", NULL);
	assert_status(r, 0);
	assert_has(r->err, text("rm -rf %s", path(WORK "/gone.1")));
	r = node("finish", NULL);
	assert_status(r, 0);
	assert_has(r->err, text("rm -rf %s", path(WORK "/gone.1")));
	sh("umount " WORK "/gone.1/m 2>/dev/null || true");
	ck_assert_str_eq(served(), "2");
	ck_assert(!exists(JOURNAL));
	sh("rm -rf " WORK "/gone.1; rmdir " WORK);
	ends_finished();
}
END_TEST

/* Where all is rubbish, restore finds nothing under way. */
START_TEST(rubbish_that_stays_is_not_under_way)
{
	situation(SEVEN, "idle");
	sh("mkdir -m 700 " WORK "; %s", stubborn[_i]);
	assert_status(node("status", NULL), 0);
	assert_status(node("prepare", NULL), 0);
	sh("umount " WORK "/gone.1/m 2>/dev/null || true");
	sh("rm -rf " WORK "/gone.1");
	ends_staged();
}
END_TEST

/* What a child of a killed run still writes into is left to it. */
START_TEST(a_number_that_is_taken_is_passed_over)
{
	situation(SEVEN, "idle");
	sh("mkdir -m 700 " WORK "; mkdir -p " WORK "/make.1/m; "
	    "mount -t tmpfs none " WORK "/make.1/m");
	assert_status(node("prepare", NULL), 0);
	ck_assert_int_ne(logged("node", "make.2", 0), -1);
	sh("umount " WORK "/make.1/m; rm -r " WORK "/make.1");
	ends_staged();
}
END_TEST

static TCase *
prepare_case(void)
{
	TCase *tc;

	tc = tcase_create("prepare");
	tcase_add_checked_fixture(tc, fixture_begin, fixture_end);
	tcase_set_timeout(tc, 120);
	tcase_add_loop_test(tc, prepare_stages_and_touches_nothing, 0,
	    VERSIONS);
	tcase_add_loop_test(tc, puppet_is_called_so_that_it_answers_at_once,
	    0, VERSIONS);
	tcase_add_loop_test(tc, next_is_as_ssl_is, 0, VERSIONS);
	tcase_add_loop_test(tc, prepare_again_says_the_same, 0, VERSIONS);
	tcase_add_test(tc, a_foreign_certificate_in_next_is_not_the_new_one);
	tcase_add_test(tc, the_hand_off_does_not_wait_for_puppet);
	tcase_add_loop_test(tc, an_autosigned_request_goes_on_with_finish, 0,
	    VERSIONS);
	tcase_add_test(tc, v_shows_what_puppet_prints);
	tcase_add_loop_test(tc, prepare_checks_before_it_makes_anything, 0,
	    COUNT(checks));
	tcase_add_test(tc, a_CA_of_5_is_seen);
	tcase_add_test(tc, a_mount_point_is_refused);
	tcase_add_loop_test(tc, b_names_no_place_that_cannot_be_one, 0,
	    COUNT(backups));
	tcase_add_loop_test(tc, b_names_no_mount_point, 0,
	    COUNT(mounts));
	tcase_add_test(tc, a_backup_that_shows_old_ends_nothing);
	tcase_add_test(tc, b_is_written_down_and_quoted);
	tcase_add_loop_test(tc, the_runbook_replaces_a_backup, 0, 2);
	tcase_add_test(tc, the_runbook_of_done_has_the_backup_of_b);
	tcase_add_test(tc, an_equal_backup_is_used);
	tcase_add_loop_test(tc, a_backup_of_this_key_is_made_anew, 0,
	    COUNT(differ));
	tcase_add_loop_test(tc,
	    a_backup_that_was_made_anew_is_back_where_it_fails, 0,
	    COUNT(differ));
	tcase_add_test(tc, a_backup_that_is_missing_is_made_again);
	tcase_add_test(tc, prepare_again_looks_at_the_backup);
	tcase_add_test(tc, a_b_is_written_down_once);
	tcase_add_test(tc, a_b_that_cannot_be_is_not_written_down);
	tcase_add_test(tc,
	    a_backup_that_cannot_be_reached_stops_no_way_back);
	tcase_add_test(tc, an_ssl_of_root_gets_a_note);
	tcase_add_test(tc, a_key_that_is_a_link_is_found_by_n);
	tcase_add_test(tc, a_request_that_is_gone_leaves_two_ways);
	tcase_add_test(tc, an_ssl_without_a_key_gets_a_note);
	tcase_add_loop_test(tc, an_ssl_without_the_CA_gets_a_note, 0,
	    VERSIONS);
	tcase_add_loop_test(tc, what_fails_leaves_nothing, 0,
	    COUNT(failures));
	tcase_add_loop_test(tc, an_extension_that_would_be_lost_is_named, 0,
	    4);
	tcase_add_loop_test(tc, a_accepts_other_names, 0, VERSIONS);
	tcase_add_loop_test(tc,
	    a_present_certificate_that_cannot_be_read_stops_nobody, 0, 2);
	tcase_add_loop_test(tc, a_signal_takes_all_back, 0, 2 * COUNT(sent));
	return tc;
}

static TCase *
work_case(void)
{
	TCase *tc;

	tc = tcase_create("work");
	tcase_add_checked_fixture(tc, fixture_begin, fixture_end);
	tcase_set_timeout(tc, 120);
	tcase_add_test(tc, one_command_at_a_time);
	tcase_add_test(tc, an_open_work_directory_is_closed_again);
	tcase_add_loop_test(tc, rubbish_is_removed, 0, COUNT(rubbish));
	tcase_add_test(tc, rubbish_without_a_journal_is_removed);
	tcase_add_loop_test(tc, rubbish_that_stays_stops_nobody, 0,
	    COUNT(stubborn));
	tcase_add_loop_test(tc, rubbish_that_stays_is_not_under_way, 0,
	    COUNT(stubborn));
	tcase_add_test(tc, a_number_that_is_taken_is_passed_over);
	return tc;
}

int
main(void)
{
	Suite *s;

	s = suite_create("prepare");
	suite_add_tcase(s, prepare_case());
	suite_add_tcase(s, work_case());
	return suite_run(s);
}
