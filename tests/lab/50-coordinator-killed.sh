#!/bin/sh
# Losing the coordinator loses nothing.
set -u
. "$(dirname "$0")/lib.sh"
lab_enter "$@"
two_houses port_restricted port_restricted
on alice wg-mesh join "$LAB_LINK" >/dev/null 2>&1 || not_ok "alice joins"
on bob wg-mesh join "$LAB_LINK" >/dev/null 2>&1 || not_ok "bob joins"
check "they meet" wait_for 10 is_direct alice bob
connected() { [ "$(status "$1" .coordinator.connected)" = true ]; }
check "connected" wait_for 5 connected alice
relay_pid() { on coord cat /run/wg-mesh/relay.lock; }
relay=$(relay_pid)
agents_before=$(on coord wg-mesh-coordinator agent list --json | jq -c '[.agents[] | {agent_id, name, addresses}] | sort')

pkill -KILL -f 'wg-mesh-coordinator serve'
disconnected() { ! connected "$1"; }
check "it is noticed" wait_for 10 disconnected alice
check "the tunnel stays" tunnel_ping alice bob
check "the STUN server outlives it" kill -0 "$relay"

# An agent that starts anew has the map it saved.
on alice wg-quick down wg0 >/dev/null 2>&1
check "alice up without a coordinator" on alice wg-quick up wg0
check "direct again without a coordinator" wait_for 20 is_direct alice bob

on_bg coord /run/coordinator.log wg-mesh-coordinator serve --public-url https://203.0.113.1:8443
check "it starts again" wait_for 10 on coord wg-mesh-coordinator agent list
check_not "without another first link" join_link
check "the STUN server was adopted" test "$(relay_pid)" = "$relay"
check "alice comes back by herself" wait_for 30 connected alice
check "bob comes back by himself" wait_for 60 connected bob
check "nobody was forgotten" test "$agents_before" = "$(on coord wg-mesh-coordinator agent list --json | jq -c '[.agents[] | {agent_id, name, addresses}] | sort')"
check "the tunnel is there" tunnel_ping alice bob
pkill -TERM -f 'wg-mesh-coordinator serve'
relay_gone() { ! kill -0 "$relay" 2>/dev/null; }
check "SIGTERM ends both" wait_for 10 relay_gone
lab_end
