# SPDX-License-Identifier: BSD-3-Clause
"""Our devices under another VMM, and devices of others under us: strangers try the protocol."""
import json
import os

import pytest

from guests.place import python
from testbed import kernels
import guests

PATIENCE_S = 240


def drive(place, what, **how):
    """Runs drive_foreign.py."""
    job = {'what': what, 'kernel': place.path(kernels.get('6.1-cloud').vmlinux),
           'initrd': place.path(guests.disk('6.1-cloud')), 'root': place.path(guests.ext4())}
    done = python(place, 'drive_foreign.py', json.dumps(job), timeout_s=PATIENCE_S, **how)
    assert done.code == 0, str(done)
    return done.out


def test_qemu_runs_a_guest_on_our_disks(place):
    assert 'DISK-GOOD' in drive(place, 'qemu')


def test_our_guest_runs_on_the_storage_daemons_disk(place):
    assert 'DISK-GOOD' in drive(place, 'storage-daemon')


def test_our_guest_mounts_a_folder_by_virtiofsd(place):
    if place.name == 'direct' and os.geteuid() != 0:
        pytest.skip("this virtiofsd needs root")
    out = drive(place, 'virtiofsd', root=True)

    assert 'hello-from-the-host' in out and 'SHARE-GOOD' in out, out
    assert 'ANSWER from-the-guest' in out, out
