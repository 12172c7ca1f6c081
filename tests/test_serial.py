# SPDX-License-Identifier: BSD-3-Clause
"""Where serial ports end: terminals, pipes that nobody reads, files, sockets, pseudoterminals."""
import ctypes
import os
import pty
import signal
import socket
import subprocess
import termios
import time
from pathlib import Path

import pytest

import bare_guest
from bare_guest import PASSED

pytestmark = pytest.mark.skipif(not bare_guest.has_kvm(),
                                reason='talks to a guest while it runs: needs /dev/kvm here')

STOPPED = 128
CTRL_A = b'\x01'


@pytest.fixture(scope='module', name='elf')
def fixture_elf():
    """The guest."""
    return bare_guest.build()


@pytest.fixture(name='start')
def fixture_start(elf):
    """Starts a test of the guest; stops it at the end if it still runs."""
    started = []

    def start(test, *options, params='', **how):
        how.setdefault('stdin', subprocess.DEVNULL)
        how.setdefault('stdout', subprocess.PIPE)
        # pylint: disable=consider-using-with
        guest = subprocess.Popen(bare_guest.command(elf, test, *options, params=params),
                                 stderr=subprocess.DEVNULL, **how)
        started.append(guest)
        return guest
    yield start
    for guest in started:
        guest.kill()
        guest.wait()
        if guest.stdout:
            guest.stdout.close()


def wait(guest):
    """Its exit code."""
    return guest.wait(bare_guest.PATIENCE_S)


def read_until(read, end):
    """All that read() gives up to the bytes end."""
    data = b''
    while not data.endswith(end):
        more = read()
        assert more, data
        data += more
    return data


# Pipes, files and nothing

def test_piped_input_reaches_the_guest_whole(start):
    guest = start('echo', stdin=subprocess.PIPE)
    text = b'piped before the guest looks, longer than what its FIFO holds'
    guest.stdin.write(text + b'\n')
    guest.stdin.close()

    assert wait(guest) == PASSED
    echoed = guest.stdout.read()
    assert bytes(c + 1 for c in text) in echoed, echoed


def test_input_from_a_file(start, tmp_path):
    (tmp_path / 'in').write_bytes(b'from a file\n')
    with open(tmp_path / 'in', 'rb') as stdin:
        guest = start('echo', stdin=stdin)

        assert wait(guest) == PASSED
    assert bytes(c + 1 for c in b'from a file') in guest.stdout.read()


def test_standard_streams_may_be_closed(elf):
    words = bare_guest.command(elf, 'end', params='by=acpi')
    closed = subprocess.run(['sh', '-c', '"$@" <&- >&- 2>&-', 'sh', *words], check=False,
                            timeout=bare_guest.PATIENCE_S)

    assert closed.returncode == 0


def test_guest_waits_for_a_reader_that_is_slow(start):
    lines = 1500  # 96 KB: more than the pipe and our buffers hold
    guest = start('flood', params=f'lines={lines}')
    time.sleep(1)
    assert guest.poll() is None

    out = guest.stdout.read()
    assert wait(guest) == PASSED
    assert len(out) == lines * 64 + len('PASSED\n')


def test_reader_that_never_reads_does_not_hold_up_the_end(start):
    guest = start('flood', params='lines=100000')
    time.sleep(0.5)
    guest.terminate()
    before = time.monotonic()

    assert wait(guest) == STOPPED + signal.SIGTERM
    assert time.monotonic() - before < 10


def test_reader_that_goes_away_does_not_stop_the_guest(start):
    guest = start('flood', params='lines=300')
    guest.stdout.close()
    guest.stdout = None

    assert wait(guest) == PASSED


def test_output_to_a_full_device(start):
    with open('/dev/full', 'wb') as full:
        assert wait(start('flood', params='lines=300', stdout=full)) == PASSED


@pytest.mark.parametrize('number', [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_signals_end_a_halted_guest(start, number):
    guest = start('halt')
    read_until(lambda: guest.stdout.read(1), b'halting\n')
    guest.send_signal(number)

    assert wait(guest) == STOPPED + number


# --serial

def test_output_to_a_file(start, tmp_path):
    path = tmp_path / 'out'
    path.write_text('old')
    assert wait(start('serial', '--serial', f'file,path={path}')) == PASSED
    once = path.read_text()
    assert once.startswith('sixteen bytes') and once.endswith('PASSED\n')

    assert wait(start('serial', '--serial', f'type=file,path={path},append,com=1')) == PASSED
    assert path.read_text() == once * 2


def test_file_has_a_limit(start, tmp_path):
    path = tmp_path / 'out'
    assert wait(start('flood', '--serial', f'file,path={path},limit=10K',
                      params='lines=300')) == PASSED
    assert path.stat().st_size == 10240


def test_client_of_a_socket(start, tmp_path):
    path = tmp_path / 'com1'
    guest = start('echo', '--serial', f'unix,path={path}')
    while not path.exists():
        assert guest.poll() is None
        time.sleep(0.01)
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))
        client.sendall(b'abc')
        read_until(lambda: client.recv(1), b'bcd')
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))
        client.sendall(b'xyz\n')
        read_until(lambda: client.recv(1), b'yz{')
        assert wait(guest) == PASSED
    assert not path.exists()


