/* SPDX-License-Identifier: BSD-3-Clause */
/* qcow_utils_test.c - libqcow_utils as its users see it: linked with nothing else of ours */
#include "qcow_utils/qcow_utils.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static char path[] = "qcow_utils_test.XXXXXX";
static int fd = -1;

static int setup(void **state)
{
	(void)state;
	snprintf(path, sizeof(path), "qcow_utils_test.XXXXXX");
	fd = mkstemp(path);
	return fd < 0;
}

static int teardown(void **state)
{
	(void)state;
	unlink(path);
	return close(fd);
}

static uint64_t field(off_t at, unsigned n)
{
	uint8_t bytes[8];
	uint64_t value = 0;

	assert_int_equal(pread(fd, bytes, n, at), n);
	for (unsigned i = 0; i < n; i++)
		value = value << 8 | bytes[i];
	return value;
}

static void image_has_the_size_that_was_asked_for(void **state)
{
	char command[64];

	(void)state;
	assert_int_equal(create_qcow_with_size(path, 1ull << 40), 0);
	assert_int_equal(field(0, 4), 0x514649fb);
	assert_int_equal(field(4, 4), 3);
	assert_int_equal(field(24, 8), 1ull << 40);
	snprintf(command, sizeof(command), "qemu-img check -q %s", path);
	if (system("qemu-img --version >/dev/null 2>&1") == 0)
		assert_int_equal(system(command), 0);
}

static void new_file_is_made(void **state)
{
	struct stat st;

	(void)state;
	unlink(path);
	assert_int_equal(create_qcow_with_size(path, 4096), 0);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 0077 & umask(022), 0);
}

static void nothing_of_an_old_file_is_left(void **state)
{
	static char ones[1 << 20];
	struct stat st;

	(void)state;
	memset(ones, 0xff, sizeof(ones));
	assert_int_equal(write(fd, ones, sizeof(ones)), sizeof(ones));
	assert_int_equal(create_qcow_with_size(path, 1 << 20), 0);
	assert_int_equal(fstat(fd, &st), 0);
	assert_true(st.st_size < 1 << 20);
	image_has_the_size_that_was_asked_for(state);
}

static void bad_paths_are_invalid(void **state)
{
	(void)state;
	assert_int_equal(create_qcow_with_size(NULL, 4096), -EINVAL);
	assert_int_equal(create_qcow_with_size("\xff", 4096), -EINVAL);
	assert_int_equal(create_qcow_with_size("a\xc0\x80", 4096), -EINVAL);
	assert_int_equal(create_qcow_with_size("\xed\xa0\x80", 4096), -EINVAL);
	assert_int_equal(create_qcow_with_size("\xf4\x90\x80\x80", 4096), -EINVAL);
	assert_int_equal(create_qcow_with_size("\xe2\x82", 4096), -EINVAL);
}

static void what_cannot_be_made_is_an_error(void **state)
{
	struct stat st;

	(void)state;
	assert_int_equal(create_qcow_with_size("/nonexistent/\xc3\xa9.qcow2", 4096), -1);
	assert_int_equal(create_qcow_with_size("/dev/null", 4096), -1);
	assert_int_equal(create_qcow_with_size("", 4096), -1);
	assert_int_equal(write(fd, "old", 3), 3);
	assert_int_equal(create_qcow_with_size(path, UINT64_MAX), -1);
	assert_int_equal(fstat(fd, &st), 0);
	assert_int_equal(st.st_size, 3);
}

static void file_in_use_is_not_touched(void **state)
{
	struct stat st;

	(void)state;
	assert_int_equal(write(fd, "old", 3), 3);
	assert_int_equal(flock(fd, LOCK_SH), 0);
	assert_int_equal(create_qcow_with_size(path, 4096), -1);
	assert_int_equal(fstat(fd, &st), 0);
	assert_int_equal(st.st_size, 3);
	assert_int_equal(flock(fd, LOCK_UN), 0);
	assert_int_equal(create_qcow_with_size(path, 4096), 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(image_has_the_size_that_was_asked_for), TEST(new_file_is_made),
		TEST(nothing_of_an_old_file_is_left),	     TEST(bad_paths_are_invalid),
		TEST(what_cannot_be_made_is_an_error),	     TEST(file_in_use_is_not_touched),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
