/*
 * check_restore.c: node restore: the exchange for a copy of the backup, going
 * back, each step failed in turn, and -r, against the stand-in.
 */
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
assert_refused(const struct run *r, const char *words)
{
	assert_status(r, 1);
	assert_has(r->err, words);
	assert_same(snapshot("node"), before);
}

/*
 * Where nothing is under way.
 */

START_TEST(restore_after_finish_needs_a_and_is_the_way_back)
{
	const struct run *r;

	situation(_i, "finished");
	before = snapshot("node");
	r = node("restore", NULL);
	assert_refused(r, "-a");
	assert_has(r->err, "serial number 0A");
	assert_has(r->err, "serial number 02");
	ck_assert_int_eq(logged("node", "resource", 0), -1);
	r = node("restore", "-a", NULL);
	assert_status(r, 0);
	ends_back();
	ck_assert(!exists(CATALOG));
	ck_assert_int_eq(logged_times("node", "puppetserver reload"), 1);
	assert_has(r->out, "stays revoked");
	assert_has(r->out, "cmregen mom clean " CM1);
	assert_has(r->out, text("cmregen node prepare -p %s",
	    path("node/bin/puppet")));
}
END_TEST

/* After it everything can begin again. */
START_TEST(a_regeneration_after_restore)
{
	quiet_situation(_i, "finished");
	assert_status(node("restore", "-a", NULL), 0);
	sh("rm mom/ca/signed/" CM1 ".pem");
	assert_status(node("prepare", NULL), 0);
	sign();
	assert_status(node("finish", NULL), 0);
	no_leftover();
	ck_assert_str_eq(generation_of(SSL KEY), "3");
	ck_assert_str_eq(served(), "3");
}
END_TEST

START_TEST(an_equal_ssl_is_left_alone_and_what_is_enabled_started)
{
	const struct run *r;

	situation(SEVEN, "idle");
	sh("cp -a " SSL " " BAK "; : >" SSL "/ssl.lock; "
	    "echo stopped true >node/services/pxp-agent");
	r = node("restore", NULL);
	assert_status(r, 0);
	assert_has(r->out, "already");
	sh("rm " SSL "/ssl.lock");
	ends_back();
	ck_assert_int_eq(logged("node", "reload", 0), -1);
	ck_assert_int_eq(logged("node", "ensure=stopped", 0), -1);
}
END_TEST

/* The key is the same, or there is none that would be lost. */
static const char *const spoilt[] = {
	"echo more >>" SSL "/crl.pem", "rm " SSL CERT, "rm " SSL KEY,
	"rm -r " SSL "/certs", "rm -r " SSL, "chmod 700 " SSL "/certs",
	"keys/give 3 key >" SSL KEY, "echo junk >" SSL KEY
};

START_TEST(a_spoilt_ssl_is_replaced)
{
	quiet_situation(_i % 2 == 0 ? SEVEN : FIVE, "idle");
	sh("cp -a " SSL " " BAK "; %s", spoilt[_i]);
	assert_status(node("restore", NULL), 0);
	ends_back();
}
END_TEST

static const struct {
	const char *line, *words;
} checks[] = {
	{ "rm -r " BAK, "no backup" },
	{ "rm " BAK KEY, "no key" },
	{ "rm " BAK CERT, "name the right backup" },
	{ "keys/give 3 names.crt >" BAK CERT, "name the right backup" },
	{ "echo junk >" BAK KEY, "name the right backup" },
	{ "chown -R 0:0 " BAK, "chown -Rh 52001:52001 " },
	{ "rm -r " BAK "; ln -s ssl " BAK, "not a directory" },
	{ "mkdir " SSL "/ca; : >" SSL "/ca/ca_key.pem",
	    "a CA is on this host" },
	{ "mv " SSL " node/real; ln -s ../real " SSL, "symbolic link" },
	{ "mkdir " WORK "-next", "ssl.cmregen-next" },
	{ "mkfifo " BAK "/certs/fifo", "fifo" },
	{ "mkdir -m 755 " WORK, "was not made by cmregen" },
	{ "echo 'exit 1 1 *resource service pxp-agent' >node/knobs/faults",
	    "pxp-agent" }
};

