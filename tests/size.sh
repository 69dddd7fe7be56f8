#!/bin/sh
# size.sh BUILD-DIRECTORY - the footprint budget of the agent (SPEC 8): wg-mesh, wg-meshd and the
# bundled plugins, stripped, under 1 MiB in all. The servers are printed beside it, without a budget;
# and where the budgets are checked that need a running agent.
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
cat <<'END'
The other budgets of the agent, each in the test that measures it:
  private memory with 100 peers  < 6 MiB       tests/lab/80-footprint.sh
  processor while idle           < 0.1 %       tests/lab/80-footprint.sh
  join to the first packet       < 3 s, known  < 1 s   tests/lab/10-two-nats.sh
  up and down by wg-quick        < 200 ms each tests/lab/30-wg-quick.sh
END
[ "$total" -lt "$limit" ] || {
	echo "size: the agent weighs $((total - limit)) bytes too much" >&2
	exit 1
}
