/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * image_qcow2_resize.c - makes a disk larger while it is in use
 *
 * Most often only the size in the header changes.  A larger L1 table is written somewhere else,
 * synced, and then the header is pointed to it (Q5).  Blocks for as long as that takes.
 */
#include "backend/image_qcow2_open.h"
#include "base/num.h"

#include <errno.h>

static uint64_t l1_entries_for(const struct qcow2 *q, uint64_t size)
{
	uint64_t per_entry = UINT64_C(1) << (2 * q->cluster_bits - 3);

	return size / per_entry + (size % per_entry != 0);
}

/* l1_size and l1_table_offset lie side by side, at 36. */
static int switch_l1(struct qcow2 *q, uint64_t offset, uint64_t entries)
{
	struct qcow2_header *h = &q->layers[0].h;
	uint64_t old_bytes = round_up(8 * (uint64_t)h->l1_entries, q->cluster);
	struct qcow2_run old = {h->l1_offset >> q->cluster_bits, old_bytes >> q->cluster_bits};
	struct {
		be32 entries;
		be64 offset;
	} fields = {be32_of((uint32_t)entries), be64_of(offset)};
	int r = qcow2_sync_now(q);

	if (r == 0)
		r = qcow2_put(q, offsetof(struct qcow2_raw_header, l1_entries), &fields,
			      sizeof(fields));
	if (r < 0)
		return r;
	h->l1_offset = offset; /* as the file has it from now on, whatever becomes of the sync */
	h->l1_entries = (uint32_t)entries;
	r = qcow2_sync_now(q);
	return r == 0 && old.n > 0 ? qcow2_refcount_add(q, old, -1) : r;
}

static int grow_l1(struct qcow2 *q, uint64_t entries)
{
	uint64_t clusters = round_up(8 * entries, q->cluster) >> q->cluster_bits, first;
	const struct qcow2_header *h = &q->layers[0].h;
	int r = qcow2_refcount_claim(q, clusters, &first);

	if (r == 0)
		r = qcow2_copy(q, first << q->cluster_bits, h->l1_offset,
			       8 * (uint64_t)h->l1_entries);
	return r < 0 ? r : switch_l1(q, first << q->cluster_bits, entries);
}

/* An L1 table may have more entries than the disk needs; those must not mean anything yet. */
static int clear_l1(struct qcow2 *q, uint64_t from)
{
	const struct qcow2_header *h = &q->layers[0].h;
	int r = 0;

	for (uint64_t i = from; r == 0 && i < h->l1_entries; i++) {
		uint64_t entry;

		r = qcow2_get64(q, 0, h->l1_offset + 8 * i, &entry);
		if (r == 0 && entry != 0)
			return -EEXIST;
	}
	return r;
}

/* What the last cluster has behind the end of the disk, if it is not shared. */
static int clear_tail(struct qcow2 *q, uint64_t end)
{
	uint64_t bytes = round_up(end, q->cluster) - end, host, n;
	int r = bytes > 0 ? qcow2_map_in_place(q, end, bytes, &host, &n) : 0;

	return r < 0 || bytes == 0 || n == 0 ? r : qcow2_put_zeroes(q, host, n);
}

static int grow(struct qcow2 *q, uint64_t size)
{
	struct qcow2_header *h = &q->layers[0].h;
	uint64_t entries = l1_entries_for(q, size);
	int r = clear_l1(q, l1_entries_for(q, q->layers[0].size));

	if (r == 0)
		r = clear_tail(q, q->layers[0].size);
	if (r == 0 && entries > h->l1_entries)
		r = grow_l1(q, entries);
	if (r == 0)
		r = qcow2_put64(q, offsetof(struct qcow2_raw_header, size), size);
	if (r == 0)
		r = qcow2_sync_now(q);
	return r;
}

/* Whether what is new would read as something of the files below. */
static bool is_below(const struct qcow2 *q)
{
	for (unsigned i = 1; i < q->nlayers; i++)
		if (q->layers[i].size > q->layers[0].size)
			return true;
	return false;
}

int qcow2_resize(struct image *im, uint64_t size, struct err *e)
{
	struct qcow2 *q = im->state;
	int r;

	if (size == 0)
		return err_say(e, EINVAL, "a size is needed: the image does not fill its device");
	if (size > qcow2_size_max(q->cluster_bits))
		return err_say(e, EFBIG, "at most %llu bytes with clusters of %llu bytes",
			       (unsigned long long)qcow2_size_max(q->cluster_bits),
			       (unsigned long long)q->cluster);
	if (q->layers[0].h.snapshots > 0 && q->layers[0].h.version < 3)
		return err_say(e, ENOTSUP, "version 2 images with snapshots cannot be made larger");
	if (is_below(q))
		return err_say(e, ENOTSUP, "its backing file is larger, and would come to light");
	if (q->is_corrupt || q->sync.has_failed)
		return err_say(e, EIO, "the image is damaged");
	r = grow(q, size);
	if (r == -EEXIST)
		return err_say(e, EINVAL, "the L1 table has entries beyond the end of the disk");
	if (r < 0)
		return err_set(e, -r, "cannot grow the image");
	q->layers[0].h.size = q->layers[0].size = size;
	im->size = size;
	return 0;
}
