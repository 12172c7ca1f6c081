# SPDX-License-Identifier: BSD-3-Clause
"""Guests that are asked to shut down, by their power button."""
import os
import subprocess

import pytest

import bare
import bare_guest
import vms

ERROR = 1
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
