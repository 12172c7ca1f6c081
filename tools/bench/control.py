# SPDX-License-Identifier: BSD-3-Clause
"""how long commands to a running machine take: median, 99th percentile, most

A bare guest that halts, on this machine's KVM, with a disk, an entropy device and a balloon, each
in its jail.  `balloon` is main's own, `status` asks every device, `balloon-hint` one, which
refuses, for the guest has no driver; the way is the same.  Then the same while three other clients
send as fast as they can, one never reads, and one has left a long line unfinished.
"""
import contextlib
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

TOP = Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(TOP / 'tests'))

from bare import HALT, elf  # noqa: E402  pylint: disable=wrong-import-position

COMMANDS = ('help', 'status', 'balloon', 'balloon target=16M', 'balloon-hint', 'suspend\nresume')
ROUNDS = 3000


def dial(path):
    """A connection to the control socket."""
    client = socket.socket(socket.AF_UNIX)
    client.connect(str(path))
    return client


def ask(client, command):
    """Milliseconds from sending to the last reply."""
    lines = command.count('\n') + 1
    started = time.perf_counter()
    client.sendall(command.encode() + b'\n')
    while lines > 0:
        lines -= client.recv(1 << 18).count(b'\n')
    return (time.perf_counter() - started) * 1000


def measure(path, rounds=ROUNDS):
    """{command: [milliseconds], sorted}"""
    client = dial(path)
    took = {command: sorted(ask(client, command) for _ in range(rounds)) for command in COMMANDS}
    client.close()
    return took


def report(path, title):
    """Prints a row for each command."""
    for command, took in measure(path).items():
        print(f'{title:12} {command.replace(chr(10), ", "):20} {took[ROUNDS // 2]:9.3f} '
              f'{took[ROUNDS * 99 // 100]:9.3f} {took[-1]:9.3f}')


def disturb(path, stop):
    """Clients that nobody should notice; returns what keeps them."""
    def hurry():
        client = dial(path)
        while not stop.is_set():
            ask(client, 'status')
            time.sleep(0.002)  # or the machine's CPUs are what is measured
    threads = [threading.Thread(target=hurry) for _ in range(3)]
    for thread in threads:
        thread.start()
    silent, unfinished = dial(path), dial(path)
    silent.setblocking(False)
    try:
        while True:
            silent.send(b'status\n' * 100)
    except BlockingIOError:
        pass
    unfinished.sendall(b'x' * 4000)
    return threads, silent, unfinished


@contextlib.contextmanager
def machine():
    """The path of a running machine's control socket."""
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        guest, disk, path = folder / 'guest', folder / 'disk', folder / 'sock'
        guest.write_bytes(elf(HALT))
        with open(disk, 'wb') as file:
            file.truncate(16 << 20)
        with subprocess.Popen([TOP / 'build/src/crosvm', 'run', '--serial', 'sink', '-s', path,
                               '--rwdisk', disk, guest], stderr=subprocess.DEVNULL) as process:
            while not path.exists() and process.poll() is None:
                time.sleep(0.01)
            time.sleep(0.3)
            try:
                yield path
            finally:
                ask(dial(path), 'stop')


def main():
    """Runs the machine and measures."""
    with machine() as path:
        print(f'{"":12} {"command":20} {"median ms":>9} {"p99 ms":>9} {"most ms":>9}')
        report(path, 'alone')
        stop = threading.Event()
        kept = disturb(path, stop)
        report(path, 'among others')
        stop.set()
        for thread in kept[0]:
            thread.join()


if __name__ == '__main__':
    main()
