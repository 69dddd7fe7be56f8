#!/bin/sh
# A packet between two direct peers passes no code of ours: with both agents stopped (SIGSTOP) a bulk
# transfer is as fast as with them running. Runs the same on kernel WireGuard (tests/kernel).
set -u
. "$(dirname "$0")/lib.sh"
lab_enter "$@"
LAB_NAME="${LAB_WHERE:-}bulk"
on_one_street alice bob
check "alice joins" on alice wg-mesh join "$LAB_LINK"
check "bob joins" on bob wg-mesh join "$LAB_LINK"
check "they meet" wait_for 10 is_direct alice bob
wait_for 10 is_direct bob alice
bob_address=$(mesh_address bob)

signal() { # SIGNAL - to every agent here
	# shellcheck disable=SC2046
	kill "-$1" $(pgrep -x wg-meshd)
}
all_stopped() {
	for agent in $(pgrep -x wg-meshd); do
		grep -q '^State:.T' "/proc/$agent/status" || return 1
	done
	[ "$(pgrep -xc wg-meshd)" -ge 2 ]
}
transfer() { # FILE - appends the bits per second of two seconds
	on_bg bob /run/iperf.log iperf3 -s -1
	serving() { on bob sh -c 'ss -ltn | grep -q :5201'; }
	wait_for 10 serving
	on alice iperf3 -c "$bob_address" -t 2 -J | jq '.end.sum_received.bits_per_second // 0' >>"$1"
	wait "$LAB_BG"
}
# In turns, so that what else the machine does meets both; the best of three each.
for turn in 1 2 3; do
	transfer $LAB_DIR/running
	signal STOP
	check "turn $turn: every agent is stopped" wait_for 5 all_stopped
	transfer $LAB_DIR/stopped
	signal CONT
done
best() { sort -g "$1" | tail -n 1; }
running=$(best $LAB_DIR/running) stopped=$(best $LAB_DIR/stopped)
echo "# ${LAB_WHERE:-}agents running $running bit/s, stopped $stopped bit/s"
check "something was transferred" jq -en "$running > 1e6"
check "with the agents stopped it is as fast" jq -en "$stopped >= 0.7 * $running"
lab_end
