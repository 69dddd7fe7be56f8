#!/bin/sh
# postgres.sh [WORD...] - a PostgreSQL server of its own (loopback, a temporary directory, ended
# afterwards), and on it: the cases of the store, those of coordinator.sh, and those of several
# coordinators on one database (postgres.py).
cd "$(dirname "$0")/../.." || exit 1
if ! command -v psql >/dev/null; then
	echo "skip postgres: PostgreSQL is not installed"
	exit 77
fi
if ! pkg-config --exists libpq; then
	echo "skip postgres: built without libpq"
	exit 77
fi
. tests/interop/python.sh
python_suite postgres "$WG_MESH_BUILD/unit/test_store"
exec /usr/bin/python3 tests/interop/postgres.py "$@"
