#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# drive_service.sh SQUASHFS PACKAGES SCRIPT NAME=FILE... - boots a Debian system with systemd as
# process 1 of a namespace of its own, with the packages installed, and runs the script in it; the
# files are there as /srv/NAME.  Nothing of this machine is seen there but its devices.
set -e
mkdir -p /run/low /run/up /run/debian
mount -t squashfs -o loop "$1" /run/low
mount -t tmpfs tmpfs /run/up
mkdir /run/up/u /run/up/w
mount -t overlay -o lowerdir=/run/low,upperdir=/run/up/u,workdir=/run/up/w overlay /run/debian
cd /run/debian
mkdir srv/deb srv/old
cp "$2"/*.deb srv/deb
cp "$3" srv/script
shift 3
for file; do cp "${file#*=}" "srv/${file%%=*}"; done
mount --bind /dev dev
mount -t proc proc proc
chroot . sh -c 'dpkg -i --force-unsafe-io /srv/deb/*.deb' >log 2>&1 || { cat log; exit 1; }
chroot . chgrp kvm /dev/kvm
umount proc
mkdir -p /sys/fs/cgroup
mountpoint -q /sys/fs/cgroup || mount -t cgroup2 cgroup2 /sys/fs/cgroup
mkdir /sys/fs/cgroup/system
# shellcheck disable=SC2016 # $$ is the inner shell's
unshare -mfp --kill-child sh -c 'echo 0 >/sys/fs/cgroup/system/cgroup.procs
exec unshare -C sh -c "mount --make-rprivate / && pivot_root . srv/old && cd / &&
mount -t proc proc /proc && mount -t sysfs sys /sys && mount -t cgroup2 cgroup2 /sys/fs/cgroup &&
umount -l /srv/old && exec env -i container=testbed PATH=$PATH \
/lib/systemd/systemd --unit=basic.target --log-level=warning"' &
outer=$!
inside() { nsenter -t "$inner" -m -p -C env -C / "$@"; }
for _ in $(seq 300); do
	read -r inner _ </proc/$outer/task/$outer/children || true
	[ -z "$inner" ] || ! inside systemctl -q is-active basic.target 2>/dev/null || break
	sleep 0.2
done
inside systemctl -q is-active basic.target
code=0
inside sh /srv/script || code=$?
kill $outer
exit $code
