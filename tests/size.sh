#!/bin/sh
# size.sh BUILD-DIRECTORY - the footprint budget of the agent (SPEC 8): wg-mesh, wg-meshd and the
# bundled plugins, stripped, under 1 MiB in all. The servers are printed beside it, without a budget.
set -eu
dir=$1
limit=1048576
copies=$(mktemp -d)
trap 'rm -rf "$copies"' EXIT
weigh() {
	cp "$1" "$copies/file"
	${STRIP:-strip} "$copies/file"
	wc -c <"$copies/file"
}
total=0
for file in "$dir/wg-mesh" "$dir/wg-meshd" "$dir"/plugins/*.so; do
	[ -e "$file" ] || continue
	bytes=$(weigh "$file")
	total=$((total + bytes))
	printf '%9d  %s\n' "$bytes" "${file#"$dir"/}"
done
printf '%9d  agent in all (limit %d)\n' "$total" "$limit"
for file in "$dir/wg-mesh-coordinator" "$dir/wg-mesh-relay"; do
	[ -e "$file" ] || continue
	printf '%9d  %s\n' "$(weigh "$file")" "${file#"$dir"/}"
done
[ "$total" -lt "$limit" ] || {
	echo "size: the agent weighs $((total - limit)) bytes too much" >&2
	exit 1
}