START_TEST(restore_checks_before_it_changes_anything)
{
	quiet_situation(SEVEN, "finished");
	sh("%s", checks[_i].line);
	before = snapshot("node");
	assert_refused(node("restore", "-a", NULL), checks[_i].words);
	ck_assert_int_eq(logged("node", "ensure=", 0), -1);
	if (_i == COUNT(checks) - 1)
		return;			/* -n asks for no service so early */
	sh("rm -f node/knobs/*");
	assert_refused(node("restore", "-an", NULL), checks[_i].words);
}
END_TEST

/* The line that is printed mends it. */
START_TEST(a_backup_that_root_made_is_mended_by_the_line)
{
	const struct run *r;
	const char *line;

	quiet_situation(SEVEN, "finished");
	sh("chown -R 0:0 " BAK);
	r = node("restore", "-a", NULL);
	assert_status(r, 1);
	line = strstr(r->err, "chown -Rh");
	ck_assert_ptr_nonnull(line);
	sh("%.*s", (int)strcspn(line, ",\n"), line);
	assert_status(node("restore", "-a", NULL), 0);
	ends_back();
}
END_TEST

/* Where there is no ssl, nothing tells whose it should be. */
START_TEST(a_backup_of_root_gets_a_note_where_there_is_no_ssl)
{
	const struct run *r;

	situation(SEVEN, "idle");
	sh("cp -a " SSL " " BAK "; rm -r " SSL);
	r = node("restore", "-n", NULL);
	assert_status(r, 0);
	assert_has_not(r->err, "belongs to root");
	sh("chown -Rh 0:0 " BAK);
	r = node("restore", NULL);
	assert_status(r, 0);
	assert_has(r->err, BAK " belongs to root");
}
END_TEST

/* One that root copied is mended by the one that was not. */
START_TEST(an_ssl_of_root_is_replaced_by_the_backup_of_its_owner)
{
	situation(SEVEN, "idle");
	sh("cp -a " SSL " " BAK "; chown -Rh 0:0 " SSL);
	assert_status(node("restore", NULL), 0);
	assert_same(tree_text(SSL, NULL), first(SSL));
}
END_TEST

START_TEST(restore_takes_a_backup_elsewhere)
{
	const struct run *r;

	quiet_situation(SEVEN, "finished");
	sh("mv " BAK " 'node/my backup'");
	r = node("restore", "-ab", path("node/my backup"), NULL);
	assert_status(r, 0);
	sh("mv 'node/my backup' " BAK);
	ends_back();
}
END_TEST

START_TEST(a_disabled_puppet_does_not_matter)
{
	quiet_situation(SEVEN, "finished");
	sh(": >node/cache/state/agent_disabled.lock");
	assert_status(node("restore", "-a", NULL), 0);
	ends_back();
}
END_TEST

/* A link at the top, set-id bits, times, and names of any bytes come back. */
START_TEST(what_is_unusual_comes_back)
{
	const char *was;

	quiet_situation(SEVEN, "idle");
	sh("ln -s nowhere " SSL "/top; : >'" SSL "/a\nb'; "
	    ": >" SSL "/.hidden; chmod 4751 " SSL "/.hidden; "
	    "mkdir -m 2700 " SSL "/d; chown -Rh 52001:52001 " SSL "; "
	    "chmod 4751 " SSL "/.hidden; chmod 2700 " SSL "/d");
	was = tree_text(SSL, NULL);
	assert_status(node("prepare", NULL), 0);
	sign();
	assert_status(node("finish", NULL), 0);
	assert_status(node("restore", "-a", NULL), 0);
	assert_same(tree_text(SSL, NULL), was);
	assert_same(tree_text(BAK, NULL), was);
}
END_TEST

/*
 * Each step failed.  Before ssl is moved all is taken back, afterwards the
 * same command goes on.
 */

