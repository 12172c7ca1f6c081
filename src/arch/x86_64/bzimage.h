/* SPDX-License-Identifier: BSD-3-Clause */
/* bzimage.h - Linux as its build leaves it in arch/x86/boot/bzImage */
#pragma once

#include "arch/arch.h"
#include "arch/x86_64/kernel_file.h"

#include <stdbool.h>

/* Whether the file has Linux's setup header. */
bool bzimage_matches(const struct kernel_file *f);

/* Loads kernel, initrd, command line and zero page for the 64-bit boot protocol. */
int bzimage_load(const struct kernel_file *f, const struct arch_kernel *k, struct gmem *m,
		 struct arch_entry *ret, struct err *e) MUST_CHECK;
