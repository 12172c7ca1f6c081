/* SPDX-License-Identifier: BSD-3-Clause */
/* ram_test.c - what the host sets behind guest memory, and what is said when it cannot */
#include "mem/ram.h"

#include "mem/discard.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

enum { MIB = 1 << 20, HUGE = 2 * MIB, NOBODY = 65534 };

static struct gmem gmem;
static struct err err;

static int tear_down(void **state)
{
	(void)state;
	gmem_fini(&gmem);
	err = (struct err){0};
	return 0;
}

static int add(uint64_t size, struct ram_options o)
{
	return ram_add(&gmem, "test", 0, size, &o, &err);
}

/* Whether the kernel notes the two letters for the mapping of the only region. */
static bool has_flag(const char *letters)
{
	FILE *f = fopen("/proc/self/smaps", "re");
	char line[512], start[32];
	bool is_ours = false, found = false;

	assert_non_null(f);
	snprintf(start, sizeof(start), "%lx-", (unsigned long)gmem.regions[0].host);
	while (fgets(line, sizeof(line), f)) {
		if (strncmp(line, start, strlen(start)) == 0)
			is_ours = true;
		if (!is_ours || strncmp(line, "VmFlags:", 8) != 0)
			continue;
		found = strstr(line + 8, letters) != NULL;
		break;
	}
	fclose(f);
	return found;
}

static void ordinary_memory_stays_out_of_core_dumps(void **state)
{
	(void)state;
	assert_int_equal(add(4 * MIB, (struct ram_options){0}), 0);
	assert_int_equal(gmem_page_bytes(&gmem.regions[0]), 4096);
	assert_true(has_flag(" dd"));
	assert_false(has_flag(" lo"));
	assert_false(has_flag(" hg"));
}

static void dump_puts_it_into_core_dumps(void **state)
{
	(void)state;
	assert_int_equal(add(4 * MIB, (struct ram_options){.dump = true}), 0);
	assert_false(has_flag(" dd"));
}

static void lock_keeps_all_of_it_in_memory(void **state)
{
	uint8_t present[1024];

	(void)state;
	if (add(4 * MIB, (struct ram_options){.lock = true}) < 0) {
		print_message("# not tested: %s\n", err.text);
		return;
	}
	assert_true(has_flag(" lo"));
	assert_int_equal(mincore(gmem.regions[0].host, 4 * MIB, present), 0);
	for (unsigned i = 0; i < sizeof(present); i++)
		assert_true(present[i] & 1);
	/* The balloon can still have it. */
	assert_int_equal(gmem_discard(&gmem, 0, 4 * MIB), 0);
	assert_int_equal(mincore(gmem.regions[0].host, 4 * MIB, present), 0);
	assert_false(present[0] & 1);
}

/* As somebody who may lock one page. */
static int lock_as_nobody(void)
{
	struct rlimit limit = {4096, 4096};

	if (setrlimit(RLIMIT_MEMLOCK, &limit) < 0)
		return 2;
	if (geteuid() == 0 && setuid(NOBODY) < 0)
		return 2;
	if (add(4 * MIB, (struct ram_options){.lock = true}) != -EPERM)
		return 3;
	return strstr(err.text, "lock: this user may lock 4 KiB, 4096 are needed; raise") ? 0 : 4;
}

static void lock_beyond_the_limit_says_what_to_do(void **state)
{
	int status;
	pid_t pid = fork();

	(void)state;
	assert_true(pid >= 0);
	if (pid == 0)
		_exit(lock_as_nobody());
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

/* Where no more may be mapped, what is told is how much it was. */
static int add_without_room(void)
{
	struct rlimit limit = {1, 1};
	int r;

	if (setrlimit(RLIMIT_AS, &limit) < 0)
		return 2;
	r = add(64 * MIB, (struct ram_options){0});
	setrlimit(RLIMIT_AS, &(struct rlimit){RLIM_INFINITY, RLIM_INFINITY});
	if (r != -ENOMEM || gmem.nregions != 0)
		return 3;
	return strstr(err.text, "67108864 bytes of guest memory") ? 0 : 4;
}

static void memory_that_cannot_be_mapped_is_an_error(void **state)
{
	int status;
	pid_t pid = fork();

	(void)state;
	assert_true(pid >= 0);
	if (pid == 0)
		_exit(add_without_room());
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

static void thp_is_asked_for_or_says_what_to_do(void **state)
{
	(void)state;
	if (add(4 * MIB, (struct ram_options){.thp = true}) == 0) {
		assert_true(has_flag(" hg"));
		return;
	}
	print_message("# not tested: %s\n", err.text);
	assert_true(strstr(err.text, "; as root: echo advise >/sys/kernel/mm/") ||
		    strstr(err.text, "no transparent huge pages"));
}

static void too_few_huge_pages_say_what_to_do(void **state)
{
	(void)state;
	assert_true(add(1ull << 40, (struct ram_options){.page_bytes = HUGE}) < 0);
	if (strstr(err.text, "this host has none")) {
		print_message("# not tested: %s\n", err.text);
		return;
	}
	assert_int_equal(err.code, ENOMEM);
	assert_non_null(strstr(err.text, "hugepages: 524288 of 2 MiB each are needed, "));
	assert_non_null(strstr(err.text, " are free; as root: echo "));
	assert_non_null(
		strstr(err.text, " >/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages"));
	assert_int_equal(gmem.nregions, 0);
}

static void huge_pages_that_no_host_has_are_refused(void **state)
{
	(void)state;
	assert_true(add(4 * MIB, (struct ram_options){.page_bytes = MIB}) < 0);
	assert_non_null(strstr(err.text, "hugepages: this host has none of 1 MiB"));
}

/* Of real ones, where the host has set four aside: in the testbed. */
static void huge_pages_go_whole(void **state)
{
	static struct discard d;
	uint8_t byte = 7;

	(void)state;
	if (add(4 * HUGE, (struct ram_options){.page_bytes = HUGE}) < 0) {
		print_message("# not tested: %s\n", err.text);
		return;
	}
	assert_int_equal(gmem_page_bytes(&gmem.regions[0]), HUGE);
	assert_true(gmem_fill(&gmem, 0, 7, 4 * HUGE));
	assert_int_equal(discard_start(&d, &gmem, true), 0);
	for (uint32_t i = 0; i < HUGE / 4096 + 100; i++)
		discard_frame(&d, i);
	discard_flush(&d);
	assert_int_equal(d.counters.calls, 1);
	assert_int_equal(d.counters.failed, 0);
	assert_int_equal(d.counters.bytes, HUGE);
	assert_true(gmem_read(&gmem, HUGE - 1, &byte, 1));
	assert_int_equal(byte, 0);
	assert_true(gmem_read(&gmem, HUGE, &byte, 1));
	assert_int_equal(byte, 7);
	discard_stop(&d);
}

#define TEST(name) cmocka_unit_test_teardown(name, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(ordinary_memory_stays_out_of_core_dumps),
		TEST(dump_puts_it_into_core_dumps),
		TEST(lock_keeps_all_of_it_in_memory),
		TEST(lock_beyond_the_limit_says_what_to_do),
		TEST(memory_that_cannot_be_mapped_is_an_error),
		TEST(thp_is_asked_for_or_says_what_to_do),
		TEST(too_few_huge_pages_say_what_to_do),
		TEST(huge_pages_that_no_host_has_are_refused),
		TEST(huge_pages_go_whole),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
