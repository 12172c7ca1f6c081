# SPDX-License-Identifier: BSD-3-Clause
"""L1: Debian's kernel under QEMU's interpreter, which emulates AMD's nested virtualisation.

It is booted once for each set of options and its state saved: RAM in a file, devices in a
migration stream.  A run maps the file copy-on-write, so it starts in a fraction of a second and
any number of runs go on side by side.  The kernel inside sees this machine's files through 9p.
"""
import contextlib
import ctypes
import dataclasses
import grp
import json
import os
import select
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from . import debian, kernels
from .cache import cache_dir, discard, entry, key_of, locked, say, stamp_of
from .initrd import Initrd

HERE = Path(__file__).parent
MODULES = ('virtio_pci', 'virtio_console', 'virtio_rng', '9pnet_virtio', '9p', 'overlay', 'ccp',
           'kvm-amd', 'tun', 'tap', 'vhost_net', 'vhost_vsock', 'vsock_loopback', 'bridge',
           'veth', 'squashfs', 'loop', 'fuse')
COMMAND_LINE = ('console=ttyS0 quiet panic=-1 mitigations=off nokaslr nowatchdog '
                'rcupdate.rcu_cpu_stall_timeout=300 random.trust_cpu=1 tsc=reliable '
                'no_timer_check init_on_alloc=0 audit=0 transparent_hugepage=madvise')
# What QEMU 7.2 does not emulate well enough for a guest in the guest is hidden from it: XSETBV is
# not intercepted, so KVM and its guest disagree on the size of the XSAVE area; CMPXCHG16B computes
# the flags from stale state, which ends 6.12 in a double fault.
CPU = 'max,+svm,+npt,-la57,-cx16,-xsave,-avx,-avx2,-f16c,-fma,-pku'
INIT = '''#!/bin/busybox sh
B=/bin/busybox
$B mount -t proc proc /proc; $B mount -t sysfs sys /sys; $B mount -t devtmpfs dev /dev
while read m; do $B insmod /lib/$m || $B echo "insmod $m failed"; done < /lib/order
$B ip link set lo up
exec /bin/agent
'''
ENVIRONMENT = {'PATH': '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin',
               'HOME': '/root', 'TERM': 'dumb', 'LANG': 'C.UTF-8', 'TESTBED': '1'}
STATE_KEPT_DAYS = 5
BOOT_SECONDS = 90
FRAME_MAX = 64 * 1024


class TestbedError(Exception):
    """L1 can't be had, or ended by itself."""


class Timeout(Exception):
    """The job took longer than it may."""


@dataclasses.dataclass
class Options:
    """What a saved state depends on."""
    smp: int = 1
    mem_mib: int = 3072
    icount: str = ''
    append: str = ''


@dataclasses.dataclass
class Job:
    """What to run, and as whom."""
    argv: list
    cwd: str = '/'
    env: dict = dataclasses.field(default_factory=dict)
    uid: int = 0
    terminal: str = ''
    out: str = ''
    timeout_s: float = 120

    def pack(self):
        """The job as the agent takes it."""
        home = {} if self.uid == 0 else {'HOME': '/tmp'}
        env = [f'{k}={v}' for k, v in {**ENVIRONMENT, **home, **self.env}.items()]
        words = [repr(time.time()), os.path.abspath(self.cwd), str(self.uid), str(kvm_gid()),
                 self.terminal, *env, '', *self.argv]
        data = b'\0'.join(os.fsencode(word) for word in words) + b'\0'
        if len(data) > FRAME_MAX:
            raise TestbedError('the command and its environment are longer than 64 KiB')
        return data


def kvm_gid():
    """The group that may use /dev/kvm in L1: this machine's, when it has one."""
    try:
        return grp.getgrnam('kvm').gr_gid
    except KeyError:
        return 994


def _initrd(path):
    debian.require('gcc', 'busybox', 'modprobe')
    agent = path.with_name('agent')
    path.parent.mkdir(parents=True, exist_ok=True)
    subprocess.run(['gcc', '-std=gnu17', '-D_GNU_SOURCE', '-O2', '-static', '-o', agent,
                    HERE / 'agent.c'], check=True)
    archive = Initrd()
    archive.busybox()
    archive.file('bin/agent', agent, 0o755)
    archive.file('init', INIT, 0o755)
    archive.modules(kernels.get('6.1').modules(*MODULES))
    archive.write(path)


def initrd():
    """The initramfs of L1: modules and the agent."""
    key = key_of(HERE / 'agent.c', HERE / 'initrd.py', kernels.get('6.1').release, MODULES, INIT)
    return entry(f'l1/initrd.{key}', _initrd)


def _die_with_parent():
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)


