/* SPDX-License-Identifier: BSD-3-Clause */
/* restarts.c - how soon a device process that ended is started again, and when not any more */
#include "vm/restarts.h"

#include "base/num.h"

#include <assert.h>

static const uint64_t second_ns = 1000000000;

static_assert(RESTARTS_DELAY_MAX_MS < 1000, "or it earns more than it costs, and R2 never ends");

/* What is owed after one more that costs so much; time has passed since the last. */
static uint64_t owed(uint64_t before_ns, uint64_t passed_ns, uint64_t cost_ns)
{
	return before_ns - min_u64(before_ns, passed_ns) + cost_ns;
}

/* beyond: how many more than are borne at once; 1, 2, ... */
static int delay_of(uint64_t beyond)
{
	int ms = RESTARTS_DELAY_MS;

	while (--beyond > 0 && ms < RESTARTS_DELAY_MAX_MS)
		ms *= 2;
	return ms < RESTARTS_DELAY_MAX_MS ? ms : RESTARTS_DELAY_MAX_MS;
}

int restarts_count(struct restarts *r, uint64_t now_ns)
{
	const uint64_t minute_ns = 60 * second_ns;
	uint64_t passed_ns = now_ns - r->last_ns, quick;

	if (r->count++ == 0)
		r->first_ns = now_ns;
	r->last_ns = now_ns;
	r->quick_ns = owed(r->quick_ns, passed_ns, second_ns);
	r->all_ns = owed(r->all_ns, passed_ns, minute_ns);
	quick = (r->quick_ns + second_ns - 1) / second_ns;
	if (quick > RESTARTS_AT_ONCE + RESTARTS_DELAYED || r->all_ns > RESTARTS_IN_ALL * minute_ns)
		return RESTARTS_NEVER;
	return quick > RESTARTS_AT_ONCE ? delay_of(quick - RESTARTS_AT_ONCE) : 0;
}
