# SPDX-License-Identifier: BSD-3-Clause
"""crosvm top and the counters behind it, with guests of a few instructions."""
import fcntl
import json
import os
import pty
import select
import signal
import struct
import subprocess
import termios
import time

import pytest

import bare
from guests import place as places

PATIENCE_S = 20
FAILED, USAGE = 1, 2
ENTER, LEAVE, HOME = b'\x1b[?1049h', b'\x1b[?1049l', b'\x1b[H'
# Writes to a port that nobody has, for ever: nothing but exits.
BUSY = bare.out(0x80, 1) + b'\xeb\xf7'

pytestmark = pytest.mark.skipif(not os.access('/dev/kvm', os.R_OK | os.W_OK),
                                reason='no access to /dev/kvm')


def until(condition):
    """What it comes to, once that is something."""
    end = time.monotonic() + PATIENCE_S
    while True:
        found = condition()
        if found:
            return found
        assert time.monotonic() < end, 'it did not come'
        time.sleep(0.01)


@pytest.fixture(name='environment')
def fixture_environment(tmp_path):
    """Names of machines are the test's own."""
    return {**os.environ, 'XDG_RUNTIME_DIR': str(tmp_path), 'TERM': 'xterm'}


@pytest.fixture(name='top')
def fixture_top(environment):
    """top(argument...) runs to its end."""
    def top(*arguments):
        return subprocess.run([places.program(), 'top', *map(str, arguments)], env=environment,
                              stdin=subprocess.DEVNULL, capture_output=True, text=True,
                              timeout=PATIENCE_S, check=False)
    return top


@pytest.fixture(name='start')
def fixture_start(environment, tmp_path):
    """start(name, option...) makes a machine that is busy; returns its process."""
    processes = []
    kernel = tmp_path / 'busy.elf'
    kernel.write_bytes(bare.elf(BUSY))

    def start(name, *options):
        # pylint: disable=consider-using-with
        processes.append(subprocess.Popen(
            [places.program(), 'run', '--name', name, '--serial', 'sink', *options, kernel],
            env=environment, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL))
        until(lambda: (tmp_path / f'crosvm/{name}.sock').exists())
        return processes[-1]
    yield start
    for process in processes:
        process.kill()
        process.wait()


def samples(done):
    """The machines of each sample, by name."""
    assert done.returncode == 0, done.stderr
    return [{vm['name']: vm for vm in json.loads(line)['vms']}
            for line in done.stdout.splitlines()]


def test_counters_rise_while_the_guest_runs(top, start):
    start('web', '-c', '2')
    until(lambda: samples(top('--json', '-n', '1', 'web'))[0]['web']['exits'])

    before, after = samples(top('--json', '-n', '2', '-d', '0.3', 'web'))
    before, after = before['web'], after['web']

    assert after['reasons']['io'] > before['reasons']['io'] > 0
    assert after['exits'] == sum(after['reasons'].values())
    assert after['exits_a_second'] > 0 and 0 < after['interval_ms'] < 1000 * PATIENCE_S
    assert after['vcpus'] == 2 and after['resident_bytes'] > 0
    assert {device['name'] for device in after['devices']} == {'rng0', 'balloon0'}


def test_machines_without_words_are_those_with_a_name(top, start, environment):
    assert top('-n', '1').stdout.splitlines()[1:] == ['no VM with a name is running']
    first, second = start('web'), start('mail')

    lines = top('--batch', '-n', '2', '-d', '0.2').stdout.split('\n\n')
    assert len(lines) == 2
    for sample in lines:
        header, *rows = sample.splitlines()
        assert header.split()[:3] == ['NAME', 'PID', 'STATE']
        assert {tuple(row.split()[:3]) for row in rows} == {
            ('web', str(first.pid), 'running'), ('mail', str(second.pid), 'running')}
    subprocess.run([places.program(), 'stop', 'web'], env=environment, check=True)
    first.wait(PATIENCE_S)
    assert list(samples(top('--json', '-n', '1'))[0]) == ['mail']


def test_samples_are_as_many_as_asked_for_also_when_they_take_long(top, start):
    start('web').send_signal(signal.SIGSTOP)
    done = top('-n', '2', '-d', '0.05', 'web', 'nobody')  # half a second each
    assert done.stdout.count('no answer within 0.5 s') == 2


def test_machine_that_does_not_answer_is_told_with_the_reason(top, start):
    start('web')
    stuck = start('mail')
    stuck.send_signal(signal.SIGSTOP)

    done = top('-n', '1', 'web', 'mail', 'nobody')
    assert done.returncode == FAILED
    rows = {line.split()[0]: line for line in done.stdout.splitlines()}
    assert 'running' in rows['web']
    assert 'no answer within 0.5 s' in rows['mail']
    assert 'a VM makes it when run with' in rows['nobody']


