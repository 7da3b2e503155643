/*
 * check_late.c: node prepare -l, and the finish that takes over what it left,
 * against the stand-in.
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

#define NEXT	"node/puppet/ssl.cmregen-next"
#define OLD	"node/puppet/ssl.cmregen-old"
#define STATE	"node/puppet/ssl.cmregen-state"
#define SIGNED	"mom/ca/signed/" CM1 ".pem"

static const char *ssl_first, *rest_first, *services_first, *served_first;

/* The node, but for what prepare -l makes and what the stand-in keeps. */
static const char *
rest(void)
{
	static const char *const skip[] = {
		"log", "knobs", "background", "counter", "record",
		"ssl.cmregen-next", NULL
	};

	return tree_text("node", skip);
}

static void
look(void)
{
	ssl_first = tree_text(SSL, NULL);
	rest_first = rest();
	services_first = services();
	served_first = get("node/served");
}

/* The sandbox, with the old certificate cleaned on the MoM; what there is. */
static void
generation(int i)
{
	sandbox(version[i]);
	sh("rm " SIGNED);
	look();
}

static void
begin(void)
{
	fixture_begin();
	generation(SEVEN);
}

/* The fingerprint of the request of prepare -l. */
static const char *
fingerprint(void)
{
	return fingerprint_of(NEXT REQUEST);
}

static void
prepared(void)
{
	assert_status(node("prepare", "-l", NULL), 0);
	log_clear("node");
}

static void
signed_too(void)
{
	prepared();
	sign();
}

/* How many lines of a text have these words. */
static int
lines_with(const char *s, const char *words)
{
	int n;

	for (n = 0; (s = strstr(s, words)) != NULL; n++) {
		s = strchr(s, '\n');
		if (s == NULL)
			return n + 1;
	}
	return n;
}

/* Whatever there is beside next is as before, and serves as before. */
static void
assert_serving(void)
{
	assert_same(tree_text(SSL, NULL), ssl_first);
	assert_same(services(), services_first);
	assert_same(get("node/served"), served_first);
	assert_same(rest(), rest_first);
}

static void
assert_prepared(const struct run *r)
{
	assert_status(r, 0);
	assert_serving();
	ck_assert(!exists(STATE));
	ck_assert_str_ne(id_of(NEXT KEY), "000000001");
	ck_assert_str_eq(id_of(NEXT KEY), id_of(NEXT REQUEST));
	ck_assert_str_eq(get("mom/ca/requests/" CM1 ".pem"),
	    get(NEXT REQUEST));
	assert_has(r->out, fingerprint());
	assert_has(r->out, text("cmregen mom sign -p %s -f %s " CM1,
	    path("node/bin/puppet"), fingerprint()));
	assert_has(r->out, "cmregen node finish");
}

/* Nothing is left of it. */
static void
assert_gone(const struct run *r)
{
	assert_status(r, 1);
	assert_has(r->err, "cmregen: ");
	no_leftover();
	assert_serving();
}

/* The new key and certificate are in place, and served. */
static void
assert_in_place(void)
{
	no_leftover();
	sh("! find " SSL " ! -user 52001 | grep . >&2");
	ck_assert_str_ne(id_of(SSL KEY), "000000001");
	ck_assert_str_eq(id_of(SSL KEY), id_of(SSL CERT));
	assert_same(get("node/served"), text("%s %.9s\n", id_of(SSL CERT),
	    strstr(get(SSL CERT), "Ser") + 3));
	assert_same(services(), services_first);
}

static void
assert_finished(const struct run *r)
{
	assert_status(r, 0);
	assert_in_place();
	assert_same(tree_text(BAK, NULL), ssl_first);
	ck_assert(exists(CATALOG));
	assert_has(r->out, path(BAK));
}

/* The old ssl serves; the new key waits for another try. */
static void
assert_back(const struct run *r)
{
	assert_status(r, 1);
	assert_has(r->err, "cmregen: ");
	if (!exists(CATALOG))
		put(CATALOG, "{\"name\":\"cm1.example.com\"}\n");
	assert_serving();
	ck_assert_str_ne(id_of(NEXT KEY), "000000001");
}

/*
 * prepare -l, as it should be
 */

START_TEST(prepare_l_stops_moves_and_removes_nothing)
{
	generation(_i);
	assert_prepared(node("prepare", "-l", NULL));
	ck_assert_int_eq(logged("node", "resource", 0), -1);
	ck_assert_int_eq(logged("node", "reload", 0), -1);
}
END_TEST

START_TEST(next_has_the_owner_and_the_modes_of_ssl)
{
	static const char *const name[] = {
		"", "/certs", "/private_keys", "/certificate_requests", KEY
	};
	struct stat a, b;
	size_t i;

	generation(_i);
	prepared();
	for (i = 0; i < sizeof(name) / sizeof(name[0]); i++) {
		ck_assert_int_eq(stat(path(SSL "%s", name[i]), &a), 0);
		ck_assert_int_eq(stat(path(NEXT "%s", name[i]), &b), 0);
		ck_assert_msg(a.st_mode == b.st_mode && a.st_uid == b.st_uid &&
		    a.st_gid == b.st_gid, "%s: %o %d, not %o %d", name[i],
		    (unsigned)b.st_mode, (int)b.st_uid, (unsigned)a.st_mode,
		    (int)a.st_uid);
	}
}
END_TEST

START_TEST(an_unusual_mode_of_ssl_is_kept)
{
	struct stat st;

	sh("chmod 2750 " SSL);
	assert_status(node("prepare", "-l", NULL), 0);
	ck_assert_int_eq(stat(path(NEXT), &st), 0);
	ck_assert_int_eq(st.st_mode & 07777, 02750);
}
END_TEST

/* By hand, a copy onto a backup that is there would be nested into it. */
START_TEST(the_runbook_of_finish_leaves_an_equal_backup_alone)
{
	const struct run *r;

	signed_too();
	r = node("finish", "-n", NULL);
	assert_status(r, 0);
	assert_has(r->out, "cp -Rp ");
	sh("cp -a " SSL " " BAK);
	r = node("finish", "-n", NULL);
	assert_status(r, 0);
	assert_has_not(r->out, "cp -Rp ");
	assert_has(r->out, "diff -r ");
}
END_TEST

START_TEST(puppet_is_called_as_its_generation_wants_it)
{
	generation(_i);
	assert_status(node("prepare", "-l", NULL), 0);
	ck_assert_int_eq(logged_times("node", "cmregen-next"), 1);
	if (_i == FIVE)
		ck_assert_int_ne(logged("node", text("puppet agent --test "
		    "--noop --ssldir %s --statedir %s", path(NEXT),
		    path(STATE)), 0), -1);
	else
		ck_assert_int_ne(logged("node", text("puppet ssl "
		    "submit_request --ssldir %s", path(NEXT)), 0), -1);
}
END_TEST

