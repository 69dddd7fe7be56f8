#!/bin/sh
# A network that asks for approval, and an agent that expired: every command says what to do.
set -u
. "$(dirname "$0")/lib.sh"
lab_enter "$@"
on_one_street alice bob
on coord wg-mesh-coordinator network create careful --cidr 10.240.0.0/16 --approve >/dev/null 2>&1
approved() { [ "$(status "$1" '.networks[0].approved')" = "$2" ]; }
peers() { [ "$(status "$1" '.peers | length')" = "$2" ]; }

for name in alice bob; do
	code_of 0 "$name joins" on $name wg-mesh join "$(key_create --network careful)" --name $name
	says "agent approve $name --network careful"
done
code_of 0 "up --wait: it is connected" on alice wg-mesh up wg0 --wait 10
says 'waits for approval in the network careful'
check "status --json has it" approved alice false
code_of 0 "status for people" on alice wg-mesh status wg0
says 'agent approve alice --network careful'
code_of 1 "doctor finds it" on alice wg-mesh doctor wg0
says 'waits for approval'

on coord wg-mesh-coordinator agent approve alice >/dev/null 2>&1
check "the agent is told" wait_for 5 approved alice true
check "and has no peer, who waits herself" peers alice 0
on coord wg-mesh-coordinator agent approve bob >/dev/null 2>&1
check "both have each other" wait_for 5 peers alice 1
check "a direct path" wait_for 10 is_direct alice bob
code_of 0 "up --wait says nothing more" on alice wg-mesh up wg0 --wait 10
check "nothing" test ! -s $LAB_DIR/code.out

on coord wg-mesh-coordinator agent expire alice >/dev/null 2>&1
refused() { [ "$(status alice .coordinator.refused)" = agent_expired ]; }
check "the agent hears that it expired" wait_for 15 refused
code_of 4 "up --wait" on alice wg-mesh up wg0 --wait 1
says 'has expired this agent'
says 'join LINK --interface wg0'
code_of 1 "doctor finds it" on alice wg-mesh doctor wg0
says 'has expired this agent'
code_of 0 "with a new link it is back" on alice wg-mesh join "$(key_create --network careful)"
back() { [ "$(status alice .coordinator.connected)" = true ] && [ "$(status alice .coordinator.refused)" = null ]; }
check "connected" wait_for 10 back
check "still approved" approved alice true
check "a direct path again" wait_for 15 is_direct alice bob
lab_end
