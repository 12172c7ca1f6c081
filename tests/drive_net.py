# SPDX-License-Identifier: BSD-3-Clause
"""drive_net.py CROSVM JSON - Debian guests on networks of this machine.

JSON: kernel, initrd; root: squashfs; setup: shell commands first, as root; tap_fds: {number: tap};
guests: a list of {options, script, cpus, fds}; tries: options of machines that are started while
the guests run, whose output is kept and which must end by themselves; on: {text: what to do when a
guest says it}, where "kill NAME" kills that device process now and then until the guest says
KILL-TO, "link up|down" moves its cable, "try" starts the machines of tries, anything else is a
shell command.  Prints what guests say, each line behind its number, then a line "DRIVE" with JSON:
codes, killed, tried, left (interfaces), and the status of each guest as it was when it said
STATUS-NOW.  Runs where the guests do.
"""
import fcntl
import json
import os
import random
import signal
import struct
import subprocess
import sys
import tempfile
import threading

import driving

BEGIN = driving.PATH + '''mount -t tmpfs tmpfs /tmp; mount -t tmpfs tmpfs /run; ip link set lo up
# iperf NAME ARGUMENTS: one second of traffic; says NAME-OK if bytes arrived.
iperf() { name=$1; shift
    for i in $(seq 20); do
        iperf3 -c "$@" -t 1 -J >/tmp/iperf 2>&1; grep -q refused /tmp/iperf || break; sleep .5
    done
    awk '/"sum_received"/ { on = 1 } on && /"bytes"/ { print $2 + 0; exit }' /tmp/iperf >/tmp/bytes
    [ "0$(cat /tmp/bytes)" -gt 20000 ] && echo "$name-OK $(cat /tmp/bytes)" ||
        { echo "$name-BAD"; tail -n 20 /tmp/iperf; }; }
'''
TRY_S = 20
TUNSETIFF, TAP, NO_PI, VNET_HDR = 0x400454ca, 0x2, 0x1000, 0x4000


class Guest(threading.Thread):
    """One machine and what it says."""

    def __init__(self, crosvm, job, number, folder):
        super().__init__(daemon=True)
        self.crosvm, self.job, self.number = crosvm, job, number
        self.sock = os.path.join(folder, f'sock{number}')
        self.killing, self.killed, self.status, self.tried = threading.Event(), 0, {}, []
        guest = job['guests'][number]
        disk = driving.write_disk(folder, BEGIN + guest['script'] + driving.OFF,
                                  f'script{number}')
        fds = [int(word) for word in guest.get('fds', [])]
        self.process = subprocess.Popen(  # pylint: disable=consider-using-with
            [crosvm, 'run', '-m', '320', '-c', str(guest.get('cpus', 1)), '-s', self.sock, '-i',
             job['initrd'], '-r', job['root'], '-d', disk, '-p', 'quiet guest.run=/dev/vdb',
             *guest['options'], job['kernel']],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            pass_fds=fds)

    def ask(self, command, *words):
        """A command of the control socket; what it answers."""
        return driving.told(self.crosvm, command, self.sock, *words)

    def kill(self, name):
        """Kills a device process now and then."""
        while not self.killing.wait(random.uniform(0.2, 0.5) +
                                    (self.killed > driving.KILLS_AT_ONCE)):
            for row in self.ask('status').get('devices', []):
                if row['name'] == name and row['pid'] > 0 and row['state'] == 'running':
                    os.kill(row['pid'], signal.SIGKILL)
                    self.killed += 1

    def react(self, what):
        """Does what the job says."""
        word, _, rest = what.partition(' ')
        if word == 'kill':
            threading.Thread(target=self.kill, args=(rest,), daemon=True).start()
        elif word == 'link':
            self.tried.append(self.ask('link', 'net0', rest))
        elif word == 'try':
            for options in self.job['tries']:
                done = subprocess.run([self.crosvm, 'run', '-i', self.job['initrd'], *options,
                                       self.job['kernel']], timeout=TRY_S, text=True,
                                      stdin=subprocess.DEVNULL, capture_output=True, check=False)
                self.tried.append([done.returncode, done.stdout + done.stderr])
        else:
            subprocess.run(what, shell=True, check=False)

    def run(self):
        for line in self.process.stdout:
            text = line.decode(errors='replace').rstrip()
            print(f'{self.number}: {text}', flush=True)
            if 'KILL-TO' in text:
                self.killing.set()
            if 'STATUS-NOW' in text:
                self.status = self.ask('status')
            for key, what in self.job.get('on', {}).items():
                if key in text:
                    self.react(what)
        self.process.wait()


def open_tap(number, name):
    """A tap as a descriptor of that number, which guests inherit."""
    fd = os.open('/dev/net/tun', os.O_RDWR)
    fcntl.ioctl(fd, TUNSETIFF, struct.pack('16sH22x', name.encode(), TAP | NO_PI | VNET_HDR))
    os.dup2(fd, number)


def main():
    """Drives it; returns the exit status."""
    crosvm, job = sys.argv[1], json.loads(sys.argv[2])
    subprocess.run(['sh', '-ec', job.get('setup', '')], check=True)
    for number, name in job.get('tap_fds', {}).items():
        open_tap(int(number), name)
    servers = [subprocess.Popen(['iperf3', '-s', '-p', str(5201 + i)], stdout=subprocess.DEVNULL)
               for i in range(2)]
    with tempfile.TemporaryDirectory() as folder:
        guests = [Guest(crosvm, job, i, folder) for i in range(len(job['guests']))]
        for guest in guests:
            guest.start()
        for guest in guests:
            guest.join()
    for server in servers:
        server.kill()
    left = subprocess.run(['ip', '-br', 'link'], capture_output=True, text=True, check=True)
    print('DRIVE ' + json.dumps({
        'codes': [guest.process.returncode for guest in guests],
        'killed': [guest.killed for guest in guests],
        'status': [guest.status for guest in guests],
        'tried': [one for guest in guests for one in guest.tried],
        'left': left.stdout}))
    return 0


sys.exit(main())
