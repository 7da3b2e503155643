# shellcheck shell=bash disable=SC2034,SC2154,SC2086
# (what is set or read in another file; lists of units, split on purpose)
# Hosts: one root a suite, one overlay a host, one veth between the two hosts
# of a pair. Sourced by run; knows nothing of Puppet beyond the package names.
#
# A host is a systemd-nspawn container with a real systemd in it, because what
# is tested is how services stop, start and fail to start. Its only network is
# a veth to the other host of its pair: nothing in it can reach an address
# that is not ours.
#
#	$cache/SUITE/root		debootstrap and packages, never booted
#	$cache/SUITE/{mom,node}		what the first signing added (see pair.sh)
#	$work/{mom,node}		this run's overlay, removed at the end

mom_ip=192.0.2.1
node_ip=192.0.2.2
mom=mom.cmregen.test
node=compile.cmregen.test
puppetlabs=/etc/puppetlabs	# a plain directory in each host, see host_mount

say()
{
	printf '%s %s\n' "$(date +%T)" "$*" >>"$work/log"
	[ -z "${verbose-}" ] || printf '# %s\n' "$*" >&2
}

die()
{
	printf 'tests/real: %s\n' "$*" >&2
	exit 1
}

# wait_for SECONDS COMMAND...: true as soon as the command is.
wait_for()
{
	local end

	end=$((SECONDS + $1))
	shift
	until "$@" >/dev/null 2>&1; do
		[ "$SECONDS" -lt "$end" ] || return 1
		sleep 0.2
	done
}

# The machine's own apt sources say where Debian is, in either format. Only
# the first archive that is not a security one: it carries whole suites.
mirror()
{
	{
		sed -n 's/^URIs:[[:space:]]*\([^[:space:]]*\).*/\1/p' \
		    /etc/apt/sources.list.d/*.sources 2>/dev/null
		sed -n 's/^deb \(\[[^]]*\] \)\{0,1\}\([^ ]*\) .*/\2/p' \
		    /etc/apt/sources.list /etc/apt/sources.list.d/*.list \
		    2>/dev/null
	} | grep -v security | head -n 1
}

# Is the suite there at all? Asked by debootstrap's own downloader, so that
# whatever a proxy does to one it does to the other.
suite_available()
{
	local uri

	uri=$(mirror)
	[ -n "$uri" ] || return 1
	[ -e "/usr/share/debootstrap/scripts/$1" ] || return 1
	timeout 60 wget -q -O /dev/null "$uri/dists/$1/InRelease"
}

# root_build SUITE PACKAGE...: the root that the hosts of a suite share. It is
# made under another name first, so that a root by its final name is whole.
root_build()
{
	local suite=$1 dir=$cache/$1 tmp=$cache/$1/root.part base

	shift
	[ ! -e "$dir/root.packages" ] ||
	    [ "$*" != "$(cat "$dir/root.packages")" ] || return 0
	say "$suite: building the root"
	rm -rf --one-file-system "$dir"
	mkdir -p "$dir"
	base=systemd,systemd-sysv,dbus,iproute2,procps,openssl,ca-certificates
	timeout 900 debootstrap --variant=minbase --include=$base,curl \
	    "$suite" "$tmp" "$(mirror)" >>"$work/log" 2>&1 || return 1
	# Packages must not start anything in a chroot.
	printf '#!/bin/sh\nexit 101\n' >"$tmp/usr/sbin/policy-rc.d"
	chmod 755 "$tmp/usr/sbin/policy-rc.d"
	cp /etc/resolv.conf "$tmp/etc/resolv.conf"
	# shellcheck disable=SC2016 # expanded there
	timeout 1500 unshare --mount --pid --fork --kill-child sh -c '
		root=$1; shift
		mount -t proc proc "$root/proc" || exit
		chroot "$root" apt-get -qq update || exit
		DEBIAN_FRONTEND=noninteractive chroot "$root" apt-get -qq -y \
		    --no-install-recommends install "$@"
	' sh "$tmp" "$@" >>"$work/log" 2>&1 || return 1
	rm -f "$tmp/usr/sbin/policy-rc.d" "$tmp/etc/resolv.conf" \
	    "$tmp/etc/machine-id"
	rm -rf "$tmp/var/lib/apt/lists" "$tmp/var/cache/apt"
	: >"$tmp/etc/machine-id"
	: >"$tmp/etc/resolv.conf"
	mv "$tmp" "$dir/root" && echo "$*" >"$dir/root.packages"
}

# Two network namespaces and a cable.
net_up()
{
	local h

	for h in mom node; do
		ip netns add "$net-$h" &&
		ip -n "$net-$h" link set lo up || return 1
	done
	ip link add eth0 netns "$net-mom" type veth \
	    peer name eth0 netns "$net-node" &&
	ip -n "$net-mom" addr add $mom_ip/24 dev eth0 &&
	ip -n "$net-node" addr add $node_ip/24 dev eth0 &&
	ip -n "$net-mom" link set eth0 up &&
	ip -n "$net-node" link set eth0 up
}

net_down()
{
	local h

	for h in mom node; do
		[ ! -e "/run/netns/$net-$h" ] || ip netns del "$net-$h"
	done
}

