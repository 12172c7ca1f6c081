/* SPDX-License-Identifier: BSD-3-Clause */
/* image_qcow2_format.h - qcow2 as it lies in the file; all numbers are big-endian */
#pragma once

#include "base/wire.h"

#include <assert.h>
#include <stdint.h>

enum {
	QCOW2_MAGIC = 0x514649fb,
	QCOW2_V2_HEADER_BYTES = 72,
	QCOW2_V3_HEADER_BYTES = 104, /* at least; compression_type lies behind */
	QCOW2_HEADER_BYTES = 112,    /* that we write */
};

struct qcow2_raw_header {
	be32 magic, version;
	be64 backing_offset;
	be32 backing_bytes, cluster_bits;
	be64 size;
	be32 crypt_method, l1_entries;
	be64 l1_offset, table_offset;
	be32 table_clusters, snapshots;
	be64 snapshots_offset;
	/* version 3 */
	be64 incompatible, compatible, autoclear;
	be32 refcount_order, header_bytes;
	/* if header_bytes covers it */
	uint8_t compression_type, padding[7];
};

static_assert(sizeof(struct qcow2_raw_header) == QCOW2_HEADER_BYTES, "as in the file");

/* Behind the header: extensions, each padded to 8 bytes, ended by type 0. */
struct qcow2_raw_extension {
	be32 type, bytes;
};

#define QCOW2_EXTENSION_END            UINT32_C(0)
#define QCOW2_EXTENSION_BACKING_FORMAT UINT32_C(0xe2792aca)
#define QCOW2_EXTENSION_FEATURE_NAMES  UINT32_C(0x6803f857)

/* A row of the feature name table. */
enum { QCOW2_FEATURE_INCOMPATIBLE, QCOW2_FEATURE_COMPATIBLE, QCOW2_FEATURE_AUTOCLEAR };

struct qcow2_raw_feature {
	uint8_t type, bit;
	char name[46]; /* padded with zeroes, not always terminated */
};

static_assert(sizeof(struct qcow2_raw_feature) == 48, "as in the file");

struct qcow2_raw_snapshot {
	be64 l1_offset;
	be32 l1_entries;
	be16 id_bytes, name_bytes;
	be32 date_s, date_ns;
	be64 vm_clock_ns;
	be32 vm_state_bytes, extra_bytes; /* extra, id and name follow; padded to 8 bytes */
};

static_assert(sizeof(struct qcow2_raw_snapshot) == 40, "as in the file");

/* Entries of L1 and L2 tables, in host order. */
#define QCOW2_COPIED      (UINT64_C(1) << 63) /* the cluster's refcount is exactly 1 */
#define QCOW2_COMPRESSED  (UINT64_C(1) << 62) /* L2: a descriptor of compressed data */
#define QCOW2_ZERO        (UINT64_C(1) << 0)  /* L2, version 3: reads as zeroes */
#define QCOW2_OFFSET_MASK UINT64_C(0x00fffffffffffe00)

/* Entries of the refcount table. */
#define QCOW2_TABLE_OFFSET_MASK UINT64_C(0xfffffffffffffe00)
