#!/bin/sh
# policy.sh - a policy at work on a real coordinator: commands, REST, its file, what agents are told of
# each other and which rules they get; one line a case. WG_MESH_BUILD names where the programs are
# (build/release).
cd "$(dirname "$0")/../.." || exit 1
. tests/interop/python.sh
python_suite policy
exec /usr/bin/python3 tests/interop/policy.py "$@"
