#!/bin/sh
# All that join and leave do to a host (SPEC 2.1), and what they leave as it was.
set -u
. "$(dirname "$0")/lib.sh"
lab_enter "$@"
on_one_street alice bob
state_of_host() {
	on "$1" sh -c 'ip address; ip route show table all; ip rule; ls -lR /etc/wireguard /etc/wg-mesh /var/lib/wg-mesh /run; cat /etc/wireguard/*.conf; pgrep -c -x wg-meshd' 2>/dev/null |
		grep -v -e valid_lft -e 'fe80:'
}
agents_known() { on coord wg-mesh-coordinator agent list --json | jq '.agents | length'; }

# ---- a join that fails leaves the host, and the coordinator, as they were --------
before=$(state_of_host alice)
code_of 1 "a link with an unknown key" on alice wg-mesh join "$(echo "$LAB_LINK" | sed 's/#.*\./#nokeyofthiskind./')"
says 'key is not known'
# Keys that serve no more: used by another host (which leaves again), expired, revoked.
used=$(key_create) expired=$(key_create --expires 1s) made=$(key_create --reusable --json)
revoked=$(echo "$made" | jq -r .link)
host mallory
on_street mallory eth0 203.0.113.39/24
code_of 0 "a key serves once" on mallory wg-mesh join "$used"
on mallory wg-mesh leave wg0 >/dev/null 2>&1
on coord wg-mesh-coordinator key revoke "$(echo "$made" | jq -r .id)" >/dev/null 2>&1 || not_ok "a key is revoked"
sleep 1.2
for why in used expired revoked; do
	eval "link=\$$why"
	before=$(state_of_host alice)
	code_of 1 "a link whose key is $why" on alice wg-mesh join "$link"
	says "$why"
	check "the host is as it was ($why)" test "$before" = "$(state_of_host alice)"
done
code_of 1 "a link with another pin" on alice wg-mesh join "$(echo "$LAB_LINK" | sed 's/\.[^.]*$/.AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA/')"
says 'another key'
code_of 4 "a coordinator that is not there" on alice wg-mesh join "https://203.0.113.77:8443/join#${LAB_LINK#*#}"
says 'is its TCP port 8443 open'
code_of 2 "a port that is none" on alice wg-mesh join "https://203.0.113.77:99999/join#${LAB_LINK#*#}"
says 'a port is 1 to 65535'
code_of 1 "a name that is reserved" on alice wg-mesh join "$LAB_LINK" --name self
says 'the name self is reserved: choose another; join with --name NAME$'
code_of 2 "a link's file that is a directory" on alice wg-mesh join --link-file /etc
says '/etc cannot be read: Is a directory'
code_of 2 "a link's file that is empty" on alice wg-mesh join --link-file /dev/null
says '/dev/null is empty'
code_of 2 "no link at all" on alice wg-mesh join
code_of 2 "a word that is no link" on alice wg-mesh join hello
code_of 2 "a name that is none" on alice wg-mesh join "$LAB_LINK" --name 'a b'
code_of 2 "a tag that is none" on alice wg-mesh join "$LAB_LINK" --tag 'a;b'
code_of 2 "an interface that would be an option" on alice wg-mesh join "$LAB_LINK" --interface -x
code_of 2 "an interface whose file is a server's" on alice wg-mesh join "$LAB_LINK" --interface relay
code_of 2 "a route that is none" on alice wg-mesh join "$LAB_LINK" --advertise-routes 192.168.1.0/24,here
on coord wg-mesh-coordinator network create lan --cidr 203.0.113.0/24 >/dev/null 2>&1
once=$(key_create --network lan)
code_of 1 "a network over this host's" on alice wg-mesh join "$once"
says '203.0.113.0/24'
says 'eth0'
check "nothing has changed on the host" test "$before" = "$(state_of_host alice)"
check "and nobody was registered" test "$(agents_known)" = 0

# ---- a single-use key, refused for the overlap, still serves ----------------------
host carol
on_street carol eth0 198.51.100.32/24
on carol ip route add 203.0.113.1/32 dev eth0
on coord ip route add 198.51.100.32/32 dev eth0
code_of 1 "the key was not used up: carol is refused for her route, not the key" on carol wg-mesh join "$once"
says '203.0.113.1'

