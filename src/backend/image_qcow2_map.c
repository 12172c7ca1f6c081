/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * image_qcow2_map.c - L1 and L2 tables: from the disk to the files, and back into the tables
 *
 * Offsets in tables may be anything: each is checked when it is used.  Contents that do not make
 * sense end in qcow2_corrupt().
 */
#include "backend/image_qcow2_state.h"

#include "base/num.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

static uint64_t l2_entries(const struct qcow2_layer *l)
{
	return UINT64_C(1) << (l->cluster_bits - 3);
}

static bool overlap(uint64_t a, uint64_t a_bytes, uint64_t b, uint64_t b_bytes)
{
	return a < b + b_bytes && b < a + a_bytes;
}

bool qcow2_is_apart(const struct qcow2 *q, uint64_t offset, uint64_t bytes)
{
	const struct qcow2_header *h = &q->layers[0].h;

	return !overlap(offset, bytes, 0, q->cluster) &&
	       !overlap(offset, bytes, h->l1_offset, UINT64_C(8) * h->l1_entries) &&
	       !overlap(offset, bytes, h->table_offset,
			(uint64_t)h->table_clusters << q->cluster_bits) &&
	       !overlap(offset, bytes, h->snapshots_offset,
			h->snapshots * sizeof(struct qcow2_raw_snapshot));
}

/* Whether n clusters can be there. */
static bool are_clusters(const struct qcow2 *q, unsigned layer, uint64_t offset, uint64_t n)
{
	const struct qcow2_layer *l = &q->layers[layer];
	uint64_t bytes = n << l->cluster_bits;

	return offset % (UINT64_C(1) << l->cluster_bits) == 0 &&
	       is_inside(offset, bytes, l->file_bytes) &&
	       (layer > 0 || qcow2_is_apart(q, offset, bytes));
}

static bool is_cluster(const struct qcow2 *q, unsigned layer, uint64_t offset)
{
	return are_clusters(q, layer, offset, 1);
}

static uint64_t l1_at(const struct qcow2_layer *l, uint64_t offset)
{
	return l->h.l1_offset + 8 * (offset >> (2 * l->cluster_bits - 3));
}

/* The L1 entry; and the table it points to, 0 for none. */
static int l1_get(struct qcow2 *q, unsigned layer, uint64_t offset, uint64_t *ret_entry,
		  uint64_t *ret_l2)
{
	const struct qcow2_layer *l = &q->layers[layer];
	int r = qcow2_get64(q, layer, l1_at(l, offset), ret_entry);

	if (r < 0)
		return r;
	*ret_l2 = *ret_entry & QCOW2_OFFSET_MASK;
	if (*ret_l2 != 0 && !is_cluster(q, layer, *ret_l2))
		return qcow2_corrupt(q, layer, "L1 table: no L2 table can be at %llx",
				     (unsigned long long)*ret_l2);
	return 0;
}

static uint64_t l2_index(const struct qcow2_layer *l, uint64_t offset)
{
	return offset >> l->cluster_bits & (l2_entries(l) - 1);
}

/* Entries from that of offset on, up to the end of table and slice; NULL with *ret_n 0: none. */
static const uint8_t *l2_get(struct qcow2 *q, unsigned layer, uint64_t offset, uint64_t *ret_n,
			     int *ret_error)
{
	const struct qcow2_layer *l = &q->layers[layer];
	uint64_t entry, l2, index = l2_index(l, offset);
	const uint8_t *p;
	size_t bytes;

	*ret_n = 0;
	*ret_error = l1_get(q, layer, offset, &entry, &l2);
	if (*ret_error < 0 || l2 == 0)
		return NULL;
	p = qcow2_cache_get(q, layer, l2 + 8 * index, &bytes, ret_error);
	if (p)
		*ret_n = min_u64(bytes / 8, l2_entries(l) - index);
	return p;
}

