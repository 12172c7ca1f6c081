# SPDX-License-Identifier: BSD-3-Clause
"""The log: levels, guests that misbehave in a loop, syslog, `crosvm log`.  Native bare guests."""
import json
import os
import re
import signal
import socket
import subprocess
import time

import pytest

import bare
import bare_guest
from guests import place as places
import vms
from vms import PATIENCE_S, crosvm

pytestmark = pytest.mark.skipif(not bare_guest.has_kvm(),
                                reason='needs /dev/kvm here: sockets and pipes of the test')
# Writes "a crash kernel takes over" to the pvpanic port for ever.
PANICS = b'\x66\xba\x05\x05\xb0\x02\xee\xeb\xfd'

@pytest.fixture(name='start')
def fixture_start(tmp_path):
    """Starts VMs."""
    with vms.started(tmp_path) as start:
        yield start


def test_guest_in_a_loop_causes_a_few_lines(start):
    vm = start(PANICS, '--pvpanic')
    time.sleep(2.5)
    lines = [line for line in vm.end().splitlines() if 'panicked' in line]

    assert 5 < len(lines) < 12, lines
    assert lines[4].endswith('; from now on one such line a second')
    suppressed = re.fullmatch(r'crosvm: warning: .* takes over \((\d+) more suppressed\)', lines[5])
    assert suppressed and int(suppressed[1]) > 1000, lines


def test_log_tells_what_was_logged(start):
    vm = start(bare.HALT, '--log-level', 'debug')
    os.kill(vm.device('rng0'), signal.SIGKILL)
    vm.wait_for(lambda: 'started again' in vm.log())

    assert re.search(r'^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3} main: rng0: killed by signal 9 '
                     r'\(KILL\); started again$', vm.log(), re.MULTILINE), vm.log()
    assert len(vm.log('-n', '1').splitlines()) == 1
    reply = json.loads(vm.log('--json'))
    assert [line['level'] for line in reply['lines'] if 'again' in line['text']] == ['error']
    vm.end()


def test_log_follows_until_the_end(start):
    vm = start(bare.HALT)
    with subprocess.Popen([places.program(), 'log', '-f', str(vm.socket)], stdout=subprocess.PIPE,
                          text=True) as log:
        os.kill(vm.device('rng0'), signal.SIGKILL)
        assert 'rng0: killed by signal 9' in log.stdout.readline()
        vm.end()
        assert log.wait(PATIENCE_S) == 0


@pytest.mark.parametrize('before, options, shown', [
    ((), (), True),
    ((), ('--log-level', 'error'), False),
    (('--log-level', 'error'), (), False),
    (('--log-level=error',), ('--log-level', 'info'), True),
])
def test_level_decides(start, before, options, shown):
    vm = start(bare.HALT, *options, before=before)

    assert ('stopped by command' in vm.end()) == shown


def test_level_that_is_none(tmp_path):
    done = crosvm('--log-level', 'loud', 'list')

    assert done.returncode == 2
    assert done.stderr == ('crosvm: --log-level: "loud": not one of error, warning, info, debug\n')
    assert crosvm('log', tmp_path / 'none').returncode == 1
    assert 'a socket is missing' in crosvm('log').stderr


def test_syslog_gets_the_lines_of_main_and_devices(start, tmp_path):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as daemon:
        daemon.bind(str(tmp_path / 'log'))
        daemon.settimeout(PATIENCE_S)
        vm = start(bare.HALT, '--syslog-tag', 'web',
                   inside=vms.with_syslog(tmp_path, tmp_path / 'log'))
        os.kill(vm.device('rng0'), signal.SIGKILL)
        head = rf'<11>\w{{3}} [ \d]\d \d\d:\d\d:\d\d web\[{vm.process.pid}\]: '
        assert re.fullmatch(head + 'rng0: killed by signal 9 .*', daemon.recv(4096).decode())
    os.kill(vm.device('rng0'), signal.SIGKILL)
    vm.wait_for(lambda: 'nobody listens at /dev/log any more' in vm.log())
    assert vm.end().count('nobody listens') == 1


@pytest.mark.parametrize('options', [[], ['--disable-sandbox']])
def test_syslog_that_is_started_again_is_found(start, tmp_path, options):
    path = tmp_path / 'log'
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as daemon:
        daemon.bind(str(path))
        vm = start(PANICS, '--pvpanic', *options,  # a line a second, by the vCPU's thread
                   inside=vms.with_syslog(tmp_path, path))
    path.unlink()
    vm.wait_for(lambda: 'nobody listens at /dev/log any more' in vm.log())
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as daemon:
        daemon.bind(str(path))
        daemon.settimeout(PATIENCE_S)
        first, second = daemon.recv(4096).decode(), daemon.recv(4096).decode()

    assert re.fullmatch(r'<12>.*: \d+ lines? did not reach the syslog; crosvm log may have .*',
                        first), first
    assert 'takes over' in second
    vm.wait_for(lambda: vm.log().count('nobody listens') == 2)  # it can be lost again
    vm.end()


def test_syslog_that_is_not_there(start, tmp_path):
    vm = start(bare.HALT, '--syslog', 'on', inside=vms.with_syslog(tmp_path))

    assert '--syslog: /dev/log: No such file or directory; lines go to stderr only' in vm.end()
