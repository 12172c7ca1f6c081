# SPDX-License-Identifier: BSD-3-Clause
"""What is said of mistakes: one line that names option or file, cause and remedy; the exit code.

Each row is a command line, words of the line in their order, and the exit code that crosvm(1) has
for it. The program runs as an ordinary user in a folder of its own, in which nothing may be left.
"""
import ctypes
import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path

import pytest

import bare
from guests import place as places

ERROR, USAGE, HOST, BUILD = 1, 2, 3, 4
PATIENCE_S = 20
NOBODY = 65534
PR_SET_CHILD_SUBREAPER = 36
LONG = 'y' * 200
RUN = ['run', '--no-rng', '--no-balloon', '--serial', 'sink']

needs_kvm = pytest.mark.skipif(not os.access('/dev/kvm', os.R_OK | os.W_OK),
                               reason='no access to /dev/kvm')


@pytest.fixture(scope='module', name='folder')
def fixture_folder():
    """Files of every wrong kind, readable for nobody's user."""
    top = Path(tempfile.mkdtemp(prefix='crosvm-errors-', dir='/tmp'))
    top.chmod(0o755)
    for name in ('dir', 'closed', 'work'):
        (top / name).mkdir()
    (top / 'halt.elf').write_bytes(bare.elf(bare.HALT))
    (top / 'empty').write_bytes(b'')
    (top / 'text').write_text('hello world\n')
    (top / 'noise').write_bytes(os.urandom(100000))
    (top / 'large').write_bytes(b'# comment\n' * 300000)
    (top / 'secret').write_text('')
    (top / 'disk.img').write_bytes(bytes(1 << 20))
    (top / 'v9.qcow2').write_bytes(b'QFI\xfb\0\0\0\x09' + bytes(200))
    (top / 'loop').symlink_to('loop')
    os.mkfifo(top / 'fifo', 0o644)
    (top / 'secret').chmod(0)
    (top / 'closed').chmod(0o555)
    if os.geteuid() == 0:
        for entry in ('work', 'disk.img'):
            os.chown(top / entry, NOBODY, NOBODY)
    yield top
    shutil.rmtree(top)


def as_ordinary_user():
    """Arguments of Popen."""
    if os.geteuid() != 0:
        return {}
    return {'user': NOBODY, 'group': NOBODY, 'extra_groups': [os.stat('/dev/kvm').st_gid]
            if os.path.exists('/dev/kvm') else []}


def adopt_orphans():
    """Makes this process the parent of what outlives its parent."""
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def orphans():
    """How many processes the program left; waits a little for those that are ending."""
    for _ in range(100):
        try:
            pid, _ = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return 0
        if pid == 0:
            time.sleep(0.02)
    return 1


def listing(folder):
    return sorted(str(path) for path in folder.rglob('*'))


def run(folder, arguments):
    """Exit code and lines on standard error; fails if anything is left."""
    adopt_orphans()
    before = listing(folder)
    environment = {'PATH': os.environ['PATH'], 'XDG_RUNTIME_DIR': str(folder / 'work')}
    with subprocess.Popen([places.program(), *arguments], cwd=folder, stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                          env=environment, **as_ordinary_user()) as process:
        try:
            out, said = process.communicate(timeout=PATIENCE_S)
        except subprocess.TimeoutExpired:
            process.kill()
            raise
    assert out == ''
    assert orphans() == 0
    assert listing(folder) == before
    return process.returncode, said.splitlines()


def check_line(line, words):
    """The line's form, and that it has the words in their order."""
    assert line.startswith('crosvm: ')
    assert not line.endswith('.') or line.endswith('...')
    assert not re.search(r'errno|error -?\d|\(-?\d+\)$', line)
    at = 0
    for word in words:
        assert word in line[at:], line
        at = line.index(word, at) + len(word)


def fails(folder, arguments, words, code):
    returncode, lines = run(folder, [str(word) for word in arguments])
    assert len(lines) == 1, lines
    check_line(lines[0], words)
    assert returncode == code, lines


