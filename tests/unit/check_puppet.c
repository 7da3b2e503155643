/*
 * check_puppet.c: the stand-in does what real Puppet does, where the program
 * depends on it: key, request and certificate in another ssldir, names and
 * extensions, what the CA refuses.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fixture.h"

#define WORK	"node/puppet/ssl.cmregen"
#define DIR	WORK "/make.1"
#define PENDING	"mom/ca/requests/" CM1 ".pem"
#define SIGNED	"mom/ca/signed/" CM1 ".pem"

static const char *said;	/* what the last call printed */

/* Runs a line of shell and returns its status. */
static int
call(const char *line)
{
	sh("rc=0; { %s; } >said 2>&1 || rc=$?; echo $rc >rc", line);
	said = get("said");
	return atoi(get("rc"));
}

/* A sandbox in which the certificate is cleaned and DIR is made. */
static void
begin(int i)
{
	sandbox(version[i]);
	sh("set -e; rm " SIGNED "; mkdir -m 700 " WORK "; mkdir -p " DIR
	    "/certs " WORK "/state.1; cp " SSL "/certs/ca.pem " DIR "/certs");
	if (i == FIVE)
		sh("chmod 711 " WORK);
}

/* Has puppet send a request from DIR. */
static int
submit(int i)
{
	if (i == FIVE)
		return call("node/bin/puppet agent --test --noop "
		    "--color=false --ssldir $PWD/" DIR " --statedir $PWD/" WORK
		    "/state.1");
	return call("node/bin/puppet ssl submit_request --color=false "
	    "--waitforcert 0 --ssldir $PWD/" DIR);
}

static int
fetch(int i)
{
	if (i == FIVE)
		return submit(i);
	return call("node/bin/puppet ssl download_cert --color=false "
	    "--waitforcert 0 --ssldir $PWD/" DIR);
}

static void
assert_generation(const char *name, const char *generation)
{
	ck_assert_msg(strcmp(generation_of(name), generation) == 0,
	    "%s is of generation %s", name, generation_of(name));
}

START_TEST(every_file_of_keys_tells_what_it_is)
{
	sandbox(version[SEVEN]);
	sh("set -e; cd keys; sed -n "
	    "'s/^\tGEN=\\([^ ]*\\) WHAT=\\([^ ]*\\) .*/\\1 \\2/p' table "
	    ">all; test \"$(wc -l <all)\" -gt 100; while read -r g w; do "
	    "./give $g $w >x; set -- $(./tell x); test \"$1 $2\" = \"$g $w\"; "
	    "test $4 = - || test $4 = $(grep -v -e ---- x | base64 -d | "
	    "sha256sum | cut -c1-64 | sed 's/../:&/g;s/^://' | tr a-f A-F); "
	    "done <all; ! ./tell all");
}
END_TEST

START_TEST(another_ssldir_moves_every_path_that_is_not_set)
{
	sandbox(version[_i]);
	put("node/settings", "SET_hostprivkey=/k\n");
	ck_assert_int_eq(call("node/bin/puppet config print --ssldir /x "
	    "--section agent hostcert hostcrl hostprivkey localcacert "
	    "requestdir dns_alt_names"), 0);
	assert_same(said, "dns_alt_names = puppet,puppet.example.com\n"
	    "hostcert = /x/certs/" CM1 ".pem\nhostcrl = /x/crl.pem\n"
	    "hostprivkey = /k\nlocalcacert = /x/certs/ca.pem\n"
	    "requestdir = /x/certificate_requests\n");
}
END_TEST

START_TEST(a_request_is_sent_signed_and_fetched)
{
	const char *before;

	begin(_i);
	before = tree_text(SSL, NULL);
	ck_assert_int_eq(submit(_i), _i == FIVE);
	assert_generation(DIR KEY, "2");
	assert_generation(DIR REQUEST, "2");
	assert_same(get(PENDING), get(DIR REQUEST));
	ck_assert_int_eq(fetch(_i), 1);
	if (_i != FIVE)
		assert_has(said, "Error: Could not run: The certificate for '"
		    CM1 "' has not yet been signed\n");
	sign();
	ck_assert_int_eq(fetch(_i), 0);
	assert_generation(DIR CERT, "2");
	ck_assert_str_eq(serial_of(DIR CERT), "0A");
	ck_assert_int_eq(exists(DIR REQUEST), _i < SEVEN);
	ck_assert(exists(DIR "/crl.pem"));
	sh("test \"$(stat -c '%%a %%u' " DIR " " DIR KEY " " DIR CERT " | "
	    "paste -sd,)\" = '771 52001,640 52001,644 52001'");
	assert_same(tree_text(SSL, NULL), before);
}
END_TEST

START_TEST(the_request_is_there_before_the_stall)
{
	begin(_i);
	knob("node", "stall", "30");
	sh("node/bin/puppet ssl submit_request --waitforcert 0 --ssldir $PWD/"
	    DIR " >said & echo $! >node/background");
	await(DIR REQUEST);
	ck_assert(exists(PENDING));
	sh("kill $(cat node/background)");
}
END_TEST

