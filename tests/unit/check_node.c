/*
 * check_node.c: node prepare, finish and restore, against the stand-in.
 */
#include <sys/stat.h>
#include <sys/wait.h>

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "fixture.h"
#include "keys.h"

int	cmregen_main(int, char *[]);

static const char *ssl_first, *node_first, *services_first;

/* The sandbox, with the old certificate cleaned on the MoM; what there is. */
static void
generation(int i)
{
	sandbox(version[i]);
	sh("rm mom/ca/signed/" CM1 ".pem");
	ssl_first = tree_text(SSL, NULL);
	node_first = snapshot("node");
	services_first = services();
}

static void
begin(void)
{
	fixture_begin();
	generation(2);
}

/* The fingerprint of the node's request. */
static const char *
fingerprint(void)
{
	return fingerprint_of(SSL REQUEST);
}

static void
prepared(void)
{
	assert_status(node("prepare", NULL), 0);
	log_clear("node");
}

static void
signed_too(void)
{
	prepared();
	sign();
}

/* A new key and its request are there, the backup is the old ssl. */
static void
assert_prepared(const struct run *r)
{
	assert_status(r, 0);
	no_leftover();
	assert_same(tree_text(BAK, NULL), ssl_first);
	ck_assert_str_ne(id_of(SSL KEY), "000000001");
	ck_assert_str_eq(id_of(SSL KEY), id_of(SSL REQUEST));
	ck_assert(running("puppet"));
	ck_assert(running("pxp-agent"));
	ck_assert(!exists(CATALOG));
	assert_has(r->out, fingerprint());
	assert_has(r->out, text("cmregen mom sign -p %s -f %s " CM1,
	    path("node/bin/puppet"), fingerprint()));
	assert_has(r->out, "cmregen node finish");
}

/* Nothing has changed; the cached catalog, if it may be gone, aside. */
static void
assert_untouched(const struct run *r)
{
	assert_status(r, 1);
	assert_has(r->err, "cmregen: ");
	assert_same(snapshot("node"), node_first);
}

static void
assert_undone(const struct run *r)
{
	assert_status(r, 1);
	assert_has(r->err, "cmregen: ");
	if (!exists(CATALOG))
		put(CATALOG, "{\"name\":\"cm1.example.com\"}\n");
	assert_same(snapshot("node"), node_first);
	assert_same(services(), services_first);
}

/*
 * prepare, as it should be
 */

START_TEST(prepare_makes_backup_key_and_request)
{
	const struct run *r;

	generation(_i);
	r = node("prepare", NULL);
	assert_prepared(r);
	ck_assert(running("mcollective") == (_i == FIVE));
	ck_assert(!running("pe-puppetserver"));
	assert_has(r->err, "pe-puppetserver");
	ck_assert(exists("node/cache/client_data/catalog/other.json"));
}
END_TEST

START_TEST(a_server_that_nothing_will_start_is_named)
{
	const struct run *r;

	sh("echo running false >node/services/pe-puppetserver");
	r = node("prepare", NULL);
	assert_prepared(r);
	assert_has(r->err, "pe-puppetserver: not enabled");
}
END_TEST

START_TEST(a_server_that_is_enabled_is_not_called_otherwise)
{
	const struct run *r;

	r = node("prepare", NULL);
	assert_prepared(r);
	assert_has(r->err, "pe-puppetserver: not running yet");
	assert_has_not(r->err, "not enabled");
}
END_TEST

START_TEST(prepare_goes_in_the_order_of_the_procedure)
{
	static const char *const other[] = {
		"pe-puppetserver", "mcollective", "pxp-agent"
	};
	int config, stop, at;
	size_t i;

	generation(_i);
	assert_status(node("prepare", NULL), 0);
	config = logged("node", "config print", 0);
	stop = logged("node", "service puppet ensure=stopped", 0);
	ck_assert_int_eq(logged_times("node", "config print"), 1);
	ck_assert_int_ge(config, 0);
	ck_assert_int_lt(config, stop);
	for (i = 0; i < 3; i++) {
		at = logged("node", text("service %s ensure=stopped",
		    other[i]), 0);
		ck_assert_int_gt(at, stop);
	}
	at = logged("node", "service puppet ensure=running", 0);
	ck_assert_int_gt(at, stop);
	ck_assert_int_gt(at, logged("node", "service pxp-agent ensure=stopped",
	    0));
	ck_assert_int_gt(logged("node", "service pxp-agent ensure=running",
	    0), stop);
	ck_assert_int_eq(logged_times("node", "agent"),
	    logged_times("node", "pxp-agent") +
	    logged_times("node", "section agent"));
}
END_TEST

START_TEST(services_change_at_the_same_time)
{
	const struct run *r;

	generation(FIVE);
	knob("node", "slow-stop.pe-puppetserver", "1");
	knob("node", "slow-stop.mcollective", "1");
	knob("node", "slow-stop.pxp-agent", "1");
	knob("node", "slow-start.mcollective", "1");
	knob("node", "slow-start.pxp-agent", "1");
	r = node("prepare", NULL);
	assert_prepared(r);
	ck_assert_msg(r->took < 4.5, "%f", r->took);
}
END_TEST

START_TEST(the_hand_off_comes_before_slow_services)
{
	const struct run *r;
	pid_t pid;
	int i;

	knob("node", "slow-start.pe-puppetserver", "5");
	pid = start("node", "prepare", "-p", path("node/bin/puppet"), NULL);
	for (i = 0; i < 400 && strstr(printed(), "mom sign") == NULL; i++)
		sleep_ms(10);
	ck_assert(!running("pe-puppetserver"));
	assert_has(printed(), "mom sign");
	ck_assert_int_eq(waitpid(pid, NULL, WNOHANG), 0);
	r = finish(pid);
	assert_prepared(r);
	ck_assert(r->took >= 5);
}
END_TEST

START_TEST(services_that_did_not_run_are_not_started)
{
	put("node/services/pxp-agent", "stopped true\n");
	put("node/services/pe-puppetserver", "stopped false\n");
	assert_status(node("prepare", NULL), 0);
	ck_assert(!running("pxp-agent"));
	ck_assert_int_eq(logged("node", "pxp-agent ensure=running", 0), -1);
	ck_assert_int_eq(logged("node", "pe-puppetserver ensure=running", 0),
	    -1);
	ck_assert(running("puppet"));
}
END_TEST

START_TEST(puppet_runs_afterwards_even_if_it_did_not_before)
{
	put("node/services/puppet", "stopped false\n");
	assert_status(node("prepare", NULL), 0);
	ck_assert(running("puppet"));
}
END_TEST

START_TEST(the_open_source_unit_is_stopped_too)
{
	sh("mv node/services/pe-puppetserver node/services/puppetserver");
	assert_status(node("prepare", NULL), 0);
	ck_assert_int_ne(logged("node", "service puppetserver ensure=stopped",
	    0), -1);
	ck_assert(!running("puppetserver"));
}
END_TEST

START_TEST(a_missing_catalog_is_fine)
{
	sh("rm -r node/cache/client_data");
	assert_prepared(node("prepare", NULL));
}
END_TEST

START_TEST(a_request_that_takes_long_is_waited_for)
{
	knob("node", "request-delay", "1.5");
	assert_prepared(node("prepare", NULL));
}
END_TEST

START_TEST(autosigned_goes_on_with_finish)
{
	const struct run *r;

	generation(_i);
	knob("mom", "autosign", "");
	r = node("prepare", NULL);
	assert_status(r, 0);
	assert_has(r->out, "cmregen node finish");
	ck_assert_str_eq(id_of(SSL KEY), id_of(SSL CERT));
	no_leftover();
}
END_TEST

START_TEST(a_backup_elsewhere_is_repeated_quoted)
{
	const struct run *r;

	sh("mkdir 'a b'; ln -s node 'the node'");
	r = program("node", "prepare", "-p", path("the node/bin/puppet"),
	    "-b", path("a b/it's"), NULL);
	assert_status(r, 0);
	assert_same(tree_text("a b/it's", NULL), ssl_first);
	ck_assert(!exists(BAK));
	assert_has(r->out, text("-p '%s'", path("the node/bin/puppet")));
	assert_has(r->out, text("-b '%s'\\''s'", path("a b/it")));
	sh("! ls -A 'a b' | grep cmregen >&2");
}
END_TEST

START_TEST(what_a_service_writes_while_it_stops_is_in_the_backup)
{
	knob("node", "faults", "touch puppet/ssl/crl.pem 1 "
	    "*service pxp-agent ensure=stopped*");
	assert_status(node("prepare", NULL), 0);
	no_leftover();
	assert_has(get(BAK "/crl.pem"), "touched");
	ck_assert_str_ne(tree_text(BAK, NULL), ssl_first);
}
END_TEST

START_TEST(ssl_lock_is_neither_copied_nor_compared)
{
	sh("echo 999999 >" SSL "/ssl.lock");
	assert_prepared(node("prepare", NULL));
	ck_assert(!exists(BAK "/ssl.lock"));
}
END_TEST

START_TEST(slashes_at_the_end_of_ssldir_do_not_count)
{
	sh("echo SET_ssldir=$PWD/" SSL "// >node/settings");
	assert_prepared(node("prepare", NULL));
}
END_TEST

START_TEST(a_puppet_that_cannot_be_disabled_is_not)
{
	sh("echo SET_agent_disabled_lockfile= >node/settings; "
	    "echo SET_ssl_lockfile= >>node/settings");
	assert_prepared(node("prepare", NULL));
}
END_TEST

START_TEST(a_state_directory_that_is_not_there_holds_no_lock)
{
	const struct run *r;

	sh("rm -r node/cache/state; echo "
	    "SET_agent_disabled_lockfile=$PWD/node/none/agent_disabled.lock "
	    ">node/settings; mkdir node/cache/state");
	r = node("prepare", NULL);
	assert_prepared(r);
	assert_has_not(r->err, "node/none");
}
END_TEST

START_TEST(an_ssl_without_a_certificate_asks_about_b)
{
	const struct run *r;

	sh("rm " SSL CERT);
	r = node("prepare", "-n", NULL);
	assert_status(r, 0);
	assert_has(r->err, "give the same -b");
}
END_TEST

START_TEST(prepare_v_shows_what_puppet_prints)
{
	assert_has(node("prepare", "-v", NULL)->err, "ensure changed");
	sh("rm mom/ca/requests/*");
	generation(2);
	assert_has_not(node("prepare", NULL)->err, "ensure changed");
}
END_TEST

/*
 * The checks before anything changes.
 */

