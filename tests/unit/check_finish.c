/*
 * check_finish.c: node finish: the fetch, each step of the exchange failed in
 * turn, its undo, the Puppet run and the proof, against the stand-in.
 */
#include <sys/wait.h>

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fixture.h"

#define COUNT(A) ((int)(sizeof(A) / sizeof((A)[0])))

static const char *before, *services_before, *journal_before;

static void
look(void)
{
	before = snapshot("node");
	services_before = services();
	journal_before = get(JOURNAL);
}

static void
place(int v, const char *name)
{
	situation(v, name);
	look();
}

static void
quiet_place(int v, const char *name)
{
	quiet_situation(v, name);
	look();
}

static void
assert_refused(const struct run *r, const char *words)
{
	assert_status(r, 1);
	assert_has(r->err, words);
	assert_same(snapshot("node"), before);
}

/* As before finish, but that next may have its certificate, and no catalog. */
static void
assert_undone(const struct run *r, const char *words)
{
	assert_status(r, 1);
	assert_has(r->err, words);
	assert_same(tree_text(SSL, NULL), first(SSL));
	assert_same(tree_text(BAK, NULL), first(SSL));
	assert_same(get(JOURNAL), journal_before);
	assert_same(services(), services_before);
	ck_assert_str_eq(served(), "1");
	ck_assert_str_eq(generation_of(NEXT KEY), "2");
	ck_assert_str_eq(generation_of(NEXT CERT), "2");
	sh("ls -A " WORK " >fp");
	ck_assert_str_eq(get("fp"), "journal\nnext\n");
}

/*
 * As it should be.
 */

START_TEST(finish_goes_in_the_order_of_the_procedure)
{
	static const char *const calls[] = {
		"--ssldir", "resource service puppet\n",
		"service puppet ensure=stopped",
		"service pxp-agent ensure=stopped", "puppetserver reload",
		"puppet agent --test\n", "service puppet ensure=running"
	};
	const struct run *r;
	size_t i;
	int at, next;

	place(_i, "signed");
	r = node("finish", NULL);
	assert_status(r, 0);
	ends_finished();
	for (at = -1, i = 0; i < sizeof calls / sizeof calls[0]; i++) {
		next = logged("node", calls[i], at + 1);
		ck_assert_msg(next > at, "%s after line %d of\n%s", calls[i],
		    at, get("node/log"));
		at = next;
	}
	ck_assert_int_eq(logged_times("node", "puppetserver reload"), 1);
	ck_assert_int_eq(logged("node", "pe-puppetserver ensure=stopped", 0),
	    -1);
	assert_has(r->out, "serial number 0A");
	assert_has(r->out, "serial number 02");
	assert_has(r->out, "2049-02-15");
	assert_has(r->out, text("rm -rf %s", path(BAK)));
	ck_assert(exists(CATALOG));
	ck_assert(exists("node/cache/client_data/catalog/other.json"));
}
END_TEST

/* The key fits at the reload, and the catalog is gone; old is still there. */
START_TEST(at_the_reload_everything_is_in_place)
{
	situation(_i, "exchanged");
	ck_assert_str_eq(generation_of(SSL KEY), "2");
	ck_assert_str_eq(generation_of(SSL CERT), "2");
	assert_same(tree_text(OLD, NULL), first(SSL));
	ck_assert(!exists(CATALOG));
	ck_assert(!exists(NEXT));
	assert_has(get(JOURNAL), text("staged\nfinish puppet pe-puppetserver"
	    "%s pxp-agent\n", _i == FIVE ? " mcollective" : ""));
}
END_TEST

/* In the order of the services: whether it runs and is enabled; afterwards. */
static const struct {
	const char *unit, *was, *is;
} units[] = {
	{ "pxp-agent", "stopped true", "running true\n" },
	{ "pxp-agent", "stopped false", "stopped false\n" },
	{ "pxp-agent", "running false", "running false\n" },
	{ "pe-puppetserver", "stopped true", "running true\n" },
	{ "pe-puppetserver", "stopped false", "stopped false\n" },
	{ "puppet", "stopped true", "running true\n" },
	{ "puppet", "running false", "running false\n" },
	{ "puppetserver", "stopped true", "running true\n" }
};

START_TEST(what_ran_or_is_enabled_runs_and_nothing_else)
{
	quiet_situation(SEVEN, "signed");
	put(text("node/services/%s", units[_i].unit), text("%s\n",
	    units[_i].was));
	if (strcmp(units[_i].unit, "puppetserver") == 0)
		sh("rm node/services/pe-puppetserver");
	assert_status(node("finish", NULL), 0);
	no_leftover();
	ck_assert_str_eq(get(text("node/services/%s", units[_i].unit)),
	    units[_i].is);
	if (strcmp(units[_i].is, "stopped false\n") == 0)
		ck_assert_int_eq(logged("node", text("service %s ensure=",
		    units[_i].unit), 0), -1);
}
END_TEST

START_TEST(the_open_source_server_is_reloaded_too)
{
	quiet_situation(EIGHT, "signed");
	sh("mv node/services/pe-puppetserver node/services/puppetserver");
	assert_status(node("finish", NULL), 0);
	no_leftover();
	ck_assert_str_eq(served(), "2");
	ck_assert_int_eq(logged_times("node", "puppetserver reload"), 1);
}
END_TEST

START_TEST(v_shows_what_puppet_prints)
{
	const struct run *r;

	quiet_situation(SEVEN, "signed");
	r = node("finish", "-v", NULL);
	assert_status(r, 0);
	assert_has(r->err, "ensure changed 'running' to 'stopped'");
	quiet_situation(SEVEN, "signed");
	r = node("finish", NULL);
	assert_has_not(r->err, "ensure changed");
	assert_has(r->err, "Applied catalog");
}
END_TEST

