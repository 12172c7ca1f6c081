/* SPDX-License-Identifier: BSD-3-Clause */
/* bucket.c - so much a second, and a little at once */
#include "backend/bucket.h"

#include "base/num.h"

static const uint64_t second_ns = 1000000000;

/* Never reached by a rate and an amount that make sense; sums with a clock stay below 2^63. */
static const uint64_t owed_max_ns = UINT64_C(1) << 61;

static uint64_t divided(unsigned __int128 n, uint64_t by, uint64_t *ret_rest)
{
	unsigned __int128 quotient = n / by;

	*ret_rest = (uint64_t)(n % by);
	return quotient > owed_max_ns ? owed_max_ns : (uint64_t)quotient;
}

void bucket_set(struct bucket *b, uint64_t rate, uint64_t burst_ns, uint64_t now_ns)
{
	uint64_t owed_ns = bucket_wait(b, now_ns), rest;

	if (owed_ns > 0 && rate > 0)
		b->due_ns =
			now_ns + divided((unsigned __int128)owed_ns * b->rate, rate, &rest);
	b->rate = rate;
	b->burst_ns = burst_ns;
	b->rest = 0;
}

uint64_t bucket_wait(const struct bucket *b, uint64_t now_ns)
{
	return b->rate > 0 && b->due_ns > now_ns ? b->due_ns - now_ns : 0;
}

void bucket_take(struct bucket *b, uint64_t now_ns, uint64_t n)
{
	uint64_t earliest = now_ns > b->burst_ns ? now_ns - b->burst_ns : 0;

	if (b->rate == 0)
		return;
	b->due_ns = max_u64(b->due_ns, earliest) +
		    divided((unsigned __int128)n * second_ns + b->rest, b->rate, &b->rest);
}
