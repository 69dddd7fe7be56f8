#!/bin/sh
# etc/try.sh does what the README says: shows a direct tunnel, ends by itself, and leaves nothing
# behind, also after Ctrl-C.
set -u
top=$(cd "$(dirname "$0")/../.." && pwd)
[ "$(id -u)" = 0 ] || {
	echo "skip try.sh needs root"
	exit 77
}
out=$(mktemp)
trap 'rm -f "$out" "$out.before" "$out.after"' EXIT
# What a demonstration could leave: links, namespaces, mounts, processes of ours, files.
traces() {
	ip -o link show | awk -F': ' '{ print "link", $2 }'
	ls /run/netns 2>/dev/null | sed 's/^/netns /'
	awk '{ print "mount", $5 }' /proc/self/mountinfo
	ps -eo comm | grep -E '^(wg-mesh|wg-meshd|wireguard-go)' | sort
	for path in /etc/wireguard /etc/wg-mesh /var/lib/wg-mesh /run/wg-mesh /run/wireguard /usr/lib/wg-mesh /usr/bin/wg-mesh; do
		find $path 2>/dev/null
	done
	ls -d /tmp/* 2>/dev/null | grep -v -F "$out"
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
	if "$@"; then echo "ok try.sh: $what"; else echo "not ok try.sh: $what"; fi
}
traces >"$out.before"
sh "$top/etc/try.sh" >"$out" 2>&1
check "ends well by itself" test $? -eq 0
check "shows a direct path" grep -q 'via direct 203.0.113.' "$out"
check "leaves nothing behind" settled
sed 's/^/    /' "$out"

# Interrupted in the middle, from the terminal: everybody in the foreground gets the signal.
# (A shell starts background commands with SIGINT ignored; a terminal does not.)
env --default-signal=INT setsid sh "$top/etc/try.sh" >"$out" 2>&1 &
group=$!
tries=100
until grep -q 'Bob joins' "$out" || [ $tries -eq 0 ]; do
	tries=$((tries - 1))
	sleep 0.1
done
check "was interrupted in the middle" test $tries -gt 0
kill -INT -- -$group
wait $group 2>/dev/null
check "leaves nothing behind after Ctrl-C" settled