static const struct {
	const char *line, *words;
	int status;
} steps[] = {
	{ ": >node/knobs/stop-fails.puppet", "did not stop", 1 },
	{ ": >node/knobs/stop-fails.pxp-agent", "did not stop", 1 },
	{ "echo 'mute 0 1 *pxp-agent ensure=stopped' >node/knobs/faults",
	    "did not tell", 1 },
	{ "echo 'parent TERM 1 *puppet ensure=stopped' >node/knobs/faults",
	    "interrupted", 1 },
	{ "mount --bind " SSL " " SSL, "rename", 3 },
	{ "rm -f " CATALOG "; mkdir " CATALOG, CM1 ".json", 0 },
	{ ": >node/knobs/start-fails.pxp-agent", "pxp-agent", 0 },
	{ "printf '%s\\n' 'exit 1 1 puppetserver reload' "
	    "'wrong - 1 *pe-puppetserver ensure=running' "
	    "'wrong - 1 *pe-puppetserver ensure=running' "
	    ">node/knobs/faults", "pe-puppetserver", 0 },
	{ ": >node/knobs/start-fails.puppet", "puppet", 0 }
};

START_TEST(a_step_of_restore_that_fails)
{
	const struct run *r;
	int quiet;

	quiet = _i != 0 && _i != 8;
	if (quiet)
		quiet_situation(SEVEN, "finished");
	else
		situation(SEVEN, "finished");
	before = snapshot("node");
	sh("%s", steps[_i].line);
	r = node("restore", "-a", NULL);
	ck_assert_msg(r->status == steps[_i].status, "%d: %s", r->status,
	    r->err);
	assert_has(r->err, steps[_i].words);
	sh("umount " SSL " 2>/dev/null || true; rm -f node/knobs/*; "
	    "[ ! -d " CATALOG " ] || rm -r " CATALOG);
	if (r->status == 1)
		assert_same(snapshot("node"), before);
	if (r->status != 0)
		assert_status(node("restore", "-a", NULL), 0);
	no_leftover();
	assert_same(tree_text(SSL, NULL), first(SSL));
	if (_i < 6)			/* -a accepts the others */
		ends_back();
}
END_TEST

/* Begun below root, its line names nothing; then that system was started. */
START_TEST(restore_goes_on_with_what_a_boot_has_started)
{
	situation(SEVEN, _i == 0 ? "restoring" : "restored");
	sh("sed -i 's/^restore .*/restore/' " JOURNAL "; for s in puppet "
	    "pxp-agent pe-puppetserver; do echo running true "
	    ">node/services/$s; done");
	assert_status(node("restore", NULL), 0);
	ends_back();
}
END_TEST

/* ssl, which is given up, becomes the backup that is not there any more. */
START_TEST(the_runbook_keeps_what_is_given_up)
{
	const char *was;

	quiet_situation(SEVEN, "restoring");
	sh("rm -r " BAK);
	was = tree_text(SSL, NULL);
	runbook(node("restore", "-n", NULL)->out);
	assert_same(tree_text(BAK, NULL), was);
	assert_same(tree_text(SSL, NULL), first(SSL));
	no_leftover();
}
END_TEST

/* What could not be read may be all right. */
START_TEST(what_cannot_be_read_is_given_up_only_with_a)
{
	quiet_situation(SEVEN, "finished");
	sh("mv " SSL KEY " node/key; ln -s ../../../key " SSL KEY);
	before = snapshot("node");
	assert_refused(node("restore", NULL), "could not be read");
	assert_status(node("restore", "-a", NULL), 0);
	assert_same(tree_text(SSL, NULL), first(SSL));
}
END_TEST

START_TEST(going_back_needs_old)
{
	quiet_situation(SEVEN, _i == 0 ? "exchanged" : "unproven");
	sh("mv " OLD " node/elsewhere");
	before = snapshot("node");
	assert_refused(node("restore", NULL), "is gone");
	sh("mv node/elsewhere " OLD);
	assert_status(node("restore", NULL), 0);
	ends_back();
}
END_TEST

START_TEST(going_back_takes_no_backup_of_b)
{
	const struct run *r;

	quiet_situation(SEVEN, "exchanged");
	sh("cp -a " BAK " node/other");
	r = node("restore", "-b", path("node/other"), NULL);
	assert_status(r, 0);
	assert_has(r->err, "-b is not needed");
	ends_back();
}
END_TEST