START_TEST(prepare_l_again_has_the_same_fingerprint)
{
	const char *out, *next;
	const struct run *r;

	generation(_i);
	r = node("prepare", "-l", NULL);
	assert_prepared(r);
	out = r->out;
	next = tree_text(NEXT, NULL);
	log_clear("node");
	r = node("prepare", "-l", NULL);
	assert_prepared(r);
	assert_same(r->out, out);
	assert_same(tree_text(NEXT, NULL), next);
}
END_TEST

START_TEST(prepare_l_autosigned_goes_on_with_finish)
{
	const char *key;
	const struct run *r;

	generation(_i);
	knob("mom", "autosign", "");
	r = node("prepare", "-l", NULL);
	assert_status(r, 0);
	assert_has(r->out, "cmregen node finish");
	assert_has_not(r->out, "mom sign");
	assert_serving();
	key = id_of(NEXT KEY);
	assert_finished(node("finish", NULL));
	ck_assert_str_eq(id_of(SSL KEY), key);
}
END_TEST

/* The request is gone then, from 6.4 on. */
START_TEST(prepare_l_again_when_the_certificate_is_there_keeps_it)
{
	const char *next;
	const struct run *r;

	generation(_i);
	knob("mom", "autosign", "");
	prepared();
	next = tree_text(NEXT, NULL);
	r = node("prepare", "-l", NULL);
	assert_status(r, 0);
	assert_has(r->out, "cmregen node finish");
	assert_same(tree_text(NEXT, NULL), next);
	assert_serving();
}
END_TEST

START_TEST(an_uncleaned_MoM_is_said_in_one_line)
{
	const struct run *r;

	sandbox(version[_i]);
	look();
	r = node("prepare", "-l", NULL);
	assert_gone(r);
	ck_assert_str_eq(r->out, "");
	ck_assert_msg(lines_with(r->err, "cmregen mom clean " CM1) == 1,
	    "%s", r->err);
	assert_has_not(r->err, "Error: ");
	ck_assert(!exists("mom/ca/requests/" CM1 ".pem"));
	assert_status(mom("clean", CM1, NULL), 0);
	assert_prepared(node("prepare", "-l", NULL));
}
END_TEST

/* The agent of Puppet 5 is ended once it has fetched a certificate. */
START_TEST(an_uncleaned_MoM_is_seen_also_where_puppet_is_silent)
{
	const struct run *r;

	sandbox(version[FIVE]);
	look();
	knob("node", "faults", "quiet - * *cmregen-next*");
	r = node("prepare", "-l", NULL);
	assert_gone(r);
	assert_has(r->err, "mom clean " CM1);
}
END_TEST

START_TEST(a_backup_and_a_puppet_elsewhere_are_repeated)
{
	const struct run *r;

	sh("mkdir 'a b'");
	r = node("prepare", "-l", "-b", path("a b/bak"), NULL);
	assert_status(r, 0);
	assert_has(r->out, text("cmregen node finish -b '%s' -p %s",
	    path("a b/bak"), path("node/bin/puppet")));
	ck_assert(!exists("a b/bak"));
	sign();
	assert_status(node("finish", "-b", path("a b/bak"), NULL), 0);
	assert_in_place();
	assert_same(tree_text("a b/bak", NULL), ssl_first);
	ck_assert(!exists(BAK));
}
END_TEST

START_TEST(prepare_l_v_shows_what_puppet_prints)
{
	assert_has(node("prepare", "-l", "-v", NULL)->err, "Submitted");
	generation(SEVEN);
	assert_has_not(node("prepare", "-l", NULL)->err, "Submitted");
}
END_TEST

START_TEST(prepare_l_n_changes_nothing_and_prints_the_commands)
{
	const char *before;
	const struct run *r;

	generation(_i);
	before = snapshot(".");
	r = node("prepare", "-l", "-n", NULL);
	assert_status(r, 0);
	assert_same(snapshot("."), before);
	assert_has(r->out, path(_i == FIVE ? "node/bin/puppet agent --test" :
	    "node/bin/puppet ssl submit_request"));
	assert_has(r->out, path(NEXT));
	assert_has(r->out, "mom sign");
	assert_has(r->out, "FINGERPRINT");
	ck_assert_int_eq(logged("node", "cmregen-next", 0), -1);
}
END_TEST

START_TEST(prepare_l_n_with_a_request_there_tells_its_fingerprint)
{
	const char *before, *fp;
	const struct run *r;

	prepared();
	fp = fingerprint();
	before = snapshot(".");
	r = node("prepare", "-l", "-n", NULL);
	assert_status(r, 0);
	assert_has(r->out, fp);
	assert_same(snapshot("."), before);
}
END_TEST

/*
 * The checks, and undo.
 */

#define DIR	"cd node/puppet; "
#define COPY	"cp -a ssl ssl_bak; "

static const struct {
	const char *setup, *words;
} check[] = {
	{ "mkdir -p " SSL "/ca; : >" SSL "/ca/ca_key.pem", "away" },
	{ "echo '{\"disabled_message\":\"why not\"}' "
	    ">node/cache/state/agent_disabled.lock", "(why not)" },
	{ "mv " SSL " node/puppet/real; ln -s real " SSL, "real" },
	{ "rm -r " SSL "; : >" SSL, "ssl" },
	{ "rm -r " SSL, "ssl" },
	{ "echo SET_certname=../x >node/settings", "../x" },
	{ "echo 'exit 1 * *config*' >node/knobs/faults", "Injected" },
	{ "echo 'exit 1 * *--version*' >node/knobs/faults", "Injected" },
	{ "mkdir " BAK, "ssl_bak" },
	{ ": >" BAK, "ssl_bak" },
	{ DIR COPY "echo x >>ssl/certs/ca.pem", "-b" },
	{ DIR COPY "sed -i s/Key000000001/Key000000042/ ssl" KEY
	    "; rm ssl" CERT, "without -l" },
	{ DIR COPY "sed -i s/Key000000001/Key000000042/ ssl" KEY,
	    "without -l" },
	{ DIR COPY "mv ssl ssl.cmregen-old", "without -l" },
	{ DIR "mv ssl ssl.cmregen-old", "without -l" },
	{ DIR "cp -a ssl ssl.cmregen-new", "node restore" }
};

static void
check_refuses(const char *dry)
{
	const struct run *r;
	const char *before;

	sh("%s", check[0].setup);
	before = snapshot(".");
	r = node("prepare", "-l", dry, NULL);
	assert_status(r, 1);
	assert_same(snapshot("."), before);
}

START_TEST(prepare_l_checks_as_prepare_does)
{
	const struct run *r;
	const char *before;

	sh("%s", check[_i].setup);
	before = snapshot(".");
	r = node("prepare", "-l", NULL);
	assert_status(r, 1);
	assert_has(r->err, "cmregen: ");
	assert_has(r->err, check[_i].words);
	assert_has_not(r->err, "discarded");
	assert_same(snapshot("."), before);
	ck_assert_int_eq(logged("node", "cmregen-next", 0), -1);
	if (_i == 0)
		check_refuses("-n");
}
END_TEST

