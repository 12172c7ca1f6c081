# SPDX-License-Identifier: BSD-3-Clause
"""The Debian package: built, checked by lintian, installed on a Debian system, and used there."""
import fcntl
import os
import re
import shutil
import subprocess

import pytest

import bare
import bare_guest
from guests import place as places
from testbed import kernels
import guests

TOP = places.TOP
HERE = TOP / 'build/package'
# What use_package.sh says, in this order.
USED = ['crosvm:x:', 'crosvm 0', 'USER crosvm', 'demo: running', 'LIST demo', 'running',
        'JAIL 1 own', 'JAIL 1 own', 'GUEST pressed', 'STOPPED success 0 0', 'LEFT 0 \n',
        'crosvm: the guest powered off', 'ENDED success 0 0', 'did not shut down within 2 s',
        'crosvm: stopped by command', 'LEFT 0 \n', 'RESTARTED ', 'TERMINATED success',
        'MISTAKE 2 0', 'No such file', 'PURGED']
EXPOSURE_MAX = 2.3


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


def test_installed_on_debian_it_is_a_service(packages, testbed, tmp_path):
    """Guests by crosvm@.service under systemd: started, looked at, asked to shut down, ended
    because they did not, started again, refused."""
    files = {'vmlinux': kernels.get('6.1-cloud').vmlinux, 'initrd': guests.button('6.1-cloud'),
             'halt.elf': tmp_path / 'halt.elf', 'reset.elf': tmp_path / 'reset.elf',
             'bare.elf': bare_guest.build()}
    files['halt.elf'].write_bytes(bare.elf(bare.HALT))
    files['reset.elf'].write_bytes(bare.elf(bare.out(0x64, 0xfe) + bare.HALT))
    done = testbed.run(['sh', TOP / 'tests/drive_service.sh', guests.squashfs(), packages,
                        TOP / 'tests/use_package.sh',
                        *(f'{name}={testbed.path(file)}' for name, file in files.items())],
                       timeout_s=300, root=True)
    assert done.code == 0, str(done)
    at = 0
    for words in USED:
        assert words in done.out[at:], f'{words}\n{done}'
        at = done.out.index(words, at) + len(words)
    exposure = re.search(r'exposure level for \S+: ([\d.]+)', done.out)
    assert float(exposure[1]) <= EXPOSURE_MAX
