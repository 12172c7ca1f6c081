/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * image_qcow2_check.c - what is looked at before the first write
 *
 * Allocation takes clusters with refcount 0, so all metadata must be counted: header, tables,
 * refcount blocks, active L2 tables; and no two of these may be the same cluster.  Whether each
 * data cluster is counted would take reading all L2 tables; that is only done for images with the
 * dirty bit (image_qcow2_repair.c).  All of it is before the jail: memory may be allocated, and is
 * bounded by the limits of the tables.
 */
#include "backend/image_qcow2_open.h"
#include "base/num.h"

#include <errno.h>
#include <stdlib.h>

/* Offsets of the refcount blocks and L2 tables. */
struct tables {
	uint64_t *offsets;
	size_t n, size;
};

static int add(struct tables *t, uint64_t offset)
{
	if (t->n == t->size) {
		size_t size = t->size ? 2 * t->size : 1024;
		uint64_t *more = realloc(t->offsets, size * sizeof(*more));

		if (!more)
			return -ENOMEM;
		t->offsets = more;
		t->size = size;
	}
	t->offsets[t->n++] = offset;
	return 0;
}

static int is_counted(struct qcow2 *q, uint64_t offset, uint64_t bytes, const char *what,
		      struct err *e)
{
	uint64_t end = (offset + bytes + q->cluster - 1) >> q->cluster_bits, count = 1;
	int r = 0;

	for (uint64_t i = offset >> q->cluster_bits; i < end && r == 0 && count > 0; i++)
		r = qcow2_refcount_get(q, i, &count);
	if (r < 0)
		return err_say(e, EINVAL, "the refcount table is damaged");
	if (count == 0)
		return err_say(e, EINVAL, "%s is not counted as used", what);
	return 0;
}

static int check_snapshots(struct qcow2 *q, struct err *e)
{
	uint64_t at = q->layers[0].h.snapshots_offset, l1, entries;
	uint64_t left = qcow2_tables_max(q), bytes;
	int r = 0;

	for (uint32_t i = 0; r == 0 && i < q->layers[0].h.snapshots; i++) {
		r = qcow2_snapshot_next(q, &at, &l1, &entries);
		if (r < 0)
			return err_say(e, EINVAL, "the snapshot table is damaged");
		bytes = round_up(8 * entries, q->cluster); /* no two share a cluster */
		if (bytes > left)
			return err_say(e, EINVAL,
				       "its snapshots have more tables than it has room");
		left -= bytes;
		r = is_counted(q, l1, 8 * entries, "the L1 table of a snapshot", e);
	}
	return r;
}

static int check_header_tables(struct qcow2 *q, struct err *e)
{
	const struct qcow2_header *h = &q->layers[0].h;
	int r = is_counted(q, 0, q->cluster, "the header", e);

	if (r == 0)
		r = is_counted(q, h->l1_offset, UINT64_C(8) * h->l1_entries, "the L1 table", e);
	if (r == 0)
		r = is_counted(q, h->table_offset, (uint64_t)h->table_clusters << q->cluster_bits,
			       "the refcount table", e);
	if (r == 0)
		r = is_counted(q, h->snapshots_offset,
			       h->snapshots * sizeof(struct qcow2_raw_snapshot),
			       "the snapshot table", e);
	return r < 0 ? r : check_snapshots(q, e);
}

/* Each entry that is not 0 in a table of n entries is a cluster of its own. */
static int check_table(struct qcow2 *q, uint64_t table, uint64_t n, uint64_t mask, const char *what,
		       struct tables *t, struct err *e)
{
	for (uint64_t i = 0; i < n; i++) {
		uint64_t offset;
		int r = qcow2_get64(q, 0, table + 8 * i, &offset);

		if (r < 0)
			return err_set(e, -r, "cannot read");
		offset &= mask;
		if (offset == 0)
			continue;
		if (offset % q->cluster != 0 ||
		    !is_inside(offset, q->cluster, q->layers[0].file_bytes) ||
		    !qcow2_is_apart(q, offset, q->cluster))
			return err_say(e, EINVAL, "%s %llu cannot be at %llx", what,
				       (unsigned long long)i, (unsigned long long)offset);
		r = is_counted(q, offset, q->cluster, what, e);
		if (r == 0 && add(t, offset) < 0)
			r = err_set(e, ENOMEM, "cannot examine");
		if (r < 0)
			return r;
	}
	return 0;
}

static int compare(const void *a, const void *b)
{
	const uint64_t *x = a, *y = b;

	return *x < *y ? -1 : *x > *y;
}

static int check_tables(struct qcow2 *q, struct tables *t, struct err *e)
{
	const struct qcow2_header *h = &q->layers[0].h;
	int r = check_table(q, h->table_offset,
			    (uint64_t)h->table_clusters << (q->cluster_bits - 3),
			    QCOW2_TABLE_OFFSET_MASK, "refcount block", t, e);

	if (r == 0)
		r = check_table(q, h->l1_offset, h->l1_entries, QCOW2_OFFSET_MASK, "L2 table", t,
				e);
	if (r < 0)
		return r;
	if (t->n > 0)
		qsort(t->offsets, t->n, sizeof(t->offsets[0]), compare);
	for (size_t i = 1; i < t->n; i++)
		if (t->offsets[i] == t->offsets[i - 1])
			return err_say(e, EINVAL, "two tables are at %llx",
				       (unsigned long long)t->offsets[i]);
	return 0;
}

/* Features of other programs' that our writes make wrong, such as dirty bitmaps. */
static int clear_autoclear(struct qcow2 *q, struct err *e)
{
	struct qcow2_header *h = &q->layers[0].h;
	int r;

	if (h->autoclear == 0)
		return 0;
	r = qcow2_put64(q, offsetof(struct qcow2_raw_header, autoclear), 0);
	if (r == 0)
		r = qcow2_sync_now(q);
	if (r < 0)
		return err_set(e, -r, "cannot write its header");
	h->autoclear = 0;
	if (!q->im->remark)
		q->im->remark = "its persistent bitmaps are no longer valid";
	return 0;
}

int qcow2_check(struct qcow2 *q, struct err *e)
{
	struct tables t = {NULL};
	int r;

	if (q->layers[0].h.incompatible & QCOW2_CORRUPT)
		return err_say(e, EINVAL,
			       "marked as corrupt: open it with ro, or repair it with "
			       "qemu-img check -r all");
	r = clear_autoclear(q, e);
	if (r == 0 && (q->layers[0].h.incompatible & QCOW2_DIRTY))
		r = qcow2_repair(q, e);
	if (r == 0)
		r = check_header_tables(q, e);
	if (r == 0)
		r = check_tables(q, &t, e);
	free(t.offsets);
	if (r < 0)
		return err_in(e, "not safe to write to (qemu-img check tells more)");
	return 0;
}
