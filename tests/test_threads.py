# SPDX-License-Identifier: BSD-3-Clause
"""All devices of a machine in threads of one process, which ./dev test thread runs under TSan."""
import json
import shutil
import subprocess
import time

import pytest

import bare
import bare_guest
from guests import place as places
import vms

PATIENCE_S = 60

pytestmark = pytest.mark.skipif(not bare_guest.has_kvm(), reason='no access to /dev/kvm')


@pytest.fixture(name='options', params=['pci', 'mmio'])
def fixture_options(request, tmp_path):
    """Every kind of device that needs no network."""
    (tmp_path / 'raw').write_bytes(bytes(1 << 20))
    subprocess.run([places.program(), 'create_qcow2', tmp_path / 'qcow2', '1M'], check=True)
    return ['--disable-sandbox', '--transport', request.param, '-c', '4', '-m', '64',
            '--rwdisk', tmp_path / 'raw', '--rwqcow', tmp_path / 'qcow2', '--rng',
            '--block', f'path={tmp_path}/more,aio=threads',
            '--console', f'file={tmp_path}/console', '--vsock', f'cid=3,socket={tmp_path}/vsock',
            '-s', tmp_path / 'control']


@pytest.mark.parametrize('test', ['smp', 'serial', 'ports', 'memory'])
def test_bare_guests_run(options, tmp_path, test):
    shutil.copy(tmp_path / 'raw', tmp_path / 'more')
    done = subprocess.run(bare_guest.command(bare_guest.build(), test, *options, params='cpus=4'),
                          stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
                          timeout=PATIENCE_S)
    assert done.returncode == bare_guest.PASSED, done.stderr
    assert 'Sanitizer' not in done.stderr


def test_power_button_is_pressed_while_the_guest_uses_it(crosvm, options, tmp_path):
    shutil.copy(tmp_path / 'raw', tmp_path / 'more')
    words = bare_guest.command(bare_guest.build(), 'button', *options, params='presses=9 off=1')
    with vms.running(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as vm:
        assert vm.stdout.readline() == 'listening\n'
        for _ in range(9):
            assert crosvm('powerbtn', tmp_path / 'control').returncode == 0
            assert vm.stdout.readline() == 'pressed\n'
        assert vm.wait(timeout=PATIENCE_S) == 0
        assert 'Sanitizer' not in vm.stderr.read()


def test_commands_reach_devices_in_threads(crosvm, options, tmp_path):
    shutil.copy(tmp_path / 'raw', tmp_path / 'more')
    (tmp_path / 'guest').write_bytes(bare.elf(bare.HALT))
    sock = tmp_path / 'control'
    words = [places.program(), 'run', '--serial', 'sink', *options, tmp_path / 'guest']
    with vms.running(words, stderr=subprocess.PIPE, text=True) as vm:
        end = time.monotonic() + PATIENCE_S
        while crosvm('status', sock).returncode:
            assert vm.poll() is None and time.monotonic() < end
            time.sleep(0.05)
        for command in (['suspend', sock], ['resume', sock],
                        ['disk', 'resize', sock, 'block0', '2M'],
                        ['limit', sock, 'block1', 'bps=1M,iops=100'],
                        ['balloon', '--target', '16M', sock]):
            done = crosvm(*command)
            assert done.returncode == 0, done.stderr
        devices = json.loads(crosvm('status', '--json', sock).stdout)['devices']
        assert {device['state'] for device in devices} == {'running'}
        assert crosvm('stop', sock).returncode == 0
        assert vm.wait(timeout=PATIENCE_S) == 0
        assert 'Sanitizer' not in vm.stderr.read()
