#!/bin/sh
# web.sh - the dashboard of a real coordinator in a headless Chromium; one line a case. With words: only
# the cases whose names have one of them. WG_MESH_BUILD names where the programs are (build/release).
cd "$(dirname "$0")/../.." || exit 1
. tests/interop/python.sh
python_suite web
command -v "${CHROMIUM:-chromium}" >/dev/null || {
	echo "not ok web: there is no chromium: sh etc/packages.sh test installs it, or CHROMIUM names one"
	exit 1
}
exec /usr/bin/python3 tests/web/web.py "$@"