/* Killed when all was done, it does not begin once more with the backup. */
START_TEST(restore_again_only_removes_what_is_left)
{
	const struct run *r;

	quiet_situation(SEVEN, "undone");
	give("3", "key", BAK KEY);
	give("3", "names.crt", BAK CERT);
	r = _i == 0 ? node("restore", NULL) : node("restore", "-a", NULL);
	assert_status(r, 0);
	assert_has(r->out, "all was done");
	assert_same(tree_text(SSL, NULL), first(SSL));
	no_leftover();
}
END_TEST

/* Without -a a service that does not start ends with 3, and can be mended. */
START_TEST(a_service_that_restore_cannot_start_is_named)
{
	const struct run *r;

	quiet_situation(SEVEN, _i == 0 ? "restoring" : "exchanged");
	knob("node", "start-fails.pxp-agent", "");
	r = node("restore", NULL);
	assert_status(r, 3);
	assert_has(r->err, "pxp-agent");
	assert_same(tree_text(SSL, NULL), first(SSL));
	assert_status(node("restore", NULL), 3);
	assert_status(node("status", NULL), 3);
	sh("rm node/knobs/*");
	assert_status(node("restore", NULL), 0);
	ends_back();
}
END_TEST

/* One that does not answer keeps no other down. */
START_TEST(a_service_without_an_answer_stops_no_other)
{
	const struct run *r;

	quiet_situation(SEVEN, "idle");
	sh("cp -a " SSL " " BAK "; echo stopped true >node/services/pxp-agent; "
	    "echo 'exit 1 1 *resource*pe-puppetserver*' >node/knobs/faults");
	r = node("restore", NULL);
	assert_status(r, 3);
	assert_has(r->err, "not running: pe-puppetserver\n");
	assert_has(get("node/services/pxp-agent"), "running");
}
END_TEST

/* The run lock is waited for; a signal ends that, and all is as before. */
START_TEST(a_run_in_progress_is_waited_for)
{
	const struct run *r;
	pid_t pid;

	quiet_situation(SEVEN, "finished");
	before = snapshot("node");
	run_in_progress(_i == 0 ? "2" : "60");
	pid = start("node", "restore", "-a", "-p", path("node/bin/puppet"),
	    NULL);
	sleep_ms(1500);
	if (_i == 1)
		(void)kill(pid, SIGTERM);
	r = finish(pid);
	sh("rm -f " RUNLOCK);
	if (_i == 0) {
		assert_status(r, 0);
		ends_back();
	} else
		assert_refused(r, "interrupted");
}
END_TEST

/*
 * Going back.
 */

static const char *const states[] = {
	"staged", "signed", "exchanging", "torn", "exchanged", "unproven",
	"restoring", "halfway", "restored", "leaving", "returning"
};

/* It needs no backup, no MoM, and no service that did not run. */
START_TEST(going_back_needs_no_backup)
{
	if (strcmp(states[_i], "restoring") == 0)
		return;			/* next is a whole copy there: */
	quiet_situation(SEVEN, states[_i]);
	sh("rm -r " BAK "; : >mom/knobs/server-stopped");
	assert_status(node("restore", NULL), 0);
	no_leftover();
	assert_same(tree_text(SSL, NULL), first(SSL));
	ck_assert_str_eq(served(), "1");
}
END_TEST

/* old, which under -n is still there, is not what becomes the backup. */
START_TEST(the_runbook_needs_no_backup)
{
	const struct run *r;

	quiet_situation(SEVEN, "exchanged");
	sh("rm -r " BAK);
	r = node("restore", "-n", NULL);
	assert_status(r, 0);
	runbook(r->out);
	assert_same(tree_text(SSL, NULL), first(SSL));
	ck_assert(!exists(WORK));
}
END_TEST

