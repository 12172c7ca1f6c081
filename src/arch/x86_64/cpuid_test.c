/* SPDX-License-Identifier: BSD-3-Clause */
/* cpuid_test.c - topology and features made from tables as KVM gives them */
#include "arch/x86_64/cpuid.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define INDEXED KVM_CPUID_FLAG_SIGNIFCANT_INDEX

/* What matters of KVM's table on a server by Intel. */
static const struct kvm_cpuid_entry2 intel[] = {
	{.function = 0, .eax = 0x1F, .ebx = 0x756E6547, .ecx = 0x6C65746E, .edx = 0x49656E69},
	{.function = 1, .eax = 0x606A6, .ebx = 0x05100800, .ecx = 0x76FA320B, .edx = 0x0F8BFBFF},
	{.function = 4, .index = 0, .flags = INDEXED, .eax = 0xFC004121, .ebx = 0x2C0003F},
	{.function = 4, .index = 1, .flags = INDEXED, .eax = 0xFC004122, .ebx = 0x1C0003F},
	{.function = 4, .index = 2, .flags = INDEXED, .eax = 0xFC004143, .ebx = 0x4C0003F},
	{.function = 4, .index = 3, .flags = INDEXED, .eax = 0xFC0FC163, .ebx = 0x2C0003F},
	{.function = 4, .index = 4, .flags = INDEXED},
	{.function = 5, .eax = 0x40, .ebx = 0x40, .ecx = 3, .edx = 0x2020},
	{.function = 6, .eax = 4, .ecx = 9},
	{.function = 0xB, .index = 0, .flags = INDEXED, .eax = 1, .ebx = 2, .ecx = 0x100, .edx = 5},
	{.function = 0xB,
	 .index = 1,
	 .flags = INDEXED,
	 .eax = 6,
	 .ebx = 64,
	 .ecx = 0x201,
	 .edx = 5},
	{.function = 0x1F,
	 .index = 0,
	 .flags = INDEXED,
	 .eax = 1,
	 .ebx = 2,
	 .ecx = 0x100,
	 .edx = 5},
	{.function = 0x40000000,
	 .eax = 0x40000001,
	 .ebx = 0x4B4D564B,
	 .ecx = 0x564B4D56,
	 .edx = 0x4D},
	{.function = 0x40000001, .eax = 0x01007AFB},
	{.function = 0x80000002,
	 .eax = 0x65746E49,
	 .ebx = 0x2952286C,
	 .ecx = 0x6F655820,
	 .edx = 0x2952286E},
	{.function = 0x80000008, .eax = 0x3039, .ecx = 0},
};

/* The same by AMD, without leaf 0x1F. */
static const struct kvm_cpuid_entry2 amd[] = {
	{.function = 0, .eax = 0x10, .ebx = 0x68747541, .ecx = 0x444D4163, .edx = 0x69746E65},
	{.function = 1, .eax = 0xA00F11, .ebx = 0x07080800, .ecx = 0xFEFA320B, .edx = 0x078BFBFF},
	{.function = 0x80000001, .eax = 0xA00F11, .ecx = 0x75C237FF, .edx = 0x2FD3FBFF},
	{.function = 0x80000008, .eax = 0x3030, .ebx = 0x111ED205, .ecx = 0x501F},
	{.function = 0x8000001D, .index = 2, .flags = INDEXED, .eax = 0x4143},
	{.function = 0x8000001D, .index = 3, .flags = INDEXED, .eax = 0x3C163},
	{.function = 0x8000001E, .eax = 7, .ebx = 0x103, .ecx = 0x300},
	{.function = 0x80000026, .index = 0, .flags = INDEXED, .eax = 1, .ebx = 2, .ecx = 0x100},
};

static struct kvm_cpuid2 *table;

static int table_new(void **state)
{
	(void)state;
	table = calloc(1, sizeof(*table) + CPUID_MAX * sizeof(table->entries[0]));
	return table ? 0 : -1;
}

static int table_free(void **state)
{
	(void)state;
	free(table);
	return 0;
}

static void adjust(const struct kvm_cpuid_entry2 *from, unsigned n, unsigned index, unsigned ncpus)
{
	const struct cpuid_facts facts = {.index = index, .ncpus = ncpus, .has_tsc_deadline = true};

	memcpy(table->entries, from, n * sizeof(*from));
	table->nent = n;
	assert_int_equal(cpuid_adjust(table, CPUID_MAX, &facts), 0);
}

#define ADJUST(from, index, ncpus) adjust(from, ARRAY_LEN(from), index, ncpus)

static const struct kvm_cpuid_entry2 *leaf(uint32_t function, uint32_t index)
{
	const struct kvm_cpuid_entry2 *found = NULL;

	for (unsigned i = 0; i < table->nent; i++) {
		if (table->entries[i].function != function || table->entries[i].index != index)
			continue;
		assert_null(found); /* no entry twice */
		found = &table->entries[i];
	}
	return found;
}

static void features_have_id_count_and_hypervisor(void **state)
{
	(void)state;
	ADJUST(intel, 2, 3);

	assert_int_equal(leaf(1, 0)->ebx, 0x02040800);
	assert_true(leaf(1, 0)->ecx & 1u << 31);
	assert_true(leaf(1, 0)->ecx & 1u << 24); /* TSC deadline */
	assert_true(leaf(1, 0)->ecx & 1u << 21); /* x2APIC */
	assert_true(leaf(1, 0)->edx & 1u << 28);
	assert_int_equal(leaf(1, 0)->eax, 0x606A6);
}

