# SPDX-License-Identifier: BSD-3-Clause
"""Limits of open files: what a machine of many devices needs, and what is said when it is less."""
import os
import resource
import subprocess

import pytest

import bare
import bare_guest
from guests import place as places
import vms
from vms import PATIENCE_S, crosvm

DEVICES = 64
NEEDS = 3700  # of the main process, with 8 queue pairs each
NOT_BUILT = 4

pytestmark = pytest.mark.skipif(not bare_guest.has_kvm(), reason='needs /dev/kvm here')


def limited(soft, hard):
    """What sets the limits of a program."""
    return lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.fixture(name='words')
def fixture_words(tmp_path):
    """A machine of as many disks as there may be, without other devices."""
    (tmp_path / 'guest').write_bytes(bare.elf(bare.out(0xf4, 0) + bare.HALT))
    disks = []
    for n in range(DEVICES):
        with open(tmp_path / f'disk{n}', 'wb') as file:
            file.truncate(1 << 20)
        disks += ['--block', f'disk{n}']
    return [places.program(), 'run', '-m', '32', '--serial', 'sink', '--debug-exit', '--no-rng',
            '--no-balloon', *disks, 'guest']


def run(words, folder, **how):
    """Runs a machine to its end."""
    return subprocess.run(words, cwd=folder, stdin=subprocess.DEVNULL, capture_output=True,
                          text=True, check=False, timeout=PATIENCE_S, **how)


def test_low_limit_that_may_be_raised_does_not_matter(words, tmp_path):
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    done = run(words, tmp_path, preexec_fn=limited(64, hard))

    assert done.returncode == bare_guest.PASSED, done.stderr


@pytest.mark.parametrize('hard', [24, 60, 100, 150, 300, 500])
def test_limit_that_is_too_low_is_named_with_the_remedy(words, tmp_path, hard):
    done = run(words, tmp_path, preexec_fn=limited(hard, hard))

    assert done.returncode not in (bare_guest.PASSED, 1), done.stderr
    assert done.stderr.endswith(': Too many open files; raise the limit of open files (ulimit -n, '
                                'LimitNOFILE= of a unit)\n'), done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_descriptors_that_the_parent_left_open_do_not_matter(words, tmp_path):
    if resource.getrlimit(resource.RLIMIT_NOFILE)[1] < NEEDS:
        pytest.skip(f'needs a limit of {NEEDS} open files')
    with open('/dev/null', 'rb') as null:
        fds = [os.dup(null.fileno()) for _ in range(1100)]
    try:
        done = run(words, tmp_path, pass_fds=fds)
    finally:
        for fd in fds:
            os.close(fd)

    assert done.returncode == bare_guest.PASSED, done.stderr


TAPS = f'''
for n in $(seq {DEVICES}); do ip tuntap add many$n mode tap multi_queue || exit; done
exec "$@"
'''


@pytest.mark.skipif(os.geteuid() != 0 or not os.access('/dev/net/tun', os.R_OK | os.W_OK),
                    reason='makes taps: needs to be root, and /dev/net/tun')
def test_as_many_cards_with_all_their_queues_as_there_may_be(tmp_path):
    if resource.getrlimit(resource.RLIMIT_NOFILE)[1] < NEEDS:
        pytest.skip(f'needs a limit of {NEEDS} open files')
    (tmp_path / 'guest').write_bytes(bare.elf(bare.HALT))
    cards = [word for n in range(DEVICES) for word in ('--net', f'tap=many{n + 1},queues=8')]
    with vms.started(tmp_path) as start:
        vm = start(bare.HALT, '-m', '32', '--serial', 'sink', '--no-rng', '--no-balloon', *cards,
                   inside=['unshare', '--net', 'sh', '-c', TAPS, 'sh'])
        vm.kill('net63')
        vm.wait_for(lambda: crosvm('status', vm.socket).stdout.count(' running ') == DEVICES)
        err = vm.end()

    assert vm.process.returncode == 0, err
    assert err == ('crosvm: net63: killed by signal 9 (KILL); started again\n'
                   'crosvm: stopped by command\n')
