# shellcheck shell=bash disable=SC2034,SC2154,SC2086
# (what is set or read in another file; lists of units, split on purpose)
# The scenarios, in the order in which they run. Each is a function that is
# called with both hosts freshly signed, in a subshell that its first failed
# check ends; judge.sh has the checks. Sourced by run.
#
# A scenario whose name stands in "real" is run with the pair's own server as
# pe-puppetserver on the compile master. The others get a stand-in that needs
# the same files and serves the same certificate, but starts in a second
# (light_server): what they test is not the server.

real="regeneration late"

# cm HOST STATUS ARGUMENT...: cmregen on HOST, which must exit with STATUS.
# What it printed is in $work/out and $work/err.
cm()
{
	local h=$1 want=$2 rc

	shift 2
	printf '\n[%s] %s# cmregen %s\n' "$(date +%T)" "$h" "$*"
	T=400 on "$h" cmregen "$@" >"$work/out" 2>"$work/err"
	rc=$?
	cm_show "$rc"
	[ "$rc" = "$want" ] ||
	    fail "cmregen $1 $2: status $rc instead of $want"
}

cm_show()
{
	sed 's/^/    out: /' "$work/out"
	sed 's/^/    err: /' "$work/err"
	printf '[%s] status %s\n' "$(date +%T)" "$1"
}

# The next command to type, as cmregen printed it last.
next_line()
{
	sed -n 's/.*\(cmregen [mn]o[md]e* [a-z].*\)/\1/p' "$work/out" |
	    head -n 1
}

# follow STATUS: type that line on the host that it is for.
follow()
{
	local want=$1 line h rc

	line=$(next_line)
	case $line in
	"cmregen mom "*) h=mom ;;
	"cmregen node "*) h=node ;;
	*) fail "no next command was printed" ;;
	esac
	printf '\n[%s] %s# %s\n' "$(date +%T)" "$h" "$line"
	T=400 as_typed $h "$line" >"$work/out" 2>"$work/err"
	rc=$?
	cm_show "$rc"
	[ "$rc" = "$want" ] || fail "$line: status $rc instead of $want"
}

# The request may still be on its way when prepare ends (seen on 5.5): who
# walks to the MoM gives it longer than this.
arrived()
{
	requested || echo "the request is not yet on the CA"
	check "the request does not reach the CA" wait_for 60 requested
}

printed()
{
	grep -Eqi -- "$1" "$work/out" "$work/err"
}

next_is()
{
	case $(next_line) in
	"cmregen $1"*) ;;
	*) fail "the next command printed is \"$(next_line)\", not $1" ;;
	esac
}

# The whole regeneration, each command as the one before printed it.
s_regeneration()
{
	cm mom 0 mom clean "$node"
	check "the old serial is not in the CRL" in_crl "$serial_old"
	refuse "still signed after clean" signed
	next_is "node prepare"
	follow 0
	next_is "mom sign"
	judge_backup
	arrived
	same "fingerprint printed and on the CA" "$(next_line |
	    sed -n 's/.*-f *\([^ ]*\).*/\1/p' | tr -d : | tr a-f A-F)" \
	    "$(on mom openssl req -in "$cadir/requests/$node.pem" \
	    -outform DER | sha256sum | cut -d ' ' -f 1 | tr a-f A-F)"
	refuse "the cached catalog is still there" on node test -e \
	    "/opt/puppetlabs/puppet/cache/client_data/catalog/$node.json"
	follow 0
	check "not signed" signed
	next_is "node finish"
	follow 0
	judge_new
	T=200 on node puppet agent --test
	[ $? -le 2 ] || fail "the next agent run fails"
}

# The same without an outage: the server is never stopped.
s_late()
{
	local pid

	cm mom 0 mom clean "$node"
	pid=$(on node systemctl show -p MainPID pe-puppetserver)
	cm node 0 node prepare -l
	next_is "mom sign"
	same "what is served" "$(served)" "$serial_old"
	arrived
	follow 0
	next_is "node finish"
	same "what is served" "$(served)" "$serial_old"
	follow 0
	judge_new
	judge_backup
	[ "$version" = 5 ] || same "pe-puppetserver's process" \
	    "$(on node systemctl show -p MainPID pe-puppetserver)" "$pid"
}

s_restore()
{
	cm mom 0 mom clean "$node"
	cm node 0 node prepare
	cm node 0 node restore
	judge_old
	judge_backup
}

# The node without a clean on the MoM: it is given the old certificate.
s_not_cleaned()
{
	cm node 1 node prepare -w 20
	judge_old
	judge_no_backup
}