START_TEST(a_request_or_certificate_on_the_CA_is_a_conflict)
{
	begin(_i);
	give("foreign", "names.req", PENDING);
	ck_assert_int_eq(submit(_i), 1);
	assert_has(said, "Error: Could not run: Could not submit certificate "
	    "request for '" CM1 "' to https://");
	assert_has(said, " due to a conflict on the server\n");
	assert_generation(DIR KEY, "2");
	ck_assert(!exists(DIR REQUEST));
	sign();
	ck_assert_int_eq(submit(_i), 1);
	ck_assert_int_eq(fetch(_i), 1);
	assert_has(said, "does not match its private key\n");
	ck_assert(!exists(DIR CERT));
}
END_TEST

START_TEST(below_6_a_request_on_the_CA_is_taken_for_its_own)
{
	begin(FIVE);
	give("foreign", "names.req", PENDING);
	ck_assert_int_eq(submit(FIVE), 1);
	assert_generation(DIR REQUEST, "foreign");
	assert_generation(DIR KEY, "2");
}
END_TEST

START_TEST(below_6_the_service_user_must_be_let_through)
{
	begin(FIVE);
	sh("chmod 700 " WORK);
	ck_assert_int_eq(submit(FIVE), 1);
	assert_has(said, DIR KEY " to privatekeydir: Permission denied");
	ck_assert(!exists(DIR KEY));
}
END_TEST

START_TEST(another_CA_is_not_trusted)
{
	begin(_i);
	give("ca2", "crt", "mom/ca/ca_crt.pem");
	ck_assert_int_eq(submit(_i), 1);
	assert_same(said, "Error: certificate verify failed [unable to get "
	    "local issuer certificate for CN=mom.example.com]\nError: Exiting "
	    "now because the waitforcert setting is set to 0.\n");
	ck_assert(!exists(DIR KEY));
	ck_assert_int_eq(call("timeout 1 node/bin/puppet ssl submit_request "
	    "--ssldir $PWD/" DIR), 124);
	sh("rm " DIR "/certs/ca.pem");
	ck_assert_int_eq(submit(_i), 0);
	assert_generation(DIR "/certs/ca.pem", "ca2");
	sign();
	ck_assert_str_eq(serial_of(SIGNED), "02BE");
}
END_TEST

START_TEST(below_6_another_CA_is_met_with_the_certificate)
{
	begin(FIVE);
	give("ca2", "crt", DIR "/certs/ca.pem");
	ck_assert_int_eq(submit(FIVE), 1);
	assert_generation(DIR REQUEST, "2");
	sign();
	ck_assert_int_eq(fetch(FIVE), 1);
	assert_has(said, "certificate verify failed");
	ck_assert(!exists(DIR "/crl.pem"));
}
END_TEST

START_TEST(a_server_that_is_away_is_told_at_once)
{
	begin(_i);
	knob("mom", "server-stopped", "");
	ck_assert_int_eq(submit(_i), 1);
	assert_has(said, "Connection refused");
	ck_assert_int_eq(exists(DIR KEY), _i == FIVE);
}
END_TEST

START_TEST(a_key_that_is_set_by_itself_is_used_from_6_on)
{
	begin(_i);
	put("node/settings", text("SET_hostprivkey=%s\n", path(SSL KEY)));
	ck_assert_int_eq(submit(_i), _i == FIVE);
	assert_generation(DIR REQUEST, _i == FIVE ? "2" : "1");
	ck_assert_int_eq(exists(DIR KEY), _i == FIVE);
}
END_TEST

static const struct {
	const char *sh, *what;
} asked[] = {
	{ ":", "names" },
	{ "echo SET_dns_alt_names= >node/settings", "plain" },
	{ "echo SET_dns_alt_names=puppet,extra.example.com,puppet.example.com "
	    ">node/settings", "extra" },
	{ "echo '  pp_role: compile_master' >node/puppet/csr_attributes.yaml",
	    "role" },
	{ "echo '  pp_auth_role: pe_compiler' "
	    ">node/puppet/csr_attributes.yaml", "auth" },
	{ "echo extra >node/knobs/request-as", "extra" }
};

START_TEST(names_and_extensions_come_from_the_settings)
{
	const int i = _i % VERSIONS, row = _i / VERSIONS;

	begin(i);
	sh("%s", asked[row].sh);
	(void)submit(i);
	sh("keys/give 2 %s.req | cmp - " PENDING, asked[row].what);
}
END_TEST

START_TEST(the_CA_signs_what_it_likes)
{
	begin(_i);
	(void)submit(_i);
	knob("mom", "sign-as", "plain");
	sign();
	sh("keys/give 2 plain.crt | cmp - " SIGNED);
}
END_TEST

