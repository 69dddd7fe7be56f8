# shellcheck shell=sh
# lib.sh - a small Internet on one machine: hosts, home routers with real NATs (nftables), one
# street that joins them, and wg-mesh installed as `make install` does it. Sourced by the tests of
# this folder and by etc/try.sh.
#
# A script calls lab_enter first. It starts itself again as the first process of its own mount,
# network, process and host-name namespaces; /usr, /etc and /var are overlays there. So whatever it
# does is gone when it ends, however it ends, and this machine's own files are never written.
#
# A host is a process in namespaces of its own, with its own /run, /etc/wireguard, /etc/wg-mesh and
# /var/lib/wg-mesh; `on HOST COMMAND` runs a command there. Addresses of the street are from
# 203.0.113.0/24 and 2001:db8::/32 (documentation ranges; nothing leaves this machine).
#
# A test prints one line a case: "ok NAME", "not ok NAME", "skip NAME REASON".

LAB_TOP=${LAB_TOP:-$(cd "$(dirname "$0")/../.." && pwd)}
LAB_MODE=${LAB_MODE:-release}
LAB_DIR=/run/lab
LAB_REPORTS=/var/tmp/reports # the sanitizers'
# How many times slower than a computer this one may be: the kernel lab's is emulated.
LAB_SLOW=${LAB_SLOW:-1}
LAB_NAME=$(basename "$0" .sh)

# ---- entering ------------------------------------------------------------------

lab_enter() {
	if [ -z "${LAB_INSIDE:-}" ]; then
		if [ "$(id -u)" != 0 ]; then
			echo "skip $LAB_NAME the lab needs root: run it with sudo"
			exit 77
		fi
		LAB_INSIDE=1
		export LAB_INSIDE
		exec unshare --mount --net --pid --fork --kill-child --mount-proc --uts --ipc \
			sh "$0" "$@"
	fi
	trap 'exit 130' INT TERM HUP
	if [ "$LAB_MODE" = asan ]; then
		# Of every program on every host, in a folder that hosts share and an agent may write to.
		export ASAN_OPTIONS=detect_leaks=0:log_path=$LAB_REPORTS/asan \
			UBSAN_OPTIONS=print_stacktrace=1:log_path=$LAB_REPORTS/ubsan
		LAB_NAME="$LAB_NAME (asan)"
	fi
	mount -t tmpfs -o mode=755 tmpfs /run
	mkdir -p $LAB_DIR
	for dir in /usr /etc /var; do
		mkdir -p "$LAB_DIR/over$dir" "$LAB_DIR/work$dir"
		mount -t overlay overlay \
			-o "lowerdir=$dir,upperdir=$LAB_DIR/over$dir,workdir=$LAB_DIR/work$dir" $dir
	done
	rm -rf /etc/wireguard /etc/wg-mesh /var/lib/wg-mesh $LAB_REPORTS
	mkdir -m 1777 -p $LAB_REPORTS
	ip link set lo up
	lab_install
	hash -r 2>/dev/null || true
}

# wg-mesh as a user has it; from LAB_STAGE, where it was installed already, or from the build.
lab_install() {
	if [ -n "${LAB_STAGE:-}" ]; then
		cp -a "$LAB_STAGE/." /
	else
		make -s -C "$LAB_TOP" install MODE="$LAB_MODE"
	fi >$LAB_DIR/install.log 2>&1 || {
		cat $LAB_DIR/install.log
		echo "not ok $LAB_NAME: make install failed"
		exit 1
	}
}

# ---- results -------------------------------------------------------------------

