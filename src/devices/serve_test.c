/* SPDX-License-Identifier: BSD-3-Clause */
/* serve_test.c - `crosvm device`: its command line, its sockets, its end */
#include "base/fd.h"
#include "devices/device.h"
#include "devices/harness_test.h"
#include "devices/serve.h"
#include "jail/filter_run.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

enum { ARGUMENTS_MAX = 8, WAIT_MS = 10000 };

struct program {
	pid_t pid;
	int output; /* stdout and stderr */
};

static char folder[64], socket_path[128];

static struct program start(const char *const *arguments)
{
	const char *argv[ARGUMENTS_MAX + 4] = {"crosvm", "device"};
	const char *jail = getenv("CROSVM_TEST_JAIL");
	struct program p;
	char path[4096];
	size_t n = 2;
	int pair[2];

	if (jail && strcmp(jail, "no") == 0)
		argv[n++] = "--disable-jail";
	for (; *arguments; arguments++)
		argv[n++] = *arguments;
	harness_program_path(path, sizeof(path));
	assert_int_equal(pipe2(pair, O_CLOEXEC), 0);
	fflush(NULL);
	p.pid = fork();
	assert_true(p.pid >= 0);
	if (p.pid == 0) {
		dup2(pair[1], STDOUT_FILENO);
		dup2(pair[1], STDERR_FILENO);
		execv(path, (char *const *)(uintptr_t)argv);
		_exit(127);
	}
	close(pair[1]);
	p.output = pair[0];
	return p;
}

/* Its exit code; what it wrote goes to text. */
static int finish(struct program *p, char *text, size_t n)
{
	size_t used = 0;
	ssize_t r;
	int status;

	while (used < n - 1 && (r = read(p->output, text + used, n - 1 - used)) > 0)
		used += (size_t)r;
	text[used] = '\0';
	close(p->output);
	assert_int_equal(waitpid(p->pid, &status, 0), p->pid);
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

static void expect(int code, const char *words, const char *const *arguments)
{
	struct program p = start(arguments);
	char text[4096];

	assert_int_equal(finish(&p, text, sizeof(text)), code);
	if (!strstr(text, words))
		fail_msg("no \"%s\" in: %s", words, text);
}

#define ARGUMENTS(...) ((const char *const[]){__VA_ARGS__, NULL})

static void test_wrong_command_lines_say_what_is_wrong(void **state)
{
	(void)state;
	expect(2, "a type of device is missing", (const char *const[]){NULL});
	expect(2, "\"xyz\": no such device", ARGUMENTS("xyz"));
	expect(2, "one of --socket PATH and --fd N", ARGUMENTS("rng"));
	expect(2, "one of --socket PATH and --fd N", ARGUMENTS("rng", "--fd", "3", "--spawned"));
	expect(2, "--wrong: unknown option", ARGUMENTS("rng", "--wrong"));
	expect(2, "--socket: a value is missing: PATH", ARGUMENTS("rng", "--socket"));
	expect(2, "rate", ARGUMENTS("rng", "--fd", "0", "rate=1"));
	expect(2, "nosuch", ARGUMENTS("rng", "--fd", "0", "nosuch=1"));
	expect(2, "--fd: \"x\": not the number", ARGUMENTS("rng", "--fd", "x"));
	expect(2, "--fd: \"4294967296\": not the number", ARGUMENTS("rng", "--fd", "4294967296"));
}

static void test_help_names_devices_and_options(void **state)
{
	(void)state;
	expect(0, "Entropy", ARGUMENTS("--help"));
	expect(0, "rate", ARGUMENTS("rng", "--help"));
}

static void test_what_cannot_be_opened_is_told(void **state)
{
	char path[200];

	(void)state;
	expect(1, "--fd: descriptor 59 is not open", ARGUMENTS("rng", "--fd", "59"));
	expect(1, "cannot listen at /nosuch/s", ARGUMENTS("rng", "--socket", "/nosuch/s"));
	memset(path, 'x', sizeof(path) - 1);
	path[sizeof(path) - 1] = '\0';
	expect(1, "longer than a socket's path can be", ARGUMENTS("rng", "--socket", path));
}

/* ---- listening ---- */

static int connect_to(const char *path)
{
	struct sockaddr_un a = {.sun_family = AF_UNIX};

	memcpy(a.sun_path, path, strlen(path) + 1);
	for (int tries = 0; tries < 1000; tries++) {
		int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

		if (connect(fd, (struct sockaddr *)&a, sizeof(a)) == 0)
			return fd;
		close(fd);
		poll(NULL, 0, 10); /* it is starting */
	}
	fail_msg("nobody listens at %s", path);
	return -1;
}

static void serve_once(void)
{
	struct driver_options o = {.nqueues = 1, .queue_size = 4};
	struct driver_used used;
	struct driver_buf b;
	static struct driver d;

	assert_int_equal(driver_init(&d, &o), 0);
	assert_int_equal(driver_connect_take(&d, connect_to(socket_path)), 0);
	b = (struct driver_buf){driver_alloc(&d, 16, 16), 16, true};
	assert_true(driver_add(&d.queues[0], &b, 1) >= 0);
	driver_kick(&d.queues[0]);
	assert_int_equal(driver_wait(&d.queues[0], WAIT_MS, &used), 0);
	assert_int_equal(used.len, 16);
	driver_fini(&d);
}

static void end(struct program *p)
{
	int status;

	kill(p->pid, SIGTERM);
	close(p->output);
	assert_int_equal(waitpid(p->pid, &status, 0), p->pid);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGTERM);
}

