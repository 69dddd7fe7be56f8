#!/bin/sh
# Two meshes on one host, and hosts of one machine that share a file system: nobody disturbs anybody.
set -u
. "$(dirname "$0")/lib.sh"
lab_enter "$@"
street
coordinator
on coord wg-mesh-coordinator network create office --cidr 10.44.0.0/16 >/dev/null || not_ok "a second network"
office=$(on coord wg-mesh-coordinator key create --network office --reusable)
check "key create prints the link alone" sh -c "printf '%s\n' '$office' | grep -qE '^https://203.0.113.1:8443/join#[^ ]+$'"
for n in 0 1; do
	name=$(echo 'alice bob' | cut -d' ' -f$((n + 1)))
	host "$name"
	on_street "$name" eth0 203.0.113.3$n/24
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

# Another namespace of the same file system: the name is taken, and says so.
nsenter --target "$(pid_of alice)" --root --mount --uts -- unshare --net sh -c '
	ip link set lo up
	ip link add wg0 type dummy 2>/dev/null
	wg-mesh up wg0' >$LAB_DIR/other.out 2>&1
check "up in another namespace ends with 0" test $? -eq 0
check "and says that the name is taken" grep -qi 'namespace' $LAB_DIR/other.out
check "wg0 goes on" tunnel_ping alice bob
lab_end
