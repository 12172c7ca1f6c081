# SPDX-License-Identifier: BSD-3-Clause
"""drive_vsock.py CROSVM JSON - a Debian guest and this machine talk through virtual sockets.

JSON: kernel, initrd, root: squashfs; kind: "socket" (a UNIX socket for each port) or "vhost" (the
kernel's); mib: bytes sent each way; connections: how many at the same time, each way.  In the end
the device process is killed and used once more.  Prints what the guest does, then a line "DRIVE"
with JSON.  Runs where the guest does.
"""
import hashlib
import json
import os
import selectors
import signal
import socket
import subprocess
import sys
import tempfile
import threading

import driving

CID = 33
TAKE, ECHO, CUT, AGAIN, PACKETS = 1234, 1235, 1236, 1237, 1238  # ports of the host
GIVE, SERVE = 77, 78  # ports of the guest
PATIENCE_S = 100

SCRIPT = driving.PATH + r'''mount -t tmpfs tmpfs /tmp
bytes() { while cat /dev/vda; do :; done 2>/dev/null | head -c @bytes; }
bytes | socat -u - VSOCK-CONNECT:2:@take && echo TAKEN
echo GIVE-NOW
socat -u VSOCK-LISTEN:@give - | md5sum | sed 's/^/GIVEN-/'
cat >/tmp/many.pl <<'END'
use strict;
use Socket;
$SIG{PIPE} = 'IGNORE';
sub vsock { socket(my $s, 40, SOCK_STREAM, 0) or die "socket: $!"; return $s }
my ($n, @open) = @connections;
for my $i (1 .. $n) {
    my $s = vsock();
    connect($s, pack('SSLLx4', 40, 0, @echo, 2)) or die "connect $i: $!";
    syswrite($s, pack('L', $i)) == 4 or die "write $i: $!";
    push @open, $s;
}
my $text;
for my $i (1 .. $n) {
    sysread($open[$i - 1], $text, 4) == 4 && unpack('L', $text) == $i or die "read $i: $!";
}
@open = ();
print "MANY-OUT $n\n";
my $l = vsock();
bind($l, pack('SSLLx4', 40, 0, @serve, 0xffffffff)) && listen($l, 128) or die "listen: $!";
$| = 1;
print "MANY-NOW\n";
for my $i (1 .. $n) {
    accept(my $s, $l) or die "accept $i: $!";
    push @open, $s;
}
for my $s (@open) {
    sysread($s, $text, 4) == 4 && syswrite($s, $text) == 4 or die "echo: $!";
}
@open = ();
print "MANY-IN $n\n";
END
perl /tmp/many.pl
cat >/tmp/packets.pl <<'END'
use strict;
use Socket;
my @sizes = (1, 100, 5000, 60000);
my $text;
sub none { print "PACKETS none: $!\n"; exit }
socket(my $s, 40, SOCK_SEQPACKET, 0) or none();
connect($s, pack('SSLLx4', 40, 0, @packets, 2)) or none();
for my $n (@sizes) {
    syswrite($s, chr($n % 251) x $n) == $n or die "write $n: $!";
}
for my $n (@sizes) {
    my $got = sysread($s, $text, 65536);
    $got == $n && $text eq chr($n % 251) x $n or die "packet of $n: $got";
}
print "PACKETS whole\n";
END
perl /tmp/packets.pl
socat -u VSOCK-CONNECT:2:@cut - ; echo CUT-SEEN
for i in 1 2 3 4 5 6 7 8 9 10; do
    socat -u VSOCK-CONNECT:2:@again - 2>/dev/null | grep -q again && { echo AGAIN; break; }
    sleep 0.5
done
''' + driving.OFF


def filled(text, job):
    """The script with its numbers."""
    words = {'bytes': job['mib'] << 20, 'connections': job['connections'], 'take': TAKE,
             'echo': ECHO, 'cut': CUT, 'again': AGAIN, 'give': GIVE, 'serve': SERVE,
             'packets': PACKETS}
    for word, number in words.items():
        text = text.replace('@' + word, str(number))
    return text


class Host:
    """This machine's end of either kind."""

    def __init__(self, kind, folder):
        self.path = os.path.join(folder, 'v') if kind == 'socket' else None

    def option(self):
        """For crosvm run."""
        return f'cid={CID}' + (f',socket={self.path}' if self.path else '')

    def listen(self, port, kind=socket.SOCK_STREAM):
        """A socket that the guest reaches at that port."""
        if self.path:
            sock = socket.socket(socket.AF_UNIX)
            sock.bind(f'{self.path}_{port}')
        else:
            sock = socket.socket(socket.AF_VSOCK, kind)
            sock.bind((socket.VMADDR_CID_ANY, port))
        sock.listen(128)
        return sock

    def connect(self, port):
        """A connection to a port of the guest."""
        if not self.path:
            sock = socket.socket(socket.AF_VSOCK)
            sock.settimeout(PATIENCE_S)
            sock.connect((CID, port))
            return sock
        sock = socket.socket(socket.AF_UNIX)
        sock.settimeout(PATIENCE_S)
        sock.connect(self.path)
        sock.sendall(b'CONNECT %d\n' % port)
        answer = b''
        while not answer.endswith(b'\n'):
            byte = sock.recv(1)
            assert byte, f'port {port} of the guest does not answer'
            answer += byte
        assert answer.startswith(b'OK '), answer
        return sock


