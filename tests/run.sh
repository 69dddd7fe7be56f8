#!/bin/sh
# run.sh [WORD...] - installs what the tests need and runs all of them, from fast to real. With
# words: only the groups whose names contain one of them. The last line is
# "N passed, N failed, N skipped"; exit 0 only where nothing failed.
#
# A group is a command that prints one line a case: "ok NAME", "not ok NAME", "skip NAME REASON".
# One that prints none, or ends with an error without having said which case failed, is a failure; so is
# one that has not ended after WG_MESH_TEST_LIMIT seconds (1200; of a build a quarter), which tells where it hangs.
set -u
cd "$(dirname "$0")/.." || exit 1
unset MODE MAKEFLAGS MFLAGS
export WERROR=1 # for every make below
case ${1:-} in
--*) ;;
*)
	results=$(mktemp)
	trap 'rm -f "$results" "$results".*' EXIT
	;;
esac
trap 'exit 130' INT TERM

limit=${WG_MESH_TEST_LIMIT:-1200}
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
limited() { /usr/bin/python3 tests/limited.py "$limit" "$@" </dev/null; }
run_group() { # NAME COMMAND...
	name=$1
	shift
	said=$results.$$
	begin=$(date +%s)
	limited "$@" >"$said" 2>&1
	status=$?
	if [ $status -eq 124 ]; then
		echo "not ok $name: has not ended after $limit s" >>"$said"
	elif ! grep -qaE '^(ok|not ok|skip) ' "$said"; then
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
# queue QUEUE NAME COMMAND... - puts a group into a queue; run_queue runs it, so many at once, and the
# first of it first: what takes longest belongs there.
queue() {
	wanted "$2" || return 0
	queue=$1 queued=$2
	shift 2
	printf '%s\t%s\n' "$queued" "$*" >>"$results.$queue"
}
run_queue() { # QUEUE HOW-MANY-AT-ONCE
	[ -s "$results.$1" ] || return 0
	xargs -P "$2" -n 1 -d '\n' sh tests/run.sh --group "$results" <"$results.$1"
}
# Makes all that a group of these queues would make: two makes in one folder would break each other.
built() { # MODE QUEUE...
	mode=$1
	shift
	for queue; do
		[ -s "$results.$queue" ] || continue
		stage=$(mktemp -d)
		run_group "built $mode" $build "what the suites of $mode start is built" \
			make -s -j2 install lab-programs "build/$mode/unit/test_store" MODE="$mode" DESTDIR="$stage"
		rm -rf "$stage"
		return
	done
}

case ${1:-} in
--group) # one that run_queue starts: RESULTS, NAME<tab>COMMAND
	results=$2
	tab=$(printf '\t')
	# shellcheck disable=SC2086 # words are wanted
	run_group "${3%%"$tab"*}" ${3#*"$tab"}
	exit 0
	;;
--one) # WHAT COMMAND... - a command whose exit code is the whole answer
	what=$2
	shift 2
	if "$@"; then echo "ok $what"; else echo "not ok $what"; fi
	exit 0
	;;
--build) # WHAT COMMAND... - such a one of compilers, which may hang for no reason of ours: then once more
	what=$2
	shift 2
	limit=$((limit / 4))
	limited "$@"
	status=$?
	[ $status -ne 124 ] || {
		limited "$@"
		status=$?
	}
	if [ $status -eq 0 ]; then echo "ok $what"; else echo "not ok $what"; fi
	exit 0
	;;
esac
one="sh tests/run.sh --one"
build="sh tests/run.sh --build"

# Without its packages most would fail, each for a reason that is none: one failure says it all.
sh etc/packages.sh build try test || {
	echo "not ok packages: what the tests need could not be installed"
	echo "0 passed, 1 failed, 0 skipped"
	exit 1
}

# In a folder of its own where there is a build: what another make has built there may have had warnings.
gcc=build/release
[ ! -e $gcc ] || gcc=build/gcc
group build $build "builds without a warning (gcc)" make -s -j2 all B=$gcc
# The parts of `make check` one by one: one that fails keeps no other from being run.
group "unit build" $build "the unit tests build" make -s -j2 all test-programs
group unit make -s -k -j2 -O all unit
group fuzz make -s -k -j2 -O fuzz-replay
group layers sh tests/layers.sh
group shape sh tests/shape.sh
group manuals sh tests/manuals.sh build/release
group samples $one "the sample of the agent is good" build/release/wg-meshd wg0 --check --config etc/samples/agent.yaml
group samples $one "the sample of the coordinator is good" build/release/wg-mesh-coordinator serve --check \
	--config etc/samples/coordinator.yaml
