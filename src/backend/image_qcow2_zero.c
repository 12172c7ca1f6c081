/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * image_qcow2_zero.c - discard, zeroes
 *
 * Whole clusters are a matter of L2 entries: they become free, or the flag says that they read as
 * zero, with or without a cluster kept for them.  Zeroes for parts of clusters are written.  Parts
 * of clusters are not discarded.
 */
#include "backend/image_qcow2_state.h"

#include "base/num.h"

#include <errno.h>

static void zero_next(struct image_req *r);

static uint64_t position(const struct image_req *r)
{
	return r->offset + r->moved;
}

static void zero_piece_done(struct image_req *r)
{
	if (r->mapping.error < 0)
		qcow2_write_end(r, r->mapping.error);
	else
		zero_next(r);
}

/* Writes zeroes, unless that is what is read there. */
static void zero_write(struct image_req *r, uint64_t n)
{
	struct qcow2_extent x;
	int e = qcow2_map(qcow2_of(r), 0, position(r), n, &x);

	if (e < 0) {
		qcow2_write_end(r, e);
		return;
	}
	if (x.kind == QCOW2_IS_ZERO) {
		r->moved += x.bytes;
		zero_next(r);
		return;
	}
	r->mapping.limit = n;
	qcow2_write_piece(r, zero_piece_done);
}

/* What becomes of an entry. */
static uint64_t zero_entry(const struct qcow2 *q, const struct image_req *r, uint64_t entry)
{
	bool has_flag = q->layers[0].h.version >= 3;
	bool is_zero = has_flag && !(entry & QCOW2_COMPRESSED) && (entry & QCOW2_ZERO);
	bool is_free = !is_zero && !(entry & (QCOW2_COMPRESSED | QCOW2_OFFSET_MASK));
	bool keep = r->op == IMAGE_ZERO && !r->unmap;

	if (is_free)
		return q->has_backing && r->op == IMAGE_ZERO ? QCOW2_ZERO : entry;
	if (is_zero && (keep || !(entry & QCOW2_OFFSET_MASK)))
		return entry;
	if (keep && has_flag && !(entry & QCOW2_COMPRESSED) && (entry & QCOW2_COPIED))
		return entry | QCOW2_ZERO;
	return q->has_backing ? QCOW2_ZERO : 0;
}

/* Changes n entries of one slice; *ret_waits: it will go on later. */
static int zero_entries(struct image_req *r, uint64_t at, unsigned n, bool *ret_waits)
{
	struct qcow2 *q = qcow2_of(r);
	be64 entries[QCOW2_SLICE / 8];
	unsigned from = n, to = 0;
	int e = qcow2_l2_read(q, at, entries, n);

	*ret_waits = false;
	for (unsigned i = 0; e == 0 && i < n; i++) {
		uint64_t old = be64_get(entries[i]), new = zero_entry(q, r, old);

		entries[i] = be64_of(new);
		if (new == old)
			continue;
		from = from < i ? from : i;
		to = i + 1;
	}
	if (e < 0 || to == 0)
		return e;
	*ret_waits = !qcow2_free_has_room(q, QCOW2_FREES_STEP);
	if (!*ret_waits) {
		e = qcow2_l2_prepare(q, position(r), &at); /* may be a copy now */
		*ret_waits = e == -EAGAIN;
	}
	if (*ret_waits) {
		qcow2_write_wait(r, zero_next);
		return 0;
	}
	return e < 0 ? e : qcow2_l2_set(q, at + 8 * from, entries + from, to - from);
}

/* Clusters that have no table: nothing to do, or a table is to be made. */
static int zero_no_table(struct image_req *r, uint64_t n, uint64_t *ret_n, bool *ret_waits)
{
	struct qcow2 *q = qcow2_of(r);
	bool is_zero = true;
	uint64_t at;
	int e = 0;

	*ret_n = n;
	*ret_waits = false;
	if (q->has_backing && r->op == IMAGE_ZERO)
		e = qcow2_is_zero(q, position(r), n << q->cluster_bits, &is_zero);
	if (e < 0 || is_zero)
		return e;
	*ret_n = 0; /* once more, with a table */
	e = qcow2_l2_prepare(q, position(r), &at);
	if (e != -EAGAIN)
		return e;
	*ret_waits = true;
	qcow2_write_wait(r, zero_next);
	return 0;
}

/* Whole clusters, n of them; those of one slice at once. */
static void zero_clusters(struct image_req *r, uint64_t n)
{
	struct qcow2 *q = qcow2_of(r);
	bool waits = false;
	uint64_t at;
	int e = qcow2_l2_find(q, position(r), &at);

	n = min_u64(n, qcow2_l2_run(q, position(r)));
	if (e == 0 && at == 0)
		e = zero_no_table(r, n, &n, &waits);
	else if (e == 0)
		e = zero_entries(r, at, (unsigned)n, &waits);
	if (e < 0) {
		qcow2_write_end(r, e);
		return;
	}
	if (waits)
		return;
	r->moved += min_u64(n << q->cluster_bits, r->length - r->moved);
	r->mapping.resume = zero_next; /* after the others: this may take a while */
	qcow2_wake(q, r, 0);
}

static void zero_next(struct image_req *r)
{
	struct qcow2 *q = qcow2_of(r);
	uint64_t at = position(r), left = r->length - r->moved;
	uint64_t inside = at & (q->cluster - 1), part = min_u64(q->cluster - inside, left);
	bool is_whole = inside == 0 && (left >= q->cluster || at + left == q->layers[0].size);
	bool has_flag = q->layers[0].h.version >= 3 || !q->has_backing;

	if (r->mapping.error < 0 || left == 0) {
		qcow2_write_end(r, r->mapping.error);
	} else if (q->is_corrupt) {
		qcow2_write_end(r, -EIO);
	} else if (is_whole && has_flag) {
		uint64_t clusters = left >> q->cluster_bits;

		zero_clusters(r, at + left == q->layers[0].size && left % q->cluster ? clusters + 1
										     : clusters);
	} else if (r->op == IMAGE_ZERO) {
		zero_write(r, part);
	} else {
		r->moved += part;
		r->mapping.resume = zero_next;
		qcow2_wake(q, r, 0);
	}
}

void qcow2_zero(struct image_req *r)
{
	struct qcow2 *q = qcow2_of(r);
	uint64_t mask = q->cluster - 1;

	r->bounce = NULL;
	r->mapping.resume = zero_next;
	qcow2_lock(q, r, r->offset & ~mask, (r->offset + r->length + mask) & ~mask, true);
}
