# SPDX-License-Identifier: BSD-3-Clause
"""drive_suspend.py CROSVM INITRD KERNEL - suspends and resumes a guest under load.

Prints what was seen as JSON.  Runs where the guest does, so that its times are the guest's host's.
"""
import json
import os
import re
import subprocess
import sys
import tempfile
import threading
import time

SECONDS, SUSPENDED_S = 2, 2


class Output:
    """Collects the guest's lines while it runs."""

    def __init__(self, stream):
        self.lines, self.stream = [], stream
        self.thread = threading.Thread(target=self._read)
        self.thread.start()

    def _read(self):
        for line in self.stream:
            self.lines.append(line.decode(errors='replace').strip())

    def ticks(self):
        """[(uptime, date)] so far."""
        found = (re.search(r'TICK \d+ uptime=([\d.]+) date=(\d+)', line)
                 for line in list(self.lines))
        return [(float(m.group(1)), int(m.group(2))) for m in found if m]


def main():
    """Drives it; returns the exit status."""
    crosvm, initrd, kernel = sys.argv[1:]
    folder = tempfile.mkdtemp()
    sock = os.path.join(folder, 'sock')
    # pylint: disable=consider-using-with
    guest = subprocess.Popen([crosvm, 'run', '-c', '2', '-s', sock, '-i', initrd, '-p',
                              f'quiet guest.do=load guest.seconds={SECONDS}', kernel],
                             stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
    output = Output(guest.stdout)
    while len(output.ticks()) < 5 and guest.poll() is None:
        time.sleep(0.05)
    subprocess.run([crosvm, 'suspend', sock], check=True)
    time.sleep(0.5)
    before, started = len(output.ticks()), time.monotonic()
    time.sleep(SUSPENDED_S)
    while_suspended = len(output.ticks()) - before
    subprocess.run([crosvm, 'resume', sock], check=True)
    suspended_s = time.monotonic() - started + 0.5
    code = guest.wait()
    output.thread.join()
    ticks = output.ticks()
    print(json.dumps({
        'code': code, 'ticks_while_suspended': while_suspended, 'suspended_s': suspended_s,
        'ticks_wanted': SECONDS * 10, 'uptimes': [t[0] for t in ticks],
        'dates': [t[1] for t in ticks],
        'rest': '\n'.join(line for line in output.lines if 'TICK ' not in line)}))
    return 0


sys.exit(main())
