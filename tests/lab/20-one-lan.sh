#!/bin/sh
# Two hosts on one LAN use their LAN addresses, also when both chose the same port.
set -u
. "$(dirname "$0")/lib.sh"
lab_enter "$@"
street
coordinator
router routera 203.0.113.10 192.168.1.1 port_restricted
at_home alice routera 192.168.1.2
at_home bob routera 192.168.1.3
for name in alice bob; do
	check "$name joins with port 51820" on $name wg-mesh join "$LAB_LINK" --listen-port 51820
done
check "alice sees bob directly" wait_for 10 is_direct alice bob
endpoint_is() {
	[ "$(status "$1" ".peers[] | select(.name == \"$2\") | .endpoint")" = "$3" ]
}
check "by his LAN address" wait_for 6 endpoint_is alice bob 192.168.1.3:51820
check "and he by hers" wait_for 6 endpoint_is bob alice 192.168.1.2:51820
check "packets pass" tunnel_ping alice bob
lab_end
