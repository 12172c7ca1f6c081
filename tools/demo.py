# SPDX-License-Identifier: BSD-3-Clause
"""Boots a Debian with systemd to a login, every device in its jail, and shows what runs where.

On a terminal the login is the caller's; otherwise a few commands are typed into it.  The guest's
network is this machine's, through passt; in the testbed it is a small one that ends there.
"""
import json
import os
import shutil
import subprocess
import sys
import time

import guests
from guests.place import TOP, USER, Direct, choose, inside, program
from testbed import kernels, l1
from testbed.cache import cache_dir
from testbed.debian import PackageError

LIMIT_S, DAY_S = 400, 86400
# In the testbed: a gateway with a web server; the root file system's user then is nobody special.
WORLD = f'''set -e
mkdir /run/cache /run/top /run/www
mount --bind {cache_dir()} /run/cache
mount --bind {TOP} /run/top
echo 'hello from the gateway' >/run/www/index.html
ip netns add world
ip link add up0 type veth peer name up1 netns world
ip addr add 198.51.100.2/24 dev up0
ip link set up0 up
ip -n world addr add 198.51.100.1/24 dev up1
ip -n world link set up1 up
ip route add default via 198.51.100.1
echo '0 2147483647' >/proc/sys/net/ipv4/ping_group_range
ip netns exec world busybox httpd -h /run/www
cd /tmp
exec setpriv --reuid={USER} --regid={USER} --groups={l1.kvm_gid()} env HOME=/tmp "$@"
'''
LOOK = ['until systemctl is-system-running | grep -v -e initializing -e starting; do sleep 1; done',
        'findmnt -no FSTYPE,OPTIONS /', 'ip -br -4 addr show eth0']
TRY = ['ping -c 1 -W 2 {gateway} | head -n 2',
       "(exec 3<>/dev/tcp/{site}/80; printf 'GET / HTTP/1.0\\r\\n\\r\\n' >&3; head -n 1 <&3)"]


def say(text):
    """A line about what is done."""
    print(f'demo: {text}', flush=True)


def network(place):
    """(options for a network card, commands that use it)."""
    if place != Direct.name:
        return ['--net', 'user'], [line.format(gateway='198.51.100.1', site='198.51.100.1')
                                   for line in TRY]
    if not shutil.which('passt'):
        say('no network for the guest: install the package "passt"')
        return [], []
    route = subprocess.run(['ip', '-4', 'route', 'show', 'default'], capture_output=True,
                           text=True, check=False).stdout.split()
    if 'via' not in route:
        say('no network for the guest: this machine has no default route')
        return [], []
    return ['--net', 'user'], [line.format(gateway=route[route.index('via') + 1],
                                           site='deb.debian.org') for line in TRY]


def prefix(place, interactive):
    """What to put before the command so that it runs there."""
    if place == Direct.name:
        return []
    limit = DAY_S if interactive else LIMIT_S
    return [TOP / 'dev', 'testbed', '--tty' if interactive else '--stdin', '--timeout', str(limit),
            '--', 'sh', '-c', WORLD, 'sh']


def main():
    """Runs the demonstration; returns the program's exit status."""
    begun = time.monotonic()
    interactive = sys.stdin.isatty() and sys.stdout.isatty()
    try:
        place = os.environ.get('CROSVM_TEST_PLACE') or choose()
        kernel = kernels.get('6.1-cloud')
        root = guests.demo_root()
        initrd = guests.disk('6.1-cloud', guests.DEMO_MODULES)
    except PackageError as error:
        say(str(error))
        return 1
    card, tries = network(place)
    there = str if place == Direct.name else inside
    options = ['-m', '512', '-r', there(root), '-i', there(initrd), '--console', 'stdio', *card,
               '-p', 'console=hvc0 quiet loglevel=3 net.ifnames=0 guest.overlay',
               there(kernel.vmlinux)]
    job = {'options': options, 'typed': None, 'limit_s': DAY_S}
    if not interactive:
        job.update(typed=[*LOOK, *tries, 'poweroff'], limit_s=LIMIT_S)
    say(f"Debian's kernel {kernel.release} and a Debian 12 with systemd, made without installing")
    say("this machine's /dev/kvm runs it" if place == Direct.name else
        "this machine's /dev/kvm can't run it: in the testbed (./dev testbed), which is slower")
    say(' '.join(['crosvm run', *map(str, options)]))
    say(f'prepared in {time.monotonic() - begun:.1f} s; '
        'to leave: poweroff in the guest, or the keys Ctrl-A x')
    command = [*prefix(place, interactive), '/usr/bin/python3', there(TOP / 'tools/demo_inside.py'),
               there(program()), json.dumps(job)]
    return subprocess.run(command, check=False,
                          stdin=None if interactive else subprocess.DEVNULL).returncode


sys.exit(main())