# ---- an interface that is up is joined without being taken down -------------------
on alice sh -c 'umask 077; wg genkey >/run/key; { echo "[Interface]"; echo "PrivateKey = $(cat /run/key)"; echo "ListenPort = 41111"; echo "Address = 172.31.5.1/24"; } >/etc/wireguard/wg0.conf; wg-quick up wg0' >/dev/null 2>&1
index=$(on alice sh -c 'ip -o link show wg0 | cut -d: -f1')
code_of 0 "alice joins with an interface that is up" on alice wg-mesh join "$LAB_LINK" --name alice
says 'PostUp = wg-mesh up %i || true'
check "it was not taken down" test "$index" = "$(on alice sh -c 'ip -o link show wg0 | cut -d: -f1')"
running() { on "$1" wg-mesh status wg0; }
check "the agent runs" wait_for 5 running alice
# An agent has its pid file before its socket: what is asked in between waits.
for i in 1 2 3 4 5 6; do
	on alice wg-mesh down wg0
	code_of 0 "status right behind up, $i" on alice sh -c 'wg-mesh up wg0; wg-mesh status wg0'
	code_of 0 "status right behind join, $i" on alice sh -c "wg-mesh join '$LAB_LINK' && wg-mesh status wg0"
done
code_of 0 "--no-up with an agent that runs" on alice sh -c "wg-mesh join '$LAB_LINK' --no-up && wg-mesh status wg0"
says 'Next: wg-mesh status wg0'
on alice wg-mesh down wg0
code_of 0 "--no-up with the interface up and no agent" on alice wg-mesh join "$LAB_LINK" --no-up
says 'Next: wg-mesh up wg0'
check_not "leaves it so" on alice wg-mesh status wg0
on alice wg-mesh up wg0
check "up --wait ends with 0" on alice wg-mesh up wg0 --wait 10
check "status --healthy" on alice wg-mesh status wg0 --healthy
check "without --edit-conf the file is as it was" test "$(on alice grep -c . /etc/wireguard/wg0.conf)" = 4
check "status without a name finds the only one" on alice wg-mesh status
on alice setpriv --reuid 65534 --clear-groups wg-mesh doctor wg0 >$LAB_DIR/code.out 2>&1
says '/etc/wireguard/wg0.conf can be read by root only'
says 'the agent answers root only'
code_of 1 "ping as somebody else than root" on alice setpriv --reuid 65534 --clear-groups wg-mesh ping wg0 bob
check "it is told once" test "$(grep -c 'use sudo' $LAB_DIR/code.out)" = 1
# shellcheck disable=SC2046
kill -STOP $(pgrep -x wg-meshd)
on alice wg-mesh doctor wg0 >$LAB_DIR/code.out 2>&1
# shellcheck disable=SC2046
kill -CONT $(pgrep -x wg-meshd)
says 'runs but does not answer'
says 'wg-mesh down wg0 ends it'
code_of 2 "her own name" on alice wg-mesh ping wg0 alice
says 'alice is this host'
code_of 2 "a word that is no peer" on alice wg-mesh ping wg0 nobody -c 1

# ---- a peer written by hand who is a member ---------------------------------------
alice_key=$(on alice sh -c 'wg pubkey </run/key')
on bob sh -c "umask 077; printf '[Interface]\nPrivateKey = %s\nAddress = 172.31.5.2/24\n\n[Peer]\n# the old hub\nPublicKey = $alice_key\nAllowedIPs = 172.31.5.1/32\nEndpoint = 203.0.113.30:41111\n' \"\$(wg genkey)\" >/etc/wireguard/wg0.conf"
code_of 0 "bob joins with a hub-and-spoke file" on bob wg-mesh join "$LAB_LINK" --name bob --edit-conf
says 'lines 5 to 9'
not_managed() { [ "$(status bob '.peers[] | select(.name == "alice") | .managed')" = false ]; }
check "the peer by hand stays the user's" wait_for 5 not_managed
on bob wg-mesh doctor wg0 >$LAB_DIR/code.out 2>&1
says 'lines 7 to 11'
on bob wg-mesh doctor wg0 --json >$LAB_DIR/code.out 2>/dev/null
check "doctor --json is one document" jq -e '.schema == 1 and .problems >= 1' $LAB_DIR/code.out

