# SPDX-License-Identifier: BSD-3-Clause
"""Bare guests with a control socket, run here; for tests that use its commands."""
import contextlib
import json
import os
import signal
import subprocess
import time

import bare
from guests import place as places

PATIENCE_S = 30

# A /dev of its own in front of the program: nodes of the machine's, and the socket $2 as its syslog
# unless that is empty.
OWN_DEV = """
mkdir "$1" && mount -t tmpfs none "$1" || exit
for node in kvm null zero full random urandom tty; do
	: > "$1/$node" && mount --bind "/dev/$node" "$1/$node" || exit
done
[ -z "$2" ] || ln -s "$2" "$1/log" || exit
mount --move "$1" /dev || exit
shift 2
exec "$@"
"""


def with_syslog(folder, path=''):
    """Words that run a program on a machine with this syslog, or without one."""
    unshare = ['unshare', '--mount'] if os.geteuid() == 0 else ['unshare', '-Ur', '--mount']
    return [*unshare, 'sh', '-c', OWN_DEV, 'sh', str(folder / 'dev'), str(path)]


def crosvm(*words):
    """A command's exit code and output."""
    return subprocess.run([places.program(), *map(str, words)], capture_output=True, text=True,
                          check=False, timeout=PATIENCE_S)


@contextlib.contextmanager
def running(words, **how):
    """A program in the background, which ends, too, when the test of it fails."""
    with subprocess.Popen(words, stdin=subprocess.DEVNULL, **how) as process:
        try:
            yield process
        finally:
            process.kill()


class Vm:
    """A bare guest with a control socket."""

    def __init__(self, tmp_path, code, *options, before=(), inside=()):
        elf = tmp_path / 'guest.elf'
        elf.write_bytes(bare.elf(code))
        self.socket = tmp_path / 'vm.sock'
        self.process = subprocess.Popen(
            [*inside, places.program(), *before, 'run', '-s', str(self.socket), *options, str(elf)],
            stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        self.wait_for(lambda: crosvm('status', self.socket).returncode == 0)

    def wait_for(self, happens):
        """Until it happens, or time is over."""
        end = time.monotonic() + PATIENCE_S
        while not happens():
            assert self.process.poll() is None and time.monotonic() < end
            time.sleep(0.02)

    def log(self, *options):
        """What crosvm log prints."""
        done = crosvm('log', *options, self.socket)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def device(self, name):
        """The process of a device."""
        status = json.loads(crosvm('status', '--json', self.socket).stdout)
        return next(d.get('pid', 0) for d in status['devices'] if d['name'] == name)

    def kill(self, name):
        """Kills the process of a device, and waits for the next."""
        pid = self.device(name)
        os.kill(pid, signal.SIGKILL)
        self.wait_for(lambda: self.device(name) not in (pid, 0))

    def end(self):
        """Stops it; returns its standard error."""
        crosvm('stop', self.socket)
        _, err = self.process.communicate(timeout=PATIENCE_S)
        return err


@contextlib.contextmanager
def started(tmp_path):
    """Gives a function that starts VMs; none is left."""
    vms = []

    def start(*words, **how):
        vms.append(Vm(tmp_path, *words, **how))
        return vms[-1]
    yield start
    for vm in vms:
        if vm.process.returncode is None:
            vm.process.kill()
            vm.process.communicate()
