/* SPDX-License-Identifier: BSD-3-Clause */
/* mptable.h - the table of processors and interrupts for kernels without ACPI */
#pragma once

#include "arch/arch.h"

/* Writes the MP table at LAYOUT_MPTABLE; processors beyond APIC id 254 are left out. */
int mptable_write(const struct arch_platform *p, struct gmem *m, struct err *e) MUST_CHECK;
