/*
 * check_mom.c: mom clean and mom sign, against the stand-in of each
 * generation.
 */
#include <sys/wait.h>

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "fixture.h"

static const char *list_call, *clean_call, *sign_call;

/* The sandbox of a generation, and what its calls look like in the log. */
static void
generation(int i)
{
	sandbox(version[i]);
	list_call = " list";
	clean_call = i == FIVE ? " clean " : "ca clean --certname " CM1;
	sign_call = i == FIVE ? " sign " : "ca sign --certname " CM1;
}

/* Puts a request of the node on the CA.  Returns its fingerprint. */
static const char *
request(void)
{
	sh("rm -rf node/puppet/ssl mom/ca/signed/" CM1 ".pem; "
	    "node/bin/puppet resource service puppet ensure=stopped >out; "
	    "node/bin/puppet resource service puppet ensure=running >out");
	log_clear("mom");
	return fingerprint_of("mom/ca/requests/" CM1 ".pem");
}

/* What changes the CA, and the sandbox of a generation that is ready for it. */
static const char *const verb[] = { "clean", "sign" };

static void
ready(int i, int v)
{
	generation(i);
	if (v == 1)
		(void)request();
}

/* Nothing was changed on the CA. */
static void
assert_nothing_done(const struct run *r, const char *before)
{
	assert_status(r, 1);
	assert_has(r->err, "cmregen: ");
	assert_same(snapshot("mom"), before);
}

/*
 * What -n prints is a script: one command, the rest comments, of which the
 * first and the last say that nothing was changed.
 */
static void
assert_script(const struct run *r, const char *command)
{
	assert_status(r, 0);
	put("script", r->out);
	put("command", command);
	sh("sh -n script; sed -n '1p;$p' script | grep -c '^# .*nothing .* "
	    "changed$' | grep -qx 2; test \"$(grep -cv '^#' script)\" = 1; "
	    "grep -v '^#' script | grep -qF \"$(cat command)\"; "
	    "grep -v '^#' script | grep -qF " CM1);
}

/*
 * clean
 */

START_TEST(clean_looks_acts_and_looks_again)
{
	const struct run *r;
	int before, act;

	generation(_i);
	r = mom("clean", CM1, NULL);
	assert_status(r, 0);
	before = logged("mom", list_call, 0);
	act = logged("mom", clean_call, 0);
	ck_assert_int_ge(before, 0);
	ck_assert_int_lt(before, act);
	ck_assert_int_gt(logged("mom", list_call, act), act);
	ck_assert_int_eq(logged_times("mom", clean_call), 1);
	ck_assert(!exists("mom/ca/signed/" CM1 ".pem"));
	ck_assert(exists("mom/ca/signed/mom.example.com.pem"));
	assert_same(get("mom/ca/crl"), "2\n");
	assert_has(r->out, "this cannot be undone\nnext, on " CM1 ":\n"
	    "    cmregen node prepare\n");
	assert_has(r->out, "was run before this, its request is gone");
	assert_has(r->out, "run 'cmregen node restore' there first\n");
	ck_assert(!exists("mom/.cmregen.lock"));
}
END_TEST

START_TEST(clean_removes_a_request_and_says_what_follows)
{
	const struct run *r;

	generation(_i);
	(void)request();
	r = mom("clean", CM1, NULL);
	assert_status(r, 0);
	ck_assert(!exists("mom/ca/requests/" CM1 ".pem"));
	assert_has(r->out, "no certificate to revoke");
	assert_has(r->out, "next, on " CM1 ":\n    cmregen node restore\n"
	    "next, on " CM1 ":\n    cmregen node prepare\n");
}
END_TEST

START_TEST(clean_takes_a_revoked_certificate)
{
	generation(_i);
	sh(": >mom/ca/revoked." CM1);
	assert_status(mom("clean", CM1, NULL), 0);
	ck_assert(!exists("mom/ca/signed/" CM1 ".pem"));
}
END_TEST

START_TEST(clean_takes_request_and_certificate_together)
{
	generation(_i);
	sh("cp mom/ca/signed/" CM1 ".pem mom/ca/requests");
	assert_status(mom("clean", CM1, NULL), 0);
	ck_assert(!exists("mom/ca/signed/" CM1 ".pem"));
	ck_assert(!exists("mom/ca/requests/" CM1 ".pem"));
}
END_TEST

START_TEST(clean_of_an_unknown_name_does_nothing)
{
	const char *before;

	generation(_i);
	sh("mv mom/ca/signed/" CM1 ".pem mom/ca/signed/a" CM1 ".pem; "
	    "cp mom/ca/signed/a" CM1 ".pem mom/ca/signed/" CM1 "x.pem; "
	    "cp mom/ca/signed/a" CM1 ".pem mom/ca/requests/cm1xexample.com.pem");
	before = snapshot("mom");
	assert_nothing_done(mom("clean", CM1, NULL), before);
	ck_assert_int_eq(logged("mom", "clean", 0), -1);
}
END_TEST

