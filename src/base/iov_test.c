/* SPDX-License-Identifier: BSD-3-Clause */
/* iov_test.c - arithmetic on iovecs */
#include "base/iov.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static char a[10], b[20], c[30];

static struct iov_at three(struct iovec v[3])
{
	v[0] = iov_of(a, sizeof(a));
	v[1] = iov_of(b, sizeof(b));
	v[2] = iov_of(c, sizeof(c));
	return (struct iov_at){.v = v, .n = 3};
}

static void length_is_the_sum(void **state)
{
	struct iovec v[3];

	(void)state;
	three(v);
	assert_int_equal(iov_length(v, 3), 60);
	assert_int_equal(iov_length(v, 0), 0);
}

static void skip_stops_at_borders_and_inside(void **state)
{
	struct iovec v[3], part;
	struct iov_at at = three(v);
	unsigned n;

	(void)state;
	iov_at_skip(&at, 10);
	assert_ptr_equal(iov_at_next(&at, &part, 8, &n), &v[1]);
	assert_int_equal(n, 2);
	iov_at_skip(&at, 5);
	assert_ptr_equal(iov_at_next(&at, &part, 8, &n), &part);
	assert_int_equal(n, 1);
	assert_ptr_equal(part.iov_base, b + 5);
	assert_int_equal(part.iov_len, 15);
	iov_at_skip(&at, 15 + 29);
	assert_int_equal(at.skip, 29);
	iov_at_skip(&at, 1);
	assert_int_equal(at.n, 0);
	iov_at_skip(&at, 1000);
	assert_int_equal(at.n, 0);
}

static void next_gives_no_more_than_asked(void **state)
{
	struct iovec v[3], part;
	struct iov_at at = three(v);
	unsigned n;

	(void)state;
	assert_ptr_equal(iov_at_next(&at, &part, 2, &n), v);
	assert_int_equal(n, 2);
}

static void skip_passes_empty_ranges(void **state)
{
	struct iovec v[3] = {iov_of(a, 0), iov_of(b, 4), iov_of(c, 0)};
	struct iov_at at = {.v = v, .n = 3};

	(void)state;
	iov_at_skip(&at, 4);
	assert_int_equal(at.n, 0);
}

static void alignment_counts_addresses_and_lengths(void **state)
{
	_Alignas(64) static char buf[128];
	struct iovec v[2] = {iov_of(buf, 64), iov_of(buf + 64, 64)};

	(void)state;
	assert_true(iov_is_aligned(v, 2, 64));
	v[1].iov_len = 63;
	assert_false(iov_is_aligned(v, 2, 64));
	v[1] = iov_of(buf + 1, 64);
	assert_false(iov_is_aligned(v, 2, 64));
	assert_true(iov_is_aligned(v, 2, 1));
}

static void gather_and_scatter_start_inside_a_range(void **state)
{
	struct iovec v[3];
	struct iov_at at = three(v);
	char buf[64];

	(void)state;
	memset(buf, 'x', sizeof(buf));
	memset(a, 0, sizeof(a));
	memset(b, 0, sizeof(b));
	iov_at_skip(&at, 7);
	assert_int_equal(iov_at_scatter(&at, buf, 5), 5);
	assert_memory_equal(a, "\0\0\0\0\0\0\0xxx", 10);
	assert_memory_equal(b, "xx\0", 3);
	assert_int_equal(iov_at_gather(&at, buf, 6), 6);
	assert_memory_equal(buf, "xxxxx\0x", 7);
	assert_int_equal(iov_at_gather(&at, buf, sizeof(buf)), 53);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(length_is_the_sum),
		cmocka_unit_test(skip_stops_at_borders_and_inside),
		cmocka_unit_test(next_gives_no_more_than_asked),
		cmocka_unit_test(skip_passes_empty_ranges),
		cmocka_unit_test(alignment_counts_addresses_and_lengths),
		cmocka_unit_test(gather_and_scatter_start_inside_a_range),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