START_TEST(one_command_at_a_time)
{
	const char *before;
	const struct run *r;
	pid_t other;

	if (_i == 1)
		signed_too();
	other = hold_lock("node/puppet/.cmregen.lock");
	before = snapshot(".");
	r = _i == 0 ? node("prepare", "-l", NULL) : node("finish", NULL);
	assert_status(r, 1);
	assert_has(r->err, "another");
	assert_same(snapshot("."), before);
	hold_end(other);
}
END_TEST

static const char *const undone[] = {
	"exit 1 1 *cmregen-next*",
	"mute 0 1 *cmregen-next*",
	"mute 1 1 *cmregen-next*",
	"signal KILL 1 *cmregen-next*",
	"endless - 1 nothing",
	"parent TERM 1 *config print*",
	"parent INT 1 *--version*",
	"parent TERM 1 *cmregen-next*",
	"parent INT 1 *cmregen-next*",
	"parent HUP 1 *cmregen-next*",
	"parent-after TERM 1 *cmregen-next*"
};

enum { UNDONE = sizeof(undone) / sizeof(undone[0]), NOTHING = 4 };

START_TEST(prepare_l_that_fails_removes_the_directory)
{
	const struct run *r;

	generation(_i / UNDONE == 0 ? FIVE : SEVEN);
	knob("node", "faults", undone[_i % UNDONE]);
	if (_i % UNDONE == NOTHING)
		knob("node", "key-only", "");
	r = node("prepare", "-l", NULL);
	assert_gone(r);
	assert_has_not(r->out, "mom sign");
	if (logged("node", "cmregen-next", 0) != -1)
		assert_has(r->err, "mom clean " CM1);
}
END_TEST

START_TEST(prepare_l_without_a_CA_removes_the_directory)
{
	generation(_i);
	knob("mom", "server-stopped", "");
	assert_gone(node("prepare", "-l", NULL));
}
END_TEST

static const char *const harmless[] = {
	"after 1 1 *cmregen-next*",
	"quiet - 1 *cmregen-next*",
	"flood - 1 *cmregen-next*",
	"endless - 1 *cmregen-next*",
	"daemon 60 1 *cmregen-next*"
};

START_TEST(what_puppet_prints_and_returns_does_not_decide)
{
	const struct run *r;

	generation(_i % 2 == 0 ? FIVE : SEVEN);
	knob("node", "faults", harmless[_i / 2]);
	r = node("prepare", "-l", NULL);
	assert_prepared(r);
	ck_assert(r->took < 30);
}
END_TEST

START_TEST(a_puppet_that_ignores_SIGTERM_is_ended)
{
	const struct run *r;
	pid_t pid;

	knob("node", "faults", "stubborn 60 1 *cmregen-next*");
	pid = start("node", "prepare", "-l", "-p", path("node/bin/puppet"),
	    NULL);
	await(NEXT);
	sleep_ms(300);
	(void)kill(pid, SIGTERM);
	r = finish(pid);
	assert_gone(r);
	ck_assert(r->took < 30);
}
END_TEST

START_TEST(restore_removes_next_beside_what_is_being_removed)
{
	prepared();
	sh(DIR "mkdir ssl.cmregen-del");
	assert_status(node("restore", NULL), 0);
	no_leftover();
	assert_same(tree_text(SSL, NULL), ssl_first);
}
END_TEST

/* The name is gone, its content not yet: no other restore is to begin. */
START_TEST(giving_up_goes_on_after_a_crash)
{
	prepared();
	sh(DIR "mv ssl.cmregen-next ssl.cmregen-del; cp -a ssl ssl_bak; "
	    "echo x >ssl_bak/other; echo 'giving up' >.cmregen.lock; "
	    "chmod 600 .cmregen.lock");
	assert_status(node("restore", NULL), 0);
	assert_same(tree_text(SSL, NULL), ssl_first);
	ck_assert_int_eq(logged("node", "ensure=stopped", 0), -1);
	ck_assert(!exists("node/puppet/ssl.cmregen-del"));
	ck_assert(!exists("node/puppet/.cmregen.lock"));
}
END_TEST

START_TEST(a_link_in_the_place_of_next_is_not_followed)
{
	const char *before;

	sh("mkdir elsewhere; : >elsewhere/x; ln -s $PWD/elsewhere " NEXT);
	before = snapshot(".");
	assert_status(node("prepare", "-l", NULL), 1);
	assert_same(snapshot("."), before);
	assert_status(node("restore", NULL), 0);
	no_leftover();
	sh("test \"$(ls elsewhere)\" = x");
}
END_TEST

/* What a crash may have left. */
static const char *const half_made[] = {
	"mkdir ssl.cmregen-next",
	"mkdir -p ssl.cmregen-next/private_keys; "
	    "cp ssl" KEY " ssl.cmregen-next/private_keys",
	"mkdir ssl.cmregen-state; : >ssl.cmregen-state/x",
	"mkdir ssl.cmregen-next ssl.cmregen-del ssl.cmregen-state"
};

START_TEST(prepare_l_again_after_a_crash_makes_what_is_missing)
{
	sh(DIR "%s", half_made[_i]);
	assert_prepared(node("prepare", "-l", NULL));
}
END_TEST

START_TEST(the_state_directory_goes_also_when_the_request_is_there)
{
	generation(FIVE);
	prepared();
	sh(DIR "mkdir ssl.cmregen-state; : >ssl.cmregen-state/x");
	assert_prepared(node("prepare", "-l", NULL));
}
END_TEST

static const char *const prepare_crash[] = {
	"parent KILL 1 *config print*",
	"parent KILL 1 *--version*",
	"parent-after KILL 1 *--version*",
	"parent KILL 1 *cmregen-next*",
	"parent-after KILL 1 *cmregen-next*",
	"parent KILL 1 *cmregen-next*\nexit 1 1 *cmregen-next*"
};

enum { CRASHES = sizeof(prepare_crash) / sizeof(prepare_crash[0]) };

START_TEST(prepare_l_killed_and_run_again_ends_as_if_it_was_not)
{
	generation(_i / CRASHES == 0 ? FIVE : SEVEN);
	knob("node", "faults", prepare_crash[_i % CRASHES]);
	ck_assert_int_eq(node("prepare", "-l", NULL)->status, 128 + SIGKILL);
	sleep_ms(400);
	sh("rm node/knobs/faults");
	assert_prepared(node("prepare", "-l", NULL));
}
END_TEST

/*
 * prepare without -l, and restore, with what prepare -l has left
 */

START_TEST(prepare_without_l_says_what_to_do)
{
	const struct run *r;
	const char *before;

	if (_i % 2 == 0)
		prepared();
	else
		signed_too();
	before = snapshot(".");
	r = node("prepare", _i < 2 ? NULL : "-n", NULL);
	assert_status(r, 1);
	assert_has(r->err, "cmregen node finish");
	assert_has(r->err, "cmregen node restore");
	assert_same(snapshot("."), before);
	ck_assert_int_eq(logged("node", "ensure=", 0), -1);
}
END_TEST

/*
 * Both would leave the server with the old certificate: only finish tells it
 * that there is a new one.
 */
