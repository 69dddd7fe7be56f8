#!/bin/sh
# durable.sh [--kills N] [--seed N] [sqlite|postgres] - a coordinator killed at random moments under
# write load, on SQLite and, where it is installed, on a PostgreSQL of our own; one line a case.
# Without --kills: as many as take about a minute. WG_MESH_BUILD names where the programs are.
cd "$(dirname "$0")/../.." || exit 1
if ! /usr/bin/python3 -c 'import nacl' 2>/dev/null; then
	echo "skip durable: python3-nacl is not installed"
	exit 77
fi
case ${WG_MESH_BUILD:-} in */asan) export MODE=asan ;; esac # else what is missing would be built without
make -s ${WG_MESH_BUILD:+B="$WG_MESH_BUILD"} all >/dev/null || {
	echo "not ok durable: the programs do not build"
	exit 1
}
exec /usr/bin/python3 tests/interop/durable.py "$@"
