# SPDX-License-Identifier: BSD-3-Clause
"""Commands to a running machine, and its balloon, with guests of a few instructions."""
import json
import os
import signal
import socket
import subprocess
import time

import pytest

import bare
from guests import place as places

USAGE, HOST = 2, 3
MIB = 1 << 20
PATIENCE_S = 20

pytestmark = pytest.mark.skipif(not os.access('/dev/kvm', os.R_OK | os.W_OK),
                                reason='no access to /dev/kvm')


class Machine:
    """A halted guest with a control socket."""

    def __init__(self, folder, *options):
        self.path, kernel = folder / 'vm.sock', folder / 'halt.elf'
        kernel.write_bytes(bare.elf(bare.HALT))
        # pylint: disable=consider-using-with
        self.process = subprocess.Popen(
            [places.program(), 'run', '-s', self.path, '--serial', 'sink', *options, kernel],
            stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        self.client = self.said = None
        until(lambda: self._dial() or self.process.poll() is not None)

    def _dial(self):
        client = socket.socket(socket.AF_UNIX)
        client.settimeout(PATIENCE_S)
        try:
            client.connect(str(self.path))
        except OSError:
            client.close()
            return False
        self.client = client
        return True

    def ask(self, line, client=None):
        """The reply to one line."""
        client = client or self.client
        client.sendall(line.encode() + b'\n')
        return read_reply(client)

    def device(self, name):
        """What status says of a device."""
        return {d['name']: d for d in self.ask('status')['devices']}[name]

    def end(self):
        """Whatever state it is in."""
        if self.client:
            self.client.close()
        if self.process.poll() is None:
            self.process.kill()
        if self.said is None:
            self.said = self.process.communicate()[1]
        return self.said


def read_reply(client):
    """The next line, as JSON."""
    reply = b''
    while not reply.endswith(b'\n'):
        piece = client.recv(1 << 16)
        assert piece, 'hung up'
        reply += piece
    return json.loads(reply)


def until(condition):
    """Waits for it."""
    end = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < end, 'it did not come'
        time.sleep(0.01)


@pytest.fixture(name='start')
def fixture_start(tmp_path):
    """start(option...) makes a machine."""
    machines = []

    def start(*options):
        machines.append(Machine(tmp_path, *map(str, options)))
        return machines[-1]
    yield start
    for machine in machines:
        machine.end()


def test_balloon_by_pages_and_to_a_size(crosvm, start):
    vm = start('-m', '512', '--balloon', 'policy=off')
    target = []
    for words in (['25600'], ['-256'], ['+1'], ['-99999999'], ['99999999'], ['--target', '64M'],
                  ['--target=1T'], ['--target', '0']):
        done = crosvm('balloon', '--json', *words, vm.path)
        assert done.returncode == 0, done.stderr
        target.append(json.loads(done.stdout)['target_bytes'])
    assert target == [100 * MIB, 99 * MIB, 99 * MIB + 4096, 0, 512 * MIB, 64 * MIB, 512 * MIB, 0]
    assert crosvm('balloon', '256', vm.path).stdout == \
        f'{vm.path}: the balloon is to hold 1 MiB, of at most 512\n'
    until(lambda: vm.device('balloon0')['reports']['target_bytes'] == MIB)


@pytest.mark.parametrize('words', [['balloon'], ['balloon', 'SOCKET'], ['balloon', '1'],
                                   ['balloon', 'x', 'SOCKET'], ['balloon', '--target', '1G'],
                                   ['disk', 'SOCKET'], ['disk', 'eject', 'SOCKET', 'block0', '1'],
                                   ['link', 'SOCKET', 'net0'], ['limit', 'SOCKET'],
                                   ['balloon-stats'], ['balloon', '--bogus', '1', 'SOCKET']])
def test_wrong_words_are_told(crosvm, words):
    done = crosvm(*['/no/such' if word == 'SOCKET' else word for word in words])
    assert done.returncode == USAGE
    assert done.stderr.startswith(f'crosvm: {words[0]}: ')


def test_machines_without_the_device_say_so(crosvm, start):
    vm = start('--no-balloon', '--no-rng')
    for words, said in [(['balloon', '1', vm.path], 'balloon: the VM has no balloon'),
                        (['balloon-stats', vm.path], 'balloon-stats: there is no balloon device'),
                        (['disk', 'resize', vm.path, 'block0', '1G'],
                         'block-resize: there is no block device "block0"; status lists them')]:
        done = crosvm(*words)
        assert done.returncode == 1
        assert done.stderr == f'crosvm: {vm.path}: {said}\n'


def test_balloon_that_was_killed_is_told_again(start):
    vm = start('-m', '512', '--balloon', 'policy=off')
    vm.ask('balloon target=32M')
    until(lambda: vm.device('balloon0')['reports']['target_bytes'] == 32 * MIB)
    os.kill(vm.device('balloon0')['pid'], signal.SIGKILL)
    until(lambda: vm.device('balloon0')['restarts'] == 1)
    until(lambda: vm.device('balloon0').get('reports', {}).get('target_bytes') == 32 * MIB)
    assert vm.ask('balloon')['target_bytes'] == 32 * MIB


def test_stuck_device_holds_up_nobody(start):
    vm = start('-m', '512', '--balloon', 'policy=off')
    pid = vm.device('balloon0')['pid']
    os.kill(pid, signal.SIGSTOP)
    waiting = socket.socket(socket.AF_UNIX)
    waiting.connect(str(vm.path))
    waiting.settimeout(PATIENCE_S)
    waiting.sendall(b'balloon-hint\n')
    before = time.monotonic()
    for i in range(100):
        assert vm.ask(f'balloon target={i}M')['target_bytes'] == i * MIB
        assert vm.ask('help')['ok']
    assert time.monotonic() - before < 1, 'not one of 200 waited for the device'
    assert vm.device('balloon0')['error'] == 'no answer'
    assert vm.device('rng0')['reports']['type'] == 'rng'
    assert read_reply(waiting) == {'ok': False, 'error': 'balloon0: no answer'}
    os.kill(pid, signal.SIGCONT)
    until(lambda: vm.device('balloon0').get('reports', {}).get('target_bytes') == 99 * MIB)
    assert vm.ask('balloon-hint', waiting)['error'].startswith('balloon0: the guest has no driver')
    waiting.close()


def test_hostile_clients_are_not_noticed(start):
    vm = start('--balloon', 'policy=off')
    others = []
    for said in (b'x' * 100000 + b'\n', b'\0\xff\n' * 100, b'status\n' * 1000, b'balloon ',
                 b'{"ok":true}\n' * 100, b''):
        others.append(socket.socket(socket.AF_UNIX))
        others[-1].connect(str(vm.path))
        others[-1].setblocking(False)
        try:
            others[-1].send(said)
        except BlockingIOError:
            pass
    for _ in range(50):
        assert vm.ask('status')['ok']
    others[0].settimeout(PATIENCE_S)
    assert read_reply(others[0])['error'] == 'the line is longer than 4095 bytes'
    assert vm.ask('help', others[0])['ok'], 'and goes on'
    for other in others:
        other.close()
    assert vm.ask('suspend')['ok'] and vm.ask('resume')['ok']


def test_policy_fills_the_balloon_of_a_host_that_stays_short(start):
    """The margin is more than any host has; 16 s of the policy's clock are less than one."""
    vm = start('-m', '2048', '--balloon', 'policy=psi,margin=64T,speed=20')
    if vm.process.poll() is not None:
        said = vm.end()
        assert 'policy=psi: ' in said and 'policy=off does without' in said
        pytest.skip('no PSI here')
    until(lambda: vm.device('balloon0').get('reports', {}).get('target_bytes') == 1024 * MIB)
    status = vm.ask('status')['balloon']
    assert status['policy'] == 'psi' and status['floor_bytes'] == 0
    assert 0 < status['host_available_bytes'] < status['host_margin_bytes']
    assert vm.ask('balloon target=0')['target_bytes'] == 0


def test_policy_that_the_host_lacks_is_an_error_only_if_asked_for(start):
    if os.path.exists('/dev/chromeos-low-mem'):
        pytest.skip('this is ChromeOS')
    vm = start('-m', '2048', '--balloon', 'policy=chromeos')
    vm.process.wait(PATIENCE_S)
    assert vm.process.returncode == HOST
    assert vm.end() == ('crosvm: --balloon policy=chromeos: /dev/chromeos-low-mem: '
                        'No such file or directory; check the path; policy=off does without\n')
