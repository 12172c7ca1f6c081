/* SPDX-License-Identifier: BSD-3-Clause */
/* limit_test.c - who is told to wait is called, and not before */
#include "devices/limit.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

enum { MS = 1000000, PATIENCE_MS = 10000 };

static struct loop loop;
static struct limit limit;
static unsigned opened;

static void count_opened(struct limit *l)
{
	assert_ptr_equal(l, &limit);
	assert_false(l->is_shut);
	opened++;
}

static int setup(void **state)
{
	(void)state;
	opened = 0;
	limit = (struct limit){.opened = count_opened};
	assert_int_equal(loop_init(&loop), 0);
	assert_int_equal(limit_init(&limit, &loop), 0);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	limit_fini(&limit, &loop);
	loop_fini(&loop);
	return 0;
}

static void set(uint64_t bps, uint32_t ops)
{
	const struct limit_values v = {.bps = bps, .ops = ops, .burst_ms = 1};

	limit_set(&limit, &v);
}

static void without_values_nothing_waits(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 1000; i++) {
		assert_true(limit_may_go(&limit));
		limit_take(&limit, UINT32_MAX);
	}
}

static void who_waits_is_called_when_it_is_time(void **state)
{
	uint64_t begin = clock_ns();

	(void)state;
	set(1000, 0);
	assert_true(limit_may_go(&limit));
	limit_take(&limit, 50);
	assert_false(limit_may_go(&limit));
	assert_false(limit_may_go(&limit));
	assert_int_equal(loop_once(&loop, PATIENCE_MS), 0);
	assert_int_equal(opened, 1);
	assert_true(clock_ns() - begin >= 49 * MS);
	assert_true(limit_may_go(&limit));
}

static void operations_count_by_themselves(void **state)
{
	(void)state;
	set(1 << 30, 1);
	limit_take(&limit, 0);
	limit_take(&limit, 0);
	assert_false(limit_may_go(&limit));
}

static void lifting_a_limit_calls_who_waits(void **state)
{
	(void)state;
	set(1, 0);
	limit_take(&limit, 1 << 30);
	assert_false(limit_may_go(&limit));
	set(0, 0);
	assert_int_equal(loop_once(&loop, PATIENCE_MS), 0);
	assert_int_equal(opened, 1);
	assert_true(limit_may_go(&limit));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(without_values_nothing_waits, setup, teardown),
		cmocka_unit_test_setup_teardown(who_waits_is_called_when_it_is_time, setup,
						teardown),
		cmocka_unit_test_setup_teardown(operations_count_by_themselves, setup, teardown),
		cmocka_unit_test_setup_teardown(lifting_a_limit_calls_who_waits, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
