#!/bin/sh
# inside.sh [SCRIPT...] - what runs on the real kernel, one script of the lab after another. What measures
# is not among those that run without arguments: its machine has to have the processors for itself.
set -u
cd "$(dirname "$0")/../lab" || exit 1
LAB_WHERE="kernel WireGuard: "
export LAB_WHERE
failed=0
if ! ip link add wgtest type wireguard; then
	echo "not ok kernel lab: this kernel has no WireGuard"
	exit 1
fi
ip link del wgtest
for script; do
	sh "./$script" || failed=1
done
[ $# -eq 0 ] || exit $failed
sh ./05-device.sh || failed=1
sh ./10-two-nats.sh port_restricted port_restricted || failed=1
sh ./try.sh || failed=1
exit $failed
