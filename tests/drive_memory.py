# SPDX-License-Identifier: BSD-3-Clause
"""drive_memory.py CROSVM JSON - a Debian guest and its balloon, seen from the host.

JSON: kernel, initrd, root (read-only image); mem: the guest's; steps: what to do, in
order, each a row with the name under which its result is told and one of
  guest: commands for the guest's shell; the result is what they print
  balloon: size that the balloon is asked to have; waits until it has it
  look: what the balloon says of itself
  ask: a command for the control socket; the result is the reply
  settle: waits until the host's memory is this many MiB below what it was at the step named since,
          at most wait_s; the result is how many it is
  kill: kills the balloon's process; waits until another one serves
Every result comes with the host's memory behind guests: Shmem, and huge pages in use, in MiB.
Prints a line "DRIVE" with JSON.  Runs where the guest does, as root.
"""
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time

import driving

WAIT_S = 90
# The guest's shell does what comes from the console.
AGENT = driving.PATH + r'''stty -echo
mount -t tmpfs -o size=100% tmpfs /tmp
echo AGENT-"READY"
while read -r line; do eval "$line"; echo AGENT-"DONE"; done
'''


def host_mib():
    """{what: MiB} of the host's memory that guests have."""
    text = open('/proc/meminfo', encoding='ascii').read()
    kib = {name: int(n) for name, n in re.findall(r'^(\w+): +(\d+)', text, re.M)}
    huge = kib['HugePages_Total'] - kib['HugePages_Free']
    return {'shmem': kib['Shmem'] / 1024, 'huge': huge * kib['Hugepagesize'] / 1024}


class Guest:
    """A running guest with a shell on its console."""

    def __init__(self, crosvm, job, folder):
        self.sock = os.path.join(folder, 'sock')
        script = driving.write_disk(folder, AGENT)
        command = [crosvm, 'run', '-m', job['mem'], '-s', self.sock, '-i', job['initrd'],
                   '-r', job['root'], '-d', script, '--balloon', 'policy=off',
                   '-p', 'quiet guest.run=/dev/vdb', job['kernel']]
        self.said = ''
        # pylint: disable=consider-using-with
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=subprocess.STDOUT)
        self.until('AGENT-READY')

    def until(self, word):
        """Reads until the guest says the word; returns what it said before."""
        while word not in self.said:
            data = os.read(self.process.stdout.fileno(), 65536)
            if not data:
                sys.exit(f'drive_memory: the guest ended:\n{self.said[-3000:]}')
            self.said += data.decode(errors='replace').replace('\r', '')
        before, _, self.said = self.said.partition(word)
        return before

    def shell(self, commands):
        """Lets the guest do it."""
        self.process.stdin.write(commands.encode() + b'\n')
        self.process.stdin.flush()
        return self.until('AGENT-DONE')

    def ask(self, line):
        """The reply of the control socket."""
        return driving.ask(self.sock, line)

    def balloon(self):
        """The balloon's row of the status, with what it says of itself; it may be busy."""
        while True:
            row = next(d for d in self.ask('status')['devices'] if d['type'] == 'balloon')
            if row['state'] == 'running' and 'reports' in row:
                return {**row, **row['reports']}
            time.sleep(0.1)


def wait_for(condition, wait_s=WAIT_S):
    """Waits for it to be true; its last value."""
    until = time.monotonic() + wait_s
    while not condition() and time.monotonic() < until:
        time.sleep(0.1)
    return condition()


def inflate(guest, size):
    """Asks for a size and waits until the guest says that it is so."""
    wanted = guest.ask(f'balloon target={size}')['target_bytes']
    wait_for(lambda: guest.balloon()['actual_bytes'] == wanted)
    return guest.balloon()


def kill(guest):
    """Kills the balloon's process and waits for the next one."""
    before = guest.balloon()
    os.kill(before['pid'], signal.SIGKILL)

    def is_back():
        row = guest.balloon()
        return row['restarts'] > before['restarts'] and row['started']
    wait_for(is_back)
    return guest.balloon()


def settle(step, since):
    """Waits until memory has come back."""
    def back():
        return since - host_mib()[step.get('kind', 'shmem')]
    wait_for(lambda: back() >= step['settle'], step.get('wait_s', WAIT_S))
    return back()


def do_step(guest, step, results):
    """One step."""
    if 'guest' in step:
        return guest.shell(step['guest'])
    if 'balloon' in step:
        return inflate(guest, step['balloon'])
    if 'look' in step:
        return guest.balloon()
    if 'ask' in step:
        return guest.ask(step['ask'])
    if 'kill' in step:
        return kill(guest)
    return settle(step, results[step['since']]['host'][step.get('kind', 'shmem')])


def main():
    """Drives it; returns the exit status."""
    crosvm, job = sys.argv[1], json.loads(sys.argv[2])
    for path, text in job.get('write', {}).items():
        with open(path, 'w', encoding='ascii') as file:
            file.write(text)
    guest, results = Guest(crosvm, job, tempfile.mkdtemp()), {}
    for step in job['steps']:
        begun = time.monotonic()
        result = do_step(guest, step, results)
        results[step['name']] = {'result': result, 'host': host_mib(),
                                 'seconds': round(time.monotonic() - begun, 2)}
        print(step['name'], results[step['name']], file=sys.stderr, flush=True)
    guest.ask('stop')
    results['code'] = guest.process.wait(WAIT_S)
    print('DRIVE ' + json.dumps(results))
    return 0


sys.exit(main())