/* An agent that waits sends it again, at once. */
START_TEST(clean_is_no_nothing_where_a_request_comes_in_meanwhile)
{
	const struct run *r;

	generation(1);
	sh("mkdir mom/real; mv mom/bin/puppetserver mom/real; "
	    "printf '%%s\\n' '#!/bin/sh' "
	    "'%s \"$@\" || exit' 'case $* in *clean*) %s/keys/give 3 csr "
	    ">%s;; esac' >mom/bin/puppetserver; chmod +x mom/bin/puppetserver",
	    path("mom/real/puppetserver"), path("."),
	    path("mom/ca/requests/" CM1 ".pem"));
	r = mom("clean", CM1, NULL);
	assert_status(r, 3);
	assert_has(r->err, "run this again");
}
END_TEST

START_TEST(clean_twice_cleans_once)
{
	generation(_i);
	assert_status(mom("clean", CM1, NULL), 0);
	assert_status(mom("clean", CM1, NULL), 1);
	ck_assert_int_eq(logged_times("mom", clean_call), 1);
}
END_TEST

START_TEST(the_moms_own_certificate_is_never_cleaned)
{
	const char *before;

	generation(_i);
	before = snapshot("mom");
	assert_nothing_done(mom("clean", "mom.example.com", NULL), before);
	ck_assert_int_eq(logged("mom", "clean", 0), -1);
}
END_TEST

START_TEST(without_a_CA_here_puppet_is_not_asked_for_certificates)
{
	const char *before;

	generation(_i);
	sh("rm -r mom/ca");
	before = snapshot("mom");
	assert_nothing_done(mom("clean", CM1, NULL), before);
	assert_nothing_done(mom("sign", CM1, NULL), before);
	assert_nothing_done(mom("clean", "-n", CM1, NULL), before);
	ck_assert_int_eq(logged("mom", "puppet cert", 0), -1);
	ck_assert_int_eq(logged("mom", "puppetserver", 0), -1);
}
END_TEST

START_TEST(clean_that_leaves_something_is_not_done)
{
	const struct run *r;

	generation(_i);
	knob("mom", "clean-leaves", "");
	r = mom("clean", CM1, NULL);
	ck_assert(r->status == 1 || r->status == 3);
	assert_has(r->err, CM1);
}
END_TEST

/* A header alone says nothing of this name. */
START_TEST(clean_is_not_done_where_the_second_list_is_cut_off)
{
	const struct run *r;

	generation(SEVEN);
	knob("mom", "words", "Signed Certificates:");
	knob("mom", "faults", "wrong - 1 *clean*\nsay words 2 *list*");
	r = mom("clean", CM1, NULL);
	assert_status(r, 3);
	assert_has(r->err, "may be cleaned or not");
	assert_has_not(r->out, "is revoked");
}
END_TEST

/* As Ctrl-Z and then kill do it: the signal comes when the list has ended. */
START_TEST(a_signal_before_the_act_stops_it)
{
	const struct run *r;
	pid_t pid;

	ready(SEVEN, _i);
	knob("mom", "faults", "stall 0.3 1 *list*");
	pid = start("mom", verb[_i], "-p", path("mom/bin/puppet"), CM1, NULL);
	sh("for i in $(seq 200); do grep -q list mom/log && exit; "
	    "sleep 0.05; done; exit 1");
	(void)kill(pid, SIGSTOP);
	sleep_ms(1500);
	(void)kill(pid, SIGTERM);
	(void)kill(pid, SIGCONT);
	r = finish(pid);
	assert_status(r, 1);
	assert_has(r->err, "interrupted");
	ck_assert_int_eq(logged("mom", clean_call, 0), -1);
	ck_assert_int_eq(logged("mom", sign_call, 0), -1);
}
END_TEST

/* Once it was asked for, what it did is looked at whatever happens. */
START_TEST(a_signal_in_the_act_changes_nothing)
{
	const struct run *r;

	ready(_i / 2, _i % 2);
	knob("mom", "faults", _i % 2 == 0 ? "parent INT 1 *clean*" :
	    "parent INT 1 *sign*");
	r = mom(verb[_i % 2], CM1, NULL);
	assert_status(r, 0);
	assert_has(r->out, _i % 2 == 0 ? "is revoked" : "is signed");
}
END_TEST

/* An upgrade of Puppet, say. */
START_TEST(an_act_that_cannot_be_executed_was_none)
{
	const struct run *r;

	ready(SEVEN, _i);
	knob("mom", "faults", "remove bin/puppetserver 1 *list*");
	r = mom(verb[_i], CM1, NULL);
	assert_status(r, 1);
	assert_has(r->err, "puppetserver: No such file");
	assert_has_not(r->err, "or not");
}
END_TEST

START_TEST(clean_that_changes_nothing_of_a_revoked_one_is_not_done)
{
	const struct run *r;

	generation(_i);
	sh(": >mom/ca/revoked." CM1);
	knob("mom", "faults", "exit 1 1 *clean*");
	r = mom("clean", CM1, NULL);
	assert_status(r, 1);
	assert_has_not(r->err, "to the end");
	assert_status(mom("clean", CM1, NULL), 0);
}
END_TEST

