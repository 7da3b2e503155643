# templates.sh: what faults and walks need before they begin; sourced by them.
# They set NAME.  Leaves work, a tmpfs that goes away at the end, with the
# program, the stand-in and the sandboxes called template.STATEVERSION.
# CMREGEN names a program to try instead of the one that is built here; what
# the sandboxes are made with is always that.
# shellcheck shell=sh disable=SC2154 # here and NAME are theirs

[ "$(id -u)" -eq 0 ] || {
	echo "$NAME: not root" >&2
	exit 1
}

# Not below /tmp or /run: each run gets those of its own.
work=$(mktemp -d "/var/tmp/cmregen-$NAME.XXXXXX")
cleanup()
{
	cd /
	umount "$work" && rmdir "$work"
}
trap cleanup EXIT
trap 'exit 1' HUP INT TERM
mount -t tmpfs -o size=512m,mode=755 "$NAME" "$work"

top=$(cd "$here/../.." && pwd)
faults=$top/tests/faults
cp -R "$top/tests/common/puppet" "$top/tests/common/keys" "$work/"

# What each of them is built of besides its own files.
harness()	# PROGRAM SOURCE...
{
	program=$1
	shift
	(
		cd "$here" || exit
		${TESTCC:-gcc} -std=c99 -O2 -Wall -Wextra -I"$faults" \
		    -o "$work/$program" "$@" "$faults/place.c" \
		    "$faults/where.c" "$faults/view.c" "$faults/tracer.c" \
		    "$faults/digest.c"
	)
}

# The program as it is, but for the length of its longest sleeps.
program()
{
	sed 's/TICK = 100,/TICK = 10,/;s/RETRY = 2000,/RETRY = 200,/;
	    s/MOMENT = 3,/MOMENT = 0,/' \
	    "$top/node.c" >"$work/node.c"
	if [ "$(diff "$work/node.c" "$top/node.c" | grep -c '^>')" != 3 ]
	then
		echo "$NAME: node.c sleeps otherwise: mend this script" >&2
		exit 1
	fi
	${STATICCC:-musl-gcc} -static -Os -std=c99 -D_POSIX_C_SOURCE=200809L \
	    -D_XOPEN_SOURCE=700 -I"$top" -o "$work/maker" \
	    "$top/cmregen.c" "$top/mom.c" "$work/node.c"
	cp "${CMREGEN:-$work/maker}" "$work/cmregen"
}

base()		# TEMPLATE VERSION
{
	t=$work/template.$1
	"$top/tests/common/sandbox" "$t" "$2"
	for h in mom node; do
		for p in puppet puppetserver; do
			ln -sf "$work/puppet" "$t/$h/bin/$p"
		done
	done
	[ "$2" -gt 5 ] || echo stopped false >"$t/node/services/mcollective"
	rm -rf "$t/keys"
	ln -s "$work/keys" "$t/keys"
	mkdir "$t/usb"
}

# FROM TO: a copy, of which only the journal knows where it is.
same()
{
	cp -a "$work/template.$1" "$work/template.$2"
	j=$work/template.$2/node/puppet/ssl.cmregen/journal
	[ ! -e "$j" ] || sed -i "s|template\.$1/|template.$2/|" "$j"
}

act()		# STATUS TEMPLATE HOST VERB [ARG...]
{
	want=$1
	t=$work/template.$2
	h=$3
	v=$4
	shift 4
	s=0
	"$work/maker" "$h" "$v" -p "$t/$h/bin/puppet" "$@" \
	    >"$work/out" 2>&1 || s=$?
	[ "$s" -eq "$want" ] || {
		echo "$NAME: $h $v: status $s" >&2
		cat "$work/out" >&2
		exit 1
	}
}

# The states of a regeneration, each made from the one before it.
templates()	# VERSION [FURNISH]
{
	base "idle$1" "$1"
	[ -z "${2:-}" ] || "$2" "$work/template.idle$1/node/puppet/ssl"
	same "idle$1" "cleaned$1"
	act 0 "cleaned$1" mom clean cm1.example.com
	same "cleaned$1" "staged$1"
	act 0 "staged$1" node prepare
	same "staged$1" "signed$1"
	act 0 "signed$1" mom sign cm1.example.com
	same "signed$1" "unproven$1"
	echo 1 >"$work/template.unproven$1/node/knobs/run-status"
	act 3 "unproven$1" node finish
	rm "$work/template.unproven$1/node/knobs/run-status"
	same "unproven$1" "finished$1"
	act 0 "finished$1" node finish
}
