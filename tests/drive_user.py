# SPDX-License-Identifier: BSD-3-Clause
"""drive_user.py CROSVM JSON - an ordinary user's Debian guest has a network by passt.

Makes a world in a network namespace, 198.51.100.1 (the gateway) to .4 and 2001:db8:1::1 to ::4,
with servers, to which this machine's default routes lead.  JSON: kernel, initrd, root: squashfs;
net: options of --net; script: for the guest's shell, which does what it has to say with a line in
capitals, and goes on when the answer arrives on its console:

    SSH-NOW     logs into the guest through port 2222 of this machine
    LIMIT-NOW   sets the limits of JSON's limit
    KILL-NOW    kills passt

Prints what the guest does, then a line "DRIVE" with JSON.  Runs as root where the guest does.
"""
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time

import driving

USER = 1000
BEGIN = driving.PATH + '''mount -t tmpfs tmpfs /tmp
mount -t tmpfs tmpfs /run
cp -a /etc /tmp/etc && mount --bind /tmp/etc /etc
stty -echo
ip link set lo up
'''
WORLD = '''set -e
ip netns add world
ip link add up0 type veth peer name up1 netns world
ip addr add 198.51.100.2/24 dev up0
ip addr add 2001:db8:1::2/64 dev up0 nodad
ip link set up0 up
ip link set lo up
for n in 1 3 4; do
    ip -n world addr add 198.51.100.$n/24 dev up1
    ip -n world addr add 2001:db8:1::$n/64 dev up1 nodad
done
ip -n world link set lo up
ip -n world link set up1 up
ip route add default via 198.51.100.1
ip -6 route add default via 2001:db8:1::1
for port in 80 81; do
    ip netns exec world socat TCP6-LISTEN:$port,fork,reuseaddr,ipv6only=0 SYSTEM:'echo HELLO' &
done
ip netns exec world iperf3 -s -D
echo nameserver 198.51.100.1 >/etc/resolv.conf
'''
# Answers every question for an A record with 198.51.100.3.
NAMES = '''
import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind(('198.51.100.1', 53))
while True:
    q, who = s.recvfrom(512)
    a = q[:2] + b'\\x81\\x80' + q[4:6]
    end = q.index(b'\\0', 12) + 5
    if q[end - 4:end - 2] == b'\\0\\1':
        a += b'\\0\\1\\0\\0\\0\\0' + q[12:end]
        a += b'\\xc0\\x0c\\0\\1\\0\\1\\0\\0\\0\\x3c\\0\\4' + bytes((198, 51, 100, 3))
    else:
        a += b'\\0\\0\\0\\0\\0\\0' + q[12:end]
    s.sendto(a, who)
'''
SSH = ['ssh', '-p', '2222', '-o', 'StrictHostKeyChecking=no', '-o', 'UserKnownHostsFile=/dev/null',
       '-o', 'PreferredAuthentications=none', '-o', 'LogLevel=ERROR', '-F', 'none',
       'root@127.0.0.1', 'echo INSIDE-$(cat /etc/hostname)']


def world():
    """The rest of the internet."""
    subprocess.run(['sh', '-c', WORLD], check=True)
    return subprocess.Popen(['ip', 'netns', 'exec', 'world', sys.executable, '-c', NAMES])


def passts():
    """Process ids of every passt, whatever it calls itself."""
    found = []
    for pid in filter(str.isdigit, os.listdir('/proc')):
        try:
            with open(f'/proc/{pid}/comm', encoding='utf-8') as file:
                if file.read().startswith('passt'):
                    found.append(int(pid))
        except OSError:
            pass
    return found


class Guest:
    """The machine, as an ordinary user's."""

    def __init__(self, crosvm, job, folder):
        self.crosvm, self.job = crosvm, job
        self.sock = os.path.join(folder, 'sock')
        command = ['setpriv', f'--reuid={USER}', f'--regid={USER}',
                   f'--groups={os.stat("/dev/kvm").st_gid}', crosvm, 'run', '-m', '512',
                   '-s', self.sock, '-i', job['initrd'], '-d', job['root'],
                   '-d', driving.write_disk(folder, BEGIN + job['script'] + driving.OFF),
                   '--net', job['net'].replace('@folder', folder),
                   '-p', 'quiet root=/dev/vda guest.run=/dev/vdb', job['kernel']]
        # pylint: disable=consider-using-with
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=subprocess.STDOUT)

    def ask(self, line):
        """What a command on the control socket answers."""
        return driving.ask(self.sock, line)

    def reports(self):
        """What the network card says of itself."""
        rows = self.ask('status')['devices']
        return next(row for row in rows if row['type'] == 'net')['reports']

    def log_in(self, result):
        """ssh through the forwarded port."""
        done = subprocess.run(SSH, capture_output=True, text=True, timeout=60, check=False,
                              stdin=subprocess.DEVNULL)
        result['ssh'] = done.stdout + done.stderr

    def limit(self, result):
        """Notes the counters and sets the limits."""
        result['reports'] = self.reports()
        result['limit'] = self.ask('net-limit ' + self.job['limit'])

    def kill(self, result):
        """Kills passt and waits for the next."""
        old = passts()
        result['killed'] = len(old)
        for pid in old:
            os.kill(pid, signal.SIGKILL)
        for _ in range(200):
            new = passts()
            if new and not set(new) & set(old):
                break
            time.sleep(0.05)
        time.sleep(0.5)

    def converse(self, result):
        """Passes the guest's output on and does what it asks for."""
        acts = {'SSH-NOW': self.log_in, 'LIMIT-NOW': self.limit, 'KILL-NOW': self.kill}
        said = ''
        while data := os.read(self.process.stdout.fileno(), 65536):
            said += data.decode(errors='replace')
            sys.stdout.write(data.decode(errors='replace'))
            sys.stdout.flush()
            for word in [word for word in acts if word in said]:
                said = said.replace(word, '')
                acts[word](result)
                self.process.stdin.write(b'\n')
                self.process.stdin.flush()


def main():
    """Drives it; returns the exit status."""
    crosvm, job = sys.argv[1], json.loads(sys.argv[2])
    names = world()
    folder = tempfile.mkdtemp()
    shutil.chown(folder, USER, USER)
    result = {}
    guest = Guest(crosvm, job, folder)
    guest.converse(result)
    result['code'] = guest.process.wait()
    result['left'] = len(passts())
    log = os.path.join(folder, 'log')
    if os.path.exists(log):
        with open(log, encoding='utf-8') as file:
            result['log'] = file.read()
    names.kill()
    print('DRIVE ' + json.dumps(result))
    return 0


sys.exit(main())