class Machine:
    """One QEMU."""

    def __init__(self, options, ram, share, out='', incoming=False):
        self.folder = tempfile.mkdtemp(prefix='testbed.')
        self.monitor, monitor_end = socket.socketpair()
        self.channel, channel_end = socket.socketpair()
        self.received = self.monitor_text = b''
        self.unsent = bytearray()
        self.errors = open(f'{self.folder}/errors', 'w+', encoding='utf-8')
        ends = monitor_end.fileno(), channel_end.fileno()
        arguments = self._arguments(options, ram, share, out or self.folder, ends)
        if incoming:
            arguments += ['-incoming', 'defer']
        # pylint: disable=consider-using-with,subprocess-popen-preexec-fn
        self.process = subprocess.Popen(arguments, pass_fds=ends, stdin=subprocess.DEVNULL,
                                        stdout=self.errors, stderr=self.errors,
                                        preexec_fn=_die_with_parent)
        monitor_end.close()
        channel_end.close()
        self.channel.setblocking(False)

    def _arguments(self, options, ram, share, out, ends):
        acceleration = 'tcg,tb-size=512' + ('' if options.icount else ',thread=multi')
        arguments = [
            'qemu-system-x86_64', '-nodefaults', '-no-user-config', '-display', 'none',
            '-no-reboot', '-machine', 'q35,hpet=off,memory-backend=ram',
            '-accel', acceleration, '-cpu', CPU,
            '-smp', str(options.smp), '-m', f'{options.mem_mib}M',
            '-object', f'memory-backend-file,id=ram,size={options.mem_mib}M,mem-path={ram},'
                       f'share={share}',
            '-kernel', kernels.get('6.1').vmlinux, '-initrd', initrd(),
            '-append', f'{COMMAND_LINE} {options.append}'.strip(),
            '-chardev', f'file,id=console,path={self.folder}/console',
            '-serial', 'chardev:console',
            '-chardev', f'socket,id=monitor,fd={ends[0]}', '-mon', 'chardev=monitor,mode=control',
            '-device', 'virtio-serial-pci,id=serial',
            '-chardev', f'socket,id=agent,fd={ends[1]}',
            '-device', 'virtserialport,bus=serial.0,chardev=agent,nr=1,name=agent',
            '-fsdev', 'local,id=host,path=/,security_model=none,readonly=on,multidevs=remap',
            '-device', 'virtio-9p-pci,fsdev=host,mount_tag=host',
            '-fsdev', f'local,id=out,path={out},security_model=none,multidevs=remap',
            '-device', 'virtio-9p-pci,fsdev=out,mount_tag=out']
        return arguments + (['-icount', options.icount] if options.icount else [])

    def diagnosis(self):
        """What QEMU and the console of L1 said last."""
        text = ''
        for name in ('errors', 'console'):
            with contextlib.suppress(OSError):
                text += Path(self.folder, name).read_text(encoding='utf-8', errors='replace')
        return text[-3000:]

    def _reply(self):
        while b'\n' not in self.monitor_text:
            data = self.monitor.recv(65536)
            if not data:
                raise TestbedError(f'QEMU ended: {self.diagnosis()}')
            self.monitor_text += data
        line, self.monitor_text = self.monitor_text.split(b'\n', 1)
        return json.loads(line)

    def greet(self):
        """Opens the monitor; must come before the first command to it."""
        self._reply()
        self.command('qmp_capabilities')
        self.command('migrate-set-capabilities',
                     capabilities=[{'capability': 'x-ignore-shared', 'state': True}])

    def command(self, name, **arguments):
        """Runs a monitor command and returns its result."""
        self.monitor.sendall(json.dumps({'execute': name, 'arguments': arguments}).encode())
        while True:
            reply = self._reply()
            if 'return' in reply:
                return reply['return']
            if 'error' in reply:
                raise TestbedError(f'{name}: {reply["error"]["desc"]}')

    def send(self, kind, data=b''):
        """Queues a frame for the agent."""
        self.unsent += kind + struct.pack('<I', len(data)) + data

    def _flush(self):
        with contextlib.suppress(BlockingIOError):
            del self.unsent[:self.channel.send(self.unsent)]

    def _frames(self):
        while len(self.received) >= 5:
            length, = struct.unpack_from('<I', self.received, 1)
            if len(self.received) < 5 + length:
                return
            frame = self.received[:1], self.received[5:5 + length]
            self.received = self.received[5 + length:]
            yield frame

    def _fill(self):
        with contextlib.suppress(BlockingIOError):
            data = self.channel.recv(1 << 18)
            if not data:
                raise TestbedError(f'L1 ended by itself: {self.diagnosis()}')
            self.received += data

    def frames(self, deadline, wake_s=None, feed=None):
        """Yields (kind, data) from the agent.

        feed: a file to read for the job's input.  wake_s: send an empty frame after so long a
        silence.  L1 was seen, once in hundreds of nested boots, to sleep for ever as if it had
        missed an interrupt; any interrupt wakes it.
        """
        while True:
            yield from self._frames()
            left = deadline - time.monotonic()
            if left <= 0:
                raise Timeout
            reads = [self.channel] + ([feed] if feed and len(self.unsent) < FRAME_MAX else [])
            writes = [self.channel] if self.unsent else []
            ready = select.select(reads, writes, [], min(left, wake_s or left))
            if not any(ready):
                self.send(b'N')
            if ready[1]:
                self._flush()
            if feed in ready[0]:
                data = os.read(feed.fileno(), 16384)
                self.send(b'I', data)
                feed = feed if data else None
            if self.channel in ready[0]:
                self._fill()

    def close(self):
        """Ends QEMU; nothing of the machine is left."""
        self.process.kill()
        self.process.wait()
        self.errors.close()
        self.monitor.close()
        self.channel.close()
        shutil.rmtree(self.folder, ignore_errors=True)


