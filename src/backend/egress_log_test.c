/* SPDX-License-Identifier: BSD-3-Clause */
/* egress_log_test.c - lines of refused packets: what they say, how many there are */
#include "backend/egress_log.h"

#include "base/fd.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static char path[] = "egress_log_test.XXXXXX";
static const struct egress_packet packet = {
	.is_ip = true,
	.has_protocol = true,
	.has_ports = true,
	.protocol = EGRESS_TCP,
	.source = {10, 0, 2, 15},
	.destination = {192, 0, 2, 1},
	.source_port = 40000,
	.destination_port = 22,
};

static int setup(void **state)
{
	auto_fd fd = -1;

	(void)state;
	snprintf(path, sizeof(path), "egress_log_test.XXXXXX");
	fd = mkstemp(path);
	return fd < 0;
}

static int teardown(void **state)
{
	(void)state;
	return unlink(path);
}

static unsigned count_lines(char *text, size_t n)
{
	auto_fd fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t got = read(fd, text, n - 1);
	unsigned lines = 0;

	assert_true(got >= 0);
	text[got] = '\0';
	for (const char *at = text; (at = strchr(at, '\n')); at++)
		lines++;
	return lines;
}

static void open_log(struct egress_log *l)
{
	struct err e;

	assert_int_equal(egress_log_open(l, path, "net0", &e), 0);
}

static void line_says_who_what_and_why(void **state)
{
	struct egress_log l;
	char text[1024];

	(void)state;
	open_log(&l);
	egress_log_refused(&l, &packet, EGRESS_NO_RULE);
	egress_log_close(&l);
	assert_int_equal(count_lines(text, sizeof(text)), 1);
	assert_string_equal(strchr(text, ' '),
			    " net0: tcp 10.0.2.15:40000 > 192.0.2.1:22: no rule allows it\n");
	assert_true(strtod(text, NULL) > 1.6e9);
}

static void lines_are_few_whatever_the_guest_does(void **state)
{
	static char text[65536];
	struct egress_log l;

	(void)state;
	open_log(&l);
	for (unsigned i = 0; i < 10000; i++)
		egress_log_refused(&l, &packet, EGRESS_DENIED);
	assert_in_range(count_lines(text, sizeof(text)), 50, 52);
	l.lines.due_ns = 0; /* time passes */
	egress_log_refused(&l, &packet, EGRESS_DENIED);
	count_lines(text, sizeof(text));
	assert_non_null(strstr(text, "a rule denies it (99"));
	assert_non_null(strstr(text, " more before)"));
	egress_log_close(&l);
}

static void file_is_appended_to_until_it_is_full(void **state)
{
	struct egress_log l;
	auto_fd fd = open(path, O_WRONLY | O_CLOEXEC);

	(void)state;
	assert_int_equal(ftruncate(fd, EGRESS_LOG_BYTES_MAX - 100), 0);
	open_log(&l);
	for (unsigned i = 0; i < 10; i++)
		egress_log_refused(&l, &packet, EGRESS_DENIED);
	egress_log_close(&l);
	assert_in_range(lseek(fd, 0, SEEK_END), EGRESS_LOG_BYTES_MAX - 60, EGRESS_LOG_BYTES_MAX);
}

static void without_a_file_nothing_is_written(void **state)
{
	struct egress_log l;
	struct err e;

	(void)state;
	assert_int_equal(egress_log_open(&l, NULL, "net0", &e), 0);
	egress_log_refused(&l, &packet, EGRESS_DENIED);
	egress_log_close(&l);
}

static void file_that_cannot_be_opened_is_named(void **state)
{
	struct egress_log l;
	struct err e;

	(void)state;
	assert_int_equal(egress_log_open(&l, "/nowhere/egress.log", "net0", &e), -ENOENT);
	assert_string_equal(e.text,
			    "log: /nowhere/egress.log: cannot open: No such file or directory; "
			    "check the path");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(line_says_who_what_and_why, setup, teardown),
		cmocka_unit_test_setup_teardown(lines_are_few_whatever_the_guest_does, setup,
						teardown),
		cmocka_unit_test_setup_teardown(file_is_appended_to_until_it_is_full, setup,
						teardown),
		cmocka_unit_test(without_a_file_nothing_is_written),
		cmocka_unit_test(file_that_cannot_be_opened_is_named),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
