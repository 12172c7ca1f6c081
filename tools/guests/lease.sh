#!/bin/busybox sh
# SPDX-License-Identifier: BSD-3-Clause
# Called by udhcpc: $1 is what happened, the rest is in the environment.
# shellcheck disable=SC2154
[ "$1" = bound ] || exit 0

ip addr add "$ip/$mask" dev "$interface"
ip route add default via "${router%% *}" dev "$interface"
for server in $dns; do echo "nameserver $server"; done >/etc/resolv.conf
