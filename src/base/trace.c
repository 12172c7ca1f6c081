/* SPDX-License-Identifier: BSD-3-Clause */
/* trace.c - the flight recorder: what a thread did last, always on */
#include "base/trace.h"

static _Thread_local struct {
	struct trace_ring *ring;
	uint64_t time; /* of the last record */
	uint64_t next; /* what the ring says is not read back */
	unsigned at;
} writer;

void trace_begin(struct trace_ring *ring)
{
	writer.ring = ring;
	if (!ring)
		return;
	writer.next = __atomic_load_n(&ring->next, __ATOMIC_RELAXED);
	writer.at = (unsigned)(writer.next % TRACE_RECORDS);
	writer.time = trace_now();
}

/* Field by field, as readers look at any moment. */
static inline struct trace_record *put(uint64_t time, unsigned kind, unsigned what, uint32_t n,
				       uint64_t a, uint64_t b)
{
	struct trace_record *r = &writer.ring->records[writer.at];

	__atomic_store_n(&r->time, time, __ATOMIC_RELAXED);
	__atomic_store_n(&r->kind, (uint16_t)kind, __ATOMIC_RELAXED);
	__atomic_store_n(&r->what, (uint16_t)what, __ATOMIC_RELAXED);
	__atomic_store_n(&r->n, n, __ATOMIC_RELAXED);
	__atomic_store_n(&r->a, a, __ATOMIC_RELAXED);
	__atomic_store_n(&r->b, b, __ATOMIC_RELAXED);
	writer.at = writer.at == TRACE_RECORDS - 1 ? 0 : writer.at + 1;
	__atomic_store_n(&writer.ring->next, ++writer.next, __ATOMIC_RELEASE); /* T2 */
	return r;
}

struct trace_record *trace(enum trace_kind kind, unsigned what, uint32_t n, uint64_t a, uint64_t b)
{
	if (!writer.ring)
		return NULL;
	writer.time = trace_now();
	return put(writer.time, kind, what, n, a, b);
}

void trace_more(enum trace_kind kind, unsigned what, uint32_t n, uint64_t a, uint64_t b)
{
	if (writer.ring)
		put(writer.time, kind, what, n, a, b);
}
