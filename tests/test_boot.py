# SPDX-License-Identifier: BSD-3-Clause
"""Stock Debian kernels boot to userland and end the way they were asked to."""
import json
import os
import re
import time

import pytest

from guests.place import boot, python
from testbed import kernels
import guests

POWEROFF, RESET, PANIC = 0, 32, 33
# A boot takes 4 to 9 s in the testbed when the machine is otherwise idle.
PATIENCE_S = 90


def kernel(name, form='vmlinux'):
    """The path of a kernel."""
    return getattr(kernels.get(name), form)


def check(done, code=POWEROFF, **wanted):
    """The guest came up, ended with this code, and said what is wanted; returns what it said."""
    assert done.code == code, str(done)
    said = done.line('GUEST')
    for name, value in wanted.items():
        assert said[name] == str(value), f'{name}: {said}\n{done}'
    return said


def mem_kib_fits(said, mib):
    """MemTotal is the RAM less what the kernel keeps: its image and 1/64 for page structs, and
    64 MiB of bounce buffers when there is RAM above 4 GiB."""
    kept_mib = mib - int(said['mem_kib']) / 1024
    return 0 < kept_mib < 48 + mib / 40 + (64 if mib > 3072 else 0)


@pytest.mark.parametrize('form', ['bzimage', 'vmlinux'])
@pytest.mark.parametrize('name', ['5.10-cloud', '6.1-cloud', '6.1', '6.12-cloud'])
def test_kernel_boots_and_powers_off(place, name, form):
    done = boot(place, kernel(name, form), timeout_s=PATIENCE_S)

    said = check(done, release=kernels.get(name).release, cpus=1, acpi='on')
    assert mem_kib_fits(said, 256), said
    assert said['clock'] in ('kvm-clock', 'tsc')


@pytest.mark.parametrize('cpus', [2, 4])
def test_cpus_are_cores_of_one_socket(place, cpus):
    done = boot(place, kernel('6.1-cloud'), '-c', cpus, timeout_s=PATIENCE_S, smp=2)

    check(done, cpus=cpus, sockets=1)


@pytest.mark.parametrize('mib', [128, 3584, 5120])
def test_all_memory_is_there(place, mib):
    done = boot(place, kernel('6.1-cloud'), '-m', mib, timeout_s=PATIENCE_S)

    said = check(done)
    assert mem_kib_fits(said, mib), said


@pytest.mark.parametrize('name', ['6.1', '5.10'])
def test_boots_without_acpi(place, name):
    """The full kernels read the MP table; reboot goes by the keyboard controller."""
    done = boot(place, kernel(name), '-c', 2, params='acpi=off guest.do=reboot', smp=2,
                timeout_s=PATIENCE_S)

    check(done, code=RESET, acpi='off', cpus=2)


def test_reboot_has_a_code_of_its_own(place):
    check(boot(place, kernel('6.1-cloud'), params='guest.do=reboot', timeout_s=PATIENCE_S),
          code=RESET)


def test_panic_ends_the_machine(place):
    done = boot(place, kernel('6.1-cloud'), params='panic=-1 guest.do=panic',
                timeout_s=PATIENCE_S)

    assert done.code in (RESET, PANIC), str(done)
    assert 'Kernel panic' in done.out


def test_guest_clock_is_right(place):
    before = time.time()
    said = check(boot(place, kernel('6.1-cloud'), timeout_s=PATIENCE_S))

    assert before - 2 < int(said['date']) < time.time() + 2


def test_root_may_run_it_too(place):
    if os.geteuid() != 0 and place.name == 'direct':
        pytest.skip('needs root')
    check(boot(place, kernel('6.1-cloud'), root=True, timeout_s=PATIENCE_S))


def test_suspend_stops_time_and_resume_goes_on(place):
    done = python(place, 'drive_suspend.py', guests.marker(), kernel('6.1-cloud'), smp=2,
                  timeout_s=PATIENCE_S)

    assert done.code == 0, str(done)
    seen = json.loads(done.out.splitlines()[-1])
    assert seen['code'] == POWEROFF, str(done)
    assert seen['ticks_while_suspended'] == 0
    uptimes, dates = seen['uptimes'], seen['dates']
    assert uptimes == sorted(uptimes) and dates == sorted(dates), 'a clock went back'
    assert len(uptimes) == seen['ticks_wanted']
    assert max(b - a for a, b in zip(uptimes, uptimes[1:])) < seen['suspended_s'] + 10
    assert not re.search('soft lockup|rcu.*stall|Unstable', seen['rest']), seen['rest']
