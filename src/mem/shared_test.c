/* SPDX-License-Identifier: BSD-3-Clause */
/* shared_test.c - memory that two processes have: both see it, and no more than it */
#include "mem/shared.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

enum { PAGE = 4096 };

static void both_sides_see_what_one_writes(void **state)
{
	struct shared ours, theirs;
	struct err e;
	int fd;

	(void)state;
	assert_int_equal(shared_new(&ours, "test", 2 * PAGE, &e), 0);
	assert_true(fcntl(ours.fd, F_GETFD) & FD_CLOEXEC);
	fd = dup(ours.fd);
	assert_int_equal(shared_map_take(&theirs, fd, 2 * PAGE, &e), 0);
	assert_int_equal(fcntl(fd, F_GETFD), -1); /* closed */
	assert_int_equal(theirs.fd, -1);

	*(uint64_t *)theirs.at = 7;
	assert_int_equal(*(uint64_t *)ours.at, 7);
	shared_fini(&theirs);
	shared_fini(&theirs);
	assert_int_equal(*(uint64_t *)ours.at, 7); /* outlives the other side */
	shared_fini(&ours);
}

static void size_cannot_be_changed(void **state)
{
	struct shared s;
	struct err e;

	(void)state;
	assert_int_equal(shared_new(&s, "test", PAGE, &e), 0);
	assert_int_equal(ftruncate(s.fd, 0), -1);
	assert_int_equal(errno, EPERM);
	assert_int_equal(ftruncate(s.fd, 2 * PAGE), -1);
	assert_int_equal(fcntl(s.fd, F_ADD_SEALS, F_SEAL_WRITE), -1);
	shared_fini(&s);
}

/* Whoever makes its mapping longer finds nothing of another's behind it. */
static void longer_mapping_reaches_nothing(void **state)
{
	struct shared s, other;
	struct err e;
	int status;
	pid_t pid;

	(void)state;
	assert_int_equal(shared_new(&s, "test", PAGE, &e), 0);
	assert_int_equal(shared_new(&other, "other", PAGE, &e), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		char *longer = mremap(s.at, PAGE, 2 * (size_t)PAGE, MREMAP_MAYMOVE);

		signal(SIGBUS, SIG_DFL);
		if (longer == MAP_FAILED)
			_exit(1);
		longer[PAGE] = 1;
		_exit(2);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGBUS);
	shared_fini(&other);
	shared_fini(&s);
}

static void what_cannot_be_mapped_is_told(void **state)
{
	struct shared s;
	struct err e;

	(void)state;
	assert_int_equal(shared_map_take(&s, open("/dev/null", O_RDWR | O_CLOEXEC), PAGE, &e),
			 -ENODEV);
	assert_non_null(strstr(e.text, "cannot map 4096 bytes of shared memory"));
	assert_null(s.at);
	shared_fini(&s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(both_sides_see_what_one_writes),
		cmocka_unit_test(size_cannot_be_changed),
		cmocka_unit_test(longer_mapping_reaches_nothing),
		cmocka_unit_test(what_cannot_be_mapped_is_told),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