LAB_FAILED=0
ok() { echo "ok $LAB_NAME: $*"; }
skip() { echo "skip $LAB_NAME: $*"; }
not_ok() {
	echo "not ok $LAB_NAME: $*"
	LAB_FAILED=$((LAB_FAILED + 1))
}
# check WHAT COMMAND... - ok if the command succeeds
check() {
	what=$1
	shift
	if "$@" >$LAB_DIR/check.out 2>&1; then
		ok "$what"
	else
		not_ok "$what"
		sed 's/^/    /' $LAB_DIR/check.out | tail -n 15
	fi
}
# check_not WHAT COMMAND... - ok if it runs and fails: one that cannot be run, is ended by a signal
# or cannot look at what it is asked about says nothing
check_not() {
	what=$1
	shift
	"$@" >$LAB_DIR/check.out 2>&1
	check_status=$?
	if [ $check_status -eq 0 ]; then
		not_ok "$what"
	elif [ $check_status -ge 126 ] || grep -qE '^(nsenter|grep|cat|sh|test): |^Traceback' $LAB_DIR/check.out; then
		not_ok "$what (the question could not be asked: exit code $check_status)"
	else
		ok "$what"
		return
	fi
	sed 's/^/    /' $LAB_DIR/check.out | tail -n 15
}
# code_of CODE WHAT COMMAND... - ok if it exits with CODE; `says PATTERN` then looks at what it said
code_of() {
	expected=$1 what=$2
	shift 2
	"$@" >$LAB_DIR/code.out 2>&1
	code=$?
	if [ $code -eq "$expected" ]; then
		ok "$what"
	else
		not_ok "$what (exit code $code, not $expected)"
		sed 's/^/    /' $LAB_DIR/code.out
	fi
}
says() {
	check "it says: $1" sh -c 'grep -q -e "$1" "$2" || { cat "$2"; false; }' sh "$1" $LAB_DIR/code.out
}
# wait_for SECONDS COMMAND... - tries five times a second
wait_for() {
	wait_until=$(($(date +%s) + $1))
	shift
	while [ "$(date +%s)" -lt "$wait_until" ]; do
		"$@" >/dev/null 2>&1 && return 0
		sleep 0.2
	done
	"$@"
}
lab_end() {
	[ "$LAB_MODE" != asan ] || check "the sanitizers have nothing to say" no_sanitizer_reports
	if [ "$LAB_FAILED" -gt 0 ]; then
		lab_logs
		exit 1
	fi
	exit 0
}
no_sanitizer_reports() {
	find $LAB_REPORTS -type f -exec cat {} + | grep . && return 1
	[ -d $LAB_REPORTS ]
}
# The last lines of every daemon's log: what a failed test needs.
lab_logs() {
	for host in $LAB_HOSTS; do
		root=/proc/$(pid_of "$host")/root
		for log in "$root"/run/*.log "$root"/run/wg-mesh/*.log; do
			[ -s "$log" ] || continue
			echo "    --- $host ${log##*/root}"
			tail -n "${LAB_LOG_LINES:-25}" "$log" | sed 's/^/    /'
		done
	done
}
now_ms() { echo $(($(date +%s%N) / 1000000)); }

# ---- hosts and wires -----------------------------------------------------------

LAB_HOSTS=
pid_of() { eval "echo \${lab_pid_$1}"; }

