#!/bin/sh
# rekey: a host goes on under a new key while its tunnel is in use; killed at any step, the same
# command run again ends it. The peers keep what they had of it, and nobody but it has seen the key.
set -u
. "$(dirname "$0")/lib.sh"
lab_enter "$@"
street
coordinator --verbose
public_hosts alice bob
for name in alice bob; do
	on $name wg-mesh join "$LAB_LINK" --name $name >/dev/null 2>&1 || not_ok "$name joins"
done
check "they meet" wait_for 15 is_direct alice bob
public_key() { on "$1" wg show wg0 public-key; }
conf_key() { on "$1" awk '$1 == "PrivateKey" { print $3 }' /etc/wireguard/wg0.conf | wg pubkey; }
known_to() { on "$1" wg show wg0 peers | grep -qxF "$(public_key "$2")"; }
alone() { [ "$(on "$1" wg show wg0 peers | wc -l)" = 1 ]; }
connected() { [ "$(status "$1" .coordinator.connected)" = true ]; }
whole() { # everything has the one key, and the tunnel works
	[ "$(public_key alice)" = "$(conf_key alice)" ] && known_to bob alice && alone bob &&
		connected alice && tunnel_ping alice bob && ! on alice test -e /var/lib/wg-mesh/agent/wg0.rekey
}

# ---- under way ------------------------------------------------------------------

id=$(status alice .agent_id)
before=$(public_key alice)
address=$(mesh_address alice)
on bob wg-mesh events wg0 >"$LAB_DIR/events" 2>&1 &
listener=$!
on_bg bob /run/ping.out ping -i 0.1 -W 1 "$address"
pinger=$LAB_BG
sleep 2
check "rekey" on alice wg-mesh rekey wg0
cp $LAB_DIR/check.out $LAB_DIR/said
check "all is whole" wait_for 15 whole
check_not "the key is another one" test "$before" = "$(public_key alice)"
sleep 2
kill -INT $pinger
wait_for 5 on bob grep -q transmitted /run/ping.out
lost=$(on bob awk '/transmitted/ { print $1 - $4 }' /run/ping.out)
# The second handshake is five seconds after one that was lost: no more than that.
check "the ping under way lost $lost packets of 0.1 s" test "$lost" -le 60
kill $listener 2>/dev/null
check "the agent is the same one" test "$id $address" = "$(status alice .agent_id) $(mesh_address alice)"
check_not "bob heard of no peer that went down" grep -q peer-down $LAB_DIR/events
check "bob's path is direct" wait_for 15 is_direct bob alice
check "the wg-quick file is still join's own" test "$(on alice jq -r .config_sha256 /var/lib/wg-mesh/agent/wg0.json)" = "$(on alice sha256sum /etc/wireguard/wg0.conf | cut -d' ' -f1)"
on alice wg-quick down wg0 >/dev/null 2>&1
on alice wg-quick up wg0 >/dev/null 2>&1
check "it comes up with it" wait_for 20 whole
audited() { on coord wg-mesh-coordinator audit | grep -q agent-rekeyed; }
check "the coordinator wrote it down" audited

# ---- with preshared keys -------------------------------------------------------------

for name in alice bob; do
	on $name sh -c 'printf "psk: auto\n" >>/etc/wg-mesh/wg0.yaml'
	on $name wg-mesh reload wg0 >/dev/null
done
psks() { [ "$(on alice wg show wg0 preshared-keys | cut -f2)" = "$(on bob wg show wg0 preshared-keys | cut -f2)" ]; }
psk() { psks && ! on alice wg show wg0 preshared-keys | grep -q none; }
check "they agree on a preshared key" wait_for 90 psk
check "rekey with one" on alice wg-mesh rekey wg0
check "all is whole with one, too" wait_for 20 whole
check "and they agree anew" wait_for 90 psk

# ---- killed ---------------------------------------------------------------------

# A moment a run; each run has a key of an earlier one to go on with, or begins anew.
for ms in 005 010 020 030 040 060 080 100 130 160 200 250 300 400; do
	on alice timeout -s KILL 0.$ms wg-mesh rekey wg0 >/dev/null 2>&1
	on alice wg-mesh rekey wg0 >$LAB_DIR/out 2>&1 || not_ok "again after $ms ms: $(cat $LAB_DIR/out)"
	if wait_for 30 whole; then ok "killed after $ms ms, run again"; else not_ok "killed after $ms ms, run again"; fi
done

# ---- without the coordinator ----------------------------------------------------------

before=$(public_key alice)
kill -STOP "$(on coord pgrep -f 'wg-mesh-coordinator serve' | head -n 1)"
check_not "nothing happens without an answer" on alice timeout 70 wg-mesh rekey wg0
check "the key is the one it was" test "$before" = "$(public_key alice)"
check "and the tunnel works" tunnel_ping alice bob
check_not "doctor says that it has not ended" on alice wg-mesh doctor wg0
cp $LAB_DIR/check.out $LAB_DIR/doctor
check "with the remedy" grep -q 'wg-mesh rekey wg0' $LAB_DIR/doctor
kill -CONT "$(on coord pgrep -f 'wg-mesh-coordinator serve' | head -n 1)"
wait_for 60 connected alice
wait_for 60 connected bob
check "again" on alice wg-mesh rekey wg0
check "it ends" wait_for 30 whole
check_not "with another key" test "$before" = "$(public_key alice)"

# ---- a file of the user's own -----------------------------------------------------

on alice sh -c 'echo "# mine" >>/etc/wireguard/wg0.conf'
before=$(conf_key alice)
check "rekey beside a file of one's own" on alice wg-mesh rekey wg0
cp $LAB_DIR/check.out $LAB_DIR/said2
check "says what to do" grep -q -- --edit-conf $LAB_DIR/said2
check "the file is as it was" test "$before" = "$(conf_key alice)"
check "--edit-conf does it" on alice wg-mesh rekey wg0 --edit-conf
check "all is whole again" wait_for 20 whole
check "the user's line is there" on alice grep -qx '# mine' /etc/wireguard/wg0.conf

# ---- and nobody has seen it --------------------------------------------------------

secret=$(on alice wg show wg0 private-key)
# shellcheck disable=SC2046
check_not "the key is in no log, output or database" grep -alF "${secret%=}" $LAB_DIR/said $LAB_DIR/said2 $LAB_DIR/out \
	$(find "/proc/$(pid_of coord)/root/run" "/proc/$(pid_of coord)/root/var/lib/wg-mesh" "/proc/$(pid_of alice)/root/run" \
		"/proc/$(pid_of alice)/root/var/lib/wg-mesh" -type f)
check_not "rekey of nobody" on bob sh -c 'wg-mesh leave wg0 >/dev/null 2>&1; wg-mesh rekey wg0'
lab_end
