/* SPDX-License-Identifier: BSD-3-Clause */
/* ramdisk_test.c - the archive's bytes, as the kernel's documentation has them */
#include "cli/ramdisk.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static char bytes[8192];
static size_t size, at;

/* A header's field, counted from 0 behind the magic. */
static unsigned long field(unsigned n)
{
	char digits[9] = "";

	memcpy(digits, bytes + at + 6 + 8 * n, 8);
	return strtoul(digits, NULL, 16);
}

enum { MODE = 1, SIZE = 6, MAJOR = 9, MINOR = 10, NAME_SIZE = 11 };

/* Checks the header that is next, steps over it, and returns where its data is. */
static const char *next(const char *name, unsigned mode, size_t data_bytes)
{
	size_t data;

	assert_true(at + 110 + strlen(name) < size);
	assert_memory_equal(bytes + at, "070701", 6);
	assert_string_equal(bytes + at + 110, name);
	assert_int_equal(field(NAME_SIZE), strlen(name) + 1);
	assert_int_equal(field(MODE), mode);
	assert_int_equal(field(SIZE), data_bytes);
	data = (at + 110 + strlen(name) + 1 + 3) & ~(size_t)3;
	at = (data + data_bytes + 3) & ~(size_t)3;
	return bytes + data;
}

static void an_archive_has_folders_devices_and_files(void **state)
{
	struct ramdisk d;
	struct err e = {0};

	(void)state;
	assert_int_equal(ramdisk_init(&d, &e), 0);
	ramdisk_folder(&d, "dev");
	ramdisk_character_device(&d, "dev/console", 5, 1);
	ramdisk_file(&d, "init", 0755, "#!abc", 5);
	ramdisk_begin(&d, "modules", 0644);
	assert_int_equal(write(d.fd, "1234567", 7), 7);
	assert_int_equal(ramdisk_end(&d, &e), 0);
	assert_int_equal(ramdisk_finish(&d, &e), 0);

	size = (size_t)read(d.fd, bytes, sizeof(bytes));
	at = 0;
	next("dev", S_IFDIR | 0755, 0);
	assert_memory_equal(bytes + at, "070701", 6);
	assert_int_equal(field(MAJOR), 5);
	assert_int_equal(field(MINOR), 1);
	next("dev/console", S_IFCHR | 0600, 0);
	assert_memory_equal(next("init", S_IFREG | 0755, 5), "#!abc", 5);
	assert_memory_equal(next("modules", S_IFREG | 0644, 7), "1234567", 7);
	next("TRAILER!!!", 0, 0);
	assert_int_equal(at, size);
	ramdisk_fini(&d);
}

static void a_write_that_fails_is_told_at_the_end(void **state)
{
	struct ramdisk d;
	struct err e = {0};

	(void)state;
	assert_int_equal(ramdisk_init(&d, &e), 0);
	close(d.fd);
	d.fd = -1;
	ramdisk_file(&d, "init", 0755, "x", 1);
	assert_true(ramdisk_finish(&d, &e) < 0);
	assert_non_null(strstr(e.text, "cannot write the initial RAM disk"));
	ramdisk_fini(&d);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_archive_has_folders_devices_and_files),
		cmocka_unit_test(a_write_that_fails_is_told_at_the_end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