/* What was put in the backup's place does not matter. */
START_TEST(going_back_needs_no_place_for_a_backup)
{
	quiet_situation(SEVEN, "exchanged");
	sh("rm -r " BAK "; ln -s /tmp " BAK);
	assert_status(node("status", NULL), 3);
	assert_status(node("restore", NULL), 0);
	assert_same(tree_text(SSL, NULL), first(SSL));
	no_leftover();
}
END_TEST

/* A medium that has become read-only between the two renames of a backup. */
START_TEST(going_back_needs_no_medium_that_can_be_written)
{
	const struct run *r;

	signed_with_medium();
	node_killed("puppetserver reload", "finish", NULL);
	sh("cd node/usb; mv bak bak.cmregen-gone; mount -o remount,ro .");
	r = node("restore", NULL);
	sh("umount node/usb");
	assert_status(r, 0);
	assert_has(r->out, "node prepare -p");
	assert_has(r->out, text(" -b %s\n", path("node/usb/bak")));
	assert_same(tree_text(SSL, NULL), first(SSL));
	no_leftover();
}
END_TEST

/* What stands there need not be readable. */
START_TEST(going_back_does_not_read_next)
{
	quiet_situation(SEVEN, _i == 0 ? "signed" : "exchanging");
	sh("cd " NEXT "; rm -r certs private_keys; ln -s /etc certs; "
	    "mkfifo private_keys");
	assert_status(node("restore", NULL), 0);
	ends_back();
}
END_TEST

/* What a boot has started since has the certificate that goes. */
START_TEST(going_back_asks_what_runs_by_now)
{
	quiet_situation(SEVEN, "unproven");
	sh("sed -i 's/^finish .*/finish pe-puppetserver/' " JOURNAL "; "
	    "echo running true >node/services/pxp-agent");
	log_clear("node");
	assert_status(node("restore", NULL), 0);
	ends_back();
	ck_assert_int_ne(logged("node", "pxp-agent ensure=stopped", 0), -1);
	ck_assert_int_ne(logged("node", "pxp-agent ensure=running", 0), -1);
}
END_TEST

/* On a disk that is mounted read-only there is much to see. */
START_TEST(what_only_looks_needs_no_disk_that_can_be_written)
{
	const struct run *r;

	quiet_situation(SEVEN, "unproven");
	sh("mount --bind node/puppet node/puppet; "
	    "mount -o remount,bind,ro node/puppet");
	r = _i == 0 ? node("status", NULL) : node("restore", "-n", NULL);
	sh("umount node/puppet");
	assert_status(r, _i == 0 ? 3 : 0);
	assert_has(r->out, _i == 0 ? "cmregen node restore" : path(OLD));
}
END_TEST

START_TEST(going_back_from_staged_touches_no_service)
{
	situation(_i, "staged");
	assert_status(node("restore", NULL), 0);
	ends_back();
	ck_assert(exists(CATALOG));
	ck_assert_int_eq(logged("node", "resource", 0), -1);
	ck_assert_int_eq(logged("node", "reload", 0), -1);
}
END_TEST

static const struct {
	const char *line, *words;
} back_steps[] = {
	{ ": >node/knobs/stop-fails.pxp-agent", "did not stop" },
	{ "rm -f " CATALOG "; mkdir " CATALOG, CM1 ".json" },
	{ "mount --bind " SSL " " SSL, "rename" },
	{ "mount --bind " OLD " " OLD, "rename" },
	{ ": >node/knobs/start-fails.pxp-agent", "pxp-agent" },
	{ "echo 'parent TERM 1 *pxp-agent ensure=stopped' "
	    ">node/knobs/faults", "interrupted" }
};

START_TEST(a_step_of_going_back_that_fails_goes_on_later)
{
	const struct run *r;

	quiet_situation(SEVEN, "unproven");
	sh("echo running true >node/services/pxp-agent; %s",
	    back_steps[_i].line);
	r = node("restore", NULL);
	sh("umount " SSL " 2>/dev/null || umount " OLD " 2>/dev/null || "
	    "true; rm -f node/knobs/*; [ ! -d " CATALOG " ] || "
	    "rm -r " CATALOG);
	assert_status(r, 3);
	assert_has(r->err, back_steps[_i].words);
	assert_status(node("finish", NULL), 1);
	assert_status(node("prepare", NULL), 1);
	assert_status(node("restore", NULL), 0);
	ends_back();
}
END_TEST