# host_mount HOST LAYER...: the overlay of a host, topmost layer first. What
# the tool renames, /etc/puppetlabs, is a directory of the file system below:
# overlayfs refuses to rename a directory of a lower layer (EXDEV), as no file
# system of a real compile master does.
host_mount()
{
	local h=$1 d=$work/$1 lower

	shift
	mkdir -p "$d/upper" "$d/ovl" "$d/root" "$d/puppetlabs"
	lower=$(IFS=:; printf '%s' "$*")
	mount -t overlay "cmregen-$h" -o \
	    "lowerdir=$lower,upperdir=$d/upper,workdir=$d/ovl" "$d/root" &&
	mkdir -p "$d/root$puppetlabs" &&
	mount --bind "$d/puppetlabs" "$d/root$puppetlabs"
}

host_umount()
{
	local d=$work/$1/root

	# What a scenario mounted below goes with it.
	! mountpoint -q "$d" || umount -R "$d" 2>/dev/null ||
	    umount -R -l "$d"
}

# Each container needs a control group of its own: two that share one would
# take each other's processes for theirs. On a machine that runs systemd,
# systemd gives it one; elsewhere we make it in the two hierarchies that
# systemd uses.
cgroup_dirs()
{
	local c

	for c in /sys/fs/cgroup/systemd /sys/fs/cgroup/unified \
	    /sys/fs/cgroup; do
		[ ! -w "$c/cgroup.procs" ] || echo "$c/$net-$1"
	done
}

# host_start HOST: boot, and wait until its systemd answers.
host_start()
{
	local h=$1 d=$work/$1 keep=--keep-unit

	[ ! -d /run/systemd/system ] || keep=
	(
		if [ -n "$keep" ]; then
			for c in $(cgroup_dirs "$h"); do
				mkdir -p "$c" && echo "$BASHPID" \
				    >"$c/cgroup.procs"
			done
		fi
		# All the same for every suite: systemd of trixie does not
		# boot on the old hierarchies.
		export SYSTEMD_NSPAWN_UNIFIED_HIERARCHY=1
		exec setsid systemd-nspawn -q --register=no $keep \
		    -D "$d/root" -M "$net-$h" --hostname="$h" \
		    --network-namespace-path="/run/netns/$net-$h" \
		    --resolv-conf=off --timezone=off --link-journal=no \
		    --kill-signal=SIGKILL --boot --console=pipe \
		    </dev/null >>"$d/console" 2>&1 9>&-
	) &
	echo $! >"$d/pid"
	disown
	wait_for 20 host_leader "$h" && host_leader "$h" >"$d/leader" ||
	    return 1
	wait_for 60 on "$h" systemctl is-active basic.target
}

# The pid of the systemd inside, seen from here: the child that is number 1 in
# there. A child before it only sets the stage.
host_leader()
{
	local pid c

	pid=$(cat "$work/$1/pid")
	# shellcheck disable=SC2013 # one line of words
	for c in $(cat "/proc/$pid/task/$pid/children"); do
		grep -qs '^NSpid:.*[[:space:]]1$' "/proc/$c/status" || continue
		printf '%s\n' "$c"
		return 0
	done
	return 1
}

# host_stop HOST: an orderly stop where it is in time, a killed one otherwise;
# the pid is ours or nobody's: a pid file that is stale names no container of
# ours.
host_stop()
{
	local d=$work/$1 pid c

	[ -s "$d/pid" ] || return 0
	pid=$(cat "$d/pid")
	if tr '\0' ' ' <"/proc/$pid/cmdline" 2>/dev/null |
	    grep -q "nspawn .*$d/root"; then
		T=5 on "$1" systemctl poweroff >/dev/null 2>&1
		wait_for "${2:-0}" host_gone "$pid" ||
		    kill -KILL "$(cat "$d/leader")" 2>/dev/null
		wait_for 10 host_gone "$pid" ||
		    kill -KILL "$pid" 2>/dev/null
		wait_for 10 host_gone "$pid"
	fi
	rm -f "$d/pid" "$d/leader"
	for c in $(cgroup_dirs "$1"); do
		[ ! -d "$c" ] || find "$c" -depth -type d -exec rmdir {} + \
		    2>/dev/null
	done
	return 0
}

host_gone()
{
	[ ! -e "/proc/$1" ]
}

# on HOST COMMAND...: run it there, as root with a plain environment, for at
# most $T seconds.
on()
{
	local h=$1

	shift
	nsenter -t "$(cat "$work/$h/leader")" -a env -i HOME=/root LC_ALL=C \
	    TERM=dumb PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/opt/puppetlabs/bin \
	    timeout -k 5 "${T:-120}" "$@" </dev/null 9>&-
}

# as_typed HOST LINE: a line as an administrator types it.
as_typed()
{
	on "$1" sh -c "cd /root && $2"
}

pair_down()
{
	local h

	for h in node mom; do
		host_stop "$h"
		host_umount "$h"
	done
	net_down
}

# What a run that was killed has left: its containers, mounts and namespaces.
# The lock on $cache is held, so it cannot be a run in progress.
leftovers_remove()
{
	local work net

	for work in "$cache"/run.*; do
		[ -d "$work" ] || continue
		for net in cmregen5 cmregen7 cmregen8; do
			pair_down
		done
		rm -rf --one-file-system "$work"
	done
}
