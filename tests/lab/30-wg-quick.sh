#!/bin/sh
# A hook never breaks wg-quick: the interface is up afterwards and down takes it away, whatever is
# wrong with us, and it costs less than 200 ms (three times that is asserted; the figure is printed).
set -u
. "$(dirname "$0")/lib.sh"
lab_enter "$@"
street
coordinator
host alice
on_street alice eth0 203.0.113.30/24
on alice wg-mesh join "$LAB_LINK" --no-up >/dev/null 2>&1 || not_ok "alice joins"
conf=/etc/wireguard/wg0.conf
on alice sh -c "grep -v wg-mesh $conf >/etc/wireguard/wgp0.conf; chmod 600 /etc/wireguard/wgp0.conf"

is_up() { on alice ip link show "$1"; }
took() { # COMMAND... - milliseconds
	took_begin=$(now_ms)
	"$@" >$LAB_DIR/took.out 2>&1
	took_status=$?
	echo $(($(now_ms) - took_begin)) >$LAB_DIR/took
	return $took_status
}
# Without the hook lines: what wg-quick needs by itself (the middle of three).
for i in 1 2 3; do
	took on alice wg-quick up wgp0
	cat $LAB_DIR/took >>$LAB_DIR/plain
	on alice wg-quick down wgp0 >/dev/null 2>&1
done
plain=$(sort -n $LAB_DIR/plain | sed -n 2p)
on alice rm /etc/wireguard/wgp0.conf

case_of() { # WHAT - wg-quick up and down with something broken
	if took on alice wg-quick up wg0; then ok "$1: wg-quick up ends well"; else
		not_ok "$1: wg-quick up ends well"
		sed 's/^/    /' $LAB_DIR/took.out
	fi
	cp $LAB_DIR/took.out $LAB_DIR/up.out
	extra=$(($(cat $LAB_DIR/took) - plain))
	echo "# $1: up took $extra ms longer than without the hook ($plain ms)"
	check "$1: up is not held up" test $extra -lt 600
	check "$1: the interface is up" is_up wg0
	sleep 1
	took on alice wg-quick down wg0 || not_ok "$1: wg-quick down ends well"
	echo "# $1: down took $(cat $LAB_DIR/took) ms"
	check_not "$1: the interface is gone" is_up wg0
	agent_gone() { ! on alice test -e /run/wg-mesh/wg0.owned; }
	check "$1: the ledger is gone" wait_for 5 agent_gone
}
case_of "all is well"

on alice sed -i.keep 's|url: .*|url: "https://no-such-host.invalid:8443"|' /etc/wg-mesh/wg0.yaml
case_of "the coordinator's name does not resolve"
on alice mv /etc/wg-mesh/wg0.yaml.keep /etc/wg-mesh/wg0.yaml

on coord ip link set eth0 down
case_of "the coordinator is away"
on coord ip link set eth0 up

mkdir /run/empty
mount --bind /run/empty /usr/lib/wg-mesh/plugins
on alice mount --bind /run /run 2>/dev/null
on alice sh -c 'mkdir -p /run/none; mount --bind /run/none /usr/lib/wg-mesh/plugins'
case_of "the plugin directory is empty"
on alice umount /usr/lib/wg-mesh/plugins
umount /usr/lib/wg-mesh/plugins

on alice sh -c 'printf "not a program" >/run/broken; chmod 755 /run/broken; mount --bind /run/broken /usr/sbin/wg-meshd'
case_of "the agent's binary is broken"
on alice umount /usr/sbin/wg-meshd

on alice mount --bind /bin/sleep /usr/sbin/wg-meshd
case_of "the agent's binary hangs"
on alice umount /usr/sbin/wg-meshd

on alice sh -c ': >/etc/wg-mesh/wg0.yaml.new; printf "nonsense: [\n" >/etc/wg-mesh/wg0.yaml.new; cp -p /etc/wg-mesh/wg0.yaml /run/good.yaml; cat /etc/wg-mesh/wg0.yaml.new >/etc/wg-mesh/wg0.yaml'
case_of "the configuration is nonsense"
says_why() { check "and it says: $1" grep -q -e "$1" $LAB_DIR/up.out; }
says_why '/etc/wg-mesh/wg0.yaml:2'
code_of() { # EXPECTED WHAT COMMAND...
	expected=$1 what=$2
	shift 2
	"$@" >$LAB_DIR/up.out 2>&1
	code=$?
	check "$what: exit code $expected, not $code" test $code -eq "$expected"
}
on alice ip link add wg0 type wireguard 2>/dev/null || on alice ip link add wg0 type dummy
code_of 2 "up --wait with a wrong configuration" on alice wg-mesh up wg0 --wait 2
on alice sh -c 'sed "s/^name/discovry: [local]\nname/" /run/good.yaml >/etc/wg-mesh/wg0.yaml'
code_of 0 "up with a misspelled key" on alice wg-mesh up wg0
says_why 'discovry'
says_why 'discovery'
on alice ip link del wg0
on alice cp -p /run/good.yaml /etc/wg-mesh/wg0.yaml

on alice mv /var/lib/wg-mesh/agent/wg0.json /run/good.json
case_of "the state is missing"
says_why 'has not joined'
code_of 3 "up --wait with no state" on alice wg-mesh up wg0 --wait 2
on alice mv /run/good.json /var/lib/wg-mesh/agent/wg0.json
code_of 0 "up as somebody else than root" on alice setpriv --reuid 65534 --clear-groups wg-mesh up wg0
says_why 'run it as root'
code_of 0 "down as somebody else than root" on alice setpriv --reuid 65534 --clear-groups wg-mesh down wg0
says_why 'run it as root'

on alice sh -c 'mount --bind /run/broken /usr/bin/wg-mesh; chmod 644 /run/broken'
case_of "wg-mesh cannot be run"
on alice umount /usr/bin/wg-mesh
on alice sed -i 's/wg-mesh \(up\|down\)/wg-mesh-not-installed \1/' $conf
case_of "wg-mesh is not there at all"
lab_end