s_killed()
{
	local i max=${CMREGEN_REAL_KILLS:-2} ms pid

	for i in $(seq "$max"); do
		[ "$i" = 1 ] || reset light
		cm mom 0 mom clean "$node"
		ms=$((RANDOM % 9000))
		printf 'round %s: SIGKILL after %s ms\n' "$i" "$ms"
		# shellcheck disable=SC2016 # expanded in the host
		T=60 on node sh -c 'echo $$ >/run/cmregen.pid
		    exec cmregen node prepare' >"$work/out" 2>"$work/err" &
		pid=$!
		sleep "$(printf '%d.%03d' $((ms / 1000)) $((ms % 1000)))"
		# shellcheck disable=SC2016
		on node sh -c 'kill -KILL $(cat /run/cmregen.pid)'
		wait "$pid"
		cm_show $?
		on node find "$puppetlabs/puppet" -maxdepth 1
		cm node 0 node prepare
		next_is "mom sign"
		judge_backup
		arrived
		follow 0
		follow 0
		judge_new
	done
}

# A run that is in progress is waited for, never interrupted. It begins before
# the clean: afterwards the server refuses the node, and the run would be one
# of the cached catalog.
s_long_run()
{
	local site=$work/mom/puppetlabs/code/environments/production/manifests

	on node rm -f /run/long-begun /run/long-end /run/long-run
	cat >"$site/long.pp" <<-'END'
	exec { 'long':
	  command => '/bin/sh -c "date >/run/long-begun; until test -e /run/long-end; do sleep 1; done; date >/run/long-run"',
	  timeout => 250,
	}
	END
	on node systemctl restart puppet
	check "the long run does not begin" wait_for 90 on node \
	    test -e /run/long-begun
	rm -f "$site/long.pp"
	cm mom 0 mom clean "$node"
	cm node 1 node prepare -w 3
	check "the PID of the run is not named" printed 'pid [0-9]+ holds'
	refuse "the long run was over before prepare" on node \
	    test -e /run/long-run
	judge_old
	judge_no_backup
	(sleep 10; on node touch /run/long-end) &
	cm node 0 node prepare -w 120
	check "the long run was interrupted" on node test -e /run/long-run
	arrived
	follow 0
	follow 0
	judge_new
}

s_prepare_on_mom()
{
	tree mom "$puppetlabs" >"$work/tree.mom"
	cm mom 1 node prepare
	tree mom "$puppetlabs" >"$work/tree.now"
	check "the MoM was changed" diff "$work/tree.mom" "$work/tree.now"
	check "the MoM's server was stopped" active mom pe-puppetserver
}

s_clean_on_node()
{
	cm node 1 mom clean "$node"
	cm node 1 mom sign "$node"
	[ -z "$(on node find / -xdev -name ca_key.pem 2>/dev/null)" ] ||
	    fail "a CA appeared"
	judge_old
}

# A wrong fingerprint signs nothing; the right one may be typed short.
s_fingerprint()
{
	local fp

	cm mom 0 mom clean "$node"
	cm node 0 node prepare
	fp=$(next_line | sed -n 's/.*-f *\([^ ]*\).*/\1/p' | tr -d : |
	    tr A-F a-f)
	[ ${#fp} = 64 ] || fail "no fingerprint of 64 digits was printed"
	arrived
	cm mom 1 mom sign -f "$(printf '%s' "$fp" | tr 0-9a-f 1-9a-f0)" \
	    "$node"
	refuse "signed all the same" signed
	check "the request is gone" requested
	cm mom 0 mom sign -f "${fp:0:16}" "$node"
	follow 0
	judge_new
}

# A request that somebody else sent first, in the compile master's name.
s_foreign_request()
{
	local foreign

	cm mom 0 mom clean "$node"
	on mom sh -c "cd /root && openssl req -new -newkey rsa:2048 -nodes \
	    -keyout foreign.key -out foreign.csr -subj /CN=$node &&
	    curl -sS -k -f -X PUT -H 'Content-Type: text/plain' \
	    -H 'Accept: text/plain' --data-binary @foreign.csr \
	    'https://$mom:8140/puppet-ca/v1/certificate_request/$node?environment=production'"
	check "the request could not be planted" requested
	foreign=$(on mom openssl req -noout -pubkey -in \
	    "$cadir/requests/$node.pem")
	T=400 on node cmregen node prepare -w 30 >"$work/out" 2>"$work/err"
	rc=$?
	cm_show $rc
	case $rc in
	0)	# The node's own fingerprint was printed, so signing by it
		# must find the other one.
		next_is "mom sign"
		follow 1
		;;
	1)	judge_old ;;
	*)	fail "prepare: status $rc" ;;
	esac
	refuse "the foreign request was signed" signed
	same "request on the CA" "$(on mom openssl req -noout -pubkey \
	    -in "$cadir/requests/$node.pem")" "$foreign"
	# The way out.
	cm mom 0 mom clean "$node"
	[ $rc = 1 ] || cm node 0 node restore
	judge_old
	on node sh -c "test ! -e ${ssl}_bak || mv ${ssl}_bak /root"
	cm node 0 node prepare
	arrived
	follow 0
	follow 0
	judge_new
}