/*
 * What is refused before the exchange.
 */

static const struct {
	int v;
	const char *line, *words;
} checks[] = {
	{ SEVEN, "echo '{\"disabled_message\":\"x\"}' "
	    ">node/cache/state/agent_disabled.lock",
	    "administratively disabled (x)" },
	{ SEVEN, "rm -r " BAK, "is it mounted?" },
	{ SEVEN, "mkdir -p " SSL "/ca; : >" SSL "/ca/ca_key.pem",
	    "a CA is on this host" },
	{ SEVEN, "mkdir " WORK "-old", "ssl.cmregen-old" },
	{ SEVEN, "echo SET_certname=A >node/settings", "certname" },
	{ SEVEN, ": >mom/knobs/server-stopped", "mom.example.com" },
	{ SEVEN, "keys/give 3 names.crt >mom/ca/signed/" CM1 ".pem",
	    "cmregen node restore" },
	{ EIGHT, "keys/give 3 names.crt >mom/ca/signed/" CM1 ".pem",
	    "cmregen mom clean " CM1 },
	{ SEVEN, "keys/give 1 names.crt >mom/ca/signed/" CM1 ".pem",
	    "cmregen node restore" },
	{ SEVEN, "keys/give ca2 crt >" NEXT "/certs/ca.pem", "verify" },
	{ SEVEN, "rm " NEXT KEY, "key" },
	{ SEVEN, ": >" NEXT KEY, "key" },
	{ SEVEN, "keys/give 3 key >" NEXT KEY, "cmregen node restore" },
	{ SEVEN, "echo 'exit 1 1 puppet ssl *' >node/knobs/faults",
	    "Injected failure" },
	{ SEVEN, "echo 'mute 0 1 puppet ssl *' >node/knobs/faults",
	    "signed" },
	{ FIVE, "echo 'exit 1 1 puppet agent *ssldir*' >node/knobs/faults",
	    "Injected failure" }
};

START_TEST(finish_checks_before_it_changes_anything)
{
	quiet_situation(checks[_i].v, "signed");
	sh("%s", checks[_i].line);
	look();
	assert_refused(node("finish", "-w", "0", NULL), checks[_i].words);
	ck_assert_int_eq(logged("node", "ensure=", 0), -1);
}
END_TEST

/* Below 6.4 puppet keeps it, and what ssl has is never exchanged for it. */
START_TEST(a_certificate_of_another_key_is_never_used)
{
	const struct run *r;

	quiet_place(FIVE, "signed");
	give(_i == 0 ? "3" : "1", "names.crt", "mom/ca/signed/" CM1 ".pem");
	r = node("finish", "-w", "0", NULL);
	assert_status(r, 1);
	assert_has(r->err, "cmregen node restore");
	assert_has(r->err, "cmregen mom clean " CM1);
	assert_same(tree_text(SSL, NULL), first(SSL));
	ck_assert_int_eq(logged("node", "ensure=", 0), -1);
	assert_status(node("finish", "-w", "0", NULL), 1);
	assert_status(node("restore", NULL), 0);
	ends_back();
}
END_TEST

/* Who waits is told for what: nothing else can say it meanwhile. */
START_TEST(finish_that_waits_says_what_to_sign)
{
	const struct run *r;

	quiet_situation(_i, "staged");
	r = node("finish", "-w", "1", NULL);
	assert_status(r, 1);
	assert_has(r->out, text("cmregen mom sign -f %s " CM1 "\n",
	    fingerprint_of("mom/ca/requests/" CM1 ".pem")));
	assert_has(strstr(r->out, "cmregen mom sign") + 1,
	    "cmregen mom sign");	/* and once more at the end */
}
END_TEST

/* Who then cleans once more revokes the new one. */
START_TEST(a_certificate_that_is_here_is_told_with_its_time)
{
	const struct run *r;

	quiet_situation(SEVEN, "signed");
	knob("node", "stop-fails.pxp-agent", "");
	assert_status(node("finish", NULL), 1);
	r = node("prepare", NULL);
	assert_status(r, 0);
	assert_has(r->out, "is here (serial number 0");
	assert_has(r->err, "if 'mom clean' is run after 20");
}
END_TEST

/* What puppet says, and what helps at once: waiting does not. */
static const struct {
	const char *says, *words;
} hopeless[] = {
	{ "Error: No space left on device @ rb_sysopen - x", "make room" },
	{ "Error: The certificate for 'x' does not match its private key",
	    "cmregen mom clean " CM1 },
	{ "Error: certificate verify failed [CRL has expired for CN=x]",
	    NEXT "/certs/ca.pem" }
};

START_TEST(finish_does_not_wait_for_what_waiting_does_not_mend)
{
	const struct run *r;

	quiet_place(SEVEN, "signed");
	knob("node", "words", hopeless[_i].says);
	knob("node", "faults", "say words:1 1 *download_cert*");
	r = node("finish", NULL);
	assert_status(r, 1);
	assert_has(r->err, hopeless[_i].words);
	assert_has_not(r->err, "waiting for the certificate");
	assert_same(tree_text(SSL, NULL), first(SSL));
	sh("rm node/knobs/faults");
	assert_status(node("finish", NULL), 0);
	ends_finished();
}
END_TEST

/* Below 6 puppet chokes on it for ever. */
static const char *const torn[] = {
	": >" NEXT "/certs/" CM1 ".pem; chown 52001:52001 " NEXT "/certs/" CM1
	    ".pem",
	"cp mom/ca/signed/" CM1 ".pem " NEXT "/certs; : >" NEXT "/crl.pem; "
	    "chown 52001:52001 " NEXT "/crl.pem " NEXT "/certs/" CM1 ".pem"
};

