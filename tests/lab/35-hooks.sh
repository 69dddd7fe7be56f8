#!/bin/sh
# Hooks on a running mesh: each -up gets its -down, a restart is silent, a crash owes and pays, and
# no hook holds anything up. The runner stays root; the agent keeps two capabilities.
set -u
. "$(dirname "$0")/lib.sh"
lab_enter "$@"
on_one_street alice bob
on bob wg-mesh join "$LAB_LINK" >/dev/null 2>&1 || not_ok "bob joins"
on alice wg-mesh join "$LAB_LINK" --no-up >/dev/null 2>&1 || not_ok "alice joins"

on alice sh -c 'cat >>/etc/wg-mesh/wg0.yaml' <<'EOF2'
hooks:
  agent_up: ['echo "$WG_MESH_EVENT %i $WG_MESH_NAME" >>/run/hooks', 'grep CapEff /proc/self/status >/run/caps']
  agent_down: ['echo "$WG_MESH_EVENT %i" >>/run/hooks', 'sleep 3', 'echo slow >>/run/hooks']
  peer_up: ['echo "$WG_MESH_EVENT $WG_MESH_PEER_NAME $WG_MESH_PEER_ADDRESS" >>/run/hooks']
  peer_down: ['echo "$WG_MESH_EVENT $WG_MESH_PEER_NAME" >>/run/hooks']
  coordinator_lost: ['exit 7']
EOF2
on alice sh -c 'mkdir -p /etc/wg-mesh/hooks.d/agent-up
	printf "#!/bin/sh\necho script \$WG_MESH_INTERFACE >>/run/hooks\n" >/etc/wg-mesh/hooks.d/agent-up/10-script
	printf "#!/bin/sh\necho untrusted >>/run/hooks\n" >/etc/wg-mesh/hooks.d/agent-up/20-open
	chmod 755 /etc/wg-mesh/hooks.d /etc/wg-mesh/hooks.d/agent-up /etc/wg-mesh/hooks.d/agent-up/10-script
	chmod 777 /etc/wg-mesh/hooks.d/agent-up/20-open'
check "the configuration is taken" on alice wg-meshd --check wg0

said() { on alice cat /run/hooks 2>/dev/null; }
says() { said | grep -qx "$1"; }
count() { said | grep -cx "$1"; }

on alice wg-quick up wg0 >/dev/null 2>&1 || not_ok "wg-quick up"
check "agent-up runs" wait_for 10 says "agent-up wg0 alice"
check "a script of hooks.d runs after it" wait_for 5 says "script wg0"
check "they meet" wait_for 10 is_direct alice bob
bob_address=$(mesh_address bob)
check "peer-up runs, with its name and address" wait_for 5 says "peer-up bob $bob_address"
check_not "a script that others may write to does not run" says untrusted
capabilities() { # PID
	awk '/CapEff/ {print $2}' "/proc/$1/status"
}
agent=$(agents alice | tail -n 1)
check "the agent keeps CAP_NET_ADMIN and CAP_NET_RAW only" test "$(capabilities "$agent")" = 0000000000003000
hook_caps=$(on alice cut -f2 /run/caps)
check "a hook runs with root's rights" test "$hook_caps" = "$(capabilities $$)"

# SIGTERM and up again: the tunnels never went.
before=$(said)
# shellcheck disable=SC2046
kill $(agents alice) 2>/dev/null
wait_for 5 test -z "$(agents alice)"
on alice wg-mesh up wg0
wait_for 10 is_direct alice bob
sleep 1
check "a restart is no -down and no -up" test "$(said)" = "$before"

# SIGKILL of everything, the runner too, then down with no agent alive.
# shellcheck disable=SC2046
kill -KILL $(agents alice) $(pgrep -x wg-mesh-hooks)
sleep 0.3
begin=$(now_ms)
on alice wg-quick down wg0 >/dev/null 2>&1 || not_ok "wg-quick down"
elapsed=$(($(now_ms) - begin))
echo "# wg-quick down with a hook that sleeps for 3 s took $elapsed ms"
check "no hook holds up wg-quick down" test $elapsed -lt 2000
check "the -downs that were owed run" wait_for 5 says "agent-down wg0"
check "the peer's too" says "peer-down bob"
check "a slow hook is let finish" wait_for 10 says slow

