/* SPDX-License-Identifier: BSD-3-Clause */
/* pci_test.c - configuration mechanisms, BARs, placement, interrupt lines */
#include "bus/fake_host.h"
#include "bus/pci.h"

#include <errno.h>
#include <linux/pci_regs.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define ECAM 0xe0000000ull
#define MEM32 0xc0000000ull
#define MEM32_BYTES 0x10000000ull

static const uint64_t mem64 = 0x8000000000, mem64_bytes = 0x1000000000;

static const struct pci_layout layout = {
	.ecam_base = ECAM,
	.mem32_base = MEM32,
	.mem32_size = MEM32_BYTES,
	.mem64_base = 0x8000000000,
	.mem64_size = 0x1000000000,
	.intx_gsi = {16, 17, 18, 19},
};

struct card {
	struct pci_dev dev;
	uint64_t offset, value, mapped_at;
	unsigned bar, size, config_writes, last_at, last_size;
	bool mapped;
};

static struct bus ports, mmio;
static struct fake_host host;
static struct pci_bus pci;
static struct card cards[PCI_SLOTS * PCI_FUNCTIONS];

static struct card *card_of(struct pci_dev *d)
{
	return container_of(d, struct card, dev);
}

static uint64_t card_read(struct pci_dev *d, unsigned bar, uint64_t offset, unsigned size)
{
	(void)size;
	(void)bar;
	return (uint64_t)(card_of(d) - cards) << 16 | offset;
}

static void card_write(struct pci_dev *d, unsigned bar, uint64_t offset, unsigned size,
		       uint64_t value)
{
	struct card *c = card_of(d);

	c->bar = bar;
	c->offset = offset;
	c->size = size;
	c->value = value;
}

static void card_mapped(struct pci_dev *d, unsigned bar, uint64_t address, bool mapped)
{
	(void)bar;
	card_of(d)->mapped = mapped;
	card_of(d)->mapped_at = address;
}

static void card_config_written(struct pci_dev *d, unsigned at, unsigned size)
{
	struct card *c = card_of(d);

	c->config_writes++;
	c->last_at = at;
	c->last_size = size;
	pci_config_get(d, 0, 4); /* takes the lock: must be free here */
}

static const struct pci_ops card_ops = {
	.bar_read = card_read,
	.bar_write = card_write,
	.bar_mapped = card_mapped,
	.config_written = card_config_written,
};

static struct card *new_card(unsigned i)
{
	pci_dev_init(&cards[i].dev, "card", &card_ops, 0x1af4, 0x1040, 0xff0000, 0x1af4, 7);
	return &cards[i];
}

static struct card *add_card(unsigned i)
{
	struct card *c = new_card(i);
	struct err e;

	pci_dev_bar(&c->dev, 0, 0x4000, true, false);
	assert_int_equal(pci_add(&pci, &c->dev, &e), 0);
	return c;
}

static int set_up(void **state)
{
	struct err e;

	(void)state;
	bus_init(&ports);
	bus_init(&mmio);
	fake_host_init(&host);
	memset(cards, 0, sizeof(cards));
	return pci_bus_init(&pci, &layout, &ports, &mmio, &host.host, &e);
}

static int tear_down(void **state)
{
	(void)state;
	pci_bus_fini(&pci);
	bus_fini(&ports);
	bus_fini(&mmio);
	return 0;
}

static uint32_t in(uint16_t port, unsigned size)
{
	uint32_t value = 0;

	bus_read(&ports, port, &value, size);
	return value;
}

static void out(uint16_t port, unsigned size, uint32_t value)
{
	bus_write(&ports, port, &value, size);
}

static uint64_t ecam_address(unsigned slot, unsigned function, unsigned at)
{
	return ECAM + (slot << 15) + (function << 12) + at;
}

static uint32_t ecam_in(unsigned slot, unsigned function, unsigned at, unsigned size)
{
	uint32_t value = 0;

	bus_read(&mmio, ecam_address(slot, function, at), &value, size);
	return value;
}

static void ecam_out(unsigned slot, unsigned function, unsigned at, unsigned size, uint32_t value)
{
	bus_write(&mmio, ecam_address(slot, function, at), &value, size);
}