START_TEST(what_was_not_written_whole_is_fetched_again)
{
	quiet_place(_i % 2 == 0 ? FIVE : SEVEN, "signed");
	sh("%s", torn[_i / 2]);
	assert_status(node("finish", "-n", NULL), 0);
	sh("test -e " NEXT "/certs/" CM1 ".pem");
	assert_status(node("finish", "-w", "0", NULL), 0);
	ends_finished();
}
END_TEST

START_TEST(the_runbook_of_what_is_not_signed_stops_before_the_exchange)
{
	const struct run *r;

	quiet_situation(_i == 0 ? FIVE : EIGHT, "staged");
	r = node("finish", "-n", NULL);
	assert_status(r, 0);
	put("runbook", r->out);
	sh("! sh runbook >out 2>&1; rm runbook out");
	assert_same(tree_text(SSL, NULL), first(SSL));
	assert_has(node("status", NULL)->out, "prepare is done");
}
END_TEST

static const struct {
	const char *as, *says;
} dropped[] = {
	{ "plain", "    - DNS:puppet\n" },
	{ "extra", "    + DNS:extra.example.com\n" },
	{ "role", "    + 1.3.6.1.4.1.34380.1.1." }
};

START_TEST(names_that_the_CA_drops_or_adds_are_a_warning)
{
	const struct run *r;

	quiet_situation(_i / COUNT(dropped) == 0 ? FIVE : SEVEN, "staged");
	knob("mom", "sign-as", dropped[_i % COUNT(dropped)].as);
	sign();
	r = node("finish", NULL);
	assert_status(r, 0);
	assert_has(r->err, dropped[_i % COUNT(dropped)].says);
	assert_has(r->err, "node restore");
	ends_finished();
}
END_TEST

/* The certificate was fetched before, and no list came with it. */
START_TEST(a_list_that_is_missing_is_the_one_of_ssl)
{
	quiet_situation(_i, "signed");
	sh("cp mom/ca/signed/" CM1 ".pem " NEXT CERT "; rm -f " NEXT
	    "/crl.pem; chown 52001:52001 " NEXT CERT);
	assert_status(node("finish", NULL), 0);
	ends_finished();
	sh("cmp " SSL "/crl.pem " BAK "/crl.pem; "
	    "test $(stat -c %%u " SSL "/crl.pem) = 52001");
}
END_TEST

/* 5 fetches no list from a MoM that it cannot verify. */
START_TEST(a_wrong_CA_is_found_before_the_exchange)
{
	const struct run *r;

	quiet_situation(FIVE, "idle");
	give("ca2", "crt", SSL "/certs/ca.pem");
	assert_status(node("prepare", NULL), 0);
	sign();
	r = node("finish", "-w", "0", NULL);
	assert_status(r, 1);
	assert_has(r->err, "verif");
	assert_has(r->err, "ca.pem");
	ck_assert_int_eq(logged("node", "ensure=", 0), -1);
}
END_TEST

START_TEST(finish_waits_for_the_signature)
{
	const struct run *r;
	pid_t pid;

	quiet_situation(_i, "staged");
	pid = start("node", "finish", "-p", path("node/bin/puppet"), NULL);
	sleep_ms(1500);
	sign();
	r = finish(pid);
	assert_status(r, 0);
	ends_finished();
}
END_TEST

START_TEST(a_signal_while_it_waits_changes_nothing)
{
	pid_t pid;

	quiet_place(SEVEN, "staged");
	pid = start("node", "finish", "-p", path("node/bin/puppet"), NULL);
	sleep_ms(1000);
	(void)kill(pid, SIGINT);
	assert_refused(finish(pid), "interrupted");
}
END_TEST

/*
 * The exchange, and its undo.
 */

static const struct {
	int v;
	int quiet;
	const char *line, *words;
} steps[] = {
	{ SEVEN, 0, ": >node/knobs/stop-fails.puppet",
	    "service puppet did not stop" },
	{ SEVEN, 1, ": >node/knobs/stop-fails.pxp-agent",
	    "service pxp-agent did not stop" },
	{ FIVE, 1, ": >node/knobs/stop-fails.mcollective",
	    "service mcollective did not stop" },
	{ SEVEN, 1, "echo 'exit 1 1 *resource service pxp-agent' "
	    ">node/knobs/faults", "state of the service pxp-agent" },
	{ SEVEN, 1, "echo 'mute 0 1 *pxp-agent ensure=stopped' "
	    ">node/knobs/faults", "state of the service pxp-agent" },
	{ SEVEN, 1, "sleep 60 & echo $! | tee -a node/background >" RUNLOCK,
	    "agent_catalog_run.lock" },
	{ SEVEN, 1, "sleep 60 & echo $! | tee -a node/background >" SSL
	    "/ssl.lock", "ssl.lock" },
	{ SEVEN, 1, "rm " CATALOG "; mkdir " CATALOG, CM1 ".json" },
	{ SEVEN, 1, "mount --bind " SSL " " SSL, "rename" },
	{ SEVEN, 1, "mount --bind " NEXT " " NEXT, "rename" },
	{ SEVEN, 1, "echo 'wrong - 1 *pxp-agent ensure=running' "
	    ">node/knobs/faults", "service pxp-agent did not start" },
	{ FIVE, 1, "echo 'wrong - 1 *mcollective ensure=running' "
	    ">node/knobs/faults", "service mcollective did not start" },
	{ SEVEN, 1, "printf '%s\\n' 'exit 1 1 puppetserver reload' "
	    "'wrong - 1 *pe-puppetserver ensure=running' "
	    "'wrong - 1 *pe-puppetserver ensure=running' "
	    ">node/knobs/faults", "service pe-puppetserver did not start" },
	{ SEVEN, 0, "printf '%s\\n' 'exit 1 1 puppetserver reload' "
	    "'wrong - 1 *pe-puppetserver ensure=running' "
	    "'wrong - 1 *pe-puppetserver ensure=running' "
	    ">node/knobs/faults", "service pe-puppetserver did not start" },
	{ SEVEN, 1, "echo 'parent TERM 1 *puppet ensure=stopped' "
	    ">node/knobs/faults", "interrupted" },
	{ SEVEN, 1, "echo 'parent HUP 1 *pxp-agent ensure=stopped' "
	    ">node/knobs/faults", "interrupted" },
	{ SEVEN, 1, "echo 'parent INT 1 puppetserver reload' "
	    ">node/knobs/faults", "interrupted" }
};