def name(value):
    """Of a row, for pytest."""
    return ' '.join(value)[:60] if isinstance(value, list) else ''


# Every option that names a file, with every kind of wrong one.
FILE_OPTIONS = ['--initrd', '--root', '--disk', '--rwdisk', '--qcow', '--rwqcow']
WRONG_FILES = [
    ('none', 'No such file'), ('dir', 'a directory'), ('secret', 'Permission denied'),
    ('loop', 'Too many levels'), ('fifo', 'neither a regular file'), ('none/x', 'No such file'),
    ('/dev/null', 'neither a regular file'), (LONG * 2, 'File name too long'), ('', 'is missing'),
]
FILE_ROWS = [([*RUN, option, file, 'halt.elf'], [option, cause], USAGE)
             for option in FILE_OPTIONS for file, cause in WRONG_FILES]
FILE_ROWS += [([*RUN, file], ['kernel', file, cause], USAGE) for file, cause in WRONG_FILES[:-1]]
FILE_ROWS += [([*RUN, '--block', f'path={file},ro', 'halt.elf'], ['--block', cause], USAGE)
              for file, cause in WRONG_FILES]
FILE_ROWS += [
    ([*RUN, '--rootfs', 'none', 'halt.elf'], ['--rootfs', 'none', 'No such file', ';'], USAGE),
    ([*RUN, '--rootfs', 'secret', 'halt.elf'], ['--rootfs', 'secret', ';'], USAGE),
    ([*RUN, '--cfg', 'none', 'halt.elf'], ['--cfg', 'none', 'No such file', ';'], USAGE),
    ([*RUN, '--cfg', 'dir', 'halt.elf'], ['--cfg', 'dir', 'directory', ';'], USAGE),
    ([*RUN, '--cfg', 'secret', 'halt.elf'], ['--cfg', 'secret', 'denied', ';'], USAGE),
    ([*RUN, '--cfg', 'large', 'halt.elf'], ['--cfg', 'large', 'more than 1 MiB'], USAGE),
    ([*RUN, '--cfg', 'noise', 'halt.elf'], ['--cfg', 'noise', 'NUL'], USAGE),
    ([*RUN, '--cfg', 'noise'], ['--cfg', 'noise', 'NUL'], USAGE),
    ([*RUN, '--cfg', 'text', 'halt.elf'], ['text:1', 'unknown option', 'see'], USAGE),
    ([*RUN, '--cfg', '', 'halt.elf'], ['--cfg', 'value is missing', 'FILE'], USAGE),
    ([*RUN, '--seccomp-policy-dir', 'none', 'halt.elf'],
     ['--seccomp-policy-dir', 'none', 'No such file'], USAGE),
    ([*RUN, '--seccomp-policy-dir', 'text', 'halt.elf'],
     ['--seccomp-policy-dir', 'text', 'not a directory'], USAGE),
    ([*RUN, '--vhost-user', 'block,socket=none', 'halt.elf'],
     ['--vhost-user', 'none', 'No such file', 'start the back end'], USAGE),
    ([*RUN, '--vhost-user', 'block,socket=text', 'halt.elf'],
     ['--vhost-user', 'text', 'not a socket'], USAGE),
]

