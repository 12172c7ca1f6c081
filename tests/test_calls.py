# SPDX-License-Identifier: BSD-3-Clause
"""Devices make the system calls of their lists: no other, and each of them.

The fake driver's tests, a front end that comes and goes, and a machine that gets commands are
watched by strace.
"""
import contextlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import time

import pytest

import bare
from guests import place as places

# Listed, yet not made in this run; by device, or for all.
ABORT = 'the words and the end of a process whose own check failed'
NOT_MADE = {
    '': {
        'clock_gettime': 'where the vDSO cannot tell the time',
        'restart_syscall': 'a wait that was stopped and continued',
        'getpid': ABORT, 'gettid': ABORT, 'rt_sigprocmask': ABORT, 'tgkill': ABORT,
    },
    'balloon': {'writev': ABORT},
    'block': {'writev': ABORT},
    'console': {},  # makes writev itself
    'net': {},
    'rng': {'writev': ABORT},
    'vsock': {'writev': ABORT},
}
# The architecture and the C library decide which one is made.
PAIRS = [{'epoll_pwait', 'epoll_wait'}, {'fstat', 'newfstatat'}, {'poll', 'ppoll'}]
TESTS = {'balloon': ['balloon'], 'block': ['block', 'block_limit', 'block_load'],
         'console': ['console', 'smoke'], 'net': ['net', 'net_ctrl', 'net_gate'],
         'rng': ['smoke'], 'vsock': ['vsock', 'vsock_trouble']}
PATIENCE_S = 60
# Taps are made in a network of the device's own, which an ordinary user may do.
NETWORK = ('unshare', '-n') if os.geteuid() == 0 else ('unshare', '-rn')
if not os.access('/dev/net/tun', os.R_OK | os.W_OK):
    del TESTS['net']

pytestmark = pytest.mark.skipif(not shutil.which('strace'), reason='strace is not installed')


class Trace:
    """Reads what strace wrote; calls[device] are those that a jailed process of it made."""

    def __init__(self, path):
        self.calls, self.process, self.device, self.jailed = {}, {}, {}, set()
        self.begun = {}
        for line in path.read_text(errors='replace').splitlines():
            tid, _, text = line.partition(' ')
            self._line(int(tid), text.strip())

    def _line(self, tid, text):
        call = re.match(r'(\w+)\((.*)', text)
        rest = re.match(r'<\.\.\. (\w+) resumed>(.*)', text)
        # strace 6.1 shows some that are killed as making the call that kills them.
        if text.startswith(('+++', f'kill({tid}, SIGKILL')):
            self._ended(tid)
        elif call:
            self._made(self.process.get(tid, tid), call[1])
            self.begun[tid] = call[2]
            self._done(tid, call[1], call[2])
        elif rest:
            self._done(tid, rest[1], self.begun.get(tid, '') + rest[2])

    def _made(self, pid, name):
        if pid in self.jailed:
            self.calls.setdefault(self.device[pid], set()).add(name)

    def _done(self, tid, name, text):
        pid = self.process.get(tid, tid)
        started = re.search(r'\["[^"]*crosvm", "device", "(\w+)"', text)
        new = re.search(r'\) = (\d+)$', text)
        if name == 'execve' and started:
            self.device[pid] = started[1]
        elif name in ('clone', 'clone3') and 'CLONE_THREAD' in text and new:
            self.process[int(new[1])] = pid
        elif name == 'seccomp' and 'SECCOMP_SET_MODE_FILTER' in text and pid in self.device:
            self.jailed.add(pid)

    def _ended(self, tid):
        """Numbers are used again."""
        if self.process.pop(tid, None) is None:
            self.jailed.discard(tid)
            self.device.pop(tid, None)


def strace(output, *argv):
    """The words that watch a command."""
    return ['strace', '-f', '-q', '-e', 'signal=none', '-s', '256', '-o', str(output), *argv]


def front_end_comes_and_goes(folder, device, *options):
    """A device that listens; its console waits for someone at a pseudoterminal, who comes."""
    sock, output = folder / f'{device}.sock', folder / f'{device}.listens'
    argv = strace(output, *(NETWORK if device == 'net' else ()), str(places.program()), 'device',
                  device, '--socket', str(sock), *options)
    with subprocess.Popen(argv, cwd=folder, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT) as process:
        until = time.monotonic() + PATIENCE_S
        while not (output.exists() and 'SET_MODE_FILTER' in output.read_text()):
            assert process.poll() is None and time.monotonic() < until
            time.sleep(0.05)
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(sock))
        held = []
        for path in re.findall(r'/dev/pts/\d+', output.read_text()):
            held.append(os.open(path, os.O_RDWR | os.O_NOCTTY))
        while 'accept4(' not in output.read_text() or held and 'poll(' not in output.read_text():
            assert time.monotonic() < until
            time.sleep(0.05)
        os.kill(int(output.read_text().split()[0]), signal.SIGTERM)
        process.wait(PATIENCE_S)
        for fd in held:
            os.close(fd)
    return Trace(output).calls.get(device, set())


