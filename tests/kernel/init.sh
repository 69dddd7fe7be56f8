#!/bin/busybox sh
# The first process of the kernel lab's machine: mounts the host's file system (read-only), puts
# memory over what is written, loads modules, and runs the script named on the kernel's line.
/bin/busybox --install -s /bin
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
for module in /mods/*; do
	insmod "$module"
done
mount -t virtiofs -o ro host /host
mount -t proc proc /host/proc
mount -t sysfs sys /host/sys
mount -t devtmpfs dev /host/dev
mkdir -p /host/dev/pts /host/dev/shm
mount -t devpts devpts /host/dev/pts
mount -t tmpfs tmpfs /host/dev/shm
arguments=$(sed -n 's/.*wgm.arguments=\([^ ]*\).*/\1/p' /proc/cmdline)
cat "/host$arguments" >/arguments
mount -t tmpfs tmpfs /host/run
mount -t tmpfs tmpfs /host/tmp
cp /arguments /host/run/arguments
exec switch_root /host /bin/sh -c '
	export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root
	ip link set lo up
	{ read -r work; read -r release; } </run/arguments
	modules=$work/root
	modprobe -d "$modules" -a wireguard veth bridge tun sch_netem nf_tables nft_chain_nat nft_masq \
		nft_nat nft_ct nft_redir nft_numgen nft_hash nft_limit nft_reject_inet nft_fib_inet \
		nf_conntrack_netlink 2>&1 | sed "s/^/# /"
	echo "# Linux $(uname -r), $(modinfo -d -b "$modules" wireguard 2>/dev/null || echo wireguard)"
	set --
	while read -r argument; do
		set -- "$@" "$argument"
	done <<-EOF
		$(sed 1,2d /run/arguments)
	EOF
	sh "$@"
	echo "kernel lab ends: $?"
	echo o >/proc/sysrq-trigger
	sleep 5'
