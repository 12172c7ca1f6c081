/* SPDX-License-Identifier: BSD-3-Clause */
/* log_test.c - lines on stderr, caught in a pipe */
#include "base/log.h"

#include "base/stderr_test.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static int set_up(void **state)
{
	(void)state;
	return stderr_catch();
}

static int tear_down(void **state)
{
	(void)state;
	stderr_release();
	log_level_set(LOG_LEVEL_INFO);
	log_name_set(NULL);
	return 0;
}

/* Checks that exactly this was written since the last call. */
static void written(const char *expected)
{
	assert_string_equal(stderr_said(), expected);
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
	written("crosvm: a\\x1b[2Jb\\x0ac\\x7f\n");
}

static void long_line_is_cut_and_ends(void **state)
{
	char long_text[3000];
	const char *text;

	(void)state;
	memset(long_text, 'x', sizeof(long_text) - 1);
	long_text[sizeof(long_text) - 1] = '\0';
	log_error("%s", long_text);
	text = stderr_said();
	assert_in_range(strlen(text), 1000, 1500);
	assert_int_equal(text[strlen(text) - 1], '\n');
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
	dup2(stderr_pipe[1], STDERR_FILENO);
	written("");
}

static void burst_is_limited_and_counted(void **state)
{
	struct log_limit limit = {0};

	(void)state;
	for (int i = 0; i < LOG_LIMIT_BURST + 7; i++)
		log_limited(&limit, "guest");
	written("crosvm: warning: guest\ncrosvm: warning: guest\ncrosvm: warning: guest\n"
		"crosvm: warning: guest\n"
		"crosvm: warning: guest; from now on one such line a second\n");
	assert_int_equal(limit.dropped, 7);

	limit.next_ns = 0; /* the second is over */
	log_limited(&limit, "guest");
	log_limited(&limit, "guest");
	written("crosvm: warning: guest (7 more suppressed)\n");
}

static void minute_of_silence_allows_a_burst_again(void **state)
{
	struct log_limit limit = {0};

	(void)state;
	for (int i = 0; i < LOG_LIMIT_BURST; i++)
		log_limited(&limit, "guest");
	limit.next_ns = 1; /* long ago */
	written("crosvm: warning: guest\ncrosvm: warning: guest\ncrosvm: warning: guest\n"
		"crosvm: warning: guest\n"
		"crosvm: warning: guest; from now on one such line a second\n");

	log_limited(&limit, "guest");
	log_limited(&limit, "guest");
	written("crosvm: warning: guest\ncrosvm: warning: guest\n");
}

static void only_whole_characters_that_show_stay(void **state)
{
	char clean[64];

	(void)state;
	log_clean(clean, sizeof(clean), "\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80", 9);
	assert_string_equal(clean, "\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80");
	log_clean(clean, sizeof(clean), "\xc2\x9b\xff\xc0\x80\xed\xa0\x80\xc3", 9);
	assert_string_equal(clean, "\\xc2\\x9b\\xff\\xc0\\x80\\xed\\xa0\\x80\\xc3");
	log_clean(clean, 4, "\xc3\xa9\xc3\xa9", 4);
	assert_string_equal(clean, "\xc3\xa9");
	log_clean(clean, 4, "\x1b", 1);
	assert_string_equal(clean, "");
}

/* In a process of its own: these choices are for good. */
static void in_child(void (*body)(void))
{
	int status;
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid == 0) {
		body();
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

static void forward(void)
{
	log_forward();
	log_name_set("block0");
	log_level_set(LOG_LEVEL_DEBUG);
	log_error("a");
	log_warn("b");
	log_info("c");
	log_debug("d");
}

static void child_of_main_writes_the_severity_and_no_name(void **state)
{
	(void)state;
	in_child(forward);
	written("<3>a\n<4>b\n<6>c\n<7>d\n");
}

static void fill(void)
{
	fcntl(STDERR_FILENO, F_SETFL, 0); /* it would block */
	log_guard();
	for (int i = 0; i < 1000; i++)
		log_info("%0400d", i);
	while (*stderr_said())
		;
	log_info("and on");
}

static void full_pipe_is_not_waited_for_and_losses_are_told(void **state)
{
	(void)state;
	in_child(fill);
	assert_non_null(
		strstr(stderr_said(), "lines were lost: nobody took them\ncrosvm: and on\n"));
}

/* Lines of a length that does not divide what the terminal has room for. */
static void fill_terminal(void)
{
	int master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC), slave;

	if (master < 0 || grantpt(master) < 0 || unlockpt(master) < 0)
		_exit(1);
	slave = open(ptsname(master), O_RDWR | O_NOCTTY | O_CLOEXEC);
	if (dup2(slave, STDERR_FILENO) < 0)
		_exit(1);
	alarm(20);
	log_guard();
	for (int i = 0; i < 1000; i++)
		log_info("%0*d", 900 + i % 7, i);
}

static void terminal_that_is_not_read_is_not_waited_for(void **state)
{
	(void)state;
	in_child(fill_terminal);
}

static void journal(void)
{
	char stream[64];
	struct stat st;

	if (fstat(STDERR_FILENO, &st) < 0)
		_exit(1);
	snprintf(stream, sizeof(stream), "%llu:%llu", (unsigned long long)st.st_dev,
		 (unsigned long long)st.st_ino);
	setenv("JOURNAL_STREAM", stream, 1);
	log_guard();
	log_warn("a");
	setenv("JOURNAL_STREAM", "1:2", 1);
	log_guard();
	log_warn("b");
}

static void journal_is_told_the_severity(void **state)
{
	(void)state;
	in_child(journal);
	written("<4>crosvm: warning: a\ncrosvm: warning: b\n");
}

static void another_process_can_have_a_line(void **state)
{
	(void)state;
	log_line(LOG_LEVEL_WARN, "net0", "a\nb");
	log_line(LOG_LEVEL_DEBUG, "net0", "not shown");
	written("crosvm: net0: warning: a\\x0ab\n");
}

static void levels_have_names(void **state)
{
	(void)state;
	assert_int_equal(log_level_find("warning"), LOG_LEVEL_WARN);
	assert_int_equal(log_level_find("loud"), -1);
	for (int i = LOG_LEVEL_ERROR; i <= LOG_LEVEL_DEBUG; i++)
		assert_int_equal(log_level_of_severity(log_severity((enum log_level)i)), i);
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
		TEST(minute_of_silence_allows_a_burst_again),
		TEST(only_whole_characters_that_show_stay),
		TEST(child_of_main_writes_the_severity_and_no_name),
		TEST(full_pipe_is_not_waited_for_and_losses_are_told),
		TEST(terminal_that_is_not_read_is_not_waited_for),
		TEST(journal_is_told_the_severity),
		TEST(another_process_can_have_a_line),
		TEST(levels_have_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