START_TEST(prepare_after_a_finish_that_broke_off_names_finish)
{
	static const char *const at[] = {
		"parent KILL 1 puppetserver reload\n"
		    "exit 1 1 puppetserver reload",
		"parent-after KILL 1 *service puppet ensure=stopped"
	};
	const char *before;
	const struct run *r;

	signed_too();
	knob("node", "faults", at[_i / 2]);
	ck_assert_int_eq(node("finish", NULL)->status, 128 + SIGKILL);
	sleep_ms(300);
	put("node/served", served_first);
	sh("rm node/knobs/*");
	before = snapshot("node");
	r = _i % 2 == 0 ? node("prepare", NULL) : node("prepare", "-l", NULL);
	if (r->status == 0) {		/* nothing was moved yet */
		assert_has(r->out, "cmregen node finish");
		assert_same(tree_text(SSL, NULL), ssl_first);
	} else {
		assert_status(r, 1);
		assert_has(r->err, "cmregen node finish");
		assert_same(snapshot("node"), before);
	}
	assert_finished(node("finish", NULL));
}
END_TEST

START_TEST(prepare_l_between_the_two_renames_names_finish)
{
	const struct run *r;
	const char *before;

	signed_too();
	sh(DIR COPY "mv ssl ssl.cmregen-old");
	before = snapshot(".");
	r = node("prepare", "-l", NULL);
	assert_status(r, 1);
	assert_has(r->err, "cmregen node finish");
	assert_same(snapshot("."), before);
}
END_TEST

START_TEST(restore_removes_what_prepare_l_left_and_touches_nothing_else)
{
	generation(_i);
	prepared();
	if (_i == FIVE)
		sh(DIR "mkdir ssl.cmregen-state");
	assert_status(node("restore", NULL), 0);
	no_leftover();
	assert_serving();
	ck_assert_int_eq(logged("node", "ensure=", 0), -1);
	ck_assert_int_eq(logged("node", "reload", 0), -1);
}
END_TEST

START_TEST(restore_n_of_it_changes_nothing)
{
	const char *before;
	const struct run *r;

	prepared();
	before = snapshot(".");
	r = node("restore", "-n", NULL);
	assert_status(r, 0);
	assert_has(r->out, text("rm -rf %s", path(NEXT)));
	assert_same(snapshot("."), before);
}
END_TEST

/* finish had made the backup, and maybe more, when it broke off. */
static const char *const half_finished[] = {
	COPY,
	COPY "mkdir ssl_bak.cmregen-part",
	COPY "mv ssl ssl.cmregen-old",
	COPY "mv ssl ssl.cmregen-old; mv ssl.cmregen-next ssl",
	COPY "mv ssl ssl.cmregen-old; mv ssl.cmregen-next ssl; "
	    "../bin/puppetserver reload",
	COPY "mv ssl ssl.cmregen-del; mv ssl.cmregen-next ssl; "
	    "../bin/puppetserver reload"
};

START_TEST(restore_after_a_finish_that_broke_off_is_the_way_back)
{
	signed_too();
	sh("mkdir -p " NEXT "/certs; cp -p " SIGNED " " NEXT "/certs/; "
	    "chown -R 52001:52001 " NEXT);
	sh(DIR "%s", half_finished[_i]);
	assert_status(node("restore", NULL), 0);
	no_leftover();
	assert_same(tree_text(SSL, NULL), ssl_first);
	assert_same(tree_text(BAK, NULL), ssl_first);
	assert_same(services(), services_first);
	assert_same(get("node/served"), served_first);
}
END_TEST

START_TEST(finish_goes_on_where_it_broke_off)
{
	signed_too();
	sh("mkdir -p " NEXT "/certs; cp -p " SIGNED " " NEXT "/certs/; "
	    "chown -R 52001:52001 " NEXT);
	sh(DIR "%s", half_finished[_i]);
	assert_finished(node("finish", NULL));
}
END_TEST

/* A third ssl: Puppet ran between the power cut and this. */
START_TEST(finish_goes_on_where_puppet_has_made_an_ssl_meanwhile)
{
	const struct run *r;

	signed_too();
	sh("mkdir -p " NEXT "/certs; cp -p " SIGNED " " NEXT "/certs/; "
	    "chown -R 52001:52001 " NEXT);
	sh(DIR COPY "cp -a ssl ssl.cmregen-old; rm -r ssl" CERT ";"
	    "sed -i s/Key000000001/Key000000042/ ssl" KEY);
	if (_i == 1) {
		r = node("finish", "-n", NULL);
		assert_status(r, 0);
		assert_has(r->out, text("rm -rf %s\n", path(SSL)));
	}
	assert_finished(node("finish", NULL));
	ck_assert_str_ne(id_of(SSL KEY), "000000042");
}
END_TEST

/* Without the backup the old ssl is the last that has its key. */
START_TEST(finish_removes_no_old_ssl_without_its_backup)
{
	const struct run *r;

	signed_too();
	sh("mkdir -p " NEXT "/certs; cp -p " SIGNED " " NEXT "/certs/");
	sh(DIR "%smv ssl ssl.cmregen-old; mv ssl.cmregen-next ssl", _i == 0 ?
	    "" : COPY "sed -i s/Key000000001/Key000000042/ ssl_bak" KEY ";");
	r = node("finish", NULL);
	assert_status(r, 1);
	assert_has(r->err, "give the same -b as before");
	assert_same(tree_text("node/puppet/ssl.cmregen-old", NULL), ssl_first);
	ck_assert_int_eq(logged("node", "ensure=", 0), -1);
	ck_assert_int_eq(logged("node", "reload", 0), -1);
}
END_TEST

START_TEST(the_runbook_of_a_finish_that_broke_off_works)
{
	const struct run *r;

	signed_too();
	sh("mkdir -p " NEXT "/certs; cp -p " SIGNED " " NEXT "/certs/; "
	    "chown -R 52001:52001 " NEXT);
	sh(DIR "%s", half_finished[_i]);
	r = node("finish", "-n", NULL);
	assert_status(r, 0);
	runbook(r->out);
	assert_in_place();
	assert_same(tree_text(BAK, NULL), ssl_first);
}
END_TEST

/* The default backup is of another time, and not to be brought back. */
START_TEST(restore_of_prepare_l_needs_no_backup)
{
	assert_status(node("prepare", "-l", "-b", path("usb/x"), NULL), 1);
	sh("mkdir usb; " DIR COPY "sed -i s/Key000000001/Key000000042/ ssl_bak"
	    KEY);
	assert_status(node("prepare", "-l", "-b", path("usb/x"), NULL), 0);
	log_clear("node");
	assert_status(node("restore", NULL), 0);
	no_leftover();
	assert_same(tree_text(SSL, NULL), ssl_first);
	assert_same(services(), services_first);
	ck_assert_int_eq(logged("node", "ensure=", 0), -1);
}
END_TEST

