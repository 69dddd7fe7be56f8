#!/bin/sh
# run.sh LABEL DIR TEST... - runs each cmocka program; one line a case: "ok LABEL PROGRAM: CASE". Of a
# program that fails, all it said. A case that calls skip() first says why: "skipped: REASON".
label=$1 dir=$2
shift 2
failed=0
for test; do
	out=$("$dir/$test" 2>&1)
	status=$?
	printf '%s\n' "$out" | sed -n "s/^\\[       OK \\] /ok $label $test: /p"
	printf '%s\n' "$out" | awk -v test="$label $test" '
		/^skipped: / { reason = substr($0, 10) }
		/^\[  SKIPPED \] [a-z]/ && NF == 4 { print "skip " test ": " $4 " " (reason ? reason : "for no reason told"); reason = "" }'
	if [ $status -ne 0 ]; then
		failed=1
		printf '%s\n' "$out" | sed "s/^/    /"
		printf '%s\n' "$out" | sed -n "s/^\\[  FAILED  \\] \\([a-z_0-9A-Z]*\\)$/not ok $label $test: \\1/p" | sort -u
		printf '%s\n' "$out" | grep -q '^\[  FAILED  \]' || echo "not ok $label $test: ended with $status"
	fi
done
exit $failed
