#!/bin/sh
# fresh.sh - the README's two commands as a new user runs them: on a new Debian 12 with nothing
# added but git, from a fresh clone of what is committed here. Takes some minutes.
#
# The system is a root made by mmdebstrap, entered with chroot in mount and process namespaces of
# its own; network namespaces work inside.
set -eu
top=$(cd "$(dirname "$0")/.." && pwd)
[ "$(id -u)" = 0 ] || {
	echo "fresh.sh: needs root: run it with sudo" >&2
	exit 1
}
command -v mmdebstrap >/dev/null || {
	echo "fresh.sh: install mmdebstrap first" >&2
	exit 1
}
root=$(mktemp -d /var/tmp/wg-mesh-fresh.XXXXXX)
trap 'rm -rf --one-file-system "$root"' EXIT
trap 'exit 130' INT TERM

echo "making a fresh Debian in $root"
mmdebstrap --quiet --variant=minbase --include=git bookworm "$root"
git clone -q --no-local "$top" "$root/root/wg-mesh"

unshare --mount --pid --fork --kill-child sh -eu -c '
	root=$1
	mount --bind "$root" "$root"
	mount -t proc proc "$root/proc"
	mount -t sysfs sys "$root/sys"
	mount --rbind /dev "$root/dev"
	mount -t tmpfs tmpfs "$root/run"
	mount -t tmpfs tmpfs "$root/tmp"
	cp /etc/resolv.conf /etc/hosts "$root/etc/" 2>/dev/null || true
	for command in "sh etc/try.sh" "sh tests/run.sh"; do
		echo "== $command"
		env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root TERM=dumb \
			${http_proxy:+http_proxy="$http_proxy"} ${https_proxy:+https_proxy="$https_proxy"} \
			chroot "$root" sh -c "cd /root/wg-mesh && $command" </dev/null
	done
' sh "$root"
echo "fresh: both commands of the README work on a new Debian"
