/* SPDX-License-Identifier: BSD-3-Clause */
/* pvh.h - ELF kernels that are entered as Xen's PVH guests are */
#pragma once

#include "arch/arch.h"
#include "arch/x86_64/elf.h"
#include "arch/x86_64/kernel_file.h"

/* Loads kernel, initrd, command line and start information; elf->has_pvh is set. */
int pvh_load(const struct kernel_file *f, const struct elf *elf, const struct arch_kernel *k,
	     struct gmem *m, struct arch_entry *ret, struct err *e) MUST_CHECK;
