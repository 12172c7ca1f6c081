# SPDX-License-Identifier: BSD-3-Clause
"""analyzer.py BUILD - gcc's -fanalyzer over every C file but tests; needs a configured build."""
import sys
from pathlib import Path

import compile_db

# What is left is use after free, double free and double close, bad calls of free, unsafe calls in
# signal handlers.  gcc 12 is wrong too often about the rest: a value that leaves by an out
# parameter counts as leaked or never set, and every callee that may return NULL as having done so.
FLAGS = ['-std=gnu17', '-O1', '-fanalyzer', '-Werror', '-c', '-o', '/dev/null',
         '-fdiagnostics-path-format=none'] + [f'-Wno-analyzer-{name}' for name in (
             'malloc-leak', 'file-leak', 'use-of-uninitialized-value', 'null-dereference',
             'null-argument', 'possible-null-dereference', 'possible-null-argument')]


def main():
    """Prints what gcc says; returns whether it said anything."""
    files = [row for row in compile_db.entries(Path(sys.argv[1]).resolve())
             if not row[0].name.endswith(('_test.c', '_fuzz.c'))]
    commands = [(['gcc', *FLAGS, *options, str(file)], folder)
                for file, folder, options in files]
    said = [text for code, text in compile_db.run_all(commands) if code]
    print(''.join(said) or f'analyzer: {len(files)} files')
    return bool(said)


sys.exit(main())