/* That name is the CA's own there: puppet would revoke and remove it. */
START_TEST(below_6_no_host_is_called_ca)
{
	const char *before;

	generation(FIVE);
	before = snapshot("mom");
	assert_nothing_done(mom("clean", "ca", NULL), before);
	ck_assert_int_eq(logged("mom", "list", 0), -1);
}
END_TEST

START_TEST(a_lock_that_is_no_lock_is_told_with_its_place)
{
	const char *before;
	const struct run *r;

	generation(_i);
	sh(": >mom/.cmregen.lock; chown 52001 mom/.cmregen.lock");
	before = snapshot("mom");
	r = mom("clean", CM1, NULL);
	assert_nothing_done(r, before);
	assert_has(r->err, path("mom/ca, and holds nothing"));
}
END_TEST

static const char *const failing[] = {
	"exit 1 * *clean*", "mute 0 * *clean*", "signal KILL * *clean*",
	"say nothing * *clean*"
};

START_TEST(clean_that_fails_is_not_done)
{
	const struct run *r;
	int i;

	i = _i % 4;
	generation(_i / 4);
	knob("mom", "nothing", "Notice: nothing");
	knob("mom", "faults", failing[i]);
	r = mom("clean", CM1, NULL);
	ck_assert_msg(r->status == 1 || r->status == 3, "%d", r->status);
	ck_assert(exists("mom/ca/signed/" CM1 ".pem"));
	if (i == 0)
		assert_has(r->err, "Injected failure");
	ck_assert(!exists("mom/.cmregen.lock"));
}
END_TEST

static const char *const unlistable[] = {
	"exit 1 1 *list*", "exit 24 1 *list*", "mute 0 1 *list*",
	"mute 1 1 *list*", "signal KILL 1 *list*", "say nothing 1 *list*",
	"endless - 1 *list*", "quiet - 1 *list*"
};

START_TEST(a_list_that_cannot_be_read_stops_before_the_act)
{
	const char *before;
	const struct run *r;
	int i;

	i = _i % 8;
	generation(_i / 8);
	before = snapshot("mom");
	knob("mom", "nothing", "Notice: nothing");
	knob("mom", "faults", unlistable[i]);
	r = mom("clean", CM1, NULL);
	assert_nothing_done(r, before);
	ck_assert_int_eq(logged("mom", "clean", 0), -1);
}
END_TEST

START_TEST(much_output_changes_nothing)
{
	generation(_i);
	knob("mom", "faults", "flood - * *list*\nflood - * *clean*");
	assert_status(mom("clean", CM1, NULL), 0);
	ck_assert(!exists("mom/ca/signed/" CM1 ".pem"));
}
END_TEST

START_TEST(a_stopped_server_is_told)
{
	const char *before;
	const struct run *r;

	generation(_i);
	knob("mom", "server-stopped", "");
	before = snapshot("mom");
	r = mom("clean", CM1, NULL);
	assert_nothing_done(r, before);
	assert_has(r->err, "Connection refused");
	r = mom("sign", CM1, NULL);
	assert_nothing_done(r, before);
	assert_has(r->err, "Connection refused");
}
END_TEST

START_TEST(clean_waits_its_turn)
{
	pid_t other, waiting;

	generation(_i);
	other = hold_lock("mom/.cmregen.lock");
	waiting = start("mom", "clean", "-p", path("mom/bin/puppet"), CM1,
	    NULL);
	sleep_ms(900);
	ck_assert_int_eq(waitpid(waiting, NULL, WNOHANG), 0);
	ck_assert_int_eq(logged("mom", clean_call, 0), -1);
	hold_end(other);
	assert_status(finish(waiting), 0);
	ck_assert(!exists("mom/ca/signed/" CM1 ".pem"));
}
END_TEST

START_TEST(clean_that_waits_can_be_interrupted)
{
	const char *before;
	pid_t other, waiting;

	generation(_i);
	other = hold_lock("mom/.cmregen.lock");
	before = snapshot("mom");
	waiting = start("mom", "clean", "-p", path("mom/bin/puppet"), CM1,
	    NULL);
	sleep_ms(700);
	(void)kill(waiting, SIGINT);
	assert_nothing_done(finish(waiting), before);
	hold_end(other);
}
END_TEST

START_TEST(clean_n_changes_nothing_and_prints_the_command)
{
	const char *before;
	const struct run *r;

	generation(_i);
	before = snapshot(".");
	r = mom("clean", "-n", CM1, NULL);
	assert_same(snapshot("."), before);
	assert_script(r, path(_i == FIVE ? "mom/bin/puppet cert" :
	    "mom/bin/puppetserver ca clean"));
	ck_assert_int_eq(logged("mom", "clean", 0), -1);
}
END_TEST

