/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * bucket.h - so much a second, and a little at once
 *
 * A token bucket that is kept as a time: due_ns is when all that was taken will have been earned.
 * Who comes at or after that may take any amount, also more than there is: the next one waits the
 * longer.  So the rate holds on average whatever the size of requests, and none is too large.  Of
 * time in which nothing was taken at most burst_ns counts.
 *
 * Pure: the caller says what time it is.
 */
#pragma once

#include "base/attr.h"

#include <stdint.h>

struct bucket {
	uint64_t rate;	   /* units a second; 0: no limit */
	uint64_t burst_ns; /* of the rate, that may be saved up */
	uint64_t due_ns;   /* on the caller's clock */
	uint64_t rest;	   /* of the last division; less than rate */
};

/* Changes rate and burst; what is owed stays owed, at the new rate. */
void bucket_set(struct bucket *b, uint64_t rate, uint64_t burst_ns, uint64_t now_ns);

/* Nanoseconds until something may be taken; 0: now. */
uint64_t bucket_wait(const struct bucket *b, uint64_t now_ns) MUST_CHECK;

/* Takes n units, which the caller has waited for. */
void bucket_take(struct bucket *b, uint64_t now_ns, uint64_t n);
