# SPDX-License-Identifier: BSD-3-Clause
"""A directory or a tar archive as the guest's root file system."""
import os
import re
import socket
import subprocess
import tarfile
from pathlib import Path

import pytest

import bare
import bare_guest
from guests.place import program
from testbed import kernels
from testbed.cache import cache_dir
import vms

INIT = '''#!/bin/sh
B=/bin/busybox
echo "ROOT $($B awk '$2 == "/" { print $3 }' /proc/mounts | $B tail -1) pid=$$ $*"
echo written >/kept && echo "WRITTEN $($B cat /kept)"
echo "OWNER $($B stat -c %u:%g /sbin/init) $($B ls /dev/hwrng 2>/dev/null)"
echo "BUTTON $($B cat /sys/class/input/event0/device/name)"
$B poweroff -f
'''


@pytest.fixture(name='tree', scope='module')
def fixture_tree():
    """A folder that guests' place has, too: busybox, and an init that says what it sees."""
    path = cache_dir() / 'guest' / f'rootfs-test.{os.getpid()}'
    (path / 'sbin').mkdir(parents=True)
    for name in ('bin', 'dev', 'proc', 'sys'):
        (path / name).mkdir()
    subprocess.run(['cp', '/bin/busybox', path / 'bin'], check=True)
    os.symlink('busybox', path / 'bin/sh')
    (path / 'sbin/init').write_text(INIT, encoding='utf-8')
    (path / 'sbin/init').chmod(0o755)
    os.chown(path / 'sbin/init', 0 if os.geteuid() else 1000, -1)
    with tarfile.open(f'{path}.tar.gz', 'w:gz') as archive:
        archive.add(path, '.')
    yield path
    subprocess.run(['rm', '-rf', path, f'{path}.tar.gz'], check=True)


@pytest.mark.skipif(not bare_guest.has_kvm(), reason='looks at the image: needs /dev/kvm here')
def test_strange_files_are_packed_as_what_they_are(tmp_path):
    folder = tmp_path / 'folder'
    folder.mkdir()
    (tmp_path / 'secret').write_text('nobody is to see this')
    for name in ('-exit', '$(id)', 'line\nbreak', 'x' * 255):
        (folder / name).write_text('odd')
    (folder / 'link').symlink_to('../secret')
    (folder / 'loop').symlink_to('loop')
    os.mkfifo(folder / 'pipe')
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(folder / 'socket'))
    with open(folder / 'sparse', 'wb') as file:
        file.truncate(256 << 20)
    (tmp_path / 'guest').write_bytes(bare.elf(bare.HALT))
    with vms.running([program(), 'run', '-m', '32', '--serial', 'sink',
                      '--disable-sandbox', '--rootfs', f'{folder},modules=none',
                      tmp_path / 'guest'], stderr=subprocess.PIPE,
                     text=True, env={**os.environ, 'TMPDIR': str(tmp_path)}) as vm:
        said = vm.stderr.readline()
        assert ': 1 MiB packed in ' in said, said
        fds = [fd for fd in Path(f'/proc/{vm.pid}/fd').iterdir()
               if f'{tmp_path}/crosvm.' in os.readlink(fd)]
        image = fds[0].read_bytes()
    (tmp_path / 'image').write_bytes(image)
    assert b'nobody is to see' not in image
    listed = subprocess.run(['unsquashfs', '-lls', tmp_path / 'image'], capture_output=True,
                            text=True, check=True).stdout
    kinds = {name: kind for kind, name in re.findall(
        r'^(.)\S+ .* squashfs-root/(link|loop|pipe|socket|sparse|-exit)\b', listed, re.M)}
    assert kinds == {'link': 'l', 'loop': 'l', 'pipe': 'p', 'socket': 's', 'sparse': '-',
                     '-exit': '-'}, listed


def boot(place, kernel, *options, **how):
    """Runs it with a root file system."""
    kernel.modules('virtio_pci')  # makes the index of its modules
    return place.run([program(), 'run', '-p', 'quiet', *options, kernel.bzimage], 180,
                     **how)


def test_directory_of_a_user_belongs_to_root_and_takes_writes(place, tree):
    done = boot(place, kernels.get('6.1-cloud'), '--rootfs', tree)

    assert 'ROOT overlay pid=1' in done.out and 'WRITTEN written' in done.out, str(done)
    assert 'OWNER 0:0 /dev/hwrng' in done.out and 'BUTTON Power Button' in done.out, str(done)
    assert done.code == 0 and 'MiB packed in' in done.err, str(done)
    assert not (tree / 'kept').exists()


def test_archive_as_root_without_writes_on_packed_modules(place, tree):
    """6.12's modules are packed with xz."""
    done = boot(place, kernels.get('6.12-cloud'), '--rootfs', f'{place.path(tree)}.tar.gz,ro',
                '--transport', 'mmio', '--no-rng', '-p', '-- -x')

    assert 'ROOT squashfs pid=1 -x' in done.out and 'WRITTEN' not in done.out, str(done)
    assert done.code == 0, str(done)


def test_system_without_an_init_gets_a_shell(place, tree):
    (tree / 'sbin/init').rename(tree / 'init.off')
    try:
        done = boot(place, kernels.get('6.1-cloud'), '--rootfs', tree, '--console', 'stdio',
                    '-p', 'console=hvc0',
                    stdin=b'echo SHELL-$$; tty; exit\n')
    finally:
        (tree / 'init.off').rename(tree / 'sbin/init')

    assert 'SHELL-' in done.out and '/dev/hvc0' in done.out and done.code == 0, str(done)