static uint64_t mem_in(uint64_t address)
{
	uint32_t value = 0;

	bus_read(&mmio, address, &value, 4);
	return value;
}

static void bridge_is_found_through_both_mechanisms(void **state)
{
	(void)state;
	out(0xcf8, 4, 0x80000000);
	assert_int_equal(in(0xcf8, 4), 0x80000000);
	assert_int_equal(in(0xcfc, 4), 0x00081b36);
	assert_int_equal(in(0xcfe, 2), 0x0008);
	assert_int_equal(in(0xcfd, 1), 0x1b);
	assert_int_equal(ecam_in(0, 0, 0, 4), 0x00081b36);
	assert_int_equal(ecam_in(0, 0, PCI_CLASS_DEVICE, 2), 0x0600);
}

static void absent_functions_read_as_ones(void **state)
{
	(void)state;
	add_card(0);
	assert_int_equal(ecam_in(1, 1, 0, 4), UINT32_MAX);
	assert_int_equal(ecam_in(2, 0, 0, 4), UINT32_MAX);
	out(0xcf8, 4, 0x80010000); /* bus 1 */
	assert_int_equal(in(0xcfc, 4), UINT32_MAX);
	out(0xcf8, 4, 0x00000000); /* not enabled */
	assert_int_equal(in(0xcfc, 4), UINT32_MAX);
}

static void only_dwords_reach_the_address_register(void **state)
{
	(void)state;
	out(0xcf8, 4, 0x80000804);
	out(0xcf8, 1, 0x40);
	out(0xcfb, 1, 0x01);
	out(0xcfa, 2, 0x0001);
	assert_int_equal(in(0xcf8, 4), 0x80000804);
	assert_int_equal(in(0xcf8, 1), 0xff);
	assert_int_equal(in(0xcfa, 2), 0xffff);
}

static void odd_sized_config_accesses_hit_their_bytes(void **state)
{
	struct card *c = add_card(0);

	(void)state;
	out(0xcf8, 4, 0x8000083c);
	out(0xcfc, 1, 0x5a);
	assert_int_equal(in(0xcfc, 1), 0x5a);
	out(0xcf8, 4, 0x8000080c);
	out(0xcfd, 2, 0xffff); /* latency and header type: read-only */
	assert_int_equal(in(0xcfd, 2), 0);
	assert_int_equal(c->last_at, 0x0d);
	assert_int_equal(c->last_size, 2);
	ecam_out(1, 0, PCI_CACHE_LINE_SIZE - 1, 4, 0x00001000); /* unaligned */
	assert_int_equal(ecam_in(1, 0, PCI_CACHE_LINE_SIZE, 1), 0x10);
	assert_int_equal(in(0xcfe, 4), 0xffff0000); /* across the last port */
}

static void extended_space_is_zero_and_ends(void **state)
{
	uint64_t value;

	(void)state;
	add_card(0);
	ecam_out(1, 0, 0x100, 4, UINT32_MAX);
	assert_int_equal(ecam_in(1, 0, 0x100, 4), 0);
	assert_int_equal(ecam_in(1, 0, 0xfe, 4), 0);
	bus_read(&mmio, ecam_address(1, 0, 0xffc), &value, 8);
	assert_int_equal(value, 0);
	bus_write(&mmio, ecam_address(0, 7, 0xfff), &value, 8);
}

static void identity_is_read_only(void **state)
{
	(void)state;
	add_card(0);
	for (unsigned at = 0; at < PCI_CONFIG_BYTES; at += 4)
		ecam_out(1, 0, at, 4, 0);
	assert_int_equal(ecam_in(1, 0, 0, 4), 0x10401af4);
	assert_int_equal(ecam_in(1, 0, PCI_SUBSYSTEM_VENDOR_ID, 4), 0x00071af4);
	assert_int_equal(ecam_in(1, 0, PCI_CLASS_REVISION, 4), 0xff000000);
}

