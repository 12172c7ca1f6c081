# SPDX-License-Identifier: BSD-3-Clause
"""sanitizers.py thread|memory BUILD SUITE REPORT: tests of a build of meson's under TSan or MSan.

What does not run, or is known to fail, is in sanitizers.txt, each with its reason; all of that is
printed. A row that is not needed any more is a fault, and so is what a sanitizer reports of any
process, whatever its parent thinks of its end. REPORT is the JUnit file to write.
"""
import fnmatch
import json
import os
import re
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ElementTree
from pathlib import Path

TABLE = Path(__file__).with_name('sanitizers.txt')
SAID = re.compile(r'(?:WARNING|ERROR): (?:Thread|Memory)Sanitizer: (?!failed to allocate).*')
CASE = re.compile(r'^(not )?ok \d+ - (\S+)', re.M)
PATIENCE = '10'  # times the limit of a test: those of qcow2 are slow


def rows(kind, suite):
    """The table's of that kind, of tests of that suite: [test, case or '*', reason]."""
    for line in TABLE.read_text(encoding='utf-8').splitlines():
        if line and not line.startswith('#'):
            row_kind, test, case, reason = line.split(None, 3)
            if row_kind == kind and test.startswith('fuzz-') == (suite == 'fuzz'):
                yield test, case, reason


def tests_of(build, suite):
    """Names of the tests of a suite."""
    done = subprocess.run(['meson', 'introspect', '--tests', build], capture_output=True, text=True,
                          check=True)
    return [test['name'] for test in json.loads(done.stdout)
            if any(name.split(':')[-1] == suite for name in test['suite'])]


def run(build, names, reports):
    """The tests' results, as meson tells them; what sanitizers have to say goes to reports."""
    options = f'log_path={reports}/report'
    environment = {**os.environ, 'TSAN_OPTIONS': options, 'MSAN_OPTIONS': options}
    subprocess.run(['meson', 'test', '-C', build, '--no-rebuild', '-t', PATIENCE, *names],
                   env=environment, stdout=subprocess.DEVNULL, check=False)
    lines = (Path(build) / 'meson-logs/testlog.json').read_text(encoding='utf-8').splitlines()
    return [json.loads(line) for line in lines]


def faults_of(test, cases):
    """What is wrong with a test of which the named cases are known to fail."""
    text = test.get('stdout', '') + test.get('stderr', '')
    seen = {case: bool(bad) for bad, case in CASE.findall(text)}
    failed = {case for case, bad in seen.items() if bad}
    known = {case for case in failed for name in cases if fnmatch.fnmatch(case, name)}
    yield from (f'fails: {case}' for case in sorted(failed - known))
    yield from (f'{name}: passes, take it out of {TABLE.name}' for name in cases
                if not fnmatch.filter(failed, name))
    yield from sorted(set(SAID.findall(text)))
    if test['result'] != 'OK' and not (known and test['returncode'] == len(failed)):
        yield f"ends with {test['result']}, {test['returncode']}"


def junit(results, path):
    """Writes the file; a test case for each test, failed or not."""
    suite = ElementTree.Element('testsuite')
    for name, faults in results.items():
        case = ElementTree.SubElement(suite, 'testcase', name=name)
        if faults:
            ElementTree.SubElement(case, 'failure').text = '\n'.join(faults)
    ElementTree.ElementTree(suite).write(path)


def main():
    """Prints what is left out and what is wrong; 1 if anything is."""
    kind, build, suite, path = sys.argv[1:]
    names = tests_of(build, suite)
    known = list(rows(kind, suite))
    unknown = {row[0] for row in known} - set(names)
    for test, case, reason in known:
        print(f'not run: {test}: {reason}' if case == '*' else f'fails: {test}: {case}: {reason}')
    names = [name for name in names if (name, '*') not in [row[:2] for row in known]]
    results = {}
    with tempfile.TemporaryDirectory() as reports:
        for test in run(build, names, reports):
            name = test['name'].split(' / ')[-1]
            results[name] = list(faults_of(test, [row[1] for row in known if row[0] == name]))
            if results[name]:
                print(f'{name}:', *results[name], test.get('stdout', ''), test.get('stderr', ''),
                      sep='\n  ')
        said = [report.read_text(errors='replace') for report in Path(reports).iterdir()]
        if any(SAID.search(text) for text in said):
            results['reports'] = said
            print(*said, sep='\n')
    missing = set(names) - set(results)
    results.update({name: ['did not run'] for name in missing})
    results.update({name: [f'no such test, take it out of {TABLE.name}'] for name in unknown})
    for name in missing | unknown:
        print(f'{name}:', *results[name])
    junit(results, path)
    print(f'{kind}: {len(names)} tests, {sum(map(bool, results.values()))} with faults')
    return any(results.values()) or not names


if __name__ == '__main__':
    sys.exit(main())
