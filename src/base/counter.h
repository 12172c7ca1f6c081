/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * counter.h - counters that one thread writes and others read at any time
 *
 * 64 bits, without locks or system calls: a reader sees each as it was at some moment, not all of
 * them as of the same.  Whoever reads those of another process knows nothing of what they say: it
 * may have written anything there.
 */
#pragma once

#include "base/attr.h"

#include <stdint.h>

enum counter_kind {
	COUNTER_EVENTS, /* only grows */
	COUNTER_BYTES,
	COUNTER_LEVEL, /* goes up and down */
	COUNTER_LEVEL_BYTES,
};

/* What one of an array is; a table of them ends with a NULL name. */
struct counter {
	const char *name; /* "requests"; a name of bytes ends in "_bytes" */
	enum counter_kind kind;
	const char *help; /* a sentence without a full stop */
};

static inline uint64_t counter_get(const uint64_t *c)
{
	return __atomic_load_n(c, __ATOMIC_RELAXED);
}

/* By its one writer. */
static inline void counter_set(uint64_t *c, uint64_t value)
{
	__atomic_store_n(c, value, __ATOMIC_RELAXED);
}

static inline void counter_add(uint64_t *c, uint64_t n)
{
	counter_set(c, counter_get(c) + n);
}
