/* SPDX-License-Identifier: BSD-3-Clause */
/* harness_fuzz.c - a device under a script: messages of the front end, chains, damage, commands */
#include "devices/harness_fuzz.h"

#include "base/fd.h"
#include "base/log.h"
#include "devices/session.h"
#include "virtio/driver_test.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

enum { QUEUE_SIZE = 16, DATA_BYTES = 0x8000, MESSAGES_MAX = 64, RIGS_MAX = 2 };

static const uint8_t *script;
static size_t script_left;

static uint8_t take(void)
{
	if (script_left == 0)
		return 0;
	script_left--;
	return *script++;
}

static void rewrite(void *source, size_t n)
{
	uint8_t *bytes = source;

	if (script_left == 0 || take() < 0xe0)
		return;
	bytes[take() % n] ^= take();
}

/* A device with the options that it was opened with; a target has a few of them at most. */
struct rig {
	const struct fuzz_world *world; /* or NULL */
	const char *options;
	struct device *device;
	struct loop loop;
	struct session session;
	struct driver driver;
	gpa data;
	int inflight_fd, sock, spare_fd;
};

static struct rig rigs[RIGS_MAX], *f = rigs;

/* That of the same text, or a new one. */
static struct rig *rig_of(const char *options)
{
	for (unsigned i = 0; i < RIGS_MAX; i++)
		if (!rigs[i].device || rigs[i].options == options)
			return &rigs[i];
	abort();
}

static void open_once(const struct device_type *type, const char *options)
{
	const char *list[] = {options, NULL};
	struct driver_options o = {.nqueues = type->nqueues < 5 ? type->nqueues : 5,
				   .queue_size = QUEUE_SIZE,
				   .memory = 0x80000};
	struct err e = {0};

	if (f->device)
		return;
	f->options = options;
	log_level_set(LOG_LEVEL_ERROR);
	f->device = device_new(type, type->name, list, &e);
	if (!f->device || loop_init(&f->loop) < 0 || driver_init(&f->driver, &o) < 0)
		abort();
	f->device->loop = &f->loop;
	f->spare_fd = memfd_create("spare", MFD_CLOEXEC);
	f->inflight_fd = inflight_file_create(f->device);
	f->data = driver_alloc(&f->driver, DATA_BYTES, 4096);
	if (device_open(f->device, &e) < 0)
		abort();
	if (type->prepare && type->prepare(f->device, &e) < 0)
		abort();
	if (f->inflight_fd < 0 || f->spare_fd < 0 || !f->data)
		abort();
	if (f->world)
		f->world->begin(f->device);
}

/* ---- messages ---- */

static struct vu_msg state_message(uint32_t request, uint32_t num)
{
	return (struct vu_msg){.request = request,
			       .size = sizeof(struct vu_vring_state),
			       .p.state = {le32_of(0), le32_of(num)}};
}

static struct vu_msg fd_message(uint32_t request, int fd)
{
	return (struct vu_msg){.request = request, .size = 8, .fds = {fd}, .nfds = 1};
}

static struct vu_msg memory_message(void)
{
	const struct driver *d = &f->driver;
	struct vu_msg m = {.request = VU_SET_MEM_TABLE,
			   .size = 8 + sizeof(struct vu_region),
			   .fds = {d->mem_fd},
			   .nfds = 1};

	m.p.memory.count = le32_of(1);
	m.p.memory.regions[0] = (struct vu_region){le64_of(DRIVER_BASE), le64_of(d->mem_bytes),
						   le64_of((uintptr_t)d->mem), le64_of(0)};
	return m;
}

static struct vu_msg region_message(uint32_t request)
{
	struct vu_msg m = {.request = request,
			   .size = sizeof(struct vu_one_region),
			   .fds = {f->driver.mem_fd},
			   .nfds = request == VU_ADD_MEM_REG};

	m.p.one_region.region = (struct vu_region){le64_of(1 << 30), le64_of(4096),
						   le64_of(1 << 20), le64_of(0)};
	return m;
}

static struct vu_msg address_message(const struct driver_queue *q)
{
	struct vu_msg m = {.request = VU_SET_VRING_ADDR, .size = sizeof(m.p.addr)};

	m.p.addr.index = le32_of(q->index);
	m.p.addr.desc = le64_of((uintptr_t)q->desc);
	m.p.addr.used = le64_of((uintptr_t)q->device_area);
	m.p.addr.avail = le64_of((uintptr_t)q->driver_area);
	return m;
}

static struct vu_msg log_message(uint32_t request)
{
	struct vu_msg m = {.request = request, .size = sizeof(m.p.inflight)};

	m.p.inflight = (struct vu_inflight){le64_of(4096 * 4), le64_of(0),
					    le16_of((uint16_t)f->device->nqueues),
					    le16_of(QUEUE_SIZE), le32_of(0)};
	m.fds[0] = f->inflight_fd;
	m.nfds = request == VU_SET_INFLIGHT_FD;
	return m;
}

