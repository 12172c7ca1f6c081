/* SPDX-License-Identifier: BSD-3-Clause */
/* leftover_test.c - files that must not outlive the process */
#include "base/leftover.h"

#include "base/log.h"
#include "base/stderr_test.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static char dir[] = "/tmp/leftover-test-XXXXXX";

static int setup(void **state)
{
	(void)state;
	strcpy(dir, "/tmp/leftover-test-XXXXXX");
	return mkdtemp(dir) && chdir(dir) == 0 ? 0 : -1;
}

static int teardown(void **state)
{
	(void)state;
	leftovers_forget();
	unlink("file");
	return chdir("/") == 0 && rmdir(dir) == 0 ? 0 : -1;
}

static void make_file(const char *name)
{
	int fd = open(name, O_CREAT | O_WRONLY, 0600);

	assert_true(fd >= 0);
	close(fd);
}

static void registered_file_is_removed_once(void **state)
{
	struct err e = {0};

	(void)state;
	make_file("file");
	assert_int_equal(leftover_add("file", &e), 0);
	leftovers_remove();
	assert_int_equal(access("file", F_OK), -1);
	make_file("file");
	leftovers_remove();
	assert_int_equal(access("file", F_OK), 0);
}

static bool somebody_was_first;

int __real_unlinkat(int dir_fd, const char *name, int flags);
int __wrap_unlinkat(int dir_fd, const char *name, int flags);

int __wrap_unlinkat(int dir_fd, const char *name, int flags)
{
	if (somebody_was_first)
		assert_int_equal(__real_unlinkat(dir_fd, name, flags), 0);
	return __real_unlinkat(dir_fd, name, flags);
}

static void file_that_another_removes_at_the_same_time_is_no_complaint(void **state)
{
	struct err e = {0};
	const char *said;

	(void)state;
	make_file("file");
	assert_int_equal(leftover_add("file", &e), 0);
	assert_int_equal(stderr_catch(), 0);
	somebody_was_first = true;
	leftovers_remove();
	somebody_was_first = false;
	said = stderr_said();
	stderr_release();
	assert_string_equal(said, "");
}

static void another_file_of_that_name_stays(void **state)
{
	struct err e = {0};

	(void)state;
	make_file("file");
	assert_int_equal(leftover_add("file", &e), 0);
	unlink("file");
	make_file("file"); /* of the same inode number, if the old one were gone altogether */
	leftovers_remove();
	assert_int_equal(access("file", F_OK), 0);
}

static void change_of_directory_does_not_matter(void **state)
{
	struct err e = {0};

	(void)state;
	make_file("file");
	assert_int_equal(leftover_add("./file", &e), 0);
	assert_int_equal(chdir("/"), 0);
	leftovers_remove();
	assert_int_equal(chdir(dir), 0);
	assert_int_equal(access("file", F_OK), -1);
}

static void fds_are_known_until_it_is_over(void **state)
{
	struct err e = {0};
	int lowest = dup(0);

	(void)state;
	close(lowest);
	make_file("file");
	assert_int_equal(leftover_add("file", &e), 0);
	assert_int_equal(leftover_fd_from(0), lowest);
	assert_int_equal(leftover_fd_from(lowest + 1), lowest + 1);
	assert_int_equal(leftover_fd_from(lowest + 2), -1);
	leftovers_remove();
	assert_int_equal(leftover_fd_from(0), -1);
	assert_int_equal(fcntl(lowest, F_GETFD), -1);
	assert_int_equal(fcntl(lowest + 1, F_GETFD), -1);
}

static void what_cannot_be_kept_is_refused(void **state)
{
	struct err e = {0};

	(void)state;
	assert_int_equal(leftover_add("absent", &e), -ENOENT);
	assert_int_equal(leftover_add("no/such/dir", &e), -ENOENT);
	assert_int_equal(leftover_add("dir/", &e), -ENAMETOOLONG);
	make_file("file");
	for (unsigned i = 0; i < LEFTOVERS_MAX; i++)
		assert_int_equal(leftover_add("file", &e), 0);
	assert_int_equal(leftover_add("file", &e), -ENOSPC);
	assert_non_null(strstr(e.text, "file"));
	assert_int_equal(access("file", F_OK), -1); /* rather now than never */
}

static void remove_and_end(int signal)
{
	(void)signal;
	leftovers_remove();
	_exit(0);
}

/* Has a folder as its leftover, which is no file to remove; then waits for stderr's reader. */
static void log_to_nobody(void)
{
	const struct itimerval soon = {.it_value.tv_usec = 50000}, never = {0};
	struct err e = {0};
	int ends[2];

	if (mkdir("folder", 0700) < 0 || leftover_add("folder", &e) < 0 || pipe(ends) < 0)
		_exit(1);
	fcntl(ends[1], F_SETFL, O_NONBLOCK);
	while (write(ends[1], dir, sizeof(dir)) > 0)
		;
	fcntl(ends[1], F_SETFL, 0);
	dup2(ends[1], STDERR_FILENO);
	signal(SIGALRM, remove_and_end);
	setitimer(ITIMER_REAL, &soon, NULL);
	log_error("nobody reads this");
	setitimer(ITIMER_REAL, &never, NULL);
	_exit(2);
}

static void signal_in_the_middle_of_a_line_does_not_wait_for_it(void **state)
{
	struct pollfd p = {.events = POLLIN};
	int status = -1;
	pid_t pid = fork();

	(void)state;
	if (pid == 0)
		log_to_nobody();
	p.fd = (int)syscall(SYS_pidfd_open, pid, 0);
	if (poll(&p, 1, 10000) != 1)
		kill(pid, SIGKILL);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	close(p.fd);
	assert_int_equal(rmdir("folder"), 0);
	assert_int_equal(status, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(registered_file_is_removed_once, setup, teardown),
		cmocka_unit_test_setup_teardown(
			file_that_another_removes_at_the_same_time_is_no_complaint, setup,
			teardown),
		cmocka_unit_test_setup_teardown(another_file_of_that_name_stays, setup, teardown),
		cmocka_unit_test_setup_teardown(change_of_directory_does_not_matter, setup,
						teardown),
		cmocka_unit_test_setup_teardown(fds_are_known_until_it_is_over, setup, teardown),
		cmocka_unit_test_setup_teardown(what_cannot_be_kept_is_refused, setup, teardown),
		cmocka_unit_test_setup_teardown(
			signal_in_the_middle_of_a_line_does_not_wait_for_it, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
