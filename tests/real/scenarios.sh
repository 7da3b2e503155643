# shellcheck shell=bash disable=SC2034,SC2154,SC2086
# (what is set or read in another file; lists of units, split on purpose)
# The scenarios, in the order in which they run. Each is a function that is
# called with both hosts freshly signed, in a subshell that its first failed
# check ends; judge.sh has the checks. Sourced by run.
#
# A scenario whose name stands in "real" is run with the pair's own server as
# pe-puppetserver on the compile master. The others get a stand-in that needs
# the same files and serves the same certificate, but starts in a second and
# knows no reload (light_server): what they test is not the server.

real="regeneration"

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

# clean, prepare and sign, each as it is typed.
signed_and_staged()
{
	cm mom 0 mom clean "$node"
	cm node 0 node prepare
	follow 0
	next_is "node finish"
}

# start ARGUMENT...: cmregen on the node, in the background; its pid in there
# is in /run/cmregen.pid, the one to wait for here in $started.
start()
{
	printf '\n[%s] node# cmregen %s (to be killed)\n' "$(date +%T)" "$*"
	# shellcheck disable=SC2016 # expanded in the host
	T=400 on node sh -c 'echo $$ >/run/cmregen.pid
	    exec cmregen "$@"' sh "$@" >"$work/out" 2>"$work/err" &
	started=$!
}

# kill_started: what was started, and nothing that it has started. True where
# there was something to kill.
kill_started()
{
	local rc

	# shellcheck disable=SC2016
	on node sh -c 'kill -KILL $(cat /run/cmregen.pid)'
	wait "$started"
	rc=$?
	cm_show $rc
	on node sh -c "find $ssl.cmregen* -maxdepth 1; cat $ssl.cmregen/journal"
	[ $rc = 137 ]
}

# killed_when CONDITION ARGUMENT...: killed as soon as CONDITION, a line of
# sh, is true in the node.
killed_when()
{
	local when=$1

	shift
	start "$@"
	check "\"$when\" never came to be" wait_for 200 on node sh -c "$when"
	check "$*: over before it could be killed" kill_started
}

# killed_at_random MILLISECONDS ARGUMENT...: killed before so many have passed,
# which may be too late.
killed_at_random()
{
	local ms=$((RANDOM % $1))

	shift
	start "$@"
	sleep "$(printf '%d.%03d' $((ms / 1000)) $((ms % 1000)))"
	printf 'SIGKILL after %s ms\n' "$ms"
	kill_started
}

# is_under_way: as status says, which must say one or the other.
under_way()
{
	local rc

	T=60 on node cmregen node status >"$work/out" 2>"$work/err"
	rc=$?
	cm_show $rc
	case $rc in
	0) return 1 ;;
	3) return 0 ;;
	*) fail "node status: status $rc" ;;
	esac
}

catalog=/opt/puppetlabs/puppet/cache/client_data/catalog/$node.json

# The whole regeneration, each command as the one before printed it.
s_regeneration()
{
	local pids

	pids=$(pids)
	cm node 0 node status
	cm node 0 node prepare -n
	judge_old
	judge_no_backup
	cm mom 0 mom clean "$node"
	check "the old serial is not in the CRL" in_crl "$serial_old"
	refuse "still signed after clean" signed
	next_is "node prepare"
	follow 0
	next_is "mom sign"
	judge_staged
	judge_backup
	check "the request is not on the CA" requested
	same "fingerprint printed and on the CA" "$(next_line |
	    sed -n 's/.*-f *\([^ ]*\).*/\1/p' | tr -d : | tr a-f A-F)" \
	    "$(on mom openssl req -in "$cadir/requests/$node.pem" \
	    -outform DER | sha256sum | cut -d ' ' -f 1 | tr a-f A-F)"
	follow 0
	check "not signed" signed
	next_is "node finish"
	judge_staged
	same "processes of the services" "$(pids)" "$pids"
	on node touch -d '1 second ago' /run/cmregen-stamp
	check "no catalog is cached" on node test -e "$catalog"
	follow 0
	judge_new
	check "the cached catalog is the old one" on node \
	    test "$catalog" -nt /run/cmregen-stamp
	[ "$version" = 5 ] || same "process of pe-puppetserver" \
	    "$(on node systemctl show -p MainPID --value pe-puppetserver)" \
	    "$(set -- $pids; echo "$2")"
	cm node 0 node status
	T=200 on node puppet agent --test
	[ $? -le 2 ] || fail "the next agent run fails"
	cm node 1 node finish
	judge_new
}

