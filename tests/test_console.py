# SPDX-License-Identifier: BSD-3-Clause
"""A virtio console as the console of a kernel."""
from guests.place import boot
import guests

PATIENCE_S = 90


def test_hvc0_on_stdio_speaks_and_listens(place):
    done = boot(place, guests.mini() / 'bzimage', '--console', 'stdio',
                params='console=hvc0 guest.do=shell', stdin=b'echo said $((6 * 7))\npoweroff -f\n',
                timeout_s=PATIENCE_S)

    assert done.code == 0, str(done)
    assert done.line('GUEST')
    assert 'said 42' in done.out, str(done)