static void test_front_ends_are_served_one_after_the_other(void **state)
{
	struct program p = start(ARGUMENTS("rng", "--socket", socket_path, "rate=1G"));

	(void)state;
	for (int i = 0; i < 5; i++)
		serve_once();
	end(&p);
}

static void test_socket_in_use_is_refused_and_a_stale_one_replaced(void **state)
{
	struct program p = start(ARGUMENTS("rng", "--socket", socket_path));
	struct stat st;

	(void)state;
	serve_once();
	expect(1, "a running program listens there", ARGUMENTS("rng", "--socket", socket_path));
	serve_once();
	end(&p);
	assert_int_equal(stat(socket_path, &st), 0);
	p = start(ARGUMENTS("rng", "--socket", socket_path));
	serve_once();
	end(&p);
}

/* ---- threads ---- */

static int thread_start(const char *type, const char *options, int sock, struct device_thread **t,
			struct err *e)
{
	const struct device_thread_args args = {
		.type = type,
		.name = type,
		.options = options,
		.sock = sock,
		.control_sock = -1,
	};

	return device_thread_start_take(&args, t, e);
}

static void test_thread_that_cannot_be_started_says_why(void **state)
{
	struct device_thread *t;
	struct err e = {0};
	int pair[2];

	(void)state;
	assert_int_equal(fd_socketpair(SOCK_STREAM, pair), 0);
	assert_int_equal(thread_start("xyz", "", pair[0], &t, &e), -EINVAL);
	assert_non_null(strstr(e.text, "no such device"));
	assert_int_equal(fcntl(pair[0], F_GETFD), -1); /* taken */
	close(pair[1]);
	assert_int_equal(fd_socketpair(SOCK_STREAM, pair), 0);
	assert_int_equal(thread_start("block", "path=/no", pair[0], &t, &e), -ENOENT);
	assert_int_equal(fcntl(pair[0], F_GETFD), -1);
	close(pair[1]);
	device_thread_stop(NULL);
}

static void test_thread_without_a_front_end_is_stopped(void **state)
{
	struct device_thread *t = NULL;
	struct err e = {0};
	int pair[2];

	(void)state;
	assert_int_equal(fd_socketpair(SOCK_STREAM, pair), 0);
	assert_int_equal(thread_start("rng", "", pair[0], &t, &e), 0);
	close(pair[1]);
	device_thread_stop(t);
}

static int make_folder(void **state)
{
	(void)state;
	snprintf(folder, sizeof(folder), "/tmp/crosvm-serve-XXXXXX");
	if (!mkdtemp(folder))
		return -1;
	snprintf(socket_path, sizeof(socket_path), "%s/socket", folder);
	return 0;
}

static int remove_folder(void **state)
{
	(void)state;
	unlink(socket_path);
	return rmdir(folder);
}

static bool may(const struct call *calls, const char *name)
{
	for (; calls->name; calls++)
		if (strcmp(calls->name, name) == 0)
			return true;
	return false;
}

static void test_only_who_listens_may_accept(void **state)
{
	const struct device_type *rng = device_type_find("rng");

	(void)state;
	assert_true(may(device_calls(rng, true), "accept4"));
	assert_false(may(device_calls(rng, false), "accept4"));
	assert_true(may(device_calls(rng, false), "getrandom"));
}

static int fcntl_outcome(const struct rules *r, int command, int argument)
{
	return rules_outcome(r, SYS_fcntl, (uint64_t[6]){3, (uint64_t)command, (uint64_t)argument});
}

/* Eventfds are main's too, with their flags: it would wait for ever for one that was made to. */
static void test_no_device_can_make_what_it_shares_wait(void **state)
{
	(void)state;
	for (const struct device_type *const *t = device_types; *t; t++) {
		struct rules *r = rules_new(names_arch_native());
		struct err e = {0};

		assert_non_null(r);
		assert_int_equal(rules_calls_add(r, seccomp_common, &e), 0);
		assert_int_equal(rules_calls_add(r, device_calls(*t, true), &e), 0);
		assert_int_equal(fcntl_outcome(r, F_SETFL, O_NONBLOCK), RULE_ALLOW);
		assert_int_equal(fcntl_outcome(r, F_SETFL, 0), RULE_KILL);
		assert_int_equal(fcntl_outcome(r, F_SETFL, O_NONBLOCK | O_APPEND), RULE_KILL);
		assert_int_equal(fcntl_outcome(r, F_ADD_SEALS, O_NONBLOCK), RULE_KILL);
		free(r);
	}
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_wrong_command_lines_say_what_is_wrong),
		cmocka_unit_test(test_only_who_listens_may_accept),
		cmocka_unit_test(test_no_device_can_make_what_it_shares_wait),
		cmocka_unit_test(test_help_names_devices_and_options),
		cmocka_unit_test(test_what_cannot_be_opened_is_told),
		cmocka_unit_test(test_front_ends_are_served_one_after_the_other),
		cmocka_unit_test(test_socket_in_use_is_refused_and_a_stale_one_replaced),
		cmocka_unit_test(test_thread_that_cannot_be_started_says_why),
		cmocka_unit_test(test_thread_without_a_front_end_is_stopped),
	};

	return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
