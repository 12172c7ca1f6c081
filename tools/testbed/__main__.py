# SPDX-License-Identifier: BSD-3-Clause
"""Runs a command in L1, a Linux machine with a working /dev/kvm.

The machine has this one's files: / is read-only underneath, and what the command writes is thrown
away with the machine.  /run is new.  Standard output, standard error and the exit status are the
command's.  Exit status 124: it took longer
than --timeout; 125: the testbed failed.
"""
import argparse
import contextlib
import os
import signal
import sys
import termios
import time
import tty

from . import l1
from .cache import say
from .debian import PackageError


def arguments():
    """The command line."""
    parser = argparse.ArgumentParser(
        prog='./dev testbed', description=__doc__.split('\n\n', maxsplit=1)[0],
        epilog=__doc__.split('\n\n', 1)[1], usage='%(prog)s [options] -- COMMAND [argument...]')
    parser.add_argument('--smp', type=int, default=1, metavar='N', help='CPUs (1)')
    parser.add_argument('--mem', type=int, default=3072, metavar='MIB', help='memory (3072)')
    parser.add_argument('--icount', nargs='?', const='shift=0', default='', metavar='OPTIONS',
                        help='count instructions as time (shift=0: one a nanosecond), so that '
                             'measurements repeat; one CPU')
    parser.add_argument('--append', default='', metavar='WORDS',
                        help='more for the kernel command line, as psi=1')
    parser.add_argument('--user', type=int, default=0, metavar='UID',
                        help='run as this user, in group kvm')
    parser.add_argument('--out', default='', metavar='DIR',
                        help='a folder of this machine to write to, as /run/out')
    parser.add_argument('--cwd', default=os.getcwd(), metavar='DIR')
    parser.add_argument('--env', action='append', default=[], metavar='NAME=VALUE')
    parser.add_argument('--timeout', type=float, default=120, metavar='SECONDS', help='(120)')
    parser.add_argument('--stdin', action='store_true', help='pass standard input on')
    parser.add_argument('--tty', action='store_true',
                        help='give the command a terminal; implies --stdin')
    parser.add_argument('-v', '--verbose', action='store_true')
    parser.add_argument('command', nargs=argparse.REMAINDER)
    options = parser.parse_args()
    if options.command[:1] == ['--']:
        del options.command[0]
    if not options.command:
        parser.error('no command')
    if options.out and not os.path.isdir(options.out):
        parser.error(f'--out: {options.out} is not a folder')
    return options


@contextlib.contextmanager
def raw_terminal(wanted):
    """The terminal passes every key on until the end of the block."""
    if not (wanted and sys.stdin.isatty()):
        yield
        return
    saved = termios.tcgetattr(0)
    try:
        tty.setraw(0)
        yield
    finally:
        termios.tcsetattr(0, termios.TCSADRAIN, saved)


def job_of(options):
    """The job the command line asks for."""
    terminal = ''
    if options.tty:
        try:
            size = os.get_terminal_size(0)
        except OSError:
            size = os.terminal_size((80, 24))
        terminal = f'{size.lines} {size.columns}'
    env = dict(pair.partition('=')[::2] for pair in options.env)
    if options.tty:
        env.setdefault('TERM', os.environ.get('TERM', 'dumb'))
    out = os.path.abspath(options.out) if options.out else ''
    return l1.Job(options.command, options.cwd, env, options.user, terminal, out, options.timeout)


def main():
    """Runs the command; returns the exit status."""
    options = arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    started = time.monotonic()

    def log(text):
        if options.verbose:
            say(f'{time.monotonic() - started:6.3f} {text}')

    machine = l1.Options(options.smp, options.mem, options.icount, options.append)
    feed = sys.stdin.buffer if options.stdin or options.tty else None
    try:
        l1.state(machine)  # before the clock of the job runs
        with raw_terminal(options.tty):
            return l1.run(machine, job_of(options), l1.to_stdio, feed, log)
    except l1.Timeout:
        say(f'timeout after {options.timeout:.0f} s')
        return 124
    except (l1.TestbedError, PackageError) as error:
        say(str(error))
        return 125
    except BrokenPipeError:
        return 141
    except KeyboardInterrupt:
        return 130


if __name__ == '__main__':
    sys.exit(main())
