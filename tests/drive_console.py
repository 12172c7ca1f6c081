# SPDX-License-Identifier: BSD-3-Clause
"""drive_console.py CROSVM KERNEL INITRD - a guest on a terminal that grows; its other ports.

The console is on a pseudoterminal of this script's, one named port on a socket, one on a file.
Prints what the guest does, then a line "DRIVE" with JSON: exit code, what the file holds.  Runs
where the guest does.
"""
import fcntl
import json
import os
import re
import socket
import struct
import subprocess
import sys
import tempfile
import termios
import time

BOOT_S = 100
PORTS = 'socket={0}/sock,,name=org.test.agent;file={0}/log,,name=org.test.log'
# Each line of a script is typed when the one before it was answered: what is awaited, what to type.
ASK_SIZE = "stty -F /dev/hvc0 size | sed 's/^/SIZE /'\n"
NAMES = ('for p in /sys/class/virtio-ports/*/name; do echo PORT $(basename ${p%/name}) $(cat $p); '
         'done\n')


class Terminal:
    """The console's other side."""

    def __init__(self):
        self.master, self.slave = os.openpty()
        self.said = ''

    def resize(self, rows, columns):
        """As a terminal emulator does; the kernel signals the group in the foreground."""
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack('HHHH', rows, columns, 0, 0))

    def wait(self, pattern):
        """Until the guest has said it; returns the match."""
        until = time.monotonic() + BOOT_S
        os.set_blocking(self.master, False)
        while time.monotonic() < until:
            match = re.search(pattern, self.said, re.M)
            if match:
                self.said = self.said[match.end():]
                return match
            try:
                data = os.read(self.master, 65536).decode(errors='replace')
            except BlockingIOError:
                time.sleep(0.02)
                continue
            sys.stdout.write(data)
            self.said += data
        raise TimeoutError(f'{pattern}: not in {self.said!r}')

    def type(self, text):
        """Types it."""
        os.write(self.master, text.encode())

    def size(self):
        """What the guest takes the size for."""
        self.type(ASK_SIZE)
        return self.wait(r'^SIZE (\d+ \d+)')[1]

    def wait_for_size(self, wanted):
        """Asks until it is so; the guest learns of it some time."""
        until = time.monotonic() + BOOT_S
        while (size := self.size()) != wanted and time.monotonic() < until:
            time.sleep(0.1)
        return size


def converse(terminal, folder):
    """Plays it through; returns what was seen."""
    terminal.wait(r"'exit' ends it")
    seen = {'size': terminal.wait_for_size('40 100')}
    terminal.resize(50, 132)
    seen['resized'] = terminal.wait_for_size('50 132')
    terminal.type(NAMES)
    seen['ports'] = dict(terminal.wait(r'^PORT (\S+) (org\.\S+)').groups() for _ in range(2))
    terminal.type('echo logged >/dev/vport0p2; read -r line </dev/vport0p1; echo GOT $line; '
                  'echo answer >/dev/vport0p1\n')
    agent = socket.socket(socket.AF_UNIX)
    agent.connect(f'{folder}/sock')
    agent.sendall(b'question\n')
    seen['got'] = terminal.wait(r'^GOT (\w+)')[1]
    seen['answer'] = agent.recv(100).decode()
    terminal.type('poweroff -f\n')
    return seen


def main():
    """Prints what converse() saw."""
    crosvm, kernel, initrd = sys.argv[1:]
    with tempfile.TemporaryDirectory() as folder:
        terminal = Terminal()
        terminal.resize(40, 100)
        ports = PORTS.format(folder)
        # pylint: disable=consider-using-with
        guest = subprocess.Popen(
            [crosvm, 'run', '--console', f'stdio,ports={ports}', '-i', initrd, '-p',
             'quiet console=hvc0 guest.do=shell', kernel], stdin=terminal.slave,
            stdout=terminal.slave, stderr=subprocess.STDOUT, start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0))
        try:
            seen = converse(terminal, folder)
            seen['code'] = guest.wait(BOOT_S)
            with open(f'{folder}/log', encoding='utf-8') as file:
                seen['log'] = file.read()
        finally:
            guest.kill()
            guest.wait()
    print('\nDRIVE ' + json.dumps(seen))
    return 0


sys.exit(main())
