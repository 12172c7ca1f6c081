# SPDX-License-Identifier: BSD-3-Clause
"""Networks without root: passt, forwarded ports, egress rules and limits.

The first tests need no guest that speaks networks and run where bare guests do, natively if there
is a /dev/kvm; the last one is a Debian guest in the testbed, of an ordinary user.
"""
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import time

import pytest

import bare_guest
import guests
from guests.place import program, python
from testbed import kernels

PATIENCE_S = 180
MBIT = 1

needs_passt = pytest.mark.skipif(not shutil.which('passt'), reason='passt is not installed')
needs_kvm = pytest.mark.skipif(not bare_guest.has_kvm(), reason='no /dev/kvm here')

SCRIPT = '''
ip link set eth0 up
udhcpc -i eth0 -n -q -t 20 -T 1 >/tmp/dhcp 2>&1 && echo DHCP-GOOD || cat /tmp/dhcp
ip -4 -o addr show eth0 | awk '{print "ADDR4-" $4}'
i=0
while [ $i -lt 50 ] && ! ip -6 -o addr show dev eth0 scope global -tentative | grep inet6; do
    i=$((i + 1)); sleep 0.2
done
getent ahostsv4 web.test | head -1 | sed 's/^/NAME-/'
try() { echo "$1-$(echo | socat -t9 -T9 - "$2,connect-timeout=$3" 2>&1 | tail -1)"; }
try FOUR TCP4:198.51.100.3:80 9
try SIX 'TCP6:[2001:db8:1::3]:80' 9
try FOUR-PORT TCP4:198.51.100.3:81 2 &
try FOUR-HOST TCP4:198.51.100.4:80 2 &
try FOUR-DENIED TCP4:198.51.100.1:81 2 &
try SIX-PORT 'TCP6:[2001:db8:1::3]:81' 2 &
try SIX-HOST 'TCP6:[2001:db8:1::4]:80' 2 &
wait
mkdir -p /run/sshd
/usr/sbin/sshd -o PermitRootLogin=yes -o PermitEmptyPasswords=yes -o UsePAM=no
echo SSH-NOW
read -r line
measure() { # a server may still be busy with the one before
    name=$1; shift
    for i in 1 2 3 4 5; do
        iperf3 "$@" >/tmp/out 2>&1 && break; sleep 1
    done
    grep receiver /tmp/out | sed "s/^/$name/"
}
measure FREE- -c 198.51.100.1 -t 1 -f k
measure FREE-BACK- -c 198.51.100.1 -t 1 -f k -R
echo LIMIT-NOW
read -r line
measure LIMITED- -c 198.51.100.1 -t 2 -f k
measure LIMITED-BACK- -c 198.51.100.1 -t 2 -f k -R
echo KILL-NOW
read -r line
for i in 1 2 3 4 5; do # the first may be made while one passt goes and another comes
    try AGAIN TCP4:198.51.100.3:80 9 >/tmp/out
    grep -q HELLO /tmp/out && break
done
cat /tmp/out
'''
RULES = ','.join(['allow=198.51.100.1', 'deny=198.51.100.1:81/tcp', 'allow=198.51.100.3:80/tcp',
                  'allow=[2001:db8:1::3]:80/tcp'])


def rate(out, word):
    """Kbit/s of the line that begins with it."""
    line = re.search(rf'^{word}-\[.*?([\d.]+) Kbits/sec', out, re.M)
    assert line, f'no line {word} in:\n{out}'
    return float(line[1])


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


@needs_passt
def test_debian_guest_of_an_ordinary_user(testbed):
    job = {'kernel': kernels.get('6.1-cloud').vmlinux, 'initrd': guests.disk('6.1-cloud'),
           'root': guests.squashfs()}
    job = {key: testbed.path(path) for key, path in job.items()}
    job.update(script=SCRIPT, limit=f'bps={MBIT * 1000000 // 8}',
               net=f'user,mtu=1500,forward=2222:22,{RULES},log=@folder/log')
    done = python(testbed, 'drive_user.py', json.dumps(job), timeout_s=PATIENCE_S, root=True)
    last = [line for line in done.out.splitlines() if line.startswith('DRIVE ')]
    assert done.code == 0 and last, str(done)
    result, out = json.loads(last[-1][len('DRIVE '):]), done.out.replace('\r', '')

    assert 'DHCP-GOOD' in out and 'ADDR4-198.51.100.2/24' in out, out
    assert re.search('^NAME-198.51.100.3', out, re.M), out
    assert 'FOUR-HELLO' in out and 'SIX-HELLO' in out, out
    for word in ('FOUR-PORT', 'FOUR-HOST', 'FOUR-DENIED', 'SIX-PORT', 'SIX-HOST'):
        assert re.search(f'^{word}-.*timed out', out, re.M), out
    assert result['ssh'] == 'INSIDE-guest\n', result
    check_refused(result)
    check_rates(out, result)
    assert result['killed'] == 1 and 'passt has ended' in out and 'AGAIN-HELLO' in out, out
    assert result['code'] == 0 and result['left'] == 0, result


def check_refused(result):
    """Counters and log say the same."""
    refused = result['reports']['refused']
    log = result['log']

    assert refused['no_rule'] >= 4 and refused['denied'] >= 1, result
    assert refused['malformed'] == refused['hidden'] == refused['offload'] == 0, result
    assert result['reports']['tx_refused'] == sum(refused.values()), result
    for packet in (r'tcp 198\.51\.100\.2:\d+ > 198\.51\.100\.3:81: no rule allows it',
                   r'tcp 198\.51\.100\.2:\d+ > 198\.51\.100\.4:80: no rule allows it',
                   r'tcp 198\.51\.100\.2:\d+ > 198\.51\.100\.1:81: a rule denies it',
                   r'tcp \[2001:db8:1:.*\]:\d+ > \[2001:db8:1::4\]:80: no rule allows it'):
        assert re.search(r'^\d+\.\d{3} net0: ' + packet, log, re.M), log


def check_rates(out, result):
    """
    Below the limit afterwards, both ways, and not at nothing. How near is told by the bucket's unit
    tests, where no other load makes TCP wait.
    """
    assert result['limit'] == {'ok': True}, result
    # What is still under way to the guest when the time is over counts as if it had been in it.
    for way, most in (('', 1.3), ('-BACK', 1.7)):
        free, limited = rate(out, 'FREE' + way), rate(out, 'LIMITED' + way)
        assert limited < most * MBIT * 1000, out
        assert limited > min(0.05 * MBIT * 1000, 0.5 * free), out
