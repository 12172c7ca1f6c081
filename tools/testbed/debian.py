# SPDX-License-Identifier: BSD-3-Clause
"""Debian packages of several releases, downloaded and unpacked, never installed.

Each suite has an apt configuration of its own in the cache folder, with the mirrors that the
machine's own configuration names, so neither root nor a change to the machine is needed.
"""
import os
import re
import shutil
import subprocess
from pathlib import Path

from .cache import cache_dir, discard, entry, key_of, locked, say

KEYRING = Path('/usr/share/keyrings/debian-archive-keyring.gpg')


class PackageError(Exception):
    """A package could not be had; the text says which and why."""


def _output(*command):
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True,
                          check=False)
    if done.returncode:
        raise PackageError(f'{" ".join(command)}: {done.stderr.strip() or done.returncode}')
    return done.stdout


def mirrors():
    """(archive, security): the addresses this machine takes Debian from; security may be None."""
    targets = _output('apt-get', 'indextargets', '--format',
                      '$(REPO_URI) $(RELEASE) $(COMPONENT) $(CREATED_BY)')
    archive = security = None
    for line in targets.splitlines():
        uri, release, component, *created_by = line.split()
        if component != 'main' or created_by != ['Packages']:
            continue
        if re.fullmatch(r'[a-z]+', release) and not archive:
            archive = uri
        if release.endswith('-security'):
            security = uri
    if not archive:
        raise PackageError('no Debian archive in the apt sources; '
                           'add one to /etc/apt/sources.list.d and try again')
    return archive, security


def _sources(suite, with_security):
    archive, security = mirrors()
    trust = f'[signed-by={KEYRING}] ' if KEYRING.exists() else ''
    lines = [f'deb {trust}{archive} {suite} main']
    if with_security and security and '-' not in suite:
        lines.append(f'deb {trust}{security} {suite}-security main')
    return '\n'.join(lines) + '\n'


def _configuration(home):
    for folder in ('lists/partial', 'cache/archives/partial', 'parts'):
        (home / folder).mkdir(parents=True, exist_ok=True)
    (home / 'status').touch()
    (home / 'apt.conf').write_text(f'''\
Dir::Etc::sourcelist "{home}/sources.list";
Dir::Etc::sourceparts "{home}/parts";
Dir::Etc::preferences "/dev/null";
Dir::Etc::preferencesparts "{home}/parts";
Dir::State "{home}";
Dir::State::lists "{home}/lists";
Dir::State::status "{home}/status";
Dir::Cache "{home}/cache";
APT::Sandbox::User "";
Acquire::Languages "none";
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
#clear DPkg::Post-Invoke;
''', encoding='utf-8')


def _update(home, suite):
    for with_security in (True, False):
        (home / 'sources.list').write_text(_sources(suite, with_security), encoding='utf-8')
        try:
            _output('apt-get', '-c', f'{home}/apt.conf', '-qq', '--error-on=any', 'update')
            return
        except PackageError:
            if not with_security:
                raise


def apt_home(suite):
    """The folder of the private apt configuration for a suite, its package lists fetched."""
    home = cache_dir() / 'apt' / suite
    with locked(home):
        if not (home / 'fetched').exists():
            say(f'reading the package lists of {suite}')
            _configuration(home)
            _update(home, suite)
            (home / 'fetched').touch()
    return home


def _depends(home, package, pattern):
    text = _output('apt-cache', '-c', f'{home}/apt.conf', 'depends', package)
    found = re.search(rf'Depends: ({pattern}\S*)', text)
    if not found:
        raise PackageError(f'{package}: does not depend on {pattern}...')
    return found.group(1)


def _download(home, package, temporary):
    say(f'downloading {package}')
    work = temporary.with_name(temporary.name + '.deb')
    discard(work)
    work.mkdir(parents=True)
    try:
        subprocess.run(['apt-get', '-c', f'{home}/apt.conf', '-qq', 'download', package],
                       cwd=work, check=True, stdin=subprocess.DEVNULL)
        deb, = work.glob('*.deb')
        subprocess.run(['dpkg-deb', '-x', deb, temporary], check=True)
    except (subprocess.CalledProcessError, ValueError) as error:
        raise PackageError(f'{package}: cannot be downloaded: {error}') from error
    finally:
        shutil.rmtree(work, ignore_errors=True)


def unpacked(suite, package, depends=None):
    """The folder a package was unpacked into.

    With depends the package only names, by a dependency that begins so, the one to take.  What
    was chosen is kept until the cache folder's "chosen" file is removed, so later runs need no
    network and see the same version.
    """
    chosen = cache_dir() / 'deb' / f'{package}.{suite}.chosen'
    with locked(chosen):
        if not chosen.exists():
            home = apt_home(suite)
            name = _depends(home, package, depends) if depends else package
            chosen.write_text(name, encoding='utf-8')
        name = chosen.read_text(encoding='utf-8')
    try:
        return entry(f'deb/{name}.{key_of(suite)[:4]}',
                     lambda path: _download(apt_home(suite), name, path))
    except PackageError:
        chosen.unlink(missing_ok=True)
        discard(cache_dir() / 'apt' / suite / 'fetched')
        raise


def require(*programs):
    """Ends with a remedy when a program is missing."""
    path = os.environ.get('PATH', '') + ':/usr/sbin:/sbin'
    missing = [name for name in programs if not shutil.which(name, path=path)]
    if missing:
        raise PackageError(f'{", ".join(missing)}: not found; run ./dev setup')
