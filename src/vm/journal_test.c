/* SPDX-License-Identifier: BSD-3-Clause */
/* journal_test.c - what is kept of the log, and how it is told */
#include "vm/journal.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

enum { REPLY_ROOM = 131072 };

static char text[REPLY_ROOM];

static int set_up(void **state)
{
	int null = open("/dev/null", O_WRONLY | O_CLOEXEC);

	(void)state;
	return dup2(null, STDERR_FILENO) < 0 || close(null) < 0;
}

static const char *reply(uint64_t since, uint64_t last, size_t room)
{
	struct json j;

	json_init(&j, text, room);
	json_open(&j, NULL, '{');
	journal_reply(since, last, &j);
	json_close(&j, '}');
	assert_false(j.is_full);
	assert_true(json_is_object(text, 3));
	return text;
}

static uint64_t number(const char *key)
{
	char name[32];
	const char *at;

	snprintf(name, sizeof(name), "],\"oldest\"");
	at = strstr(text, name);
	assert_non_null(at);
	snprintf(name, sizeof(name), "\"%s\":", key);
	at = strstr(at, name);
	assert_non_null(at);
	return strtoull(at + strlen(name), NULL, 10);
}

static unsigned lines(void)
{
	unsigned n = 0;

	for (const char *at = text; (at = strstr(at, "\"number\":")); at++)
		n++;
	return n;
}

static uint64_t now(void)
{
	reply(UINT64_MAX, 0, REPLY_ROOM);
	return number("next");
}

static void lines_are_told_with_who_said_them(void **state)
{
	uint64_t since = now();

	(void)state;
	journal_start(SYSLOG_OFF, "crosvm");
	log_warn("a \"b\" \\ \x1b[2J");
	log_line(LOG_LEVEL_INFO, "block0", "c");
	log_debug("is not shown");
	journal_stop();
	log_info("is not kept");

	reply(since, 0, REPLY_ROOM);
	assert_int_equal(lines(), 2);
	assert_non_null(strstr(text, "\"level\":\"warning\",\"source\":\"main\","
				     "\"text\":\"a \\\"b\\\" \\\\ \\\\x1b[2J\""));
	assert_non_null(strstr(text, "\"level\":\"info\",\"source\":\"block0\",\"text\":\"c\""));
	assert_int_equal(number("next"), since + 2);
}

static void oldest_lines_make_room_for_new_ones(void **state)
{
	char long_text[LOG_TEXT_MAX];
	uint64_t since = now();

	(void)state;
	journal_start(SYSLOG_OFF, "crosvm");
	for (int i = 0; i < 3 * JOURNAL_LINES; i++)
		log_info("line %d", i);
	reply(0, 0, REPLY_ROOM);
	assert_int_equal(lines(), JOURNAL_LINES);
	assert_int_equal(number("oldest"), since + 2 * JOURNAL_LINES);
	assert_non_null(strstr(text, "\"text\":\"line 1535\""));

	memset(long_text, 'x', sizeof(long_text) - 1);
	long_text[sizeof(long_text) - 1] = '\0';
	for (int i = 0; i < JOURNAL_LINES; i++)
		log_info("%s", long_text);
	journal_stop();
	reply(0, 0, REPLY_ROOM);
	assert_in_range(lines(), JOURNAL_BYTES / LOG_TEXT_MAX - 1, JOURNAL_BYTES / 1000);
}

static void long_replies_come_in_parts(void **state)
{
	uint64_t since = now();
	unsigned n = 0;

	(void)state;
	journal_start(SYSLOG_OFF, "crosvm");
	for (int i = 0; i < 40; i++)
		log_info("%040d", 0);
	journal_stop();

	while (strstr(reply(since, 0, 8192), "\"more\":true")) {
		assert_true(lines() > 0);
		n += lines();
		since = number("next");
	}
	assert_int_equal(n + lines(), 40);
}

static void last_lines_only(void **state)
{
	(void)state;
	journal_start(SYSLOG_OFF, "crosvm");
	for (int i = 0; i < 9; i++)
		log_info("line %d", i);
	journal_stop();

	reply(0, 2, REPLY_ROOM);
	assert_int_equal(lines(), 2);
	assert_non_null(strstr(text, "line 7"));
	assert_non_null(strstr(text, "line 8"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(lines_are_told_with_who_said_them),
		cmocka_unit_test(oldest_lines_make_room_for_new_ones),
		cmocka_unit_test(long_replies_come_in_parts),
		cmocka_unit_test(last_lines_only),
	};

	return cmocka_run_group_tests(tests, set_up, NULL);
}