# The way back from where the exchange has not begun: nothing is touched.
s_restore_staged()
{
	local pids

	pids=$(pids)
	signed_and_staged
	cm node 0 node restore
	judge_old
	judge_backup
	same "processes of the services" "$(pids)" "$pids"
}

s_restore_midway()
{
	signed_and_staged
	killed_when "test -e $ssl.cmregen/old" node finish
	cm node 3 node status
	cm node 1 node prepare
	cm node 0 node restore
	judge_old
	judge_backup
	cm node 0 node status
}

# After the end it gives a newer certificate up, and asks first.
s_restore_finished()
{
	signed_and_staged
	cm node 0 node finish
	judge_new
	cm node 1 node restore
	judge_new
	cm node 0 node restore -a
	judge_old
	judge_backup
	cm node 0 node restore
	judge_old
}

# Killed between the two renames, so that the host boots without ssl; Puppet
# then makes one, which is rubbish.
s_boot_midway()
{
	signed_and_staged
	killed_when "test -e $ssl.cmregen/old" node finish
	on node sh -c "test -e $ssl.cmregen/next || mv $ssl $ssl.cmregen/next"
	host_stop node 30
	check "the host does not boot" host_start node
	check "Puppet makes no ssl" wait_for 60 on node sh -c \
	    "test -s $ssl/private_keys/$node.pem"
	cm node 3 node status
	cm node 0 node finish
	judge_new
}

# The node without a clean on the MoM: it would be given the old certificate.
s_not_cleaned()
{
	cm node 1 node prepare
	check "mom clean is not named" printed "cmregen mom clean $node"
	judge_old
	judge_no_backup
}

# After a kill: its puppet may have sent a request, or do so even later, whose
# key is gone.
prepare_again()
{
	T=100 on node cmregen node prepare >"$work/out" 2>"$work/err"
	rc=$?
	cm_show $rc
	[ $rc != 1 ] || {
		check "mom clean is not named" printed "cmregen mom clean $node"
		cm mom 0 mom clean "$node"
		cm node 0 node prepare
	}
}

# Each command killed at random, then typed again, or taken back.
s_killed()
{
	local i max=${CMREGEN_REAL_KILLS:-2}

	for i in $(seq "$max"); do
		[ "$i" = 1 ] || reset light
		cm mom 0 mom clean "$node"
		killed_at_random 6000 node prepare
		judge_ssl_old
		prepare_again
		judge_staged
		judge_backup
		follow 0
		killed_at_random 12000 node finish
		if [ $((i % 2)) = 1 ]; then
			! under_way || cm node 0 node finish
			judge_new
		fi
		killed_at_random 6000 node restore -a
		! under_way || cm node 0 node restore
		cm node 0 node restore -a
		judge_old
		judge_backup
	done
}

# A run that is in progress is waited for, never interrupted. It begins before
# the clean: afterwards the server refuses the node, and the run would be one
# of the cached catalog.
s_long_run()
{
	manifest <<-'END'
	exec { 'long':
	  command => '/bin/sh -c "date >/run/long-begun; until test -e /run/long-end; do sleep 1; done; date >/run/long-run"',
	  timeout => 250,
	}
	END
	on node systemctl restart puppet
	check "the long run does not begin" wait_for 90 on node \
	    test -e /run/long-begun
	no_manifest
	signed_and_staged
	judge_staged
	cm node 1 node finish -w 5
	check "the PID of the run is not named" printed '[0-9]+ holds|pid [0-9]+'
	refuse "the long run was over before finish" on node \
	    test -e /run/long-run
	judge_staged
	(sleep 10; on node touch /run/long-end) &
	cm node 0 node finish -w 120
	check "the long run was interrupted" on node test -e /run/long-run
	judge_new
}

# What the compile master's catalog has besides, from standard input.
manifest()
{
	cat >"$work/mom/puppetlabs/code/environments/production/manifests/more.pp"
}

no_manifest()
{
	rm "$work/mom/puppetlabs/code/environments/production/manifests/more.pp"
}

# A resource that fails is no failure of the new certificate.
s_failed_resource()
{
	signed_and_staged
	manifest <<-'END'
	exec { '/bin/false': }
	END
	cm node 0 node finish
	check "the failed resource is not told" printed 'resource'
	judge_new
}

# A catalog that does not compile: no proof, until somebody does without.
s_broken_catalog()
{
	signed_and_staged
	echo "fail('broken on purpose')" | manifest
	cm node 3 node finish
	cm node 3 node status
	next_is "node finish"
	cm node 1 node prepare
	cm node 0 node finish -a
	judge_new
}

