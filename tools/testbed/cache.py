# SPDX-License-Identifier: BSD-3-Clause
"""The cache folder: everything that is built once and kept outside the repository.

An entry is a file or folder whose name contains a key of what it was made from.  It is made
under a temporary name and renamed when complete, under a lock, so that it is whole or absent and
parallel runs make it once.
"""
import contextlib
import fcntl
import hashlib
import json
import os
import shutil
import sys
from pathlib import Path


def cache_dir():
    """The folder that holds all entries; XDG_CACHE_HOME moves it."""
    base = os.environ.get('XDG_CACHE_HOME') or Path.home() / '.cache'
    path = Path(base) / 'crosvm'
    path.mkdir(parents=True, exist_ok=True)
    return path


def say(text):
    """Progress, for a person; never mixed with the output of a command."""
    print(f'testbed: {text}', file=sys.stderr, flush=True)


def key_of(*things):
    """A short key of strings, numbers, lists of them and the contents of Paths."""
    digest = hashlib.sha256()
    for thing in things:
        if isinstance(thing, Path):
            digest.update(hashlib.sha256(thing.read_bytes()).digest())
        else:
            digest.update(json.dumps(thing, sort_keys=True, default=str).encode() + b'\0')
    return digest.hexdigest()[:16]


def stamp_of(path):
    """What identifies a large file without reading it."""
    stat = os.stat(path)
    return [str(path), stat.st_size, stat.st_mtime_ns]


@contextlib.contextmanager
def locked(path):
    """Holds the lock file beside path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(f'{path}.lock', 'w', encoding='ascii') as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def discard(path):
    """Removes a file or a folder, if it is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def entry(name, make):
    """The entry of this name, made by make(temporary path) when it is not there yet."""
    path = cache_dir() / name
    if path.exists():
        return path
    with locked(path):
        if not path.exists():
            temporary = path.with_name(path.name + '.new')
            discard(temporary)
            make(temporary)
            temporary.rename(path)
    return path