START_TEST(v_shows_what_puppet_prints)
{
	const char *words;

	generation(_i);
	words = _i == FIVE ? "Revoked certificate" : "has been revoked";
	assert_has(mom("clean", "-v", CM1, NULL)->err, words);
	generation(_i);
	assert_has_not(mom("clean", CM1, NULL)->err, words);
}
END_TEST

START_TEST(color_is_for_puppet_alone_and_after_the_subcommand)
{
	char line[256];
	FILE *fp;

	generation(_i);
	assert_status(mom("clean", CM1, NULL), 0);
	(void)request();
	assert_status(mom("sign", CM1, NULL), 0);
	fp = fopen(path("mom/log"), "r");
	ck_assert_ptr_nonnull(fp);
	while (fgets(line, sizeof(line), fp) != NULL)
		if (strncmp(line, "puppetserver", 12) == 0)
			assert_has_not(line, "color");
		else if (strstr(line, "--version") == NULL) {
			assert_has(line, "--color=false");
			ck_assert_int_ne(strncmp(line, "puppet --", 9), 0);
		}
	(void)fclose(fp);
}
END_TEST

START_TEST(a_program_that_is_not_there_is_told)
{
	const struct run *r;

	generation(_i);
	sh("rm mom/bin/puppetserver");
	if (_i == FIVE)
		sh("rm mom/bin/puppet");
	r = mom("clean", CM1, NULL);
	assert_status(r, 1);
	assert_has(r->err, path(_i == FIVE ? "mom/bin/puppet" :
	    "mom/bin/puppetserver"));
	assert_has(r->err, "No such file");
}
END_TEST

START_TEST(p_is_repeated_quoted_on_this_host_alone)
{
	const struct run *r;

	generation(_i);
	sh("ln -s mom 'the mom'");
	r = program("mom", "sign", "-p", path("the mom/bin/puppet"), CM1,
	    NULL);
	assert_status(r, 1);
	assert_has(r->out, text("    cmregen mom clean -p '%s' " CM1 "\n",
	    path("the mom/bin/puppet")));
	assert_has(r->out, "    cmregen node finish\n");
}
END_TEST

/*
 * sign
 */

START_TEST(sign_looks_acts_and_looks_again)
{
	const char *fp;
	const struct run *r;
	int before, act;

	generation(_i);
	fp = request();
	r = mom("sign", CM1, NULL);
	assert_status(r, 0);
	before = logged("mom", list_call, 0);
	act = logged("mom", sign_call, 0);
	ck_assert_int_ge(before, 0);
	ck_assert_int_lt(before, act);
	ck_assert_int_gt(logged("mom", list_call, act), act);
	ck_assert_int_eq(logged_times("mom", sign_call), 1);
	ck_assert(exists("mom/ca/signed/" CM1 ".pem"));
	assert_has(r->out, text("SHA-256 fingerprint:\n    %s\n", fp));
	assert_has(r->out, "DNS:puppet");
	assert_has(r->out, "next, on " CM1 ":\n    cmregen node finish\n");
}
END_TEST

START_TEST(alternative_names_are_allowed_below_6)
{
	generation(_i);
	(void)request();
	assert_status(mom("sign", CM1, NULL), 0);
	ck_assert_int_eq(logged("mom", "allow-dns-alt-names", 0) != -1,
	    _i == FIVE);
}
END_TEST

START_TEST(sign_takes_a_request_without_alternative_names)
{
	const struct run *r;

	generation(_i);
	knob("node", "request-as", "plain");
	(void)request();
	r = mom("sign", CM1, NULL);
	assert_status(r, 0);
	assert_has(r->out, "\n    no alternative names\n");
}
END_TEST

/* The fingerprint in lower case, without colons, so many digits of it. */
static const char *
typed(const char *fp, size_t digits)
{
	char s[65];
	size_t n;

	for (n = 0; n < digits; fp++)
		if (*fp != ':')
			s[n++] = *fp >= 'A' ? (char)(*fp + 32) : *fp;
	s[n] = '\0';
	return text("%s", s);
}

START_TEST(f_signs_the_request_it_names)
{
	const char *fp;

	generation(_i / 3);
	fp = request();
	if (_i % 3 == 1)
		fp = typed(fp, 64);
	else if (_i % 3 == 2)
		fp = typed(fp, 16);
	assert_status(mom("sign", "-f", fp, CM1, NULL), 0);
	ck_assert(exists("mom/ca/signed/" CM1 ".pem"));
}
END_TEST

START_TEST(f_signs_no_other_request)
{
	char fp[96];
	const char *before;
	const struct run *r;

	generation(_i);
	(void)strcpy(fp, request());
	fp[94] = fp[94] == '0' ? '1' : '0';
	before = snapshot("mom");
	r = mom("sign", "-f", fp, CM1, NULL);
	assert_nothing_done(r, before);
	assert_has(r->err, "not the request that -f names");
	assert_has(r->out, "next, on the MoM:\n    cmregen mom clean -p ");
	ck_assert_int_eq(logged("mom", "sign ", 0), -1);
	assert_nothing_done(mom("sign", "-f", "0123456789abcdef", CM1, NULL),
	    before);
	ck_assert_int_eq(logged("mom", "sign ", 0), -1);
}
END_TEST