s_prepare_on_mom()
{
	tree mom "$puppetlabs" >"$work/tree.mom"
	for cmd in prepare finish restore; do
		cm mom 1 node $cmd
	done
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
	cm node 1 node prepare
	check "mom clean is not named" printed "cmregen mom clean $node"
	judge_old
	judge_no_backup
	refuse "the foreign request was signed" signed
	same "request on the CA" "$(on mom openssl req -noout -pubkey \
	    -in "$cadir/requests/$node.pem")" "$foreign"
	# The way out, as prepare told it.
	cm mom 0 mom clean "$node"
	cm node 0 node prepare
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

# finish waits for the signature, and exchanges as soon as it is there.
s_finish_waits()
{
	local line

	cm mom 0 mom clean "$node"
	cm node 0 node prepare
	line=$(next_line)
	(sleep 8; as_typed mom "$line") >"$work/sign.out" 2>&1 &
	cm node 0 node finish -w 120
	judge_new
}

# On 5, a request with alternative names is never signed automatically: there
# the compile master does without them.
s_autosigning()
{
	local accept=

	if [ "$version" = 5 ]; then
		on node sed -i /dns_alt_names/d $puppetlabs/puppet/puppet.conf
		alt_old=''
		accept=-a
	fi
	on mom touch /run/autosign
	cm mom 0 mom clean "$node"
	cm node 0 node prepare $accept
	# The request is there before the certificate: prepare may have seen no
	# more than that, and the line for the MoM then leads back here.
	case $(next_line) in
	"cmregen mom sign"*)
		check "not signed automatically" wait_for 60 signed
		follow 1
		;;
	esac
	cm node 0 node finish
	judge_new
}

s_finish_first()
{
	cm mom 0 mom clean "$node"
	cm node 1 node finish -w 5
	judge_old
	cm node 0 node prepare
	cm node 1 node finish -w 5
	next_is "mom sign"
	judge_staged
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
	on node puppet agent --enable
	signed_and_staged
	on node puppet agent --disable "maintenance of cmregen"
	cm node 1 node finish
	check "the reason is not shown" printed "maintenance of cmregen"
	judge_staged
	on node puppet agent --enable
	cm node 0 node finish
	judge_new
}

s_not_root()
{
	local as="setpriv --reuid nobody --regid nogroup --clear-groups env HOME=/tmp"

	for cmd in "node prepare" "node finish" "node restore" "node status"; do
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
	check "no small file system" small_fs /mnt/small 8
	cm mom 0 mom clean "$node"
	cm node 1 node prepare -b /mnt/small/bak
	same "left on the full file system" "$(on node ls -A /mnt/small)" fill
	judge_old
	on node umount /mnt/small

	# And the file system of the ssl directory itself: full for prepare, then
	# for finish, which may do without a block.
	on node sh -c "cp -a $puppetlabs/puppet $puppetlabs/puppet.was"
	check "no small file system" small_fs $puppetlabs/puppet 8
	on node chown pe-puppet: $puppetlabs/puppet
	cm node 1 node prepare
	judge_old
	judge_no_backup
	on node rm $puppetlabs/puppet/fill
	# The request may have been sent before the disk was full.
	! requested || cm mom 0 mom clean "$node"
	cm node 0 node prepare
	follow 0
	on node sh -c "cat /dev/zero >$puppetlabs/puppet/fill"
	T=400 on node cmregen node finish >"$work/out" 2>"$work/err"
	rc=$?
	cm_show $rc
	on node rm $puppetlabs/puppet/fill
	case $rc in
	0) ;;
	1)	judge_staged
		cm node 0 node finish ;;
	*)	fail "finish on a full disk: status $rc" ;;
	esac
	judge_new
	on node sh -c "umount $puppetlabs/puppet && rm -r $puppetlabs/puppet.was"
}

# Control-C and a terminal that goes away: in prepare as soon as its work
# directory is there, in finish when a service is stopped and when the
# certificate is exchanged.
s_interrupted()
{
	local old="test -e $ssl.cmregen/old"

	cm mom 0 mom clean "$node"
	for how in interrupt hangup; do
		on_tty $how "test -e $ssl.cmregen" node prepare
		judge_old
		judge_no_backup
		! requested || cm mom 0 mom clean "$node"
	done
	cm node 0 node prepare
	follow 0
	on_tty interrupt "! systemctl is-active pxp-agent" node finish
	judge_staged
	on_tty interrupt "$old" node finish
	judge_staged
	on_tty hangup "$old" node finish
	judge_staged
	cm node 0 node finish
	judge_new
}