# Every other option of crosvm run, with a value that it does not take.
OPTION_ROWS = [([*RUN, *row, 'halt.elf'], words, USAGE) for row, words in [
    (['--mem', '0'], ['--mem', '"0"', '1 to']),
    (['--mem', '5T'], ['--mem', '"5T"', '1M to 4T']),
    (['--mem', ''], ['--mem', 'is missing']),
    (['--mem', '1G,hugepages=3M'], ['--mem', 'hugepages', '"3M"', '2M, 1G']),
    (['--mem', '1G,thp,hugepages'], ['--mem', 'thp and hugepages']),
    (['--mem', '64,dump'], ['--mem', 'dump', '--disable-sandbox']),
    (['--mem', '3,hugepages'], ['--mem', 'whole number']),
    (['--mem', '64,foo'], ['--mem', '"foo"', 'known:']),
    (['--cpus', 'x'], ['--cpus', '"x"', '1 to 255']),
    (['--cpus', '256'], ['--cpus', '"256"', '1 to 255']),
    (['--cpus', '2', '--cpus', '3'], ['--cpus', 'given twice']),
    (['--serial', 'telnet,com=2'], ['--serial', '"telnet"', 'unix']),
    (['--serial', 'file,com=2'], ['--serial', 'needs path=']),
    (['--serial', 'sink,append,com=2'], ['--serial', 'append', 'type=file']),
    (['--serial', 'sink,com=9'], ['--serial', 'com', '"9"', '1 to 4']),
    (['--serial', 'sink'], ['--serial', 'COM1', 'twice', 'com=2']),
    (['--host_ip', '10.0.0.1'], ['--host_ip', '--netmask is missing']),
    (['--netmask', 'x'], ['--host_ip is missing']),
    (['--mac', 'x'], ['--mac', '"x"', '52:54']),
    (['--tap-fd', '77'], ['--tap-fd', '77', 'not open']),
    (['--tap-fd', 'x'], ['--tap-fd', '"x"']),
    (['--vhost-net'], ['--vhost-net', '--net']),
    (['--cid', 'x'], ['--cid', '"x"', '3 to']),
    (['--cid', '2'], ['--cid', '"2"', '3 to']),
    (['--vhost-user', 'blk,socket=x'], ['--vhost-user', '"blk"', 'known: block']),
    (['--vhost-user', 'block'], ['--vhost-user', 'socket=PATH is missing']),
    (['--vhost-user', 'fs,socket=text'], ['--vhost-user', 'tag=NAME is missing']),
    (['--rootfs', 'dir,foo=1'], ['--rootfs', '"foo"', 'known: path']),
    (['--rootfs', ''], ['--rootfs', 'is missing', 'DIR|TAR']),
    (['--rootfs', 'dir', '--root', 'disk.img'], ['--root', 'is the root already']),
    (['--trace-file', ''], ['--trace-file', 'is missing', 'FILE']),
    (['--syslog', 'x'], ['--syslog', '"x"', 'auto, on, off']),
    (['--syslog-tag', ''], ['--syslog-tag', 'is missing']),
    (['--transport', 'isa'], ['--transport', '"isa"', 'pci, mmio']),
    (['--rings', 'x'], ['--rings', '"x"', 'split, packed']),
    (['--pvpanic=1'], ['--pvpanic', 'takes no value']),
    (['--name', 'a/b'], ['--name', '"a/b"', 'letters']),
    (['--name', 'x', '--socket', 's'], ['--name', '-s']),
    (['--log-level', 'loud'], ['--log-level', '"loud"', 'debug']),
    (['--rng', 'rate=x'], ['--rng', 'rate', '"x"', '4K']),
    (['--balloon', 'max=x'], ['--balloon', 'max', '"x"']),
    (['--balloon', 'policy=x'], ['--balloon', 'policy', '"x"', 'psi']),
    (['--console', 'sink,stdio'], ['--console', '"stdio"', 'known:']),
    (['--console', 'sink,file=x'], ['--console', 'only one']),
    (['--console', 'sink,ports=sink,,name=a;pty,,file=x'], ['--console', 'port 2', 'only one']),
    (['--console', f'sink,name={LONG}'], ['--console', 'name', 'more than']),
    (['--console', 'stdio', '--console', 'stdio'], ['--console', 'stdio is used']),
    (['--block', 'ro'], ['--block', 'path=FILE is missing']),
    (['--block', 'path=text,format=vmdk'], ['--block', 'format', '"vmdk"', 'qcow2']),
    (['--block', 'path=disk.img,ro=maybe'], ['--block', 'ro', '"maybe"', 'on or off']),
    (['--block', 'path=disk.img,bps=x'], ['--block', 'bps', '"x"', 'size']),
    (['--block', 'path=disk.img,queues=99'], ['--block', 'queues', '"99"', '1 to']),
    (['--block', f'path=disk.img,id={LONG}'], ['--block', 'id', 'more than 20 bytes']),
    (['--block', 'path=disk.img,size=1'], ['--block', '"size"', 'block-size']),
    (['--block', 'path=disk.img,path=text'], ['--block', 'path', 'twice']),
    (['--block', '=x'], ['--block', 'key is missing']),
    (['--disk', '/proc/self/fd/x'], ['--disk', 'not the number']),
    (['--disk', '/proc/self/fd/99'], ['--disk', 'not open', '99<FILE']),
    (['--net', 'user,tap=x'], ['--net', 'user', 'does not go with']),
    (['--net', 'user,forward=x'], ['--net', 'forward', '"x"', 'as in']),
    (['--net', 'user,allow=x'], ['--net', 'allow', '"x"', 'as in']),
    (['--net', 'user,allow=10.0.0.1/8'], ['--net', 'allow', '10.0.0.0/8']),
    (['--net', 'user,log=x'], ['--net', 'log', 'allow or deny']),
    (['--net', 'host_ip=10.0.0.1'], ['--net', 'host-ip and netmask']),
    (['--net', 'host_ip=x,netmask=255.0.0.0'], ['--net', 'host-ip', '"x"', '10.0.2.1']),
    (['--net', 'tap=x,vhost,allow=10.0.0.0/8'], ['--net', 'vhost']),
    (['--net', 'user,mac=01:00:00:00:00:00'], ['--net', 'mac', 'group']),
    (['--vsock', 'socket=x'], ['--vsock', 'cid=N is missing']),
    (['--vsock', 'cid=2,socket=x'], ['--vsock', 'cid', '"2"']),
    (['--dump-config=x'], ['--dump-config', 'takes no value']),
    (['--root', 'disk.img', '--root', 'disk.img'], ['--root', 'given twice']),
    (['--cpu=3'], ['--cpu', 'did you mean --cpus']),
    (['--foo'], ['--foo', 'see --help']),
    (['--foo', 'value'], ['--foo', 'see --help']),
    (['-initrd', 'text'], ['-initrd', 'did you mean --initrd']),
    (['-smp', '2'], ['--smp', 'say --cpus N']),
    (['-drive', 'file=disk.img'], ['--drive', '--block path=FILE']),
    (['-append', 'quiet'], ['--append', '--params']),
    (['--memory', 'size=1G'], ['--memory', '--mem']),
    (['--rwroot', 'disk.img'], ['--rwroot', '--block path=FILE,root']),
    (['--api-sock', 'x'], ['--api-sock', '--socket']),
    (['--shared-dir', 'x'], ['--shared-dir', '--vhost-user fs']),
    (['--disk', 'path=disk.img'], ['--disk', 'path=disk.img', '--block path=']),
    (['--net', 'tap-name=x'], ['--net', '"tap-name"', 'known: tap,']),
    (['--vsock', '3'], ['--vsock', '"3"', 'known: cid']),
    (['--console', 'off'], ['--console', '"off"', 'sink']),
    (['--serial', 'type=stdout,hardware=serial,num=1'], ['--serial', '"stdout"', 'stdio']),
    (['--cpus', 'num-cores=2'], ['--cpus', '"num-cores=2"', 'number']),
    (['-Z'], ['-Z', 'see --help']),
    (['--gpu'], ['--gpu', 'not built in']),
    (['--wayland-sock', 'x'], ['--wayland-sock', 'not built in']),
    (['--fs', 'x'], ['--fs', '--vhost-user']),
    (['--plugin', 'x'], ['--plugin', 'not built in']),
    (['--multiprocess=x'], ['--multiprocess', 'takes no value']),
    (['halt.elf'], ['halt.elf', 'one kernel']),
]]

