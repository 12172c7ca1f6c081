/* SPDX-License-Identifier: BSD-3-Clause */
/* bus_test.c - ranges, whole and split accesses */
#include "bus/bus.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

struct recorder {
	struct bus_dev dev;
	uint64_t offset, value;
	unsigned size, nreads, nwrites;
	struct bus *remove_from; /* on read, if set */
	uint64_t base;
};

static uint64_t record_read(struct bus_dev *d, uint64_t offset, unsigned size)
{
	struct recorder *r = container_of(d, struct recorder, dev);

	r->offset = offset;
	r->size = size;
	r->nreads++;
	if (r->remove_from)
		assert_int_equal(bus_remove(r->remove_from, r->base), 0);
	return 0x1122334455667788u >> (8 * (offset % 8));
}

static void record_write(struct bus_dev *d, uint64_t offset, unsigned size, uint64_t value)
{
	struct recorder *r = container_of(d, struct recorder, dev);

	r->offset = offset;
	r->size = size;
	r->value = value;
	r->nwrites++;
}

static struct bus bus;
static struct recorder a, b;

static int set_up(void **state)
{
	(void)state;
	bus_init(&bus);
	a = b = (struct recorder){.dev = {"a", record_read, record_write}};
	b.dev.name = "b";
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	bus_fini(&bus);
	return 0;
}

static void reads_of_nobody_are_all_ones(void **state)
{
	uint64_t value = 0;

	(void)state;
	bus_read(&bus, 0x1000, &value, 8);
	assert_int_equal(value, UINT64_MAX);
	bus_write(&bus, 0x1000, &value, 8);
}

static void handler_sees_offset_size_and_value(void **state)
{
	struct err e;
	uint32_t value = 0xcafe;

	(void)state;
	assert_int_equal(bus_add(&bus, 0x1000, 0x10, &a.dev, &e), 0);
	bus_write(&bus, 0x1004, &value, 4);
	assert_int_equal(a.offset, 4);
	assert_int_equal(a.size, 4);
	assert_int_equal(a.value, 0xcafe);
	value = 0;
	bus_read(&bus, 0x1000, &value, 2);
	assert_int_equal(value, 0x7788);
	assert_int_equal(a.size, 2);
}

static void access_across_the_end_is_split(void **state)
{
	struct err e;
	uint32_t value = 0;

	(void)state;
	assert_int_equal(bus_add(&bus, 0x1000, 0x10, &a.dev, &e), 0);
	bus_read(&bus, 0x100e, &value, 4);
	assert_int_equal(a.nreads, 2);
	assert_int_equal(a.size, 1);
	assert_int_equal(value >> 16, 0xffff);
	value = 0;
	bus_read(&bus, 0xffe, &value, 4);
	assert_int_equal(value, 0x7788ffff);
}

static void odd_sizes_are_split(void **state)
{
	struct err e;
	uint8_t data[16] = {0};

	(void)state;
	assert_int_equal(bus_add(&bus, 0x1000, 0x10, &a.dev, &e), 0);
	bus_write(&bus, 0x1000, data, 3);
	assert_int_equal(a.nwrites, 3);
	bus_write(&bus, 0x1000, data, 16);
	assert_int_equal(a.nwrites, 19);
}

static void overlaps_are_refused_by_name(void **state)
{
	struct err e;

	(void)state;
	assert_int_equal(bus_add(&bus, 0x1000, 0x10, &a.dev, &e), 0);
	assert_int_equal(bus_add(&bus, 0x100f, 1, &b.dev, &e), -EEXIST);
	assert_string_equal(e.text, "b at 0x100f overlaps a at 0x1000");
	assert_int_equal(bus_add(&bus, 0xfff, 2, &b.dev, &e), -EEXIST);
	assert_int_equal(bus_add(&bus, 0, UINT64_MAX, &b.dev, &e), -EEXIST);
	assert_int_equal(bus_add(&bus, 0x1010, 1, &b.dev, &e), 0);
	assert_int_equal(bus_add(&bus, 0xfff, 1, &b.dev, &e), 0);
}

static void empty_and_wrapping_ranges_are_refused(void **state)
{
	struct err e;

	(void)state;
	assert_int_equal(bus_add(&bus, 0x1000, 0, &a.dev, &e), -EINVAL);
	assert_int_equal(bus_add(&bus, UINT64_MAX, 2, &a.dev, &e), -EINVAL);
	assert_int_equal(bus_add(&bus, UINT64_MAX, 1, &a.dev, &e), 0);
}

static void full_bus_says_so(void **state)
{
	struct err e;

	(void)state;
	for (unsigned i = 0; i < BUS_RANGES_MAX; i++)
		assert_int_equal(bus_add(&bus, 0x1000 - i, 1, &a.dev, &e), 0);
	assert_int_equal(bus_add(&bus, 0x2000, 1, &a.dev, &e), -ENOSPC);
	for (unsigned i = 0; i < BUS_RANGES_MAX; i++)
		assert_int_equal(bus_remove(&bus, 0x1000 - i), 0);
	assert_int_equal(bus_remove(&bus, 0x1000), -ENOENT);
}

static void handler_may_remove_its_own_range(void **state)
{
	struct err e;
	uint16_t value;

	(void)state;
	assert_int_equal(bus_add(&bus, 0x1000, 0x10, &a.dev, &e), 0);
	a.remove_from = &bus;
	a.base = 0x1000;
	bus_read(&bus, 0x1000, &value, 2);
	a.remove_from = NULL;
	bus_read(&bus, 0x1000, &value, 2);
	assert_int_equal(a.nreads, 1);
	assert_int_equal(value, 0xffff);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(reads_of_nobody_are_all_ones, set_up, tear_down),
		cmocka_unit_test_setup_teardown(handler_sees_offset_size_and_value, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(access_across_the_end_is_split, set_up, tear_down),
		cmocka_unit_test_setup_teardown(odd_sizes_are_split, set_up, tear_down),
		cmocka_unit_test_setup_teardown(overlaps_are_refused_by_name, set_up, tear_down),
		cmocka_unit_test_setup_teardown(empty_and_wrapping_ranges_are_refused, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(full_bus_says_so, set_up, tear_down),
		cmocka_unit_test_setup_teardown(handler_may_remove_its_own_range, set_up,
						tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
