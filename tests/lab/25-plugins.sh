#!/bin/sh
# Plugins in a running agent: scripts and their exit codes, one that is missing, those that hang or
# crash the agent. The tunnel outlives all.
set -u
. "$(dirname "$0")/lib.sh"
lab_enter "$@"
two_houses port_restricted full
plugins=/usr/lib/wg-mesh/plugins

check "alice joins" on alice wg-mesh join "$LAB_LINK"
check "bob joins" on bob wg-mesh join "$LAB_LINK"
check "they find each other" wait_for 10 is_direct alice bob

plugin() { # NAME MEMBER
	on alice wg-mesh plugins wg0 --json | jq -r ".plugins[] | select(.name == \"$1\") | .$2"
}
plugin_is() { [ "$(plugin "$1" "$2")" = "$3" ]; }
check "stun is loaded and runs" plugin_is stun 'instances[0].state' running
install -m 755 "$LAB_TOP/plugins/examples/discovery-example" $plugins/
check "a script in the directory is listed" plugin_is example form script
check "and not opened" plugin_is example loaded false

discovery() { # LIST: into alice's configuration
	on alice sh -c 'grep -v ^discovery: /etc/wg-mesh/wg0.yaml >/run/new.yaml
		echo "discovery: $1" >>/run/new.yaml && cat /run/new.yaml >/etc/wg-mesh/wg0.yaml' sh "$1"
	on alice wg-mesh reload wg0
}
check "reload with it and a missing one" \
	discovery '[local, stun, missing, {example: {endpoint: "203.0.113.77:77"}}]'
check "it runs" wait_for 5 plugin_is example 'instances[0].state' running
endpoint_is_told() { status alice '.nat.endpoints[]' | grep -x "$1"; }
check "its endpoint is among alice's" wait_for 5 endpoint_is_told 203.0.113.77:77
check "the missing one is named" sh -c 'grep -q "install that plugin"' <<END
$(plugin missing error)
END
doctor_says() { on alice wg-mesh doctor wg0 2>&1 | grep -q "$1"; }
check "doctor names it too" doctor_says 'plugin discovery-missing failed: there is no'
check_not "one that is named twice is refused" discovery '[local, stun, local]'
check "a wrong option is refused with its place" discovery '[local, stun, {example: {endpont: "203.0.113.77:77"}}]'
check "and the nearest word" sh -c 'grep -E "wg0.yaml:[0-9]+:[0-9]+: .* did you mean .endpoint"' <<END
$(plugin example error)
END

on alice wg-meshd wg0 --check >$LAB_DIR/config.out 2>&1
check "wg-meshd --check refuses it" test $? -eq 2
check "with the same words" grep -qE 'wg0.yaml:[0-9]+:[0-9]+: .* did you mean .endpoint' $LAB_DIR/config.out

moody=/var/tmp/moody # /var is shared by the hosts, and plugins may write there
cat >$plugins/discovery-moody <<-'EOF'
	#!/bin/sh
	[ "$1" != describe ] || exec printf '%s\n' 'abi 1' 'kind discovery' 'every 1s'
	echo >>/var/tmp/moody.runs
	echo candidate static 203.0.113.66:66
	echo nat address-and-port-dependent address-and-port-dependent
	exit "$(cat /var/tmp/moody)"
EOF
chmod 755 $plugins/discovery-moody
nat_is() { [ "$(status alice .nat.type)" = "$1" ]; }
nat_is_not() { ! nat_is "$1"; }
endpoint_is_gone() { ! endpoint_is_told "$1"; }
echo 0 >$moody
check "a script with a mind of its own is taken" discovery '[local, stun, moody]'
check "its endpoint is told" wait_for 5 endpoint_is_told 203.0.113.66:66
check "and what it says of the NAT" wait_for 5 nat_is symmetric
echo 3 >$moody
check "exit 3 withdraws the endpoint" wait_for 10 endpoint_is_gone 203.0.113.66:66
check "and the NAT" wait_for 10 nat_is_not symmetric
echo 78 >$moody
check "exit 78 refuses the configuration" wait_for 10 plugin_is moody 'instances[0].state' refused
runs=$(wc -l <$moody.runs)
sleep 3
check "and is not run again" test "$(wc -l <$moody.runs)" -eq "$runs"
check "doctor says so" doctor_says 'plugin discovery-moody refused: .*exit 78'
echo 0 >$moody
check "a reload asks it again" on alice wg-mesh reload wg0
check "and takes its answer" wait_for 5 endpoint_is_told 203.0.113.66:66
rm -f $moody $moody.runs

# The reload ends with the agent.
fault() { # NAME HOW STATE WORDS
	on alice sh -c 'grep -v ^discovery: /etc/wg-mesh/wg0.yaml >/run/new.yaml
		echo "discovery: [local, stun, {$1: {how: $2}}]" >>/run/new.yaml
		cat /run/new.yaml >/etc/wg-mesh/wg0.yaml' sh "$1" "$2"
	on_bg alice /run/reload.log wg-mesh reload wg0
	check "an agent that has a plugin ($1) which does $2 comes back without it" \
		wait_for 20 plugin_is "$1" 'instances[0].state' "$3"
	check "which is named" sh -c 'grep -q "$1"' sh "$4" <<END
$(plugin "$1" error)
END
}
build() { # NAME FLAG...
	name=$1
	shift
	cc -O1 -fPIC -shared -I"$LAB_TOP/core/include" "$@" -o "$plugins/discovery-$name.so" \
		"$LAB_TOP/tests/plugin/fault.c"
}
build early -DNAME='"early"' -DHANGS_EARLY
build fault
fault early hang hung "hung the agent for 5 s"
fault fault crash crashed "crashed the agent (SIGSEGV)"
check "stun runs again" wait_for 5 plugin_is stun 'instances[0].state' running
check "the tunnel is there" wait_for 10 tunnel_ping alice bob
check "and direct" wait_for 15 is_direct alice bob
lab_end