START_TEST(sign_without_a_request_does_nothing)
{
	const char *before;
	const struct run *r;

	generation(_i);
	(void)request();
	sh("mv mom/ca/requests/" CM1 ".pem mom/ca/requests/a" CM1 ".pem; "
	    "cp mom/ca/requests/a" CM1 ".pem mom/ca/requests/" CM1 "x.pem");
	before = snapshot("mom");
	r = mom("sign", CM1, NULL);
	assert_nothing_done(r, before);
	assert_has(r->err, "no request of " CM1);
	assert_has(r->out, "was not run there:\nnext, on " CM1 ":\n"
	    "    cmregen node prepare\n");
	assert_has(r->out, "run 'cmregen node restore' there first\n");
	ck_assert(r->took < 5);
	ck_assert_int_eq(logged("mom", "sign ", 0), -1);
}
END_TEST

START_TEST(w_waits_for_the_request)
{
	pid_t waiting;

	generation(_i);
	(void)request();
	sh("mv mom/ca/requests/" CM1 ".pem r");
	waiting = start("mom", "sign", "-p", path("mom/bin/puppet"), "-w",
	    "60", CM1, NULL);
	sleep_ms(1200);
	ck_assert_int_eq(waitpid(waiting, NULL, WNOHANG), 0);
	sh("mv r mom/ca/requests/" CM1 ".pem");
	assert_status(finish(waiting), 0);
	ck_assert(exists("mom/ca/signed/" CM1 ".pem"));
}
END_TEST

START_TEST(w_ends)
{
	const char *before;
	const struct run *r;

	generation(_i);
	(void)request();
	sh("rm mom/ca/requests/" CM1 ".pem");
	before = snapshot("mom");
	r = mom("sign", "-w", "2", CM1, NULL);
	assert_nothing_done(r, before);
	ck_assert(r->took >= 1.0 && r->took < 15);
}
END_TEST

START_TEST(sign_that_waits_can_be_interrupted)
{
	const char *before;
	pid_t waiting;

	generation(_i);
	(void)request();
	sh("rm mom/ca/requests/" CM1 ".pem");
	before = snapshot("mom");
	waiting = start("mom", "sign", "-p", path("mom/bin/puppet"), "-w",
	    "60", CM1, NULL);
	sleep_ms(700);
	(void)kill(waiting, SIGTERM);
	assert_nothing_done(finish(waiting), before);
}
END_TEST

START_TEST(already_signed_says_where_to_go_on)
{
	const char *before;
	const struct run *r;

	generation(_i);
	before = snapshot("mom");
	r = mom("sign", CM1, NULL);
	assert_nothing_done(r, before);
	assert_has(r->err, "nothing to sign");
	assert_has(r->out, "next, on the MoM:\n    cmregen mom clean ");
	assert_has(r->out, "next, on " CM1 ":\n    cmregen node finish\n");
	sh(": >mom/ca/revoked." CM1);
	before = snapshot("mom");
	r = mom("sign", CM1, NULL);
	assert_nothing_done(r, before);
	assert_has(r->out, "cmregen mom clean ");
	assert_has_not(r->out, "node finish");	/* a revoked one is no use */
	ck_assert_int_eq(logged("mom", "sign ", 0), -1);
}
END_TEST

START_TEST(a_request_that_vanishes_is_told)
{
	const struct run *r;

	generation(_i);
	(void)request();
	sh("rm -f mom/ca/signed/" CM1 ".pem");
	knob("mom", "faults",
	    "remove ca/requests/" CM1 ".pem 1 *sign*");
	r = mom("sign", CM1, NULL);
	assert_status(r, 3);
	assert_has(r->err, "the CA has no request of " CM1);
	assert_has(r->out, "node prepare");
}
END_TEST

START_TEST(a_refusal_for_alternative_names_names_the_setting)
{
	const char *before;
	const struct run *r;

	generation(_i);
	(void)request();
	knob("mom", "forbid-altnames", "");
	before = snapshot("mom");
	r = mom("sign", CM1, NULL);
	assert_nothing_done(r, before);
	assert_has(r->err, "allow-subject-alt-names");
	assert_has(r->err, "ca.conf");
	assert_has(r->err, "restart");
	if (_i == EIGHT)
		assert_has(r->err, "in the log of puppetserver");
	else
		assert_has_not(r->err, "in the log of puppetserver");
}
END_TEST

/* A request as 7 and 8 list it; the words of the test stand for the rest. */
static void
listed(const char *rest)
{
	put("mom/knobs/listed", text("Requested Certificates:\n    " CM1
	    "       (SHA256)  %s%s\n", fingerprint_of("mom/ca/requests/" CM1
	    ".pem"), rest));
}