# What is found only when it is tried.
TRIED_ROWS = [([*RUN, *row], words, code) for row, words, code in [
    (['empty'], ['empty', 'accepted are'], BUILD),
    (['text'], ['text', 'accepted are'], BUILD),
    (['noise'], ['noise', 'accepted are'], BUILD),
    (['--initrd', 'empty', 'halt.elf'], ['empty', 'is empty'], BUILD),
    (['--params', 'x' * 70000, 'halt.elf'], ['too long', '--params'], BUILD),
    (['--qcow', 'empty', 'halt.elf'], ['block0', 'empty', 'not a qcow2 image'], BUILD),
    (['--qcow', 'text', 'halt.elf'], ['block0', 'text', 'not a qcow2 image'], BUILD),
    (['--qcow', 'v9.qcow2', 'halt.elf'], ['block0', 'v9.qcow2', 'version 9'], BUILD),
    (['--serial', 'file,com=2,path=none/x', 'halt.elf'],
     ['--serial', 'COM2', 'none/x', 'No such file', ';'], BUILD),
    (['--serial', 'file,com=2,path=dir', 'halt.elf'],
     ['--serial', 'COM2', 'dir', 'directory', ';'], BUILD),
    (['--serial', 'unix,com=2,path=text', 'halt.elf'],
     ['--serial', 'COM2', 'text', 'no socket', 'choose'], BUILD),
    (['--serial', f'unix,com=2,path={LONG}', 'halt.elf'],
     ['--serial', 'COM2', 'longer than'], BUILD),
    (['--serial', 'pty,com=2,path=none/x', 'halt.elf'],
     ['--serial', 'COM2', 'none/x', 'No such file', ';'], BUILD),
    (['--console', 'file=none/x', 'halt.elf'],
     ['console0', 'none/x', 'No such file', ';'], BUILD),
    (['--console', 'socket=text', 'halt.elf'],
     ['console0', 'text', 'no socket', 'choose'], BUILD),
    (['--vsock', 'cid=3,socket=none/x', 'halt.elf'],
     ['vsock0', 'none/x', 'No such file', ';'], BUILD),
    (['--vsock', 'cid=3,socket=text', 'halt.elf'], ['vsock0', 'text', 'no socket'], BUILD),
    (['--vsock', f'cid=3,socket={LONG}', 'halt.elf'], ['vsock0', 'longer than'], BUILD),
    (['--net', 'user,log=none/x,deny=10.0.0.0/8', 'halt.elf'],
     ['net0', 'log', 'none/x', 'No such file', ';'], BUILD),
    (['--tap-fd', '0', 'halt.elf'], ['net0', 'tap-fd 0', 'no descriptor of a tap'], BUILD),
    (['--trace-file', 'none/x', 'halt.elf'],
     ['--trace-file', 'none/x', 'No such file', ';'], BUILD),
    (['--trace-file', 'closed/x', 'halt.elf'],
     ['--trace-file', 'closed/x', 'denied', ';'], BUILD),
    (['--trace-file', 'dir', 'halt.elf'], ['--trace-file', 'dir', 'no file', 'choose'], BUILD),
    (['--socket', 'text', 'halt.elf'], ['--socket', 'text', 'no socket', 'choose'], BUILD),
    (['--socket', 'none/x', 'halt.elf'], ['--socket', 'none', 'No such file'], BUILD),
    (['--socket', 'closed', 'halt.elf'], ['--socket', 'closed/', 'denied', ';'], BUILD),
    (['--socket', LONG, 'halt.elf'], ['--socket', 'longer than'], BUILD),
    (['--kvm-device', 'none', 'halt.elf'], ['none', 'modprobe'], HOST),
    (['--kvm-device', 'secret', 'halt.elf'], ['secret', 'usermod'], HOST),
    (['--kvm-device', 'dir', 'halt.elf'], ['dir', 'not a KVM device'], HOST),
    (['--kvm-device', '/dev/null', 'halt.elf'], ['/dev/null', 'not a KVM device'], HOST),
]]

