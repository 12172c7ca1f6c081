/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * session_rings.c - rings of a session: checked, started, kicked, paused
 *
 * The device is started when the first ring goes live, and learns of every ring that goes live by a
 * kick: so kicks that were lost with a process before us, and requests in the in-flight log, are
 * seen.
 */
#include "devices/session.h"

#include "base/fd.h"
#include "base/log.h"
#include "base/trace.h"

#include <errno.h>

static void ring_kicked(struct watch *w, uint32_t events)
{
	struct ring *r = container_of(w, struct ring, kick_watch);
	struct device *d = r->session->d;

	if (events & (EPOLLHUP | EPOLLERR)) { /* not an eventfd; it would wake us for ever */
		loop_remove(r->session->loop, w);
		return;
	}
	fd_drain(w->fd);
	trace(TRACE_KICK, 0, r->index, 0, 0);
	device_count(d, DEVICE_KICKS, 1);
	if (d->started)
		d->type->kick(d, r->index);
}

static void ring_broke(struct vq *q)
{
	struct ring *r = q->owner;

	log_limited(&r->session->broken, "queue %u broken: %s", q->index, q->broken);
	if (r->err_fd >= 0)
		fd_signal(r->err_fd);
}

void rings_init(struct session *s)
{
	s->nrings = s->d->nqueues;
	for (unsigned i = 0; i < s->nrings; i++) {
		struct ring *r = &s->rings[i];
		struct vq *q = &s->d->queues[i];

		*r = (struct ring){
			.session = s, .index = i, .kick_fd = -1, .call_fd = -1, .err_fd = -1};
		*q = (struct vq){
			.index = i, .on_broken = ring_broke, .owner = r, .call_fd = -1};
		q->counters = s->d->shared->counters;
	}
}

/* Back to empty: closes its fds. The ring is not live. */
static void ring_clear(struct ring *r)
{
	fd_close(&r->kick_fd);
	fd_close(&r->call_fd);
	fd_close(&r->err_fd);
	r->size = r->base = 0;
	r->has_addresses = r->enabled = false;
	ring_forgive(r);
}

void rings_fini(struct session *s)
{
	rings_pause(s);
	for (unsigned i = 0; i < s->nrings; i++)
		ring_clear(&s->rings[i]);
}

void rings_pause(struct session *s)
{
	struct device *d = s->d;

	if (d->started)
		trace(TRACE_STOP, 0, 0, 0, 0);
	if (d->started && d->type->stop)
		d->type->stop(d);
	d->started = false;
	for (unsigned i = 0; i < s->nrings; i++) {
		struct ring *r = &s->rings[i];

		if (!r->live)
			continue;
		if (!r->is_kernels)
			loop_remove(s->loop, &r->kick_watch);
		r->broken = d->queues[i].broken != NULL; /* N4 */
		vq_notify(&d->queues[i]);
		r->base = vq_stop(&d->queues[i]);
		r->live = false;
	}
}

static bool ring_is_ready(const struct ring *r)
{
	bool needs_enable = r->session->acked & VU_BIT(VU_F_PROTOCOL_FEATURES);

	return !r->live && !r->failed && !r->broken && r->kick_fd >= 0 && r->size > 0 &&
	       r->has_addresses && (r->enabled || !needs_enable);
}

static int ring_setup(struct ring *r, const char **ret_why)
{
	struct session *s = r->session;
	struct vq_setup setup = {
		.gmem = &s->gmem,
		.features = s->acked,
		.size = r->size,
		.base = r->base,
		/* The kernel's go in order, and are not replayed. */
		.log = r->is_kernels ? NULL : inflight_of(s, r->index),
		.call_fd = r->call_fd,
	};

	*ret_why = "ring area outside memory";
	if (!memory_find(s, r->desc, &setup.desc) || !memory_find(s, r->avail, &setup.driver) ||
	    !memory_find(s, r->used, &setup.device))
		return -EINVAL;
	*ret_why = "ring larger than its in-flight log";
	if (setup.log && r->size > s->inflight_queue_size)
		return -EINVAL;
	return vq_start(&s->d->queues[r->index], &setup, ret_why);
}

/* Sets live or failed. */
static void ring_start(struct ring *r)
{
	struct session *s = r->session;
	struct device *d = s->d;
	const char *why = NULL;

	r->is_kernels = d->type->kernel_queues && d->type->kernel_queues(d) >> r->index & 1;
	if (ring_setup(r, &why) == 0) {
		r->kick_watch = (struct watch){.fd = r->kick_fd, .ready = ring_kicked};
		if (r->is_kernels || loop_add(s->loop, &r->kick_watch, EPOLLIN) == 0) {
			r->live = true;
			return;
		}
		why = "its kick descriptor cannot be waited for";
		vq_stop(&s->d->queues[r->index]);
	}
	r->failed = true;
	log_limited(&s->unstartable, "queue %u cannot be started: %s", r->index, why);
	if (r->err_fd >= 0)
		fd_signal(r->err_fd);
}

static void device_start(struct session *s)
{
	struct device *d = s->d;
	struct err e = {0};

	d->gmem = &s->gmem;
	d->state = s->state;
	d->started = true;
	trace(TRACE_START, 0, 0, d->acked, 0);
	if (!d->type->start || d->type->start(d, &e) == 0)
		return;
	log_limited(&s->unstartable, "cannot start: %s", e.text);
	for (unsigned i = 0; i < s->nrings; i++)
		if (s->rings[i].live)
			vq_break(&d->queues[i], "device cannot start");
	d->started = false;
}

void rings_resume(struct session *s)
{
	struct device *d = s->d;
	uint32_t fresh = 0;

	d->acked = s->acked & ~VU_BIT(VU_F_PROTOCOL_FEATURES);

	for (unsigned i = 0; i < s->nrings; i++) {
		if (!ring_is_ready(&s->rings[i]))
			continue;
		ring_start(&s->rings[i]);
		if (s->rings[i].live)
			fresh |= 1u << i;
	}
	if (fresh && !d->started)
		device_start(s);
	for (unsigned i = 0; i < s->nrings && d->started; i++) {
		if (!(fresh >> i & 1))
			continue;
		d->type->kick(d, i);
		vq_notify(&d->queues[i]);
	}
}

static_assert(DEVICE_QUEUES_MAX <= 32, "bits of fresh");