START_TEST(restore_below_a_root_removes_it_too)
{
	prepared();
	sh("mkdir -p root/etc/puppetlabs; "
	    "cp -a node/puppet root/etc/puppetlabs");
	if (_i == 1)
		sh("cd root/etc/puppetlabs/puppet; " COPY);
	assert_status(program("node", "restore", "-r", path("root"), NULL),
	    0);
	assert_same(tree_text("root/etc/puppetlabs/puppet/ssl", NULL),
	    ssl_first);
	sh("! ls -A root/etc/puppetlabs/puppet | grep cmregen >&2");
}
END_TEST

START_TEST(after_a_restore_everything_can_begin_again)
{
	generation(_i);
	prepared();
	assert_status(node("restore", NULL), 0);
	assert_status(mom("clean", CM1, NULL), 0);
	prepared();
	sign();
	assert_finished(node("finish", NULL));
}
END_TEST

/*
 * finish
 */

START_TEST(finish_takes_over_what_prepare_l_left)
{
	const struct run *r;
	const char *key;

	generation(_i);
	signed_too();
	key = id_of(NEXT KEY);
	r = node("finish", NULL);
	assert_finished(r);
	ck_assert_str_eq(id_of(SSL KEY), key);
	assert_has(text("%s%s", r->out, r->err), "Applied catalog");
}
END_TEST

START_TEST(the_server_is_reloaded_once_and_never_stopped)
{
	generation(_i);
	signed_too();
	assert_finished(node("finish", NULL));
	ck_assert_int_eq(logged_times("node", "puppetserver reload"), 1);
	ck_assert_int_eq(logged("node", "puppetserver ensure=stopped", 0), -1);
}
END_TEST

START_TEST(the_open_source_unit_is_reloaded_too)
{
	sh("mv node/services/pe-puppetserver node/services/puppetserver");
	look();
	signed_too();
	assert_finished(node("finish", NULL));
	ck_assert_int_eq(logged_times("node", "puppetserver reload"), 1);
	ck_assert_int_eq(logged("node", "puppetserver ensure=stopped", 0), -1);
}
END_TEST

START_TEST(finish_goes_in_the_order_of_the_procedure)
{
	int fetch, stop, reload, restart, puppet, run;

	generation(_i);
	signed_too();
	assert_finished(node("finish", NULL));
	fetch = logged("node", "cmregen-next", 0);
	stop = logged("node", "service puppet ensure=stopped", 0);
	reload = logged("node", "puppetserver reload", 0);
	restart = logged("node", "pxp-agent ensure=running", 0);
	puppet = logged("node", "service puppet ensure=running", 0);
	run = logged("node", "puppet agent --test", fetch + 1);
	if (_i == FIVE)
		ck_assert_int_ne(logged("node", "agent --test --noop "
		    "--ssldir", 0), -1);
	else
		ck_assert_int_ne(logged("node", text("puppet ssl "
		    "download_cert --ssldir %s", path(NEXT)), 0), -1);
	ck_assert_int_ge(fetch, 0);
	ck_assert_int_lt(fetch, stop);
	ck_assert_int_lt(stop, reload);
	ck_assert_int_lt(reload, restart);
	ck_assert_int_lt(restart, puppet);
	ck_assert_int_lt(puppet, run);
	ck_assert_int_lt(logged("node", "pxp-agent ensure=stopped", 0),
	    restart);
	ck_assert_int_gt(logged("node", "pxp-agent ensure=stopped", 0), stop);
	ck_assert_int_eq(logged("node", "mcollective ensure=stopped", 0) == -1,
	    _i != FIVE);
}
END_TEST

START_TEST(services_that_did_not_run_are_left_alone)
{
	put("node/services/pxp-agent", "stopped false\n");
	put("node/services/pe-puppetserver", "stopped false\n");
	look();
	signed_too();
	assert_status(node("finish", NULL), 0);
	assert_same(services(), services_first);
	ck_assert_int_eq(logged("node", "reload", 0), -1);
	ck_assert_int_eq(logged("node", "pxp-agent ensure=", 0), -1);
	ck_assert_int_eq(logged("node", "pe-puppetserver ensure=", 0), -1);
}
END_TEST

static const char *const reload_fault[] = {
	"exit 1 1 puppetserver reload",
	"mute 1 1 puppetserver reload",
	"signal KILL 1 puppetserver reload",
	"after 1 1 puppetserver reload"
};

START_TEST(where_the_reload_fails_the_server_is_stopped_and_started)
{
	int stop;

	signed_too();
	if (_i < 4)
		knob("node", "faults", reload_fault[_i]);
	else
		sh("rm node/bin/puppetserver");
	assert_finished(node("finish", NULL));
	stop = logged("node", "pe-puppetserver ensure=stopped", 0);
	ck_assert_int_ge(stop, 0);
	ck_assert_int_gt(logged("node", "pe-puppetserver ensure=running", 0),
	    stop);
}
END_TEST

START_TEST(what_the_reload_prints_does_not_matter)
{
	signed_too();
	knob("node", "faults", _i == 0 ? "flood - 1 puppetserver reload" :
	    "daemon 60 1 puppetserver reload");
	assert_finished(node("finish", NULL));
}
END_TEST

START_TEST(unsigned_is_1_with_the_sign_line_and_changes_nothing)
{
	const struct run *r;
	const char *next;

	generation(_i);
	prepared();
	next = tree_text(NEXT, NULL);
	r = node("finish", "-w", "0", NULL);
	assert_status(r, 1);
	assert_has(r->out, text("cmregen mom sign -p %s -f %s " CM1,
	    path("node/bin/puppet"), fingerprint()));
	assert_serving();
	assert_same(tree_text(NEXT, NULL), next);
	ck_assert(!exists(BAK));
	ck_assert_int_eq(logged("node", "ensure=", 0), -1);
	sign();
	assert_finished(node("finish", NULL));
}
END_TEST

START_TEST(finish_waits_for_the_signature)
{
	pid_t pid;

	prepared();
	pid = start("node", "finish", "-p", path("node/bin/puppet"), "-w",
	    "60", NULL);
	sleep_ms(1500);
	ck_assert_int_eq(waitpid(pid, NULL, WNOHANG), 0);
	assert_same(services(), services_first);
	assert_same(tree_text(SSL, NULL), ssl_first);
	sign();
	assert_finished(finish(pid));
}
END_TEST

START_TEST(a_signal_while_it_waits_for_the_signature_changes_nothing)
{
	static const int number[] = { SIGINT, SIGTERM, SIGHUP };
	const struct run *r;
	pid_t pid;

	prepared();
	pid = start("node", "finish", "-p", path("node/bin/puppet"), NULL);
	sleep_ms(1200);
	(void)kill(pid, number[_i]);
	r = finish(pid);
	assert_back(r);
	ck_assert(!exists(BAK));
	ck_assert(r->took < 15);
}
END_TEST

/* The CA has one, but it is the old one, or nobody's. */
START_TEST(a_certificate_that_is_not_the_new_one_is_never_served)
{
	generation(_i / 2);
	signed_too();
	if (_i % 2 == 0)
		sh("cp " SSL CERT " " SIGNED);
	else
		sh("sed -i s/Crt0000/Crt0009/ " SIGNED);
	assert_back(node("finish", "-w", "0", NULL));
}
END_TEST

