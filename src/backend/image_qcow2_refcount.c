/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * image_qcow2_refcount.c - how often each cluster of the file is used
 *
 * The refcount table lists refcount blocks of one cluster each.  A range of clusters without a
 * block is free; a block is made when the first of them is wanted, and lies in the range it
 * describes or in one that is described already.  New blocks and tables follow rule Q5.
 */
#include "backend/image_qcow2_state.h"

#include "base/num.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

enum {
	TAIL_SLICES = 4096,           /* of refcounts, from the end of the file */
	BLOCK_BATCH_BYTES = 16 << 20, /* of the file, described by blocks made at once */
	ROOM_MIN = 16 << 20,
	ROOM_MAX = 1 << 30,
	TABLE_SECTOR = 64, /* entries in 512 bytes, which a disk writes together or not at all */
};

static uint64_t block_covers(const struct qcow2 *q)
{
	return UINT64_C(8) << (q->cluster_bits - q->layers[0].h.refcount_order);
}

static uint64_t table_entries(const struct qcow2 *q)
{
	return (uint64_t)q->layers[0].h.table_clusters << (q->cluster_bits - 3);
}

uint64_t qcow2_refcount_max(const struct qcow2 *q)
{
	return UINT64_MAX >> (64 - (1u << q->layers[0].h.refcount_order));
}

/* Where the block that describes the cluster is; 0: there is none. */
static int block_find(struct qcow2 *q, uint64_t cluster, uint64_t *ret)
{
	uint64_t i = cluster / block_covers(q);
	int r;

	*ret = 0;
	if (i >= table_entries(q))
		return 0;
	r = qcow2_get64(q, 0, q->layers[0].h.table_offset + 8 * i, ret);
	if (r < 0)
		return r;
	*ret &= QCOW2_TABLE_OFFSET_MASK;
	if (*ret != 0 &&
	    (*ret % q->cluster != 0 || !is_inside(*ret, q->cluster, q->layers[0].file_bytes) ||
	     !qcow2_is_apart(q, *ret, q->cluster)))
		return qcow2_corrupt(q, 0, "refcount table: no block can be at %llx",
				     (unsigned long long)*ret);
	return 0;
}

/* Count number i of what begins at p, a byte at which a count begins. */
static uint64_t count_get(const uint8_t *p, uint64_t i, uint32_t order)
{
	uint64_t value = 0;

	if (order < 3)
		return p[i >> (3 - order)] >> ((i << order) & 7) & ((1u << (1u << order)) - 1);
	for (unsigned j = 0; j < 1u << (order - 3); j++)
		value = value << 8 | p[(i << (order - 3)) + j];
	return value;
}

static void count_set(uint8_t *p, uint64_t i, uint32_t order, uint64_t value)
{
	if (order < 3) {
		unsigned shift = (unsigned)(i << order) & 7;
		unsigned mask = ((1u << (1u << order)) - 1) << shift;
		uint8_t *byte = &p[i >> (3 - order)];

		*byte = (uint8_t)((*byte & ~mask) | (unsigned)value << shift);
		return;
	}
	for (unsigned j = 1u << (order - 3); j-- > 0; value >>= 8)
		p[(i << (order - 3)) + j] = (uint8_t)value;
}

/*
 * The slice with the cluster's count: a pointer to where it begins, what number the count has
 * there, how many from it on are in the slice and block, and its offset in the file.  NULL with
 * *ret_error 0: no block.
 */
struct counts {
	const uint8_t *p;
	uint64_t offset, i, n;
};

static bool counts_find(struct qcow2 *q, uint64_t cluster, struct counts *c, int *ret_error)
{
	uint32_t order = q->layers[0].h.refcount_order;
	uint64_t per_slice = UINT64_C(8) * min_u64(QCOW2_SLICE, q->cluster) >> order, block;
	uint64_t index = cluster % block_covers(q);
	size_t bytes;

	*ret_error = block_find(q, cluster, &block);
	if (*ret_error < 0 || block == 0)
		return false;
	c->i = index % per_slice;
	c->n = per_slice - c->i;
	c->offset = block + ((index - c->i) << order) / 8;
	c->p = qcow2_cache_get(q, 0, c->offset, &bytes, ret_error);
	return c->p != NULL;
}

