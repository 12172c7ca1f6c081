# SPDX-License-Identifier: BSD-3-Clause
"""qcow2 images as their users make them: the command, the library, options of disks."""
import fcntl
import os
import subprocess

import pytest

from guests import place as places

USAGE, PATIENCE_S = 2, 60
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
    ([], 'PATH is missing'),
    (['@'], 'SIZE is missing'),
    (['@', '1M', 'more'], '"more" is one word too many'),
    (['@', 'much'], '"much": not a size'),
    (['@', '-1'], '-1: unknown option'),
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
