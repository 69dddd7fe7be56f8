#!/bin/sh
# The coordinator is not root here (SPEC 1, rule 6): one that turns evil can give an agent no default
# route, no route over its LAN, its resolver or another peer's address, no address outside the
# network's range, no name that reaches a shell. Each attempt is an event.
set -u
. "$(dirname "$0")/lib.sh"
lab_enter "$@"
street
host coord
on_street coord eth0 203.0.113.1/24
router routera 203.0.113.10 192.168.1.1 port_restricted
at_home alice routera 192.168.1.2
on alice ip address add fdaa:1::2/64 dev eth0 nodad
on alice ip route add default via fdaa:1::1 dev eth0
printf 'nameserver 9.9.9.9\nnameserver fdaa:2::53\n' >/etc/resolv.conf

evil=/var/evil # hosts share /var with the test, not /run
mkdir -p $evil
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=evil \
	-keyout $evil/key.pem -out $evil/cert.pem 2>/dev/null
pin=$(openssl x509 -in $evil/cert.pem -pubkey -noout | openssl pkey -pubin -outform der |
	openssl dgst -sha256 -binary | openssl base64 | tr '+/' '-_' | tr -d '=')
on_bg coord /run/evil.log python3 "$LAB_TOP/tests/lab/evil.py" $evil/cert.pem $evil/key.pem 8443 $evil
listening() { on coord sh -c 'ss -ltn | grep -q :8443'; }
wait_for 5 listening
echo '203.0.113.1 evil.example.test' >>/etc/hosts # by its name: where that leads is protected
link="https://evil.example.test:8443/join#anykey.$pin"

# ---- at join -------------------------------------------------------------------
state_of_host() {
	on alice sh -c 'ip address; ip route show table all; ls -R /etc/wireguard /etc/wg-mesh /var/lib/wg-mesh' |
		grep -v -e valid_lft
}
before=$(state_of_host)
refuses_network() { # WHAT CIDR ADDRESS
	printf '{"id":"net1","name":"default","cidr":"%s","cidr6":null,"addresses":["%s"]}' "$2" "$3" >$evil/network.json
	on alice wg-mesh join "$link" >$LAB_DIR/join.out 2>&1
	code=$?
	check "join refuses $1 with exit 1" test $code -eq 1
	check "and leaves the host as it was ($1)" test "$before" = "$(state_of_host)"
}
refuses_network "a network that is everything" 0.0.0.0/0 10.99.0.2/0
refuses_network "a network over the LAN" 192.168.0.0/16 192.168.7.7/16
check "naming the pair" grep -q '192.168.1.0/24' $LAB_DIR/join.out
refuses_network "a network of loopback" 127.0.0.0/8 127.0.0.9/8
refuses_network "an address outside the network" 10.99.0.0/16 10.98.0.2/16
rm $evil/network.json

# ---- afterwards ----------------------------------------------------------------
check "alice joins a network that looks good" on alice wg-mesh join "$link" --no-up
on alice sh -c 'cat >>/etc/wg-mesh/wg0.yaml' <<-'EOF'
	routes: {accept: true}
	hooks: {peer_up: ["echo $WG_MESH_PEER_NAME >>/run/hooked"], route_added: ["echo $WG_MESH_PEER_NAME >>/run/hooked"]}
EOF
friend=$(wg genkey | wg pubkey)
on alice wg-quick up wg0 >/dev/null 2>&1
on alice wg set wg0 peer "$friend" allowed-ips 172.31.0.2/32
on alice wg-mesh reload wg0
running() { on alice wg-mesh status wg0; }
check "the agent runs" wait_for 5 running
on_bg alice /run/events.out wg-mesh events wg0 --json

