# SPDX-License-Identifier: BSD-3-Clause
"""The command line and the control socket, seen from outside; guests are a few instructions."""
import json
import os
import shutil
import signal
import socket
import subprocess
import time

import pytest

import bare
from guests import place as places

USAGE, HOST, BUILD = 2, 3, 4
PATIENCE_S = 20

needs_kvm = pytest.mark.skipif(not os.access('/dev/kvm', os.R_OK | os.W_OK),
                               reason='no access to /dev/kvm')


def lines(done):
    """What was said on standard error."""
    return done.stderr.splitlines()


@pytest.fixture(name='kernel')
def fixture_kernel(tmp_path):
    """A guest that halts for ever."""
    path = tmp_path / 'halt.elf'
    path.write_bytes(bare.elf(bare.HALT))
    return path


class Vm:
    """A guest in the background."""

    def __init__(self, *arguments):
        self.process = subprocess.Popen([places.program(), 'run', *map(str, arguments)],
                                        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                        stderr=subprocess.PIPE, text=True)

    def wait(self):
        """Its exit code and what it said."""
        said = self.process.communicate(timeout=PATIENCE_S)[1]
        return self.process.returncode, said

    def end(self):
        """Whatever state it is in."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.communicate()


def appears(path):
    """Waits for a machine that runs and answers at its socket."""
    for _ in range(PATIENCE_S * 100):
        with socket.socket(socket.AF_UNIX) as s:
            s.settimeout(PATIENCE_S)
            try:
                s.connect(str(path))
                s.sendall(b'status\n')
                if s.recv(65536):
                    return
            except OSError:
                pass
        time.sleep(0.01)
    raise TimeoutError(path)


@pytest.fixture(name='vm')
def fixture_vm(kernel, tmp_path):
    """A halted guest with a control socket at tmp_path/vm.sock."""
    vm = Vm('-s', tmp_path / 'vm.sock', '--serial', 'sink', '--no-rng', '--no-balloon', kernel)
    try:
        appears(tmp_path / 'vm.sock')
        yield vm
    finally:
        vm.end()


def test_help_lists_the_commands(crosvm):
    done = crosvm('--help')
    assert done.returncode == 0
    for word in ('run', 'stop', 'status', 'check', 'devices', '64-127'):
        assert word in done.stdout


@pytest.mark.parametrize('words', [[], ['run'], ['run', '-m', '512']])
def test_without_a_kernel_the_first_steps_are_explained(crosvm, words):
    done = crosvm(*words)
    assert (done.returncode, done.stdout) == (USAGE, '')
    assert len(lines(done)) < 14
    assert '  crosvm run --rootfs DIR' in done.stderr
    assert '  crosvm run --rwdisk disk.img' in done.stderr
    assert 'crosvm --help' in done.stderr


def test_no_root_file_system_is_packed_without_kvm(crosvm, kernel, tmp_path):
    done = crosvm('run', '--rootfs', tmp_path, '--kvm-device', '/dev/null', kernel)
    assert done.returncode == HOST
    assert len(lines(done)) == 1 and 'packed in' not in done.stderr


def test_first_steps_do_not_hide_other_mistakes(crosvm):
    done = crosvm('run', '-c', '0')
    assert len(lines(done)) == 2


@pytest.mark.parametrize('words,remedy', [
    (['launch'], 'no such command; crosvm --help lists them'),
    (['sttaus', 'x'], 'no such command; did you mean crosvm status?'),
    (['ps'], 'no such command; did you mean crosvm list?'),
    (['/dev/null'], 'no such command; to boot this file: crosvm run /dev/null'),
    (['-m', '512'], 'no option of crosvm itself; those of a command stand behind its name: '
                    'crosvm run -m ...'),
])
def test_unknown_command_is_refused(crosvm, words, remedy):
    done = crosvm(*words)
    assert done.returncode == USAGE
    assert lines(done) == [f'crosvm: {words[0]}: {remedy}']


def test_help_is_a_word_too(crosvm):
    assert crosvm('help').stdout == crosvm('--help').stdout
    assert crosvm('help', 'run').stdout == crosvm('run', '--help').stdout
    assert crosvm('--help', 'balloon-stats').stdout == crosvm('balloon_stats', '-h').stdout
    assert crosvm('-V').stdout == crosvm('version').stdout


def test_help_names_every_device_that_is_built_in(crosvm):
    listed = [line.split()[0] for line in crosvm('devices').stdout.splitlines()]
    text = crosvm('run', '--help').stdout
    assert listed
    for name in listed:
        assert f'--{name}' in text


def test_all_mistakes_are_told_at_once(crosvm, tmp_path):
    done = crosvm('run', '-m', 'much', '--cpus=0', '--plugin', 'a', tmp_path / 'none', '--bogus',
                  '-x')
    assert done.returncode == USAGE
    assert lines(done) == [
        'crosvm: --bogus: unknown option; see --help',
        'crosvm: -x: unknown option; see --help',
        'crosvm: --mem: "much": not a size from 1M to 4T',
        'crosvm: --cpus: "0": not a number from 1 to 255',
        'crosvm: --plugin: plugins are not built in',
        f'crosvm: kernel: {tmp_path}/none: No such file or directory; '
        'give the path of a bzImage or vmlinux',
    ]
    assert done.stdout == ''


@pytest.mark.parametrize('option', ['wayland-sock', 'wayland-group', 'plugin',
                                    'plugin-root'])
def test_option_of_other_builds_is_refused_by_name(crosvm, kernel, option):
    done = crosvm('run', f'--{option}', 'x', kernel)
    assert done.returncode == USAGE
    assert len(lines(done)) == 1
    assert lines(done)[0].startswith(f'crosvm: --{option}: ')
    assert 'not built in' in lines(done)[0]


def test_missing_kvm_says_how_to_get_it(crosvm, kernel, tmp_path):
    done = crosvm('run', '--kvm-device', tmp_path / 'kvm', '--no-rng', '--no-balloon', '--serial',
                  'sink', kernel)
    assert done.returncode == HOST
    assert 'modprobe' in done.stderr


@needs_kvm
def test_file_that_is_no_kernel_is_refused(crosvm, tmp_path):
    (tmp_path / 'text').write_text('hello\n' * 1000)
    done = crosvm('run', '--no-rng', '--no-balloon', '--serial', 'sink', tmp_path / 'text')
    assert done.returncode == BUILD
    assert f'{tmp_path}/text' in done.stderr


@needs_kvm
def test_guest_value_becomes_the_exit_code(crosvm, tmp_path):
    for value, code in ((0, 64), (5, 69), (200, 127)):
        path = tmp_path / 'exit.elf'
        path.write_bytes(bare.elf(bare.out(0xf4, value) + bare.HALT))
        done = crosvm('run', '--debug-exit', '--no-rng', '--no-balloon', '--serial', 'sink', path)
        assert done.returncode == code, done.stderr


@needs_kvm
def test_serial_output_reaches_the_file(crosvm, tmp_path):
    path = tmp_path / 'hi.elf'
    path.write_bytes(bare.elf(bare.out(0x3f8, ord('h')) + bare.out(0x3f8, ord('i')) +
                              bare.out(0xf4, 0) + bare.HALT))
    crosvm('run', '--debug-exit', '--no-rng', '--no-balloon', '--serial',
           f'file,path={tmp_path}/log', path)
    assert (tmp_path / 'log').read_text() == 'hi'


@needs_kvm
def test_status_suspend_resume_stop(crosvm, vm, tmp_path):
    sock = tmp_path / 'vm.sock'
    status = json.loads(crosvm('status', '--json', sock).stdout)
    assert status['state'] == 'running'
    assert status['mem_bytes'] == 256 << 20
    assert len(status['vcpus']) == 1
    assert status['devices'] == []
    assert crosvm('suspend', sock).returncode == 0
    again = crosvm('suspend', sock)
    assert again.returncode == 1
    assert lines(again) == [f'crosvm: {sock}: suspend: the VM is suspended; resume lets it go on']
    assert crosvm('status', sock).stdout.startswith(f'{sock}: suspended, process ')
    assert crosvm('resume', sock).returncode == 0
    assert crosvm('stop', sock).returncode == 0
    code, said = vm.wait()
    assert code == 0, said
    assert not sock.exists()


@needs_kvm
@pytest.mark.parametrize('number', [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_signal_ends_in_good_order(vm, tmp_path, number):
    vm.process.send_signal(number)
    code, said = vm.wait()
    assert code == 128 + number, said
    assert not (tmp_path / 'vm.sock').exists()


@needs_kvm
@pytest.mark.parametrize('number', [signal.SIGTERM, signal.SIGINT])
def test_signal_ends_devices_in_threads_in_good_order(kernel, tmp_path, number):
    sock = tmp_path / 'vm.sock'
    vm = Vm('-s', sock, '--disable-sandbox', '--serial', 'sink', kernel)
    try:
        appears(sock)
        vm.process.send_signal(number)
        code, said = vm.wait()
    finally:
        vm.end()
    assert (code, said) == (128 + number, f'crosvm: stopped by {number.name}\n')
    assert not sock.exists()


@needs_kvm
def test_socket_of_a_killed_vm_is_removed(vm, tmp_path):
    vm.process.kill()
    vm.wait()
    for _ in range(PATIENCE_S * 100):
        if not (tmp_path / 'vm.sock').exists():
            return
        time.sleep(0.01)
    raise TimeoutError(tmp_path / 'vm.sock')


@needs_kvm
@pytest.mark.parametrize('number', [signal.SIGTERM, signal.SIGKILL])
def test_sockets_of_devices_are_removed(kernel, tmp_path, number):
    names = [tmp_path / name for name in ('vm.sock', 'a.sock', 'b.sock', 'v.sock')]
    vm = Vm('-s', names[0], '--serial', 'sink', '--vsock', f'cid=3,socket={names[3]}', '--console',
            f'socket={names[1]},ports=socket={names[2]},,name=b', kernel)
    try:
        appears(names[0])
        assert all(name.exists() for name in names)
        vm.process.send_signal(number)
        vm.wait()
    finally:
        vm.end()
    for _ in range(PATIENCE_S * 100):
        if not any(name.exists() for name in names):
            return
        time.sleep(0.01)
    raise TimeoutError(names)


@needs_kvm
def test_socket_that_was_left_behind_is_replaced(crosvm, kernel, tmp_path):
    sock = tmp_path / 'vm.sock'
    with socket.socket(socket.AF_UNIX) as s:
        s.bind(str(sock))
        s.listen()
    gone = crosvm('stop', sock)
    assert gone.returncode == 1
    assert 'no VM listens there any more' in gone.stderr
    second = Vm('-s', sock, '--serial', 'sink', '--no-rng', '--no-balloon', kernel)
    try:
        appears(sock)
        assert crosvm('stop', sock).returncode == 0
        assert second.wait()[0] == 0
    finally:
        second.end()


@needs_kvm
def test_socket_of_a_running_vm_is_refused(crosvm, vm, kernel, tmp_path):
    sock = tmp_path / 'vm.sock'
    second = crosvm('run', '-s', sock, '--serial', 'sink', '--no-rng', '--no-balloon', kernel)
    assert second.returncode == BUILD
    assert 'a running VM listens there' in second.stderr
    assert vm.process.poll() is None
    assert crosvm('status', sock).returncode == 0


@needs_kvm
def test_directory_gets_a_socket_named_by_process(crosvm, kernel, tmp_path):
    place = tmp_path / 'run'
    place.mkdir()
    vm = Vm('-s', place, '--serial', 'sink', '--no-rng', '--no-balloon', kernel)
    try:
        sock = place / f'crosvm-{vm.process.pid}.sock'
        appears(sock)
        assert crosvm('stop', sock).returncode == 0
        assert vm.wait()[0] == 0
        assert not list(place.iterdir())
    finally:
        vm.end()


@needs_kvm
def test_vm_with_a_name_is_listed_and_found(crosvm, kernel, tmp_path, monkeypatch):
    monkeypatch.setenv('XDG_RUNTIME_DIR', str(tmp_path))
    assert json.loads(crosvm('list', '--json').stdout) == []
    vm = Vm('--name', 'web', '--serial', 'sink', '--no-rng', kernel)
    try:
        appears(tmp_path / 'crosvm/web.sock')
        assert (tmp_path / 'crosvm').stat().st_mode & 0o777 == 0o700
        vms = json.loads(crosvm('list', '--json').stdout)
        assert [(v['name'], v['status']['pid']) for v in vms] == [('web', vm.process.pid)]
        assert crosvm('list').stdout.splitlines()[1].split()[:2] == ['web', 'running']
        assert crosvm('suspend', 'web').returncode == 0
        assert crosvm('list').stdout.splitlines()[1].split()[:2] == ['web', 'suspended']
        assert crosvm('stop', 'web').returncode == 0
        assert vm.wait()[0] == 0
        assert 'no VM' in crosvm('list').stdout
    finally:
        vm.end()


@needs_kvm
def test_configuration_file_boots_and_dumps(crosvm, tmp_path):
    (tmp_path / 'exit.elf').write_bytes(bare.elf(bare.out(0xf4, 3) + bare.HALT))
    file = tmp_path / 'vm.conf'
    file.write_text(f'kernel = {tmp_path}/exit.elf\ndebug-exit\nno-rng\n[serial]\nsink\n')
    assert crosvm('run', '--cfg', file).returncode == 67
    dumped = crosvm('run', '--cfg', file, '-m', 64, '--dump-config')
    assert dumped.returncode == 0
    file.write_text(dumped.stdout)
    assert 'mem = 64' in dumped.stdout
    assert crosvm('run', '--cfg', file, '--dump-config').stdout == dumped.stdout
    file.write_text('bogus = 64\n')
    wrong = crosvm('run', '--cfg', file, tmp_path / 'exit.elf')
    assert wrong.returncode == USAGE
    assert lines(wrong) == [f'crosvm: {file}:1: bogus: unknown option; see crosvm run --help']


@needs_kvm
def test_hostile_client_gets_an_error_and_hurts_nobody(crosvm, vm, tmp_path):
    sock = tmp_path / 'vm.sock'
    with socket.socket(socket.AF_UNIX) as s:
        s.connect(str(sock))
        s.settimeout(PATIENCE_S)
        s.sendall(os.urandom(3000).replace(b'\n', b'.') + b'\n')
        assert b'"ok":false' in s.recv(65536)
        s.sendall(b'status\n' * 3)
        assert b'"ok":true' in s.recv(65536)
        assert crosvm('status', sock).returncode == 0
    assert vm.process.poll() is None


@pytest.mark.parametrize('command', ['stop', 'powerbtn', 'suspend', 'resume', 'status'])
def test_client_names_socket_and_cause(crosvm, tmp_path, command):
    none, plain = tmp_path / 'none', tmp_path / 'plain'
    plain.write_text('')
    done = crosvm(command, none, plain)
    assert done.returncode == 1
    assert lines(done) == [
        f'crosvm: {command}: {none}: No such file or directory; a VM makes it when run with '
        '-s or --name',
        f'crosvm: {command}: {plain}: Connection refused; no VM listens there any more',
    ]
    assert crosvm(command).returncode == USAGE
    assert crosvm(command, '--help').returncode == 0
    assert crosvm(command, '--bogus', none).returncode == USAGE


def test_check_gives_every_finding_its_remedy(crosvm):
    done = crosvm('check', '--json')
    found = json.loads(done.stdout)
    lacking = [c for c in found['checks'] if c['required'] and not c['ok']]
    assert found['ok'] == (not lacking)
    assert done.returncode == (HOST if lacking else 0)
    names = {c['name'] for c in found['checks']}
    assert {'kernel', 'kvm', 'kvm-kernels', 'namespaces', 'seccomp', 'tun', 'rootfs',
            'passt'} <= names
    for check in found['checks']:
        assert check['text']
        assert check['ok'] or check.get('remedy') or check['name'].startswith('kvm-'), check
    assert crosvm('check', 'x').returncode == USAGE


def test_disk_by_descriptor_must_be_inherited(crosvm, kernel):
    done = crosvm('run', '-d', '/proc/self/fd/77', kernel)
    assert done.returncode == USAGE
    assert 'descriptor 77 is not open' in done.stderr


def test_words_after_two_dashes_are_no_options(crosvm):
    done = crosvm('run', '--', '--help')
    assert done.returncode == USAGE
    assert lines(done)[0].startswith('crosvm: kernel: --help: No such file')


@needs_kvm
def test_manual_and_documentation_have_every_command(vm, tmp_path):
    assert vm.process.poll() is None
    with socket.socket(socket.AF_UNIX) as s:
        s.connect(str(tmp_path / 'vm.sock'))
        s.settimeout(PATIENCE_S)
        s.sendall(b'help\n')
        commands = json.loads(s.recv(65536))['commands']
    text = (places.TOP / 'docs/control.md').read_text()
    for command in commands:
        assert f'| `{command}`' in text


COMPLETIONS = [
    (['st'], {'stop', 'status'}),
    (['run', '--kvm'], {'--kvm-device'}),
    (['run', '--transport', ''], {'pci', 'mmio'}),
    (['run', '--transport', '=', 'p'], {'pci'}),
    (['run', '--block', 'pa'], {'path='}),
    (['run', '--block', 'path', '=', 'di'], {'disk.img'}),
    (['run', '-i', 'di'], {'disk.img'}),
    (['status', '--j'], {'--json'}),
    (['stop', 'we'], {'web'}),
    (['policy', 'rn'], {'rng'}),
]


@pytest.fixture(name='typing_folder')
def fixture_typing_folder(tmp_path, monkeypatch):
    """A folder with a file, and a machine called web."""
    (tmp_path / 'disk.img').write_text('')
    (tmp_path / 'crosvm').mkdir()
    (tmp_path / 'crosvm/web.sock').write_text('')
    monkeypatch.setenv('XDG_RUNTIME_DIR', str(tmp_path))
    monkeypatch.setenv('PATH', f"{places.program().parent}:{os.environ['PATH']}")
    return tmp_path


@pytest.mark.parametrize('typed,offered', COMPLETIONS)
def test_bash_completes(typing_folder, typed, offered):
    words = ' '.join(f"'{word}'" for word in ['crosvm', *typed])
    done = subprocess.run(
        ['bash', '-c', f'. {places.TOP}/man/completion/crosvm.bash\nCOMP_WORDS=({words})\n'
                       f'COMP_CWORD={len(typed)}\n_crosvm\nprintf "%s\\n" "${{COMPREPLY[@]}}"'],
        cwd=typing_folder, capture_output=True, text=True, check=True, timeout=PATIENCE_S)
    assert set(done.stdout.split()) == offered
    assert done.stderr == ''


def together(typed):
    """The words as typed: bash alone breaks them at "="."""
    return ' '.join(['crosvm', *typed]).replace(' = ', '=')


@pytest.mark.skipif(not shutil.which('fish'), reason='fish is missing: package fish')
@pytest.mark.parametrize('typed,offered', COMPLETIONS)
def test_fish_completes(typing_folder, typed, offered):
    done = subprocess.run(
        ['fish', '--no-config', '-c', f'source {places.TOP}/man/completion/crosvm.fish\n'
                                      f'complete -C "{together(typed)}"'],
        cwd=typing_folder, capture_output=True, text=True, check=True, timeout=PATIENCE_S)
    ends = {line.split('\t')[0].rpartition('=')[2] or line.split('\t')[0]
            for line in done.stdout.splitlines()}
    assert ends == offered
    assert done.stderr == ''


# A terminal is needed: zsh completes only what is typed in one.
ZSH = r"""zmodload zsh/zpty
zpty shell zsh -f -i
zpty -w shell "PS1=; fpath=($1 \$fpath); autoload -Uz compinit; compinit -u -d $2/dump; cd $2"
zpty -w shell "zstyle ':completion:*' list-prompt ''; echo REA''DY"
zpty -r -m shell line '*READY*'
zpty -w -n shell "$3"$'\t'$'\C-a'"print -r -- '"$'\C-e'"' >$2/said; exit"$'\n'
while zpty -r shell line; do :; done
cat $2/said
"""


@pytest.mark.skipif(not shutil.which('zsh'), reason='zsh is missing: package zsh')
@pytest.mark.parametrize('typed,offered', [c for c in COMPLETIONS if len(c[1]) == 1])
def test_zsh_completes(typing_folder, typed, offered):
    functions = typing_folder / 'functions'
    functions.mkdir()
    shutil.copy(places.TOP / 'man/completion/crosvm.zsh', functions / '_crosvm')
    offered = set(offered)
    done = subprocess.run(['zsh', '-f', '-c', ZSH, 'zsh', functions, typing_folder,
                           together(typed)], capture_output=True, text=True, check=False,
                          timeout=PATIENCE_S, env={**os.environ, 'TERM': 'dumb'})
    assert done.stdout.split()[-1].rpartition('=' if '=' in typed else ' ')[2] == offered.pop()


@needs_kvm
def test_printed_policy_takes_the_place_of_the_built_in_list(crosvm, kernel, tmp_path):
    done = crosvm('policy', 'rng')
    assert done.returncode == 0
    assert 'read: 1' in done.stdout or 'readv: 1' in done.stdout
    (tmp_path / 'rng_device.policy').write_text(done.stdout)
    options = ['--serial', 'sink', '--no-balloon']
    sock = tmp_path / 'vm.sock'
    vm = Vm('-s', sock, *options, '--seccomp-policy-dir', tmp_path, kernel)
    try:
        appears(sock)
        device = json.loads(crosvm('status', '--json', sock).stdout)['devices'][0]
        assert (device['name'], device['state'], device['restarts']) == ('rng0', 'running', 0)
        assert crosvm('stop', sock).returncode == 0
        assert vm.wait()[0] == 0
    finally:
        vm.end()


def test_policy_of_nothing_is_refused(crosvm):
    assert crosvm('policy').returncode == USAGE
    assert 'no such device' in crosvm('policy', 'floppy').stderr
    assert crosvm('policy', '--arch', 'vax', 'rng').returncode == USAGE
    assert crosvm('policy', '--arch', 'aarch64', 'rng').returncode == 0


@needs_kvm
def test_guest_that_is_not_heard_of_is_reported_once(tmp_path):
    path = tmp_path / 'spin.elf'
    path.write_bytes(bare.elf(b'\xeb\xfe'))
    vm = Vm('-s', tmp_path / 'vm.sock', '--serial', 'sink', '--no-rng', '--no-balloon', path)
    try:
        line = vm.process.stderr.readline()
        assert 'crosvm check tells' in line
        vm.process.terminate()
        assert vm.wait()[0] == 128 + signal.SIGTERM
    finally:
        vm.end()
