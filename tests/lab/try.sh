#!/bin/sh
# etc/try.sh does what the README says: shows a direct tunnel, ends by itself, and leaves nothing
# behind, also after Ctrl-C.
set -u
top=$(cd "$(dirname "$0")/../.." && pwd)
[ "$(id -u)" = 0 ] || {
	echo "skip try.sh needs root"
	exit 77
}
work=$(mktemp -d)
out=$work/out
trap 'rm -rf "$work"' EXIT
# Whatever it starts has this mark in its environment, and a folder of its own for temporary files.
mark=WG_MESH_TRIED=$$
mkdir "$work/tmp"
marked() { grep -lzsx "$mark" /proc/[0-9]*/environ | cut -d/ -f3; }
# What a demonstration could leave: its links, mounts, processes and files. What else this machine
# does meanwhile is none of its business.
traces() {
	ip -o link show | awk -F': ' '$2 ~ /^(wgmtry|lab[01]|port[0-9]|br0)/ { print "link", $2 }'
	awk '$5 ~ "^(/run|/usr|/etc|/var|/etc/wireguard|/etc/wg-mesh|/var/lib/wg-mesh|/run/lab.*)$" { print "mount", $5 }' /proc/self/mountinfo
	for pid in $(marked); do
		echo "process $pid $(tr '\0' ' ' <"/proc/$pid/cmdline")"
	done
	find "$work/tmp" -mindepth 1
	for path in /etc/wireguard /etc/wg-mesh /var/lib/wg-mesh /run/wg-mesh /run/wireguard /usr/lib/wg-mesh /usr/bin/wg-mesh; do
		find $path 2>/dev/null
	done
}
settled() {
	tries=50
	while [ $tries -gt 0 ]; do
		traces >"$out.after"
		cmp -s "$out.before" "$out.after" && return 0
		tries=$((tries - 1))
		sleep 0.2
	done
	diff "$out.before" "$out.after"
	return 1
}
check() {
	what=$1
	shift
	if "$@"; then echo "ok $where$what"; else
		echo "not ok $where$what"
		failed=1
	fi
}
failed=0
where="${LAB_WHERE:-}try.sh: "
traces >"$out.before"
env "$mark" TMPDIR="$work/tmp" sh "$top/etc/try.sh" >"$out" 2>&1
check "ends well by itself" test $? -eq 0
for house in "alice 203.0.113.10" "bob 203.0.113.20"; do
	name=${house% *} router=${house#* }
	check "shows what $name found out" grep -q "$name: NAT port_restricted_cone.*seen from outside as $router:" "$out"
	check "shows $name's endpoint as seen by the other" grep -qE "$name +.*direct +.*$router:" "$out"
done
check "shows a direct path" grep -q 'pong from bob .* via direct 203.0.113.20:' "$out"
check "shows a ping without loss" grep -q '2 received, 0% packet loss' "$out"
check "shows what WireGuard says" grep -q 'endpoint: 203.0.113.20:' "$out"
check "with a handshake" grep -q 'latest handshake:' "$out"
check "leaves nothing behind" settled
sed 's/^/    /' "$out"

# Interrupted in the middle, from the terminal: everybody in the foreground gets the signal.
# (A shell starts background commands with SIGINT ignored; a terminal does not.)
env --default-signal=INT "$mark" TMPDIR="$work/tmp" setsid sh "$top/etc/try.sh" >"$out" 2>&1 &
group=$!
tries=600
until grep -q 'Bob joins' "$out" || [ $tries -eq 0 ]; do
	tries=$((tries - 1))
	sleep 0.1
done
check "was interrupted in the middle" test $tries -gt 0
running() {
	tries=20
	until [ "$(marked | wc -l)" -gt 5 ] || [ $tries -eq 0 ]; do
		tries=$((tries - 1))
		sleep 0.05
	done
	[ $tries -gt 0 ]
}
check "with its programs running" running
kill -s INT -- -$group
wait $group 2>/dev/null
check "ends with the code of an interrupted program" test $? -eq 130
check "went no further" sh -c "! grep -q 'That was it' '$out'"
check "leaves nothing behind after Ctrl-C" settled
exit $failed