static struct vu_msg config_message(uint32_t request)
{
	struct vu_msg m = {.request = request};
	uint32_t at = take(), n = take() % 32;

	m.p.config.offset = le32_of(at);
	m.p.config.size = le32_of(n);
	m.size = 12 + n;
	for (uint32_t i = 0; i < n && request == VU_SET_CONFIG; i++)
		m.p.config.data[i] = take();
	return m;
}

static struct vu_msg u64_message(uint32_t request, uint64_t value)
{
	return (struct vu_msg){.request = request, .size = 8, .p.u64 = le64_of(value)};
}

/* A message as a good front end would send it for queue q. */
static struct vu_msg good_message(uint32_t request, const struct driver_queue *q)
{
	switch (request) {
	case VU_SET_FEATURES:
		return u64_message(request, f->device->features | 7ull << 28 | 1ull << 32);
	case VU_SET_PROTOCOL_FEATURES:
		return u64_message(request, 0x1b229);
	case VU_SET_STATUS:
		return u64_message(request, take() & 15);
	case VU_SET_MEM_TABLE:
		return memory_message();
	case VU_ADD_MEM_REG:
	case VU_REM_MEM_REG:
		return region_message(request);
	case VU_SET_VRING_NUM:
		return state_message(request, QUEUE_SIZE);
	case VU_SET_VRING_ENABLE:
		return state_message(request, 1);
	case VU_SET_VRING_BASE:
	case VU_GET_VRING_BASE:
		return state_message(request, q->base);
	case VU_SET_VRING_ADDR:
		return address_message(q);
	case VU_SET_VRING_KICK:
		return fd_message(request, q->kick_fd);
	case VU_SET_VRING_CALL:
		return fd_message(request, q->call_fd);
	case VU_SET_VRING_ERR:
		return fd_message(request, q->err_fd);
	case VU_SET_BACKEND_REQ_FD:
		return (struct vu_msg){.request = request, .fds = {f->spare_fd}, .nfds = 1};
	case VU_GET_CONFIG:
	case VU_SET_CONFIG:
		return config_message(request);
	case VU_GET_INFLIGHT_FD:
	case VU_SET_INFLIGHT_FD:
		return log_message(request);
	default:
		return (struct vu_msg){.request = request};
	}
}

static void deliver(const struct vu_msg *m)
{
	struct vu_conn to = {.sock = f->sock};

	if (f->session.ended || vu_send(&to, m) < 0)
		return;
	if (loop_once(&f->loop, 0) < 0)
		abort();
}

static void send_good(uint32_t request, unsigned index)
{
	const struct driver_queue *q = &f->driver.queues[index];
	struct vu_msg m = good_message(request, q);

	m.flags |= VU_FLAG_NEED_REPLY;
	if (m.size == 8 && request >= VU_SET_VRING_NUM && request <= VU_SET_VRING_ENABLE &&
	    request != VU_SET_PROTOCOL_FEATURES)
		m.p.state.index = le32_of(index); /* the low half of a u64, too */
	deliver(&m);
}

static void send_bad(void)
{
	struct vu_msg m = good_message(take() % (VU_REQUEST_END + 4), &f->driver.queues[0]);
	uint8_t *bytes = (uint8_t *)&m.p;

	m.flags = take() & 1 ? VU_FLAG_NEED_REPLY : 0;
	for (unsigned i = take() % 4; i > 0 && m.size > 0; i--)
		bytes[take() % m.size] ^= take();
	if (take() > 200)
		m.size = take();
	if (take() > 200) {
		m.fds[0] = f->spare_fd;
		m.nfds = take() % 3;
		m.fds[1] = f->spare_fd;
	}
	if (m.size <= sizeof(m.p))
		deliver(&m);
}

static void connect_queue(unsigned index)
{
	static const uint32_t requests[] = {VU_SET_VRING_NUM,  VU_SET_VRING_BASE, VU_SET_VRING_ADDR,
					    VU_SET_VRING_CALL, VU_SET_VRING_ERR,  VU_SET_VRING_KICK,
					    VU_SET_VRING_ENABLE};

	for (size_t i = 0; i < ARRAY_LEN(requests); i++)
		send_good(requests[i], index);
}

static void connect_all(bool with_log)
{
	send_good(VU_SET_PROTOCOL_FEATURES, 0);
	send_good(VU_SET_FEATURES, 0);
	send_good(VU_SET_MEM_TABLE, 0);
	if (with_log)
		send_good(VU_GET_INFLIGHT_FD, 0);
	for (unsigned i = 0; i < f->driver.options.nqueues; i++)
		connect_queue(i);
}

static void scribble(void *memory, size_t n)
{
	for (unsigned i = take() % 8; memory && i > 0; i--) {
		size_t high = take(), at = (high << 8 | take()) % n;

		((uint8_t *)memory)[at] = take();
	}
}

