# SPDX-License-Identifier: BSD-3-Clause
"""Reads compile_commands.json: files of ours and the preprocessor's view of each."""
import concurrent.futures
import json
import os
import shlex
import subprocess
from pathlib import Path

TOP = Path(__file__).resolve().parent.parent


def entries(build):
    """(file, folder to compile in, preprocessor options) of each C file in src/."""
    seen = set()
    for row in json.loads((Path(build) / 'compile_commands.json').read_text(encoding='utf-8')):
        folder = Path(row['directory'])
        file = (folder / row['file']).resolve()
        if file in seen or TOP / 'src' not in file.parents:
            continue
        seen.add(file)
        words = shlex.split(row['command'])
        yield file, folder, [word for word in words if word.startswith(('-I', '-D'))
                             and 'FORTIFY' not in word]


def run_all(commands):
    """Runs (command, folder) pairs, as many at a time as there are CPUs; yields what they say."""
    def run(pair):
        command, folder = pair
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
        return done.returncode, done.stdout + done.stderr

    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        yield from pool.map(run, commands)
