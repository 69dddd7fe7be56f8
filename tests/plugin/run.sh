#!/bin/sh
# run.sh - plugins from outside, in C and in C++, built against what `make install` puts there and
# nothing else; loaded by a test program; and one for each reason to refuse a plugin.
# MODE=asan runs the test program under the sanitizers.
set -u
cd "$(dirname "$0")/../.." || exit 1
MODE=${MODE:-release}
CC=${CC:-cc}
CXX=${CXX:-c++}
if [ "$(id -u)" != 0 ]; then
	echo "skip plugin files must belong to root: run it with sudo"
	exit 77
fi
tmp=$(mktemp -d) || exit 1
trap 'rm -rf "$tmp"' EXIT
trap 'exit 130' INT TERM

here=$PWD/tests/plugin
make -s MODE="$MODE" install DESTDIR="$tmp/root" >"$tmp/log" 2>&1 || {
	tail -n 20 "$tmp/log"
	echo "not ok plugin: make install DESTDIR=... fails"
	exit 1
}
include=$tmp/root/usr/include
dir=$tmp/plugins
flags='-O1 -g -Wall -Wextra -Werror -fPIC -shared -fvisibility=hidden -Wl,-z,defs -pthread'
mkdir "$dir"

build() { # NAME ARGUMENT... : discovery-NAME.so from outside.c
	name=$1
	shift
	# shellcheck disable=SC2086
	(cd "$tmp" && "$CC" -std=c11 -D_GNU_SOURCE $flags "$@" -o "$dir/discovery-$name.so")
}
other_abi() { # NAME MACRO VALUE : the same plugin built against a header of another version
	mkdir -p "$tmp/include-$1/wg-mesh"
	sed "s/^#define $2 .*/#define $2 $3/" "$include/wg-mesh/plugin.h" >"$tmp/include-$1/wg-mesh/plugin.h"
	build "$1" -I"$tmp/include-$1" "-DNAME=\"$1\"" "-DMARKER=\"$dir/ran\"" "$here/outside.c"
}
set -e
build outside -I"$include" "$here/outside.c"
# shellcheck disable=SC2086
(cd "$tmp" && "$CXX" -std=c++11 $flags -I"$include" -include memory -o "$dir/discovery-cxx.so" -std=c++14 "$here/outside.cc")
build fault -I"$include" "$here/fault.c"
build early -I"$include" '-DNAME="early"' -DHANGS_EARLY "$here/fault.c"
other_abi major WGM_ABI_MAJOR 2
other_abi minor WGM_ABI_MINOR 9
printf '%s\n' "__attribute__((constructor)) static void mark(void) { __builtin_abort(); }" >"$tmp/nonote.c"
build nonote "$tmp/nonote.c"
head -c 100 "$dir/discovery-outside.so" >"$dir/discovery-short.so"
size=$(stat -c %s "$dir/discovery-outside.so")
head -c $((size / 4)) "$dir/discovery-outside.so" >"$dir/discovery-cut.so"
echo "#!/bin/sh" >"$dir/discovery-text.so"
cp "$dir/discovery-major.so" "$dir/discovery-writable.so" && chmod 666 "$dir/discovery-writable.so"
cp "$dir/discovery-major.so" "$dir/discovery-foreign.so" && chown 65534 "$dir/discovery-foreign.so"
mkfifo "$dir/discovery-fifo.so"
cp "$dir/discovery-outside.so" "$dir/discovery-renamed.so"
echo '{ local: *; };' >"$tmp/none.map"
build nosymbol -I"$include" -Wl,--version-script="$tmp/none.map" "$here/outside.c"
sed 's/WGM_PLUGIN(WGM_DISCOVERY/WGM_PLUGIN(WGM_NATMAP/' "$here/outside.c" >"$tmp/kind.c"
build kind -I"$include" '-DNAME="kind"' "-DMARKER=\"$dir/ran\"" "$tmp/kind.c"
echo "#!/bin/sh" >"$dir/discovery-noexec"
sed 's/^static void tell(/extern int nowhere(void);\nstatic void tell(/; s/^\to->posted++;/\to->posted += nowhere();/' \
	"$here/outside.c" >"$tmp/undefined.c"
build undefined -I"$include" -Wl,-z,undefs '-DNAME="undefined"' "$tmp/undefined.c"
install -m 755 plugins/examples/discovery-example "$dir/discovery-example"
# The author's guide is to be believed: both its examples, word for word.
awk '/^```c$/ {on = 1; next} /^```$/ {on = 0} on' plugins/README.md >"$tmp/file.c"
build file -I"$include" "$tmp/file.c"
awk '/^```sh$/ {getline; on = /^#!/} /^```$/ {on = 0} on' plugins/README.md >"$dir/discovery-guide"
chmod 755 "$dir/discovery-guide"
echo 203.0.113.20:20 >"$dir/endpoint"
set +e

build=build/$MODE
sanitize=
[ "$MODE" != asan ] || sanitize='-fsanitize=address,undefined'
# shellcheck disable=SC2086,SC2046
"$CC" -g $sanitize -std=c11 -D_GNU_SOURCE -Icore -Icore/include -include core/lib/banned.h -Wall -Wextra \
	-o "$tmp/test_loader" tests/plugin/test_loader.c $build/core/plugin*.o $build/core/discovery.o \
	$build/libwgmesh.a $(pkg-config --libs jansson yaml-0.1 cmocka openssl) -lwslay -lsodium -lev -lm -ldl \
	-lpthread || {
	echo "not ok plugin: the test program does not build"
	exit 1
}
WGM_TEST_PLUGINS=$dir WGM_TEST_BUNDLED=$tmp/root/usr/lib/wg-mesh/plugins CMOCKA_MESSAGE_OUTPUT=stdout \
	"$tmp/test_loader" >"$tmp/log" 2>&1
status=$?
asked=0 # wg-meshd --check
checks() { # EXIT WORDS DISCOVERY...
	expected=$1 words=$2
	printf 'coordinator: {url: https://a.example}\ndiscovery: %s\n' "$3" >"$tmp/wg0.yaml"
	"$tmp/root/usr/sbin/wg-meshd" wg0 --check --config "$tmp/wg0.yaml" --plugin-dir "$dir" >"$tmp/check" 2>&1
	[ $? -eq "$expected" ] && grep -q "$words" "$tmp/check" && return
	echo "not ok plugin: --check of $3 does not say \"$words\" with exit $expected"
	sed 's/^/    /' "$tmp/check"
	asked=1
}
checks 2 'wg0.yaml:2:24: discovery-outside has no option .* did you mean "addresses"' '[{outside: {adresses: a}}]'
checks 2 'wg0.yaml:2:.*: discovery-guide has no option "evry"' '[{guide: {path: /x, evry: 1}}]'
checks 2 'cxx is named twice' '[{cxx: {addresses: 192.0.2.1}}, {cxx: {addresses: 192.0.2.2}}]'
checks 0 'good' '[{outside: {addresses: a}}, {guide: {path: /x}}]'
checks 0 'no .*missing.so.*goes on' '[missing]'
[ $asked -ne 0 ] || echo "ok plugin: --check judges options"
sed -n 's/^\[       OK \] test_/ok plugin: /p; s/^\[  FAILED  \] test_/not ok plugin: /p' "$tmp/log" | tr _ ' ' | sort -u
[ $status -eq 0 ] || grep -v '^\[' "$tmp/log"
[ $status -ne 0 ] || status=$asked
exit $status
