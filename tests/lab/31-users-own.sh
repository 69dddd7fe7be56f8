#!/bin/sh
# The user's interface is the user's: SaveConfig, syncconf, peers written by hand, Table.
set -u
. "$(dirname "$0")/lib.sh"
lab_enter "$@"
street
coordinator
host alice
on_street alice eth0 203.0.113.30/24
host bob
on_street bob eth0 203.0.113.31/24

# Alice has had this file for years.
key=$(wg genkey)
friend=$(wg genkey | wg pubkey)
on alice sh -c "umask 077; cat >/etc/wireguard/wg0.conf" <<-EOF
	# my tunnel
	[Interface]
	PrivateKey = $key
	ListenPort = 41000
	Address = 172.31.0.1/24
	SaveConfig = true

	[Peer]
	# my friend
	PublicKey = $friend
	AllowedIPs = 172.31.0.2/32
	Endpoint = 203.0.113.99:9999
EOF
before=$(on alice sha256sum /etc/wireguard/wg0.conf)
on alice wg-mesh join "$LAB_LINK" --no-up >$LAB_DIR/join.out 2>&1 || not_ok "alice joins with her own file"
check "without --edit-conf the file stays as it is" test "$before" = "$(on alice sha256sum /etc/wireguard/wg0.conf)"
check "the two hook lines are printed" grep -q 'PostUp = wg-mesh up %i || true' $LAB_DIR/join.out
on alice wg-mesh leave wg0 >/dev/null 2>&1
check "after leave the file is as it was" test "$before" = "$(on alice sha256sum /etc/wireguard/wg0.conf)"
check "alice joins with --edit-conf" on alice wg-mesh join "$LAB_LINK" --edit-conf
check "bob joins" on bob wg-mesh join "$LAB_LINK"
check "they meet" wait_for 10 is_direct alice bob
check "the key is hers" test "$(on alice wg show wg0 public-key)" = "$(echo "$key" | wg pubkey)"

bob_key=$(on bob wg show wg0 public-key)
has_peer() { on alice wg show wg0 peers | grep -qF "$1"; }
check "bob is a peer" has_peer "$bob_key"
friend_untouched() {
	[ "$(on alice wg show wg0 allowed-ips | grep -F "$friend" | cut -f2)" = 172.31.0.2/32 ] &&
		[ "$(on alice wg show wg0 endpoints | grep -F "$friend" | cut -f2)" = 203.0.113.99:9999 ]
}
check "the friend is untouched" friend_untouched
check "and not managed" test "$(status alice ".peers[] | select(.public_key == \"$friend\") | .managed")" = false

# wg syncconf removes what is not in the file; ours come back.
on alice sh -c 'wg-quick strip wg0 >/run/strip; wg syncconf wg0 /run/strip'
check "after wg syncconf bob is back" wait_for 15 has_peer "$bob_key"
check "and packets pass again" wait_for 15 tunnel_ping alice bob

# A new file by SaveConfig has the user's peers only.
on alice wg-quick down wg0 >/dev/null 2>&1
saved() { on alice cat /etc/wireguard/wg0.conf; }
check_not "the saved file does not have bob" sh -c "nsenter -r -t $(pid_of alice) -m cat /etc/wireguard/wg0.conf | grep -qF '$bob_key'"
check "it has the friend" sh -c "nsenter -r -t $(pid_of alice) -m cat /etc/wireguard/wg0.conf | grep -qF '$friend'"
# (A TUN device's link-local address is the kernel's own; wg-quick saves it with or without us.)
check "its one address is hers" test "$(saved | grep '^Address' | grep -vc ' fe80:')" = 1
check "its address is hers" sh -c "nsenter -r -t $(pid_of alice) -m cat /etc/wireguard/wg0.conf | grep -qE '^Address = 172.31.0.1/24'"
check "the hook lines are still there" test "$(saved | grep -c 'wg-mesh \(up\|down\) %i || true')" = 2
check_not "no mark was saved" sh -c "nsenter -r -t $(pid_of alice) -m cat /etc/wireguard/wg0.conf | grep -qi '^FwMark'"

# Up again, and a peer by hand while the agent runs.
check "up again" on alice wg-quick up wg0
check "they meet again" wait_for 10 is_direct alice bob
second=$(wg genkey | wg pubkey)
on alice wg set wg0 peer "$second" allowed-ips 172.31.0.3/32
sleep 5
check "a peer added by hand stays" has_peer "$second"
on alice wg set wg0 peer "$second" remove
check "leave ends well" on alice wg-mesh leave wg0
check_not "the hook lines are gone from the file" sh -c "nsenter -r -t $(pid_of alice) -m cat /etc/wireguard/wg0.conf | grep -q wg-mesh"
check "the friend is still in the file" sh -c "nsenter -r -t $(pid_of alice) -m cat /etc/wireguard/wg0.conf | grep -qF '$friend'"
lab_end