START_TEST(a_certificate_without_its_key_is_never_served)
{
	const struct run *r;

	generation(_i);
	signed_too();
	sh("cp " SIGNED " " NEXT "/certs; rm " NEXT KEY);
	r = node("finish", "-w", "0", NULL);
	assert_status(r, 1);
	assert_serving();
}
END_TEST

START_TEST(a_link_in_the_place_of_next_is_not_taken)
{
	signed_too();
	sh("mv " NEXT " elsewhere; ln -s $PWD/elsewhere " NEXT);
	assert_status(node("finish", "-w", "0", NULL), 1);
	assert_serving();
	ck_assert(exists("elsewhere" KEY));
}
END_TEST

START_TEST(finish_checks_before_it_changes_anything)
{
	static const char *const setup[] = {
		"mkdir -p " SSL "/ca; : >" SSL "/ca/ca_key.pem",
		"echo '{\"disabled_message\":\"why not\"}' "
		    ">node/cache/state/agent_disabled.lock",
		"mv " SSL " node/puppet/real; ln -s real " SSL,
		"echo 'exit 1 * *config*' >node/knobs/faults",
		"echo 'exit 1 * *--version*' >node/knobs/faults",
		"mkfifo " SSL "/certs/fifo",
		"mkdir " BAK,
		": >" BAK,
		"ln -s ssl " BAK,
		"cp -r " SSL " " BAK,
		"cp -a " SSL " " BAK "; echo x >>" SSL "/certs/ca.pem",
		"cp -a " SSL " " BAK "; sed -i s/Key000000001/Key000000042/ "
		    SSL KEY
	};
	const struct run *r;

	signed_too();
	sh("%s", setup[_i]);
	rest_first = rest();
	r = node("finish", "-w", "0", NULL);
	assert_status(r, 1);
	assert_has(r->err, "cmregen: ");
	assert_same(rest(), rest_first);
	ck_assert_int_eq(logged("node", "ensure=", 0), -1);
	ck_assert(exists(NEXT KEY));
}
END_TEST

START_TEST(an_equal_backup_is_left_alone)
{
	struct stat a, b;

	sh(DIR COPY "touch -d 2001-01-01 ssl/crl.pem");
	ck_assert_int_eq(stat(path(BAK), &a), 0);
	signed_too();
	assert_finished(node("finish", NULL));
	ck_assert_int_eq(stat(path(BAK), &b), 0);
	ck_assert(a.st_ino == b.st_ino);
}
END_TEST

START_TEST(a_backup_with_a_stale_CRL_is_made_anew)
{
	sh(DIR COPY "echo x >>ssl/crl.pem");
	look();
	signed_too();
	assert_finished(node("finish", NULL));
}
END_TEST

START_TEST(a_stale_backup_is_back_when_it_is_undone)
{
	sh(DIR COPY "echo x >>ssl/crl.pem");
	look();
	signed_too();
	knob("node", "faults", "wrong - * *service puppet ensure=stopped*");
	assert_back(node("finish", NULL));
}
END_TEST

START_TEST(what_changes_ssl_until_puppet_stops_is_in_the_backup)
{
	signed_too();
	knob("node", "faults", "touch puppet/ssl/crl.pem 1 "
	    "*service puppet ensure=stopped*");
	assert_status(node("finish", NULL), 0);
	assert_in_place();
	assert_has(get(BAK "/crl.pem"), "touched");
}
END_TEST

START_TEST(a_run_in_progress_is_waited_for)
{
	signed_too();
	run_in_progress("1.5");
	assert_finished(node("finish", NULL));
	ck_assert_int_eq(logged_times("node", "puppetserver reload"), 1);
}
END_TEST

START_TEST(a_run_in_progress_that_does_not_end_is_undone)
{
	const struct run *r;

	signed_too();
	run_in_progress("100");
	rest_first = rest();
	r = node("finish", "-w", "1", NULL);
	assert_back(r);
	assert_has(r->err, path(RUNLOCK));
	ck_assert_int_eq(logged("node", "reload", 0), -1);
}
END_TEST

/* What is read at the reload: the swap is done, and the catalog is gone. */
START_TEST(at_the_reload_the_key_fits_and_the_catalog_is_gone)
{
	generation(_i);
	signed_too();
	knob("node", "faults", "parent KILL 1 puppetserver reload");
	ck_assert_int_eq(node("finish", NULL)->status, 128 + SIGKILL);
	sleep_ms(300);
	ck_assert(!exists(CATALOG));
	ck_assert_str_ne(id_of(SSL KEY), "000000001");
	ck_assert_str_eq(id_of(SSL KEY), id_of(SSL CERT));
	assert_same(tree_text(OLD, NULL), ssl_first);
	assert_same(tree_text(BAK, NULL), ssl_first);
}
END_TEST

START_TEST(finish_twice_is_done_twice_with_one_reload)
{
	signed_too();
	assert_finished(node("finish", NULL));
	assert_finished(node("finish", NULL));
	ck_assert_int_eq(logged_times("node", "reload"), 1);
}
END_TEST

START_TEST(finish_n_changes_nothing_and_prints_a_runbook)
{
	const char *before;
	const struct run *r;

	generation(_i / 2);
	if (_i % 2 == 0)
		prepared();
	else
		signed_too();
	before = snapshot(".");
	r = node("finish", "-n", NULL);
	assert_status(r, 0);
	assert_same(snapshot("."), before);
	assert_has(r->out, text("cp -Rp %s %s", path(SSL), path(BAK)));
	assert_has(r->out, text("mv %s %s", path(SSL), path(OLD)));
	assert_has(r->out, text("mv %s %s", path(NEXT), path(SSL)));
	assert_has(r->out, path(CATALOG));
	assert_has(r->out, "puppetserver reload");
	assert_has(r->out, "service pxp-agent ensure=running");
	assert_has(r->out, text("rm -rf %s", path(OLD)));
	ck_assert(strstr(r->out, "mv ") < strstr(r->out, "reload"));
	ck_assert_int_eq(logged("node", "ensure=", 0), -1);
	ck_assert_int_eq(logged("node", "cmregen-next", 0), -1);
}
END_TEST

/* Carrying out the runbook by hand does the same. */
START_TEST(the_runbook_of_n_works)
{
	const struct run *r;

	generation(_i);
	signed_too();
	r = node("finish", "-n", NULL);
	assert_status(r, 0);
	put("runbook", r->out);
	sh("sed '/^#/d; s,^puppetserver ,node/bin/&,' runbook >script; "
	    "sh ./script >out 2>&1 || :");
	assert_in_place();
	assert_same(tree_text(BAK, NULL), ssl_first);
	ck_assert_int_ne(logged("node", "puppet agent --test", 0), -1);
}
END_TEST

/*
 * finish: each step failed in turn.
 */

