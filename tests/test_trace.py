# SPDX-License-Identifier: BSD-3-Clause
"""The flight recorder: `crosvm trace`, and what a VM that ended badly leaves.  Native guests."""
import json
import re

import pytest

import bare
import bare_guest
from vms import crosvm, fixture_start  # noqa: F401

pytestmark = pytest.mark.skipif(not bare_guest.has_kvm(), reason='needs /dev/kvm here')
# Reads the clock's address port and writes it, for ever: mov dx, 0x70; in al, dx; out dx, al; jmp
READS = b'\x66\xba\x70\x00\xec\xee\xeb\xfc'
LINE = re.compile(r' +(\d+\.\d{6}) (\w+) +(.*)')


def events(vm, *options):
    """What crosvm trace prints: time, source, event."""
    done = crosvm('trace', *options, vm.socket)
    assert done.returncode == 0, done.stderr
    return [LINE.fullmatch(line).groups() for line in done.stdout.splitlines()]


def test_commands_and_devices_are_in_the_trace(start):
    vm = start(bare.HALT)
    crosvm('suspend', vm.socket)
    crosvm('resume', vm.socket)
    vm.kill('rng0')
    found = events(vm, '-n', '500')

    times = [float(time) for time, _, _ in found]
    assert times == sorted(times) and times[-1] < 60
    main = [event for _, source, event in found if source == 'main']
    assert main[0] == 'the guest runs'
    for event in ('command suspend', 'suspended', 'command resume', 'resumed',
                  'rng0 killed by signal 9', 'rng0 started again'):
        assert event in main, main
    assert main[-1] == 'command trace'
    assert ('rng0', 'front end: GET_FEATURES 0x0') in [event[1:] for event in found]
    vm.end()


def test_exits_have_address_and_value(start):
    vm = start(READS)
    vm.wait_for(lambda: len(events(vm)) == 100)
    found = {event for _, source, event in events(vm, '-n', '20') if source == 'vcpu0'}

    assert found <= {'exit port read 0x70 = 0x00', 'exit port write 0x70 = 0x00',
                     'exit port read 0x70, 1 bytes'}, found
    vm.end()


def test_trace_as_json(start):
    vm = start(bare.HALT)
    reply = json.loads(crosvm('trace', '--json', '-n', '3', vm.socket).stdout)

    assert len(reply['events']) == 3 and reply['left_out'] == 0
    assert reply['events'][-1]['source'] == 'main'
    assert reply['events'][-1]['event'] == 'command trace'
    assert reply['events'][-1]['time_ns'] > 0
    vm.end()


def test_words_that_are_wrong(tmp_path):
    assert 'not a number of events from 1 to 500' in crosvm('trace', '-n', '501', 'x').stderr
    assert crosvm('trace').returncode == 2
    assert crosvm('trace', tmp_path / 'none').returncode == 1
