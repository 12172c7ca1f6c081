#!/bin/busybox sh
# SPDX-License-Identifier: BSD-3-Clause
# /init of the "disk" initrd: loads the virtio modules, then starts the system on root= (/dev/vda);
# with guest.run=FILE, a shell with that script in its place, which may be a raw disk; with
# guest.overlay, what is written goes to memory
B=/bin/busybox
$B mount -t proc proc /proc
$B mount -t sysfs sys /sys
$B mount -t devtmpfs dev /dev
while read -r module; do $B insmod "/lib/$module"; done </lib/order

root=/dev/vda mode=ro at=/root run=''
for word in $($B cat /proc/cmdline); do
	case $word in
	root=*) root=${word#*=} ;;
	rw) mode=rw ;;
	guest.run=*) run=${word#*=} ;;
	guest.overlay) at=/lower ;;
	esac
done
i=0
while [ ! -b "$root" ] && [ $i -lt 100 ]; do
	$B sleep 0.05
	i=$((i + 1))
done
$B mkdir -p "$at"
if ! $B mount -o $mode "$root" "$at"; then
	echo "GUEST no root file system on $root"
	$B poweroff -f
fi
if [ "$at" != /root ]; then
	$B mkdir /upper
	$B mount -t tmpfs -o mode=755 upper /upper
	$B mkdir /upper/data /upper/work
	$B mount -t overlay -o lowerdir=/lower,upperdir=/upper/data,workdir=/upper/work root /root
fi
if [ -n "$run" ]; then
	for dir in proc sys dev; do $B mount --move /$dir /root/$dir; done
	exec $B switch_root -c /dev/console /root /bin/sh "$run"
fi
$B umount /proc /sys
$B mount --move /dev /root/dev
exec $B switch_root /root /sbin/init
