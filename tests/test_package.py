# SPDX-License-Identifier: BSD-3-Clause
"""The Debian package: built, checked by lintian, installed on a Debian system, and used there."""
import fcntl
import os
import shutil
import subprocess

import pytest

from guests import place as places
from testbed import kernels, l1
import guests

TOP = places.TOP
HERE = TOP / 'build/package'
# A Debian system becomes the root: nothing of this machine's is seen, and no chroot, in which there
# are no user namespaces.
INSTALL = '''set -e
mkdir /run/low /run/up && mount -t tmpfs tmpfs /run/up && mkdir /run/up/u /run/up/w /run/debian
mount -t squashfs -o loop "$1" /run/low
mount -t overlay -o lowerdir=/run/low,upperdir=/run/up/u,workdir=/run/up/w overlay /run/debian
cd /run/debian
mkdir srv/deb srv/old
cp "$2"/*.deb srv/deb; cp "$3" srv/vmlinux; cp "$4" srv/initrd; printf '%s' "$6" >srv/use
mount --bind /dev dev; mount -t proc proc proc
exec unshare -m sh -c 'mount --make-rprivate / && pivot_root . srv/old && cd / &&
\tumount -l /srv/old && exec sh /srv/use "$1"' sh "$5"
'''
USE = '''set -e
dpkg -i /srv/deb/*.deb >/srv/log 2>&1 || { cat /srv/log; exit 1; }
getent passwd crosvm | grep '^crosvm:.*:/var/lib/crosvm:'
crosvm version
crosvm create_qcow2 /srv/d.qcow2 1G
printf 'kernel = /srv/vmlinux\\ninitrd = /srv/initrd\\nparams = quiet\\n' >/etc/crosvm/vm.conf
setpriv --reuid=crosvm --regid=crosvm --groups="$1" --no-new-privs \\
\tcrosvm run --cfg /etc/crosvm/vm.conf
echo "ENDED $?"
dpkg -P crosvm libqcow-utils-dev libqcow-utils1 >/dev/null
ls /usr/bin/crosvm /usr/lib/*/libqcow_utils* 2>/dev/null || echo PURGED
'''


def run(*argv, **how):
    done = subprocess.run([str(word) for word in argv], capture_output=True, text=True,
                          check=False, **how)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    return done.stdout


@pytest.fixture(scope='module', name='packages')
def fixture_packages():
    """The folder with the packages, built from what git tracks, once for all workers."""
    this_run = os.environ.get('PYTEST_XDIST_TESTRUNUID', str(os.getpid()))
    HERE.parent.mkdir(exist_ok=True)
    with open(HERE.parent / 'package.lock', 'a+', encoding='ascii') as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        lock.seek(0)
        if lock.read() != this_run:
            _build()
            lock.truncate(0)
            lock.write(this_run)
    return HERE


def _build():
    shutil.rmtree(HERE, ignore_errors=True)
    source = HERE / 'source'
    source.mkdir(parents=True)
    files = run('git', '-C', TOP, 'ls-files', '-z').split('\0')
    for name in filter(None, files):
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(TOP / name, source / name, follow_symlinks=False)
    run('dpkg-buildpackage', '-us', '-uc', '-b', cwd=source,
        env={**os.environ, 'DEB_BUILD_OPTIONS': 'noautodbgsym parallel=2'})


def test_lintian_finds_nothing(packages):
    changes = next(packages.glob('*.changes'))
    assert run('lintian', '--pedantic', '--allow-root', changes) == ''


def test_program_links_with_the_installed_library(packages, tmp_path):
    for package in packages.glob('libqcow-utils*.deb'):
        run('dpkg-deb', '-x', package, tmp_path)
    (tmp_path / 'make.c').write_text(
        '#include <qcow_utils.h>\n'
        'int main(int c, char **v) { return create_qcow_with_size(c > 1 ? v[1] : 0, 1 << 20); }\n')
    flags = run('pkg-config', '--cflags', '--libs', 'libqcow_utils',
                env={**os.environ, 'PKG_CONFIG_LIBDIR': next(tmp_path.glob('usr/lib/*/pkgconfig')),
                     'PKG_CONFIG_SYSROOT_DIR': str(tmp_path),
                     'PKG_CONFIG_ALLOW_SYSTEM_CFLAGS': '1',
                     'PKG_CONFIG_ALLOW_SYSTEM_LIBS': '1'}).split()
    for kind, extra in (('shared', []), ('static', ['-static'])):
        program = tmp_path / kind
        run('gcc', '-o', program, tmp_path / 'make.c', *flags, *extra)
        image = tmp_path / f'{kind}.qcow2'
        run(program, image, env={'LD_LIBRARY_PATH': str(next(tmp_path.glob('usr/lib/*-gnu')))})
        assert '"virtual-size": 1048576' in run('qemu-img', 'info', '--output=json', image)


def test_service_is_what_systemd_understands(packages, tmp_path):
    run('dpkg-deb', '-x', next(packages.glob('crosvm_*.deb')), tmp_path)
    unit = (tmp_path / 'usr/lib/systemd/system/crosvm@.service').read_text()
    local = tmp_path / 'crosvm@vm.service'
    local.write_text(unit.replace('/usr/bin', f'{tmp_path}/usr/bin').replace('man:', 'file:/'))
    if not shutil.which('systemd-analyze'):
        pytest.skip('systemd-analyze is missing: package systemd')
    done = subprocess.run(['systemd-analyze', 'verify', local], capture_output=True, text=True,
                          check=False)
    assert 'crosvm@vm' not in done.stderr, done.stderr


def test_installed_on_debian_it_boots_a_guest(packages, testbed):
    kernel = kernels.get('6.1-cloud').vmlinux
    words = [guests.squashfs(), packages, kernel, guests.marker(), l1.kvm_gid(), USE]
    done = testbed.run(['sh', '-c', INSTALL, 'sh', *map(str, words)], timeout_s=150, root=True)
    assert done.code == 0, str(done)
    assert 'GUEST ' in done.out and 'ENDED 0' in done.out and 'PURGED' in done.out, str(done)

