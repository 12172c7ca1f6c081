/* SPDX-License-Identifier: BSD-3-Clause */
/* multiboot.h - kernels after the Multiboot Specification, version 0.6.96 */
#pragma once

#include "arch/arch.h"
#include "arch/x86_64/kernel_file.h"

#include <stdbool.h>

/* Whether there is a multiboot header, with a good checksum, in the first 8 KiB. */
bool multiboot_matches(const struct kernel_file *f);

/* Loads kernel, module and information; the file is ELF, or its header says where it goes. */
int multiboot_load(const struct kernel_file *f, const struct arch_kernel *k, struct gmem *m,
		   struct arch_entry *ret, struct err *e) MUST_CHECK;
