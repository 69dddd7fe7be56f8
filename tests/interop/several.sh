#!/bin/sh
# several.sh [WORD...] - several coordinators on one database of a PostgreSQL server of its own, and
# PostgreSQL that goes away: one line a case. WG_MESH_BUILD names where the programs are (build/release).
cd "$(dirname "$0")/../.." || exit 1
. tests/interop/python.sh
postgres_suite several
exec /usr/bin/python3 tests/interop/several.py "$@"
