/* SPDX-License-Identifier: BSD-3-Clause */
/* tool_test.c - other programs: what they see, and what is said of their end */
#include "cli/tool.h"

#include "base/fd.h"
#include "base/skip.h"
#include "jail/landlock.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static struct err e;
static char said[512];

/* What a shell script writes to standard output. */
static const char *output_of(const char *script, int file)
{
	struct tool t = TOOL("sh", "dash", "-c", script);
	auto_fd out = memfd_create("out", MFD_CLOEXEC);
	ssize_t n;

	t.out = out;
	t.file = file;
	assert_int_equal(tool_run(&t, &e), 0);
	n = pread(out, said, sizeof(said) - 1, 0);
	said[n < 0 ? 0 : n] = '\0';
	return said;
}

static void a_tool_sees_its_files_and_no_others(void **state)
{
	auto_fd ours = open("/dev/zero", O_RDONLY); /* open across exec */
	auto_fd file = memfd_create("file", MFD_CLOEXEC);

	(void)state;
	assert_true(ours >= 0);
	assert_string_equal(output_of("[ -e /proc/$$/fd/3 ] || echo none", -1), "none\n");
	assert_string_equal(output_of("echo text >" TOOL_FILE "; echo done", file), "done\n");
	assert_int_equal(lseek(file, 0, SEEK_END), 5);
	assert_string_equal(output_of("readlink /proc/$$/fd/* | grep -c /dev/zero; true", file),
			    "0\n");
	assert_string_equal(output_of("readlink /proc/$$/fd/0", -1), "/dev/null\n");
}

static void a_tool_can_gain_no_rights_and_dies_with_us(void **state)
{
	(void)state;
	assert_string_equal(output_of("grep NoNewPrivs /proc/self/status", -1), "NoNewPrivs:\t1\n");
}

/* cat of a file in the folder that dir is; its exit status. */
static int reads(const char *name, int dir)
{
	struct tool t = TOOL("cat", "coreutils", name);
	auto_fd out = memfd_create("out", MFD_CLOEXEC);

	t.out = out;
	t.dir = dir;
	t.is_confined = true;
	return tool_run(&t, &e);
}

static void put(const char *path)
{
	auto_fd fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);

	assert_int_equal(write(fd, "x", 1), 1);
}

static void a_confined_tool_reads_what_is_in_its_folder(void **state)
{
	char top[] = "/tmp/tool-XXXXXX", inside[32], file[48], secret[48], link[48];
	auto_fd rules = landlock_new();
	auto_fd dir = -1;

	(void)state;
	SKIP_UNLESS(rules >= 0, "Landlock (Linux 5.13)");
	assert_non_null(mkdtemp(top));
	snprintf(inside, sizeof(inside), "%s/inside", top);
	snprintf(file, sizeof(file), "%s/file", inside);
	snprintf(link, sizeof(link), "%s/link", inside);
	snprintf(secret, sizeof(secret), "%s/secret", top);
	assert_int_equal(mkdir(inside, 0700), 0);
	put(file);
	put(secret);
	assert_int_equal(symlink("../secret", link), 0);
	dir = open(inside, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	assert_int_equal(reads("file", dir), 0);
	assert_int_equal(reads("link", dir), -EIO);
	assert_non_null(strstr(e.text, "link: Permission denied"));
	assert_int_equal(reads(secret, dir), -EIO);
	unlink(link);
	unlink(file);
	unlink(secret);
	rmdir(inside);
	rmdir(top);
}

static void a_tool_that_fails_has_the_last_word_cleaned(void **state)
{
	struct tool t =
		TOOL("sh", "dash", "-c",
		     "exec >&2; echo zero; echo first; printf 'a \\033[2Jproblem\\n' >&2; exit 3");
	struct tool silent = TOOL("sh", "dash", "-c", "exit 4");
	struct tool killed = TOOL("sh", "dash", "-c", "kill -9 $$");

	(void)state;
	assert_int_equal(tool_run(&t, &e), -EIO);
	assert_string_equal(e.text, "sh: first; a ?[2Jproblem");
	assert_int_equal(tool_run(&silent, &e), -EIO);
	assert_string_equal(e.text, "sh failed with exit status 4");
	assert_int_equal(tool_run(&killed, &e), -EIO);
	assert_string_equal(e.text, "sh was ended by signal 9");
}

static void a_tool_that_is_not_there_is_named_with_its_package(void **state)
{
	struct tool t = TOOL("no-such-tool", "some-package", NULL);

	(void)state;
	assert_int_equal(tool_run(&t, &e), -ENOENT);
	assert_string_equal(e.text,
			    "no-such-tool is not installed; install the package \"some-package\"");
}

static void tools_of_the_administrator_are_found_without_path(void **state)
{
	char path[TOOL_PATH_MAX];
	char *old = getenv("PATH");

	(void)state;
	old = old ? strdup(old) : NULL;
	setenv("PATH", "relative:/nonexistent", 1);
	assert_int_equal(tool_find("sh", path, sizeof(path)), 0);
	assert_int_equal(path[0], '/');
	assert_int_equal(tool_find("sh", path, 4), -ENOENT);
	unsetenv("PATH");
	assert_int_equal(tool_find("sh", path, sizeof(path)), 0);
	if (old)
		setenv("PATH", old, 1);
	free(old);
}

static void a_tool_that_still_runs_can_be_killed(void **state)
{
	struct tool t = TOOL("sleep", "coreutils", "1000");
	pid_t pid;

	(void)state;
	assert_int_equal(tool_start(&t, &e), 0);
	pid = t.pid;
	tool_kill(&t);
	tool_kill(&t);
	assert_int_equal(kill(pid, 0), -1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_tool_sees_its_files_and_no_others),
		cmocka_unit_test(a_tool_can_gain_no_rights_and_dies_with_us),
		cmocka_unit_test(a_confined_tool_reads_what_is_in_its_folder),
		cmocka_unit_test(a_tool_that_fails_has_the_last_word_cleaned),
		cmocka_unit_test(a_tool_that_is_not_there_is_named_with_its_package),
		cmocka_unit_test(tools_of_the_administrator_are_found_without_path),
		cmocka_unit_test(a_tool_that_still_runs_can_be_killed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
