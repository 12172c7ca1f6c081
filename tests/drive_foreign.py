# SPDX-License-Identifier: BSD-3-Clause
"""drive_foreign.py CROSVM JSON - our back ends under QEMU, foreign back ends under us.

JSON: what: "qemu", "storage-daemon" or "virtiofsd"; kernel, initrd, root.  Prints what the guest
and the helpers say.  Exit status: 0 when the guest powered off and every helper ended as it should.
"""
import json
import os
import subprocess
import sys
import tempfile
import time

import driving

MIB = 512
VIRTIOFSD = '/usr/lib/qemu/virtiofsd'
BEGIN = driving.PATH + 'mount -t tmpfs tmpfs /tmp\n'
DISK_WORK = '''dd if=/dev/urandom of=/root/f bs=64k count=32 2>/dev/null
sum=$(md5sum </root/f); sync
echo 3 >/proc/sys/vm/drop_caches
[ "$sum" = "$(md5sum </root/f)" ] && echo DISK-GOOD'''
SHARE_WORK = '''mount -t virtiofs shared /mnt && cat /mnt/hello && echo from-the-guest >/mnt/answer
mkdir /mnt/d && mv /mnt/answer /mnt/d/ && ls -l /mnt/d && umount /mnt && echo SHARE-GOOD'''


def wait_for(path):
    """Until a back end listens."""
    for _ in range(600):
        if os.path.exists(path):
            return
        time.sleep(0.05)
    sys.exit(f'{path} did not appear')


def helper(*command):
    """A program beside the guest."""
    return subprocess.Popen([str(word) for word in command], stdin=subprocess.DEVNULL,
                            stdout=sys.stdout, stderr=subprocess.STDOUT)


def write_script(work):
    """The guest's script as a raw disk."""
    driving.write_disk('.', BEGIN + work + driving.SYNC_AND_OFF)


def under_qemu(crosvm, job):
    """QEMU's guest on two disks of ours."""
    write_script(DISK_WORK)
    devices = []
    helpers = []
    for name, image in (('a', 'path=root'), ('b', 'path=script,ro')):
        helpers.append(helper(crosvm, 'device', 'block', '--socket', f'{name}.sock', image))
        wait_for(f'{name}.sock')
        devices += ['-chardev', f'socket,id={name},path={name}.sock',
                    '-device', f'vhost-user-blk-pci,chardev={name},num-queues=1']
    code = subprocess.run(
        ['qemu-system-x86_64', '-M', 'pc,memory-backend=ram', '-accel', 'kvm', '-cpu', 'host',
         '-m', str(MIB), '-object', f'memory-backend-memfd,id=ram,size={MIB}M,share=on',
         '-nodefaults', '-no-user-config', '-display', 'none', '-serial', 'stdio', '-no-reboot',
         *devices, '-kernel', job['kernel'], '-initrd', job['initrd'],
         '-append', 'console=ttyS0 quiet root=/dev/vda rw guest.run=/dev/vdb'],
        stdin=subprocess.DEVNULL, check=False).returncode
    for one in helpers:
        one.terminate()
        one.wait(10)
    return code


def run_crosvm(crosvm, job, *options):
    """Our guest; returns the exit status."""
    return subprocess.run(
        [crosvm, 'run', '-m', str(MIB), '-i', job['initrd'], *options, job['kernel']],
        stdin=subprocess.DEVNULL, check=False).returncode


def over_storage_daemon(crosvm, job):
    """Our guest on a disk that QEMU's storage daemon serves."""
    write_script(DISK_WORK)
    daemon = helper('qemu-storage-daemon', '--blockdev', 'driver=file,node-name=f,filename=root',
                    '--export', 'type=vhost-user-blk,id=e,addr.type=unix,addr.path=q.sock,'
                    'node-name=f,writable=on')
    wait_for('q.sock')
    code = run_crosvm(crosvm, job, '--vhost-user', 'block,socket=q.sock', '-d', 'script',
                      '-p', 'quiet root=/dev/vda rw guest.run=/dev/vdb')
    daemon.terminate()
    daemon.wait(10)
    return code


def over_virtiofsd(crosvm, job):
    """A folder of the host's, mounted in our guest."""
    write_script(SHARE_WORK)
    os.mkdir('share')
    with open('share/hello', 'w', encoding='utf-8') as file:
        file.write('hello-from-the-host\n')
    helper(VIRTIOFSD, '--socket-path=v.sock', '-o', f'source={os.getcwd()}/share', '-o',
           'sandbox=chroot')
    wait_for('v.sock')
    code = run_crosvm(crosvm, job, '--rwdisk', 'root', '-d', 'script',
                      '--vhost-user', 'fs,socket=v.sock,tag=shared',
                      '-p', 'quiet root=/dev/vda rw guest.run=/dev/vdb')
    with open('share/d/answer', encoding='utf-8') as file:
        print('ANSWER', file.read())
    return code


def main():
    """Drives it; returns the exit status."""
    crosvm, job = sys.argv[1], json.loads(sys.argv[2])
    os.chdir(tempfile.mkdtemp())
    subprocess.run(['cp', '--sparse=always', job['root'], 'root'], check=True)
    os.chmod('root', 0o600)
    drivers = {'qemu': under_qemu, 'storage-daemon': over_storage_daemon,
               'virtiofsd': over_virtiofsd}
    return drivers[job['what']](crosvm, job)


sys.exit(main())
