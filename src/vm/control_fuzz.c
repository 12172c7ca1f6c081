/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * control_fuzz.c - any bytes to the control socket; replies are JSON, and the socket stays usable
 *
 * What stands behind the bytes FF FE in the input, and again behind each further pair, is what a
 * captured device answers, one packet after the other.
 */
#include "vm/control.h"

#include "base/fd.h"
#include "devices/device.h"
#include "vm/cpus.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static bool suspended;
static struct loop loop;
static struct control control;
static struct asks lamp;
static int lamp_ours = -1, lamp_theirs = -1;
static struct sockaddr_un address = {.sun_family = AF_UNIX};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static bool is_suspended(void *vm)
{
	(void)vm;
	return suspended;
}

static void stop(void *vm)
{
	(void)vm;
}

static int suspend_vm(void *vm, struct err *e)
{
	(void)vm;
	(void)e;
	suspended = true;
	return 0;
}

static int resume_vm(void *vm, struct err *e)
{
	(void)vm;
	(void)e;
	suspended = false;
	return 0;
}

static int power_button(void *vm, struct err *e)
{
	static bool listens;

	(void)vm;
	listens = !listens;
	return listens ? 0 : err_say(e, ENODEV, "nobody listens");
}

static const uint64_t exits[CPU_COUNTERS];

static void status(void *vm, struct control_status *ret)
{
	(void)vm;
	ret->state = "running";
	ret->nvcpus = 2;
	ret->vcpu_counters[0] = ret->vcpu_counters[1] = exits;
	ret->ndevices = 2;
	for (unsigned i = 0; i < ret->ndevices; i++)
		ret->devices[i] =
			(struct control_device){"a\"\n", "b", "c", 1, 2, i ? &lamp : NULL};
}

struct dim {
	uint32_t watts;
};

static const struct opt dim_opts[] = {OPT_NUMBER(struct dim, watts, 1, 60, "Bright"), OPT_END};
static const struct device_command lamp_commands[] = {{"dim", dim_opts, NULL, "Dims"},
						      {.name = NULL}};
static const struct device_type lamp_type = {.name = "lamp", .commands = lamp_commands};
static const struct device_type *const types[] = {&lamp_type, NULL};

static struct asks *find_device(void *vm, const char *type, const char *name, struct err *e)
{
	(void)vm;
	if (strcmp(type, "lamp") == 0 && name[0] != 'x')
		return &lamp;
	err_say(e, ENODEV, "there is no %s %s", type, name);
	return NULL;
}

static int change_balloon(void *vm, const struct control_balloon *change,
			  struct balloon_status *ret, struct err *e)
{
	(void)vm;
	if (change->has_target && change->pages != 0)
		return err_say(e, EINVAL, "both");
	*ret = (struct balloon_status){.target_bytes = change->target_bytes, .policy = "psi"};
	return 0;
}

static void remove_socket(void)
{
	control_fini(&control);
}

static void tell_trace(void *vm, unsigned last_max, struct json *reply)
{
	(void)vm;
	json_number(reply, "last", last_max);
}

static void start(void)
{
	static const struct control_ops ops = {types,          is_suspended, stop,   suspend_vm,
					       resume_vm,      power_button, status, find_device,
					       change_balloon, tell_trace};
	struct err e;

	snprintf(address.sun_path, sizeof(address.sun_path), "/tmp/control-fuzz-%d.sock",
		 (int)getpid());
	if (loop_init(&loop) < 0 || asks_init(&lamp, &loop, "lamp0") < 0 ||
	    control_init(&control, &loop, address.sun_path, &ops, NULL, &e) < 0 ||
	    control_start(&control, &e) < 0)
		abort();
	atexit(remove_socket);
}

static int dial(void)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
		abort();
	return fd;
}

static void settle(void)
{
	for (int i = 0; i < 4; i++)
		if (loop_once(&loop, 0) < 0)
			abort();
}

static void ignore(void *context, const char *path, const char *value)
{
	(void)context;
	(void)path;
	(void)value;
}

/* Reads what there is; every whole line must be JSON. */
static void listen_to(int fd)
{
	static char text[4 * CONTROL_REPLY_MAX];
	size_t used = 0;
	ssize_t r;

	while (used < sizeof(text) - 1 &&
	       (r = read(fd, text + used, sizeof(text) - 1 - used)) > 0) {
		used += (size_t)r;
		settle();
	}
	text[used] = '\0';
	for (char *line = text, *end; (end = strchr(line, '\n')); line = end + 1) {
		*end = '\0';
		if (json_read(line, ignore, NULL) < 0 || !json_is_object(line, JSON_DEPTH_MAX))
			abort();
	}
}

static void lamp_begin(void)
{
	int pair[2];

	if (fd_socketpair(SOCK_SEQPACKET, pair) < 0)
		abort();
	lamp_ours = pair[0];
	lamp_theirs = pair[1];
	asks_attach(&lamp, lamp_ours);
}

/* Whoever still waits gets an answer, for the next input must not find a question of this one. */
static void lamp_end(void)
{
	for (int i = 0; i < 16; i++) {
		(void)!send(lamp_theirs, "{\"ok\":true}", 11, MSG_DONTWAIT | MSG_NOSIGNAL);
		settle();
	}
	asks_detach(&lamp);
	fd_close(&lamp_theirs);
	fd_close(&lamp_ours);
}

static const uint8_t *find_mark(const uint8_t *data, size_t n)
{
	static const uint8_t mark[] = {0xff, 0xfe};

	return n > 0 ? memmem(data, n, mark, sizeof(mark)) : NULL;
}

/* The packets in the input, each when the one before was seen. */
static void lamp_says(const uint8_t *data, size_t n)
{
	while (n > 2) {
		const uint8_t *next = find_mark(data + 2, n - 2);
		size_t length = next ? (size_t)(next - data) - 2 : n - 2;

		if (length > 0)
			(void)!send(lamp_theirs, data + 2, length, MSG_DONTWAIT | MSG_NOSIGNAL);
		settle();
		data += length + 2;
		n -= length + 2;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	const uint8_t *mark = find_mark(data, n);
	size_t said = mark ? (size_t)(mark - data) : n;
	int hostile, friendly;
	char reply[64] = "";

	if (!control.loop)
		start();
	lamp_begin();
	hostile = dial();
	settle();
	if (said > 0 && send(hostile, data, said, MSG_NOSIGNAL) < 0)
		abort();
	settle();
	lamp_says(data + said, n - said);
	listen_to(hostile);
	friendly = dial();
	settle();
	if (send(friendly, "help\n", 5, MSG_NOSIGNAL) != 5)
		abort();
	settle();
	if (read(friendly, reply, sizeof(reply) - 1) <= 0 || !strstr(reply, "\"ok\":true"))
		abort();
	close(hostile);
	close(friendly);
	settle();
	lamp_end();
	return 0;
}
