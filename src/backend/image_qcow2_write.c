/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * image_qcow2_write.c - writes
 *
 *	in place:  data
 *	new:	   clusters from the reserve, data, L2 entries
 *	copied:	   old contents, cluster from the reserve, data in between, sync, L2 entry
 *
 * In place are clusters that nobody shares.  New clusters take the place of what reads as zero, or
 * of what is overwritten whole; they are zero where nothing is written (Q2).  The latter are synced
 * before they are linked: a loss of power leaves a sector as it was or as it was to be, not zero.
 * The rest is copied, one cluster at a time (Q3).
 */
#include "backend/image_qcow2_state.h"

#include "base/num.h"

#include <errno.h>
#include <string.h>

static void write_new(struct image_req *r);
static void write_next(struct image_req *r);

static uint64_t position(const struct image_req *r)
{
	return r->offset + r->moved;
}

/* ---- the end of a request, the end of a piece ---- */

static void write_synced(struct image_req *r)
{
	qcow2_finish(r, r->mapping.error);
}

void qcow2_write_end(struct image_req *r, int error)
{
	struct qcow2 *q = qcow2_of(r);

	qcow2_buffer_give(q, r);
	if (error == 0 && r->durable && q->sync.linked > q->sync.done) {
		r->mapping.resume = write_synced;
		qcow2_sync_wait(q, r);
		return;
	}
	qcow2_finish(r, error);
}

static void piece_end(struct image_req *r, int error)
{
	struct image_mapping *m = &r->mapping;

	m->error = error;
	if (error == 0) {
		m->bytes = m->piece;
		iov_at_skip(&r->at, (size_t)m->bytes);
		r->moved += m->bytes;
	}
	m->piece_then(r);
}

static void in_place_done(struct image_req *r)
{
	piece_end(r, r->mapping.error);
}

/* ---- waiting ---- */

void qcow2_write_wait(struct image_req *r, void (*resume)(struct image_req *r))
{
	struct qcow2 *q = qcow2_of(r);

	r->mapping.resume = resume;
	if (!qcow2_free_has_room(q, QCOW2_FREES_STEP))
		qcow2_sync_wait(q, r);
	else
		qcow2_take_wait(q, r);
}

/* ---- linking ---- */

static void give_up(struct image_req *r, int error)
{
	struct image_mapping *m = &r->mapping;
	struct qcow2 *q = qcow2_of(r);

	if (qcow2_free_has_room(q, 1)) /* written to: not for the reserve */
		qcow2_free_later(q, (struct qcow2_run){m->run, m->clusters});
	piece_end(r, error);
}

static void link_new(struct image_req *r)
{
	struct image_mapping *m = &r->mapping;
	struct qcow2 *q = qcow2_of(r);
	be64 entries[QCOW2_SLICE / 8];
	uint64_t at;
	int e = m->error;

	if (e == 0 && !qcow2_free_has_room(q, QCOW2_FREES_STEP)) {
		m->resume = link_new;
		qcow2_sync_wait(q, r);
		return;
	}
	if (e == 0)
		e = qcow2_l2_prepare(q, position(r), &at);
	if (e < 0) {
		give_up(r, e);
		return;
	}
	for (unsigned i = 0; i < m->clusters; i++)
		entries[i] = be64_of((m->run + i) << q->cluster_bits | QCOW2_COPIED);
	piece_end(r, qcow2_l2_set(q, at, entries, m->clusters));
}

/* ---- copying ---- */

static void cow_written(struct image_req *r)
{
	struct qcow2 *q = qcow2_of(r);

	qcow2_buffer_give(q, r);
	if (r->mapping.error < 0) {
		give_up(r, r->mapping.error);
		return;
	}
	r->mapping.resume = link_new;
	qcow2_sync_wait(q, r);
}

static void cow_take(struct image_req *r)
{
	struct image_mapping *m = &r->mapping;
	struct qcow2 *q = qcow2_of(r);
	uint64_t at;
	int e = m->error;

	if (e == 0)
		e = qcow2_l2_prepare(q, position(r), &at);
	if (e == -EAGAIN || (e == 0 && qcow2_take(q, 1, &m->run) == 0)) {
		qcow2_write_wait(r, cow_take);
		return;
	}
	if (e < 0) {
		qcow2_buffer_give(q, r);
		piece_end(r, e);
		return;
	}
	m->clusters = 1;
	qcow2_write_buffer(r, r->bounce, m->run << q->cluster_bits, q->cluster, cow_written);
}

static void cow_filled(struct image_req *r)
{
	struct image_mapping *m = &r->mapping;
	struct qcow2 *q = qcow2_of(r);
	char *to = (char *)r->bounce + (position(r) & (q->cluster - 1));

	if (m->error == 0 && r->at.v)
		iov_at_gather(&r->at, to, (size_t)m->piece);
	else if (m->error == 0)
		memset(to, 0, (size_t)m->piece);
	cow_take(r);
}

static void cow_read(struct image_req *r)
{
	struct qcow2 *q = qcow2_of(r);

	qcow2_read_old(r, round_down(position(r), q->cluster), r->bounce, q->cluster, cow_filled);
}

