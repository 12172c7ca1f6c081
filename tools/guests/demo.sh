#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# Makes a small Debian that was just unpacked ($1) the demonstration's: a login on every console
# without a question, an address by DHCP, and nothing else at work.
set -eu
cd "$1"
echo demo >etc/hostname
rm -f etc/machine-id etc/resolv.conf # the first may be read-only, and we not be root
: >etc/machine-id
sed -i 's/^root:[^:]*:/root::/' etc/shadow
cat >etc/motd <<'END'

  You are root, without a password, in a virtual machine.  Its disk cannot be
  written; what you write is kept in memory.  The table above says which
  processes of the host this machine is.

      ip addr        ping GATEWAY        systemctl        apt update

  To leave: poweroff, or the keys Ctrl-A x.

END
cat >usr/local/sbin/poweroff <<'END'
#!/bin/sh
exec systemctl --force poweroff
END
chmod 755 usr/local/sbin/poweroff
units=etc/systemd/system
for unit in apt-daily-upgrade.timer apt-daily.timer dpkg-db-backup.timer e2scrub_all.timer \
	e2scrub_reap.service fstrim.timer getty-static.service getty@tty1.service \
	kmod-static-nodes.service modprobe@.service serial-getty@ttyS0.service \
	dev-hugepages.mount dev-mqueue.mount proc-sys-fs-binfmt_misc.automount \
	sys-fs-fuse-connections.mount sys-kernel-config.mount sys-kernel-debug.mount \
	sys-kernel-tracing.mount systemd-ask-password-console.path \
	systemd-ask-password-wall.path systemd-journal-flush.service systemd-logind.service \
	systemd-machine-id-commit.service systemd-modules-load.service systemd-pstore.service \
	systemd-random-seed.service systemd-remount-fs.service systemd-sysctl.service \
	systemd-sysusers.service systemd-tmpfiles-clean.timer \
	systemd-tmpfiles-setup-dev.service systemd-update-utmp-runlevel.service \
	systemd-update-utmp.service systemd-user-sessions.service; do
	ln -sf /dev/null "$units/$unit"
done
cat >"$units/serial-getty@.service" <<'END'
[Unit]
Description=Login on %I
DefaultDependencies=no

[Service]
ExecStart=-/sbin/agetty --autologin root --noclear %I linux
StandardInput=tty
TTYPath=/dev/%I
TTYReset=yes
TTYVHangup=yes
IgnoreSIGPIPE=no
SendSIGHUP=yes
Restart=always
END
cat >"$units/network.service" <<'END'
[Unit]
Description=Address for eth0
DefaultDependencies=no
ConditionPathExists=/sys/class/net/eth0

[Service]
ExecStartPre=/sbin/ip link set eth0 up
ExecStart=/sbin/udhcpc -i eth0 -f -S -t 20 -T 1
Restart=on-failure

[Install]
WantedBy=sysinit.target
END
# What can wait does so until the login is there; of devices only those that matter are looked at.
for unit in systemd-tmpfiles-setup systemd-udevd systemd-udev-trigger; do
	mkdir -p "$units/$unit.service.d"
	printf '[Unit]\nAfter=serial-getty@hvc0.service\n' >"$units/$unit.service.d/later.conf"
done
cat >"$units/systemd-udev-trigger.service.d/few.conf" <<'END'
[Service]
ExecStart=
ExecStart=-udevadm trigger --type=devices --action=add -s block -s net -s virtio -s tty
END
mkdir -p "$units/sysinit.target.wants"
ln -sf ../network.service "$units/sysinit.target.wants/network.service"
