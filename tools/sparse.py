# SPDX-License-Identifier: BSD-3-Clause
"""sparse.py BUILD - runs sparse over every C file; needs a configured build."""
import sys
from pathlib import Path

import compile_db

# Not ours to mend: what sparse 0.6.4 does not know of gcc and of the C library's headers.
FLAGS = ['-std=gnu17', '-Wno-unknown-attribute', '-Wsparse-error', '-Wno-decl',
         '-Waddress-space', '-Wno-declaration-after-statement', '-Wno-bitwise']


def main():
    """Prints what sparse says; returns whether it said anything."""
    files = list(compile_db.entries(Path(sys.argv[1]).resolve()))
    commands = [(['sparse', *FLAGS, *options, str(file)], folder)
                for file, folder, options in files]
    said = [text for code, text in compile_db.run_all(commands) if code or text.strip()]
    print(''.join(said) or f'sparse: {len(files)} files are clean')
    return bool(said)


sys.exit(main())
