/* SPDX-License-Identifier: BSD-3-Clause */
/* aio.c - what both engines of asynchronous I/O share */
#include "backend/aio.h"

#include <assert.h>
#include <string.h>

/* Whether the engine signals completions; false: there are some that it did not signal. */
static bool arm(struct aio *a, bool on)
{
	if (!a->engine->arm || a->is_armed == on)
		return true;
	a->is_armed = on;
	return a->engine->arm(a, on);
}

static void completions_ready(struct watch *w, uint32_t events)
{
	struct aio *a = container_of(w, struct aio, watch);

	(void)events;
	aio_flush(a);
	if (a->batch_end)
		a->batch_end(a);
}

static int engine_init(struct aio *a, const struct aio_engine *engine, struct err *e)
{
	int r;

	a->engine = engine;
	r = engine->init(a, e);
	if (r < 0) {
		engine->fini(a);
		a->engine = NULL;
	}
	return r;
}

int aio_init(struct aio *a, struct loop *l, const struct aio_options *o, struct err *e)
{
	int r;

	assert(o->nfiles > 0 && o->nfiles <= AIO_FILES_MAX);
	assert(o->depth > 0 && o->depth <= AIO_DEPTH_MAX && o->threads <= AIO_THREADS_MAX);
	*a = (struct aio){.loop = l,
			  .watch = {.fd = -1, .ready = completions_ready},
			  .nfiles = o->nfiles,
			  .depth = o->depth,
			  .threads = o->threads ? o->threads : AIO_THREADS_DEFAULT};
	a->posted_last = &a->posted;
	memcpy(a->files, o->files, sizeof(a->files[0]) * o->nfiles);
	r = engine_init(a, o->engine ? o->engine : &aio_uring, e);
	if (r < 0 && !o->engine)
		r = engine_init(a, &aio_threads, e);
	if (r < 0)
		return r;
	if (a->watch.fd < 0)
		return 0;
	r = loop_add(l, &a->watch, EPOLLIN | EPOLLET);
	if (r < 0) {
		a->watch.fd = -1;
		aio_fini(a);
		return err_set(e, -r, "cannot watch for completed I/O");
	}
	return 0;
}

int aio_start(struct aio *a, struct err *e)
{
	return a->engine->enable(a, e);
}

void aio_fini(struct aio *a)
{
	if (!a || !a->engine)
		return;
	assert(a->in_flight == 0);
	if (a->watch.fd >= 0)
		loop_remove(a->loop, &a->watch);
	a->engine->fini(a);
	a->engine = NULL;
}

void aio_submit(struct aio *a, struct aio_req *r)
{
	assert(a->in_flight < a->depth && r->file < a->nfiles);
	assert(r->op == AIO_SYNC || r->op == AIO_ALLOCATE ||
	       (r->niov > 0 && r->niov <= AIO_IOV_MAX));
	a->in_flight++;
	a->queued++;
	a->engine->queue(a, r);
}

void aio_post(struct aio *a, struct aio_req *r, int64_t result)
{
	assert(a->in_flight < a->depth);
	a->in_flight++;
	r->result = result;
	r->next = NULL;
	*a->posted_last = r;
	a->posted_last = &r->next;
}

static void reap_posted(struct aio *a)
{
	while (a->posted) {
		struct aio_req *r = a->posted;

		a->posted = r->next;
		if (!a->posted)
			a->posted_last = &a->posted;
		aio_done(a, r, r->result);
	}
}

void aio_flush(struct aio *a)
{
	arm(a, false);
	do {
		a->engine->start(a);
		a->engine->reap(a);
		reap_posted(a);
	} while (a->queued > 0 || (a->in_flight > 0 && !arm(a, true)));
}

bool aio_look_begin(struct aio *a)
{
	if (a->in_flight == 0)
		return true;
	if (!a->engine->is_ready)
		return false;
	arm(a, false);
	return true;
}

bool aio_is_ready(const struct aio *a)
{
	return a->in_flight > 0 && a->engine->is_ready && a->engine->is_ready(a);
}

void aio_drain(struct aio *a)
{
	while (a->in_flight > 0) {
		aio_flush(a);
		if (a->in_flight > 0)
			a->engine->wait(a);
		a->engine->reap(a);
	}
}

void aio_done(struct aio *a, struct aio_req *r, int64_t result)
{
	assert(a->in_flight > 0);
	a->in_flight--;
	r->done(r, result);
}