static void bar_is_placed_sized_and_moved(void **state)
{
	struct card *c = add_card(0);
	uint32_t value = 0x1234;

	(void)state;
	assert_true(c->mapped);
	assert_int_equal(c->mapped_at, MEM32);
	bus_write(&mmio, MEM32 + 0x10, &value, 4);
	assert_int_equal(c->offset, 0x10);
	assert_int_equal(c->value, 0x1234);

	ecam_out(1, 0, PCI_COMMAND, 2, 0);
	assert_false(c->mapped);
	assert_int_equal(mem_in(MEM32), UINT32_MAX);
	ecam_out(1, 0, PCI_BASE_ADDRESS_0, 4, UINT32_MAX);
	ecam_out(1, 0, PCI_BASE_ADDRESS_1, 4, UINT32_MAX);
	assert_int_equal(ecam_in(1, 0, PCI_BASE_ADDRESS_0, 4), 0xffffc004);
	assert_int_equal(ecam_in(1, 0, PCI_BASE_ADDRESS_1, 4), UINT32_MAX);
	ecam_out(1, 0, PCI_BASE_ADDRESS_0, 4, 0x00100000);
	ecam_out(1, 0, PCI_BASE_ADDRESS_1, 4, 0x80);
	assert_false(c->mapped);
	ecam_out(1, 0, PCI_COMMAND, 2, PCI_COMMAND_MEMORY);
	assert_true(c->mapped);
	assert_int_equal(c->mapped_at, mem64 + 0x100000);
	assert_int_equal(mem_in(mem64 + 0x100020), 0x20);
}

static void sizing_with_decoding_on_is_survived(void **state)
{
	struct card *c = add_card(0);

	(void)state;
	ecam_out(1, 0, PCI_BASE_ADDRESS_0, 4, UINT32_MAX);
	assert_false(c->mapped);
	ecam_out(1, 0, PCI_BASE_ADDRESS_0, 4, MEM32);
	assert_true(c->mapped);
	for (unsigned i = 0; i < 4; i++)
		ecam_out(1, 0, PCI_BASE_ADDRESS_1 + i, 1, 0xff);
	assert_false(c->mapped);
	ecam_out(1, 0, PCI_BASE_ADDRESS_1, 4, 0);
	assert_int_equal(c->mapped_at, MEM32);
	assert_true(c->mapped);
}

static void bars_outside_the_windows_are_not_mapped(void **state)
{
	struct card *c = add_card(0);

	(void)state;
	ecam_out(1, 0, PCI_BASE_ADDRESS_0, 4, 0x00100000); /* guest memory */
	assert_false(c->mapped);
	ecam_out(1, 0, PCI_BASE_ADDRESS_0, 4, ECAM);
	assert_false(c->mapped);
	ecam_out(1, 0, PCI_BASE_ADDRESS_0, 4, MEM32 + MEM32_BYTES - 0x4000);
	assert_true(c->mapped);
}

static void bars_can_change_places(void **state)
{
	struct card *a = add_card(0), *b = add_card(1);
	uint64_t at_a = a->mapped_at, at_b = b->mapped_at;

	(void)state;
	ecam_out(1, 0, PCI_BASE_ADDRESS_0, 4, (uint32_t)at_b);
	assert_false(a->mapped); /* taken */
	assert_int_equal(mem_in(at_b), 1 << 16);
	ecam_out(2, 0, PCI_BASE_ADDRESS_0, 4, (uint32_t)at_a);
	assert_true(a->mapped && b->mapped);
	assert_int_equal(mem_in(at_b), 0);
	assert_int_equal(mem_in(at_a), 1 << 16);
}

static void windows_are_used_by_size_and_run_out(void **state)
{
	struct card *c = new_card(0);
	struct err e;

	(void)state;
	pci_dev_bar(&c->dev, 0, 0x1000, false, false);
	pci_dev_bar(&c->dev, 2, 1 << 30, true, true);
	assert_int_equal(pci_add(&pci, &c->dev, &e), 0);
	assert_int_equal(c->dev.bars[0].address, MEM32);
	assert_int_equal(c->dev.bars[2].address, mem64);
	c = new_card(1);
	pci_dev_bar(&c->dev, 0, mem64_bytes, true, true);
	assert_int_equal(pci_add(&pci, &c->dev, &e), -ENOSPC);
	assert_string_equal(e.text, "card: no address space left for PCI devices");
}