static const struct {
	const char *setup, *words, *backup;
} check[] = {
	{ "mkdir -p node/puppetserver/ca; : >node/puppetserver/ca/ca_key.pem",
	    "away", NULL },
	{ "mkdir -p " SSL "/ca; : >" SSL "/ca/ca_key.pem", "away", NULL },
	{ "echo '{\"disabled_message\":\"why not\"}' "
	    ">node/cache/state/agent_disabled.lock", "disabled (why not)",
	    NULL },
	{ "mv " SSL " node/puppet/real; ln -s real " SSL, "real", NULL },
	{ "rm -r " SSL "; : >" SSL, "ssl", NULL },
	{ "echo SET_certname=CM1.example.com >node/settings", "CM1", NULL },
	{ "echo SET_certname= >node/settings", "certname", NULL },
	{ "echo SET_certname=../x >node/settings", "../x", NULL },
	{ "echo SET_ssldir= >node/settings", "ssl", NULL },
	{ "echo SET_hostprivkey= >node/settings", "hostprivkey", NULL },
	{ "echo SET_ssldir=/nonexistent/puppet/ssl >node/settings",
	    "nonexistent", NULL },
	{ "rm node/bin/puppet", "No such file", NULL },
	{ "chmod -x node/bin/puppet", "ermission", NULL },
	{ "echo 'exit 1 * *config*' >node/knobs/faults", "Injected", NULL },
	{ "echo 'mute 0 * *config*' >node/knobs/faults", "cmregen", NULL },
	{ "echo 'cut - * *config*' >node/knobs/faults", "cmregen", NULL },
	{ "echo 'signal KILL * *config*' >node/knobs/faults", "signal",
	    NULL },
	{ "echo 'endless - * *config*' >node/knobs/faults", "cmregen", NULL },
	{ "mkfifo " SSL "/certs/fifo", "fifo", NULL },
	{ "mknod " SSL "/certs/null c 1 3", "null", NULL },
	{ ":", "none", "none/bak" },
	{ ":", "bak", "node/puppet/ssl" },
	{ ":", "bak", "node/puppet/ssl/bak" },
	{ ":", "bak", "node/puppet/ssl/certs/bak" },
	{ ":", "ssl", "node/puppet" },
	{ ":", "ssl", "node" },
	{ ": >file", "file", "file" },
	{ ": >" BAK, "ssl_bak", NULL },
	{ "ln -s ssl " BAK, "ssl_bak", NULL },
	{ "ln -s nowhere " BAK, "ssl_bak", NULL },
	{ "mkdir " BAK, "ssl_bak", NULL },
	{ "ln -s ssl node/puppet/other", "ssl", "node/puppet/other/bak" },
	{ ":", "cmregen", "node/puppet/ssl.cmregen-old" },
	{ ":", "proc", "/proc/bak" },
	{ ":", "too long", "@250" },
	{ "echo SET_requestdir=/elsewhere >node/settings", "requestdir", NULL }
};

static void
check_refuses(int i, const char *const command)
{
	const struct run *r;
	const char *before;

	sh("%s", check[i].setup);
	before = snapshot(".");
	if (check[i].backup != NULL && check[i].backup[0] == '@')
		r = node(command, "-b", path("%0250d", 0), NULL);
	else if (check[i].backup != NULL)
		r = node(command, "-b", check[i].backup[0] == '/' ?
		    check[i].backup : path("%s", check[i].backup), NULL);
	else
		r = node(command, NULL);
	assert_status(r, 1);
	assert_has(r->err, "cmregen: ");
	if (strcmp(check[i].words, "bak") != 0)
		assert_has(r->err, check[i].words);
	assert_same(snapshot("."), before);
	ck_assert_int_eq(logged("node", "ensure=", 0), -1);
	ck_assert_str_eq(r->out, "");
}

START_TEST(prepare_checks_before_it_changes_anything)
{
	check_refuses(_i, "prepare");
}
END_TEST

START_TEST(a_mount_point_is_refused)
{
	const struct run *r;

	sh("mkdir keep; cp -a " SSL "/. keep; mount -t tmpfs none " SSL "; "
	    "cp -a keep/. " SSL);
	r = node("prepare", NULL);
	sh("umount " SSL);
	assert_status(r, 1);
	assert_has(r->err, "mount");
	ck_assert_int_eq(logged("node", "ensure=", 0), -1);
}
END_TEST

static int
as_nobody(void *arg)
{
	static char word[6][4096];
	char *argv[7];
	const char *const *from;
	int i;

	for (from = arg, i = 0; from[i] != NULL; i++) {
		(void)strcpy(word[i], from[i]);
		argv[i] = word[i];
	}
	argv[i] = NULL;
	if (setgid(65534) == -1 || setuid(65534) == -1)
		return 99;
	return cmregen_main(i, argv);
}

START_TEST(another_user_than_root_is_refused)
{
	static const char *const verb[] = { "prepare", "finish", "restore" };
	const char *argv[6] = { "cmregen", "node", NULL, "-p", NULL, NULL };
	const struct run *r;

	argv[2] = verb[_i];
	argv[4] = path("node/bin/puppet");
	sh("chmod 666 node/log");
	r = run_function(as_nobody, argv);
	assert_status(r, 1);
	assert_has(r->err, "root");
	ck_assert_str_eq(get("node/log"), "");
}
END_TEST

START_TEST(one_command_at_a_time)
{
	static const char *const verb[] = { "prepare", "finish", "restore" };
	const char *before;
	const struct run *r;
	pid_t other;

	if (_i > 0)
		signed_too();
	other = hold_lock("node/puppet/.cmregen.lock");
	before = snapshot(".");
	r = node(verb[_i], NULL);
	assert_status(r, 1);
	assert_has(r->err, "another");
	assert_same(snapshot("."), before);
	r = node(verb[_i], "-n", NULL);
	assert_status(r, 1);
	assert_same(snapshot("."), before);
	hold_end(other);
	ck_assert_int_eq(logged("node", "ensure=", 0), -1);
	ck_assert_int_eq(logged("node", "puppet agent", 0), -1);
}
END_TEST

START_TEST(a_lock_that_is_a_link_is_refused)
{
	sh("ln -s /nonexistent/x node/puppet/.cmregen.lock");
	node_first = snapshot("node");
	assert_untouched(node("prepare", NULL));
}
END_TEST

START_TEST(prepare_n_changes_nothing_and_prints_a_runbook)
{
	static const char *const unit[] = {
		"puppet", "pe-puppetserver", "mcollective", "pxp-agent"
	};
	const char *before;
	const struct run *r;
	size_t i;

	generation(_i);
	before = snapshot(".");
	r = node("prepare", "-n", NULL);
	assert_status(r, 0);
	assert_same(snapshot("."), before);
	ck_assert_int_eq(logged("node", "ensure=", 0), -1);
	for (i = 0; i < 4; i++) {
		if (i == 2 && _i != FIVE)
			continue;
		assert_has(r->out, text("%s resource service %s ensure=stopped",
		    path("node/bin/puppet"), unit[i]));
		assert_has(r->out, text("%s resource service %s ensure=running",
		    path("node/bin/puppet"), unit[i]));
	}
	assert_has(r->out, path(SSL));
	assert_has(r->out, path(BAK));
	assert_has(r->out, path(CATALOG));
	ck_assert(strstr(r->out, "ensure=stopped") <
	    strstr(r->out, path(CATALOG)));
	ck_assert(strstr(r->out, path(CATALOG)) <
	    strstr(r->out, "ensure=running"));
}
END_TEST

/* Carrying out the runbook by hand is a regeneration. */
START_TEST(the_runbook_of_n_works)
{
	const struct run *r;

	generation(_i);
	r = node("prepare", "-n", NULL);
	put("runbook", r->out);
	sh("sed -n '/^#/d; /^[^ ]*\\(puppet\\|cp\\|mv\\|rm\\) /p' runbook "
	    ">script; sh -e ./script >out 2>&1");
	assert_same(tree_text(BAK, NULL), ssl_first);
	ck_assert(exists(SSL REQUEST));
	ck_assert(!exists(CATALOG));
	ck_assert(running("puppet"));
	no_leftover();
}
END_TEST

/*
 * Undo: each step failed in turn.
 */

static const char *const undone[] = {
	/* stopping */
	"exit 1 1 *service puppet ensure=stopped*",
	"wrong - * *service puppet ensure=stopped*",
	"mute 0 1 *service puppet ensure=stopped*",
	"signal KILL 1 *service puppet ensure=stopped*",
	"exit 1 1 *service pxp-agent ensure=stopped*",
	"wrong - * *service pxp-agent ensure=stopped*",
	"wrong - * *service pe-puppetserver ensure=stopped*",
	"signal-after KILL 1 *service pe-puppetserver ensure=stopped*",
	"after 1 1 *service pxp-agent ensure=stopped*",
	"quiet - 1 *service pxp-agent ensure=stopped*",
	"cut - 1 *service pxp-agent ensure=stopped*",
	"endless - 1 *service puppet ensure=stopped*",
	/* starting */
	"wrong - 1 *service puppet ensure=running*",
	"exit 1 1 *service puppet ensure=running*",
	"mute 0 1 *service puppet ensure=running*",
	"signal KILL 1 *service puppet ensure=running*",
	/* a signal in the middle */
	"parent TERM 1 *config print*",
	"parent TERM 1 *service puppet ensure=stopped*",
	"parent INT 1 *service puppet ensure=stopped*",
	"parent HUP 1 *service pxp-agent ensure=stopped*",
	"parent-after TERM 1 *service pxp-agent ensure=stopped*"
};

START_TEST(a_step_that_fails_is_undone)
{
	generation(2);
	knob("node", "faults", undone[_i]);
	assert_undone(node("prepare", NULL));
	ck_assert(!exists("mom/ca/requests/" CM1 ".pem"));
}
END_TEST

/* The same, where the daemon makes nothing. */
static const char *const undone_late[] = {
	"parent TERM 1 *service puppet ensure=running*",
	"parent-after INT 1 *service puppet ensure=running*",
	"stall 0 * nothing"
};

START_TEST(without_a_request_everything_is_undone)
{
	const struct run *r;

	generation(_i / 3);
	knob("node", _i % 2 == 0 ? "no-request" : "key-only", "");
	knob("node", "faults", undone_late[_i % 3]);
	r = node("prepare", "-w", "1", NULL);
	assert_undone(r);
	assert_has(r->err, "MoM");
}
END_TEST

START_TEST(a_stopped_CA_is_undone)
{
	generation(_i);
	knob("mom", "server-stopped", "");
	assert_undone(node("prepare", "-w", "1", NULL));
}
END_TEST

