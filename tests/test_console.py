# SPDX-License-Identifier: BSD-3-Clause
"""A virtio console as the console of a kernel, its size, and its other ports."""
import json

from guests.place import boot, python
import guests

PATIENCE_S = 120


def test_hvc0_on_stdio_speaks_and_listens(place):
    done = boot(place, guests.mini() / 'bzimage', '--console', 'stdio',
                params='console=hvc0 guest.do=shell', stdin=b'echo said $((6 * 7))\npoweroff -f\n',
                timeout_s=PATIENCE_S)

    assert done.code == 0, str(done)
    assert done.line('GUEST')
    assert 'said 42' in done.out, str(done)


def test_ports_and_size_reach_the_guest(place):
    done = python(place, 'drive_console.py', guests.mini() / 'bzimage', guests.marker(),
                  timeout_s=PATIENCE_S)
    last = [line for line in done.out.splitlines() if line.startswith('DRIVE ')]

    assert done.code == 0 and last, str(done)
    assert json.loads(last[0][len('DRIVE '):]) == {
        'size': '40 100', 'resized': '50 132', 'code': 0,
        'ports': {'vport0p1': 'org.test.agent', 'vport0p2': 'org.test.log'},
        'got': 'question', 'answer': 'answer\n', 'log': 'logged\n'}, str(done)