static uint64_t entry_at(const uint8_t *entries, uint64_t i)
{
	be64 value;

	memcpy(&value, entries + 8 * i, sizeof(value));
	return be64_get(value);
}

enum entry_kind { FREE, ZERO, DATA, COMPRESSED };

static enum entry_kind kind_of(const struct qcow2_layer *l, uint64_t entry)
{
	if (entry & QCOW2_COMPRESSED)
		return COMPRESSED;
	if (l->h.version >= 3 && (entry & QCOW2_ZERO))
		return ZERO;
	return entry & QCOW2_OFFSET_MASK ? DATA : FREE;
}

/* How many entries go on as the first one does: all free, all zero, or one piece of data. */
static uint64_t run_of(const struct qcow2_layer *l, const uint8_t *entries, uint64_t n,
		       uint64_t flags)
{
	uint64_t first = entry_at(entries, 0), i = 1;
	enum entry_kind kind = kind_of(l, first);

	for (; i < n; i++) {
		uint64_t entry = entry_at(entries, i);

		if (kind_of(l, entry) != kind)
			break;
		if (kind == DATA && ((entry & QCOW2_OFFSET_MASK) !=
					     (first & QCOW2_OFFSET_MASK) + (i << l->cluster_bits) ||
				     ((entry ^ first) & flags)))
			break;
	}
	return i;
}

/* What one layer has; *ret_kind FREE: nothing, ask the next. */
static int map_layer(struct qcow2 *q, unsigned layer, uint64_t offset, uint64_t max,
		     enum entry_kind *ret_kind, struct qcow2_extent *ret)
{
	const struct qcow2_layer *l = &q->layers[layer];
	uint64_t inside = offset & ((UINT64_C(1) << l->cluster_bits) - 1), n, entry;
	int r;
	const uint8_t *entries = l2_get(q, layer, offset, &n, &r);

	if (r < 0)
		return r;
	*ret_kind = FREE;
	if (!entries) {
		uint64_t table = UINT64_C(1) << (2 * l->cluster_bits - 3);

		ret->bytes = min_u64(max, table - (offset & (table - 1)));
		return 0;
	}
	entry = entry_at(entries, 0);
	*ret_kind = kind_of(l, entry);
	n = min_u64(n, ((inside + max - 1) >> l->cluster_bits) + 1);
	n = *ret_kind == COMPRESSED ? 1 : run_of(l, entries, n, 0);
	ret->bytes = min_u64(max, (n << l->cluster_bits) - inside);
	ret->host = (entry & QCOW2_OFFSET_MASK) + inside;
	ret->descriptor = entry;
	if (*ret_kind == DATA && !are_clusters(q, layer, ret->host - inside, n))
		return qcow2_corrupt(q, layer, "L2 table: no cluster can be at %llx",
				     (unsigned long long)ret->host);
	return 0;
}

static void map_raw(const struct qcow2_layer *l, uint64_t offset, uint64_t max,
		    struct qcow2_extent *ret)
{
	ret->kind = QCOW2_IS_DATA;
	ret->host = offset;
	ret->bytes = min_u64(max, l->size - offset);
}

static bool is_end(const struct qcow2 *q, unsigned layer, uint64_t offset)
{
	return layer == q->nlayers || offset >= q->layers[layer].size;
}

int qcow2_map(struct qcow2 *q, unsigned layer, uint64_t offset, uint64_t max,
	      struct qcow2_extent *ret)
{
	for (; !is_end(q, layer, offset); layer++) {
		const struct qcow2_layer *l = &q->layers[layer];
		enum entry_kind kind;
		int r;

		ret->layer = layer;
		max = min_u64(max, l->size - offset);
		if (l->is_raw) {
			map_raw(l, offset, max, ret);
			return 0;
		}
		r = map_layer(q, layer, offset, max, &kind, ret);
		if (r < 0)
			return r;
		ret->kind = kind == DATA         ? QCOW2_IS_DATA
			    : kind == COMPRESSED ? QCOW2_IS_COMPRESSED
						 : QCOW2_IS_ZERO;
		if (kind != FREE)
			return 0;
		max = ret->bytes;
	}
	ret->kind = QCOW2_IS_ZERO;
	ret->bytes = max;
	return 0;
}

