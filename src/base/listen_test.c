/* SPDX-License-Identifier: BSD-3-Clause */
/* listen_test.c - UNIX sockets that listen at a path */
#include "base/listen.h"

#include "base/fd.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

static char dir[64], path[80];

static int connect_to_path(void)
{
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	auto_fd fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	memcpy(a.sun_path, path, strlen(path));
	return connect(fd, (struct sockaddr *)&a, sizeof(a)) < 0 ? -errno : 0;
}

static void test_listens_and_does_not_block(void **state)
{
	struct err e = {0};
	auto_fd fd = listen_at(path, 2, 0777, &e);

	(void)state;
	assert_true(fd >= 0);
	assert_int_equal(connect_to_path(), 0);
	close(accept(fd, NULL, NULL));
	assert_int_equal(accept(fd, NULL, NULL), -1);
	assert_int_equal(errno, EAGAIN);
}

static void test_stale_socket_is_replaced(void **state)
{
	struct err e = {0};
	auto_fd fd = -1;

	(void)state;
	close(listen_at(path, 1, 0777, &e));
	assert_int_equal(connect_to_path(), -ECONNREFUSED);
	fd = listen_at(path, 1, 0777, &e);
	assert_true(fd >= 0);
	assert_int_equal(connect_to_path(), 0);
}

static void test_stale_sockets_are_removed_and_nothing_else(void **state)
{
	struct err e = {0};
	auto_fd fd = -1;

	(void)state;
	close(listen_at(path, 1, 0777, &e));
	listen_stale_remove(path);
	assert_int_equal(access(path, F_OK), -1);
	listen_stale_remove(path); /* nothing there */
	fd = listen_at(path, 1, 0777, &e);
	listen_stale_remove(path);
	assert_int_equal(connect_to_path(), 0);
	unlink(path);
	close(open(path, O_CREAT | O_WRONLY, 0600));
	listen_stale_remove(path);
	assert_int_equal(access(path, F_OK), 0);
	unlink(path);
}

static void test_live_socket_is_refused(void **state)
{
	struct err e = {0};
	auto_fd fd = listen_at(path, 1, 0777, &e);

	(void)state;
	assert_true(fd >= 0);
	assert_int_equal(listen_at(path, 1, 0777, &e), -EADDRINUSE);
	assert_non_null(strstr(e.text, "running program"));
	assert_int_equal(connect_to_path(), 0);
}

static void test_other_files_are_left_alone(void **state)
{
	struct err e = {0};

	(void)state;
	close(open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
	assert_int_equal(listen_at(path, 1, 0777, &e), -EEXIST);
	assert_int_equal(access(path, F_OK), 0);
}

static void test_long_and_impossible_paths_are_refused(void **state)
{
	char longest[256] = "";
	struct err e = {0};

	(void)state;
	memset(longest, 'x', sizeof(longest) - 1);
	assert_int_equal(listen_at(longest, 1, 0777, &e), -ENAMETOOLONG);
	assert_int_equal(listen_at("/nowhere/at/all", 1, 0777, &e), -ENOENT);
	assert_non_null(strstr(e.text, "/nowhere/at/all"));
}

static void test_a_locked_directory_is_not_waited_for_for_ever(void **state)
{
	auto_fd lock = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct err e = {0};

	(void)state;
	assert_int_equal(flock(lock, LOCK_SH), 0);
	assert_int_equal(listen_at(path, 1, 0777, &e), -EBUSY);
	assert_non_null(strstr(e.text, "another directory"));
	assert_int_equal(access(path, F_OK), -1);
}

static int remove_path(void **state)
{
	(void)state;
	unlink(path);
	return 0;
}

static int make_directory(void **state)
{
	(void)state;
	snprintf(dir, sizeof(dir), "/tmp/crosvm-listen-XXXXXX");
	if (!mkdtemp(dir))
		return -1;
	snprintf(path, sizeof(path), "%s/a.sock", dir);
	return 0;
}

static int remove_directory(void **state)
{
	(void)state;
	return rmdir(dir);
}

#define TEST(name) cmocka_unit_test_teardown(test_##name, remove_path)

int main(void)
{
	static const struct CMUnitTest tests[] = {
		TEST(listens_and_does_not_block),
		TEST(stale_socket_is_replaced),
		TEST(stale_sockets_are_removed_and_nothing_else),
		TEST(live_socket_is_refused),
		TEST(other_files_are_left_alone),
		TEST(long_and_impossible_paths_are_refused),
		TEST(a_locked_directory_is_not_waited_for_for_ever),
	};

	return cmocka_run_group_tests(tests, make_directory, remove_directory);
}
