# SPDX-License-Identifier: BSD-3-Clause
"""coverage.py BUILD PROFILES - lines and branches of src/ that the tests of a build reached.

Reads what a build with clang's -fprofile-instr-generate -fcoverage-mapping wrote to the folder
PROFILES, prints a line for each folder of src/ and fails where one misses its goal.
"""
import collections
import json
import os
import subprocess
import sys
from pathlib import Path

TOP = Path(__file__).resolve().parent.parent
FIELDS = ('lines', 'branches')
GOALS = {'base': 95, 'mem': 95, 'virtio': 95, 'control': 95}  # per cent of lines


def percent(part, whole):
    """A percentage, or a dash where there is nothing to cover."""
    return f'{100 * part / whole:5.1f} %' if whole else '    - '


def programs(build):
    """What was built with coverage and may have run."""
    found = [path for path in (build / 'src').rglob('*')
             if path.name.startswith('test-') or path.name == 'crosvm']
    return sorted(path for path in found if path.is_file() and os.access(path, os.X_OK))


def export(build, profiles):
    """What LLVM makes of them: a dictionary for each file."""
    merged = profiles / 'all.profdata'
    subprocess.run(['llvm-profdata', 'merge', '-sparse', '-o', merged,
                    *profiles.glob('*.profraw')], check=True)
    first, *rest = programs(build)
    done = subprocess.run(['llvm-cov', 'export', '-summary-only', '-instr-profile', merged, first,
                           *(word for path in rest for word in ('-object', path))],
                          check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    return json.loads(done.stdout)['data'][0]['files']


def rows_of(name):
    """Which rows count a file of src/."""
    folder, file = name.split('/')[0], name.split('/')[-1]
    yield folder
    yield 'all'
    if folder == 'vm' and file.startswith('control'):
        yield 'control'  # the operator's socket: vm/control*.c


def main():
    """Prints the rows."""
    build, profiles = Path(sys.argv[1]).resolve(), Path(sys.argv[2])
    totals = collections.defaultdict(lambda: [0, 0, 0, 0])
    for file in export(build, profiles):
        path = Path(os.path.normpath(build / file['filename']))
        if not path.is_relative_to(TOP / 'src') or path.stem.endswith(('_test', '_fuzz')):
            continue
        for row in rows_of(str(path.relative_to(TOP / 'src'))):
            counts = [file['summary'][field][what] for field in FIELDS
                      for what in ('covered', 'count')]
            totals[row] = [a + b for a, b in zip(totals[row], counts)]
    missed = []
    for name, row in sorted(totals.items(), key=lambda item: (item[0] == 'all', item[0])):
        goal = GOALS.get(name, 0)
        if 100 * row[0] < goal * row[1]:
            missed.append(name)
        print(f'{name:10} lines {percent(*row[:2])} of {row[1]:5}   '
              f'branches {percent(*row[2:])} of {row[3]:5}' + (f'   goal {goal} %' if goal else ''))
    if missed:
        print('coverage: below its goal:', *missed)
    return 1 if missed else 0


sys.exit(main())