def _wait_ready(machine):
    try:
        for kind, _ in machine.frames(time.monotonic() + BOOT_SECONDS):
            if kind == b'R':
                return
    except Timeout as error:
        raise TestbedError(f'L1 did not come up: {machine.diagnosis()}') from error


def _save(machine, folder):
    machine.greet()
    machine.command('migrate-set-parameters', **{'max-bandwidth': 1 << 40})
    machine.command('migrate', uri=f'exec:cat > {folder}/devices')
    while (state := machine.command('query-migrate').get('status')) != 'completed':
        if state == 'failed':
            raise TestbedError('the state of L1 cannot be saved')
        time.sleep(0.02)


def _build_state(options, folder):
    say('booting the test machine once; later runs start from its saved state')
    folder.mkdir(parents=True)
    ram = folder / 'ram'
    with open(ram, 'wb') as file:
        file.truncate(options.mem_mib << 20)
    machine = Machine(options, ram, 'on')
    try:
        _wait_ready(machine)
        time.sleep(1)  # the kernel's own work after boot comes to rest
        _save(machine, folder)
    finally:
        machine.close()


def _prune(states):
    """Removes states that nobody used for days; their options or kernels are gone."""
    for path in states.iterdir():
        if path.is_dir() and time.time() - path.stat().st_mtime > STATE_KEPT_DAYS * 86400:
            with locked(path):
                discard(path)


def state(options):
    """The folder of the saved state for these options."""
    debian.require('qemu-system-x86_64')
    version = subprocess.run(['qemu-system-x86_64', '--version'], capture_output=True, text=True,
                             check=True).stdout
    key = key_of(version, dataclasses.asdict(options), stamp_of(kernels.get('6.1').vmlinux),
                 str(initrd()), COMMAND_LINE, HERE / 'l1.py')
    states = cache_dir() / 'state'
    states.mkdir(exist_ok=True)
    if not (states / key).exists():
        _prune(states)
    folder = entry(f'state/{key}', lambda path: _build_state(options, path))
    with contextlib.suppress(OSError):
        os.utime(folder)
    return folder


def _restored(options, out):
    folder = state(options)
    machine = Machine(options, folder / 'ram', 'off', out, incoming=True)
    try:
        machine.greet()
        machine.command('migrate-incoming', uri=f'exec:cat {folder}/devices')
    except BaseException:
        machine.close()
        raise
    return machine


def run(options, job, on_output, feed=None, on_log=None):
    """Runs a job in an L1 of its own and returns its exit status, 128 + number for a signal.

    on_output(kind, data) takes what it writes: kind b'O' or b'E'.  feed: a file for its input.
    Raises Timeout, TestbedError.
    """
    deadline = time.monotonic() + job.timeout_s
    packed = job.pack()
    machine = _restored(options, job.out)
    try:
        machine.send(b'J', packed)
        if not feed:
            machine.send(b'I')
        for kind, data in machine.frames(deadline, None if options.icount else 0.2, feed):
            if kind in b'OE':
                on_output(kind, data)
            elif kind == b'L' and on_log:
                on_log(data.decode(errors='replace'))
            elif kind == b'X':
                code = os.waitstatus_to_exitcode(struct.unpack('<I', data)[0])
                return 128 - code if code < 0 else code
    finally:
        machine.close()
    raise AssertionError('unreachable')


def to_stdio(kind, data):
    """An on_output that passes everything on."""
    stream = sys.stdout.buffer if kind == b'O' else sys.stderr.buffer
    stream.write(data)
    stream.flush()
