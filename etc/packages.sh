#!/bin/sh
# packages.sh [--print] GROUP... - installs the Debian packages of these groups where any is
# missing; with --print only names them. Groups: build, try (the demonstration), test.
set -eu

build='gcc libc6-dev make pkg-config libmnl-dev libcurl4-openssl-dev libjansson-dev
	libsodium-dev libyaml-dev libev-dev libwslay-dev libssl-dev libsqlite3-dev libjwt-dev libpq-dev
	libqrencode-dev'
try='wireguard-tools wireguard-go nftables iproute2 iputils-ping procps jq kmod'
test='libcmocka-dev g++ clang libclang-rt-14-dev shellcheck strace valgrind python3-minimal python3-nacl curl sqlite3
	postgresql openssl tcpdump conntrack iperf3 qemu-system-x86 qemu-system-common busybox|busybox-static cpio systemd ca-certificates
	chromium'

print=
[ "${1:-}" = --print ] && print=1 && shift
packages=
for group; do
	case $group in
	build) packages="$packages $build" ;;
	try) packages="$packages $try" ;;
	test) packages="$packages $test" ;;
	*)
		echo "packages.sh: no group \"$group\"; there are build, try and test" >&2
		exit 2
		;;
	esac
done
# shellcheck disable=SC2086 # words are wanted
set -- $packages
if [ -n "$print" ]; then
	echo "$@"
	exit 0
fi
command -v dpkg-query >/dev/null && command -v apt-get >/dev/null || {
	echo "packages.sh: this is not Debian; what is needed is known there as: $*" >&2
	exit 1
}
installed() { [ "$(dpkg-query -W -f='${db:Status-Status}' "$1" 2>/dev/null)" = installed ]; }
missing=
for package; do
	# "a|b": either will do.
	installed "${package%%|*}" || installed "${package##*|}" || missing="$missing ${package%%|*}"
done
[ -n "$missing" ] || exit 0
[ "$(id -u)" = 0 ] || {
	echo "packages.sh: missing packages:$missing; install them, or run this as root" >&2
	exit 1
}
echo "installing:$missing"
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
# shellcheck disable=SC2086
apt-get install -y -qq --no-install-recommends $missing </dev/null >/dev/null
