/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * image_qcow2_header.c - the header of a qcow2 image, read and judged
 *
 * Nothing in it is trusted.  What passes is consistent by itself and with the size of the file:
 * tables lie inside the file, are no larger than QEMU's limits, and do not overlap each other.
 */
#include "backend/image_qcow2.h"
#include "backend/image_qcow2_format.h"
#include "base/num.h"

#include <ctype.h>
#include <errno.h>
#include <linux/fs.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

enum { START_BYTES = 65536 }; /* of the first cluster; extensions behind are not looked at */

/* The beginning of the file; zeroes where it is shorter. */
struct start {
	uint8_t bytes[START_BYTES];
	size_t n;      /* bytes of the first cluster that we have */
	uint64_t file; /* bytes in the file, rounded up to a cluster */
};

static int file_size(int fd, uint64_t *ret, struct err *e)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return err_set(e, errno, "cannot find its size");
	*ret = (uint64_t)st.st_size;
	if (S_ISBLK(st.st_mode) && ioctl(fd, BLKGETSIZE64, ret) < 0)
		return err_set(e, errno, "cannot find its size");
	return 0;
}

static int start_read(int fd, struct start *s, struct err *e)
{
	size_t have = 0;
	int r = file_size(fd, &s->file, e);

	while (r == 0 && have < sizeof(s->bytes)) {
		ssize_t n = pread(fd, s->bytes + have, sizeof(s->bytes) - have, (off_t)have);

		if (n < 0 && errno != EINTR)
			return err_set(e, errno, "cannot read");
		if (n == 0)
			break;
		have += n > 0 ? (size_t)n : 0;
	}
	if (r == 0 && have < QCOW2_V2_HEADER_BYTES)
		return err_say(e, EINVAL, "not a qcow2 image: too short");
	return r;
}

static void decode(const struct qcow2_raw_header *raw, struct qcow2_header *h)
{
	*h = (struct qcow2_header){
		.version = be32_get(raw->version),
		.cluster_bits = be32_get(raw->cluster_bits),
		.size = be64_get(raw->size),
		.l1_offset = be64_get(raw->l1_offset),
		.l1_entries = be32_get(raw->l1_entries),
		.table_offset = be64_get(raw->table_offset),
		.table_clusters = be32_get(raw->table_clusters),
		.snapshots = be32_get(raw->snapshots),
		.snapshots_offset = be64_get(raw->snapshots_offset),
		.refcount_order = 4,
		.header_bytes = QCOW2_V2_HEADER_BYTES,
	};
	if (h->version < 3)
		return;
	h->incompatible = be64_get(raw->incompatible);
	h->compatible = be64_get(raw->compatible);
	h->autoclear = be64_get(raw->autoclear);
	h->refcount_order = be32_get(raw->refcount_order);
	h->header_bytes = be32_get(raw->header_bytes);
}

static int check_kind(const struct qcow2_raw_header *raw, const struct qcow2_header *h,
		      struct err *e)
{
	if (be32_get(raw->magic) != QCOW2_MAGIC)
		return err_say(e, EINVAL, "not a qcow2 image");
	if (h->version != 2 && h->version != 3)
		return err_say(e, ENOTSUP, "qcow2 version %u: only 2 and 3 are known", h->version);
	if (h->cluster_bits < QCOW2_CLUSTER_BITS_MIN || h->cluster_bits > QCOW2_CLUSTER_BITS_MAX)
		return err_say(e, EINVAL, "header: cluster_bits %u: not one of %d to %d",
			       h->cluster_bits, QCOW2_CLUSTER_BITS_MIN, QCOW2_CLUSTER_BITS_MAX);
	if (be32_get(raw->crypt_method) != 0)
		return err_say(e, ENOTSUP,
			       "encrypted (%s): not supported; convert it with qemu-img",
			       be32_get(raw->crypt_method) == 1   ? "AES"
			       : be32_get(raw->crypt_method) == 2 ? "LUKS"
								  : "unknown method");
	if (h->refcount_order > 6)
		return err_say(e, EINVAL, "header: refcount_order %u: more than 6",
			       h->refcount_order);
	if (h->version == 3 &&
	    (h->header_bytes < QCOW2_V3_HEADER_BYTES || h->header_bytes % 8 != 0 ||
	     h->header_bytes > 4096 || h->header_bytes > 1u << h->cluster_bits))
		return err_say(e, EINVAL, "header: header_length %u is wrong", h->header_bytes);
	return 0;
}

/*
 * The next extension at *at, which moves on; NULL at the end, also when it is cut.  Versions 2 too.
 */
