#!/bin/sh
# One agent for an interface, whatever is called at once: several `up`, `down` amid an `up`, and an
# `up` right behind a `down`.
set -u
. "$(dirname "$0")/lib.sh"
lab_enter "$@"
street
coordinator
host alice
on_street alice eth0 203.0.113.30/24
on alice wg-mesh join "$LAB_LINK" >/dev/null 2>&1 || not_ok "alice joins"
answers() { on alice wg-mesh status wg0; }
check "the agent runs" wait_for 5 answers

supervisors() { # processes of ours whose parent is none of ours
	for pid in $(pgrep -f 'wg-meshd wg0'); do
		[ "$(ps -o ppid= -p "$pid" | tr -d ' ')" = 1 ] && echo "$pid"
	done | wc -l
}
none_left() { [ "$(supervisors)" = 0 ]; }
settled() { [ "$(supervisors)" = 2 ]; } # the supervisor and the runner of hooks
check "one is there" wait_for 5 settled
on alice wg-mesh down wg0
check "none after down" wait_for 5 none_left
on alice sh -c 'for i in 1 2 3 4 5 6; do wg-mesh up wg0 & done; wait' 2>/dev/null
check "six ups at once: an agent answers" wait_for 5 answers
check "six ups at once: it is one" wait_for 8 settled
on alice wg-mesh down wg0
sleep 2
check "after down none comes back" none_left
check "and nothing is left on the interface" test -z "$(on alice ip -o address show dev wg0 scope global)"

for delay in 0 0.01 0.03 0.06 0.1; do
	on alice sh -c "wg-mesh up wg0 & sleep $delay; wg-mesh down wg0; wait" 2>/dev/null
	sleep 1
	if answers >/dev/null 2>&1; then # the down was first
		on alice wg-mesh down wg0
	fi
	check "a down $delay s after an up leaves no agent" wait_for 5 none_left
	check "and no address" test -z "$(on alice ip -o address show dev wg0 scope global)"
done
for i in 1 2 3; do
	on alice sh -c 'wg-mesh up wg0; wg-mesh down wg0; wg-mesh up wg0'
	check "up right behind down, $i: an agent answers" wait_for 5 answers
	check "up right behind down, $i: it is one" wait_for 8 settled
done
lab_end
