/* SPDX-License-Identifier: BSD-3-Clause */
/* memory_test.c - memory around the hole, the map of it, and the tables that a vCPU starts with */
#include "arch/x86_64/memory.h"

#include "arch/arch.h"
#include "arch/x86_64/e820.h"
#include "arch/x86_64/layout.h"
#include "arch/x86_64/paging.h"
#include "arch/x86_64/regs.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#define MIB UINT64_C(0x100000)

static struct gmem gmem;
static const struct ram_options ordinary;
static struct err err;

static int memory_drop(void **state)
{
	(void)state;
	gmem_fini(&gmem);
	err = (struct err){0};
	return 0;
}

static void all_memory_is_present_on_both_sides(void **state)
{
	(void)state;
	assert_int_equal(arch_memory_new(&gmem, 5120 * MIB, &ordinary, &err), 0);

	assert_int_equal(gmem_size(&gmem), 5120 * MIB);
	assert_int_equal(memory_low_end(&gmem), LAYOUT_HOLE);
	assert_int_equal(gmem_end(&gmem), LAYOUT_4G + 5120 * MIB - LAYOUT_HOLE);
	assert_false(gmem_covers(&gmem, LAYOUT_HOLE, 1));
	assert_false(gmem_covers(&gmem, LAYOUT_4G - 1, 1));
	assert_true(gmem_covers(&gmem, LAYOUT_4G, 1));
}

static void memory_up_to_the_hole_is_one_piece(void **state)
{
	(void)state;
	assert_int_equal(arch_memory_new(&gmem, LAYOUT_HOLE, &ordinary, &err), 0);
	assert_int_equal(gmem.nregions, 1);
	gmem_fini(&gmem);

	assert_int_equal(arch_memory_new(&gmem, LAYOUT_HOLE + MIB, &ordinary, &err), 0);
	assert_int_equal(gmem.nregions, 2);
	assert_int_equal(gmem.regions[1].base, LAYOUT_4G);
	assert_int_equal(gmem.regions[1].size, MIB);
}

static void impossible_sizes_are_refused(void **state)
{
	(void)state;
	assert_true(arch_memory_new(&gmem, 0, &ordinary, &err) < 0);
	assert_non_null(strstr(err.text, "too small"));
	assert_true(arch_memory_new(&gmem, 8 * MIB + 1, &ordinary, &err) < 0);
	assert_non_null(strstr(err.text, "pages"));
	assert_true(arch_memory_new(&gmem, UINT64_C(1) << 56, &ordinary, &err) < 0);
	assert_non_null(strstr(err.text, "address bits"));
	assert_int_equal(gmem.nregions, 0);
}

static void pci_windows_avoid_memory_and_stay_addressable(void **state)
{
	struct pci_layout pci;

	(void)state;
	assert_int_equal(arch_memory_new(&gmem, 5120 * MIB, &ordinary, &err), 0);
	arch_pci_layout(&gmem, &pci);

	assert_true(pci.mem64_base >= gmem_end(&gmem));
	assert_int_equal(pci.mem64_base % (1024 * MIB), 0);
	assert_true(pci.mem64_size > 0);
	assert_true(pci.mem64_base + pci.mem64_size <= UINT64_C(1) << memory_address_bits());
	assert_true(pci.mem32_base + pci.mem32_size <= LAYOUT_MMIO_DEVICES);
}

static void map_is_sorted_and_adds_up(void **state)
{
	struct e820_range map[E820_MAX];
	uint64_t ram = 0;
	unsigned n;

	(void)state;
	assert_int_equal(arch_memory_new(&gmem, 5120 * MIB, &ordinary, &err), 0);
	n = e820_fill(&gmem, map);

	assert_int_equal(n, 7);
	for (unsigned i = 0; i < n; i++) {
		if (i > 0)
			assert_true(map[i].base >= map[i - 1].base + map[i - 1].size);
		if (map[i].type == E820_RAM)
			ram += map[i].size;
		else
			assert_int_equal(map[i].type, E820_RESERVED);
	}
	/* All but 385 KiB below 1 MiB. */
	assert_int_equal(ram, 5120 * MIB - (LAYOUT_HIGH - LAYOUT_EBDA));
}

static void map_without_high_memory_ends_at_kvms_pages(void **state)
{
	struct e820_range map[E820_MAX];

	(void)state;
	assert_int_equal(arch_memory_new(&gmem, 64 * MIB, &ordinary, &err), 0);

	assert_int_equal(e820_fill(&gmem, map), 6);
	assert_int_equal(map[5].base, LAYOUT_KVM_IDENTITY_MAP);
}