# ---- a second network on the same interface ---------------------------------------
on coord wg-mesh-coordinator network create office --cidr 10.44.0.0/16 >/dev/null
code_of 0 "alice joins a second network" on alice wg-mesh join "$(key_create --network office)"
both() { [ "$(status alice '.networks | length')" = 2 ]; }
check "she is in both" wait_for 10 both
check "the interface stayed up" test "$index" = "$(on alice sh -c 'ip -o link show wg0 | cut -d: -f1')"
has_address() { on alice ip -br address show wg0 | grep -q '10\.44\.'; }
check "and has the address" wait_for 5 has_address

# ---- wg-quick save has written the mesh into her file ------------------------------
sees_bob() { on alice wg show wg0 peers | grep -q .; }
on alice cp -p /etc/wireguard/wg0.conf /run/wg0.conf
wait_for 10 sees_bob
on alice wg-quick save wg0 >/dev/null 2>&1
check "(it is so: the file has addresses of the mesh)" on alice sh -c 'test $(grep -c "^Address" /etc/wireguard/wg0.conf) -gt 1'
check "(it is so: and bob)" on alice grep -q '^\[Peer\]' /etc/wireguard/wg0.conf
code_of 0 "alice joins again after wg-quick save" on alice wg-mesh join "$LAB_LINK"
on alice sed -i 's/^PrivateKey/SaveConfig = true\n&/' /etc/wireguard/wg0.conf
code_of 0 "and with SaveConfig" on alice wg-mesh join "$LAB_LINK"
says 'has SaveConfig = true: without PreDown'
on alice wg-mesh doctor wg0 >$LAB_DIR/code.out 2>&1
says 'with SaveConfig = true and no PreDown'
says 'line [0-9]* of /etc/wireguard/wg0.conf has 10\.44\..*our address'
says 'lines [0-9]* to [0-9]* of /etc/wireguard/wg0.conf describe bob'
on alice cp -p /etc/wireguard/wg0.conf /run/saved.conf
on alice cp -p /run/wg0.conf /etc/wireguard/wg0.conf

# ---- leaving -----------------------------------------------------------------------
on alice cp -p /run/saved.conf /etc/wireguard/wg0.conf
code_of 0 "alice leaves" on alice wg-mesh leave wg0
says '10\.44\..*stays in /etc/wireguard/wg0.conf: delete it from line'
says 'bob is a member .* lines [0-9]* to [0-9]* there'
on alice cp -p /run/wg0.conf /etc/wireguard/wg0.conf
check "her interface is hers and up" test "$index" = "$(on alice sh -c 'ip -o link show wg0 | cut -d: -f1')"
check "no peer of the mesh is left" test -z "$(on alice wg show wg0 peers)"
check "no address of the mesh is left" test "$(on alice ip -4 -br address show wg0 | grep -o '[0-9.]*/[0-9]*')" = 172.31.5.1/24
check "her file is as it was" test "$(on alice grep -c . /etc/wireguard/wg0.conf)" = 4
check "no file of ours is left" test -z "$(on alice find /etc/wg-mesh /var/lib/wg-mesh /run/wg-mesh -type f -o -type s)"
code_of 2 "leaving twice" on alice wg-mesh leave wg0
left() { [ "$(agents_known)" = 1 ]; }
check "the coordinator knows" wait_for 5 left

# ---- options that cannot be followed are refused, not passed over -------------------
host erin
on_street erin eth0 203.0.113.34/24
before=$(state_of_host erin)
on erin sh -c 'umask 077; mkdir -p /etc/wireguard; printf "[Interface]\nPrivateKey = %s\nListenPort = 41444\nPreUp = false\n" "$(wg genkey)" >/etc/wireguard/wg5.conf'
code_of 2 "--listen-port for a file that has one" on erin wg-mesh join "$LAB_LINK" --interface wg5 --listen-port 999
says '41444\|/etc/wireguard/wg5.conf'
code_of 1 "a wg-quick that fails" on erin wg-mesh join "$LAB_LINK" --interface wg5
says '\[#\] false'
says 'join again'
on erin rm /etc/wireguard/wg5.conf
check "a join that failed leaves no directory of ours" test "$before" = "$(state_of_host erin)"
check "and nobody was registered by it" test "$(agents_known)" = 1

