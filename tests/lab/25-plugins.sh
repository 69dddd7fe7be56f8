#!/bin/sh
# Plugins in a running agent: a script, one that is missing, one that hangs. The tunnel outlives all.
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
check "a wrong option is refused with its place" discovery '[local, stun, {example: {endpont: "203.0.113.77:77"}}]'
check "and the nearest word" sh -c 'grep -E "wg0.yaml:[0-9]+:[0-9]+: .* did you mean .endpoint"' <<END
$(plugin example error)
END

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
