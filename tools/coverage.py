# SPDX-License-Identifier: BSD-3-Clause
"""coverage.py BUILD - lines and branches of src/ that the tests of a build reached, by folder."""
import collections
import json
import subprocess
import sys
from pathlib import Path

TOP = Path(__file__).resolve().parent.parent


def percent(part, whole):
    """A percentage, or a dash where there is nothing to cover."""
    return f'{100 * part / whole:5.1f} %' if whole else '    - '


def main():
    """Prints a line for each folder and one for all."""
    done = subprocess.run(['gcovr', '--root', TOP, '--filter', f'{TOP}/src/',
                           '--exclude', r'.*_(test|fuzz)\.c$', '--json-summary', '-',
                           '--exclude-unreachable-branches', sys.argv[1]],
                          cwd=TOP, capture_output=True, text=True, check=False)
    if done.returncode:
        print(done.stderr)
        return 1
    totals = collections.defaultdict(lambda: [0, 0, 0, 0])
    for file in json.loads(done.stdout)['files']:
        name = file['filename'].split('/')[1]
        for key in (name, 'all'):
            for i, field in enumerate(('line_covered', 'line_total', 'branch_covered',
                                       'branch_total')):
                totals[key][i] += file[field]
    for name, row in sorted(totals.items(), key=lambda item: (item[0] == 'all', item[0])):
        print(f'{name:10} lines {percent(*row[:2])} of {row[1]:5}   '
              f'branches {percent(*row[2:])} of {row[3]:5}')
    return 0


sys.exit(main())
