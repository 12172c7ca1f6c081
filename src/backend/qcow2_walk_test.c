/* SPDX-License-Identifier: BSD-3-Clause */
/* qcow2_walk_test.c - a second reading of qcow2 images, for tests */
#include "backend/qcow2_walk_test.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

enum { SECTOR = 512, CLUSTER_MAX = 2 * 1024 * 1024 };

#define COPIED	   (1ull << 63)
#define COMPRESSED (1ull << 62)
#define OFFSET	   0x00fffffffffffe00ull

/* Zero behind the end of the file: that is what a file system would read back. */
static uint64_t be(const struct walk *w, uint64_t at, unsigned n)
{
	uint64_t value = 0;

	for (unsigned i = 0; i < n; i++)
		value = value << 8 | (at + i < w->bytes ? w->p[at + i] : 0);
	return value;
}

static uint64_t cluster_bytes(const struct walk *w)
{
	return 1ull << w->cluster_bits;
}

__attribute__((format(printf, 2, 3))) static void fault(struct walk *w, const char *format, ...)
{
	va_list args;

	if (w->faults++ > 0)
		return;
	va_start(args, format);
	vsnprintf(w->first, sizeof(w->first), format, args);
	va_end(args);
}

bool walk_open(struct walk *w, const uint8_t *p, uint64_t bytes)
{
	*w = (struct walk){.p = p, .bytes = bytes};
	w->version = (unsigned)be(w, 4, 4);
	w->cluster_bits = (unsigned)be(w, 20, 4);
	w->disk_bytes = be(w, 24, 8);
	w->l1_entries = be(w, 36, 4);
	w->l1_at = be(w, 40, 8);
	w->table_at = be(w, 48, 8);
	w->table_clusters = be(w, 56, 4);
	w->nsnapshots = (unsigned)be(w, 60, 4);
	w->snapshots_at = be(w, 64, 8);
	w->refcount_order = w->version == 2 ? 4 : (unsigned)be(w, 96, 4);
	w->is_dirty = w->version >= 3 && be(w, 72, 8) & 1;
	if (be(w, 0, 4) != 0x514649fb || w->version < 2 || w->version > 3 || w->cluster_bits < 9 ||
	    w->cluster_bits > 21 || w->refcount_order > 6)
		fault(w, "header is not sane");
	return w->faults == 0;
}

/* Counts a reference to each cluster that [at, at + n) touches. */
static void refer(struct walk *w, uint64_t at, uint64_t n, const char *what)
{
	uint64_t first = at >> w->cluster_bits, last = (at + n - 1) >> w->cluster_bits;

	for (uint64_t i = first; n > 0 && i <= last; i++) {
		if (i >= w->nclusters)
			fault(w, "%s at 0x%llx ends behind the file", what, (unsigned long long)at);
		else
			w->seen[i]++;
	}
}

static uint64_t refcount(const struct walk *w, uint64_t cluster)
{
	unsigned bits = 1u << w->refcount_order;
	uint64_t a_block = (cluster_bytes(w) * 8) >> w->refcount_order;
	uint64_t table_entries = w->table_clusters << (w->cluster_bits - 3);
	uint64_t block, i = cluster % a_block;

	if (cluster / a_block >= table_entries)
		return 0;
	block = be(w, w->table_at + cluster / a_block * 8, 8);
	if (block == 0)
		return 0;
	if (bits < 8)
		return be(w, block + i * bits / 8, 1) >> (i * bits % 8) & ((1u << bits) - 1);
	return be(w, block + i * bits / 8, bits / 8);
}

/* Where compressed data lie, and at most how many bytes. */
static uint64_t compressed(const struct walk *w, uint64_t entry, uint64_t *ret_n)
{
	unsigned bits = 62 - (w->cluster_bits - 8);
	uint64_t at = entry & ((1ull << bits) - 1);
	uint64_t sectors = (entry & (COMPRESSED - 1)) >> bits;

	*ret_n = (sectors + 1) * SECTOR - at % SECTOR;
	return at;
}

static void check_copied(struct walk *w, uint64_t entry, const char *what)
{
	if (((entry & COPIED) != 0) != (refcount(w, (entry & OFFSET) >> w->cluster_bits) == 1))
		fault(w, "COPIED of %s 0x%llx does not fit its refcount %llu", what,
		      (unsigned long long)entry,
		      (unsigned long long)refcount(w, (entry & OFFSET) >> w->cluster_bits));
}

