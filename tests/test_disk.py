# SPDX-License-Identifier: BSD-3-Clause
"""A Debian system on our disks: both transports, one queue and several, killed processes."""
import atexit
import json
import os
import re
import subprocess

import pytest

from guests.place import python
from testbed import kernels
from testbed.cache import cache_dir
import guests

PATIENCE_S = 240
KILLS = int(os.environ.get('CROSVM_TEST_KILLS', '50'))
VERIFY = ('fio --name=v --filename=/root/v --size={mib}M --bs=4k --rw=randwrite --iodepth=16 '
          '--ioengine=libaio --direct=1 --fsync=64 --verify=crc32c --verify_fatal=1 --do_verify=1 '
          '--numjobs={jobs} --randrepeat=0 >/tmp/fio 2>&1 || {{ cat /tmp/fio; echo FIO-BAD; }}\n'
          'grep -q "err= 0" /tmp/fio && ! grep -q "err= *[1-9]" /tmp/fio && echo FIO-GOOD\n')


def drive(place, kernel='6.1-cloud', timeout_s=PATIENCE_S, **job):
    """Runs drive_disk.py; returns the guest's output and the result."""
    job = {'kernel': str(kernels.get(kernel).vmlinux), 'initrd': str(guests.disk(kernel)),
           'root': str(guests.ext4()), **job}
    job = {key: inside(place, value) for key, value in job.items()}
    done = python(place, 'drive_disk.py', json.dumps(job), timeout_s=timeout_s)
    last = [line for line in done.out.splitlines() if line.startswith('DRIVE ')]
    assert done.code == 0 and last, str(done)
    return done.out, json.loads(last[-1][len('DRIVE '):])


def inside(place, value):
    """The path as the place has it."""
    return place.path(value) if isinstance(value, str) and value.startswith('/') else value


RING_PACKED = 34  # number of the feature; sysfs has a digit for each


@pytest.mark.parametrize('transport, rings', [('pci', 'packed'), ('mmio', 'split')])
def test_verified_io(place, transport, rings):
    script = ('mount -t tmpfs tmpfs /tmp\n' + VERIFY.format(mib=8, jobs=1) +
              f'cut -c{RING_PACKED + 1} /sys/block/vda/device/features | sed s/^/PACKED-/\n')
    out, result = drive(place, options=['--transport', transport, '--rings', rings],
                        script=script)

    assert f'PACKED-{int(rings == "packed")}' in out, out
    assert 'FIO-GOOD' in out and 'FIO-BAD' not in out, out
    assert result['code'] == 0, out
    assert result['fsck'] == 0, result


@pytest.mark.parametrize('transport', ['pci', 'mmio'])
def test_verified_io_on_four_queues(place, transport):
    script = ('mount -t tmpfs tmpfs /tmp\n'
              'ls /sys/block/vdc/mq | wc -l | sed s/^/QUEUES-/\n'
              'fio --name=q --filename=/dev/vdc --size=4M --offset_increment=4M --numjobs=4 '
              '--bs=4k --rw=randwrite --iodepth=8 --ioengine=libaio --direct=1 --verify=crc32c '
              '--verify_fatal=1 --randrepeat=0 >/tmp/fio 2>&1 || { cat /tmp/fio; echo FIO-BAD; }\n'
              'grep -q "err= 0" /tmp/fio && echo FIO-GOOD\n')
    out, result = drive(place, script=script, scratch_mib=32,
                        options=['-c', '4', '--transport', transport, '--block',
                                 'path=@scratch,queues=4'])

    assert 'QUEUES-4' in out, out
    assert 'FIO-GOOD' in out and 'FIO-BAD' not in out, out
    assert result['code'] == 0


def test_driver_unbound_and_bound_again(place):
    script = """mount -t tmpfs tmpfs /tmp
sum=$(md5sum </dev/vdc)
dev=$(basename $(readlink -f /sys/block/vdc/device))
pci=$(basename $(readlink -f /sys/block/vdc/device/..))
for i in 1 2 3; do
  echo $dev >/sys/bus/virtio/drivers/virtio_blk/unbind
  [ -e /dev/vdc ] && echo STILL-THERE
  echo $dev >/sys/bus/virtio/drivers/virtio_blk/bind
  [ "$sum" = "$(md5sum </dev/vdc)" ] && echo REBOUND
  echo $pci >/sys/bus/pci/drivers/virtio-pci/unbind
  echo $pci >/sys/bus/pci/drivers/virtio-pci/bind
  [ "$sum" = "$(md5sum </dev/vdc)" ] && echo REPLUGGED
done
"""
    out, result = drive(place, script=script, scratch_mib=2, options=['-d', '@scratch'])

    assert out.count('REBOUND') == 3 and out.count('REPLUGGED') == 3, out
    assert 'STILL-THERE' not in out
    assert result['code'] == 0


