/* SPDX-License-Identifier: BSD-3-Clause */
/* policy_test.c */
#include "jail/policy.h"

#include "jail/filter_run.h"
#include "jail/seccomp.h"

#include <errno.h>
#include <stdarg.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum { X86_64 = 0 };

struct fixture {
	struct rules *rules;
	struct err e;
	char folder[64];
};

static int set_up(void **state)
{
	struct fixture *x = calloc(1, sizeof(*x));

	x->rules = rules_new(X86_64);
	strcpy(x->folder, "/tmp/policy-test-XXXXXX");
	*state = x;
	return x->rules && mkdtemp(x->folder) ? 0 : -1;
}

static int tear_down(void **state)
{
	struct fixture *x = *state;
	char command[128];

	snprintf(command, sizeof(command), "rm -r %s", x->folder);
	free(x->rules);
	if (system(command) != 0)
		return -1;
	free(x);
	return 0;
}

static int parse(struct fixture *x, const char *text)
{
	x->rules->count = 0;
	x->rules->nconds = 0;
	memset(&x->e, 0, sizeof(x->e));
	return policy_parse(x->rules, "p", text, strlen(text), &x->e);
}

static void assert_refused(struct fixture *x, const char *text, const char *message)
{
	assert_int_equal(parse(x, text), -EINVAL);
	assert_string_equal(x->e.text, message);
}

static void file_write(struct fixture *x, const char *name, const char *text, size_t n)
{
	char path[128];
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", x->folder, name);
	f = fopen(path, "w");
	assert_non_null(f);
	assert_int_equal(fwrite(text, 1, n, f), n);
	fclose(f);
}

/* Reads folder/name; what the message says behind the folder's name. */
static const char *file_refusal(struct fixture *x, const char *name)
{
	char path[128];

	snprintf(path, sizeof(path), "%s/%s", x->folder, name);
	assert_true(policy_read(x->rules, path, &x->e) < 0);
	if (strncmp(x->e.text, x->folder, strlen(x->folder)) != 0)
		return x->e.text;
	return x->e.text + strlen(x->folder) + 1;
}

static void every_form_of_rule_is_read(void **state)
{
	static const char text[] = "# a comment\n"
				   "\n"
				   " \t read: 1 \t\n"
				   "write:1\n"
				   "getpid: return\n"
				   "clone3: return ENOSYS\n"
				   "uname: return 38\n"
				   "getuid: return 0\n"
				   "close :arg0 == 3\n"
				   "dup: arg0 != 0x10 && arg1 < 010\n"
				   "mmap: arg2 in 0xfffffffb && arg3 & MAP_PRIVATE|MAP_SHARED || "
				   "arg2 == PROT_NONE; return ENOMEM\n"
				   "madvise:arg2 == MADV_DONTNEED||arg2 == 16;return\n"
				   "futex: arg1 >= 1 && arg1 <= 2 || arg1 > 5";
	static const struct {
		const char *call;
		uint64_t args[6];
		int outcome;
	} cases[] = {
		{"read", {0}, RULE_ALLOW},
		{"write", {0}, RULE_ALLOW},
		{"getpid", {0}, RULE_KILL},
		{"clone3", {0}, ENOSYS},
		{"uname", {0}, ENOSYS},
		{"getuid", {0}, 0},
		{"close", {3}, RULE_ALLOW},
		{"close", {0x100000003}, RULE_KILL},
		{"dup", {15, 7}, RULE_ALLOW},
		{"dup", {16, 7}, RULE_KILL},
		{"dup", {15, 8}, RULE_KILL},
		{"mmap", {0, 0, 3, 2}, RULE_ALLOW},
		{"mmap", {0, 0, 3, 1}, RULE_ALLOW},
		{"mmap", {0, 0, 3, 4}, ENOMEM},
		{"mmap", {0, 0, 4, 1}, ENOMEM},
		{"mmap", {0, 0, 0, 4}, RULE_ALLOW},
		{"madvise", {0, 0, 4}, RULE_ALLOW},
		{"madvise", {0, 0, 16}, RULE_ALLOW},
		{"madvise", {0, 0, 9}, RULE_KILL},
		{"futex", {0, 0}, RULE_KILL},
		{"futex", {0, 2}, RULE_ALLOW},
		{"futex", {0, 3}, RULE_KILL},
		{"futex", {0, 6}, RULE_ALLOW},
		{"openat", {0}, RULE_KILL},
	};
	struct fixture *x = *state;

	if (parse(x, text) < 0)
		fail_msg("%s", x->e.text);

	for (size_t i = 0; i < ARRAY_LEN(cases); i++)
		assert_int_equal(rules_outcome(x->rules, names_call_number(X86_64, cases[i].call),
					       cases[i].args),
				 cases[i].outcome);
}

