/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * vq_packed.c - packed virtqueues (virtio 1.2, section 2.8) and their in-flight log
 *
 * One ring of descriptors.  The driver makes a chain available by setting the AVAIL bit of its
 * first descriptor to its wrap counter; we write one used descriptor at used_at and go on by as
 * many slots as the chain took.  The id is in the last descriptor of a chain.
 *
 *  P1  used_at, going on by in_flight slots and those to be replayed, gives avail_at.
 *  P2  An id is below the size of the ring and in flight at most once (q->ids).
 *  P3  In the log every entry is on the free list or in the list of a head with inflight == 1, but
 * for what happened since old_free_head and old_used_idx were last set.
 *
 * The log keeps copies of the descriptors, for the driver may reuse a slot of the ring as soon as
 * any request that lies before it is used.
 */
#include "virtio/vq_ring.h"

#include <assert.h>

enum {
	FLAG_AVAIL = 1 << VRING_PACKED_DESC_F_AVAIL,
	FLAG_USED = 1 << VRING_PACKED_DESC_F_USED,
	WRAP = 1 << VRING_PACKED_EVENT_F_WRAP_CTR,
	INDEX_MASK = WRAP - 1,
};

/* Offsets in a descriptor and in an event suppression area. */
enum { DESC_LENGTH = 8, DESC_ID = 12, DESC_FLAGS = 14, EVENT_INDEX = 0, EVENT_FLAGS = 2 };

/* vhost-user, "Inflight I/O tracking", QueueRegionPacked and DescStatePacked. */
struct packed_log_entry {
	uint8_t inflight, padding;
	uint16_t next, last, num;
	uint64_t counter;
	uint16_t id, flags;
	uint32_t len;
	uint64_t addr;
};
static_assert(sizeof(struct packed_log_entry) == 32, "vhost-user");

struct packed_log {
	uint64_t features;
	uint16_t version, desc_num, free_head, old_free_head, used_idx, old_used_idx;
	uint8_t used_wrap, old_used_wrap, padding[7];
	struct packed_log_entry desc[];
};
static_assert(sizeof(struct packed_log) == 32, "vhost-user");

enum { PACKED_LOG_VERSION = 1 };

size_t packed_log_bytes(unsigned size)
{
	return sizeof(struct packed_log) + size * sizeof(struct packed_log_entry);
}

static void advance(const struct vq *q, uint16_t *at, bool *wrap, unsigned slots)
{
	unsigned sum = *at + slots; /* slots <= size: P1 */

	if (sum >= q->size) {
		sum -= q->size;
		*wrap = !*wrap;
	}
	*at = (uint16_t)sum;
}

static uint16_t available_flags(bool wrap)
{
	return wrap ? FLAG_AVAIL : FLAG_USED;
}

/* ---- in-flight log ---- */

static void log_reset(struct vq *q)
{
	struct packed_log *log = q->log;

	memset(log, 0, packed_log_bytes(q->size));
	log->desc_num = q->size;
	log->used_idx = log->old_used_idx = q->used_at;
	log->used_wrap = log->old_used_wrap = q->used_wrap;
	for (uint16_t i = 0; i < q->size; i++)
		log->desc[i].next = (uint16_t)(i + 1);
	log_order();
	log->version = PACKED_LOG_VERSION;
}

/* The index comes last: while it differs from used_idx, whoever comes after us commits again. */
static void log_commit(struct packed_log *log)
{
	log->old_free_head = log->free_head;
	log_order();
	log->old_used_wrap = log->used_wrap;
	log_order();
	log->old_used_idx = log->used_idx;
	log_order();
}

/* Commits or takes back what our predecessor was about to do when it died. */
static void log_settle(struct vq *q)
{
	struct packed_log *log = q->log;
	bool moved = log->used_idx != log->old_used_idx || log->used_wrap != log->old_used_wrap;
	uint16_t entry;

	/* A chain as long as the ring changes the wrap counter only. */
	if (moved && log->old_used_idx < q->size) {
		size_t at = 16 * (size_t)log->old_used_idx + DESC_FLAGS;
		uint16_t flags = ring_load16(q->desc, at) & (FLAG_AVAIL | FLAG_USED);

		if (flags != available_flags(log->old_used_wrap))
			log_commit(log);
	}
	log->free_head = log->old_free_head;
	log->used_idx = log->old_used_idx;
	log->used_wrap = log->old_used_wrap;
	entry = log->free_head;
	for (unsigned steps = 0; steps < q->size && entry < q->size; steps++) {
		log->desc[entry].inflight = 0;
		entry = log->desc[entry].next;
	}
}

