# SPDX-License-Identifier: BSD-3-Clause
"""Checks that functions and files which comments and documents name are there, and there."""
import re
import sys
from pathlib import Path

TOP = Path(__file__).resolve().parent.parent
COMMENT = re.compile(r'/\*.*?\*/', re.S)
FUNCTION = re.compile(r'(?<![\w.>-])([a-z_]\w+)\(\)')
PLACED = re.compile(r'`(\w+)\(\)` in\s+`([^`\n]+\.[ch])`')
SPAN = re.compile(r'`([^`\n]+)`')
FILE = re.compile(r'(?<![\w/.-])((?:[\w-]+/)+[\w.-]+\.(?:[chS]|py|sh|md|in))\b')
OTHERS = {'mlock'}  # functions that nothing of ours calls
MADE = {'jail/calls_table.h'}  # files that the build makes
ELSEWHERE = {'docs/comparison.md'}  # names files of other projects


def sources(*patterns):
    """[(path below TOP, text)] of all files that match."""
    return [(str(path.relative_to(TOP)), path.read_text(encoding='utf-8'))
            for pattern in patterns for path in sorted(TOP.glob(pattern)) if path.is_file()]


def words_of_code(files):
    """Every identifier that stands outside comments."""
    return {word for _, text in files
            for word in re.findall(r'[A-Za-z_]\w*', COMMENT.sub(' ', text))}


def is_there(name, near):
    """Whether the file exists, named from the top, src/ or its neighbour; true of others'."""
    places = [TOP, TOP / 'src', (TOP / near).parent]
    is_ours = any((place / name.split('/')[0]).is_dir() for place in places)
    return not is_ours or name in MADE or any((place / name).exists() for place in places)


def line_of(text, at):
    """The number of the line."""
    return text.count('\n', 0, at) + 1


def misplaced(path, text, code):
    """What the text says is in a file and is not."""
    places = {name.removeprefix('src/'): COMMENT.sub(' ', body) for name, body in code}
    for match in PLACED.finditer(text):
        if not re.search(rf'^\w.*\b{match[1]}\(', places.get(match[2], ''), re.M):
            yield f'{path}:{line_of(text, match.start())}: {match[1]}() is not in {match[2]}'


def faults_of(path, text, spans, known):
    """What spans (of text) name and is not there."""
    for start, span in spans:
        for match in FUNCTION.finditer(span):
            if match[1] not in known:
                yield f'{path}:{line_of(text, start + match.start())}: no function {match[1]}()'
        for match in FILE.finditer(span):
            if not is_there(match[1], path):
                yield f'{path}:{line_of(text, start + match.start())}: no file {match[1]}'


def main():
    """Prints what is wrong, a line each; returns whether there is anything."""
    code = sources('src/**/*.[ch]', 'tools/**/*.c', 'tests/**/*.[chS]', 'fuzz/*.c')
    scripts = sources('tools/**/*.py', 'tests/*.py')
    known = words_of_code(code) | OTHERS
    known |= {word for _, text in scripts for word in re.findall(r'\w+', text)}
    faults = []
    for path, text in code:
        faults += faults_of(path, text, [(m.start(), m[0]) for m in COMMENT.finditer(text)], known)
    for path, text in sources('docs/*.md', 'README.md'):
        if path in ELSEWHERE:
            continue
        faults += faults_of(path, text, [(m.start(), m[0]) for m in SPAN.finditer(text)], known)
        faults += misplaced(path, text, code)
    print('\n'.join(faults) or 'names: what comments and documents name is there')
    return bool(faults)


sys.exit(main())