# on_tty HOW CONDITION ARGUMENT...: cmregen on a terminal of its own, ended in
# the way that HOW says once CONDITION holds in the node. After Ctrl-C its
# status must be 1: everything is as it was.
on_tty()
{
	local how=$1 when=$2

	shift 2
	printf '\n[%s] node# cmregen %s (%s)\n' "$(date +%T)" "$*" "$how"
	on node rm -f /run/status /run/script.pid
	# shellcheck disable=SC2016 # expanded in the host
	{
		wait_for 200 on node sh -c "$when" || exit
		if [ "$how" = interrupt ]; then
			printf '\003'
		else
			on node sh -c 'kill -KILL $(cat /run/script.pid)'
		fi
		wait_for 200 refuses on node pgrep -x cmregen
	} | nsenter -t "$(cat "$work/node/leader")" -a env -i HOME=/root \
	    TERM=dumb PATH=/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin \
	    timeout -k 5 300 sh -c 'echo $$ >/run/script.pid; exec script -qc \
	    "trap : INT; cmregen $1; echo \$? >/run/status" \
	    /run/typescript' sh "$*"
	[ "${PIPESTATUS[0]}" -eq 0 ] ||
	    fail "$how: \"$when\" never came to be, or cmregen went on"
	on node cat /run/typescript
	refuse "cmregen still runs" on node pgrep -x cmregen
	[ $how = hangup ] ||
	    same "status after Ctrl-C" "$(on node cat /run/status)" 1
}

refuses()
{
	! "$@"
}

# From outside, as from rescue media: the host is down.
s_rescue()
{
	signed_and_staged
	killed_when "test -e $ssl.cmregen/old" node finish
	host_stop node
	rescue
	check "the host does not boot" host_start node
	judge_old
	judge_backup

	# Nothing is under way, and ssl is gone.
	host_stop node
	rm -rf "$work/node/root$ssl"
	rescue
	check "the host does not boot" host_start node
	judge_old
	judge_backup
}