host() { # NAME
	unshare --net --mount --uts sh -c '
		hostname "$0"
		mount -t tmpfs -o mode=755 tmpfs /run
		for dir in /etc/wireguard /etc/wg-mesh /var/lib/wg-mesh; do
			mkdir -p $dir
			mount -t tmpfs -o mode=700 tmpfs $dir
		done
		chmod 755 /etc/wg-mesh /var/lib/wg-mesh
		ip link set lo up
		touch /run/ready
		exec sleep infinity' "$1" </dev/null >/dev/null 2>&1 &
	eval "lab_pid_$1=$!"
	LAB_HOSTS="$LAB_HOSTS $1"
	wait_for 10 test -e "/proc/$!/root/run/ready"
	on "$1" rm /run/ready
	# Duplicate address detection would keep IPv6 silent for two seconds.
	on "$1" sysctl -qw net.ipv6.conf.all.accept_dad=0 net.ipv6.conf.default.accept_dad=0 \
		net.ipv6.conf.default.router_solicitations=0 2>/dev/null || true
}
on() { # HOST COMMAND...
	lab_host=$1
	shift
	nsenter --target "$(pid_of "$lab_host")" --root --net --mount --uts --wd=/ -- "$@"
}
# on_bg HOST LOG COMMAND... - a daemon of the test's own; its pid is in $LAB_BG
on_bg() {
	lab_host=$1 lab_log=$2
	shift 2
	nsenter --target "$(pid_of "$lab_host")" --root --net --mount --uts --wd=/ -- \
		sh -c 'log=$1; shift; exec "$@" </dev/null >"$log" 2>&1' sh "$lab_log" "$@" &
	LAB_BG=$!
}
wire() { # HOST INTERFACE HOST INTERFACE
	ip link add lab0 type veth peer name lab1
	ip link set lab0 netns "$(pid_of "$1")" name "$2"
	ip link set lab1 netns "$(pid_of "$3")" name "$4"
	on "$1" ip link set "$2" up
	on "$3" ip link set "$4" up
}

# The street: a bridge in a namespace of its own, to which everything public is wired.
street() {
	host street
	on street ip link add br0 type bridge
	on street ip link set br0 up
}
on_street() { # HOST INTERFACE ADDRESS...
	lab_member=$1 lab_if=$2
	shift 2
	LAB_PORT=$((${LAB_PORT:-0} + 1))
	wire "$lab_member" "$lab_if" street "port$LAB_PORT"
	on street ip link set "port$LAB_PORT" master br0
	for address; do
		on "$lab_member" ip address add "$address" dev "$lab_if"
	done
}

# ---- routers -------------------------------------------------------------------
# router NAME WAN-ADDRESS LAN-ADDRESS KIND: a home router. Kinds (measured recipes):
#   port_restricted  what Linux masquerade does      full  anyone may come in on a mapped port
#   restricted       anyone whom the host has spoken to      symmetric  a port per destination
#   udp_blocked      TCP only
router() {
	host "$1"
	on_street "$1" wan "$2/24"
	on "$1" ip link add lan type bridge
	on "$1" ip address add "$3/24" dev lan
	on "$1" ip link set lan up
	on "$1" ip route add default via 203.0.113.1
	on "$1" sysctl -qw net.ipv4.ip_forward=1
	on "$1" nft -f - <<-EOF
		table inet fw {
			chain input {
				type filter hook input priority filter; policy accept;
				iifname "wan" ct state established,related accept
				iifname "wan" drop
			}
			chain forward {
				type filter hook forward priority filter; policy accept;
				ip saddr 10.0.0.0/8 drop comment "mesh packets never travel outside the tunnel"
				ip daddr 10.0.0.0/8 drop
			}
		}
	EOF
	"nat_$4" "$1"
}
nat_port_restricted() {
	on "$1" nft -f - <<-EOF
		table ip nat {
			chain post { type nat hook postrouting priority srcnat; oifname "wan" masquerade; }
		}
	EOF
}
nat_symmetric() {
	on "$1" nft -f - <<-EOF
		table ip nat {
			chain post { type nat hook postrouting priority srcnat; oifname "wan" masquerade fully-random; }
		}
	EOF
}
nat_full() {
	nat_cone "$1" 'iifname "wan" meta l4proto udp dnat ip to udp dport map @fc'
}
nat_restricted() {
	nat_cone "$1" 'iifname "wan" meta l4proto udp ip saddr . udp dport @ar dnat ip to udp dport map @fc'
}
nat_cone() {
	on "$1" nft -f - <<-EOF
		table ip nat {
			map fc { type inet_service : ipv4_addr . inet_service; flags dynamic,timeout; timeout 120s; size 4096; }
			set ar { type ipv4_addr . inet_service; flags dynamic,timeout; timeout 120s; size 4096; }
			chain learn {
				type filter hook forward priority mangle;
				oifname "wan" meta l4proto udp update @fc { udp sport : ip saddr . udp sport }
				oifname "wan" meta l4proto udp update @ar { ip daddr . udp sport }
			}
			chain pre { type nat hook prerouting priority dstnat; $2; }
			chain post { type nat hook postrouting priority srcnat; oifname "wan" masquerade; }
		}
	EOF
}
nat_udp_blocked() {
	on "$1" nft -f - <<-EOF
		table ip nat {
			chain post { type nat hook postrouting priority srcnat; oifname "wan" ip protocol tcp masquerade; }
		}
		table inet block {
			chain forward { type filter hook forward priority filter; meta l4proto udp drop; }
		}
	EOF
}
# A host behind a router, on its LAN.
at_home() { # HOST ROUTER ADDRESS
	host "$1"
	LAB_PORT=$((${LAB_PORT:-0} + 1))
	wire "$1" eth0 "$2" "port$LAB_PORT"
	on "$2" ip link set "port$LAB_PORT" master lan
	on "$1" ip address add "$3/24" dev eth0
	on "$1" ip route add default via "${3%.*}.1"
}

