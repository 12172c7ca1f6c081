/* SPDX-License-Identifier: BSD-3-Clause */
/* describe.c - the tables that tell a kernel about the platform */
#include "arch/arch.h"

#include "arch/x86_64/acpi.h"
#include "arch/x86_64/mptable.h"

int arch_describe(const struct arch_platform *p, struct gmem *m, struct err *e)
{
	int r = acpi_write(p, m, e);

	return r < 0 ? r : mptable_write(p, m, e);
}