rescue()
{
	printf '\nrescue# cmregen node restore -r ROOT\n'
	timeout 120 "$program" node restore -r "$work/node/root" \
	    >"$work/out" 2>"$work/err"
	rc=$?
	cm_show $rc
	same "status of restore -r" $rc 0
	tree - "$work/node/root$ssl" >"$work/tree.now"
	check "the ssl directory is not what it was" \
	    diff "$work/tree.old" "$work/tree.now"
	[ -z "$(find "$work/node/puppetlabs" "${ours[@]}")" ] ||
	    fail "something is left over"
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

# The CA out of reach: nothing can be cleaned from 6 on; prepare, whose request
# cannot be sent, goes back at once; finish leaves what is staged.
s_server_stopped()
{
	on mom systemctl stop pe-puppetserver
	if [ "$version" != 5 ]; then
		cm mom 1 mom clean "$node"
		check "the certificate is gone" signed
		refuse "the serial is in the CRL" in_crl "$serial_old"
		cm mom 1 mom sign "$node"
	fi
	cm node 1 node prepare
	judge_old
	judge_no_backup
	T=300 on mom systemctl start pe-puppetserver
	check "the MoM does not answer" wait_for 120 tls_answers mom
	signed_and_staged
	on mom systemctl stop pe-puppetserver
	cm node 1 node finish -w 5
	judge_staged
	T=300 on mom systemctl start pe-puppetserver
	check "the MoM does not answer" wait_for 120 tls_answers mom
	cm node 0 node finish
	judge_new
}

# ca_setting NAME true|false: in the MoM's ca.conf, and its server anew.
ca_setting()
{
	on mom sed -i "s/# *\($1:\)/\1/; s/\($1:\) [a-z]*/\1 $2/" \
	    $puppetlabs/puppetserver/conf.d/ca.conf
	T=300 on mom systemctl restart pe-puppetserver
	check "the MoM does not answer" wait_for 120 tls_answers mom
}

s_alt_names_forbidden()
{
	local line

	ca_setting allow-subject-alt-names false
	cm mom 0 mom clean "$node"
	cm node 0 node prepare
	line=$(next_line)
	follow 1
	check "the setting is not named" printed allow-subject-alt-names
	refuse "signed all the same" signed
	ca_setting allow-subject-alt-names true
	# The same line again, as the message says.
	printf '%s\n' "$line" >"$work/out"
	follow 0
	follow 0
	judge_new
}

# The names that agents know the compile master by are gone from puppet.conf.
s_names_lost()
{
	local name

	on node sed -i /dns_alt_names/d $puppetlabs/puppet/puppet.conf
	for dry in -n ""; do
		cm node 1 node prepare $dry
		for name in compile puppet.cmregen.test; do
			check "$name is not listed" printed " - DNS:$name\$"
		done
		check "the setting is not named" printed dns_alt_names
		judge_old
		judge_no_backup
	done
	cm mom 0 mom clean "$node"
	cm node 0 node prepare -a
	follow 0
	follow 0
	# From 7 on the CA puts the certname into a certificate without names.
	alt_old=''
	[ "$version" = 5 ] || alt_old="$node "
	judge_new
	# There is nothing to lose any more.
	on node rm -r "${ssl}_bak"
	cm mom 0 mom clean "$node"
	cm node 0 node prepare
}

# A name too many lets it pose as another host.
s_names_gained()
{
	on node sed -i '/dns_alt_names/s/$/,other.cmregen.test/' \
	    $puppetlabs/puppet/puppet.conf
	cm mom 0 mom clean "$node"
	cm node 1 node prepare
	check "the name is not listed" printed ' \+ DNS:other.cmregen.test$'
	refuse "names that stay are listed" printed ' [-+] DNS:compile'
	judge_old
	judge_no_backup
	! requested || cm mom 0 mom clean "$node"
	cm node 0 node prepare -a
	follow 0
	check "mom sign does not show the name" printed other.cmregen.test
	follow 0
	alt_old=$(printf '%s\n' $alt_old other.cmregen.test | sort |
	    tr '\n' ' ')
	judge_new
}

extension()
{
	pem node "$ssl/certs/$node.pem" text |
	    grep -q "1\.3\.6\.1\.4\.1\.34380\.$1:"
}

# A role is gained, which the CA must allow, then lost.
s_extensions()
{
	local attributes=$puppetlabs/puppet/csr_attributes.yaml line

	on node sh -c "printf '%s\n' 'extension_requests:' \
	    '  pp_role: web' '  pp_auth_role: pe_compiler' >$attributes"
	cm mom 0 mom clean "$node"
	cm node 1 node prepare
	check "pp_role is not listed" printed ' \+ .*pp_role.*web'
	check "pp_auth_role is not listed" printed \
	    ' \+ .*pp_auth_role.*pe_compiler'
	judge_old
	judge_no_backup
	check "there is no request to be cleaned" requested
	cm mom 0 mom clean "$node"
	cm node 0 node prepare -a
	line=$(next_line)
	follow 1
	# puppet cert keeps them to itself
	[ "$version" = 5 ] ||
	    check "mom sign does not show the role" printed pe_compiler
	check "what must be allowed is not named" printed \
	    allow-authorization-extensions
	refuse "signed all the same" signed
	if [ "$version" = 5 ]; then
		on mom puppet cert --allow-dns-alt-names \
		    --allow-authorization-extensions sign "$node"
	else
		ca_setting allow-authorization-extensions true
		printf '%s\n' "$line" >"$work/out"
		follow 0
	fi
	cm node 0 node finish
	judge_new
	for oid in 1.1.13 1.3.13; do
		check "the extension .$oid is not in the certificate" \
		    extension $oid
	done

	on node sh -c "rm $attributes && rm -r ${ssl}_bak"
	cm mom 0 mom clean "$node"
	cm node 1 node prepare
	check "pp_role is not listed" printed ' - .*pp_role.*web'
	check "pp_auth_role is not listed" printed \
	    ' - .*pp_auth_role.*pe_compiler'
	check "the file is not named" printed csr_attributes.yaml
	refuse "names that stay are listed" printed ' [-+] DNS:'
	judge_no_backup
	judge_clean
}

# A key that does not move with --ssldir: puppet would use the old one.
s_key_elsewhere()
{
	on node sed -i "/^\[main\]/a hostprivkey = $ssl/private_keys/$node.pem" \
	    $puppetlabs/puppet/puppet.conf
	cm mom 0 mom clean "$node"
	cm node 1 node prepare
	check "the setting is not named" printed hostprivkey
	refuse "a request was sent" requested
	judge_old
	judge_no_backup
}

# The CA that the node knows is not the MoM's. Below 6 puppet does not look at
# it before it has a certificate.
s_wrong_ca()
{
	local ca=$ssl/certs/ca.pem

	on node sh -c "cp -p $ssl/certs/ca.pem /run/cmregen-ca.pem &&
	    openssl req -x509 -newkey rsa:2048 -nodes -keyout /dev/null \
	    -subj '/CN=another CA' -days 10 -out /run/cmregen-other.pem &&
	    cat /run/cmregen-other.pem >$ssl/certs/ca.pem"
	cm mom 0 mom clean "$node"
	if [ "$version" != 5 ]; then
		cm node 1 node prepare
		refuse "a request was sent" requested
		judge_no_backup
	else
		ca=$ssl.cmregen/next/certs/ca.pem
		cm node 0 node prepare
		follow 0
		cm node 1 node finish -w 20
	fi
	check "the file to mend is not named" printed "$ca"
	judge_services "$serial_old"
	on node sh -c "for f in $ca $ssl/certs/ca.pem; do
		cat /run/cmregen-ca.pem >\$f &&
		    touch -r /run/cmregen-ca.pem \$f || exit 1
	    done"
	if [ "$version" != 5 ]; then
		judge_clean
		cm node 0 node prepare
		follow 0
	fi
	cm node 0 node finish
	judge_new
}

# The owner of ssl puts links where puppet, as root, is about to write: easy
# in a directory that he can reach, impossible in the work directory, which
# below 6 stands open while puppet works.
s_planted_links()
{
	local bare=$puppetlabs/puppet/bare i

	# Otherwise he owns the directory above, and can hide all of it.
	on node sh -c "chown root: $puppetlabs/puppet && mkdir /run/planted"
	planting "$bare"
	on node sh -c "mkdir $bare && chown pe-puppet: $bare &&
	    if puppet ssl --help >/dev/null 2>&1; then
		puppet ssl submit_request --waitforcert 0 --ssldir $bare
	    else
		puppet agent --test --noop --ssldir $bare --statedir /run/planted-state
	    fi"
	planted
	[ -n "$links" ] || fail "the attack does not work at all"
	on node rm -rf $bare
	cm mom 0 mom clean "$node"
	for i in 1 2 3; do
		planting "$ssl.cmregen/make.0" "$ssl.cmregen/make.1" \
		    "$ssl.cmregen/next"
		T=100 on node cmregen node prepare >"$work/out" 2>"$work/err"
		rc=$?
		cm_show $rc
		planted
		if [ "$version" != 5 ]; then
			same "status of prepare" $rc 0
			[ -z "$links" ] || fail "links were planted: $links"
			same "what was written outside" "$outside" ""
		fi
		case $rc in
		0)	same "links in what is staged" "$(on node find \
			    "$ssl.cmregen/next" ! -type f ! -type d)" ""
			judge_staged
			cm node 0 node restore ;;
		1)	judge_old ;;
		*)	fail "prepare: status $rc" ;;
		esac
		! requested || cm mom 0 mom clean "$node"
	done
	cm node 0 node prepare
	follow 0
	follow 0
	judge_new
}

