/* SPDX-License-Identifier: BSD-3-Clause */
/* layout.h - numbers that start.S and the C files share */
#define CODE32	    0x08
#define DATA	    0x10
#define CODE64	    0x18
#define TRAMPOLINE  0x8000
#define STACK_BYTES 8192
#define STACKS	    17
