# SPDX-License-Identifier: BSD-3-Clause
"""Virtual sockets of both kinds between Debian guests and the host."""
import json
import os

import pytest

from guests.place import python
from testbed import kernels
import guests

MIB = int(os.environ.get('CROSVM_TEST_VSOCK_MIB', '16'))
CONNECTIONS = int(os.environ.get('CROSVM_TEST_VSOCK_CONNECTIONS', '100'))
CANNOT_BUILD = 4
PATIENCE_S = 120 + MIB + CONNECTIONS // 10


def drive(place, kernel='6.1-cloud', **job):
    """Runs drive_vsock.py; returns the guest's output and the result."""
    job = {'kernel': str(place.path(kernels.get(kernel).vmlinux)),
           'initrd': str(place.path(guests.disk(kernel))),
           'root': str(place.path(guests.squashfs())), **job}
    done = python(place, 'drive_vsock.py', json.dumps(job), timeout_s=PATIENCE_S,
                  root=job['kind'] == 'vhost')
    last = [line for line in done.out.splitlines() if line.startswith('DRIVE ')]
    assert done.code == 0 and last, str(done)
    return done.out, json.loads(last[-1][len('DRIVE '):])


def check(out, result):
    """Everything arrived, both ways, and the device came back."""
    assert 'TAKEN' in out and result['taken'] == result['sent'], out
    assert result['given'] == result['sent'], out
    assert f'MANY-OUT {CONNECTIONS}' in out, out
    assert f'MANY-IN {CONNECTIONS}' in out and result['many'] == CONNECTIONS, out
    assert 'killed by signal 9' in out and 'CUT-SEEN' in out and 'AGAIN' in out, out
    assert result['code'] == 0, out


def test_socket_of_our_own(place):
    out, result = drive(place, kind='socket', mib=MIB, connections=CONNECTIONS)

    check(out, result)
    assert 'PACKETS none' in out, out
    assert 'v' not in result['left'], result


def test_kernel_sockets(testbed):
    out, result = drive(testbed, kind='vhost', mib=MIB, connections=CONNECTIONS)

    check(out, result)
    assert 'PACKETS whole' in out, out
    for code, said in (result['busy'], result['busy_for_user']):
        assert code == CANNOT_BUILD, result
        assert 'cid=33: another virtual machine has this one' in said, result


@pytest.mark.parametrize('options, said', [
    (['--cid', '2'], 'from 3 to 4294967294'),
    (['--cid', '4294967295'], 'from 3 to 4294967294'),
    (['--vsock', 'cid=18446744073709551616'], 'from 3 to 4294967294'),
    (['--vsock', 'socket=/tmp/v'], 'cid=N is missing'),
    (['--cid', '3', '--vsock', 'cid=4,socket=/tmp/v'], 'a guest takes one such device'),
])
def test_wrong_options_say_what_is_wrong(crosvm, tmp_path, options, said):
    kernel = tmp_path / 'kernel'
    kernel.write_bytes(b'')
    done = crosvm('run', *options, kernel)

    assert done.returncode == 2
    assert said in done.stderr, done.stderr