START_TEST(a_step_that_fails_is_undone)
{
	const struct run *r;

	if (steps[_i].quiet)
		quiet_place(steps[_i].v, "signed");
	else
		place(steps[_i].v, "signed");
	sh("%s", steps[_i].line);
	r = node("finish", "-w", "1", NULL);
	sh("umount " SSL " 2>/dev/null || umount " NEXT " 2>/dev/null || "
	    "true; rm -f " SSL "/ssl.lock");
	assert_undone(r, steps[_i].words);
	/* and it can be done again */
	sh("rm -rf node/knobs/* " CATALOG " " RUNLOCK);
	assert_status(node("finish", NULL), 0);
	ends_finished();
}
END_TEST

START_TEST(where_the_reload_fails_the_server_is_stopped_and_started)
{
	quiet_situation(SEVEN, "signed");
	knob("node", "faults", "exit 1 1 puppetserver reload");
	assert_status(node("finish", NULL), 0);
	ends_finished();
	ck_assert_int_lt(logged("node", "pe-puppetserver ensure=stopped", 0),
	    logged("node", "pe-puppetserver ensure=running", 0));
	ck_assert_int_ne(logged("node", "pe-puppetserver ensure=stopped", 0),
	    -1);
}
END_TEST

/* An old puppetserver does not know the command, and exits with 0. */
START_TEST(a_reload_that_is_unknown_becomes_a_restart)
{
	quiet_situation(FIVE, "signed");
	knob("node", "words", "'reload' is not a puppetserver command. See "
	    "'puppetserver --help'.");
	knob("node", "faults", "say words:0 1 puppetserver reload");
	assert_status(node("finish", NULL), 0);
	ck_assert_str_eq(served(), "2");
}
END_TEST

START_TEST(a_server_that_starts_in_vain_is_started_once_more)
{
	quiet_situation(SEVEN, "signed");
	knob("node", "faults", "exit 1 1 puppetserver reload\n"
	    "wrong - 1 *pe-puppetserver ensure=running");
	assert_status(node("finish", NULL), 0);
	ends_finished();
}
END_TEST

/* It starts neither with the new ssl nor with the old. */
START_TEST(a_service_that_the_undo_cannot_start_is_named)
{
	const struct run *r;

	quiet_situation(SEVEN, "signed");
	knob("node", "start-fails.pxp-agent", "");
	r = node("finish", NULL);
	assert_status(r, 3);
	assert_has(r->err, "pxp-agent");
	assert_same(tree_text(SSL, NULL), first(SSL));
	ck_assert_str_eq(served(), "1");
	ck_assert_int_ne(node("status", NULL)->status, 1);
	if (_i == 0) {			/* mended */
		sh("rm node/knobs/*");
		assert_status(node("finish", NULL), 0);
		ends_finished();
	} else if (_i == 1) {		/* given up */
		sh("rm node/knobs/*");
		assert_status(node("restore", NULL), 0);
		ends_back();
	} else {			/* accepted */
		r = node("finish", "-a", NULL);
		assert_status(r, 0);
		assert_has(r->err, "pxp-agent");
		no_leftover();
		ck_assert_str_eq(generation_of(SSL KEY), "2");
		ck_assert_str_eq(served(), "2");
	}
}
END_TEST

/* Before the exchange nothing of the server was stopped, nor is it started. */
START_TEST(an_undo_starts_no_server_that_was_down)
{
	const char *before_it;

	situation(SEVEN, "signed");
	sh("echo stopped true >node/services/pe-puppetserver");
	before_it = services();
	knob("node", "stop-fails.pxp-agent", "");
	assert_status(node("finish", NULL), 1);
	assert_same(services(), before_it);
}
END_TEST

/* No state is a trap. */
START_TEST(a_ends_finish_past_what_never_works)
{
	const struct run *r;

	quiet_situation(SEVEN, "signed");
	knob("node", "start-fails.pxp-agent", "");
	knob("node", "faults", "exit 1 * puppet agent --test");
	r = node("finish", "-a", NULL);
	assert_status(r, 0);
	assert_has(r->err, "-a was given");
	no_leftover();
	ck_assert_str_eq(generation_of(SSL KEY), "2");
	ck_assert_str_eq(served(), "2");
}
END_TEST

START_TEST(a_passes_a_catalog_that_cannot_be_removed)
{
	quiet_situation(SEVEN, "signed");
	sh("cd node/cache/client_data; mv catalog ../elsewhere; "
	    "ln -s ../elsewhere catalog");
	assert_status(node("finish", NULL), 1);
	assert_status(node("finish", "-a", NULL), 0);
}
END_TEST

