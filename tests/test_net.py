# SPDX-License-Identifier: BSD-3-Clause
"""Debian guests on taps: both directions, the kernel's vhost-net, pairs of queues, a bridge."""
import json
import os

import guests
from guests.place import python
from testbed import kernels

PATIENCE_S = 180
KILLS_S = int(os.environ.get('CROSVM_TEST_KILLS_S', '3'))  # seconds of traffic with kills

# What every guest on 10.9.0.0/24 does with the host: ping, both directions.
TALK = '''ip link set eth0 up; ip addr add 10.9.0.2/24 dev eth0
ping -q -c 3 -i 0.2 -W 5 10.9.0.1 | grep -q ' 0% packet loss' && echo PING-OK
iperf OUT 10.9.0.1 @more; iperf IN 10.9.0.1 -R @more
'''
KILLED = '''echo KILL-FROM
iperf3 -c 10.9.0.1 -t @kills >/tmp/k1 2>&1; iperf3 -c 10.9.0.1 -R -t @kills >/tmp/k2 2>&1
echo KILL-TO; sleep 1
iperf OUT-AFTER 10.9.0.1 @more; iperf IN-AFTER 10.9.0.1 -R @more
'''


def drive(testbed, *machines, kernel='6.1-cloud', smp=1, **job):
    """Runs drive_net.py as root; returns what guests said and the result."""
    job = {'kernel': str(kernels.get(kernel).vmlinux), 'initrd': str(guests.disk(kernel)),
           'root': str(guests.squashfs()), **job}
    job = {key: testbed.path(value) if isinstance(value, str) and value.startswith('/') else value
           for key, value in job.items()}
    done = python(testbed, 'drive_net.py', json.dumps({**job, 'guests': machines}), smp=smp,
                  timeout_s=PATIENCE_S, root=True)
    last = [line for line in done.out.splitlines() if line.startswith('DRIVE ')]
    assert done.code == 0 and last, str(done)
    return done.out, json.loads(last[-1][len('DRIVE '):])


def script(text, more=''):
    """A guest's script."""
    return text.replace('@more', more).replace('@kills', str(KILLS_S))


def counters(status, name='net0'):
    """What the device says of itself."""
    return [row['reports'] for row in status['devices'] if row['name'] == name][0]


def test_tap_that_we_make(testbed):
    """The options of the first releases; traffic, a cable, death, errors."""
    card = ['--host_ip', '10.9.0.1', '--netmask', '255.255.255.0', '--mac', '02:00:00:00:00:07']
    out, result = drive(testbed, {'options': card, 'script': script(TALK + KILLED + '''
cat /sys/class/net/eth0/address /sys/class/net/eth0/carrier
carrier() { for i in $(seq 100); do [ "$(cat /sys/class/net/eth0/carrier)" = $1 ] && return
    sleep .1; done; echo CARRIER-BAD; }
echo STATUS-NOW; echo PULL; carrier 0
echo PULLED; ping -q -c 1 -W 1 10.9.0.1 >/dev/null && echo PING-BAD
echo PLUG; carrier 1
ping -q -c 1 -W 5 10.9.0.1 >/dev/null && echo PING-AGAIN
''')}, on={'KILL-FROM': 'kill net0', 'PULL': 'link down', 'PLUG': 'link up', 'PING-OK': 'try'},
        tries=[card, ['--net', 'tap=vmtap0,mac=02:00:00:00:00:08']])

    for word in ('PING-OK', 'OUT-OK', 'IN-OK', 'OUT-AFTER-OK', 'IN-AFTER-OK', 'PULLED',
                 'PING-AGAIN', '02:00:00:00:00:07'):
        assert word in out, out
    assert 'BAD' not in out, out
    assert result['codes'] == [0], out
    assert result['killed'][0] >= 3, result
    assert 'net0: killed by signal 9' in out
    assert counters(result['status'][0])['tx_malformed'] == 0
    same_mac, same_tap = result['tried'][:2]
    assert same_mac[0] != 0 and 'net0: mac=02:00:00:00:00:07: another VM' in same_mac[1], same_mac
    assert same_tap[0] != 0 and 'net0: tap vmtap0: another' in same_tap[1], same_tap
    assert 'vmtap' not in result['left']


def test_pairs_of_queues_in_the_kernel(testbed):
    """vhost-net and several pairs, on a tap that was there before; a death too."""
    out, result = drive(testbed, {
        'options': ['--net', 'tap=mq0,queues=2,mac=02:00:00:00:00:09,vhost'], 'cpus': 2,
        'script': script(TALK + KILLED + "ethtool -l eth0 | grep -c 'Combined:.*2' | "
                         'sed s/^/PAIRS-/\n', '-P 2')},
        setup='ip tuntap add mq0 mode tap multi_queue; ip addr add 10.9.0.1/24 dev mq0; '
              'ip link set mq0 up', on={'KILL-FROM': 'kill net0'}, smp=2)

    for word in ('PING-OK', 'OUT-OK', 'IN-OK', 'OUT-AFTER-OK', 'IN-AFTER-OK', 'PAIRS-2'):
        assert word in out, out
    assert result['codes'] == [0] and result['killed'][0] >= 2, out
    assert 'mq0' in result['left'], 'it was not ours'


def test_two_guests_on_a_bridge(testbed):
    """Both have their addresses by DHCP; one has two pairs of queues, the other a tap by number."""
    wait = '''ip link set eth0 up; udhcpc -q -n -t 20 -T 1 -i eth0 >/tmp/dhcp 2>&1 || cat /tmp/dhcp
ip -4 -br addr show eth0 | sed 's/  */ /g; s/^/ADDRESS /'
'''
    out, result = drive(
        testbed,
        {'options': ['--net', 'tap=t1,queues=2,mac=02:00:00:00:01:01'], 'cpus': 2,
         'script': wait + 'iperf3 -s -1 -D >/dev/null; sleep .2; echo SERVES\n'
                          'for i in $(seq 300); do pgrep iperf3 >/dev/null || break\n'
                          'sleep .1; done\n'
                          'echo SERVED\n'},
        {'options': ['--tap-fd', '9'], 'fds': [9],
         'script': wait + 'until ping -q -c 1 -W 1 10.8.0.11 >/dev/null; do :; done\n'
                          'echo PING-OK; iperf OVER 10.8.0.11\n'},
        setup='''ip link add br0 type bridge; ip addr add 10.8.0.1/24 dev br0; ip link set br0 up
ip tuntap add t1 mode tap multi_queue; ip tuntap add t2 mode tap
for t in t1 t2; do ip link set $t master br0; ip link set $t up; done
dnsmasq --port=0 --interface=br0 --dhcp-range=10.8.0.20,10.8.0.30 --dhcp-leasefile=/tmp/leases \\
    --dhcp-host=02:00:00:00:01:01,10.8.0.11''', tap_fds={'9': 't2'}, smp=2)

    assert 'ADDRESS eth0 UP 10.8.0.11/24' in out, out
    assert 'ADDRESS eth0 UP 10.8.0.2' in out or 'ADDRESS eth0 UP 10.8.0.30' in out, out
    assert 'PING-OK' in out and 'OVER-OK' in out and 'SERVED' in out, out
    assert result['codes'] == [0, 0], out
