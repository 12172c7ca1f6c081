/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * spin.h - whether to look for work a while before going to sleep
 *
 * To sleep and to be woken costs a process more time than many requests take, and its driver a
 * system call, in a guest an exit.  So a device whose sleeps are short looks for work itself for a
 * moment before it sleeps again.  Where that finds nothing it stops at once, and tries again after
 * a number of short sleeps that doubles with each failure: so it costs next to nothing where the
 * driver waits for the very processor that we would keep busy.  An idle device never looks.
 *
 *  I1  A look takes at most SPIN_NS.
 *  I2  Of n sleeps at most two or so follow a look in vain for each time that looks have begun to
 *	succeed, and n / SPIN_BACKOFF_MAX besides.
 */
#pragma once

#include "base/num.h"

#include <stdbool.h>
#include <stdint.h>

enum { SPIN_NS = 8000, SPIN_BACKOFF_MIN = 4, SPIN_BACKOFF_MAX = 1024 };

struct spin {
	uint64_t idle_since_ns; /* 0: not idle */
	uint32_t backoff;       /* short sleeps between two attempts; 0: as SPIN_BACKOFF_MIN */
	uint32_t short_sleeps;  /* since the last that was in vain */
	bool is_on;
};

/* There is nothing to do, now; false: sleep at once. */
static inline bool spin_begin(struct spin *s, uint64_t now_ns)
{
	s->idle_since_ns = now_ns;
	return s->is_on;
}

/* Whether to go on looking. */
static inline bool spin_goes_on(const struct spin *s, uint64_t now_ns)
{
	return now_ns - s->idle_since_ns < SPIN_NS;
}

/* Found something before sleeping. */
static inline void spin_found(struct spin *s)
{
	s->idle_since_ns = 0;
	s->backoff = s->backoff / 2;
}

/* Found nothing. */
static inline void spin_failed(struct spin *s)
{
	s->is_on = false;
	s->short_sleeps = 0;
	s->backoff = (uint32_t)min_u64(2 * (uint64_t)s->backoff, SPIN_BACKOFF_MAX);
	if (s->backoff < SPIN_BACKOFF_MIN)
		s->backoff = SPIN_BACKOFF_MIN;
}

/* Was woken; if it was not asleep nothing happens. */
static inline void spin_woken(struct spin *s, uint64_t now_ns)
{
	if (s->idle_since_ns > 0 && now_ns - s->idle_since_ns < SPIN_NS)
		s->is_on = ++s->short_sleeps > s->backoff;
	s->idle_since_ns = 0;
}
