# SPDX-License-Identifier: BSD-3-Clause
"""Many machines: at once, and one after the other with nothing left of any."""
import json
import os
import subprocess
import time
from pathlib import Path

import pytest

import bare
from guests import place as places

AT_ONCE = 100
STARTS = int(os.environ.get('CROSVM_TEST_STARTS', '50'))
PATIENCE_S = 120
OPTIONS = ['--serial', 'sink', '-m', '32', '--debug-exit']

pytestmark = pytest.mark.skipif(not os.access('/dev/kvm', os.R_OK | os.W_OK),
                                reason='no access to /dev/kvm')


def processes(mark):
    """Those whose command line or environment has the mark: machines of one test and theirs."""
    found = []
    for place in Path('/proc').glob('[0-9]*'):
        try:
            text = (place / 'cmdline').read_bytes() + (place / 'environ').read_bytes()
        except OSError:
            continue
        if mark.encode() in text and int(place.name) != os.getpid():
            found.append(int(place.name))
    return found


def gone(mark):
    """Waits for the last of them to be reaped; what remains."""
    end = time.monotonic() + 10
    while (left := processes(mark)) and time.monotonic() < end:
        time.sleep(0.05)
    return left


@pytest.fixture(name='mark')
def fixture_mark(tmp_path, monkeypatch):
    """A word in the environment of everything that the test starts."""
    mark = f'CROSVM_TEST_MARK={tmp_path}'
    monkeypatch.setenv(*mark.split('=', 1))
    return mark


def test_a_hundred_at_once(crosvm, tmp_path, mark):
    kernel = tmp_path / 'halt.elf'
    kernel.write_bytes(bare.elf(bare.HALT))
    sockets = [tmp_path / f'{n}.sock' for n in range(AT_ONCE)]
    vms = [subprocess.Popen([places.program(), 'run', *OPTIONS, '-s', sock, kernel],
                            stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
           for sock in sockets]
    try:
        waiting, end = set(sockets), time.monotonic() + PATIENCE_S
        while waiting and time.monotonic() < end and any(vm.poll() is None for vm in vms):
            waiting = {sock for sock in waiting
                       if not sock.exists() or crosvm('status', sock).returncode != 0}
        assert not waiting, [vm.stderr.read() for vm in vms if vm.poll() is not None]
        for sock in sockets:
            status = json.loads(crosvm('status', '--json', sock).stdout)
            assert status['state'] == 'running'
            assert {device['state'] for device in status['devices']} == {'running'}
        assert crosvm('stop', *sockets, timeout_s=PATIENCE_S).returncode == 0
        assert [vm.wait(timeout=PATIENCE_S) for vm in vms] == [0] * AT_ONCE
        assert {vm.stderr.read() for vm in vms} == {'crosvm: stopped by command\n'}
    finally:
        for vm in vms:
            vm.kill()
            vm.communicate()
    assert not gone(mark)
    assert [path.name for path in tmp_path.iterdir()] == ['halt.elf']


def test_nothing_is_left_of_machines_that_ended(crosvm, tmp_path, mark):
    disk = tmp_path / 'disk'
    with open(disk, 'wb') as file:
        file.truncate(1 << 20)
    ends = {'quits': bare.out(0xf4, 0), 'crashes': b'\x0f\x0b'}
    for name, code in ends.items():
        (tmp_path / name).write_bytes(bare.elf(code + bare.HALT))
    codes = {name: set() for name in ends}
    for n in range(STARTS):
        for name in ends:
            done = crosvm('run', *OPTIONS, '--block', f'path={disk}', '-s', tmp_path / f'{n}.sock',
                          tmp_path / name)
            codes[name].add(done.returncode)
    assert codes['quits'] == {64} and len(codes['crashes']) == 1 and codes['crashes'] != {0}
    assert not gone(mark)
    assert sorted(path.name for path in tmp_path.iterdir()) == ['crashes', 'disk', 'quits']
