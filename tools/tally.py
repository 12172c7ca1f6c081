# SPDX-License-Identifier: BSD-3-Clause
"""tally.py FILE... - sums JUnit files into one line: N passed, N failed, N skipped."""
import sys
import xml.etree.ElementTree as ElementTree


def kinds(path):
    """'passed', 'failed' or 'skipped' for each test case of a file."""
    try:
        root = ElementTree.parse(path).getroot()
    except (OSError, ElementTree.ParseError) as error:
        print(f'tally: {path}: {error}', file=sys.stderr)
        yield 'failed'
        return
    for case in root.iter('testcase'):
        if case.find('failure') is not None or case.find('error') is not None:
            yield 'failed'
        elif case.find('skipped') is not None:
            yield 'skipped'
        else:
            yield 'passed'


def main():
    """Prints the line; returns whether anything failed or nothing ran."""
    counts = {'passed': 0, 'failed': 0, 'skipped': 0}
    for path in sys.argv[1:]:
        for kind in kinds(path):
            counts[kind] += 1
    print(', '.join(f'{number} {kind}' for kind, number in counts.items()))
    return counts['failed'] > 0 or counts['passed'] == 0


sys.exit(main())
