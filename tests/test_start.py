# SPDX-License-Identifier: BSD-3-Clause
"""The guest runs while devices open their files; whoever needs one of them waits for it."""
import os
import signal
import socket
import subprocess

import pytest

import bare
from guests import place as places

BUILD, ENDED, HAS_FEATURES = 4, 64, 65
PATIENCE_S = 60
RUN = ['run', '--debug-exit', '--no-rng', '--no-balloon', '--transport', 'mmio']
DEVICE_FEATURES = 0xE0000010  # of the first device (arch/x86_64/layout.h)

END = bare.out(0xf4, 0) + bare.HALT
# Says "a", reads the features; writes 1 to the debug-exit port if there are any.
TOUCH = (bare.out(0x3f8, ord('a')) + b'\xbb' + DEVICE_FEATURES.to_bytes(4, 'little') +
         b'\x8b\x03' +                  # mov eax, [rbx]
         b'\x85\xc0\x0f\x95\xc0' +      # test eax, eax; setnz al
         b'\x66\xba\xf4\x00\xee' + bare.HALT)

pytestmark = pytest.mark.skipif(not os.access('/dev/kvm', os.R_OK | os.W_OK),
                                reason='no access to /dev/kvm')


@pytest.fixture(name='folder')
def fixture_folder(tmp_path):
    """Guests and disks."""
    (tmp_path / 'end').write_bytes(bare.elf(END))
    (tmp_path / 'touch').write_bytes(bare.elf(TOUCH))
    (tmp_path / 'disk').write_bytes(bytes(1 << 20))
    (tmp_path / 'text').write_text('no image')
    return tmp_path


def start(folder, *options):
    """The program, with pipes."""
    return subprocess.Popen([places.program(), *RUN, *options], cwd=folder,
                            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                            stderr=subprocess.PIPE, text=True)


@pytest.mark.parametrize('sandbox', [[], ['--disable-sandbox']])
def test_guest_waits_for_the_device_that_it_reads_of(folder, sandbox):
    with start(folder, '--block', 'disk', *sandbox, 'touch') as vm:
        out, errors = vm.communicate(timeout=PATIENCE_S)

    assert vm.returncode == HAS_FEATURES, errors
    assert out == 'a'


@pytest.mark.parametrize('guest', ['end', 'touch'])
@pytest.mark.parametrize('more', [[], ['--block', 'path=disk,ro'] * 3])
def test_device_that_cannot_open_decides_the_end(folder, guest, more):
    with start(folder, *more, '--qcow', 'text', *more, guest) as vm:
        _, errors = vm.communicate(timeout=PATIENCE_S)

    assert vm.returncode == BUILD
    assert errors.count('\n') == 1 and 'not a qcow2 image' in errors


def test_guest_runs_though_a_device_does_not_answer_and_can_be_ended(folder):
    with socket.socket(socket.AF_UNIX) as mute:
        mute.bind(str(folder / 'mute'))
        mute.listen()
        with start(folder, '--vhost-user', 'block,socket=mute', 'touch') as vm:
            assert vm.stdout.read(1) == 'a'
            vm.send_signal(signal.SIGTERM)
            _, errors = vm.communicate(timeout=PATIENCE_S)

    assert vm.returncode == 128 + signal.SIGTERM
    assert 'SIGTERM' in errors
