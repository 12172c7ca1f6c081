# SPDX-License-Identifier: BSD-3-Clause
"""The flight recorder: `crosvm trace`, and what a VM that ended badly leaves."""
import json
import re
import signal

import pytest

import bare
import bare_guest
import guests
import vms
from guests import place as places
from testbed import kernels
from vms import crosvm

# Reads the clock's address port and writes it, for ever: mov dx, 0x70; in al, dx; out dx, al; jmp
READS = b'\x66\xba\x70\x00\xec\xee\xeb\xfc'
LINE = re.compile(r' +(\d+\.\d{6}) (\w+) +(.*)')


@pytest.fixture(name='start')
def fixture_start(tmp_path):
    """Starts VMs."""
    if not bare_guest.has_kvm():
        pytest.skip('needs /dev/kvm here')
    with vms.started(tmp_path) as start:
        yield start


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


@pytest.mark.skipif(not bare_guest.has_kvm(), reason='needs /dev/kvm here')
def test_triple_fault_leaves_a_trace(tmp_path):
    elf = tmp_path / 'guest.elf'
    # lidt of nothing; ud2
    elf.write_bytes(bare.elf(b'\x0f\x01\x1d\x00\x00\x00\x00\x0f\x0b'))
    trace = tmp_path / 'last.trace'
    done = crosvm('run', '--trace-file', trace, elf)

    assert done.returncode == 34
    assert done.stderr == f'crosvm: what the VM did last is in {trace}\ncrosvm: triple fault\n'
    lines = trace.read_text().splitlines()
    assert lines[0] == 'exit code 34: triple fault'
    found = [LINE.fullmatch(line).groups()[1:] for line in lines[1:]]
    assert [event for source, event in found if source == 'vcpu0'] == [
        'exit shutdown: triple fault']
    assert ('main', 'ends with exit code 34') in found
    assert crosvm('run', elf).stderr.endswith(
        ' main: ends with exit code 34\ncrosvm: triple fault\n')


@pytest.mark.parametrize('options', [[], ['--disable-sandbox']])
@pytest.mark.parametrize('number', [signal.SIGKILL, signal.SIGSEGV])
def test_death_of_main_leaves_a_trace(start, tmp_path, options, number):
    trace = tmp_path / 'last.trace'
    vm = start(bare.HALT, '--trace-file', str(trace), *options)
    vm.process.send_signal(number)
    _, err = vm.process.communicate()

    assert err == f'crosvm: the main process died\ncrosvm: what the VM did last is in {trace}\n'
    lines = trace.read_text().splitlines()
    assert lines[0] == 'the main process died'
    assert any(line.endswith(' main       command status') for line in lines)
    assert not vm.socket.exists()


def test_device_that_keeps_dying_leaves_a_trace(start, tmp_path):
    trace = tmp_path / 'last.trace'
    vm = start(bare.HALT, '--trace-file', str(trace))
    with pytest.raises((AssertionError, ValueError)):  # it has ended, or ends while it is asked
        for _ in range(30):
            vm.kill('rng0')
    _, err = vm.process.communicate()

    assert vm.process.returncode == 36, err
    text = trace.read_text()
    assert text.startswith('exit code 36: rng0 died ')
    assert text.count('rng0 killed by signal 9') >= 8


def test_good_end_leaves_none(start, tmp_path):
    trace = tmp_path / 'last.trace'
    vm = start(bare.HALT, '--trace-file', str(trace))

    assert vm.end() == 'crosvm: stopped by command\n'
    assert not trace.exists()


WATCH = '''
head -c 1M /dev/zero >/tmp/disk
"$1" run -s /tmp/vm.sock -i "$2" --block /tmp/disk -p quiet "$3" >/dev/null &
until "$1" trace -n 500 /tmp/vm.sock >/tmp/trace 2>/dev/null &&
      grep -q 'block0 .*interrupt for queue' /tmp/trace; do
    kill -0 $! || exit 1
    sleep 0.2
done
cat /tmp/trace
"$1" stop /tmp/vm.sock
'''


def test_linux_and_its_disk_are_traced(place):
    done = place.run(['sh', '-c', WATCH, 'sh', places.program(), guests.disk('6.1-cloud'),
                      kernels.get('6.1-cloud').vmlinux], timeout_s=90)

    assert done.code == 0, str(done)
    found = [LINE.fullmatch(line).groups()[1:] for line in done.out.splitlines()]
    disk = [event for source, event in found if source == 'block0']
    first = disk.index('kick queue 0')
    request = next(i for i, event in enumerate(disk) if i > first and
                   re.fullmatch(r'request of queue 0: \d+ bytes out, \d+ in', event))
    assert any(event.startswith('interrupt for queue 0: ') for event in disk[request:]), disk
    assert any(source == 'vcpu0' and 'exit mmio write 0x' in event for source, event in found)