def contents(root, count):
    """The root image over and over, as the guest sees it, count bytes in pieces."""
    while count > 0:
        with open(root, 'rb') as file:
            while count > 0 and (piece := file.read(min(count, 1 << 18))):
                count -= len(piece)
                yield piece


def digest_of(pieces):
    """MD5, which interpreted machines can afford."""
    digest = hashlib.md5(usedforsecurity=False)
    for piece in pieces:
        digest.update(piece)
    return digest.hexdigest()


def take(listener, result):
    """Receives what the guest sends."""
    sock = listener.accept()[0]
    result['taken'] = digest_of(iter(lambda: sock.recv(1 << 18), b''))


def echo(listener):
    """Serves any number of connections at the same time."""
    listener.setblocking(False)
    selector = selectors.DefaultSelector()
    selector.register(listener, selectors.EVENT_READ)
    while True:
        for key, _ in selector.select():
            if key.fileobj is listener:
                selector.register(listener.accept()[0], selectors.EVENT_READ)
                continue
            data = key.fileobj.recv(64)
            if data:
                key.fileobj.sendall(data)
            else:
                selector.unregister(key.fileobj)
                key.fileobj.close()


def packets(listener):
    """Sends each packet back, as the packet that it was."""
    sock = listener.accept()[0]
    while data := sock.recv(1 << 16):
        sock.sendall(data)


def same_cid(crosvm, job, **who):
    """What another machine with this CID is told."""
    done = subprocess.run([crosvm, 'run', '--cid', str(CID), job['kernel']], capture_output=True,
                          text=True, check=False, stdin=subprocess.DEVNULL, **who)
    return [done.returncode, done.stderr]


def cut(listener, crosvm, control, job, result):
    """Kills the device under a connection."""
    sock = listener.accept()[0]
    if job['kind'] == 'vhost':
        result['busy'] = same_cid(crosvm, job)
        result['busy_for_user'] = same_cid(crosvm, job, user='nobody', extra_groups=[],
                                           group=os.stat('/dev/kvm').st_gid)
    rows = driving.told(crosvm, 'status', control)['devices']
    row = next(row for row in rows if 'vsock' in row['name'])
    os.kill(row['pid'], signal.SIGKILL)
    result['killed'] = row['name']
    sock.recv(1)  # open until it is gone


def again(listener):
    """The device is back."""
    sock = listener.accept()[0]
    sock.sendall(b'again\n')
    sock.close()


def many(host, count):
    """Connections to the guest, all open before the first is used."""
    socks = [host.connect(SERVE) for _ in range(count)]
    for number, sock in enumerate(socks):
        sock.sendall(number.to_bytes(4, 'little'))
    return sum(sock.recv(4) == number.to_bytes(4, 'little') for number, sock in enumerate(socks))


def give(host, job):
    """Sends to the guest, which begins to listen about now."""
    sock = host.connect(GIVE)
    for piece in contents(job['root'], job['mib'] << 20):
        sock.sendall(piece)
    sock.close()


def retried(call, *arguments):
    """Again while the guest does not listen yet."""
    for _ in range(50):
        try:
            return call(*arguments)
        except (AssertionError, ConnectionError):
            threading.Event().wait(0.1)
    return call(*arguments)


def start(function, *arguments):
    """In a thread that ends with us."""
    threading.Thread(target=function, args=arguments, daemon=True).start()


def main():
    """Drives it; returns the exit status."""
    crosvm, job = sys.argv[1], json.loads(sys.argv[2])
    folder = tempfile.mkdtemp()
    control, script = os.path.join(folder, 'sock'), driving.write_disk(folder, filled(SCRIPT, job))
    host = Host(job['kind'], folder)
    result = {'sent': digest_of(contents(job['root'], job['mib'] << 20))}
    start(take, host.listen(TAKE), result)
    start(echo, host.listen(ECHO))
    start(cut, host.listen(CUT), crosvm, control, job, result)
    start(again, host.listen(AGAIN))
    if job['kind'] == 'vhost':
        start(packets, host.listen(PACKETS, socket.SOCK_SEQPACKET))
    # pylint: disable=consider-using-with
    guest = subprocess.Popen(
        [crosvm, 'run', '-m', '512', '-s', control, '-i', job['initrd'], '-r', job['root'], '-d',
         script, '--vsock', host.option(), '-p', 'quiet guest.run=/dev/vdb', job['kernel']],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    for line in guest.stdout:
        sys.stdout.write(line)
        sys.stdout.flush()
        if 'GIVE-NOW' in line:
            start(retried, give, host, job)
        if 'MANY-NOW' in line:
            start(lambda: result.update(many=many(host, job['connections'])))
        if 'GIVEN-' in line:
            result['given'] = line.split('GIVEN-')[1].split()[0]
    result['code'] = guest.wait()
    result['left'] = sorted(os.listdir(folder))
    print('DRIVE ' + json.dumps(result))
    return 0


sys.exit(main())
