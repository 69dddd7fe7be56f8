#!/bin/sh
# Two meshes on one host, and hosts of one machine that share a file system: nobody disturbs anybody.
set -u
. "$(dirname "$0")/lib.sh"
lab_enter "$@"
on_one_street alice bob
on coord wg-mesh-coordinator network create office --cidr 10.44.0.0/16 >/dev/null || not_ok "a second network"
office=$(key_create --network office --reusable)
check "key create prints the link alone" sh -c "printf '%s\n' '$office' | grep -qE '^https://203.0.113.1:8443/join#[^ ]+$'"
for name in alice bob; do
	check "$name joins the first" on "$name" wg-mesh join "$LAB_LINK"
	check "$name joins the second" on "$name" wg-mesh join "$office" --interface wg1
done
on_wg1() { [ "$(on alice wg-mesh status wg1 --json | jq -r '.peers[0].path')" = direct ]; }
check "direct on wg0" wait_for 10 is_direct alice bob
check "direct on wg1" wait_for 10 on_wg1
wg1_of() { on "$1" wg-mesh status wg1 --json | jq -r '.addresses[0]' | cut -d/ -f1; }
bob_wg1=$(wg1_of bob)
check "packets pass on wg0" tunnel_ping alice bob
check "packets pass on wg1" on alice ping -c 1 -W 2 "$bob_wg1"
on alice wg-mesh status >$LAB_DIR/status.out 2>&1
code=$?
check "status without a name exits 2" test $code -eq 2
check "and names both" sh -c "grep -q wg0 $LAB_DIR/status.out && grep -q wg1 $LAB_DIR/status.out"
on alice wg-quick down wg1 >/dev/null 2>&1
check "wg1 down: wg0 goes on" tunnel_ping alice bob
check "wg1 down: wg0's ledger is there" on alice test -e /run/wg-mesh/wg0.owned
check "wg1 is left" on alice wg-mesh leave wg1
check "wg1 left: wg0 goes on" tunnel_ping alice bob

# Another namespace of the same file system: the name is taken, every command says so and touches
# nothing, also where it could reach the coordinator.
elsewhere() { # COMMAND... - output in other.out
	nsenter --target "$(pid_of alice)" --root --mount --uts -- unshare --net sh -c '
		ip link set lo up
		ip link add wg0 type dummy 2>/dev/null
		"$@"' sh "$@" >$LAB_DIR/other.out 2>&1
}
files_of_alice() { on alice sh -c 'ls -lR /etc/wireguard /etc/wg-mesh /var/lib/wg-mesh; ls /run/wg-mesh | grep -v turn; cat /etc/wireguard/wg0.conf /run/wg-mesh/wg0.owned'; }
says() { check "$1 says that the name is taken" grep -qi 'another network namespace' $LAB_DIR/other.out; }
pid_before=$(on alice cat /run/wg-mesh/wg0.pid)
before=$(files_of_alice)
check "up in another namespace ends with 0" elsewhere wg-mesh up wg0
says up
check "down too" elsewhere wg-mesh down wg0
says down
check_not "leave fails" elsewhere wg-mesh leave wg0
says leave
check_not "leave does not say that it has left" grep -q 'has left' $LAB_DIR/other.out
check_not "join fails" elsewhere wg-mesh join "$LAB_LINK"
says join
same_files() { test "$before" = "$(files_of_alice)" || { echo "$before"; files_of_alice; false; }; }
check "no file has changed" same_files
check "the agent is the same" test "$pid_before" = "$(on alice cat /run/wg-mesh/wg0.pid)"
check "it answers" answers alice
check "wg0 goes on" tunnel_ping alice bob
kept() { on coord wg-mesh-coordinator agent list | grep -q "$1"; }
check "the coordinator has kept alice" kept alice

# The same with alice's agent dead: what it made is still hers.
# shellcheck disable=SC2046
kill -KILL $(agents alice)
sleep 0.3
ledger=$(on alice cat /run/wg-mesh/wg0.owned)
check "with the agent dead: up elsewhere ends with 0" elsewhere wg-mesh up wg0
says up
check_not "leave elsewhere fails" elsewhere wg-mesh leave wg0
says leave
check_not "join elsewhere fails" elsewhere wg-mesh join "$LAB_LINK"
check "an agent started by hand does not begin there" sh -c "! nsenter --target $(pid_of alice) --root --mount --uts -- unshare --net sh -c 'ip link add wg0 type wireguard 2>/dev/null; exec timeout 5 wg-meshd wg0' >$LAB_DIR/other.out 2>&1"
check "the ledger is as it was" test "$ledger" = "$(on alice cat /run/wg-mesh/wg0.owned)"
on alice wg-mesh down wg0
check "and down at home removes all" test -z "$(on alice wg show wg0 peers)$(on alice ip -o address show dev wg0 scope global)"

# Moved aside where its namespace is not seen, and back at home.
on alice wg-mesh up wg0
check "up again" wait_for 5 answers alice
# shellcheck disable=SC2046
kill -KILL $(agents alice)
sleep 0.3
check "a namespace that does not see ours begins anew" sh -c "nsenter --target $(pid_of alice) --root --mount --uts -- unshare --net --pid --fork --mount-proc sh -c 'ip link add wg0 type dummy; wg-mesh down wg0'"
check "the ledger is kept" on alice test -e /run/wg-mesh/wg0.owned.other
on alice wg-mesh down wg0
check "down at home finds it" test -z "$(on alice wg show wg0 peers)$(on alice ip -o address show dev wg0 scope global)"
check_not "and nothing is left of it" on alice sh -c 'ls /run/wg-mesh/wg0.owned*'

