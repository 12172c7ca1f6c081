/* SPDX-License-Identifier: BSD-3-Clause */
/* log_test.c - lines on stderr, caught in a pipe */
#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static int old_stderr, pipe_fds[2];

static int set_up(void **state)
{
	(void)state;
	old_stderr = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 10);
	if (old_stderr < 0 || pipe2(pipe_fds, O_CLOEXEC | O_NONBLOCK) < 0)
		return -1;
	return dup2(pipe_fds[1], STDERR_FILENO) < 0;
}

static int tear_down(void **state)
{
	(void)state;
	dup2(old_stderr, STDERR_FILENO);
	close(old_stderr);
	close(pipe_fds[0]);
	close(pipe_fds[1]);
	log_level_set(LOG_LEVEL_INFO);
	log_name_set(NULL);
	return 0;
}

/* Checks that exactly this was written since the last call. */
static void written(const char *expected)
{
	char text[4096];
	ssize_t n = read(pipe_fds[0], text, sizeof(text) - 1);

	text[n > 0 ? n : 0] = '\0';
	assert_string_equal(text, expected);
}

static void each_level_has_its_word(void **state)
{
	(void)state;
	log_level_set(LOG_LEVEL_DEBUG);
	log_error("a %d", 1);
	log_warn("b");
	log_info("c");
	log_debug("d");
	written("crosvm: a 1\ncrosvm: warning: b\ncrosvm: c\ncrosvm: debug: d\n");
}

static void lines_above_the_level_are_dropped(void **state)
{
	(void)state;
	log_debug("d");
	written("");
	log_level_set(LOG_LEVEL_ERROR);
	log_error("a");
	log_warn("b");
	log_info("c");
	written("crosvm: a\n");
}

static void process_has_a_name(void **state)
{
	(void)state;
	log_name_set("block0");
	log_error("gone");
	written("crosvm: block0: gone\n");
}

static void control_characters_do_not_reach_the_terminal(void **state)
{
	(void)state;
	log_error("a\x1b[2Jb\nc\x7f");
	written("crosvm: a?[2Jb?c?\n");
}

static void long_line_is_cut_and_ends(void **state)
{
	char long_text[3000], text[4096];
	ssize_t n;

	(void)state;
	memset(long_text, 'x', sizeof(long_text) - 1);
	long_text[sizeof(long_text) - 1] = '\0';
	log_error("%s", long_text);
	n = read(pipe_fds[0], text, sizeof(text));
	assert_in_range(n, 1000, 1500);
	assert_int_equal(text[n - 1], '\n');
}

static void errno_survives(void **state)
{
	(void)state;
	errno = EXDEV;
	log_error("a");
	assert_int_equal(errno, EXDEV);
}

static void nobody_who_reads_is_no_failure(void **state)
{
	(void)state;
	close(STDERR_FILENO);
	log_error("a");
	dup2(pipe_fds[1], STDERR_FILENO);
	written("");
}

static void burst_is_limited_and_counted(void **state)
{
	struct log_limit limit = {0};

	(void)state;
	for (int i = 0; i < LOG_LIMIT_BURST + 7; i++)
		log_limited(&limit, "guest");
	written("crosvm: warning: guest\ncrosvm: warning: guest\ncrosvm: warning: guest\n"
		"crosvm: warning: guest\ncrosvm: warning: guest\n");
	assert_int_equal(limit.dropped, 7);

	limit.next_ns = 0; /* the second is over */
	log_limited(&limit, "guest");
	log_limited(&limit, "guest");
	written("crosvm: warning: guest (7 more like this)\n");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(each_level_has_its_word),
		TEST(lines_above_the_level_are_dropped),
		TEST(process_has_a_name),
		TEST(control_characters_do_not_reach_the_terminal),
		TEST(long_line_is_cut_and_ends),
		TEST(errno_survives),
		TEST(nobody_who_reads_is_no_failure),
		TEST(burst_is_limited_and_counted),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