static void a_mistake_is_told_with_file_line_and_cause(void **state)
{
	static const struct {
		const char *text, *message;
	} cases[] = {
		{"reed: 1", "p:1: 'reed' is not a system call"},
		{"read: 1\n\n#\nread", "p:4: 'read' has no ':' after it"},
		{": 1", "p:1: '' is not a system call"},
		{"mmap2: 1", "p:1: 'mmap2' is not a system call"},
		{"read: 1\nread: 1", "p:2: a second rule for 'read'; the first is in line 1"},
		{"read:", "p:1: a condition such as 'arg0 == 1' is missing"},
		{"read: 2", "p:1: '2' is not one of arg0 to arg5"},
		{"read: 1; return EPERM", "p:1: '1' is not one of arg0 to arg5"},
		{"read: arg6 == 1", "p:1: 'arg6' is not one of arg0 to arg5"},
		{"read: arg10 == 1", "p:1: 'arg10' is not one of arg0 to arg5"},
		{"read: arg0 = 1", "p:1: '=' is not one of == != < <= > >= & in"},
		{"read: arg0", "p:1: '' is not one of == != < <= > >= & in"},
		{"read: arg0 ==", "p:1: a constant is missing"},
		{"read: arg0 == 1|", "p:1: a constant is missing"},
		{"read: arg0 == PROT_REED",
		 "p:1: 'PROT_REED' is neither a number nor a known constant"},
		{"read: arg0 == 0x", "p:1: '0x' is neither a number nor a known constant"},
		{"read: arg0 == 1x", "p:1: '1x' is neither a number nor a known constant"},
		{"read: arg0 == 0x10000000000000000",
		 "p:1: '0x10000000000000000' is neither a number nor a known constant"},
		{"read: arg0 == 1 2", "p:1: '2' after a condition; expected && or ||"},
		{"read: arg0 == 1 &&", "p:1: a condition such as 'arg0 == 1' is missing"},
		{"read: || arg0 == 1", "p:1: a condition such as 'arg0 == 1' is missing"},
		{"read: arg0 == 1;", "p:1: '' where return is expected"},
		{"read: arg0 == 1; EPERM", "p:1: 'EPERM' where return is expected"},
		{"read: return EPERM 1", "p:1: '1' after return"},
		{"read: return 4096", "p:1: '4096' is not an errno"},
		{"read: return -1", "p:1: '-1' is not an errno"},
		{"@incline /x", "p:1: '@incline /x' is not @include"},
		{"@include /x", "p:1: @include is not possible here"},
		{"\x1b[31mread: 1", "p:1: '?[31mread' is not a system call"},
		{"read: arg0 == aaaaaaaaaabbbbbbbbbbccccccccccddddddddddeeeeeeeeee",
		 "p:1: 'aaaaaaaaaabbbbbbbbbbccccccccccdddddddddd...' is neither a number nor a "
		 "known "
		 "constant"},
	};
	struct fixture *x = *state;

	for (size_t i = 0; i < ARRAY_LEN(cases); i++)
		assert_refused(x, cases[i].text, cases[i].message);
}

static void what_this_architecture_lacks_is_an_error(void **state)
{
	struct fixture *x = *state;

	assert_true(names_arch("aarch64", &x->rules->arch));

	assert_refused(x, "epoll_wait: 1",
		       "p:1: this architecture has no system call 'epoll_wait'");
	assert_int_equal(parse(x, "epoll_pwait: 1"), 0);
}