int qcow2_refcount_get(struct qcow2 *q, uint64_t cluster, uint64_t *ret)
{
	struct counts c;
	int r;

	*ret = 0;
	if (counts_find(q, cluster, &c, &r))
		*ret = count_get(c.p, c.i, q->layers[0].h.refcount_order);
	return r;
}

static int count_changed(struct qcow2 *q, uint64_t cluster, uint64_t now, int delta, uint64_t *ret)
{
	if (delta > 0 ? now >= qcow2_refcount_max(q) : now == 0)
		return qcow2_corrupt(q, 0, "refcount of cluster %llu is wrong: %llu",
				     (unsigned long long)cluster, (unsigned long long)now);
	*ret = delta > 0 ? now + 1 : now - 1;
	return 0;
}

/* Those of the run that are in one slice, by one write. */
static int add_in_slice(struct qcow2 *q, struct qcow2_run run, int delta, bool durable,
			uint64_t *ret_n)
{
	uint32_t order = q->layers[0].h.refcount_order;
	uint8_t slice[QCOW2_SLICE];
	struct counts c;
	uint64_t from, to;
	int r;

	if (!counts_find(q, run.first, &c, &r))
		return r < 0 ? r
			     : qcow2_corrupt(q, 0, "cluster %llu has no refcount",
					     (unsigned long long)run.first);
	memcpy(slice, c.p, (size_t)min_u64(QCOW2_SLICE, q->cluster));
	*ret_n = min_u64(run.n, c.n);
	for (uint64_t j = 0; r == 0 && j < *ret_n; j++) {
		uint64_t value = count_get(slice, c.i + j, order);

		r = count_changed(q, run.first + j, value, delta, &value);
		if (r == 0)
			count_set(slice, c.i + j, order, value);
	}
	from = (c.i << order) / 8;
	to = (((c.i + *ret_n) << order) + 7) / 8;
	if (r < 0)
		return r;
	return durable ? qcow2_put_durable(q, c.offset + from, slice + from, (size_t)(to - from))
		       : qcow2_put(q, c.offset + from, slice + from, (size_t)(to - from));
}

static int add(struct qcow2 *q, struct qcow2_run run, int delta, bool durable)
{
	int r = 0;

	while (r == 0 && run.n > 0) {
		uint64_t n = 0;

		r = add_in_slice(q, run, delta, durable, &n);
		run.first += n;
		run.n -= n;
	}
	return r;
}

int qcow2_refcount_add(struct qcow2 *q, struct qcow2_run run, int delta)
{
	return add(q, run, delta, false);
}

int qcow2_refcount_reserve(struct qcow2 *q, struct qcow2_run run)
{
	return add(q, run, 1, true);
}

int qcow2_refcount_set(struct qcow2 *q, uint64_t cluster, uint64_t value)
{
	uint32_t order = q->layers[0].h.refcount_order;
	uint8_t bytes[8];
	struct counts c;
	size_t n = order < 3 ? 1 : (size_t)1 << (order - 3);
	uint64_t at;
	int r;

	if (!counts_find(q, cluster, &c, &r))
		return r < 0 ? r : -ENOENT;
	at = (c.i << order) / 8;
	memcpy(bytes, c.p + at, n);
	count_set(bytes, order < 3 ? c.i & ((8u >> order) - 1) : 0, order, value);
	return qcow2_put(q, c.offset + at, bytes, n);
}

/*
 * More than is needed now, as a hole: what lies there is certainly zero, and one sync is enough for
 * all of it.  What is not used is cut off at rest.
 */
static int make_room(struct qcow2 *q, uint64_t bytes)
{
	uint64_t more = min_u64(max_u64(bytes, ROOM_MIN), ROOM_MAX);
	int fd = q->layers[0].fd;

	if (bytes > INT64_MAX)
		return -EFBIG;
	q->room = bytes + more;
	if (q->room > INT64_MAX || ftruncate(fd, (off_t)q->room) < 0) {
		q->room = bytes;
		if (ftruncate(fd, (off_t)bytes) < 0)
			return -errno;
	}
	q->room_stamp = qcow2_sync_next(q);
	return 0;
}

