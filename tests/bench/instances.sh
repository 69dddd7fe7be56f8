#!/bin/sh
# instances.sh [--json] [AGENTS[/PER_NETWORK]]... - the load generator on a PostgreSQL server of its own (loopback, a
# temporary directory, ended afterwards): each size with one coordinator and with two, of which one is killed
# under load. It asserts nothing but what the generator does.
cd "$(dirname "$0")/../.." || exit 1
if ! command -v psql >/dev/null || ! pkg-config --exists libpq; then
	echo "skip instances: PostgreSQL is not installed, or built without libpq"
	exit 77
fi
make -s all bench || exit 1
exec /usr/bin/python3 tests/bench/instances.py "$@"
