# SPDX-License-Identifier: BSD-3-Clause
"""What a VM leaves of which some or all processes were killed."""
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

import bare
import bare_guest
from guests import place as places
import vms
from vms import PATIENCE_S, crosvm

DIED_TOO_OFTEN = 36


@pytest.fixture(name='start')
def fixture_start(tmp_path):
    """Starts VMs."""
    if not bare_guest.has_kvm():
        pytest.skip('needs /dev/kvm here')
    with vms.started(tmp_path) as start:
        yield start


def children(pid):
    """{name: pid} of the processes of a VM."""
    found = {}
    for place in Path('/proc').glob('[0-9]*'):
        try:
            parent = (place / 'stat').read_text().rpartition(')')[2].split()[1]
            if int(parent) == pid:
                found[(place / 'comm').read_text().strip()] = int(place.name)
        except OSError:
            pass  # it has ended
    return found


def kill_respawn(vm):
    """Kills the process that would remove the socket; waits until that is noticed."""
    os.kill(children(vm.process.pid)['crosvm-respawn'], signal.SIGKILL)
    vm.wait_for(lambda: 'the process that starts devices again is gone, killed by signal 9' in
                vm.log())


def test_stop_removes_the_socket_that_the_vm_cannot(start):
    vm = start(bare.HALT)
    kill_respawn(vm)
    assert crosvm('status', vm.socket).returncode == 0
    err = vm.end()

    assert vm.process.returncode == 0
    assert err.endswith('files of its sockets stay behind\ncrosvm: stopped by command\n')
    assert not vm.socket.exists()


def test_device_that_cannot_be_started_again_ends_the_vm(start, tmp_path):
    vm = start(bare.HALT, '--trace-file', tmp_path / 'trace')
    kill_respawn(vm)
    os.kill(vm.device('rng0'), signal.SIGKILL)
    _, err = vm.process.communicate(timeout=PATIENCE_S)

    assert vm.process.returncode == DIED_TOO_OFTEN, err
    last = err.splitlines()[-1]
    assert last.startswith("crosvm: rng0: killed by signal 9 (KILL); and can't be started again: "
                           "rng0: no answer from the process that starts it"), err
    assert 'rng0 killed by signal 9' in err, 'the last events are logged'
    assert 'trace' not in err and not (tmp_path / 'trace').exists()


@pytest.mark.skipif(not bare_guest.has_kvm(), reason='needs /dev/kvm here')
def test_name_of_a_vm_of_which_all_was_killed_is_free(tmp_path, monkeypatch):
    monkeypatch.setenv('XDG_RUNTIME_DIR', str(tmp_path))
    elf = tmp_path / 'guest.elf'
    elf.write_bytes(bare.elf(bare.HALT))
    words = [places.program(), 'run', '--name', 'gone', '--serial', 'sink', elf]
    sock = tmp_path / 'crosvm/gone.sock'

    def listed():
        done = crosvm('list')
        assert (done.returncode, done.stderr) == (0, '')
        return done.stdout

    for _ in range(2):  # the second one finds what the first left
        with vms.running(words, stderr=subprocess.DEVNULL) as vm:
            end = time.monotonic() + PATIENCE_S
            while crosvm('status', 'gone').returncode != 0:
                assert vm.poll() is None and time.monotonic() < end
                time.sleep(0.02)
            assert 'gone ' in listed()
            pids = [vm.pid, *children(vm.pid).values()]
            for number in signal.SIGSTOP, signal.SIGKILL:  # so that none sees another's end
                for pid in pids:
                    os.kill(pid, number)
            vm.wait(timeout=PATIENCE_S)
        assert sock.exists()
        assert listed() == 'no VM with a name is running; crosvm run --name NAME gives it one\n'
        done = crosvm('status', 'gone')
        assert done.returncode == 1 and 'no VM listens there any more' in done.stderr
