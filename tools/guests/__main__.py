# SPDX-License-Identifier: BSD-3-Clause
"""Makes kernels, initrds and disks for guests, and prints their paths."""
import sys

from testbed.debian import PackageError

from . import artefacts

USAGE = 'usage: ./dev guest NAME...; NAME is one of:'


def main():
    """Prints a path for each name; returns the exit status."""
    made, names = artefacts(), sys.argv[1:]
    unknown = [name for name in names if name not in made]
    if unknown or not names:
        print(*(f'guest: nothing called {name}' for name in unknown), USAGE,
              *(f'  {name}' for name in made), sep='\n', file=sys.stderr)
        return 2
    try:
        for name in names:
            print(made[name]())
    except PackageError as error:
        print(f'guest: {error}', file=sys.stderr)
        return 1
    return 0


sys.exit(main())
