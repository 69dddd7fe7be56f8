#!/bin/sh
# run.sh LABEL DIR TEST... - runs each cmocka program; one line a case: "ok LABEL PROGRAM: CASE". Of a
# program that fails, all it said.
label=$1 dir=$2
shift 2
failed=0
for test; do
	out=$("$dir/$test" 2>&1)
	status=$?
	printf '%s\n' "$out" | sed -n "s/^\\[       OK \\] /ok $label $test: /p"
	if [ $status -ne 0 ]; then
		failed=1
		printf '%s\n' "$out" | sed "s/^/    /"
		printf '%s\n' "$out" | sed -n "s/^\\[  FAILED  \\] /not ok $label $test: /p" | sort -u
		printf '%s\n' "$out" | grep -q '^\[  FAILED  \]' || echo "not ok $label $test: ended with $status"
	fi
done
exit $failed
