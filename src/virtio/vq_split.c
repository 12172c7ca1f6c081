/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * vq_split.c - split virtqueues (virtio 1.2, section 2.7) and their in-flight log
 *
 * The driver puts a head into the available ring and raises its index; we follow the descriptors of
 * the table from there, and give the head back in the used ring.  avail_at and used_at count for
 * ever and wrap at 2^16; masked, they are positions.
 *
 *  S1  used_at + in_flight + (what is left to replay) == avail_at, modulo 2^16, at most size apart.
 *  S2  A head is in flight at most once (q->ids).
 *  S3  The log has inflight == 1 for exactly the heads that are in flight or to be replayed, but
 * for the one whose used index was raised last: that it is done shows in used_idx.
 *
 * Kicks: armed means that the driver was told to kick when it adds something at avail_at.  With
 * EVENT_IDX popping disarms by itself, for the event index is left behind.
 */
#include "virtio/vq_ring.h"

#include <assert.h>

/* Offsets in the available and in the used ring. */
enum { RING_FLAGS = 0, RING_INDEX = 2, RING_ENTRIES = 4 };

/* vhost-user, "Inflight I/O tracking", QueueRegionSplit and DescStateSplit. */
struct split_log_entry {
	uint8_t inflight, padding[5];
	uint16_t next;
	uint64_t counter;
};
static_assert(sizeof(struct split_log_entry) == 16, "vhost-user");

struct split_log {
	uint64_t features;
	uint16_t version, desc_num, last_batch_head, used_idx;
	struct split_log_entry desc[];
};
static_assert(sizeof(struct split_log) == 16, "vhost-user");

enum { SPLIT_LOG_VERSION = 1 };

size_t split_log_bytes(unsigned size)
{
	return sizeof(struct split_log) + size * sizeof(struct split_log_entry);
}

/* ---- in-flight log ---- */

static void log_reset(struct vq *q, uint16_t used)
{
	struct split_log *log = q->log;

	memset(log, 0, split_log_bytes(q->size));
	log->desc_num = q->size;
	log->used_idx = used;
	log_order();
	log->version = SPLIT_LOG_VERSION;
}

/* Finishes what our predecessor was about to do when it died: S3 for the last used heads. */
static bool log_settle(struct vq *q, uint16_t used)
{
	struct split_log *log = q->log;
	uint16_t batch = (uint16_t)(used - log->used_idx);
	uint16_t head = log->last_batch_head;

	if (batch > q->size)
		return false;
	for (; batch > 0; batch--) {
		if (head >= q->size)
			return false;
		log->desc[head].inflight = 0;
		head = log->desc[head].next;
	}
	log_order();
	log->used_idx = used;
	return true;
}

static uint64_t log_counter(const struct vq *q, uint16_t head)
{
	const struct split_log *log = q->log;

	return log->desc[head].counter;
}

static void log_collect(struct vq *q)
{
	const struct split_log *log = q->log;

	for (uint16_t head = 0; head < q->size; head++)
		if (log->desc[head].inflight == 1)
			q->replay[q->replay_end++] = head;
	replay_sort(q, log_counter);
	if (q->replay_end > 0)
		q->log_counter = log_counter(q, q->replay[q->replay_end - 1]) + 1;
}

static bool log_start(struct vq *q)
{
	struct split_log *log = q->log;
	uint16_t used = ring_load16(q->device, RING_INDEX);

	if (log->version == 0) {
		log_reset(q, used);
		return true;
	}
	if (log->version != SPLIT_LOG_VERSION || log->desc_num != q->size || !log_settle(q, used))
		return false;
	log_collect(q);
	q->call_is_forced = true;
	q->used_at = used;
	q->avail_at = (uint16_t)(used + q->replay_end); /* S1 */
	return true;
}

static void log_popped(struct vq *q, uint16_t head)
{
	struct split_log *log = q->log;

	log->desc[head].counter = q->log_counter++;
	log_order();
	log->desc[head].inflight = 1;
	log_order(); /* before the request has any effect */
}

static void log_before_push(struct vq *q, uint16_t head)
{
	struct split_log *log = q->log;

	log->desc[head].next = log->last_batch_head;
	log_order();
	log->last_batch_head = head;
	log_order();
}

static void log_after_push(struct vq *q, uint16_t head)
{
	struct split_log *log = q->log;

	log_order();
	log->desc[head].inflight = 0;
	log_order();
	log->used_idx = q->used_at;
}

/* The index last: until then whoever comes after us settles all of the batch again. */
static void log_after_push_all(struct vq *q, struct chain *const *chains, unsigned n)
{
	struct split_log *log = q->log;

	log_order();
	for (unsigned i = 0; i < n; i++)
		log->desc[chains[i]->id].inflight = 0;
	log_order();
	log->used_idx = q->used_at;
}

/* ---- sessions ---- */

bool split_start(struct vq *q, uint32_t base, const char **ret_why)
{
	*ret_why = "impossible base index";
	if (base > UINT16_MAX)
		return false;
	q->avail_at = (uint16_t)base;
	q->used_at = ring_load16(q->device, RING_INDEX);
	*ret_why = "in-flight log of another ring";
	if (q->log && !log_start(q))
		return false;
	q->avail_end = q->avail_at;
	return true;
}

uint32_t split_stop(struct vq *q)
{
	uint16_t unfinished = (uint16_t)(q->in_flight + q->replay_end - q->replay_at);

	return (uint16_t)(q->avail_at - unfinished);
}

/* ---- kicks and calls ---- */

void split_kicks_off(struct vq *q)
{
	q->armed = false;
	if (!q->has_event_idx)
		ring_store16(q->device, RING_FLAGS, VRING_USED_F_NO_NOTIFY);
}

