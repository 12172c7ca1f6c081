/* SPDX-License-Identifier: BSD-3-Clause */
/* device_log_test.c - lines of a process that behaves, and of one that does not */
#include "vm/device_log.h"

#include "base/fd.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

struct fixture {
	struct loop loop;
	struct device_logs all;
	struct device_log log;
	int process; /* the end that it writes to */
};

/* What came out, "name level text" a line. */
static char shown[65536];
static size_t shown_bytes;
static unsigned shown_lines;

static void take(enum log_level level, const char *name, const char *text)
{
	int n = snprintf(shown + shown_bytes, sizeof(shown) - shown_bytes, "%s %s %s\n", name,
			 log_level_names[level], text);

	shown_bytes += (size_t)n < sizeof(shown) - shown_bytes ? (size_t)n : 0;
	shown_lines++;
}

static int set_up(void **state)
{
	static struct fixture f;
	struct err e;
	int null = open("/dev/null", O_WRONLY | O_CLOEXEC);

	shown_bytes = shown_lines = 0;
	shown[0] = '\0';
	assert_true(dup2(null, STDERR_FILENO) >= 0);
	close(null);
	assert_int_equal(loop_init(&f.loop), 0);
	assert_int_equal(device_logs_init(&f.all, &f.loop), 0);
	assert_int_equal(device_log_init(&f.log, &f.all, "block0", &e), 0);
	f.process = fcntl(f.log.out, F_DUPFD_CLOEXEC, 3);
	assert_true(f.process >= 0);
	assert_int_equal(device_log_start(&f.log), 0);
	log_sink_set(take);
	*state = &f;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *f = *state;

	log_sink_set(NULL);
	log_level_set(LOG_LEVEL_INFO);
	device_log_fini(&f->log);
	device_logs_fini(&f->all);
	loop_fini(&f->loop);
	fd_close(&f->process);
	return 0;
}

static void says(struct fixture *f, const char *text)
{
	assert_int_equal(write(f->process, text, strlen(text)), strlen(text));
}

static void turn(struct fixture *f)
{
	assert_int_equal(loop_once(&f->loop, 2000), 0);
}

static void lines_get_name_and_level(void **state)
{
	struct fixture *f = *state;

	says(f, "<4>a\n<6>b\n<7>not shown\nassertion failed\n");
	turn(f);
	assert_string_equal(shown, "block0 warning a\nblock0 info b\n"
				   "block0 error assertion failed\n");
}

static void line_may_come_in_pieces(void **state)
{
	struct fixture *f = *state;

	says(f, "<3>ha");
	turn(f);
	assert_string_equal(shown, "");
	says(f, "lf\n");
	turn(f); /* its rest is over */
	turn(f);
	assert_string_equal(shown, "block0 error half\n");
}

static void process_cannot_speak_for_another(void **state)
{
	struct fixture *f = *state;

	says(f, "<6>x\rcrosvm: net0: \x1b[2Jfine\n<9>y\n");
	turn(f);
	assert_string_equal(shown, "block0 info x\\x0dcrosvm: net0: \\x1b[2Jfine\n"
				   "block0 error <9>y\n");
}

static void long_line_is_cut(void **state)
{
	struct fixture *f = *state;
	char text[3000];

	memset(text, 'x', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	says(f, text);
	says(f, "\n<6>next\n");
	turn(f);
	assert_int_equal(shown_lines, 2);
	assert_in_range(shown_bytes, LOG_TEXT_MAX, LOG_TEXT_MAX + 100);
	assert_non_null(strstr(shown, "\nblock0 info next\n"));
}

static void last_words_need_no_end(void **state)
{
	struct fixture *f = *state;

	says(f, "<3>why");
	device_log_drain(&f->log);
	assert_string_equal(shown, "block0 error why\n");
}

/* A process that dies in the middle of a long line takes nothing of the next one's with it. */
static void next_process_begins_a_line_of_its_own(void **state)
{
	struct fixture *f = *state;
	char text[3000];

	memset(text, 'x', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	says(f, text);
	device_log_drain(&f->log);
	says(f, "<3>next\n");
	device_log_drain(&f->log);
	assert_int_equal(shown_lines, 2);
	assert_non_null(strstr(shown, "\nblock0 error next\n"));
}

static void flood_is_limited_and_counted(void **state)
{
	struct fixture *f = *state;
	unsigned written = 0, count;

	while (write(f->process, "<6>flood\n", 9) == 9)
		written++;
	device_log_drain(&f->log);
	device_log_fini(&f->log);
	assert_in_range(shown_lines, DEVICE_LOG_BURST, DEVICE_LOG_BURST + 10);
	assert_int_equal(sscanf(strstr(shown, "warning") + 8, "%u more", &count), 1);
	assert_in_range(count, written - DEVICE_LOG_BURST - 10, written - DEVICE_LOG_BURST);
}

/* As by a process that is started again and again. */
static void deaths_do_not_make_room_for_a_flood(void **state)
{
	enum { DEATHS = 20, LINES = 1000 };
	struct fixture *f = *state;
	char count[64];

	for (unsigned death = 0; death < DEATHS; death++) {
		for (unsigned i = 0; i < LINES; i++)
			says(f, "<3>x\n");
		device_log_drain(&f->log);
	}
	assert_in_range(shown_lines, DEVICE_LOG_BURST, DEVICE_LOG_BURST + DEATHS / 2);
	device_log_fini(&f->log); /* at the end all are told */
	snprintf(count, sizeof(count), " %u more lines suppressed\n",
		 DEATHS * LINES - DEVICE_LOG_BURST);
	if (shown_lines == DEVICE_LOG_BURST + 1) /* else it took long enough for some to be shown */
		assert_non_null(strstr(shown, count));
}

/* D1: a process that always writes is read from every DEVICE_LOG_REST_MS, and is slowed by that. */
static void flood_does_not_keep_the_loop_busy(void **state)
{
	struct fixture *f = *state;
	uint64_t end = clock_ns() + 100000000;
	unsigned turns = 0;

	while (clock_ns() < end) {
		while (write(f->process, "x\n", 2) == 2)
			;
		turn(f);
		turns++;
	}
	assert_in_range(turns, 1, 2 * 100 / DEVICE_LOG_REST_MS + 2);
}

static void suppressed_lines_are_told_when_the_flood_is_over(void **state)
{
	struct fixture *f = *state;
	uint64_t end = clock_ns() + 4000000000;

	f->log.allowance = 1;
	f->log.filled_ns = clock_ns();
	says(f, "<6>a\n<6>b\n<6>c\n");
	while (!strstr(shown, "block0 warning 2 more lines suppressed\n") && clock_ns() < end)
		turn(f);
	assert_string_equal(shown, "block0 info a\nblock0 warning 2 more lines suppressed\n");
}

static void closed_pipe_is_not_listened_to(void **state)
{
	struct fixture *f = *state;

	fd_close(&f->process);
	turn(f);
	assert_false(f->log.is_watched);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(lines_get_name_and_level),
		TEST(line_may_come_in_pieces),
		TEST(process_cannot_speak_for_another),
		TEST(long_line_is_cut),
		TEST(last_words_need_no_end),
		TEST(next_process_begins_a_line_of_its_own),
		TEST(flood_is_limited_and_counted),
		TEST(deaths_do_not_make_room_for_a_flood),
		TEST(flood_does_not_keep_the_loop_busy),
		TEST(suppressed_lines_are_told_when_the_flood_is_over),
		TEST(closed_pipe_is_not_listened_to),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