CREATE_ROWS = [(['create_qcow2', *row], ['create_qcow2', *words], code) for row, words, code in [
    ([], ['FILE is missing', 'FILE SIZE'], USAGE),
    (['work/a'], ['SIZE is missing'], USAGE),
    (['work/a', '1M', 'c'], ['"c"', 'too many'], USAGE),
    (['work/a', '0'], ['"0"', 'K, M, G'], USAGE),
    (['work/a', '1x'], ['"1x"', 'K, M, G'], USAGE),
    (['', '1M'], ['""'], USAGE),
    (['work/a', '9999T'], ['work/a', 'too large'], ERROR),
    (['dir', '1M'], ['dir', 'directory', ';'], ERROR),
    (['none/a', '1M'], ['none/a', 'No such file', ';'], ERROR),
    (['closed/a', '1M'], ['closed/a', 'denied', ';'], ERROR),
    (['/dev/null', '1M'], ['/dev/null', 'not a regular file'], ERROR),
    (['--cluster-size', '3', 'work/a', '1M'], ['--cluster-size', '"3"', '512 to 2M'], USAGE),
    (['--backing', 'disk.img', 'work/a'], ['--backing', 'format=raw'], USAGE),
    (['--backing', 'format=raw', 'work/a'], ['--backing', 'FILE'], USAGE),
    (['--backing', 'disk.img,format=x', 'work/a'], ['--backing', '"x"', 'qcow2'], USAGE),
    (['--backing', 'none,format=raw', 'work/a'], ['--backing', 'none', 'folder'], ERROR),
    (['--backing', '../dir,format=raw', 'work/a'], ['--backing', 'dir', 'not a regular'], ERROR),
    (['--backing', '../fifo,format=raw', 'work/a'], ['--backing', 'fifo', 'not a regular'], ERROR),
    (['--backing', '../text,format=qcow2', 'work/a'], ['--backing', 'text', 'not a qcow2'], ERROR),
    (['--bogus'], ['--bogus', 'see --help'], USAGE),
]]

