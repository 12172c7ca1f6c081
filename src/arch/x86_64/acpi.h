/* SPDX-License-Identifier: BSD-3-Clause */
/* acpi.h - ACPI tables */
#pragma once

#include "arch/arch.h"

/* Writes all tables to the area at LAYOUT_ACPI, the root pointer at its start. */
int acpi_write(const struct arch_platform *p, struct gmem *m, struct err *e) MUST_CHECK;
