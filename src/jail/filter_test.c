/* SPDX-License-Identifier: BSD-3-Clause */
/* filter_test.c - compiled programs against the rules they come from, over all numbers */
#include "jail/filter.h"

#include "jail/filter_run.h"

#include <errno.h>
#include <stdarg.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>

enum { NUMBERS = 700, X86_64 = 0 };

struct fixture {
	struct rules *rules;
	struct filter *filter;
	struct err e;
	uint32_t seed;
};

static int set_up(void **state)
{
	struct fixture *x = calloc(1, sizeof(*x));

	x->rules = rules_new(names_arch_native());
	x->filter = filter_new();
	x->seed = 12345;
	*state = x;
	return x->rules && x->filter ? 0 : -1;
}

static int tear_down(void **state)
{
	struct fixture *x = *state;

	free(x->rules);
	free(x->filter);
	free(x);
	return 0;
}

static uint32_t pick(struct fixture *x, uint32_t n)
{
	x->seed = x->seed * 1664525 + 1013904223;
	return (x->seed >> 8) % n;
}

/* Values around which comparisons turn. */
static uint64_t pick_value(struct fixture *x)
{
	static const uint64_t values[] = {
		0,
		1,
		2,
		15,
		0x7fffffff,
		0x80000000,
		0xffffffff,
		0x100000000,
		0x100000001,
		0x1ffffffff,
		0xfffffffb,
		UINT64_MAX,
		UINT64_MAX - 1,
		0x8000000000000000,
	};

	return values[pick(x, ARRAY_LEN(values))] + pick(x, 3) - 1;
}

static void build(struct fixture *x)
{
	assert_int_equal(filter_build(x->filter, x->rules, FILTER_KILL, &x->e), 0);
}

static void assert_same(struct fixture *x, int number, const uint64_t args[6])
{
	assert_int_equal(filter_outcome(x->filter, x->rules->arch, number, args),
			 rules_outcome(x->rules, number, args));
}

static void compare_all_numbers(struct fixture *x, unsigned rounds)
{
	for (int n = 0; n < NUMBERS; n++) {
		for (unsigned round = 0; round < rounds; round++) {
			uint64_t args[6];

			for (unsigned i = 0; i < 6; i++)
				args[i] = pick_value(x);
			assert_same(x, n, args);
		}
	}
}

static void an_empty_list_refuses_everything(void **state)
{
	struct fixture *x = *state;
	const uint64_t none[6] = {0};

	build(x);

	for (int n = 0; n < NUMBERS; n++)
		assert_int_equal(filter_outcome(x->filter, x->rules->arch, n, none), RULE_KILL);
}

static void a_list_allows_its_rows_and_nothing_else(void **state)
{
	static const struct call calls[] = {CALL(read), CALL(write), CALL(exit_group), CALL_END};
	struct fixture *x = *state;
	const uint64_t none[6] = {0};

	assert_int_equal(rules_calls_add(x->rules, calls, &x->e), 0);
	build(x);

	for (int n = 0; n < NUMBERS; n++) {
		bool listed = n == SYS_read || n == SYS_write || n == SYS_exit_group;

		assert_int_equal(filter_outcome(x->filter, x->rules->arch, n, none),
				 listed ? RULE_ALLOW : RULE_KILL);
	}
}

static uint32_t action_at(struct fixture *x, int number, uint32_t token)
{
	struct seccomp_data data = {.nr = number, .arch = token};

	return filter_run(x->filter, &data);
}

static void other_architectures_and_x32_kill(void **state)
{
	static const struct call calls[] = {CALL(read), CALL_END};
	struct fixture *x = *state;
	uint32_t native = names_arch_token(names_arch_native());

	assert_int_equal(rules_calls_add(x->rules, calls, &x->e), 0);
	assert_int_equal(filter_build(x->filter, x->rules, FILTER_TRAP, &x->e), 0);

	assert_int_equal(action_at(x, SYS_read, native), SECCOMP_RET_ALLOW);
	assert_int_equal(action_at(x, SYS_openat, native), SECCOMP_RET_TRAP);
	assert_int_equal(action_at(x, SYS_read, native ^ 1), SECCOMP_RET_KILL_PROCESS);
	assert_int_equal(action_at(x, SYS_read | FILTER_KILL_NUMBER, native),
			 SECCOMP_RET_KILL_PROCESS);
	assert_int_equal(action_at(x, -1, native), SECCOMP_RET_KILL_PROCESS);
}

static void rows_with_one_name_are_alternatives(void **state)
{
	static const struct call calls[] = {
		CALL_ARG(ioctl, 1, 7),
		CALL_ERROR(clone3, ENOSYS),
		CALL_IF2(mmap, 2, CALL_TEST_IN, 3, 3, CALL_TEST_EQ, 1),
		CALL_ARG(ioctl, 1, 0x100000000),
		CALL_ERROR(mmap, ENOMEM),
		CALL(futex),
		CALL_ARG(futex, 1, 5),
		CALL_END,
	};
	struct fixture *x = *state;
	const struct {
		int number;
		uint64_t args[6];
		int outcome;
	} cases[] = {
		{SYS_ioctl, {0, 7}, RULE_ALLOW},
		{SYS_ioctl, {0, 0x100000000}, RULE_ALLOW},
		{SYS_ioctl, {0, 0x100000007}, RULE_KILL},
		{SYS_ioctl, {7, 0}, RULE_KILL},
		{SYS_clone3, {0}, ENOSYS},
		{SYS_mmap, {0, 0, 2, 1}, RULE_ALLOW},
		{SYS_mmap, {0, 0, 4, 1}, ENOMEM},
		{SYS_mmap, {0, 0, 2, 2}, ENOMEM},
		{SYS_mmap, {0, 0, 0x100000002, 1}, ENOMEM},
		{SYS_futex, {0, 9}, RULE_ALLOW},
	};

	assert_int_equal(rules_calls_add(x->rules, calls, &x->e), 0);
	build(x);

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		assert_int_equal(
			filter_outcome(x->filter, x->rules->arch, cases[i].number, cases[i].args),
			cases[i].outcome);
		assert_same(x, cases[i].number, cases[i].args);
	}
}

