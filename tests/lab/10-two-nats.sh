#!/bin/sh
# Two hosts behind two home NATs find each other and talk over WireGuard directly. Two arguments
# KIND KIND for the routers; without them, every pair that must become direct is tried.
set -u
. "$(dirname "$0")/lib.sh"

PAIRS='port_restricted:port_restricted full:port_restricted restricted:restricted full:symmetric'

if [ $# -eq 0 ] && [ -z "${LAB_INSIDE:-}" ]; then
	failed=0
	for pair in $PAIRS; do
		sh "$0" "${pair%:*}" "${pair#*:}" || failed=1
	done
	exit $failed
fi
lab_enter "$@"
LAB_NAME="two NATs, $1 and $2"
two_houses "$1" "$2"

check "alice joins" on alice wg-mesh join "$LAB_LINK"
begin=$(now_ms)
check "bob joins" on bob wg-mesh join "$LAB_LINK"
alice_address=$(mesh_address alice)
# first_packet LIMIT - milliseconds since $begin until a packet passes; ends well within the limit
first_packet() {
	limit=$(($1 * LAB_SLOW))
	until on bob ping -c 1 -W 0.2 "$alice_address" >/dev/null 2>&1; do
		[ $(($(now_ms) - begin)) -lt $limit ] || break
	done
	elapsed=$(($(now_ms) - begin))
	[ $elapsed -lt $limit ]
}
# 3 s is what is promised, and three times that what a busy machine may take; join is part of it.
check "the first packet passes" first_packet 9000
check "by the direct path" is_direct bob alice
echo "# from join to the first packet: $elapsed ms"
check "alice sees bob directly" wait_for 6 is_direct alice bob
check "bob sees alice directly" wait_for 6 is_direct bob alice
# What `status` counts is what `wg show` counts now.
counts() { # bytes received: at least those that wg has counted before, and more than the ping brought
	has=$(on alice wg show wg0 transfer | awk '{ print $2 }')
	told=$(status alice '.peers[0].rx_bytes')
	[ "$has" -gt 5000 ] && [ "$told" -ge "$has" ]
}
check "five large packets pass" on bob ping -c 5 -i 0.2 -s 1000 -W 2 "$alice_address"
check "and alice's status has counted them" counts
check "wg-mesh ping says so" on alice sh -c 'wg-mesh ping wg0 bob -c 1 | grep "pong from bob .* via direct "'

# The same with the coordinator known and the map saved: 1 s is promised.
check "bob down" on bob wg-quick down wg0
begin=$(now_ms)
check "bob up again" on bob wg-quick up wg0
check "the first packet passes again" first_packet 3000
check "by the direct path again" is_direct bob alice
echo "# from wg-quick up to the first packet, coordinator known: $elapsed ms"
check "and they are direct again" wait_for 6 is_direct alice bob
wait_for 6 is_direct bob alice

# No server in between may be needed: take the coordinator's machine off the street.
on coord ip link set eth0 down
check "the tunnel needs nobody else" tunnel_ping alice bob
on coord ip link set eth0 up

nat_word() {
	case $1 in full) echo full_cone ;; restricted) echo restricted_cone ;;
	port_restricted) echo port_restricted_cone ;; *) echo "$1" ;; esac
}
nat_is() { [ "$(status "$1" .nat.type)" = "$2" ]; }
check "alice's NAT is found to be $(nat_word "$1")" wait_for 10 nat_is alice "$(nat_word "$1")"
check "bob's NAT is found to be $(nat_word "$2")" wait_for 10 nat_is bob "$(nat_word "$2")"
lab_end
