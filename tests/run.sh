#!/bin/sh
# run.sh [WORD...] - installs what the tests need and runs all of them, from fast to real. With
# words: only the groups whose names contain one of them. The last line is
# "N passed, N failed, N skipped"; exit 0 only where nothing failed.
#
# A group is a command that prints one line a case: "ok NAME", "not ok NAME", "skip NAME REASON".
# One that prints none, or ends with an error without having said which case failed, is a failure.
set -u
cd "$(dirname "$0")/.." || exit 1
unset MODE MAKEFLAGS MFLAGS
export WERROR=1 # for every make below
if [ "${1:-}" != --group ]; then
	results=$(mktemp)
	trap 'rm -f "$results" "$results".*' EXIT
fi
trap 'exit 130' INT TERM

words=$*
wanted() { # NAME
	[ -n "$words" ] || return 0
	for word in $words; do
		case $1 in *"$word"*) return 0 ;; esac
	done
	return 1
}
group() { # NAME COMMAND...
	wanted "$1" || return 0
	run_group "$@"
}
run_group() { # NAME COMMAND...
	name=$1
	shift
	said=$results.$$
	begin=$(date +%s)
	"$@" </dev/null >"$said" 2>&1
	status=$?
	if ! grep -qaE '^(ok|not ok|skip) ' "$said"; then
		echo "not ok $name: ended with $status and told of no case" >>"$said"
	elif [ $status -ne 0 ] && [ $status -ne 77 ] && ! grep -qa '^not ok ' "$said"; then
		echo "not ok $name: ended with $status" >>"$said"
	fi
	flock "$results" sh -c '
		echo "== $1"
		cat "$2"
		echo "-- $1 took $3 s"
		grep -aE "^(ok|not ok|skip) " "$2" >>"$0"' \
		"$results" "$name" "$said" $(($(date +%s) - begin))
	rm -f "$said"
}
# beside NAME COMMAND... - a group of those that wait much of the time; `together` runs them, two at
# once. meanwhile NAME COMMAND... - of those that do nothing but wait; they run beside all that follows.
queue() { # FILE NAME COMMAND...
	wanted "$2" || return 0
	file=$1 queued=$2
	shift 2
	printf '%s\t%s\n' "$queued" "$*" >>"$results.$file"
}
beside() { queue beside "$@"; }
meanwhile() { queue meanwhile "$@"; }
run_queue() { # FILE HOW-MANY-AT-ONCE
	[ -s "$results.$1" ] || return 0
	mv "$results.$1" "$results.$1.now"
	# Two makes at once in one folder would break each other.
	make -s -j2 all lab-programs >/dev/null 2>&1
	make -s -j2 all lab-programs MODE=asan >/dev/null 2>&1
	xargs -P "$2" -n 1 -d '\n' sh tests/run.sh --group "$results" <"$results.$1.now"
}
together() { run_queue beside 2; }
# A command whose exit code is the whole answer.
one() { # WHAT COMMAND...
	what=$1
	shift
	if "$@"; then echo "ok $what"; else echo "not ok $what"; fi
}

if [ "${1:-}" = --group ]; then # one that `together` starts: RESULTS, NAME<tab>COMMAND
	results=$2
	tab=$(printf '\t')
	# shellcheck disable=SC2086 # words are wanted
	run_group "${3%%"$tab"*}" ${3#*"$tab"}
	exit 0
fi

# Without its packages most would fail, each for a reason that is none: one failure says it all.
sh etc/packages.sh build try test || {
	echo "not ok packages: what the tests need could not be installed"
	echo "0 passed, 1 failed, 0 skipped"
	exit 1
}

# In folders of their own: what another make has built there before may have had warnings.
group build one "builds without a warning (gcc)" make -s -j2 all B=build/gcc
group clang one "builds without a warning (clang)" make -s -j2 all CC=clang B=build/clang
# The parts of `make check` one by one: one that fails keeps no other from being run.
group unit make -s -k -j2 -O all unit
group fuzz make -s -k -j2 -O fuzz-replay
group layers sh tests/layers.sh
group shape sh tests/shape.sh
group manuals sh tests/manuals.sh build/release
samples() {
	one "the sample of the agent is good" build/release/wg-meshd wg0 --check --config etc/samples/agent.yaml
	one "the sample of the coordinator is good" build/release/wg-mesh-coordinator serve --check \
		--config etc/samples/coordinator.yaml
	one "the sample of the relay is good" build/release/wg-mesh-relay --check --config etc/samples/relay.yaml
}
group samples samples
group asan make -s -k -j2 -O asan
group "asan fuzz" sh tests/sanitized.sh fuzz make -s -k -j2 -O fuzz-replay MODE=asan
group lint one "shell files have nothing that shellcheck warns of" make -s lint-shell
group plugin sh tests/plugin/run.sh
group "asan plugin" env MODE=asan sh tests/sanitized.sh plugin sh tests/plugin/run.sh
group install sh tests/install.sh
group size one "the footprint is within its budget" make -s size
# The coordinator's own suite is long: on SQLite it runs with the sanitizers only, and in the release
# build on PostgreSQL.
for script in tests/interop/*.sh; do
	case $script in */coordinator.sh | */python.sh) ;; *) beside "interop $(basename "$script" .sh)" sh "$script" ;; esac
done
beside web sh tests/web/web.sh
for suite in agent coordinator rest; do
	beside "asan interop $suite" env WG_MESH_BUILD=build/asan sh tests/sanitized.sh $suite sh tests/interop/$suite.sh
done
together
group "asan interop stun" env RELAY="$PWD/build/asan/wg-mesh-relay" sh tests/sanitized.sh stun sh tests/interop/stun.sh
# WireGuard shakes hands anew every two minutes, which is what 46-psk waits for.
meanwhile "lab 46-psk" sh tests/lab/46-psk.sh
meanwhile "asan lab 46-psk" env LAB_MODE=asan sh tests/lab/46-psk.sh
run_queue meanwhile 1 &
# Those that measure run alone. With ASan and UBSan all the same again, but for 70-memory, which has a
# half of its own for that, and 34-bulk, which measures WireGuard.
for script in tests/lab/[0-9]*.sh; do
	lab=$(basename "$script" .sh)
	case $lab in
	46-*) continue ;;
	10-* | 30-* | 34-* | 80-*) group "lab $lab" sh "$script" ;;
	*) beside "lab $lab" sh "$script" ;;
	esac
	case $lab in 34-* | 70-* | 80-*) ;; *) beside "asan lab $lab" env LAB_MODE=asan sh "$script" ;; esac
done
together
wait
group try sh tests/lab/try.sh
group kernel sh tests/kernel/run.sh

passed=$(grep -ac '^ok ' "$results")
failed=$(grep -ac '^not ok ' "$results")
skipped=$(grep -ac '^skip ' "$results")
if [ "$failed" -gt 0 ]; then
	echo "== failed"
	grep -a '^not ok ' "$results"
fi
if [ "$skipped" -gt 0 ]; then
	echo "== skipped"
	grep -a '^skip ' "$results"
fi
echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
