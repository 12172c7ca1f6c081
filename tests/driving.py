# SPDX-License-Identifier: BSD-3-Clause
"""What the drive_*.py scripts share: a guest's script as a disk, and questions to its machine."""
import json
import os
import socket
import subprocess

PATH = 'export PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root\n'
OFF = '\necho o >/proc/sysrq-trigger\nsleep 60\n'
SYNC_AND_OFF = '\nsync\nmount -o remount,ro / 2>/dev/null' + OFF
ANSWER_S = 90
KILLS_AT_ONCE = 50  # of a device; from there on at most one a second: src/vm/restarts.h


def write_disk(folder, text, name='script'):
    """A raw disk that is this text, such as a shell script; its path."""
    path = os.path.join(folder, name)
    data = text.encode()
    with open(path, 'wb') as file:
        file.write(data + b'\n' * (-len(data) % 4096))
    return path


def ask(path, line):
    """The reply to a line on the control socket at path."""
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(ANSWER_S)
        client.connect(path)
        client.sendall(line.encode() + b'\n')
        return json.loads(client.makefile().readline())


def told(crosvm, command, path, *words):
    """What `crosvm COMMAND` prints of the machine there; {'error': ...} while there is none."""
    done = subprocess.run([crosvm, command, '--json', path, *words], capture_output=True, text=True,
                          check=False)
    try:
        return json.loads(done.stdout)
    except ValueError:
        return {'error': done.stdout + done.stderr}
