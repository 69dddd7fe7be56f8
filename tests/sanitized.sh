#!/bin/sh
# sanitized.sh NAME COMMAND... - runs tests of programs built with MODE=asan, whose cases are told as
# "ok asan ...". What the sanitizers of any program say, however it was started, comes into a folder;
# that this stays empty is a case of its own.
set -u
name=$1
shift
reports=$(mktemp -d /var/tmp/wg-mesh-reports.XXXXXX) || exit 1 # an agent may write there
trap 'rm -rf "$reports"' EXIT
trap 'exit 130' INT TERM
chmod 1777 "$reports"
export ASAN_OPTIONS="detect_leaks=0:log_path=$reports/asan" UBSAN_OPTIONS="print_stacktrace=1:log_path=$reports/ubsan"

{
	"$@" </dev/null
	echo $? >"$reports.status"
} 2>&1 | sed -u -E 's/^(ok|not ok|skip) /\1 asan /' | tee "$reports.said"
status=$(cat "$reports.status")
if ! grep -qaE '^(ok|skip) ' "$reports.said"; then
	echo "not ok asan $name: ended with $status and told of no good case"
elif [ "$status" -ne 0 ] && [ "$status" -ne 77 ] && ! grep -qa '^not ok ' "$reports.said"; then
	echo "not ok asan $name: ended with $status"
fi
rm -f "$reports.status" "$reports.said"
if [ -n "$(find "$reports" -type f)" ]; then
	find "$reports" -type f -exec head -n 60 {} + | sed 's/^/    /'
	echo "not ok asan $name: the sanitizers have nothing to say"
	exit 1
fi
echo "ok asan $name: the sanitizers have nothing to say"
exit "$status"
