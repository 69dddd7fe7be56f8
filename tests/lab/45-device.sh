#!/bin/sh
# A telephone with the stock WireGuard app, played by wg-quick behind a NAT: it takes the configuration
# that `peer add` prints, and reaches its gateway; nobody else is told of it.
set -u
. "$(dirname "$0")/lib.sh"
lab_enter "$@"
on_one_street gate other
on gate ip route add default via 203.0.113.1
on other ip route add default via 203.0.113.1
router home 203.0.113.20 192.168.2.1 port_restricted
at_home phone home 192.168.2.2

check "the gateway joins" on gate wg-mesh join "$LAB_LINK"
check "another agent joins" on other wg-mesh join "$LAB_LINK"
has_endpoint() { status "$1" '.nat.endpoints[0]' | grep -q :; }
check "the gateway finds its endpoint" wait_for 10 has_endpoint gate

peer_add() { on coord sh -c 'exec wg-mesh-coordinator peer add "$@" 2>/run/notes' sh "$@"; }
known() { on coord wg-mesh-coordinator agent show "$1" --json | jq -e '.agent.endpoint' >/dev/null; }
check "the coordinator knows it" wait_for 10 known gate
peer_add phone --via gate >$LAB_DIR/wgphone.conf || not_ok "peer add"
check "a configuration is printed" grep -q '^PrivateKey = ' $LAB_DIR/wgphone.conf
check "with the gateway's endpoint" grep -q '^Endpoint = 203.0.113.30:' $LAB_DIR/wgphone.conf
check "it is said that nothing is forwarded" on coord grep -q 'nothing is forwarded' /run/notes
check "peer list has it" sh -c 'grep -q phone' <<-END
	$(on coord wg-mesh-coordinator peer list)
END
key=$(sed -n 's/^PrivateKey = //p' $LAB_DIR/wgphone.conf)
public=$(echo "$key" | wg pubkey)
not_stored() { ! grep -raF "$key" "/proc/$(pid_of coord)/root/run" "/proc/$(pid_of coord)/root/var/lib/wg-mesh"; }
check "the private key is kept nowhere" not_stored

gate_has() { on gate wg show wg0 peers | grep -qxF "$public"; }
check "the gateway takes it over by itself" wait_for 5 gate_has
shown() { status gate ".peers[] | select(.name == \"phone\") | [.managed, .path, .online] | @csv" | grep -qx "$1"; }
check "status: ours, no path yet" shown 'true,"none",false'
cp $LAB_DIR/wgphone.conf "/proc/$(pid_of phone)/root/etc/wireguard/wgphone.conf"
on phone wg-quick up wgphone >$LAB_DIR/quick.out 2>&1 || not_ok "wg-quick takes it: $(cat $LAB_DIR/quick.out)"
gate_address=$(mesh_address gate)
check "the phone reaches the gateway" wait_for 10 on phone ping -c 1 -W 1 "$gate_address"
phone_address=$(status gate '.peers[] | select(.name == "phone") | .addresses[0]')
check "and the gateway the phone" on gate ping -c 1 -W 2 "$phone_address"
check "status: direct, by handshake" wait_for 8 shown 'true,"direct",true'
check "wg-mesh ping says what to do" sh -c 'echo "$0" | grep -q "without an agent"' "$(on gate wg-mesh ping wg0 phone -c 1 2>&1)"

knows_phone() { status other '.peers[].name' | grep -qx phone; }
check_not "the other agent is not told of it" knows_phone
check_not "the phone reaches nobody else" on phone ping -c 1 -W 1 "$(mesh_address other)"

on gate wg-mesh down wg0
gone() { ! gate_has 2>/dev/null; }
check "after down it is gone from the interface" gone
on gate wg-mesh up wg0
check "after up it is back" wait_for 6 gate_has
# WireGuard itself takes up to 15 s to find out that the other side has lost the session.
check "and the phone reaches the gateway" wait_for 25 on phone ping -c 1 -W 1 "$gate_address"

kill -9 "$LAB_COORDINATOR"
wait "$LAB_COORDINATOR" 2>/dev/null
sleep 1
on_bg coord /run/coordinator2.log wg-mesh-coordinator serve --public-url https://203.0.113.1:8443
connected() { [ "$(status gate .coordinator.connected)" = true ]; }
check "the coordinator is killed and comes back" wait_for 30 connected
check "the device is still known" sh -c 'echo "$0" | grep -q phone' "$(on coord wg-mesh-coordinator peer list)"
check "and on the gateway" gate_has

own=$(wg genkey)
peer_add tablet --via gate --public-key "$(echo "$own" | wg pubkey)" >$LAB_DIR/tablet.conf
check_not "with --public-key there is no private key to print" grep -q '^PrivateKey' $LAB_DIR/tablet.conf
check_not "a key serves one device" peer_add again --via gate --public-key "$(echo "$own" | wg pubkey)"
check_not "a name serves one peer" peer_add other --via gate
check "peer remove" on coord wg-mesh-coordinator peer remove phone
check "cuts it off the gateway" wait_for 5 gone
check "the gateway is removed" on coord wg-mesh-coordinator agent remove gate
check "and its devices with it" sh -c '! echo "$0" | grep -q tablet' "$(on coord wg-mesh-coordinator peer list)"
lab_end
