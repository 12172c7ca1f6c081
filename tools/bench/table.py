# SPDX-License-Identifier: BSD-3-Clause
"""one row for each goal, each from its own bench in a short form: three minutes, or less

What a row stands for, and what limits it, is in docs/performance.md.  A row that cannot be had on
this machine says why.
"""
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

TOP = Path(__file__).resolve().parent.parent.parent
BUILD = TOP / 'build'
sys.path[:0] = [str(TOP / 'tools'), str(TOP / 'tools/bench')]

import boot  # noqa: E402  pylint: disable=wrong-import-position
import control  # noqa: E402  pylint: disable=wrong-import-position
import sizes  # noqa: E402  pylint: disable=wrong-import-position
import start  # noqa: E402  pylint: disable=wrong-import-position

HEAD = ('measure', 'goal', 'here', 'held against')
SHORT = {'SECONDS': '0.4', 'ROUNDS': '3', 'MILLISECONDS': '100', 'GUESTS': 'no',
         'BLOCK_TEST_KILLS': '50'}
KERNEL = 'mini.vmlinux'


class NotHere(Exception):
    """Why a figure cannot be had on this machine."""


def need(condition, why):
    """For what a bench cannot do without."""
    if not condition:
        raise NotHere(why)


def output(*command):
    """What a bench prints."""
    done = subprocess.run([str(word) for word in command], env={**os.environ, **SHORT},
                          capture_output=True, text=True, check=False, timeout=170)
    if done.returncode:
        raise NotHere((done.stderr.strip() or 'failed').splitlines()[-1])
    return done.stdout


def bench(name):
    """The same of a program beside this one."""
    return output(sys.executable, TOP / f'tools/bench/{name}.py')


def start_rows():
    """From exec to the first instruction, and memory."""
    need(os.access('/dev/kvm', os.R_OK | os.W_OK), 'no /dev/kvm')
    need(os.access('/dev/net/tun', os.R_OK | os.W_OK), 'no /dev/net/tun')
    found = start.measure([start.NONE, start.ONE, start.GOAL])
    median, least, pss, library = found[start.GOAL]
    device = (pss - found[start.NONE][2]) / 4
    return [('exec to first instruction; block, rng, balloon, net jailed', '3 ms',
             f'{median:.1f} ms; least {least:.1f}', 'Firecracker: 12 ms to its API socket'),
            ('the same without devices', '',
             f'{found[start.NONE][0]:.1f} ms; least {found[start.NONE][1]:.1f}', ''),
            ('memory besides the guest\'s, these four', '3 MiB',
             f'{pss / 1024:.1f} MiB, {library / 1024:.1f} of the C library',
             'Firecracker 5 MiB, Cloud Hypervisor 10 MiB'),
            ('memory for one more jailed device', '300 KiB', f'{device:.0f} KiB', '')]


def boot_rows():
    """Instructions to the guest's init."""
    need(shutil.which('qemu-system-x86_64'), 'no qemu-system-x86_64')
    with tempfile.TemporaryDirectory() as folder:
        found = boot.measure([KERNEL], boot.MACHINES, 'shift=0', 1, folder)
    ours, theirs = (boot.median(found[KERNEL, name], 'cpu_ms') for name in ('crosvm', 'microvm'))
    return [('exec to the guest\'s init, instructions', '0.85 of QEMU microvm',
             f'{ours / theirs:.2f}: {ours:.0f} million', f'microvm {theirs:.0f} million')]


def binary_rows():
    """The size of the program."""
    with tempfile.TemporaryDirectory() as folder:
        stripped = Path(folder) / 'crosvm'
        subprocess.run(['strip', '-o', stripped, BUILD / 'src/crosvm'], check=True)
        size = stripped.stat().st_size / 1e6
    return [('stripped program, all devices', '1.2 MB', f'{size:.2f} MB',
             'Firecracker 2.5 + 0.9 MB, kvmtool 1.1 MB')]