static const uint8_t *extension_next(const struct start *s, size_t *at, uint32_t *ret_type,
				     uint32_t *ret_bytes)
{
	struct qcow2_raw_extension x;
	const uint8_t *data;

	if (!is_inside(*at, sizeof(x), s->n))
		return NULL;
	memcpy(&x, s->bytes + *at, sizeof(x));
	*ret_type = be32_get(x.type);
	*ret_bytes = be32_get(x.bytes);
	data = s->bytes + *at + sizeof(x);
	if (*ret_type == QCOW2_EXTENSION_END || !is_inside(*at + sizeof(x), *ret_bytes, s->n))
		return NULL;
	*at += sizeof(x) + (size_t)round_up(*ret_bytes, 8);
	return data;
}

static const uint8_t *extension_find(const struct start *s, const struct qcow2_header *h,
				     uint32_t type, uint32_t *ret_bytes)
{
	size_t at = h->header_bytes;
	const uint8_t *data;
	uint32_t found;

	while ((data = extension_next(s, &at, &found, ret_bytes)))
		if (found == type)
			return data;
	return NULL;
}

/* Sets name to what the image calls the feature, printable, or to "". */
static void feature_name(const struct start *s, const struct qcow2_header *h, unsigned bit,
			 char *name, size_t n)
{
	uint32_t bytes;
	const uint8_t *rows = extension_find(s, h, QCOW2_EXTENSION_FEATURE_NAMES, &bytes);
	struct qcow2_raw_feature f;

	name[0] = '\0';
	for (; rows && bytes >= sizeof(f); rows += sizeof(f), bytes -= (uint32_t)sizeof(f)) {
		memcpy(&f, rows, sizeof(f));
		if (f.type != QCOW2_FEATURE_INCOMPATIBLE || f.bit != bit)
			continue;
		n = min_size(n - 1, strnlen(f.name, sizeof(f.name)));
		for (size_t i = 0; i < n; i++)
			name[i] = isprint((unsigned char)f.name[i]) ? f.name[i] : '?';
		name[n] = '\0';
		return;
	}
}

static int check_features(const struct start *s, const struct qcow2_header *h, struct err *e)
{
	uint64_t unknown = h->incompatible & ~(QCOW2_DIRTY | QCOW2_CORRUPT | QCOW2_EXTERNAL_DATA |
					       QCOW2_COMPRESSION_TYPE | QCOW2_EXTENDED_L2);
	char name[sizeof(((struct qcow2_raw_feature *)0)->name) + 1];

	if (unknown) {
		feature_name(s, h, (unsigned)__builtin_ctzll(unknown), name, sizeof(name));
		return err_say(e, ENOTSUP, "needs a feature that is not known here: bit %d%s%s%s",
			       __builtin_ctzll(unknown), name[0] ? " (" : "", name,
			       name[0] ? ")" : "");
	}
	if (h->incompatible & QCOW2_EXTERNAL_DATA)
		return err_say(e, ENOTSUP,
			       "its data is in an external data file: not supported; "
			       "convert it with qemu-img");
	if (h->incompatible & QCOW2_EXTENDED_L2)
		return err_say(e, ENOTSUP,
			       "extended L2 entries (subclusters): not supported; "
			       "convert it with qemu-img -o extended_l2=off");
	return 0;
}

static int check_compression(const struct qcow2_raw_header *raw, struct qcow2_header *h,
			     struct err *e)
{
	unsigned type = 0;

	if (h->header_bytes > QCOW2_V3_HEADER_BYTES)
		type = raw->compression_type;
	if (type > QCOW2_ZSTD)
		return err_say(e, ENOTSUP, "compression type %u is not known", type);
	if ((type != QCOW2_ZLIB) != !!(h->incompatible & QCOW2_COMPRESSION_TYPE))
		return err_say(e, EINVAL, "header: compression type %u and its feature bit differ",
			       type);
	h->compression = (enum qcow2_compression)type;
	return 0;
}

/* Tables of the header: what they are called, where they lie. */
struct area {
	const char *name;
	uint64_t offset, bytes;
};

enum { AREAS = 4 };

static int check_area(const struct start *s, const struct qcow2_header *h, const struct area *a,
		      struct err *e)
{
	if (a->bytes == 0)
		return 0;
	if (a->offset & ((UINT64_C(1) << h->cluster_bits) - 1))
		return err_say(e, EINVAL, "header: %s is not at the start of a cluster", a->name);
	if (!is_inside(a->offset, a->bytes, s->file))
		return err_say(e, EINVAL, "header: %s lies beyond the end of the file", a->name);
	return 0;
}