/* Another process takes over, from a captured one that left log and state like this. */
static void succeed(void)
{
	for (unsigned i = 0; i < f->driver.options.nqueues; i++)
		send_good(VU_GET_VRING_BASE, i);
	if (f->session.ended)
		return;
	scribble(f->session.inflight, f->session.inflight_bytes);
	scribble(f->session.state, f->device->type->state_size);
	for (unsigned i = 0; i < f->driver.options.nqueues; i++)
		connect_queue(i);
}

/* ---- requests ---- */

static void add_chain(struct driver_queue *q)
{
	struct driver_buf bufs[5];
	unsigned n = take() % 5 + 1, writable = take() % (n + 1), bytes = take() % 48;
	gpa first = f->data + take() * 64u;

	for (unsigned i = 0; i < bytes; i++)
		*(uint8_t *)driver_at(&f->driver, first + i, 1) = take();
	for (unsigned i = 0; i < n; i++) {
		uint8_t length = take();

		bufs[i] = (struct driver_buf){first + i * 64u,
					      length > 128 ? (length - 128u) * 64 : length,
					      i >= writable};
		if (i == 0 && length > 96)
			bufs[i].len = 16;
	}
	f->driver.options.indirect = take() & 1;
	driver_add(q, bufs, n);
}

static void damage(struct driver_queue *q)
{
	uint8_t what = take(), at = take(), value = take();

	if (what & 1)
		((uint8_t *)q->desc)[at] = value;
	else if (what & 2)
		((uint8_t *)q->driver_area)[at % (6 + 2 * QUEUE_SIZE)] = value;
	else
		driver_publish(q, value);
}

/* A line of the control socket: a name of the table, and anything behind it. */
static void send_command(void)
{
	static char text[DEVICE_PACKET_MAX];
	const struct device_command *c = f->device->type->commands;
	char line[64] = "status";
	unsigned n = 0, bytes = take() % 24;
	size_t at;
	struct json reply;

	while (c && c[n].name)
		n++;
	if (n > 0)
		snprintf(line, sizeof(line), "%s", c[take() % n].name);
	if (n > 0 && take() & 1 && c[0].opts[0].name)
		snprintf(line + strlen(line), 32, " %s=", c[0].opts[0].name);
	at = strlen(line);
	for (unsigned i = 0; i < bytes && at < sizeof(line) - 1; i++)
		line[at++] = (char)take();
	line[at] = '\0';
	json_init(&reply, text, sizeof(text));
	device_command_execute(f->device, line, &reply);
}

static void step(void)
{
	uint8_t op = take();
	struct driver_queue *q = &f->driver.queues[(op >> 4) % f->driver.options.nqueues];
	struct driver_used used;

	switch (op & 15) {
	case 0:
		send_bad();
		break;
	case 1:
		send_good(take() % VU_REQUEST_END, q->index);
		break;
	case 2:
		damage(q);
		break;
	case 3:
		send_good(VU_GET_VRING_BASE, q->index);
		break;
	case 4:
		send_good(VU_RESET_DEVICE, 0);
		driver_reset(&f->driver);
		connect_all(take() & 1);
		break;
	case 5:
	case 6:
	case 7:
		while (driver_poll(q, &used) && used.id < QUEUE_SIZE)
			;
		break;
	case 8:
	case 9:
	case 10:
		driver_kick_always(q);
		if (loop_once(&f->loop, 0) < 0)
			abort();
		break;
	case 11:
	case 12:
	case 13:
		if (f->world)
			f->world->step(f->device, f->driver.queues, f->data, take);
		else
			add_chain(q);
		break;
	case 14:
		succeed();
		break;
	case 15:
		send_command();
		break;
	default:
		add_chain(q);
		break;
	}
}

int fuzz_device_in(const struct fuzz_world *world, const struct device_type *type,
		   const char *options, const uint8_t *data, size_t n)
{
	int pair[2];
	unsigned steps = 0;

	f = rig_of(options);
	f->world = world;
	open_once(type, options);
	gmem_hostile_hook = NULL;
	script = data;
	script_left = n < 4096 ? n : 4096;
	driver_reset(&f->driver);
	memset(driver_at(&f->driver, f->data, DATA_BYTES), 0, DATA_BYTES);
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair) < 0)
		abort();
	f->sock = pair[1];
	f->session.inflight_fd = f->inflight_fd;
	f->session.on_end = NULL;
	if (session_start_take(&f->session, f->device, &f->loop, pair[0]) < 0)
		abort();
	if (take() != 0xff)
		connect_all(take() & 1);
	gmem_hostile_hook = take() & 1 ? rewrite : NULL;
	while (script_left > 0 && steps++ < MESSAGES_MAX * 4 && !f->session.ended)
		step();
	session_fini(&f->session);
	gmem_hostile_hook = NULL;
	fd_close(&f->sock);
	if (world)
		world->end(f->device);
	return 0;
}

int fuzz_device(const struct device_type *type, const char *options, const uint8_t *data, size_t n)
{
	return fuzz_device_in(NULL, type, options, data, n);
}