static void walk_l2(struct walk *w, uint64_t at, bool is_active)
{
	for (uint64_t i = 0; i < cluster_bytes(w) / 8; i++) {
		uint64_t entry = be(w, at + i * 8, 8), n;

		if (entry & COMPRESSED) {
			uint64_t data = compressed(w, entry, &n);

			refer(w, data, n, "compressed data");
		} else if (entry & OFFSET) {
			if ((entry & OFFSET) % cluster_bytes(w) != 0)
				fault(w, "L2 entry 0x%llx is not aligned",
				      (unsigned long long)entry);
			refer(w, entry & OFFSET, cluster_bytes(w), "data");
			if (is_active && !w->is_dirty)
				check_copied(w, entry, "data");
		}
	}
}

static void walk_l1(struct walk *w, uint64_t at, uint64_t entries, bool is_active)
{
	refer(w, at, entries * 8, "L1 table");
	for (uint64_t i = 0; i < entries; i++) {
		uint64_t entry = be(w, at + i * 8, 8);

		if ((entry & OFFSET) == 0)
			continue;
		if ((entry & OFFSET) % cluster_bytes(w) != 0)
			fault(w, "L1 entry 0x%llx is not aligned", (unsigned long long)entry);
		refer(w, entry & OFFSET, cluster_bytes(w), "L2 table");
		if (is_active && !w->is_dirty)
			check_copied(w, entry, "L2 table");
		walk_l2(w, entry & OFFSET, is_active);
	}
}

static void walk_snapshots(struct walk *w)
{
	uint64_t at = w->snapshots_at;

	for (unsigned i = 0; i < w->nsnapshots; i++) {
		uint64_t n = 40 + be(w, at + 36, 4) + be(w, at + 12, 2) + be(w, at + 14, 2);

		walk_l1(w, be(w, at, 8), be(w, at + 8, 4), false);
		at += (n + 7) & ~7ull;
	}
	refer(w, w->snapshots_at, at - w->snapshots_at, "snapshot table");
}

static void walk_refcounts(struct walk *w)
{
	refer(w, w->table_at, w->table_clusters << w->cluster_bits, "refcount table");
	for (uint64_t i = 0; i < w->table_clusters << (w->cluster_bits - 3); i++) {
		uint64_t block = be(w, w->table_at + i * 8, 8);

		if (block != 0)
			refer(w, block, cluster_bytes(w), "refcount block");
	}
}

void walk_check(struct walk *w)
{
	w->nclusters = (w->bytes + cluster_bytes(w) - 1) >> w->cluster_bits;
	w->seen = calloc(w->nclusters, sizeof(*w->seen));
	if (!w->seen)
		abort();
	refer(w, 0, cluster_bytes(w), "header");
	walk_refcounts(w);
	walk_l1(w, w->l1_at, w->l1_entries, true);
	walk_snapshots(w);
	for (uint64_t i = 0; i < w->nclusters && !w->is_dirty; i++) {
		if (refcount(w, i) < w->seen[i])
			fault(w, "cluster %llu has refcount %llu and %u references",
			      (unsigned long long)i, (unsigned long long)refcount(w, i),
			      w->seen[i]);
		w->leaks += refcount(w, i) > w->seen[i];
	}
	free(w->seen);
	w->seen = NULL;
}

static const uint8_t *inflated(struct walk *w, uint64_t entry)
{
	static uint8_t out[CLUSTER_MAX];
	uint64_t n, at = compressed(w, entry, &n);
	z_stream z = {.next_out = out, .avail_out = (uInt)cluster_bytes(w)};

	if (at >= w->bytes)
		return NULL;
	if (entry == w->held)
		return out;
	z.next_in = (Bytef *)(uintptr_t)(w->p + at);
	z.avail_in = (uInt)(n < w->bytes - at ? n : w->bytes - at);
	if (inflateInit2(&z, -12) != Z_OK)
		abort();
	inflate(&z, Z_FINISH);
	w->held = z.total_out == cluster_bytes(w) ? entry : 0;
	inflateEnd(&z);
	return w->held ? out : NULL;
}

const uint8_t *walk_sector(struct walk *w, uint64_t sector)
{
	static const uint8_t zeroes[SECTOR];
	uint64_t at = sector * SECTOR, a_table = cluster_bytes(w) / 8;
	uint64_t cluster = at >> w->cluster_bits, inside = at % cluster_bytes(w);
	uint64_t l2 = be(w, w->l1_at + cluster / a_table * 8, 8) & OFFSET, entry;
	const uint8_t *data;

	if (l2 == 0)
		return NULL;
	entry = be(w, l2 + cluster % a_table * 8, 8);
	if (entry & COMPRESSED) {
		data = inflated(w, entry);
		return data ? data + inside : NULL;
	}
	if ((entry & OFFSET) == 0 || entry & 1)
		return NULL;
	at = (entry & OFFSET) + inside;
	return at + SECTOR <= w->bytes ? w->p + at : zeroes;
}