/* No state is a trap. */
START_TEST(a_ends_restore_past_what_never_starts)
{
	quiet_situation(SEVEN, states[_i]);
	knob("node", "start-fails.pxp-agent", "");
	assert_status(node("restore", "-a", NULL), 0);
	no_leftover();
	assert_same(tree_text(SSL, NULL), first(SSL));
	ck_assert_str_eq(served(), "1");
}
END_TEST

/* puppet, too, runs at the end. */
START_TEST(puppet_is_started_last)
{
	situation(_i == 1 ? FIVE : SEVEN, _i == 0 ? "restored" : "exchanged");
	assert_status(node("restore", NULL), 0);
	ends_back();
	ck_assert_int_gt(logged("node", "service puppet ensure=running", 0),
	    logged("node", "pxp-agent ensure=running", 0));
}
END_TEST

/*
 * Below a root: no puppet, no service, no link.
 */

/* What the journal names is a path of that system. */
static void
root_place(const char *name)
{
	quiet_situation(SEVEN, name);
	if (exists(JOURNAL))
		sh("sed -i 's,^backup .*,backup /" BAK ",' " JOURNAL);
	before = snapshot(".");
}

static const struct run *
below(const char *flags, const char *backup)
{
	if (backup != NULL)
		return program("node", "restore", flags, "-r", path("%s", ""),
		    "-s", "/" SSL, "-b", backup, NULL);
	return program("node", "restore", flags, "-r", path("%s", ""), "-s",
	    "/" SSL, NULL);
}

/* The services are the next boot's. */
static void
assert_back_below(const char *services_before)
{
	no_leftover();
	assert_same(tree_text(SSL, NULL), first(SSL));
	assert_same(services(), services_before);
	ck_assert_str_eq(get("node/log"), "");
}

START_TEST(r_goes_back_from_each_state)
{
	const struct run *r;
	const char *services_before;

	root_place(states[_i]);
	services_before = services();
	r = below("-v", NULL);
	assert_status(r, 0);
	assert_back_below(services_before);
	ck_assert(exists(BAK));
	assert_has(r->out, "start that system");
}
END_TEST

START_TEST(the_runbook_of_r_does_the_same)
{
	const struct run *r;
	const char *services_before;

	root_place(states[_i]);
	services_before = services();
	r = below("-n", NULL);
	assert_status(r, 0);
	assert_same(snapshot("."), before);
	runbook(r->out);
	assert_back_below(services_before);
}
END_TEST

/* The backup of another host, whose keys have other names. */
START_TEST(r_takes_the_backup_of_another_host_only_with_a)
{
	const struct run *r;

	root_place("idle");
	sh("cp -a " SSL " node/other; mv node/other" KEY " node/other/"
	    "private_keys/cm2.example.com.pem; mv node/other" CERT
	    " node/other/certs/cm2.example.com.pem");
	before = snapshot(".");
	r = below("-v", path("node/other"));
	assert_status(r, 1);
	assert_has(r->err, "name the right backup");
	assert_same(snapshot("."), before);
	assert_status(below("-a", path("node/other")), 0);
}
END_TEST

/* A key that has no certificate yet is this host's all the same. */
START_TEST(r_does_not_take_it_for_a_key_without_certificate)
{
	const struct run *r;

	root_place("finished");
	sh("rm " SSL CERT "; mv " BAK KEY " " BAK "/private_keys/cm2.pem; "
	    "mv " BAK CERT " " BAK "/certs/cm2.pem");
	before = snapshot(".");
	r = below("-v", NULL);
	assert_status(r, 1);
	assert_has(r->err, "name the right backup");
	assert_same(snapshot("."), before);
}
END_TEST

