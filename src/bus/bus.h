/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * bus.h - address to handler, for ports and for MMIO
 *
 * vCPU threads look up under a read lock and call the handler without it, so a handler may change
 * the bus that it was called from: ranges come and go when the guest moves a PCI BAR.  A handler
 * sees offsets from the start of its range and sizes 1, 2, 4, 8; other sizes and accesses across
 * the end of a range are split into bytes.  Reads of what nobody has return all ones; writes are
 * dropped.
 */
#pragma once

#include "base/attr.h"
#include "base/err.h"

#include <pthread.h>
#include <stdint.h>

/* A handler, embedded in its owner.  Called from any vCPU thread: it does its own locking. */
struct bus_dev {
	const char *name; /* for messages about overlaps */
	uint64_t (*read)(struct bus_dev *d, uint64_t offset, unsigned size);
	void (*write)(struct bus_dev *d, uint64_t offset, unsigned size, uint64_t value);
};

/* 64 devices with a few ranges each, the chips, and room. */
enum { BUS_RANGES_MAX = 512 };

struct bus_range {
	uint64_t base, size; /* size > 0; base + size - 1 does not wrap */
	struct bus_dev *dev;
};

struct bus {
	pthread_rwlock_t lock;
	struct bus_range ranges[BUS_RANGES_MAX]; /* sorted by base, no overlaps */
	unsigned nranges;
};

void bus_init(struct bus *b);
void bus_fini(struct bus *b);

/* -EINVAL for an empty or wrapping range, -EEXIST for an overlap (named), -ENOSPC when full. */
int bus_add(struct bus *b, uint64_t base, uint64_t size, struct bus_dev *dev, struct err *e)
	MUST_CHECK;

/*
 * Removes the range that starts at base; -ENOENT if there is none.  A handler that another thread
 * just looked up may still be called once: handlers live as long as the VM.
 */
int bus_remove(struct bus *b, uint64_t base) MUST_CHECK;

/* n bytes at addr, n 1 to 8 (larger is fine, too).  data is little-endian. */
void bus_read(struct bus *b, uint64_t addr, void *data, size_t n);
void bus_write(struct bus *b, uint64_t addr, const void *data, size_t n);
