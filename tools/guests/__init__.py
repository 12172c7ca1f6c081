# SPDX-License-Identifier: BSD-3-Clause
"""What guests in tests are made of: kernels, initrds, disks; made once, kept in the cache folder.

marker.sh    /init that prints what the guest found and powers off, reboots, panics, or is a shell
memory.sh    /init that fills the page cache and lives on
button.sh    /init that shuts down when the power button is pressed
disk.sh      /init that loads the virtio modules and starts the system on a disk
demo.sh      makes a small Debian the demonstration's
mini.config  a small kernel with all of virtio built in, for measuring
"""
import os
import pwd
import re
import shutil
import subprocess
from pathlib import Path

from testbed import debian, kernels
from testbed.cache import cache_dir, entry, key_of, say
from testbed.initrd import Initrd

HERE = Path(__file__).parent
VIRTIO = ('virtio_pci', 'virtio_mmio', 'virtio_blk', 'virtio_net', 'virtio_console', 'virtio-rng',
          'virtio_balloon', 'vmw_vsock_virtio_transport', 'fuse', 'virtiofs', 'ext4', 'squashfs',
          'overlay')
# What the test file systems hold besides the minimal system.
PACKAGES = ('systemd', 'systemd-sysv', 'udev', 'kmod', 'iproute2', 'fio', 'iperf3', 'socat',
            'openssh-server', 'iputils-ping', 'ethtool', 'udhcpc')
DEMO_PACKAGES = ('systemd-sysv', 'udev', 'iproute2', 'iputils-ping', 'udhcpc')
DEMO_MODULES = ('virtio_pci', 'virtio_blk', 'virtio_net', 'virtio_console', 'virtio-rng',
                'virtio_balloon', 'squashfs', 'overlay')
ROOT_MIB = 1024
# systemd-free of waits: no first-boot questions, a root shell on the serial console.
CUSTOMIZE = '''set -eu
root=$1
echo guest >"$root/etc/hostname"
rm -f "$root/etc/machine-id" && : >"$root/etc/machine-id"
chroot "$root" passwd -d root >/dev/null
mkdir -p "$root/etc/systemd/system/serial-getty@ttyS0.service.d"
printf '[Service]\\nExecStart=\\nExecStart=-%s\\n' \\
    '/sbin/agetty --autologin root --noclear ttyS0 linux' \\
    >"$root/etc/systemd/system/serial-getty@ttyS0.service.d/login.conf"
rm -f "$root/etc/systemd/system/multi-user.target.wants/ssh.service" \\
    "$root/etc/systemd/system/sshd.service"
'''


def marker():
    """The initrd that prints a line "GUEST ..." and does what guest.do= says."""
    def make(path):
        archive = Initrd()
        archive.busybox()
        archive.file('init', HERE / 'marker.sh', 0o755)
        archive.write(path)
    key = key_of(HERE / 'marker.sh', Path('/bin/busybox'))
    return entry(f'guest/marker.{key}.initrd', make)


def disk(kernel_name, modules=VIRTIO):
    """The initrd that starts the system on /dev/vda under this kernel."""
    kernel = kernels.get(kernel_name)

    def make(path):
        archive = Initrd()
        archive.busybox()
        archive.file('init', HERE / 'disk.sh', 0o755)
        archive.modules(kernel.modules(*modules))
        archive.write(path)
    key = key_of(HERE / 'disk.sh', Path('/bin/busybox'), kernel.release, modules)
    return entry(f'guest/disk-{kernel_name}.{key}.initrd', make)


def button(kernel_name):
    """The initrd that knows its power button, under this kernel."""
    kernel = kernels.get(kernel_name)
    modules = ('button', 'evdev')

    def make(path):
        archive = Initrd()
        archive.busybox()
        archive.file('init', HERE / 'button.sh', 0o755)
        archive.modules(kernel.modules(*modules))
        archive.write(path)
    key = key_of(HERE / 'button.sh', Path('/bin/busybox'), kernel.release, modules)
    return entry(f'guest/button-{kernel_name}.{key}.initrd', make)


def memory(kernel_name):
    """The initrd that writes a large file to nowhere, under this kernel."""
    kernel = kernels.get(kernel_name)
    modules = ('virtio_pci', 'virtio_mmio', 'virtio_balloon', 'null_blk')

    def make(path):
        archive = Initrd()
        archive.busybox()
        archive.file('init', HERE / 'memory.sh', 0o755)
        archive.modules(kernel.modules(*modules))
        archive.write(path)
    key = key_of(HERE / 'memory.sh', Path('/bin/busybox'), kernel.release, modules)
    return entry(f'guest/memory-{kernel_name}.{key}.initrd', make)


def _run(*command, cwd=None):
    done = subprocess.run(command, cwd=cwd, stdin=subprocess.DEVNULL, capture_output=True,
                          text=True, check=False)
    if done.returncode:
        raise debian.PackageError(f'{command[0]}: {(done.stdout + done.stderr)[-2000:]}')


