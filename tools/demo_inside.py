# SPDX-License-Identifier: BSD-3-Clause
"""demo_inside.py CROSVM JSON - runs the demonstration's guest, where guests run.

JSON: options of crosvm run; typed: commands for the guest's shell, or null when a person types;
limit_s.  Shows the guest's console, and as soon as the machine runs a table of its processes and
what each is kept from.  Ctrl-A x ends the machine.  At the end it looks for what may be left.
"""
import fcntl
import json
import os
import pty
import re
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import termios
import time
import tty

PROMPT = re.compile(rb'root@demo:[^#\n]*# $')
ESCAPES = re.compile(rb'\x1b\[[0-9;?]*[A-Za-z]|\x1b[=>]')
NAMESPACES = ('user', 'mnt', 'pid', 'net', 'ipc', 'uts')
CTRL_A = 1
GONE_S = 5


class End(Exception):
    """The time limit."""


def say(text=''):
    """A line of ours; the terminal may be raw."""
    sys.stdout.buffer.write(f'{text}\r\n'.encode())
    sys.stdout.flush()


def read_text(path):
    """A file of /proc, or nothing when its process has ended."""
    try:
        with open(path, encoding='utf-8', errors='replace') as file:
            return file.read()
    except OSError:
        return ''


def namespaces(pid):
    """Those that are not ours, as words."""
    try:
        return ' '.join(name for name in NAMESPACES if os.readlink(f'/proc/{pid}/ns/{name}') !=
                        os.readlink(f'/proc/self/ns/{name}'))
    except OSError:
        return '(hidden)'


def root_of(pid):
    """What a process has for a file system."""
    try:
        return 'empty' if not os.listdir(f'/proc/{pid}/root') else 'files'
    except OSError:
        return '(hidden)'


def calls_of(crosvm, kind):
    """How many system calls the device's filter lets through."""
    done = subprocess.run([crosvm, 'policy', kind], capture_output=True, text=True, check=False)
    return sum(1 for line in done.stdout.splitlines() if re.match(r'\w+:', line))


def row_of(name, pid, calls):
    """A process as a row of the table."""
    fields = dict(line.split(':\t', 1) for line in read_text(f'/proc/{pid}/status').splitlines()
                  if ':\t' in line)
    filtered = fields.get('Seccomp', '0').strip() == '2'
    has_rights = int(fields.get('CapEff', '0').strip() or '0', 16)
    return (name, str(pid), fields.get('Uid', '?').split()[0],
            namespaces(pid), root_of(pid),
            'some' if has_rights else 'none',
            (f'{calls} calls' if calls else 'filtered') if filtered else 'any')


