/* SPDX-License-Identifier: BSD-3-Clause */
/* vmlinux.h - ELF64 kernels that are entered in 64-bit mode at the address in the header */
#pragma once

#include "arch/arch.h"
#include "arch/x86_64/elf.h"
#include "arch/x86_64/kernel_file.h"

/*
 * Loads kernel, initrd, command line and zero page.  elf->segments are moved when the kernel is
 * linked at 0.
 */
int vmlinux_load(const struct kernel_file *f, struct elf *elf, const struct arch_kernel *k,
		 struct gmem *m, struct arch_entry *ret, struct err *e) MUST_CHECK;