s_sign_waits()
{
	local pid

	cm mom 0 mom clean "$node"
	T=200 on mom cmregen mom sign -w 120 "$node" >"$work/sign.out" 2>&1 &
	pid=$!
	sleep 2
	cm node 0 node prepare
	wait $pid
	same "status of sign -w" $? 0
	cat "$work/sign.out"
	check "not signed" signed
	cm node 0 node finish
	judge_new
}

# On 5, a request with alternative names is never signed automatically: there
# the compile master has none.
s_autosigning()
{
	if [ "$version" = 5 ]; then
		on node sed -i /dns_alt_names/d $puppetlabs/puppet/puppet.conf
		alt_old=
	fi
	on mom touch /run/autosign
	cm mom 0 mom clean "$node"
	cm node 0 node prepare
	# The request is there before the certificate: prepare may have seen no
	# more than that, and the line for the MoM then leads back here.
	case $(next_line) in
	"cmregen mom sign"*)
		check "not signed automatically" wait_for 60 signed
		follow 1
		;;
	esac
	next_is "node finish"
	follow 0
	judge_new
}

s_finish_first()
{
	cm mom 0 mom clean "$node"
	cm node 1 node finish -w 5
	judge_services "$serial_old"
	cm node 0 node prepare
	# The daemon holds its lock while it asks for the certificate, which may
	# take 30 s on 7.
	cm node 1 node finish -w 45
	next_is "mom sign"
	arrived
	follow 0
	follow 0
	judge_new
}

s_disabled()
{
	on node puppet agent --disable "maintenance of cmregen"
	cm node 1 node prepare
	check "the reason is not shown" printed "maintenance of cmregen"
	judge_old
	judge_no_backup
	cm node 1 node finish
	judge_old
	on node puppet agent --enable
}

s_not_root()
{
	local as="setpriv --reuid nobody --regid nogroup --clear-groups env HOME=/tmp"

	for cmd in "node prepare" "node finish" "node restore"; do
		T=60 on node $as cmregen $cmd
		same "status of $cmd" $? 1
	done
	T=60 on mom $as cmregen mom clean "$node"
	same "status of mom clean" $? 1
	T=60 on mom $as cmregen mom sign "$node"
	same "status of mom sign" $? 1
	check "the certificate is gone" signed
	refuse "the serial is in the CRL" in_crl "$serial_old"
	judge_old
	judge_no_backup
}

# small_fs DIRECTORY KIB: 32 MiB of file system in the node, full but for KIB.
small_fs()
{
	# shellcheck disable=SC2016 # expanded in the host
	on node sh -c '
		mkdir -p "$1" && mount -t tmpfs -o size=32m none "$1" || exit
		[ ! -d "$1.was" ] || cp -a "$1.was/." "$1/"
		free=$(df -k --output=avail "$1" | tail -n 1)
		head -c "$((free - $2))k" /dev/zero >"$1/fill"' sh "$1" "$2"
}

s_disk_full()
{
	check "no small file system" small_fs /mnt/small 24
	cm node 1 node prepare -b /mnt/small/bak
	same "left on the full file system" "$(on node ls -A /mnt/small)" fill
	judge_old
	on node umount /mnt/small

	# And the file system of the ssl directory itself.
	on node sh -c "cp -a $puppetlabs/puppet $puppetlabs/puppet.was"
	check "no small file system" small_fs $puppetlabs/puppet 24
	on node chown pe-puppet: $puppetlabs/puppet
	cm node 1 node prepare
	judge_old
	judge_no_backup
	on node sh -c "umount $puppetlabs/puppet && rm -r $puppetlabs/puppet.was"
}