send() { # the next frame, from standard input
	frames=$(($(find $evil -name 'frame-*.json' | wc -l) + 1))
	cat >$evil/frame-$frames.json.new
	mv $evil/frame-$frames.json.new $evil/frame-$frames.json
}
key_of() { # NAME [LAST-BYTE]
	printf '%s' "$1" | openssl dgst -sha256 -binary | { head -c 31; printf "\\${2:-000}"; } | openssl base64
}
peer() { # NAME ADDRESSES ROUTES ENDPOINT SHOWN-NAME KEY - a PEER in JSON
	printf '{"agent_id":"id-%s","public_key":"%s","name":"%s","network":"default","addresses":[%s],"routes":[%s],"endpoint":%s,"endpoints":[],"local_endpoints":[],"nat_type":"none","online":true,"last_seen":null,"connection_hint":null}' \
		"$1" "${6:-$(key_of "$1")}" "${5:-$1}" "$2" "$3" "${4:-null}"
}
revision=1
snapshot() {
	printf '{"type":"snapshot","epoch":"e","revision":1,"networks":[{"id":"net1","name":"default","cidr":"10.99.0.0/16","cidr6":null,"addresses":["10.99.0.2/16"]}],"relays":[],"pins":[],"peers":[%s]}' "$1"
}
put() {
	revision=$((revision + 1))
	printf '{"type":"delta","revision":%d,"changes":[{"op":"put","peer":%s}]}' $revision "$1" | send
}
snapshot "$(peer good '"10.99.0.3"' '"172.20.0.0/16"' '"203.0.113.77:51820"')" | send
has_key() { on alice wg show wg0 peers | grep -qF "$(key_of "$1")"; }
check "an honest peer is taken" wait_for 6 has_key good
route_is_there() { on alice ip route show | grep -q "^$1 dev wg0"; }
check "and its honest route" wait_for 3 route_is_there 172.20.0.0/16

