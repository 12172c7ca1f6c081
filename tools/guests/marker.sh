#!/bin/busybox sh
# SPDX-License-Identifier: BSD-3-Clause
# /init of the "marker" initrd: says what the guest found, then does what guest.do= asks.
#   poweroff (default), reboot, panic, halt, shell, load, commands
B=/bin/busybox
$B mount -t proc proc /proc
$B mount -t sysfs sys /sys
$B mount -t devtmpfs dev /dev

do=poweroff seconds=10
for word in $($B cat /proc/cmdline); do
	case $word in
	guest.do=*) do=${word#*=} ;;
	guest.seconds=*) seconds=${word#*=} ;;
	esac
done
read -r uptime _ </proc/uptime
clock=$($B cat /sys/devices/system/clocksource/clocksource0/current_clocksource)
acpi=$([ -d /sys/firmware/acpi/tables ] && echo on || echo off)
cpus=$($B grep -c ^processor /proc/cpuinfo)
sockets=$($B grep '^physical id' /proc/cpuinfo | $B sort -u | $B wc -l)
mem=$($B awk '/^MemTotal:/ { print $2 }' /proc/meminfo)
echo "GUEST release=$($B uname -r) cpus=$cpus sockets=$sockets mem_kib=$mem clock=$clock" \
	"acpi=$acpi date=$($B date +%s) uptime=$uptime"

# Every CPU busy, and a line every tenth of a second with both clocks.
load() {
	for _ in $($B seq "$cpus"); do
		while :; do :; done &
	done
	i=0
	while [ $i -lt $((seconds * 10)) ]; do
		read -r uptime _ </proc/uptime
		echo "TICK $i uptime=$uptime date=$($B date +%s)"
		$B sleep 0.1
		i=$((i + 1))
	done
	echo "TICKED"
	$B poweroff -f
}

case $do in
reboot) $B reboot -f ;;
panic) echo c >/proc/sysrq-trigger ;;
halt) $B halt -f ;;
load) load ;;
shell)
	$B --install -s /bin
	export PATH=/bin HOME=/root TERM="${TERM:-vt100}"
	echo "A shell in the guest; 'poweroff -f' or 'exit' ends it."
	$B setsid $B cttyhack $B sh
	;;
esac
$B poweroff -f