int qcow2_extend(struct qcow2 *q, uint64_t bytes)
{
	struct qcow2_layer *l = &q->layers[0];
	int r = 0;

	if (bytes <= l->file_bytes)
		return 0;
	if (q->im->is_block_device)
		return -ENOSPC;
	if (bytes > q->room)
		r = make_room(q, bytes);
	if (r == 0)
		l->file_bytes = bytes;
	return r;
}

/* ---- new blocks ---- */

/*
 * A piece of the file: n clusters for the caller, then refcount blocks for all ranges in it that
 * have none, and for those up to cluster "until" too.
 */
struct claim {
	uint64_t first, n, blocks, until, range; /* range: the first to look at */
};

static struct claim claim_at(const struct qcow2 *q, uint64_t first)
{
	return (struct claim){.first = first, .range = first / block_covers(q)};
}

static uint64_t claim_end(const struct claim *c)
{
	return c->first + c->n + c->blocks;
}

/* The number behind the last range. */
static uint64_t claim_ranges_end(const struct qcow2 *q, const struct claim *c)
{
	uint64_t end = max_u64(claim_end(c), max_u64(c->until, c->first + 1));

	return (end - 1) / block_covers(q) + 1;
}

static bool has_block(struct qcow2 *q, uint64_t range, int *ret_error)
{
	uint64_t block;

	*ret_error = block_find(q, range * block_covers(q), &block);
	return block != 0;
}

/* How many blocks it takes: they may need more themselves. */
static int claim_blocks(struct qcow2 *q, struct claim *c)
{
	uint64_t missing = 0;
	int r = 0;

	do {
		c->blocks = missing;
		missing = 0;
		for (uint64_t i = c->range; r == 0 && i < claim_ranges_end(q, c); i++)
			missing += !has_block(q, i, &r);
	} while (r == 0 && missing > c->blocks);
	return r;
}

/* A block at cluster "at" that describes the range. */
static int put_block(struct qcow2 *q, const struct claim *c, uint64_t range, uint64_t at)
{
	uint32_t order = q->layers[0].h.refcount_order;
	uint64_t cluster = range * block_covers(q);
	uint8_t slice[QCOW2_SLICE];
	size_t bytes = (size_t)min_u64(QCOW2_SLICE, q->cluster);
	uint64_t per_slice = UINT64_C(8) * bytes >> order;
	int r = 0;

	for (uint64_t done = 0; r == 0 && done < q->cluster; done += bytes) {
		memset(slice, 0, bytes);
		for (uint64_t i = 0; i < per_slice; i++)
			if (cluster + i >= c->first && cluster + i < claim_end(c))
				count_set(slice, i, order, 1);
		cluster += per_slice;
		r = qcow2_put(q, (at << q->cluster_bits) + done, slice, bytes);
	}
	return r;
}

/* Counts those clusters of the claim that are in a range which has a block. */
static int count_claim(struct qcow2 *q, const struct claim *c, uint64_t range)
{
	uint64_t from = max_u64(c->first, range * block_covers(q));
	uint64_t to = min_u64(claim_end(c), (range + 1) * block_covers(q));

	return from < to ? qcow2_refcount_add(q, (struct qcow2_run){from, to - from}, 1) : 0;
}

/* Writes the claim's blocks, and counts its clusters where blocks exist; not synced yet. */
static int claim_write(struct qcow2 *q, const struct claim *c)
{
	uint64_t at = c->first + c->n;
	int r = qcow2_extend(q, claim_end(c) << q->cluster_bits);

	if (r < 0)
		return r;
	qcow2_cache_forget(q, c->first << q->cluster_bits, (c->n + c->blocks) << q->cluster_bits);
	r = qcow2_put_zeroes(q, c->first << q->cluster_bits, c->n << q->cluster_bits);
	for (uint64_t i = c->range; r == 0 && i < claim_ranges_end(q, c); i++) {
		if (has_block(q, i, &r))
			r = count_claim(q, c, i);
		else if (r == 0)
			r = put_block(q, c, i, at++);
	}
	return r;
}