START_TEST(what_changes_ssl_until_puppet_stops_is_in_the_backup)
{
	quiet_situation(SEVEN, "signed");
	knob("node", "faults", "touch puppet/ssl/crl.pem 1 "
	    "*puppet ensure=stopped");
	assert_status(node("finish", NULL), 0);
	no_leftover();
	sh("grep -q touched " BAK "/crl.pem");
	ck_assert_str_eq(generation_of(BAK KEY), "1");
	ck_assert_str_eq(served(), "2");
}
END_TEST

START_TEST(a_backup_that_is_another_meanwhile_undoes_it)
{
	const struct run *r;

	quiet_place(SEVEN, "signed");
	knob("node", "faults", "remove puppet/ssl_bak/private_keys 1 "
	    "*puppet ensure=stopped");
	r = node("finish", NULL);
	assert_status(r, 1);
	assert_has(r->err, "mv ");
	assert_same(tree_text(SSL, NULL), first(SSL));
	assert_same(services(), services_before);
	assert_same(get(JOURNAL), journal_before);
}
END_TEST

START_TEST(a_backup_that_was_made_anew_stays_where_it_is_undone)
{
	quiet_place(SEVEN, "signed");
	knob("node", "faults", "touch puppet/ssl/crl.pem 1 "
	    "*puppet ensure=stopped\nwrong - 1 *pxp-agent ensure=running");
	assert_status(node("finish", NULL), 1);
	assert_same(tree_text(BAK, NULL), tree_text(SSL, NULL));
	assert_same(services(), services_before);
	sh("rm node/knobs/*; ! find node/puppet -name '*-gone' | grep .");
	assert_status(node("finish", NULL), 0);
	no_leftover();
}
END_TEST

/* A boot or a cron run has let Puppet make an ssl where there was none. */
START_TEST(an_ssl_that_puppet_made_meanwhile_is_rubbish)
{
	quiet_situation(SEVEN, _i / 2 == 0 ? "torn" : "exchanged");
	if (_i / 2 == 0)
		sh("cp -a " OLD " " SSL "; keys/give 3 key >" SSL KEY);
	else
		sh("rm -r " SSL "; cp -a " OLD " " SSL "; "
		    "keys/give 3 key >" SSL KEY);
	if (_i == 0) {
		assert_status(node("finish", NULL), 0);
		ends_finished();
	} else {
		assert_status(node("restore", NULL), 0);
		ends_back();
	}
}
END_TEST

/* Puppet that a killed finish has left behind finds no next, and makes one. */
START_TEST(an_empty_next_that_puppet_made_again_is_rubbish)
{
	quiet_situation(SEVEN, _i < 3 ? "exchanged" : "unproven");
	sh("mkdir -p " NEXT "/certs");
	if (_i == 2) {
		knob("node", "faults", "exit 1 * puppetserver reload\n"
		    "wrong - * *pe-puppetserver ensure=running");
		assert_status(node("finish", NULL), 3);
		sh("rm node/knobs/*; cmp " SSL KEY " " BAK KEY);
	}
	if (_i % 3 == 1) {
		assert_status(node("restore", NULL), 0);
		ends_back();
	} else {
		assert_status(node("finish", NULL), 0);
		ends_finished();
	}
}
END_TEST

/* What the run before has exchanged stays so, and -a goes past what holds. */
START_TEST(what_holds_finish_again_is_passed_with_a)
{
	const struct run *r;

	quiet_situation(SEVEN, "exchanged");
	sh("echo running true >node/services/pxp-agent");
	if (_i == 0)
		knob("node", "stop-fails.pxp-agent", "");
	else
		sh("sleep 60 & echo $! | tee -a node/background >" RUNLOCK);
	r = node("finish", "-w", "1", NULL);
	assert_status(r, 3);
	assert_has(r->err, _i == 0 ? "the service pxp-agent did not stop" :
	    "agent_catalog_run.lock");
	ck_assert_str_ne(get(SSL KEY), get(BAK KEY));
	assert_same(tree_text(OLD, NULL), first(SSL));
	if (_i == 0)
		assert_status(node("finish", "-a", NULL), 0);
	else {
		r = node("finish", "-a", "-w", "1", NULL);
		assert_status(r, 0);
		assert_has(r->err, "-a was given");
	}
}
END_TEST

/* Where puppet does not stop the others take the new certificate. */
START_TEST(a_stops_the_others_where_puppet_does_not)
{
	situation(SEVEN, "exchanged");
	sh("echo running true >node/services/pxp-agent");
	knob("node", "stop-fails.puppet", "");
	log_clear("node");
	assert_status(node("finish", "-a", "-w", "1", NULL), 0);
	ck_assert_int_ne(logged("node", "pxp-agent ensure=stopped", 0), -1);
	ck_assert_int_ne(logged("node", "pxp-agent ensure=running", 0), -1);
}
END_TEST

/* The new key, of the name that was, is kept until that is put right. */
START_TEST(another_certname_throws_no_next_away)
{
	quiet_situation(SEVEN, "torn");
	sh("printf '%%s\\n' SET_certname=cm9.example.com "
	    "SET_hostprivkey=%s/private_keys/cm9.example.com.pem "
	    "SET_hostcert=%s/certs/cm9.example.com.pem >node/settings",
	    path(SSL), path(SSL));
	ck_assert_int_ne(node("finish", NULL)->status, 0);
	sh("rm node/settings");
	assert_status(node("finish", NULL), 0);
	ends_finished();
}
END_TEST

/*
 * The Puppet run and the proof.
 */

static const struct {
	const char *status;
	int ends;
	const char *words;
} runs[] = {
	{ "0", 0, NULL }, { "2", 0, NULL },
	{ "4", 0, "a resource failed" }, { "6", 0, "a resource failed" },
	{ "1", 3, "the Puppet run failed" }, { "5", 3, "status 5" },
	{ "24", 3, "status 24" }
};

