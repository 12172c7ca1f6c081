/* SPDX-License-Identifier: BSD-3-Clause */
/* bucket_test.c - rates hold, bursts are bounded, debts are paid */
#include "backend/bucket.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

enum { MS = 1000000 };

static const uint64_t second = 1000000000, start = 5000000000;

/* Takes pieces of n units for so long, going on as soon as it may; units taken. */
static uint64_t taken_in(struct bucket *b, uint64_t *now, uint64_t length_ns, uint64_t n)
{
	uint64_t end = *now + length_ns, sum = 0;

	while (*now < end) {
		uint64_t wait = bucket_wait(b, *now);

		if (wait == 0) {
			bucket_take(b, *now, n);
			sum += n;
		}
		*now += wait;
	}
	return sum;
}

static void without_a_rate_nothing_waits(void **state)
{
	struct bucket b = {0};

	(void)state;
	bucket_take(&b, start, UINT64_MAX);
	assert_int_equal(bucket_wait(&b, start), 0);
}

static void rate_holds_on_average(void **state)
{
	static const struct {
		uint64_t rate, piece;
	} rows[] = {{1000, 1}, {1000, 7}, {1 << 20, 1500}, {1 << 20, 1 << 22}, {3, 1},
		    {999999937, 65536}};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct bucket b = {0};
		uint64_t now = start, sum, wanted = 100 * rows[i].rate;

		bucket_set(&b, rows[i].rate, 0, now);
		sum = taken_in(&b, &now, 100 * second, rows[i].piece);
		assert_true(sum >= wanted);
		assert_true(sum <= wanted + rows[i].piece);
	}
}

static void idle_time_counts_up_to_the_burst(void **state)
{
	struct bucket b = {0};
	uint64_t now = start, sum = 0;

	(void)state;
	bucket_set(&b, 1000, 100 * MS, now);
	bucket_take(&b, now, 1);
	now += 3600 * second;
	for (; bucket_wait(&b, now) == 0; sum++)
		bucket_take(&b, now, 1);
	assert_int_equal(sum, 101); /* 100 ms worth, and the one that overdraws */
}

static void large_request_is_paid_for_afterwards(void **state)
{
	struct bucket b = {0};

	(void)state;
	bucket_set(&b, 1000, 0, start);
	assert_int_equal(bucket_wait(&b, start), 0);
	bucket_take(&b, start, 5000);
	assert_int_equal(bucket_wait(&b, start), 5 * second);
	assert_int_equal(bucket_wait(&b, start + second), 4 * second);
	assert_int_equal(bucket_wait(&b, start + 5 * second), 0);
}

static void debt_is_carried_to_a_new_rate(void **state)
{
	struct bucket b = {0};

	(void)state;
	bucket_set(&b, 1, 0, start);
	bucket_take(&b, start, 3600);
	bucket_set(&b, 3600, 0, start);
	assert_int_equal(bucket_wait(&b, start), second);
	bucket_set(&b, 7200, 0, start + second / 2);
	assert_int_equal(bucket_wait(&b, start + second / 2), second / 4);
	bucket_set(&b, 0, 0, start);
	assert_int_equal(bucket_wait(&b, start), 0);
	bucket_set(&b, 10, 0, start + 10 * second);
	assert_int_equal(bucket_wait(&b, start + 10 * second), 0);
}

static void absurd_amounts_do_not_wrap(void **state)
{
	struct bucket b = {0};

	(void)state;
	bucket_set(&b, 1, UINT64_MAX, start);
	bucket_take(&b, start, UINT64_MAX);
	bucket_take(&b, start, UINT64_MAX);
	assert_true(bucket_wait(&b, start) > 1000 * second);
	b = (struct bucket){0};
	bucket_set(&b, UINT64_MAX, 0, start);
	bucket_take(&b, start, UINT64_MAX);
	assert_int_equal(bucket_wait(&b, start), second);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(without_a_rate_nothing_waits),
		cmocka_unit_test(rate_holds_on_average),
		cmocka_unit_test(idle_time_counts_up_to_the_burst),
		cmocka_unit_test(large_request_is_paid_for_afterwards),
		cmocka_unit_test(debt_is_carried_to_a_new_rate),
		cmocka_unit_test(absurd_amounts_do_not_wrap),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
