# SPDX-License-Identifier: BSD-3-Clause
"""Guests that are asked to shut down, by their power button."""
import json
import os
import socket
import subprocess

import pytest

import bare
import bare_guest
from guests import place as places
from testbed import kernels
import guests
import vms

ERROR = 1
# Guests of drive_power.py; the long form has those that do not shut down.
LINUX = ['listens', *(['ignores', 'lacks'] if os.environ.get('CROSVM_TEST_POWER') else [])]
DEAF = 'does not listen to its power button'

needs_kvm = pytest.mark.skipif(not bare_guest.has_kvm(),
                               reason='talks to a guest while it runs: needs /dev/kvm here')


class Guest:
    """The bare guest that has a power button, up to where it listens."""

    def __init__(self, folder, *options, params):
        self.socket = folder / 'vm.sock'
        # pylint: disable=consider-using-with
        self.process = subprocess.Popen(
            bare_guest.command(bare_guest.build(), 'button', '-s', self.socket, *options,
                               params=params),
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.hear('listening')

    def hear(self, line):
        """Its next line is this."""
        assert self.process.stdout.readline() == line + '\n'

    def wait(self):
        """Its exit code, and what else was said."""
        out, err = self.process.communicate(timeout=bare_guest.PATIENCE_S)
        return self.process.returncode, out, err


@pytest.fixture(name='start')
def fixture_start(tmp_path):
    """start(option..., params=...) makes a guest; none is left."""
    guests = []

    def start(*options, params):
        guests.append(Guest(tmp_path, *options, params=params))
        return guests[-1]
    yield start
    for guest in guests:
        guest.process.kill()
        guest.process.communicate()


def press(guest):
    """Presses the button; it has come when this returns."""
    done = vms.crosvm('powerbtn', guest.socket)
    assert (done.returncode, done.stdout, done.stderr) == (0, '', '')


@needs_kvm
@pytest.mark.parametrize('options', [[], ['--disable-sandbox'], ['-c', '4']], ids=' '.join)
def test_guest_sees_every_press_and_powers_off(start, options):
    guest = start(*options, params='presses=3 off=1')
    for _ in range(3):
        press(guest)
        guest.hear('pressed')
    code, out, err = guest.wait()
    assert (code, out) == (0, ''), err
    assert err == 'crosvm: the guest powered off\n'
    assert not os.path.exists(guest.socket)


@needs_kvm
def test_presses_are_commands_in_the_flight_recorder(start):
    guest = start(params='presses=9')
    press(guest)
    guest.hear('pressed')
    assert 'powerbtn' in vms.crosvm('trace', guest.socket).stdout


@needs_kvm
def test_guest_that_does_not_listen_is_told_of(tmp_path):
    with vms.started(tmp_path) as start:
        vm = start(bare.HALT, '--serial', 'sink')
        done = vms.crosvm('powerbtn', vm.socket)
        assert done.returncode == ERROR
        assert len(done.stderr.splitlines()) == 1
        assert done.stderr.startswith(f'crosvm: {vm.socket}: powerbtn: the guest {DEAF}: ')
        assert vms.crosvm('powerbtn', '--json', vm.socket).stdout.startswith(
            '{"ok":false,"error":"powerbtn: the guest ')
        assert vms.crosvm('suspend', vm.socket).returncode == 0
        done = vms.crosvm('powerbtn', vm.socket)
        assert done.stderr == (f'crosvm: {vm.socket}: powerbtn: the VM is suspended; '
                               'resume lets it go on\n')
        assert vm.end() == 'crosvm: stopped by command\n'


@needs_kvm
def test_stop_asks_and_waits(start):
    guest = start(params='presses=1 off=1')
    done = vms.crosvm('stop', '--ask=30', guest.socket)
    assert (done.returncode, done.stdout, done.stderr) == (0, '', '')
    code, _, err = guest.wait()
    assert (code, err) == (0, 'crosvm: the guest powered off\n')


@needs_kvm
def test_stop_ends_a_guest_that_does_not_shut_down(start):
    guest = start(params='deaf=1')
    done = vms.crosvm('stop', '--ask=1', '--timeout', '30', guest.socket)
    assert (done.returncode, done.stdout) == (0, '')
    assert done.stderr == (f'crosvm: warning: {guest.socket}: ended although the guest did not '
                           'shut down within 1 s\n')
    code, out, err = guest.wait()
    assert (code, out, err) == (0, '', 'crosvm: stopped by command\n')


@needs_kvm
def test_stop_ends_what_cannot_be_asked(tmp_path):
    with vms.started(tmp_path) as start:
        vm = start(bare.HALT, '--serial', 'sink')
        assert vms.crosvm('suspend', vm.socket).returncode == 0
        done = vms.crosvm('stop', '--ask', vm.socket)
        assert done.returncode == 0
        assert done.stderr == (f'crosvm: warning: {vm.socket}: ended unasked: powerbtn: the VM is '
                               'suspended; resume lets it go on\n')
        assert vm.process.wait(vms.PATIENCE_S) == 0


@needs_kvm
def test_stop_that_waits_may_lose_its_connection(start):
    guest = start(params='presses=2 off=1')
    with vms.running([places.program(), 'stop', '--ask=30', guest.socket]) as stop:
        guest.hear('pressed')
        for _ in range(2):  # sixteen are served
            others = [socket.socket(socket.AF_UNIX) for _ in range(16)]
            for other in others:
                other.connect(str(guest.socket))
                other.sendall(b'help\n')
                assert other.recv(4096)
            for other in others:
                other.close()
        assert stop.poll() is None
        press(guest)
        assert stop.wait(vms.PATIENCE_S) == 0
    assert guest.wait()[0] == 0


def test_linux_guests_are_asked(place):
    done = places.python(place, 'drive_power.py', guests.button('6.1-cloud'),
                         kernels.get('6.1-cloud').vmlinux, *LINUX, timeout_s=120)
    assert done.code == 0, str(done)
    seen = json.loads(done.out)
    assert list(seen) == LINUX
    assert seen['listens'] == {'asked': [0, ''], 'code': 0,
                               'guest': 'GUEST button=Power_Button\nGUEST pressed',
                               'machine': 'crosvm: the guest powered off\n'}
    if 'ignores' in seen:
        assert seen['ignores'] == {
            'asked': [0, 'crosvm: warning: SOCKET: ended although the guest did not shut down '
                         'within 2 s\n'],
            'code': 0, 'guest': 'GUEST button=ignored', 'machine': 'crosvm: stopped by command\n'}
    if 'lacks' in seen:
        assert seen['lacks']['asked'][0] == ERROR and DEAF in seen['lacks']['asked'][1]
        assert seen['lacks']['code'] == 0