static void monitor_is_hidden(void **state)
{
	(void)state;
	ADJUST(intel, 0, 1);

	assert_false(leaf(1, 0)->ecx & 1u << 3);
	assert_int_equal(leaf(5, 0)->eax | leaf(5, 0)->ecx, 0);
	assert_int_equal(leaf(6, 0)->ecx, 1); /* no EPB */
}

static void single_processor_has_no_threads(void **state)
{
	(void)state;
	ADJUST(intel, 0, 1);

	assert_int_equal(leaf(1, 0)->ebx, 0x00010800);
	assert_false(leaf(1, 0)->edx & 1u << 28);
	assert_int_equal(leaf(0xB, 1)->eax, 0);
	assert_int_equal(leaf(0xB, 1)->ebx, 1);
}

static void topology_leaves_say_cores_of_one_socket(void **state)
{
	static const uint32_t leaves[] = {0xB, 0x1F};

	(void)state;
	ADJUST(intel, 5, 6);

	for (unsigned i = 0; i < ARRAY_LEN(leaves); i++) {
		const struct kvm_cpuid_entry2 *thread = leaf(leaves[i], 0);
		const struct kvm_cpuid_entry2 *core = leaf(leaves[i], 1);

		assert_int_equal(thread->eax, 0);
		assert_int_equal(thread->ebx, 1);
		assert_int_equal(thread->ecx, 0x100);
		assert_int_equal(core->eax, 3);
		assert_int_equal(core->ebx, 6);
		assert_int_equal(core->ecx, 0x201);
		assert_int_equal(core->edx, 5);
		assert_int_equal(leaf(leaves[i], 2)->ecx, 2);
	}
}

static void third_level_cache_is_shared_by_all(void **state)
{
	(void)state;
	ADJUST(intel, 0, 4);

	assert_int_equal(leaf(4, 0)->eax, 3u << 26 | 0x121);
	assert_int_equal(leaf(4, 2)->eax, 3u << 26 | 0x143);
	assert_int_equal(leaf(4, 3)->eax, 3u << 26 | 3u << 14 | 0x163);
	assert_int_equal(leaf(4, 4)->eax, 0);
}

static void kvm_leaves_and_brand_are_kept(void **state)
{
	(void)state;
	ADJUST(intel, 0, 4);

	assert_int_equal(leaf(0x40000000, 0)->ebx, 0x4B4D564B);
	assert_int_equal(leaf(0x40000001, 0)->eax, 0x01007AFB);
	assert_int_equal(leaf(0x80000002, 0)->eax, 0x65746E49);
	assert_int_equal(leaf(0x80000008, 0)->ecx, 0);
}

static void amd_counts_cores_its_own_way(void **state)
{
	(void)state;
	ADJUST(amd, 9, 12);

	assert_int_equal(leaf(0x80000008, 0)->ecx, 4 << 12 | 11);
	assert_int_equal(leaf(0x8000001E, 0)->eax, 9);
	assert_int_equal(leaf(0x8000001E, 0)->ebx, 9);
	assert_int_equal(leaf(0x8000001E, 0)->ecx, 0);
	assert_true(leaf(0x80000001, 0)->ecx & 2);
	assert_int_equal(leaf(0x8000001D, 2)->eax, 0x143);
	assert_int_equal(leaf(0x8000001D, 3)->eax, 0x163 | 15 << 14);
	assert_int_equal(leaf(0xB, 1)->ebx, 12);
	assert_null(leaf(0x1F, 0));
	assert_null(leaf(0x80000026, 0)); /* the host's levels */
}

static void highest_leaf_reaches_the_topology(void **state)
{
	struct kvm_cpuid_entry2 old = {.function = 0, .eax = 7, .ebx = 0x756E6547};

	(void)state;
	adjust(&old, 1, 0, 2);

	assert_int_equal(leaf(0, 0)->eax, 0xB);
	assert_non_null(leaf(0xB, 0));
}

static void many_processors_keep_their_ids(void **state)
{
	(void)state;
	ADJUST(intel, 300, 400);

	assert_int_equal(leaf(0xB, 1)->edx, 300);
	assert_int_equal(leaf(0xB, 1)->ebx, 400);
	assert_int_equal(leaf(0xB, 1)->eax, 9);
	assert_int_equal(leaf(1, 0)->ebx, (uint32_t)44 << 24 | 255 << 16 | 0x800);
	assert_int_equal(leaf(4, 3)->eax >> 26, 63);
	assert_int_equal(leaf(4, 3)->eax >> 14 & 0xFFF, 511);
}

static void full_table_is_an_error(void **state)
{
	const struct cpuid_facts facts = {.ncpus = 1};

	(void)state;
	memcpy(table->entries, amd, sizeof(amd));
	table->nent = ARRAY_LEN(amd);

	assert_int_equal(cpuid_adjust(table, ARRAY_LEN(amd) + 1, &facts), -E2BIG);
	memcpy(table->entries, amd, sizeof(amd));
	table->nent = ARRAY_LEN(amd); /* of which one is dropped */
	assert_int_equal(cpuid_adjust(table, ARRAY_LEN(amd) + 2, &facts), 0);
}

#define T(name) cmocka_unit_test_setup_teardown(name, table_new, table_free)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(features_have_id_count_and_hypervisor),
		T(monitor_is_hidden),
		T(single_processor_has_no_threads),
		T(topology_leaves_say_cores_of_one_socket),
		T(third_level_cache_is_shared_by_all),
		T(kvm_leaves_and_brand_are_kept),
		T(amd_counts_cores_its_own_way),
		T(highest_leaf_reaches_the_topology),
		T(many_processors_keep_their_ids),
		T(full_table_is_an_error),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
