#!/bin/sh
# The agent's hands on a real interface, without an agent: the device by netlink or UAPI, addresses,
# routes, the ledger and its undoing, and STUN from WireGuard's own port through a real NAT. Runs
# the same on kernel WireGuard (tests/kernel/run.sh tests/lab/05-device.sh).
set -u
. "$(dirname "$0")/lib.sh"
[ -n "${LAB_INSIDE:-}${LAB_STAGE:-}" ] || make -s -C "$LAB_TOP" lab-programs MODE="$LAB_MODE" || exit 1
lab_enter "$@"
LAB_NAME="${LAB_WHERE:-}device"
device_test=$LAB_TOP/build/$LAB_MODE/lab/device_test

# wg_interface HOST NAME PORT: in the kernel where it can, else in user space
wg_interface() {
	if ! on "$1" ip link add "$2" type wireguard 2>/dev/null; then
		# Forks into the background by itself.
		on "$1" wireguard-go "$2" >/dev/null 2>&1 </dev/null || not_ok "wireguard-go on $1"
	fi
	on "$1" sh -c 'umask 077; wg genkey >/run/key; wg set "$1" private-key /run/key listen-port "$2"' sh "$2" "$3"
	on "$1" ip link set "$2" up
}
# cases HOST COMMAND...: each line that device_test prints is a case
cases() {
	lab_verb=$2
	on "$1" "$device_test" "$2" "$3" "$4" >$LAB_DIR/cases.out 2>&1 || LAB_FAILED=$((LAB_FAILED + 1))
	sed "s/^ok /ok $LAB_NAME: $lab_verb: /;s/^not ok /not ok $LAB_NAME: $lab_verb: /" $LAB_DIR/cases.out
}

street
host server
on_street server eth0 203.0.113.1/24 203.0.113.2/24 2001:db8:1::1/64
on server ip address add 198.51.100.1/32 dev lo
on_bg server /run/stun.log "$device_test" answer 3478 10m
router routera 203.0.113.10 192.168.1.1 port_restricted
at_home alice routera 192.168.1.2
host bob
on_street bob eth0 203.0.113.30/24 203.0.113.31/24 2001:db8:1::30/64
wg_interface alice wg7 51820
wg_interface bob wg8 51821

# ---- device, links, many peers -----------------------------------------------------

friend=$(wg genkey | wg pubkey)
on alice wg set wg7 peer "$friend" allowed-ips 172.31.0.2/32 endpoint 203.0.113.99:9999
cases alice device wg7 -
cases alice many wg7 1000
check "the user's peer is there as it was" test "$(on alice wg show wg7 endpoints)" = "$friend	203.0.113.99:9999"

# ---- the ledger undone ------------------------------------------------------------

everything() { # HOST INTERFACE
	on "$1" wg showconf "$2"
	on "$1" ip address show dev "$2"
	for table in main 7777; do
		on "$1" ip route show table $table
		on "$1" ip -6 route show table $table
	done
	on "$1" ip rule
	on "$1" ip -6 rule
} 2>/dev/null
ours=/run/wg7.owned
# The user's: an address, a route in both tables, a rule of the very priority and one beside it.
on alice ip address add 10.99.0.200/16 dev wg7
on alice ip route add 198.18.6.0/24 dev wg7
on alice ip route add 198.18.7.0/24 dev wg7 table 7777
on alice ip rule add fwmark 0x5 lookup 7777 priority 52
on alice ip rule add fwmark 0x5 lookup 7777 priority 53 protocol 119
on alice wg set wg7 fwmark 0x1234
before=$(everything alice wg7)
on alice ip rule add fwmark 0x99 lookup 7777 priority 52 protocol 119
on alice ip -6 rule add fwmark 0x99 lookup 7777 priority 52 protocol 119
cases alice make wg7 $ours
on alice sed -n 's/^/# /p' $ours
check_not "much has been made" test "$before" = "$(everything alice wg7)"
# Another host's network namespace, the same file: nothing of it may be touched.
made=$(everything bob wg8)
cp "/proc/$(pid_of alice)/root$ours" "/proc/$(pid_of bob)/root/run/foreign.owned"
check_not "a ledger of another network namespace is refused" on bob "$device_test" undo wg8 /run/foreign.owned
check "and stays" on bob test -s /run/foreign.owned
check "and nothing was touched" test "$made" = "$(everything bob wg8)"
check "undo" on alice "$device_test" undo wg7 $ours
after=$(everything alice wg7)
check "after undo all is as it was" test "$before" = "$after"
[ "$before" = "$after" ] || {
	echo "$before" >$LAB_DIR/before
	echo "$after" | diff $LAB_DIR/before - | sed 's/^/    /'
}
check_not "the ledger is gone" on alice test -e $ours
# What cannot be undone stays written down, and only that.
cases alice make wg7 $ours
check_not "undo without the right to" on alice setpriv --bounding-set=-net_admin --inh-caps=-net_admin "$device_test" undo wg7 $ours
check "keeps the ledger" on alice grep -q '^+ peer' $ours
check "undo with it" on alice "$device_test" undo wg7 $ours
check "after which all is as it was" test "$before" = "$(everything alice wg7)"
check "undoing nothing is fine" on alice "$device_test" undo wg7 $ours

