# SPDX-License-Identifier: BSD-3-Clause
"""drive_jail.py CROSVM USER KERNEL [INITRD] - what the kernel says of every process of a guest.

Root runs it, since nobody else may look into the processes; the guest runs as USER, a number.  With
an INITRD it looks once the guest has printed "GUEST ", when drivers have taken their devices.  Then
kills the main process and waits for the others.  Prints all as JSON.
"""
import json
import os
import select
import shutil
import stat
import subprocess
import sys
import tempfile
import time
from pathlib import Path

PATIENCE_S, BOOT_S = 20, 60
KVM = os.makedev(10, 232)
NAMESPACES = ('user', 'pid', 'mnt', 'net', 'ipc', 'uts')


def namespaces(pid):
    """The namespaces of a process by name."""
    return {name: os.readlink(f'/proc/{pid}/ns/{name}') for name in NAMESPACES}


def status_of(path):
    """The fields of a status file."""
    pairs = (line.split(':', 1) for line in path.read_text().splitlines())
    return {name: ' '.join(value.split()) for name, value in pairs}


def limits(proc):
    """The hard limits by name."""
    lines = (proc / 'limits').read_text().splitlines()[1:]
    return {line[:25].strip(): line[25:].split()[1] for line in lines}


def others_beside(pid):
    """Other processes in the PID namespace of a process, which is as deep as they are."""
    own, found = Path(f'/proc/{pid}'), []
    depth = len(status_of(own / 'status')['NSpid'].split())
    for proc in Path('/proc').glob('[0-9]*'):
        try:
            if (proc != own and len(status_of(proc / 'status')['NSpid'].split()) == depth and
                    (proc / 'ns/pid').readlink() == (own / 'ns/pid').readlink()):
                found.append(int(proc.name))
        except (FileNotFoundError, ProcessLookupError):
            pass  # it ended
    return found


def observe(pid):
    """All that is asked of one process."""
    proc = Path(f'/proc/{pid}')
    fds = {number: os.readlink(proc / 'fd' / number) for number in os.listdir(proc / 'fd')}
    return {
        'status': status_of(proc / 'status'),
        'threads': {(task / 'comm').read_text().strip(): status_of(task / 'status')
                    for task in sorted((proc / 'task').iterdir()) if task.name != str(pid)},
        'owner_of_mem': (proc / 'mem').stat().st_uid,
        'namespaces': namespaces(pid),
        'mounts': (proc / 'mountinfo').read_text().splitlines(),
        'root': os.listdir(proc / 'root'),
        'cwd': os.listdir(proc / 'cwd'),
        'interfaces': [line.split(':')[0].strip()
                       for line in (proc / 'net/dev').read_text().splitlines()[2:]],
        'fds': fds,
        'shared': sorted(line.split(maxsplit=5)[5].strip()
                         for line in (proc / 'maps').read_text().splitlines()
                         if 'rw-s' in line),
        'limits': limits(proc),
    }


def prepare(folder, user, crosvm, kernel, initrd):
    """Copies for the user, who need not be able to enter the folders of the originals."""
    os.chown(folder, user, user)
    program, guest, disk = (folder / name for name in ('crosvm', 'kernel', 'disk'))
    shutil.copy(crosvm, program)
    shutil.copy(kernel, guest)
    disk.write_bytes(bytes(1 << 20))
    os.mknod(folder / 'kvm', 0o600 | stat.S_IFCHR, KVM)
    linux = []
    if initrd:
        shutil.copy(initrd, folder / 'initrd')
        os.chown(folder / 'initrd', user, user)
        linux = ['-i', folder / 'initrd', '-p', 'quiet guest.do=shell']
    for path in (guest, disk, folder / 'kvm'):
        os.chown(path, user, user)
    return [program, 'run', '-c', '2', '-s', folder / 'sock', '--kvm-device', folder / 'kvm',
            '--rwdisk', disk, '--console', 'type=sink', '--vsock',
            f'cid=3,socket={folder / "vsock"}', *linux, guest]


def wait_for(what, ready):
    """Waits until ready() gives something."""
    until = time.monotonic() + PATIENCE_S
    while time.monotonic() < until:
        found = ready()
        if found:
            return found
        time.sleep(0.05)
    raise TimeoutError(what)


def status(program, sock):
    """What the program says of the guest once it runs, else None."""
    done = subprocess.run([program, 'status', '--json', sock], capture_output=True, check=False)
    answer = json.loads(done.stdout) if done.returncode == 0 else {}
    cpus = answer.get('vcpus', [])
    return answer if cpus and answer.get('state') == 'running' else None


def family(main):
    """The pids of a process and of all that it started."""
    found = [main]
    for proc in Path('/proc').glob('[0-9]*'):
        try:
            if status_of(proc / 'status')['PPid'] == str(main):
                found.append(int(proc.name))
        except (FileNotFoundError, ProcessLookupError):
            pass  # it ended
    return found


def is_alive(pid):
    """Whether it runs; what only waits to be collected does not."""
    try:
        return status_of(Path(f'/proc/{pid}/status'))['State'][0] not in 'ZX'
    except (FileNotFoundError, ProcessLookupError):
        return False


def wait_for_drivers(guest):
    """Until the guest's init speaks."""
    said, until = b'', time.monotonic() + BOOT_S
    while b'GUEST ' not in said:
        ready, _, _ = select.select([guest.stdout], [], [], max(0, until - time.monotonic()))
        data = os.read(guest.stdout.fileno(), 65536) if ready else b''
        if not data:
            raise TimeoutError(f'the guest said: {said.decode(errors="replace")}')
        said += data


def drive(folder, user, argv):
    """Starts, observes, kills."""
    sock = folder / 'sock'
    # pylint: disable=consider-using-with
    guest = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                             stderr=subprocess.PIPE, user=user, group=user, extra_groups=[])
    try:
        answer = wait_for('running guest', lambda: guest.poll() is not None or
                          sock.exists() and status(argv[0], sock))
        if answer is True:
            raise RuntimeError(guest.stderr.read().decode())
        if '-i' in argv:
            wait_for_drivers(guest)
            answer = status(argv[0], sock)
        members = family(guest.pid)
        seen = {device['name']: observe(device['pid']) for device in answer['devices']}
        beside = {device['name']: others_beside(device['pid']) for device in answer['devices']}
        members += sum(beside.values(), [])
        restarts = {device['name']: device['restarts'] for device in answer['devices']}
        seen['main'] = observe(guest.pid)
        seen |= {f'{name}-connector': observe(pid)
                 for name, pids in beside.items() for pid in pids}
        guest.kill()
        guest.wait()
        wait_for('end of all processes', lambda: not any(map(is_alive, members)))
        return {'own': namespaces('self'), 'processes': seen, 'restarts': restarts,
                'beside': {name: len(pids) for name, pids in beside.items()},
                'disk': str(folder / 'disk'), 'members': len(members),
                'sockets_left': sock.exists() or (folder / 'vsock').exists()}
    finally:
        guest.kill()
        guest.wait()


def main():
    """Prints what drive() saw."""
    crosvm, user, kernel, *initrd = sys.argv[1:]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        argv = prepare(folder, int(user), crosvm, kernel, initrd[0] if initrd else None)
        print(json.dumps(drive(folder, int(user), argv)))
    return 0


if __name__ == '__main__':
    sys.exit(main())
