# SPDX-License-Identifier: BSD-3-Clause
"""man.py PAGE...: what mandoc -Tlint says of manual pages, which have to be in one folder.

All that it says is a fault. References it looks up among the installed manuals only: those to pages
of ours are looked up beside the page instead, and must be there.
"""
import re
import subprocess
import sys
from pathlib import Path

REFERENCE = re.compile(r'referenced manual not found: Xr (\S+) (\d)')
OUTDATED = re.compile(r'^mandoc: outdated mandoc.db lacks')


def faults(page):
    """The lines about one page."""
    done = subprocess.run(['mandoc', '-Tlint', page], capture_output=True, text=True, check=False)
    for line in (done.stdout + done.stderr).splitlines():
        found = REFERENCE.search(line)
        if found and found[1].startswith('crosvm'):
            if page.with_name(f'{found[1]}.{found[2]}').exists():
                continue
        elif found or OUTDATED.match(line):
            continue  # of another package: it need not be installed here
        yield line


def main():
    """Prints them; 1 if there are any."""
    said = [line for page in sys.argv[1:] for line in faults(Path(page))]
    print('\n'.join(said) if said else f'man: {len(sys.argv) - 1} pages are as mandoc wants them')
    return bool(said)


if __name__ == '__main__':
    sys.exit(main())
