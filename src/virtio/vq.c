/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * vq.c - virtqueues, device side: sessions, and chains with their cursors
 *
 * The rings themselves are in vq_split.c and vq_packed.c; nothing else indexes them.
 *
 *  I1  cursor[side].left is the sum of iov_len over the pieces [at, end) of that side; both sides
 *      and the tail together fit 32 bits.
 *  I2  Pieces [0, cursor[R].end) were readable, [cursor[R].end, tail_end) writable.
 *  I3  No piece is empty.
 */
#include "virtio/vq.h"

#include "base/fd.h"
#include "base/num.h"
#include "base/trace.h"
#include "virtio/vq_ring.h"

#include <assert.h>
#include <errno.h>

static_assert(VIRTIO_RING_F_INDIRECT_DESC == 28 && VIRTIO_F_RING_PACKED == 34, "virtio 1.2, 6");
static_assert(VQ_SIZE_MAX <= 0x8000, "a wrap counter is bit 15 of an index");
static_assert(CHAIN_IOV_MAX < UINT16_MAX, "struct chain_cursor counts in 16 bits");

void vq_break(struct vq *q, const char *why)
{
	if (q->broken)
		return;
	q->broken = why;
	trace(TRACE_BROKEN, 0, q->index, 0, 0);
	if (q->counters)
		counter_add(&q->counters[VQ_BROKEN], 1);
	if (q->on_broken)
		q->on_broken(q);
}

bool vq_fail(struct vq *q, const char *why)
{
	vq_break(q, why);
	return false;
}

/* ---- sessions ---- */

/* What outlives a session. */
static void session_clear(struct vq *q)
{
	*q = (struct vq){
		.index = q->index,
		.on_broken = q->on_broken,
		.owner = q->owner,
		.counters = q->counters,
		.polling = q->polling,
		.call_fd = -1,
	};
}

/* Virtio 1.2, 2.7 and 2.8: sizes and alignments of the three areas. */
static bool areas_map(struct vq *q, const struct vq_setup *s)
{
	size_t event = q->has_event_idx ? 2 : 0;
	size_t driver_bytes = q->is_packed ? 4 : 4 + 2 * (size_t)q->size + event;
	size_t device_bytes = q->is_packed ? 4 : 4 + 8 * (size_t)q->size + event;

	q->desc = gmem_ptr(s->gmem, s->desc, 16 * (size_t)q->size, 16);
	q->driver = gmem_ptr(s->gmem, s->driver, driver_bytes, q->is_packed ? 4 : 2);
	q->device = gmem_ptr(s->gmem, s->device, device_bytes, 4);
	return q->desc && q->driver && q->device;
}

static int session_begin(struct vq *q, const struct vq_setup *s, const char **ret_why)
{
	q->is_packed = s->features & VIRTIO_BIT(VIRTIO_F_RING_PACKED);
	q->has_event_idx = s->features & VIRTIO_BIT(VIRTIO_RING_F_EVENT_IDX);
	q->has_indirect = s->features & VIRTIO_BIT(VIRTIO_RING_F_INDIRECT_DESC);
	*ret_why = "impossible queue size";
	if (s->size == 0 || s->size > VQ_SIZE_MAX || (!q->is_packed && !is_power_of_two(s->size)))
		return -EINVAL;
	q->size = (uint16_t)s->size;
	q->mask = (uint16_t)(s->size - 1);
	*ret_why = "ring area outside memory or not aligned";
	if (!areas_map(q, s))
		return -EINVAL;
	q->gmem = s->gmem;
	q->near = &s->gmem->regions[0];
	q->log = s->log;
	q->call_fd = s->call_fd;
	if (!(q->is_packed ? packed_start(q, s->base, ret_why) : split_start(q, s->base, ret_why)))
		return -EINVAL;
	q->resumed = q->used_at != 0 || q->avail_at != 0 || q->replay_end > 0 ||
		     (q->is_packed && !q->used_wrap);
	q->started = true;
	return 0;
}

int vq_start(struct vq *q, const struct vq_setup *setup, const char **ret_why)
{
	int r;

	session_clear(q);
	r = session_begin(q, setup, ret_why);
	if (r < 0)
		session_clear(q);
	else
		*ret_why = NULL;
	return r;
}

uint32_t vq_stop(struct vq *q)
{
	uint32_t base = 0;

	if (q->started)
		base = q->is_packed ? packed_stop(q) : split_stop(q);
	session_clear(q);
	return base;
}

void vq_layout(const struct vq *q, struct vq_layout *ret)
{
	assert(q->started && !q->is_packed);
	*ret = (struct vq_layout){
		.size = q->size,
		.base = q->avail_at,
		.desc = (uintptr_t)q->desc,
		.driver = (uintptr_t)q->driver,
		.device = (uintptr_t)q->device,
	};
}

