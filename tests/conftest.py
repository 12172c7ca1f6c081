# SPDX-License-Identifier: BSD-3-Clause
"""Options and fixtures of the whole-program tests.

--direct and --testbed say where guests run; by default the suite tries this machine's /dev/kvm
with a stock kernel, and falls back on the testbed.
"""
import os
import subprocess
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent.parent / 'tools'))

from guests import place as places  # noqa: E402  pylint: disable=wrong-import-position

CHOICE = 'CROSVM_TEST_PLACE'


def pytest_addoption(parser):
    """Adds our options."""
    parser.addoption('--direct', action='store_true', help="run guests on this machine's KVM")
    parser.addoption('--testbed', action='store_true', help='run guests in the testbed')


def pytest_configure(config):
    """Decides once where guests run; workers inherit the decision."""
    if config.getoption('--direct'):
        os.environ[CHOICE] = places.Direct.name
    elif config.getoption('--testbed'):
        os.environ[CHOICE] = places.Testbed.name
    elif CHOICE not in os.environ and not config.getoption('collectonly'):
        os.environ[CHOICE] = places.choose()


def pytest_report_header():
    """Says where."""
    return f'guests run: {os.environ.get(CHOICE)}'


@pytest.fixture(scope='session')
def place():
    """Where guests run: place.run(argv, timeout_s=..., root=..., smp=...)."""
    return places.named(os.environ[CHOICE])


@pytest.fixture(scope='session')
def testbed():
    """The testbed, whatever this machine's KVM can do."""
    return places.Testbed()


@pytest.fixture(scope='session')
def crosvm():
    """Runs the program here, where no guest is needed: crosvm('run', ...)."""
    def run(*arguments, timeout_s=20, **how):
        return subprocess.run([places.program(), *map(str, arguments)], timeout=timeout_s,
                              capture_output=True, text=True, check=False,
                              stdin=subprocess.DEVNULL, **how)
    return run