int qcow2_map_in_place(struct qcow2 *q, uint64_t offset, uint64_t max, uint64_t *ret_host,
		       uint64_t *ret_n)
{
	const struct qcow2_layer *l = &q->layers[0];
	uint64_t inside = offset & (q->cluster - 1), n, entry;
	int r;
	const uint8_t *entries = l2_get(q, 0, offset, &n, &r);

	*ret_n = 0;
	if (!entries)
		return r;
	entry = entry_at(entries, 0);
	if (kind_of(l, entry) != DATA || !(entry & QCOW2_COPIED))
		return 0;
	n = min_u64(n, ((inside + max - 1) >> q->cluster_bits) + 1);
	n = run_of(l, entries, n, QCOW2_COPIED);
	*ret_host = (entry & QCOW2_OFFSET_MASK) + inside;
	if (!are_clusters(q, 0, *ret_host - inside, n))
		return qcow2_corrupt(q, 0, "L2 table: no cluster can be at %llx",
				     (unsigned long long)*ret_host);
	*ret_n = min_u64(max, (n << q->cluster_bits) - inside);
	return 0;
}

uint64_t qcow2_l2_run(const struct qcow2 *q, uint64_t offset)
{
	const struct qcow2_layer *l = &q->layers[0];
	uint64_t index = l2_index(l, offset);

	return min_u64(l2_entries(l), round_down(index, QCOW2_SLICE / 8) + QCOW2_SLICE / 8) - index;
}

int qcow2_map_new(struct qcow2 *q, uint64_t offset, uint64_t max, uint64_t *ret_n)
{
	const struct qcow2_layer *l = &q->layers[0];
	uint64_t n;
	int r;
	const uint8_t *entries = l2_get(q, 0, offset, &n, &r);

	*ret_n = min_u64(max, qcow2_l2_run(q, offset));
	if (!entries)
		return r;
	for (uint64_t i = 0; i < *ret_n; i++) {
		uint64_t entry = entry_at(entries, i);

		if (kind_of(l, entry) == DATA && (entry & QCOW2_COPIED))
			*ret_n = i;
	}
	return 0;
}

/* A private copy of a table that a snapshot has too (Q3, Q4). */
static int l2_unshare(struct qcow2 *q, uint64_t from, uint64_t to)
{
	uint8_t slice[QCOW2_SLICE];
	int r = 0;

	for (uint64_t done = 0; r == 0 && done < q->cluster;) {
		size_t n;
		const uint8_t *p = qcow2_cache_get(q, 0, from + done, &n, &r);

		if (!p)
			break;
		n = (size_t)min_u64(n, q->cluster - done);
		memcpy(slice, p, n);
		r = qcow2_put(q, to + done, slice, n);
		done += n;
	}
	return r < 0 ? r : qcow2_sync_now(q);
}

static int l2_make(struct qcow2 *q, uint64_t offset, uint64_t old, uint64_t *ret_l2)
{
	uint64_t cluster;
	int r = 0;

	if (old != 0 && !qcow2_free_has_room(q, 1))
		return -EAGAIN;
	if (qcow2_take(q, 1, &cluster) == 0)
		return -EAGAIN;
	*ret_l2 = cluster << q->cluster_bits;
	qcow2_cache_forget(q, *ret_l2, q->cluster);
	if (old != 0)
		r = l2_unshare(q, old, *ret_l2);
	if (r == 0)
		r = qcow2_put64(q, l1_at(&q->layers[0], offset), *ret_l2 | QCOW2_COPIED);
	if (r == 0 && old != 0)
		qcow2_free_later(q, (struct qcow2_run){old >> q->cluster_bits, 1});
	return r;
}

