# SPDX-License-Identifier: BSD-3-Clause
"""from exec to the guest's init, beside QEMU's microvm, with the same kernels and initrd

Runs in the testbed, interleaved, files in memory, the first boot left out.  With instructions
counted as time (one a nanosecond) the CPU time of the process tree, which includes the guest, is a
count of instructions in millions; it repeats to some 0.2 %.  The wall times are of a second run
without that.
"""
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from guests import artefacts
from testbed import l1

TOP = Path(__file__).resolve().parent.parent.parent
MARKER = 'GUEST release'
MICROVM = ('qemu-system-x86_64 -M microvm,pit=on,pic=on,rtc=on -accel kvm -cpu host -m 256 '
           '-nodefaults '
           '-no-reboot -display none -serial stdio -kernel {kernel} -initrd initrd '
           '-append "console=ttyS0 reboot=t panic=-1"')
CROSVM = ('./crosvm run -m 256 -i initrd -p panic=-1 {devices} {kernel}')
ROUNDS = 5


def script(kernels, machines, rounds):
    """The commands of one run in L1."""
    lines = ['set -e', 'mkdir /run/bench; cd /run/bench', f'cp {TOP}/build/src/crosvm crosvm',
             f'cp {artefacts()["marker.initrd"]()} initrd',
             'dd if=/dev/zero of=disk bs=1M count=16 2>/dev/null']
    lines += [f'cp {artefacts()[kernel]()} {kernel}' for kernel in kernels]
    for kernel in kernels:
        for i in range(rounds + 1):
            for name, command in machines.items():
                lines.append(f'echo "{kernel} {name} {i} '
                             f'$(/run/out/until -p -t 100 -m "{MARKER}" -- '
                             f'{command.format(kernel=kernel, **DEVICES)})"')
    return '\n'.join(lines)


DEVICES = {'devices': '--rwdisk disk'}
MACHINES = {'microvm': MICROVM, 'crosvm': CROSVM}


def measure(kernels, machines, icount, rounds, out):
    """{(kernel, machine): [{figure: value}]} of one run."""
    text = bytearray()
    subprocess.run(['gcc', '-O2', '-static', '-o', f'{out}/until', TOP / 'tools/bench/until.c'],
                   check=True)

    def collect(kind, data):
        if kind == b'O':
            text.extend(data)
        else:
            sys.stderr.buffer.write(data)

    options = l1.Options(smp=1, icount=icount)
    job = l1.Job(['sh', '-c', script(kernels, machines, rounds)], out=out, timeout_s=1500)
    if l1.run(options, job, collect) != 0:
        sys.exit('bench: the run in the testbed failed')
    figures = {}
    for line in text.decode().splitlines():
        kernel, name, index, state, *pairs = line.split()
        if index == '0':
            continue
        if state != 'ok':
            sys.exit(f'bench: {line}')
        values = {key: float(value) for key, value in (pair.split('=') for pair in pairs)}
        figures.setdefault((kernel, name), []).append(values)
    return figures


def median(rows, figure):
    """The median of one figure."""
    return statistics.median(row[figure] for row in rows)


def main():
    """Prints a row for each kernel and machine."""
    kernels = sys.argv[1:] or ['mini.vmlinux', '6.1-cloud.vmlinux']
    machines = MACHINES
    with tempfile.TemporaryDirectory() as out:
        counted = measure(kernels, machines, 'shift=0', ROUNDS, out)
        timed = measure(kernels, machines, '', ROUNDS, out)
    print(f'{"kernel":20} {"machine":10} {"M instructions":>15} {"wall ms":>9} {"PSS MiB":>8}')
    for kernel in kernels:
        for name in machines:
            rows = counted[kernel, name]
            print(f'{kernel:20} {name:10} {median(rows, "cpu_ms"):15.1f} '
                  f'{median(timed[kernel, name], "wall_ms"):9.0f} '
                  f'{median(rows, "pss_kib") / 1024:8.1f}')
        ratio = (median(counted[kernel, 'crosvm'], 'cpu_ms') /
                 median(counted[kernel, 'microvm'], 'cpu_ms'))
        wall = (median(timed[kernel, 'crosvm'], 'wall_ms') /
                median(timed[kernel, 'microvm'], 'wall_ms'))
        print(f'{kernel:20} {"ratio":10} {ratio:15.3f} {wall:9.3f}')


if __name__ == '__main__':
    main()
