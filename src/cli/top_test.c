/* SPDX-License-Identifier: BSD-3-Clause */
/* top_test.c - samples, differences and tables of crosvm top, also of VMs that lie */
#include "cli/top.h"

#include "base/counter.h"
#include "base/json.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define SECOND_NS UINT64_C(1000000000)

static struct top_sample now, before;
static struct top_vm vm;
static struct top top;
static char screen[65536];

static void sample_is(struct top_sample *s, const char *json, uint64_t at_ns)
{
	memset(s, 0, sizeof(*s));
	assert_int_equal(report_read(json, &s->report), 0);
	s->at_ns = at_ns;
}

static int set_up(void **state)
{
	(void)state;
	vm = (struct top_vm){.word = "web", .is_alive = true, .now = &now, .before = &before};
	top = (struct top){.vms = {&vm}, .nvms = 1};
	return 0;
}

static const char *show(bool in_detail, unsigned width, unsigned height)
{
	struct top_text text = {.buf = screen,
				.room = sizeof(screen),
				.width = width,
				.height = height,
				.line_end = "\n"};

	top_show(&top, in_detail, &text);
	return screen;
}

static const char *amount(double value, bool is_bytes)
{
	static char text[16];

	top_amount(value, is_bytes, text, sizeof(text));
	return text;
}

static void amounts_have_six_characters_at_most(void **state)
{
	static const double hostile[] = {1e300, INFINITY, -INFINITY,
					 NAN,   -1,       1.8446744073709552e19};

	(void)state;
	assert_string_equal(amount(0, false), "0");
	assert_string_equal(amount(0.25, false), "0.2");
	assert_string_equal(amount(7, false), "7");
	assert_string_equal(amount(999.4, false), "999");
	assert_string_equal(amount(999.6, false), "1.0K");
	assert_string_equal(amount(12345, false), "12K");
	assert_string_equal(amount(1023, true), "1023");
	assert_string_equal(amount(1 << 20, true), "1.0M");
	assert_string_equal(amount(1.8446744073709552e19, true), "16E");
	assert_string_equal(amount(NAN, true), "0");
	for (size_t i = 0; i < ARRAY_LEN(hostile); i++)
		for (int is_bytes = 0; is_bytes < 2; is_bytes++)
			assert_true(strlen(amount(hostile[i], is_bytes)) <= 6);
}

static void rates_are_differences_over_time(void **state)
{
	(void)state;
	sample_is(
		&before,
		"{\"vcpus\":[{\"exits\":100,\"reasons\":{\"io\":100}}],\"devices\":[{\"name\":"
		"\"block0\",\"type\":\"block\",\"counters\":{\"reads\":10,\"read_bytes\":4096}}]}",
		SECOND_NS);
	sample_is(
		&now,
		"{\"vcpus\":[{\"exits\":300,\"reasons\":{\"io\":300}}],\"devices\":[{\"name\":"
		"\"rng0\",\"type\":\"rng\",\"counters\":{\"requests\":5}},{\"name\":"
		"\"block0\",\"type\":\"block\",\"counters\":{\"reads\":30,\"read_bytes\":8192}}]}",
		3 * SECOND_NS);
	vm.has_before = true;

	assert_true(top_exit_rate(&vm, NULL) == 100);
	assert_true(top_exit_rate(&vm, "io") == 100);
	assert_true(top_exit_rate(&vm, "mmio") == 0);
	assert_true(top_counter_rate(&vm, 1, "reads") == 10); /* has moved in the list */
	assert_true(top_type_rate(&vm, "block", "read_bytes") == 2048);
	assert_true(top_counter_rate(&vm, 0, "requests") == 2.5); /* is new */
	now.devices[1].cpu_ns = SECOND_NS;
	assert_true(top_cpu(&vm, 1) == 50);
}

static void first_sample_is_since_the_vm_began(void **state)
{
	(void)state;
	memset(&before, 0xff, sizeof(before));
	sample_is(&now, "{\"uptime_ms\":2000,\"vcpus\":[{\"exits\":300}]}", SECOND_NS);

	assert_true(top_exit_rate(&vm, NULL) == 150);
}

