#!/bin/sh
# agent.sh - `wg-meshd --register` against a real coordinator on loopback: one line a case.
# WG_MESH_BUILD names where the programs are (build/release).
cd "$(dirname "$0")/../.." || exit 1
. tests/interop/python.sh
python_suite agent
exec /usr/bin/python3 tests/interop/agent.py "$@"