int qcow2_l2_find(struct qcow2 *q, uint64_t offset, uint64_t *ret)
{
	uint64_t entry, l2;
	int r = l1_get(q, 0, offset, &entry, &l2);

	if (r == 0)
		*ret = l2 ? l2 + 8 * l2_index(&q->layers[0], offset) : 0;
	return r;
}

int qcow2_l2_prepare(struct qcow2 *q, uint64_t offset, uint64_t *ret)
{
	uint64_t entry, l2;
	int r = q->is_corrupt ? -EIO : l1_get(q, 0, offset, &entry, &l2);

	if (r == 0 && (l2 == 0 || !(entry & QCOW2_COPIED)))
		r = l2_make(q, offset, l2, &l2);
	if (r == 0)
		*ret = l2 + 8 * l2_index(&q->layers[0], offset);
	return r;
}

void qcow2_compressed_range(const struct qcow2_layer *l, uint64_t descriptor, uint64_t *ret_offset,
			    uint64_t *ret_bytes)
{
	unsigned bits = 62 - (l->cluster_bits - 8);
	uint64_t sectors = ((descriptor & (QCOW2_COMPRESSED - 1)) >> bits) + 1;

	*ret_offset = descriptor & ((UINT64_C(1) << bits) - 1);
	*ret_bytes = sectors * 512 - *ret_offset % 512;
}

/* What an entry pointed to and its successor does not is no longer referenced. */
static int drop_entry(struct qcow2 *q, uint64_t old, uint64_t new)
{
	const struct qcow2_layer *l = &q->layers[0];
	uint64_t offset = old & QCOW2_OFFSET_MASK, bytes = q->cluster, first;

	if (kind_of(l, old) == COMPRESSED)
		qcow2_compressed_range(l, old, &offset, &bytes);
	else if (offset == 0 || offset == (new &QCOW2_OFFSET_MASK))
		return 0;
	else if (!is_cluster(q, 0, offset))
		return qcow2_corrupt(q, 0, "L2 table: no cluster can be at %llx",
				     (unsigned long long)offset);
	first = offset >> q->cluster_bits;
	qcow2_free_later(q, (struct qcow2_run){first, ((offset + bytes - 1) >> q->cluster_bits) -
							      first + 1});
	return 0;
}

int qcow2_l2_set(struct qcow2 *q, uint64_t at, const be64 *entries, unsigned n)
{
	uint8_t old[QCOW2_SLICE];
	size_t have;
	int r;
	const uint8_t *p = qcow2_cache_get(q, 0, at, &have, &r);

	if (!p)
		return r;
	assert(have >= (size_t)8 * n);
	memcpy(old, p, (size_t)8 * n);
	q->sync.linked = qcow2_sync_next(q);
	r = qcow2_put(q, at, entries, (size_t)8 * n);
	for (unsigned i = 0; r == 0 && i < n; i++)
		r = drop_entry(q, entry_at(old, i), be64_get(entries[i]));
	return r;
}

int qcow2_l2_read(struct qcow2 *q, uint64_t at, be64 *ret, unsigned n)
{
	size_t have;
	int r;
	const uint8_t *p = qcow2_cache_get(q, 0, at, &have, &r);

	if (!p)
		return r;
	assert(have >= (size_t)8 * n);
	memcpy(ret, p, (size_t)8 * n);
	return 0;
}

int qcow2_is_zero(struct qcow2 *q, uint64_t offset, uint64_t bytes, bool *ret)
{
	struct qcow2_extent x = {.bytes = 0};
	int r = 0;

	bytes = min_u64(bytes, max_u64(q->layers[0].size, offset) - offset);
	*ret = true;
	while (r == 0 && bytes > 0 && *ret) {
		r = qcow2_map(q, 0, offset, bytes, &x);
		*ret = r == 0 && x.kind == QCOW2_IS_ZERO;
		offset += x.bytes;
		bytes -= x.bytes;
	}
	return r;
}
