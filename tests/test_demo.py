# SPDX-License-Identifier: BSD-3-Clause
"""./dev demo: with a terminal, in which a person types, and without."""
import os
import pty
import re
import select
import subprocess
import sys
import time

from guests.place import TOP

PATIENCE_S = 400
DEMO = ['/usr/bin/python3', str(TOP / 'tools/demo.py')]
PROMPT = 'root@demo:~# '
DEVICES = ('block0', 'console0', 'net0', 'rng0', 'balloon0')


def environment():
    """What ./dev sets."""
    return {**os.environ, 'PYTHONPATH': str(TOP / 'tools'), 'PYTHONUNBUFFERED': '1'}


def check_table(said):
    """Every device is a process of its own, without rights, with an empty root."""
    for name in DEVICES:
        assert re.search(rf'^  {name} +\d+ +\d+ +user mnt pid net ipc uts +empty +none +\d+ calls',
                         said, re.M), said
    assert re.search(r'^  main, vCPU +\d+ .* none +filtered', said, re.M), said


def test_without_a_terminal_it_logs_in_and_powers_off():
    done = subprocess.run(DEMO, env=environment(), stdin=subprocess.DEVNULL, capture_output=True,
                          text=True, timeout=PATIENCE_S, check=False)
    said = done.stdout.replace('\r', '')

    assert done.returncode == 0, said + done.stderr
    check_table(said)
    assert '\nrunning\n' in said and '\noverlay rw' in said, said
    assert 'left behind: nothing' in said, said


class Terminal:
    """The demonstration on a terminal of its own."""

    def __init__(self):
        self.said, self.at = '', 0
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.execve(DEMO[0], DEMO, environment())
        self.end = time.monotonic() + PATIENCE_S

    def until(self, text):
        """Reads on until it was said, behind what was waited for before; None: until the end."""
        while text is None or (found := self.said.find(text, self.at)) < 0:
            if not select.select([self.fd], [], [], max(0, self.end - time.monotonic()))[0]:
                raise TimeoutError(f'no {text} in:\n{self.said}')
            try:
                self.said += os.read(self.fd, 65536).decode(errors='replace').replace('\r', '')
            except OSError:
                return self.said
        self.at = found + len(text)
        return self.said

    def type(self, keys):
        """As a person does."""
        os.write(self.fd, keys.encode())


def test_on_a_terminal_a_person_types():
    terminal = Terminal()
    terminal.until('To leave')
    terminal.until(PROMPT)
    terminal.type('echo SUM-$((40 + 2)); stty size\r')
    terminal.until('SUM-42')
    terminal.until(PROMPT)
    terminal.type('\x01x')
    said = terminal.until(None)

    assert os.waitstatus_to_exitcode(os.waitpid(terminal.pid, 0)[1]) == 0, said
    check_table(said)
    assert 'left behind: nothing' in said, said
    sys.stdout.write(said)
