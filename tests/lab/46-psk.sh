#!/bin/sh
# psk: auto. Two agents agree on a preshared key and on another one each few minutes, and no packet is
# lost; the coordinator sees none of it, and is not needed to start again with what was agreed on. A
# third host does not take part, and the user's own peers are left alone.
set -u
. "$(dirname "$0")/lib.sh"
lab_enter "$@"
street
coordinator --verbose
public_hosts alice bob carol
for name in alice bob carol; do
	on $name wg-mesh join "$LAB_LINK" --name $name >/dev/null 2>&1 || not_ok "$name joins"
done
configure() { # HOST PSK
	on "$1" sh -c 'sed -i "/^psk/d" /etc/wg-mesh/wg0.yaml; printf "psk: %s\npsk_rotate: 1m\n" "$1" >>/etc/wg-mesh/wg0.yaml' sh "$2"
	on "$1" wg-mesh reload wg0 >/dev/null || not_ok "$1 reloads"
}
# The key that a host's WireGuard has for another host: "(none)" or base64.
key_of() { on "$1" wg show wg0 preshared-keys | awk -v peer="$(on "$2" wg show wg0 public-key)" '$1 == peer { print $2 }'; }
agreed() { # BUT-NOT
	lab_a=$(key_of alice bob)
	[ "$lab_a" != "(none)" ] && [ "$lab_a" = "$(key_of bob alice)" ] && [ "$lab_a" != "$1" ]
}
# Both hold one key and nothing else: a handshake had it, and each has heard so of the other.
at_rest() { on "$1" jq -e --arg peer "$(on "$2" wg show wg0 public-key)" --arg key "$(key_of "$1" "$2")" \
	'.peers[] | select(.public_key == $peer) | .state == "idle" and .now.key == $key' /var/lib/wg-mesh/agent/wg0.psk; }
finished() { agreed "$1" && at_rest alice bob && at_rest bob alice; }

check "they meet" wait_for 15 is_direct alice bob
check "and carol" wait_for 15 is_direct alice carol
user=$(wg genkey | wg pubkey)
user_psk=$(wg genpsk)
echo "$user_psk" | on alice wg set wg0 peer "$user" preshared-key /dev/stdin allowed-ips 172.31.0.2/32
on bob sh -c "echo '$user_psk' | wg set wg0 peer $(on carol wg show wg0 public-key) preshared-key /dev/stdin"

configure alice auto
configure bob auto
on_bg alice /run/ping.out ping -i 0.2 -W 1 "$(mesh_address bob)"
pinger=$LAB_BG
check "a first key is on both" wait_for 60 agreed none
first=$(key_of alice bob)
check "a handshake has it, and nothing older is kept" wait_for 170 finished none
check "another one follows" wait_for 200 finished "$first"
second=$(key_of alice bob)
check "carol, who is off, has none with either" test "$(key_of carol alice) $(key_of alice carol)" = "(none) (none)"
check "the user's own peer has its key" test "$(on alice wg show wg0 preshared-keys | awk -v p="$user" '$1 == p { print $2 }')" = "$user_psk"
check "so has the peer of ours that the user gave one" test "$(key_of bob carol)" = "$user_psk"

# ---- the coordinator away --------------------------------------------------------

kill -KILL "$(on coord pgrep -f 'wg-mesh-coordinator serve' | head -n 1)"
kill -INT $pinger
wait_for 5 on alice grep -q transmitted /run/ping.out
sent=$(on alice awk '/transmitted/ { print $1 }' /run/ping.out)
lost=$(on alice awk '/transmitted/ { print $1 - $4 }' /run/ping.out)
# A handshake may cost what is sent meanwhile.
check "no packet was lost over both ($lost of $sent)" test "$lost" -le 3 -a "$sent" -gt 300
check "bob starts anew" on bob sh -c 'wg-quick down wg0 && wg-quick up wg0'
check "the tunnel is there without a coordinator" wait_for 40 tunnel_ping bob alice
check "with the key agreed on" agreed "$first"
kept=$(key_of alice bob)
on alice sh -c 'kill -KILL $(cat /run/wg-mesh/wg0.pid)'
on alice wg-mesh up wg0
check "an agent that was killed changes nothing" test "$(key_of alice bob)" = "$kept"
check "and the tunnel goes on" tunnel_ping alice bob

# ---- nobody else has seen it -----------------------------------------------------

cat >$LAB_DIR/found.py <<-'END'
	import base64, sys
	secrets = []
	for key in sys.argv[1].split():
	    raw = base64.b64decode(key)
	    secrets += [key.rstrip("=").encode(), raw, raw.hex().encode()]
	hits = [f for f in sys.argv[2:] for s in secrets if s in open(f, "rb").read()]
	print(hits)
	sys.exit(0 if hits else 1)
END
root_of() { echo "/proc/$(pid_of "$1")/root"; }
# shellcheck disable=SC2046
check_not "in no log, state, ledger or database" python3 $LAB_DIR/found.py "$first $second $kept" \
	$(find "$(root_of coord)/run" "$(root_of coord)/var/lib/wg-mesh" "$(root_of alice)/run" "$(root_of bob)/run" \
		"$(root_of alice)/var/lib/wg-mesh" "$(root_of bob)/var/lib/wg-mesh" -type f ! -name '*.psk')
check "(it is in the one file)" python3 $LAB_DIR/found.py "$kept" "$(root_of alice)/var/lib/wg-mesh/agent/wg0.psk"
check "which is root's alone" test "$(on alice stat -c %a /var/lib/wg-mesh/agent/wg0.psk)" = 600

# ---- off again -----------------------------------------------------------------

start_coordinator_again() {
	on_bg coord /run/coordinator2.log wg-mesh-coordinator serve --public-url https://203.0.113.1:8443
	wait_for 20 on coord wg-mesh-coordinator agent list
}
connected() { [ "$(status "$1" .coordinator.connected)" = true ]; }
start_coordinator_again >/dev/null 2>&1
check "connected again" wait_for 90 connected alice
check "and bob" wait_for 90 connected bob
configure bob off
check "bob keeps the key until alice has agreed" tunnel_ping alice bob
neither() { [ "$(key_of alice bob) $(key_of bob alice)" = "(none) (none)" ]; }
check "then both have none" wait_for 200 neither
check "and the tunnel goes on" tunnel_ping alice bob
check "leave takes the file away" on bob sh -c 'wg-mesh leave wg0 && test ! -e /var/lib/wg-mesh/agent/wg0.psk'
lab_end
