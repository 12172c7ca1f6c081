/* SPDX-License-Identifier: BSD-3-Clause */
/* limit.c - how much a device does in a second: bytes and operations */
#include "devices/limit.h"

#include "base/num.h"

enum {
	MS_NS = 1000000,

	/* Shorter waits are not worth a timer; what is earned meanwhile is done at once. */
	WAIT_MIN_NS = 500000,
};

static void limit_expired(struct timer *t)
{
	struct limit *l = container_of(t, struct limit, timer);

	l->is_shut = false;
	l->opened(l);
}

int limit_init(struct limit *l, struct loop *loop)
{
	return timer_init(&l->timer, loop, limit_expired);
}

void limit_fini(struct limit *l, struct loop *loop)
{
	timer_fini(&l->timer, loop);
}

void limit_set(struct limit *l, const struct limit_values *v)
{
	uint64_t burst_ns, now = clock_ns();

	l->values = *v;
	if (v->burst_ms == 0)
		l->values.burst_ms = LIMIT_BURST_MS;
	burst_ns = (uint64_t)l->values.burst_ms * MS_NS;
	bucket_set(&l->bytes, v->bps, burst_ns, now);
	bucket_set(&l->operations, v->ops, burst_ns, now);
	l->is_on = v->bps > 0 || v->ops > 0;
	if (l->is_shut)
		timer_set(&l->timer, 1, 0); /* who waits looks again */
}

void limit_status(const struct limit *l, const char *key, struct json *reply)
{
	json_number(reply, "bps", l->values.bps);
	json_number(reply, key, l->values.ops);
	json_number(reply, "burst", l->values.burst_ms);
}

bool limit_is_open(struct limit *l)
{
	uint64_t now, wait;

	if (l->is_shut)
		return false;
	now = clock_ns();
	wait = max_u64(bucket_wait(&l->bytes, now), bucket_wait(&l->operations, now));
	if (wait == 0)
		return true;
	l->is_shut = true;
	timer_set(&l->timer, max_u64(wait, WAIT_MIN_NS), 0);
	return false;
}

void limit_charge(struct limit *l, uint64_t bytes)
{
	uint64_t now = clock_ns();

	bucket_take(&l->bytes, now, bytes);
	bucket_take(&l->operations, now, 1);
}
