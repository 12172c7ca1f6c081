# SPDX-License-Identifier: BSD-3-Clause
"""A Linux machine with a working /dev/kvm, on any host that has QEMU.

cache.py    the cache folder, locks, content keys
debian.py   Debian packages, downloaded and unpacked but never installed
kernels.py  Debian's kernels: bzImage, vmlinux, modules
initrd.py   writes initramfs archives
l1.py       the machine: saved state, QEMU, one job
agent.c     pid 1 inside it
"""
