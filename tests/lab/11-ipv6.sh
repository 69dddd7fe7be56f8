#!/bin/sh
# IPv6: two hosts behind stateful firewalls that let nobody in, no translation. The street has no
# IPv4 for them at all.
set -u
. "$(dirname "$0")/lib.sh"
lab_enter "$@"
street
host coord
on_street coord eth0 2001:db8:1::1/64
router6() { # NAME WAN-SUFFIX LAN-PREFIX
	host "$1"
	on_street "$1" wan "2001:db8:1::$2/64"
	on "$1" ip link add lan type bridge
	on "$1" ip address add "$3::1/64" dev lan
	on "$1" ip link set lan up
	on "$1" sysctl -qw net.ipv6.conf.all.forwarding=1
	on coord ip route add "$3::/64" via "2001:db8:1::$2"
	on "$1" nft -f - <<-EOF
		table inet fw {
			chain forward {
				type filter hook forward priority filter; policy accept;
				iifname "wan" ct state established,related accept
				iifname "wan" meta l4proto udp drop
			}
		}
	EOF
}
router6 routera 10 2001:db8:a
router6 routerb 20 2001:db8:b
on routera ip route add 2001:db8:b::/64 via 2001:db8:1::20
on routerb ip route add 2001:db8:a::/64 via 2001:db8:1::10
home6() { # HOST ROUTER PREFIX
	host "$1"
	LAB_PORT=$((${LAB_PORT:-0} + 1))
	wire "$1" eth0 "$2" "port$LAB_PORT"
	on "$2" ip link set "port$LAB_PORT" master lan
	on "$1" ip address add "$3::2/64" dev eth0
	on "$1" ip route add default via "$3::1"
}
home6 alice routera 2001:db8:a
home6 bob routerb 2001:db8:b
on_bg coord /run/coordinator.log wg-mesh-coordinator serve --public-url 'https://[2001:db8:1::1]:8443'
wait_for 20 join_link >/dev/null || not_ok "the coordinator prints a join link"
LAB_LINK=$(join_link)
check "alice joins" on alice wg-mesh join "$LAB_LINK"
check "bob joins" on bob wg-mesh join "$LAB_LINK"
check "alice sees bob directly" wait_for 12 is_direct alice bob
endpoint() { status "$1" ".peers[] | select(.name == \"$2\") | .endpoint"; }
is_v6() { endpoint "$1" "$2" | grep -q '^\[2001:db8:'; }
check "over IPv6" is_v6 alice bob
check "packets pass" tunnel_ping alice bob
second_address() { status bob '.addresses[1]' | cut -d/ -f1; }
check "inside the tunnel there is IPv6 too" on alice ping -c 1 -W 2 "$(second_address)"
check "no NAT is seen" wait_for 8 sh -c "nsenter -r -t $(pid_of alice) -n -m wg-mesh status wg0 --json | jq -e '.nat.mapping != null'"
lab_end
