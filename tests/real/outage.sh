# shellcheck shell=bash disable=SC2034,SC2154,SC2086
# (what is set or read in another file; lists of units, split on purpose)
# For how long does the compile master not answer? A client polls its server
# every 0.3 s through a whole regeneration: by hand, with the tool by the book,
# and with prepare -l. Nobody waits between two commands, so that the time in
# which a person is asked to sign is not in it; by hand and by the book that
# time would be added. Sourced by run.

sign_by_hand()
{
	case $version in
	5)	echo "puppet cert --allow-dns-alt-names sign $node" ;;
	*)	echo "puppetserver ca sign --certname $node" ;;
	esac
}

through_hand()
{
	T=300 on mom cmregen mom clean "$node" &&
	manual_steps | T=400 on_input node sh || return 1
	wait_for 120 requested || return 1
	sign_by_hand | T=100 on_input mom sh || return 1
	printf 'puppet agent --test\npuppet resource service pe-puppetserver ensure=running\n' |
	    T=400 on_input node sh
}

through_book()
{
	T=300 on mom cmregen mom clean "$node" &&
	T=400 on node cmregen node prepare &&
	T=100 on mom cmregen mom sign "$node" &&
	T=400 on node cmregen node finish
}

through_late()
{
	T=300 on mom cmregen mom clean "$node" &&
	T=400 on node cmregen node prepare -l &&
	T=100 on mom cmregen mom sign "$node" &&
	T=400 on node cmregen node finish
}

served_new()
{
	local now

	now=$(served)
	[ -n "$now" ] && [ "$now" != "$serial_old" ]
}

outage()
{
	local how poller

	began=$SECONDS
	for how in hand book late; do
		say "$version: outage, $how"
		reset real >/dev/null 2>&1 || {
			result FAIL outage "$how: the hosts could not be put back"
			return
		}
		ip netns exec "cmregen$version-mom" "$here/poll" \
		    "$node_ip:8140" 900 >"$logs/$version-outage.$how" &
		poller=$!
		sleep 3
		if ! "through_$how" >"$logs/$version-outage.$how.log" 2>&1 ||
		    ! wait_for 120 served_new; then
			kill $poller
			result FAIL outage \
			    "$how ($logs/$version-outage.$how.log)"
			return
		fi
		sleep 3
		kill $poller
		wait $poller 2>/dev/null
		echo "# Puppet $version, $how:"
		"$here/poll" -s "$logs/$version-outage.$how" | sed 's/^/#   /'
	done
	result ok outage
}