START_TEST(sign_shows_names_and_extensions_as_the_CA_does)
{
	const struct run *r;

	generation(_i);
	(void)request();
	listed("\talt names: [\"DNS:a\", \"IP:10.0.0.1\"]\tauthorization "
	    "extensions: [pp_auth_role: b\033\302\233c]");
	knob("mom", "faults", "say listed * *list*");
	r = mom("sign", "-n", CM1, NULL);
	assert_status(r, 0);
	assert_has(r->out, "\n#     alt names: [\"DNS:a\", \"IP:10.0.0.1\"]\n"
	    "#     authorization extensions: [pp_auth_role: b???c]\n");
	assert_has_not(r->out, "no alternative names");
	listed("\tauthorization extensions: [pp_auth_role: b]");
	r = mom("sign", "-n", CM1, NULL);
	assert_has(r->out, "\n#     no alternative names\n"
	    "#     authorization extensions: [pp_auth_role: b]\n");
}
END_TEST

START_TEST(sign_shows_all_names_of_a_request)
{
	char *names;
	const struct run *r;
	size_t n;
	int i;

	generation(_i);
	(void)request();
	names = malloc(60000);
	ck_assert_ptr_nonnull(names);
	n = (size_t)sprintf(names, "\talt names: [");
	for (i = 0; i < 2000; i++)
		n += (size_t)sprintf(names + n, "\"DNS:%04d.example.com\", ",
		    i);
	(void)sprintf(names + n, "\"DNS:last\"]");
	listed(names);
	free(names);
	knob("mom", "faults", "say listed * *list*");
	r = mom("sign", "-n", CM1, NULL);
	assert_status(r, 0);
	put("out", r->out);
	sh("sed 's/^#     //' out | tr -d '\\n' >joined; test \"$(grep -o "
	    "'DNS:[0-9]*[.]example' joined | sort -u | wc -l)\" = 2000; "
	    "grep -q DNS:last joined");
}
END_TEST

/* An extension with a newline in it, as a CA of 7 prints it. */
START_TEST(a_request_that_forges_another_is_not_signed)
{
	const struct run *r;

	generation(_i);
	(void)request();
	listed("\tauthorization extensions: [pp_auth_role: x\n    " CM1
	    "   (SHA256)  00:11:22:33:44:55:66:77:00:11:22:33:44:55:66:77:"
	    "00:11:22:33:44:55:66:77:00:11:22:33:44:55:66:77]");
	knob("mom", "faults", "say listed * *list*");
	r = mom("sign", "-f", "0011223344556677", CM1, NULL);
	assert_status(r, 1);
	assert_has(r->err, "two requests");
	ck_assert_int_eq(logged("mom", sign_call, 0), -1);
	/* and can be removed */
	sh("rm -f mom/knobs/faults.*");
	knob("mom", "faults", "say listed 1 *list*");
	assert_status(mom("clean", CM1, NULL), 0);
	ck_assert_int_eq(logged_times("mom", clean_call), 1);
}
END_TEST

/* What 7 says, and what 8 does not. */
START_TEST(a_refusal_for_extensions_names_both_settings)
{
	const struct run *r;

	generation(_i);
	(void)request();
	listed("\talt names: [\"DNS:a\"]\tauthorization extensions: "
	    "[pp_auth_role: b]");
	put("mom/knobs/refused", _i == EIGHT ? "Error encountered when "
	    "attempting to sign the certificate request for the following "
	    "nodes:\n  " CM1 "\n" : "  code: 409\n  body: CSR '" CM1 "' "
	    "contains an authorization extension, which is disallowed.\n");
	knob("mom", "faults", "say listed * *list*\n"
	    "say refused:1 * *sign*");
	r = mom("sign", CM1, NULL);
	assert_status(r, 1);
	assert_has(r->err, "allow-subject-alt-names: true");
	assert_has(r->err, "allow-authorization-extensions: true");
	assert_has(r->err, "ca.conf, restart the server");
	ck_assert_int_eq(strstr(r->err, "in the log of puppetserver")
	    != NULL, _i == EIGHT);
	listed("");
	r = mom("sign", CM1, NULL);
	assert_has_not(r->err, "allow-subject-alt-names");
	ck_assert_int_eq(strstr(r->err, "allow-authorization-extensions: "
	    "true") != NULL, _i != EIGHT);
}
END_TEST

START_TEST(another_failure_names_no_setting)
{
	const struct run *r;

	generation(_i);
	(void)request();
	knob("mom", "faults", "exit 1 * *sign*");
	r = mom("sign", CM1, NULL);
	assert_status(r, 1);
	assert_has_not(r->err, "ca.conf");
}
END_TEST

static const char *const sign_failing[] = {
	"exit 1 * *sign*", "mute 0 * *sign*", "signal KILL * *sign*",
	"wrong - * *sign*"
};

START_TEST(sign_that_fails_is_not_done)
{
	const struct run *r;

	generation(_i / 4);
	(void)request();
	knob("mom", "faults", sign_failing[_i % 4]);
	r = mom("sign", CM1, NULL);
	ck_assert_msg(r->status == 1 || r->status == 3, "%d", r->status);
	assert_has(r->err, "cmregen: ");
	if (_i % 4 == 0)
		assert_has(r->err, "Injected failure");
}
END_TEST