static void mmio_devices_do_not_overlap_anything(void **state)
{
	(void)state;
	for (unsigned i = 0; i < ARCH_MMIO_DEVICES_MAX; i++) {
		const struct arch_mmio_device d = arch_mmio_device(i);

		assert_int_equal(d.base, LAYOUT_MMIO_DEVICES + i * UINT64_C(0x1000));
		assert_true(d.base + 0x1000 <= LAYOUT_ECAM);
		assert_int_not_equal(d.gsi, 3);
		assert_int_not_equal(d.gsi, 4);
		assert_int_not_equal(d.gsi, 8);
		assert_int_not_equal(d.gsi, 9);
		assert_in_range(d.gsi, 5, 15);
	}
}

/* Walks the tables as the processor does. */
static uint64_t translate(uint64_t linear)
{
	uint64_t table = LAYOUT_PML4, entry;

	for (unsigned shift = 39; shift >= 21; shift -= 9) {
		const uint64_t at = table + (linear >> shift & 511) * 8;

		if (!gmem_read(&gmem, at, &entry, sizeof(entry)) || (entry & 3) != 3)
			return UINT64_MAX;
		if (entry & 0x80)
			return (entry & ~UINT64_C(0x1FFFFF)) | (linear & 0x1FFFFF);
		table = entry & ~UINT64_C(0xFFF);
	}
	return UINT64_MAX;
}

static void first_4_gib_map_to_themselves(void **state)
{
	(void)state;
	assert_int_equal(arch_memory_new(&gmem, 8 * MIB, &ordinary, &err), 0);
	assert_true(paging_write(&gmem));

	assert_int_equal(translate(0), 0);
	assert_int_equal(translate(0x1234567), 0x1234567);
	assert_int_equal(translate(0x7FFFFFFF), 0x7FFFFFFF);
	assert_int_equal(translate(LAYOUT_4G - 1), LAYOUT_4G - 1);
	assert_int_equal(translate(LAYOUT_4G), UINT64_MAX);
}

static void descriptors_are_those_of_the_boot_protocol(void **state)
{
	uint64_t gdt[5];

	(void)state;
	assert_int_equal(arch_memory_new(&gmem, 8 * MIB, &ordinary, &err), 0);
	assert_true(regs_gdt_write(&gmem, ARCH_ENTRY_LONG));
	assert_true(gmem_read(&gmem, LAYOUT_GDT, gdt, sizeof(gdt)));

	assert_int_equal(gdt[0], 0);
	assert_int_equal(gdt[2], 0x00AF9B000000FFFF);
	assert_int_equal(gdt[3], 0x00CF93000000FFFF);
	assert_int_equal(gdt[4], 0x00008B0000000067);

	assert_true(regs_gdt_write(&gmem, ARCH_ENTRY_PROTECTED));
	assert_true(gmem_read(&gmem, LAYOUT_GDT, gdt, sizeof(gdt)));
	assert_int_equal(gdt[2], 0x00CF9B000000FFFF);
}

static void modes_differ_in_control_registers(void **state)
{
	struct kvm_sregs at_reset = {.cr0 = 0x60000010}, s = at_reset;

	(void)state;
	regs_special(ARCH_ENTRY_LONG, &s);
	assert_int_equal(s.cr0, 0x80000011);
	assert_int_equal(s.cr3, LAYOUT_PML4);
	assert_int_equal(s.cr4, 0x20);
	assert_int_equal(s.efer, 0x500);
	assert_int_equal(s.cs.selector, 0x10);
	assert_int_equal(s.ds.selector, 0x18);
	assert_true(s.cs.l && !s.cs.db);

	s = at_reset;
	regs_special(ARCH_ENTRY_PROTECTED, &s);
	assert_int_equal(s.cr0, 0x11);
	assert_int_equal(s.cr4 | s.efer, 0);
	assert_true(!s.cs.l && s.cs.db);
}

#define T(name) cmocka_unit_test_teardown(name, memory_drop)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(all_memory_is_present_on_both_sides),
		T(memory_up_to_the_hole_is_one_piece),
		T(impossible_sizes_are_refused),
		T(pci_windows_avoid_memory_and_stay_addressable),
		T(map_is_sorted_and_adds_up),
		T(map_without_high_memory_ends_at_kvms_pages),
		T(mmio_devices_do_not_overlap_anything),
		T(first_4_gib_map_to_themselves),
		T(descriptors_are_those_of_the_boot_protocol),
		T(modes_differ_in_control_registers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
