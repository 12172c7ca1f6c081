# SPDX-License-Identifier: BSD-3-Clause
"""A guest's balloon gives memory back to the host: free pages, inflating, death, huge pages."""
import json

import pytest

from guests import place as places
from testbed import kernels
import guests

PATIENCE_S = 240
MIB = 1 << 20
FILL = 'head -c {}M /dev/zero >/tmp/{}; sync; echo written'


@pytest.fixture(scope='module', name='host')
def fixture_host(place):
    """Where host memory can be looked at, and nobody else uses it: the testbed, or as root."""
    return place if place.name == 'testbed' else places.Testbed()


def drive(host, steps, **job):
    """Runs drive_memory.py; returns its results by the names of the steps."""
    job = {'kernel': kernels.get('6.1-cloud').vmlinux, 'initrd': guests.disk('6.1-cloud'),
           'root': guests.squashfs(), **job}
    job = {key: host.path(value) if key in ('kernel', 'initrd', 'root') else value
           for key, value in job.items()}
    done = places.python(host, 'drive_memory.py', json.dumps({**job, 'steps': steps}),
                         timeout_s=PATIENCE_S, root=True)
    last = [line for line in done.out.splitlines() if line.startswith('DRIVE ')]
    assert done.code == 0 and last, str(done)
    print(last[-1])
    return json.loads(last[-1][len('DRIVE '):])


def test_memory_comes_back(host):
    """By free page reporting, by inflating, after a death, and it is there again when needed."""
    seen = drive(host, [
        {'name': 'fill', 'guest': FILL.format(50, 'a')},
        {'name': 'remove', 'guest': 'rm /tmp/a'},
        {'name': 'reported', 'settle': 30, 'since': 'fill'},
        # What is cached is neither free nor needed: only the balloon gets it.
        {'name': 'cache', 'guest': 'dd if=/dev/vda of=/dev/null bs=1M count=60; echo read'},
        {'name': 'inflate', 'balloon': '80M'},
        {'name': 'taken', 'settle': 30, 'since': 'cache'},
        {'name': 'kill', 'kill': True},
        {'name': 'ask', 'ask': 'balloon-stats'},
        {'name': 'after', 'guest': 'sleep 1; grep MemAvailable /proc/meminfo'},
        {'name': 'stats', 'ask': 'balloon-stats'},
        # As when memory is used up, but at once.
        {'name': 'oom', 'guest': 'echo f >/proc/sysrq-trigger; sleep 1'},
        {'name': 'gave_way', 'look': True},
        {'name': 'deflate', 'balloon': '0'},
    ], mem='160')

    assert 'written' in seen['fill']['result']
    assert seen['reported']['result'] >= 30, seen
    inflated = seen['inflate']['result']
    assert inflated['actual_bytes'] == inflated['target_bytes'] == 80 * MIB, seen
    assert inflated['inflated_pages'] >= 80 * 256
    assert inflated['discard_calls'] < inflated['inflated_pages'] / 4, 'neighbours are one call'
    assert inflated['bad_frames'] == inflated['bad_requests'] == inflated['failed_calls'] == 0
    assert seen['taken']['result'] >= 30, seen
    again = seen['kill']['result']
    assert (again['restarts'], again['state']) == (1, 'running'), seen
    assert again['target_bytes'] == again['actual_bytes'] == 80 * MIB
    assert seen['stats']['result']['stats']['total_bytes'] < 160 * MIB, seen
    gave_way = seen['gave_way']['result']
    assert gave_way['actual_bytes'] < gave_way['target_bytes'] == 80 * MIB, seen
    assert seen['deflate']['result']['actual_bytes'] == 0
    assert seen['code'] == 0


def test_huge_pages_come_back_whole(host):
    """Those that the balloon has all frames of; the pool has room for this guest only."""
    pages = '/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages'
    seen = drive(host, [
        {'name': 'fill', 'guest': FILL.format(60, 'a')},
        {'name': 'remove', 'guest': 'rm /tmp/a'},
        {'name': 'reported', 'settle': 30, 'since': 'fill', 'kind': 'huge'},
        {'name': 'cache', 'guest': 'dd if=/dev/vda of=/dev/null bs=1M count=60; echo read'},
        {'name': 'inflate', 'balloon': '80M'},
        {'name': 'taken', 'settle': 20, 'since': 'cache', 'kind': 'huge', 'wait_s': 5},
        {'name': 'deflate', 'balloon': '0'},
        {'name': 'again', 'guest': FILL.format(60, 'a')},
    ], mem='160,hugepages', write={pages: '80'})

    assert seen['fill']['host']['huge'] > 60, seen
    assert seen['reported']['result'] >= 30, seen
    assert seen['inflate']['result']['failed_calls'] == 0
    assert seen['inflate']['result']['discarded_bytes'] % (2 * MIB) == 0
    assert seen['taken']['result'] >= 10, seen  # how many are whole is the guest's chance
    assert 'written' in seen['again']['result'], seen
    assert seen['code'] == 0


def test_huge_pages_of_the_host(host):
    """The unit tests that need some."""
    unit = places.TOP / 'build/src/test-ram'
    script = ('cd /sys/kernel/mm && echo 8 >hugepages/hugepages-2048kB/nr_hugepages && '
              'echo advise >transparent_hugepage/shmem_enabled && exec "$1"')
    done = host.run(['sh', '-c', script, 'sh', unit], root=True)

    assert done.code == 0, str(done)
    assert 'huge_pages_go_whole' in done.out + done.err
    assert 'not tested' not in done.out + done.err, str(done)