# ---- wg-mesh -------------------------------------------------------------------

# A coordinator on the street with two addresses, so that its STUN server can do RFC 5780.
coordinator() { # [OPTION...]
	host coord
	on_street coord eth0 203.0.113.1/24 203.0.113.2/24
	start_coordinator "$@"
}
start_coordinator() {
	on_bg coord /run/coordinator.log wg-mesh-coordinator serve \
		--public-url https://203.0.113.1:8443 "$@"
	LAB_COORDINATOR=$LAB_BG
	wait_for 20 join_link >/dev/null || {
		not_ok "the coordinator prints a join link"
		lab_end
	}
	LAB_LINK=$(join_link)
}
join_link() {
	on coord grep -o 'https://[^ ]*/join#[^ ]*' /run/coordinator.log | head -n 1 | grep .
}
key_create() { on coord wg-mesh-coordinator key create "$@" 2>/dev/null; }
answers() { on "$1" wg-mesh status wg0; } # HOST
agents() { # HOST - pids of wg-meshd there, without the runner of hooks
	for lab_agent in $(pgrep -x wg-meshd); do
		[ "$(readlink "/proc/$lab_agent/ns/net")" = "$(readlink "/proc/$(pid_of "$1")/ns/net")" ] && echo "$lab_agent"
	done
}
status() { # HOST JQ-FILTER
	on "$1" wg-mesh status wg0 --json | jq -r "$2"
}
peer_path() { # HOST PEER
	status "$1" ".peers[] | select(.name == \"$2\") | .path"
}
is_direct() { # HOST PEER
	[ "$(peer_path "$1" "$2" 2>/dev/null)" = direct ]
}
mesh_address() { # HOST
	status "$1" '.addresses[0]' | cut -d/ -f1
}
tunnel_ping() { # HOST HOST
	on "$1" ping -c 1 -W 2 "$(mesh_address "$2")"
}

# Hosts on the street itself: 203.0.113.30, the next .31 and so on.
public_hosts() { # NAME...
	lab_number=30
	for lab_public; do
		host "$lab_public"
		on_street "$lab_public" eth0 203.0.113.$lab_number/24
		lab_number=$((lab_number + 1))
	done
}
on_one_street() { # NAME...
	street
	coordinator
	public_hosts "$@"
}
# Two houses, each with a router of a kind and a host; the host names are alice and bob.
two_houses() { # KIND KIND
	street
	coordinator
	router routera 203.0.113.10 192.168.1.1 "$1"
	router routerb 203.0.113.20 192.168.2.1 "$2"
	at_home alice routera 192.168.1.2
	at_home bob routerb 192.168.2.2
}
