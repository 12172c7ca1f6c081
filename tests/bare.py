# SPDX-License-Identifier: BSD-3-Clause
"""Guests of a few instructions, which run on every KVM, as ELF files."""
import struct

LOAD_AT = 0x1000000
HALT = b'\xf4\xeb\xfd'  # hlt; jmp back


def elf(code, machine=62):
    """An ELF64 executable with the code at its entry."""
    offset = 0x1000
    header = struct.pack('<16sHHIQQQIHHHHHH', b'\x7fELF\x02\x01\x01', 2, machine, 1, LOAD_AT, 64, 0,
                         0, 64, 56, 1, 0, 0, 0)
    segment = struct.pack('<IIQQQQQQ', 1, 7, offset, LOAD_AT, LOAD_AT, len(code), len(code), offset)
    return (header + segment).ljust(offset, b'\0') + code


def out(port, value):
    """mov dx, port; mov al, value; out dx, al"""
    return b'\x66\xba' + struct.pack('<H', port) + b'\xb0' + bytes([value]) + b'\xee'