# An interface that vanished took all but its rules.
wg_interface alice wg9 51900
cases alice make wg9 /run/wg9.owned
on alice ip rule add fwmark 0x99 lookup 7777 priority 52 protocol 119
on alice ip link del wg9
check "undo of a vanished interface" on alice "$device_test" undo wg9 /run/wg9.owned
check_not "its rule is gone" sh -c "nsenter --target $(pid_of alice) --net ip rule | grep 0x99"
check_not "its ledger is gone" on alice test -e /run/wg9.owned
# And one that was made anew under the same name is not touched.
wg_interface alice wg9 51900
cases alice make wg9 /run/wg9.owned
on alice ip link del wg9
wait_for 5 on alice test ! -e /run/wireguard/wg9.sock
wg_interface alice wg9 51900
on alice ip address add 10.99.0.3/16 dev wg9
check "undo where the name is another interface's" on alice "$device_test" undo wg9 /run/wg9.owned
check "which keeps its address" sh -c "nsenter --target $(pid_of alice) --net ip address show dev wg9 | grep -q 10.99.0.3/16"
on alice ip link del wg9

# ---- news --------------------------------------------------------------------------

on_bg alice /run/watch.out "$device_test" watch 60s
watcher=$LAB_BG
wait_for 5 on alice grep -q watching /run/watch.out
for i in 1 2 3 4 5 6 7 8; do echo "address add 10.77.0.$i/24 dev eth0"; done | on alice ip -batch -
check "a burst of changes is news" wait_for 5 on alice grep -q changed /run/watch.out
sleep 0.5
check "of few lines" test "$(on alice grep -c changed /run/watch.out)" -le 4
on alice sh -c ': >/run/watch.out'
on alice ip route add 198.18.99.0/24 via 192.168.1.1
check "a route is news" wait_for 5 on alice grep -q changed /run/watch.out
kill $watcher

# ---- STUN from WireGuard's port ---------------------------------------------------

akey=$(on alice wg show wg7 public-key)
bkey=$(on bob wg show wg8 public-key)
on alice wg set wg7 fwmark 0 listen-port 51820 peer "$bkey" allowed-ips 10.5.0.2/32,fd05::2/128 endpoint 203.0.113.30:51821
on bob wg set wg8 peer "$akey" allowed-ips 10.5.0.1/32
on alice ip address add 10.5.0.1/24 dev wg7
on bob ip address add 10.5.0.2/24 dev wg8
tunnel() { on alice ping -c 1 -W 2 10.5.0.2; }
seen_by_bob() { on bob wg show wg8 endpoints | awk -v key="$akey" '$1 == key { print $2 }'; }
# stun HOST INTERFACE SERVER [FROM] - prints what the server saw
stun() {
	lab_asker=$1
	shift
	on "$lab_asker" "$device_test" stun "$@" | awk '$1 == "mapped" { print $2 }'
}

check "a packet through the tunnel" wait_for 10 tunnel
check "STUN from WireGuard's port is answered" on alice "$device_test" stun wg7 203.0.113.1:3478
check "the mapped port is WireGuard's own" test "$(stun alice wg7 203.0.113.1:3478)" = "$(seen_by_bob)"
check "which the NAT has kept" test "$(seen_by_bob)" = 203.0.113.10:51820

# A NAT that gives exactly WireGuard's port another one: only packets from that port get it.
on routera nft flush table ip nat
on routera nft -f - <<-END
	table ip nat {
		chain post2 {
			type nat hook postrouting priority srcnat;
			oifname "wan" udp sport 51820 snat to 203.0.113.10:40077
			oifname "wan" masquerade
		}
	}
END
on routera conntrack -F >/dev/null 2>&1
check "again a packet through the tunnel" wait_for 10 tunnel
check "WireGuard's packets come from port 40077" test "$(seen_by_bob)" = 203.0.113.10:40077
check "STUN says the same" test "$(stun alice wg7 203.0.113.1:3478)" = 203.0.113.10:40077
check "and to another address" test "$(stun alice wg7 203.0.113.2:3478)" = 203.0.113.10:40077
check "the tunnel does not mind" tunnel

# Both ends: a request that reaches WireGuard's port is answered from there.
on_bg bob /run/echo.log "$device_test" echo wg8 60s
check "STUN from WireGuard's port to WireGuard's port" wait_for 5 on alice "$device_test" stun wg7 203.0.113.30:51821
check "shows the mapping between the two" test "$(stun alice wg7 203.0.113.30:51821)" = 203.0.113.10:40077
check "to its other address, answered from there" on alice sh -c "'$device_test' stun wg7 203.0.113.31:51821 | grep 'from 203.0.113.31:51821 '"
kill "$LAB_BG"
check_not "what goes to one's own port does not come back" on bob "$device_test" stun wg8 203.0.113.30:51821

# Source addresses, IPv6, and the fwmark's road.
check "sent from the address that was asked for" test "$(stun bob wg8 203.0.113.1:3478 203.0.113.31)" = 203.0.113.31:51821
check "IPv6" test "$(stun bob wg8 '[2001:db8:1::1]:3478')" = '[2001:db8:1::30]:51821'
on bob ip address add 2001:db8:1::31/64 dev eth0 nodad
check "IPv6 from another address" test "$(stun bob wg8 '[2001:db8:1::1]:3478' 2001:db8:1::31)" = '[2001:db8:1::31]:51821'
link_local=$(on server ip -6 -o address show dev eth0 scope link | awk '{ sub("/.*", "", $4); print $4 }')
index=$(on bob ip -o link show dev eth0 | cut -d: -f1)
check "IPv6 link-local" on bob "$device_test" stun wg8 "[$link_local%$index]:3478"
check_not "there is no road" on bob "$device_test" stun wg8 198.51.100.1:3478
on bob ip route add 198.51.100.0/24 via 203.0.113.1 table 77
on bob ip rule add fwmark 0x77 lookup 77
on bob wg set wg8 fwmark 0x77
check "but with WireGuard's fwmark there is" test "$(stun bob wg8 198.51.100.1:3478)" = 203.0.113.30:51821
lab_end