SOCKET = ['--socket', 'work/s']
DEVICE_ROWS = [(['device', *row], words, code) for row, words, code in [
    ([], ['device', 'missing', 'crosvm devices'], USAGE),
    (['floppy'], ['"floppy"', 'crosvm devices'], USAGE),
    (['rng'], ['--socket PATH and --fd N'], USAGE),
    (['rng', '--fd', 'x'], ['--fd', '"x"'], USAGE),
    (['rng', '--fd', '77'], ['--fd', '77', 'not open'], ERROR),
    (['rng', '--fd', '0'], ['--fd', '0', 'no socket'], ERROR),
    (['rng', '--socket'], ['--socket', 'PATH'], USAGE),
    (['rng', '--socket', 'none/x'], ['--socket', 'none/x', 'No such file', ';'], ERROR),
    (['rng', '--socket', 'text'], ['--socket', 'text', 'no socket', 'choose'], ERROR),
    (['rng', '--socket', LONG], ['--socket', 'longer than'], ERROR),
    (['rng', *SOCKET, 'foo'], ['"foo"', 'known: rate'], USAGE),
    (['rng', *SOCKET, 'rate=1'], ['rate', '"1"', '4K'], USAGE),
    (['block', *SOCKET], ['path=FILE is missing'], USAGE),
    (['net', *SOCKET, 'user,tap=x'], ['user', 'does not go with'], USAGE),
    (['console', *SOCKET, 'file=x,socket=y'], ['only one'], USAGE),
    (['vsock', *SOCKET], ['cid=N is missing'], USAGE),
    (['vhost_vsock', *SOCKET], ['cid=N is missing'], USAGE),
    (['--bogus'], ['--bogus', 'see --help'], USAGE),
]]

POLICY_ROWS = [(['policy', *row], ['policy', *words], USAGE) for row, words in [
    ([], ['missing', 'crosvm devices']),
    (['floppy'], ['"floppy"', 'crosvm devices']),
    (['rng', 'block'], ['"block"', 'one device']),
    (['--arch', 'vax', 'rng'], ['--arch', 'vax', 'x86_64 or aarch64']),
    (['--arch'], ['--arch', 'x86_64|aarch64']),
    (['--arch='], ['arch', '""']),
]]