static void kicks_on(struct vq *q)
{
	if (q->has_event_idx)
		ring_store16(q->device, RING_ENTRIES + 8 * (size_t)q->size, q->avail_at);
	else
		ring_store16(q->device, RING_FLAGS, 0);
	q->armed = true;
	ring_fence(); /* the driver: raises its index, fence, looks whether to kick */
}

bool split_wants_call(struct vq *q)
{
	uint16_t event;

	if (!q->has_event_idx)
		return !(ring_load16(q->driver, RING_FLAGS) & VRING_AVAIL_F_NO_INTERRUPT);
	event = ring_load16(q->driver, RING_ENTRIES + 2 * (size_t)q->size);
	return (uint16_t)(q->used_at - event - 1) < q->uncalled;
}

/* ---- pop and push ---- */

bool split_has_more(struct vq *q)
{
	if (q->replay_at < q->replay_end || q->avail_at != q->avail_end)
		return true;
	q->avail_end = ring_load16(q->driver, RING_INDEX);
	if ((uint16_t)(q->avail_end - q->avail_at) > q->size)
		return vq_fail(q, "available index too far ahead");
	return q->avail_at != q->avail_end;
}

static inline struct vq_desc desc_of(struct vq_raw raw)
{
	return (struct vq_desc){
		.addr = raw.low,
		.len = (uint32_t)raw.high,
		.flags = (uint16_t)(raw.high >> 32),
		.link = (uint16_t)(raw.high >> 48),
	};
}

/* Follows the indirect table that ends a chain. */
static bool follow_table(struct vq *q, struct chain *c, struct chain_build b,
			 struct vq_desc first, uint16_t head)
{
	struct vq_table t;
	uint16_t next = 0;

	if (!table_open(q, &first, &t))
		return false;
	for (uint32_t steps = 0; steps < t.count; steps++) {
		struct vq_desc d = desc_of(table_load(q, &t, next));

		if (d.flags & VRING_DESC_F_INDIRECT)
			return vq_fail(q, "indirect table inside an indirect table");
		if (!chain_add(q, c, &b, d))
			return false;
		if (!(d.flags & VRING_DESC_F_NEXT)) {
			chain_end(c, &b, head, 1);
			return true;
		}
		if (d.link >= t.count)
			return vq_fail(q, "descriptor outside the indirect table");
		next = d.link;
	}
	return vq_fail(q, "descriptor loop in an indirect table");
}

static inline bool follow(struct vq *q, struct chain *c, uint16_t head)
{
	struct chain_build b = {0};
	uint16_t next = head;

	for (unsigned steps = 0; steps < q->size; steps++) {
		struct vq_desc d = desc_of(ring_load_desc(ring_at(q->desc, 16 * (size_t)next)));

		if (d.flags & VRING_DESC_F_INDIRECT)
			return follow_table(q, c, b, d, head);
		if (!chain_add(q, c, &b, d))
			return false;
		if (!(d.flags & VRING_DESC_F_NEXT)) {
			chain_end(c, &b, head, 1);
			return true;
		}
		if (d.link >= q->size)
			return vq_fail(q, "descriptor outside the table");
		next = d.link;
	}
	return vq_fail(q, "descriptor loop");
}

/* The next head, to be replayed or new; false: none, and the driver will kick (unless polled). */
static bool next_head(struct vq *q, uint16_t *ret_head)
{
	if (q->replay_at < q->replay_end) {
		*ret_head = q->replay[q->replay_at++];
		return true;
	}
	if (!split_has_more(q)) {
		if (q->polling || q->armed || q->broken)
			return false;
		kicks_on(q);
		if (!split_has_more(q))
			return false;
	}
	*ret_head = ring_load16(q->driver,
				RING_ENTRIES + 2 * (size_t)(q->avail_at & q->mask));
	q->avail_at++;
	return true;
}

bool split_pop(struct vq *q, struct chain *c)
{
	uint16_t head;

	if (!next_head(q, &head))
		return false;
	if (q->armed && q->has_event_idx)
		q->armed = false;
	else if (q->armed)
		split_kicks_off(q);
	if (head >= q->size)
		return vq_fail(q, "available head outside the table");
	if (id_is_in_flight(q, head))
		return vq_fail(q, "descriptor head twice in flight");
	if (!follow(q, c, head))
		return false;
	id_flip(q, head);
	q->in_flight++;
	if (q->log)
		log_popped(q, head);
	chain_popped(q, c);
	return true;
}

/* Writes the used element of index at, which the driver does not look at yet. */
static inline void element_write(struct vq *q, const struct chain *c, uint16_t at)
{
	uint64_t element = c->id | (uint64_t)c->written << 32;
	size_t offset = RING_ENTRIES + 8 * (size_t)(at & q->mask);

	memcpy(ring_at(q->device, offset), &element, sizeof(element));
}

void split_push(struct vq *q, const struct chain *c)
{
	element_write(q, c, q->used_at);
	if (q->log)
		log_before_push(q, c->id);
	q->used_at++;
	ring_store16(q->device, RING_INDEX, q->used_at);
	if (q->log)
		log_after_push(q, c->id);
}

/* A batch of the in-flight log: log_settle() finds all of it by last_batch_head. */
void split_push_all(struct vq *q, struct chain *const *chains, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		element_write(q, chains[i], (uint16_t)(q->used_at + i));
		if (q->log)
			log_before_push(q, chains[i]->id);
	}
	q->used_at = (uint16_t)(q->used_at + n);
	ring_store16(q->device, RING_INDEX, q->used_at);
	if (q->log)
		log_after_push_all(q, chains, n);
}
