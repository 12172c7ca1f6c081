# SPDX-License-Identifier: BSD-3-Clause
"""Help, manual and completion say the same of every subcommand; all of it is installed."""
import json
import re
import shutil
import subprocess

import pytest

from guests import place as places

BUILD = places.TOP / 'build'


@pytest.fixture(scope='module', name='installed')
def fixture_installed(tmp_path_factory):
    """What meson install puts below the prefix /opt/vm."""
    if not shutil.which('meson'):
        pytest.skip('meson is missing: package meson')
    top = tmp_path_factory.mktemp('install')
    subprocess.run(['meson', 'install', '-C', BUILD, '--no-rebuild', '--destdir', top],
                   check=True, capture_output=True)
    return top


def commands(crosvm):
    text = crosvm('--help').stdout.partition('Commands:\n')[2].partition('\n\n')[0]
    return [line.split()[0] for line in text.splitlines()]


def help_options(text):
    """Long names and letters of the options that a help lists."""
    found = set()
    for letter, name in re.findall(r'^  (-.,|   ) --([a-z][\w-]*)', text, re.M):
        found.add(f'--{name}')
        if letter.strip():
            found.add(letter[:2])
    return found


def page_options(text):
    """The same of the items of a manual page."""
    found = set()
    for line in re.findall(r'^\.It Fl (.*)', text, re.M):
        for name in re.findall(r'(?:^|Fl )(-?[\w-]+)', line):
            found.add(f'-{name}')
    return found


def completed(crosvm, *words):
    return {line.partition('\t')[0] for line in crosvm('complete', *words).stdout.splitlines()}


def test_help_manual_and_completion_have_the_same_options(crosvm, installed):
    names = commands(crosvm)
    assert {'run', 'stop', 'check', 'devices', 'version'} <= set(names)
    assert completed(crosvm, '') == set(names)
    for name in names:
        in_help = help_options(crosvm(name, '--help').stdout)
        assert '--help' in in_help, name
        assert completed(crosvm, name, '-') == in_help, name
        assert completed(crosvm, name, '--') == {o for o in in_help if o[1] == '-'}, name
        page = next(installed.rglob(f'man1/crosvm-{name}.1')).read_text()
        if name == 'run':
            assert page_options(page) == in_help
        elif f'.Nm crosvm {name}\n' in page:
            block = page.partition(f'.Nm crosvm {name}\n')[2].partition('\n.Nm')[0]
            block = block.partition('\n.Sh')[0]
            said = {f'-{o}' for o in re.findall(r'Fl (-?[\w-]+)', block)} | {'--help', '-h'}
            assert said == in_help, name
            assert page_options(page) >= in_help, name


def test_devices_in_json_are_those_of_the_help(crosvm):
    listed = [line.split()[0] for line in crosvm('devices').stdout.splitlines()]
    told = json.loads(crosvm('devices', '--json').stdout)
    assert [device['name'] for device in told] == listed
    text = crosvm('run', '--help').stdout
    for device in told:
        section = re.split(rf'\n      --{device["name"]}[^\w-]', text)[1].partition('\n      --')[0]
        for option in device['options']:
            assert f'            {option["name"].replace("_", "-")}' in section


def test_every_command_is_in_the_manual(crosvm, installed):
    main = next(installed.rglob('man1/crosvm.1')).read_text()
    listed = set(re.findall(r'[\w-]+', ' '.join(re.findall(r'^\.It Cm (.*)', main, re.M))))
    assert set(commands(crosvm)) - listed - {'list'} == set()


def test_install_puts_everything_below_the_prefix(installed):
    files = {str(path.relative_to(installed)) for path in installed.rglob('*')
             if not path.is_dir()}
    prefix = next(name for name in files if name.endswith('/bin/crosvm'))[:-len('bin/crosvm')]
    outside = {name for name in files if not name.startswith(prefix)}
    assert outside == set()
    for name in ('share/bash-completion/completions/crosvm', 'share/zsh/site-functions/_crosvm',
                 'share/fish/vendor_completions.d/crosvm.fish', 'share/man/man5/crosvm.conf.5',
                 'share/man/man5/crosvm-policy.5', 'lib/systemd/system/crosvm@.service',
                 'lib/sysusers.d/crosvm.conf', 'share/doc/crosvm/docs/networking.md',
                 'share/doc/crosvm/README.md', 'include/qcow_utils.h'):
        assert prefix + name in files
    unit = (installed / prefix / 'lib/systemd/system/crosvm@.service').read_text()
    assert f'ExecStart=/{prefix}bin/crosvm run' in unit
