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
public_hosts alice bob
# Every argument list there ever is, as often as one can look.
sh -c 'while :; do cat /proc/[0-9]*/cmdline 2>/dev/null | tr "\0" "\n"; done' | sort -u >$LAB_DIR/arguments &
on alice wg-mesh join --no-up --link-file /dev/stdin >/dev/null 2>&1 <<-EOF || not_ok "alice joins"
	$LAB_LINK
EOF
echo "$LAB_LINK" | on bob wg-mesh join - --no-up >/dev/null 2>&1 || not_ok "bob joins"
for name in alice bob; do # with an agent that tells all it can
	on $name sed -i 's/wg-mesh up %i/& --verbose/' /etc/wireguard/wg0.conf
	on $name wg-quick up wg0 >/dev/null 2>&1 || not_ok "$name is up"
done
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
# found FILE... - is a secret in one of them, as base64, as bytes, in hexadecimal? 0 yes, 1 no,
# 2 where that cannot be told.
cat >$LAB_DIR/found.py <<-'EOF'
	import base64, sys
	def secrets(lab, join_key):
	    yield "join key", join_key.encode()
	    for name in ("alice", "bob"):
	        key = open(f"{lab}/{name}.key").read().strip()
	        raw = base64.b64decode(key)
	        assert len(raw) == 32 and len(join_key) == 22
	        yield name + "'s key", key.rstrip("=").encode()
	        yield name + "'s key as bytes", raw
	        yield name + "'s key in hexadecimal", raw.hex().encode()
	        yield name + "'s token", open(f"{lab}/{name}.token").read().strip().encode()
	try:
	    lab, join_key, files = sys.argv[1], sys.argv[2], sys.argv[3:]
	    all = list(secrets(lab, join_key))
	    if files == ["--plant"]:  # one file with each
	        for number, (_, secret) in enumerate(all):
	            open(f"{lab}/canary-{number}", "wb").write(b"some text " + secret + b" more")
	        sys.exit(0)
	    contents = {f: open(f, "rb").read() for f in files}
	    assert files and any(contents.values()), "nothing to look into"
	    hits = [(f, what) for f in files for what, secret in all if secret in contents[f]]
	except Exception as error:
	    print("cannot tell:", repr(error))
	    sys.exit(2)
	print(hits)
	sys.exit(0 if hits else 1)
EOF
found() { python3 $LAB_DIR/found.py $LAB_DIR "$join_key" "$@"; }
none() { # WHAT FILE...
	what=$1
	shift
	found "$@" >$LAB_DIR/found.out 2>&1
	code=$?
	if [ $code -eq 1 ]; then ok "$what"; else
		not_ok "$what (exit code $code)"
		sed 's/^/    /' $LAB_DIR/found.out
	fi
}
found --plant
check "(there are canaries)" test "$(find $LAB_DIR -name 'canary-*' | wc -l)" = 9
for canary in $LAB_DIR/canary-*; do
	check "(a secret that is there is found: ${canary##*/})" found $LAB_DIR/arguments "$canary"
done
none "no secret is on the wire" "$wire"
check "(the capture is not empty)" test "$(wc -c <"$wire")" -gt 10000
none "no secret was in an argument list" $LAB_DIR/arguments
for word in join wg-meshd --verbose; do
	check "(the argument lists were seen: $word)" grep -qE "^([^ ]*/)?$word$" $LAB_DIR/arguments
done
logs=$(find /proc/"$(pid_of coord)"/root/run /proc/"$(pid_of alice)"/root/run /proc/"$(pid_of bob)"/root/run -name '*.log' -size +0)
# The coordinator's first standard output is its links; its log proper must not have them.
grep -vE '/join#|/#login=' /proc/"$(pid_of coord)"/root/run/coordinator.log >$LAB_DIR/coordinator-log
for name in alice bob; do
	check "(the agent of $name's tells all it can)" on $name grep -q ' debug ' /run/wg-mesh/wg0.log
done
# shellcheck disable=SC2046,SC2086
none "no secret is in a log" $LAB_DIR/coordinator-log $(echo $logs | tr ' ' '\n' | grep -v coordinator.log)
database=$(find /proc/"$(pid_of coord)"/root/var/lib/wg-mesh -type f -name '*.db*' -o -type f -name '*.sqlite*')
check "(there is a database)" test -n "$database"
# shellcheck disable=SC2086
none "no secret is in the coordinator's database" $database
for name in coord alice bob; do
	root=/proc/$(pid_of $name)/root
	open_files=$(find "$root"/run "$root"/etc/wg-mesh "$root"/etc/wireguard "$root"/var/lib/wg-mesh -type f -perm /044 2>/dev/null | grep -v coordinator.log)
	[ -n "$open_files" ] || continue
	# shellcheck disable=SC2086
	none "no secret is in a file of $name's that others may read" $open_files
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

# A link in the arguments is overwritten before the network is asked: here it asks one that is silent.
host silent
on_street silent eth0 203.0.113.88/24
on silent nft 'add table ip mute; add chain ip mute in { type filter hook input priority 0; }; add rule ip mute in drop'
host carol
on_street carol eth0 203.0.113.33/24
on_bg carol /run/join.out wg-mesh join "https://203.0.113.88:8443/join#${LAB_LINK#*#}"
asked() { on carol ss -tnH state syn-sent | grep -q 203.0.113.88; }
check "carol's join waits for the network" wait_for 10 asked
tr '\0' '\n' <"/proc/$LAB_BG/cmdline" >$LAB_DIR/carols-arguments
check "(it is wg-mesh join)" test "$(sed -n '1s|.*/||; 1,2p' $LAB_DIR/carols-arguments | tr '\n' ' ')" = "wg-mesh join "
none "the link is no more in its argument list" $LAB_DIR/carols-arguments
kill "$LAB_BG"
lab_end
