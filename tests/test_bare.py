# SPDX-License-Identifier: BSD-3-Clause
"""Bare guests: ports, memory, interrupts, processors, clocks, and every way to end."""
import calendar
import time

import pytest

import bare_guest
from bare_guest import PASSED

POWEROFF, HOST_LACKS, RESET, PANIC, TRIPLE_FAULT, DEBUG = 0, 3, 32, 33, 34, 64


@pytest.fixture(scope='module', name='bare')
def fixture_bare():
    """Runs a test of the guest; returns how it ended."""
    elf, place = bare_guest.build(), bare_guest.place()

    def run(test, *options, params='', **how):
        return place.run(bare_guest.command(elf, test, *options, params=params),
                         timeout_s=bare_guest.PATIENCE_S, **how)
    return run


@pytest.mark.parametrize('test', [
    'ports',    # every size of access, wide ones split, nobody's ports read as ones
    'strings',  # rep ins and outs of every size, longer than a page
    'memory',   # nobody's addresses, odd ones, strings
    'pit',      # interrupts by 8254, 8259
    'apic',     # interrupts by the local APIC's timer; halts that end by them
    'serial',   # interrupts of a chip of ours, by the I/O APIC
    'tables',   # ACPI and MP tables lie where a kernel looks
])
def test_guest_finds(bare, test):
    done = bare(test)

    assert done.code == PASSED, str(done)
    assert 'PASSED\n' in done.out


def test_port_strings_print(bare):
    assert 'rep outsb reaches the serial port\n' in bare('strings').out


def test_serial_output_by_interrupts(bare):
    assert 'sixteen bytes at a time, each batch on an interrupt\n' in bare('serial').out


@pytest.mark.parametrize('options, functions', [
    ([], 3),  # the host bridge, the random number device and the balloon
    (['--no-balloon'], 2),
    (['--no-rng', '--no-balloon'], 1),
])
def test_pci_configuration_by_both_mechanisms(bare, options, functions):
    done = bare('pci', *options, params=f'functions={functions}')

    assert done.code == PASSED, str(done)


@pytest.mark.parametrize('cpus', [1, 2, 4, 16])
def test_processors_start_and_interrupt_each_other(bare, cpus):
    done = bare('smp', '-c', cpus, params=f'cpus={cpus}')

    assert done.code == PASSED, str(done)
    assert f'others 0x{cpus - 1:016x}' in done.out


def test_clock_is_right(bare):
    before = int(time.time())
    done = bare('clock')

    assert done.code == PASSED, str(done)
    digits = done.out.partition('time ')[2][:14]
    assert before <= calendar.timegm(time.strptime(digits, '%Y%m%d%H%M%S')) <= time.time()


@pytest.mark.parametrize('way, code', [
    ('cf9', RESET), ('i8042', RESET), ('port92', RESET), ('acpi', POWEROFF), ('pvpanic', PANIC),
    ('triple', TRIPLE_FAULT),
    ('debug code=0', DEBUG), ('debug code=5', DEBUG + 5), ('debug code=63', DEBUG + 63),
    ('debug code=64', DEBUG + 63), ('debug code=4294967295', DEBUG + 63),
])
def test_every_end_has_its_code(bare, way, code):
    done = bare('end', '--pvpanic', params=f'by={way}')

    assert done.code == code, str(done)
    assert done.out == 'ending\n'


@pytest.mark.parametrize('options', [
    ['--mem', '64,shared'],
    ['--mem', 'size=64,lock'],
    ['--mem', '64,dump', '--disable-sandbox'],
])
def test_kinds_of_memory(bare, options):
    done = bare('strings', *options, root=True)

    assert done.code == PASSED, str(done)


@pytest.mark.parametrize('kind, remedy', [
    ('hugepages', '; as root: echo '), ('hugepages=1G', 'hugepages: '), ('thp', 'thp: '),
])
def test_kinds_of_memory_that_the_host_may_lack(bare, kind, remedy):
    done = bare('strings', '--mem', f'1024,{kind}')

    if done.code != PASSED:
        assert done.code == HOST_LACKS, str(done)
        assert f'--mem: {kind.partition("=")[0]}: ' in done.err and remedy in done.err
        assert len(done.err.splitlines()) == 1


def test_flood_of_output_is_complete(bare):
    lines = 500
    done = bare('flood', params=f'lines={lines}')

    assert done.code == PASSED, str(done)
    wanted = [''.join(chr(ord('!') + (i + k) % 90) for k in range(63)) for i in range(lines)]
    assert done.out.splitlines() == [*wanted, 'PASSED']
