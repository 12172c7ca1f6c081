#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# use_package.sh - what somebody who installed the package does with it; /srv has a guest
set -e
say() { echo "$*"; }
socket=/run/crosvm-demo/control.sock
journal() { journalctl --no-pager --all -o cat -u crosvm@demo | tr -d "\r"; }
property() { systemctl show -P "$1" crosvm@demo; }
wait_for() { # WORDS: until they are so
	for _ in $(seq 60); do
		! "$@" || return 0
		sleep 0.5
	done
	say "in vain: $*"
	systemctl --no-pager -l status crosvm@demo
	journal
	return 1
}
has_booted() { journal | grep -q 'GUEST button='; }
hears_its_button() { crosvm powerbtn demo 2>/dev/null; }
has_restarted() { [ "$(property NRestarts)" -gt 0 ]; }
is_answering() { crosvm status demo >/dev/null 2>&1; }
is_state() { [ "$(property ActiveState)" = "$1" ]; }
getent passwd crosvm | grep '^crosvm:.*:/var/lib/crosvm:'
crosvm version
crosvm create_qcow2 /srv/d.qcow2 1G
! man -w crosvm 2>/dev/null || man -w crosvm-stop crosvm.conf

{
	printf 'kernel = /srv/vmlinux\ninitrd = /srv/initrd\n'
	printf 'params = quiet console=ttyS0 guest.do=listen\n'
} >/etc/crosvm/demo.conf
systemctl start crosvm@demo
wait_for has_booted
say "USER $(stat -c %U "$socket")"
crosvm status demo
say "LIST $(crosvm list | tail -n 1)"
main=$(property MainPID)
for child in $(crosvm status demo | sed -n 's/^  .* process \([0-9]*\)$/\1/p'); do
	own=own
	for ns in user/"$main" mnt/1 net/1 pid/"$main"; do
		[ "$(readlink /proc/"${ns#*/}"/ns/"${ns%/*}")" != \
			"$(readlink /proc/"$child"/ns/"${ns%/*}")" ] || own=shared
	done
	say "JAIL $(grep -c 'Seccomp:.2' /proc/"$child"/status) $own"
done
systemd-analyze security --no-pager crosvm@demo | grep exposure

systemctl stop crosvm@demo
journal | grep -x 'GUEST pressed'
say "STOPPED $(property Result) $(property ExecMainStatus) $(property NRestarts)"
say "LEFT $(pgrep -cu crosvm || true) $(ls -d /run/crosvm-* 2>/dev/null)"
journal | grep -x 'crosvm: the guest powered off'

mkdir -p /etc/systemd/system/crosvm@demo.service.d
printf '[Service]\nEnvironment=ASK_SECONDS=2\n' \
	>/etc/systemd/system/crosvm@demo.service.d/ask.conf
systemctl daemon-reload
printf 'kernel = /srv/bare.elf\nparams = test=button deaf=1\n' >/etc/crosvm/demo.conf
systemctl start crosvm@demo
wait_for hears_its_button
systemctl stop crosvm@demo
say "ENDED $(property Result) $(property ExecMainStatus) $(property NRestarts)"
journal | grep 'the guest did not shut down within 2 s'
journal | grep -x 'crosvm: stopped by command'
say "LEFT $(pgrep -cu crosvm || true) $(ls -d /run/crosvm-* 2>/dev/null)"

echo 'kernel = /srv/reset.elf' >/etc/crosvm/demo.conf
systemctl start crosvm@demo
wait_for has_restarted
echo 'kernel = /srv/halt.elf' >/etc/crosvm/demo.conf
wait_for is_answering
say "RESTARTED $(property NRestarts)"
systemctl kill --kill-whom=main -s TERM crosvm@demo
wait_for is_state inactive
say "TERMINATED $(property Result)"

echo 'kernel = /srv/none' >/etc/crosvm/demo.conf
systemctl start crosvm@demo || true
wait_for is_state failed
say "MISTAKE $(property ExecMainStatus) $(property NRestarts)"
journal | grep '^crosvm: /etc/crosvm/demo.conf:1: '

dpkg -P crosvm libqcow-utils-dev libqcow-utils1 >/dev/null
ls /usr/bin/crosvm /usr/lib/*/libqcow_utils* 2>/dev/null || say PURGED
