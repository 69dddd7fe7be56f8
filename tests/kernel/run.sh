#!/bin/sh
# run.sh [SCRIPT [ARGUMENT...]] - runs a script of the lab inside QEMU, on Debian's own cloud
# kernel with its real wireguard.ko. Without arguments: tests/kernel/inside.sh, and systemd.sh in a
# machine whose first process is systemd.
#
# The virtual machine has no disk: it sees this machine's file system read-only through virtiofs,
# with memory over it where something is written. So it runs the very programs and the very
# scripts that run outside, only the kernel is another. Emulated (TCG), no KVM needed; boots in
# about 3 s.
set -u
top=$(cd "$(dirname "$0")/../.." && pwd)
work=$top/build/kernel
scratch=$(mktemp -d)
daemon=
systemd=
finish() {
	for child in $daemon $systemd; do
		kill "$child" 2>/dev/null
	done
	rm -rf "$scratch"
}
trap finish EXIT
trap 'exit 130' INT TERM
skip() {
	echo "skip kernel lab: $*"
	exit 77
}

[ "$(id -u)" = 0 ] || skip "needs root"
[ "$(dpkg --print-architecture 2>/dev/null)" = amd64 ] || skip "only written for Debian on amd64"
for tool in qemu-system-x86_64 /usr/lib/qemu/virtiofsd busybox cpio depmod; do
	command -v $tool >/dev/null || skip "$tool is not installed"
done

# The kernel: Debian's package, unpacked, never installed.
fetch_kernel() {
	package=$(apt-cache depends linux-image-cloud-amd64 2>/dev/null | awk '/Depends: linux-image/ { print $2; exit }')
	[ -n "$package" ] && (cd "$work" && apt-get download -q "$package" >download.log 2>&1)
}
if [ ! -e "$work/ready" ]; then
	rm -rf "$work"
	mkdir -p "$work"
	# With no lists of packages here, or old ones, they are fetched once.
	fetch_kernel || { apt-get update -qq >"$scratch/update.log" 2>&1 && fetch_kernel; } ||
		skip "apt-get cannot download linux-image-cloud-amd64's kernel: $(
			cat "$scratch/update.log" "$work/download.log" 2>/dev/null | tail -n 1)"
	dpkg -x "$work"/linux-image-*.deb "$work/root"
	rm "$work"/linux-image-*.deb
	release=$(ls "$work/root/lib/modules")
	depmod -b "$work/root" "$release"
	echo "$release" >"$work/ready"
fi
release=$(cat "$work/ready")

# What is to run there is installed here, into a folder: a compiler would be slow there.
[ -n "${KERNEL_STAGED:-}" ] || rm -rf "$work/stage"
[ -n "${KERNEL_STAGED:-}" ] || make -s -C "$top" install lab-programs MODE="${LAB_MODE:-release}" DESTDIR="$work/stage" >"$scratch/install.log" 2>&1 || {
	cat "$scratch/install.log"
	echo "not ok kernel lab: make install"
	exit 1
}

# Without arguments: one machine for the lab's scripts, another for systemd, side by side.
[ $# -gt 0 ] || {
	export KERNEL_STAGED=1
	sh "$0" "$top/tests/kernel/systemd.sh" >"$scratch/systemd" 2>&1 &
	systemd=$!
	failed=0
	sh "$0" "$top/tests/kernel/inside.sh" || failed=1
	wait $systemd || failed=1
	systemd=
	cat "$scratch/systemd"
	exit $failed
}

# The initial file system: busybox and the few modules that mount the rest.
mkdir -p "$scratch/init/bin" "$scratch/init/mods" "$scratch/init/proc" "$scratch/init/sys" \
	"$scratch/init/dev"
cp "$(command -v busybox)" "$scratch/init/bin/busybox"
# Its libraries, where it is not the static one.
ldd "$(command -v busybox)" 2>/dev/null | grep -o '/[^ ]*' | while read -r file; do
	mkdir -p "$scratch/init$(dirname "$file")"
	cp -L "$file" "$scratch/init$file"
done
cp "$top/tests/kernel/init.sh" "$scratch/init/init"
chmod 755 "$scratch/init/init"
count=10
for module in virtio_pci virtiofs overlay; do
	modprobe -d "$work/root" -S "$release" --show-depends $module
done | awk '$1 == "insmod" && !seen[$2]++ { print $2 }' | while read -r file; do
	cp "$file" "$scratch/init/mods/$count-$(basename "$file")"
	count=$((count + 1))
done
(cd "$scratch/init" && find . | cpio -o -H newc --quiet | gzip -1) >"$scratch/init.gz"

# virtiofsd ends by itself when the machine hangs up.
/usr/lib/qemu/virtiofsd --socket-path="$scratch/fs.sock" -o source=/ -o cache=always \
	-o sandbox=chroot >"$scratch/virtiofsd.log" 2>&1 </dev/null &
daemon=$!
tries=50
until [ -S "$scratch/fs.sock" ]; do
	tries=$((tries - 1))
	[ $tries -gt 0 ] || skip "virtiofsd does not start here: $(tail -n 1 "$scratch/virtiofsd.log")"
	sleep 0.1
done

script=$(realpath "$1") # there the current folder is another
shift
printf '%s\n' "$work" "$release" "$script" "$@" >"$scratch/init-arguments"
append="console=ttyS0 quiet panic=1 systemd.show_status=0 wgm.arguments=$scratch/init-arguments"
timeout "${KERNEL_TIMEOUT:-600}" qemu-system-x86_64 -M q35 -accel tcg,thread=multi -cpu max -smp 2 -m 1536M \
	-object memory-backend-memfd,id=mem,size=1536M,share=on -numa node,memdev=mem \
	-kernel "$work/root/boot/vmlinuz-$release" -initrd "$scratch/init.gz" -append "$append" \
	-display none -serial "file:$scratch/console" -serial "file:$scratch/said" -no-reboot -nic none \
	-chardev "socket,id=fs,path=$scratch/fs.sock" -device vhost-user-fs-pci,chardev=fs,tag=host \
	</dev/null >"$scratch/qemu.log" 2>&1
status=$?
tr -d '\r' <"$scratch/said" >"$scratch/output"
grep -E '^(ok|not ok|skip|#|    )' "$scratch/output"
if ! grep -q '^kernel lab ends: 0$' "$scratch/output"; then
	echo "not ok kernel lab: the machine did not end as it should (qemu exit $status)"
	tail -n 20 "$scratch/output" "$scratch/console" "$scratch/qemu.log" | sed 's/^/    /'
	exit 1
fi