def _build_mini(path):
    debian.require('make', 'flex', 'bison', 'bc')
    source = debian.unpacked('bookworm', 'linux-source-6.1')
    say('building the small kernel; this takes minutes, once')
    work = path.with_name(path.name + '.work')
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    try:
        _run('tar', 'xf', source / 'usr/src/linux-source-6.1.tar.xz', '--strip-components=1',
             cwd=work)
        make = ('make', '-s', f'-j{os.cpu_count()}')
        _run(*make, 'tinyconfig', cwd=work)
        with open(work / '.config', 'a', encoding='utf-8') as config:
            config.write((HERE / 'mini.config').read_text(encoding='utf-8'))
        _run(*make, 'olddefconfig', cwd=work)
        _run(*make, 'vmlinux', 'bzImage', cwd=work)
        path.mkdir()
        shutil.copy(work / 'arch/x86/boot/bzImage', path / 'bzimage')
        _run('strip', '-o', path / 'vmlinux', work / 'vmlinux')
    finally:
        shutil.rmtree(work, ignore_errors=True)


def mini():
    """A folder with the small kernel: bzimage and vmlinux."""
    return entry(f'guest/mini.{key_of(HERE / "mini.config")}', _build_mini)


def _debootstrap_mode():
    """How to be root in the new tree: really, by a range of subordinate users, or by pretence."""
    if os.geteuid() == 0:
        return 'root'
    subordinate = Path('/etc/subuid').read_text(encoding='utf-8')
    user = pwd.getpwuid(os.geteuid()).pw_name
    return 'unshare' if re.search(rf'^{user}:', subordinate, re.M) else 'fakechroot'


def _bootstrap(path, packages, hook, *options):
    """A tar file of a small Debian with these packages, on which the script hook was run."""
    debian.require('mmdebstrap')
    say('putting together a small Debian for guests')
    archive, _ = debian.mirrors()
    faked = ('fakechroot', 'fakeroot') if _debootstrap_mode() == 'fakechroot' else ()
    _run(*faked, 'mmdebstrap', '--quiet', f'--mode={_debootstrap_mode()}', '--variant=minbase',
         f'--include={",".join(packages)}', *options,
         f'--customize-hook=sh {hook} "$1"', '--format=tar', 'bookworm', str(path),
         f'deb {archive} bookworm main')


def _build_tree(path):
    """A tar file of a small Debian with systemd."""
    path.parent.mkdir(parents=True, exist_ok=True)
    hook = path.with_name('customize.sh')
    hook.write_text(CUSTOMIZE, encoding='utf-8')
    _bootstrap(path, PACKAGES, hook)


def demo_root():
    """What the demonstration's guest has as its disk: squashfs, not compressed, so that it is read
    fast where the guest's processor is slow."""
    def make(path):
        debian.require('sqfstar')
        archive = path.with_name(path.name + '.tar')
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            _bootstrap(archive, DEMO_PACKAGES, HERE / 'demo.sh',
                       *(f'--dpkgopt=path-exclude=/usr/share/{name}/*'
                         for name in ('doc', 'info', 'locale', 'man')))
            with open(archive, 'rb') as data:
                subprocess.run(['sqfstar', '-quiet', '-no-progress', '-root-mode', '755', '-noI',
                                '-noD', '-noF', '-noX', path], stdin=data, check=True,
                               stderr=subprocess.DEVNULL)
        finally:
            archive.unlink(missing_ok=True)
    return entry(f'guest/demo.{key_of(HERE / "demo.sh", DEMO_PACKAGES)}.squashfs', make)


def _pack(path, script):
    """Unpacks the tree, as root or as if, and runs a script on it: $1 the tree, $2 the result."""
    tree = entry(f'guest/root.{key_of(PACKAGES, CUSTOMIZE)}.tar', _build_tree)
    work = cache_dir() / 'guest' / f'{path.name}.tree'
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir()
    script = f'tar xf {tree} -C "$1" && {script}'
    faked = () if os.geteuid() == 0 else ('fakeroot',)
    try:
        _run(*faked, 'sh', '-c', script, 'sh', work, path)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def ext4():
    """A small Debian as an ext4 image; copy it before writing to it."""
    name = f'guest/root.{key_of(PACKAGES, CUSTOMIZE, ROOT_MIB)}.ext4'
    return entry(name, lambda path: _pack(
        path, f'PATH=$PATH:/usr/sbin:/sbin mkfs.ext4 -q -L root -d "$1" "$2" {ROOT_MIB}M'))


def squashfs():
    """The same as squashfs."""
    name = f'guest/root.{key_of(PACKAGES, CUSTOMIZE)}.squashfs'
    return entry(name, lambda path: _pack(path, 'mksquashfs "$1" "$2" -quiet -no-progress '
                                                '-comp zstd'))


def artefacts():
    """{name: function that makes it and returns its path}."""
    made = {'marker.initrd': marker, 'mini.bzimage': lambda: mini() / 'bzimage',
            'mini.vmlinux': lambda: mini() / 'vmlinux', 'root.ext4': ext4,
            'root.squashfs': squashfs, 'demo.squashfs': demo_root}
    for name in kernels.KERNELS:
        made[f'{name}.bzimage'] = lambda name=name: kernels.get(name).bzimage
        made[f'{name}.vmlinux'] = lambda name=name: kernels.get(name).vmlinux
        made[f'{name}.initrd'] = lambda name=name: disk(name)
    return made
