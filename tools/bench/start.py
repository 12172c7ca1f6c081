# SPDX-License-Identifier: BSD-3-Clause
"""from exec to the guest's first instruction on this machine's KVM, and memory beside guest RAM

The guest is a few instructions that write a letter to the debug-exit port's neighbour COM1, so that
"first instruction" includes the letter's way to our standard output.  Devices are jailed, each in a
process of its own.  PSS is summed over all processes; the guest touches next to nothing of its RAM.
"""
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

TOP = Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(TOP / 'tests'))

from bare import HALT, elf, out  # noqa: E402  pylint: disable=wrong-import-position

RUNS = 40
# Says "!" and, once it was seen, powers off; a pause in between for the memory to be looked at.
PAUSE = b'\xb9\x00\x00\x02\x00' + b'\x66\xba\x80\x00' + b'\xee' + b'\xff\xc9\x75\xfb'
GUEST = out(0x3f8, ord('!')) + PAUSE + out(0xf4, 0) + HALT


def measure(until, guest, options, runs=RUNS):
    """(median ms, minimum ms, median PSS KiB) of crosvm run with these options."""
    command = [until, '-n', str(runs + 3), '-p', '-t', '20', '-m', '!', '--',
               TOP / 'build/src/crosvm', 'run', '--debug-exit', *options, guest]
    text = subprocess.run(list(map(str, command)), capture_output=True, text=True,
                          stdin=subprocess.DEVNULL, check=False).stdout
    rows = [dict(pair.split('=') for pair in line.split()[1:])
            for line in text.splitlines() if line.startswith('ok')][3:]
    if len(rows) < runs:
        sys.exit(f'bench: the guest did not run:\n{text}')
    wall = [float(row['wall_ms']) for row in rows]
    return (statistics.median(wall), min(wall),
            statistics.median(float(row['pss_kib']) for row in rows))


def main():
    """Prints a row for each set of devices."""
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        guest, until = folder / 'guest', folder / 'until'
        guest.write_bytes(elf(GUEST))
        subprocess.run(['gcc', '-O2', '-static', '-o', until, TOP / 'tools/bench/until.c'],
                       check=True)
        disks = []
        for name in 'abcd':
            with open(folder / name, 'wb') as file:
                file.truncate(16 << 20)
            disks.append(folder / name)
        none = ['--no-rng', '--no-balloon']
        one = [*none, '--block', f'path={disks[0]}']
        four = ['--no-balloon', '--block', f'path={disks[0]}', '--block', f'path={disks[1]}',
                '--console', 'sink']
        more = four + ['--block', f'path={disks[2]}', '--block', f'path={disks[3]}']
        rows = {'no device': none, '1: block': one,
                '4: 2 block, console, rng': four,
                '5: and balloon': four[1:], '6: 4 block, console, rng': more,
                '4, no sandbox': [*four, '--disable-sandbox']}
        print(f'{"devices":28} {"median ms":>10} {"min ms":>8} {"PSS KiB":>9}')
        for name, options in rows.items():
            median, least, pss = measure(until, guest, options)
            print(f'{name:28} {median:10.2f} {least:8.2f} {pss:9.0f}')


main()