static uint64_t log_counter(const struct vq *q, uint16_t entry)
{
	const struct packed_log *log = q->log;

	return log->desc[entry].counter;
}

static bool log_collect(struct vq *q)
{
	const struct packed_log *log = q->log;
	unsigned slots = 0;

	for (uint16_t entry = 0; entry < q->size; entry++) {
		if (log->desc[entry].inflight != 1)
			continue;
		q->replay[q->replay_end++] = entry;
		slots += log->desc[entry].num;
	}
	if (slots > q->size || log->used_idx >= q->size)
		return false;
	replay_sort(q, log_counter);
	if (q->replay_end > 0)
		q->log_counter = log_counter(q, q->replay[q->replay_end - 1]) + 1;
	q->used_at = q->avail_at = log->used_idx;
	q->used_wrap = q->avail_wrap = log->used_wrap;
	advance(q, &q->avail_at, &q->avail_wrap, slots); /* P1 */
	return true;
}

static bool log_start(struct vq *q)
{
	struct packed_log *log = q->log;

	if (log->version == 0) {
		log_reset(q);
		return true;
	}
	if (log->version != PACKED_LOG_VERSION || log->desc_num != q->size)
		return false;
	log_settle(q);
	q->call_is_forced = true;
	return log_collect(q);
}

/* Notes a descriptor of the chain whose first one is, or will be, at old_free_head. */
static bool log_descriptor(struct vq *q, const struct vq_desc *d, bool is_first, bool is_last)
{
	struct packed_log *log = q->log;
	uint16_t head = log->old_free_head, entry = log->free_head;

	if (head >= q->size || entry >= q->size)
		return vq_fail(q, "in-flight log damaged");
	if (is_first) {
		log->desc[head].num = 0;
		log->desc[head].counter = q->log_counter++;
		log_order();
		log->desc[head].inflight = 1;
	}
	if (is_last)
		log->desc[head].last = entry;
	log->desc[head].num++;
	log->desc[entry].addr = d->addr;
	log->desc[entry].len = d->len;
	log->desc[entry].flags = d->flags;
	log->desc[entry].id = d->link;
	log_order();
	log->free_head = log->desc[entry].next;
	log_order();
	if (is_last)
		log->old_free_head = log->free_head;
	log_order(); /* before the request has any effect */
	return true;
}

/* at and wrap: where the ring is when the chain is used. */
static void log_before_push(struct vq *q, const struct chain *c, uint16_t at, bool wrap)
{
	struct packed_log *log = q->log;
	struct packed_log_entry *head = &log->desc[c->log_entry];
	uint16_t used_at = at;

	if (head->last < q->size)
		log->desc[head->last].next = log->free_head;
	log->free_head = c->log_entry;
	advance(q, &used_at, &wrap, c->slots);
	log->used_wrap = wrap;
	log_order();
	log->used_idx = used_at;
	log_order();
}

static void log_after_push(struct vq *q, struct chain *const *chains, unsigned n)
{
	struct packed_log *log = q->log;

	log_order();
	for (unsigned i = 0; i < n; i++)
		log->desc[chains[i]->log_entry].inflight = 0;
	log_order();
	log_commit(log);
}

/* ---- sessions ---- */

bool packed_start(struct vq *q, uint32_t base, const char **ret_why)
{
	q->avail_at = base & INDEX_MASK;
	q->avail_wrap = base & WRAP;
	q->used_at = base >> 16 & INDEX_MASK;
	q->used_wrap = base >> 16 & WRAP;
	*ret_why = "impossible base index";
	if (q->avail_at >= q->size || q->used_at >= q->size)
		return false;
	*ret_why = "in-flight log of another ring";
	return !q->log || log_start(q);
}

