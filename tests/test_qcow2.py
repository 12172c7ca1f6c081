# SPDX-License-Identifier: BSD-3-Clause
"""qcow2 images as their users make them: the command, the library, options of disks."""
import fcntl
import json
import os
import subprocess

import pytest

import bare
from guests import place as places
from guests.place import python
from testbed import kernels
from testbed.cache import entry
import guests

USAGE, BAD_INPUT, PATIENCE_S = 2, 4, 60
BUILD = places.TOP / 'build'


def tool(*words, code=0):
    """Runs one of QEMU's tools; its output."""
    done = subprocess.run([*map(str, words)], capture_output=True, text=True, check=False,
                          timeout=PATIENCE_S)
    assert done.returncode == code, f'{words}: {done.stdout}{done.stderr}'
    return done.stdout


def said(done):
    """The one line on standard error."""
    assert len(done.stderr.splitlines()) == 1, done.stderr
    return done.stderr.strip()


@pytest.mark.parametrize('size,expected', [
    ('1', 512), ('1048576', 1 << 20), ('3M', 3 << 20), ('100g', 100 << 30), ('5T', 5 << 40)])
def test_image_is_made_of_any_size(crosvm, tmp_path, size, expected):
    image = tmp_path / 'a b.qcow2'
    done = crosvm('create_qcow2', image, size)
    assert (done.returncode, done.stderr, done.stdout) == (0, '', '')
    assert f'"virtual-size": {expected}' in tool('qemu-img', 'info', '--output=json', image)
    assert 'No errors' in tool('qemu-img', 'check', image)
    assert image.stat().st_blocks < 1024


@pytest.mark.parametrize('cluster', ['512', '4K', '65536', '2M'])
def test_cluster_size(crosvm, tmp_path, cluster):
    image = tmp_path / 'image'
    assert crosvm('create_qcow2', f'--cluster-size={cluster}', image, '64M').returncode == 0
    number = int(cluster.replace('K', '').replace('M', ''))
    number <<= {'K': 10, 'M': 20}.get(cluster[-1], 0)
    assert f'"cluster-size": {number}' in tool('qemu-img', 'info', '--output=json', image)
    tool('qemu-io', '-c', 'write -P 7 1M 3M', image)
    assert 'No errors' in tool('qemu-img', 'check', image)


def test_backing_file_gives_size_and_contents(crosvm, tmp_path):
    (tmp_path / 'base').write_bytes(b'x' * 8192)
    first, second = tmp_path / 'first', tmp_path / 'second'
    assert crosvm('create_qcow2', '--backing', 'base,format=raw', first).returncode == 0
    assert crosvm('create_qcow2', second, '--backing', f'{first},format=qcow2',
                  '16384').returncode == 0
    tool('qemu-io', '-c', 'read -P 0x78 0 8192', '-c', 'read -P 0 8192 8192', second)
    info = tool('qemu-img', 'info', second)
    assert 'backing file format: qcow2' in info and 'virtual size: 16 KiB' in info


@pytest.mark.parametrize('words,expected', [
    ([], 'FILE is missing'),
    (['@'], 'SIZE is missing'),
    (['@', '1M', 'more'], '"more": one word too many'),
    (['@', 'much'], '"much": not a size'),
    (['@', '-1'], '"-1": not a size'),
    (['@', '0'], '"0": not a size'),
    (['@', '99999999999999999999'], 'not a size'),
    (['--cluster-size=1000', '@', '1M'], '--cluster-size: "1000": not a power of two'),
    (['--cluster-size=4M', '@', '1M'], '--cluster-size: "4M": not a power of two'),
    (['--backing=base', '@', '1M'], 'a format is missing, it is never guessed'),
    (['--backing=base,format=vmdk', '@', '1M'], 'format'),
    (['--backing=format=raw', '@', '1M'], '--backing: a file is missing'),
])
def test_wrong_words_change_nothing(crosvm, tmp_path, words, expected):
    image = tmp_path / 'image'
    image.write_bytes(b'precious')
    done = crosvm('create_qcow2', *[image if word == '@' else word for word in words])
    assert done.returncode == USAGE
    assert said(done).startswith('crosvm: create_qcow2: ')
    assert expected in said(done)
    assert image.read_bytes() == b'precious'


@pytest.mark.parametrize('words,expected', [
    (['@/none/image', '1M'], 'none/image: No such file or directory'),
    (['@', '1M'], 'Is a directory'),
    (['/dev/null', '1M'], '/dev/null: not a regular file or block device'),
    (['--cluster-size=512', '@/image', '1T'], 'too large'),
    (['--backing=none,format=raw', '@/image', '1M'], "names count from the image's folder"),
    (['--backing=text,format=qcow2', '@/image', '1M'], '--backing: text: '),
    (['--backing=text,format=raw', '@/text', '1M'], 'is the image to be made'),
])
def test_what_cannot_be_made_says_why(crosvm, tmp_path, words, expected):
    (tmp_path / 'text').write_text('precious')
    done = crosvm('create_qcow2', *[word.replace('@', str(tmp_path)) for word in words])
    assert done.returncode == 1
    assert expected in said(done)
    assert os.listdir(tmp_path) == ['text']
    assert (tmp_path / 'text').read_text() == 'precious'


