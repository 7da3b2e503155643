# shellcheck shell=bash disable=SC2034,SC2154,SC2086
# (what is set or read in another file; lists of units, split on purpose)
# What the one who waits asks: how long do the node's steps take by hand, one
# after the other as they are documented, and how long with the tool?
# Interleaved, so that both meet the same machine. Sourced by run.
#
#	hand-off  from the first command to the moment at which one can go to
#		the MoM: by hand, the last command has ended and the request
#		has arrived; with the tool, the line to type there is printed
#	end	to the end of the last command, or of `node prepare`
#	stopped	from the moment at which pe-puppetserver is down to the one at
#		which its start begins. It has no certificate yet: the start
#		fails, by hand and with the tool, so this is what of the
#		outage these steps are to blame for

# The steps 4 to 8 as documented, typed without a pause.
manual_steps()
{
	local u

	echo "cp -r $ssl/ ${ssl}_bak/"
	for u in puppet pe-puppetserver mcollective pxp-agent; do
		echo "puppet resource service $u ensure=stopped"
	done
	echo "rm -rf $ssl"
	echo "rm -f /opt/puppetlabs/puppet/cache/client_data/catalog/$node.json"
	for u in puppet pe-puppetserver mcollective pxp-agent; do
		echo "puppet resource service $u ensure=running"
	done
}

# time_one manual|tool: "end handoff stopped", in milliseconds.
time_one()
{
	local began ended handoff down up

	reset real >/dev/null 2>&1 || return 1
	T=300 on mom cmregen mom clean "$node" >/dev/null 2>&1 || return 1
	began=$(date +%s%N)
	if [ "$1" = manual ]; then
		manual_steps | T=400 on_input node sh >"$work/compare.out" 2>&1
		ended=$(date +%s%N)
		wait_for 120 requested || return 1
		handoff=$(date +%s%N)
	else
		T=400 on node cmregen node prepare 2>"$work/compare.err" |
		    while IFS= read -r line; do
			case $line in *"cmregen mom sign"*)
				date +%s%N ;;
			esac
		done >"$work/compare.out"
		handoff=$(tail -n 1 "$work/compare.out")
		ended=$(date +%s%N)
		[ -n "$handoff" ] || return 1
	fi
	# The log of systemd has both moments, whatever came of the start.
	down=$(on node journalctl -o short-monotonic --no-pager -b |
	    sed -n 's/^\[ *\([0-9]*\)\.\([0-9]*\)\] .*systemd\[1\]: Stopped.*Puppet \([Ss]erver\|master\).*/\1\2/p' |
	    tail -n 1)
	up=$(on node journalctl -o short-monotonic --no-pager -b |
	    sed -n 's/^\[ *\([0-9]*\)\.\([0-9]*\)\] .*systemd\[1\]: Start\(ing\|ed\) .*Puppet \([Ss]erver\|master\).*/\1\2/p' |
	    awk -v d="$down" '$1 > d { print; exit }')
	requested || wait_for 60 requested || return 1
	[ -n "$down" ] && [ -n "$up" ] || return 1
	echo $(((ended - began) / 1000000)) \
	    $(((handoff - began) / 1000000)) $(((up - down) / 1000))
}

on_input()
{
	local h=$1

	shift
	nsenter -t "$(cat "$work/$h/leader")" -a env -i HOME=/root LC_ALL=C \
	    TERM=dumb PATH=/usr/sbin:/usr/bin:/sbin:/bin:/opt/puppetlabs/bin \
	    timeout -k 5 "$T" "$@" 9>&-
}

median()
{
	sort -n | awk '{ v[NR] = $1 } END {
		print NR % 2 ? v[(NR + 1) / 2] : (v[NR / 2] + v[NR / 2 + 1]) / 2
	}'
}

column()
{
	cut -d ' ' -f "$2" "$work/compare.$1" | median
}

compare()
{
	local i how rounds=${CMREGEN_REAL_ROUNDS:-1}

	began=$SECONDS
	rm -f "$work"/compare.*
	for i in $(seq "$rounds"); do
		for how in manual tool; do
			say "$version: compare, round $i, $how"
			time_one $how >>"$work/compare.$how" || {
				cp "$work"/compare.* "$logs/"
				result FAIL compare \
				    "round $i, $how ($logs/compare.*)"
				return
			}
		done
	done
	if awk -v v="$version" -v n="$rounds" \
	    -v mt="$(column manual 1)" -v mh="$(column manual 2)" \
	    -v ms="$(column manual 3)" \
	    -v tt="$(column tool 1)" -v th="$(column tool 2)" \
	    -v ts="$(column tool 3)" '
	function row(what, m, t) {
		printf "# %-36s %8.1f %8.1f %8.2f\n", what, m / 1000, t / 1000,
		    t / m
	}
	BEGIN {
		printf "# Puppet %s, medians of %d, seconds %9s %8s %8s\n",
		    v, n, "by hand", "cmregen", "ratio"
		row("node steps, to the hand-off", mh, th)
		row("node steps, to the end", mt, tt)
		row("pe-puppetserver stopped", ms, ts)
		exit !(th <= 0.6 * mh && ts <= ms)
	}'; then
		result ok compare
	else
		result FAIL compare "slower than 0.6 of the manual steps, or a longer outage"
	fi
}
