# SPDX-License-Identifier: BSD-3-Clause
"""Processes of a running guest: what they may, see and hold; none is left when main is killed."""
import itertools
import json
import os
from collections import Counter

import pytest

import bare
import bare_guest
import guests
from guests import place as places

DEVICES = ('block0', 'rng0', 'console0', 'balloon0', 'vsock0')
PROCESSES = (*DEVICES, 'main')
USERS = {'root': 0, 'user': 1000}
GUESTS = ('bare', 'linux')
NOBODY = 65534
CAPABILITIES = ('CapInh', 'CapPrm', 'CapEff', 'CapBnd', 'CapAmb')
OWN_OF_DEVICES = ('user', 'pid', 'mnt', 'net', 'ipc', 'uts')
OWN_OF_MAIN = ('user', 'mnt', 'net')  # it has no process but those it started
INFLIGHT, LOG_MAX = '/memfd:inflight (deleted)', 16 << 20

# Beyond stdin, stdout, stderr, its two sockets and the pipe for its last words.
COMMON_FDS = {'anon_inode:[eventpoll]': 1, 'anon_inode:[eventfd]': 1, 'socket': 1, INFLIGHT: 1}
OWN_FDS = {
    'block0': {'disk': 2, 'anon_inode:[io_uring]': 1, 'anon_inode:[eventfd]': 2,
               'anon_inode:[timerfd]': 1},
    'rng0': {'anon_inode:[timerfd]': 1},
    'console0': {'anon_inode:[eventfd]': 1},
    'balloon0': {'anon_inode:[timerfd]': 1},
    # programs, the connector; a batch that was full, a backlog that was
    'vsock0': {'socket': 2, 'anon_inode:[eventfd]': 1, 'anon_inode:[timerfd]': 1},
}
# Queues that Linux's driver takes into use; each has three eventfds: kick, call, error.
QUEUES = {'block0': 1, 'rng0': 1, 'console0': 4, 'balloon0': 5, 'vsock0': 3}
SENDER_FDS = 4096  # jail/jail.h
MAX_FDS = {'main': 8192, 'vsock0': 2 * SENDER_FDS + 256}  # each connection is one
MAIN_FDS = {'/dev/null', 'pipe', 'socket', 'kvm', 'folder', 'sock', 'vsock',
            '/memfd:guest-low (deleted)', *(f'anon_inode:[{kind}]'
              for kind in ('eventfd', 'eventpoll', 'pidfd', 'signalfd', 'timerfd')),
            'anon_inode:kvm-vm', 'anon_inode:kvm-vcpu:0', 'anon_inode:kvm-vcpu:1',
            *(f'/memfd:{name} (deleted)' for name in DEVICES)}


def look(user, place, *guest):
    """What drive_jail.py sees."""
    done = places.python(place, 'drive_jail.py', user, *guest, root=True, timeout_s=120)
    assert done.code == 0, str(done)
    return {**json.loads(done.out), 'user': user}


@pytest.fixture(scope='module', name='seen', params=itertools.product(GUESTS, USERS),
                ids='-'.join)
def fixture_seen(request, place):
    """What is seen of a guest that halts, or of Linux, run as root or as an ordinary user."""
    guest, user = request.param
    if guest == 'linux':
        seen = look(USERS[user], place, guests.mini() / 'vmlinux', guests.marker())
        return {**seen, 'linux': True}
    kernel = places.TOP / f'build/halt-{os.getpid()}.elf'
    kernel.write_bytes(bare.elf(bare.HALT))
    here = bare_guest.has_kvm() and os.geteuid() == 0
    try:
        return {**look(USERS[user], places.Direct() if here else places.Testbed(), kernel),
                'linux': False}
    finally:
        kernel.unlink()


def kind(seen, target):
    """What an fd is, without what differs from run to run."""
    folder = os.path.dirname(seen['disk'])
    if target == folder:
        return 'folder'
    if target.startswith('anon_inode'):
        return target
    return target.removeprefix(f'{folder}/').partition(':[')[0]


@pytest.mark.parametrize('name', PROCESSES)
def test_no_capability_and_no_way_to_one(seen, name):
    status = seen['processes'][name]['status']

    assert {status[capability] for capability in CAPABILITIES} == {'0' * 16}
    assert status['NoNewPrivs'] == '1'


@pytest.mark.parametrize('name', PROCESSES)
def test_runs_as_the_user_but_never_as_root(seen, name):
    status = seen['processes'][name]['status']
    uid = seen['user'] or NOBODY

    assert status['Uid'].split() == status['Gid'].split() == [str(uid)] * 4
    assert status['Groups'] == ''


@pytest.mark.parametrize('name', PROCESSES)
def test_every_thread_has_a_filter(seen, name):
    process = seen['processes'][name]

    assert process['status']['Seccomp'] == '2'
    assert {thread['Seccomp'] for thread in process['threads'].values()} <= {'2'}
    assert process['threads'] == {} or name == 'main'


def test_filter_of_cpu_threads_is_tighter(seen):
    main = seen['processes']['main']
    if 'Seccomp_filters' not in main['status']:
        pytest.skip('kernel without Seccomp_filters in /proc/PID/status (Linux 5.9 has it)')

    assert main['status']['Seccomp_filters'] == '1'
    assert [main['threads'][f'vcpu{i}']['Seccomp_filters'] for i in (0, 1)] == ['2', '2']


