/* SPDX-License-Identifier: BSD-3-Clause */
/* block.h - what the files of the disk have in common; for block*.c only */
#pragma once

#include "backend/image.h"
#include "base/log.h"
#include "base/wire.h"
#include "devices/device.h"
#include "devices/limit.h"
#include "devices/spin.h"

#include <assert.h>

enum {
	SECTOR = 512,    /* bytes; the unit of all sector numbers, whatever the block size */
	RANGES_MAX = 16, /* of one discard or write-zeroes request */
	DISCARD_SECTORS = 1 << 22, /* 2 GiB: one fallocate() */
	ZERO_SECTORS = 1 << 16,    /* 32 MiB: may have to be written */
};

/* What they mean is in the table of block.c. */
enum block_counter {
	READS = DEVICE_COUNTERS,
	READ_BYTES,
	WRITES,
	WRITTEN_BYTES,
	FLUSHES,
	DISCARDS,
	ZERO_WRITES,
	IDS,
	BLOCK_COUNTERS_END,
};

/* virtio 1.2, 5.2.6.1 */
struct range {
	le64 sector;
	le32 sectors;
	le32 flags;
};

static_assert(sizeof(struct range) == 16, "as on the wire");

struct request {
	struct image_req io;
	struct block *block;
	struct vq *queue;
	struct request *next;       /* free */
	unsigned nranges, range_at; /* discard and write-zeroes */
	uint32_t counter;           /* of its kind, enum block_counter */
	struct chain chain;
	struct range ranges[RANGES_MAX];
};

struct block {
	struct device device;

	/* Options. */
	char *path, *id, *backing;
	uint64_t cache;
	bool ro, direct, sparse, root;
	int format, aio, block_size;
	uint32_t queues, threads;
	uint64_t bps;
	uint32_t iops, burst;

	struct image image;
	struct aio io;
	struct request *requests, *free; /* of the pool, and those given back */
	unsigned fresh;                  /* requests from here on were never used: no memory yet */
	bool writeback, stopping;
	uint32_t starved, pushed; /* bit q: of queue q */
	struct watch again;       /* an eventfd: starved, but no I/O will wake us */
	struct spin spin[2]; /* for the driver, with nothing in flight; for what is in flight */
	unsigned last;       /* queue that was served last */
	struct limit limit;
	uint32_t throttled; /* bit q: queue q waits for the limit, its kicks are off */
	struct log_limit complaints;
};

/* block_request.c: begins a request that was popped into r->chain, of r->queue. */
void block_request_start(struct request *r);