START_TEST(the_old_certificate_fetched_again_is_undone)
{
	const struct run *r;

	sandbox(version[_i]);
	if (_i % 2 == 1)
		knob("node", "no-old-cert", "");
	node_first = snapshot("node");
	services_first = services();
	r = node("prepare", "-w", "1", NULL);
	assert_undone(r);
	if (_i % 2 == 0)
		assert_has(r->err, "mom clean");
}
END_TEST

START_TEST(a_catalog_that_cannot_be_removed_is_undone)
{
	sh("rm " CATALOG "; mkdir -p " CATALOG "/x");
	node_first = snapshot("node");
	assert_undone(node("prepare", NULL));
}
END_TEST

START_TEST(a_name_in_the_way_is_undone)
{
	const struct run *r;

	knob("node", "faults", "touch puppet/ssl.cmregen-old 1 "
	    "*service pxp-agent ensure=stopped*");
	r = node("prepare", NULL);
	assert_has(r->err, "ssl.cmregen-old");
	assert_same(tree_text(SSL, NULL), ssl_first);
	sh("rm node/puppet/ssl.cmregen-old");
	assert_undone(r);
}
END_TEST

START_TEST(a_run_in_progress_that_does_not_end_is_undone)
{
	const struct run *r;

	run_in_progress("100");
	node_first = snapshot("node");
	r = node("prepare", "-w", "1", NULL);
	assert_undone(r);
	assert_has(r->err, path(RUNLOCK));
	assert_has(r->err, "PID");
	ck_assert_int_eq(logged("node", "pxp-agent ensure=stopped", 0), -1);
}
END_TEST

START_TEST(a_signal_ends_the_wait_for_a_run_in_progress)
{
	const struct run *r;
	pid_t pid;
	int i;

	run_in_progress("100");
	node_first = snapshot("node");
	pid = start("node", "prepare", "-p", path("node/bin/puppet"), NULL);
	for (i = 0; i < 1000 && strstr(printed(), "Puppet run of PID") == NULL;
	    i++)
		sleep_ms(10);
	(void)kill(pid, SIGINT);
	r = finish(pid);
	assert_undone(r);
	assert_has(r->err, "interrupted while it waited");
	ck_assert(r->took < 60);
}
END_TEST

START_TEST(a_backup_that_ssl_is_no_longer_like_stays)
{
	const struct run *r;

	knob("node", "faults",
	    "touch puppet/ssl/crl.pem 1 *service puppet ensure=stopped*\n"
	    "wrong - * *service pxp-agent ensure=stopped*");
	r = node("prepare", NULL);
	assert_status(r, 3);
	assert_has(r->err, "stays");
	assert_has(r->err, "node prepare");
	assert_same(tree_text(BAK, NULL), ssl_first);
	assert_has(get(SSL "/crl.pem"), "touched");
	assert_same(services(), services_first);
}
END_TEST

/* Neither its stop nor a question to it is answered. */
START_TEST(what_an_undo_cannot_find_out_it_says)
{
	const struct run *r;

	knob("node", "faults", "exit 1 * *service pxp-agent*");
	r = node("prepare", NULL);
	assert_status(r, 3);
	assert_has(r->err, "whether these ran before is not known, look at "
	    "them: pxp-agent");
	assert_same(tree_text(SSL, NULL), ssl_first);
	ck_assert(running("puppet"));
	ck_assert(running("pe-puppetserver"));
}
END_TEST

START_TEST(a_run_in_progress_is_waited_for)
{
	const struct run *r;

	run_in_progress("1.5");
	r = node("prepare", NULL);
	assert_prepared(r);
	ck_assert(r->took >= 1);
}
END_TEST

START_TEST(an_agent_that_works_on_its_certificate_is_waited_for)
{
	const struct run *r;

	sh("sleep 1.5 & echo $! >" SSL "/ssl.lock");
	r = node("prepare", NULL);
	assert_prepared(r);
	ck_assert(r->took >= 1);
}
END_TEST

START_TEST(a_stale_lock_is_no_run)
{
	const struct run *r;

	sh("sleep 0 & pid=$!; wait; "
	    "echo $pid >node/cache/state/agent_catalog_run.lock");
	r = node("prepare", NULL);
	assert_status(r, 0);
	ck_assert(r->took < 10);
}
END_TEST

START_TEST(a_service_that_the_undo_cannot_start_is_named)
{
	const struct run *r;

	knob("node", "no-request", "");
	knob("node", "faults",
	    "wrong - * *service pxp-agent ensure=running*");
	r = node("prepare", "-w", "1", NULL);
	assert_status(r, 3);
	assert_has(r->err, "pxp-agent");
	assert_same(tree_text(SSL, NULL), ssl_first);
	ck_assert(running("puppet"));
	ck_assert(running("pe-puppetserver"));
}
END_TEST

/* Its start had joined one that was under way, without a certificate. */
START_TEST(a_server_that_the_undo_starts_in_vain_is_started_once_more)
{
	const struct run *r;

	knob("node", "no-request", "");
	knob("node", "faults",
	    "wrong - 2 *service pe-puppetserver ensure=running*");
	r = node("prepare", "-w", "1", NULL);
	assert_undone(r);
	assert_has(r->err, "starting pe-puppetserver once more");
}
END_TEST

START_TEST(a_server_that_starts_in_vain_is_started_once_more)
{
	const struct run *r;

	signed_too();
	knob("node", "faults",
	    "wrong - 1 *service pe-puppetserver ensure=running*");
	r = node(_i == 0 ? "finish" : "restore", NULL);
	assert_status(r, 0);
	assert_has(r->err, "starting pe-puppetserver once more");
	ck_assert(running("pe-puppetserver"));
}
END_TEST

START_TEST(puppet_that_never_starts_is_named_and_ssl_is_back)
{
	const struct run *r;

	knob("node", "start-fails.puppet", "");
	r = node("prepare", NULL);
	assert_status(r, 3);
	assert_has(r->err, "puppet");
	assert_same(tree_text(SSL, NULL), ssl_first);
	ck_assert(running("pxp-agent"));
	ck_assert(running("pe-puppetserver"));
}
END_TEST

START_TEST(an_ssl_that_the_agent_made_goes_when_it_is_undone)
{
	knob("node", "key-only", "");
	assert_undone(node("prepare", "-w", "1", NULL));
	ck_assert_str_eq(id_of(SSL KEY), "000000001");
}
END_TEST

START_TEST(nothing_is_undone_once_the_request_is_there)
{
	const struct run *r;
	pid_t pid;
	int i;

	knob("node", "slow-start.pe-puppetserver", "4");
	pid = start("node", "prepare", "-p", path("node/bin/puppet"), NULL);
	for (i = 0; i < 400 && strstr(printed(), "mom sign") == NULL; i++)
		sleep_ms(10);
	(void)kill(pid, SIGTERM);
	r = finish(pid);
	ck_assert_msg(r->status == 0 || r->status == 3, "%d\n%s", r->status,
	    r->err);
	assert_same(tree_text(BAK, NULL), ssl_first);
	ck_assert_str_ne(id_of(SSL KEY), "000000001");
	ck_assert(exists(SSL REQUEST));
	ck_assert(!exists("node/puppet/ssl.cmregen-old"));
}
END_TEST

START_TEST(a_service_that_does_not_start_at_the_end_is_a_warning)
{
	const struct run *r;

	knob("node", "start-fails.pxp-agent", "");
	r = node("prepare", NULL);
	assert_status(r, 0);
	assert_has(r->err, "pxp-agent");
	ck_assert(running("puppet"));
}
END_TEST

/* A child that never ends by itself does not hold the program for ever. */
START_TEST(a_child_that_ignores_SIGTERM_is_not_waited_for_at_the_checks)
{
	pid_t pid;

	knob("node", "faults", "stubborn 60 * *config print*");
	pid = start("node", "prepare", "-p", path("node/bin/puppet"), NULL);
	sleep_ms(500);
	(void)kill(pid, SIGTERM);
	assert_untouched(finish(pid));
}
END_TEST

START_TEST(a_daemon_that_holds_the_output_does_not_matter)
{
	const struct run *r;

	knob("node", "faults", "daemon 60 * *ensure=running*");
	r = node("prepare", NULL);
	assert_prepared(r);
	ck_assert(r->took < 30);
}
END_TEST

START_TEST(much_output_does_not_matter)
{
	knob("node", "faults", "flood - * *ensure=*");
	assert_prepared(node("prepare", NULL));
}
END_TEST

/*
 * Where to begin.
 */

#define DIR	"cd node/puppet; "
#define COPY	"cp -a ssl ssl_bak; "
#define NEWKEY	"sed -i s/Key000000001/Key000000042/ ssl" KEY "; "
#define STOPPED	"echo stopped true >../services/puppet; "
#define LATER	STOPPED "rm -f ../cache/client_data/catalog/" CM1 ".json; "
#define NOCERT	"rm -f ssl" CERT " ssl" REQUEST "; "
#define NEWCERT	"sed -i s/Crt000000001/Crt000000042/ ssl" CERT "; "

