/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * image_qcow2_io.c - pieces of requests, between memory and the files
 *
 * A request is worked off piece by piece, each as long as disk and file go on side by side: most
 * often that is the whole request, handed to aio as it came.  What direct I/O can't take because of
 * its address goes through a buffer.
 */
#include "backend/image_qcow2_state.h"

#include "base/num.h"

#include <errno.h>

enum { RETRIES_MAX = 100 };

static void issue(struct image_req *r);

/* ---- buffers ---- */

void qcow2_buffer_take(struct qcow2 *q, struct image_req *r)
{
	struct qcow2_buffers *b = &q->buffers;

	if (b->nfree > 0) {
		r->bounce = b->free[--b->nfree];
		qcow2_wake(q, r, 0);
		return;
	}
	r->next = NULL;
	*b->last = r;
	b->last = &r->next;
}

void qcow2_buffer_give(struct qcow2 *q, struct image_req *r)
{
	struct qcow2_buffers *b = &q->buffers;
	struct image_req *next = b->first;

	if (!r->bounce)
		return;
	if (next) {
		b->first = next->next;
		if (!b->first)
			b->last = &b->first;
		next->bounce = r->bounce;
		qcow2_wake(q, next, 0);
	} else {
		b->free[b->nfree++] = r->bounce;
	}
	r->bounce = NULL;
}

/* ---- a piece ---- */

static void piece_end(struct image_req *r, int error)
{
	r->mapping.error = error;
	r->mapping.then(r);
}

/* Nothing more comes from a file that ends inside a piece: zeroes. */
static void piece_fill(struct image_req *r)
{
	struct image_mapping *m = &r->mapping;

	iov_at_zero(&m->at, (size_t)(m->bytes - m->moved));
	iov_at_skip(&m->at, (size_t)(m->bytes - m->moved));
	m->moved = m->bytes;
}

/* Whether the piece is about the buffer itself: the old contents of a cluster, and the new. */
static bool is_about_bounce(const struct image_req *r)
{
	const struct image_mapping *m = &r->mapping;

	return m->at.v == &m->read_to && iov_address(&m->read_to) == (uintptr_t)r->bounce;
}

/* Where to put what has an address that direct I/O can't take; never over what is there already. */
static void *bounce_place(const struct image_req *r)
{
	return (char *)r->bounce + (is_about_bounce(r) ? qcow2_of(r)->buffers.bytes : 0);
}

static void issue_done(struct aio_req *a, int64_t result)
{
	struct image_req *r = container_of(a, struct image_req, aio);
	struct image_mapping *m = &r->mapping;

	if (result > 0) {
		if (a->op == AIO_READ && m->is_bounced)
			iov_at_scatter(&m->at, bounce_place(r), (size_t)result);
		iov_at_skip(&m->at, (size_t)result);
		m->moved += (uint64_t)result;
		r->retries = 0;
	} else if (result == 0 && a->op == AIO_READ) {
		piece_fill(r);
	}
	if (m->moved == m->bytes)
		piece_end(r, 0);
	else if (result > 0 ||
		 ((result == -EINTR || result == -EAGAIN) && ++r->retries < RETRIES_MAX))
		issue(r);
	else
		piece_end(r, result < 0 ? (int)result : -EIO);
	qcow2_run(qcow2_of(r));
}

static void submit(struct image_req *r, const struct iovec *v, unsigned n, bool is_bounced)
{
	struct image_mapping *m = &r->mapping;

	m->is_bounced = is_bounced;
	r->aio.iov = v;
	r->aio.niov = n;
	r->aio.offset = m->host + m->moved;
	r->aio.done = issue_done;
	aio_submit(r->image->aio, &r->aio);
}

static void issue_zeroes(struct image_req *r, uint64_t left)
{
	struct qcow2 *q = qcow2_of(r);
	size_t each = q->zeroes[0].iov_len;
	unsigned n = (unsigned)min_u64(left / each, ARRAY_LEN(q->zeroes));

	if (n > 0) {
		submit(r, q->zeroes, n, false);
		return;
	}
	r->part = q->zeroes[0];
	r->part.iov_len = (size_t)left;
	submit(r, &r->part, 1, false);
}

static void issue_bounced(struct image_req *r)
{
	struct qcow2 *q = qcow2_of(r);
	struct image_mapping *m = &r->mapping;
	size_t room;

	if (!r->bounce) {
		m->resume = issue_bounced;
		qcow2_buffer_take(q, r);
		return;
	}
	room = is_about_bounce(r) ? QCOW2_SPARE : q->buffers.bytes;
	r->part = iov_of(bounce_place(r), (size_t)min_u64(room, m->bytes - m->moved));
	if (r->aio.op == AIO_WRITE)
		iov_at_gather(&m->at, bounce_place(r), r->part.iov_len);
	submit(r, &r->part, 1, true);
}

