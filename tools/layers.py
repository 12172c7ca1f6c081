# SPDX-License-Identifier: BSD-3-Clause
"""Checks includes and restricted words in src/ against the tables of docs/architecture.md."""
import re
import sys
from pathlib import Path

TOP = Path(__file__).resolve().parent.parent
SOURCE = TOP / 'src'
INCLUDE = re.compile(r'^\s*#\s*include\s+"([^"]+)"', re.M)
COMMENT = re.compile(r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"', re.S)
TEST = re.compile(r'_(test|fuzz)\.[ch]$')


def tables(text):
    """{first word of its head: rows}, for each table; cells stripped, heads and rulers left out."""
    found = {}
    for block in re.findall(r'(?:^\|.*\n)+', text, re.M):
        rows = [[cell.strip() for cell in line.strip('|').split('|')]
                for line in block.splitlines()]
        found[rows[0][0]] = rows[2:]
    return found


def read_layers(rows):
    """{folder: folders it may include}, {folder: headers}, {file: folders}."""
    names = {row[0] for row in rows}
    folders, headers, files = {}, {}, {}
    for name, allowed, also, *_ in rows:
        words = set(allowed.split()) & names
        folders[name] = names - words if allowed.startswith('all but') else words
        folders[name].add(name)
        for path, extra in re.findall(r'`([^`]+)`(?::\s*([\w ]+))?', also):
            if extra:
                files[f'{name}/{path}'] = set(extra.split())
            else:
                headers.setdefault(name, set()).add(path)
    return folders, headers, files


def include_faults(name, text, layers):
    """What is wrong with the includes of the file src/name."""
    folders, headers, files = layers
    folder = name.split('/', 1)[0]
    for path in INCLUDE.findall(text):
        if '/' not in path:
            # A generated table, or a file of the same sub-folder: only the first is meant.
            if (SOURCE / name).with_name(path).exists():
                yield f'includes "{path}" without its folder'
            continue
        target = path.split('/', 1)[0]
        if target in folders[folder] or target in files.get(name, ()):
            continue
        if path not in headers.get(folder, ()):
            yield f'{folder} may not include {path}'


def without_comments(text):
    """The text with comments and strings blanked, lines kept."""
    return COMMENT.sub(lambda m: re.sub(r'[^\n]', ' ', m.group()), text)


def word_faults(name, text, rows):
    """Restricted words the file src/name uses and may not: (line, text)."""
    code = without_comments(text)
    for word, where, why in rows:
        allowed = re.findall(r'`([^`]+)`', where)
        if any(name == path or path.endswith('/') and name.startswith(path) for path in allowed):
            continue
        if why.startswith('not tests') and TEST.search(name):
            continue
        word = word.strip('`')
        pattern = r'^\s*#\s*(?:if|elif)' if word == '#if' else rf'\b{word}\b'
        for match in re.finditer(pattern, code, re.M):
            yield code.count('\n', 0, match.end()) + 1, f'{word} does not belong here: {why}'


def main():
    """Prints what is wrong, a line each; returns how many."""
    found = tables((TOP / 'docs/architecture.md').read_text(encoding='utf-8'))
    layers = read_layers(found['folder'])
    faults = []
    for path in sorted(SOURCE.rglob('*.[ch]')):
        name, text = str(path.relative_to(SOURCE)), path.read_text(encoding='utf-8')
        if name.split('/', 1)[0] not in layers[0]:
            faults.append(f'src/{name}: its folder is not in the table of docs/architecture.md')
            continue
        faults += [f'src/{name}: {fault}' for fault in include_faults(name, text, layers)]
        faults += [f'src/{name}:{line}: {fault}' for line, fault in
                   word_faults(name, text, found['word'])]
    print('\n'.join(faults) or 'layers: every include and word is where it belongs')
    return bool(faults)


sys.exit(main())