/*
 * Lists the claim's blocks for ranges [i, end) in the table at that place, the first of them being
 * at cluster "at": in order, a sector at a time, each synced before the next.  A block may be
 * counted by one that is listed before it, not behind.
 */
static int put_some(struct qcow2 *q, uint64_t table, uint64_t i, uint64_t end, uint64_t at)
{
	be64 entries[TABLE_SECTOR];
	int r = 0;

	while (r == 0 && i < end) {
		uint64_t from = i, block;
		unsigned n = 0;

		do {
			r = block_find(q, i++ * block_covers(q), &block);
			if (block == 0)
				block = at++ << q->cluster_bits;
			entries[n++] = be64_of(block);
		} while (r == 0 && i < end && i % TABLE_SECTOR != 0);
		if (r == 0)
			r = qcow2_put(q, table + 8 * from, entries, n * sizeof(entries[0]));
		if (r == 0 && i < end)
			r = qcow2_sync_now(q);
	}
	return r;
}

/* Blocks lie behind the claim's own clusters: what counts them is listed first, then the rest. */
static int put_entries(struct qcow2 *q, const struct claim *c, uint64_t table)
{
	uint64_t at = c->first + c->n, missing = 0;
	uint64_t own = max_u64(c->range, round_down(at / block_covers(q), TABLE_SECTOR));
	int r = 0;

	for (uint64_t i = c->range; r == 0 && i < own; i++)
		missing += !has_block(q, i, &r);
	if (r == 0)
		r = put_some(q, table, own, claim_ranges_end(q, c), at + missing);
	if (r == 0 && own > c->range)
		r = qcow2_sync_now(q);
	return r < 0 ? r : put_some(q, table, c->range, own, at);
}

static int switch_table(struct qcow2 *q, uint64_t offset, uint64_t clusters)
{
	struct qcow2_header *h = &q->layers[0].h;
	struct qcow2_run old = {h->table_offset >> q->cluster_bits, h->table_clusters};
	struct {
		be64 offset;
		be32 clusters;
	} fields = {be64_of(offset), be32_of((uint32_t)clusters)};
	int r = qcow2_sync_now(q);

	if (r == 0)
		r = qcow2_put(q, offsetof(struct qcow2_raw_header, table_offset), &fields,
			      sizeof(fields));
	if (r < 0)
		return r;
	h->table_offset = offset;
	h->table_clusters = (uint32_t)clusters;
	r = qcow2_sync_now(q);
	return r < 0 ? r : qcow2_refcount_add(q, old, -1);
}

static uint64_t end_of_file(const struct qcow2 *q)
{
	return q->layers[0].file_bytes >> q->cluster_bits;
}

/* A table half as large again, or as large as it takes. */
static int grow_table(struct qcow2 *q, uint64_t entries)
{
	const struct qcow2_header *h = &q->layers[0].h;
	struct claim c = claim_at(q, max_u64(end_of_file(q), table_entries(q) * block_covers(q)));
	int r;

	entries = max_u64(entries, table_entries(q) + table_entries(q) / 2);
	do {
		c.n = (8 * entries + q->cluster - 1) >> q->cluster_bits;
		if (c.n > (uint64_t)QCOW2_TABLE_BYTES_MAX >> q->cluster_bits)
			return -ENOSPC;
		r = claim_blocks(q, &c);
		entries = max_u64(entries, claim_ranges_end(q, &c));
	} while (r == 0 && entries > c.n << (q->cluster_bits - 3));
	if (r == 0)
		r = claim_write(q, &c);
	if (r == 0)
		r = qcow2_copy(q, c.first << q->cluster_bits, h->table_offset,
			       (uint64_t)h->table_clusters << q->cluster_bits);
	if (r == 0)
		r = put_entries(q, &c, c.first << q->cluster_bits);
	return r < 0 ? r : switch_table(q, c.first << q->cluster_bits, c.n);
}