# Two networks on one interface, and one of them goes: an agent that is taken out of a network keeps
# nothing of it, and goes on in the other.
on alice wg-mesh up wg0
check "bob leaves wg1" on bob wg-mesh leave wg1
for name in alice bob; do
	check "$name joins office on wg0 too" on $name wg-mesh join "$office"
done
in_networks() { [ "$(status "$1" '[.networks[].name] | sort | join(" ")')" = "$2" ]; }
shares() { [ "$(status bob '.peers[] | select(.name == "alice") | [.networks[]] | sort | join(" ")')" = "$1" ]; }
has_range() { on bob ip -o -4 address show dev wg0 | grep -qF " $1."; }
no_range() { ! has_range "$1"; }
check "bob is in both" wait_for 5 in_networks bob "default office"
check "and has the address" wait_for 5 has_range 10.44
first=$(on bob wg-mesh status wg0 --json | jq -r '.networks[] | select(.name == "default").addresses[0]' | cut -d. -f1-2)
check "he has one of the first" has_range "$first"
check "he sees alice in both" wait_for 5 shares "default office"
check "they meet" wait_for 10 is_direct bob alice
addresses_of_alice() { status alice '[.addresses[] | split("/")[0]] | sort | join(" ")'; }
seen_of_alice() { status bob '.peers[] | select(.name == "alice") | [.addresses[]] | sort | join(" ")'; }
check "he sees all her addresses" test "$(addresses_of_alice)" = "$(seen_of_alice)"
pong_from() { on bob wg-mesh ping wg0 "$1" -c 1 | grep -qF "$2"; } # PEER ADDRESS
for network in default office; do
	at=$(status alice ".networks[] | select(.name == \"$network\").addresses[0]" | cut -d/ -f1)
	check "ping $at says which it was" pong_from "$at" "$at"
	check "and so does ping alice@$network" pong_from "alice@$network" "$at"
done
on_bg bob /run/events.out wg-mesh events wg0 --json
sleep 0.5
check "bob is removed from the first" on coord wg-mesh-coordinator agent remove bob --network default
check "he is in office alone" wait_for 5 in_networks bob office
check "the address has gone" wait_for 5 no_range "$first"
check "office's is there" has_range 10.44
told() { on bob jq -r 'select(.event == "degraded") | "\(.network) \(.reason)"' /run/events.out | grep -q '^default .*removed from the network default'; }
check "an event says so" wait_for 5 told
check "alice is a peer in office alone" wait_for 5 shares office
routes_left() { on bob ip route show table all | grep -F "dev wg0" | grep -F "$first."; }
check_not "no route of the first is left" routes_left
allowed_left() { on bob wg show wg0 allowed-ips | grep -F "$first."; }
check_not "nor may alice send from there" allowed_left
office_of_alice=$(status alice '.networks[] | select(.name == "office").addresses[0]' | cut -d/ -f1)
check "office's tunnel is there" wait_for 10 on bob ping -c 1 -W 2 "$office_of_alice"
on bob wg-quick down wg0 >/dev/null 2>&1
check "down, and up" on bob wg-quick up wg0
check "it stays so" wait_for 5 in_networks bob office
check "without the address" no_range "$first"
check "he joins the first again" on bob wg-mesh join "$LAB_LINK"
check "and is in both" wait_for 5 in_networks bob "default office"
check "with the address" wait_for 5 has_range "$first"
check "and alice" wait_for 5 shares "default office"

# Routes keep our address as their source: one that the user deletes comes back, and the routes with it.
on coord wg-mesh-coordinator network create six --cidr 10.206.0.0/16 --cidr6 fd66::/64 >/dev/null || not_ok "a network with IPv6"
six=$(key_create --network six --reusable)
for name in carol dave; do
	host $name
	on_street $name eth0 203.0.113.4${#name}/24
done
on carol sh -c 'mkdir -p /etc/wg-mesh; printf "routes: {accept: true}\n" >/run/accept'
check "carol joins" on carol wg-mesh join "$six"
on carol sh -c 'cat /run/accept >>/etc/wg-mesh/wg0.yaml'
check "and accepts routes" on carol wg-mesh reload wg0
check "dave offers two" on dave wg-mesh join "$six" --advertise-routes fd77:77::/48,192.168.77.0/24
check "which are approved" on coord wg-mesh-coordinator route approve dave fd77:77::/48
check "both" on coord wg-mesh-coordinator route approve dave 192.168.77.0/24
address_of_carol() { status carol ".addresses[] | select(test(\"$1\"))" | head -n 1; }
four=$(address_of_carol '^10') six=$(address_of_carol '^fd')
has_source() { on carol ip "-$1" route show dev wg0 | grep -q "^$2 .*src ${3%/*} "; }
both_sources() { has_source 4 192.168.77.0/24 "$four" && has_source 6 fd77:77::/48 "$six"; }
check "the routes have carol's addresses as their source" wait_for 5 both_sources
on carol ip address del "$six" dev wg0
on carol ip address del "$four" dev wg0
check "also when those were deleted" wait_for 5 both_sources
on carol sh -c "ip -6 route del fd77:77::/48 dev wg0; kill -KILL \$(cat /run/wg-mesh/wg0.pid); sleep 0.3; ip -6 route del fd77:77::/48 dev wg0 2>/dev/null; ip -6 route add fd77:77::/48 dev wg0 proto 119"
check_not "a route of an older agent has none" both_sources
on carol wg-mesh up wg0
check "it gets one" wait_for 5 both_sources
lab_end
