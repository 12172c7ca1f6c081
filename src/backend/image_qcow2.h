/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * image_qcow2.h - the qcow2 format: its header, making new images
 *
 * For whoever makes or examines images without running them: the commands, libqcow_utils, tests.
 * These functions need nothing but a descriptor; they read and write it with pread() and pwrite()
 * and leave its position alone.  Running images go through backend/image.h with image_qcow2.
 *
 * Reference: docs/interop/qcow2.txt of QEMU, "the specification" in all image_qcow2*.c.
 */
#pragma once

#include "base/attr.h"
#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>

enum {
	QCOW2_CLUSTER_BITS_MIN = 9,  /* 512 bytes */
	QCOW2_CLUSTER_BITS_MAX = 21, /* 2 MiB */
	QCOW2_CLUSTER_BITS_DEFAULT = 16,
	QCOW2_REFCOUNT_BITS_MAX = 64,
	QCOW2_BACKING_NAME_MAX = 1023, /* bytes, without a terminator */
	QCOW2_FORMAT_NAME_MAX = 15,
	QCOW2_L1_BYTES_MAX = 32 << 20,   /* what QEMU takes; larger tables are refused */
	QCOW2_TABLE_BYTES_MAX = 8 << 20, /* of the refcount table; as above */
	QCOW2_SNAPSHOTS_MAX = 65536,
};

/* Bits of qcow2_header.incompatible. */
#define QCOW2_DIRTY            (UINT64_C(1) << 0)
#define QCOW2_CORRUPT          (UINT64_C(1) << 1)
#define QCOW2_EXTERNAL_DATA    (UINT64_C(1) << 2)
#define QCOW2_COMPRESSION_TYPE (UINT64_C(1) << 3)
#define QCOW2_EXTENDED_L2      (UINT64_C(1) << 4)
/* Of compatible. */
#define QCOW2_LAZY_REFCOUNTS (UINT64_C(1) << 0)

enum qcow2_compression { QCOW2_ZLIB = 0, QCOW2_ZSTD = 1 };

/* A header as read and found sound by itself; offsets and sizes in bytes. */
struct qcow2_header {
	uint32_t version; /* 2 or 3 */
	uint32_t cluster_bits;
	uint64_t size; /* virtual, any number of bytes */
	uint64_t l1_offset;
	uint32_t l1_entries;   /* enough for size */
	uint64_t table_offset; /* refcount table */
	uint32_t table_clusters;
	uint32_t snapshots;
	uint64_t snapshots_offset;
	uint64_t incompatible, compatible, autoclear; /* 0 in version 2 */
	uint32_t refcount_order;                      /* refcounts have 1 << this bits */
	uint32_t header_bytes;
	enum qcow2_compression compression;

	char backing[QCOW2_BACKING_NAME_MAX + 1];       /* "" for none */
	char backing_format[QCOW2_FORMAT_NAME_MAX + 1]; /* "" when the header does not say */
};

/*
 * Reads and checks the header: every field alone, the offsets against the file's size, feature bits
 * against those we know (an unknown one is named by the image's own table).  Tables are not read.
 * -EINVAL for what is not qcow2 or not sound, -ENOTSUP for what is sound but not supported.
 */
int qcow2_header_read(int fd, struct qcow2_header *ret, struct err *e) MUST_CHECK;

struct qcow2_create_options {
	uint32_t version;                   /* 0: 3 */
	uint32_t cluster_bits;              /* 0: QCOW2_CLUSTER_BITS_DEFAULT */
	uint32_t refcount_bits;             /* a power of two up to 64; 0: 16 */
	enum qcow2_compression compression; /* for those who write compressed clusters later */
	bool lazy_refcounts;                /* the flag only: our refcounts are always current */
	const char *backing;                /* recorded as given, not opened; NULL: none */
	const char *backing_format;         /* "raw" or "qcow2"; must be set with backing */
};

/*
 * Makes an empty image of size bytes (rounded up to 512) in fd, a regular file open for reading and
 * writing or a block device; what was in it is gone.  With o NULL: all defaults.  The header is
 * written last: a file that was not finished is not an image.  Does not sync.
 */
int qcow2_create(int fd, uint64_t size, const struct qcow2_create_options *o, struct err *e)
	MUST_CHECK;

/* The largest disk that qcow2_create() can make with these clusters, in bytes. */
uint64_t qcow2_size_max(uint32_t cluster_bits) MUST_CHECK;
