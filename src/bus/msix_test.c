/* SPDX-License-Identifier: BSD-3-Clause */
/* msix_test.c - table, masks, pending bits, routes */
#include "bus/fake_host.h"
#include "bus/msix.h"

#include <linux/pci_regs.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { VECTORS = 3, ADDRESS = 0xfee01000 };

static const struct pci_layout layout = {
	.ecam_base = 0xe0000000,
	.mem32_base = 0xc0000000,
	.mem32_size = 0x10000000,
};

static struct bus mmio;
static struct fake_host host;
static struct pci_bus pci;
static struct pci_dev dev;
static struct msix msix;
static unsigned changes, polls, raise_on_poll;

static uint64_t no_read(struct pci_dev *d, unsigned bar, uint64_t offset, unsigned size)
{
	(void)d;
	(void)bar;
	(void)offset;
	(void)size;
	return 0;
}

static void no_write(struct pci_dev *d, unsigned bar, uint64_t offset, unsigned size,
		     uint64_t value)
{
	(void)value;
	no_read(d, bar, offset, size);
}

static void config_written(struct pci_dev *d, unsigned at, unsigned size)
{
	(void)d;
	(void)at;
	(void)size;
	msix_config_written(&msix);
}

static const struct pci_ops dev_ops = {
	.bar_read = no_read, .bar_write = no_write, .config_written = config_written};

static void changed(struct msix *m, unsigned vector)
{
	(void)m;
	changes |= 1u << vector;
}

static void poll(struct msix *m)
{
	polls++;
	if (raise_on_poll < VECTORS)
		msix_raise(m, raise_on_poll);
}

static const struct msix_ops msix_ops = {.changed = changed, .poll = poll};

static int set_up(void **state)
{
	struct err e;

	(void)state;
	bus_init(&mmio);
	fake_host_init(&host);
	changes = polls = 0;
	raise_on_poll = VECTORS;
	if (pci_bus_init(&pci, &layout, NULL, &mmio, &host.host, &e) < 0)
		return -1;
	pci_dev_init(&dev, "card", &dev_ops, 0x1af4, 0x1040, 0xff0000, 0, 0);
	pci_dev_bar(&dev, 0, 0x4000, false, false);
	msix_init(&msix, &msix_ops, &dev, &host.host, VECTORS, 0, 0x1000, 0x2000);
	return pci_add(&pci, &dev, &e);
}

static int tear_down(void **state)
{
	(void)state;
	msix_fini(&msix);
	pci_bus_fini(&pci);
	bus_fini(&mmio);
	return 0;
}

static void control(uint16_t bits)
{
	pci_config_write(&pci, 1, 0, msix.capability + PCI_MSIX_FLAGS, 2, bits);
}

/* What a driver does: address, data, unmask. */
static void fill(unsigned v)
{
	msix_table_write(&msix, v * 16, 4, ADDRESS);
	msix_table_write(&msix, v * 16 + 4, 4, 0);
	msix_table_write(&msix, v * 16 + 8, 4, 0x40 + v);
}

static void mask(unsigned v, bool on)
{
	msix_table_write(&msix, v * 16 + 12, 4, on);
}

static void capability_says_where_things_are(void **state)
{
	unsigned at = msix.capability;

	(void)state;
	assert_int_equal(pci_config_read(&pci, 1, 0, at, 1), PCI_CAP_ID_MSIX);
	assert_int_equal(pci_config_read(&pci, 1, 0, at + 2, 2), VECTORS - 1);
	assert_int_equal(pci_config_read(&pci, 1, 0, at + 4, 4), 0x1000);
	assert_int_equal(pci_config_read(&pci, 1, 0, at + 8, 4), 0x2000);
	pci_config_write(&pci, 1, 0, at, 8, 0);
	pci_config_write(&pci, 1, 0, at + 2, 2, 0xffff);
	assert_int_equal(pci_config_read(&pci, 1, 0, at + 2, 2), 0xc000 | (VECTORS - 1));
	assert_int_equal(pci_config_read(&pci, 1, 0, at + 4, 4), 0x1000);
}

static void vectors_start_masked(void **state)
{
	(void)state;
	for (unsigned v = 0; v < VECTORS; v++)
		assert_int_equal(msix_table_read(&msix, v * 16 + 12, 4), 1);
	assert_int_equal(msix_table_read(&msix, VECTORS * 16, 8), 0);
}

static void open_vector_sends(void **state)
{
	(void)state;
	control(PCI_MSIX_FLAGS_ENABLE);
	fill(1);
	mask(1, false);
	assert_int_equal(changes, 1 << 1);
	msix_raise(&msix, 1);
	assert_int_equal(host.nsent, 1);
	assert_int_equal(host.sent_address, ADDRESS);
	assert_int_equal(host.sent_data, 0x41);
	assert_int_equal(msix_pba_read(&msix, 0, 8), 0);
}

static void masked_vector_is_pending_until_unmasked(void **state)
{
	(void)state;
	control(PCI_MSIX_FLAGS_ENABLE);
	fill(2);
	msix_raise(&msix, 2);
	msix_raise(&msix, 2);
	assert_int_equal(host.nsent, 0);
	assert_int_equal(msix_pba_read(&msix, 0, 4), 1 << 2);
	mask(2, false);
	assert_int_equal(host.nsent, 1);
	assert_int_equal(msix_pba_read(&msix, 0, 4), 0);
}

