/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * image_qcow2_create.c - makes an empty qcow2 image
 *
 *	cluster 0	header, extensions, name of the backing file
 *	then		refcount table, refcount blocks, L1 table: zeroes but for what must be there
 *
 * The refcount blocks cover exactly what is there; more come with the data.  A hole is a zero, so
 * even the largest image takes a few clusters on the host.
 */
#include "backend/image_qcow2.h"
#include "backend/image_qcow2_format.h"
#include "base/num.h"

#include <errno.h>
#include <linux/fs.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

struct layout {
	uint64_t size;
	uint32_t cluster_bits, refcount_order;
	uint64_t l1_entries, l1_clusters, table_clusters, blocks; /* the latter three: clusters */
	uint64_t clusters;                                        /* all of them */
};

static uint64_t div_up(uint64_t n, uint64_t unit)
{
	return n / unit + (n % unit != 0);
}

/* Refcounts of how many clusters are in one block. */
static uint64_t block_covers(const struct layout *l)
{
	return UINT64_C(8) << (l->cluster_bits - l->refcount_order);
}

/* Blocks count themselves and the table that lists them: grows until it fits. */
static void lay_out(struct layout *l)
{
	uint64_t cluster = UINT64_C(1) << l->cluster_bits;

	l->l1_entries = div_up(l->size, cluster * (cluster / 8));
	l->l1_clusters = div_up(l->l1_entries * 8, cluster);
	l->blocks = l->table_clusters = 1;
	for (;;) {
		l->clusters = 1 + l->table_clusters + l->blocks + l->l1_clusters;
		if (l->blocks * block_covers(l) < l->clusters)
			l->blocks = div_up(l->clusters, block_covers(l));
		else if (l->table_clusters * cluster < l->blocks * 8)
			l->table_clusters = div_up(l->blocks * 8, cluster);
		else
			return;
	}
}

uint64_t qcow2_size_max(uint32_t cluster_bits)
{
	uint64_t per_entry = UINT64_C(1) << (2 * cluster_bits - 3), max;

	if (!mul_ok(per_entry, QCOW2_L1_BYTES_MAX / 8, &max) || max > INT64_MAX)
		max = INT64_MAX;
	return round_down(max, 512);
}

static int check(const struct qcow2_create_options *o, uint64_t size, struct err *e)
{
	if (o->version != 2 && o->version != 3)
		return err_say(e, EINVAL, "version %u: not 2 or 3", o->version);
	if (o->cluster_bits < QCOW2_CLUSTER_BITS_MIN || o->cluster_bits > QCOW2_CLUSTER_BITS_MAX)
		return err_say(e, EINVAL, "clusters must be of 512 bytes to 2 MiB");
	if (!is_power_of_two(o->refcount_bits) || o->refcount_bits > QCOW2_REFCOUNT_BITS_MAX)
		return err_say(e, EINVAL, "refcounts of %u bits: not a power of two up to 64",
			       o->refcount_bits);
	if (o->version == 2 &&
	    (o->refcount_bits != 16 || o->lazy_refcounts || o->compression != QCOW2_ZLIB))
		return err_say(e, EINVAL, "needs version 3");
	if (size > qcow2_size_max(o->cluster_bits))
		return err_say(e, EFBIG,
			       "a disk of %llu bytes is too large; at most %llu with clusters of "
			       "%u bytes",
			       (unsigned long long)size,
			       (unsigned long long)qcow2_size_max(o->cluster_bits),
			       1u << o->cluster_bits);
	if (o->backing && !o->backing_format)
		return err_say(e, EINVAL, "a backing file needs its format named");
	if (o->backing && (strlen(o->backing) > QCOW2_BACKING_NAME_MAX || !*o->backing))
		return err_say(e, EINVAL, "the name of the backing file is longer than %d bytes",
			       QCOW2_BACKING_NAME_MAX);
	if (o->backing && strlen(o->backing_format) > QCOW2_FORMAT_NAME_MAX)
		return err_say(e, EINVAL, "%s: not a format", o->backing_format);
	return 0;
}

