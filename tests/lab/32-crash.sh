#!/bin/sh
# Direct packets pass no code of ours, and a dead agent loses nothing: SIGSTOP, SIGKILL, adoption by
# the next `up`, and `down` with no agent alive. Alice has a peer, an address, a route and a rule of
# her own, bob offers a network; all that alice's host has is looked at before, within and after.
set -u
. "$(dirname "$0")/lib.sh"
lab_enter "$@"
on_one_street alice bob
on bob ip link add lan type bridge
on bob ip address add 192.168.77.1/24 dev lan
on bob ip link set lan up

cat >$LAB_DIR/alice.conf <<-EOF
	[Interface]
	PrivateKey = $(wg genkey)
	ListenPort = 41000
	Address = 172.31.0.1/24, fd31::1/64

	[Peer]
	PublicKey = $(wg genkey | wg pubkey)
	PresharedKey = $(wg genpsk)
	AllowedIPs = 172.31.0.2/32, 172.30.0.0/16
	Endpoint = 203.0.113.99:9999
	PersistentKeepalive = 17
EOF
on alice sh -c 'umask 077; cat >/etc/wireguard/wg0.conf' <$LAB_DIR/alice.conf
on alice wg-quick up wg0 >/dev/null 2>&1
on alice ip route add 198.18.5.0/24 dev wg0
on alice ip route add 198.18.6.0/24 dev wg0 table 7
on alice ip rule add from 198.18.7.0/24 lookup 7
on alice ip -6 rule add from 2001:db8:7::/48 lookup 7

# All of alice's that an agent could make: a line each, but of a process only that it is there.
dump() {
	on alice wg showconf wg0 | awk 'BEGIN { RS = "" } { gsub("\n", "; "); print "wg", $0 }' | sort
	on alice ip -o address show | grep -v ' fe80:' | sed 's/\\.*//; s/^/address /'
	on alice ip -4 route show table all | sed 's/^/route /' | sort
	on alice ip -6 route show table all | grep -v -e fe80: -e '^multicast' | sed 's/ expires [^ ]*//; s/^/route6 /' | sort
	on alice ip -4 rule | sed 's/^/rule /'
	on alice ip -6 rule | sed 's/^/rule6 /'
	agents alice | sed 's/.*/agent/'
}
same() { # FILE - what is there now is what was there then
	dump >$LAB_DIR/dump.now
	diff "$1" $LAB_DIR/dump.now
}
dump >$LAB_DIR/dump.before
seen=$(grep -cE 'PersistentKeepalive = 17|^address.*172.31.0.1/24|198.18.5.0/24|198.18.6.0/24|198.18.7.0/24|2001:db8:7::/48' $LAB_DIR/dump.before)
check "all of alice's own is seen" test "$seen" = 6

check "bob joins and offers a network" on bob wg-mesh join "$LAB_LINK" --name bob --advertise-routes 192.168.77.0/24
check "which is approved" on coord wg-mesh-coordinator route approve bob 192.168.77.0/24
check "alice joins" on alice wg-mesh join "$LAB_LINK" --name alice --no-up
on alice sh -c 'echo "routes: {accept: true}" >>/etc/wg-mesh/wg0.yaml'
on alice wg-mesh up wg0
check "they meet" wait_for 10 is_direct alice bob
wait_for 10 is_direct bob alice
bob_address=$(mesh_address bob)
ping_bob() { on alice ping -c 3 -i 0.2 -W 2 "$bob_address"; }
ping_lan() { on alice ping -c 1 -W 2 192.168.77.1; }
check "alice reaches bob's network" wait_for 10 ping_lan

signal() { # SIGNAL HOST
	# shellcheck disable=SC2046
	kill "-$1" $(agents "$2")
}
signal STOP alice
signal STOP bob
check "both agents stopped: packets pass" ping_bob
signal CONT alice
signal CONT bob

# SIGKILL of everything of ours on alice.
dump >$LAB_DIR/dump.joined
of_mesh=$(diff $LAB_DIR/dump.before $LAB_DIR/dump.joined | grep -cE '^> (wg .*192.168.77.0/24|address .* wg0 |route 192.168.77.0/24 dev wg0|agent)')
check "all of the mesh's is seen" test "$of_mesh" -ge 6
signal KILL alice
sleep 0.5
check "all of ours killed: none is left" test -z "$(agents alice)"
check "all of ours killed: packets pass" ping_bob
on alice wg-mesh up wg0
check "the next up answers" wait_for 5 answers alice
check "it adopts: packets pass" ping_bob
check "it adopts: direct again" wait_for 10 is_direct alice bob
check "it adopts: nothing is doubled, nothing is lost" wait_for 10 same $LAB_DIR/dump.joined

# The agent alone is killed, three times: it comes back by itself, each time a little later.
the_agent() { pgrep -n -P "$(on alice cat /run/wg-mesh/wg0.pid)"; } # its supervisor's youngest
for turn in first second third; do
	wait_for 10 answers alice
	old=$(the_agent)
	check "the agent is known" test -n "$old"
	kill -KILL "$old"
	another() { new=$(the_agent) && [ "$new" != "$old" ] && answers alice; }
	check "killed for the $turn time it comes back by itself" wait_for 15 another
done
waits=$(on alice grep -o 'again_in_ms=[0-9]*' /run/wg-mesh/wg0.log | cut -d= -f2 | tail -n 3 | tr '\n' ' ')
echo "# it waited $waits ms"
growing() { [ $# -eq 3 ] && [ "$1" -lt "$2" ] && [ "$2" -lt "$3" ]; }
# shellcheck disable=SC2086
check "each wait is longer than the last" growing $waits
check "direct again" wait_for 15 is_direct alice bob
check "nothing is doubled, nothing is lost" wait_for 10 same $LAB_DIR/dump.joined

# Down with no agent alive.
signal KILL alice
sleep 0.3
on alice wg-mesh down wg0
check "down without an agent removes all of ours and nothing of hers" wait_for 2 same $LAB_DIR/dump.before
check "and the ledger" on alice test ! -e /run/wg-mesh/wg0.owned

# A hung agent: down removes everything itself, in time.
on alice wg-mesh up wg0
check "up again, direct again" wait_for 15 is_direct alice bob
check "all of it is there again" wait_for 10 same $LAB_DIR/dump.joined
hung=$(agents alice | tr '\n' ' ')
check "the agent's processes are known" test "$(echo "$hung" | wc -w)" -ge 2
signal STOP alice
begin=$(now_ms)
on alice wg-mesh down wg0
elapsed=$(($(now_ms) - begin))
echo "# down with a hung agent took $elapsed ms"
check "a hung agent does not hold up down" test $elapsed -lt 600
all_ended() {
	for pid in $hung; do
		kill -0 "$pid" 2>/dev/null && return 1
	done
	[ -z "$(agents alice)" ]
}
check "the hung agent is ended" wait_for 5 all_ended
check "all of ours is gone and nothing of hers" wait_for 2 same $LAB_DIR/dump.before
check "wg-quick down takes the interface" on alice wg-quick down wg0
lab_end