# Again, and down as it should be.
on alice wg-quick up wg0 >/dev/null 2>&1 || not_ok "wg-quick up again"
up_twice() { [ "$(count "agent-up wg0 alice")" = 2 ] && [ "$(count "peer-up bob $bob_address")" = 2 ]; }
check "a new interface gets its -ups" wait_for 15 up_twice
on alice wg-quick down wg0 >/dev/null 2>&1
down_twice() { [ "$(count "agent-down wg0")" = 2 ] && [ "$(count "peer-down bob")" = 2 ]; }
check "and its -downs" wait_for 10 down_twice

# The runner alone is killed: another goes on, and what happened meanwhile is not lost.
runners() { # guard and worker on alice
	for pid in $(pgrep -x wg-mesh-hooks); do
		[ "$(readlink /proc/"$pid"/ns/net)" = "$(readlink /proc/"$(pid_of alice)"/ns/net)" ] && echo "$pid"
	done
}
worker() {
	for pid in $(runners); do
		[ "$(cat "/proc/$(ps -o ppid= -p "$pid" | tr -d ' ')/comm")" = wg-mesh-hooks ] && echo "$pid"
	done
}
ups_and_downs() { # N of each so far
	[ "$(count "agent-up wg0 alice")" = "$1" ] && [ "$(count "peer-up bob $bob_address")" = "$1" ] &&
		[ "$(count "agent-down wg0")" = "$2" ] && [ "$(count "peer-down bob")" = "$2" ]
}
wait_for 15 test -z "$(runners)"
on alice wg-quick up wg0 >/dev/null 2>&1
check "up a third time" wait_for 15 ups_and_downs 3 2
kill -KILL "$(worker)"
check "another runner comes" wait_for 5 sh -c "test -n \"\$(pgrep -x wg-mesh-hooks)\""
on alice wg-quick down wg0 >/dev/null 2>&1
check "its runner killed, the -downs run all the same" wait_for 15 ups_and_downs 3 3
wait_for 15 test -z "$(runners)"

# Who kills that which would start it again gets what is owed at down, and a new one at up.
on alice wg-quick up wg0 >/dev/null 2>&1
check "up a fourth time" wait_for 15 ups_and_downs 4 3
# shellcheck disable=SC2046
kill -KILL $(runners)
sleep 0.3
on alice wg-mesh up wg0
has_worker() { [ -n "$(worker)" ]; }
check "up starts a runner anew" wait_for 5 has_worker
wait_for 10 is_direct alice bob
sleep 1
check "which is no -up and no -down" ups_and_downs 4 3
# shellcheck disable=SC2046
kill -KILL $(runners)
sleep 0.3
on alice wg-quick down wg0 >/dev/null 2>&1
check "all runners killed: down runs what is owed" wait_for 15 ups_and_downs 4 4
check "the runners end by themselves" on alice sh -c 'for i in $(seq 50); do
	for pid in $(pgrep -x wg-mesh-hooks); do
		[ "$(readlink /proc/$pid/ns/net)" = "$(readlink /proc/self/ns/net)" ] && sleep 0.2 && continue 2
	done
	exit 0
done
exit 1'

# leave while the hooks of a down still run: they end, and no record is made again after that.
on alice wg-quick up wg0 >/dev/null 2>&1
check "up a fifth time" wait_for 15 ups_and_downs 5 4
on alice wg-quick down wg0 >/dev/null 2>&1
check "leave right after down" on alice wg-mesh leave wg0
check "the hook of the end has run" ups_and_downs 5 5
sleep 0.5
check "no file of ours is left" test -z "$(on alice find /run/wg-mesh -type f -o -type s)"
lab_end
