#!/bin/sh
# install.sh - what packagers do: the source as a tarball, built, installed under another prefix into
# a folder, looked at, and uninstalled; and what lies beside the programs (completions, examples).
set -u
cd "$(dirname "$0")/.." || exit 1
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
trap 'exit 130' INT TERM
failed=0
check() { # NAME COMMAND...
	name=$1
	shift
	if "$@" >"$tmp/said" 2>&1; then
		echo "ok install: $name"
	else
		echo "not ok install: $name"
		sed 's/^/    /' "$tmp/said"
		failed=1
	fi
}

# What is not committed is not in a tarball, and is tested where it is committed.
unpack() {
	make -s dist && tar xzf build/wg-mesh-*.tar.gz -C "$tmp" && mv "$tmp"/wg-mesh-* "$tmp/source"
}
check "make dist makes a tarball" unpack
root=$tmp/root
build() { make -s -C "$tmp/source" -j2 all; }
check "the tarball builds without git" build

# After a build for /usr: the prefix must reach what was compiled already.
install_it() { make -s -C "$tmp/source" -j2 install PREFIX=/opt/mesh DESTDIR="$root"; }
check "make install PREFIX=/opt/mesh DESTDIR=..." install_it
prefix_everywhere() {
	grep -q '^prefix=/opt/mesh$' "$root/opt/mesh/lib/pkgconfig/wg-mesh-plugin.pc" || return 1
	for unit in "$root"/opt/mesh/lib/systemd/system/*.service; do
		grep -q '^ExecStart=/opt/mesh/sbin/' "$unit" || return 1
		! grep -H '/usr/s*bin/wg-mesh' "$unit" || return 1
	done
	grep -qa /opt/mesh/sbin/wg-meshd "$root/opt/mesh/bin/wg-mesh" &&
		grep -qa /opt/mesh/lib/wg-mesh/plugins "$root/opt/mesh/sbin/wg-meshd" &&
		! grep -qa /usr/lib/wg-mesh/plugins "$root/opt/mesh/sbin/wg-meshd"
}
check "units, pkg-config file and programs know the prefix" prefix_everywhere
again() { [ "$(make -C "$tmp/source" install PREFIX=/opt/mesh DESTDIR="$root" | grep -c ' CC ')" = 0 ]; }
check "a second install compiles nothing" again
modes() {
	[ -z "$(find "$root" -perm /022 ! -type l)" ] && [ -x "$root/opt/mesh/bin/wg-mesh" ] &&
		[ ! -x "$root/opt/mesh/lib/wg-mesh/plugins/discovery-stun.so" ]
}
check "nothing is writable for others" modes

completion() { # of bash, asked as bash asks
	PATH=$root/opt/mesh/bin:$PATH bash -c '
		. "$1"; COMP_WORDS=(wg-mesh stat); COMP_CWORD=1; _wg_mesh
		[ "${COMPREPLY[*]}" = status ]
		COMP_WORDS=(wg-mesh ping --until); COMP_CWORD=2; _wg_mesh
		[ "${COMPREPLY[*]}" = --until-direct ]' bash "$root/opt/mesh/share/bash-completion/completions/wg-mesh"
}
check "bash completes commands and options" completion
examples() {
	for example in "$root"/opt/mesh/share/doc/wg-mesh/examples/*; do
		case $(head -n 1 "$example") in
		'#!/bin/sh'*) sh -n "$example" && [ -x "$example" ] || return 1 ;;
		esac
	done
}
check "examples are executable shell" examples
hook() { # EVENT
	WG_MESH_EVENT=$1 WG_MESH_INTERFACE=wg0 WG_MESH_PEER_NAME=nas WG_MESH_PEER_ADDRESS=10.86.0.4 HOSTS_FILE=$tmp/hosts \
		"$root/opt/mesh/share/doc/wg-mesh/examples/name-in-hosts"
}
hosts() {
	printf '127.0.0.1 localhost\n' >"$tmp/hosts"
	hook peer-up && hook peer-up && [ "$(grep -c '^10.86.0.4 nas.mesh ' "$tmp/hosts")" = 1 ] &&
		hook peer-down && [ "$(cat "$tmp/hosts")" = "127.0.0.1 localhost" ]
}
check "the sample hook keeps a name in a hosts file" hosts

uninstall_it() {
	make -s -C "$tmp/source" uninstall PREFIX=/opt/mesh DESTDIR="$root" &&
		[ -z "$(find "$root" -type f)" ]
}
check "make uninstall leaves no file" uninstall_it
compile_commands() {
	make -s -C "$tmp/source" compile_commands.json &&
		python3 -c 'import json, sys; assert len(json.load(open(sys.argv[1]))) > 100' "$tmp/source/compile_commands.json"
}
check "compile_commands.json is JSON" compile_commands
exit $failed
