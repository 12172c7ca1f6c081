/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * vq_ring.h - what the two ring formats share; for vq*.c only
 *
 *  R1  An area of a ring is touched only through the functions here, at offsets below the size that
 *      vq_start() checked.
 *  R2  What is read is read once, into a register; a compiler that wanted to read it again could
 * not. R3  A chain is built only by chain_add(), which checks direction, sum, address and room. R4
 * The in-flight log is written in an order that is right at every instruction: a process that is
 *      killed leaves behind what it had written so far, so the compiler must not reorder
 * (log_order()), and the processor need not be told.
 */
#pragma once

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

/* The two halves of a descriptor, the second (with the flags of a packed one) first. */
static inline void ring_load_desc(void *p, uint64_t ret_half[2])
{
	uint64_t low, high;

	memcpy(&high, (char *)p + 8, sizeof(high));
	__asm__ volatile("" : "+r"(high) : : "memory");
	atomic_thread_fence(memory_order_acquire);
	memcpy(&low, p, sizeof(low));
	__asm__ volatile("" : "+r"(low) : : "memory");
	ret_half[0] = low;
	ret_half[1] = high;
	ring_copied(p, 16);
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

static inline void chain_begin(struct chain *c)
{
	c->tail_end = 0;
	c->has_writable = false;
	c->tail_left = 0;
	c->written = 0;
	c->cursor[CHAIN_READABLE] = (struct chain_cursor){0};
	c->cursor[CHAIN_WRITABLE] = (struct chain_cursor){0};
}

/* Breaks the queue; false, so that it can be returned. */
bool vq_fail(struct vq *q, const char *why);

/* The rest of chain_add() for a range outside q->near; sets q->near. */
bool chain_add_far(struct vq *q, struct chain *c, const struct vq_desc *d,
		   struct chain_cursor *cursor);

/* Appends one buffer. False: the queue is broken. */
static inline bool chain_add(struct vq *q, struct chain *c, const struct vq_desc *d)
{
	enum chain_side side = d->flags & VRING_DESC_F_WRITE ? CHAIN_WRITABLE : CHAIN_READABLE;
	struct chain_cursor *cursor = &c->cursor[side];
	const struct gmem_region *r = q->near;
	uint64_t offset = d->addr - r->base;

	if (side == CHAIN_READABLE && c->has_writable)
		return vq_fail(q, "readable descriptor behind a writable one");
	if (d->len > UINT32_MAX - c->cursor[0].left - c->cursor[1].left)
		return vq_fail(q, "chain of 4 GiB or more");
	if (side == CHAIN_WRITABLE && !c->has_writable) {
		cursor->at = cursor->end = c->tail_end;
		c->has_writable = true;
	}
	if (d->len == 0)
		return true;
	if (offset >= r->size || d->len > r->size - offset)
		return chain_add_far(q, c, d, cursor);
	if (c->tail_end == CHAIN_IOV_MAX)
		return vq_fail(q, "chain of too many pieces");
	c->iov[c->tail_end].iov_base = (char *)r->host + offset;
	c->iov[c->tail_end].iov_len = d->len;
	c->tail_end++;
	cursor->end++;
	cursor->left += d->len;
	return true;
}

/* Without writable descriptors their side is empty, and behind the readable one. */
static inline void chain_end(struct chain *c)
{
	if (!c->has_writable)
		c->cursor[CHAIN_WRITABLE].at = c->cursor[CHAIN_WRITABLE].end = c->tail_end;
}

/* An indirect table: in one region, or read through gmem_read(). */
struct vq_table {
	gpa addr;
	void *host; /* NULL: crosses a border between regions */
	uint32_t count;
};

bool table_open(struct vq *q, const struct vq_desc *d, struct vq_table *ret_table);

/* Entry i of the table; i < count. */
static inline void table_load(struct vq *q, const struct vq_table *t, uint32_t i,
			      uint64_t ret_half[2])
{
	bool is_memory;

	if (t->host) {
		ring_load_desc((char *)t->host + 16 * (size_t)i, ret_half);
		return;
	}
	is_memory = gmem_read(q->gmem, t->addr + 16 * (uint64_t)i, ret_half, 16);
	if (!is_memory) /* cannot be: table_open() saw that it is */
		memset(ret_half, 0, 16);
}

/* Sorts q->replay by the counters that the log has for its entries. */
void replay_sort(struct vq *q, uint64_t (*counter)(const struct vq *q, uint16_t entry));

/* One function a ring format. Contracts as in vq.h; q is started, of that format, and not broken.
 */
bool split_start(struct vq *q, uint32_t base, const char **ret_why);
uint32_t split_stop(struct vq *q);
bool split_pop(struct vq *q, struct chain *c);
bool split_has_more(struct vq *q);
void split_push(struct vq *q, const struct chain *c);
bool split_wants_call(struct vq *q);
void split_kicks_off(struct vq *q);

bool packed_start(struct vq *q, uint32_t base, const char **ret_why);
uint32_t packed_stop(struct vq *q);
bool packed_pop(struct vq *q, struct chain *c);
bool packed_has_more(struct vq *q);
void packed_push(struct vq *q, const struct chain *c);
bool packed_wants_call(struct vq *q);
void packed_kicks_off(struct vq *q);

size_t split_log_bytes(unsigned size);
size_t packed_log_bytes(unsigned size);