# Clients of the control socket, with sockets that nobody serves.
CLIENTS = {'stop': [], 'powerbtn': [], 'log': [], 'trace': [], 'suspend': [], 'resume': [],
           'status': [], 'balloon-stats': [], 'balloon': ['256']}
CLIENT_ROWS = [([command, *before, *row], [command, *words], code)
               for command, before in CLIENTS.items() for row, words, code in [
    ([], ['socket is missing', 'SOCKET'], USAGE),
    (['none'], ['none', 'No such file', '-s or --name'], ERROR),
    (['dir'], ['dir', ';'], ERROR),
    (['secret'], ['secret', 'denied', ';'], ERROR),
    ([LONG], ['too long'], ERROR),
    ([''], ['""'], USAGE),
    (['--json=1', 'x'], ['--json', 'takes no value'], USAGE),
    (['--bogus', 'x'], ['--bogus', 'see --help'], USAGE),
]]
CLIENT_ROWS += [
    (['stop', '--ask=x', 'none'], ['stop', '--ask', '"x"', '0 to 86400'], USAGE),
    (['stop', '--ask', 'none'], ['stop', 'none', 'No such file'], ERROR),
    (['stop', '--timeout', '0', 'none'], ['stop', '--timeout', '"0"', '1 to 86400'], USAGE),
    (['stop', '--timeout'], ['stop', '--timeout', 'missing', 'SECONDS'], USAGE),
    (['balloon', 'x', 'none'], ['balloon', '"x"', '256 or -256'], USAGE),
    (['balloon', 'none'], ['balloon', '"none"', 'SOCKET...'], USAGE),
    (['balloon', '--target', '1G'], ['balloon', 'socket is missing'], USAGE),
    (['disk', 'grow', 'none', 'a', '1'], ['disk', '"grow"', 'resize'], USAGE),
    (['disk', 'resize', 'none'], ['disk', 'missing', 'resize SOCKET NAME SIZE'], USAGE),
    (['disk', 'resize', 'none', 'a', '1', 'x'], ['disk', '"x"', 'too many'], USAGE),
    (['disk', 'resize', 'none', 'block0', '1G'], ['disk', 'none', 'No such file'], ERROR),
    (['link', 'none', 'net0'], ['link', 'missing', 'up|down'], USAGE),
    (['link', 'none', 'net0', 'up'], ['link', 'none', 'No such file'], ERROR),
    (['limit', 'none'], ['limit', 'missing', 'KEY=VALUE'], USAGE),
    (['limit', 'none', 'net0', 'bps=1'], ['limit', 'none', 'No such file'], ERROR),
]
OTHER_ROWS = [
    (['top', '--bogus'], ['top', '--bogus', 'see --help'], USAGE),
    (['top', '--count', 'x'], ['top', '--count', '"x"'], USAGE),
    (['bogus'], ['bogus', 'crosvm --help'], USAGE),
    *[([command, 'x'], [command, '"x"'], USAGE)
      for command in ('list', 'check', 'devices', 'version')],
    *[([command, '--bogus'], [command, '--bogus', 'see --help'], USAGE)
      for command in ('list', 'check', 'devices', 'version')],
]


@pytest.mark.parametrize('arguments,words,code', [
    *FILE_ROWS, *OPTION_ROWS, *CREATE_ROWS, *DEVICE_ROWS, *POLICY_ROWS, *CLIENT_ROWS, *OTHER_ROWS,
], ids=name)
def test_mistake_is_told_in_one_line(folder, arguments, words, code):
    fails(folder, arguments, words, code)


@needs_kvm
@pytest.mark.parametrize('arguments,words,code', TRIED_ROWS, ids=name)
def test_what_cannot_be_used_is_told_in_one_line(folder, arguments, words, code):
    fails(folder, arguments, words, code)


def test_lost_name_is_told_from_a_missing_socket(folder):
    done = subprocess.run([places.program(), 'status', 'web'], cwd=folder, capture_output=True,
                          text=True, check=False, env={}, **as_ordinary_user())
    said = done.stderr.splitlines()
    assert (len(said), done.returncode) == (1, ERROR)
    check_line(said[0], ['status: web', 'No such file', 'set XDG_RUNTIME_DIR'])


