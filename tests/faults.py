# SPDX-License-Identifier: BSD-3-Clause
"""Starts a machine again and again, each time with another system call or allocation that fails.

tests/faults/calls.c makes calls fail, tests/faults/memory.c allocations; here is what may come of
it: the machine runs as if nothing had been, or it does not, says why in one line and leaves
nothing.
"""
import collections
import ctypes
import errno
import mmap
import os
import re
import shutil
import struct
import subprocess
from pathlib import Path

import bare
from guests import place as places

SOURCES = Path(__file__).parent / 'faults'
PATIENCE_S = 20
EVENT_BYTES = 8
WORKED = 64  # the guest's own end
KVM_FAILED = 35
CODES = {1, 2, 3, 4, KVM_FAILED, 36, WORKED}  # of exit_codes.c
CLONE_NEWUSER, CLONE_NEWNET = 0x10000000, 0x40000000
NETWORK = '''link set lo up
tuntap add up0 mode tap
address add 10.9.9.2/24 dev up0
link set up0 up
route add default via 10.9.9.1
'''

# How a call fails; others with EPERM.
ERRORS = {
    **dict.fromkeys(('mmap', 'mremap', 'mprotect', 'madvise', 'clone', 'clone3', 'fork', 'vfork',
                     'epoll_ctl', 'sendmsg', 'sendto', 'seccomp', 'execve', 'setns', 'pivot_root'),
                    (errno.ENOMEM,)),
    **dict.fromkeys(('openat', 'open', 'socket', 'socketpair', 'pipe2', 'dup', 'dup2', 'dup3',
                     'eventfd2', 'timerfd_create', 'epoll_create1', 'signalfd4', 'memfd_create',
                     'pidfd_open', 'accept4', 'io_uring_setup'), (errno.EMFILE,)),
    **dict.fromkeys(('read', 'pread64', 'readv', 'preadv', 'preadv2', 'write', 'pwrite64', 'writev',
                     'fsync', 'fdatasync', 'getdents64', 'recvmsg'), (errno.EIO,)),
    **dict.fromkeys(('ftruncate', 'fallocate', 'mkdir', 'mkdirat'), (errno.ENOSPC,)),
    **dict.fromkeys(('poll', 'ppoll', 'epoll_wait', 'epoll_pwait', 'waitid', 'wait4'),
                    (errno.EINTR,)),
    **dict.fromkeys(('ioctl', 'unshare', 'mount', 'umount2', 'fcntl'), (errno.ENOMEM,)),
    'getsockopt': (errno.ENOBUFS,), 'setsockopt': (errno.ENOBUFS,),
    'access': (errno.ENOENT,),
}
MORE_ERRORS = {'openat': (errno.EACCES, errno.ENOENT), 'ioctl': (errno.EINVAL, errno.EPERM),
               'clone': (errno.EPERM,), 'unshare': (errno.EPERM,), 'mount': (errno.EPERM,),
               'read': (errno.EINTR,), 'recvmsg': (errno.ECONNRESET,), 'sendmsg': (errno.EPIPE,),
               'fcntl': (errno.EINVAL,), 'mmap': (errno.EPERM,)}
# These cannot fail, or no program can do anything about it.
SURE = {
    'exit', 'exit_group', 'rt_sigreturn', 'rt_sigaction', 'rt_sigprocmask', 'restart_syscall',
    'futex', 'munmap', 'close', 'brk', 'getpid', 'gettid', 'getppid', 'getuid', 'geteuid', 'getgid',
    'getegid', 'getpgrp', 'getpgid', 'clock_gettime', 'set_robust_list', 'rseq', 'set_tid_address',
    'arch_prctl', 'sched_yield', 'uname', 'capget', 'timerfd_settime', 'tgkill',
}


def numbers():
    """{number: name} of system calls."""
    text = subprocess.run(['gcc', '-E', '-dM', '-include', 'sys/syscall.h', '-x', 'c', '/dev/null'],
                          stdout=subprocess.PIPE, text=True, check=True).stdout
    return {int(n): name for name, n in re.findall(r'#define __NR_(\w+) (\d+)$', text, re.M)}


def build():
    """Compiles both; returns their paths."""
    made = []
    for name, flags in (('calls', ()), ('memory', ('-shared', '-fPIC'))):
        path = places.TOP / f'build/fault-{name}'
        new = path.with_suffix(f'.{os.getpid()}')
        subprocess.run(['gcc', '-O1', '-Wall', '-Wextra', '-Werror', '-D_GNU_SOURCE', *flags, '-o',
                        new, SOURCES / f'{name}.c'], check=True)
        new.rename(path)
        made.append(path)
    return made


def enter_network():
    """A network of this process's own, with a route that leads nowhere: passt asks for one."""
    libc = ctypes.CDLL(None, use_errno=True)
    uid, gid = os.geteuid(), os.getegid()
    if libc.unshare(CLONE_NEWNET | (CLONE_NEWUSER if uid else 0)) < 0:
        raise OSError(ctypes.get_errno(), 'unshare')
    if uid:
        Path('/proc/self/setgroups').write_text('deny', encoding='ascii')
        Path('/proc/self/uid_map').write_text(f'0 {uid} 1', encoding='ascii')
        Path('/proc/self/gid_map').write_text(f'0 {gid} 1', encoding='ascii')
    subprocess.run(['ip', '-batch', '-'], input=NETWORK, text=True, check=True)