uint32_t packed_stop(struct vq *q)
{
	uint32_t used = q->used_at | (q->used_wrap ? WRAP : 0u);
	uint32_t avail = q->avail_at | (q->avail_wrap ? WRAP : 0u);

	if (q->in_flight > 0 || q->replay_at < q->replay_end)
		avail = used;
	return used << 16 | avail;
}

/* ---- kicks and calls ---- */

void packed_kicks_off(struct vq *q)
{
	q->armed = false;
	ring_store16(q->device, EVENT_FLAGS, VRING_PACKED_EVENT_FLAG_DISABLE);
}

static void kicks_on(struct vq *q)
{
	uint16_t at = (uint16_t)(q->avail_at | (q->avail_wrap ? WRAP : 0));

	if (q->has_event_idx) {
		ring_store16(q->device, EVENT_INDEX, at);
		ring_store16(q->device, EVENT_FLAGS, VRING_PACKED_EVENT_FLAG_DESC);
	} else {
		ring_store16(q->device, EVENT_FLAGS, VRING_PACKED_EVENT_FLAG_ENABLE);
	}
	q->armed = true;
	ring_fence(); /* the driver: makes available, fence, looks whether to kick */
}

bool packed_wants_call(struct vq *q)
{
	uint16_t flags = ring_load16(q->driver, EVENT_FLAGS);
	uint16_t index, event;

	if (flags != VRING_PACKED_EVENT_FLAG_DESC || !q->has_event_idx)
		return flags != VRING_PACKED_EVENT_FLAG_DISABLE;
	index = ring_load16(q->driver, EVENT_INDEX);
	event = index & INDEX_MASK;
	if ((index & WRAP) != (q->used_wrap ? WRAP : 0))
		event = (uint16_t)(event - q->size);
	return (uint16_t)(q->used_at - event - 1) < q->uncalled;
}

/* ---- pop and push ---- */

static bool is_available(struct vq *q)
{
	uint16_t flags = ring_load16(q->desc, 16 * (size_t)q->avail_at + DESC_FLAGS);

	return (flags & (FLAG_AVAIL | FLAG_USED)) == available_flags(q->avail_wrap);
}

bool packed_has_more(struct vq *q)
{
	return q->replay_at < q->replay_end || is_available(q);
}

/* The fields lie in another order than in a split ring, in indirect tables too. */
static inline struct vq_desc desc_of(struct vq_raw raw)
{
	return (struct vq_desc){
		.addr = raw.low,
		.len = (uint32_t)raw.high,
		.link = (uint16_t)(raw.high >> 32),
		.flags = (uint16_t)(raw.high >> 48),
	};
}

/* Adds all of an indirect table, which is a chain of its own. */
static bool add_table(struct vq *q, struct chain *c, struct chain_build *b,
		      const struct vq_desc *first)
{
	struct vq_table t;

	if (!table_open(q, first, &t))
		return false;
	for (uint32_t i = 0; i < t.count; i++) {
		struct vq_desc d = desc_of(table_load(q, &t, i));

		if (d.flags & VRING_DESC_F_INDIRECT)
			return vq_fail(q, "indirect table inside an indirect table");
		if (!chain_add(q, c, b, d))
			return false;
	}
	return true;
}

static inline bool add_slot(struct vq *q, struct chain *c, struct chain_build *b, struct vq_desc d)
{
	struct chain_build local;
	struct vq_desc table;
	bool ok;

	if (!(d.flags & VRING_DESC_F_INDIRECT))
		return chain_add(q, c, b, d);
	local = *b; /* so that *b and d need not lie in memory */
	table = d;
	ok = add_table(q, c, &local, &table);
	*b = local;
	return ok;
}

static bool pop_new(struct vq *q, struct chain *c)
{
	const struct packed_log *log = q->log;
	struct chain_build b = {0};
	struct vq_desc d;
	uint16_t slots = 0;

	c->log_entry = log ? log->old_free_head : 0;
	do {
		if (q->in_flight + slots >= q->size)
			return vq_fail(q, "more descriptors than the ring has");
		d = desc_of(ring_load_desc(ring_at(q->desc, 16 * (size_t)q->avail_at)));
		if (!add_slot(q, c, &b, d))
			return false;
		if (log) {
			const struct vq_desc noted = d;

			if (!log_descriptor(q, &noted, slots == 0, !(d.flags & VRING_DESC_F_NEXT)))
				return false;
		}
		slots++;
		advance(q, &q->avail_at, &q->avail_wrap, 1);
	} while (d.flags & VRING_DESC_F_NEXT);
	chain_end(c, &b, d.link, slots);
	return true;
}