static const char *const step_fault[] = {
	"exit 1 1 *service pxp-agent",
	"mute 0 1 *service pxp-agent",
	"exit 1 1 *service puppet ensure=stopped",
	"wrong - * *service puppet ensure=stopped",
	"mute 0 1 *service puppet ensure=stopped",
	"signal KILL 1 *service puppet ensure=stopped",
	"after 1 1 *service puppet ensure=stopped",
	"cut - 1 *service puppet ensure=stopped",
	"touch puppet/ssl.cmregen-old 1 *service puppet ensure=stopped",
	"exit 1 1 puppetserver reload\n"
	    "exit 1 1 *pe-puppetserver ensure=running",
	"exit 1 1 puppetserver reload\n"
	    "wrong - 1 *pe-puppetserver ensure=running",
	"exit 1 1 puppetserver reload\n"
	    "wrong - 1 *pe-puppetserver ensure=stopped",
	"exit 1 1 *pxp-agent ensure=stopped",
	"wrong - 1 *pxp-agent ensure=stopped",
	"exit 1 1 *pxp-agent ensure=running",
	"wrong - 1 *pxp-agent ensure=running",
	"signal KILL 1 *pxp-agent ensure=running",
	"exit 1 1 *service puppet ensure=running",
	"wrong - 1 *service puppet ensure=running",
	"mute 0 1 *service puppet ensure=running"
};

enum { STEPS = sizeof(step_fault) / sizeof(step_fault[0]) };

START_TEST(a_step_that_fails_brings_the_old_ssl_back)
{
	const struct run *r;

	generation(_i % 2 == 0 ? SEVEN : FIVE);
	signed_too();
	knob("node", "faults", step_fault[_i]);
	r = node("finish", NULL);
	sh("rm -f node/knobs/*; test -d " OLD " || rm -f " OLD);
	assert_back(r);
	assert_finished(node("finish", NULL));
}
END_TEST

START_TEST(a_catalog_that_cannot_be_removed_brings_the_old_ssl_back)
{
	sh("rm " CATALOG "; mkdir -p " CATALOG "/x");
	look();
	signed_too();
	assert_back(node("finish", NULL));
}
END_TEST

START_TEST(a_service_that_the_undo_cannot_start_is_3_by_name)
{
	static const char *const name[] = {
		"pxp-agent", "pe-puppetserver", "puppet"
	};
	const struct run *r;

	signed_too();
	knob("node", text("start-fails.%s", name[_i]), "");
	knob("node", "faults", "exit 1 * puppetserver reload");
	r = node("finish", NULL);
	assert_status(r, 3);
	assert_has(r->err, name[_i]);
	assert_has(r->err, "cmregen node finish");
	assert_same(tree_text(SSL, NULL), ssl_first);
	ck_assert(!exists(OLD));
	sh("rm node/knobs/*");
	assert_finished(node("finish", NULL));
}
END_TEST

static const char *const signal_at[] = {
	"parent-after TERM 1 *cmregen-next*",
	"parent TERM 1 *service pxp-agent",
	"parent INT 1 *service puppet ensure=stopped",
	"parent-after HUP 1 *service puppet ensure=stopped",
	"parent TERM 1 puppetserver reload",
	"parent INT 1 *pxp-agent ensure=stopped",
	"parent HUP 1 *pxp-agent ensure=running",
	"parent TERM 1 *service puppet ensure=running"
};

START_TEST(a_signal_undoes_it_or_lets_it_come_to_its_end)
{
	const struct run *r;

	generation(_i % 2 == 0 ? SEVEN : FIVE);
	signed_too();
	knob("node", "faults", signal_at[_i]);
	r = node("finish", NULL);
	sh("rm node/knobs/*");
	if (r->status == 1)
		assert_back(r);
	else {
		assert_status(r, 3);
		assert_has(r->err, "interrupted");
		assert_in_place();
	}
	assert_finished(node("finish", NULL));
}
END_TEST

static const int run_status[][2] = {
	{ 0, 0 }, { 2, 0 }, { 1, 3 }, { 4, 3 }, { 6, 3 }
};

START_TEST(the_run_is_judged_as_by_the_book)
{
	const struct run *r;

	signed_too();
	knob("node", "run-status", text("%d", run_status[_i][0]));
	r = node("finish", NULL);
	assert_status(r, run_status[_i][1]);
	assert_in_place();
}
END_TEST

/*
 * finish: killed, and run again.
 */

static const char *const finish_call[] = {
	"*config print*",
	"*--version*",
	"*cmregen-next*",
	"*service puppet",
	"*service pxp-agent",
	"*service puppet ensure=stopped",
	"puppetserver reload",
	"*pxp-agent ensure=stopped",
	"*mcollective ensure=stopped",
	"*pxp-agent ensure=running",
	"*mcollective ensure=running",
	"*service puppet ensure=running",
	"*puppet agent --test"
};

enum { CALLS = sizeof(finish_call) / sizeof(finish_call[0]) };

START_TEST(finish_killed_and_run_again_ends_as_if_it_was_not)
{
	const char *tree, *units, *served;
	const int five = _i / 2 % 2 == 0;

	generation(five ? FIVE : SEVEN);
	signed_too();
	assert_finished(node("finish", NULL));
	tree = snapshot("node");
	units = services();
	served = get("node/served");
	generation(five ? FIVE : SEVEN);
	signed_too();
	knob("node", "faults", text("parent%s KILL 1 %s", _i % 2 == 0 ? "" :
	    "-after", finish_call[_i / 2]));
	if (!five && strstr(finish_call[_i / 2], "mcollective") != NULL)
		return;
	ck_assert_int_eq(node("finish", NULL)->status, 128 + SIGKILL);
	sleep_ms(400);
	sh("rm node/knobs/*");
	assert_finished(node("finish", NULL));
	assert_same(snapshot("node"), tree);
	assert_same(services(), units);
	assert_same(get("node/served"), served);
}
END_TEST

START_TEST(a_regeneration_for_every_generation)
{
	const struct run *r;
	const char *fp;

	sandbox(version[_i]);
	look();
	assert_status(mom("clean", CM1, NULL), 0);
	r = node("prepare", "-l", NULL);
	assert_prepared(r);
	fp = fingerprint();
	assert_status(mom("sign", "-f", fp, CM1, NULL), 0);
	assert_finished(node("finish", NULL));
}
END_TEST

START_TEST(the_way_back_after_finish)
{
	generation(_i);
	signed_too();
	assert_finished(node("finish", NULL));
	assert_status(node("restore", NULL), 0);
	no_leftover();
	assert_same(tree_text(SSL, NULL), ssl_first);
	assert_same(services(), services_first);
	assert_same(get("node/served"), served_first);
}
END_TEST

#define EACH(TEST) tcase_add_loop_test(tc, (TEST), 0, VERSIONS)
#define LOOP(TEST, TABLE) tcase_add_loop_test(tc, (TEST), 0,		\
    (int)(sizeof(TABLE) / sizeof((TABLE)[0])))

