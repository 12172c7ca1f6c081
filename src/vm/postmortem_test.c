/* SPDX-License-Identifier: BSD-3-Clause */
/* postmortem_test.c - what is left of VMs, by how they ended */
#include "vm/postmortem.h"

#include "base/exit_codes.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/stderr_test.h"
#include "vm/devices.h"
#include "vm/recorder.h"

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

static struct recorder recorder;
static struct postmortem post;
static struct vm_devices devices;
static struct vm_device device;
static struct loop loop;
static const struct respawn_end *end;
static char dir[32], path[64];

static int set_up(void **state)
{
	struct err e;

	(void)state;
	strcpy(dir, "/tmp/postmortem-XXXXXX");
	assert_non_null(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/trace", dir);
	memset(&recorder, 0, sizeof(recorder));
	assert_int_equal(recorder_init(&recorder, 1, &e), 0);
	trace(TRACE_VM, TRACE_VM_RUNS, 0, 0, 0);
	assert_int_equal(loop_init(&loop), 0);
	assert_int_equal(device_logs_init(&devices.logs, &loop), 0);
	assert_int_equal(device_log_init(&device.log, &devices.logs, "block0", &e), 0);
	devices.list = &device;
	devices.count = 1;
	return stderr_catch();
}

static int tear_down(void **state)
{
	(void)state;
	stderr_release();
	device_log_fini(&device.log);
	device_logs_fini(&devices.logs);
	loop_fini(&loop);
	recorder_fini(&recorder);
	unlink(path);
	rmdir(dir);
	return 0;
}

static void begin(const char *file)
{
	struct err e;

	assert_int_equal(postmortem_init(&post, &recorder, file, NULL, &e), 0);
	end = postmortem_of(&post, &devices);
}

static const char *written(void)
{
	static char text[8192];
	auto_fd fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? 0 : read(fd, text, sizeof(text) - 1);

	text[n > 0 ? n : 0] = '\0';
	return text;
}

static void bad_end_leaves_a_file(void **state)
{
	struct stat st;

	(void)state;
	begin(path);
	recorder_state_set(&recorder, RECORDER_ENDED_BADLY, 34, "triple fault");
	postmortem_tell(&post);
	assert_int_equal(access(path, F_OK), -1);
	end->run(end->context);

	assert_ptr_equal(strstr(written(), "exit code 34: triple fault\n"), written());
	assert_non_null(strstr(written(), " main       the guest runs\n"));
	assert_non_null(
		strstr(stderr_said(), "crosvm: what the VM did last is in /tmp/postmortem-"));
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
}

static void good_end_leaves_nothing(void **state)
{
	(void)state;
	begin(path);
	end->run(end->context); /* it never ran */
	recorder_state_set(&recorder, RECORDER_ENDED_WELL, 0, "");
	end->run(end->context);

	assert_int_equal(access(path, F_OK), -1);
	assert_string_equal(stderr_said(), "");
}

static void death_of_main_is_told_with_what_devices_still_said(void **state)
{
	(void)state;
	begin(path);
	recorder_state_set(&recorder, RECORDER_RUNS, 0, "");
	assert_int_equal(write(device.log.out, "<4>last words\n", 14), 14);
	end->run(end->context);

	assert_non_null(strstr(stderr_said(), "crosvm: the main process died\n"
				       "crosvm: block0: warning: last words\n"
				       "crosvm: what the VM did last is in "));
	assert_ptr_equal(strstr(written(), "the main process died\n"), written());
}

static void without_a_file_the_last_events_are_logged(void **state)
{
	unsigned n = 0;

	(void)state;
	begin(NULL);
	for (unsigned i = 0; i < 100; i++)
		trace(TRACE_LINE, 0, i, 0, 0);
	recorder_state_set(&recorder, RECORDER_RUNS, 0, "");
	end->run(end->context);

	for (const char *p = stderr_said(); (p = strstr(p, "main: interrupt line 9")); p++)
		n++;
	assert_int_equal(n, POSTMORTEM_LINES);

	postmortem_tell(&post);
	assert_non_null(strstr(stderr_said(), "main: interrupt line 99 lowered\n"));
	recorder_state_set(&recorder, RECORDER_ENDED_BADLY, 0, "");
	end->run(end->context);
	assert_string_equal(stderr_said(), "");
}

static void link_in_the_way_is_not_followed(void **state)
{
	char name[80], target[80];

	(void)state;
	snprintf(name, sizeof(name), "%s.tmp", path);
	snprintf(target, sizeof(target), "%s/target", dir);
	assert_int_equal(symlink(target, name), 0);
	begin(path);
	recorder_state_set(&recorder, RECORDER_ENDED_BADLY, 34, "");
	end->run(end->context);

	assert_int_equal(access(target, F_OK), -1);
	assert_int_equal(access(name, F_OK), -1);
	assert_true(strlen(written()) > 0);
}

static void file_that_cannot_be_is_told(void **state)
{
	char file[80];

	(void)state;
	assert_int_equal(mkdir(path, 0700), 0);
	snprintf(file, sizeof(file), "%s/trace", path);
	begin(file);
	assert_int_equal(rmdir(path), 0);
	recorder_state_set(&recorder, RECORDER_ENDED_BADLY, 34, "");
	end->run(end->context);
	assert_non_null(
		strstr(stderr_said(), "/trace/trace: cannot be written: No such file or dir"));

	begin(path);
	assert_int_equal(mkdir(path, 0700), 0);
	end->run(end->context);
	assert_non_null(strstr(stderr_said(), "cannot be written: Is a directory"));
	rmdir(path);
}

static void check_refused(const char *file, const char *why)
{
	struct err e = {0};

	assert_true(postmortem_init(&post, &recorder, file, NULL, &e) < 0);
	assert_ptr_equal(strstr(e.text, "--trace-file: "), e.text);
	assert_non_null(strstr(e.text, why));
}

static void file_that_cannot_be_is_refused_at_once(void **state)
{
	char name[300];
	struct err e;

	(void)state;
	check_refused("/nowhere/trace", "No such file or directory; check the path");
	check_refused(dir, "exists and is no file");
	check_refused("/dev/null", "exists and is no file");
	check_refused("/proc/version/trace", "Not a directory");
	check_refused("/tmp/none/", "no name of a file");
	snprintf(name, sizeof(name), "/tmp/%0252d", 0);
	check_refused(name, "no name of a file");
	name[5 + 251] = '\0';
	assert_int_equal(postmortem_init(&post, &recorder, name, NULL, &e), 0);
	assert_int_equal(access(name, F_OK), -1);
}

static void names_have_a_file_beside_the_socket(void **state)
{
	struct err e;

	(void)state;
	setenv("XDG_RUNTIME_DIR", "/run/x", 1);
	assert_int_equal(postmortem_init(&post, &recorder, NULL, "web", &e), 0);
	assert_string_equal(post.path, "/run/x/crosvm/web.trace");
	assert_int_equal(postmortem_init(&post, &recorder, "mine", "web", &e), 0);
	assert_string_equal(post.path, "mine");
}

static void only_failures_are_due(void **state)
{
	(void)state;
	assert_false(postmortem_is_due(EXIT_CODE_OK));
	assert_false(postmortem_is_due(EXIT_CODE_RESET));
	assert_false(postmortem_is_due(EXIT_CODE_SIGNAL + 15));
	assert_false(postmortem_is_due(EXIT_CODE_DEBUG_FIRST));
	assert_true(postmortem_is_due(EXIT_CODE_TRIPLE_FAULT));
	assert_true(postmortem_is_due(EXIT_CODE_DEVICE));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(bad_end_leaves_a_file),
		TEST(good_end_leaves_nothing),
		TEST(death_of_main_is_told_with_what_devices_still_said),
		TEST(without_a_file_the_last_events_are_logged),
		TEST(link_in_the_way_is_not_followed),
		TEST(file_that_cannot_be_is_told),
		TEST(file_that_cannot_be_is_refused_at_once),
		TEST(names_have_a_file_beside_the_socket),
		TEST(only_failures_are_due),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
