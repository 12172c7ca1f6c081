/* SPDX-License-Identifier: BSD-3-Clause */
/* exit_codes_test.c - what the exit status means */
#include "base/exit_codes.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static void debug_exit_has_a_range_of_its_own(void **state)
{
	(void)state;
	assert_int_equal(exit_code_debug(0), 64);
	assert_int_equal(exit_code_debug(5), 69);
	assert_int_equal(exit_code_debug(63), 127);
	assert_int_equal(exit_code_debug(64), 127);
	assert_int_equal(exit_code_debug(UINT32_MAX), 127);
}

static void table_is_printed_for_help_and_manual(void **state)
{
	char text[4096] = "";
	FILE *out = fmemopen(text, sizeof(text), "w");

	(void)state;
	exit_code_help(out);
	exit_code_mdoc(out);
	fclose(out);
	assert_non_null(strstr(text, "  33      the guest reported a panic\n"));
	assert_non_null(strstr(text, ".It 33\nthe guest reported a panic.\n"));
	assert_non_null(strstr(text, ".It 64-127\n"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(debug_exit_has_a_range_of_its_own),
		cmocka_unit_test(table_is_printed_for_help_and_manual),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
