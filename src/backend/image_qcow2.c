/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * image_qcow2.c - qcow2 images: opening and closing them, and the order in which requests go on
 *
 * How it works and what must always hold is in image_qcow2_state.h.
 */
#include "backend/image_qcow2_state.h"

#include "backend/image_qcow2_open.h"
#include "base/num.h"

#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
	CACHE_DEFAULT = 32 << 20, /* the tables of 256 GiB; touched as far as they are used */
	BUFFER_BYTES_MIN = 256 * 1024,
	ZERO_BYTES = 64 * 1024,
};

static _Alignas(4096) char zero_bytes[ZERO_BYTES]; /* never written */

/* ---- requests ---- */

void qcow2_wake(struct qcow2 *q, struct image_req *r, int error)
{
	r->mapping.error = error;
	r->next = NULL;
	*q->runnable_last = r;
	q->runnable_last = &r->next;
}

void qcow2_run(struct qcow2 *q)
{
	if (q->is_running)
		return;
	q->is_running = true;
	while (q->runnable) {
		struct image_req *r = q->runnable;

		q->runnable = r->next;
		if (!q->runnable)
			q->runnable_last = &q->runnable;
		r->mapping.resume(r);
	}
	q->is_running = false;
}

static void posted(struct aio_req *a, int64_t result)
{
	struct image_req *r = container_of(a, struct image_req, aio);

	r->done(r, (int)result);
}

void qcow2_finish(struct image_req *r, int error)
{
	struct qcow2 *q = qcow2_of(r);

	qcow2_unlock(q, r);
	if (!q->in_submit) {
		r->done(r, error);
		return;
	}
	r->aio.done = posted;
	aio_post(q->im->aio, &r->aio, error);
}

static void sync_resume(struct image_req *r)
{
	qcow2_finish(r, r->mapping.error);
}

static void submit_resume(struct image_req *r)
{
	switch (r->op) {
	case IMAGE_READ:
		qcow2_read(r);
		return;
	case IMAGE_WRITE:
		qcow2_write(r);
		return;
	case IMAGE_DISCARD:
	case IMAGE_ZERO:
		qcow2_zero(r);
		return;
	case IMAGE_SYNC:
		r->mapping.resume = sync_resume;
		qcow2_sync_wait(qcow2_of(r), r);
		return;
	}
}

static void qcow2_submit(struct image *im, struct image_req *r)
{
	struct qcow2 *q = im->state;
	bool outer = !q->is_running;

	r->mapping.is_locked = false;
	r->mapping.resume = submit_resume;
	r->at = (struct iov_at){.v = r->iov, .n = r->iov ? r->niov : 0};
	qcow2_wake(q, r, 0);
	if (!outer)
		return;
	q->in_submit = true;
	qcow2_run(q);
	q->in_submit = false;
}

int qcow2_corrupt(struct qcow2 *q, unsigned layer, const char *format, ...)
{
	uint64_t offset = offsetof(struct qcow2_raw_header, incompatible);
	const struct qcow2_layer *l = &q->layers[layer];
	char text[128];
	va_list ap;

	if (!q->is_ready)
		return -EIO; /* open says what is wrong */
	va_start(ap, format);
	vsnprintf(text, sizeof(text), format, ap);
	va_end(ap);
	log_limited(&q->complaints, "qcow2 image%s is corrupt: %s",
		    layer > 0 ? " (backing file)" : "", text);
	if (layer > 0 || q->is_corrupt || !q->im->writable)
		return -EIO;
	q->is_corrupt = true;
	if (l->h.version >= 3 && qcow2_put64(q, offset, l->h.incompatible | QCOW2_CORRUPT) < 0)
		log_limited(&q->complaints, "it could not be marked as corrupt");
	return -EIO;
}

/* ---- open and close ---- */

static int open_buffers(struct qcow2 *q, struct err *e)
{
	struct qcow2_buffers *b = &q->buffers;
	size_t bytes = (size_t)max_u64(q->cluster, BUFFER_BYTES_MIN);

	b->bytes = bytes;
	b->last = &b->first;
	for (; b->nfree < QCOW2_BUFFERS; b->nfree++) {
		b->all[b->nfree] = b->free[b->nfree] = aligned_alloc(4096, bytes + QCOW2_SPARE);
		if (!b->free[b->nfree])
			return err_set(e, ENOMEM, "cannot make buffers");
	}
	for (size_t i = 0; i < ARRAY_LEN(q->zeroes); i++)
		q->zeroes[i] = iov_of(zero_bytes, ZERO_BYTES);
	return 0;
}

static void init(struct qcow2 *q, struct image *im)
{
	q->im = im;
	q->runnable_last = &q->runnable;
	q->reserve.last = &q->reserve.first;
	q->sync.last = &q->sync.first;
	q->locks.last = &q->locks.first;
	im->state = q;
}

/* No more than the tables of the image. */
static uint64_t cache_bytes(const struct qcow2 *q, const struct image_options *o)
{
	uint64_t want = o->cache_bytes ? o->cache_bytes : CACHE_DEFAULT, sum = 0;

	for (unsigned i = 0; i < q->nlayers; i++) {
		const struct qcow2_layer *l = &q->layers[i];

		if (!l->is_raw)
			sum += (l->size >> l->cluster_bits) * 8 * 2 +
			       8 * (uint64_t)QCOW2_SLICE * (2 + l->h.l1_entries / 512);
	}
	return min_u64(want, max_u64(sum, 64 * 1024));
}

static void set_geometry(struct qcow2 *q, struct image *im)
{
	const struct qcow2_layer *l = &q->layers[0];

	im->size = round_down(l->size, im->block_size);
	im->discard_block = (uint32_t)q->cluster;
	im->remark = im->size < l->size
			     ? "its size is not a multiple of the block size; the end is hidden"
			     : NULL;
}

static int qcow2_open(struct image *im, const struct image_options *o, struct err *e)
{
	struct qcow2 *q = calloc(1, sizeof(*q));
	int r;

	if (!q)
		return err_set(e, ENOMEM, "cannot open image");
	init(q, im);
	r = qcow2_chain_open(q, o, e);
	if (r == 0)
		r = qcow2_cache_init(&q->cache, cache_bytes(q, o), e);
	if (r == 0)
		r = open_buffers(q, e);
	if (r == 0)
		r = qcow2_inflate_init(q, e);
	if (r < 0)
		return r;
	set_geometry(q, im);
	r = im->writable ? qcow2_check(q, e) : 0;
	q->is_ready = r == 0;
	return r;
}

static void qcow2_rest(struct image *im)
{
	struct qcow2 *q = im->state;

	assert(!q->runnable && !q->locks.held && !q->sync.is_running);
	if (im->writable)
		qcow2_alloc_end(q);
}

static void qcow2_close(struct image *im)
{
	struct qcow2 *q = im->state;

	if (!q)
		return;
	if (q->is_ready)
		qcow2_rest(im);
	qcow2_inflate_fini(q);
	for (unsigned i = 0; i < QCOW2_BUFFERS; i++)
		free(q->buffers.all[i]);
	qcow2_cache_fini(&q->cache);
	qcow2_chain_close(q);
	free(q);
	im->state = NULL;
}

const struct image_ops image_qcow2 = {
	.name = "qcow2",
	.open = qcow2_open,
	.submit = qcow2_submit,
	.resize = qcow2_resize,
	.rest = qcow2_rest,
	.close = qcow2_close,
};