events() { cat "/proc/$(pid_of alice)/root/run/events.out"; }
count_refused() { events | jq -r .event 2>/dev/null | grep -c '^refused$'; }
more_refused() { [ "$(count_refused)" -gt "$1" ]; }
# What must never change: routes not of wg0, the friend, wg0's own ranges.
no_harm() {
	on alice ip route show table all | grep 'dev wg0' | grep -vE '^(10\.99\.|172\.20\.0\.0/16|local 10\.99\.|broadcast 10\.99\.|local fd|fd|fe80|anycast|multicast|local fe80)' && return 1
	on alice ip -o -4 address show dev wg0 | grep -vE ' 10\.99\.0\.(2|20)/16 ' && return 1
	[ "$(on alice wg show wg0 allowed-ips | grep -F "$friend" | cut -f2)" = 172.31.0.2/32 ] || return 1
	on alice ip route get 203.0.113.1 | grep -q 'dev eth0' || return 1
	on alice ip route get 9.9.9.9 | grep -q 'dev eth0' || return 1
	on alice ip route get 192.168.1.1 | grep -q 'dev eth0' || return 1
	on alice ip route get fdaa:1::1 | grep -q 'dev eth0' || return 1
	on alice ip route get fdaa:2::53 | grep -q 'dev eth0' || return 1
	on alice ip route get 10.99.0.3 | grep -q 'dev wg0' || return 1
	[ "$(on alice wg show wg0 allowed-ips | grep -F 10.99.0.3/32 | cut -f1)" = "$(key_of good)" ] || return 1
	on alice test ! -e /run/pwned || return 1
}
refused() { # NAME WORD - an event that names the peer and says why; NAME null where it has no good one
	events | jq -r 'select(.event == "refused") | "\(.peer_name) \(.reason)"' 2>/dev/null | grep -F -- "$2" | grep -q "^$1 "
}
attack() { # WHAT PEER-JSON [WORD-OF-THE-REASON [NAME]]
	put "$2"
	check "$1 is refused with an event" wait_for 4 refused "${4:-$(echo "$2" | jq -r .name)}" "${3:-}"
	check "$1 does no harm" no_harm
}
attack "a default route" "$(peer e1 '"10.99.1.1"' '"0.0.0.0/0"')" "shorter than /8"
attack "half of a default route" "$(peer e2 '"10.99.1.2"' '"0.0.0.0/1"')" "shorter than /8"
attack "an IPv6 default route" "$(peer e3 '"10.99.1.3"' '"::/0"')" "shorter than /16"
attack "a route over the LAN" "$(peer e4 '"10.99.1.4"' '"192.168.0.0/16"')" "which this host has outside wg-mesh"
attack "a route inside the LAN" "$(peer e5 '"10.99.1.5"' '"192.168.1.0/25"')" "which this host has outside wg-mesh"
attack "a route to the resolver" "$(peer e6 '"10.99.1.6"' '"9.9.9.0/24"')" "9.9.9.9"
attack "a route to the coordinator" "$(peer e7 '"10.99.1.7"' '"203.0.113.1/32"')" "203.0.113.1"
attack "a loopback route" "$(peer e8 '"10.99.1.8"' '"127.0.0.0/8"')" "loopback"
attack "a link-local route" "$(peer e9 '"10.99.1.9"' '"169.254.0.0/16"')" "link-local"
attack "a multicast route" "$(peer e10 '"10.99.1.10"' '"224.0.0.0/8"')" "multicast"
attack "the friend's address as a route" "$(peer e11 '"10.99.1.11"' '"172.31.0.2/32"')" "set by hand"
attack "the friend's address as a peer's" "$(peer e12 '"172.31.0.2"' '')" "outside the range"
attack "a peer address outside the network" "$(peer e13 '"8.8.8.8"' '')" "outside the range"
attack "our own address as a peer's" "$(peer e14 '"10.99.0.2"' '')" "own address"
attack "an address another peer has" "$(peer e15 '"10.99.0.3"' '')" "belongs to good"
attack "a loopback endpoint" "$(peer e16 '"10.99.1.16"' '' '"127.0.0.1:22"')" "loopback"
attack "another peer's address as a route" "$(peer e20 '"10.99.1.20"' '"10.99.0.3/32"')" "the mesh's own range"
attack "half of the mesh as a route" "$(peer e21 '"10.99.1.21"' '"10.99.0.0/17"')" "the mesh's own range"
attack "a route over the IPv6 LAN" "$(peer e22 '"10.99.1.22"' '"fdaa:1::/48"')" "which this host has outside wg-mesh"
attack "a route inside the IPv6 LAN" "$(peer e23 '"10.99.1.23"' '"fdaa:1::8000:0:0:0/65"')" "which this host has outside wg-mesh"
attack "a route to the IPv6 resolver" "$(peer e24 '"10.99.1.24"' '"fdaa:2::/64"')" "fdaa:2::53"
attack "an IPv6 peer address where the network has none" "$(peer e25 '"fdbb::1"' '')" "outside the range"
attack "an IPv6 loopback route" "$(peer e26 '"10.99.1.26"' '"::1/128"')" "loopback"
attack "an IPv6 link-local route" "$(peer e27 '"10.99.1.27"' '"fe80::/16"')" "link-local"
# shellcheck disable=SC2016
attack "a name with a shell in it" "$(peer e17 '"10.99.1.17"' '' null '$(touch /run/pwned)')" "cannot be read" null
# shellcheck disable=SC2016
attack "a name that ends a command" "$(peer e18 '"10.99.1.18"' '' null 'x; touch /run/pwned; `touch /run/pwned`')" "cannot be read" null

attack "a peer with the server's key" "$(peer k1 '"10.99.1.41"' '' null k1 "$(key_of evil)")" "key of a server"
# X25519 ignores the highest bit: the same key in other bytes.
attack "a peer with the server's key in other bytes" "$(peer k2 '"10.99.1.42"' '' null k2 "$(key_of evil 200)")" "public_key"
attack "a peer whose secret everyone has" "$(peer k3 '"10.99.1.43"' '' null k3 "AQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=")" "public_key"
check "none of them is on the interface" test "$(on alice wg show wg0 peers | grep -cF -e "$(key_of evil)" -e "$(key_of evil 200)" -e AQAAAAAAAAAA)" -eq 0

seen=$(count_refused)
revision=$((revision + 1))
printf '{"type":"delta","revision":%d,"changes":[{"op":"networks","networks":[{"id":"net1","name":"default","cidr":"0.0.0.0/0","cidr6":null,"addresses":["1.2.3.4/0"]}]}]}' $revision | send
check "a network that grew is refused with an event" wait_for 4 more_refused "$seen"
check "a network that grew does no harm" no_harm

