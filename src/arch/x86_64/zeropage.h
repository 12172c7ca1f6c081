/* SPDX-License-Identifier: BSD-3-Clause */
/* zeropage.h - struct boot_params, what Linux is told by its boot protocol */
#pragma once

#include "arch/x86_64/initrd.h"
#include "base/attr.h"
#include "base/err.h"
#include "mem/gmem.h"

#include <asm/bootparam.h>

enum { ZEROPAGE_MAGIC = 0x53726448 /* "HdrS" */, ZEROPAGE_BOOT_FLAG = 0xAA55 };

/*
 * Writes the zero page with this setup header, whose fields that belong to the boot loader are
 * filled here, the memory map, the initrd's place and a seed for the random number generator.
 */
int zeropage_write(struct gmem *m, const struct setup_header *header, const struct initrd *initrd,
		   struct err *e) MUST_CHECK;
