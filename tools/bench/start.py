# SPDX-License-Identifier: BSD-3-Clause
"""from exec to the guest's first instruction on this machine's KVM, and memory beside guest RAM

The guest is a few instructions that write a letter to the debug-exit port's neighbour COM1, so that
"first instruction" includes the letter's way to our standard output.  Devices are jailed, each in a
process of its own, and come up while the guest runs.  PSS is summed over all processes, in runs of
their own with a guest that pauses before its letter and behind; it touches next to nothing of its
RAM.  What of the sum is the C library depends on how many other processes of this machine have that
mapped.  Sets of devices are measured in turn, round by round, in a network namespace of their own
with a tap; "nice -n -20" helps against what else the machine does.
"""
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

TOP = Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(TOP / 'tests'))

from bare import HALT, elf, out  # noqa: E402  pylint: disable=wrong-import-position

ROUNDS, RUNS, PSS_RUNS = 10, 8, 3
# "goal" is the set of devices that goals are set for.
NONE, ONE, GOAL = 'no device', '1: block', '4: block, rng, balloon, net'
TAP = 'ip tuntap add dev start0 mode tap && ip link set start0 up && exec "$@"'


def pause(exits):
    """mov ecx, exits; mov dx, 0x80; 1: out dx, al; dec ecx; jnz 1b"""
    return b'\xb9' + exits.to_bytes(4, 'little') + b'\x66\xba\x80\x00\xee\xff\xc9\x75\xfb'


# Says "!" and powers off; with pauses for devices to come up, and for the memory to be looked at.
QUICK = out(0x3f8, ord('!')) + out(0xf4, 0) + HALT
SLOW = pause(1 << 14) + out(0x3f8, ord('!')) + pause(1 << 17) + out(0xf4, 0) + HALT


def run(folder, options, guest, runs):
    """[{figure: value}] of crosvm run with these options; the first run is left out."""
    own_network = ['unshare', '-n' if os.geteuid() == 0 else '-rn', 'sh', '-c', TAP, 'sh']
    command = [*own_network, folder / 'until', '-n', runs + 1, '-t', 20, '-m', '!',
               *(['-p'] if guest == 'slow' else []), '--',
               TOP / 'build/src/crosvm', 'run', '--debug-exit', *options, folder / guest]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True,
                          stdin=subprocess.DEVNULL, check=False)
    rows = [{key: float(value) for key, value in (pair.split('=') for pair in line.split()[1:])}
            for line in done.stdout.splitlines() if line.startswith('ok')][1:]
    if len(rows) < runs:
        sys.exit(f'bench: the guest did not run:\n{done.stdout}{done.stderr}')
    return rows


def sets(folder):
    """{name: options}"""
    disks = [['--block', f'path={folder / name}'] for name in 'abcd']
    none = ['--no-rng', '--no-balloon']
    return {NONE: none, ONE: [*none, *disks[0]],
            GOAL: [*disks[0], '--net', 'tap=start0'],
            '6: 4 block, rng, balloon': sum(disks, []),
            '4, no sandbox': [*disks[0], '--net', 'tap=start0', '--disable-sandbox']}


def measure(names, rounds=ROUNDS):
    """{name: (median ms, minimum ms, median PSS KiB, C library KiB)} of these sets, or of all."""
    walls, pss, library = {}, {}, {}
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        (folder / 'quick').write_bytes(elf(QUICK))
        (folder / 'slow').write_bytes(elf(SLOW))
        subprocess.run(['gcc', '-O2', '-static', '-o', folder / 'until',
                        TOP / 'tools/bench/until.c'], check=True)
        for name in 'abcd':
            with open(folder / name, 'wb') as file:
                file.truncate(16 << 20)
        wanted = {name: options for name, options in sets(folder).items()
                  if not names or name in names}
        for _ in range(rounds):
            for name, options in wanted.items():
                walls.setdefault(name, []).extend(
                    row['wall_ms'] for row in run(folder, options, 'quick', RUNS))
        for name, options in wanted.items():
            rows = run(folder, options, 'slow', PSS_RUNS)
            pss[name] = [row['pss_kib'] for row in rows]
            library[name] = [row['library_kib'] for row in rows]
    return {name: (statistics.median(walls[name]), min(walls[name]),
                   statistics.median(pss[name]), statistics.median(library[name]))
            for name in wanted}


def main():
    """Prints a row for each set of devices."""
    print(f'{"devices":28} {"median ms":>10} {"min ms":>8} {"PSS KiB":>9} {"of C library":>13}')
    for name, (median, least, pss, library) in measure([]).items():
        print(f'{name:28} {median:10.2f} {least:8.2f} {pss:9.0f} {library:13.0f}')


if __name__ == '__main__':
    main()
