#!/bin/sh
# rest.sh - administration of a real coordinator: REST, users, tokens, sessions, tenants; one line a
# case. WG_MESH_BUILD names where the programs are (build/release).
cd "$(dirname "$0")/../.." || exit 1
. tests/interop/python.sh
python_suite rest
exec /usr/bin/python3 tests/interop/rest.py "$@"