static void an_unknown_name_is_an_error_and_an_absent_one_is_not(void **state)
{
	static const struct call wrong[] = {CALL(reed), CALL_END};
	static const struct call absent[] = {CALL(epoll_wait), CALL(epoll_pwait), CALL_END};
	struct fixture *x = *state;
	call_arch arm;

	assert_int_equal(rules_calls_add(x->rules, wrong, &x->e), -EINVAL);
	assert_string_equal(x->e.text, "reed: no such system call");
	assert_true(names_arch("aarch64", &arm));
	x->rules->arch = arm;
	assert_int_equal(rules_calls_add(x->rules, absent, &x->e), 0);
	assert_int_equal(x->rules->count, 1);
}

/* Every test, on every argument, around every value that could be taken apart wrongly. */
static void tests_compare_64_bits(void **state)
{
	struct fixture *x = *state;

	for (uint8_t test = CALL_TEST_EQ; test <= CALL_TEST_IN; test++) {
		for (unsigned round = 0; round < 400; round++) {
			uint8_t arg = (uint8_t)pick(x, 6);
			struct call_cond c = {.value = pick_value(x), .arg = arg, .test = test};
			uint64_t args[6] = {0};

			x->rules->count = 0;
			x->rules->nconds = 0;
			assert_true(rules_cond_add(x->rules, rules_add(x->rules, 1), c, true));
			build(x);
			args[arg] = pick_value(x);
			assert_same(x, 1, args);
			args[arg] = c.value;
			assert_same(x, 1, args);
		}
	}
}

static void random_rules_mean_the_same_compiled(void **state)
{
	struct fixture *x = *state;

	for (unsigned round = 0; round < 60; round++) {
		x->rules->count = 0;
		x->rules->nconds = 0;
		for (int n = 0; n < NUMBERS && x->rules->count < RULES_MAX;
		     n += 1 + (int)pick(x, 9)) {
			struct rule *rule = rules_add(x->rules, n);

			rule->met = pick(x, 3) ? RULE_ALLOW : (int16_t)pick(x, 4096);
			rule->otherwise = pick(x, 3) ? RULE_KILL : (int16_t)pick(x, 4096);
			for (unsigned i = pick(x, 9); i > 5; i--) {
				struct call_cond c = {.value = pick_value(x),
						      .arg = (uint8_t)pick(x, 6),
						      .test = (uint8_t)(1 + pick(x, 8))};

				assert_true(
					rules_cond_add(x->rules, rule, c, i == 6 || pick(x, 2)));
			}
		}
		build(x);
		compare_all_numbers(x, 2);
	}
}

static void jumps_reach_over_long_rules(void **state)
{
	struct fixture *x = *state;
	struct rule *rule = rules_add(x->rules, 10);
	uint64_t args[6] = {0};

	rules_add(x->rules, 5)->met = EPERM;
	rules_add(x->rules, 300);
	for (uint64_t i = 0; i < 600; i++) {
		struct call_cond c = {.value = i << 20, .arg = 1, .test = CALL_TEST_EQ};

		assert_true(rules_cond_add(x->rules, rule, c, true));
	}
	build(x);
	assert_true(filter_length(x->filter) > 2000);

	for (uint64_t i = 0; i < 610; i++) {
		args[1] = i << 20;
		assert_same(x, 10, args);
	}
	compare_all_numbers(x, 1);
}

static void a_program_too_long_is_an_error(void **state)
{
	struct fixture *x = *state;
	struct rule *rule = rules_add(x->rules, 10);
	const struct call_cond c = {.value = 1, .arg = 1, .test = CALL_TEST_GT};

	for (unsigned i = 0; i < RULES_CONDS_MAX; i++)
		assert_true(rules_cond_add(x->rules, rule, c, true));

	assert_false(rules_cond_add(x->rules, rule, c, true));
	assert_int_equal(filter_build(x->filter, x->rules, FILTER_KILL, &x->e), -E2BIG);
}

static void a_call_takes_few_steps(void **state)
{
	struct fixture *x = *state;

	for (int n = 0; n < 400; n += 2)
		rules_add(x->rules, n);
	build(x);

	/* 401 ranges: nine levels, each one instruction and seldom a second. */
	assert_true(filter_length(x->filter) < 1300);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(an_empty_list_refuses_everything, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(a_list_allows_its_rows_and_nothing_else, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(other_architectures_and_x32_kill, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(rows_with_one_name_are_alternatives, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(
			an_unknown_name_is_an_error_and_an_absent_one_is_not, set_up, tear_down),
		cmocka_unit_test_setup_teardown(tests_compare_64_bits, set_up, tear_down),
		cmocka_unit_test_setup_teardown(random_rules_mean_the_same_compiled, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(jumps_reach_over_long_rules, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_program_too_long_is_an_error, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_call_takes_few_steps, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