START_TEST(the_run_is_judged)
{
	const struct run *r;

	quiet_situation(_i % VERSIONS, "signed");
	knob("node", "run-status", runs[_i].status);
	r = node("finish", NULL);
	assert_status(r, runs[_i].ends);
	if (runs[_i].words != NULL)
		assert_has(r->err, runs[_i].words);
	if (runs[_i].ends == 0) {
		ends_finished();
		return;
	}
	ck_assert_str_eq(served(), "2");
	assert_same(tree_text(OLD, NULL), first(SSL));
	r = node("finish", "-a", NULL);
	assert_status(r, 0);
	assert_has(r->err, "-a was given");
	ends_finished();
}
END_TEST

START_TEST(puppet_that_is_disabled_meanwhile_is_3)
{
	const struct run *r;

	quiet_situation(SEVEN, "signed");
	knob("node", "faults",
	    "touch cache/state/agent_disabled.lock 1 puppetserver reload");
	r = node("finish", NULL);
	assert_status(r, 3);
	assert_has(r->err, "administratively disabled");
	ck_assert_int_eq(logged("node", "puppet agent --test", 0), -1);
	if (_i == 0) {
		sh("rm node/cache/state/agent_disabled.lock");
		assert_status(node("finish", NULL), 0);
	} else
		assert_status(node("finish", "-a", NULL), 0);
	ends_finished();
}
END_TEST

/* It collides with one that began since the lock was looked at. */
START_TEST(a_run_in_progress_is_waited_for)
{
	quiet_situation(_i, "signed");
	put("node/knobs/said", _i == FIVE ?
	    "Notice: Run of Puppet configuration client already in progress; "
	    "skipping\n" : "Error: Could not run: Another puppet instance is "
	    "already running and the waitforlock setting is set to 0; "
	    "exiting\n");
	knob("node", "faults", "say said:1 1 puppet agent --test");
	assert_status(node("finish", NULL), 0);
	ends_finished();
	ck_assert_int_eq(logged_times("node", "puppet agent --test\n"), 2);
}
END_TEST

START_TEST(a_lock_is_waited_for_and_a_stale_one_is_not)
{
	quiet_situation(SEVEN, "signed");
	run_in_progress("2");
	assert_status(node("finish", NULL), 0);
	ends_finished();
	quiet_situation(SEVEN, "signed");
	put(RUNLOCK, _i == 0 ? "999999999" : "junk");
	assert_status(node("finish", "-w", "0", NULL), 0);
	ends_finished();
}
END_TEST

START_TEST(a_service_that_dies_is_named)
{
	const struct run *r;

	situation(SEVEN, "signed");
	knob("node", "dies.puppet", "");
	r = node("finish", NULL);
	assert_status(r, 3);
	assert_has(r->err, "not running: puppet");
	ck_assert_str_eq(served(), "2");
	r = node("finish", "-a", NULL);
	assert_status(r, 0);
	no_leftover();
}
END_TEST

static const char *const spoilt[] = {
	"keys/give 3 key >" SSL KEY, "keys/give 3 names.crt >" SSL CERT,
	"rm " SSL CERT, "rm -r " SSL "; cp -a " OLD " " SSL
};

START_TEST(what_is_in_place_is_proved)
{
	const struct run *r;

	quiet_situation(SEVEN, "unproven");
	sh("%s", spoilt[_i]);
	knob("node", "faults", "say empty 1 puppet agent --test");
	put("node/knobs/empty", "");
	r = node("finish", NULL);
	assert_status(r, 3);
	sh("rm node/knobs/*");
	assert_status(node("restore", NULL), 0);
	ends_back();
}
END_TEST

/* Somebody has taken it back by hand. */
START_TEST(an_old_ssl_in_place_is_not_a_new_one)
{
	const struct run *r;

	quiet_situation(SEVEN, _i == 0 ? "exchanged" : "unproven");
	sh("mv " SSL " " SSL ".new; mv " OLD " " SSL);
	r = node("finish", NULL);
	assert_status(r, 3);
	assert_has(r->err, "still has the key that was to be replaced");
	assert_has_not(r->out, "rm -rf");
}
END_TEST

/* finish, which is in its Puppet run. */
static pid_t
in_the_run(void)
{
	pid_t pid;

	quiet_situation(SEVEN, "signed");
	knob("node", "run-takes", "30");
	pid = start("node", "finish", "-p", path("node/bin/puppet"), NULL);
	await("node/cache/state/agent_catalog_run.lock");
	sleep_ms(300);
	return pid;
}

static void
finish_goes_on(const struct run *r)
{
	assert_status(r, 3);
	assert_has(r->out, "cmregen node finish");
	sh("rm node/knobs/*");
	assert_status(node("finish", NULL), 0);
	ends_finished();
}

/* Its own status is 0 then, and it has not proved anything. */
START_TEST(a_run_that_somebody_ends_is_no_run)
{
	const struct run *r;
	pid_t pid;

	pid = in_the_run();
	sh("kill -TERM $(cat node/cache/state/agent_catalog_run.lock)");
	r = finish(pid);
	assert_has(r->err, "Caught TERM; exiting");
	finish_goes_on(r);
}
END_TEST

START_TEST(a_signal_ends_the_run_and_finish_goes_on_later)
{
	const struct run *r;
	pid_t pid;

	pid = in_the_run();
	(void)kill(pid, SIGTERM);
	r = finish(pid);
	ck_assert(r->took < 20);
	finish_goes_on(r);
}
END_TEST