@contextlib.contextmanager
def watched(argv):
    """A command under strace; what it watches ends, too, when a test of it fails."""
    with subprocess.Popen(argv, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                          start_new_session=True) as process:
        try:
            yield process
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)


def commands_come_in(folder):
    """Devices of a machine that are told what an operator may tell them; calls by device."""
    disk, image, guest = folder / 'raw', folder / 'image', folder / 'halt.elf'
    sock, output = folder / 'vm.sock', folder / 'machine'
    disk.write_bytes(bytes(1 << 20))
    guest.write_bytes(bare.elf(bare.HALT))
    crosvm = str(places.program())
    subprocess.run([crosvm, 'create_qcow2', image, '1M'], check=True)
    argv = strace(output, crosvm, 'run', '--serial', 'sink', '-s', str(sock), '--rwdisk', str(disk),
                  '--rwqcow', str(image), str(guest))
    with watched(argv) as process:
        until = time.monotonic() + PATIENCE_S
        while subprocess.run([crosvm, 'status', sock], capture_output=True,
                             check=False).returncode:
            assert process.poll() is None and time.monotonic() < until
            time.sleep(0.05)
        for words in (['disk', 'resize', sock, 'block0', '2M'],
                      ['disk', 'resize', sock, 'block1', '2M'],
                      ['limit', sock, 'block0', 'bps=1M,iops=100'], ['limit', sock, 'block1'],
                      ['balloon', '--target', '16M', sock], ['status', sock]):
            subprocess.run([crosvm, *words], check=True, stdout=subprocess.DEVNULL)
        status = json.loads(subprocess.run([crosvm, 'status', '--json', sock], check=True,
                                           stdout=subprocess.PIPE).stdout)
        assert {device['restarts'] for device in status['devices']} == {0}
        subprocess.run([crosvm, 'stop', sock], check=True)
        assert process.wait(PATIENCE_S) == 0
    assert disk.stat().st_size == 2 << 20
    return Trace(output).calls


def listed(device):
    """The calls that a device may make."""
    done = subprocess.run([places.program(), 'policy', device], capture_output=True, text=True,
                          check=True)
    return set(re.findall(r'^(\w+):', done.stdout, re.MULTILINE))


@pytest.fixture(scope='module', name='made')
def fixture_made(tmp_path_factory):
    """The calls made by the tests of devices and by devices that listen, by device."""
    folder = tmp_path_factory.mktemp('calls')
    (folder / 'disk').write_bytes(bytes(1 << 20))
    calls = {
        'balloon': front_end_comes_and_goes(folder, 'balloon'),
        'block': front_end_comes_and_goes(folder, 'block', 'disk'),
        'console': front_end_comes_and_goes(folder, 'console', 'type=pty'),
        'rng': front_end_comes_and_goes(folder, 'rng'),
        'vsock': front_end_comes_and_goes(folder, 'vsock', f'cid=3,socket={folder}/v'),
    }
    if 'net' in TESTS:
        calls['net'] = front_end_comes_and_goes(folder, 'net', 'tap=calls0')
    if os.access('/dev/kvm', os.R_OK | os.W_OK):
        for device, names in commands_come_in(folder).items():
            calls.setdefault(device, set()).update(names)
    else:
        NOT_MADE['block']['ftruncate'] = 'a disk that grows, by a command to a machine'
    for test in sorted({test for tests in TESTS.values() for test in tests}):
        program = places.program().parent / f'test-devices-{test}'
        if not program.exists():
            pytest.skip(f'{program} is not built')
        done = subprocess.run(strace(folder / test, str(program)), cwd=folder, timeout=240,
                              env={**os.environ, 'BLOCK_TEST_KILLS': '5'}, capture_output=True,
                              check=False)
        assert done.returncode == 0, done.stderr.decode()[-2000:]
        for device, names in Trace(folder / test).calls.items():
            calls.setdefault(device, set()).update(names)
    return calls


@pytest.mark.parametrize('device', TESTS)
def test_device_makes_no_call_that_is_not_listed(made, device):
    assert made[device] - listed(device) == set()


@pytest.mark.parametrize('device', TESTS)
def test_every_listed_call_is_made(made, device):
    left = listed(device) - made[device] - set(NOT_MADE['']) - set(NOT_MADE[device])

    assert left - set().union(*(pair for pair in PAIRS if pair & made[device])) == set()
