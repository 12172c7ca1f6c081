# SPDX-License-Identifier: BSD-3-Clause
"""The bare guest: a program without an operating system, for what a kernel would hide.

tests/bare/ has its sources; test=NAME on its command line says what it does.  It passes or fails by
the debug-exit port, and says why on COM1.
"""
import os
import subprocess
from pathlib import Path

from guests import place as places

SOURCES = Path(__file__).parent / 'bare'
PASSED, FAILED = 64, 65
FLAGS = ('-m64 -O1 -ffreestanding -fno-pie -no-pie -nostdlib -static -mno-red-zone '
         '-mgeneral-regs-only -fno-stack-protector -fcf-protection=none -Wall -Wextra -Werror '
         '-fno-asynchronous-unwind-tables -Wl,-T,bare.ld -Wl,--build-id=none '
         '-Wl,-z,noexecstack -Wl,--no-warn-rwx-segments').split()
# A guest takes 0.1 s, more on a busy machine, and a few seconds in the testbed.
PATIENCE_S = 40


def build():
    """Compiles the guest; returns its path."""
    elf = places.TOP / 'build/bare.elf'
    new = elf.with_suffix(f'.{os.getpid()}')
    sources = sorted(path.name for path in SOURCES.glob('*.[cS]'))
    subprocess.run(['gcc', *FLAGS, '-o', str(new), *sources], cwd=SOURCES, check=True)
    new.rename(elf)
    return elf


def has_kvm():
    """Whether this machine has a /dev/kvm for us; any will do."""
    return os.access('/dev/kvm', os.R_OK | os.W_OK)


def place():
    """Where bare guests run: here if they can."""
    return places.Direct() if has_kvm() else places.Testbed()


def command(elf, test, *options, params=''):
    """The words that run a test of the guest."""
    return [str(places.program()), 'run', '--debug-exit', *map(str, options),
            '-p', f'test={test} {params}', str(elf)]
