/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * vq_ring.h - what the two ring formats share; for vq*.c only
 *
 *  R1  An area of a ring is touched only through the functions here, at offsets below the size that
 *      vq_start() checked.
 *  R2  What is read is read once, into a register; a compiler that wanted to read it again could
 *      not.
 *  R3  A chain is built only by chain_add(), which checks direction, sum, address and room.
 *  R4  The in-flight log is written in an order that is right at every instruction: a process that
 *      is killed leaves behind what it had written so far, so the compiler must not reorder
 *      (log_order()), and the processor need not be told.
 */
#pragma once

#include "base/counter.h"
#include "base/trace.h"
#include "virtio/ids.h"
#include "virtio/vq.h"

#include <stdatomic.h>
#include <string.h>

/* A descriptor of either format; the last field is next (split) or id (packed). */
struct vq_desc {
	uint64_t addr;
	uint32_t len;
	uint16_t flags;
	uint16_t link;
};

/* Lifts the mark of guest memory. */
static inline void *ring_at(void GUEST *area, size_t offset)
{
	return (void *)((uintptr_t)area + offset);
}

/* Shows a fuzzer what was just copied, so that it can change it before anyone reads it again. */
static inline void ring_copied(void *source, size_t n)
{
	if (GMEM_IS_HOSTILE && gmem_hostile_hook)
		gmem_hostile_hook(source, n);
}

/* Acquire: what the driver wrote before this value is seen after it. */
static inline uint16_t ring_load16(void GUEST *area, size_t offset)
{
	uint16_t *p = ring_at(area, offset);
	uint16_t value = __atomic_load_n(p, __ATOMIC_ACQUIRE);

	ring_copied(p, sizeof(*p));
	return value;
}

/* Release: what we wrote before this value is seen by whoever sees it. */
static inline void ring_store16(void GUEST *area, size_t offset, uint16_t value)
{
	__atomic_store_n((uint16_t *)ring_at(area, offset), value, __ATOMIC_RELEASE);
}

/* Between a store that the driver acts on and a load of what the driver stores in answer. */
static inline void ring_fence(void)
{
	atomic_thread_fence(memory_order_seq_cst);
}

/* The two halves of a descriptor as they lie in memory: first the address. */
struct vq_raw {
	uint64_t low, high;
};

/* The half with the flags of a packed descriptor is read first. */
static inline struct vq_raw ring_load_desc(void *p)
{
	struct vq_raw raw;

	memcpy(&raw.high, (char *)p + 8, sizeof(raw.high));
	__asm__ volatile("" : "+r"(raw.high) : : "memory");
	atomic_thread_fence(memory_order_acquire);
	memcpy(&raw.low, p, sizeof(raw.low));
	__asm__ volatile("" : "+r"(raw.low) : : "memory");
	ring_copied(p, sizeof(raw));
	return raw;
}

static inline void log_order(void)
{
	atomic_signal_fence(memory_order_seq_cst);
}

static inline bool id_is_in_flight(const struct vq *q, uint16_t id)
{
	return q->ids[id / 64] >> (id % 64) & 1;
}

static inline void id_flip(struct vq *q, uint16_t id)
{
	q->ids[id / 64] ^= 1ull << (id % 64);
}

/* Notes a chain that is about to be handed out. */
static inline void chain_popped(struct vq *q, const struct chain *c)
{
	uint32_t bytes = c->cursor[CHAIN_READABLE].left;

	trace_more(TRACE_TAKE, 0, q->index, bytes, c->cursor[CHAIN_WRITABLE].left);
	if (q->counters)
		counter_add(&q->counters[VQ_BYTES_OUT], bytes);
}

/* Breaks the queue; false, so that it can be returned. */
bool vq_fail(struct vq *q, const char *why);

/* A chain while it is built: kept in registers, its address is never taken. */
struct chain_build {
	uint32_t end;	   /* pieces so far */
	uint32_t split;	   /* of these, readable */
	uint32_t bytes[2]; /* readable, writable */
	bool has_writable; /* a writable descriptor came, be it empty */
};

