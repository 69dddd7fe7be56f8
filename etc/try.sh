#!/bin/sh
# try.sh - a demonstration on this machine alone: two houses, each behind a home router of its own,
# find each other and talk over WireGuard directly. Needs root and Debian 12; touches none of this
# machine's files or interfaces (everything lives in namespaces that end with it), and ends by
# itself.
#
#   sudo sh etc/try.sh
set -u
LAB_TOP=$(cd "$(dirname "$0")/.." && pwd)
. "$LAB_TOP/tests/lab/lib.sh"

bold=''
plain=''
[ -t 1 ] && bold=$(printf '\033[1m') plain=$(printf '\033[0m')
say() { printf '\n%s%s%s\n' "$bold" "$*" "$plain"; }
note() { printf '   %s\n' "$*"; }
show() { # HOST COMMAND... - as typed there
	lab_shown=$1
	shift
	printf '   %s# %s\n' "$lab_shown" "$*"
	on "$lab_shown" "$@" >$LAB_DIR/shown 2>&1
	shown_status=$?
	sed 's/^/      /' $LAB_DIR/shown
	return $shown_status
}
give_up() {
	echo
	echo "try.sh: $* What the programs said:"
	lab_logs
	exit 1
}

if [ -z "${LAB_INSIDE:-}" ]; then
	[ "$(id -u)" = 0 ] || {
		echo "try.sh: network namespaces need root; run: sudo sh etc/try.sh" >&2
		exit 1
	}
	[ -n "${LAB_STAGE:-}" ] || sh "$LAB_TOP/etc/packages.sh" build try || exit 1
	if ! (ip link add wgmtry type wireguard && ip link del wgmtry) 2>/dev/null; then
		[ -c /dev/net/tun ] || {
			echo "try.sh: this kernel has neither WireGuard nor /dev/net/tun; try on another machine" >&2
			exit 1
		}
	fi
	[ -n "${LAB_STAGE:-}" ] || echo "building wg-mesh"
	[ -n "${LAB_STAGE:-}" ] || make -s -C "$LAB_TOP" -j"$(nproc)" all >/dev/null || {
		echo "try.sh: the build failed; run \`make all\` to see why" >&2
		exit 1
	}
fi
lab_enter "$@"

say "The street: one public network, a coordinator, and two houses behind home routers"
street
host coord
on_street coord eth0 203.0.113.1/24 203.0.113.2/24
router routera 203.0.113.10 192.168.1.1 port_restricted
router routerb 203.0.113.20 192.168.2.1 port_restricted
at_home alice routera 192.168.1.2
at_home bob routerb 192.168.2.2
note "Alice's house   alice 192.168.1.2 -- router -- 203.0.113.10 \\"
note "                                                            +--- coordinator 203.0.113.1"
note "Bob's house     bob   192.168.2.2 -- router -- 203.0.113.20 /"
note "Neither router lets anybody in who was not spoken to first (port-restricted NAT)."

say "1. The coordinator starts; it needs no configuration"
note "coord# wg-mesh-coordinator serve --public-url https://203.0.113.1:8443"
start_coordinator
note "It prints a join link: https://203.0.113.1:8443/join#..., and one to its dashboard"

say "2. Alice joins"
note "alice# wg-mesh join '$(echo "$LAB_LINK" | cut -c1-50)...'"
on alice wg-mesh join "$LAB_LINK" 2>&1 | sed 's/^/      /'

say "3. Bob joins"
note "bob# wg-mesh join '$(echo "$LAB_LINK" | cut -c1-50)...'"
on bob wg-mesh join "$LAB_LINK" 2>&1 | sed 's/^/      /'
wait_for 15 is_direct alice bob && wait_for 15 is_direct bob alice ||
	give_up "the two did not find a direct path."
nat_known() { [ "$(status "$1" .nat.filtering)" != null ]; }
wait_for 5 nat_known alice
wait_for 5 nat_known bob

say "4. What each found out about itself"
for name in alice bob; do
	note "$name: $(status $name '"NAT \(.nat.type), mapping \(.nat.mapping), filtering \(.nat.filtering); seen from outside as \(.nat.endpoints[0])"')"
done

say "5. What each sees of the other"
show alice wg-mesh status wg0
show bob wg-mesh status wg0

say "6. A ping, first by wg-mesh, then through the tunnel"
show alice wg-mesh ping wg0 bob -c 1 || give_up "wg-mesh ping had no answer."
show alice ping -c 2 -i 0.3 "$(mesh_address bob)" || give_up "a ping through the tunnel had no answer."

say "7. What carries it is WireGuard alone"
show alice wg show wg0
note "(the coordinator could be switched off now)"

say "That was it."
note "Everything was made in namespaces that end with this script; nothing is left on this machine."
note "For real: README.md, \"Your first mesh\"."
exit 0