def print_table(rows):
    """Aligned columns."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    for row in rows:
        say('  ' + '  '.join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip())


class Machine:
    """crosvm on a pseudoterminal of its own, in between the person and the guest."""

    def __init__(self, crosvm, options, folder):
        self.crosvm, self.socket = crosvm, os.path.join(folder, 'socket')
        self.started = time.monotonic()
        self.pids, self.code = [], None
        self.pid, self.terminal = pty.fork()
        if self.pid == 0:
            os.execv(crosvm, [crosvm, 'run', '-s', self.socket, *options])
        tty.setraw(self.terminal)

    def status(self):
        """The answer of its control socket once every device runs, else None."""
        if not os.path.exists(self.socket):
            return None
        done = subprocess.run([self.crosvm, 'status', '--json', self.socket], capture_output=True,
                              text=True, check=False)
        try:
            answer = json.loads(done.stdout)
        except ValueError:
            return None
        answer = answer[0] if isinstance(answer, list) else answer
        devices = answer.get('devices', [])
        ready = devices and all(row.get('state') == 'running' for row in devices)
        return answer if ready and 'pid' in answer else None

    def show(self, status):
        """The table of its processes."""
        rows = [('process', 'pid', 'user', 'namespaces', 'root', 'rights', 'system calls'),
                row_of('main, vCPU', status['pid'], 0)]
        self.pids = [status['pid']]
        for device in status['devices']:
            rows.append(row_of(device['name'], device['pid'],
                               calls_of(self.crosvm, device['type'])))
            self.pids.append(device['pid'])
        say()
        print_table(rows)
        say()
        say('  The guest boots; its console follows.  To leave: poweroff, or the keys Ctrl-A x.')
        say()

    def resize(self, *_):
        """The person's window is the guest's."""
        try:
            size = fcntl.ioctl(0, termios.TIOCGWINSZ, bytes(8))
            fcntl.ioctl(self.terminal, termios.TIOCSWINSZ, size)
        except OSError:
            pass

    def stop(self):
        """Ends it from outside, as an operator does."""
        subprocess.run([self.crosvm, 'stop', self.socket], capture_output=True, check=False)

    def wait(self):
        """Its exit status."""
        self.code = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])

    def left(self):
        """Processes and files that should be gone."""
        end = time.monotonic() + GONE_S
        pids = [self.pid, *self.pids]
        while pids and time.monotonic() < end:
            pids = [pid for pid in pids if os.path.exists(f'/proc/{pid}')]
            time.sleep(0.01)
        return [f'process {pid}' for pid in pids] + ['socket'] * os.path.exists(self.socket)


class Person:
    """Keys from the terminal; Ctrl-A x is for us."""

    def __init__(self, machine):
        self.machine, self.escaped = machine, False

    def keys(self, data):
        """What of it goes to the guest."""
        passed = bytearray()
        for byte in data:
            if self.escaped and byte == ord('x'):
                self.machine.stop()
            elif self.escaped or byte != CTRL_A:
                passed += bytes([CTRL_A] * (self.escaped and byte != CTRL_A)) + bytes([byte])
            self.escaped = byte == CTRL_A and not self.escaped
        return bytes(passed)


class Typist:
    """Types commands where nobody sits."""

    def __init__(self, typed):
        self.left, self.seen = list(typed), b''

    def read(self, data):
        """The guest's output in plain text; and what to type now."""
        data = ESCAPES.sub(b'', data)
        self.seen = (self.seen + data)[-200:]
        if not PROMPT.search(self.seen) or not self.left:
            return data, b''
        self.seen = b''
        return data, self.left.pop(0).encode() + b'\n'


def converse(machine, typist, limit_s):
    """Until the machine ends; returns after how many seconds there was a prompt."""
    person, shown, prompt_s, seen = Person(machine), False, None, b''
    feeds = [machine.terminal] + ([] if typist else [0])
    while True:
        ready = select.select(feeds, [], [], 0.05 if not shown else 1)[0]
        if time.monotonic() - machine.started > limit_s:
            machine.stop()
            raise End(f'no end after {limit_s} s')
        if not shown and (status := machine.status()):
            machine.show(status)
            shown = True
        if 0 in ready:
            data = os.read(0, 4096)
            os.write(machine.terminal, person.keys(data) if data else b'\x04')
            feeds = feeds if data else [machine.terminal]
        if machine.terminal not in ready:
            continue
        try:
            data = os.read(machine.terminal, 65536)
        except OSError:
            return prompt_s
        seen = (seen + ESCAPES.sub(b'', data))[-200:]
        if prompt_s is None and PROMPT.search(seen):
            prompt_s = time.monotonic() - machine.started
        if typist:
            data, answer = typist.read(data)
            data = data.replace(b'\r', b'')
            os.write(machine.terminal, answer)
        sys.stdout.buffer.write(data)
        sys.stdout.flush()


def run(machine, job):
    """The conversation, with the terminal as it should be meanwhile."""
    typist = None if job['typed'] is None else Typist(job['typed'])
    saved = None
    if not typist and os.isatty(0):
        saved = termios.tcgetattr(0)
        signal.signal(signal.SIGWINCH, machine.resize)
        machine.resize()
        tty.setraw(0)
    try:
        return converse(machine, typist, job['limit_s'])
    except End as end:
        say(f'demo: {end}')
        return None
    finally:
        if saved:
            termios.tcsetattr(0, termios.TCSADRAIN, saved)


def main():
    """Runs it; the exit status is 0 if there was a prompt and the machine ended well."""
    crosvm, job = sys.argv[1], json.loads(sys.argv[2])
    folder = tempfile.mkdtemp(prefix='crosvm-demo-')
    try:
        machine = Machine(crosvm, job['options'], folder)
        prompt_s = run(machine, job)
        machine.wait()
        left = machine.left()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    if prompt_s is not None:
        print(f'demo: the shell was there after {prompt_s:.1f} s')
    print(f'demo: the machine ended with exit status {machine.code}; '
          f'left behind: {", ".join(left) or "nothing"}')
    return machine.code or (0 if prompt_s is not None and not left else 1)


sys.exit(main())