static int put(int fd, const void *bytes, size_t n, uint64_t offset, struct err *e)
{
	const uint8_t *p = bytes;

	while (n > 0) {
		ssize_t moved = pwrite(fd, p, n, (off_t)offset);

		if (moved < 0 && errno == EINTR)
			continue;
		if (moved <= 0)
			return err_set(e, moved < 0 ? errno : EIO, "cannot write");
		p += moved;
		offset += (uint64_t)moved;
		n -= (size_t)moved;
	}
	return 0;
}

/* Gives the file its length, all zeroes; a block device gets zeroes where metadata will be. */
static int make_room(int fd, const struct layout *l, struct err *e)
{
	uint64_t bytes = l->clusters << l->cluster_bits, device = 0;
	static const uint8_t zeroes[65536];
	struct stat st;
	int r = 0;

	if (fstat(fd, &st) < 0)
		return err_set(e, errno, "cannot find its type");
	if (!S_ISBLK(st.st_mode)) {
		if (ftruncate(fd, 0) < 0 || ftruncate(fd, (off_t)bytes) < 0)
			return err_set(e, errno, "cannot set its size");
		return 0;
	}
	if (ioctl(fd, BLKGETSIZE64, &device) < 0)
		return err_set(e, errno, "cannot find its size");
	if (device < bytes)
		return err_say(e, ENOSPC, "the device is smaller than the image's metadata");
	for (uint64_t at = 0; r == 0 && at < bytes; at += sizeof(zeroes))
		r = put(fd, zeroes, (size_t)min_u64(sizeof(zeroes), bytes - at), at, e);
	return r;
}

/* Sets refcount i of a block to 1, for any width; counts below a byte fill from its low end. */
static void refcount_one(uint8_t *block, uint64_t i, uint32_t order)
{
	if (order < 3)
		block[i >> (3 - order)] |= (uint8_t)(1u << ((i << order) & 7));
	else
		block[((i + 1) << (order - 3)) - 1] = 1;
}

static int put_blocks(int fd, const struct layout *l, struct err *e)
{
	size_t cluster = (size_t)1 << l->cluster_bits;
	uint64_t first = 1 + l->table_clusters, left = l->clusters;
	uint8_t *block = malloc(cluster);
	int r = 0;

	if (!block)
		return err_set(e, ENOMEM, "cannot make a refcount block");
	for (uint64_t i = 0; r == 0 && i < l->blocks; i++) {
		uint64_t n = min_u64(left, block_covers(l));
		be64 entry = be64_of((first + i) << l->cluster_bits);

		memset(block, 0, cluster);
		for (uint64_t j = 0; j < n; j++)
			refcount_one(block, j, l->refcount_order);
		left -= n;
		r = put(fd, block, cluster, (first + i) << l->cluster_bits, e);
		if (r == 0)
			r = put(fd, &entry, sizeof(entry), cluster + 8 * i, e);
	}
	free(block);
	return r;
}

static void put_extension(uint8_t *bytes, size_t *at, uint32_t type, const void *data, size_t n)
{
	const struct qcow2_raw_extension x = {be32_of(type), be32_of((uint32_t)n)};

	memcpy(bytes + *at, &x, sizeof(x));
	if (n > 0)
		memcpy(bytes + *at + sizeof(x), data, n);
	*at += sizeof(x) + (size_t)round_up(n, 8);
}