static void
add_prepare(TCase *tc)
{
	EACH(prepare_l_stops_moves_and_removes_nothing);
	EACH(next_has_the_owner_and_the_modes_of_ssl);
	tcase_add_test(tc, an_unusual_mode_of_ssl_is_kept);
	EACH(puppet_is_called_as_its_generation_wants_it);
	tcase_add_test(tc,
	    the_runbook_of_finish_leaves_an_equal_backup_alone);
	EACH(prepare_l_again_has_the_same_fingerprint);
	EACH(prepare_l_autosigned_goes_on_with_finish);
	EACH(prepare_l_again_when_the_certificate_is_there_keeps_it);
	EACH(an_uncleaned_MoM_is_said_in_one_line);
	tcase_add_test(tc,
	    an_uncleaned_MoM_is_seen_also_where_puppet_is_silent);
	tcase_add_test(tc, a_backup_and_a_puppet_elsewhere_are_repeated);
	tcase_add_test(tc, prepare_l_v_shows_what_puppet_prints);
	EACH(prepare_l_n_changes_nothing_and_prints_the_commands);
	tcase_add_test(tc,
	    prepare_l_n_with_a_request_there_tells_its_fingerprint);
}

static void
add_undo(TCase *tc)
{
	LOOP(prepare_l_checks_as_prepare_does, check);
	tcase_add_loop_test(tc, one_command_at_a_time, 0, 2);
	tcase_add_loop_test(tc, prepare_l_that_fails_removes_the_directory, 0,
	    2 * UNDONE);
	EACH(prepare_l_without_a_CA_removes_the_directory);
	tcase_add_loop_test(tc, what_puppet_prints_and_returns_does_not_decide,
	    0, 2 * (int)(sizeof(harmless) / sizeof(harmless[0])));
	tcase_add_test(tc, a_puppet_that_ignores_SIGTERM_is_ended);
	tcase_add_test(tc, restore_removes_next_beside_what_is_being_removed);
	tcase_add_test(tc, giving_up_goes_on_after_a_crash);
	tcase_add_test(tc, a_link_in_the_place_of_next_is_not_followed);
	LOOP(prepare_l_again_after_a_crash_makes_what_is_missing, half_made);
	tcase_add_test(tc,
	    the_state_directory_goes_also_when_the_request_is_there);
	tcase_add_loop_test(tc,
	    prepare_l_killed_and_run_again_ends_as_if_it_was_not, 0,
	    2 * CRASHES);
}

static void
add_others(TCase *tc)
{
	tcase_add_loop_test(tc, prepare_without_l_says_what_to_do, 0, 4);
	tcase_add_loop_test(tc,
	    prepare_after_a_finish_that_broke_off_names_finish, 0, 4);
	tcase_add_test(tc, prepare_l_between_the_two_renames_names_finish);
	EACH(restore_removes_what_prepare_l_left_and_touches_nothing_else);
	tcase_add_test(tc, restore_n_of_it_changes_nothing);
	LOOP(restore_after_a_finish_that_broke_off_is_the_way_back,
	    half_finished);
	LOOP(finish_goes_on_where_it_broke_off, half_finished);
	tcase_add_loop_test(tc,
	    finish_goes_on_where_puppet_has_made_an_ssl_meanwhile, 0, 2);
	tcase_add_loop_test(tc, finish_removes_no_old_ssl_without_its_backup,
	    0, 2);
	tcase_add_loop_test(tc, the_runbook_of_a_finish_that_broke_off_works,
	    0, 5);
	tcase_add_test(tc, restore_of_prepare_l_needs_no_backup);
	tcase_add_loop_test(tc, restore_below_a_root_removes_it_too, 0, 2);
	EACH(after_a_restore_everything_can_begin_again);
}

static void
add_finish(TCase *tc)
{
	EACH(finish_takes_over_what_prepare_l_left);
	EACH(the_server_is_reloaded_once_and_never_stopped);
	tcase_add_test(tc, the_open_source_unit_is_reloaded_too);
	EACH(finish_goes_in_the_order_of_the_procedure);
	tcase_add_test(tc, services_that_did_not_run_are_left_alone);
	tcase_add_loop_test(tc,
	    where_the_reload_fails_the_server_is_stopped_and_started, 0, 5);
	tcase_add_loop_test(tc, what_the_reload_prints_does_not_matter, 0, 2);
	EACH(unsigned_is_1_with_the_sign_line_and_changes_nothing);
	tcase_add_test(tc, finish_waits_for_the_signature);
	tcase_add_loop_test(tc,
	    a_signal_while_it_waits_for_the_signature_changes_nothing, 0, 3);
	tcase_add_loop_test(tc,
	    a_certificate_that_is_not_the_new_one_is_never_served, 0,
	    2 * VERSIONS);
	EACH(a_certificate_without_its_key_is_never_served);
	tcase_add_test(tc, a_link_in_the_place_of_next_is_not_taken);
	tcase_add_loop_test(tc, finish_checks_before_it_changes_anything, 0,
	    12);
	tcase_add_test(tc, an_equal_backup_is_left_alone);
	tcase_add_test(tc, a_backup_with_a_stale_CRL_is_made_anew);
	tcase_add_test(tc,
	    what_changes_ssl_until_puppet_stops_is_in_the_backup);
	tcase_add_test(tc, a_run_in_progress_is_waited_for);
	tcase_add_test(tc, finish_twice_is_done_twice_with_one_reload);
	tcase_add_loop_test(tc, finish_n_changes_nothing_and_prints_a_runbook,
	    0, 2 * VERSIONS);
	EACH(the_runbook_of_n_works);
	LOOP(the_run_is_judged_as_by_the_book, run_status);
	EACH(a_regeneration_for_every_generation);
	EACH(the_way_back_after_finish);
}

static void
add_steps(TCase *tc)
{
	EACH(at_the_reload_the_key_fits_and_the_catalog_is_gone);
	LOOP(a_step_that_fails_brings_the_old_ssl_back, step_fault);
	tcase_add_test(tc,
	    a_catalog_that_cannot_be_removed_brings_the_old_ssl_back);
	tcase_add_test(tc, a_stale_backup_is_back_when_it_is_undone);
	tcase_add_test(tc, a_run_in_progress_that_does_not_end_is_undone);
	tcase_add_loop_test(tc,
	    a_service_that_the_undo_cannot_start_is_3_by_name, 0, 3);
	LOOP(a_signal_undoes_it_or_lets_it_come_to_its_end, signal_at);
	tcase_add_loop_test(tc,
	    finish_killed_and_run_again_ends_as_if_it_was_not, 0, 2 * CALLS);
}

int
main(void)
{
	static void (*const add[])(TCase *) = {
		add_prepare, add_undo, add_others, add_finish, add_steps
	};
	static const char *const name[] = {
		"prepare", "undo", "others", "finish", "steps"
	};
	Suite *suite;
	TCase *tc;
	size_t i;

	suite = suite_create("late");
	for (i = 0; i < sizeof(add) / sizeof(add[0]); i++) {
		tc = tcase_create(name[i]);
		tcase_add_checked_fixture(tc, begin, fixture_end);
		tcase_set_timeout(tc, 180);
		add[i](tc);
		suite_add_tcase(suite, tc);
	}
	return suite_run(suite);
}