static const struct {
	const char *setup;
	const char *words;	/* refused, with these; NULL: goes on */
	const char *key;	/* which remains; NULL: another is made */
	const char *note;	/* said on the way */
} row[] = {
	{ "cp -a ssl ssl.cmregen-new", "node restore", NULL, NULL },
	{ "mkdir ssl.cmregen-new", "node restore", NULL, NULL },
	{ COPY "mv ssl ssl.cmregen-bad", "node restore", NULL, NULL },
	{ "mv ssl ssl.cmregen-old", NULL, NULL, NULL },
	{ "cp -a ssl ssl.cmregen-old", "-b", NULL, NULL },
	{ "cp -a ssl ssl.cmregen-old;" NEWKEY NOCERT, "-b", NULL, NULL },
	{ COPY STOPPED "mv ssl ssl.cmregen-old", NULL, NULL, NULL },
	{ COPY "cp -a ssl ssl.cmregen-old", "ssl.cmregen-old", NULL, NULL },
	{ COPY "cp -a ssl ssl.cmregen-old;" NEWKEY NOCERT LATER, NULL,
	    "000000042", NULL },
	{ COPY LATER "mv ssl ssl.cmregen-old; mkdir ssl", NULL, NULL,
	    NULL },
	{ "mv ssl ssl_bak", NULL, NULL, NULL },
	{ "rm -r ssl", "ssl_bak", NULL, NULL },
	{ ":", NULL, NULL, NULL },
	{ COPY, NULL, NULL, NULL },
	{ COPY "echo x >>ssl/certs/ca.pem", "-b", NULL, NULL },
	{ COPY "chown 0:0 ssl/certs/ca.pem", "-b", NULL, NULL },
	{ COPY "chmod 600 ssl/certs/ca.pem", "-b", NULL, NULL },
	{ COPY "echo x >ssl/certs/new", "-b", NULL, NULL },
	{ COPY "echo x >ssl_bak/certs/new", "-b", NULL, NULL },
	{ "cp -r ssl ssl_bak", "ssl_bak", NULL, NULL },
	{ COPY "echo x >>ssl/crl.pem; echo x >>ssl/certs/ca.pem", "-b", NULL,
	    NULL },
	{ COPY NEWCERT, "-b", NULL, NULL },
	{ COPY LATER "rm ssl" KEY ";" NOCERT, NULL, NULL, NULL },
	{ COPY LATER "rm -r ssl; mkdir ssl", NULL, NULL, NULL },
	{ COPY NEWKEY NOCERT LATER, NULL, "000000042", NULL },
	{ COPY NEWKEY, NULL, NULL, "clean" },
	{ COPY NEWKEY NEWCERT, "node finish", NULL, NULL },
	{ "mkdir ssl_bak.cmregen-part ssl.cmregen-del; "
	    "echo x >ssl_bak.cmregen-part/x; mkdir ssl.cmregen-del/y", NULL,
	    NULL, NULL },
	{ COPY STOPPED "cp -a ssl ssl_bak.cmregen-part; mv ssl ssl.cmregen-old; "
	    "mkdir ssl.cmregen-del", NULL, NULL, NULL },
	{ COPY "mv ssl ssl.cmregen-old; "
	    "sed -i s/Key000000001/Key000000042/ ssl_bak" KEY, "same -b",
	    NULL, NULL },
	{ COPY LATER "cp -a ssl ssl.cmregen-old;" NEWKEY, NULL, NULL,
	    "discarded" },
	{ COPY LATER "rm ssl" KEY, NULL, NULL, "discarded" },
	{ "rm -r ssl/private_keys", "let Puppet make its key", NULL, NULL }
};

START_TEST(prepare_begins_where_the_table_says)
{
	const struct run *r;
	const char *before;

	sh(DIR "%s", row[_i].setup);
	before = snapshot(".");
	r = node("prepare", "-w", "10", NULL);
	if (row[_i].words != NULL) {
		assert_status(r, 1);
		assert_has(r->err, row[_i].words);
		assert_same(snapshot("."), before);
		ck_assert_int_eq(logged("node", "ensure=", 0), -1);
		return;
	}
	assert_prepared(r);
	if (row[_i].key != NULL)
		ck_assert_str_eq(id_of(SSL KEY), row[_i].key);
	else
		ck_assert_str_ne(id_of(SSL KEY), "000000042");
	if (row[_i].note != NULL)
		assert_has(text("%s%s", r->out, r->err), row[_i].note);
}
END_TEST

/* And its runbook, typed, comes to the same end as the command itself. */
START_TEST(prepare_n_reads_the_same_table)
{
	const struct run *r;
	const char *before;

	sh(DIR "%s", row[_i].setup);
	before = snapshot(".");
	r = node("prepare", "-n", NULL);
	assert_status(r, row[_i].words != NULL ? 1 : 0);
	assert_same(snapshot("."), before);
	ck_assert_int_eq(logged("node", "ensure=", 0), -1);
	if (row[_i].words != NULL)
		return;
	runbook(r->out);
	no_leftover();
	assert_same(tree_text(BAK, NULL), ssl_first);
	ck_assert_str_ne(id_of(SSL KEY), "000000001");
	ck_assert_str_eq(id_of(SSL KEY), id_of(SSL REQUEST));
	ck_assert(running("puppet"));
}
END_TEST

START_TEST(an_equal_backup_is_left_alone)
{
	struct stat a, b;

	sh(DIR COPY "touch -d 2001-01-01 ssl/crl.pem");
	ck_assert_int_eq(stat(path(BAK), &a), 0);
	assert_prepared(node("prepare", NULL));
	ck_assert_int_eq(stat(path(BAK), &b), 0);
	ck_assert(a.st_ino == b.st_ino);
}
END_TEST

START_TEST(a_backup_with_a_stale_CRL_is_made_anew)
{
	const char *now;

	sh(DIR COPY "echo x >>ssl/crl.pem");
	now = tree_text(SSL, NULL);
	assert_status(node("prepare", NULL), 0);
	assert_same(tree_text(BAK, NULL), now);
	no_leftover();
}
END_TEST

START_TEST(a_stale_backup_is_back_when_it_is_undone)
{
	sh(DIR COPY "echo x >>ssl/crl.pem");
	node_first = snapshot("node");
	knob("node", "no-request", "");
	assert_undone(node("prepare", "-w", "1", NULL));
}
END_TEST

START_TEST(a_request_that_is_there_is_handed_on_again)
{
	const struct run *r;
	const char *key;

	generation(_i);
	prepared();
	key = id_of(SSL KEY);
	r = node("prepare", NULL);
	assert_prepared(r);
	ck_assert_str_eq(id_of(SSL KEY), key);
}
END_TEST

START_TEST(a_request_without_its_key_is_not_handed_on)
{
	const struct run *r;

	generation(_i);
	prepared();
	sh("rm " SSL KEY);
	put(SSL REQUEST, pair[0].request);
	r = node("prepare", NULL);
	assert_prepared(r);
	assert_has(r->err, "discarded");
	ck_assert_str_ne(get(SSL REQUEST), pair[0].request);
}
END_TEST

/* Killed before it was judged, it is judged when prepare -l is run again. */
START_TEST(a_foreign_request_that_a_crash_left_in_next_is_not_handed_on)
{
	const struct run *r;

	generation(SEVEN);
	sh("rm -f mom/ca/signed/" CM1 ".pem; cd node/puppet; "
	    "cp -a ssl ssl.cmregen-next; rm ssl.cmregen-next" CERT);
	put("node/puppet/ssl.cmregen-next" KEY, pair[0].key);
	put("node/puppet/ssl.cmregen-next" REQUEST, pair[1].request);
	r = node("prepare", "-l", NULL);
	assert_status(r, 0);
	ck_assert_str_ne(get("node/puppet/ssl.cmregen-next" REQUEST),
	    pair[1].request);
	ck_assert_str_ne(get("node/puppet/ssl.cmregen-next" KEY),
	    pair[0].key);
}
END_TEST

/* Below 6 an agent takes for its own what it finds on the CA. */
START_TEST(a_request_of_another_key_is_not_handed_on)
{
	const struct run *r;

	prepared();
	put(SSL KEY, pair[0].key);
	put(SSL REQUEST, pair[_i].request);
	r = node("prepare", NULL);
	if (_i == 0) {
		assert_status(r, 0);
		assert_has(r->out, fingerprint());
		return;
	}
	assert_prepared(r);
	assert_has(r->err, "its request is not of its key");
	assert_has(r->err, "discarded");
	ck_assert_str_ne(get(SSL KEY), pair[0].key);
	ck_assert_str_ne(get(SSL REQUEST), pair[_i].request);
}
END_TEST

START_TEST(the_runbook_for_a_stale_backup_replaces_it)
{
	const struct run *r;

	sh(DIR COPY "echo x >>ssl/crl.pem");
	r = node("prepare", "-n", NULL);
	assert_status(r, 0);
	assert_has(r->out, text("mv %s %s.cmregen-del", path(BAK),
	    path(BAK)));
	assert_has(r->out, text("rm -rf %s.cmregen-del", path(BAK)));
}
END_TEST

START_TEST(the_runbook_after_a_crash_knows_what_ran)
{
	const struct run *r;

	knob("node", "faults",
	    "parent-after KILL 1 *service pxp-agent ensure=stopped*");
	ck_assert_int_eq(node("prepare", NULL)->status, 128 + SIGKILL);
	sleep_ms(300);
	sh("rm node/knobs/faults");
	r = node("prepare", "-n", NULL);
	assert_status(r, 0);
	assert_has(r->out, "service pe-puppetserver ensure=running");
	ck_assert(exists("node/puppet/.cmregen.lock"));
}
END_TEST

/* Where a crash comes: the program is gone when this call has ended. */
static const char *const crash[] = {
	"*config print*",
	"*service puppet ensure=stopped*",
	"*service pe-puppetserver ensure=stopped*",
	"*service pxp-agent ensure=stopped*",
	"*service mcollective ensure=stopped*",
	"*service puppet ensure=running*",
	"*service pxp-agent ensure=running*",
	"*service mcollective ensure=running*",
	"*service pe-puppetserver ensure=running*"
};

START_TEST(prepare_again_after_a_crash_ends_as_if_there_was_none)
{
	const struct run *r;

	generation(FIVE);
	if (_i > 4)		/* all answers were on disk */
		put("node/services/mcollective", "running false\n");
	knob("node", "faults", text("parent-after KILL 1 %s", crash[_i]));
	r = node("prepare", NULL);
	ck_assert_int_eq(r->status, 128 + SIGKILL);
	sleep_ms(300);
	assert_prepared(node("prepare", NULL));
	/* not enabled: it counts as running only where its answer was there */
	if (_i != 2 && _i != 4)
		ck_assert(running("mcollective"));
	ck_assert_int_ne(logged("node", "pe-puppetserver ensure=running", 0),
	    -1);
}
END_TEST

/* Not only what this run has done: the host is as before the first. */
START_TEST(an_undo_takes_back_what_a_run_before_it_did)
{
	knob("node", "faults",
	    "parent KILL 1 *service puppet ensure=running*");
	ck_assert_int_eq(node("prepare", NULL)->status, 128 + SIGKILL);
	sleep_ms(800);
	ck_assert(exists("node/puppet/ssl.cmregen-old"));
	sh("rm -rf node/knobs/faults* " SSL);
	if (_i == 0)
		knob("node", "faults",
		    "exit 1 1 *service puppet ensure=stopped*");
	else
		knob("node", "no-request", "");
	(void)node("prepare", "-w", "1", NULL);
	assert_same(tree_text(SSL, NULL), ssl_first);
	assert_same(services(), services_first);
	ck_assert(!exists("node/puppet/ssl.cmregen-old"));
}
END_TEST

START_TEST(services_that_a_run_before_it_stopped_run_after_the_undo)
{
	knob("node", "faults", "parent KILL 1 *service pxp-agent ensure=sto*");
	ck_assert_int_eq(node("prepare", NULL)->status, 128 + SIGKILL);
	sleep_ms(800);
	sh("rm -rf node/knobs/faults*; mkdir usb; mkfifo " SSL "/fifo");
	assert_status(node("prepare", "-b", path("usb/x"), NULL), 1);
	assert_same(services(), services_first);
}
END_TEST