def test_pseudoterminal(start, tmp_path):
    path = tmp_path / 'com1'
    guest = start('echo', '--serial', f'pty,path={path}')
    while not path.exists():
        assert guest.poll() is None
        time.sleep(0.01)
    tty = os.open(path, os.O_RDWR | os.O_NOCTTY)
    os.write(tty, b'abc')
    read_until(lambda: os.read(tty, 1), b'bcd')
    os.write(tty, b'\n')
    assert wait(guest) == PASSED
    os.close(tty)
    assert not path.is_symlink()


def test_sink_takes_all(start):
    guest = start('flood', '--serial', 'sink', params='lines=300')

    assert wait(guest) == PASSED
    assert guest.stdout.read() == b''


# Terminals

class Terminal:
    """A terminal, and a guest in front of it."""

    def __init__(self, start, test):
        self.master, slave = pty.openpty()
        self.slave = slave
        settings = termios.tcgetattr(slave)
        settings[3] &= ~termios.ECHOK  # unlike any default
        termios.tcsetattr(slave, termios.TCSANOW, settings)
        self.before = termios.tcgetattr(slave)
        self.guest = start(test, stdin=slave, stdout=slave, start_new_session=True)
        self.read_until(b'ready' if test == 'echo' else b'halting')

    def read_until(self, end):
        """What comes out, up to end."""
        return read_until(lambda: os.read(self.master, 1), end)

    def is_raw(self):
        """Whether keys go straight to the guest."""
        flags = termios.tcgetattr(self.slave)[3]
        return not flags & (termios.ICANON | termios.ECHO | termios.ISIG)

    def is_restored(self):
        """Whether it is what it was."""
        return termios.tcgetattr(self.slave) == self.before

    def type(self, keys):
        """Types."""
        os.write(self.master, keys)

    def close(self):
        """Both ends."""
        os.close(self.master)
        os.close(self.slave)


@pytest.fixture(name='terminal')
def fixture_terminal(start):
    """Makes terminals."""
    made = []

    def make(test='echo'):
        made.append(Terminal(start, test))
        return made[-1]
    yield make
    for each in made:
        each.close()


def test_keys_go_to_the_guest_as_typed(terminal):
    term = terminal()
    assert term.is_raw()
    term.type(b'a\x03\x1a\x01\x01')  # the guest answers with each code plus one

    term.read_until(b'b\x04\x1b\x02')
    term.type(b'\r')
    assert wait(term.guest) == PASSED
    assert term.is_restored()


def test_escape_quits(terminal):
    term = terminal('halt')
    term.type(b'x' + CTRL_A)
    time.sleep(0.05)
    assert term.guest.poll() is None
    term.type(b'x')

    assert wait(term.guest) == 0
    assert term.is_restored()


@pytest.mark.parametrize('number', [signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT])
def test_signals_restore_the_terminal(terminal, number):
    term = terminal('halt')
    assert term.is_raw()
    term.guest.send_signal(number)

    assert wait(term.guest) == STOPPED + number
    assert term.is_restored()


@pytest.mark.parametrize('number', [signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS, signal.SIGSYS])
def test_crash_restores_the_terminal(terminal, number):
    term = terminal('halt')
    assert term.is_raw()
    term.guest.send_signal(number)

    assert wait(term.guest) < 0
    assert term.is_restored()


def vcpu_thread(guest):
    """The number of its vCPU thread."""
    for task in Path(f'/proc/{guest.pid}/task').iterdir():
        if (task / 'comm').read_text() == 'vcpu0\n':
            return int(task.name)
    raise AssertionError('no vCPU thread')


def test_crash_of_a_vcpu_thread_restores_the_terminal(terminal):
    term = terminal('halt')
    libc = ctypes.CDLL(None, use_errno=True)
    tgkill = 234
    assert libc.syscall(tgkill, term.guest.pid, vcpu_thread(term.guest), signal.SIGSEGV) == 0

    assert wait(term.guest) == -signal.SIGSEGV
    assert term.is_restored()


def test_stopped_and_continued(terminal):
    term = terminal()
    term.guest.send_signal(signal.SIGTSTP)
    os.waitid(os.P_PID, term.guest.pid, os.WSTOPPED | os.WNOWAIT)
    assert term.is_restored()
    term.guest.send_signal(signal.SIGCONT)
    while not term.is_raw():
        time.sleep(0.01)
    term.type(b'abc')
    term.read_until(b'bcd')
    term.type(b'\r')

    assert wait(term.guest) == PASSED
    assert term.is_restored()
