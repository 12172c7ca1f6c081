/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * limit.h - how much a device does in a second: bytes and operations
 *
 *	if (!limit_may_go(&l))
 *		return;			... leave the rest in the queue; l.opened() is called
 *	... pop and start one request
 *	limit_take(&l, bytes);
 *
 * What a request costs shows only when it was popped, so one may overdraw and the next waits the
 * longer, see backend/bucket.h.
 */
#pragma once

#include "backend/bucket.h"
#include "base/json.h"
#include "base/loop.h"
#include "base/opt.h"

#include <stdbool.h>
#include <stdint.h>

/* 0: no limit; burst_ms: LIMIT_BURST_MS. */
struct limit_values {
	uint64_t bps;
	uint32_t ops, burst_ms;
};

enum { LIMIT_BURST_MS = 100, LIMIT_BURST_MAX_MS = 60000 };

#define LIMIT_BPS_MAX (UINT64_C(1) << 40)

/*
 * The rows of a command that sets struct limit_values: key is what the device calls an operation a
 * second, noun what it is to the reader.
 */
#define LIMIT_OPTS(key, noun, way)                                                                 \
	OPT_SIZE(struct limit_values, bps, 0, LIMIT_BPS_MAX, "Bytes a second" way),                \
		OPT_NUMBER_AS(key, struct limit_values, ops, 0, UINT32_MAX, noun " a second" way), \
		OPT_NUMBER_AS("burst", struct limit_values, burst_ms, 1, LIMIT_BURST_MAX_MS,       \
			      "Milliseconds of both that may be saved up"),                        \
		OPT_END

struct limit {
	struct limit_values values;
	struct bucket bytes, operations;
	bool is_on;   /* some value is not 0 */
	bool is_shut; /* limit_may_go() said no; opened() will be called */
	struct timer timer;
	void (*opened)(struct limit *l); /* the owner's, set before limit_init() */
};

/* Before the jail. 0 or -errno. */
int limit_init(struct limit *l, struct loop *loop) MUST_CHECK;
void limit_fini(struct limit *l, struct loop *loop);

/* Also while it is shut: opened() comes when the new values say so. */
void limit_set(struct limit *l, const struct limit_values *v);

/* Adds the values to the reply to status; key as above. */
void limit_status(const struct limit *l, const char *key, struct json *reply);

bool limit_is_open(struct limit *l) MUST_CHECK;
void limit_charge(struct limit *l, uint64_t bytes);

/* Whether a request may be started now. */
MUST_CHECK static inline bool limit_may_go(struct limit *l)
{
	return !l->is_on || limit_is_open(l);
}

/* One operation of so many bytes was started. */
static inline void limit_take(struct limit *l, uint64_t bytes)
{
	if (l->is_on)
		limit_charge(l, bytes);
}