# ---- IFACE.yaml: whose it is decides what leave does with it ------------------------
on erin sh -c "mkdir -p /etc/wg-mesh; umask 077; printf '# by hand\ncoordinator: {url: \"https://203.0.113.1:8443\"}\nlisten_port: 41555\n' >/etc/wg-mesh/wg0.yaml; cp -p /etc/wg-mesh/wg0.yaml /run/yaml; echo old >/etc/wireguard/wg0.conf.bak"
code_of 0 "erin joins with a configuration of her own" on erin wg-mesh join "$LAB_LINK" --name erin
check "its listen_port is the new interface's" test "$(on erin wg show wg0 listen-port)" = 41555
on erin sh -c 'echo "name: other" >>/etc/wg-mesh/wg0.yaml'
code_of 0 "reload with another name" on erin wg-mesh reload wg0
says 'name: other in /etc/wg-mesh/wg0.yaml changes nothing: this host has joined as erin'
on erin cp -p /run/yaml /etc/wg-mesh/wg0.yaml
code_of 0 "reload without it" on erin wg-mesh reload wg0
check "says nothing" test ! -s $LAB_DIR/code.out
code_of 2 "another --name" on erin wg-mesh join "$(key_create --network office)" --name else
says 'has joined as erin'
own=$(on erin sh -c 'wg genkey | wg pubkey')
on erin wg set wg0 peer "$own" allowed-ips 172.31.9.1/32,172.31.9.2/32
lists_own() { status erin '.peers[].public_key' | grep -qF "$own"; }
wait_for 10 lists_own
code_of 1 "ping of a peer of her own" on erin wg-mesh ping wg0 "$own" -c 1
says 'your own peer'
code_of 1 "explain of it, by a prefix" on erin wg-mesh explain wg0 "$(echo "$own" | cut -c1-12)"
says 'your own peer'
code_of 0 "erin leaves" on erin wg-mesh leave wg0
says 'wg0.yaml stays'
check "her configuration is as it was" on erin cmp /run/yaml /etc/wg-mesh/wg0.yaml
check "an older .bak is as it was" test "$(on erin cat /etc/wireguard/wg0.conf.bak)" = old
check "the file with the key is the next" test "$(on erin stat -c %a /etc/wireguard/wg0.conf.bak.1)" = 600
code_of 2 "leaving twice, with a configuration of her own" on erin wg-mesh leave wg0
on erin rm /etc/wg-mesh/wg0.yaml
code_of 0 "erin joins again" on erin wg-mesh join "$LAB_LINK" --name erin
on erin sh -c 'echo "# mine" >>/etc/wg-mesh/wg0.yaml'

# ---- two peers of one name in two networks ------------------------------------------
office=$(key_create --network office --reusable)
code_of 0 "erin joins office too" on erin wg-mesh join "$office"
for n in 35 36; do
	host "nas$n"
	on_street "nas$n" eth0 203.0.113.$n/24
done
code_of 0 "a nas in the first" on nas35 wg-mesh join "$LAB_LINK" --name nas
code_of 0 "a nas in the second" on nas36 wg-mesh join "$office" --name nas
two_nas() { [ "$(status erin '[.peers[] | select(.name == "nas")] | length')" = 2 ]; }
check "erin sees both" wait_for 5 two_nas
code_of 2 "nas could be either" on erin wg-mesh ping wg0 nas -c 1
says 'nas@default'
says 'nas@office'
code_of 0 "nas@office is one" on erin wg-mesh ping wg0 nas@office -c 3
code_of 1 "status into a full disk" on erin sh -c 'wg-mesh status wg0 --json >/dev/full'
says 'not all of the output could be written'

# ---- a ledger that is damaged --------------------------------------------------------
saved() { [ "$(on erin jq '[.map.peers[] | select(.managed)] | length' /var/lib/wg-mesh/agent/wg0.json)" = 3 ]; }
check "the map of three is saved" wait_for 15 saved
on erin sh -c 'kill -KILL $(cat /run/wg-mesh/wg0.pid); sleep 0.3; echo rubbish >/run/wg-mesh/wg0.owned'
code_of 0 "down with a damaged ledger" on erin wg-mesh down wg0
says '/run/wg-mesh/wg0.owned was damaged'
check "no address is left" test -z "$(on erin ip -o address show dev wg0 scope global)"
check "no peer of the mesh is left" test -z "$(on erin wg show wg0 peers)"
code_of 0 "erin leaves" on erin wg-mesh leave wg0
check "what she changed is kept" on erin grep -q '# mine' /etc/wg-mesh/wg0.yaml.bak
for n in 35 36; do on "nas$n" wg-mesh leave wg0 >/dev/null 2>&1; done