def control_rows():
    """The slowest 99th percentile of all commands."""
    need(os.access('/dev/kvm', os.R_OK | os.W_OK), 'no /dev/kvm')
    with control.machine() as path:
        took = control.measure(path, 500)
    name, times = max(took.items(), key=lambda item: item[1][len(item[1]) * 99 // 100])
    return [('a control command, 99th percentile', '1 ms',
             f'{times[len(times) * 99 // 100]:.2f} ms: {name.split()[0]}', '')]


def rates(text):
    """{section: {name: rate}} of what block.c prints."""
    found, section = {}, ''
    for line in text.splitlines():
        row = re.match(r'  (\S.*?) +(\d+) (?:IO|MB)/s', line)
        if row:
            found.setdefault(section, {})[row[1]] = float(row[2])
        elif line and not line.startswith(' '):
            section = line.strip()
    return found


def block_rows():
    """A disk beside a bare loop, and beside QEMU's."""
    need(shutil.which('qemu-storage-daemon'), 'no qemu-storage-daemon')
    found = rates(bench('block'))
    rows = []
    for section in 'random 4 KiB, depth 32', 'sequential 256 KiB, depth 4':
        for mode in 'cached', 'direct':
            rate = found[f'{section}, {mode}']
            loop, ours = rate['bare io_uring loop'], rate['crosvm']
            goal = '0.98 of a loop' + (', 1.3 of QEMU' if 'random' in section else '')
            rows.append((f'block: {section}, {mode}', goal,
                         f'{ours / loop:.2f}, {ours / rate["qemu-storage-daemon"]:.2f} of QEMU',
                         f'loop in two processes: {rate["the same, two processes"] / loop:.2f}'))
    return rows


def queue_rows():
    """One request in the queue code."""
    found = re.findall(r'^(split|packed) +([\d.]+) ns', bench('queue'), re.MULTILINE)
    return [('queues: a request of three descriptors', '30 ns',
             ', '.join(f'{name} {float(ns):.0f} ns' for name, ns in found), '')]


def net_rows():
    """A card beside a loop that copies frames."""
    need(os.geteuid() == 0 and os.access('/dev/net/tun', os.W_OK), 'taps are made by root')
    text = bench('net')
    found = re.findall(r'^(\S.*?)  +crosvm .* x([\d.]+) .* x([\d.]+)$', text, re.MULTILINE)
    rows = [(f'net: {what}', '2.0 of a loop', f'{rate} in frames, {cpu} in CPU', 'copy loop')
            for what, rate, cpu in found if '1514' in what or '64 KiB' in what]
    vhost = re.findall(r'^(\S.*?)  +vhost.* x([\d.]+) ', text, re.MULTILINE)
    here = ', '.join(f'{what} {rate}' for what, rate in vhost) or 'no /dev/vhost-net'
    return [*rows, ('net: beside vhost-net', '0.8 of it', here, '')]


def kill_rows():
    """How long a guest waits for a disk whose process was killed."""
    program = BUILD / 'src/test-devices-block_load'
    need(program.exists(), f'{program.name} is not built')
    found = re.findall(r'aio=([\w,]+), (\w+): (\d+) kills.*longest ([\d.]+) ms', output(program))
    kills = sum(int(row[2]) for row in found)
    longest, engine = max((float(row[3]), row[0]) for row in found)
    return [('a disk process killed: the guest waits', '50 ms',
             f'{longest:.0f} ms at most in {kills}: {engine}', 'CROSVM_TEST_KILLS=1000 in full')]


def code_rows():
    """Sizes of functions and files."""
    files = [path for path in TOP.glob('src/**/*.c') if not re.search('_(test|fuzz)', path.name)]
    lengths = [length for length, _, _ in sizes.functions(map(str, files))]
    middle = sorted(lengths)[len(lengths) // 2]
    fuzzed = len(list(TOP.glob('src/**/*_fuzz.c')))
    return [('functions: median, 95th percentile, longest', '12, 50, 120',
             f'{middle}, {sizes.percentile(lengths, 0.95)}, {max(lengths)} lines', ''),
            ('fuzz targets', 'every parser and device', f'{fuzzed} files', './dev fuzz lists them')]


# Goals that are not figures of a minute; where they are tested.
ELSEWHERE = [
    ('qcow2: killed at random points, image checked', '1000 kills, clean', 'not in this form',
     './dev test unit: qcow2-crash'),
    ('what a jailed process and main may do', 'as the threat model', 'not in this form',
     './dev test jail calls'),
    ('lines covered of base, mem, virtio, control', '95 %', 'not in this form',
     './dev test coverage'),
    ('from a clone to a shell', '60 s', 'not in this form', 'time ./dev demo'),
]

PARTS = (start_rows, boot_rows, binary_rows, control_rows, block_rows, queue_rows, net_rows,
         kill_rows, code_rows)


def machine():
    """What was measured on."""
    model = re.search(r'model name\s*: (.*)', Path('/proc/cpuinfo').read_text(encoding='utf-8'))
    return (f'{os.cpu_count()} CPUs, {model[1] if model else os.uname().machine}, Linux '
            f'{os.uname().release}, load {os.getloadavg()[0]:.1f}')


def line(row):
    """One line of the table."""
    return f'{row[0]:58} {row[1]:29} {row[2]:34} {row[3]}'.rstrip()


def main():
    """Prints each row as soon as it is known."""
    print(f'{machine()}\n\n{line(HEAD)}', flush=True)
    for part in PARTS:
        try:
            rows = part()
        except (NotHere, SystemExit, subprocess.TimeoutExpired) as why:
            rows = [(part.__doc__.rstrip('.'), '', f'not here: {why}', '')]
        print('\n'.join(line(row) for row in rows), flush=True)
    print('\n'.join(line(row) for row in ELSEWHERE))


if __name__ == '__main__':
    main()