void vq_base_set(struct vq *q, uint16_t base)
{
	q->avail_at = base;
}

size_t vq_log_bytes(unsigned size, bool is_packed)
{
	return round_up(is_packed ? packed_log_bytes(size) : split_log_bytes(size), 64);
}

/* Insertion: the entries are few, and nearly in order when requests finish nearly in order. */
void replay_sort(struct vq *q, uint64_t (*counter)(const struct vq *q, uint16_t entry))
{
	for (unsigned i = 1; i < q->replay_end; i++) {
		uint16_t entry = q->replay[i];
		uint64_t key = counter(q, entry);
		unsigned at = i;

		for (; at > 0 && counter(q, q->replay[at - 1]) > key; at--)
			q->replay[at] = q->replay[at - 1];
		q->replay[at] = entry;
	}
}

/* ---- the rings ---- */

bool vq_pop(struct vq *q, struct chain *c)
{
	if (!q->started || q->broken)
		return false;
	return q->is_packed ? packed_pop(q, c) : split_pop(q, c);
}

bool vq_has_more(struct vq *q)
{
	if (!q->started || q->broken)
		return false;
	return q->is_packed ? packed_has_more(q) : split_has_more(q);
}

/* Before the driver sees it: what it has been given is counted. */
static void count_pushed(struct vq *q, const struct chain *c)
{
	if (!q->counters)
		return;
	counter_add(&q->counters[VQ_REQUESTS], 1);
	counter_add(&q->counters[VQ_BYTES_IN], c->written);
}

void vq_push(struct vq *q, struct chain *c)
{
	if (!q->started || q->broken)
		return;
	assert(id_is_in_flight(q, c->id));
	count_pushed(q, c);
	if (q->is_packed)
		packed_push(q, c);
	else
		split_push(q, c);
	id_flip(q, c->id);
	q->in_flight = (uint16_t)(q->in_flight - c->slots);
	q->uncalled += c->slots;
}

void vq_push_all(struct vq *q, struct chain *const *chains, unsigned n)
{
	if (!q->started || q->broken)
		return;
	for (unsigned i = 0; i < n; i++) {
		assert(id_is_in_flight(q, chains[i]->id));
		count_pushed(q, chains[i]);
	}
	if (q->is_packed)
		packed_push_all(q, chains, n);
	else
		split_push_all(q, chains, n);
	for (unsigned i = 0; i < n; i++) {
		id_flip(q, chains[i]->id);
		q->in_flight = (uint16_t)(q->in_flight - chains[i]->slots);
		q->uncalled += chains[i]->slots;
	}
}

void vq_notify(struct vq *q)
{
	bool wanted;

	if (!q->started || q->broken || (q->uncalled == 0 && !q->call_is_forced))
		return;
	ring_fence(); /* the driver: writes what it wants, fence, looks at what is used */
	wanted = q->is_packed ? packed_wants_call(q) : split_wants_call(q);
	if ((wanted || q->call_is_forced || q->uncalled > q->size) && q->call_fd >= 0) {
		trace(TRACE_CALL, 0, q->index, q->uncalled, 0);
		fd_signal(q->call_fd);
		if (q->counters)
			counter_add(&q->counters[VQ_INTERRUPTS], 1);
	}
	q->uncalled = 0;
	q->call_is_forced = false;
}

void vq_polling_set(struct vq *q, bool polling)
{
	q->polling = polling;
	if (!polling || !q->started)
		return;
	if (q->is_packed)
		packed_kicks_off(q);
	else
		split_kicks_off(q);
}

/* ---- chains ---- */

int chain_add_far(struct vq *q, struct chain *c, const struct vq_desc *d, uint32_t end)
{
	int n = gmem_iov(q->gmem, d->addr, d->len, &c->iov[end], CHAIN_IOV_MAX - end);

	if (n < 0) {
		vq_break(q, n == -E2BIG ? "chain of too many pieces" : "buffer outside memory");
		return -1;
	}
	for (unsigned i = 0; i < q->gmem->nregions; i++)
		if (d->addr - q->gmem->regions[i].base < q->gmem->regions[i].size)
			q->near = &q->gmem->regions[i];
	return (int)end + n;
}

bool table_open(struct vq *q, const struct vq_desc *d, struct vq_table *ret_table)
{
	if (!q->has_indirect)
		return vq_fail(q, "indirect table that was not agreed on");
	if (d->flags & VRING_DESC_F_NEXT)
		return vq_fail(q, "descriptor behind an indirect table");
	if (d->len == 0 || d->len % 16 != 0)
		return vq_fail(q, "indirect table of an odd size");
	if (d->len > 16 * VQ_SIZE_MAX)
		return vq_fail(q, "indirect table too long");
	if (!gmem_covers(q->gmem, d->addr, d->len))
		return vq_fail(q, "indirect table outside memory");
	ret_table->addr = d->addr;
	ret_table->count = d->len / 16;
	ret_table->host = ring_at(gmem_ptr(q->gmem, d->addr, d->len, 1), 0);
	return true;
}