own() { # WHAT ADDRESSES - attack by our own addresses
	seen=$(count_refused)
	revision=$((revision + 1))
	printf '{"type":"delta","revision":%d,"changes":[{"op":"networks","networks":[{"id":"net1","name":"default","cidr":"10.99.0.0/16","cidr6":null,"addresses":[%s]}]}]}' $revision "$2" | send
	check "$1 is refused with an event" wait_for 4 more_refused "$seen"
	check "$1 does no harm" no_harm
	check "and we keep our own address ($1)" has_own 10.99.0.2/16
}
has_own() { on alice ip -o -4 address show dev wg0 | grep -qF " $1 "; }
own "a peer's address beside our own" '"10.99.0.2/16","10.99.0.3/16"'
own "a peer's address in place of our own" '"10.99.0.3/16"'
own "the network's and the broadcast address" '"10.99.255.255/16","10.99.0.0/16"'
own "the broadcast address" '"10.99.255.255/16"'
own "the network's address" '"10.99.0.0/16"'
own "no address at all" ''
revision=$((revision + 1))
printf '{"type":"delta","revision":%d,"changes":[{"op":"networks","networks":[{"id":"net1","name":"default","cidr":"10.99.0.0/16","cidr6":null,"addresses":["10.99.0.20/16"]}]}]}' $revision | send
check "another address that is nobody's is taken" wait_for 4 has_own 10.99.0.20/16
attack "our new address as a peer's" "$(peer e19 '"10.99.0.20"' '')" "own address"
check "and a peer that was refused our old one is looked at again" wait_for 4 has_key e14
revision=$((revision + 1))
printf '{"type":"delta","revision":%d,"changes":[{"op":"remove","agent_id":"id-e14","network":"default"},{"op":"networks","networks":[{"id":"net1","name":"default","cidr":"10.99.0.0/16","cidr6":null,"addresses":["10.99.0.2/16"]}]}]}' $revision | send
check "and an address goes back when it is free" wait_for 4 has_own 10.99.0.2/16

seen=$(count_refused)
revision=$((revision + 1))
printf '{"type":"delta","revision":%d,"changes":[{"op":"relays","relays":[{"region":"r","url":"https://203.0.113.5:443","key":"%s","stun":[]}]}]}' $revision "$(key_of good)" | send
check "a relay with a peer's key is refused with an event" wait_for 4 more_refused "$seen"

seen=$(count_refused)
revision=$((revision + 1))
printf '{"type":"delta","revision":%d,"changes":[{"op":"relays","relays":[{"region":"r","url":"https://203.0.113.5:443","key":"%s","stun":[]}]}]}' $revision "$(key_of good 200)" | send
check "and so is one with a peer's key in other bytes" wait_for 4 more_refused "$seen"

# A flood: each of them counts, though not each has an event of its own.
seen=$(count_refused)
revision=$((revision + 1))
flood() {
	printf '{"type":"delta","revision":%d,"changes":[' $revision
	for n in $(seq 300); do
		[ "$n" = 1 ] || printf ,
		printf '{"op":"put","peer":%s}' "$(peer "f$n" '"8.8.8.8"' '')"
	done
	printf ']}'
}
flood | send
told_refused() { # how many since event number $1
	events | jq -r 'select(.event == "refused") | .reason' 2>/dev/null | tail -n "+$(($1 + 1))" |
		awk '/^[0-9]+ more were refused, the last one because / { sum += $1; next } { sum++ } END { print sum + 0 }'
}
all_told() { [ "$(told_refused "$seen")" -ge 300 ]; }
check "a flood of 300 is refused, and all are told of" wait_for 6 all_told
check "in fewer events" test $(($(count_refused) - seen)) -lt 200
check "a flood does no harm" no_harm

# ---- what is not the protocol at all -------------------------------------------
printf 'not json' | send
printf '{"type":"delta"}' | send
printf '{"type":"delta","revision":"x","changes":[{"op":"put","peer":7},{"op":4},[],null]}' | send
printf '{"type":"signal","from":7,"network":[],"box":"!!!"}' | send
printf '{"type":"snapshot","epoch":"e","revision":-1,"peers":{}}' | send
head -c 3000000 /dev/zero | tr '\0' '[' | send
check "the agent survives nonsense" wait_for 5 running
check "and the honest peer is still there" has_key good
check "and no harm was done" no_harm
lab_end