static void put_raw_header(uint8_t *bytes, const struct layout *l,
			   const struct qcow2_create_options *o)
{
	uint64_t table = UINT64_C(1) << l->cluster_bits;
	struct qcow2_raw_header raw = {
		.magic = be32_of(QCOW2_MAGIC),
		.version = be32_of(o->version),
		.cluster_bits = be32_of(l->cluster_bits),
		.size = be64_of(l->size),
		.l1_entries = be32_of((uint32_t)l->l1_entries),
		.l1_offset = be64_of((1 + l->table_clusters + l->blocks) << l->cluster_bits),
		.table_offset = be64_of(table),
		.table_clusters = be32_of((uint32_t)l->table_clusters),
		.incompatible = be64_of(o->compression ? QCOW2_COMPRESSION_TYPE : 0),
		.compatible = be64_of(o->lazy_refcounts ? QCOW2_LAZY_REFCOUNTS : 0),
		.refcount_order = be32_of(l->refcount_order),
		.header_bytes = be32_of(QCOW2_HEADER_BYTES),
		.compression_type = (uint8_t)o->compression,
	};

	memcpy(bytes, &raw, o->version == 2 ? QCOW2_V2_HEADER_BYTES : QCOW2_HEADER_BYTES);
}

/* The largest clusters are not needed whole: what is behind is zero already. */
enum { HEADER_ROOM = 4096 };

static int put_header(int fd, const struct layout *l, const struct qcow2_create_options *o,
		      struct err *e)
{
	static const struct qcow2_raw_feature names[] = {
		{QCOW2_FEATURE_INCOMPATIBLE, 0, "dirty bit"},
		{QCOW2_FEATURE_INCOMPATIBLE, 1, "corrupt bit"},
		{QCOW2_FEATURE_INCOMPATIBLE, 3, "compression type"},
		{QCOW2_FEATURE_COMPATIBLE, 0, "lazy refcounts"},
	};
	size_t room = min_size(HEADER_ROOM, (size_t)1 << l->cluster_bits);
	size_t at = o->version == 2 ? QCOW2_V2_HEADER_BYTES : QCOW2_HEADER_BYTES;
	size_t name_bytes = o->backing ? strlen(o->backing) : 0;
	uint8_t bytes[HEADER_ROOM] = {0};

	put_raw_header(bytes, l, o);
	if (o->backing)
		put_extension(bytes, &at, QCOW2_EXTENSION_BACKING_FORMAT, o->backing_format,
			      strlen(o->backing_format));
	if (o->version == 3 && at + sizeof(names) + 16 + name_bytes <= room)
		put_extension(bytes, &at, QCOW2_EXTENSION_FEATURE_NAMES, names, sizeof(names));
	put_extension(bytes, &at, QCOW2_EXTENSION_END, NULL, 0);
	if (at + name_bytes > room)
		return err_say(e, ENAMETOOLONG,
			       "the name of the backing file does not fit into a cluster");
	if (o->backing) {
		const be64 offset = be64_of(at);
		const be32 n = be32_of((uint32_t)name_bytes);

		memcpy(bytes + at, o->backing, name_bytes);
		memcpy(bytes + offsetof(struct qcow2_raw_header, backing_offset), &offset,
		       sizeof(offset));
		memcpy(bytes + offsetof(struct qcow2_raw_header, backing_bytes), &n, sizeof(n));
	}
	return put(fd, bytes, room, 0, e);
}

int qcow2_create(int fd, uint64_t size, const struct qcow2_create_options *options, struct err *e)
{
	struct qcow2_create_options o = options ? *options : (struct qcow2_create_options){0};
	struct layout l = {.size = size};
	int r;

	o.version = o.version ? o.version : 3;
	o.cluster_bits = o.cluster_bits ? o.cluster_bits : QCOW2_CLUSTER_BITS_DEFAULT;
	o.refcount_bits = o.refcount_bits ? o.refcount_bits : 16;
	r = check(&o, size, e);
	if (r < 0)
		return r;
	l.size = round_up(size, 512);
	l.cluster_bits = o.cluster_bits;
	l.refcount_order = (uint32_t)__builtin_ctz(o.refcount_bits);
	lay_out(&l);
	r = make_room(fd, &l, e);
	if (r == 0)
		r = put_blocks(fd, &l, e);
	return r < 0 ? r : put_header(fd, &l, &o, e);
}
