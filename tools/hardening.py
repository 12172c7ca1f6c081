# SPDX-License-Identifier: BSD-3-Clause
"""hardening.py BINARY - what protects the program when it has a bug: asked of the binary itself."""
import re
import subprocess
import sys
from pathlib import Path


def readelf(*arguments):
    """What readelf says."""
    return subprocess.run(['readelf', '-W', *arguments], capture_output=True, text=True,
                          check=True).stdout


def main():
    """Prints what is absent; returns whether anything is."""
    binary = sys.argv[1]
    if not Path(binary).exists():
        print(f'{binary} is not built')
        return True
    head, segments = readelf('-h', binary), readelf('-l', binary)
    dynamic, symbols = readelf('-d', binary), readelf('--syms', binary)
    stack = [line.split() for line in segments.splitlines() if 'GNU_STACK' in line]
    wants = {
        'position independent': 'DYN (Position-Independent Executable' in head,
        'read-only relocations': 'GNU_RELRO' in segments,
        'bound at start': 'BIND_NOW' in dynamic or 'NOW' in dynamic.partition('FLAGS_1')[2],
        'no executable stack': stack and 'E' not in stack[0][6],
        'nothing writable and executable': ' RWE ' not in segments,
        'stack canaries': '__stack_chk_fail' in symbols,
        'checked C library calls': re.search(r'_chk\b', symbols),
        'no text relocations': 'TEXTREL' not in dynamic,
        'no run path': 'RUNPATH' not in dynamic and 'RPATH' not in dynamic,
    }
    absent = [name for name, there in wants.items() if not there]
    print('\n'.join(f'{binary}: absent: {name}' for name in absent)
          or f'hardening: {", ".join(wants)}')
    return bool(absent)


sys.exit(main())
