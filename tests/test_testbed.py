# SPDX-License-Identifier: BSD-3-Clause
"""The testbed passes on what a command does, and keeps this machine as it was."""
import concurrent.futures
import hashlib
import subprocess
from pathlib import Path

from testbed.cache import entry

DEV = Path(__file__).resolve().parent.parent / 'dev'


def dev_testbed(*arguments, stdin=b''):
    """./dev testbed, as a person runs it."""
    return subprocess.run([DEV, 'testbed', *arguments], input=stdin, capture_output=True,
                          timeout=120, check=False)


def test_exit_status_and_both_outputs(testbed):
    done = testbed.run(['sh', '-c', 'echo out; echo err >&2; exit 7'])

    assert (done.code, done.out, done.err) == (7, 'out\n', 'err\n')


def test_death_by_signal(testbed):
    assert testbed.run(['sh', '-c', 'kill -9 $$']).code == 128 + 9


def test_command_that_is_not_there(testbed):
    assert testbed.run(['/nonexistent'], root=True).code == 127


def test_kvm_is_there_for_an_ordinary_user(testbed):
    done = testbed.run(['sh', '-c', 'id -u; exec 3<>/dev/kvm'])

    assert (done.code, done.out) == (0, '1000\n'), str(done)


def test_files_are_visible_and_writes_are_lost(testbed):
    done = testbed.run(['sh', '-c', f'test -x {DEV} && echo x >{DEV}.written'], root=True)

    assert done.code == 0, str(done)
    assert not Path(f'{DEV}.written').exists()


def test_input_of_any_length():
    data = bytes(range(256)) * 4096

    done = dev_testbed('--stdin', '--', 'md5sum', stdin=data)

    assert done.stdout.split()[0].decode() == hashlib.md5(data).hexdigest()


def test_out_folder_is_written_through(tmp_path):
    done = dev_testbed('--out', tmp_path, '--', 'sh', '-c', 'echo kept >/run/out/file')

    assert done.returncode == 0, done.stderr
    assert (tmp_path / 'file').read_text(encoding='utf-8') == 'kept\n'


def test_timeout_has_a_status_of_its_own():
    done = dev_testbed('--timeout', '1', '--', 'sleep', '100')

    assert done.returncode == 124


def test_cpus_and_command_line_are_as_asked():
    done = dev_testbed('--smp', '2', '--append', 'testbed.word=7', '--', 'sh', '-c',
                       'nproc; cat /proc/cmdline')

    assert done.stdout.startswith(b'2\n') and b'testbed.word=7' in done.stdout


def test_runs_side_by_side_do_not_meet(testbed):
    script = 'echo {0} >/tmp/mine; sleep 0.5; cat /tmp/mine /tmp/theirs 2>/dev/null'
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        done = list(pool.map(lambda n: testbed.run(['sh', '-c', script.format(n)]), (1, 2)))

    assert [one.out for one in done] == ['1\n', '2\n']


def test_cache_entry_is_made_once_and_whole(tmp_path, monkeypatch):
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path))
    made = []

    def make(path):
        made.append(path)
        path.write_text('whole', encoding='utf-8')

    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        paths = set(pool.map(lambda _: entry('some.entry', make), range(8)))

    assert len(made) == 1 and len(paths) == 1
    assert paths.pop().read_text(encoding='utf-8') == 'whole'
