/* SPDX-License-Identifier: BSD-3-Clause */
/* restarts_test.c - who dies in a loop is slowed down and given up, who dies now and then is not */
#include "vm/restarts.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static const uint64_t ms = 1000000, second = 1000000000, start = 7000000000;

/* Ends, each so long after the process was started, until there is no next one or `most`. */
static unsigned ends(struct restarts *r, uint64_t *now, uint64_t life_ns, unsigned most)
{
	for (unsigned n = 1; n <= most; n++) {
		int wait;

		*now += life_ns;
		wait = restarts_count(r, *now);
		if (wait == RESTARTS_NEVER)
			return n;
		*now += (uint64_t)wait * ms;
	}
	return most + 1;
}

static void a_burst_is_borne_at_once(void **state)
{
	struct restarts r = {0};

	(void)state;
	for (unsigned i = 0; i < RESTARTS_AT_ONCE; i++)
		assert_int_equal(restarts_count(&r, start), 0);
	assert_true(restarts_count(&r, start) > 0);
}

static void delays_double_up_to_the_longest(void **state)
{
	static const int wanted[] = {50, 100, 200, 400, 400};
	struct restarts r = {0};

	(void)state;
	for (unsigned i = 0; i < RESTARTS_AT_ONCE; i++)
		assert_int_equal(restarts_count(&r, start), 0);
	for (unsigned i = 0; i < ARRAY_LEN(wanted); i++)
		assert_int_equal(restarts_count(&r, start), wanted[i]);
	for (unsigned i = ARRAY_LEN(wanted); i < RESTARTS_DELAYED; i++)
		assert_int_equal(restarts_count(&r, start), RESTARTS_DELAY_MAX_MS);
	assert_int_equal(restarts_count(&r, start), RESTARTS_NEVER);
}

static void one_that_dies_at_once_is_given_up_in_seconds(void **state)
{
	struct restarts r = {0};
	uint64_t now = start;

	(void)state;
	assert_true(ends(&r, &now, 1 * ms, 1000) < 2 * (RESTARTS_AT_ONCE + RESTARTS_DELAYED));
	assert_in_range((now - start) / second, 3, 15);
}

static void one_that_lives_for_any_time_is_started_once_a_minute_at_most(void **state)
{
	static const uint64_t lives_ms[] = {1, 100, 500, 999, 1001, 2000, 10000, 59000};

	(void)state;
	for (unsigned i = 0; i < ARRAY_LEN(lives_ms); i++) {
		struct restarts r = {0};
		uint64_t now = start;
		unsigned n = ends(&r, &now, lives_ms[i] * ms, 100000);

		assert_true(n <= 100000);
		assert_true(n <= RESTARTS_IN_ALL + 2 + (now - start) / (60 * second));
	}
}

static void one_that_dies_once_a_minute_is_always_started_again(void **state)
{
	struct restarts r = {0};
	uint64_t now = start;

	(void)state;
	assert_int_equal(ends(&r, &now, 60 * second, 100000), 100001);
}

static void time_earns_a_burst_back_and_no_more(void **state)
{
	struct restarts r = {0};
	uint64_t now = start + 1000000 * second;

	(void)state;
	for (unsigned round = 0; round < 3; round++) {
		for (unsigned i = 0; i < RESTARTS_AT_ONCE; i++)
			assert_int_equal(restarts_count(&r, now), 0);
		assert_int_equal(restarts_count(&r, now), RESTARTS_DELAY_MS);
		now += 3600 * second;
	}
}

static void nothing_is_owed_when_the_machine_has_just_started(void **state)
{
	struct restarts r = {0};

	(void)state;
	for (unsigned i = 0; i < RESTARTS_AT_ONCE; i++)
		assert_int_equal(restarts_count(&r, 1), 0);
	assert_int_equal(r.count, RESTARTS_AT_ONCE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_burst_is_borne_at_once),
		cmocka_unit_test(delays_double_up_to_the_longest),
		cmocka_unit_test(one_that_dies_at_once_is_given_up_in_seconds),
		cmocka_unit_test(one_that_lives_for_any_time_is_started_once_a_minute_at_most),
		cmocka_unit_test(one_that_dies_once_a_minute_is_always_started_again),
		cmocka_unit_test(time_earns_a_burst_back_and_no_more),
		cmocka_unit_test(nothing_is_owed_when_the_machine_has_just_started),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
