# SPDX-License-Identifier: BSD-3-Clause
"""what one request costs in the virtqueue code, split and packed (goal: 30 ns)"""
import subprocess
from pathlib import Path

BUILD = Path(__file__).resolve().parent.parent.parent / 'build'

subprocess.run(['ninja', '-C', BUILD, 'tools/bench/bench-queue'], check=True,
               stdout=subprocess.DEVNULL)
subprocess.run([BUILD / 'tools' / 'bench' / 'bench-queue'], check=True)
