# SPDX-License-Identifier: BSD-3-Clause
"""Writes initramfs archives (cpio "newc"), without root and the same bytes every time."""
import gzip
import lzma
import stat
from pathlib import Path


class Initrd:
    """A tree in memory; names are relative to the root, without a leading slash."""

    def __init__(self):
        self.rows = {}
        for folder in ('bin', 'dev', 'lib', 'proc', 'root', 'run', 'sys', 'tmp'):
            self.folder(folder)
        self.node('dev/console', stat.S_IFCHR | 0o600, 5, 1)

    def folder(self, name):
        """Adds a folder and those above it."""
        for parent in reversed(Path(name).parents):
            if str(parent) != '.':
                self.rows.setdefault(str(parent), (stat.S_IFDIR | 0o755, b'', 0, 0))
        self.rows[name] = (stat.S_IFDIR | 0o755, b'', 0, 0)

    def file(self, name, data, mode=0o644):
        """Adds a file; data is bytes, text, or the Path to copy."""
        if isinstance(data, Path):
            data = data.read_bytes()
        elif isinstance(data, str):
            data = data.encode()
        if '/' in name:
            self.folder(str(Path(name).parent))
        self.rows[name] = (stat.S_IFREG | mode, data, 0, 0)

    def link(self, name, target):
        """Adds a symbolic link."""
        self.rows[name] = (stat.S_IFLNK | 0o777, target.encode(), 0, 0)

    def node(self, name, mode, major, minor):
        """Adds a device node."""
        self.rows[name] = (mode, b'', major, minor)

    def busybox(self):
        """Adds the host's static busybox, as a shell."""
        self.file('bin/busybox', Path('/bin/busybox'), 0o755)
        self.link('bin/sh', 'busybox')

    def modules(self, files):
        """Adds kernel modules, and lib/order that lists them in the order to load."""
        names = [path.name.removesuffix('.xz') for path in files]
        for name, path in zip(names, files):
            data = path.read_bytes()
            self.file(f'lib/{name}', lzma.decompress(data) if path.suffix == '.xz' else data)
        self.file('lib/order', ''.join(f'{name}\n' for name in names))

    def pack(self):
        """The archive, compressed."""
        out = bytearray()
        for number, (name, row) in enumerate(self.rows.items(), 1):
            out += _record(number, name, *row)
        out += _record(0, 'TRAILER!!!', 0, b'', 0, 0)
        return gzip.compress(bytes(out), compresslevel=1, mtime=0)

    def write(self, path):
        """Writes the archive to a path."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(self.pack())


def _pad(data):
    return data + b'\0' * (-len(data) % 4)


def _record(number, name, mode, data, major, minor):
    links = 2 if stat.S_ISDIR(mode) else 1
    fields = (number, mode, 0, 0, links, 0, len(data), 0, 0, major, minor, len(name) + 1, 0)
    head = b'070701' + b''.join(b'%08X' % field for field in fields)
    return _pad(head + name.encode() + b'\0') + _pad(data)