static void sizes_are_bounded(void **state)
{
	struct fixture *x = *state;
	static char text[POLICY_FILE_MAX + 2];
	size_t n = (size_t)snprintf(text, sizeof(text), "read:");

	memset(text + n, ' ', sizeof(text) - n);
	memcpy(text + n + 1, "arg0 == 1", 9);
	text[n + 1 + POLICY_RULE_MAX] = '1';
	text[n + 2 + POLICY_RULE_MAX] = '\0';
	assert_refused(x, text, "p:1: a rule of more than 1023 bytes");

	memset(text, '#', sizeof(text));
	file_write(x, "long", text, POLICY_FILE_MAX);
	file_write(x, "longer", text, POLICY_FILE_MAX + 1);
	snprintf(text, sizeof(text), "%s/long", x->folder);
	assert_int_equal(policy_read(x->rules, text, &x->e), 0);
	assert_string_equal(file_refusal(x, "longer"), "longer: a policy of more than 65536 bytes");
}

static void too_many_conditions_are_an_error(void **state)
{
	struct fixture *x = *state;
	static char text[40000];
	size_t n = 0;

	/* 64 conditions a line, 17 lines of different calls. */
	for (int call = 0; call < 17; call++) {
		n += (size_t)snprintf(text + n, sizeof(text) - n, "%s: ", names_call(X86_64, call));
		for (int i = 0; i < 64; i++)
			n += (size_t)snprintf(text + n, sizeof(text) - n, "%sarg0 == 1",
					      i ? "||" : "");
		text[n++] = '\n';
	}
	text[n] = '\0';

	assert_refused(x, text, "p:17: more than 1024 conditions");
}

static void files_include_files_one_level_deep(void **state)
{
	static const char outer[] = "@include ./inner\nwrite: 1\n";
	static const char inner[] = "read: return EPERM\n";
	static const char twice[] = "write: 1\n@include ./inner\nread: 1\n";
	static const char clash[] = "read: 1\n@include ./inner\n";
	static const char deep[] = "@include ./outer\n";
	static const char relative[] = "@include inner\n";
	static const char nothing[] = "write: 1\n@include ./absent\n";
	struct fixture *x = *state;
	const uint64_t none[6] = {0};
	char absolute[128];

	file_write(x, "outer", outer, strlen(outer));
	file_write(x, "inner", inner, strlen(inner));
	file_write(x, "twice", twice, strlen(twice));
	file_write(x, "clash", clash, strlen(clash));
	file_write(x, "deep", deep, strlen(deep));
	file_write(x, "relative", relative, strlen(relative));
	file_write(x, "nothing", nothing, strlen(nothing));
	snprintf(absolute, sizeof(absolute), "%s/outer", x->folder);

	assert_int_equal(policy_read(x->rules, absolute, &x->e), 0);
	assert_int_equal(rules_outcome(x->rules, 0, none), EPERM);
	assert_int_equal(rules_outcome(x->rules, 1, none), RULE_ALLOW);

	x->rules->count = 0;
	assert_string_equal(file_refusal(x, "twice"),
			    "twice:3: a second rule for 'read'; the first is in line 1");
	x->rules->count = 0;
	assert_string_equal(file_refusal(x, "clash"),
			    "inner:1: a second rule for 'read'; the first is "
			    "in line 1 of the including file");
	x->rules->count = 0;
	assert_string_equal(file_refusal(x, "deep"), "outer:1: @include in an included file");
	assert_string_equal(file_refusal(x, "relative"),
			    "relative:1: 'inner': an included path starts with / or ./");
	x->rules->count = 0;
	assert_string_equal(file_refusal(x, "nothing"),
			    "absent: cannot open the policy: No such file or directory; check "
			    "the path");
}

