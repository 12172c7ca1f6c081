/* SPDX-License-Identifier: BSD-3-Clause */
/* host_kernel_test.c - which kernel a guest gets when its user names none */
#include "config/host_kernel.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static char dir[] = "/tmp/host-kernel-XXXXXX", path[256];
static struct err e;

static int set_up(void **state)
{
	(void)state;
	strcpy(dir, "/tmp/host-kernel-XXXXXX");
	return mkdtemp(dir) ? 0 : -1;
}

static int tear_down(void **state)
{
	static const char *const names[] = {"vmlinuz-6.1.0-9-amd64", "vmlinuz-6.1.0-10-amd64",
					    "config-9"};

	(void)state;
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		snprintf(path, sizeof(path), "%s/%s", dir, names[i]);
		unlink(path);
	}
	return rmdir(dir);
}

static void add(const char *name)
{
	char file[256];
	int fd;

	snprintf(file, sizeof(file), "%s/%s", dir, name);
	fd = open(file, O_CREAT | O_WRONLY | O_CLOEXEC, 0644);
	assert_true(fd >= 0);
	close(fd);
}

static void the_running_kernel_is_taken_first(void **state)
{
	const struct host_kernel_paths paths = {.boot = dir, .release = "6.1.0-9-amd64"};

	(void)state;
	add("vmlinuz-6.1.0-9-amd64");
	add("vmlinuz-6.1.0-10-amd64");
	assert_int_equal(host_kernel_find(&paths, path, sizeof(path), &e), 0);
	assert_string_equal(path + strlen(dir), "/vmlinuz-6.1.0-9-amd64");
}

static void else_the_newest_is(void **state)
{
	const struct host_kernel_paths paths = {.boot = dir, .release = "5.10.0"};

	(void)state;
	add("vmlinuz-6.1.0-9-amd64");
	add("vmlinuz-6.1.0-10-amd64");
	add("config-9");
	assert_int_equal(host_kernel_find(&paths, path, sizeof(path), &e), 0);
	assert_string_equal(path + strlen(dir), "/vmlinuz-6.1.0-10-amd64");
}

static void without_any_the_message_says_what_to_install(void **state)
{
	const struct host_kernel_paths paths = {.boot = dir};

	(void)state;
	assert_int_equal(host_kernel_find(&paths, path, sizeof(path), &e), -ENOENT);
	assert_non_null(strstr(e.text, "apt install linux-image-amd64"));
	assert_true(strlen(host_kernel_running()) > 0);
}

static void one_that_cannot_be_read_is_told(void **state)
{
	const struct host_kernel_paths paths = {.boot = dir, .release = "5.10.0"};

	(void)state;
	add("vmlinuz-6.1.0-9-amd64");
	snprintf(path, sizeof(path), "%s/vmlinuz-6.1.0-9-amd64", dir);
	chmod(path, 0);
	chmod(dir, 0755);
	if (geteuid() == 0) /* may read everything */
		assert_int_equal(seteuid(65534), 0);
	assert_int_equal(host_kernel_find(&paths, path, sizeof(path), &e), -EACCES);
	assert_int_equal(seteuid(getuid()), 0);
	assert_non_null(strstr(e.text, "chmod a+r"));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(the_running_kernel_is_taken_first),
		TEST(else_the_newest_is),
		TEST(without_any_the_message_says_what_to_install),
		TEST(one_that_cannot_be_read_is_told),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
