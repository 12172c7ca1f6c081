# SPDX-License-Identifier: BSD-3-Clause
"""Many machines: at once, and one after the other with nothing left of any."""
import json
import os
import re
import signal
import socket
import subprocess
import time
from pathlib import Path

import pytest

import bare
from guests import place as places
import vms

AT_ONCE = 100
STARTS = int(os.environ.get('CROSVM_TEST_STARTS', '50'))
DEVICES = 16  # that are restarted in each round
ROUNDS = max(2, STARTS // DEVICES)
COMMANDS = 10 * STARTS
FILES_ROOM, SLAB_ROOM_KIB = 200, 64 << 10  # others use this machine, too
LOG_ROOM_KIB = 256  # the log and the flight recorder fill; costs() counts some of it twice
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


def kernel_use():
    """Open files of the whole host, and KiB of the kernel's memory that it cannot free at will."""
    files = int(Path('/proc/sys/fs/file-nr').read_text(encoding='ascii').split()[0])
    text = Path('/proc/meminfo').read_text(encoding='ascii')
    return files, int(re.search(r'^SUnreclaim: +(\d+)', text, re.M)[1])


def below(limits):
    """Whether that is less."""
    return all(used < limit for used, limit in zip(kernel_use(), limits))


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
    before = kernel_use()
    for n in range(STARTS):
        for name in ends:
            done = crosvm('run', *OPTIONS, '--block', f'path={disk}', '-s', tmp_path / f'{n}.sock',
                          tmp_path / name)
            codes[name].add(done.returncode)
    assert codes['quits'] == {64} and len(codes['crashes']) == 1 and codes['crashes'] != {0}
    assert not gone(mark)
    assert sorted(path.name for path in tmp_path.iterdir()) == ['crashes', 'disk', 'quits']
    limits = before[0] + FILES_ROOM + STARTS // 10, before[1] + SLAB_ROOM_KIB
    end = time.monotonic() + PATIENCE_S
    while not below(limits) and time.monotonic() < end:  # what others have will be gone, too
        time.sleep(0.5)
    assert below(limits), (kernel_use(), limits)


def costs(pid):
    """Open files and KiB of memory of its own, of a process."""
    place = Path('/proc') / str(pid)
    text = (place / 'smaps_rollup').read_text()
    own = sum(int(line.split()[1]) for line in text.splitlines()
              if line.startswith(('Private_Dirty', 'Anonymous')))
    return len(list((place / 'fd').iterdir())), own


def named(mark, name):
    """The only process of the test with that name."""
    found = [pid for pid in processes(mark)
             if (Path('/proc') / str(pid) / 'comm').read_text().strip() == name]
    assert len(found) == 1, found
    return found[0]


def ask(client, line):
    """One command on an open connection; the reply."""
    client.sendall(line + b'\n')
    reply = b''
    while not reply.endswith(b'\n'):
        part = client.recv(1 << 16)
        assert part, reply
        reply += part
    return json.loads(reply)


def restart_all(client):
    """Kills every device's process, and waits until all are there again."""
    before = {device['name']: device['restarts'] for device in ask(client, b'status')['devices']}
    for device in ask(client, b'status')['devices']:
        os.kill(device['pid'], signal.SIGKILL)
    end = time.monotonic() + PATIENCE_S
    while any(device['state'] != 'running' or device['restarts'] == before[device['name']]
              for device in ask(client, b'status')['devices']):
        assert time.monotonic() < end
        time.sleep(0.02)
    time.sleep(1.1)  # a device that dies sooner is given up after a few times


@pytest.mark.skipif(os.geteuid() != 0, reason='only root sees what a jailed process has open')
def test_restarts_and_commands_cost_nothing(tmp_path, mark):
    kernel, sock = tmp_path / 'halt.elf', tmp_path / 'vm.sock'
    kernel.write_bytes(bare.elf(bare.HALT))
    with vms.running([places.program(), 'run', *OPTIONS, *['--rng'] * DEVICES, '--no-balloon',
                      '-s', sock, kernel], stderr=subprocess.DEVNULL) as vm:
        end = time.monotonic() + PATIENCE_S
        client = socket.socket(socket.AF_UNIX)
        client.settimeout(PATIENCE_S)
        while client.connect_ex(str(sock)):
            assert vm.poll() is None and time.monotonic() < end
            time.sleep(0.02)
        pids = vm.pid, named(mark, 'crosvm-respawn')
        restart_all(client)  # what is used from the second time on is there now
        before = [costs(pid) for pid in pids]
        for _ in range(ROUNDS):
            restart_all(client)
        for _ in range(COMMANDS):
            assert ask(client, b'status')['ok']
        for (files, memory), pid in zip(before, pids):
            now_files, now_memory = costs(pid)
            assert now_files == files
            assert now_memory <= memory + LOG_ROOM_KIB
        ask(client, b'stop')
        client.close()
        assert vm.wait(timeout=PATIENCE_S) == 0
    assert not gone(mark)
