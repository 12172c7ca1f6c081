# SPDX-License-Identifier: BSD-3-Clause
"""a jailed disk, beside a bare io_uring loop and qemu-storage-daemon, on the same file

The driver, tools/bench/block.c, is the same for both back ends.  SECONDS and ROUNDS may be set in
the environment; DISK names a file other than one of 512 MiB in /var/tmp.
"""
import os
import subprocess
import sys
import tempfile
from pathlib import Path

TOP = Path(__file__).resolve().parent.parent.parent
BUILD = TOP / 'build'
DISK_BYTES = 512 << 20


def disk(folder):
    if 'DISK' in os.environ:
        return Path(os.environ['DISK'])
    path = folder / 'disk.img'
    with open(path, 'wb') as out:
        for _ in range(DISK_BYTES >> 20):
            out.write(os.urandom(1 << 20))
        os.fsync(out.fileno())
    return path


def back_ends(folder, path, direct):
    """[(name, socket, process)], ours first."""
    ours, theirs = folder / 'crosvm.sock', folder / 'qsd.sock'
    started = [('crosvm', ours, subprocess.Popen(
        [BUILD / 'src' / 'crosvm', 'device', 'block', '--socket', ours,
         f'path={path},ro' + (',direct' if direct else '')]))]
    started.append(('qemu-storage-daemon', theirs, subprocess.Popen(
        ['qemu-storage-daemon',
         '--blockdev', f'driver=file,node-name=file,filename={path},read-only=on,aio=io_uring,'
         f'cache.direct={"on" if direct else "off"}',
         '--blockdev', 'driver=raw,node-name=disk,file=file,read-only=on',
         '--export', 'type=vhost-user-blk,id=export,node-name=disk,addr.type=unix,'
         f'addr.path={theirs},writable=off'])))
    return started


def measure(program, folder, path, mode):
    started = back_ends(folder, path, mode == 'direct')
    try:
        subprocess.run([program, path, mode, os.environ.get('SECONDS', '1'),
                        os.environ.get('ROUNDS', '5'),
                        *[f'{name}={socket}' for name, socket, _ in started]],
                       check=True, timeout=600)
    finally:
        for _, socket, process in started:
            process.terminate()
            process.wait()
            socket.unlink(missing_ok=True)


def main():
    subprocess.run(['ninja', '-C', BUILD, 'tools/bench/bench-block'], check=True,
                   stdout=subprocess.DEVNULL)
    with tempfile.TemporaryDirectory(dir='/var/tmp') as name:
        folder = Path(name)
        path = disk(folder)
        for mode in 'cached', 'direct':
            measure(BUILD / 'tools' / 'bench' / 'bench-block', folder, path, mode)


if __name__ == '__main__':
    sys.exit(main())
