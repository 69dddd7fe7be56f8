#!/bin/sh
# stun.sh - our STUN server beside a client written from the RFCs alone, in two network namespaces:
# with two addresses of each family, with one, its run directory, and how it ends.
set -u
cd "$(dirname "$0")/../.." || exit 1
RELAY=${RELAY:-$PWD/build/release/wg-mesh-relay}
CLIENT=$PWD/tests/interop/stun_client.py

if [ "$(id -u)" != 0 ]; then
	echo "skip stun namespaces need root: run it with sudo"
	exit 77
fi
command -v python3 >/dev/null || {
	echo "skip stun there is no python3"
	exit 77
}
if [ -z "${STUN_INSIDE:-}" ]; then
	make -s "$RELAY" 2>/dev/null || true
	[ -x "$RELAY" ] || RELAY=$PWD/build/release/wg-mesh-relay make -s all >/dev/null || exit 1
	STUN_INSIDE=1 RELAY=$RELAY exec unshare --mount --net --pid --fork --kill-child --mount-proc sh "$0"
fi
mount -t tmpfs tmpfs /run
mkdir -p /run/netns
failed=0

expect() { # NAME WANTED GOT
	if [ "$2" = "$3" ]; then
		echo "ok stun: $1"
	else
		echo "not ok stun: $1: expected \"$2\", got \"$3\""
		failed=1
	fi
}
ask() { # HOST PORT COMMAND
	ip netns exec client python3 "$CLIENT" "$@" 2>&1
}
start() { # ARGUMENT... : our server, until it says that it serves
	rm -rf /run/stun
	"$RELAY" --run-dir /run/stun "$@" >/run/relay.log 2>&1 &
	relay=$!
	for _ in $(seq 100); do
		[ -s /run/stun/relay.json ] && return
		sleep 0.05
	done
	echo "not ok stun: the server does not start: $(cat /run/relay.log)"
	exit 1
}
stop() {
	kill -TERM "$relay"
	wait "$relay"
}

ip link set lo up
ip netns add client
ip link add up0 type veth peer name up1
ip link set up1 netns client
ip addr add 203.0.113.1/24 dev up0
ip -6 addr add 2001:db8::1/64 dev up0 nodad
ip link set up0 up
ip -n client addr add 203.0.113.7/24 dev up1
ip -n client -6 addr add 2001:db8::7/64 dev up1 nodad
ip -n client link set up1 up
sleep 0.2

start
expect "one address: the asker's own" "self from 203.0.113.1:3478 origin 203.0.113.1:3478" \
	"$(ask 203.0.113.1 3478 bind)"
expect "one address, IPv6" "self from 2001:db8::1:3478 origin [2001:db8::1]:3478" "$(ask 2001:db8::1 3478 bind)"
expect "one address: another one is refused" "error 420 unknown 0003" "$(ask 203.0.113.1 3478 change-ip)"
expect "an unknown attribute is refused" "error 420 unknown 7001" "$(ask 203.0.113.1 3478 unknown)"
for what in indication garbage cut; do
	expect "no answer to: $what" silence "$(ask 203.0.113.1 3478 $what)"
done
expect "a flood is not reflected" limited "$(ask 203.0.113.1 3478 flood)"
expect "relay.json" "{\"pid\":$relay,\"stun\":[\"[::]:3478\"],\"version\":\"$("$RELAY" --version | cut -d' ' -f2)\"}" \
	"$(cat /run/stun/relay.json)"
expect "relay.lock" "$relay" "$(cat /run/stun/relay.lock)"
second=$("$RELAY" --run-dir /run/stun --stun :4000 2>&1)
expect "a second one is refused" "1 a relay is running already (process $relay" \
	"$? $(echo "$second" | grep -o "a relay is running already (process $relay")"
stop
expect "SIGTERM ends it cleanly" "0 gone" "$? $([ -e /run/stun/relay.json ] && echo there || echo gone)"

ip addr add 203.0.113.2/24 dev up0
ip -6 addr add 2001:db8::2/64 dev up0 nodad
ip addr add 192.168.77.1/24 dev up0
start
other="other 203.0.113.2:3479"
expect "two addresses" "self from 203.0.113.1:3478 origin 203.0.113.1:3478 $other" "$(ask 203.0.113.1 3478 bind)"
expect "another port" "self from 203.0.113.1:3479 origin 203.0.113.1:3479 $other" "$(ask 203.0.113.1 3478 change-port)"
expect "another address" "self from 203.0.113.2:3478 origin 203.0.113.2:3478 $other" "$(ask 203.0.113.1 3478 change-ip)"
expect "both" "self from 203.0.113.2:3479 origin 203.0.113.2:3479 $other" "$(ask 203.0.113.1 3478 change-both)"
expect "asked at the second" "self from 203.0.113.2:3479 origin 203.0.113.2:3479 other 203.0.113.1:3478" \
	"$(ask 203.0.113.2 3479 bind)"
expect "both, IPv6" "self from 2001:db8::2:3479 origin [2001:db8::2]:3479 other [2001:db8::2]:3479" \
	"$(ask 2001:db8::1 3478 change-both)"
stop

start --stun 203.0.113.1:5000
expect "one named address does not answer for others" \
	"self from 203.0.113.1:5000 origin 203.0.113.1:5000" "$(ask 203.0.113.1 5000 bind)"
expect "nobody at the other" silence "$(ask 203.0.113.2 5000 bind)"
stop

start --stun 203.0.113.1:5000 --stun 203.0.113.2:5000
expect "two named addresses are a pair" "self from 203.0.113.2:5001 origin 203.0.113.2:5001 other 203.0.113.2:5001" \
	"$(ask 203.0.113.1 5000 change-both)"
stop

start --stun 203.0.113.1:5000 --stun-alternate 203.0.113.2
expect "an address and its alternate are a pair" \
	"self from 203.0.113.2:5001 origin 203.0.113.2:5001 other 203.0.113.2:5001" "$(ask 203.0.113.1 5000 change-both)"
stop

"$RELAY" --stun 203.0.113.1:5000 --stun-alternate 198.51.100.1 >/run/relay.log 2>&1
expect "an alternate that is not ours" "1" "$?"
"$RELAY" --stun nonsense >/run/relay.log 2>&1
expect "a wrong address" "2" "$?"
printf 'stun: ["203.0.113.1:5000"]\nstun_altrnate: 203.0.113.2\n' >/run/relay.yaml
"$RELAY" --config /run/relay.yaml --check >/run/relay.log 2>&1
expect "a wrong key in the file" \
	"2 wg-mesh-relay: /run/relay.yaml:2:1: unknown key \"stun_altrnate\", did you mean \"stun_alternate\"?" \
	"$? $(cat /run/relay.log)"
printf 'stun: ["203.0.113.1:5000"]\nstun_alternate: 203.0.113.2\n' >/run/relay.yaml
"$RELAY" --config /run/relay.yaml --check >/run/relay.log 2>&1
expect "a good file" "0 /run/relay.yaml: good" "$? $(cat /run/relay.log)"
exit $failed
