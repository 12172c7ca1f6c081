# SPDX-License-Identifier: BSD-3-Clause
"""Debian's kernels, unpacked into the cache folder."""
import dataclasses
import os
import struct
import subprocess
import zlib
from pathlib import Path

from . import debian
from .cache import entry, key_of, locked, stamp_of

# name -> (suite, package that depends on the newest kernel)
KERNELS = {
    '5.10': ('bullseye', 'linux-image-amd64'),
    '5.10-cloud': ('bullseye', 'linux-image-cloud-amd64'),
    '6.1': ('bookworm', 'linux-image-amd64'),
    '6.1-cloud': ('bookworm', 'linux-image-cloud-amd64'),
    '6.12': ('bookworm-backports', 'linux-image-amd64'),
    '6.12-cloud': ('bookworm-backports', 'linux-image-cloud-amd64'),
}

UNPACKERS = {b'\xfd7': 'xz', b'\x02!': 'lz4', b'(\xb5': 'zstd', b'BZ': 'bzip2'}


@dataclasses.dataclass(frozen=True)
class Kernel:
    """One kernel: its release, the bzImage, and the folder its package was unpacked into."""
    name: str
    release: str
    bzimage: Path
    tree: Path

    @property
    def vmlinux(self):
        """The ELF file inside the bzImage."""
        name = f'vmlinux/{self.release}.{key_of(stamp_of(self.bzimage))}'
        return entry(name, lambda path: _write(path, extract_vmlinux(self.bzimage.read_bytes())))

    def modules(self, *names):
        """The module files to load for these, in order; a name the kernel lacks is left out."""
        index = self.tree / 'lib/modules' / self.release / 'modules.dep.bin'
        with locked(self.tree):
            if not index.exists():
                _run('depmod', '-b', self.tree, self.release)
        files = {}
        for name in names:
            for line in _run('modprobe', '-d', self.tree, '-S', self.release,
                             '--show-depends', name).splitlines():
                if line.startswith('insmod '):
                    files[Path(line.split()[1])] = None
        return list(files)


def _run(*command):
    path = os.environ.get('PATH', '') + ':/usr/sbin:/sbin'
    done = subprocess.run(command, capture_output=True, text=True, check=False,
                          env={**os.environ, 'PATH': path})
    return done.stdout


def _write(path, data):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def extract_vmlinux(image):
    """The payload of a bzImage, found by the setup header (boot protocol 2.08 and later)."""
    if image[0x202:0x206] != b'HdrS':
        raise ValueError('not a bzImage')
    offset, size = struct.unpack_from('<II', image, 0x248)
    start = ((image[0x1f1] or 4) + 1) * 512 + offset
    payload = image[start:start + size]
    tool = UNPACKERS.get(payload[:2])
    if not tool:
        return zlib.decompressobj(31).decompress(payload)
    # The payload ends with its unpacked size in four bytes, which are not the packer's.
    return subprocess.run([tool, '-dc'], input=payload[:-4], capture_output=True,
                          check=True).stdout


def get(name):
    """The kernel of this name, fetched when it is not in the cache yet."""
    suite, package = KERNELS[name]
    tree = debian.unpacked(suite, package, depends=r'linux-image-\d')
    bzimage, = (tree / 'boot').glob('vmlinuz-*')
    return Kernel(name, bzimage.name.removeprefix('vmlinuz-'), bzimage, tree)