# Control-C and a terminal that goes away, each as soon as something is half
# done: the first service is stopped, or the ssl directory is set aside.
s_interrupted()
{
	cm mom 0 mom clean "$node"
	on_tty interrupt systemctl is-active pxp-agent
	same "status after Ctrl-C" "$(on node cat /run/status)" 1
	judge_old
	judge_no_backup
	on_tty hangup test ! -e "$ssl.cmregen-old"
	judge_old
	judge_no_backup
}

# on_tty HOW COMMAND...: prepare on a terminal of its own, ended in the way
# that HOW says once COMMAND fails.
on_tty()
{
	local how=$1

	shift
	on node rm -f /run/status /run/script.pid
	{
		wait_for 60 refuses on node "$@" ||
		    fail "$how: prepare was over before it could be interrupted"
		if [ "$how" = interrupt ]; then
			printf '\003'
		else
			# shellcheck disable=SC2016 # expanded in the host
			on node sh -c 'kill -KILL $(cat /run/script.pid)'
		fi
		wait_for 100 refuses on node pgrep -x cmregen
	} | nsenter -t "$(cat "$work/node/leader")" -a env -i HOME=/root \
	    TERM=dumb PATH=/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin \
	    timeout -k 5 200 sh -c 'echo $$ >/run/script.pid; exec script -qc \
	    "trap : INT; cmregen node prepare; echo \$? >/run/status" \
	    /run/typescript'
	on node cat /run/typescript
	refuse "cmregen still runs" on node pgrep -x cmregen
}

refuses()
{
	! "$@"
}

# From outside, as from rescue media: the host is down.
s_rescue()
{
	cm mom 0 mom clean "$node"
	cm node 0 node prepare
	host_stop node
	printf '\nrescue# cmregen node restore -r ROOT\n'
	timeout 120 "$program" node restore -r "$work/node/root" \
	    >"$work/out" 2>"$work/err"
	rc=$?
	cm_show $rc
	same "status of restore -r" $rc 0
	tree - "$work/node/root$ssl" >"$work/tree.now"
	check "the ssl directory is not what it was" \
	    diff "$work/tree.old" "$work/tree.now"
	[ -z "$(find "$work/node/puppetlabs" -name '*.cmregen-*')" ] ||
	    fail "something is left over"
	check "the host does not boot" host_start node
	judge_old
	judge_backup
}

s_four_cleans()
{
	local i pids="" serials=""

	for i in 1 2 3 4; do
		serials="$serials $(serial_of mom \
		    "$cadir/signed/agent$i.cmregen.test.pem")"
	done
	for i in 1 2 3 4; do
		T=300 on mom cmregen mom clean "agent$i.cmregen.test" \
		    >"$work/clean$i" 2>&1 &
		pids="$pids $!"
	done
	i=0
	for p in $pids; do
		i=$((i + 1))
		wait "$p"
		same "status of clean $i" $? 0
		cat "$work/clean$i"
	done
	set -- $serials
	same "serials to look for" $# 4
	for i; do
		check "serial $i is not in the CRL" in_crl "$i"
	done
	judge_clean
}

# The CA out of reach: nothing can be cleaned from 6 on, and prepare, whose
# request cannot be sent, goes back.
s_server_stopped()
{
	on mom systemctl stop pe-puppetserver
	if [ "$version" != 5 ]; then
		cm mom 1 mom clean "$node"
		check "the certificate is gone" signed
		refuse "the serial is in the CRL" in_crl "$serial_old"
		cm mom 1 mom sign "$node"
	fi
	cm node 1 node prepare -w 15
	judge_old
	judge_no_backup
	on mom systemctl start pe-puppetserver
}

s_alt_names_forbidden()
{
	local conf=$puppetlabs/puppetserver/conf.d/ca.conf line

	on mom sed -i 's/\(allow-subject-alt-names:\) true/\1 false/' "$conf"
	on mom systemctl restart pe-puppetserver
	cm mom 0 mom clean "$node"
	cm node 0 node prepare
	line=$(next_line)
	arrived
	follow 1
	check "the setting is not named" printed allow-subject-alt-names
	refuse "signed all the same" signed
	on mom sed -i 's/\(allow-subject-alt-names:\) false/\1 true/' "$conf"
	on mom systemctl restart pe-puppetserver
	# The same line again, as the message says.
	printf '%s\n' "$line" >"$work/out"
	follow 0
	follow 0
	judge_new
}

scenarios="regeneration late restore not_cleaned killed long_run prepare_on_mom
    clean_on_node fingerprint foreign_request sign_waits autosigning
    finish_first disabled not_root disk_full interrupted rescue four_cleans
    server_stopped alt_names_forbidden"
