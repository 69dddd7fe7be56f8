#!/bin/sh
# A full join, ping, leave under valgrind shows no leak; and the same built with ASan and UBSan is
# clean.
set -u
. "$(dirname "$0")/lib.sh"
if [ -z "${LAB_TOOL:-}" ]; then
	make -s -C "$LAB_TOP" -j2 all MODE=asan >/dev/null 2>&1
	failed=0
	LAB_TOOL=valgrind sh "$0" || failed=1
	LAB_TOOL=asan LAB_MODE=asan sh "$0" || failed=1
	exit $failed
fi
lab_enter "$@"
LAB_NAME="memory, $LAB_TOOL"
street
host coord
on_street coord eth0 203.0.113.1/24 203.0.113.2/24
for n in 0 1; do
	name=$(echo 'alice bob' | cut -d' ' -f$((n + 1)))
	host "$name"
	on_street "$name" eth0 203.0.113.3$n/24
done
reports=/var/tmp/reports # hosts have a /run of their own, and here an agent may write
mkdir -m 1777 $reports
# Each program is moved aside and a line that starts it under the tool put in its place.
under() { # PROGRAM
	mv "$1" "$1.real"
	if [ "$LAB_TOOL" = valgrind ]; then
		printf '#!/bin/sh\nexec valgrind -q --leak-check=full --show-leak-kinds=definite,indirect --errors-for-leak-kinds=definite,indirect --trace-children=no --child-silent-after-fork=no --log-file=%s/%s.%%p -- %s.real "$@"\n' \
			$reports "${1##*/}" "$1" >"$1"
	else
		printf '#!/bin/sh\nASAN_OPTIONS=log_path=%s/%s:detect_leaks=1 UBSAN_OPTIONS=log_path=%s/%s:print_stacktrace=1 exec %s.real "$@"\n' \
			$reports "${1##*/}" $reports "${1##*/}" "$1" >"$1"
	fi
	chmod 755 "$1"
}
for program in /usr/bin/wg-mesh /usr/sbin/wg-meshd /usr/sbin/wg-mesh-coordinator /usr/bin/wg-mesh-coordinator /usr/sbin/wg-mesh-relay /usr/bin/wg-mesh-relay; do
	[ -x $program ] && under $program
done
LAB_PATIENCE=60
on_bg coord /run/coordinator.log wg-mesh-coordinator serve --public-url https://203.0.113.1:8443
wait_for 60 join_link >/dev/null
LAB_LINK=$(join_link)
for name in alice bob; do
	check "$name joins" on $name wg-mesh join "$LAB_LINK" --no-up
	# By hand, as wg-quick's hook has no time for a slow start.
	on $name wg-quick up wg0 >/dev/null 2>&1
done
check "they meet" wait_for $LAB_PATIENCE is_direct alice bob
check "ping" wait_for $LAB_PATIENCE on alice wg-mesh ping wg0 bob -c 1
check "leave" on alice wg-mesh leave wg0
on bob wg-mesh leave wg0 >/dev/null 2>&1
pkill -TERM -f 'wg-mesh-coordinator.*serve'
# valgrind knows no pidfds, by which the coordinator watches and ends the relay beside it.
[ "$LAB_TOOL" != valgrind ] || pkill -TERM -f wg-mesh-relay
ended() { ! pgrep -f 'wg-mesh.*\.real' >/dev/null; }
wait_for $LAB_PATIENCE ended
check "every program has ended" ended
[ "$LAB_TOOL" != valgrind ] || check "the tool was at work" sh -c "ls $reports | grep -q wg-meshd"
# Lines of findings begin with ==PID==; a call that this valgrind does not know yet is none.
find $reports -type f -exec cat {} + | grep -v -e "^--" -e "^You may be able" >$LAB_DIR/reports.out
check "the tool has nothing to say" test ! -s $LAB_DIR/reports.out
head -n 60 $LAB_DIR/reports.out | sed 's/^/    /'
lab_end
