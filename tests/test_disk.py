# SPDX-License-Identifier: BSD-3-Clause
"""A Debian system on our disks: both transports, one queue and several, killed processes."""
import json
import os

import pytest

from guests.place import python
from testbed import kernels
import guests

PATIENCE_S = 240
KILLS = int(os.environ.get('CROSVM_TEST_KILLS', '50'))
VERIFY = ('fio --name=v --filename=/root/v --size={mib}M --bs=4k --rw=randwrite --iodepth=16 '
          '--ioengine=libaio --direct=1 --fsync=64 --verify=crc32c --verify_fatal=1 --do_verify=1 '
          '--numjobs={jobs} --randrepeat=0 >/tmp/fio 2>&1 || {{ cat /tmp/fio; echo FIO-BAD; }}\n'
          'grep -q "err= 0" /tmp/fio && ! grep -q "err= *[1-9]" /tmp/fio && echo FIO-GOOD\n')


def drive(place, kernel='6.1-cloud', **job):
    """Runs drive_disk.py; returns the guest's output and the result."""
    job = {'kernel': str(kernels.get(kernel).vmlinux), 'initrd': str(guests.disk(kernel)),
           'root': str(guests.ext4()), **job}
    job = {key: inside(place, value) for key, value in job.items()}
    done = python(place, 'drive_disk.py', json.dumps(job), timeout_s=PATIENCE_S)
    last = [line for line in done.out.splitlines() if line.startswith('DRIVE ')]
    assert done.code == 0 and last, str(done)
    return done.out, json.loads(last[-1][len('DRIVE '):])


def inside(place, value):
    """The path as the place has it."""
    return place.path(value) if isinstance(value, str) and value.startswith('/') else value


@pytest.mark.parametrize('options', [
    ['--transport', 'pci'],
    ['--transport', 'mmio'],
], ids=['pci', 'mmio'])
def test_verified_io(place, options):
    out, result = drive(place, options=options, script='mount -t tmpfs tmpfs /tmp\n' +
                        VERIFY.format(mib=8, jobs=1) + 'ls /sys/bus/virtio/devices | wc -l\n')

    assert 'FIO-GOOD' in out and 'FIO-BAD' not in out, out
    assert result['code'] == 0, out
    assert result['fsck'] == 0, result


@pytest.mark.parametrize('transport', ['pci', 'mmio'])
def test_verified_io_on_four_queues(place, transport):
    script = ('mount -t tmpfs tmpfs /tmp\n'
              'ls /sys/block/vdc/mq | wc -l | sed s/^/QUEUES-/\n'
              'fio --name=q --filename=/dev/vdc --size=4M --offset_increment=4M --numjobs=4 --bs=4k '
              '--rw=randwrite --iodepth=8 --ioengine=libaio --direct=1 --verify=crc32c '
              '--verify_fatal=1 --randrepeat=0 >/tmp/fio 2>&1 || { cat /tmp/fio; echo FIO-BAD; }\n'
              'grep -q "err= 0" /tmp/fio && echo FIO-GOOD\n')
    out, result = drive(place, script=script, scratch_mib=32,
                        options=['-c', '4', '--transport', transport, '--block',
                                 'path=@scratch,queues=4'])

    assert 'QUEUES-4' in out, out
    assert 'FIO-GOOD' in out and 'FIO-BAD' not in out, out
    assert result['code'] == 0


PROMPT = 'root@guest:'


def test_systemd_boots_from_ext4(place):
    out, result = drive(place, type=[
        [PROMPT, 'systemctl --failed --no-legend | wc -l | sed s/^/FAILED-/; findmnt -no SOURCE /\n'],
        ['/dev/vda', 'systemctl poweroff\n']])

    assert 'FAILED-0' in out, out
    assert result['code'] == 0, out
    assert result['fsck'] == 0, result
    assert result['left'] == ['root', 'scratch'], 'the control socket is gone'


def test_systemd_boots_from_squashfs_and_reboots(place):
    out, result = drive(place, root=str(guests.squashfs()), read_only=True, type=[
        [PROMPT, 'findmnt -no FSTYPE,OPTIONS /; touch /x\n'],
        ['Read-only file system', 'systemctl reboot\n']])

    assert 'squashfs' in out, out
    assert result['code'] == 32, out


def test_killed_under_verified_load(place):
    script = ('mount -t tmpfs tmpfs /tmp\necho KILL-FROM\n'
              'while [ ! -e /tmp/done ]; do ' + VERIFY.format(mib=8, jobs=1).replace('\n', ';') +
              ' n=$((n+1)); [ $n -lt 3 ] || : >/tmp/done; done\necho KILL-TO\n')
    out, result = drive(place, script=script, kills=KILLS, kill=['block0'])

    assert out.count('FIO-GOOD') == 3 and 'FIO-BAD' not in out, out
    assert result['killed'] >= min(KILLS, 10), result
    assert result['code'] == 0, out
    assert result['fsck'] == 0, result
    assert 'block0: killed by signal 9' in out
