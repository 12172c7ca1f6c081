# SPDX-License-Identifier: BSD-3-Clause
"""sparse.py BUILD - runs sparse over every C file; needs a configured build."""
import sys
from pathlib import Path

import compile_db

# What sparse 0.6.4 does not know of gcc, it is told; what it says of others' headers is dropped.
# Constants that a cast cuts are -Wconversion's business.
FLAGS = ['-std=gnu17', '-Wno-unknown-attribute', '-Wno-decl', '-Waddress-space',
         '-Wno-declaration-after-statement', '-Wno-bitwise', '-Wno-cast-truncate',
         '-D__has_include(x)=1']


def is_librarys(line):
    """Whether it is about the C library's own initialiser, which has 0 where a pointer is."""
    if 'plain integer as NULL' not in line:
        return False
    path, number, _ = line.split(':', 2)
    return 'PTHREAD_MUTEX_INITIALIZER' in Path(path).read_text().splitlines()[int(number) - 1]


def main():
    """Prints what sparse says; returns whether it said anything."""
    files = list(compile_db.entries(Path(sys.argv[1]).resolve()))
    commands = [(['sparse', *FLAGS, *options, str(file)], folder)
                for file, folder, options in files]
    said = [line for _, text in compile_db.run_all(commands) for line in text.splitlines()
            if line.startswith((f'{compile_db.TOP}/src/', '../src/', 'sparse:'))
            and ' note: ' not in line and not is_librarys(line)]
    print('\n'.join(said) or f'sparse: {len(files)} files are clean')
    return bool(said)


sys.exit(main())
