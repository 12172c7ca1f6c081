#!/bin/busybox sh
# SPDX-License-Identifier: BSD-3-Clause
# /init of the "button" initrd: a guest with the driver of the power button.  What guest.do= says:
#   listen (default)  shuts down when the button is pressed
#   ignore            reads nothing of the button and lives on
B=/bin/busybox
$B mount -t proc proc /proc
$B mount -t sysfs sys /sys
$B mount -t devtmpfs dev /dev
while read -r module; do $B insmod "/lib/$module"; done </lib/order

do=listen
for word in $($B cat /proc/cmdline); do
	case $word in guest.do=*) do=${word#*=} ;; esac
done
i=0
while [ ! -c /dev/input/event0 ] && [ $i -lt 200 ]; do
	$B sleep 0.05
	i=$((i + 1))
done
if [ "$do" = ignore ] || ! [ -c /dev/input/event0 ]; then
	echo "GUEST button=ignored"
	while :; do $B sleep 1000; done
fi
exec 3</dev/input/event0
echo "GUEST button=$($B cat /sys/class/input/event0/device/name | $B tr ' ' _)"

# struct input_event: time, type EV_KEY (1), code KEY_POWER (116), value
while event=$($B dd bs=24 count=1 2>/dev/null <&3 | $B od -An -v -tu2); do
	# shellcheck disable=SC2086 # numbers
	set -- $event
	[ "$9 ${10} ${11}" != '1 116 1' ] || break
done
echo "GUEST pressed"
$B sync
$B poweroff -f
