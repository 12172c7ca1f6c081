/* SPDX-License-Identifier: BSD-3-Clause */
/* trace_test.c - what stands in a ring after it was written to */
#include "base/trace.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static struct trace_ring ring;

static int set_up(void **state)
{
	(void)state;
	memset(&ring, 0, sizeof(ring));
	trace_begin(&ring);
	return 0;
}

static void records_stand_in_their_order(void **state)
{
	(void)state;
	trace(TRACE_KICK, 1, 2, 3, 4);
	trace(TRACE_CALL, 5, 6, 7, 8);

	assert_int_equal(ring.next, 2);
	assert_int_equal(ring.records[0].kind, TRACE_KICK);
	assert_int_equal(ring.records[0].what, 1);
	assert_int_equal(ring.records[0].n, 2);
	assert_int_equal(ring.records[0].a, 3);
	assert_int_equal(ring.records[0].b, 4);
	assert_int_equal(ring.records[1].kind, TRACE_CALL);
	assert_true(ring.records[1].time >= ring.records[0].time);
}

static void newest_replace_the_oldest(void **state)
{
	(void)state;
	for (unsigned i = 0; i < TRACE_RECORDS + 2; i++)
		trace(TRACE_KICK, 0, i, 0, 0);

	assert_int_equal(ring.next, TRACE_RECORDS + 2);
	assert_int_equal(ring.records[0].n, TRACE_RECORDS);
	assert_int_equal(ring.records[1].n, TRACE_RECORDS + 1);
	assert_int_equal(ring.records[2].n, 2);
}

static void next_process_goes_on_behind(void **state)
{
	(void)state;
	trace(TRACE_KICK, 0, 1, 0, 0);
	trace_begin(&ring);
	trace(TRACE_KICK, 0, 2, 0, 0);
	assert_int_equal(ring.next, 2);
	assert_int_equal(ring.records[1].n, 2);

	ring.next = UINT64_MAX - 3; /* whatever the last one left there */
	trace_begin(&ring);
	for (unsigned i = 0; i < 2 * TRACE_RECORDS; i++)
		trace(TRACE_KICK, 0, 3, 0, 0);
	for (unsigned i = 0; i < TRACE_RECORDS; i++)
		assert_int_equal(ring.records[i].n, 3);
}

static void value_can_be_added_later(void **state)
{
	struct trace_record *r = trace(TRACE_EXIT, 0, 0, 0, 0);

	(void)state;
	trace_value(r, 4, 7);
	assert_int_equal(ring.records[0].b, 7);
	assert_int_equal(ring.records[0].n, 4);
}

static void more_has_the_time_of_the_one_before(void **state)
{
	(void)state;
	trace(TRACE_KICK, 0, 0, 0, 0);
	trace_more(TRACE_TAKE, 0, 0, 0, 0);
	assert_int_equal(ring.records[0].time, ring.records[1].time);
}

static void without_a_ring_nothing_happens(void **state)
{
	(void)state;
	trace_begin(NULL);
	assert_null(trace(TRACE_KICK, 0, 0, 0, 0));
	trace_more(TRACE_KICK, 0, 0, 0, 0);
	assert_int_equal(ring.next, 0);
}

#define TEST(name) cmocka_unit_test_setup(name, set_up)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(records_stand_in_their_order),
		TEST(newest_replace_the_oldest),
		TEST(next_process_goes_on_behind),
		TEST(value_can_be_added_later),
		TEST(more_has_the_time_of_the_one_before),
		TEST(without_a_ring_nothing_happens),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
