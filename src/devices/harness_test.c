/* SPDX-License-Identifier: BSD-3-Clause */
/* harness_test.c - a device under test, with the fake driver on the other end */
#include "devices/harness_test.h"

#include "base/fd.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

void harness_program_path(char *path, size_t n)
{
	ssize_t length = readlink("/proc/self/exe", path, n - 1);
	char *slash;

	assert_true(length > 0);
	path[length] = '\0';
	slash = strrchr(path, '/');
	snprintf(slash, n - (size_t)(slash - path), "/crosvm");
}

static void exec_device(const struct harness *h, int sock)
{
	char path[4096], number[16];
	const char *argv[] = {"crosvm", "device", h->type, "--fd", number, NULL, NULL, NULL};
	const char *jail = getenv("CROSVM_TEST_JAIL"); /* see src/meson.build */
	unsigned n = 5;

	harness_program_path(path, sizeof(path));
	snprintf(number, sizeof(number), "%d", dup(sock));
	if (h->options)
		argv[n++] = h->options;
	if (jail && strcmp(jail, "no") == 0)
		argv[n] = "--disable-jail";
	execv(path, (char *const *)(uintptr_t)argv);
	_exit(127);
}

static int device_launch(struct harness *h)
{
	struct err e = {0};
	int pair[2], control[2];

	assert_int_equal(fd_socketpair(SOCK_STREAM, pair), 0);
	if (h->kind == HARNESS_THREAD) {
		assert_int_equal(fd_socketpair(SOCK_SEQPACKET, control), 0);
		if (device_thread_start_take(
			    &(struct device_thread_args){
				    .type = h->type,
				    .name = h->type,
				    .options = h->options ? h->options : "",
				    .sock = pair[1],
				    .control_sock = control[1],
				    .shared = &h->shared,
			    },
			    &h->thread, &e) < 0)
			fail_msg("%s", e.text);
		fd_close(&h->control_sock);
		h->control_sock = control[0];
		return pair[0];
	}
	fflush(NULL);
	h->pid = fork();
	assert_true(h->pid >= 0);
	if (h->pid == 0)
		exec_device(h, pair[1]);
	close(pair[1]);
	return pair[0];
}

int harness_start_device(struct harness *h, const char *type, const char *options,
			 enum harness_kind kind, const struct driver_options *o)
{
	*h = (struct harness){.kind = kind, .type = type, .options = options, .control_sock = -1};
	assert_int_equal(driver_init(&h->d, o), 0);
	return device_launch(h);
}

void harness_start(struct harness *h, const char *type, const char *options, enum harness_kind kind,
		   const struct driver_options *o)
{
	int sock = harness_start_device(h, type, options, kind, o);

	assert_int_equal(driver_connect_take(&h->d, sock), 0);
}

static int wait_for_exit(pid_t pid)
{
	int status;

	assert_int_equal(waitpid(pid, &status, 0), pid);
	return status;
}

void harness_stop(struct harness *h)
{
	driver_fini(&h->d);
	device_thread_stop(h->thread);
	h->thread = NULL;
	fd_close(&h->control_sock);
	if (h->pid > 0)
		assert_int_equal(wait_for_exit(h->pid), 0);
	h->pid = 0;
}

void harness_kill(struct harness *h)
{
	assert_int_equal(h->kind, HARNESS_PROCESS);
	assert_int_equal(kill(h->pid, SIGKILL), 0);
	wait_for_exit(h->pid);
	h->pid = 0;
	driver_disconnect(&h->d);
}

void harness_restart(struct harness *h)
{
	int sock;

	if (h->thread) {
		driver_disconnect(&h->d);
		device_thread_stop(h->thread);
		h->thread = NULL;
	} else if (h->pid > 0) {
		driver_disconnect(&h->d);
		assert_int_equal(wait_for_exit(h->pid), 0);
	}
	sock = device_launch(h);
	assert_int_equal(driver_connect_take(&h->d, sock), 0);
}

void harness_expect_alive(struct harness *h)
{
	uint64_t features;

	assert_int_equal(vu_get_u64(&h->d.conn, VU_GET_FEATURES, &features), 0);
	assert_int_equal(features, h->d.offered);
}

void harness_expect_refused(const char *type, const char *options, const char *reason)
{
	struct device_thread_args args = {
		.type = type, .name = type, .options = options, .control_sock = -1};
	struct device_thread *t = NULL;
	struct err e = {0};
	int pair[2];

	assert_int_equal(fd_socketpair(SOCK_STREAM, pair), 0);
	args.sock = pair[1];
	assert_true(device_thread_start_take(&args, &t, &e) < 0);
	if (!strstr(e.text, reason))
		fail_msg("%s: %s", options, e.text);
	close(pair[0]);
}