/* Hands the rest of the piece to aio, or as much as one call takes. */
static void issue(struct image_req *r)
{
	struct image_mapping *m = &r->mapping;
	uint64_t left = m->bytes - m->moved;
	const struct iovec *v = m->parts;
	unsigned n;

	if (!m->at.v) {
		issue_zeroes(r, left);
		return;
	}
	if (m->is_rest && m->at.skip == 0)
		v = iov_at_next(&m->at, &r->part, AIO_IOV_MAX, &n);
	else
		left = iov_at_cut(&m->at, (size_t)left, m->parts, IMAGE_PARTS, &n);
	if (r->image->direct && !iov_is_aligned(v, n, r->image->dma_align))
		issue_bounced(r);
	else
		submit(r, v, n, false);
}

static void piece_start(struct image_req *r, enum aio_op op, unsigned file)
{
	r->mapping.moved = 0;
	r->retries = 0;
	r->aio.op = op;
	r->aio.file = file;
	issue(r);
}

/* ---- reading ---- */

static void read_piece_done(struct image_req *r)
{
	struct image_mapping *m = &r->mapping;

	if (m->error == 0)
		m->read_at += m->bytes;
	qcow2_read_on(r);
}

static void read_end(struct image_req *r, int error)
{
	r->mapping.error = error;
	r->mapping.read_then(r);
}

void qcow2_read_on(struct image_req *r)
{
	struct image_mapping *m = &r->mapping;
	struct qcow2_extent x;

	while (m->error == 0 && m->read_at < m->read_end) {
		uint64_t left = m->read_end - m->read_at;

		m->error = qcow2_map(qcow2_of(r), 0, m->read_at, left, &x);
		if (m->error < 0)
			break;
		m->bytes = x.bytes;
		m->host = x.host;
		m->is_rest = x.bytes == left;
		m->then = read_piece_done;
		if (x.kind == QCOW2_IS_DATA) {
			piece_start(r, AIO_READ, x.layer);
			return;
		}
		if (x.kind == QCOW2_IS_COMPRESSED) {
			if (!qcow2_inflate_read(r, x.layer, x.descriptor))
				return;
			continue;
		}
		iov_at_zero(&m->at, (size_t)x.bytes);
		iov_at_skip(&m->at, (size_t)x.bytes);
		m->read_at += x.bytes;
	}
	read_end(r, m->error);
}

static void read_done(struct image_req *r)
{
	qcow2_buffer_give(qcow2_of(r), r);
	qcow2_finish(r, r->mapping.error);
}

static void read_locked(struct image_req *r)
{
	struct image_mapping *m = &r->mapping;

	m->at = r->at;
	m->read_at = r->offset;
	m->read_end = r->offset + r->length;
	m->read_then = read_done;
	qcow2_read_on(r);
}

void qcow2_read(struct image_req *r)
{
	r->bounce = NULL;
	r->mapping.resume = read_locked;
	qcow2_lock(qcow2_of(r), r, r->offset, r->offset + r->length, false);
}

void qcow2_read_old(struct image_req *r, uint64_t offset, void *buffer, uint64_t n, qcow2_then then)
{
	struct image_mapping *m = &r->mapping;

	m->read_to = iov_of(buffer, (size_t)n);
	m->at = (struct iov_at){.v = &m->read_to, .n = 1};
	m->read_at = offset;
	m->read_end = offset + n;
	m->read_then = then;
	m->error = 0;
	qcow2_read_on(r);
}

/* ---- writing ---- */

void qcow2_write_data(struct image_req *r, qcow2_then then)
{
	struct image_mapping *m = &r->mapping;

	m->at = r->at;
	m->is_rest = m->bytes == r->length - r->moved;
	m->then = then;
	piece_start(r, AIO_WRITE, 0);
}

void qcow2_write_buffer(struct image_req *r, void *buffer, uint64_t host, uint64_t n,
			qcow2_then then)
{
	struct image_mapping *m = &r->mapping;

	m->read_to = iov_of(buffer, (size_t)n);
	m->at = (struct iov_at){.v = &m->read_to, .n = 1};
	m->host = host;
	m->bytes = n;
	m->is_rest = true;
	m->then = then;
	r->aio.durable = false;
	piece_start(r, AIO_WRITE, 0);
}
