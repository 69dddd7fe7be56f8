#!/bin/sh
# Two coordinators on one PostgreSQL: one is killed, and the agents are at the other within seconds; no
# tunnel falls. Each has a STUN server beside it, and agents know both; a new key is taken by either.
set -u
. "$(dirname "$0")/lib.sh"
bin=$(ls -d /usr/lib/postgresql/*/bin 2>/dev/null | tail -n 1)
[ -n "$bin" ] || { echo "skip $LAB_NAME PostgreSQL is not installed"; exit 77; }
pkg-config --exists libpq || { echo "skip $LAB_NAME built without libpq"; exit 77; }
lab_enter "$@"

database() {
	on coord install -d -o postgres /run/pg
	on coord runuser -u postgres -- "$bin/initdb" -D /run/pg/data -A trust -U postgres >/dev/null
	on coord runuser -u postgres -- "$bin/pg_ctl" -D /run/pg/data -l /run/pg/log -w \
		-o "-k /run/pg -c listen_addresses=127.0.0.1" start >/dev/null &&
		on coord runuser -u postgres -- psql -q -h 127.0.0.1 -c 'CREATE DATABASE mesh'
}
db=postgres://postgres@127.0.0.1/mesh
coordinator() {
	host coord
	on_street coord eth0 203.0.113.1/24 203.0.113.2/24
	check "a database" database
	start_coordinator --db $db
	first=$LAB_COORDINATOR
	on coord sh -c 'install -m 700 -d /run/second && cp -p /var/lib/wg-mesh/coordinator/server.key /run/second/ &&
		printf "relay: {stun: \"203.0.113.2:3490\", region: second}\n" >/run/second.yaml'
	on_bg coord /run/second.log wg-mesh-coordinator serve --config /run/second.yaml --state /run/second \
		--run-dir /run/second-run --listen '[::]:9443' --public-url https://203.0.113.1:9443 --db $db
	second=$LAB_BG
}
two_houses port_restricted port_restricted
at_second() { on coord wg-mesh-coordinator --config /run/second.yaml --run-dir /run/second-run "$@"; }
check "the second starts" wait_for 20 at_second agent list
check "alice joins at the first" on alice wg-mesh join "$LAB_LINK"
check "bob too" on bob wg-mesh join "$LAB_LINK"
check "they meet" wait_for 10 is_direct alice bob
knows() { on "$1" grep -q '203.0.113.1:9443' /var/lib/wg-mesh/agent/wg0.json; }
check "alice knows the second" wait_for 10 knows alice
check "bob too" wait_for 10 knows bob
on coord wg-mesh-coordinator network create lab --cidr 10.209.0.0/16 >/dev/null
in_lab() { at_second network list | grep -q lab; }
check "a network made at the first is at the second" wait_for 5 in_lab
check "alice joins it by a link of the second" on alice wg-mesh join "$(at_second key create --network lab)"
# ---- STUN ----

regions() { [ "$(on "$1" jq -r '[.relays[].region] | sort | join(" ")' /var/lib/wg-mesh/agent/wg0.json)" = "$2" ]; }
check "alice is told of both STUN servers" wait_for 10 regions alice "coord second"
router routerc 203.0.113.12 192.168.3.1 port_restricted
at_home dave routerc 192.168.3.2
kill -STOP "$(on coord cat /run/second-run/relay.lock)"
check "dave joins at the second, whose own does not answer" on dave wg-mesh join "$(at_second key create)"
check "he knows both, too" wait_for 10 regions dave "coord second"
check "and meets bob by that of the first" wait_for 30 is_direct dave bob
check "and alice" wait_for 30 is_direct dave alice
kill -CONT "$(on coord cat /run/second-run/relay.lock)"
check "he leaves again" on dave wg-mesh leave wg0

# ---- one is killed ----

url() { [ "$(status "$1" .coordinator.connected)" = true ] && [ "$(status "$1" .coordinator.url)" = "$2" ]; }
check "they are at the first" wait_for 10 url alice https://203.0.113.1:8443

on_bg alice /run/ping.log ping -i 0.2 -W 1 "$(mesh_address bob)"
ping=$LAB_BG
kill -KILL "$first"
check "alice is at the second within 10 seconds" wait_for 30 url alice https://203.0.113.1:9443
check "bob too" wait_for 30 url bob https://203.0.113.1:9443
online() { [ "$(at_second agent list --json | jq '[.agents[].online] | all')" = true ]; }
check "the second shows both online" wait_for 5 online
check "the path is still direct" is_direct alice bob
sleep 2
kill -INT "$ping"
sleep 0.5
lost() { on alice sed -n 's/.* \([0-9.]*\)% packet loss.*/\1/p' /run/ping.log; }
check "no packet was lost" test "$(lost)" = 0

# ---- and the other goes on ----

before=$(on alice wg show wg0 public-key)
check "alice takes a new key, at the second" on alice wg-mesh rekey wg0
check_not "it is another" test "$before" = "$(on alice wg show wg0 public-key)"
has_it() { at_second agent list --json | grep -qF "$(on alice wg show wg0 public-key)"; }
check "the second has it" wait_for 5 has_it
check "and the tunnel is there" wait_for 20 tunnel_ping bob alice
link=$(at_second key create)
host carol
on_street carol eth0 203.0.113.30/24
check "carol joins at the second" on carol wg-mesh join "$link"
check "carol and bob meet" wait_for 20 is_direct carol bob
on_bg coord /run/coordinator.log wg-mesh-coordinator serve --public-url https://203.0.113.1:8443 --db $db
check "the first comes back" wait_for 20 on coord wg-mesh-coordinator agent show carol
kill -TERM "$second"
check "carol goes to the first when the second stops" wait_for 30 url carol https://203.0.113.1:8443
check "alice too" wait_for 30 url alice https://203.0.113.1:8443
check "the tunnel is there" wait_for 10 tunnel_ping bob carol
check "carol, who joined at the second, leaves at the first" on carol wg-mesh leave wg0
check_not "and is gone" on coord wg-mesh-coordinator agent show carol
lab_end
