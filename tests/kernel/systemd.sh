#!/bin/sh
# Where systemd runs: `up` starts wg-meshd@IFACE.service, which is supervised and sandboxed, and the
# coordinator's unit keeps its first link out of the log.
set -u
LAB_NAME="systemd"
LAB_TOP=$(cd "$(dirname "$0")/../.." && pwd)
LAB_INSIDE=1
. "$LAB_TOP/tests/lab/lib.sh"
mkdir -p $LAB_DIR
lab_install
rm -rf /etc/wireguard /etc/wg-mesh /var/lib/wg-mesh
mkdir -p -m 700 /etc/wireguard
mkdir -p /etc/wg-mesh
systemd-tmpfiles --create
systemctl daemon-reload
ip link add wan type dummy
ip address add 203.0.113.1/24 dev wan
ip link set wan up
ip route add default via 203.0.113.254

check "the units are sound" systemd-analyze verify --man=no /usr/lib/systemd/system/wg-meshd@.service /usr/lib/systemd/system/wg-mesh-coordinator.service /usr/lib/systemd/system/wg-mesh-relay.service
# A wrong configuration is not tried again, a database that is away is.
result() { [ "$(systemctl show -p "$1" --value wg-mesh-coordinator)" = "$2" ]; }
echo "lisen: x" >/etc/wg-mesh/coordinator.yaml
check_not "a wrong configuration does not start" systemctl start wg-mesh-coordinator
check "and is not tried again" result ActiveState failed
check "its exit code is 2" result ExecMainStatus 2
echo "db: postgres://mesh@127.0.0.1:1/mesh" >/etc/wg-mesh/coordinator.yaml
systemctl reset-failed wg-mesh-coordinator
systemctl start --no-block wg-mesh-coordinator
tried() { [ "$(systemctl show -p NRestarts --value wg-mesh-coordinator)" -ge "$1" ]; }
check "a database that is away is tried for, more often than systemd would by itself" wait_for 120 tried 8
systemctl stop wg-mesh-coordinator
rm -f /etc/wg-mesh/coordinator.yaml
mkdir -p -m 700 /var/lib/wg-mesh/agent
touch /var/lib/wg-mesh/agent/kept
check "the coordinator's unit starts" systemctl start wg-mesh-coordinator
links=/var/lib/wg-mesh/coordinator/first-links
check "its first link is in a file" wait_for 30 grep -q /join# $links
check "which is 0600" test "$(stat -c %a $links)" = 600
check_not "and not in the log" sh -c 'journalctl -u wg-mesh-coordinator --no-pager | grep -q "/join#"'
link=$(grep -o 'https://[^ ]*/join#[^ ]*' $links | head -n 1)

hidden() { # whether the coordinator's unit may not touch what the agents keep
	pid=$(systemctl show -p MainPID --value wg-mesh-coordinator)
	! nsenter -t "$pid" -m touch /var/lib/wg-mesh/agent/touched 2>/dev/null &&
		! nsenter -t "$pid" -m ls /var/lib/wg-mesh/agent/kept >/dev/null 2>&1
}
check "the agents' state is hidden from it" hidden
check "its own is not" nsenter -t "$(systemctl show -p MainPID --value wg-mesh-coordinator)" -m touch /var/lib/wg-mesh/coordinator/touched
rm -f /var/lib/wg-mesh/coordinator/touched

check "join" wg-mesh join "$link" --name here
check "join enabled wg-quick@wg0" systemctl is-enabled wg-quick@wg0
active() { systemctl is-active --quiet "$1"; }
check "the agent runs as a unit" wait_for 20 active wg-meshd@wg0
check "status answers" wait_for 20 wg-mesh status wg0
main_pid() { systemctl show -p MainPID --value wg-meshd@wg0; }
first=$(main_pid)
echo "# the unit's processes:"
systemctl status wg-meshd@wg0 --no-pager 2>&1 | sed -n 's/^/# /p' | head -n 14
sandboxed() {
	for pid in $(cat /sys/fs/cgroup/system.slice/system-wg*meshd.slice/wg-meshd@wg0.service/cgroup.procs); do
		[ "$(awk '/^CapEff/ { print $2 }' "/proc/$pid/status")" = 0000000000003000 ] && return 0
	done
	return 1
}
check "with CAP_NET_ADMIN and CAP_NET_RAW only" wait_for 10 sandboxed
kill -KILL "$first"
restarted() { active wg-meshd@wg0 && [ "$(main_pid)" != "$first" ] && [ "$(main_pid)" != 0 ] && wg-mesh status wg0; }
check "killed, it is started again" wait_for 30 restarted
check "the interface stayed up" ip link show wg0

