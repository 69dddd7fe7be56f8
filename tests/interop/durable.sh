#!/bin/sh
# durable.sh [--kills N] [--seed N] [sqlite|postgres] - a coordinator killed at random moments under
# write load, on SQLite and, where it is installed, on a PostgreSQL of our own; one line a case.
# Without --kills: as many as take about a minute. WG_MESH_BUILD names where the programs are.
cd "$(dirname "$0")/../.." || exit 1
. tests/interop/python.sh
python_suite durable
exec /usr/bin/python3 tests/interop/durable.py "$@"
