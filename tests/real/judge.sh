# shellcheck shell=bash disable=SC2034,SC2154,SC2086
# (what is set or read in another file; lists of units, split on purpose)
# What stands, seen from outside the tool: openssl, systemctl, find. Sourced
# by run. Every check ends its scenario when it does not hold.

fail()
{
	printf '%s\n' "$*" >"$work/why"
	printf 'FAILED: %s\n' "$*"
	exit 1
}

# check WHY COMMAND...
check()
{
	local why=$1

	shift
	"$@" || fail "$why"
}

refuse()
{
	local why=$1

	shift
	! "$@" || fail "$why"
}

same()
{
	[ "$2" = "$3" ] || fail "$1: \"$2\" instead of \"$3\""
}

# Names, types, modes, owners, sizes, link targets and bytes of a tree, in the
# host or, with the host "-", here.
tree()
{
	local h=$1 as=()

	[ "$h" = - ] || as=(on "$h")
	# shellcheck disable=SC2016 # expanded in the host
	"${as[@]}" sh -c '
		cd "$1" || exit
		find . ! -path ./ssl.lock ! -type d \
		    -printf "%P %y %m %U %G %s %l\n" | sort
		find . -type d -printf "%P %y %m %U %G\n" | sort
		find . ! -path ./ssl.lock -type f -exec sha256sum {} + | sort
	' sh "$2"
}

pem()
{
	on "$1" openssl x509 -noout "-$3" -in "$2"
}

serial_of()
{
	pem "$1" "$2" serial | sed 's/serial=//'
}

alt_names()
{
	on "$1" openssl x509 -noout -ext subjectAltName -in "$2" |
	    tr ',' '\n' | sed -n 's/ *DNS://p' | sort | tr '\n' ' '
}

in_crl()
{
	on mom openssl crl -noout -text -in "$cadir/ca_crl.pem" |
	    grep -q "Serial Number: 0*$1\$"
}

active()
{
	on "$1" systemctl is-active "$2"
}

served()
{
	on node sh -c 'openssl s_client -connect 127.0.0.1:8140 \
	    </dev/null 2>/dev/null | openssl x509 -noout -serial' |
	    sed 's/serial=//'
}

# Every service of the compile master runs, and its server serves the
# certificate with this serial. A start may outlive the agent run that asked
# for it, so it has a moment.
judge_services()
{
	local u

	for u in $units; do
		check "$u does not run" wait_for "${2:-60}" active node "$u"
	done
	check "port 8140 does not answer" wait_for 60 tls_answers node
	same "serial served at 8140" "$(served)" "$1"
}

# Names that are ours: for find. The hosts' own have cmregen in them, too.
ours=( '(' -name '*.cmregen' -o -name '*.cmregen-*' -o -name '.cmregen*' ')' )

# No name of ours is left beside the ssl directory or the CA.
judge_clean()
{
	local h left

	for h in mom node; do
		left=$(on $h find "$puppetlabs" "${ours[@]}")
		[ -z "$left" ] || fail "left over on $h: $left"
	done
}

judge_ssl_old()
{
	tree node "$ssl" >"$work/tree.now"
	check "the ssl directory is not what it was" \
	    diff "$work/tree.old" "$work/tree.now"
}

# The compile master is as it was before the scenario.
judge_old()
{
	judge_ssl_old
	judge_services "$serial_old"
	judge_clean
}

# The processes of the services: the same again where none was touched.
pids()
{
	on node systemctl show -p MainPID --value $units | tr '\n' ' '
}

# A request waits for its signature in the work directory, and the compile
# master has not noticed.
judge_staged()
{
	judge_ssl_old
	judge_services "$serial_old"
	same "content of the work directory" \
	    "$(on node ls -A "$ssl.cmregen" | tr '\n' ' ')" "journal next "
	same "mode and owner of the work directory" \
	    "$(on node stat -c '%a %U' "$ssl.cmregen")" "700 root"
	same "last line of the journal" \
	    "$(on node tail -n 1 "$ssl.cmregen/journal")" staged
}

judge_no_backup()
{
	refuse "a backup was left" on node test -e "${ssl}_bak"
}

judge_backup()
{
	tree node "${1:-${ssl}_bak}" >"$work/tree.now"
	check "the backup is not the old tree" \
	    diff "$work/tree.old" "$work/tree.now"
}

# What a finished regeneration must have brought about.
judge_new()
{
	local crt=$ssl/certs/$node.pem key=$ssl/private_keys/$node.pem s

	s=$(serial_of node "$crt")
	[ -n "$s" ] || fail "no certificate"
	[ "$s" != "$serial_old" ] || fail "the certificate is the old one"
	same "public key of the certificate" "$(pem node "$crt" pubkey)" \
	    "$(on node openssl pkey -pubout -in "$key")"
	same "alternative names" "$(alt_names node "$crt")" "$alt_old"
	check "not signed by the CA" on mom sh -c "
		openssl verify -CAfile $cadir/ca_crt.pem \
		    $cadir/signed/$node.pem"
	same "serial signed by the CA" \
	    "$(serial_of mom "$cadir/signed/$node.pem")" "$s"
	check "the old serial is not in the CRL" in_crl "$serial_old"
	refuse "the new serial is in the CRL" in_crl "$s"
	same "mode and owner of the key" \
	    "$(on node stat -c '%a %U %G' "$key")" "640 pe-puppet pe-puppet"
	same "mode and owner of the ssl directory" \
	    "$(on node stat -c '%a %U %G' "$ssl")" "$(sed -n \
	    's/^ d \([0-7]*\) .*/\1 pe-puppet pe-puppet/p' "$work/tree.old")"
	judge_backup "$@"
	judge_services "$s"
	judge_clean
}

signed()
{
	on mom test -e "$cadir/signed/$node.pem"
}

requested()
{
	on mom test -e "$cadir/requests/$node.pem"
}
