# SPDX-License-Identifier: BSD-3-Clause
"""drive_disk.py CROSVM JSON - runs a script in a Debian guest, and does things to it meanwhile.

JSON: kernel, initrd; root: image that is copied and given to the guest as /dev/vda, writable unless
"read_only"; options: more for crosvm run; params: more for its kernel; script: for the guest's
shell, on a disk of its own, after which the guest powers off; without it systemd runs.
scratch_mib: size of an empty disk that options name as @scratch.  type: [[prompt, answer]...] for
the console.  kills: how often to kill the processes named in "kill" (block0, ...) between the
lines KILL-FROM and KILL-TO of the guest; when that is done, the guest gets a line on its console.
Prints what the guest does, then a line "DRIVE" with JSON: exit code, kills, what fsck says.  Runs
where the guest does.
"""
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time

import driving


class Killer(threading.Thread):
    """Kills device processes at random moments while the guest says that it works."""

    def __init__(self, crosvm, sock, names, kills, done):
        super().__init__(daemon=True)
        self.crosvm, self.sock, self.names, self.left = crosvm, sock, names, kills
        self.begun, self.ended = threading.Event(), threading.Event()
        self.killed, self.done = 0, done
        self.counters, self.went_back = {}, []

    def devices(self):
        """{name: row of the status}; what they have counted is kept."""
        rows = driving.told(self.crosvm, 'status', self.sock).get('devices', [])
        for row in rows:
            before = self.counters.get(row['name'], {})
            self.went_back += [f'{row["name"]}: {name}' for name, n in row['counters'].items()
                               if n < before.get(name, 0)]
            self.counters[row['name']] = row['counters']
        return {row['name']: row for row in rows}

    def run(self):
        self.begun.wait()
        while self.left > 0 and not self.ended.is_set():
            for name, row in self.devices().items():
                if name in self.names and row['pid'] > 0 and row['state'] == 'running':
                    os.kill(row['pid'], signal.SIGKILL)
                    self.killed += 1
                    self.left -= 1
            time.sleep(random.uniform(0.01, 0.15) + (self.killed > driving.KILLS_AT_ONCE))
        self.done()


def command_of(crosvm, job, folder, sock, image):
    """The command line of the guest."""
    scratch = os.path.join(folder, 'scratch')
    with open(scratch, 'wb') as file:
        file.truncate(job.get('scratch_mib', 1) << 20)
    command = [crosvm, 'run', '-m', '512', '-s', sock, '-i', job['initrd']]
    params = 'quiet ' + job.get('params', '')
    if job.get('read_only'):
        command += ['-r', image]
    else:
        command += ['--rwdisk', image]
        params += ' root=/dev/vda rw'
    if 'script' in job:
        command += ['-d', driving.write_disk(
            folder, driving.PATH + job['script'] + driving.SYNC_AND_OFF)]
        params += ' guest.run=/dev/vdb'
    command += [word.replace('@scratch', scratch) for word in job.get('options', [])]
    return command + ['-p', params, job['kernel']]


def converse(guest, job, killer):
    """Passes the guest's output on, answers prompts, tells the killer when to begin and end."""
    said, answers = '', list(job.get('type', []))
    while data := os.read(guest.stdout.fileno(), 65536):
        said += data.decode(errors='replace')
        sys.stdout.write(data.decode(errors='replace'))
        sys.stdout.flush()
        if answers and answers[0][0] in said:
            said = ''
            guest.stdin.write(answers.pop(0)[1].encode())
            guest.stdin.flush()
        if 'KILL-FROM' in said:
            killer.begun.set()
        if 'KILL-TO' in said:
            killer.ended.set()
    print()


def main():
    """Drives it; returns the exit status."""
    crosvm, job = sys.argv[1], json.loads(sys.argv[2])
    folder = tempfile.mkdtemp()
    sock, image = os.path.join(folder, 'sock'), os.path.join(folder, 'root')
    subprocess.run(['cp', '--sparse=always', job['root'], image], check=True)
    os.chmod(image, 0o600)
    command = command_of(crosvm, job, folder, sock, image)
    # pylint: disable=consider-using-with
    guest = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                             stderr=subprocess.STDOUT)

    def tell():
        guest.stdin.write(b'\n')
        guest.stdin.flush()

    killer = Killer(crosvm, sock, job.get('kill', []), job.get('kills', 0), tell)
    killer.start()
    converse(guest, job, killer)
    result = {'code': guest.wait(), 'killed': killer.killed, 'counters': killer.counters,
              'went_back': killer.went_back}
    if not job.get('read_only'):
        fsck = subprocess.run(['/sbin/fsck.ext4', '-fn', image], capture_output=True, text=True,
                              check=False)
        result.update(fsck=fsck.returncode, fsck_said=(fsck.stdout + fsck.stderr)[-500:])
    result['left'] = sorted(os.listdir(folder))
    print('DRIVE ' + json.dumps(result))
    return 0


sys.exit(main())
