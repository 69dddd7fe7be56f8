#!/bin/sh
# run.sh DIR TEST... - runs each cmocka program quietly; prints only failures and one count.
dir=$1
shift
passed=0 failed=0
for test; do
	if out=$("$dir/$test" 2>&1); then
		passed=$((passed + $(printf '%s\n' "$out" | sed -n 's/.*\[  PASSED  \] \([0-9]*\) test(s).*/\1/p' | head -n 1)))
	else
		failed=$((failed + 1))
		printf '%s\n' "$out" | sed "s/^/$test: /"
	fi
done
echo "unit: $passed passed, $failed failed"
[ "$failed" -eq 0 ]