def whole_blocks(path):
    """A copy, padded to be a disk, where guests can read it."""
    copy = cache_dir() / 'guest' / f'{os.path.basename(path)}.{os.getpid()}.disk'
    with open(path, 'rb') as source, open(copy, 'wb') as target:
        data = source.read()
        target.write(data + bytes(-len(data) % 512))
    os.chmod(copy, 0o644)
    atexit.register(os.unlink, copy)
    return copy


def test_kexec_finds_every_device_again(place, tmp_path):
    """The second kernel takes over devices that the first one left running."""
    kernel, initrd = kernels.get('6.1-cloud').bzimage, guests.disk('6.1-cloud')
    subprocess.run(['gcc', '-O2', '-static', '-o', tmp_path / 'kexec',
                    os.path.join(os.path.dirname(__file__), 'guest_kexec.c')], check=True)
    files = tmp_path / 'kexec', kernel, initrd
    sizes = [os.stat(path).st_size for path in files]
    script = f"""mount -t tmpfs tmpfs /tmp
if grep -q second=1 /proc/cmdline; then
  cmp -n {sizes[0]} /dev/vdc /root/kexec && echo SECOND-KERNEL-READS
else
  head -c {sizes[0]} /dev/vdc >/root/kexec; head -c {sizes[1]} /dev/vdd >/tmp/kernel
  head -c {sizes[2]} /dev/vde >/tmp/initrd; chmod +x /root/kexec; sync
  /root/kexec /tmp/kernel /tmp/initrd "$(cat /proc/cmdline) second=1"
fi
"""
    options = [word for path in files for word in ('-d', place.path(whole_blocks(path)))]
    out, result = drive(place, script=script, options=options)

    assert 'SECOND-KERNEL-READS' in out, out
    assert result['code'] == 0, out
    assert result['fsck'] == 0


@pytest.mark.parametrize('transport', ['pci', 'mmio'])
def test_sixty_four_devices(place, transport):
    """Two disks of the test's, 61 more and the entropy device."""
    out, result = drive(place, script='ls /sys/block | grep -c vd | sed s/^/DISKS-/\n'
                        'ls /sys/bus/virtio/devices | wc -l | sed s/^/DEVICES-/\n'
                        'cmp /dev/vdbk /dev/zero 2>&1 | grep -q EOF && echo LAST-READS\n',
                        options=['--no-balloon', '--transport', transport] +
                        ['-d', '@scratch'] * 61)

    assert 'DISKS-63' in out and 'DEVICES-64' in out, out
    assert 'LAST-READS' in out, out
    assert result['code'] == 0


PROMPT = 'root@guest:'


def test_systemd_boots_from_ext4(place):
    out, result = drive(place, type=[
        [PROMPT, 'systemctl --failed --no-legend | wc -l | sed s/^/FAILED-/\n'],
        ['FAILED-', 'findmnt -no SOURCE /\n'],
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


def latencies(out):
    """The longest request of each round of fio, in milliseconds."""
    units = {'nsec': 1e-6, 'usec': 1e-3, 'msec': 1.0}
    found = re.findall(r'^ +lat \((\w+)\):.* max= *([\d.]+)(k?)', out, re.M)
    return [float(most) * (1000 if k else 1) * units[unit] for unit, most, k in found]


def test_killed_under_verified_load(place):
    """The guest goes on until it is told, by a line on its console, that the kills are done.

    The reader works between the rounds of fio, too: a device that dies again and again and does
    nothing in between ends the machine.
    """
    script = ('mount -t tmpfs tmpfs /tmp\n'
              'while [ ! -e /tmp/done ]; do dd if=/dev/vda bs=4k iflag=direct; done '
              '>/dev/null 2>&1 &\n'
              '(read -r line </dev/console; : >/tmp/done) &\n'
              'echo KILL-FROM\n'
              'while [ ! -e /tmp/done ]; do ' + VERIFY.format(mib=8, jobs=1).replace('\n', ';') +
              ' grep "^ *lat (.*max" /tmp/fio; done\necho KILL-TO\n')
    out, result = drive(place, script=script, kills=KILLS, kill=['block0'],
                        timeout_s=PATIENCE_S + 2 * KILLS)

    print(f'{result["killed"]} kills, {out.count("FIO-GOOD")} rounds of verified I/O, '
          f'longest request of each in ms: {sorted(latencies(out))}')
    assert 'FIO-GOOD' in out and 'FIO-BAD' not in out, out
    assert result['killed'] == KILLS, result
    assert result['code'] == 0, out
    assert result['fsck'] == 0, result
    assert 'block0: killed by signal 9' in out
    counted = result['counters']['block0']
    assert not result['went_back'] and counted['writes'] > 0, result
    assert counted['written_bytes'] >= counted['writes'] * 512, result
