/* SPDX-License-Identifier: BSD-3-Clause */
/* err_test.c - messages: built, prefixed, cut */
#include "base/err.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static void set_ends_with_the_cause(void **state)
{
	struct err e;

	(void)state;
	assert_int_equal(err_set(&e, ENOENT, "cannot open %s", "a.img"), -ENOENT);
	assert_string_equal(e.text, "cannot open a.img: No such file or directory; check the path");
	assert_int_equal(e.code, ENOENT);
}

static void say_is_the_text_alone(void **state)
{
	struct err e;

	(void)state;
	assert_int_equal(err_say(&e, EINVAL, "not %d", 5), -EINVAL);
	assert_string_equal(e.text, "not 5");
	assert_int_equal(e.code, EINVAL);
}

static void context_goes_in_front_and_keeps_the_code(void **state)
{
	struct err e;

	(void)state;
	err_set(&e, EACCES, "cannot open");
	assert_int_equal(err_in(&e, "%s", "a.img"), -EACCES);
	assert_int_equal(err_in(&e, "--block"), -EACCES);
	assert_string_equal(e.text,
			    "--block: a.img: cannot open: Permission denied; check who may use it");
}

static void what_was_told_already_has_no_text(void **state)
{
	struct err e;

	(void)state;
	err_set(&e, EACCES, "cannot open");
	assert_int_equal(err_told(&e, EIO), -EIO);
	assert_int_equal(e.code, EIO);
	assert_string_equal(e.text, "");
}

static void text_that_does_not_fit_is_cut(void **state)
{
	char text[2 * ERR_TEXT_MAX];
	struct err e;

	(void)state;
	memset(text, 'x', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';

	err_set(&e, EIO, "%s", text);
	assert_int_equal(strlen(e.text), ERR_TEXT_MAX - 1);
	err_say(&e, EIO, "%s", text);
	assert_int_equal(strlen(e.text), ERR_TEXT_MAX - 1);
	err_in(&e, "context");
	assert_int_equal(strlen(e.text), ERR_TEXT_MAX - 1);
	assert_memory_equal(e.text, "context: xxx", 12);
	err_in(&e, "%s", text);
	assert_int_equal(strlen(e.text), ERR_TEXT_MAX - 1);
	assert_int_equal(e.code, EIO);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(set_ends_with_the_cause),
		cmocka_unit_test(say_is_the_text_alone),
		cmocka_unit_test(context_goes_in_front_and_keeps_the_code),
		cmocka_unit_test(what_was_told_already_has_no_text),
		cmocka_unit_test(text_that_does_not_fit_is_cut),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
