/* SPDX-License-Identifier: BSD-3-Clause */
/* control_fixture.h - for tests of the control socket: a VM that is none, clients in one thread */
#pragma once

#include "base/fd.h"
#include "devices/device.h"
#include "vm/control.h"
#include "vm/cpus.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

enum { LAMPS = 2 };

static const uint64_t fake_exits[2][CPU_COUNTERS] = {
	[1] = {[CPU_EXITS_IO] = 70, [CPU_EXITS_HLT] = 7}};

struct fake_vm {
	bool is_suspended, is_stopped, is_pressed, refuses;
	struct control_balloon change; /* asked for last */
	unsigned ndevices;
	unsigned nlamps; /* of the devices: those with a control socket */
	const uint64_t *counters; /* of all devices */
	const struct counter *own_counters;
};

static struct asks lamps[LAMPS];

struct dim {
	uint32_t watts;
};

static const struct opt dim_opts[] = {OPT_NUMBER(struct dim, watts, 1, 60, "How bright"), OPT_END};
static const struct opt no_opts[] = {OPT_END};
static const struct device_command lamp_commands[] = {
	{"dim", dim_opts, NULL, "Changes the brightness", .lasts = true},
	{"flash", no_opts, NULL, "Flashes", .lasts = false},
	{.name = NULL},
};
static const struct device_type lamp_type = {.name = "lamp", .commands = lamp_commands};
static const struct device_command balloon_commands[] = {
	{"target", no_opts, NULL, "Is for main only", .lasts = false},
	{.name = NULL},
};
static const struct device_type balloon_type = {.name = "balloon", .commands = balloon_commands};
static const struct device_type plain_type = {.name = "plain"};
static const struct device_type *const types[] = {&plain_type, &lamp_type, &balloon_type, NULL};

static inline bool fake_is_suspended(void *vm)
{
	return ((struct fake_vm *)vm)->is_suspended;
}

static inline void fake_stop(void *vm)
{
	((struct fake_vm *)vm)->is_stopped = true;
}

static inline int fake_suspend(void *vm, struct err *e)
{
	struct fake_vm *f = vm;

	if (f->refuses)
		return err_say(e, EIO, "no \"can\" do");
	f->is_suspended = true;
	return 0;
}

static inline int fake_resume(void *vm, struct err *e)
{
	(void)e;
	((struct fake_vm *)vm)->is_suspended = false;
	return 0;
}

static inline int fake_power_button(void *vm, struct err *e)
{
	struct fake_vm *f = vm;

	if (f->refuses)
		return err_say(e, ENODEV, "nobody listens");
	f->is_pressed = true;
	return 0;
}

static inline void fake_status(void *vm, struct control_status *ret)
{
	struct fake_vm *f = vm;

	ret->state = f->is_suspended ? "suspended" : "running";
	ret->nvcpus = 2;
	ret->vcpu_counters[0] = fake_exits[0];
	ret->vcpu_counters[1] = fake_exits[1];
	ret->interrupts = 5;
	ret->mem_bytes = 256 << 20;
	ret->uptime_ms = 1234;
	ret->ndevices = f->ndevices;
	for (unsigned i = 0; i < f->ndevices; i++)
		ret->devices[i] = (struct control_device){.name = "block0",
							  .type = "block",
							  .state = "running",
							  .pid = 42,
							  .restarts = 3,
							  .asks = i < f->nlamps ? &lamps[i] : NULL,
							  .counters = f->counters,
							  .own_counters = f->own_counters};
}

static inline struct asks *fake_find(void *vm, const char *type, const char *name, struct err *e)
{
	(void)vm;
	assert_string_equal(type, "lamp");
	for (size_t i = 0; i < LAMPS; i++)
		if (strcmp(name, lamps[i].name) == 0)
			return &lamps[i];
	err_say(e, ENODEV, "no \"%s\"", name);
	return NULL;
}

static inline int fake_balloon(void *vm, const struct control_balloon *change,
			       struct balloon_status *ret, struct err *e)
{
	struct fake_vm *f = vm;

	if (f->refuses)
		return err_say(e, ENODEV, "no balloon");
	f->change = *change;
	*ret = (struct balloon_status){.target_bytes = 4096,
				       .floor_bytes = 0,
				       .limit_bytes = 3,
				       .max_bytes = 2,
				       .policy = "psi"};
	return 0;
}

static inline void fake_trace(void *vm, unsigned last_max, struct json *reply)
{
	(void)vm;
	json_number(reply, "last", last_max);
}

static const struct control_ops ops = {
	.is_suspended = fake_is_suspended,
	.stop = fake_stop,
	.suspend = fake_suspend,
	.resume = fake_resume,
	.power_button = fake_power_button,
	.status = fake_status,
	.types = types,
	.find_device = fake_find,
	.balloon = fake_balloon,
	.trace = fake_trace,
};

static char dir[] = "/tmp/control-test-XXXXXX";
static char sock_path[64];
static struct loop loop;
static struct control control;
static struct fake_vm vm;

static inline int set_up_all(void **state)
{
	(void)state;
	if (!mkdtemp(dir))
		return -1;
	snprintf(sock_path, sizeof(sock_path), "%s/vm.sock", dir);
	return 0;
}

static inline int tear_down_all(void **state)
{
	(void)state;
	return rmdir(dir);
}

static inline int set_up(void **state)
{
	struct err e;

	(void)state;
	vm = (struct fake_vm){0};
	memset(&control, 0, sizeof(control));
	return loop_init(&loop) < 0 ||
	       control_init(&control, &loop, sock_path, &ops, &vm, &e) < 0 ||
	       control_start(&control, &e) < 0;
}

static inline int tear_down(void **state)
{
	(void)state;
	control_fini(&control);
	loop_fini(&loop);
	unlink(sock_path);
	return 0;
}

static inline int dial(const char *path)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
	if (connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0)
		return fd;
	close(fd);
	return -errno;
}

/* Lets the loop do everything that is to be done. */
static inline void settle(void)
{
	for (int i = 0; i < 50; i++)
		assert_int_equal(loop_once(&loop, 0), 0);
}

static inline int client(void)
{
	int fd = dial(sock_path);

	assert_true(fd >= 0);
	settle();
	return fd;
}

static inline void say(int fd, const char *text)
{
	assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
	settle();
}

/* Checks that exactly this has come. */
static inline void hear(int fd, const char *expected)
{
	static char text[65536];
	ssize_t n = read(fd, text, sizeof(text) - 1);

	text[n > 0 ? n : 0] = '\0';
	assert_string_equal(text, expected);
}

static inline bool has_hung_up(int fd)
{
	char c;

	settle();
	return read(fd, &c, 1) == 0;
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