START_TEST(a_service_that_runs_again_since_the_crash_runs_after_the_undo)
{
	sh("printf 'stopping\npuppet running\npxp-agent stopped\n' "
	    ">node/puppet/.cmregen.lock; chmod 600 node/puppet/.cmregen.lock");
	knob("node", "no-request", "");
	assert_status(node("prepare", "-w", "1", NULL), 1);
	ck_assert(running("pxp-agent"));
	assert_same(services(), services_first);
}
END_TEST

/* The request is handed on: an error cannot bring the old key back. */
START_TEST(a_new_key_that_was_handed_on_is_not_taken_back)
{
	const char *ssl;

	sh("cp -a " SSL " keep");
	prepared();
	sh("mv keep node/puppet/ssl.cmregen-old; "
	    "mv node/cache/client_data/catalog elsewhere; "
	    "ln -s $PWD/elsewhere node/cache/client_data/catalog");
	ssl = tree_text(SSL, NULL);
	assert_status(node("prepare", NULL), 1);
	assert_same(tree_text(SSL, NULL), ssl);
	ck_assert(exists("node/puppet/ssl.cmregen-old"));
	sh("rm node/cache/client_data/catalog");
	assert_prepared(node("prepare", NULL));
	assert_same(tree_text(SSL, NULL), ssl);
}
END_TEST

START_TEST(a_service_whose_answer_was_lost_runs_if_it_is_enabled)
{
	generation(FIVE);
	knob("node", "faults",
	    "parent KILL 1 *service mcollective ensure=stopped*\n"
	    "stall 0.2 1 *service p*ensure=stopped*");
	ck_assert_int_eq(node("prepare", NULL)->status, 128 + SIGKILL);
	sleep_ms(800);
	assert_prepared(node("prepare", NULL));
	ck_assert(running("mcollective"));
}
END_TEST

/*
 * finish
 */

START_TEST(finish_brings_the_compile_master_back)
{
	const struct run *r;
	int run;

	generation(_i);
	signed_too();
	r = node("finish", NULL);
	assert_status(r, 0);
	run = logged("node", "puppet agent ", 0);
	ck_assert_int_ge(run, 0);
	assert_has(get("node/log"), "--test");
	ck_assert_str_eq(id_of(SSL KEY), id_of(SSL CERT));
	ck_assert_str_ne(id_of(SSL KEY), "000000001");
	assert_same(services(), services_first);
	assert_has(text("%s%s", r->out, r->err), path(BAK));
	assert_has(text("%s%s", r->out, r->err), "Applied catalog");
	ck_assert(exists(CATALOG));
	no_leftover();
}
END_TEST

START_TEST(finish_without_a_regeneration_does_nothing)
{
	if (_i == 1)
		sh(DIR COPY);
	node_first = snapshot("node");
	assert_untouched(node("finish", "-w", "1", NULL));
	ck_assert_int_eq(logged("node", "puppet agent ", 0), -1);
	ck_assert_int_eq(logged("node", "ensure=", 0), -1);
}
END_TEST

START_TEST(finish_checks_before_it_changes_anything)
{
	static const char *const setup[] = {
		"mkdir -p " SSL "/ca; : >" SSL "/ca/ca_key.pem",
		"echo '{\"disabled_message\":\"why not\"}' "
		    ">node/cache/state/agent_disabled.lock",
		"mv " SSL " node/puppet/real; ln -s real " SSL,
		"echo 'exit 1 * *config*' >node/knobs/faults"
	};

	signed_too();
	sh("%s", setup[_i]);
	node_first = snapshot("node");
	assert_untouched(node("finish", "-w", "1", NULL));
	ck_assert_int_eq(logged("node", "puppet agent ", 0), -1);
}
END_TEST

START_TEST(finish_takes_no_other_directory_for_the_backup)
{
	const struct run *r;

	signed_too();
	sh("mkdir stick");
	node_first = snapshot("node");
	r = node("finish", "-b", path("stick"), NULL);
	assert_untouched(r);
	assert_has(r->err, "it is no backup");
	ck_assert_int_eq(logged("node", "puppet agent ", 0), -1);
}
END_TEST

/* What a command that broke off has left, and the command to run. */
static const struct {
	const char *setup, *words;
} unfinished[] = {
	{ "rm ssl" CERT "; cp -a ssl_bak ssl.cmregen-old", "node prepare" },
	{ "cp -a ssl_bak ssl.cmregen-new", "node restore" },
	{ "cp -a ssl ssl.cmregen-bad", "node restore" }
};

START_TEST(finish_refuses_what_another_command_has_begun)
{
	const struct run *r;

	signed_too();
	sh(DIR "cp -a ssl_bak" CERT " ssl" CERT "; %s", unfinished[_i].setup);
	node_first = snapshot("node");
	r = node("finish", "-w", "1", NULL);
	assert_untouched(r);
	assert_has(r->err, unfinished[_i].words);
}
END_TEST

/* The MoM had one for an earlier request. */
START_TEST(a_certificate_of_another_key_is_no_success)
{
	const struct run *r;

	signed_too();
	put(SSL KEY, pair[0].key);
	put(SSL CERT, certificate);
	r = node("finish", "-w", "1", NULL);
	assert_status(r, 3);
	assert_has(r->err, "the certificate is not of the new key");
	assert_has(r->err, "mom clean " CM1);
	assert_has_not(r->err, "are in place");
	sh("rm mom/ca/signed/" CM1 ".pem");
	r = node("prepare", NULL);
	assert_prepared(r);
	assert_has(r->err, "its certificate is not of its key");
}
END_TEST

START_TEST(a_certificate_of_its_key_is_handed_on)
{
	const struct run *r;

	prepared();
	put(SSL KEY, pair[CERTIFIED].key);
	put(SSL CERT, certificate);
	r = node("prepare", NULL);
	assert_status(r, 1);
	assert_has(r->err, "newer than the backup");
}
END_TEST

START_TEST(an_interrupted_finish_repeats_the_sign_line)
{
	const struct run *r;
	pid_t pid;
	int i;

	prepared();
	pid = start("node", "finish", "-p", path("node/bin/puppet"), NULL);
	for (i = 0; i < 100 && strstr(printed(), "waiting for the cert") ==
	    NULL; i++)
		sleep_ms(100);
	(void)kill(pid, SIGINT);
	r = finish(pid);
	assert_status(r, 3);
	assert_has(r->err, "interrupted; there is no certificate");
	assert_has(r->out, "cmregen mom sign");
	assert_has_not(r->err, "repair");
}
END_TEST

START_TEST(finish_unsigned_repeats_the_sign_line)
{
	const struct run *r;

	generation(_i);
	prepared();
	r = node("finish", "-w", "1", NULL);
	assert_status(r, 1);
	assert_has(text("%s%s", r->out, r->err), "cmregen mom sign");
	assert_has(text("%s%s", r->out, r->err), fingerprint());
	ck_assert(r->took < 20);
}
END_TEST

START_TEST(finish_waits_for_the_signature)
{
	const struct run *r;
	pid_t pid;
	int i;

	prepared();
	pid = start("node", "finish", "-p", path("node/bin/puppet"), "-w",
	    "60", NULL);
	sleep_ms(1500);
	ck_assert_int_eq(waitpid(pid, NULL, WNOHANG), 0);
	sign();
	r = finish(pid);
	assert_status(r, 0);
	assert_same(services(), services_first);
}
END_TEST

START_TEST(finish_waits_for_a_run_in_progress)
{
	const struct run *r;

	signed_too();
	run_in_progress("2");
	r = node("finish", NULL);
	assert_status(r, 0);
	assert_has(r->err, "waiting for the Puppet run of PID");
	ck_assert(r->took >= 1);
}
END_TEST

START_TEST(finish_tells_who_holds_the_lock)
{
	const struct run *r;

	signed_too();
	run_in_progress("100");
	r = node("finish", "-w", "1", NULL);
	assert_status(r, 1);
	assert_has(r->err, path(RUNLOCK));
	assert_has(r->err, "PID");
	ck_assert_int_eq(logged("node", "puppet agent ", 0), -1);
}
END_TEST

START_TEST(finish_runs_again_when_another_run_was_faster)
{
	signed_too();
	knob("node", "busy", "Notice: Run of Puppet configuration client "
	    "already in progress; skipping  (x exists)");
	knob("node", "faults", "say busy:1 1 *puppet agent*");
	assert_status(node("finish", NULL), 0);
	ck_assert_int_ge(logged_times("node", "puppet agent "), 2);
}
END_TEST

START_TEST(finish_starts_what_is_enabled_and_nothing_else)
{
	signed_too();
	put("node/services/pxp-agent", "stopped false\n");
	put("node/services/puppet", "stopped true\n");
	assert_status(node("finish", NULL), 0);
	ck_assert(!running("pxp-agent"));
	ck_assert(running("puppet"));
	ck_assert(running("pe-puppetserver"));
}
END_TEST

static const int run_status[][2] = {
	{ 0, 0 }, { 2, 0 }, { 1, 3 }, { 4, 3 }, { 6, 3 }
};

START_TEST(finish_judges_the_run)
{
	const struct run *r;

	signed_too();
	knob("node", "run-status", text("%d", run_status[_i][0]));
	r = node("finish", "-w", "20", NULL);
	assert_status(r, run_status[_i][1]);
	ck_assert(running("pe-puppetserver"));
}
END_TEST

static const struct {
	const char *fault;
	int done;
} run_fault[] = {
	{ "exit 1 * *puppet agent*", 0 },
	{ "mute 0 * *puppet agent*", 0 },
	{ "mute 1 * *puppet agent*", 0 },
	{ "signal KILL * *puppet agent*", 0 },
	{ "after 1 * *puppet agent*", 0 },
	{ "signal-after TERM * *puppet agent*", 0 },
	{ "quiet - * *puppet agent*", 1 },
	{ "flood - * *puppet agent*", 1 },
	{ "endless - * *puppet agent*", 1 },
	{ "daemon 60 * *puppet agent*", 1 }
};

START_TEST(finish_is_done_only_if_the_run_was)
{
	const struct run *r;

	signed_too();
	knob("node", "faults", run_fault[_i].fault);
	r = node("finish", "-w", "1", NULL);
	if (run_fault[_i].done) {
		assert_status(r, 0);
		assert_same(services(), services_first);
	} else {
		ck_assert_msg(r->status == 1 || r->status == 3, "%d",
		    r->status);
		assert_has(r->err, "cmregen: ");
	}
}
END_TEST