/* A signal anywhere: undone, part way, or done; and then finish ends it. */
static const char *const moments[] = {
	"puppet ssl *", "*service pxp-agent", "*puppet ensure=stopped",
	"*pxp-agent ensure=stopped", "puppetserver reload",
	"*pxp-agent ensure=running", "*pe-puppetserver ensure=running",
	"puppet agent --test"
};

START_TEST(a_signal_at_each_call_leaves_what_finish_ends)
{
	const struct run *r;

	quiet_place(SEVEN, "signed");
	knob("node", "faults", text("parent-after TERM 1 %s", moments[_i]));
	r = node("finish", NULL);
	sh("rm node/knobs/*");
	if (r->status == 1 && _i > 1)
		assert_undone(r, "interrupted");
	else if (r->status != 1)
		ck_assert_int_eq(r->status == 0 || r->status == 3, 1);
	if (r->status != 0)
		assert_status(node("finish", NULL), 0);
	ends_finished();
}
END_TEST

/*
 * The backup at the end.
 */

START_TEST(old_becomes_the_backup_that_is_gone)
{
	quiet_situation(SEVEN, "signed");
	knob("node", "faults", "remove puppet/ssl_bak 1 puppet agent --test");
	assert_status(node("finish", NULL), 0);
	ends_finished();
}
END_TEST

START_TEST(old_stays_where_the_backup_has_no_place)
{
	const struct run *r;

	quiet_situation(SEVEN, "idle");
	sh("mkdir node/usb");
	assert_status(node("prepare", "-b", path("node/usb/bak"), NULL), 0);
	sign();
	knob("node", "faults", "remove usb 1 puppet agent --test");
	r = node("finish", NULL);
	assert_status(r, 3);
	assert_has(r->err, text("mv %s %s-02", path(OLD), path(BAK)));
	assert_has_not(r->out, "rm -rf");
	assert_same(tree_text(OLD, NULL), first(SSL));
	sh("rm node/knobs/*");
	if (_i == 0) {
		sh("mkdir node/usb");
		assert_status(node("finish", NULL), 0);
		assert_same(tree_text("node/usb/bak", NULL), first(SSL));
	} else {
		sh("mkdir node/usb; mv " OLD " node/usb/bak");
		assert_status(node("finish", NULL), 0);
	}
	no_leftover();
}
END_TEST

/* Nothing is done yet then, and nothing to be moved. */
START_TEST(the_runbook_of_finish_does_not_end_what_finish_would_not)
{
	const struct run *r;

	quiet_situation(SEVEN, "unproven");
	if (_i == 0)
		give("3", "key", BAK KEY);
	else
		sh("echo '{}' >node/cache/state/agent_disabled.lock");
	r = node("finish", "-n", NULL);
	assert_status(r, 3);
	assert_has(r->err, _i == 0 ? "mount it" : "isabled");
	assert_has_not(r->err, "all is done");
	assert_has_not(r->err, "mv ");
	assert_has_not(r->out, "rm -rf");
	assert_has(r->out, "it would stop here");
}
END_TEST

/* From 6 on puppet may fetch none; and none is missing where there was none. */
START_TEST(the_runbook_of_finish_has_the_CRL)
{
	const struct run *r;

	quiet_situation(SEVEN, "signed");
	sh("rm -f " NEXT "/crl.pem");
	if (_i == 1)
		sh("rm " SSL "/crl.pem");
	r = node("finish", "-n", NULL);
	ck_assert_int_eq(strstr(r->out, "/crl.pem ] || cp -p ") != NULL,
	    _i == 0);
}
END_TEST

/* What only has its name is not it, and is not called so. */
START_TEST(old_stays_where_the_backup_is_of_another_key)
{
	const struct run *r;

	quiet_situation(SEVEN, "unproven");
	give("3", "key", BAK KEY);
	r = node("finish", NULL);
	assert_status(r, 3);
	assert_has(r->err, "not the backup of what was replaced");
	assert_has_not(r->out, "rm -rf");
	assert_same(tree_text(OLD, NULL), first(SSL));
	assert_status(node("finish", NULL), 3);
	sh("mv " OLD " node/puppet/ssl_bak-02");
	(void)node("finish", NULL);
	no_leftover();
}
END_TEST

/* ssl was changed before the exchange: its key is nowhere else. */
START_TEST(finish_again_looks_at_the_backup_once_more)
{
	const struct run *r;
	const char *key;

	quiet_situation(SEVEN, "exchanging");
	give("3", "key", SSL KEY);
	give("3", "names.crt", SSL CERT);
	key = get(SSL KEY);
	r = node("finish", NULL);
	assert_status(r, 1);
	assert_has(r->err, "the backup of another ssl");
	assert_same(get(SSL KEY), key);
}
END_TEST

START_TEST(the_backup_may_be_on_another_file_system)
{
	signed_with_medium();
	if (_i == 0) {
		assert_status(node("finish", NULL), 0);
		assert_same(tree_text("node/usb/bak", NULL), first(SSL));
	} else {			/* it is pulled out meanwhile */
		sh("umount node/usb");
		assert_status(node("finish", NULL), 1);
		assert_status(node("restore", NULL), 0);
		assert_same(tree_text(SSL, NULL), first(SSL));
	}
	sh("umount node/usb 2>/dev/null || true");
	no_leftover();
}
END_TEST