/* chain_add() of a range outside q->near, which it sets: the pieces then, or -1. */
int chain_add_far(struct vq *q, struct chain *c, const struct vq_desc *d, uint32_t end);

/* Appends one buffer. False: the queue is broken. */
static inline bool chain_add(struct vq *q, struct chain *c, struct chain_build *b, struct vq_desc d)
{
	const struct gmem_region *r = q->near;
	uint64_t offset = d.addr - r->base;
	bool is_writable = d.flags & VRING_DESC_F_WRITE;

	if (!is_writable && b->has_writable)
		return vq_fail(q, "readable descriptor behind a writable one");
	if (d.len > UINT32_MAX - b->bytes[0] - b->bytes[1])
		return vq_fail(q, "chain of 4 GiB or more");
	b->has_writable = is_writable;
	if (d.len == 0)
		return true;
	if (offset < r->size && d.len <= r->size - offset) {
		if (b->end == CHAIN_IOV_MAX)
			return vq_fail(q, "chain of too many pieces");
		c->iov[b->end].iov_base = (char *)r->host + offset;
		c->iov[b->end].iov_len = d.len;
		b->end++;
	} else {
		const struct vq_desc far = d; /* so that d need not lie in memory */
		int end = chain_add_far(q, c, &far, b->end);

		if (end < 0)
			return false;
		b->end = (uint32_t)end;
	}
	if (is_writable) {
		b->bytes[CHAIN_WRITABLE] += d.len;
	} else {
		b->bytes[CHAIN_READABLE] += d.len;
		b->split = b->end;
	}
	return true;
}

static inline void chain_end(struct chain *c, const struct chain_build *b, uint16_t id,
			     uint16_t slots)
{
	c->id = id;
	c->slots = slots;
	c->tail_left = 0;
	c->written = 0;
	c->tail_end = (uint16_t)b->end;
	c->cursor[CHAIN_READABLE] =
		(struct chain_cursor){0, (uint16_t)b->split, b->bytes[CHAIN_READABLE]};
	c->cursor[CHAIN_WRITABLE] = (struct chain_cursor){
		(uint16_t)b->split, (uint16_t)b->end, b->bytes[CHAIN_WRITABLE]};
}

/* An indirect table: in one region, or read through gmem_read(). */
struct vq_table {
	gpa addr;
	void *host; /* NULL: crosses a border between regions */
	uint32_t count;
};

bool table_open(struct vq *q, const struct vq_desc *d, struct vq_table *ret_table);

/* Entry i of the table; i < count. */
static inline struct vq_raw table_load(struct vq *q, const struct vq_table *t, uint32_t i)
{
	struct vq_raw raw = {0, 0};
	bool is_memory;

	if (t->host)
		return ring_load_desc((char *)t->host + 16 * (size_t)i);
	is_memory = gmem_read(q->gmem, t->addr + 16 * (uint64_t)i, &raw, sizeof(raw));
	(void)is_memory; /* table_open() saw that it is; else the entry is empty */
	return raw;
}

/* Sorts q->replay by the counters that the log has for its entries. */
void replay_sort(struct vq *q, uint64_t (*counter)(const struct vq *q, uint16_t entry));

/* One function a ring format.  As in vq.h; q is started, of that format, and not broken. */
bool split_start(struct vq *q, uint32_t base, const char **ret_why);
uint32_t split_stop(struct vq *q);
bool split_pop(struct vq *q, struct chain *c);
bool split_has_more(struct vq *q);
void split_push(struct vq *q, const struct chain *c);
void split_push_all(struct vq *q, struct chain *const *chains, unsigned n);
bool split_wants_call(struct vq *q);
void split_kicks_off(struct vq *q);

bool packed_start(struct vq *q, uint32_t base, const char **ret_why);
uint32_t packed_stop(struct vq *q);
bool packed_pop(struct vq *q, struct chain *c);
bool packed_has_more(struct vq *q);
void packed_push(struct vq *q, struct chain *c);
void packed_push_all(struct vq *q, struct chain *const *chains, unsigned n);
bool packed_wants_call(struct vq *q);
void packed_kicks_off(struct vq *q);

size_t split_log_bytes(unsigned size);
size_t packed_log_bytes(unsigned size);
