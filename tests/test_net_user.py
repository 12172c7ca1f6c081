# SPDX-License-Identifier: BSD-3-Clause
"""Networks without root: passt comes, goes and says what is wrong."""
import json
import os
import shutil
import signal
import socket
import subprocess
import time

import pytest

import bare_guest
from guests.place import program

needs_passt = pytest.mark.skipif(not shutil.which('passt'), reason='passt is not installed')
needs_kvm = pytest.mark.skipif(not bare_guest.has_kvm(), reason='no /dev/kvm here')


def passts():
    """{process id: parent} of every passt."""
    found = {}
    for pid in filter(str.isdigit, os.listdir('/proc')):
        try:
            with open(f'/proc/{pid}/stat', encoding='utf-8') as file:
                stat = file.read()
        except OSError:
            continue
        if '(passt' in stat and stat.rpartition(')')[2].split()[0] != 'Z':
            found[int(pid)] = int(stat.rpartition(')')[2].split()[1])
    return found


def wait_for(condition):
    """Its value once it is true."""
    end = time.monotonic() + 20
    while not (value := condition()):
        assert time.monotonic() < end, 'waited in vain'
        time.sleep(0.02)
    return value


def net_row(sock):
    """The network card's row of the status, or None while there is none."""
    done = subprocess.run([program(), 'status', '--json', sock], capture_output=True, text=True,
                          check=False)
    rows = json.loads(done.stdout or '{}')
    rows = rows[0] if isinstance(rows, list) else rows
    return next((row for row in rows.get('devices', []) if row['type'] == 'net'), None)


@pytest.fixture(name='machine')
def fixture_machine(tmp_path):
    """A machine on passt whose guest does nothing: process and path of the control socket."""
    sock = tmp_path / 'sock'
    command = bare_guest.command(bare_guest.build(), 'halt', '-s', sock, '--net', 'user')
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          text=True) as machine:
        yield machine, sock
        machine.kill()


def passt_of(sock):
    """Its process id, which is a child of the card's process."""
    row = wait_for(lambda: net_row(sock))
    return wait_for(lambda: next((pid for pid, parent in passts().items()
                                  if parent == (net_row(sock) or row)['pid']), None))


@needs_passt
@needs_kvm
def test_passt_dies_with_a_machine_that_is_killed(machine):
    process, sock = machine
    pid = passt_of(sock)
    process.send_signal(signal.SIGKILL)
    wait_for(lambda: pid not in passts())


@needs_passt
@needs_kvm
def test_passt_dies_with_a_machine_that_is_killed_while_it_is_stopped_itself(machine):
    process, sock = machine
    pid = passt_of(sock)
    os.kill(pid, signal.SIGSTOP)
    process.send_signal(signal.SIGKILL)
    wait_for(lambda: pid not in passts())


@needs_passt
@needs_kvm
def test_another_passt_comes_after_one_that_dies(machine):
    process, sock = machine
    old = passt_of(sock)
    os.kill(old, signal.SIGKILL)
    wait_for(lambda: (net_row(sock) or {}).get('restarts') == 1)
    assert passt_of(sock) != old
    subprocess.run([program(), 'stop', sock], check=True, capture_output=True)
    assert process.wait(20) == 0
    assert 'net0: passt has ended' in process.stdout.read()
    wait_for(lambda: not set(passts()) & {old})


@needs_passt
@needs_kvm
def test_port_in_use_is_an_error_before_the_guest_runs():
    with socket.create_server(('127.0.0.1', 0)) as server:
        port = server.getsockname()[1]
        done = subprocess.run(bare_guest.command(bare_guest.build(), 'halt', '--net',
                                                 f'user,forward={port}:22'),
                              capture_output=True, text=True, timeout=30, check=False)

    assert f"user: passt does not start: Failed to bind any port for '-t 127.0.0.1/{port}:22'" in (
        done.stderr), done.stderr
    assert 'halting' not in done.stdout


@needs_passt
@needs_kvm
def test_missing_package_is_named():
    command = bare_guest.command(bare_guest.build(), 'halt', '--net', 'user')
    hidden = ['unshare', '-m', *([] if os.geteuid() == 0 else ['-r']), 'sh', '-c',
              'mount --bind /dev/null /usr/bin/passt && exec "$@"', 'sh']
    done = subprocess.run(hidden + command, capture_output=True, text=True, timeout=30, check=False)

    assert 'net0: user: passt is not installed; install the package "passt"' in done.stderr, (
        done.stderr)