static void cow(struct image_req *r)
{
	struct qcow2 *q = qcow2_of(r);
	uint64_t inside = position(r) & (q->cluster - 1);

	qcow2_buffer_give(q, r); /* a smaller one's use is over */
	r->mapping.piece = min_u64(r->mapping.limit, q->cluster - inside);
	r->mapping.resume = cow_read;
	qcow2_buffer_take(q, r);
}

/* ---- new clusters ---- */

/* How many of n clusters can be new without copying; 0: the first one can't. */
static int count_new(struct image_req *r, uint64_t n, uint64_t *ret)
{
	struct qcow2 *q = qcow2_of(r);
	uint64_t from = position(r), to = from + r->mapping.limit;
	uint64_t start = round_down(from, q->cluster);
	int e = 0;

	for (*ret = 0; e == 0 && *ret < n; ++*ret, start += q->cluster) {
		bool is_zero = true;

		if (start < from || start + q->cluster > to)
			e = qcow2_is_zero(q, start, q->cluster, &is_zero);
		if (!is_zero)
			break;
	}
	return e;
}

static void new_written(struct image_req *r)
{
	if (r->mapping.error == 0 && r->mapping.is_over) {
		r->mapping.resume = link_new;
		qcow2_sync_wait(qcow2_of(r), r);
	} else {
		link_new(r);
	}
}

/* Whether any of the n clusters has contents. */
static int look_below(struct image_req *r, uint64_t n)
{
	struct qcow2 *q = qcow2_of(r);
	bool is_zero;
	int e = qcow2_is_zero(q, round_down(position(r), q->cluster), n << q->cluster_bits,
			      &is_zero);

	r->mapping.is_over = !is_zero;
	return e;
}

static void write_new(struct image_req *r)
{
	struct image_mapping *m = &r->mapping;
	struct qcow2 *q = qcow2_of(r);
	uint64_t inside = position(r) & (q->cluster - 1), n, at;
	int e = m->error;

	if (e == 0)
		e = qcow2_map_new(q, position(r), ((inside + m->limit - 1) >> q->cluster_bits) + 1,
				  &n);
	if (e == 0)
		e = count_new(r, n, &n);
	if (e == 0 && n == 0) {
		cow(r);
		return;
	}
	if (e == 0)
		e = look_below(r, n);
	if (e == 0)
		e = qcow2_l2_prepare(q, position(r), &at);
	if (e == 0) {
		m->clusters = (unsigned)qcow2_take(q, n, &m->run);
		e = m->clusters > 0 ? 0 : -EAGAIN;
	}
	if (e == -EAGAIN) {
		qcow2_write_wait(r, write_new);
		return;
	}
	if (e < 0) {
		piece_end(r, e);
		return;
	}
	m->piece = min_u64(m->limit, ((uint64_t)m->clusters << q->cluster_bits) - inside);
	m->bytes = m->piece;
	m->host = (m->run << q->cluster_bits) + inside;
	r->aio.durable = false;
	qcow2_write_data(r, new_written);
}

void qcow2_write_piece(struct image_req *r, qcow2_then then)
{
	struct image_mapping *m = &r->mapping;
	struct qcow2 *q = qcow2_of(r);
	int e = q->is_corrupt ? -EIO : 0;

	m->piece_then = then;
	if (e == 0)
		e = qcow2_map_in_place(q, position(r), m->limit, &m->host, &m->bytes);
	if (e < 0) {
		piece_end(r, e);
		return;
	}
	m->error = 0;
	if (m->bytes == 0) {
		write_new(r);
		return;
	}
	m->piece = m->bytes;
	r->aio.durable = r->durable;
	qcow2_write_data(r, in_place_done);
}

/* ---- whole requests ---- */

static void write_piece_done(struct image_req *r)
{
	if (r->mapping.error < 0)
		qcow2_write_end(r, r->mapping.error);
	else
		write_next(r);
}

static void write_next(struct image_req *r)
{
	r->mapping.limit = r->length - r->moved;
	if (r->mapping.limit == 0)
		qcow2_write_end(r, 0);
	else
		qcow2_write_piece(r, write_piece_done);
}

static bool is_in_place(struct image_req *r)
{
	uint64_t at = r->offset, end = r->offset + r->length, host, n;

	for (; at < end; at += n)
		if (qcow2_map_in_place(qcow2_of(r), at, end - at, &host, &n) < 0 || n == 0)
			return false;
	return true;
}

static void write_locked(struct image_req *r)
{
	/* What was in place may have been discarded while we waited. */
	if (!r->mapping.is_exclusive && !is_in_place(r)) {
		qcow2_unlock(qcow2_of(r), r);
		qcow2_write(r);
		return;
	}
	write_next(r);
}

void qcow2_write(struct image_req *r)
{
	struct qcow2 *q = qcow2_of(r);
	bool in_place = is_in_place(r);
	uint64_t mask = q->cluster - 1;

	r->bounce = NULL;
	r->mapping.resume = write_locked;
	if (in_place)
		qcow2_lock(q, r, r->offset, r->offset + r->length, false);
	else
		qcow2_lock(q, r, r->offset & ~mask, (r->offset + r->length + mask) & ~mask, true);
}