check "wg-quick@wg0 restarts" systemctl restart wg-quick@wg0
check "and the agent is there" wait_for 30 wg-mesh status wg0
check "wg-quick@wg0 stops" systemctl stop wg-quick@wg0
inactive() { ! active "$1"; }
check "the agent's unit has stopped" wait_for 15 inactive wg-meshd@wg0
check "no ledger is left" test ! -e /run/wg-mesh/wg0.owned
check_not "no interface is left" ip link show wg0

# In a namespace it is not this host's interface: no unit, but a daemon of the command's own.
marker=/run/in-namespace
own_daemon() { # WHAT UNSHARE-OPTION
	rm -f $marker
	# shellcheck disable=SC2016
	unshare "$2" sh -c '
		ip link add wg0 type wireguard && wg set wg0 private-key "$0" && ip link set wg0 up || exit 1
		wg-mesh up wg0 || exit 1
		tries=100
		until wg-mesh status wg0 >/dev/null 2>&1 || [ $tries -eq 0 ]; do tries=$((tries - 1)); sleep 0.2; done
		wg-mesh status wg0 >/dev/null && pgrep -x wg-meshd >"$1"
		systemctl is-active wg-meshd@wg0 >>"$1.unit"
		wg-mesh down wg0
		ip link del wg0' $LAB_DIR/wg0.key $marker >$LAB_DIR/check.out 2>&1
	check "$1: the agent runs" test -s $marker
	check "$1: and no unit started" test "$(cat $marker.unit)" = inactive
	check "$1: it is gone after down" wait_for 10 sh -c '! pgrep -x wg-meshd'
	rm -f $marker $marker.unit
}
(umask 077 && sed -n 's/^PrivateKey *= *//p' /etc/wireguard/wg0.conf >$LAB_DIR/wg0.key)
own_daemon "in a network namespace" --net
own_daemon "in a mount namespace" --mount

check "up again by the unit" systemctl start wg-quick@wg0
check "agent again" wait_for 30 wg-mesh status wg0
check "leave" wg-mesh leave wg0
check "leave disabled wg-quick@wg0" sh -c '! systemctl is-enabled wg-quick@wg0'

# The relay outlives a crash of the coordinator, whichever of the two started it.
relay() { head -n 1 /run/wg-mesh/relay.lock; }
coordinator_pid() { systemctl show -p MainPID --value wg-mesh-coordinator; }
log_has() { journalctl -u wg-mesh-coordinator --no-pager -o cat | grep -q "$1"; }
serves() { [ -n "$(relay)" ] && log_has "relay-ready pid=$(relay) "; }
other_coordinator() { active wg-mesh-coordinator && [ "$(coordinator_pid)" != "$1" ]; }
adopted() { [ "$(journalctl "_PID=$(coordinator_pid)" --no-pager -o cat | grep -c "relay-adopted pid=$1\$")" = 1 ]; }
outlives() { # WHAT
	pid=$(relay) coordinator=$(coordinator_pid)
	kill -KILL "$coordinator"
	check "$1: the coordinator is started again" wait_for 30 other_coordinator "$coordinator"
	check "$1: which adopts the relay" wait_for 20 adopted "$pid"
	check "$1: the relay has outlived it" test -d "/proc/$pid"
	check "$1: and is still the one" test "$(relay)" = "$pid"
}
check "the coordinator has a relay" wait_for 20 serves
check "which is a unit of its own" test "$(systemctl show -p MainPID --value wg-mesh-relay)" = "$(relay)"
outlives "the relay's own unit"
check "the relay's unit is masked" systemctl mask --runtime --now wg-mesh-relay
check "the coordinator starts a relay" wait_for 30 serves
check "in its own unit" grep -q wg-mesh-coordinator.service "/proc/$(relay)/cgroup"
outlives "the coordinator's own relay"
check "the coordinator's unit restarts" systemctl restart wg-mesh-coordinator
check "and has a relay" wait_for 30 serves
last=$(relay)
check "the coordinator stops" systemctl stop wg-mesh-coordinator
ended() { [ ! -d "/proc/$1" ]; }
check "and with it the relay that it started" wait_for 15 ended "$last"
check "the relay's unit is back" systemctl unmask --runtime wg-mesh-relay
check "the coordinator starts again" systemctl start wg-mesh-coordinator
check "and adopts the relay of the unit" wait_for 20 serves
check "the unit of the relay runs" active wg-mesh-relay
check "the coordinator stops once more" systemctl stop wg-mesh-coordinator
check "and with it the relay's unit" wait_for 15 inactive wg-mesh-relay
[ $LAB_FAILED -eq 0 ] || {
	journalctl --no-pager -u 'wg*' -u systemd-tmpfiles-setup -n 60 | sed 's/^/    /'
	exit 1
}
exit 0