START_TEST(a_service_that_will_not_run_is_3_by_name)
{
	const struct run *r;

	signed_too();
	knob("node", _i == 0 ? "start-fails.pe-puppetserver" :
	    "dies.pe-puppetserver", "");
	r = node("finish", NULL);
	assert_status(r, 3);
	assert_has(r->err, "pe-puppetserver");
}
END_TEST

START_TEST(a_certificate_that_does_not_fit_is_no_success)
{
	const struct run *r;

	signed_too();
	sh("sed -i s/Crt0000/Crt0009/ mom/ca/signed/" CM1 ".pem");
	r = node("finish", "-w", "2", NULL);
	ck_assert_int_ne(r->status, 0);
	assert_has(text("%s%s", r->out, r->err), "match");
}
END_TEST

START_TEST(the_old_certificate_is_no_success)
{
	const struct run *r;

	signed_too();
	sh("cp " BAK CERT " mom/ca/signed/; cp " BAK CERT " " SSL "/certs/; "
	    "sed -i s/Crt.*/Crt000000001Ser000000002/ " SSL CERT);
	knob("node", "ok", "Notice: Applied catalog in 0.05 seconds");
	knob("node", "faults", "say ok * *puppet agent*");
	r = node("finish", "-w", "2", NULL);
	ck_assert_int_ne(r->status, 0);
}
END_TEST

static const int run_signal[] = { SIGINT, SIGTERM, SIGHUP };

START_TEST(a_signal_ends_the_run_and_finish)
{
	const struct run *r;
	pid_t pid;

	signed_too();
	knob("node", "run-takes", "30");
	pid = start("node", "finish", "-p", path("node/bin/puppet"), NULL);
	await(RUNLOCK);
	sleep_ms(100);
	(void)kill(pid, run_signal[_i]);
	r = finish(pid);
	assert_status(r, 3);
	ck_assert(r->took < 25);
	sleep_ms(200);
	sh("test ! -e node/cache/state/agent_catalog_run.lock || "
	    "! kill -0 $(cat node/cache/state/agent_catalog_run.lock)");
}
END_TEST

START_TEST(finish_twice_is_done_twice)
{
	signed_too();
	assert_status(node("finish", NULL), 0);
	assert_status(node("finish", NULL), 0);
}
END_TEST

START_TEST(finish_n_changes_nothing_and_prints_the_commands)
{
	const char *before;
	const struct run *r;

	signed_too();
	before = snapshot(".");
	r = node("finish", "-n", NULL);
	assert_status(r, 0);
	assert_same(snapshot("."), before);
	assert_has(r->out, "agent");
	assert_has(r->out, "--test");
	assert_has(r->out, "service puppet ensure=running");
	assert_has_not(r->out, "service mcollective");
	ck_assert_int_eq(logged("node", "puppet agent ", 0), -1);
	ck_assert_int_eq(logged("node", "ensure=", 0), -1);
}
END_TEST

/*
 * restore
 */

static void
assert_restored(const struct run *r)
{
	assert_status(r, 0);
	no_leftover();
	assert_same(tree_text(SSL, NULL), ssl_first);
	assert_same(tree_text(BAK, NULL), ssl_first);
	assert_same(services(), services_first);
}

START_TEST(restore_is_the_way_back)
{
	const struct run *r;
	int stop;

	generation(_i);
	prepared();
	r = node("restore", NULL);
	assert_restored(r);
	assert_has_not(r->err, "given up");
	stop = logged("node", "service puppet ensure=stopped", 0);
	ck_assert_int_ge(stop, 0);
	ck_assert_int_gt(logged("node", "service puppet ensure=running", 0),
	    stop);
	assert_has(text("%s%s", r->out, r->err), "revoked");
}
END_TEST

START_TEST(restore_after_finish_too)
{
	const struct run *r;

	generation(FIVE);
	signed_too();
	assert_status(node("finish", NULL), 0);
	r = node("restore", "-n", NULL);
	assert_status(r, 0);
	assert_has(r->err, "they are given up");
	r = node("restore", NULL);
	assert_restored(r);
	assert_has(r->err, "they are given up");
}
END_TEST

START_TEST(restore_does_not_care_about_a_disabled_agent)
{
	prepared();
	sh("echo '{\"disabled_message\":\"x\"}' "
	    ">node/cache/state/agent_disabled.lock");
	assert_restored(node("restore", NULL));
}
END_TEST

START_TEST(restore_from_a_backup_elsewhere)
{
	sh("mkdir usb");
	assert_status(node("prepare", "-b", path("usb/bak"), NULL), 0);
	assert_status(node("restore", "-b", path("usb/bak"), NULL), 0);
	assert_same(tree_text(SSL, NULL), ssl_first);
	assert_same(tree_text("usb/bak", NULL), ssl_first);
	sh("! ls -A usb node/puppet | grep cmregen >&2");
}
END_TEST

static const char *const no_backup[] = {
	":",
	"mkdir ssl_bak",
	COPY "rm ssl_bak" KEY,
	COPY "rm ssl_bak" CERT,
	COPY "mkdir x; mv ssl_bak x; mv x ssl_bak",
	COPY "mkdir ssl/ca; : >ssl/ca/ca_key.pem",
	"ln -s ssl ssl_bak",
	": >ssl_bak",
	COPY "mkfifo ssl_bak/fifo"
};

START_TEST(restore_takes_no_other_directory_for_a_backup)
{
	sh(DIR "%s", no_backup[_i]);
	node_first = snapshot("node");
	assert_untouched(node("restore", NULL));
	assert_same(services(), services_first);
}
END_TEST

/* What a restore, or the prepare before it, may have left at a crash. */
static const char *const half_restored[] = {
	"cp -a ssl_bak ssl.cmregen-new",
	"mkdir ssl.cmregen-new; echo x >ssl.cmregen-new/x",
	"cp -a ssl_bak ssl.cmregen-new; mv ssl ssl.cmregen-bad",
	"mv ssl ssl.cmregen-bad",
	"mv ssl ssl.cmregen-bad; cp -a ssl_bak ssl",
	"mv ssl ssl.cmregen-bad; mkdir ssl; : >ssl/made-since; "
	    "chown -R 52001:52001 ssl; mkdir ssl.cmregen-del",
	"mv ssl ssl.cmregen-del; cp -a ssl_bak ssl",
	"rm -r ssl; cp -a ssl_bak ssl",
	"rm -r ssl",
	"rm -r ssl; cp -a ssl_bak ssl.cmregen-old",
	"cp -a ssl_bak ssl.cmregen-old",
	"cp -a ssl_bak ssl.cmregen-old; mkdir ssl_bak.cmregen-part",
	"rm -r ssl; cp -a ssl_bak ssl.cmregen-new; mkdir ssl.cmregen-del"
};

/* By hand it comes to the same end. */
START_TEST(without_a_backup_a_restore_that_was_killed_goes_on)
{
	const struct run *r;

	sh(DIR "mv ssl ssl.cmregen-old; mkdir ssl; : >ssl/made-since");
	knob("node", "faults",
	    "parent KILL 1 *service puppet ensure=running*");
	r = node("restore", NULL);
	ck_assert_int_eq(r->status, 128 + SIGKILL);
	ck_assert(exists("node/puppet/ssl.cmregen-bad"));
	sleep_ms(300);
	sh("rm -f node/knobs/faults");
	assert_status(node("restore", NULL), 0);
	assert_same(tree_text(SSL, NULL), ssl_first);
	assert_same(services(), services_first);
	no_leftover();
}
END_TEST

START_TEST(the_runbook_of_a_restore_after_a_crash_works)
{
	const struct run *r;

	prepared();
	sh(DIR "%s; test -e ssl || mkdir ssl.cmregen-next", half_restored[_i]);
	r = node("restore", "-n", NULL);
	assert_status(r, 0);
	runbook(r->out);
	assert_same(tree_text(SSL, NULL), ssl_first);
	assert_same(tree_text(BAK, NULL), ssl_first);
	no_leftover();
}
END_TEST

START_TEST(restore_again_after_a_crash_finishes)
{
	prepared();
	sh(DIR "%s", half_restored[_i]);
	put("node/services/pe-puppetserver", "stopped true\n");
	if (_i % 2 == 0)
		sh("for i in puppet pxp-agent; do echo stopped true "
		    ">node/services/$i; done");
	assert_restored(node("restore", NULL));
}
END_TEST

START_TEST(without_a_backup_old_comes_back)
{
	sh(DIR "mv ssl ssl.cmregen-old; "
	    "echo stopped true >../services/pxp-agent");
	assert_status(node("restore", NULL), 0);
	assert_same(tree_text(SSL, NULL), ssl_first);
	assert_same(services(), services_first);
	no_leftover();
}
END_TEST

START_TEST(restore_killed_at_a_call_and_run_again)
{
	generation(FIVE);
	prepared();
	knob("node", "faults", text("parent-after KILL 1 %s", crash[_i]));
	ck_assert_int_eq(node("restore", NULL)->status, 128 + SIGKILL);
	sleep_ms(300);
	assert_restored(node("restore", NULL));
}
END_TEST

static const char *const restore_undone[] = {
	"wrong - * *service puppet ensure=stopped*",
	"exit 1 1 *service puppet ensure=stopped*",
	"wrong - * *service pxp-agent ensure=stopped*",
	"mute 0 1 *service pxp-agent ensure=stopped*",
	"parent TERM 1 *config print*",
	"parent TERM 1 *service puppet ensure=stopped*",
	"parent INT 1 *service pxp-agent ensure=stopped*",
	"wrong - 1 *service puppet ensure=running*",
	"exit 1 1 *service puppet ensure=running*"
};

START_TEST(a_restore_that_fails_is_undone)
{
	prepared();
	sh("rm -f " CATALOG);
	node_first = snapshot("node");
	services_first = services();
	knob("node", "faults", restore_undone[_i]);
	assert_status(node("restore", NULL), 1);
	assert_same(snapshot("node"), node_first);
	assert_same(services(), services_first);
}
END_TEST

/*
 * A first one was killed between its renames, and the agent has made an ssl
 * since: both stay until the backup is in its place.
 */
START_TEST(a_restore_beside_bad_that_fails_loses_nothing)
{
	prepared();
	sh("rm -f " CATALOG "; " DIR STOPPED "mv ssl ssl.cmregen-bad; "
	    "mkdir -p ssl/private_keys; echo x >ssl" KEY "; "
	    "chown -R 52001:52001 ssl");
	node_first = snapshot("node");
	knob("node", "faults", "wrong - 1 *service puppet ensure=running*");
	assert_untouched(node("restore", NULL));
	sh("rm node/knobs/faults");
	assert_restored(node("restore", NULL));
}
END_TEST

