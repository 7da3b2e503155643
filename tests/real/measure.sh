# shellcheck shell=bash disable=SC2034,SC2154,SC2086
# (what is set or read in another file; lists of units, split on purpose)
# What the one who waits asks, of the tool and of the steps as they are
# documented, typed without a pause. Interleaved, so that both meet the same
# machine. Sourced by run.
#
#	request	the node's steps, from the first command to the moment at which
#		one can go to the MoM: by hand, the last command has ended and
#		the request has arrived; with the tool, the line to type there
#		is printed
#	finish	from the end of the signing to the moment at which Puppet has
#		run and the new certificate is served
#	silent	the longest time without an answer, polled every 0.3 s through
#		the whole; that of a bare reload of the server (5: a restart)
#		is the least that any way can come to
#
# Nobody waits between two commands. By hand the time in which a person is
# asked to sign would be added to "silent", with the tool it would not.

# The steps 4 to 8 as documented.
manual_steps()
{
	local u

	echo "cp -r $ssl/ ${ssl}_bak/"
	for u in puppet pe-puppetserver mcollective pxp-agent; do
		echo "puppet resource service $u ensure=stopped"
	done
	echo "rm -rf $ssl"
	echo "rm -f $catalog"
	for u in puppet pe-puppetserver mcollective pxp-agent; do
		echo "puppet resource service $u ensure=running"
	done
}

# Steps 11 and 12; again while the daemon's own run is in the way.
manual_end()
{
	cat <<-'END'
	until puppet agent --test; s=$?; [ $s = 0 ] || [ $s = 2 ]; do
		sleep 1
	done
	puppet resource service pe-puppetserver ensure=running
	END
}

on_input()
{
	local h=$1

	shift
	nsenter -t "$(cat "$work/$h/leader")" -a env -i HOME=/root LC_ALL=C \
	    TERM=dumb PATH=/usr/sbin:/usr/bin:/sbin:/bin:/opt/puppetlabs/bin \
	    timeout -k 5 "$T" "$@" 9>&-
}

served_new()
{
	local now

	now=$(served)
	[ -n "$now" ] && [ "$now" != "$serial_old" ]
}

moment()
{
	date +%s%N >"$work/moment.$1"
}

# through hand|tool|reload: one round, leaving its moments.
through_hand()
{
	moment begin
	manual_steps | T=400 on_input node sh
	wait_for 120 requested || return 1
	moment request
	if [ "$version" = 5 ]; then
		T=100 on mom puppet cert --allow-dns-alt-names sign "$node"
	else
		T=100 on mom puppetserver ca sign --certname "$node"
	fi || return 1
	moment signed
	manual_end | T=500 on_input node sh && wait_for 120 served_new
}

through_tool()
{
	moment begin
	T=400 on node cmregen node prepare 2>&1 |
	    while IFS= read -r line; do
		printf '%s\n' "$line"
		case $line in *"cmregen mom sign"*) moment request ;; esac
	done
	[ "${PIPESTATUS[0]}" = 0 ] &&
	T=100 on mom cmregen mom sign "$node" || return 1
	moment signed
	T=400 on node cmregen node finish && served_new
}

through_reload()
{
	if [ "$version" = 5 ]; then
		T=300 on node systemctl restart pe-puppetserver &&
		wait_for 60 tls_answers node
	else
		T=300 on node puppetserver reload
	fi
}

# milliseconds FROM TO
milliseconds()
{
	echo $((($(cat "$work/moment.$2") - $(cat "$work/moment.$1")) / 1000000))
}

# measure_one hand|tool|reload LOG: "request finish silent", in milliseconds.
measure_one()
{
	local poller rc=0

	rm -f "$work"/moment.*
	reset real || return 1
	[ "$1" = reload ] || T=300 on mom cmregen mom clean "$node" || return 1
	ip netns exec "cmregen$version-mom" "$here/poll" "$node_ip:8140" 900 \
	    >"$2.poll" 9>&- &
	poller=$!
	sleep 2
	through_$1 || rc=1
	moment end
	sleep 2
	kill $poller
	wait $poller 2>/dev/null
	[ $rc = 0 ] || return 1
	if [ "$1" = reload ]; then
		printf '0 0 ' >&3
	else
		printf '%s %s ' "$(milliseconds begin request)" \
		    "$(milliseconds signed end)" >&3
	fi
	"$here/poll" -s "$2.poll" >&3
}

median()
{
	cut -d ' ' -f "$2" "$work/measure.$1" | sort -n |
	    awk '{ v[NR] = $1 } END {
		print NR % 2 ? v[(NR + 1) / 2] : (v[NR / 2] + v[NR / 2 + 1]) / 2
	}'
}

# The end is shown and not judged: by hand the services were started before the
# signature, while nobody was answered.
measure()
{
	local i how rounds=${CMREGEN_REAL_ROUNDS:-3} log

	began=$SECONDS
	rm -f "$work"/measure.*
	for i in $(seq "$rounds"); do
		for how in hand tool reload; do
			say "$version: measure, round $i, $how"
			log=$logs/$version-measure.$how.$i
			# shellcheck disable=SC2094
			measure_one $how "$log" 3>>"$work/measure.$how" \
			    >"$log" 2>&1 || {
				result FAIL measure "round $i, $how ($log)"
				return
			}
			printf '# %s, round %s, %s: %s\n' "$version" "$i" $how \
			    "$(tail -n 1 "$work/measure.$how")"
		done
	done
	if awk -v v="$version" -v n="$rounds" \
	    -v hr="$(median hand 1)" -v hf="$(median hand 2)" \
	    -v hs="$(median hand 3)" -v tr="$(median tool 1)" \
	    -v tf="$(median tool 2)" -v ts="$(median tool 3)" \
	    -v rs="$(median reload 3)" '
	function row(what, h, t, r) {
		printf "# %-30s %8.1f %8.1f %8.2f%s\n", what, h / 1000,
		    t / 1000, t / h, r ? sprintf(" %8.1f", r / 1000) : ""
	}
	BEGIN {
		printf "# Puppet %s, medians of %d, s %8s %8s %8s %8s\n",
		    v, n, "by hand", "cmregen", "ratio", "reload"
		row("to the request in hand", hr, tr)
		row("from the signature to the end", hf, tf)
		row("longest time without an answer", hs, ts, rs)
		exit !(tr <= 0.3 * hr && ts <= rs + 500)
	}'; then
		result ok measure
	else
		result FAIL measure "request > 0.3 of that by hand, or silent > 0.5 s more than a reload"
	fi
}
