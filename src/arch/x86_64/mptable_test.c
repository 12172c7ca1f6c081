/* SPDX-License-Identifier: BSD-3-Clause */
/* mptable_test.c - the MP table as a kernel walks it */
#include "arch/x86_64/mptable.h"

#include "arch/x86_64/layout.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

enum { MEMORY = 2 << 20, TABLE = LAYOUT_MPTABLE + 16 };

static uint8_t memory[MEMORY];
static struct gmem gmem;

static void write_table(unsigned ncpus, bool has_pci)
{
	const struct arch_platform p = {
		.ncpus = ncpus, .has_pci = has_pci, .pci = {.intx_gsi = {16, 17, 18, 19}}};
	struct err e = {0};

	memset(memory, 0, sizeof(memory));
	gmem_init(&gmem);
	assert_int_equal(gmem_add_borrowed(&gmem, 0, MEMORY, memory), 0);
	assert_int_equal(mptable_write(&p, &gmem, &e), 0);
}

static uint8_t sum(size_t at, size_t n)
{
	uint8_t total = 0;

	while (n-- > 0)
		total = (uint8_t)(total + memory[at++]);
	return total;
}

static unsigned get16(size_t at)
{
	return memory[at] | (unsigned)memory[at + 1] << 8;
}

/* Finds the n-th entry of that type; 0 if there are fewer.  All entries must be whole. */
static size_t entry_find(uint8_t type, unsigned n)
{
	const size_t end = TABLE + get16(TABLE + 4);
	size_t at = TABLE + 44, found = 0;
	unsigned seen = 0, entries = 0;

	while (at < end) {
		assert_true(memory[at] <= 4);
		if (memory[at] == type && seen++ == n)
			found = at;
		at += memory[at] == 0 ? 20 : 8;
		entries++;
	}
	assert_int_equal(at, end);
	assert_int_equal(entries, get16(TABLE + 34));
	return found;
}

/* The pin that an interrupt source goes to, -1 if it is not in the table. */
static int pin_of(uint8_t bus, uint8_t source)
{
	size_t at;

	for (unsigned i = 0; (at = entry_find(3, i)) != 0; i++)
		if (memory[at + 4] == bus && memory[at + 5] == source)
			return memory[at + 7];
	return -1;
}

static void checksums_are_right(void **state)
{
	(void)state;
	write_table(4, true);

	assert_memory_equal(memory + LAYOUT_MPTABLE, "_MP_", 4);
	assert_int_equal(sum(LAYOUT_MPTABLE, 16), 0);
	assert_memory_equal(memory + TABLE, "PCMP", 4);
	assert_int_equal(sum(TABLE, get16(TABLE + 4)), 0);
}

static void processors_are_listed_and_the_first_boots(void **state)
{
	(void)state;
	write_table(3, false);

	assert_int_equal(memory[entry_find(0, 0) + 3], 3);
	assert_int_equal(memory[entry_find(0, 2) + 1], 2);
	assert_int_equal(memory[entry_find(0, 2) + 3], 1);
	assert_int_equal(entry_find(0, 3), 0);
}

static void io_apic_has_an_id_of_its_own(void **state)
{
	(void)state;
	write_table(4, true);

	assert_int_equal(memory[entry_find(2, 0) + 1], 4);
	assert_int_equal(memory[entry_find(3, 0) + 6], 4);
}

static void table_holds_255_processors_at_most(void **state)
{
	(void)state;
	write_table(1000, true);

	assert_int_not_equal(entry_find(0, 254), 0);
	assert_int_equal(entry_find(0, 255), 0);
}

static void timer_comes_in_at_pin_2(void **state)
{
	(void)state;
	write_table(1, false);

	assert_int_equal(pin_of(1, 0), 2);
	assert_int_equal(pin_of(1, 2), -1);
	for (uint8_t irq = 3; irq < 16; irq++)
		assert_int_equal(pin_of(1, irq), irq);
}

static void every_pci_pin_has_its_line(void **state)
{
	(void)state;
	write_table(1, true);

	for (unsigned slot = 0; slot < 32; slot++)
		for (unsigned pin = 0; pin < 4; pin++)
			assert_int_equal(pin_of(0, (uint8_t)(slot << 2 | pin)),
					 16 + (slot + pin) % 4);
}

static void without_pci_no_pci_interrupts(void **state)
{
	(void)state;
	write_table(1, false);

	assert_int_equal(pin_of(0, 1 << 2), -1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(checksums_are_right),
		cmocka_unit_test(processors_are_listed_and_the_first_boots),
		cmocka_unit_test(io_apic_has_an_id_of_its_own),
		cmocka_unit_test(table_holds_255_processors_at_most),
		cmocka_unit_test(timer_comes_in_at_pin_2),
		cmocka_unit_test(every_pci_pin_has_its_line),
		cmocka_unit_test(without_pci_no_pci_interrupts),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
