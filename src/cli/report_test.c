/* SPDX-License-Identifier: BSD-3-Clause */
/* report_test.c - replies of a VM, also of one that lies */
#include "cli/report.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static struct report r;

static void everything_is_found(void **state)
{
	(void)state;
	assert_int_equal(
		report_read(
			"{\"ok\":true,\"state\":\"running\",\"pid\":7,\"uptime_ms\":5,"
			"\"mem_bytes\":4096,\"vcpus\":[{\"exits\":3,\"reasons\":{\"io\":1,"
			"\"hlt\":2}},{\"exits\":4,\"reasons\":{\"io\":4}}],\"interrupts\":9,"
			"\"balloon\":{\"target_bytes\":8192},\"devices\":[{\"name\":\"balloon0\","
			"\"type\":\"balloon\",\"state\":\"running\",\"pid\":8,\"restarts\":2,"
			"\"counters\":{\"kicks\":11,\"actual_bytes\":12}},{\"name\":\"x\","
			"\"error\":\"no answer\"}]}",
			&r),
		0);
	assert_string_equal(r.state, "running");
	assert_int_equal(r.pid, 7);
	assert_int_equal(r.uptime_ms, 5);
	assert_int_equal(r.mem_bytes, 4096);
	assert_int_equal(r.nvcpus, 2);
	assert_int_equal(r.exits, 7);
	assert_int_equal(report_value(&r.reasons, "io"), 5);
	assert_int_equal(report_value(&r.reasons, "hlt"), 2);
	assert_int_equal(report_value(&r.reasons, "mmio"), 0);
	assert_int_equal(r.interrupts, 9);
	assert_int_equal(r.target_bytes, 8192);
	assert_int_equal(r.actual_bytes, 12);
	assert_int_equal(r.ndevices, 2);
	assert_int_equal(r.devices[0].pid, 8);
	assert_int_equal(r.devices[0].restarts, 2);
	assert_int_equal(report_value(&r.devices[0].counters, "kicks"), 11);
	assert_string_equal(r.devices[1].error, "no answer");
}

static void hostile_replies_stay_within_bounds(void **state)
{
	static char text[65536];
	size_t n;

	(void)state;
	n = (size_t)snprintf(
		text, sizeof(text),
		"{\"state\":\"a\\u001b[2Jb\",\"pid\":-1,\"uptime_ms\":\"x\",\"devices\":"
		"{\"64\":{\"pid\":1},\"99999999999999999999\":{\"name\":\"a\"},"
		"\"\":{\"pid\":3},\"1\":{\"type\":\"balloon\",\"counters\":{");
	for (unsigned i = 0; i < 200; i++)
		n += (size_t)snprintf(text + n, sizeof(text) - n,
				      "\"a\\u0007very long name of a counter %u\":"
				      "18446744073709551615,\"%u\":1,",
				      i, i);
	snprintf(text + n, sizeof(text) - n, "\"actual_bytes\":5}}}}");
	assert_int_equal(report_read(text, &r), 0);
	assert_string_equal(r.state, "a\\x1b[2Jb");
	assert_int_equal(r.pid, 0);
	assert_int_equal(r.uptime_ms, 0);
	assert_int_equal(r.ndevices, 2);
	assert_int_equal(r.devices[1].counters.n, REPORT_COUNTERS_MAX);
	assert_string_equal(r.devices[1].counters.list[0].name, "a\\x07very long name of ");
	assert_int_equal(r.actual_bytes, 0); /* was one too many */
	assert_int_equal(report_read("{", &r), -EINVAL);
	assert_int_equal(r.ndevices, 0);
}

static void uptime_is_hours_minutes_seconds(void **state)
{
	char buf[REPORT_FIELD_MAX];

	(void)state;
	report_uptime(3723004, buf, sizeof(buf));
	assert_string_equal(buf, "1:02:03");
	report_uptime(UINT64_MAX, buf, sizeof(buf));
	assert_string_equal(buf, "5124095576030:25:51");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(everything_is_found),
		cmocka_unit_test(hostile_replies_stay_within_bounds),
		cmocka_unit_test(uptime_is_hours_minutes_seconds),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
