#!/bin/busybox sh
# The first process of the kernel lab's machine. Sees the host's file system (read-only, virtiofs)
# with memory over all of it, loads modules, and hands over: to the script named on the kernel's
# line, or, for a script called systemd.sh, to systemd, which then starts that script as a service.
# What the script says goes to the second serial line: the kernel and systemd write to the first.
/bin/busybox --install -s /bin
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
for module in /mods/*; do
	insmod "$module"
done
mkdir -p /host /memory /new
mount -t virtiofs -o ro host /host
mount -t tmpfs tmpfs /memory
arguments=$(sed -n 's/.*wgm.arguments=\([^ ]*\).*/\1/p' /proc/cmdline)
cp "/host$arguments" /arguments
mkdir -p /memory/over /memory/work
mount -t overlay overlay -o lowerdir=/host,upperdir=/memory/over,workdir=/memory/work /new
for dir in proc sys dev; do
	mount -o move /$dir /new/$dir
done
mkdir -p /new/dev/pts /new/dev/shm
mount -t devpts devpts /new/dev/pts
mount -t tmpfs tmpfs /new/dev/shm
ln -sf /proc/self/fd /new/dev/fd # wg-quick reads from <(...)
mount -t tmpfs -o mode=755 tmpfs /new/run
mount -t tmpfs -o mode=1777 tmpfs /new/tmp
cp /arguments /new/run/arguments
{
	read -r work
	read -r release
	read -r script
} </arguments
# A checkout below /tmp or /run is hidden by what was just mounted there.
top=${work%/build/kernel}
if [ ! -e "/new$top/tests" ]; then
	mkdir -p "/new$top"
	mount -o bind "/host$top" "/new$top"
fi
# The modules of this kernel, for modprobe.
mkdir -p "/new/usr/lib/modules/$release"
mount -o bind "/new$work/root/lib/modules/$release" "/new/usr/lib/modules/$release"

cat >/new/run/start <<'EOF'
#!/bin/sh
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root
ip link set lo up
modprobe -a wireguard veth bridge dummy tun sch_netem nf_tables nft_chain_nat nft_masq nft_nat nft_ct \
	nft_redir nft_numgen nft_hash nft_limit nft_reject_inet nft_fib_inet nf_conntrack_netlink 2>&1 |
	sed 's/^/# /'
{ read -r work; } </run/arguments
LAB_STAGE=$work/stage # tests/lab/lib.sh installs from there
LAB_SLOW=5 # the processor is emulated: bounds of time are as many times wider
export LAB_STAGE LAB_SLOW
echo "# Linux $(uname -r), $(modinfo -d wireguard 2>/dev/null)"
set --
while read -r argument; do
	set -- "$@" "$argument"
done <<-END
	$(sed 1,2d /run/arguments)
END
sh "$@"
echo "kernel lab ends: $?"
echo o >/proc/sysrq-trigger
sleep 5
EOF
case $script in
*/systemd.sh)
	mkdir -p /new/etc/systemd/system
	cat >/new/etc/systemd/system/lab.service <<-'EOF'
		[Unit]
		Requires=sysinit.target
		After=sysinit.target
		[Service]
		Type=oneshot
		ExecStart=/bin/sh /run/start
		StandardOutput=file:/dev/ttyS1
		StandardError=file:/dev/ttyS1
	EOF
	exec switch_root /new /lib/systemd/systemd --unit=lab.service --show-status=0 --log-level=warning
	;;
esac
exec switch_root /new /bin/sh -c 'exec sh /run/start >/dev/ttyS1 2>&1'
