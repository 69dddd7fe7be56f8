#!/bin/sh
# coordinator.sh - a real coordinator on loopback, asked by a client written in Python: one line a
# case. WG_MESH_BUILD names where the programs are (build/release).
cd "$(dirname "$0")/../.." || exit 1
if ! /usr/bin/python3 -c 'import nacl' 2>/dev/null; then
	echo "skip coordinator: python3-nacl is not installed"
	exit 77
fi
case ${WG_MESH_BUILD:-} in */asan) export MODE=asan ;; esac # else what is missing would be built without
make -s ${WG_MESH_BUILD:+B="$WG_MESH_BUILD"} all >/dev/null || {
	echo "not ok coordinator: the programs do not build"
	exit 1
}
exec /usr/bin/python3 tests/interop/coordinator.py "$@"
