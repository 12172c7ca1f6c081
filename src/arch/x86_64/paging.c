/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * paging.c - the page tables that a 64-bit kernel starts with
 *
 * Kernel, initrd, zero page and command line all lie below the hole, so 4 GiB cover them.  Pages of
 * 1 GiB would need fewer tables, but not every processor has them.
 */
#include "arch/x86_64/paging.h"

#include "arch/x86_64/layout.h"
#include "base/wire.h"

enum { TABLE_BYTES = 4096, TABLE_ENTRIES = 512, GIBS = 4 };

enum { PRESENT = 1, WRITABLE = 2, LARGE = 0x80 };

static bool directory_write(struct gmem *m, unsigned gib)
{
	le64 table[TABLE_ENTRIES];

	for (unsigned i = 0; i < TABLE_ENTRIES; i++)
		table[i] = le64_of(((uint64_t)gib << 30) | ((uint64_t)i << 21) | PRESENT |
				   WRITABLE | LARGE);
	return gmem_write(m, LAYOUT_PD + gib * TABLE_BYTES, table, sizeof(table));
}

bool paging_write(struct gmem *m)
{
	const le64 pml4 = le64_of(LAYOUT_PDPT | PRESENT | WRITABLE);
	le64 pdpt[GIBS];

	for (unsigned i = 0; i < GIBS; i++) {
		pdpt[i] = le64_of((LAYOUT_PD + i * TABLE_BYTES) | PRESENT | WRITABLE);
		if (!directory_write(m, i))
			return false;
	}
	return gmem_write(m, LAYOUT_PDPT, pdpt, sizeof(pdpt)) &&
	       gmem_write(m, LAYOUT_PML4, &pml4, sizeof(pml4));
}