/* Makes the claim real; c->first may move if the table had to grow. */
static int claim_make(struct qcow2 *q, struct claim *c)
{
	int r = claim_blocks(q, c);

	if (r == 0 && claim_ranges_end(q, c) > table_entries(q)) {
		r = grow_table(q, claim_ranges_end(q, c));
		c->first = max_u64(c->first, end_of_file(q));
		c->range = min_u64(c->range, c->first / block_covers(q));
		if (r == 0)
			r = claim_blocks(q, c);
		if (r == 0 && claim_ranges_end(q, c) > table_entries(q))
			r = -ENOSPC;
	}
	if (r == 0)
		r = claim_write(q, c);
	if (r == 0 && c->blocks > 0)
		r = qcow2_sync_now(q);
	if (r == 0)
		r = put_entries(q, c, q->layers[0].h.table_offset);
	if (c->blocks > 0)
		q->room_stamp = qcow2_sync_next(q); /* counts in these blocks last from then on */
	return r;
}

int qcow2_refcount_claim(struct qcow2 *q, uint64_t n, uint64_t *ret_first)
{
	struct claim c = claim_at(q, end_of_file(q));
	uint64_t count = 0;
	int r;

	do { /* clusters behind the end may have been counted and never written */
		r = qcow2_refcount_get(q, c.first, &count);
		c.first += count > 0;
	} while (r == 0 && count > 0);
	c.n = n;
	if (r == 0)
		r = claim_make(q, &c);
	*ret_first = c.first;
	return r;
}

int qcow2_refcount_describe(struct qcow2 *q, uint64_t cluster)
{
	struct claim c = claim_at(q, end_of_file(q));

	c.range = cluster / block_covers(q);
	return claim_make(q, &c);
}

/* Blocks for the range of that cluster, which has none, and more where clusters are small. */
static int make_blocks(struct qcow2 *q, uint64_t cluster)
{
	uint64_t range = cluster / block_covers(q), end = range + 1;
	uint64_t max = (cluster + (BLOCK_BATCH_BYTES >> q->cluster_bits)) / block_covers(q);
	struct claim c = claim_at(q, cluster);
	int r = 0;

	while (end < min_u64(max, table_entries(q)) && !has_block(q, end, &r) && r == 0)
		end++;
	c.until = end * block_covers(q);
	return r < 0 ? r : claim_make(q, &c);
}

/* ---- free clusters ---- */

static uint64_t free_in_slice(const struct qcow2 *q, const struct counts *c, uint64_t max,
			      uint64_t *ret_skip)
{
	uint32_t order = q->layers[0].h.refcount_order;
	uint64_t i = 0, n = 0;

	while (i < c->n && count_get(c->p, c->i + i, order) != 0)
		i++;
	while (i + n < c->n && n < max && count_get(c->p, c->i + i + n, order) == 0)
		n++;
	*ret_skip = i;
	return n;
}

int qcow2_refcount_find(struct qcow2 *q, uint64_t from, uint64_t max, unsigned *budget,
			struct qcow2_run *ret)
{
	*ret = (struct qcow2_run){.first = from};
	while (*budget > 0 && ret->n == 0) {
		struct counts c;
		uint64_t skip;
		int r;

		--*budget;
		if (!counts_find(q, ret->first, &c, &r)) {
			if (r == 0)
				r = make_blocks(q, ret->first);
			if (r < 0)
				return r;
			continue;
		}
		ret->n = free_in_slice(q, &c, max, &skip);
		ret->first += skip;
	}
	return 0;
}

uint64_t qcow2_refcount_tail(struct qcow2 *q)
{
	/* The file may be far larger than what there can be refcounts for. */
	uint64_t end = min_u64(end_of_file(q), table_entries(q) * block_covers(q)), n;
	struct counts c;
	int r = 0;

	for (unsigned slices = 0; end > 0 && slices < TAIL_SLICES && r == 0; slices++) {
		if (!counts_find(q, end - 1, &c, &r)) { /* no block, or an error */
			end = r == 0 ? round_down(end - 1, block_covers(q)) : end;
			continue;
		}
		n = c.i + 1;
		while (n > 0 && count_get(c.p, n - 1, q->layers[0].h.refcount_order) == 0)
			n--;
		end -= c.i + 1 - n;
		if (n > 0)
			break;
	}
	return max_u64(end, 1);
}
