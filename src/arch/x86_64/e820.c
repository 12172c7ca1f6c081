/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * e820.c - the memory map
 *
 * Reserved are the tables that a kernel reads late (ACPI, MP) and what lies in the hole but is no
 * device that it would find: ECAM (Linux uses it only if it is reserved here) and KVM's own pages.
 */
#include "arch/x86_64/e820.h"

#include "arch/x86_64/layout.h"
#include "arch/x86_64/memory.h"
#include "base/attr.h"

#include <assert.h>

static void add(struct e820_range *map, unsigned *n, uint64_t base, uint64_t end, uint32_t type)
{
	if (base >= end)
		return;
	assert(*n < E820_MAX);
	map[(*n)++] = (struct e820_range){.base = base, .size = end - base, .type = type};
}

unsigned e820_fill(const struct gmem *m, struct e820_range ret[E820_MAX])
{
	const struct {
		uint64_t base, end;
		uint32_t type;
	} fixed[] = {
		{0, LAYOUT_EBDA, E820_RAM},
		{LAYOUT_EBDA, LAYOUT_VIDEO, E820_RESERVED},
		{LAYOUT_ACPI, LAYOUT_HIGH, E820_RESERVED},
		{LAYOUT_HIGH, memory_low_end(m), E820_RAM},
		{LAYOUT_ECAM, LAYOUT_ECAM + LAYOUT_ECAM_BYTES, E820_RESERVED},
		{LAYOUT_KVM_IDENTITY_MAP, LAYOUT_KVM_END, E820_RESERVED},
		{LAYOUT_4G, gmem_end(m), E820_RAM},
	};
	unsigned n = 0;

	static_assert(ARRAY_LEN(fixed) <= E820_MAX, "map too small");
	for (unsigned i = 0; i < ARRAY_LEN(fixed); i++)
		add(ret, &n, fixed[i].base, fixed[i].end, fixed[i].type);
	return n;
}
