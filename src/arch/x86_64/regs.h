/* SPDX-License-Identifier: BSD-3-Clause */
/* regs.h - the registers that the first vCPU starts with */
#pragma once

#include "arch/arch.h"
#include "base/attr.h"
#include "mem/gmem.h"

#include <linux/kvm.h>
#include <stdbool.h>

/* Writes the GDT for that mode to guest memory. */
bool regs_gdt_write(struct gmem *m, enum arch_entry_mode mode) MUST_CHECK;

/* Changes sregs as KVM has them after reset into those for the mode. */
void regs_special(enum arch_entry_mode mode, struct kvm_sregs *sregs);

/* The general registers at the entry. */
void regs_general(const struct arch_entry *entry, struct kvm_regs *ret);

/* The floating-point unit as after FNINIT. */
void regs_fpu(struct kvm_fpu *ret);
