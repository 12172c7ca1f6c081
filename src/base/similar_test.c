/* SPDX-License-Identifier: BSD-3-Clause */
/* similar_test.c - which of several names somebody meant who mistyped one */
#include "base/similar.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

/* The name of three that is offered for what was typed. */
static const char *offered(const char *typed)
{
	struct similar s;

	similar_init(&s, typed, strlen(typed));
	similar_try(&s, "status");
	similar_try(&s, "stop");
	similar_try(&s, "a-name-of-more-letters-than-are-compared");
	return s.best ? s.best : "";
}

static void letters_changed_added_and_left_out_are_near(void **state)
{
	(void)state;
	assert_string_equal(offered("sttaus"), "status");
	assert_string_equal(offered("xstatus"), "status");
	assert_string_equal(offered("statu"), "status");
	assert_string_equal(offered("stp"), "stop");
	assert_string_equal(offered("status"), "status");
}

static void what_is_far_gets_no_offer(void **state)
{
	(void)state;
	assert_string_equal(offered("run"), "");
	assert_string_equal(offered("resume"), "");
	assert_string_equal(offered("st"), "");
	assert_string_equal(offered("a-name-of-more-letters-than-are-compared"), "");
}

static void only_the_first_bytes_count(void **state)
{
	struct similar s;

	(void)state;
	similar_init(&s, "stxp=3", 4);
	similar_try(&s, "stop");
	assert_string_equal(s.best, "stop");
}

static void nearest_wins_and_the_first_of_equals(void **state)
{
	struct similar s;

	(void)state;
	similar_init(&s, "rings", 5);
	similar_try(&s, "rngs");
	similar_try(&s, "ringed");
	assert_string_equal(s.best, "rngs");
	similar_try(&s, "rings");
	assert_string_equal(s.best, "rings");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(letters_changed_added_and_left_out_are_near),
		cmocka_unit_test(what_is_far_gets_no_offer),
		cmocka_unit_test(only_the_first_bytes_count),
		cmocka_unit_test(nearest_wins_and_the_first_of_equals),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
