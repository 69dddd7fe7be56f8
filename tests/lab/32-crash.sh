#!/bin/sh
# Direct packets pass no code of ours, and a dead agent loses nothing: SIGSTOP, SIGKILL, adoption by
# the next `up`, and `down` with no agent alive.
set -u
. "$(dirname "$0")/lib.sh"
lab_enter "$@"
street
coordinator
for n in 0 1; do
	eval "name=\$(echo 'alice bob' | cut -d' ' -f$((n + 1)))"
	host "$name"
	on_street "$name" eth0 203.0.113.3$n/24
	on "$name" wg-mesh join "$LAB_LINK" >/dev/null 2>&1 || not_ok "$name joins"
done
check "they meet" wait_for 10 is_direct alice bob
wait_for 10 is_direct bob alice
bob_address=$(mesh_address bob)
ping_bob() { on alice ping -c 3 -i 0.2 -W 2 "$bob_address"; }

agents() { # HOST - pids of wg-meshd there
	for pid in $(pgrep -f 'wg-meshd'); do
		[ "$(readlink /proc/"$pid"/ns/net)" = "$(readlink /proc/"$(pid_of "$1")"/ns/net)" ] && echo "$pid"
	done
}
signal() { # SIGNAL HOST
	# shellcheck disable=SC2046
	kill "-$1" $(agents "$2")
}
signal STOP alice
signal STOP bob
check "both agents stopped: packets pass" ping_bob
signal CONT alice
signal CONT bob

# Speed with the agents stopped against speed with them running, in one run.
on_bg bob /run/iperf.log iperf3 -s -1
sleep 0.5
with=$(on alice iperf3 -c "$bob_address" -t 2 -J | jq .end.sum_received.bits_per_second)
on_bg bob /run/iperf.log iperf3 -s -1
sleep 0.5
signal STOP alice
signal STOP bob
without=$(on alice iperf3 -c "$bob_address" -t 2 -J | jq .end.sum_received.bits_per_second)
signal CONT alice
signal CONT bob
echo "# throughput with agents running $with bit/s, stopped $without bit/s"
check "stopped agents do not stop a bulk transfer" jq -en "$without > 0 and $with > 0"

# SIGKILL of everything of ours on alice.
alice_peers() { on alice wg show wg0 peers | sort; }
before=$(alice_peers)
signal KILL alice
sleep 0.5
check "all of ours killed: none is left" test -z "$(agents alice)"
check "all of ours killed: packets pass" ping_bob
on alice wg-mesh up wg0
answers() { on alice wg-mesh status wg0 --json; }
check "the next up answers" wait_for 5 answers
check "it adopts: packets pass" ping_bob
check "it adopts: direct again" wait_for 10 is_direct alice bob
check "nothing is doubled" test "$before" = "$(alice_peers)"
check "one mesh address of each family" test "$(on alice ip -o address show dev wg0 scope global | wc -l)" -le 2

# The daemon alone is killed: it is restarted.
kill -KILL "$(on alice cat /run/wg-mesh/wg0.pid)"
check "a killed agent comes back by itself or by up" wait_for 10 sh -c "nsenter -r -t $(pid_of alice) -n -m wg-mesh up wg0; nsenter -r -t $(pid_of alice) -n -m wg-mesh status wg0"

# Down with no agent alive.
signal KILL alice
sleep 0.3
on alice wg-mesh down wg0
check "down without an agent removes our peers" test -z "$(on alice wg show wg0 peers)"
check "down without an agent removes our addresses" test -z "$(on alice ip -o address show dev wg0 scope global)"
check "down without an agent removes our routes" test -z "$(on alice ip route show table all dev wg0 proto 119 2>/dev/null)"
check "and the ledger" on alice test ! -e /run/wg-mesh/wg0.owned
check "wg-quick down takes the interface" on alice wg-quick down wg0

# A hung agent: down removes everything itself, in time.
on alice wg-quick up wg0 >/dev/null 2>&1
check "up again, direct again" wait_for 15 is_direct alice bob
signal STOP alice
begin=$(now_ms)
on alice wg-mesh down wg0
elapsed=$(($(now_ms) - begin))
echo "# down with a hung agent took $elapsed ms"
check "a hung agent does not hold up down" test $elapsed -lt 600
check "our peers are gone" test -z "$(on alice wg show wg0 peers)"
check "the hung agent is ended" wait_for 5 sh -c "! kill -0 $(on alice cat /run/wg-mesh/wg0.pid 2>/dev/null || echo 999999) 2>/dev/null"
check "wg-quick down takes the interface again" on alice wg-quick down wg0
lab_end
