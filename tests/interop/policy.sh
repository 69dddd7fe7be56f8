#!/bin/sh
# policy.sh - a policy at work on a real coordinator: commands, REST, its file, what agents are told of
# each other and which rules they get; one line a case. WG_MESH_BUILD names where the programs are
# (build/release).
cd "$(dirname "$0")/../.." || exit 1
if ! /usr/bin/python3 -c 'import nacl' 2>/dev/null; then
	echo "skip policy: python3-nacl is not installed"
	exit 77
fi
case ${WG_MESH_BUILD:-} in */asan) export MODE=asan ;; esac # else what is missing would be built without
make -s ${WG_MESH_BUILD:+B="$WG_MESH_BUILD"} all >/dev/null || {
	echo "not ok policy: the programs do not build"
	exit 1
}
exec /usr/bin/python3 tests/interop/policy.py "$@"