static TCase *
finish_case(void)
{
	TCase *tc;

	tc = tcase_create("finish");
	tcase_add_checked_fixture(tc, fixture_begin, fixture_end);
	tcase_set_timeout(tc, 120);
	tcase_add_loop_test(tc, finish_goes_in_the_order_of_the_procedure, 0,
	    VERSIONS);
	tcase_add_loop_test(tc, at_the_reload_everything_is_in_place, 0,
	    VERSIONS);
	tcase_add_loop_test(tc, what_ran_or_is_enabled_runs_and_nothing_else,
	    0, COUNT(units));
	tcase_add_test(tc, the_open_source_server_is_reloaded_too);
	tcase_add_test(tc, v_shows_what_puppet_prints);
	tcase_add_loop_test(tc, finish_checks_before_it_changes_anything, 0,
	    COUNT(checks));
	tcase_add_loop_test(tc, a_certificate_of_another_key_is_never_used, 0,
	    2);
	tcase_add_loop_test(tc,
	    what_was_not_written_whole_is_fetched_again, 0, 4);
	tcase_add_loop_test(tc,
	    the_runbook_of_what_is_not_signed_stops_before_the_exchange, 0, 2);
	tcase_add_loop_test(tc,
	    finish_does_not_wait_for_what_waiting_does_not_mend, 0,
	    COUNT(hopeless));
	tcase_add_loop_test(tc,
	    names_that_the_CA_drops_or_adds_are_a_warning, 0,
	    2 * COUNT(dropped));
	tcase_add_loop_test(tc, a_list_that_is_missing_is_the_one_of_ssl, 0,
	    VERSIONS);
	tcase_add_test(tc, a_wrong_CA_is_found_before_the_exchange);
	tcase_add_loop_test(tc, finish_waits_for_the_signature, 0, VERSIONS);
	tcase_add_test(tc, a_signal_while_it_waits_changes_nothing);
	return tc;
}

static TCase *
exchange_case(void)
{
	TCase *tc;

	tc = tcase_create("exchange");
	tcase_add_checked_fixture(tc, fixture_begin, fixture_end);
	tcase_set_timeout(tc, 120);
	tcase_add_loop_test(tc, a_step_that_fails_is_undone, 0,
	    COUNT(steps));
	tcase_add_test(tc,
	    where_the_reload_fails_the_server_is_stopped_and_started);
	tcase_add_test(tc, a_reload_that_is_unknown_becomes_a_restart);
	tcase_add_test(tc, a_server_that_starts_in_vain_is_started_once_more);
	tcase_add_loop_test(tc,
	    a_service_that_the_undo_cannot_start_is_named, 0, 3);
	tcase_add_test(tc, an_undo_starts_no_server_that_was_down);
	tcase_add_test(tc, a_ends_finish_past_what_never_works);
	tcase_add_test(tc, a_passes_a_catalog_that_cannot_be_removed);
	tcase_add_test(tc,
	    what_changes_ssl_until_puppet_stops_is_in_the_backup);
	tcase_add_test(tc, a_backup_that_is_another_meanwhile_undoes_it);
	tcase_add_test(tc,
	    a_backup_that_was_made_anew_stays_where_it_is_undone);
	tcase_add_loop_test(tc,
	    an_empty_next_that_puppet_made_again_is_rubbish, 0, 5);
	tcase_add_test(tc, a_stops_the_others_where_puppet_does_not);
	tcase_add_test(tc, another_certname_throws_no_next_away);
	tcase_add_loop_test(tc, what_holds_finish_again_is_passed_with_a, 0,
	    2);
	tcase_add_loop_test(tc, an_ssl_that_puppet_made_meanwhile_is_rubbish,
	    0, 4);
	return tc;
}

static TCase *
proof_case(void)
{
	TCase *tc;

	tc = tcase_create("proof");
	tcase_add_checked_fixture(tc, fixture_begin, fixture_end);
	tcase_set_timeout(tc, 120);
	tcase_add_loop_test(tc, the_run_is_judged, 0, COUNT(runs));
	tcase_add_loop_test(tc, puppet_that_is_disabled_meanwhile_is_3, 0, 2);
	tcase_add_loop_test(tc, a_run_in_progress_is_waited_for, FIVE,
	    VERSIONS);
	tcase_add_loop_test(tc, a_lock_is_waited_for_and_a_stale_one_is_not,
	    0, 2);
	tcase_add_test(tc, a_service_that_dies_is_named);
	tcase_add_loop_test(tc, what_is_in_place_is_proved, 0, COUNT(spoilt));
	tcase_add_loop_test(tc, an_old_ssl_in_place_is_not_a_new_one, 0, 2);
	tcase_add_test(tc, a_run_that_somebody_ends_is_no_run);
	tcase_add_loop_test(tc, finish_that_waits_says_what_to_sign, 0,
	    VERSIONS);
	tcase_add_test(tc, a_certificate_that_is_here_is_told_with_its_time);
	tcase_add_test(tc, a_signal_ends_the_run_and_finish_goes_on_later);
	tcase_add_loop_test(tc, a_signal_at_each_call_leaves_what_finish_ends,
	    0, COUNT(moments));
	tcase_add_test(tc, old_becomes_the_backup_that_is_gone);
	tcase_add_loop_test(tc, old_stays_where_the_backup_has_no_place, 0,
	    2);
	tcase_add_test(tc, old_stays_where_the_backup_is_of_another_key);
	tcase_add_loop_test(tc,
	    the_runbook_of_finish_does_not_end_what_finish_would_not, 0, 2);
	tcase_add_loop_test(tc, the_runbook_of_finish_has_the_CRL, 0, 2);
	tcase_add_test(tc, finish_again_looks_at_the_backup_once_more);
	tcase_add_loop_test(tc, the_backup_may_be_on_another_file_system, 0,
	    2);
	return tc;
}

int
main(void)
{
	Suite *s;

	s = suite_create("finish");
	suite_add_tcase(s, finish_case());
	suite_add_tcase(s, exchange_case());
	suite_add_tcase(s, proof_case());
	return suite_run(s);
}
