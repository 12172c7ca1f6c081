/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * image_qcow2_sync.c - waiting until what was written is on the disk
 *
 * One sync is under way at a time; whoever asks meanwhile waits for the next one, together with all
 * others who do.  Syncs are numbered: what was written before number n began is on the disk when n
 * is done.
 */
#include "backend/image_qcow2_state.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

static void sync_done(struct aio_req *a, int64_t result);

static void sync_start(struct qcow2 *q)
{
	struct qcow2_sync *s = &q->sync;

	if (s->is_running)
		return;
	s->is_running = true;
	s->is_wanted = false;
	s->started++;
	s->now = s->first;
	s->first = NULL;
	s->last = &s->first;
	s->aio = (struct aio_req){.op = AIO_SYNC, .done = sync_done};
	aio_submit(q->im->aio, &s->aio);
}

static void failed(struct qcow2 *q, int error)
{
	if (!q->sync.has_failed)
		log_warn("%s: not all is on the disk: %s; no clusters are allocated or freed any "
			 "more",
			 "sync failed", strerror(-error));
	q->sync.has_failed = true;
}

static void sync_done(struct aio_req *a, int64_t result)
{
	struct qcow2_sync *s = container_of(a, struct qcow2_sync, aio);
	struct qcow2 *q = container_of(s, struct qcow2, sync);
	int error = (int)result;

	if (error == -EINTR || error == -EAGAIN) {
		aio_submit(q->im->aio, a);
		return;
	}
	s->is_running = false;
	if (error < 0)
		failed(q, error);
	else
		s->done = s->started;
	while (s->now) {
		struct image_req *r = s->now;

		s->now = r->next;
		qcow2_wake(q, r, error);
	}
	qcow2_alloc_synced(q);
	if (s->first || s->is_wanted)
		sync_start(q);
	qcow2_run(q);
}

void qcow2_sync_wait(struct qcow2 *q, struct image_req *r)
{
	r->next = NULL;
	*q->sync.last = r;
	q->sync.last = &r->next;
	sync_start(q);
}

uint64_t qcow2_sync_next(const struct qcow2 *q)
{
	return q->sync.started + 1;
}

uint64_t qcow2_sync_want(struct qcow2 *q)
{
	uint64_t stamp = qcow2_sync_next(q);

	q->sync.is_wanted = true;
	sync_start(q);
	return stamp;
}

int qcow2_sync_now(struct qcow2 *q)
{
	int r;

	if (q->sync.has_failed)
		return -EIO;
	do
		r = fdatasync(q->layers[0].fd);
	while (r < 0 && errno == EINTR);
	if (r < 0) {
		r = -errno;
		failed(q, r);
	}
	return r;
}