static bool pop_replay(struct vq *q, struct chain *c)
{
	const struct packed_log *log = q->log;
	struct chain_build b = {0};
	uint16_t entry = q->replay[q->replay_at++];
	uint16_t slots = 0, num = log->desc[entry].num;

	c->log_entry = entry;
	while (slots < num && entry < q->size) {
		const struct packed_log_entry *e = &log->desc[entry];
		struct vq_desc d = {e->addr, e->len, e->flags, e->id};

		if (!add_slot(q, c, &b, d))
			return false;
		slots++;
		entry = e->next;
		if (!(d.flags & VRING_DESC_F_NEXT)) {
			chain_end(c, &b, d.link, slots);
			return slots == num || vq_fail(q, "in-flight log damaged");
		}
	}
	return vq_fail(q, "in-flight log damaged");
}

/* Whether there is a chain; if not, the driver will kick (unless polled). */
static bool wait_for_more(struct vq *q)
{
	if (packed_has_more(q))
		return true;
	if (q->polling || q->armed)
		return false;
	kicks_on(q);
	return packed_has_more(q);
}

bool packed_pop(struct vq *q, struct chain *c)
{
	if (!wait_for_more(q))
		return false;
	if (q->armed && q->has_event_idx)
		q->armed = false;
	else if (q->armed)
		packed_kicks_off(q);
	if (!(q->replay_at < q->replay_end ? pop_replay(q, c) : pop_new(q, c)))
		return false;
	if (c->id >= q->size)
		return vq_fail(q, "buffer id outside the ring");
	if (id_is_in_flight(q, c->id))
		return vq_fail(q, "buffer id twice in flight");
	id_flip(q, c->id);
	q->in_flight = (uint16_t)(q->in_flight + c->slots);
	chain_popped(q, c);
	return true;
}

/* Writes the used descriptor but for its flags, which it returns. */
static uint16_t used_write(struct vq *q, const struct chain *c, uint16_t slot, bool wrap)
{
	size_t at = 16 * (size_t)slot;
	unsigned flags = wrap ? FLAG_AVAIL | FLAG_USED : 0;

	if (c->written > 0)
		flags |= VRING_DESC_F_WRITE;
	memcpy(ring_at(q->desc, at + DESC_LENGTH), &c->written, sizeof(c->written));
	memcpy(ring_at(q->desc, at + DESC_ID), &c->id, sizeof(c->id));
	return (uint16_t)flags;
}

void packed_push(struct vq *q, struct chain *c)
{
	size_t at = 16 * (size_t)q->used_at + DESC_FLAGS;
	uint16_t flags;

	if (q->log)
		log_before_push(q, c, q->used_at, q->used_wrap);
	flags = used_write(q, c, q->used_at, q->used_wrap);
	ring_store16(q->desc, at, flags);
	advance(q, &q->used_at, &q->used_wrap, c->slots);
	if (q->log)
		log_after_push(q, &c, 1);
}

/* The flags of the first descriptor last: drivers look at descriptors in their order. */
void packed_push_all(struct vq *q, struct chain *const *chains, unsigned n)
{
	uint16_t first = q->used_at, first_flags = 0;

	for (unsigned i = 0; i < n; i++) {
		uint16_t slot = q->used_at, flags;

		if (q->log)
			log_before_push(q, chains[i], slot, q->used_wrap);
		flags = used_write(q, chains[i], slot, q->used_wrap);
		if (i == 0)
			first_flags = flags;
		else
			ring_store16(q->desc, 16 * (size_t)slot + DESC_FLAGS, flags);
		advance(q, &q->used_at, &q->used_wrap, chains[i]->slots);
	}
	ring_store16(q->desc, 16 * (size_t)first + DESC_FLAGS, first_flags);
	if (q->log)
		log_after_push(q, chains, n);
}
