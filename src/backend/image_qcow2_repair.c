/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * image_qcow2_repair.c - refcounts of an image that was not closed properly (the dirty bit)
 *
 * Programs that keep refcounts in memory (lazy refcounts) set the bit; after a crash only the L1
 * and L2 tables are right.  All references are counted anew; then refcounts and COPIED flags are
 * corrected, synced, and the bit is cleared.  A crash on the way leaves the bit set.
 *
 * Snapshots share L2 tables, so these are counted first, and then each is read once, for as many as
 * have it.
 *
 * Memory and time are bounded: 4 bytes and a bit a cluster of the file, up to COUNTS_MAX, and no
 * more is read than what the file has on its disk, whatever the number of snapshots.
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
	uint64_t *is_l2;    /* bit i: cluster i is an L2 table */
	uint64_t n;         /* clusters */
	uint64_t read, max; /* bytes of L1 and L2 tables */
};

static bool is_l2(const struct count *c, uint64_t cluster)
{
	return c->is_l2[cluster / 64] >> (cluster % 64) & 1;
}

/* So many more references to all clusters of the range, none of which is an L2 table. */
static int refer_often(struct count *c, uint64_t offset, uint64_t bytes, uint32_t times)
{
	uint64_t end;

	if (bytes == 0)
		return 0;
	if (!is_inside(offset, bytes, c->n << c->q->cluster_bits))
		return -EINVAL;
	end = (offset + bytes - 1) >> c->q->cluster_bits;
	for (uint64_t i = offset >> c->q->cluster_bits; i <= end; i++)
		if (is_l2(c, i) || __builtin_add_overflow(c->counts[i], times, &c->counts[i]))
			return -EINVAL;
	return 0;
}

static int refer(struct count *c, uint64_t offset, uint64_t bytes)
{
	return refer_often(c, offset, bytes, 1);
}

/* The clusters of an L1 table, which no other shares: QEMU gives each snapshot one of its own. */
static int refer_l1(struct count *c, uint64_t l1, uint64_t entries)
{
	int r = l1 % c->q->cluster != 0 ? -EINVAL : refer(c, l1, 8 * entries);

	for (uint64_t at = l1; r == 0 && at < l1 + 8 * entries; at += c->q->cluster)
		if (c->counts[at >> c->q->cluster_bits] > 1)
			r = -EINVAL;
	return r;
}

/* Notes bytes of tables that are about to be read. */
static int may_read(struct count *c, uint64_t bytes)
{
	c->read += bytes;
	return c->read > c->max ? -EFBIG : 0;
}

static int refer_entry(struct count *c, uint64_t entry, uint32_t times)
{
	uint64_t offset = entry & QCOW2_OFFSET_MASK, bytes = c->q->cluster;

	if (entry & QCOW2_COMPRESSED)
		qcow2_compressed_range(&c->q->layers[0], entry, &offset, &bytes);
	else if (offset == 0)
		return 0;
	else if (offset % c->q->cluster != 0)
		return -EINVAL;
	return refer_often(c, offset, bytes, times);
}

/* One more L1 table has this L2 table; the active one has it once only. */
static int refer_l2(struct count *c, uint64_t l2, bool is_active)
{
	uint64_t cluster = l2 >> c->q->cluster_bits;

	if (l2 % c->q->cluster != 0 || cluster >= c->n || (is_active && is_l2(c, cluster)) ||
	    (!is_l2(c, cluster) && c->counts[cluster] > 0) ||
	    ++c->counts[cluster] > 1 + c->q->layers[0].h.snapshots)
		return -EINVAL;
	c->is_l2[cluster / 64] |= 1ull << (cluster % 64);
	return 0;
}

static int count_l1(struct count *c, uint64_t l1, uint64_t entries, bool is_active)
{
	int r = refer_l1(c, l1, entries);

	if (r == 0)
		r = may_read(c, 8 * entries);
	for (uint64_t i = 0; r == 0 && i < entries; i++) {
		uint64_t entry;

		r = qcow2_get64(c->q, 0, l1 + 8 * i, &entry);
		if (r == 0 && (entry & QCOW2_OFFSET_MASK))
			r = refer_l2(c, entry & QCOW2_OFFSET_MASK, is_active);
	}
	return r;
}

/* What the L2 table has, as often as L1 tables have it. */
static int count_l2(struct count *c, uint64_t cluster)
{
	uint64_t l2 = cluster << c->q->cluster_bits;
	int r = may_read(c, c->q->cluster);

	for (uint64_t i = 0; r == 0 && i < c->q->cluster / 8; i++) {
		uint64_t entry;

		r = qcow2_get64(c->q, 0, l2 + 8 * i, &entry);
		if (r == 0 && entry != 0)
			r = refer_entry(c, entry, c->counts[cluster]);
	}
	return r;
}

static int count_l2_tables(struct count *c)
{
	int r = 0;

	for (uint64_t i = 0; r == 0 && i < (c->n + 63) / 64; i++)
		for (uint64_t bits = c->is_l2[i]; r == 0 && bits; bits &= bits - 1)
			r = count_l2(c, 64 * i + (unsigned)__builtin_ctzll(bits));
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
			r = count_l1(c, l1, entries, false);
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
		r = count_l1(c, h->l1_offset, h->l1_entries, true);
	if (r == 0)
		r = count_snapshots(c);
	return r < 0 ? r : count_l2_tables(c);
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

/* Counts and bits lie in one mapping. */
static int repair_in_memory(struct count *c)
{
	size_t bits = (size_t)(c->n + 63) / 64 * sizeof(c->is_l2[0]);
	size_t bytes = bits + (size_t)c->n * sizeof(c->counts[0]);
	int r;

	c->is_l2 = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
			MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (c->is_l2 == MAP_FAILED)
		return -ENOMEM;
	c->counts = (uint32_t *)(c->is_l2 + (c->n + 63) / 64);
	r = repair(c);
	munmap(c->is_l2, bytes);
	return r;
}

uint64_t qcow2_tables_max(const struct qcow2 *q)
{
	const struct qcow2_layer *l = &q->layers[0];
	struct stat st;

	if (q->im->is_block_device || fstat(l->fd, &st) < 0)
		return l->file_bytes;
	return SLACK + (uint64_t)st.st_blocks * 512;
}

int qcow2_repair(struct qcow2 *q, struct err *e)
{
	struct count c = {.q = q,
			  .n = q->layers[0].file_bytes >> q->cluster_bits,
			  .max = qcow2_tables_max(q)};
	int r = -EFBIG;

	if (c.n <= COUNTS_MAX / sizeof(c.counts[0]))
		r = repair_in_memory(&c);
	if (r == -EINVAL)
		return err_say(e, EINVAL, "its tables contradict each other");
	return r < 0 ? err_set(e, -r, "it was not closed properly and cannot be repaired here") : 0;
}