def test_image_in_use_is_refused(crosvm, tmp_path):
    image = tmp_path / 'image'
    assert crosvm('create_qcow2', image, '1M').returncode == 0
    before = image.read_bytes()
    with open(image, 'rb') as user:
        fcntl.flock(user, fcntl.LOCK_SH)
        done = crosvm('create_qcow2', image, '2M')
        assert done.returncode == 1 and 'in use' in said(done)
    with subprocess.Popen(['qemu-io', image], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                          text=True) as user:
        user.stdin.write('help\n')
        user.stdin.flush()
        user.stdout.readline()
        done = crosvm('create_qcow2', image, '2M')
        assert done.returncode == 1 and 'QEMU' in said(done)
        user.communicate('quit\n')
    assert image.read_bytes() == before
    assert crosvm('create_qcow2', image, '2M').returncode == 0


def test_new_image_over_an_old_one_is_empty(crosvm, tmp_path):
    image = tmp_path / 'image'
    assert crosvm('create_qcow2', image, '8M').returncode == 0
    tool('qemu-io', '-c', 'write -P 7 0 8M', image)
    os.chmod(image, 0o640)
    assert crosvm('create_qcow2', image, '8M').returncode == 0
    assert image.stat().st_mode & 0o777 == 0o640
    assert 'No errors' in tool('qemu-img', 'check', image)
    tool('qemu-io', '-c', 'read -P 0 0 8M', image)
    assert image.stat().st_size < 1 << 20


def test_library_is_installed_whole(tmp_path):
    tool('meson', 'install', '-C', BUILD, '--no-rebuild', '--quiet', f'--destdir={tmp_path}')
    pc = list(tmp_path.rglob('libqcow_utils.pc'))
    assert len(pc) == 1
    source = tmp_path / 'user.c'
    source.write_text('#include <qcow_utils.h>\n'
                      'int main(int argc, char **argv)\n'
                      '{ return argc == 2 ? create_qcow_with_size(argv[1], 1 << 20) : 1; }\n')
    environment = {**os.environ, 'PKG_CONFIG_PATH': str(pc[0].parent),
                   'PKG_CONFIG_SYSROOT_DIR': str(tmp_path),
                   'LD_LIBRARY_PATH': str(pc[0].parent.parent)}
    flags = subprocess.run(['pkg-config', '--cflags', '--libs', 'libqcow_utils'], check=True,
                           env=environment, capture_output=True, text=True).stdout.split()
    static = [word for word in flags if word.startswith('-I')]
    static.append(str(pc[0].parent.parent / 'libqcow_utils.a'))
    for name, words in ('shared', flags), ('static', static):
        tool('gcc', '-Wall', '-Werror', '-o', tmp_path / name, source, *words)
        subprocess.run([tmp_path / name, tmp_path / f'{name}.qcow2'], check=True, env=environment)
        tool('qemu-img', 'check', '-q', tmp_path / f'{name}.qcow2')
    shown = tool('nm', '-D', '--defined-only', pc[0].parent.parent / 'libqcow_utils.so')
    names = [line.split()[-1] for line in shown.splitlines() if ' A ' not in line]
    assert names == ['create_qcow_with_size@@QCOW_UTILS_1']
    shown = tool('nm', '-g', '--defined-only', pc[0].parent.parent / 'libqcow_utils.a')
    assert [line.split()[-1] for line in shown.splitlines() if ' T ' in line] == [
        'create_qcow_with_size']


needs_kvm = pytest.mark.skipif(not os.access('/dev/kvm', os.R_OK | os.W_OK),
                               reason='no access to /dev/kvm')


@pytest.fixture(name='images')
def fixture_images(crosvm, tmp_path):
    """A folder with a guest that ends at once, a raw file, and two images, one over the other."""
    (tmp_path / 'guest').write_bytes(bare.elf(bare.out(0xf4, 3) + bare.HALT))
    (tmp_path / 'raw').write_bytes(bytes(65536))
    assert crosvm('create_qcow2', tmp_path / 'image', '1M').returncode == 0
    assert crosvm('create_qcow2', '--backing', 'image,format=qcow2',
                  tmp_path / 'over').returncode == 0
    return tmp_path


def run(crosvm, folder, *words):
    """Runs that guest with these words, @ standing for the folder."""
    words = [word.replace('@', str(folder)) for word in words]
    return crosvm('run', '--debug-exit', '--serial', 'sink', *words, folder / 'guest')


