#!/bin/sh
# One agent for an interface, whatever is called at once: several `up`, `down` amid an `up`, and an
# `up` right behind a `down`.
set -u
. "$(dirname "$0")/lib.sh"
lab_enter "$@"
on_one_street alice
on alice wg-mesh join "$LAB_LINK" >/dev/null 2>&1 || not_ok "alice joins"
check "the agent runs" wait_for 5 answers alice

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
check "six ups at once: an agent answers" wait_for 5 answers alice
check "six ups at once: it is one" wait_for 8 settled
on alice wg-mesh down wg0
sleep 2
check "after down none comes back" none_left
check "and nothing is left on the interface" test -z "$(on alice ip -o address show dev wg0 scope global)"

# The first of them makes the turn's file, which is no `down`.
for i in 1 2 3 4 5; do
	on alice sh -c 'rm -f /run/wg-mesh/wg0.turn /run/wg-mesh/wg0.log; for i in 1 2 3 4 5 6; do wg-mesh up wg0 & done; wait' 2>/dev/null
	check "six ups without the turn's file, $i: an agent answers" wait_for 5 answers alice
	check_not "and nobody speaks of a down" on alice grep -q 'was called meanwhile' /run/wg-mesh/wg0.log
	check "the file is no down" on alice sh -c 'test "$(stat -c %Y /run/wg-mesh/wg0.turn)" = 0'
	on alice wg-mesh down wg0
	wait_for 5 none_left
done

for delay in 0 0.01 0.03 0.06 0.1; do
	on alice sh -c "wg-mesh up wg0 & sleep $delay; wg-mesh down wg0; wait" 2>/dev/null
	sleep 1
	if answers alice >/dev/null 2>&1; then # the down was first
		on alice wg-mesh down wg0
	fi
	check "a down $delay s after an up leaves no agent" wait_for 5 none_left
	check "and no address" test -z "$(on alice ip -o address show dev wg0 scope global)"
done
for i in 1 2 3; do
	on alice sh -c 'wg-mesh up wg0; wg-mesh down wg0; wg-mesh up wg0'
	check "up right behind down, $i: an agent answers" wait_for 5 answers alice
	check "up right behind down, $i: it is one" wait_for 8 settled
done

# One more that an `up` left behind, waiting for a hung agent's end: `down` is meant for it too.
pgrep -x wg-meshd >$LAB_DIR/pids
# shellcheck disable=SC2046
kill -STOP $(cat $LAB_DIR/pids)
on_bg alice /run/waiter.log wg-meshd wg0 --daemon
sleep 0.5
on alice wg-mesh down wg0
sleep 1.5
# shellcheck disable=SC2046
kill -CONT $(cat $LAB_DIR/pids) 2>/dev/null
check "down with a hung agent and one that waits leaves none" wait_for 5 none_left
check "and nothing on the interface" test -z "$(on alice ip -o address show dev wg0 scope global)"
on alice wg-mesh up wg0
check "up after that: an agent answers" wait_for 5 answers alice
check "it is one" wait_for 8 settled

# A run that holds up another interface's is none of this one's business.
on alice sh -c 'touch /run/wg-mesh/wg9.turn && exec flock /run/wg-mesh/wg9.turn sleep 3' &
on alice sh -c 'exec flock /run/wg-mesh sleep 3' &
sleep 0.2
begin=$(now_ms)
on alice wg-mesh up wg0
elapsed=$(($(now_ms) - begin))
echo "# up with another interface's turn held took $elapsed ms"
check "another interface's turn costs nothing" test $elapsed -lt 150
# shellcheck disable=SC2046
kill -STOP $(pgrep -x wg-meshd)
on alice sh -c 'exec flock /run/wg-mesh/wg0.turn sleep 3' &
sleep 0.2
begin=$(now_ms)
on alice wg-mesh up wg0 2>/dev/null
elapsed=$(($(now_ms) - begin))
echo "# up with its own turn held and a hung agent took $elapsed ms"
check "nor do its own turn and a hung agent cost more than three times 200 ms" test $elapsed -lt 600
lab_end