START_TEST(r_copies_the_backup)
{
	const struct run *r;
	const char *services_before;

	root_place("finished");
	services_before = services();
	r = below("-v", NULL);
	assert_status(r, 1);
	assert_has(r->err, "-a");
	assert_same(snapshot("."), before);
	r = below("-a", NULL);
	assert_status(r, 0);
	assert_back_below(services_before);
	r = below("-v", NULL);		/* equal now */
	assert_status(r, 0);
	assert_back_below(services_before);
	sh("rm -r " SSL);
	assert_status(below("-v", NULL), 0);
	assert_back_below(services_before);
}
END_TEST

START_TEST(r_needs_no_puppet_and_no_s)
{
	quiet_situation(SEVEN, "finished");
	sh("mkdir -p root/etc/puppetlabs/puppet; "
	    "mv " SSL " " BAK " root/etc/puppetlabs/puppet/");
	assert_status(program("node", "restore", "-a", "-p", "/nonexistent",
	    "-r", path("root"), NULL), 0);
	assert_same(tree_text("root/etc/puppetlabs/puppet/ssl", NULL),
	    first(SSL));
	no_leftover();
}
END_TEST

START_TEST(r_takes_a_backup_inside_and_outside)
{
	const char *services_before;

	root_place("finished");
	services_before = services();
	sh("mv " BAK " node/cache/keep");
	if (_i == 0)
		assert_status(below("-a", path("node/cache/keep")), 0);
	else {
		sh("mkdir ../outside; mv node/cache/keep ../outside/; "
		    "cd ../outside; pwd | tr -d '\\n' >../s/outside");
		assert_status(below("-a", text("%s/keep", get("outside"))),
		    0);
	}
	assert_back_below(services_before);
	sh("rm -rf ../outside");
}
END_TEST

static const struct {
	const char *line, *words;
} root_checks[] = {
	{ "mv node/puppet node/p; ln -s p node/puppet", "node" },
	{ "mv node n; ln -s n node", "node" },
	{ "mv " SSL " node/s; ln -s ../s " SSL, "symbolic link" },
	{ "mv " BAK " node/b; ln -s ../b " BAK, "not a directory" },
	{ "mkdir " SSL "/ca; : >" SSL "/ca/ca_key.pem", "a CA is in" },
	{ "ln -s /nonexistent " SSL "/ca", "a CA is in" },
	{ "rm -r node/puppet", "mounted" },
	{ "rm -r " BAK, "backup" },
	{ "rm -r " BAK "/private_keys", "no key" },
	{ "rm " BAK CERT, "no key" },
	{ "chown -R 0:0 " BAK, "chown -Rh" },
	{ "mkdir -m 755 " WORK, "was not made by cmregen" }
};

START_TEST(r_checks_before_it_changes_anything)
{
	const struct run *r;

	root_place("finished");
	sh("%s", root_checks[_i].line);
	before = snapshot(".");
	r = below("-a", NULL);
	assert_status(r, 1);
	assert_has(r->err, root_checks[_i].words);
	assert_same(snapshot("."), before);
	assert_status(below("-an", NULL), 1);
	assert_same(snapshot("."), before);
}
END_TEST

START_TEST(r_needs_a_root_that_is_there)
{
	const struct run *r;

	root_place("finished");
	r = program("node", "restore", "-r", path("none"), NULL);
	assert_status(r, 1);
	assert_has(r->err, "none");
	r = program("node", "restore", "-r", path("node/conf"), NULL);
	assert_status(r, 1);
	assert_same(snapshot("."), before);
}
END_TEST