START_TEST(a_restore_without_ssl_that_fails_is_undone)
{
	prepared();
	sh(DIR STOPPED "rm -r ssl; %s", _i == 0 ? ":" :
	    "mv ssl_bak ssl.cmregen-old");
	node_first = snapshot("node");
	services_first = services();
	knob("node", "faults", "wrong - 1 *service puppet ensure=running*");
	assert_status(node("restore", NULL), 1);
	assert_same(snapshot("node"), node_first);
	assert_same(services(), services_first);
}
END_TEST

START_TEST(a_backup_that_root_made_is_refused_with_the_command_that_mends_it)
{
	const struct run *r;

	prepared();
	sh("chown -R 0:0 " BAK);
	node_first = snapshot("node");
	r = node("restore", NULL);
	assert_untouched(r);
	assert_has(r->err, text("chown -Rh 52001:52001 %s", path(BAK)));
	ck_assert_int_eq(logged("node", "ensure=", 0), -1);
	sh("chown -Rh 52001:52001 " BAK);
	assert_restored(node("restore", NULL));
}
END_TEST

START_TEST(a_service_that_restore_cannot_start_is_named)
{
	const struct run *r;

	prepared();
	knob("node", "start-fails.pxp-agent", "");
	r = node("restore", NULL);
	ck_assert_int_ne(r->status, 1);
	assert_has(r->err, "pxp-agent");
}
END_TEST

START_TEST(restore_n_changes_nothing_and_prints_a_runbook)
{
	const char *before;
	const struct run *r;

	prepared();
	before = snapshot(".");
	r = node("restore", "-n", NULL);
	assert_status(r, 0);
	assert_same(snapshot("."), before);
	assert_has(r->out, "ensure=stopped");
	assert_has(r->out, "ensure=running");
	assert_has(r->out, path(BAK));
	assert_has(r->out, path(SSL));
	ck_assert_int_eq(logged("node", "ensure=", 0), -1);
}
END_TEST

/*
 * restore -r
 */

#define ROOT	"root/etc/puppetlabs/puppet"

/* A mounted system whose ssl is new, and whose backup is the old one. */
static void
rescue(void)
{
	sh("mkdir -p " ROOT "; cp -a " SSL " " ROOT "/ssl_bak; "
	    "cp -a " SSL " " ROOT "; echo new >>" ROOT "/ssl" KEY);
}

static const struct run *
restore_root(void)
{
	return program("node", "restore", "-p", path("node/bin/puppet"), "-r",
	    path("root"), NULL);
}

START_TEST(r_restores_without_puppet)
{
	const struct run *r;

	rescue();
	sh("echo new >>" ROOT "/ssl" CERT);
	r = restore_root();
	assert_status(r, 0);
	assert_has(r->err, "newer key and certificate than the backup");
	assert_same(tree_text(ROOT "/ssl", NULL), ssl_first);
	assert_same(tree_text(ROOT "/ssl_bak", NULL), ssl_first);
	ck_assert_str_eq(get("node/log"), "");
	sh("! ls -A " ROOT " | grep cmregen >&2");
}
END_TEST

START_TEST(r_needs_no_puppet_program)
{
	rescue();
	assert_status(program("node", "restore", "-r", path("root"), NULL),
	    0);
	assert_same(tree_text(ROOT "/ssl", NULL), ssl_first);
}
END_TEST

START_TEST(the_runbook_of_r_removes_what_is_half_copied)
{
	const struct run *r;

	rescue();
	sh("mkdir " ROOT "/ssl.cmregen-new; echo x >" ROOT
	    "/ssl.cmregen-new/x");
	r = program("node", "restore", "-n", "-r", path("root"), NULL);
	assert_status(r, 0);
	runbook(r->out);
	assert_same(tree_text(ROOT "/ssl", NULL), ssl_first);
	sh("! ls -A " ROOT " | grep cmregen >&2");
}
END_TEST

START_TEST(s_names_the_ssldir_inside)
{
	rescue();
	sh("mkdir -p root/var/lib; mv " ROOT "/ssl " ROOT "/ssl_bak "
	    "root/var/lib");
	assert_status(program("node", "restore", "-r", path("root"), "-s",
	    "/var/lib/ssl", NULL), 0);
	assert_same(tree_text("root/var/lib/ssl", NULL), ssl_first);
}
END_TEST

START_TEST(r_takes_a_backup_below_root)
{
	rescue();
	sh("mkdir root/usb; mv " ROOT "/ssl_bak root/usb/ssl.cm1");
	assert_status(program("node", "restore", "-r", path("root//"), "-b",
	    path("root/usb/ssl.cm1"), NULL), 0);
	assert_same(tree_text(ROOT "/ssl", NULL), ssl_first);
	assert_same(tree_text("root/usb/ssl.cm1", NULL), ssl_first);
}
END_TEST

START_TEST(r_follows_no_link_to_a_backup_below_root)
{
	const char *before;

	rescue();
	sh("mkdir usb; mv " ROOT "/ssl_bak usb/ssl.cm1; "
	    "ln -s $PWD/usb root/usb");
	before = snapshot(".");
	assert_status(program("node", "restore", "-r", path("root"), "-b",
	    path("root/usb/ssl.cm1"), NULL), 1);
	assert_same(snapshot("."), before);
}
END_TEST

/* A CA that is a link leads to one that is not looked at: refused, too. */
static const char *const root_ca[] = {
	"mkdir ssl/ca; : >ssl/ca/ca_key.pem",
	"ln -s /srv/ca ssl/ca"
};

START_TEST(r_refuses_where_a_CA_is)
{
	const struct run *r;
	const char *before;

	rescue();
	sh("cd " ROOT "; %s", root_ca[_i]);
	before = snapshot(".");
	r = restore_root();
	assert_status(r, 1);
	assert_has(r->err, "a CA is in");
	assert_same(snapshot("."), before);
}
END_TEST

START_TEST(r_needs_a_root_that_is_there)
{
	static char ssldir[4096];
	const struct run *r;

	r = program("node", "restore", "-r", path("none"), NULL);
	assert_status(r, 1);
	assert_has(r->err, "No such file");
	r = program("node", "restore", "-r", path("."), NULL);
	assert_status(r, 1);
	assert_has(r->err, text("mounted at %s?", path(".")));
	(void)memset(ssldir, 'x', sizeof(ssldir) - 1);
	ssldir[0] = '/';
	r = program("node", "restore", "-r", path("."), "-s", ssldir, NULL);
	assert_status(r, 1);
	assert_has(r->err, "too long");
}
END_TEST

static const char *const link_out[] = {
	"mv root/etc outside; ln -s $PWD/outside root/etc",
	"mv root/etc/puppetlabs outside; "
	    "ln -s $PWD/outside root/etc/puppetlabs",
	"mv " ROOT " outside; ln -s $PWD/outside " ROOT,
	"mv root/etc root/real; ln -s real root/etc",
	"mv " ROOT "/ssl outside; ln -s $PWD/outside " ROOT "/ssl",
	"mv " ROOT "/ssl_bak outside; ln -s $PWD/outside " ROOT "/ssl_bak",
	"rm -r " ROOT "/ssl_bak/private_keys; "
	    "ln -s $PWD/node/puppet/ssl/private_keys " ROOT "/ssl_bak/",
	"rm -r " ROOT "/ssl_bak",
	"rm " ROOT "/ssl_bak" KEY,
	"rm -r root/etc"
};

START_TEST(r_follows_no_link_below_root)
{
	const char *before;

	rescue();
	sh("%s", link_out[_i]);
	before = snapshot(".");
	assert_status(restore_root(), 1);
	assert_same(snapshot("."), before);
}
END_TEST

static const char *const half_rescued[] = {
	"cp -a ssl_bak ssl.cmregen-new",
	"mkdir ssl.cmregen-new",
	"mv ssl ssl.cmregen-bad",
	"mv ssl ssl.cmregen-bad; cp -a ssl_bak ssl.cmregen-new",
	"mv ssl ssl.cmregen-bad; cp -a ssl_bak ssl",
	"rm -r ssl",
	"rm -r ssl; mv ssl_bak ssl.cmregen-old; cp -a ssl.cmregen-old ssl_bak",
	"mv ssl ssl.cmregen-del; cp -a ssl_bak ssl"
};

START_TEST(r_again_after_a_crash_finishes)
{
	rescue();
	sh("cd " ROOT "; %s", half_rescued[_i]);
	assert_status(restore_root(), 0);
	assert_same(tree_text(ROOT "/ssl", NULL), ssl_first);
	assert_same(tree_text(ROOT "/ssl_bak", NULL), ssl_first);
	sh("! ls -A " ROOT " | grep cmregen >&2");
}
END_TEST

START_TEST(r_n_changes_nothing)
{
	const char *before;
	const struct run *r;

	rescue();
	before = snapshot(".");
	r = program("node", "restore", "-n", "-r", path("root"), NULL);
	assert_status(r, 0);
	assert_same(snapshot("."), before);
	assert_has(r->out, path(ROOT "/ssl"));
	assert_has_not(r->out, "resource service");
	ck_assert_str_eq(get("node/log"), "");
}
END_TEST

START_TEST(a_regeneration_for_every_generation)
{
	const struct run *r;
	const char *fp;

	sandbox(version[_i]);
	services_first = services();
	assert_status(mom("clean", CM1, NULL), 0);
	r = node("prepare", NULL);
	assert_status(r, 0);
	fp = fingerprint();
	assert_has(r->out, fp);
	assert_status(mom("sign", "-f", fp, CM1, NULL), 0);
	assert_status(node("finish", NULL), 0);
	assert_same(services(), services_first);
	ck_assert_str_eq(id_of(SSL KEY), id_of(SSL CERT));
	ck_assert_str_ne(id_of(SSL KEY), "000000001");
}
END_TEST

START_TEST(color_comes_after_the_subcommand)
{
	char line[512];
	FILE *fp;

	signed_too();
	assert_status(node("finish", NULL), 0);
	fp = fopen(path("node/log"), "r");
	ck_assert_ptr_nonnull(fp);
	while (fgets(line, sizeof(line), fp) != NULL) {
		assert_has(line, "--color=false");
		ck_assert_int_ne(strncmp(line, "puppet --", 9), 0);
	}
	(void)fclose(fp);
}
END_TEST

