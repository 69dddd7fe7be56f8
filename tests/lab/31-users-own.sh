#!/bin/sh
# The user's interface is the user's: SaveConfig, syncconf, peers written by hand, Table. What
# wg-quick alone makes of the file is seen first, and compared with.
set -u
. "$(dirname "$0")/lib.sh"
lab_enter "$@"
on_one_street alice bob

# Alice has had this file for years.
key=$(wg genkey)
friend=$(wg genkey | wg pubkey)
conf=/etc/wireguard/wg0.conf
cat >$LAB_DIR/original <<-EOF
	# my tunnel
	[Interface]
	PrivateKey = $key
	ListenPort = 41000
	Address = 172.31.0.1/24
	SaveConfig = true

	[Peer]
	# my friend
	PublicKey = $friend
	PresharedKey = $(wg genpsk)
	AllowedIPs = 172.31.0.2/32, fd31::2/128
	Endpoint = 203.0.113.99:9999
	PersistentKeepalive = 17
EOF
put_original() { on alice sh -c "umask 077; cat >$conf" <$LAB_DIR/original; }
# A paragraph a line, without our two lines. (A TUN device's link-local address is the kernel's own;
# wg-quick saves it with or without us.)
normal() {
	grep -v -e '^Address = fe80:' -e '^PostUp = wg-mesh up %i || true$' -e '^PreDown = wg-mesh down %i || true$' |
		awk 'BEGIN { RS = "" } { gsub("\n", "; "); print }' | sort
}
saved() { on alice cat $conf | normal; }
friends_stanza() { on alice wg showconf wg0 | normal | grep -F "$friend"; }

# What wg-quick alone saves, and what the friend looks like to WireGuard.
put_original
on alice wg-quick up wg0 >/dev/null 2>&1
friend_alone=$(friends_stanza)
on alice wg-quick down wg0 >/dev/null 2>&1
saved_alone=$(saved)
check "wg-quick alone: the friend has five lines" test "$(echo "$friend_alone" | tr ';' '\n' | grep -c ' = ')" = 5
check "wg-quick alone: the file has the friend" sh -c "echo '$saved_alone' | grep -qF '$friend'"
put_original

before=$(on alice sha256sum $conf)
on alice wg-mesh join "$LAB_LINK" --no-up >$LAB_DIR/join.out 2>&1 || not_ok "alice joins with her own file"
check "without --edit-conf the file stays as it is" test "$before" = "$(on alice sha256sum $conf)"
check "the two hook lines are printed" grep -q 'PostUp = wg-mesh up %i || true' $LAB_DIR/join.out
on alice wg-mesh leave wg0 >/dev/null 2>&1
check "after leave the file is as it was" test "$before" = "$(on alice sha256sum $conf)"
check "alice joins with --edit-conf" on alice wg-mesh join "$LAB_LINK" --edit-conf
check "bob joins" on bob wg-mesh join "$LAB_LINK"
check "they meet" wait_for 10 is_direct alice bob
check "the key is hers" test "$(on alice wg show wg0 public-key)" = "$(echo "$key" | wg pubkey)"

bob_key=$(on bob wg show wg0 public-key)
has_peer() { on alice wg show wg0 peers | grep -qF "$1"; }
check "bob is a peer" has_peer "$bob_key"
friend_untouched() { [ "$(friends_stanza)" = "$friend_alone" ]; }
check "the friend is untouched" friend_untouched
check "and not managed" test "$(status alice ".peers[] | select(.public_key == \"$friend\") | .managed")" = false

# wg syncconf removes what is not in the file; ours come back.
on alice sh -c 'wg-quick strip wg0 >/run/strip; wg syncconf wg0 /run/strip'
check "after wg syncconf bob is back" wait_for 15 has_peer "$bob_key"
check "and packets pass again" wait_for 15 tunnel_ping alice bob
check "and the friend is untouched" friend_untouched

# A new file by SaveConfig is the one that wg-quick alone saves, and our two lines, whatever state
# the agent is in when `down` comes.
no_agent() { [ -z "$(agents alice)" ]; }
for state in running STOP KILL; do
	check "$state: there is an agent" test -n "$(agents alice)"
	# shellcheck disable=SC2046
	[ $state = running ] || kill -$state $(agents alice)
	check "$state: wg-quick down" on alice wg-quick down wg0
	check "$state: the saved file is what wg-quick alone saves" test "$(saved)" = "$saved_alone"
	check "$state: and our two lines" test "$(on alice grep -c 'wg-mesh \(up\|down\) %i || true' $conf)" = 2
	check "$state: no agent is left" wait_for 5 no_agent
	check "$state: up again" on alice wg-quick up wg0
	check "$state: they meet again" wait_for 15 is_direct alice bob
	check "$state: the friend is untouched" friend_untouched
done

# The agent killed, and adopted by the next up.
# shellcheck disable=SC2046
kill -KILL $(agents alice)
on alice wg-mesh up wg0
check "killed and up again: bob is there" wait_for 15 is_direct alice bob
check "killed and up again: the friend is untouched" friend_untouched

# A peer by hand while the agent runs.
second=$(wg genkey | wg pubkey)
on alice wg set wg0 peer "$second" allowed-ips 172.31.0.3/32 endpoint 203.0.113.98:9998 persistent-keepalive 19
seconds_stanza() { on alice wg showconf wg0 | normal | grep -F "$second"; }
by_hand=$(seconds_stanza)
sleep 5
check "a peer added by hand stays as it is" test "$by_hand" = "$(seconds_stanza)"
check "leave ends well" on alice wg-mesh leave wg0
check "after leave it is as it was" test "$by_hand" = "$(seconds_stanza)"
check "after leave the friend is as it was" friend_untouched
check_not "the hook lines are gone from the file" on alice grep wg-mesh $conf
check "the file is what wg-quick alone saved" test "$(saved)" = "$saved_alone"
lab_end