/* Headers and status bytes are short and their length is known: no call of memcpy() for those. */
static inline void copy_short(void *to, const void *from, size_t n)
{
	if (n == 16)
		memcpy(to, from, 16);
	else if (n == 1)
		memcpy(to, from, 1);
	else
		memcpy(to, from, n);
}

/* Takes n bytes, which are left, off the front. Pieces that were passed are not looked at again. */
static inline void cursor_advance(struct chain *c, struct chain_cursor *cursor, size_t n)
{
	cursor->left -= (uint32_t)n;
	if (n > 0 && n == c->iov[cursor->at].iov_len) {
		cursor->at++;
		return;
	}
	while (n > 0) {
		struct iovec *v = &c->iov[cursor->at];
		size_t part = min_size(n, v->iov_len);

		v->iov_base = (char *)v->iov_base + part;
		v->iov_len -= part;
		n -= part;
		if (v->iov_len == 0)
			cursor->at++;
	}
}

bool chain_get(struct chain *c, void *dst, size_t n)
{
	struct chain_cursor *cursor = &c->cursor[CHAIN_READABLE];
	char *to = dst;

	if (n > cursor->left)
		return false;
	while (n > 0) {
		struct iovec *v = &c->iov[cursor->at];
		size_t part = min_size(n, v->iov_len);

		copy_short(to, v->iov_base, part);
		ring_copied(v->iov_base, part);
		to += part;
		n -= part;
		cursor_advance(c, cursor, part);
	}
	return true;
}

void chain_prefetch(const struct chain *c)
{
	if (c->tail_end == 0)
		return;
	__builtin_prefetch(c->iov[0].iov_base);
	__builtin_prefetch(c->iov[c->tail_end - 1].iov_base, 1);
}

bool chain_put(struct chain *c, const void *src, size_t n)
{
	struct chain_cursor *cursor = &c->cursor[CHAIN_WRITABLE];
	const char *from = src;

	if (n > cursor->left)
		return false;
	c->written += (uint32_t)n;
	while (n > 0) {
		struct iovec *v = &c->iov[cursor->at];
		size_t part = min_size(n, v->iov_len);

		copy_short(v->iov_base, from, part);
		from += part;
		n -= part;
		cursor_advance(c, cursor, part);
	}
	return true;
}

bool chain_skip(struct chain *c, enum chain_side side, size_t n)
{
	struct chain_cursor *cursor = &c->cursor[side];

	if (n > cursor->left)
		return false;
	if (side == CHAIN_WRITABLE)
		c->written += (uint32_t)n;
	cursor_advance(c, cursor, n);
	return true;
}

/* Makes piece i two, the first of `first` bytes; there is room for one more, once. */
static void piece_split(struct chain *c, unsigned i, size_t first)
{
	memmove(&c->iov[i + 1], &c->iov[i], (c->tail_end - i) * sizeof(c->iov[0]));
	c->tail_end++;
	c->iov[i].iov_len = first;
	c->iov[i + 1].iov_base = (char *)c->iov[i + 1].iov_base + first;
	c->iov[i + 1].iov_len -= first;
}

bool chain_tail(struct chain *c, size_t n)
{
	struct chain_cursor *cursor = &c->cursor[CHAIN_WRITABLE];
	size_t found = 0;

	if (n == 0 || n > cursor->left || c->tail_left > 0)
		return false;
	while (found < n)
		found += c->iov[--cursor->end].iov_len;
	if (found > n) {
		size_t stays = found - n;

		piece_split(c, cursor->end, stays);
		cursor->end++;
	}
	cursor->left -= (uint32_t)n;
	c->tail_left = (uint32_t)n;
	return true;
}

bool chain_tail_put(struct chain *c, const void *src, size_t n)
{
	const char *from = src;

	if (n == 0 || n != c->tail_left)
		return false;
	for (unsigned i = c->cursor[CHAIN_WRITABLE].end; i < c->tail_end; i++) {
		copy_short(c->iov[i].iov_base, from, c->iov[i].iov_len);
		from += c->iov[i].iov_len;
	}
	c->written += c->tail_left;
	c->tail_left = 0;
	return true;
}

const struct iovec *chain_iov(const struct chain *c, enum chain_side side, unsigned *ret_count)
{
	const struct chain_cursor *cursor = &c->cursor[side];

	*ret_count = (unsigned)(cursor->end - cursor->at);
	return &c->iov[cursor->at];
}
