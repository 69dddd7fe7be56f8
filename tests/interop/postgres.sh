#!/bin/sh
# postgres.sh [WORD...] - a PostgreSQL server of its own (loopback, a temporary directory, ended
# afterwards), and on it: the cases of the store, moving a database there and back, and those of
# coordinator.sh.
cd "$(dirname "$0")/../.." || exit 1
. tests/interop/python.sh
postgres_suite postgres "$WG_MESH_BUILD/unit/test_store"
exec /usr/bin/python3 tests/interop/postgres.py "$@"
