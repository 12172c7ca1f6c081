# SPDX-License-Identifier: BSD-3-Clause
"""a hundred machines at once on this machine's KVM: starts a second, and memory of each

Each has a disk, an entropy device and a balloon, jailed, and a guest that halts.  The rate counts
from the first start until all have answered on their control sockets.
"""
import subprocess
import sys
import tempfile
import time
from pathlib import Path

TOP = Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(TOP / 'tests'))

from bare import HALT, elf  # noqa: E402  pylint: disable=wrong-import-position

COUNT = 100
CROSVM = TOP / 'build/src/crosvm'


def pss_kib(folder):
    """Of all processes that have the folder's name on their command line, and their children."""
    total = 0
    parents = {}
    ours = set()
    for place in Path('/proc').glob('[0-9]*'):
        try:
            parents[int(place.name)] = int((place / 'stat').read_text().rsplit(')')[-1].split()[1])
            if str(folder).encode() in (place / 'cmdline').read_bytes():
                ours.add(int(place.name))
        except OSError:
            continue
    for _ in range(4):  # generations
        ours |= {pid for pid, parent in parents.items() if parent in ours}
    for pid in ours:
        try:
            lines = Path(f'/proc/{pid}/smaps_rollup').read_text().splitlines()
        except OSError:
            continue
        total += sum(int(line.split()[1]) for line in lines if line.startswith('Pss:'))
    return total, len(ours)


def main():
    """Starts them, asks them, stops them."""
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        (folder / 'guest').write_bytes(elf(HALT))
        with open(folder / 'disk', 'wb') as file:
            file.truncate(16 << 20)
        sockets = [folder / f'{n}.sock' for n in range(COUNT)]
        begun = time.monotonic()
        vms = [subprocess.Popen([CROSVM, 'run', '--serial', 'sink', '-m', '32', '-d',
                                 folder / 'disk', '-s', sock, folder / 'guest'],
                                stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
               for sock in sockets]
        for sock in sockets:
            while subprocess.run([CROSVM, 'status', sock], capture_output=True,
                                 check=False).returncode:
                if any(vm.poll() is not None for vm in vms):
                    sys.exit('bench: a machine ended')
        seconds = time.monotonic() - begun
        total, processes = pss_kib(folder)
        print(f'{COUNT} machines in {seconds:.2f} s: {COUNT / seconds:.0f} a second')
        print(f'{total / COUNT:.0f} KiB (PSS) a machine, {processes / COUNT:.1f} processes')
        subprocess.run([CROSVM, 'stop', *sockets], check=True)
        for vm in vms:
            vm.wait()


main()