@needs_kvm
@pytest.mark.parametrize('words', [
    ['--qcow', '@/image'],
    ['--rwqcow', '@/image'],
    ['--qcow', '@/image', '--qcow', '@/image'],
    ['--block', 'path=@/image,format=qcow2,cache=1M'],
    ['--block', 'path=@/image,format=qcow2,ro,direct'],
    ['--block', 'path=@/over,format=qcow2,backing=on'],
    ['--block', 'path=@/over,format=qcow2,backing=/usr:@'],
    ['--disable-sandbox', '--rwqcow', '@/image'],
])
def test_images_are_disks(crosvm, images, words):
    done = run(crosvm, images, *words)
    assert done.returncode == 64 + 3, done.stderr
    assert said(done) == 'crosvm: the guest wrote 3 to the debug-exit port'
    for name in 'image', 'over':
        assert 'No errors' in tool('qemu-img', 'check', images / name)


@needs_kvm
@pytest.mark.parametrize('words,expected', [
    (['--rwqcow', '@/raw'], '@/raw: not a qcow2 image'),
    (['--qcow', '@/guest'], '@/guest: not a qcow2 image'),
    (['--rwqcow', '@/over'], '@/over: it has a backing file, image; allow it'),
    (['--block', 'path=@/over,format=qcow2,backing=off'], 'allow it with backing=on'),
    (['--block', 'path=@/over,format=qcow2,backing=/usr'], 'not in a folder that backing= allows'),
    (['--rwqcow', '@/image', '--qcow', '@/image'], '@/image'),
])
def test_image_that_cannot_be_used_says_why(crosvm, images, words, expected):
    done = run(crosvm, images, *words)
    assert done.returncode == BAD_INPUT, done.stderr
    lines = done.stderr.splitlines()
    assert len([line for line in lines if expected.replace('@', str(images)) in line]) == 1, lines
    assert len(lines) <= 2, lines  # the device's, and that it ended


@needs_kvm
@pytest.mark.parametrize('words', [['-d', '@/image'], ['--rwdisk', '@/image'],
                                   ['--block', 'path=@/image,format=raw']])
def test_raw_disk_that_begins_like_an_image_is_warned_of(crosvm, images, words):
    before = (images / 'image').read_bytes()
    done = run(crosvm, images, *words)
    assert done.returncode == 64 + 3, done.stderr
    assert 'begins like a qcow2 image but is used as raw' in done.stderr
    assert (images / 'image').read_bytes() == before


WORK = r'''set -e
mkdir -p /tmp/p/DEBIAN /tmp/p/usr/share/probe
printf '%s\n' 'Package: probe' 'Version: 1' 'Architecture: all' 'Maintainer: none' \
    'Description: probe' >/tmp/p/DEBIAN/control
head -c 1500000 /dev/urandom >/tmp/p/usr/share/probe/data
dpkg-deb -Zgzip -z1 -b /tmp/p /tmp/probe.deb >/dev/null
dpkg -i /tmp/probe.deb >/dev/null
cmp /tmp/p/usr/share/probe/data /usr/share/probe/data
cp -a /etc /root/copy
rm -r /root/copy/s*
dd if=/dev/urandom of=/root/random bs=64k count=40 oflag=direct 2>/dev/null
md5sum /root/random /usr/share/probe/data >/root/sums
fio --name=v --filename=/root/v --size=2M --bs=4k --rw=randwrite --iodepth=16 --ioengine=libaio \
    --direct=1 --fsync=64 --verify=crc32c --verify_fatal=1 --do_verify=1 >/tmp/fio 2>&1
rm /root/v
fstrim /
mkfs.ext4 -q /dev/vdc
echo WORK-DONE'''

LOOK = r'''set -e
md5sum -c --quiet /root/sums
dpkg -s probe | grep -q 'ok installed'
mount -o remount,ro /
fsck.ext4 -fn /dev/vda >/tmp/fsck 2>&1 || { cat /tmp/fsck; exit 1; }
fsck.ext4 -fn /dev/vdc >/tmp/fsck 2>&1 || { cat /tmp/fsck; exit 1; }
echo LOOK-DONE'''


def base_image():
    """The root file system as a compressed image, where guests can read it; made once."""
    raw = guests.ext4()

    def make(path):
        tool('qemu-img', 'convert', '-c', '-f', 'raw', '-O', 'qcow2', '-o',
             'compression_type=zstd', raw, path)
        os.chmod(path, 0o644)
    return entry(f'guest/{raw.stem}.qcow2', make)


def test_debian_works_on_an_image_over_a_compressed_one(place):
    kernel = '6.1-cloud'
    job = {'kernel': kernels.get(kernel).vmlinux, 'initrd': guests.disk(kernel),
           'base': base_image()}
    job = {key: place.path(value) for key, value in job.items()}
    done = python(place, 'drive_qcow2.py', json.dumps({**job, 'scripts': [WORK, LOOK]}),
                  timeout_s=240)
    last = [line for line in done.out.splitlines() if line.startswith('DRIVE ')]
    assert done.code == 0 and last, str(done)
    result = json.loads(last[-1][len('DRIVE '):])
    assert 'WORK-DONE' in done.out and 'LOOK-DONE' in done.out, str(done)
    assert result['codes'] == [0, 0], str(done)
    for name in 'root', 'scratch':
        assert result[name][0] == 0, result
