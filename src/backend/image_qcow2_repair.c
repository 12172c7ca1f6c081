/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * image_qcow2_repair.c - refcounts of an image that was not closed properly (the dirty bit)
 *
 * Programs that keep refcounts in memory (lazy refcounts) set the bit; after a crash only the L1
 * and L2 tables are right.  All references are counted anew; then refcounts and COPIED flags are
 * corrected, synced, and the bit is cleared.  A crash on the way leaves the bit set.
 *
 * Memory and time are bounded: 4 bytes a cluster of the file up to COUNTS_MAX, and no more is read
 * than what the file has on its disk, once for each snapshot.
 */
#include "backend/image_qcow2_open.h"
#include "base/num.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

enum { COUNTS_MAX = 256 << 20, SLACK = 64 << 20 };

struct count {
	struct qcow2 *q;
	uint32_t *counts;
	uint64_t n;         /* clusters */
	uint64_t read, max; /* bytes of L2 tables */
};

/* Another reference to all clusters of the range. */
static int refer(struct count *c, uint64_t offset, uint64_t bytes)
{
	uint64_t end;

	if (bytes == 0)
		return 0;
	if (!is_inside(offset, bytes, c->n << c->q->cluster_bits))
		return -EINVAL;
	end = (offset + bytes - 1) >> c->q->cluster_bits;
	for (uint64_t i = offset >> c->q->cluster_bits; i <= end; i++)
		if (c->counts[i]++ == UINT32_MAX)
			return -EINVAL;
	return 0;
}

static int refer_entry(struct count *c, uint64_t entry)
{
	uint64_t offset = entry & QCOW2_OFFSET_MASK, bytes = c->q->cluster;

	if (entry & QCOW2_COMPRESSED)
		qcow2_compressed_range(&c->q->layers[0], entry, &offset, &bytes);
	else if (offset == 0)
		return 0;
	else if (offset % c->q->cluster != 0)
		return -EINVAL;
	return refer(c, offset, bytes);
}

static int count_l2(struct count *c, uint64_t l2)
{
	int r = refer(c, l2, c->q->cluster);

	if (r == 0 && (l2 % c->q->cluster != 0 ||
		       c->counts[l2 >> c->q->cluster_bits] > 1 + c->q->layers[0].h.snapshots))
		return -EINVAL;
	c->read += c->q->cluster;
	if (c->read > c->max)
		return -EFBIG;
	for (uint64_t i = 0; r == 0 && i < c->q->cluster / 8; i++) {
		uint64_t entry;

		r = qcow2_get64(c->q, 0, l2 + 8 * i, &entry);
		if (r == 0 && entry != 0)
			r = refer_entry(c, entry);
	}
	return r;
}

static int count_l1(struct count *c, uint64_t l1, uint64_t entries)
{
	int r = l1 % 8 != 0 ? -EINVAL : refer(c, l1, 8 * entries);

	for (uint64_t i = 0; r == 0 && i < entries; i++) {
		uint64_t entry;

		r = qcow2_get64(c->q, 0, l1 + 8 * i, &entry);
		if (r == 0 && (entry & QCOW2_OFFSET_MASK))
			r = count_l2(c, entry & QCOW2_OFFSET_MASK);
	}
	return r;
}

int qcow2_snapshot_next(struct qcow2 *q, uint64_t *at, uint64_t *ret_l1, uint64_t *ret_entries)
{
	struct qcow2_raw_snapshot s;
	uint64_t length;

	for (size_t i = 0; i < sizeof(s); i += 8) {
		uint64_t value;
		be64 word;
		int r = qcow2_get64(q, 0, *at + i, &value);

		if (r < 0)
			return r;
		word = be64_of(value);
		memcpy((char *)&s + i, &word, sizeof(word));
	}
	*ret_l1 = be64_get(s.l1_offset);
	*ret_entries = be32_get(s.l1_entries);
	length = sizeof(s) + be32_get(s.extra_bytes) + be16_get(s.id_bytes) +
		 (uint64_t)be16_get(s.name_bytes);
	if (*ret_entries > QCOW2_L1_BYTES_MAX / 8 || be32_get(s.extra_bytes) > 1024 ||
	    *ret_l1 % q->cluster != 0 ||
	    !is_inside(*ret_l1, 8 * *ret_entries, q->layers[0].file_bytes))
		return -EINVAL;
	*at += round_up(length, 8);
	return 0;
}

static int count_snapshots(struct count *c)
{
	const struct qcow2_header *h = &c->q->layers[0].h;
	uint64_t at = h->snapshots_offset;
	int r = 0;

	for (uint32_t i = 0; r == 0 && i < h->snapshots; i++) {
		uint64_t l1, entries;

		r = qcow2_snapshot_next(c->q, &at, &l1, &entries);
		if (r == 0)
			r = count_l1(c, l1, entries);
	}
	return r == 0 && h->snapshots > 0 ? refer(c, h->snapshots_offset, at - h->snapshots_offset)
					  : r;
}

