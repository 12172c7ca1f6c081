/* SPDX-License-Identifier: BSD-3-Clause */
/* script_fuzz.c - what the fuzz targets of both transports share */
#include "transport/script_fuzz.h"

#include "base/fd.h"
#include "base/log.h"
#include "transport/fuzz_link.h"
#include "virtio/ids.h"

#include <string.h>
#include <sys/socket.h>

struct script script;

static uint8_t memory[1 << 20] __attribute__((aligned(4096)));

static void attach(void)
{
	struct err e;
	int pair[2], r;

	fd_close(&script.peer);
	if (fd_socketpair(SOCK_STREAM, pair) < 0)
		return;
	script.peer = pair[1];
	r = frontend_attach_take(&script.f, pair[0], &e);
	assert(r == 0);
	(void)r;
}

static void lost(struct frontend *f, const char *why)
{
	assert(why);
	frontend_detach(f);
	attach();
}

void script_set_up(void)
{
	struct frontend_args args = {
		.name = "fuzz",
		.virtio_id = VIRTIO_ID_BLOCK,
		.nqueues = SCRIPT_QUEUES,
		.queue_size = 64,
		.config_size = SCRIPT_CONFIG,
		.gmem = &script.gmem,
		.loop = &script.loop,
		.limit_ms = 1,
		.lost = lost,
	};
	struct err e;
	int r;

	log_level_set(LOG_LEVEL_ERROR);
	script = (struct script){.peer = -1};
	gmem_init(&script.gmem);
	r = gmem_add_borrowed(&script.gmem, 0, sizeof(memory), memory);
	assert(r == 0);
	r = loop_init(&script.loop);
	assert(r == 0);
	bus_init(&script.mmio);
	fake_host_init(&script.host);
	r = frontend_init(&script.f, &args, &e);
	assert(r == 0);
	(void)r;
	fuzz_link_faults = 0;
	attach();
	(void)frontend_features(&script.f); /* waits for it */
	assert(frontend_is_linked(&script.f));
}

void script_tear_down(void)
{
	frontend_fini(&script.f);
	fd_close(&script.peer);
	bus_fini(&script.mmio);
	loop_fini(&script.loop);
}

static void run_loop(void)
{
	int r = loop_once(&script.loop, 0);

	assert(r == 0);
	(void)r;
}

static void change_config(void)
{
	script.f.config_stale = true;
	script.f.listener->config_changed(script.f.listener);
}

bool script_device_step(const struct step *s)
{
	struct frontend *f = &script.f;

	switch (s->kind & 0x1f) {
	case 0x10:
		fd_signal(f->queues[s->at % SCRIPT_QUEUES].call_fd);
		return true;
	case 0x11:
		fd_signal(f->error_fd);
		return true;
	case 0x12:
		change_config();
		return true;
	case 0x13:
		run_loop();
		return true;
	case 0x14:
		frontend_detach(f);
		attach();
		return true;
	case 0x15: /* the device's behaviour from now on */
		fuzz_link_faults = (uint64_t)s->at << 32 | s->value;
		return true;
	case 0x16: /* it answers the greeting, as the loop would hear */
		if (f->sock >= 0)
			f->sock_watch.ready(&f->sock_watch, EPOLLIN);
		return true;
	default:
		return false;
	}
}

void script_access(uint64_t address, const struct step *s)
{
	uint8_t data[16] = {0};
	size_t n = 1 + s->size % 8;

	memcpy(data, &s->value, sizeof(s->value));
	if (s->size & 0x80)
		bus_write(&script.mmio, address, data, n);
	else
		bus_read(&script.mmio, address, data, n);
}

/* Invariants 1 and 2 of frontend.h. */
static void check(const struct frontend_queue *before)
{
	const struct frontend *f = &script.f;

	for (unsigned i = 0; i < SCRIPT_QUEUES; i++) {
		const struct frontend_queue *q = &f->queues[i];

		assert(!q->live || (q->enabled && f->state == FRONTEND_LINKED &&
				    (f->status & VIRTIO_CONFIG_S_DRIVER_OK)));
		assert(q->live || f->state != FRONTEND_LINKED || !(fuzz_link_rings >> i & 1));
		if (before[i].enabled && q->enabled)
			assert(q->size == before[i].size && q->desc == before[i].desc &&
			       q->driver == before[i].driver && q->device == before[i].device);
	}
	assert(!(f->status & VIRTIO_CONFIG_S_DRIVER_OK) || !(f->driver_features & ~f->features));
}

void script_run(const uint8_t *data, size_t n, void (*access)(const struct step *s))
{
	for (; n >= sizeof(struct step); n -= sizeof(struct step), data += sizeof(struct step)) {
		struct frontend_queue before[SCRIPT_QUEUES];
		struct step s;

		memcpy(before, script.f.queues, sizeof(before));
		memcpy(&s, data, sizeof(s));
		if (!script_device_step(&s))
			access(&s);
		check(before);
	}
}
