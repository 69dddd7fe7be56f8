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
public_hosts alice bob
reports=$LAB_REPORTS
# Each program is moved aside and a line that starts it under the tool put in its place.
under() { # PROGRAM
	mv "$1" "$1.real"
	if [ "$LAB_TOOL" = valgrind ]; then
		printf '#!/bin/sh\nexec valgrind --leak-check=full --show-leak-kinds=definite,indirect --errors-for-leak-kinds=definite,indirect --trace-children=no --child-silent-after-fork=no --log-file=%s/%s.%%p -- %s.real "$@"\n' \
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
# The agents end by SIGTERM: `down` would give them 100 ms, which is too little for a report.
the_agent() { pgrep -n -P "$(on "$1" cat /run/wg-mesh/wg0.pid)"; } # HOST; its supervisor's youngest
watched="wg-meshd.$(the_agent alice) wg-meshd.$(the_agent bob)
	wg-mesh-coordinator.$(pgrep -f 'wg-mesh-coordinator.real.*serve') wg-mesh-relay.$(pgrep -f 'wg-mesh-relay.real')"
for name in alice bob; do
	kill -TERM "$(on $name cat /run/wg-mesh/wg0.pid)"
done
agents_ended() { ! pgrep -f 'wg-meshd.*\.real' >/dev/null; }
check "the agents end" wait_for $LAB_PATIENCE agents_ended
check "leave" on alice wg-mesh leave wg0
on bob wg-mesh leave wg0 >/dev/null 2>&1
pkill -TERM -f 'wg-mesh-coordinator.*serve'
# valgrind knows no pidfds, by which the coordinator watches and ends the relay beside it.
[ "$LAB_TOOL" != valgrind ] || pkill -TERM -f wg-mesh-relay
ended() { ! pgrep -f 'wg-mesh.*\.real' >/dev/null; }
wait_for $LAB_PATIENCE ended
check "every program has ended" ended
# Of valgrind every report must be there and good: of those that were watched, and of each command.
good_report() { # FILE
	grep -q 'ERROR SUMMARY: 0 errors' "$1" &&
		grep -qE 'no leaks are possible|definitely lost: 0 bytes' "$1" &&
		! grep -E 'ERROR SUMMARY: [1-9]|(definitely|indirectly) lost: [1-9]' "$1"
}
if [ "$LAB_TOOL" = valgrind ]; then
	for report in $watched; do
		check "the report of $report is there and good" good_report "$reports/$report"
	done
	count=0
	for report in $reports/wg-mesh.*; do
		if good_report "$report"; then
			count=$((count + 1))
			continue
		fi
		# A child of a command's, between fork and exec: its report ends where another program begins.
		parent=$(sed -n 's/.*Parent PID: //p' "$report")
		[ -e "$reports/wg-mesh.$parent" ] && ! grep -q 'ERROR SUMMARY' "$report" && continue
		not_ok "${report##*/} has nothing to say"
		tail -n 20 "$report" | sed 's/^/    /'
	done
	check "commands were watched" test $count -ge 6
	echo "# $count commands; reports in all: $(find $reports -type f | wc -l)"
	# Whatever else there is (a process between fork and exec, one that was killed) names no error.
	find $reports -type f -exec grep -HE 'ERROR SUMMARY: [1-9]|(definitely|indirectly) lost: [1-9]|Invalid (read|write|free)|uninitialised' {} + >$LAB_DIR/reports.out
else
	find $reports -type f -exec cat {} + >$LAB_DIR/reports.out
fi
check "the tool has nothing to say" test ! -s $LAB_DIR/reports.out
head -n 60 $LAB_DIR/reports.out | sed 's/^/    /'
lab_end