static void what_goes_backwards_or_takes_no_time_is_harmless(void **state)
{
	(void)state;
	sample_is(&before, "{\"vcpus\":[{\"exits\":300}]}", 5);
	sample_is(&now, "{\"vcpus\":[{\"exits\":200}]}", 5);
	vm.has_before = true;
	assert_true(top_exit_rate(&vm, NULL) == 0);
	assert_int_equal(top_interval_ns(&vm), 1);
	now.at_ns = 4;
	assert_int_equal(top_interval_ns(&vm), 1);
	vm.has_before = false;
	now.report.uptime_ms = UINT64_MAX;
	assert_int_equal(top_interval_ns(&vm), UINT64_MAX);
	now.report.uptime_ms = 0;
	assert_int_equal(top_interval_ns(&vm), 1);
}

static void another_process_counts_from_its_beginning(void **state)
{
	(void)state;
	sample_is(&before, "{\"devices\":[{\"name\":\"rng0\",\"pid\":7}]}", SECOND_NS);
	sample_is(&now, "{\"devices\":[{\"name\":\"rng0\",\"pid\":8}]}", 2 * SECOND_NS);
	vm.has_before = true;
	before.devices[0].cpu_ns = 100 * SECOND_NS;
	now.devices[0].cpu_ns = SECOND_NS / 4;

	assert_true(top_cpu(&vm, 0) == 25);
}

static void proc_files_are_read_in_part(void **state)
{
	uint64_t value = 0;

	(void)state;
	assert_true(top_cpu_parse("7 (a) b ) c) S 1 2 3 4 5 6 7 8 9 10 30 20 0 0 20", 100, &value));
	assert_int_equal(value, SECOND_NS / 2);
	assert_false(top_cpu_parse("7 (a S 1 2", 100, &value));
	assert_false(top_cpu_parse("7 (a) S 1 2", 100, &value));
	assert_false(top_cpu_parse("", 100, &value));
	assert_false(top_cpu_parse("7 (a) S 1 2 3 4 5 6 7 8 9 10 30 20", 0, &value));
	assert_true(top_memory_parse("100 50 20 1 0 5 0", 4096, false, &value));
	assert_int_equal(value, 50 * 4096);
	assert_true(top_memory_parse("100 50 20 1 0 5 0", 4096, true, &value));
	assert_int_equal(value, 30 * 4096);
	assert_false(top_memory_parse("100 20 50", 4096, true, &value));
	assert_false(top_memory_parse("x", 4096, true, &value));
}

static const char hostile[] =
	"{\"state\":\"\\u001b[2Jrun\\u009bning\",\"pid\":18446744073709551615,\"uptime_ms\":"
	"18446744073709551615,\"mem_bytes\":18446744073709551615,\"vcpus\":[{\"exits\":"
	"18446744073709551615,\"reasons\":{\"\\n\":18446744073709551615}}],\"devices\":[{\"name\":"
	"\"\\u0007\\u001b]0;x\\u0007\",\"type\":\"block\",\"state\":\"\\r\",\"counters\":{"
	"\"reads\":"
	"18446744073709551615,\"\\u001bc\":1,\"\":2}},{},{\"name\":\"\",\"type\":\"net\","
	"\"counters\":{\"rx_bytes\":18446744073709551615}}]}";

static void hostile_answers_leave_the_terminal_alone(void **state)
{
	(void)state;
	sample_is(&now, hostile, SECOND_NS);
	for (int in_detail = 0; in_detail < 2; in_detail++) {
		for (const char *p = show(in_detail, 500, 100); *p; p++)
			assert_true(*p == '\n' || ((unsigned char)*p >= 0x20 && *p != 0x7f));
		assert_non_null(strstr(screen, "web"));
	}
}

static void lines_fit_the_window(void **state)
{
	unsigned lines = 0, width = 0;

	(void)state;
	sample_is(&now, hostile, SECOND_NS);
	for (const char *p = show(true, 20, 5); *p; p++) {
		lines += *p == '\n';
		width = *p == '\n' ? 0 : width + 1;
		assert_true(width <= 20);
	}
	assert_int_equal(lines, 5);
	snprintf(vm.word, sizeof(vm.word), "\xc3\xa4\xc3\xa4\xc3\xa4"); /* characters stay whole */
	show(false, 2, 2);
	assert_non_null(strstr(screen, "\n\xc3\xa4\xc3\xa4\n"));
}