def test_every_option_has_a_row(crosvm):
    rows = [*FILE_ROWS, *OPTION_ROWS, *TRIED_ROWS]
    given = {word.partition('=')[0] for arguments, _, _ in rows for word in arguments}
    options = set(re.findall(r'(--[a-z][\w-]*)', '\n'.join(
        line[:30] for line in crosvm('run', '--help').stdout.splitlines()
        if re.match(r'  (-.,|   ) --', line))))
    cannot_be_wrong = {'--help', '--no-rng', '--no-balloon', '--disable-sandbox', '--debug-exit'}
    assert options - given - cannot_be_wrong - {'--vhost_vsock'} == set()


def test_every_command_has_a_row(crosvm):
    given = {row[0][0] for rows in (CREATE_ROWS, DEVICE_ROWS, POLICY_ROWS, CLIENT_ROWS, OTHER_ROWS)
             for row in rows}
    text = crosvm('--help').stdout.partition('Exit status')[0]
    assert set(re.findall(r'^  (\S+) ', text, re.M)) - given - {'run'} == set()


class Vm:
    """A halted guest, as this user."""

    def __init__(self, folder):
        self.socket = folder / 'work/vm.sock'
        self.process = subprocess.Popen(
            [places.program(), 'run', '-s', self.socket, '--serial', 'sink', '--rng',
             '--rwdisk', 'disk.img', 'halt.elf'], cwd=folder, stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **as_ordinary_user())
        for _ in range(PATIENCE_S * 100):
            with socket.socket(socket.AF_UNIX) as s:
                try:
                    s.connect(str(self.socket))
                    return
                except OSError:
                    time.sleep(0.01)
        raise TimeoutError

    def end(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(timeout=PATIENCE_S)


@pytest.fixture(scope='module', name='vm')
def fixture_vm(folder):
    vm = Vm(folder)
    yield vm
    vm.end()


@needs_kvm
@pytest.mark.parametrize('arguments,words', [
    (['balloon', '--target', 'x'], ['target', '"x"', '512M']),
    (['disk', 'resize', 'SOCKET', 'block9', '1G'], ['block-resize', '"block9"', 'status lists']),
    (['disk', 'resize', 'SOCKET', 'block0', 'x'], ['size', '"x"']),
    (['disk', 'resize', 'SOCKET', 'block0', '1'], ['size 1', 'block size']),
    (['disk', 'resize', 'SOCKET', 'block0', '4K'], ['4096', 'less than']),
    (['link', 'SOCKET', 'net0', 'up'], ['net']),
    (['link', 'SOCKET', 'rng0', 'up'], ['unknown command', 'rng-link', 'help']),
    (['limit', 'SOCKET', 'block0', 'bps=x'], ['bps', '"x"']),
    (['limit', 'SOCKET', 'block0', 'foo=1'], ['"foo"', 'known:']),
    (['resume', 'SOCKET'], ['running already']),
    (['powerbtn', 'SOCKET'], ['powerbtn', 'does not listen', 'ACPI', '; stop']),
], ids=name)
def test_refusal_of_a_running_machine_is_one_line(vm, crosvm, arguments, words):
    words = [str(vm.socket), *words]
    done = crosvm(*[str(vm.socket) if word == 'SOCKET' else word for word in arguments]
                  + ([vm.socket] if arguments[0] == 'balloon' else []))
    assert len(done.stderr.splitlines()) == 1, done.stderr
    check_line(done.stderr.splitlines()[0], words)
    assert done.returncode == ERROR
    assert vm.process.poll() is None


def test_manual_has_every_exit_code(crosvm):
    text = crosvm('--help').stdout.partition('Exit status:\n')[2]
    page = (places.TOP / 'build/man/crosvm.1').read_text()
    rows = [line.split(None, 1) for line in text.splitlines()]
    assert len(rows) > 10
    for code, meaning in rows:
        assert f'.It {code}\n{meaning}.\n' in page