START_TEST(a_request_that_is_signed_again_gets_another_serial_number)
{
	begin(_i);
	(void)submit(_i);
	sign();
	sh("mv " SIGNED " old; keys/give 2 names.req >" PENDING);
	sign();
	ck_assert_str_ne(serial_of(SIGNED), serial_of("old"));
	assert_generation(SIGNED, "2");
}
END_TEST

START_TEST(the_CA_shows_extensions_and_may_refuse_them)
{
	begin(_i);
	give("2", "auth.req", PENDING);
	ck_assert_int_eq(call("mom/bin/puppetserver ca list --certname " CM1),
	    0);
	assert_has(said, "\talt names: [\"DNS:" CM1 "\", \"DNS:puppet\", "
	    "\"DNS:puppet.example.com\"]\tauthorization extensions: "
	    "[pp_auth_role: pe_compiler]\n");
	knob("mom", "forbid-extensions", "");
	ck_assert_int_eq(call("mom/bin/puppetserver ca sign --certname " CM1),
	    1);
	ck_assert_int_eq(strstr(said, "allow-authorization-extensions") !=
	    NULL, _i == SEVEN);
	ck_assert(exists(PENDING) && !exists(SIGNED));
}
END_TEST

START_TEST(below_6_extensions_need_an_option)
{
	begin(FIVE);
	give("2", "auth.req", PENDING);
	ck_assert_int_eq(call("mom/bin/puppet cert --allow-dns-alt-names sign "
	    CM1), 24);
	assert_has(said, "--allow-authorization-extensions");
	ck_assert_int_eq(call("mom/bin/puppet cert --allow-dns-alt-names "
	    "--allow-authorization-extensions sign " CM1), 0);
}
END_TEST

START_TEST(what_must_not_be_signed_at_once_is_a_conflict_and_stays)
{
	begin(_i);
	knob("mom", "autosign", "");
	knob("mom", "forbid-altnames", "");
	ck_assert_int_eq(submit(_i), 1);
	ck_assert(exists(PENDING) && !exists(SIGNED));
	ck_assert(!exists(DIR REQUEST));
}
END_TEST

START_TEST(a_reload_serves_what_is_there_or_ends)
{
	begin(_i);
	give("4", "key", SSL KEY);
	give("4", "extra.crt", SSL CERT);
	ck_assert_str_eq(served(), "1");
	ck_assert_int_eq(call("node/bin/puppetserver reload"), 0);
	ck_assert_str_eq(served(), "4");
	give("5", "key", SSL KEY);
	ck_assert_int_eq(call("node/bin/puppetserver reload"), 1);
	ck_assert(!running("pe-puppetserver"));
}
END_TEST

START_TEST(generations_begin_again_with_the_second)
{
	begin(SEVEN);
	put("node/counter", "12\n");
	ck_assert_int_eq(submit(SEVEN), 0);
	assert_generation(DIR KEY, "2");
}
END_TEST

int
main(void)
{
	Suite *suite;
	TCase *tc;

	suite = suite_create("stand-in");
	tc = tcase_create("stand-in");
	tcase_add_checked_fixture(tc, fixture_begin, fixture_end);
	tcase_set_timeout(tc, 120);
#define FROM(TEST, FIRST)	tcase_add_loop_test(tc, TEST, FIRST, VERSIONS)
	tcase_add_test(tc, every_file_of_keys_tells_what_it_is);
	FROM(another_ssldir_moves_every_path_that_is_not_set, FIVE);
	FROM(a_request_is_sent_signed_and_fetched, FIVE);
	FROM(the_request_is_there_before_the_stall, SIX);
	FROM(a_request_or_certificate_on_the_CA_is_a_conflict, SEVEN);
	tcase_add_test(tc, below_6_a_request_on_the_CA_is_taken_for_its_own);
	tcase_add_test(tc, below_6_the_service_user_must_be_let_through);
	FROM(another_CA_is_not_trusted, SIX);
	tcase_add_test(tc, below_6_another_CA_is_met_with_the_certificate);
	FROM(a_server_that_is_away_is_told_at_once, FIVE);
	FROM(a_key_that_is_set_by_itself_is_used_from_6_on, FIVE);
	tcase_add_loop_test(tc, names_and_extensions_come_from_the_settings, 0,
	    VERSIONS * (int)(sizeof(asked) / sizeof(asked[0])));
	FROM(the_CA_signs_what_it_likes, FIVE);
	FROM(a_request_that_is_signed_again_gets_another_serial_number, FIVE);
	FROM(the_CA_shows_extensions_and_may_refuse_them, SEVEN);
	tcase_add_test(tc, below_6_extensions_need_an_option);
	FROM(what_must_not_be_signed_at_once_is_a_conflict_and_stays, SIX);
	FROM(a_reload_serves_what_is_there_or_ends, FIVE);
	tcase_add_test(tc, generations_begin_again_with_the_second);
	suite_add_tcase(suite, tc);
	return suite_run(suite);
}