static void function_mask_holds_all_vectors(void **state)
{
	(void)state;
	for (unsigned v = 0; v < VECTORS; v++) {
		fill(v);
		mask(v, false);
	}
	control(PCI_MSIX_FLAGS_ENABLE | PCI_MSIX_FLAGS_MASKALL);
	msix_raise(&msix, 0);
	msix_raise(&msix, 2);
	assert_int_equal(msix_pba_read(&msix, 0, 1), 5);
	control(PCI_MSIX_FLAGS_ENABLE);
	assert_int_equal(host.nsent, 2);
	control(0);
	msix_raise(&msix, 1);
	assert_int_equal(host.nsent, 2);
}

static void pending_bits_are_polled_before_they_are_read(void **state)
{
	(void)state;
	control(PCI_MSIX_FLAGS_ENABLE);
	raise_on_poll = 1;
	assert_int_equal(msix_pba_read(&msix, 0, 8), 2);
	assert_int_equal(polls, 1);
}

static void routes_are_updated_only_when_they_change(void **state)
{
	(void)state;
	control(PCI_MSIX_FLAGS_ENABLE);
	msix_use(&msix, 0);
	fill(0);
	assert_int_equal(host.nroute_calls, 0); /* masked: nobody needs it yet */
	assert_false(msix_is_direct(&msix, 0));
	mask(0, false);
	assert_int_equal(host.nroute_calls, 1);
	assert_true(msix_is_direct(&msix, 0));
	mask(0, true);
	mask(0, false);
	fill(0);
	assert_int_equal(host.nroute_calls, 1);
	msix_table_write(&msix, 8, 4, 0x99);
	assert_int_equal(host.nroute_calls, 2);
	assert_int_equal(host.routes[FAKE_FIRST_MSI].data, 0x99);
}

static void without_a_route_messages_are_still_sent(void **state)
{
	(void)state;
	host.msi_limit = 0;
	control(PCI_MSIX_FLAGS_ENABLE);
	msix_use(&msix, 0);
	fill(0);
	mask(0, false);
	assert_false(msix_is_direct(&msix, 0));
	msix_raise(&msix, 0);
	assert_int_equal(host.nsent, 1);
}

static void odd_sized_table_accesses_are_defined(void **state)
{
	(void)state;
	fill(0);
	msix_table_write(&msix, 0, 1, 0x55);
	msix_table_write(&msix, 0, 2, 0x5555);
	msix_table_write(&msix, 2, 4, 0x55555555);
	msix_table_write(&msix, 4, 8, UINT64_MAX);
	assert_int_equal(msix_table_read(&msix, 0, 8), ADDRESS);
	assert_int_equal(msix_table_read(&msix, 1, 1), (ADDRESS >> 8) & 0xff);
	assert_int_equal(msix_table_read(&msix, 3, 2), ADDRESS >> 24);
	assert_int_equal(msix_table_read(&msix, 12, 8), 1); /* into the next entry */
	msix_table_write(&msix, 8, 8, 0x77); /* data and control at once: unmasked */
	assert_int_equal(msix_table_read(&msix, 8, 8), 0x77);
	msix_table_write(&msix, VECTORS * 16, 8, UINT64_MAX);
	msix_table_write(&msix, UINT64_MAX - 7, 8, UINT64_MAX);
	assert_int_equal(msix_table_read(&msix, UINT64_MAX - 7, 8), 0);
	assert_int_equal(msix_pba_read(&msix, 7, 4), 0);
	assert_int_equal(msix_pba_read(&msix, UINT64_MAX, 8), 0);
}

static void reserved_bits_stay_zero(void **state)
{
	(void)state;
	msix_table_write(&msix, 0, 4, UINT32_MAX);
	msix_table_write(&msix, 12, 4, UINT32_MAX);
	assert_int_equal(msix_table_read(&msix, 0, 4), 0xfffffffc);
	assert_int_equal(msix_table_read(&msix, 12, 4), 1);
}

static void vectors_out_of_range_are_dropped(void **state)
{
	(void)state;
	control(PCI_MSIX_FLAGS_ENABLE);
	msix_raise(&msix, VECTORS);
	msix_raise(&msix, 0xffff);
	assert_int_equal(host.nsent, 0);
	assert_int_equal(msix_pba_read(&msix, 0, 8), 0);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		T(capability_says_where_things_are),
		T(vectors_start_masked),
		T(open_vector_sends),
		T(masked_vector_is_pending_until_unmasked),
		T(function_mask_holds_all_vectors),
		T(pending_bits_are_polled_before_they_are_read),
		T(routes_are_updated_only_when_they_change),
		T(without_a_route_messages_are_still_sent),
		T(odd_sized_table_accesses_are_defined),
		T(reserved_bits_stay_zero),
		T(vectors_out_of_range_are_dropped),
	};
#undef T

	return cmocka_run_group_tests(tests, NULL, NULL);
}
