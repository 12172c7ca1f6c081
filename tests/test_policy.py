# SPDX-License-Identifier: BSD-3-Clause
"""--seccomp-policy-dir: policies as crosvm policy prints them, and what lacks a line."""
import json
import subprocess
import time

import pytest

import bare
import bare_guest
from guests import place as places
import vms

pytestmark = pytest.mark.skipif(not bare_guest.has_kvm(),
                                reason='watches processes while a guest runs: needs /dev/kvm here')

OPTIONS = {'balloon': [], 'block': ['--rwdisk', 'disk'], 'console': ['--console', 'type=pty'],
           'rng': []}
NOT_BUILT, DIED_TOO_OFTEN = 4, 36
ANSWER_LIMIT_S = 10  # of a device that lives and is silent


@pytest.fixture(name='folder')
def fixture_folder(tmp_path):
    """A folder with a guest that halts, a disk and all policies."""
    (tmp_path / 'kernel').write_bytes(bare.elf(bare.HALT))
    (tmp_path / 'disk').write_bytes(bytes(1 << 20))
    for device in OPTIONS:
        done = subprocess.run([places.program(), 'policy', device], capture_output=True,
                              check=True)
        (tmp_path / f'{device}_device.policy').write_bytes(done.stdout)
    return tmp_path


def without(folder, device, *calls):
    """Takes lines out of a policy."""
    path = folder / f'{device}_device.policy'
    lines = path.read_text().splitlines(keepends=True)
    left = [line for line in lines if line.partition(':')[0] not in calls]
    assert len(left) < len(lines)
    path.write_text(''.join(left))


def command(*options):
    """The words that start the guest with those policies."""
    return [places.program(), 'run', '-s', 'sock', '--serial', 'sink', '--seccomp-policy-dir', '.',
            *options, 'kernel']


def run(folder, *options):
    """Runs the guest to its end."""
    return subprocess.run(command(*options), cwd=folder, capture_output=True, text=True,
                          timeout=bare_guest.PATIENCE_S, stdin=subprocess.DEVNULL, check=False)


def running(folder):
    """What status says of the guest, once every device runs; None until then."""
    done = subprocess.run([places.program(), 'status', '--json', 'sock'], cwd=folder,
                          capture_output=True, check=False)
    answer = json.loads(done.stdout) if done.returncode == 0 and done.stdout else {}
    return answer if answer.get('state') == 'running' else None


def test_printed_policies_suffice(folder):
    options = [word for words in OPTIONS.values() for word in words]
    with vms.running(command(*options), cwd=folder, stderr=subprocess.DEVNULL) as guest:
        until = time.monotonic() + bare_guest.PATIENCE_S
        while not running(folder):
            assert guest.poll() is None and time.monotonic() < until
            time.sleep(0.05)
        devices = running(folder)['devices']
        guest.kill()

    assert {device['type'] for device in devices} == set(OPTIONS)
    assert {(device['state'], device['restarts']) for device in devices} == {('running', 0)}


@pytest.mark.parametrize('device', OPTIONS)
def test_missing_call_at_the_start_is_reported(folder, device):
    without(folder, device, 'recvmsg')
    started = time.monotonic()
    done = run(folder, *OPTIONS[device])

    assert done.returncode == NOT_BUILT
    assert time.monotonic() - started < ANSWER_LIMIT_S  # nobody waits for the dead
    assert (f'{device}0: killed by its seccomp filter: system call recvmsg; allow it in '
            f'src/devices/{device}.c or with --seccomp-policy-dir DIR') in done.stderr


def test_missing_call_while_the_guest_runs_is_reported(folder):
    """The console looks from time to time whether somebody holds its pseudoterminal."""
    without(folder, 'console', 'poll', 'ppoll')
    done = run(folder, *OPTIONS['console'])

    assert 'console0: killed by its seccomp filter: system call poll; allow it in ' \
        'src/devices/console.c or with --seccomp-policy-dir DIR; started again' in done.stderr
    assert done.returncode == DIED_TOO_OFTEN
    assert 'died' in done.stderr.splitlines()[-1]