/* With these faults, sign does not even try. */
static const struct run *
sign_not_tried(const char *faults)
{
	const struct run *r;
	const char *before;

	before = snapshot("mom");
	knob("mom", "faults", faults);
	r = mom("sign", CM1, NULL);
	assert_nothing_done(r, before);
	ck_assert_int_eq(logged("mom", "sign ", 0), -1);
	return r;
}

START_TEST(sign_stops_where_the_list_cannot_be_read)
{
	generation(_i / 8);
	(void)request();
	knob("mom", "nothing", "Notice: nothing");
	(void)sign_not_tried(unlistable[_i % 8]);
}
END_TEST

START_TEST(sign_stops_where_the_list_is_cut_off)
{
	generation(_i);
	(void)request();
	(void)sign_not_tried(_i == 1 ? "cut - 1 *list --all*" :
	    "cut - 1 *list*");
}
END_TEST

/* What a CA prints as a fingerprint is not believed to be one. */
static const char *const no_fingerprint[] = {
	"AA:BB:CC",
	"ZZ:BB:CC:DD:AA:BB:CC:DD:AA:BB:CC:DD:AA:BB:CC:DD:AA:BB:CC:DD:AA:BB:CC:"
	    "DD:AA:BB:CC:DD:AA:BB:CC:DD",
	"AA:BB:CC:DD:AA:BB:CC:DD:AA:BB:CC:DD:AA:BB:CC:DD:AA:BB:CC:DD:AA:BB:CC:"
	    "DD:AA:BB:CC:DD:AA:BB:CC:DD:AA:BB:CC:DD:AA:BB:CC:DD"
};

START_TEST(sign_takes_nothing_else_for_a_fingerprint)
{
	generation(_i < 3 ? FIVE : SEVEN);
	(void)request();
	sh("printf '%s' >mom/knobs/words", text(_i < 3 ?
	    "  \"" CM1 "\" (SHA256) %s\\n" : "Requested Certificates:\\n"
	    "    " CM1 "   (SHA256)  %s\\n", no_fingerprint[_i % 3]));
	assert_has(sign_not_tried("say words * *list*")->err, "fingerprint");
}
END_TEST

START_TEST(a_CA_that_has_no_certificates_has_none_of_this_name)
{
	const char *before;
	const struct run *r;

	generation(SEVEN);
	before = snapshot("mom");
	knob("mom", "words", "No certificates to list");
	knob("mom", "faults", "say words * *list*");
	r = mom("clean", CM1, NULL);
	assert_nothing_done(r, before);
	assert_has(r->err, "the CA knows no " CM1);
}
END_TEST

START_TEST(where_the_second_look_fails_it_is_done_or_not)
{
	const struct run *r;

	ready(_i / 2, _i % 2);
	knob("mom", "faults", _i / 2 == SIX ? "exit 1 2 *list --all*" :
	    "exit 1 2 *list*");
	r = mom(verb[_i % 2], CM1, NULL);
	assert_status(r, 3);
	assert_has(r->err, _i % 2 == 0 ? "may be cleaned or not" :
	    "may be signed or not");
	assert_has(r->err, "run this again");
}
END_TEST

START_TEST(a_status_does_not_make_what_is_signed_unsigned)
{
	const struct run *r;

	generation(_i);
	(void)request();
	knob("mom", "faults", _i == FIVE ? "after 1 1 *cert*sign*" :
	    "after 1 1 *ca sign*");
	r = mom("sign", CM1, NULL);
	assert_status(r, 0);
	assert_has(r->err, "exited with status 1");
	assert_has(r->out, "node finish");
}
END_TEST

START_TEST(sign_n_changes_nothing_and_prints_the_command)
{
	const char *before;
	const struct run *r;

	generation(_i);
	(void)request();
	before = snapshot(".");
	r = mom("sign", "-n", CM1, NULL);
	assert_same(snapshot("."), before);
	assert_script(r, path(_i == FIVE ? "mom/bin/puppet cert "
	    "--color=false --allow-dns-alt-names sign " CM1 :
	    "mom/bin/puppetserver ca sign --certname " CM1));
	ck_assert_int_eq(logged("mom", sign_call, 0), -1);
}
END_TEST

START_TEST(n_before_there_is_anything_still_prints_the_command)
{
	const char *before;
	const struct run *r;

	generation(_i);
	(void)request();
	sh("rm mom/ca/requests/" CM1 ".pem");
	before = snapshot(".");
	r = mom("sign", "-n", CM1, NULL);
	assert_same(snapshot("."), before);
	ck_assert(r->status == 0 || r->status == 1);
	ck_assert_int_eq(logged("mom", sign_call, 0), -1);
}
END_TEST

#define EACH(TEST) tcase_add_loop_test(tc, (TEST), 0, VERSIONS)

