# SPDX-License-Identifier: BSD-3-Clause
"""headers.py BUILD - compiles each header alone with gcc and clang; needs a configured build."""
import shutil
import sys
from pathlib import Path

import compile_db

FLAGS = ['-std=gnu17', '-Wall', '-Wextra', '-Werror', '-fsyntax-only', '-x', 'c',
         '-Wno-unused-function', '-Wno-unused-const-variable']


def options(build):
    """Include folders and definitions that any file of ours is compiled with."""
    words = dict.fromkeys(word for _, _, part in compile_db.entries(build) for word in part)
    return [word for word in words if not word.startswith('-DGMEM')]


def main():
    """Prints what does not compile; returns whether anything."""
    build = Path(sys.argv[1]).resolve()
    words = options(build)
    compilers = [name for name in ('gcc', 'clang') if shutil.which(name)]
    headers = sorted((compile_db.TOP / 'src').rglob('*.h'))
    commands = [([compiler, *FLAGS, *words, '-include', str(header), '/dev/null'], build)
                for header in headers for compiler in compilers]
    failed = [text for code, text in compile_db.run_all(commands) if code]
    print(''.join(failed) or f'headers: {len(headers)} compile alone with {", ".join(compilers)}')
    return bool(failed)


sys.exit(main())