static int count_blocks(struct count *c)
{
	const struct qcow2_header *h = &c->q->layers[0].h;
	uint64_t bytes = (uint64_t)h->table_clusters << c->q->cluster_bits;
	int r = refer(c, h->table_offset, bytes);

	for (uint64_t i = 0; r == 0 && i < bytes / 8; i++) {
		uint64_t block;

		r = qcow2_get64(c->q, 0, h->table_offset + 8 * i, &block);
		if (r == 0 && (block & QCOW2_TABLE_OFFSET_MASK))
			r = refer(c, block & QCOW2_TABLE_OFFSET_MASK, c->q->cluster);
	}
	return r;
}

static int count_all(struct count *c)
{
	const struct qcow2_header *h = &c->q->layers[0].h;
	int r = refer(c, 0, c->q->cluster);

	if (r == 0)
		r = count_blocks(c);
	if (r == 0)
		r = count_l1(c, h->l1_offset, h->l1_entries);
	return r < 0 ? r : count_snapshots(c);
}

static int correct_counts(struct count *c)
{
	int r = 0;

	for (uint64_t i = 0; r == 0 && i < c->n; i++) {
		uint64_t stored;

		r = qcow2_refcount_get(c->q, i, &stored);
		if (r < 0 || stored == c->counts[i])
			continue;
		if (c->counts[i] > qcow2_refcount_max(c->q))
			return -EINVAL;
		r = qcow2_refcount_set(c->q, i, c->counts[i]);
		if (r == -ENOENT)
			r = qcow2_refcount_describe(c->q, i);
		else
			continue;
		if (r == 0)
			r = qcow2_refcount_set(c->q, i, c->counts[i]);
	}
	return r;
}

/* The flag says: used once. */
static int correct_flag(struct count *c, uint64_t at, uint64_t entry)
{
	uint64_t offset = entry & QCOW2_OFFSET_MASK;
	uint64_t flag = c->counts[offset >> c->q->cluster_bits] == 1 ? QCOW2_COPIED : 0;

	return (entry & QCOW2_COPIED) == flag
		       ? 0
		       : qcow2_put64(c->q, at, (entry & ~QCOW2_COPIED) | flag);
}

/* Entries of an L1 table, and of all L2 tables in it. */
static int correct_flags(struct count *c, uint64_t table, uint64_t n, bool is_l1)
{
	int r = 0;

	for (uint64_t i = 0; r == 0 && i < n; i++) {
		uint64_t entry;

		r = qcow2_get64(c->q, 0, table + 8 * i, &entry);
		if (r < 0 || !(entry & QCOW2_OFFSET_MASK) || (!is_l1 && (entry & QCOW2_COMPRESSED)))
			continue;
		r = correct_flag(c, table + 8 * i, entry);
		if (r == 0 && is_l1)
			r = correct_flags(c, entry & QCOW2_OFFSET_MASK, c->q->cluster / 8, false);
	}
	return r;
}

static int repair(struct count *c)
{
	struct qcow2_header *h = &c->q->layers[0].h;
	int r = count_all(c);

	if (r == 0)
		r = correct_counts(c);
	if (r == 0)
		r = correct_flags(c, h->l1_offset, h->l1_entries, true);
	if (r == 0)
		r = qcow2_sync_now(c->q);
	if (r == 0)
		r = qcow2_put64(c->q, offsetof(struct qcow2_raw_header, incompatible),
				h->incompatible & ~QCOW2_DIRTY);
	if (r == 0)
		r = qcow2_sync_now(c->q);
	if (r == 0)
		h->incompatible &= ~QCOW2_DIRTY;
	return r;
}

int qcow2_repair(struct qcow2 *q, struct err *e)
{
	const struct qcow2_layer *l = &q->layers[0];
	struct count c = {.q = q, .n = l->file_bytes >> q->cluster_bits};
	size_t bytes = (size_t)c.n * sizeof(c.counts[0]);
	struct stat st;
	int r = -EFBIG;

	if (c.n <= COUNTS_MAX / sizeof(c.counts[0]) && fstat(l->fd, &st) == 0) {
		c.max = SLACK +
			(q->im->is_block_device ? l->file_bytes : (uint64_t)st.st_blocks * 512) *
				(1 + (uint64_t)l->h.snapshots);
		c.counts = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
				MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
		r = c.counts == MAP_FAILED ? -ENOMEM : repair(&c);
		if (c.counts != MAP_FAILED)
			munmap(c.counts, bytes);
	}
	if (r == -EINVAL)
		return err_say(e, EINVAL, "its tables contradict each other");
	return r < 0 ? err_set(e, -r, "it was not closed properly and cannot be repaired here") : 0;
}
