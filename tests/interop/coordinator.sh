#!/bin/sh
# coordinator.sh - a real coordinator on loopback, asked by a client written in Python: one line a
# case. WG_MESH_BUILD names where the programs are (build/release); WG_MESH_TEST_PART=1/2 runs the first
# of every two cases, 2/2 the others.
cd "$(dirname "$0")/../.." || exit 1
. tests/interop/python.sh
python_suite coordinator
exec /usr/bin/python3 tests/interop/coordinator.py "$@"