# planting DIRECTORY...: the attacker, until planted, which says what he came
# to: $links, and what went through them: $outside.
planting()
{
	# shellcheck disable=SC2016 # expanded in the host
	T=200 on node setpriv --reuid pe-puppet --regid pe-puppet \
	    --clear-groups sh -c '
		while test ! -e /run/cmregen-stop; do
			for d; do
				for n in private_keys certificate_requests certs; do
					test -d $d/$n && test ! -L $d/$n &&
					mv $d/$n $d/$n.was &&
					ln -s /run/planted $d/$n && echo $d/$n
				done
			done
		done' sh "$@" >"$work/planted" 2>/dev/null &
	planter=$!
}

planted()
{
	on node touch /run/cmregen-stop
	wait $planter
	links=$(cat "$work/planted")
	outside=$(on node ls -A /run/planted)
	on node sh -c 'rm -rf /run/cmregen-stop /run/planted/*'
	printf 'planted: %s\nwritten outside: %s\n' "${links:-none}" \
	    "${outside:-none}"
}

scenarios="regeneration restore_staged restore_midway restore_finished
    boot_midway not_cleaned killed names_lost names_gained extensions
    key_elsewhere wrong_ca prepare_on_mom clean_on_node fingerprint
    foreign_request sign_waits finish_waits autosigning finish_first disabled
    not_root long_run failed_resource broken_catalog disk_full interrupted
    rescue four_cleans server_stopped alt_names_forbidden planted_links"
