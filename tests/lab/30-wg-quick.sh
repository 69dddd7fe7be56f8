#!/bin/sh
# A hook never breaks wg-quick: the interface is up afterwards and down takes it away, whatever is
# wrong with us, and it costs less than 200 ms (three times that is asserted; the figure is printed).
set -u
. "$(dirname "$0")/lib.sh"
lab_enter "$@"
on_one_street alice
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
	cat $LAB_DIR/took >>$LAB_DIR/plain-up
	took on alice wg-quick down wgp0
	cat $LAB_DIR/took >>$LAB_DIR/plain-down
done
plain_up=$(sort -n $LAB_DIR/plain-up | sed -n 2p)
plain_down=$(sort -n $LAB_DIR/plain-down | sed -n 2p)
on alice rm /etc/wireguard/wgp0.conf

agent_gone() { on alice test ! -e /run/wg-mesh/wg0.owned; }
case_of() { # WHAT - wg-quick up and down with something broken
	if took on alice wg-quick up wg0; then ok "$1: wg-quick up ends well"; else
		not_ok "$1: wg-quick up ends well"
		sed 's/^/    /' $LAB_DIR/took.out
	fi
	cp $LAB_DIR/took.out $LAB_DIR/up.out
	extra=$(($(cat $LAB_DIR/took) - plain_up))
	echo "# $1: up took $extra ms longer than without the hook ($plain_up ms)"
	check "$1: up is not held up" test $extra -lt 600
	check "$1: the interface is up" is_up wg0
	sleep 1
	took on alice wg-quick down wg0 || not_ok "$1: wg-quick down ends well"
	extra=$(($(cat $LAB_DIR/took) - plain_down))
	echo "# $1: down took $extra ms longer than without the hook ($plain_down ms)"
	check "$1: down is not held up" test $extra -lt 600
	check_not "$1: the interface is gone" is_up wg0
	check "$1: the ledger is gone" wait_for 5 agent_gone
}
# That things are as broken as a case says, and whole again afterwards.
fails() { ! "$@"; }
is_so() { check "(it is so: $1)" "$2" on alice sh -c "$3"; } # WHAT so|fails COMMAND
so() { "$@"; }
over() { on alice mount --bind "$1" "$2" || not_ok "$1 is put over $2"; }
away() { on alice umount "$1" || not_ok "what was over $1 is taken away"; }
whole() {
	on alice wg-quick up wg0 >/dev/null 2>&1
	check "$1: with all well again the agent runs" wait_for 5 answers alice
	on alice wg-quick down wg0 >/dev/null 2>&1
}
case_of "all is well"
whole "all is well"

# A name server that is there and never answers.
host silent
on_street silent eth0 203.0.113.88/24
on silent nft 'add table ip mute; add chain ip mute in { type filter hook input priority 0; }; add rule ip mute in drop'
yaml=/etc/wg-mesh/wg0.yaml
on alice cp -p $yaml /run/good.yaml
on alice sed -i 's|url: "[^"]*"|url: "https://no-such-host.example:8443"|' $yaml
on alice sh -c 'echo nameserver 203.0.113.88 >/run/resolv.conf'
over /run/resolv.conf /etc/resolv.conf
is_so "the file is good" so "wg-meshd wg0 --check"
is_so "it has that name" so "grep -q no-such-host.example $yaml"
is_so "the name server is silent" so 'timeout 1 getent hosts no-such-host.example; test $? -eq 124'
case_of "the coordinator's name does not resolve"
away /etc/resolv.conf
on alice cp -p /run/good.yaml $yaml

on coord ip link set eth0 down
is_so "nobody answers there" fails "ping -c 1 -W 1 203.0.113.1"
case_of "the coordinator is away"
on coord ip link set eth0 up

on alice mkdir /run/none
over /run/none /usr/lib/wg-mesh/plugins
is_so "no plugin is there" so 'test -z "$(ls -A /usr/lib/wg-mesh/plugins)"'
case_of "the plugin directory is empty"
away /usr/lib/wg-mesh/plugins
whole "plugins"

on alice sh -c 'printf "not a program" >/run/broken; chmod 755 /run/broken'
over /run/broken /usr/sbin/wg-meshd
is_so "the agent cannot be run" fails "wg-meshd --version"
case_of "the agent's binary is broken"
away /usr/sbin/wg-meshd

on alice sh -c 'printf "#!/bin/sh\nexec sleep 1000\n" >/run/hanging; chmod 755 /run/hanging'
over /run/hanging /usr/sbin/wg-meshd
is_so "the agent does nothing" so 'timeout 1 wg-meshd --version; test $? -eq 124'
case_of "the agent's binary hangs"
away /usr/sbin/wg-meshd
whole "the agent"

on alice sh -c "printf 'nonsense: [\n' >$yaml"
is_so "the file is refused" fails "wg-meshd wg0 --check"
case_of "the configuration is nonsense"
says_why() { check "and it says: $1" grep -q -e "$1" $LAB_DIR/up.out; }
says_why '/etc/wg-mesh/wg0.yaml:2'
on alice ip link add wg0 type wireguard 2>/dev/null || on alice ip link add wg0 type bridge
code_of 2 "up --wait with a wrong configuration" on alice wg-mesh up wg0 --wait 2
on alice sh -c 'sed "s/^name/discovry: [local]\nname/" /run/good.yaml >/etc/wg-mesh/wg0.yaml'
code_of 0 "up with a misspelled key" on alice wg-mesh up wg0
says 'discovry'
says 'discovery'
on alice ip link del wg0
on alice cp -p /run/good.yaml $yaml
whole "the configuration"

on alice mv /var/lib/wg-mesh/agent/wg0.json /run/good.json
case_of "the state is missing"
says_why 'has not joined'
code_of 3 "up --wait with no state" on alice wg-mesh up wg0 --wait 2
on alice mv /run/good.json /var/lib/wg-mesh/agent/wg0.json
code_of 0 "up as somebody else than root" on alice setpriv --reuid 65534 --clear-groups wg-mesh up wg0
says 'run it as root'
code_of 0 "down as somebody else than root" on alice setpriv --reuid 65534 --clear-groups wg-mesh down wg0
says 'run it as root'

whole "the state"

on alice chmod 644 /run/broken
over /run/broken /usr/bin/wg-mesh
is_so "the command cannot be run" fails "wg-mesh --version"
case_of "wg-mesh cannot be run"
away /usr/bin/wg-mesh

mv /usr/bin/wg-mesh /usr/bin/elsewhere # /usr is all hosts'
is_so "the command is nowhere" fails "command -v wg-mesh"
case_of "wg-mesh is not there at all"
mv /usr/bin/elsewhere /usr/bin/wg-mesh
whole "the command"
lab_end