static void odd_files_are_refused(void **state)
{
	struct fixture *x = *state;
	char path[128];

	snprintf(path, sizeof(path), "%s/fifo", x->folder);
	assert_int_equal(mkfifo(path, 0600), 0);

	assert_string_equal(file_refusal(x, "fifo"), "fifo: not a regular file");
	assert_int_equal(policy_read(x->rules, "/dev/zero", &x->e), -EINVAL);
	assert_int_equal(policy_read(x->rules, "/tmp", &x->e), -EINVAL);
	file_write(x, "nul", "read\0: 1\n", 9);
	assert_string_equal(file_refusal(x, "nul"), "nul:1: 'read?' is not a system call");
}

static const struct call sample[] = {CALL_ARG(ioctl, 1, 0x4008af03),
				     CALL_ARG(ioctl, 1, 0xaf01),
				     CALL_IF2(mmap, 2, CALL_TEST_IN, 3, 3, CALL_TEST_ANY, 0x10),
				     CALL_ERROR(clone3, ENOSYS),
				     CALL_BITS(mprotect, 2, 3),
				     CALL_ERROR(mprotect, EACCES),
				     CALL(epoll_create),
				     CALL_END};

/* What is printed, read again, means the same. */
static void a_printed_list_reads_as_itself(void **state)
{
	static const char *const arches[] = {"x86_64", "aarch64"};
	struct fixture *x = *state;

	for (size_t i = 0; i < ARRAY_LEN(arches); i++) {
		struct rules *list;
		char *text = NULL;
		size_t n = 0;
		FILE *out = open_memstream(&text, &n);

		assert_true(names_arch(arches[i], &x->rules->arch));
		list = rules_new(x->rules->arch);
		assert_int_equal(rules_calls_add(list, seccomp_common, &x->e), 0);
		assert_int_equal(rules_calls_add(list, sample, &x->e), 0);
		assert_int_equal(policy_print_calls(arches[i], sample, out, &x->e), 0);
		fclose(out);
		if (parse(x, text) < 0)
			fail_msg("%s", x->e.text);
		rules_sort(list);
		rules_sort(x->rules);
		assert_int_equal(list->count, x->rules->count);
		for (unsigned r = 0; r < list->count; r++) {
			const struct rule *a = &list->rule[r], *b = &x->rules->rule[r];
			int at = a->first, bt = b->first;

			assert_int_equal(a->number, b->number);
			assert_int_equal(a->met, b->met);
			assert_int_equal(a->otherwise, b->otherwise);
			for (; at >= 0 && bt >= 0;
			     at = list->cond[at].next, bt = x->rules->cond[bt].next)
				assert_memory_equal(&list->cond[at].test, &x->rules->cond[bt].test,
						    10);
			assert_int_equal(at, bt);
		}
		free(list);
		free(text);
	}
}

static void a_list_is_printed_sorted(void **state)
{
	static const char expected[] = "clone3: return ENOSYS\n"
				       "epoll_create: 1\n"
				       "ioctl: arg1 == 0x4008af03 || arg1 == 0xaf01\n"
				       "mmap: arg2 in 0x3 && arg3 & 0x10\n"
				       "mprotect: arg2 in 0x3; return EACCES\n";
	struct fixture *x = *state;
	char *text = NULL;
	size_t n = 0;
	FILE *out = open_memstream(&text, &n);

	assert_int_equal(rules_calls_add(x->rules, sample, &x->e), 0);
	policy_print(x->rules, out);
	fclose(out);

	assert_string_equal(text, expected);
	free(text);
	assert_int_equal(policy_print_calls("vax", sample, stdout, &x->e), -EINVAL);
	assert_string_equal(x->e.text, "vax: unknown architecture; x86_64 or aarch64");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(every_form_of_rule_is_read, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_mistake_is_told_with_file_line_and_cause, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(what_this_architecture_lacks_is_an_error, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(sizes_are_bounded, set_up, tear_down),
		cmocka_unit_test_setup_teardown(too_many_conditions_are_an_error, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(files_include_files_one_level_deep, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(odd_files_are_refused, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_printed_list_reads_as_itself, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_list_is_printed_sorted, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
