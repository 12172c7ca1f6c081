# SPDX-License-Identifier: BSD-3-Clause
"""drive_balloon.py CROSVM JOB - virtual machines on a host that is too small for them.

JOB is JSON: kernel, initrd, vms, mem_mib, write_mib, balloon (options), patience_s.  Starts the
machines, samples what they say of themselves (`status`) until all have written their file and all
balloons, having held something, are empty again.  Meanwhile another process waits for memory, in a
control group that has little, for the kernel to tell the machines of.  Prints "DRIVE " and what was
seen as JSON.
"""
import json
import os
import re
import socket
import subprocess
import sys
import tempfile
import threading
import time

INTERVAL_S = 0.2


class Machine:
    """One virtual machine and its control socket."""

    def __init__(self, crosvm, job, folder, number):
        self.path, self.lines, self.control = os.path.join(folder, f'{number}.sock'), [], None
        # pylint: disable=consider-using-with
        self.process = subprocess.Popen(
            [crosvm, 'run', '-m', str(job['mem_mib']), '-s', self.path, '-i', job['initrd'],
             '--balloon', job['balloon'], '--log-level', 'debug',
             '-p', f'quiet guest.write={job["write_mib"]}', job['kernel']],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        for line in self.process.stdout:
            self.lines.append(line.decode(errors='replace').strip())

    def has_said(self, pattern):
        """The last match in what the guest printed, or None."""
        found = [m for m in (re.search(pattern, line) for line in list(self.lines)) if m]
        return found[-1] if found else None

    def status(self):
        """The reply to status; None while nobody answers."""
        try:
            if not self.control:
                self.control = socket.socket(socket.AF_UNIX)
                self.control.connect(self.path)
            self.control.sendall(b'status\n')
            reply = b''
            while not reply.endswith(b'\n'):
                piece = self.control.recv(65536)
                if not piece:
                    return None
                reply += piece
            return json.loads(reply)
        except OSError:
            self.control = None
            return None


def sample(machines, started):
    """One row of the record."""
    row = {'s': round(time.monotonic() - started, 2), 'vms': []}
    for machine in machines:
        status = machine.status()
        if not status or 'balloon' not in status:
            return None
        balloon = status['balloon']
        report = [d.get('reports') for d in status['devices'] if d['type'] == 'balloon'][0]
        if not report:
            return None  # it did not answer in time, on a busy machine
        row['available'] = balloon.get('host_available_bytes', 0)
        row['margin'] = balloon.get('host_margin_bytes', 0)
        row['vms'].append({'target': balloon['target_bytes'],
                           'actual': report['actual_bytes'],
                           'notices': balloon.get('notices', 0)})
    return row


def is_over(machines, record):
    """Whether every file is written and every balloon was used and is empty."""
    return (all(m.has_said('WROTE') for m in machines) and record and
            all(any(row['vms'][i]['target'] for row in record) for i in range(len(machines))) and
            not any(vm['target'] or vm['actual'] for vm in record[-1]['vms']))


def wait_for_memory(folder):
    """Makes tasks of this host wait for memory: more than memory.high, and no swap."""
    groups = os.path.join(folder, 'groups')
    os.mkdir(groups)
    subprocess.run(['mount', '-t', 'cgroup2', 'groups', groups], check=True)
    with open(f'{groups}/cgroup.subtree_control', 'w', encoding='ascii') as control:
        control.write('+memory')
    os.mkdir(f'{groups}/small')
    with open(f'{groups}/small/memory.high', 'w', encoding='ascii') as high:
        high.write('8M')
    # pylint: disable=consider-using-with
    return subprocess.Popen(
        [sys.executable, '-c', 'import os, sys\n'
         f'open("{groups}/small/cgroup.procs", "w").write(str(os.getpid()))\n'
         'kept = [bytearray(1 << 20) for _ in range(24)]'])


def main():
    """Drives it; returns the exit status."""
    crosvm, job = sys.argv[1], json.loads(sys.argv[2])
    folder, started, record = tempfile.mkdtemp(), time.monotonic(), []
    machines = [Machine(crosvm, job, folder, i) for i in range(job['vms'])]
    waiting = None
    while (not is_over(machines, record) and time.monotonic() - started < job['patience_s'] and
           all(m.process.poll() is None for m in machines)):
        row = sample(machines, started)
        if row:
            record.append(row)
            waiting = waiting or wait_for_memory(folder)
            if all(vm['notices'] for vm in row['vms']):
                waiting.kill()
        time.sleep(INTERVAL_S)
    if waiting:
        waiting.kill()
    alive = [int(m[1]) if (m := machine.has_said(r'ALIVE (\d+)')) else -1 for machine in machines]
    time.sleep(3)
    alive_later = [int(m[1]) if (m := machine.has_said(r'ALIVE (\d+)')) else -1
                   for machine in machines]
    for machine in machines:
        subprocess.run([crosvm, 'stop', machine.path], check=False)
    codes = [machine.process.wait() for machine in machines]
    print('DRIVE ' + json.dumps({
        'over': is_over(machines, record), 'codes': codes, 'record': record,
        'alive': [later > before for before, later in zip(alive, alive_later)],
        'lines': [[line for line in m.lines if 'ALIVE' not in line][-40:] for m in machines]}))
    return 0


sys.exit(main())