Call = collections.namedtuple('Call', 'process number name at arguments')
Result = collections.namedtuple('Result', 'code lines log complaints')


class Rig:
    """A machine with every kind of device, in a folder."""

    def __init__(self, folder, options=()):
        self.folder, self.options = Path(folder), list(options)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.names = numbers()
        self.log, self.page = self.folder / 'log', self.folder / 'page'
        (self.folder / 'guest').write_bytes(bare.elf(bare.out(0xf4, 0) + bare.HALT))
        (self.folder / 'raw').write_bytes(bytes(1 << 20))
        subprocess.run([places.program(), 'create_qcow2', 'qcow2', '1M'], cwd=self.folder,
                       check=True)
        self.page.touch()
        for path in 'serial', 'console':
            (self.folder / path).touch()
        self.there = set(os.listdir(self.folder)) | {self.log.name}
        self.networks = self._networks()

    def command(self):
        """The words that start it."""
        words = ['run', '--debug-exit', '-m', '32', '--serial', 'file,path=serial',
                 '--serial', 'unix,path=serial.sock,com=2', '--rwdisk', 'raw', '--rwqcow', 'qcow2',
                 '--console', 'file=console', '--vsock', 'cid=3,socket=vsock', '-s', 'control',
                 '--balloon', 'policy=psi,stats']
        if os.access('/dev/net/tun', os.R_OK | os.W_OK):
            words += ['--net', 'tap=fault0']
        if shutil.which('passt'):
            words += ['--net', 'user']
        return [str(places.program()), *words, *self.options, 'guest']

    @staticmethod
    def _networks():
        lines = Path('/proc/net/dev').read_text(encoding='ascii').splitlines()[2:]
        return {line.partition(':')[0].strip() for line in lines}

    def _run(self, words, environment=None):
        done = subprocess.run(words + self.command(), cwd=self.folder, stdin=subprocess.DEVNULL,
                              stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
                              errors='replace', timeout=2 * PATIENCE_S, check=False,
                              env={**os.environ, 'MALLOC_PERTURB_': '165', **(environment or {})})
        log = self.log.read_text(encoding='ascii', errors='replace').splitlines()
        return Result(done.returncode, done.stderr.splitlines(), log,
                      self._complaints(done, log))

    def _complaints(self, done, log):
        """What a user would have to complain of."""
        lines = done.stderr.splitlines()
        errors = [line for line in lines if ': warning: ' not in line]
        if done.returncode == KVM_FAILED:  # the vCPU's registers follow
            del errors[1:]
        if 'the process that connects sockets is gone' in done.stderr:  # main says what follows
            del errors[1:]
        if done.returncode not in CODES:
            yield f'exit code {done.returncode}'
        for line in lines:
            if not line.startswith('crosvm: ') or line.endswith(': '):
                yield f'not a line of ours: {line}'
        if done.returncode != WORKED and len(errors) != 1:
            yield f'{len(errors)} lines of errors'
        for line in log:
            word, *rest = line.split()
            if word == 'left' or word == 'end' and rest[1] != '9':
                yield line
        for path in set(os.listdir(self.folder)) - self.there:
            if f'{path}: cannot be removed' not in done.stderr:
                yield f'file left: {path}'
            (self.folder / path).unlink()
        for name in self._networks() - self.networks:
            yield f'interface left: {name}'

    def plain(self):
        """A run without failures: its calls, in their order."""
        result = self.call_fails('', 0, 0, 0)
        calls, others = [], set()
        for line in result.log:
            word, process, *rest = line.split()
            if word == 'exec' and rest[0] not in ('crosvm', 'exe'):  # passt: its own affair
                others.add(process)
            if word == 'call' and process not in others:
                number = int(rest[0])
                calls.append(Call(process, number, self.names[number], int(rest[1]),
                                  [int(text, 16) for text in rest[2:]]))
        return result, calls

    def call_fails(self, process, number, at, error):
        """A run in which a call of a process fails."""
        result = self._run([str(places.TOP / 'build/fault-calls'), '-l', str(self.log), '-t',
                            str(PATIENCE_S), '-p', process, '-c', str(number), '-n', str(at), '-e',
                            str(error)])
        return result._replace(complaints=list(result.complaints))

    def memory_fails(self, process, at):
        """A run in which an allocation of a process fails."""
        head = struct.pack('=24sIIQ', process.encode(), at, 0, 0)
        self.page.write_bytes(head + bytes(28 * 1021))
        result = self._run([str(places.TOP / 'build/fault-calls'), '-l', str(self.log), '-t',
                            str(PATIENCE_S)],
                           {'LD_PRELOAD': str(places.TOP / 'build/fault-memory'),
                            'LD_FAULTS': str(self.page)})
        return result._replace(complaints=list(result.complaints))

    def allocations(self):
        """After such a run, how many each process made."""
        with open(self.page, 'rb') as file:
            data = mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)
        counts = {}
        for name, count in struct.iter_unpack('=24sI', data[40:40 + 28 * 1021]):
            if count:
                counts[name.partition(b'\0')[0].decode()] = count
        return counts


def errors_of(call, every=False):
    """How it may fail; words to the user and signals by eventfd arrive."""
    if call.name in SURE or call.name in ('write', 'writev') and call.arguments[0] == 2 or (
            call.name == 'write' and call.arguments[2] == EVENT_BYTES):
        return ()
    more = MORE_ERRORS.get(call.name, ()) if every else ()
    return ERRORS.get(call.name, (errno.EPERM,)) + more
