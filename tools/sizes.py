# SPDX-License-Identifier: BSD-3-Clause
"""Checks the sizes of functions and files in src/, and prints the figures."""
import json
import statistics
import subprocess
import sys
from pathlib import Path

TOP = Path(__file__).resolve().parent.parent
FUNCTION_MAX, FUNCTION_MEDIAN, FUNCTION_P95 = 120, 12, 50
FILE_MAX, FILE_MEDIAN = 900, 250


def percentile(numbers, part):
    """The smallest number that this part of them do not exceed."""
    return sorted(numbers)[min(len(numbers) - 1, int(part * len(numbers)))]


def functions(files):
    """[(lines, name, file)] by universal-ctags."""
    if not files:
        return []
    done = subprocess.run(['ctags', '--output-format=json', '--fields=+ne', '--kinds-C=f',
                           '--languages=C', '-f', '-', *files],
                          cwd=TOP, capture_output=True, text=True, check=True)
    tags = [json.loads(line) for line in done.stdout.splitlines()]
    return [(tag['end'] - tag['line'] + 1, tag['name'], tag['path']) for tag in tags
            if tag['_type'] == 'tag' and 'end' in tag]


def report(name, lengths):
    """Prints one line of figures; returns (median, 95th percentile)."""
    median, p95 = statistics.median(lengths), percentile(lengths, 0.95)
    print(f'{name}: {len(lengths)}, {sum(lengths)} lines, median {median:g}, p95 {p95}, '
          f'max {max(lengths)}')
    return median, p95


def main():
    """Prints figures and faults; returns whether there are faults."""
    paths = sorted(str(path.relative_to(TOP)) for path in (TOP / 'src').rglob('*.[ch]'))
    lengths = {path: (TOP / path).read_bytes().count(b'\n') for path in paths}
    tests = [path for path in paths if path.endswith(('_test.c', '_fuzz.c'))]
    ours = [path for path in paths if path not in tests]
    rows = functions(ours)
    median, p95 = report('functions', [row[0] for row in rows])
    file_median, _ = report('files', [lengths[path] for path in ours if path.endswith('.c')])
    if tests:
        report('test files', [lengths[path] for path in tests])
    faults = [f'{path}: {name} has {n} lines, more than {FUNCTION_MAX}'
              for n, name, path in rows + functions(tests) if n > FUNCTION_MAX]
    faults += [f'{path}: {n} lines, more than {FILE_MAX}'
               for path, n in lengths.items() if n > FILE_MAX]
    if median > FUNCTION_MEDIAN or p95 > FUNCTION_P95:
        faults.append(f'functions are too long: median at most {FUNCTION_MEDIAN}, '
                      f'95th percentile at most {FUNCTION_P95}')
        faults += [f'  {n} {path} {name}' for n, name, path in sorted(rows, reverse=True)[:12]]
    if file_median > FILE_MEDIAN:
        faults.append(f'files are too long: median at most {FILE_MEDIAN} lines')
    if faults:
        print('\n'.join(faults))
    return bool(faults)


if __name__ == '__main__':
    sys.exit(main())
