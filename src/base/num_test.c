/* SPDX-License-Identifier: BSD-3-Clause */
/* num_test.c - checked arithmetic, and integers with a byte order */
#include "base/num.h"

#include "base/wire.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static void sums_that_wrap_are_refused(void **state)
{
	uint64_t n;

	(void)state;
	assert_true(add_ok(UINT64_MAX - 1, 1, &n));
	assert_true(n == UINT64_MAX);
	assert_false(add_ok(UINT64_MAX, 1, &n));
}

static void products_that_wrap_are_refused(void **state)
{
	uint64_t n;

	(void)state;
	assert_true(mul_ok(UINT64_C(1) << 32, (UINT64_C(1) << 32) - 1, &n));
	assert_true(n == UINT64_MAX - UINT32_MAX);
	assert_false(mul_ok(UINT64_C(1) << 32, UINT64_C(1) << 32, &n));
}

static void smaller_and_larger(void **state)
{
	(void)state;
	assert_int_equal(min_u64(3, 5), 3);
	assert_int_equal(min_u64(5, 3), 3);
	assert_int_equal(max_u64(3, 5), 5);
	assert_int_equal(max_u64(5, 3), 5);
	assert_int_equal(min_size(3, 5), 3);
	assert_int_equal(min_size(5, 3), 3);
}

static void powers_of_two(void **state)
{
	(void)state;
	assert_false(is_power_of_two(0));
	assert_true(is_power_of_two(1));
	assert_false(is_power_of_two(3));
	assert_true(is_power_of_two(UINT64_C(1) << 63));
	assert_false(is_power_of_two(UINT64_MAX));
}

static void rounding_goes_to_the_unit(void **state)
{
	(void)state;
	assert_int_equal(round_down(4097, 4096), 4096);
	assert_int_equal(round_down(4096, 4096), 4096);
	assert_int_equal(round_up(4097, 4096), 8192);
	assert_int_equal(round_up(4096, 4096), 4096);
	assert_int_equal(round_up(0, 4096), 0);
}

static void range_outside_is_found_also_when_it_wraps(void **state)
{
	(void)state;
	assert_true(is_inside(0, 10, 10));
	assert_true(is_inside(10, 0, 10));
	assert_true(is_inside(9, 1, 10));
	assert_false(is_inside(9, 2, 10));
	assert_false(is_inside(11, 0, 10));
	assert_false(is_inside(UINT64_MAX, 2, 10));
	assert_false(is_inside(2, UINT64_MAX, 10));
}

static void little_endian_has_the_low_byte_first(void **state)
{
	static const uint8_t bytes[] = {0x08, 0x07, 0x06, 0x05, 0x04, 0x03, 0x02, 0x01};
	le16 a = le16_of(0x0708);
	le32 b = le32_of(0x05060708);
	le64 c = le64_of(0x0102030405060708);

	(void)state;
	assert_memory_equal(&a, bytes, sizeof(a));
	assert_memory_equal(&b, bytes, sizeof(b));
	assert_memory_equal(&c, bytes, sizeof(c));
	assert_int_equal(le16_get(a), 0x0708);
	assert_int_equal(le32_get(b), 0x05060708);
	assert_true(le64_get(c) == 0x0102030405060708);
}

static void big_endian_has_the_high_byte_first(void **state)
{
	static const uint8_t bytes[] = {0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x07, 0x08};
	be16 a = be16_of(0x0102);
	be32 b = be32_of(0x01020304);
	be64 c = be64_of(0x0102030405060708);

	(void)state;
	assert_memory_equal(&a, bytes, sizeof(a));
	assert_memory_equal(&b, bytes, sizeof(b));
	assert_memory_equal(&c, bytes, sizeof(c));
	assert_int_equal(be16_get(a), 0x0102);
	assert_int_equal(be32_get(b), 0x01020304);
	assert_true(be64_get(c) == 0x0102030405060708);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(sums_that_wrap_are_refused),
		cmocka_unit_test(products_that_wrap_are_refused),
		cmocka_unit_test(smaller_and_larger),
		cmocka_unit_test(powers_of_two),
		cmocka_unit_test(rounding_goes_to_the_unit),
		cmocka_unit_test(range_outside_is_found_also_when_it_wraps),
		cmocka_unit_test(little_endian_has_the_low_byte_first),
		cmocka_unit_test(big_endian_has_the_high_byte_first),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