# ---- an agent that cannot start: the host has joined all the same --------------------
host frank
on_street frank eth0 203.0.113.37/24
on frank sh -c 'mkdir -p /run/wg-mesh && mount -t tmpfs -o ro tmpfs /run/wg-mesh'
code_of 1 "frank joins, and his agent cannot start" on frank wg-mesh join "$LAB_LINK" --name frank
says 'frank has joined'
says 'Read-only file system'
says 'agent does not work'
on frank wg-mesh leave wg0 >$LAB_DIR/code.out 2>&1
check_not "leave speaks of no file that is not there" grep -q 'cannot be removed' $LAB_DIR/code.out
on frank umount /run/wg-mesh
code_of 0 "with that mended the agent comes" on frank sh -c "wg-mesh join '$(key_create)' && wg-mesh up wg0 --wait 10"
code_of 0 "frank leaves" on frank wg-mesh leave wg0

# ---- an agent that is slow to answer is asked again, one that never does is told of --
on frank cp /usr/sbin/wg-meshd /run/real-wg-meshd
on frank sh -c 'cat >/run/slow-wg-meshd; chmod 755 /run/slow-wg-meshd' <<-'EOF'
	#!/usr/bin/python3
	import os, socketserver, sys, time
	if "--daemon" not in sys.argv:
	    os.execv("/run/real-wg-meshd", sys.argv)
	class Slow(socketserver.StreamRequestHandler):
	    def handle(self):
	        self.rfile.readline()
	        time.sleep(float(open("/run/slowness").read()))
	        self.wfile.write(b'{"ok":true}\n')
	os.makedirs("/run/wg-mesh", exist_ok=True)
	class Server(socketserver.ThreadingUnixStreamServer):
	    daemon_threads = True
	    def handle_error(self, *_):
	        pass
	server = Server("/run/wg-mesh/wg0.sock", Slow)
	if os.fork():
	    os._exit(0)
	open("/run/slow.pid", "w").write(str(os.getpid()))
	server.serve_forever()
EOF
on frank mount --bind /run/slow-wg-meshd /usr/sbin/wg-meshd
for slowness in 1 60; do
	on frank sh -c "echo $slowness >/run/slowness"
	code_of $((slowness / 60)) "frank joins, and his agent needs $slowness s to answer" on frank wg-mesh join "$LAB_LINK" --name frank
	says 'frank has joined'
	cp $LAB_DIR/code.out $LAB_DIR/join.out
	check "that agent was asked" on frank sh -c 'kill $(cat /run/slow.pid) && rm /run/wg-mesh/wg0.sock'
	on frank wg-mesh leave wg0 >/dev/null 2>&1
	code_of $((1 - slowness / 60)) "join says so if it does not" grep -q 'runs but does not answer' $LAB_DIR/join.out
done
on frank umount /usr/sbin/wg-meshd

# ---- with a file that join made, and the coordinator away --------------------------
host dave
on_street dave eth0 203.0.113.33/24
code_of 0 "dave joins" on dave wg-mesh join "$LAB_LINK"
check "his file is 0600" test "$(on dave stat -c %a /etc/wireguard/wg0.conf)" = 600
check_not "and has no Address" on dave grep -qi '^address' /etc/wireguard/wg0.conf
kill -KILL "$LAB_COORDINATOR" 2>/dev/null
pkill -KILL -f 'wg-mesh-coordinator serve'
code_of 4 "leave with the coordinator away" on dave wg-mesh leave wg0
check_not "the interface is gone" on dave ip link show wg0
check "the file is a .bak now" test "$(on dave sh -c 'cd /etc/wireguard && ls && stat -c %a wg0.conf.bak')" = "$(printf 'wg0.conf.bak\n600')"
check "no file of ours is left at dave's" test -z "$(on dave find /etc/wg-mesh /var/lib/wg-mesh /run/wg-mesh -type f -o -type s)"
code_of 0 "down with nothing there" on dave wg-mesh down wg0
code_of 3 "status with nothing there" on dave wg-mesh status wg0
lab_end