static TCase *
restore_case(void)
{
	TCase *tc;

	tc = tcase_create("restore");
	tcase_add_checked_fixture(tc, fixture_begin, fixture_end);
	tcase_set_timeout(tc, 120);
	tcase_add_loop_test(tc,
	    restore_after_finish_needs_a_and_is_the_way_back, 0, VERSIONS);
	tcase_add_loop_test(tc, a_regeneration_after_restore, 0, VERSIONS);
	tcase_add_test(tc,
	    an_equal_ssl_is_left_alone_and_what_is_enabled_started);
	tcase_add_loop_test(tc, a_spoilt_ssl_is_replaced, 0, COUNT(spoilt));
	tcase_add_loop_test(tc, restore_checks_before_it_changes_anything, 0,
	    COUNT(checks));
	tcase_add_test(tc, a_backup_that_root_made_is_mended_by_the_line);
	tcase_add_test(tc,
	    an_ssl_of_root_is_replaced_by_the_backup_of_its_owner);
	tcase_add_test(tc,
	    a_backup_of_root_gets_a_note_where_there_is_no_ssl);
	tcase_add_test(tc, restore_takes_a_backup_elsewhere);
	tcase_add_test(tc, a_disabled_puppet_does_not_matter);
	tcase_add_test(tc, what_is_unusual_comes_back);
	tcase_add_loop_test(tc, a_step_of_restore_that_fails, 0,
	    COUNT(steps));
	tcase_add_loop_test(tc,
	    a_service_that_restore_cannot_start_is_named, 0, 2);
	tcase_add_test(tc, a_service_without_an_answer_stops_no_other);
	tcase_add_loop_test(tc, a_run_in_progress_is_waited_for, 0, 2);
	tcase_add_test(tc, what_cannot_be_read_is_given_up_only_with_a);
	tcase_add_loop_test(tc, going_back_needs_old, 0, 2);
	tcase_add_test(tc, going_back_takes_no_backup_of_b);
	tcase_add_loop_test(tc, going_back_does_not_read_next, 0, 2);
	tcase_add_test(tc, going_back_asks_what_runs_by_now);
	tcase_add_loop_test(tc,
	    what_only_looks_needs_no_disk_that_can_be_written, 0, 2);
	tcase_add_test(tc, r_does_not_take_it_for_a_key_without_certificate);
	tcase_add_loop_test(tc, restore_again_only_removes_what_is_left, 0, 2);
	tcase_add_loop_test(tc, restore_goes_on_with_what_a_boot_has_started,
	    0, 2);
	tcase_add_test(tc, the_runbook_keeps_what_is_given_up);
	return tc;
}

static TCase *
back_case(void)
{
	TCase *tc;

	tc = tcase_create("back");
	tcase_add_checked_fixture(tc, fixture_begin, fixture_end);
	tcase_set_timeout(tc, 120);
	tcase_add_loop_test(tc, going_back_needs_no_backup, 0,
	    COUNT(states));
	tcase_add_test(tc, the_runbook_needs_no_backup);
	tcase_add_test(tc, going_back_needs_no_place_for_a_backup);
	tcase_add_test(tc, going_back_needs_no_medium_that_can_be_written);
	tcase_add_loop_test(tc, going_back_from_staged_touches_no_service, 0,
	    VERSIONS);
	tcase_add_loop_test(tc, a_step_of_going_back_that_fails_goes_on_later,
	    0, COUNT(back_steps));
	tcase_add_loop_test(tc, a_ends_restore_past_what_never_starts, 0,
	    COUNT(states));
	tcase_add_loop_test(tc, puppet_is_started_last, 0, 3);
	return tc;
}

static TCase *
root_case(void)
{
	TCase *tc;

	tc = tcase_create("root");
	tcase_add_checked_fixture(tc, fixture_begin, fixture_end);
	tcase_set_timeout(tc, 120);
	tcase_add_loop_test(tc, r_goes_back_from_each_state, 0,
	    COUNT(states));
	tcase_add_loop_test(tc, the_runbook_of_r_does_the_same, 0,
	    COUNT(states));
	tcase_add_test(tc, r_takes_the_backup_of_another_host_only_with_a);
	tcase_add_test(tc, r_copies_the_backup);
	tcase_add_test(tc, r_needs_no_puppet_and_no_s);
	tcase_add_loop_test(tc, r_takes_a_backup_inside_and_outside, 0, 2);
	tcase_add_loop_test(tc, r_checks_before_it_changes_anything, 0,
	    COUNT(root_checks));
	tcase_add_test(tc, r_needs_a_root_that_is_there);
	return tc;
}

int
main(void)
{
	Suite *s;

	s = suite_create("restore");
	suite_add_tcase(s, restore_case());
	suite_add_tcase(s, back_case());
	suite_add_tcase(s, root_case());
	return suite_run(s);
}