static int check_areas(const struct start *s, const struct qcow2_header *h, struct err *e)
{
	uint64_t cluster = UINT64_C(1) << h->cluster_bits;
	const struct area areas[AREAS] = {
		{"the header", 0, cluster},
		{"the L1 table", h->l1_offset, UINT64_C(8) * h->l1_entries},
		{"the refcount table", h->table_offset, cluster * h->table_clusters},
		{"the snapshot table", h->snapshots_offset,
		 h->snapshots * sizeof(struct qcow2_raw_snapshot)},
	};
	int r = 0;

	for (unsigned i = 0; r == 0 && i < AREAS; i++)
		r = check_area(s, h, &areas[i], e);
	for (unsigned i = 0; r == 0 && i < AREAS; i++)
		for (unsigned j = 0; j < i; j++)
			if (areas[i].bytes > 0 && areas[j].bytes > 0 &&
			    areas[i].offset < areas[j].offset + areas[j].bytes &&
			    areas[j].offset < areas[i].offset + areas[i].bytes)
				return err_say(e, EINVAL, "header: %s and %s overlap",
					       areas[j].name, areas[i].name);
	return r;
}

static int check_sizes(const struct qcow2_header *h, struct err *e)
{
	uint64_t per_entry = UINT64_C(1) << (2 * h->cluster_bits - 3); /* bytes of the disk */

	if (h->size > INT64_MAX)
		return err_say(e, EINVAL, "header: a disk of %llu bytes is too large",
			       (unsigned long long)h->size);
	if (h->l1_entries > QCOW2_L1_BYTES_MAX / 8)
		return err_say(e, EINVAL, "header: an L1 table of %u entries is too large",
			       h->l1_entries);
	if (h->l1_entries < (h->size + per_entry - 1) / per_entry)
		return err_say(e, EINVAL,
			       "header: the L1 table is too small for a disk of %llu bytes",
			       (unsigned long long)h->size);
	if (h->table_clusters == 0 ||
	    h->table_clusters > (uint32_t)QCOW2_TABLE_BYTES_MAX >> h->cluster_bits)
		return err_say(e, EINVAL, "header: a refcount table of %u clusters: %s",
			       h->table_clusters, h->table_clusters ? "too large" : "too small");
	if (h->snapshots > QCOW2_SNAPSHOTS_MAX)
		return err_say(e, EINVAL, "header: %u snapshots are too many", h->snapshots);
	return 0;
}

static int read_backing(const struct start *s, const struct qcow2_raw_header *raw,
			struct qcow2_header *h, struct err *e)
{
	uint64_t offset = be64_get(raw->backing_offset);
	uint32_t bytes = be32_get(raw->backing_bytes), n;
	const uint8_t *format;

	if (offset == 0)
		return 0;
	if (bytes == 0 || bytes > QCOW2_BACKING_NAME_MAX || offset < h->header_bytes ||
	    !is_inside(offset, bytes, s->n) || memchr(s->bytes + offset, '\0', bytes))
		return err_say(e, EINVAL, "header: the name of the backing file is wrong");
	memcpy(h->backing, s->bytes + offset, bytes);
	format = extension_find(s, h, QCOW2_EXTENSION_BACKING_FORMAT, &n);
	if (!format)
		return 0;
	if (n > QCOW2_FORMAT_NAME_MAX)
		return err_say(e, EINVAL, "header: the format of the backing file is wrong");
	memcpy(h->backing_format, format, n);
	return 0;
}

static int examine(struct start *s, struct qcow2_header *h, struct err *e)
{
	struct qcow2_raw_header raw;
	int r;

	memcpy(&raw, s->bytes, sizeof(raw));
	decode(&raw, h);
	r = check_kind(&raw, h, e);
	if (r < 0)
		return r;
	s->n = min_size(sizeof(s->bytes), (size_t)1 << h->cluster_bits);
	s->file = round_up(s->file, UINT64_C(1) << h->cluster_bits);
	r = check_features(s, h, e);
	if (r == 0)
		r = check_compression(&raw, h, e);
	if (r == 0)
		r = check_sizes(h, e);
	if (r == 0)
		r = check_areas(s, h, e);
	return r < 0 ? r : read_backing(s, &raw, h, e);
}

int qcow2_header_read(int fd, struct qcow2_header *ret, struct err *e)
{
	struct start *s = calloc(1, sizeof(*s));
	int r;

	if (!s)
		return err_set(e, ENOMEM, "cannot read");
	r = start_read(fd, s, e);
	if (r == 0)
		r = examine(s, ret, e);
	free(s);
	return r;
}