group samples $one "the sample of the relay is good" build/release/wg-mesh-relay --check --config etc/samples/relay.yaml
group lint $one "shell files have nothing that shellcheck warns of" make -s lint-shell
group size $one "the footprint is within its budget" make -s size

# What waits much of its time goes on beside what computes; that is nice to it. First the servers'
# suites, while clang and the sanitizers' build need the processors. The coordinator's own suite is long:
# on SQLite it runs with the sanitizers only, and in the release build on PostgreSQL.
nice="nice -n 10"
queue interop "interop postgres" sh tests/interop/postgres.sh
queue interop "interop several" sh tests/interop/several.sh
queue interop install $nice sh tests/install.sh
queue interop web sh tests/web/web.sh
for suite in rest policy durable; do
	queue interop "interop $suite" sh tests/interop/$suite.sh
done
queue interop plugin sh tests/plugin/run.sh
for script in tests/interop/*.sh; do
	suite=$(basename "$script" .sh)
	case $suite in coordinator | python | postgres | several | rest | policy | durable) ;; *) queue interop "interop $suite" sh "$script" ;; esac
done
for part in 1/2 2/2; do
	queue sanitized "asan interop coordinator $part" env WG_MESH_BUILD=build/asan WG_MESH_TEST_PART=$part \
		sh tests/sanitized.sh coordinator sh tests/interop/coordinator.sh
done
for suite in rest agent; do
	queue sanitized "asan interop $suite" env WG_MESH_BUILD=build/asan sh tests/sanitized.sh $suite sh tests/interop/$suite.sh
done
queue sanitized "asan plugin" env MODE=asan sh tests/sanitized.sh plugin sh tests/plugin/run.sh
queue sanitized "asan interop stun" env RELAY="$PWD/build/asan/wg-mesh-relay" sh tests/sanitized.sh stun sh tests/interop/stun.sh
# WireGuard shakes hands anew every two minutes, which is what 46-psk waits for, and does nothing else.
queue psk "lab 46-psk" sh tests/lab/46-psk.sh
queue asan-psk "asan lab 46-psk" env LAB_MODE=asan sh tests/lab/46-psk.sh

built release interop psk
run_queue psk 1 &
psk=$!
run_queue interop 3 &
interop=$!
group clang $nice $build "builds without a warning (clang)" make -s -j2 all CC=clang B=build/clang
group asan $nice $build "builds with ASan and UBSan, the unit tests too" make -s -j2 all test-programs MODE=asan
group "asan unit" $nice make -s -k -j2 -O asan
group "asan fuzz" sh tests/sanitized.sh fuzz make -s -k -j2 -O fuzz-replay MODE=asan
built asan sanitized asan-psk
run_queue asan-psk 1 &
asan_psk=$!
run_queue sanitized 3
wait $interop

# Labs. Those that measure run alone. With ASan and UBSan all the same again, but for 70-memory, which
# has a half of its own for that, and 34-bulk, which measures WireGuard.
labs() { # NAME...
	for lab; do
		case $lab in
		46-*) continue ;;
		10-* | 30-* | 34-* | 80-*) group "lab $lab" sh "tests/lab/$lab.sh" ;;
		*) queue labs "lab $lab" sh "tests/lab/$lab.sh" ;;
		esac
		case $lab in 34-* | 70-* | 80-*) ;; *) queue labs "asan lab $lab" env LAB_MODE=asan sh "tests/lab/$lab.sh" ;; esac
	done
}
long="47-rekey 35-hooks 70-memory 36-join-leave 10-two-nats 45-device"
# shellcheck disable=SC2046,SC2086 # words are wanted
labs $long $(basename -s .sh tests/lab/[0-9]*.sh | grep -vwF "$(printf '%s\n' $long)")
group "kernel bulk" sh tests/kernel/run.sh tests/kernel/inside.sh 34-bulk.sh
# The emulated machines compute without an end; the labs beside them wait.
queue kernel kernel $nice sh tests/kernel/run.sh
queue labs try sh tests/lab/try.sh
built release labs kernel
built asan labs
run_queue kernel 1 &
kernel=$!
run_queue labs 3
wait $kernel $psk $asan_psk

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
