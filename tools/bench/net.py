# SPDX-License-Identifier: BSD-3-Clause
"""a jailed network card, beside a loop that copies frames, vhost-net, and QEMU's card

First tools/bench/net.c on this machine, then iperf3 between a Debian guest and the testbed's
kernel, under this program and under QEMU.  MILLISECONDS and ROUNDS of the first, SECONDS of the
second may be set in the environment; GUESTS=no leaves the second out.
"""
import os
import subprocess
import sys
from pathlib import Path

TOP = Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(TOP / 'tools'))

import guests  # noqa: E402  pylint: disable=wrong-import-position
from guests.place import Testbed  # noqa: E402  pylint: disable=wrong-import-position
from testbed import kernels  # noqa: E402  pylint: disable=wrong-import-position

SECONDS = os.environ.get('SECONDS', '3')
GUEST = f'''export PATH=/usr/sbin:/usr/bin:/sbin:/bin
mount -t tmpfs tmpfs /tmp; ip link set eth0 up; ip addr add 10.9.0.2/24 dev eth0
ping -q -c 100 -i 0.01 -w 10 10.9.0.1 | \\
    sed -n 's,^rtt[^=]*= [^/]*/\\([^/]*\\)/.*,RESULT ping \\1 ms,p'
for way in out in; do
    iperf3 -c 10.9.0.1 -t {SECONDS} -f m $([ $way = in ] && echo -R) | \\
        sed -n "s,.* \\([0-9.]*\\) Mbits/sec .*receiver,RESULT $way \\1 Mbit/s,p"
done
echo o >/proc/sysrq-trigger; sleep 60
'''
# $1 program, $2 kernel as vmlinux, $3 as bzImage, $4 initrd, $5 root
HOST = '''cd /tmp; printf '%s' "$GUEST" >script; truncate -s %4096 script
ip tuntap add q0 mode tap vnet_hdr; ip link set q0 up; iperf3 -s -D
each() { name=$1; shift; "$@" </dev/null 2>&1 | tr -d '\\r' | sed -n "s/.*RESULT/$name:/p"; }
ours() { each "$1" "$2" run -m 320 -i "$4" -r "$5" -d script -p 'quiet guest.run=/dev/vdb' \\
    --net "tap=q0,host_ip=10.9.0.1,netmask=255.255.255.0,mac=02:00:00:00:00:01$6" "$3"; }
theirs() { each "$1" qemu-system-x86_64 -accel kvm -cpu host -m 320 -nographic -no-reboot \\
    -nodefaults -serial stdio -kernel "$2" -initrd "$3" \\
    -append "console=ttyS0 quiet root=/dev/vda guest.run=/dev/vdb" \\
    -drive "file=$4,format=raw,if=virtio,readonly=on" \\
    -drive file=script,format=raw,if=virtio,readonly=on \\
    -netdev "tap,id=n,ifname=q0,script=no,downscript=no,vhost=$5" \\
    -device virtio-net-pci,netdev=n,mac=02:00:00:00:00:01; }
ours crosvm "$1" "$2" "$4" "$5" ""
theirs QEMU "$3" "$4" "$5" off
ours 'crosvm, vhost' "$1" "$2" "$4" "$5" ,vhost
theirs 'QEMU, vhost' "$3" "$4" "$5" on
'''


def in_guests():
    """iperf3 and ping in the testbed."""
    kernel, place = kernels.get('6.1-cloud'), Testbed()
    done = place.run(['env', f'GUEST={GUEST}', 'sh', '-c', HOST, 'sh', TOP / 'build/src/crosvm',
                      kernel.vmlinux, kernel.bzimage, guests.disk('6.1-cloud'),
                      guests.squashfs()], timeout_s=300, root=True)
    print(done.out, end='')
    if done.code != 0 or 'RESULT' in done.err:
        print(done.err, file=sys.stderr)


def main():
    subprocess.run(['ninja', '-C', TOP / 'build', 'tools/bench/bench-net'], check=True,
                   stdout=subprocess.DEVNULL)
    subprocess.run([TOP / 'build/tools/bench/bench-net', TOP / 'build/src/crosvm',
                    os.environ.get('MILLISECONDS', '300'), os.environ.get('ROUNDS', '5')],
                   check=True, timeout=600)
    if os.environ.get('GUESTS') != 'no':
        in_guests()


if __name__ == '__main__':
    sys.exit(main())