#define EACH(TEST) tcase_add_loop_test(tc, (TEST), 0, VERSIONS)
#define LOOP(TEST, TABLE) tcase_add_loop_test(tc, (TEST), 0,		\
    (int)(sizeof(TABLE) / sizeof((TABLE)[0])))

static void
add_prepare(TCase *tc)
{
	EACH(prepare_makes_backup_key_and_request);
	EACH(prepare_goes_in_the_order_of_the_procedure);
	tcase_add_test(tc, a_server_that_nothing_will_start_is_named);
	tcase_add_test(tc, a_server_that_is_enabled_is_not_called_otherwise);
	tcase_add_test(tc, services_change_at_the_same_time);
	tcase_add_test(tc, the_hand_off_comes_before_slow_services);
	tcase_add_test(tc, services_that_did_not_run_are_not_started);
	tcase_add_test(tc, puppet_runs_afterwards_even_if_it_did_not_before);
	tcase_add_test(tc, the_open_source_unit_is_stopped_too);
	tcase_add_test(tc, a_missing_catalog_is_fine);
	tcase_add_test(tc, a_request_that_takes_long_is_waited_for);
	EACH(autosigned_goes_on_with_finish);
	tcase_add_test(tc, a_backup_elsewhere_is_repeated_quoted);
	tcase_add_test(tc,
	    what_a_service_writes_while_it_stops_is_in_the_backup);
	tcase_add_test(tc, ssl_lock_is_neither_copied_nor_compared);
	tcase_add_test(tc, slashes_at_the_end_of_ssldir_do_not_count);
	tcase_add_test(tc, a_puppet_that_cannot_be_disabled_is_not);
	tcase_add_test(tc, a_state_directory_that_is_not_there_holds_no_lock);
	tcase_add_test(tc, an_ssl_without_a_certificate_asks_about_b);
	tcase_add_test(tc, prepare_v_shows_what_puppet_prints);
	tcase_add_test(tc, a_run_in_progress_is_waited_for);
	tcase_add_test(tc,
	    an_agent_that_works_on_its_certificate_is_waited_for);
	tcase_add_test(tc, a_stale_lock_is_no_run);
	tcase_add_test(tc, nothing_is_undone_once_the_request_is_there);
	tcase_add_test(tc,
	    a_service_that_does_not_start_at_the_end_is_a_warning);
	tcase_add_test(tc, a_daemon_that_holds_the_output_does_not_matter);
	tcase_add_test(tc, much_output_does_not_matter);
}

static void
add_checks(TCase *tc)
{
	LOOP(prepare_checks_before_it_changes_anything, check);
	tcase_add_test(tc, a_mount_point_is_refused);
	tcase_add_loop_test(tc, another_user_than_root_is_refused, 0, 3);
	tcase_add_loop_test(tc, one_command_at_a_time, 0, 3);
	tcase_add_test(tc, a_lock_that_is_a_link_is_refused);
	EACH(prepare_n_changes_nothing_and_prints_a_runbook);
	EACH(the_runbook_of_n_works);
	tcase_add_test(tc,
	    a_child_that_ignores_SIGTERM_is_not_waited_for_at_the_checks);
}

static void
add_undo(TCase *tc)
{
	LOOP(a_step_that_fails_is_undone, undone);
	tcase_add_loop_test(tc, without_a_request_everything_is_undone, 0,
	    VERSIONS * 3);
	EACH(a_stopped_CA_is_undone);
	EACH(the_old_certificate_fetched_again_is_undone);
	tcase_add_test(tc, a_catalog_that_cannot_be_removed_is_undone);
	tcase_add_test(tc, a_name_in_the_way_is_undone);
	tcase_add_test(tc, a_run_in_progress_that_does_not_end_is_undone);
	tcase_add_test(tc, a_signal_ends_the_wait_for_a_run_in_progress);
	tcase_add_test(tc, a_backup_that_ssl_is_no_longer_like_stays);
	tcase_add_test(tc, what_an_undo_cannot_find_out_it_says);
	tcase_add_test(tc, a_service_that_the_undo_cannot_start_is_named);
	tcase_add_test(tc,
	    a_server_that_the_undo_starts_in_vain_is_started_once_more);
	tcase_add_loop_test(tc,
	    a_server_that_starts_in_vain_is_started_once_more, 0, 2);
	tcase_add_test(tc, puppet_that_never_starts_is_named_and_ssl_is_back);
	tcase_add_test(tc, an_ssl_that_the_agent_made_goes_when_it_is_undone);
	tcase_add_test(tc, a_stale_backup_is_back_when_it_is_undone);
}

static void
add_begin(TCase *tc)
{
	LOOP(prepare_begins_where_the_table_says, row);
	LOOP(prepare_n_reads_the_same_table, row);
	tcase_add_test(tc, an_equal_backup_is_left_alone);
	tcase_add_test(tc, a_backup_with_a_stale_CRL_is_made_anew);
	EACH(a_request_that_is_there_is_handed_on_again);
	EACH(a_request_without_its_key_is_not_handed_on);
	tcase_add_test(tc,
	    a_foreign_request_that_a_crash_left_in_next_is_not_handed_on);
	tcase_add_loop_test(tc, a_request_of_another_key_is_not_handed_on, 0,
	    2);
	tcase_add_test(tc, the_runbook_for_a_stale_backup_replaces_it);
	tcase_add_test(tc, the_runbook_after_a_crash_knows_what_ran);
	LOOP(prepare_again_after_a_crash_ends_as_if_there_was_none, crash);
	tcase_add_test(tc,
	    a_service_whose_answer_was_lost_runs_if_it_is_enabled);
	tcase_add_loop_test(tc, an_undo_takes_back_what_a_run_before_it_did,
	    0, 2);
	tcase_add_test(tc,
	    services_that_a_run_before_it_stopped_run_after_the_undo);
	tcase_add_test(tc,
	    a_service_that_runs_again_since_the_crash_runs_after_the_undo);
	tcase_add_test(tc, a_new_key_that_was_handed_on_is_not_taken_back);
}

static void
add_finish(TCase *tc)
{
	EACH(finish_brings_the_compile_master_back);
	tcase_add_loop_test(tc, finish_without_a_regeneration_does_nothing, 0,
	    2);
	tcase_add_loop_test(tc, finish_checks_before_it_changes_anything, 0,
	    4);
	tcase_add_test(tc, finish_takes_no_other_directory_for_the_backup);
	LOOP(finish_refuses_what_another_command_has_begun, unfinished);
	tcase_add_test(tc, a_certificate_of_another_key_is_no_success);
	tcase_add_test(tc, a_certificate_of_its_key_is_handed_on);
	tcase_add_test(tc, an_interrupted_finish_repeats_the_sign_line);
	EACH(finish_unsigned_repeats_the_sign_line);
	tcase_add_test(tc, finish_waits_for_the_signature);
	tcase_add_test(tc, finish_waits_for_a_run_in_progress);
	tcase_add_test(tc, finish_tells_who_holds_the_lock);
	tcase_add_test(tc, finish_runs_again_when_another_run_was_faster);
	tcase_add_test(tc, finish_starts_what_is_enabled_and_nothing_else);
	LOOP(finish_judges_the_run, run_status);
	LOOP(finish_is_done_only_if_the_run_was, run_fault);
	tcase_add_loop_test(tc, a_service_that_will_not_run_is_3_by_name, 0,
	    2);
	tcase_add_test(tc, a_certificate_that_does_not_fit_is_no_success);
	tcase_add_test(tc, the_old_certificate_is_no_success);
	LOOP(a_signal_ends_the_run_and_finish, run_signal);
	tcase_add_test(tc, finish_twice_is_done_twice);
	tcase_add_test(tc, finish_n_changes_nothing_and_prints_the_commands);
	EACH(a_regeneration_for_every_generation);
	tcase_add_test(tc, color_comes_after_the_subcommand);
}

static void
add_restore(TCase *tc)
{
	EACH(restore_is_the_way_back);
	tcase_add_test(tc, restore_after_finish_too);
	tcase_add_test(tc, restore_does_not_care_about_a_disabled_agent);
	tcase_add_test(tc, restore_from_a_backup_elsewhere);
	LOOP(restore_takes_no_other_directory_for_a_backup, no_backup);
	LOOP(restore_again_after_a_crash_finishes, half_restored);
	tcase_add_test(tc, without_a_backup_old_comes_back);
	LOOP(restore_killed_at_a_call_and_run_again, crash);
	LOOP(a_restore_that_fails_is_undone, restore_undone);
	tcase_add_loop_test(tc, a_restore_without_ssl_that_fails_is_undone, 0,
	    2);
	tcase_add_test(tc,
	    a_backup_that_root_made_is_refused_with_the_command_that_mends_it);
	tcase_add_test(tc, a_service_that_restore_cannot_start_is_named);
	tcase_add_test(tc, restore_n_changes_nothing_and_prints_a_runbook);
	EACH(without_a_backup_a_restore_that_was_killed_goes_on);
	LOOP(the_runbook_of_a_restore_after_a_crash_works, half_restored);
	tcase_add_test(tc, a_restore_beside_bad_that_fails_loses_nothing);
	tcase_add_test(tc, r_restores_without_puppet);
	tcase_add_test(tc, r_needs_no_puppet_program);
	tcase_add_test(tc, s_names_the_ssldir_inside);
	tcase_add_test(tc, the_runbook_of_r_removes_what_is_half_copied);
	tcase_add_test(tc, r_takes_a_backup_below_root);
	tcase_add_test(tc, r_follows_no_link_to_a_backup_below_root);
	LOOP(r_refuses_where_a_CA_is, root_ca);
	tcase_add_test(tc, r_needs_a_root_that_is_there);
	LOOP(r_follows_no_link_below_root, link_out);
	LOOP(r_again_after_a_crash_finishes, half_rescued);
	tcase_add_test(tc, r_n_changes_nothing);
}

int
main(void)
{
	static void (*const add[])(TCase *) = {
		add_prepare, add_checks, add_undo, add_begin, add_finish,
		add_restore
	};
	static const char *const name[] = {
		"prepare", "checks", "undo", "begin", "finish", "restore"
	};
	Suite *suite;
	TCase *tc;
	size_t i;

	suite = suite_create("node");
	for (i = 0; i < sizeof(add) / sizeof(add[0]); i++) {
		tc = tcase_create(name[i]);
		tcase_add_checked_fixture(tc, begin, fixture_end);
		tcase_set_timeout(tc, 180);
		add[i](tc);
		suite_add_tcase(suite, tc);
	}
	return suite_run(suite);
}
