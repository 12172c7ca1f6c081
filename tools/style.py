# SPDX-License-Identifier: BSD-3-Clause
"""What a compiler does not see: licence lines, widths, blanks, and how a file begins."""
import subprocess
import sys
from pathlib import Path

TOP = Path(__file__).resolve().parent.parent
WIDTH = 100
LICENSED = ('.c', '.h', '.py', '.sh', '.build')
LICENCE = 'SPDX-License-Identifier: BSD-3-Clause'


def width(line):
    """Columns of a line, tabs eight wide."""
    return len(line.expandtabs(8))


def faults(name, text):
    """What is wrong with a file: (line number, what)."""
    lines = text.split('\n')
    if name.endswith(LICENSED) and not any(LICENCE in line for line in lines[:2]):
        yield 1, f'lacks the line {LICENCE}'
    if name.startswith('src/') and name.endswith(('.c', '.h')):
        if not ''.join(lines[1:3]).lstrip('/* ').startswith(Path(name).name):
            yield 2, f'the comment after the licence does not begin "{Path(name).name} - "'
        if name.endswith('.h') and '#pragma once' not in text:
            yield 1, 'lacks #pragma once'
    for number, line in enumerate(lines, 1):
        if name.endswith(LICENSED) and width(line) > WIDTH:
            yield number, f'{width(line)} columns, more than {WIDTH}'
        if line != line.rstrip() and not name.endswith('.md'):
            yield number, 'blanks at the end of the line'
    if text and not text.endswith('\n'):
        yield len(lines), 'no end of line at the end of the file'


def main():
    """Prints what is wrong; returns whether anything is."""
    names = subprocess.run(['git', 'ls-files', '--cached', '--others', '--exclude-standard'],
                           cwd=TOP, capture_output=True, text=True, check=True).stdout
    said = []
    for name in names.splitlines():
        path = TOP / name
        if name.startswith('fuzz/corpus/') or not path.is_file():
            continue
        try:
            text = path.read_text(encoding='utf-8')
        except UnicodeDecodeError:
            continue
        said += [f'{name}:{number}: {what}' for number, what in faults(name, text)]
    print('\n'.join(said) or 'style: in order')
    return bool(said)


sys.exit(main())
