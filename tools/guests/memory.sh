#!/bin/busybox sh
# SPDX-License-Identifier: BSD-3-Clause
# /init of the "memory" initrd: fills the page cache as one who writes a large file does, then lives
# on.  guest.write=MIB: how large; it goes to a disk that keeps nothing, so only memory is used.
B=/bin/busybox
$B mount -t proc proc /proc
$B mount -t sysfs sys /sys
$B mount -t devtmpfs dev /dev
while read -r module; do $B insmod "/lib/$module"; done </lib/order

write=0
for word in $($B cat /proc/cmdline); do
	case $word in
	guest.write=*) write=${word#*=} ;;
	esac
done
echo "GUEST mem_kib=$($B awk '/^MemTotal:/ { print $2 }' /proc/meminfo)"
if $B dd if=/dev/zero of=/dev/nullb0 bs=1M count="$write" 2>/dev/null; then
	echo "WROTE $write"
fi
i=0
while :; do
	echo "ALIVE $i"
	i=$((i + 1))
	$B sleep 1
done
