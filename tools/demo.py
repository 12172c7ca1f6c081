# SPDX-License-Identifier: BSD-3-Clause
"""Boots an unmodified Debian kernel under crosvm, to a shell on the serial console.

On a terminal the shell is the caller's; otherwise a few commands are typed into it.  The guest has
a network where passt is installed and this machine runs it directly; the testbed has none.
"""
import shutil
import subprocess
import sys
import threading

import guests
from guests.place import TOP, Direct, choose, program
from testbed import kernels
from testbed.debian import PackageError

PROMPT = b'/ # '
ASKS_SIZE = b'\x1b[6n'  # the shell to its terminal, which is none here
TYPED = ['uname -a', 'cat /proc/cpuinfo | grep "model name"', 'free -m', 'poweroff -f']
LIMIT_S = 180


def say(text):
    """A line about what is done."""
    print(f'demo: {text}', flush=True)


def prefix(place, interactive):
    """What to put before the command so that it runs there."""
    if place == Direct.name:
        return []
    limit = 86400 if interactive else LIMIT_S
    return [TOP / 'dev', 'testbed', '--tty' if interactive else '--stdin', '--timeout', str(limit),
            '--']


def network(place):
    """Whether the guest can have one."""
    if place != Direct.name:
        return False
    if not shutil.which('passt'):
        say('no network for the guest: install the package "passt"')
        return False
    routes = subprocess.run(['ip', 'route', 'show', 'default'], capture_output=True, check=False)
    return bool(routes.stdout)


def type_into(process, typed):
    """Shows what the process prints, and types a command at each prompt."""
    seen, held, left = b'', b'', list(typed)
    while data := process.stdout.read(4096):
        seen = (seen + data)[-4096:]
        held = (held + data).replace(ASKS_SIZE, b'').replace(b'\r', b'')
        if b'\x1b' not in held[-len(ASKS_SIZE):]:
            sys.stdout.buffer.write(held)
            sys.stdout.flush()
            held = b''
        if PROMPT in seen and left:
            seen = b''
            process.stdin.write(f'{left.pop(0)}\n'.encode())


def main():
    """Runs the demonstration; returns the program's exit status."""
    interactive = sys.stdin.isatty() and sys.stdout.isatty()
    try:
        place = choose()
        has_network = network(place)
        kernel = kernels.get('6.1-cloud').bzimage
        initrd = guests.shell('6.1-cloud') if has_network else guests.marker()
    except PackageError as error:
        say(str(error))
        return 1
    say(f"Debian's kernel: {kernel.name}, unpacked from its package, not installed")
    say("this machine's /dev/kvm runs it directly" if place == Direct.name else
        "this machine's /dev/kvm can't run it: using the testbed (./dev testbed), which is slower")
    command = [program(), 'run', '-m', '256', '-i', initrd, *(['--net', 'user'] * has_network),
               '-p', 'guest.do=shell', kernel]
    say(' '.join(map(str, command)))
    command = prefix(place, interactive) + command
    if interactive:
        return subprocess.run(command, check=False).returncode
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                          bufsize=0) as process:
        limit = threading.Timer(LIMIT_S, process.kill)
        limit.start()
        type_into(process, [*(['ip addr show eth0'] * has_network), *TYPED])
        code = process.wait()
        limit.cancel()
    say(f'the guest ended; exit status {code}')
    return code


sys.exit(main())