static void more_functions_than_slots_fit(void **state)
{
	struct card *c;
	struct err e;

	(void)state;
	for (unsigned i = 0; i < 31; i++)
		add_card(i);
	assert_int_equal(ecam_in(1, 0, PCI_HEADER_TYPE, 1), 0);
	for (unsigned i = 31; i < 248; i++)
		add_card(i);
	assert_int_equal(ecam_in(1, 0, PCI_HEADER_TYPE, 1), 0x80);
	assert_int_equal(ecam_in(31, 7, 0, 4), 0x10401af4);
	assert_int_equal(ecam_in(31, 7, PCI_HEADER_TYPE, 1), 0);
	for (unsigned i = 0; i < 248; i++)
		assert_int_equal(mem_in(cards[i].mapped_at), i << 16);
	c = new_card(248);
	assert_int_equal(pci_add(&pci, &c->dev, &e), -ENOSPC);
}

static void capabilities_form_a_list(void **state)
{
	const uint8_t first[8] = {PCI_CAP_ID_VNDR, 0xee, 8}, second[5] = {PCI_CAP_ID_VNDR, 0xee, 5};
	struct card *c = new_card(0);
	struct err e;

	(void)state;
	assert_int_equal(pci_dev_capability(&c->dev, first, sizeof(first)), 0x40);
	assert_int_equal(pci_dev_capability(&c->dev, second, sizeof(second)), 0x48);
	assert_int_equal(c->dev.capabilities_end, 0x50);
	assert_int_equal(pci_add(&pci, &c->dev, &e), 0);
	assert_int_equal(ecam_in(1, 0, PCI_STATUS, 2), PCI_STATUS_CAP_LIST);
	assert_int_equal(ecam_in(1, 0, PCI_CAPABILITY_LIST, 1), 0x40);
	assert_int_equal(ecam_in(1, 0, 0x41, 1), 0x48);
	assert_int_equal(ecam_in(1, 0, 0x49, 1), 0);
}

static void pins_are_swizzled_over_the_lines(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 40; i++)
		add_card(i);
	assert_int_equal(ecam_in(1, 0, PCI_INTERRUPT_LINE, 2), 0x0100 | 17);
	assert_int_equal(ecam_in(4, 0, PCI_INTERRUPT_LINE, 2), 0x0100 | 16);
	assert_int_equal(ecam_in(1, 1, PCI_INTERRUPT_LINE, 2), 0x0200 | 18);
}

static void a_shared_line_stays_up_until_all_let_go(void **state)
{
	struct card *a = add_card(0), *b;

	(void)state;
	for (unsigned i = 1; i < 4; i++)
		add_card(i);
	b = add_card(4); /* slot 5: the same line as slot 1 */
	pci_intx_set(&a->dev, true);
	pci_intx_set(&a->dev, true);
	pci_intx_set(&b->dev, true);
	assert_true(host.level[17]);
	assert_int_equal(ecam_in(1, 0, PCI_STATUS, 2) & PCI_STATUS_INTERRUPT, PCI_STATUS_INTERRUPT);
	pci_intx_set(&a->dev, false);
	assert_true(host.level[17]);
	ecam_out(5, 0, PCI_COMMAND, 2, PCI_COMMAND_MEMORY | PCI_COMMAND_INTX_DISABLE);
	assert_false(host.level[17]);
	assert_int_equal(ecam_in(5, 0, PCI_STATUS, 2) & PCI_STATUS_INTERRUPT, PCI_STATUS_INTERRUPT);
	ecam_out(5, 0, PCI_COMMAND, 2, PCI_COMMAND_MEMORY);
	assert_true(host.level[17]);
	pci_intx_set(&b->dev, false);
	assert_false(host.level[17]);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		T(bridge_is_found_through_both_mechanisms),
		T(absent_functions_read_as_ones),
		T(only_dwords_reach_the_address_register),
		T(odd_sized_config_accesses_hit_their_bytes),
		T(extended_space_is_zero_and_ends),
		T(identity_is_read_only),
		T(bar_is_placed_sized_and_moved),
		T(sizing_with_decoding_on_is_survived),
		T(bars_outside_the_windows_are_not_mapped),
		T(bars_can_change_places),
		T(windows_are_used_by_size_and_run_out),
		T(more_functions_than_slots_fit),
		T(capabilities_form_a_list),
		T(pins_are_swizzled_over_the_lines),
		T(a_shared_line_stays_up_until_all_let_go),
	};
#undef T

	return cmocka_run_group_tests(tests, NULL, NULL);
}