def test_device_that_is_started_again_counts_on(top, start):
    start('web', '--block', f'{places.program()},ro')  # any file will do

    def device():
        rows = samples(top('--json', '-n', '1', 'web'))[0]['web']['devices']
        return {row['name']: row for row in rows}['block0']
    before = device()
    os.kill(before['pid'], signal.SIGKILL)
    after = until(lambda: (lambda row: row['restarts'] and row)(device()))
    assert after['pid'] != before['pid']
    assert all(after['counters'][name] >= n for name, n in before['counters'].items())


def test_wrong_words_are_refused(top):
    for words, said in ((['-n', '0'], '--count'), (['-n', 'x'], '--count'),
                        (['-d', '0'], '--delay'), (['-d', 'nan'], '--delay'),
                        (['-d', '1e3'], '--delay'), (['-d', '-1'], '--delay'),
                        (['x' * 200], 'too long')):
        done = top(*words)
        assert done.returncode == USAGE and said in done.stderr, (words, done)


class Screen:
    """crosvm top on a terminal of its own."""

    def __init__(self, environment, *arguments, term='xterm', rows=24, columns=80):
        self.said, self.end = b'', None
        self.master, slave = pty.openpty()
        self.resize(rows, columns)
        self.before = termios.tcgetattr(slave)
        # pylint: disable=consider-using-with
        self.process = subprocess.Popen(
            [places.program(), 'top', *arguments], env={**environment, 'TERM': term}, stdin=slave,
            stdout=slave, stderr=slave, start_new_session=True, preexec_fn=lambda: fcntl.ioctl(
                0, termios.TIOCSCTTY, 0))
        self.slave = slave

    def resize(self, rows, columns):
        """The window's size."""
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack('HHHH', rows, columns, 0, 0))

    def read(self):
        """Adds what has come to self.said."""
        ready, _, _ = select.select([self.master], [], [], 0.05)
        if ready:
            self.said += os.read(self.master, 1 << 16)
        return self.said

    def wait(self):
        """The exit code, when all was read."""
        until(lambda: self.read() and self.process.poll() is not None)
        self.read()
        return self.process.returncode

    def is_as_before(self):
        """Whether the terminal's settings are."""
        return termios.tcgetattr(self.slave) == self.before


@pytest.fixture(name='screen')
def fixture_screen(environment):
    """screen(argument..., term=..., rows=..., columns=...)"""
    screens = []

    def screen(*arguments, **options):
        screens.append(Screen(environment, *arguments, **options))
        return screens[-1]
    yield screen
    for made in screens:
        made.process.kill()
        made.process.wait()
        os.close(made.master)
        os.close(made.slave)


def test_key_ends_it_and_gives_the_terminal_back(screen, start):
    start('web')
    shown = screen('-d', '0.1')
    until(lambda: shown.read().count(HOME) >= 2 and b'web ' in shown.said)
    assert shown.said.startswith(ENTER) and not shown.is_as_before()

    os.write(shown.master, b'xq')
    assert shown.wait() == 0
    assert LEAVE in shown.said and shown.is_as_before()


@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGABRT])
def test_signal_ends_it_and_gives_the_terminal_back(screen, number):
    shown = screen()
    until(lambda: HOME in shown.read())

    shown.process.send_signal(number)
    assert shown.wait() in (128 + number, -number)
    assert shown.said.endswith(LEAVE) and shown.is_as_before()


def test_single_sample_stays_on_the_terminal(screen, start):
    start('web')
    shown = screen('-n', '1')

    assert shown.wait() == 0
    assert b'web ' in shown.said and b'\x1b' not in shown.said


def test_lines_follow_the_window(screen, start):
    start('web')
    shown = screen('-d', '3600', 'web', columns=200)
    until(lambda: b'interrupts' in shown.read())
    shown.said = b''
    shown.resize(4, 30)

    until(lambda: b'\x1b[J' in shown.read())
    lines = shown.said.partition(b'\x1b[J')[0].removeprefix(HOME).split(b'\x1b[K\r\r\n')
    assert len(lines) == 4 and lines[0].startswith(b'web: running') and not lines[3]
    assert all(len(line) <= 30 for line in lines)


def test_stopped_by_the_user_it_gives_the_terminal_back_for_a_while(screen):
    shown = screen('-d', '0.1')
    until(lambda: HOME in shown.read())

    os.write(shown.master, b'\x1a')
    until(lambda: LEAVE in shown.read())
    until(shown.is_as_before)
    shown.process.send_signal(signal.SIGCONT)
    until(lambda: shown.read().count(ENTER) == 2)
    os.write(shown.master, b'q')
    assert shown.wait() == 0 and shown.is_as_before()


def test_dumb_terminal_gets_plain_lines(screen, start):
    start('web')
    shown = screen('-n', '2', '-d', '0.1', term='dumb')

    assert shown.wait() == 0
    assert b'\x1b' not in shown.said and shown.said.count(b'\nweb ') == 2
