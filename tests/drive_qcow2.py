# SPDX-License-Identifier: BSD-3-Clause
"""drive_qcow2.py CROSVM JSON - runs scripts in a Debian guest whose disks are qcow2 images

JSON: kernel, initrd; base: a qcow2 image with the root file system, which becomes the backing file
of a new image; scripts: for the guest's shell, one boot each, on /dev/vdb; /dev/vdc is an empty
image.  Prints what the guest does, then a line "DRIVE" with JSON: exit codes, what qemu-img says.
Runs where the guest does.
"""
import json
import os
import subprocess
import sys
import tempfile

import driving

BEGIN = driving.PATH + 'mount -t tmpfs tmpfs /tmp\n'


def boot(crosvm, job, folder, script):
    """One boot; its exit code."""
    path = driving.write_disk(folder, BEGIN + script + driving.SYNC_AND_OFF)
    return subprocess.run(
        [crosvm, 'run', '-m', '512', '-i', job['initrd'],
         '--block', f'path={folder}/root,format=qcow2,backing=on', '-d', path,
         '--rwqcow', f'{folder}/scratch', '-p',
         'quiet panic=-1 root=/dev/vda rw guest.run=/dev/vdb', job['kernel']],
        stdin=subprocess.DEVNULL, stderr=subprocess.STDOUT, check=False).returncode


def main():
    """Drives it."""
    crosvm, job = sys.argv[1], json.loads(sys.argv[2])
    folder = tempfile.mkdtemp()
    for words in (['--backing', f'{job["base"]},format=qcow2', f'{folder}/root'],
                  [f'{folder}/scratch', '256M']):
        subprocess.run([crosvm, 'create_qcow2', *words], check=True)
    codes = [boot(crosvm, job, folder, script) for script in job['scripts']]
    result = {'codes': codes, 'bytes': os.stat(f'{folder}/root').st_size}
    for name in 'root', 'scratch':
        done = subprocess.run(['qemu-img', 'check', f'{folder}/{name}'], capture_output=True,
                              text=True, check=False)
        result[name] = [done.returncode, (done.stdout + done.stderr)[-500:]]
    print('\nDRIVE ' + json.dumps(result), flush=True)


main()
