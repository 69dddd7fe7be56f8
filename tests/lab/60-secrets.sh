#!/bin/sh
# A private key is never in a log, an argument list, a world-readable file, the coordinator's
# database or on the wire; nor is a join key or a token where others could read it.
set -u
. "$(dirname "$0")/lib.sh"
lab_enter "$@"
street
on_bg street /run/tcpdump.out tcpdump -Z root -i br0 -U -w /run/wire.pcap
wire=/proc/$(pid_of street)/root/run/wire.pcap
wait_for 10 test -s "$wire"
coordinator --verbose
for n in 0 1; do
	name=$(echo 'alice bob' | cut -d' ' -f$((n + 1)))
	host "$name"
	on_street "$name" eth0 203.0.113.3$n/24
done
# Every argument list there ever is, as often as one can look.
sh -c 'while :; do cat /proc/[0-9]*/cmdline 2>/dev/null | tr "\0" "\n"; done' | sort -u >$LAB_DIR/arguments &
on alice wg-mesh join --link-file /dev/stdin >/dev/null 2>&1 <<-EOF || not_ok "alice joins"
	$LAB_LINK
EOF
echo "$LAB_LINK" | on bob wg-mesh join - >/dev/null 2>&1 || not_ok "bob joins"
check "they meet" wait_for 10 is_direct alice bob
on alice wg-mesh ping wg0 bob -c 1 >/dev/null 2>&1
pkill -f 'cat /proc/' 2>/dev/null
sleep 0.5
pkill -f tcpdump 2>/dev/null
join_key=$(echo "$LAB_LINK" | sed 's/.*#//; s/\..*//')

for name in alice bob; do
	on $name wg show wg0 private-key >$LAB_DIR/$name.key
	on $name jq -r .token /var/lib/wg-mesh/agent/wg0.json >$LAB_DIR/$name.token
	check "$name's state has a token" test "$(wc -c <$LAB_DIR/$name.token)" -gt 40
done
# found FILE... - is a secret in one of them, as base64 or as bytes?
found() {
	python3 - "$LAB_DIR" "$join_key" "$@" <<-'EOF'
		import base64, sys
		lab, join_key, files = sys.argv[1], sys.argv[2], sys.argv[3:]
		secrets = [join_key.encode()]
		for name in ("alice", "bob"):
		    key = open(f"{lab}/{name}.key").read().strip()
		    raw = base64.b64decode(key)
		    secrets += [key.encode(), key.rstrip("=").encode(), raw, raw.hex().encode(),
		                open(f"{lab}/{name}.token").read().strip().encode()]
		hits = [f for f in files for s in secrets if s in open(f, "rb").read()]
		print(hits)
		sys.exit(0 if hits else 1)
	EOF
}
check_not "no secret is on the wire" found "$wire"
check "(the capture is not empty)" test "$(wc -c <"$wire")" -gt 10000
check_not "no secret was in an argument list" found $LAB_DIR/arguments
logs=$(find /proc/"$(pid_of coord)"/root/run /proc/"$(pid_of alice)"/root/run /proc/"$(pid_of bob)"/root/run -name '*.log' -size +0)
# The coordinator's first standard output is its link; its log proper must not have it.
grep -v '/join#' /proc/"$(pid_of coord)"/root/run/coordinator.log >$LAB_DIR/coordinator-log
# shellcheck disable=SC2046,SC2086
check_not "no secret is in a log" found $LAB_DIR/coordinator-log $(echo $logs | tr ' ' '\n' | grep -v coordinator.log)
database=$(find /proc/"$(pid_of coord)"/root/var/lib/wg-mesh -type f -name '*.db*' -o -type f -name '*.sqlite*')
check "(there is a database)" test -n "$database"
# shellcheck disable=SC2086
check_not "no secret is in the coordinator's database" found $database
for name in coord alice bob; do
	root=/proc/$(pid_of $name)/root
	open_files=$(find "$root"/run "$root"/etc/wg-mesh "$root"/etc/wireguard "$root"/var/lib/wg-mesh -type f -perm /044 2>/dev/null | grep -v coordinator.log)
	[ -n "$open_files" ] || continue
	# shellcheck disable=SC2086
	check_not "no secret is in a file of $name's that others may read" found $open_files
done
for name in alice bob; do
	check "the files of $name's are 0600" test -z "$(on $name find /etc/wireguard/wg0.conf /etc/wg-mesh/wg0.yaml /var/lib/wg-mesh/agent/wg0.json ! -perm 0600)"
	check "the socket and ledger of $name's are 0600" test -z "$(on $name find /run/wg-mesh/wg0.sock /run/wg-mesh/wg0.owned ! -perm 0600)"
	capabilities() {
		for pid in $(pgrep -x wg-meshd); do
			[ "$(readlink /proc/"$pid"/ns/net)" = "$(readlink /proc/"$(pid_of "$1")"/ns/net)" ] &&
				awk '/^CapEff/ { print $2 }' /proc/"$pid"/status
		done
	}
	# CAP_NET_ADMIN is 12, CAP_NET_RAW 13.
	check "the agent of $name's has CAP_NET_ADMIN and CAP_NET_RAW only" sh -c "echo '$(capabilities $name)' | grep -qw 0000000000003000"
done
lab_end
