/* SPDX-License-Identifier: BSD-3-Clause */
/* spin_test.c - looks for work where sleeps are short, and stops where looking is of no use */
#include "devices/spin.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

enum { SHORT_NS = SPIN_NS / 4, LONG_NS = 10 * SPIN_NS };

static struct spin s;
static uint64_t now;

static int fresh(void **state)
{
	(void)state;
	s = (struct spin){0};
	now = 1000000;
	return 0;
}

/* Idle for so long, then woken; whether it looked for work, in vain. */
static bool sleep_ns(uint64_t ns)
{
	bool looked = spin_begin(&s, now);

	if (looked) {
		assert_true(spin_goes_on(&s, now + SPIN_NS - 1));
		assert_false(spin_goes_on(&s, now + SPIN_NS));
		spin_failed(&s);
	}
	now += ns;
	spin_woken(&s, now);
	return looked;
}

static unsigned looks_in(unsigned sleeps, uint64_t ns)
{
	unsigned looks = 0;

	for (unsigned i = 0; i < sleeps; i++)
		looks += sleep_ns(ns);
	return looks;
}

static void test_long_sleeps_are_never_looked_away(void **state)
{
	(void)state;
	assert_int_equal(looks_in(10000, LONG_NS), 0);
}

static void test_one_look_in_vain_ends_it(void **state)
{
	(void)state;
	sleep_ns(SHORT_NS);
	assert_true(sleep_ns(LONG_NS));
	assert_int_equal(looks_in(10000, LONG_NS), 0);
}

static void test_looks_that_find_something_go_on(void **state)
{
	(void)state;
	sleep_ns(SHORT_NS);
	for (unsigned i = 0; i < 1000; i++) {
		assert_true(spin_begin(&s, now));
		now += SHORT_NS;
		spin_found(&s);
		spin_woken(&s, now); /* by what had come before: changes nothing */
	}
}

/* The driver needs the processor that we look with: sleeps are short, and looks of no use. */
static void test_looks_in_vain_become_rare(void **state)
{
	(void)state;
	assert_in_range(looks_in(100, SHORT_NS), 1, 6);
	looks_in(10 * SPIN_BACKOFF_MAX, SHORT_NS);
	assert_in_range(looks_in(10 * SPIN_BACKOFF_MAX, SHORT_NS), 9, 11);
}

static void test_looks_come_back_when_they_are_of_use(void **state)
{
	(void)state;
	looks_in(10 * SPIN_BACKOFF_MAX, SHORT_NS);
	for (unsigned i = 0; i <= SPIN_BACKOFF_MAX && !s.is_on; i++)
		sleep_ns(SHORT_NS);
	assert_true(s.is_on);
	for (unsigned i = 0; i < 20; i++) {
		assert_true(spin_begin(&s, now));
		spin_found(&s);
	}
	assert_true(sleep_ns(SHORT_NS));
	assert_in_range(looks_in(20, SHORT_NS), 1, 4);
}

#define TEST(name) cmocka_unit_test_setup(test_##name, fresh)

int main(void)
{
	static const struct CMUnitTest tests[] = {
		TEST(long_sleeps_are_never_looked_away), TEST(one_look_in_vain_ends_it),
		TEST(looks_that_find_something_go_on),	 TEST(looks_in_vain_become_rare),
		TEST(looks_come_back_when_they_are_of_use),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