static void vm_without_an_answer_says_why(void **state)
{
	(void)state;
	vm.is_alive = false;
	snprintf(vm.error, sizeof(vm.error), "no answer");
	assert_non_null(strstr(show(false, 80, 10), "web              no answer\n"));
	assert_string_equal(show(true, 80, 10), "web              no answer\n");
	top.nvms = 0;
	assert_non_null(strstr(show(false, 80, 10), "no VM with a name is running"));
}

static void detail_has_processes_exits_and_counters(void **state)
{
	(void)state;
	sample_is(&now,
		  "{\"state\":\"running\",\"pid\":7,\"uptime_ms\":1000,\"mem_bytes\":1048576,"
		  "\"vcpus\":[{\"exits\":3,\"reasons\":{\"io\":3,\"mmio\":0}}],\"devices\":["
		  "{\"name\":\"block0\",\"type\":\"block\",\"state\":\"running\",\"pid\":8,"
		  "\"restarts\":2,\"counters\":{\"reads\":5,\"read_bytes\":4096,\"writes\":0}},"
		  "{\"name\":\"vsock0\",\"type\":\"vsock\",\"counters\":{\"connections\":4}}]}",
		  SECOND_NS);
	show(true, 200, 100);
	assert_non_null(strstr(screen, "web: running, up 0:00:01, 1 vCPU, memory 1.0M, "));
	assert_non_null(strstr(screen, "exits        io                      3        3\n"));
	assert_null(strstr(screen, "mmio"));
	assert_non_null(strstr(screen, "block0       read_bytes           4.0K     4.0K\n"));
	assert_null(strstr(screen, "writes"));
	assert_non_null(strstr(screen, "vsock0       connections             4\n")); /* a level */
}

static void ignore(void *context, const char *path, const char *value)
{
	(void)path;
	(void)value;
	++*(unsigned *)context;
}

static void json_is_json_whatever_a_vm_says(void **state)
{
	char *text = NULL;
	unsigned values = 0;
	size_t n = 0;
	FILE *out = open_memstream(&text, &n);

	(void)state;
	sample_is(&now, hostile, SECOND_NS);
	top_json(&top, out);
	vm.is_alive = false;
	top_json(&top, out);
	fclose(out);
	assert_ptr_equal(strchr(strchr(text, '\n') + 1, '\n') + 1, text + n); /* two lines */
	*strchr(text, '\n') = '\0';
	assert_int_equal(json_read(text, ignore, &values), 0);
	assert_true(values > 20);
	free(text);
}

static void kinds_of_counters_are_known(void **state)
{
	(void)state;
	assert_int_equal(top_counter_kind("block", "requests"), COUNTER_EVENTS);
	assert_int_equal(top_counter_kind("block", "written_bytes"), COUNTER_BYTES);
	assert_int_equal(top_counter_kind("vsock", "connections"), COUNTER_LEVEL);
	assert_int_equal(top_counter_kind("balloon", "actual_bytes"), COUNTER_LEVEL_BYTES);
	assert_int_equal(top_counter_kind("lamp", "watts"), COUNTER_EVENTS);
	assert_int_equal(top_counter_kind("lamp", "lost_bytes"), COUNTER_BYTES);
	assert_int_equal(top_counter_kind("lamp", ""), COUNTER_EVENTS);
}

#define TEST(name) cmocka_unit_test_setup(name, set_up)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(amounts_have_six_characters_at_most),
		TEST(rates_are_differences_over_time),
		TEST(first_sample_is_since_the_vm_began),
		TEST(what_goes_backwards_or_takes_no_time_is_harmless),
		TEST(another_process_counts_from_its_beginning),
		TEST(proc_files_are_read_in_part),
		TEST(hostile_answers_leave_the_terminal_alone),
		TEST(lines_fit_the_window),
		TEST(vm_without_an_answer_says_why),
		TEST(detail_has_processes_exits_and_counters),
		TEST(json_is_json_whatever_a_vm_says),
		TEST(kinds_of_counters_are_known),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