static void
add_clean(TCase *tc)
{
	EACH(clean_looks_acts_and_looks_again);
	EACH(clean_removes_a_request_and_says_what_follows);
	EACH(clean_takes_a_revoked_certificate);
	EACH(clean_takes_request_and_certificate_together);
	EACH(clean_of_an_unknown_name_does_nothing);
	tcase_add_test(tc,
	    clean_is_no_nothing_where_a_request_comes_in_meanwhile);
	EACH(clean_twice_cleans_once);
	EACH(the_moms_own_certificate_is_never_cleaned);
	EACH(without_a_CA_here_puppet_is_not_asked_for_certificates);
	EACH(clean_that_leaves_something_is_not_done);
	tcase_add_test(tc, clean_is_not_done_where_the_second_list_is_cut_off);
	tcase_add_loop_test(tc, a_signal_before_the_act_stops_it, 0, 2);
	tcase_add_loop_test(tc, a_signal_in_the_act_changes_nothing, 0,
	    2 * VERSIONS);
	tcase_add_loop_test(tc, an_act_that_cannot_be_executed_was_none, 0, 2);
	EACH(clean_that_changes_nothing_of_a_revoked_one_is_not_done);
	tcase_add_test(tc, below_6_no_host_is_called_ca);
	tcase_add_loop_test(tc, a_lock_that_is_no_lock_is_told_with_its_place,
	    0, 1);
	tcase_add_loop_test(tc, clean_that_fails_is_not_done, 0,
	    VERSIONS * 4);
	tcase_add_loop_test(tc, a_list_that_cannot_be_read_stops_before_the_act,
	    0, VERSIONS * 8);
	EACH(much_output_changes_nothing);
	tcase_add_loop_test(tc, a_stopped_server_is_told, SIX, VERSIONS);
	tcase_add_loop_test(tc, clean_waits_its_turn, 0, 1);
	tcase_add_loop_test(tc, clean_that_waits_can_be_interrupted, 0, 1);
	EACH(clean_n_changes_nothing_and_prints_the_command);
	EACH(v_shows_what_puppet_prints);
	EACH(color_is_for_puppet_alone_and_after_the_subcommand);
	EACH(a_program_that_is_not_there_is_told);
	EACH(p_is_repeated_quoted_on_this_host_alone);
}

static void
add_sign(TCase *tc)
{
	tcase_add_loop_test(tc, sign_takes_nothing_else_for_a_fingerprint, 0,
	    6);
	tcase_add_test(tc,
	    a_CA_that_has_no_certificates_has_none_of_this_name);
	tcase_add_loop_test(tc,
	    where_the_second_look_fails_it_is_done_or_not, 0, 2 * VERSIONS);
	EACH(a_status_does_not_make_what_is_signed_unsigned);
	EACH(sign_looks_acts_and_looks_again);
	EACH(alternative_names_are_allowed_below_6);
	EACH(sign_takes_a_request_without_alternative_names);
	tcase_add_loop_test(tc, f_signs_the_request_it_names, 0,
	    VERSIONS * 3);
	EACH(f_signs_no_other_request);
	EACH(sign_without_a_request_does_nothing);
	EACH(w_waits_for_the_request);
	EACH(w_ends);
	tcase_add_loop_test(tc, sign_that_waits_can_be_interrupted, 0, 1);
	EACH(already_signed_says_where_to_go_on);
	EACH(a_request_that_vanishes_is_told);
	tcase_add_loop_test(tc,
	    a_refusal_for_alternative_names_names_the_setting, SIX, VERSIONS);
	tcase_add_loop_test(tc,
	    a_refusal_for_extensions_names_both_settings, SIX, VERSIONS);
	EACH(another_failure_names_no_setting);
	tcase_add_loop_test(tc,
	    sign_shows_names_and_extensions_as_the_CA_does, SEVEN, VERSIONS);
	tcase_add_loop_test(tc, sign_shows_all_names_of_a_request, SEVEN,
	    VERSIONS);
	tcase_add_loop_test(tc, a_request_that_forges_another_is_not_signed,
	    SEVEN, VERSIONS);
	tcase_add_loop_test(tc, sign_that_fails_is_not_done, 0, VERSIONS * 4);
	tcase_add_loop_test(tc, sign_stops_where_the_list_cannot_be_read, 0,
	    VERSIONS * 8);
	EACH(sign_stops_where_the_list_is_cut_off);
	EACH(sign_n_changes_nothing_and_prints_the_command);
	EACH(n_before_there_is_anything_still_prints_the_command);
}

int
main(void)
{
	Suite *suite;
	TCase *tc;

	suite = suite_create("mom");
	tc = tcase_create("clean");
	tcase_add_checked_fixture(tc, fixture_begin, fixture_end);
	tcase_set_timeout(tc, 120);
	add_clean(tc);
	suite_add_tcase(suite, tc);
	tc = tcase_create("sign");
	tcase_add_checked_fixture(tc, fixture_begin, fixture_end);
	tcase_set_timeout(tc, 120);
	add_sign(tc);
	suite_add_tcase(suite, tc);
	return suite_run(suite);
}
