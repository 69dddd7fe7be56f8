#!/bin/sh
# postgres.sh [WORD...] - a PostgreSQL server of its own (loopback, a temporary directory, ended
# afterwards), and on it: the cases of the store, those of coordinator.sh, and those of several
# coordinators on one database (postgres.py).
cd "$(dirname "$0")/../.." || exit 1
export WG_MESH_BUILD="${WG_MESH_BUILD:-build/release}"
if ! command -v psql >/dev/null; then
	echo "skip postgres: PostgreSQL is not installed"
	exit 77
fi
if ! pkg-config --exists libpq; then
	echo "skip postgres: built without libpq"
	exit 77
fi
if ! /usr/bin/python3 -c 'import nacl' 2>/dev/null; then
	echo "skip postgres: python3-nacl is not installed"
	exit 77
fi
case ${WG_MESH_BUILD:-} in */asan) export MODE=asan ;; esac # else what is missing would be built without
make -s B="$WG_MESH_BUILD" all "$WG_MESH_BUILD/unit/test_store" >/dev/null || {
	echo "not ok postgres: the programs do not build"
	exit 1
}
exec /usr/bin/python3 tests/interop/postgres.py "$@"
