# SPDX-License-Identifier: BSD-3-Clause
"""A device process that ends again and again: when it waits, and when it is given up."""
import contextlib
import json
import os
import re
import signal
import struct
import time
from pathlib import Path

import pytest

import bare_guest
import vms
from vms import crosvm

WINDOW, RING = 0xE0000000, 0x1200000  # of the first virtio-mmio device; in the guest's memory
DIED_TOO_OFTEN = 36
GUEST_NS = 3000000  # in which it surely counts
AT_ONCE, DELAYED = 64, 16  # of vm/restarts.h
DEATHS = 2 * (AT_ONCE + DELAYED)  # more than are borne however slow this machine is


def store(address, value):
    """mov edi, address; mov dword [rdi], value"""
    return b'\xbf' + struct.pack('<I', address) + b'\xc7\x07' + struct.pack('<I', value)


# A driver of a packed ring, that changes a descriptor which is nobody's, for ever: by the ring,
# requests are being completed.  A hostile device could do the same.
REGISTERS = {'status': 0x70, 'word': 0x24, 'features': 0x20, 'size': 0x38, 'desc': 0x80,
             'driver': 0x90, 'device': 0xa0, 'ready': 0x44}
VERSION_1, PACKED = 1, 4  # in word 1
STEPS = [('status', 3), ('word', 1), ('features', VERSION_1 | PACKED), ('status', 11), ('size', 8),
         ('desc', RING), ('driver', RING + 0x1000), ('device', RING + 0x2000), ('ready', 1),
         ('status', 15)]
# mov edi, length in the last descriptor; 1: inc dword [rdi]; jmp 1b
FAKES_PROGRESS = b''.join(
    [store(WINDOW + REGISTERS[name], value) for name, value in STEPS] +
    [b'\xbf', struct.pack('<I', RING + 7 * 16 + 8), b'\xff\x07\xeb\xfc'])


@pytest.fixture(name='start')
def fixture_start(tmp_path):
    """Starts VMs."""
    if not bare_guest.has_kvm():
        pytest.skip('needs /dev/kvm here')
    with vms.started(tmp_path) as start:
        yield start


def running(vm):
    """The pid of the first device's process if it serves, else 0."""
    done = crosvm('status', '--json', vm.socket)
    device = json.loads(done.stdout)['devices'][0] if done.returncode == 0 and done.stdout else {}
    return device['pid'] if device.get('state') == 'running' else 0


def guest_time(vm):
    """Nanoseconds that the guest has run."""
    for thread in Path(f'/proc/{vm.process.pid}/task').iterdir():
        if (thread / 'comm').read_text() == 'vcpu0\n':
            return int((thread / 'schedstat').read_text().split()[0])
    return 0


def kill_until_the_end(vm, most):
    """Kills each process of the first device, when the guest has run for a while; how many."""
    killed, last, ran, end = 0, 0, 0, time.monotonic() + 2 * vms.PATIENCE_S
    while vm.process.poll() is None and killed < most and time.monotonic() < end:
        pid = running(vm)
        with contextlib.suppress(OSError):  # it ends while we look
            if pid not in (0, last) and guest_time(vm) > ran + GUEST_NS:
                os.kill(pid, signal.SIGKILL)
                killed, last, ran = killed + 1, pid, guest_time(vm)
    return killed


def test_device_that_fakes_progress_is_given_up(start):
    vm = start(FAKES_PROGRESS, '-m', '32', '--transport', 'mmio', '--rings', 'packed',
               '--no-balloon', '--serial', 'sink')
    killed = kill_until_the_end(vm, DEATHS)
    assert AT_ONCE + DELAYED <= killed < DEATHS
    _, err = vm.process.communicate(timeout=vms.PATIENCE_S)

    assert vm.process.returncode == DIED_TOO_OFTEN, err
    assert re.search(r'^crosvm: rng0 died too often, \d+ times within \d+ s, last: killed by signal'
                     r' 9 \(KILL\)$', err, re.M), err
    at_once = err.count('; started again\n')
    delays = [int(ms) for ms in re.findall(r'; started again in (\d+) ms\n', err)]
    assert at_once >= AT_ONCE and delays[:3] == [50, 100, 200] and max(delays) == 400, err
