# SPDX-License-Identifier: BSD-3-Clause
"""a jailed disk on a qcow2 image, beside the same on a raw file and beside qemu-storage-daemon

Reads: the image is fully allocated.  Writes: it is new, and grows from end to end.  The driver,
tools/bench/block.c, is the same for all.  SECONDS and ROUNDS may be set in the environment.
"""
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

TOP = Path(__file__).resolve().parent.parent.parent
BUILD = TOP / 'build'
PROGRAM = BUILD / 'tools' / 'bench' / 'bench-block'
DISK_BYTES = 512 << 20
ROUNDS = int(os.environ.get('ROUNDS', '5'))


def ours(folder, name, path, image_format, options):
    """Our disk: (name, socket, process)."""
    socket = folder / f'{name}.sock'
    return name, socket, subprocess.Popen(
        [BUILD / 'src' / 'crosvm', 'device', 'block', '--socket', socket,
         f'path={path},format={image_format}{options}'])


def theirs(folder, name, path, direct, writable):
    """The disk of qemu-storage-daemon."""
    socket = folder / f'{name}.sock'
    read_only = 'off' if writable else 'on'
    return name, socket, subprocess.Popen(
        ['qemu-storage-daemon',
         '--blockdev', f'driver=file,node-name=file,filename={path},read-only={read_only},'
         f'aio=io_uring,cache.direct={"on" if direct else "off"}',
         '--blockdev', f'driver=qcow2,node-name=disk,file=file,read-only={read_only}',
         '--export', 'type=vhost-user-blk,id=export,node-name=disk,addr.type=unix,'
         f'addr.path={socket},writable={"on" if writable else "off"}'])


def end(started):
    """Ends them all."""
    for _, socket, process in started:
        process.terminate()
        process.wait()
        socket.unlink(missing_ok=True)


def reads(folder):
    """A fully allocated image."""
    raw, image, copy = folder / 'raw', folder / 'qcow2', folder / 'copy'
    with open(raw, 'wb') as out:
        for _ in range(DISK_BYTES >> 20):
            out.write(os.urandom(1 << 20))
    for path in image, copy:
        subprocess.run(['qemu-img', 'convert', '-f', 'raw', '-O', 'qcow2', raw, path], check=True)
    subprocess.run(['sync'], check=True)
    for mode in 'cached', 'direct':
        direct = ',direct' if mode == 'direct' else ''
        started = [ours(folder, 'crosvm-raw', raw, 'raw', ',ro' + direct),
                   ours(folder, 'crosvm-qcow2', image, 'qcow2', ',ro' + direct),
                   theirs(folder, 'qemu-qcow2', copy, bool(direct), False)]
        try:
            subprocess.run([PROGRAM, raw, mode, os.environ.get('SECONDS', '1'), str(ROUNDS),
                            *[f'{name}={socket}' for name, socket, _ in started]],
                           check=True, timeout=900)
        finally:
            end(started)
    for path in raw, image, copy:
        path.unlink()


def fresh(path, image_format):
    """A new image without data."""
    path.unlink(missing_ok=True)
    subprocess.run(['qemu-img', 'create', '-q', '-f', image_format, path, str(DISK_BYTES)],
                   check=True)


def writes(folder):
    """Images that grow."""
    path, size = folder / 'new', folder / 'size'
    with open(size, 'wb') as out:
        out.truncate(DISK_BYTES)
    found = {}
    for _ in range(ROUNDS):
        for name, image_format, start in (
                ('crosvm-raw', 'raw', lambda: ours(folder, 'a', path, 'raw', '')),
                ('crosvm-qcow2', 'qcow2', lambda: ours(folder, 'b', path, 'qcow2', '')),
                ('qemu-qcow2', 'qcow2', lambda: theirs(folder, 'c', path, False, True))):
            fresh(path, image_format)
            started = [start()]
            try:
                done = subprocess.run([PROGRAM, size, 'fill', '0', '1', f'x={started[0][1]}'],
                                      check=True, timeout=300, capture_output=True, text=True)
            finally:
                end(started)
            found.setdefault(name, []).append([float(word) for word in done.stdout.split()])
            subprocess.run(['sync'], check=True)
    print('allocating writes, 256 KiB, depth 4, cached')
    for name, rows in found.items():
        rate, cpu = (statistics.median(row[i] for row in rows) for i in (0, 1))
        base = statistics.median(row[0] for row in found['crosvm-raw'])
        print(f'  {name:22} {rate:10.0f} MB/s   {rate / base:6.3f} of raw   {cpu:8.3f} s of CPU')


def main():
    """Runs both."""
    subprocess.run(['ninja', '-C', BUILD, 'tools/bench/bench-block'], check=True,
                   stdout=subprocess.DEVNULL)
    with tempfile.TemporaryDirectory(dir='/var/tmp') as name:
        reads(Path(name))
        writes(Path(name))


if __name__ == '__main__':
    sys.exit(main())
