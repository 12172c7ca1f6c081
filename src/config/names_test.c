/* SPDX-License-Identifier: BSD-3-Clause */
/* names_test.c - names of virtual machines, and the sockets they stand for */
#include "config/names.h"

#include "base/skip.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static char dir[] = "/tmp/names-test-XXXXXX", sub[64], path[108];
static struct err e;

static int set_up(void **state)
{
	(void)state;
	if (!mkdtemp(dir) || chdir(dir) < 0)
		return -1;
	snprintf(sub, sizeof(sub), "%s/crosvm", dir);
	return setenv("XDG_RUNTIME_DIR", dir, 1);
}

static int tear_down(void **state)
{
	(void)state;
	rmdir(sub);
	return rmdir(dir);
}

static void a_name_stands_for_a_socket_of_the_users_own(void **state)
{
	char expected[108];

	(void)state;
	snprintf(expected, sizeof(expected), "%s/web-1.sock", sub);
	assert_int_equal(vm_name_path("web-1", path, sizeof(path), &e), 0);
	assert_string_equal(path, expected);
}

static void names_that_are_paths_or_options_are_refused(void **state)
{
	static const char *const names[] = {
		"",         ".",
		"..",       "a/b",
		"-s",       "_x",
		"a b",      "a\n",
		"\303\244", "a23456789012345678901234567890123456789012345678x"};

	(void)state;
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		assert_int_equal(vm_name_path(names[i], path, sizeof(path), &e), -EINVAL);
}

static void the_directory_is_made_for_the_user_alone(void **state)
{
	struct stat st;

	(void)state;
	assert_int_equal(vm_name_dir_make(&e), 0);
	assert_int_equal(vm_name_dir_make(&e), 0);
	assert_int_equal(stat(sub, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0700);
	assert_int_equal(chmod(sub, 0722), 0);
	assert_int_equal(vm_name_dir_make(&e), -EPERM);
	assert_int_equal(rmdir(sub), 0);
	assert_int_equal(symlink("/tmp", sub), 0);
	assert_int_equal(vm_name_dir_make(&e), -EPERM);
	assert_int_equal(unlink(sub), 0);
}

static void words_with_a_slash_and_files_are_paths(void **state)
{
	FILE *file = fopen("here", "we");

	(void)state;
	assert_non_null(file);
	fclose(file);
	vm_name_resolve("/run/vm.sock", path, sizeof(path));
	assert_string_equal(path, "/run/vm.sock");
	vm_name_resolve("here", path, sizeof(path));
	assert_string_equal(path, "here");
	vm_name_resolve("a b", path, sizeof(path));
	assert_string_equal(path, "a b");
	vm_name_resolve("web", path, sizeof(path));
	assert_non_null(strstr(path, "/crosvm/web.sock"));
	unlink("here");
}

static void without_a_place_the_remedy_is_named(void **state)
{
	(void)state;
	unsetenv("XDG_RUNTIME_DIR");
	if (geteuid() == 0) {
		assert_int_equal(vm_name_path("web", path, sizeof(path), &e), 0);
		assert_string_equal(path, "/run/crosvm/web.sock");
	} else {
		assert_int_equal(vm_name_path("web", path, sizeof(path), &e), -ENOENT);
		assert_non_null(strstr(e.text, "XDG_RUNTIME_DIR"));
	}
	setenv("XDG_RUNTIME_DIR", dir, 1);
	assert_int_equal(vm_name_path("web", path, 20, &e), -ENAMETOOLONG);
}

static void note(void *context, const char *name)
{
	*(bool *)context |= strcmp(name, "unit-test-of-names") == 0;
}

static void services_have_names_too(void **state)
{
	static const char folder[] = "/run/crosvm-unit-test-of-names";
	bool is_there = false;
	char file[64];

	(void)state;
	if (mkdir(folder, 0700) < 0)
		SKIP("permission to write in /run");
	snprintf(file, sizeof(file), "%s/control.sock", folder);
	fclose(fopen(file, "we"));
	assert_int_equal(vm_name_find("unit-test-of-names", path, sizeof(path), &e), 0);
	assert_string_equal(path, file);
	assert_int_equal(vm_names_each(note, &is_there, &e), 0);
	assert_true(is_there);
	unlink(file);
	rmdir(folder);
	assert_int_equal(vm_name_find("unit-test-of-names", path, sizeof(path), &e), 0);
	assert_non_null(strstr(path, "/crosvm/unit-test-of-names.sock"));
}

static void collect(void *context, const char *name)
{
	char *all = context;

	snprintf(all + strlen(all), 64 - strlen(all), "%s ", name);
}

static void names_are_those_of_sockets_that_can_be_ours(void **state)
{
	static const char *const files[] = {"web.sock", "mail.sock", "-x.sock", "a b.sock",
					    "notes"};
	char all[64] = "";

	(void)state;
	assert_int_equal(vm_names_each(collect, all, &e), 0); /* no directory, or nothing in it */
	assert_string_equal(all, "");
	assert_int_equal(vm_name_dir_make(&e), 0);
	for (size_t i = 0; i < ARRAY_LEN(files); i++) {
		snprintf(path, sizeof(path), "%s/%s", sub, files[i]);
		fclose(fopen(path, "we"));
	}
	assert_int_equal(vm_names_each(collect, all, &e), 0);
	assert_string_equal(all, "mail web ");
	for (size_t i = 0; i < ARRAY_LEN(files); i++) {
		snprintf(path, sizeof(path), "%s/%s", sub, files[i]);
		unlink(path);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_name_stands_for_a_socket_of_the_users_own),
		cmocka_unit_test(names_that_are_paths_or_options_are_refused),
		cmocka_unit_test(the_directory_is_made_for_the_user_alone),
		cmocka_unit_test(words_with_a_slash_and_files_are_paths),
		cmocka_unit_test(names_are_those_of_sockets_that_can_be_ours),
		cmocka_unit_test(without_a_place_the_remedy_is_named),
		cmocka_unit_test(services_have_names_too),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
