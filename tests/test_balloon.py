# SPDX-License-Identifier: BSD-3-Clause
"""Two guests that want more memory than their host has, and the policy that shares it."""
import json
import os
import warnings

from guests.place import python
from testbed import kernels, l1
import guests

MIB = 1 << 20
# Small, for a page that a guest of the testbed touches first takes it most of a millisecond.
VM_MIB, MAX_MIB, MARGIN_MIB, HOST_MIB, WRITE_MIB = 160, 96, 48, 448, 264
# The policy's clock goes so fast, unless the long form is asked for: ten minutes of real time.
SPEED = int(os.environ.get('CROSVM_TEST_BALLOON_SPEED', '30'))


def drive(place, **job):
    """Runs drive_balloon.py on a host of HOST_MIB; returns what it saw."""
    kernel = kernels.get('6.1-cloud')
    job = {'kernel': place.path(kernel.vmlinux), 'initrd': place.path(guests.memory('6.1-cloud')),
           'vms': 2, 'mem_mib': VM_MIB, 'write_mib': WRITE_MIB,
           'balloon': f'policy=psi,margin={MARGIN_MIB}M,max={MAX_MIB}M,speed={SPEED}',
           'patience_s': 240 + 600 / SPEED, **job}
    done = python(place, 'drive_balloon.py', json.dumps(job), timeout_s=job['patience_s'] + 60,
                  smp=2, mem_mib=HOST_MIB, root=True, append='psi=1')
    last = [line for line in done.out.splitlines() if line.startswith('DRIVE ')]
    assert done.code == 0 and last, str(done)
    seen = json.loads(last[-1][len('DRIVE '):])
    if 'CROSVM_TEST_BALLOON_RECORD' in os.environ:
        with open(os.environ['CROSVM_TEST_BALLOON_RECORD'], 'w', encoding='utf-8') as out:
            json.dump(seen['record'], out)
    return seen


def drive_again(place):
    """As drive(), and once more, with a warning, where a guest or L1 itself ended early.

    Seen in two of six runs on a loaded machine, a triple fault among them.  What does it is not
    known; QEMU's nested paging, with L1 reclaiming all the while, is suspected.
    """
    try:
        seen = drive(place)
        if not any('triple fault' in line for lines in seen['lines'] for line in lines):
            return seen
        why = 'triple fault'
    except (AssertionError, l1.TestbedError) as error:
        why = str(error)
    warnings.warn(f'tried once more: {why}')
    return drive(place)


def test_two_guests_share_a_host_that_is_too_small(testbed):
    seen = drive_again(testbed)

    available = [row['available'] / MIB for row in seen['record']]
    assert available[0] < WRITE_MIB, 'each file is larger than what there is'
    assert seen['over'] and seen['codes'] == [0, 0] and all(seen['alive']), seen['lines']
    lowest = min(range(len(available)), key=available.__getitem__)
    assert available[0] > 2 * MARGIN_MIB and available[lowest] < MARGIN_MIB, 'fell to the margin'
    assert max(available[lowest:]) > MARGIN_MIB + MAX_MIB // 8, 'and bounced back'
    for vm in range(2):
        most = max(row['vms'][vm]['target'] for row in seen['record'])
        assert 0 < most <= MAX_MIB * MIB
        assert max(row['vms'][vm]['actual'] for row in seen['record']) > 0
        last = seen['record'][-1]['vms'][vm]
        assert last['actual'] == 0
        assert last['notices'] > 0, 'a real trigger was heard'
