# SPDX-License-Identifier: BSD-3-Clause
"""drive_power.py CROSVM INITRD KERNEL NAME... - asks Linux guests of these names to shut down.

Prints what was seen as JSON.
"""
import json
import os
import subprocess
import sys
import tempfile


# The kernel's command line, and how it is asked: one that listens to its power button, one that
# does not, one that has none.
GUESTS = {'listens': ('', ['powerbtn']), 'ignores': ('guest.do=ignore', ['stop', '--ask=2']),
          'lacks': ('acpi=off', ['powerbtn'])}


class Guest:
    """A guest in the background, up to where it says how it stands with its button."""

    def __init__(self, crosvm, initrd, kernel, params):
        self.crosvm, self.socket = crosvm, os.path.join(tempfile.mkdtemp(), 'sock')
        # pylint: disable=consider-using-with
        self.process = subprocess.Popen(
            [crosvm, 'run', '-s', self.socket, '-i', initrd, '-p', f'quiet {params}', kernel],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.lines = []
        while not self.lines or 'GUEST ' not in self.lines[-1]:
            line = self.process.stdout.readline()
            if not line:
                break
            self.lines.append(line.strip())

    def ask(self, *words):
        """A command for it: exit code, and what was said without the path of its socket."""
        done = subprocess.run([self.crosvm, *words, self.socket], capture_output=True, text=True,
                              check=False)
        return [done.returncode, (done.stdout + done.stderr).replace(self.socket, 'SOCKET')]

    def end(self):
        """Its exit code, and what it and its machine said."""
        out, err = self.process.communicate()
        guest = '\n'.join(line for line in [*self.lines, *out.splitlines()] if 'GUEST ' in line)
        return {'code': self.process.returncode, 'guest': guest, 'machine': err}


def main():
    """Drives them; returns the exit status."""
    seen = {}
    for name in sys.argv[4:]:
        params, words = GUESTS[name]
        guest = Guest(*sys.argv[1:4], params)
        asked = guest.ask(*words)
        if name == 'lacks':
            guest.ask('stop')
        seen[name] = {'asked': asked, **guest.end()}
    print(json.dumps(seen))
    return 0


sys.exit(main())