@pytest.mark.parametrize('name', PROCESSES)
def test_own_user_may_not_look_into_it(seen, name):
    assert seen['processes'][name]['owner_of_mem'] == 0  # not dumpable, so root's


@pytest.mark.parametrize('name', PROCESSES)
def test_namespaces_are_its_own(seen, name):
    wanted = OWN_OF_MAIN if name == 'main' else OWN_OF_DEVICES
    theirs = seen['processes'][name]['namespaces']

    assert [n for n in wanted if theirs[n] == seen['own'][n]] == []


@pytest.mark.parametrize('kind_of', ['user', 'pid', 'ipc', 'uts'])
def test_devices_do_not_share_namespaces(seen, kind_of):
    found = {seen['processes'][name]['namespaces'][kind_of] for name in DEVICES}

    assert len(found) == len(DEVICES)


@pytest.mark.parametrize('name', DEVICES)
def test_sees_no_process_but_itself(seen, name):
    assert seen['processes'][name]['status']['NSpid'].split()[1:] == ['1']
    assert seen['beside'][name] == (name == 'vsock0')  # see below


def test_connector_can_do_nothing_else(seen):
    process = seen['processes']['vsock0-connector']
    status = process['status']
    passes_permissions = f'{1 << 1:016x}'  # CAP_DAC_OVERRIDE, for root's sake

    assert list(process['fds'].values())[0].startswith('socket:') and len(process['fds']) == 1
    assert status['Seccomp'] == '2' and status['NoNewPrivs'] == '1' and not process['threads']
    assert status['CapEff'] == status['CapPrm']
    assert status['CapEff'] in ('0' * 16, passes_permissions)
    assert status['CapInh'] == status['CapAmb'] == '0' * 16
    assert process['owner_of_mem'] == 0
    assert int(process['limits']['Max open files']) <= SENDER_FDS
    assert process['limits']['Max file size'] == process['limits']['Max core file size'] == '0'


@pytest.mark.parametrize('name', PROCESSES)
def test_root_is_empty_and_read_only(seen, name):
    process = seen['processes'][name]
    mount, = process['mounts']
    fields, _, rest = mount.partition(' - ')

    assert fields.split()[3:5] == ['/', '/']
    assert {'ro', 'nosuid', 'nodev', 'noexec'} <= set(fields.split()[5].split(','))
    assert rest.split()[0] == 'tmpfs'
    assert 'ro' in rest.split()[2].split(',')
    assert process['root'] == process['cwd'] == []


@pytest.mark.parametrize('name', PROCESSES)
def test_no_network(seen, name):
    assert seen['processes'][name]['interfaces'] == ['lo']


@pytest.mark.parametrize('name', DEVICES)
def test_device_holds_its_fds_only(seen, name):
    fds = {int(n): kind(seen, target) for n, target in seen['processes'][name]['fds'].items()}
    numbered = {n: fds.pop(n) for n in (0, 1, 2, 3, 4, 60)}

    assert numbered == {0: '/dev/null', 1: 'pipe', 2: 'pipe', 3: 'socket', 4: 'socket', 60: 'pipe'}
    activated = {'anon_inode:[eventfd]': 3 * QUEUES[name], '/memfd:guest-low (deleted)': 1}
    assert Counter(fds.values()) == \
        Counter(COMMON_FDS) + Counter(OWN_FDS[name]) + Counter(activated if seen['linux'] else {})


@pytest.mark.parametrize('name', DEVICES)
def test_device_writes_to_its_own_counters_only(seen, name):
    counters = {f'/memfd:{other} (deleted)' for other in DEVICES}

    assert counters & set(seen['processes'][name]['shared']) == {f'/memfd:{name} (deleted)'}


@pytest.mark.parametrize('name', DEVICES)
def test_filter_has_every_call_that_a_driver_leads_to(seen, name):
    assert seen['restarts'][name] == 0  # one too many would have killed it


def test_main_holds_no_disk(seen):
    fds = {kind(seen, target) for target in seen['processes']['main']['fds'].values()}

    logs = {INFLIGHT} if seen['linux'] else set()  # of what devices have in flight
    assert fds - MAIN_FDS - logs == set()


@pytest.mark.parametrize('name', PROCESSES)
def test_limits(seen, name):
    limits = seen['processes'][name]['limits']

    assert limits['Max core file size'] == '0'
    assert int(limits['Max open files']) <= MAX_FDS.get(name, SENDER_FDS + 256)
    if name in ('rng0', 'console0', 'balloon0', 'vsock0'):  # the others have threads of the kernel
        assert limits['Max processes'] == '0'
    if name in ('rng0', 'balloon0', 'vsock0'):  # the others write files
        assert int(limits['Max file size']) <= LOG_MAX


def test_nothing_is_left_when_main_is_killed(seen):
    # drive_jail.py saw them all end, with the one that restarts devices and the connector
    assert seen['members'] == len(PROCESSES) + 2
    assert not seen['sockets_left']
