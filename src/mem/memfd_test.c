/* SPDX-License-Identifier: BSD-3-Clause */
/* memfd_test.c - guest memory's file: size, seals, holes */
#include "mem/memfd.h"

#include "base/fd.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

enum { PAGE = 4096 };

static void size_is_sealed(void **state)
{
	struct err e;
	auto_fd fd = memfd_new("test", 4 * PAGE, 0, &e);
	struct stat st;

	(void)state;
	assert_true(fd >= 0);
	assert_int_equal(fstat(fd, &st), 0);
	assert_int_equal(st.st_size, 4 * PAGE);
	assert_int_equal(ftruncate(fd, PAGE), -1);
	assert_int_equal(errno, EPERM);
	assert_int_equal(ftruncate(fd, 8 * PAGE), -1);
	assert_int_equal(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE), -1);
	assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
}

static void size_that_cannot_be_is_refused(void **state)
{
	struct err e;

	(void)state;
	assert_int_equal(memfd_new("test", UINT64_C(1) << 63, 0, &e), -EINVAL);
	assert_non_null(strstr(e.text, "cannot make guest memory of 8796093022208 MiB"));
	assert_int_equal(memfd_new("test", 3 * PAGE, 2 << 20, &e), -EINVAL);
}

static void name_that_cannot_be_is_refused(void **state)
{
	char name[400];
	struct err e;

	(void)state;
	memset(name, 'x', sizeof(name) - 1);
	name[sizeof(name) - 1] = '\0';
	assert_int_equal(memfd_new(name, PAGE, 0, &e), -EINVAL);
	assert_non_null(strstr(e.text, "cannot create guest memory"));
}

static void hole_reads_as_zero_for_every_mapping(void **state)
{
	struct err e;
	auto_fd fd = memfd_new("test", 4 * PAGE, 0, &e);
	struct stat st;
	uint8_t *a = mmap(NULL, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	uint8_t *b = mmap(NULL, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	(void)state;
	assert_true(a != MAP_FAILED && b != MAP_FAILED);
	memset(a, 7, 4 * PAGE);
	assert_int_equal(memfd_punch(fd, PAGE, 2 * PAGE), 0);
	assert_int_equal(fstat(fd, &st), 0);
	assert_int_equal(st.st_blocks * 512, 2 * PAGE);
	assert_int_equal(a[PAGE - 1], 7);
	assert_int_equal(a[PAGE], 0);
	assert_int_equal(b[3 * PAGE - 1], 0);
	assert_int_equal(b[3 * PAGE], 7);
	assert_int_equal(memfd_punch(-1, 0, PAGE), -EBADF);
	munmap(a, 4 * PAGE);
	munmap(b, 4 * PAGE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(size_is_sealed),
		cmocka_unit_test(size_that_cannot_be_is_refused),
		cmocka_unit_test(name_that_cannot_be_is_refused),
		cmocka_unit_test(hole_reads_as_zero_for_every_mapping),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
