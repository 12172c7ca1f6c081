# SPDX-License-Identifier: BSD-3-Clause
"""Where the program runs guests: on this machine, or in the testbed's.

Both look the same to a caller: a command with a time limit, its exit status and its output.
"""
import dataclasses
import os
import subprocess
import warnings
from pathlib import Path

import guests
from testbed import kernels, l1
from testbed.cache import cache_dir

TOP = Path(__file__).resolve().parent.parent.parent
USER = 1000


@dataclasses.dataclass
class Done:
    """How a command ended; code is None when it was stopped by the time limit."""
    code: int
    out: str
    err: str

    def line(self, start):
        """The fields of the line "start name=value..." as a dict."""
        for line in self.out.splitlines():
            at = line.find(start + ' ')
            if at >= 0:
                return dict(word.partition('=')[::2] for word in line[at:].split()[1:])
        raise AssertionError(f'no line "{start}" in:\n{self}')

    def __str__(self):
        return (f'exit status {self.code}\n--- output\n{self.out[-6000:]}\n'
                f'--- errors\n{self.err[-3000:]}')


class Direct:
    """This machine, whose /dev/kvm runs any kernel."""
    name = 'direct'

    @staticmethod
    def path(path):
        """What a path of the cache or the repository is called there."""
        return str(path)

    def run(self, argv, timeout_s=60, stdin=None, **_):
        """Runs a command."""
        try:
            done = subprocess.run([str(word) for word in argv], input=stdin, timeout=timeout_s,
                                  stdin=None if stdin else subprocess.DEVNULL,
                                  capture_output=True, check=False)
        except subprocess.TimeoutExpired as error:
            return Done(None, _text(error.stdout), _text(error.stderr))
        return Done(done.returncode, _text(done.stdout), _text(done.stderr))


class Testbed:
    """L1, one for each command."""
    name = 'testbed'

    @staticmethod
    def path(path):
        """What a path of the cache or the repository is called there."""
        return inside(path)

    def __init__(self):
        self.second_tries = 1

    def run(self, argv, timeout_s=60, stdin=None, smp=1, mem_mib=3072, root=False, append=''):
        """Runs a command, as an ordinary user in group kvm unless root.

        The first time-out is tried once more, with a warning: QEMU's nested virtualisation was
        seen to lose an interrupt once in hundreds of boots, and L1 then sleeps for ever.
        """
        options = l1.Options(smp, mem_mib, append=append)
        l1.state(options)
        done = self._once(options, argv, timeout_s, stdin, root)
        if done.code is None and self.second_tries > 0:
            self.second_tries -= 1
            warnings.warn(f'timeout, tried once more: {" ".join(map(str, argv))}\n{done}')
            done = self._once(options, argv, timeout_s, stdin, root)
        return done

    def _once(self, options, argv, timeout_s, stdin, root):
        out = {b'O': bytearray(), b'E': bytearray()}
        argv = [inside(word) for word in argv]
        if not root:
            # As the user, who need not be able to enter the folders above cache and build.
            argv = ['setpriv', f'--reuid={USER}', f'--regid={USER}', '--groups', str(l1.kvm_gid()),
                    *argv]
        prelude = ('mkdir /run/cache /run/top && mount --bind "$1" /run/cache && '
                   'mount --bind "$2" /run/top && shift 2 && exec "$@"')
        job = l1.Job(['sh', '-c', prelude, 'sh', str(cache_dir()), str(TOP), *argv],
                     cwd='/tmp', timeout_s=timeout_s)
        feed = None
        if stdin is not None:
            read, write = os.pipe()
            os.write(write, stdin)
            os.close(write)
            feed = open(read, 'rb', buffering=0)
        try:
            code = l1.run(options, job, lambda kind, data: out[kind].extend(data), feed)
        except l1.Timeout:
            code = None
        finally:
            if feed:
                feed.close()
        return Done(code, _text(out[b'O']), _text(out[b'E']))


def inside(word):
    """A path of the cache or the repository, as Testbed.run mounts them."""
    word = str(word)
    for outer, inner in ((cache_dir(), '/run/cache'), (TOP, '/run/top')):
        if word.startswith(f'{outer}/'):
            return inner + word[len(str(outer)):]
    return word


def _text(data):
    return (data or b'').decode(errors='replace').replace('\r\n', '\n')


def program():
    """The program under test."""
    return Path(os.environ.get('CROSVM', TOP / 'build/src/crosvm'))


def boot(place, kernel, *options, params='', timeout_s=60, **how):
    """Boots a guest with the marker initrd."""
    return place.run([program(), 'run', '-i', guests.marker(), '-p', f'quiet {params}'.strip(),
                      *options, kernel], timeout_s, **how)


def python(place, script, *arguments, **how):
    """Runs a script of tests/ with the program as its first argument."""
    return place.run(['/usr/bin/python3', TOP / 'tests' / script, program(), *arguments], **how)


def choose():
    """'direct' when this machine's /dev/kvm runs a stock kernel, else 'testbed'."""
    if not os.access('/dev/kvm', os.R_OK | os.W_OK) or not program().exists():
        return Testbed.name
    done = boot(Direct(), kernels.get('6.1-cloud').vmlinux, timeout_s=10)
    return Direct.name if done.code == 0 and 'GUEST ' in done.out else Testbed.name


def named(name):
    """The place of this name."""
    places = {place.name: place for place in (Direct, Testbed)}
    return places[name]()
