# shellcheck shell=sh
# python.sh - sourced by the suites in Python, from the top of the tree: `python_suite NAME [TARGET...]`
# skips where something is missing, and builds the programs (and the make targets named) that
# WG_MESH_BUILD says are tested, build/release without it.
export WG_MESH_BUILD="${WG_MESH_BUILD:-build/release}"
python_suite() {
	suite=$1
	shift
	if ! /usr/bin/python3 -c 'import nacl' 2>/dev/null; then
		echo "skip $suite: python3-nacl is not installed"
		exit 77
	fi
	case $WG_MESH_BUILD in */asan) export MODE=asan ;; esac # else what is missing would be built without
	case $WG_MESH_BUILD in /*) return ;; esac # programs of another tree are tested as they are
	make -s B="$WG_MESH_BUILD" all "$@" >/dev/null || {
		echo "not ok $suite: the programs do not build"
		exit 1
	}
}
# The same for those that start a PostgreSQL of their own.
postgres_suite() {
	if ! command -v psql >/dev/null; then
		echo "skip $1: PostgreSQL is not installed"
		exit 77
	fi
	if ! pkg-config --exists libpq; then
		echo "skip $1: built without libpq"
		exit 77
	fi
	python_suite "$@"
}
