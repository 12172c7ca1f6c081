/* SPDX-License-Identifier: BSD-3-Clause */
/* driver_test.c - a fake driver: memory, rings, requests; driver_front_test.c is its front end */
#include "virtio/driver_test.h"

#include "base/fd.h"
#include "base/loop.h"
#include "base/num.h"
#include "virtio/ids.h"

#include <errno.h>
#include <poll.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { PAGE_BYTES = 4096, WRAP = 1 << VRING_PACKED_EVENT_F_WRAP_CTR };

/* ---- memory ---- */

gpa driver_alloc(struct driver *d, size_t n, size_t align)
{
	size_t at = (size_t)round_up(d->mem_used, align);

	if (!is_inside(at, n, d->mem_bytes))
		return 0;
	d->mem_used = at + n;
	memset(d->mem + at, 0, n);
	return DRIVER_BASE + at;
}

void *driver_at(struct driver *d, gpa a, size_t n)
{
	return is_inside(a - DRIVER_BASE, n, d->mem_bytes) ? d->mem + (a - DRIVER_BASE) : NULL;
}

static int memory_make(struct driver *d)
{
	size_t second = d->options.second_region;
	int r;

	d->mem_bytes = d->options.memory ? d->options.memory : 16u << 20;
	d->mem_fd = memfd_create("driver", MFD_CLOEXEC);
	if (d->mem_fd < 0 || ftruncate(d->mem_fd, (off_t)d->mem_bytes) < 0)
		return -errno;
	d->mem = mmap(NULL, d->mem_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, d->mem_fd, 0);
	if (d->mem == MAP_FAILED) {
		d->mem = NULL;
		return -errno;
	}
	r = gmem_add_borrowed(&d->gmem, DRIVER_BASE, d->mem_bytes - second, d->mem);
	if (r == 0 && second)
		r = gmem_add_borrowed(&d->gmem, DRIVER_BASE + d->mem_bytes - second, second,
				      d->mem + d->mem_bytes - second);
	return r;
}

/* ---- rings ---- */

static void queue_reset(struct driver_queue *q)
{
	bool packed = q->driver->options.packed;

	memset(q->desc, 0, 16 * (size_t)q->size);
	memset(q->driver_area, 0, 6 + 2 * (size_t)q->size);
	memset(q->device_area, 0, 6 + 8 * (size_t)q->size);
	for (uint16_t i = 0; i < q->size; i++)
		q->next[i] = (uint16_t)(i + 1);
	q->free_head = 0;
	q->nfree = q->size;
	q->avail_at = q->used_at = 0;
	q->added = 0;
	q->avail_wrap = q->used_wrap = true;
	q->base = packed ? 0x80008000 : 0;
	fd_drain(q->kick_fd);
	fd_drain(q->call_fd);
	fd_drain(q->err_fd);
}

static int queue_init(struct driver *d, unsigned index)
{
	struct driver_queue *q = &d->queues[index];
	size_t size = d->options.queue_size;

	q->driver = d;
	q->index = index;
	q->size = (uint16_t)size;
	q->desc_at = driver_alloc(d, 16 * size, 16);
	q->driver_at = driver_alloc(d, 6 + 2 * size, 4);
	q->device_at = driver_alloc(d, 6 + 8 * size, 4);
	q->tables_at = driver_alloc(d, size * DRIVER_TABLE_MAX * 16, 16);
	q->kick_fd = fd_eventfd();
	q->call_fd = fd_eventfd();
	q->err_fd = fd_eventfd();
	if (!q->tables_at || q->err_fd < 0)
		return -ENOMEM;
	q->desc = driver_at(d, q->desc_at, 16 * size);
	q->driver_area = driver_at(d, q->driver_at, 6 + 2 * size);
	q->device_area = driver_at(d, q->device_at, 6 + 8 * size);
	queue_reset(q);
	return 0;
}

int driver_init(struct driver *d, const struct driver_options *options)
{
	int r;

	*d = (struct driver){.options = *options, .mem_fd = -1, .inflight_fd = -1};
	d->conn.sock = d->backend.sock = -1;
	for (unsigned i = 0; i < DRIVER_QUEUES_MAX; i++)
		d->queues[i].kick_fd = d->queues[i].call_fd = d->queues[i].err_fd = -1;
	if (options->nqueues > DRIVER_QUEUES_MAX || options->queue_size > VQ_SIZE_MAX)
		return -EINVAL;
	r = memory_make(d);
	for (unsigned i = 0; r == 0 && i < options->nqueues; i++)
		r = queue_init(d, i);
	if (r < 0)
		driver_fini(d);
	return r;
}

void driver_fini(struct driver *d)
{
	driver_disconnect(d);
	for (unsigned i = 0; i < DRIVER_QUEUES_MAX; i++) {
		fd_close(&d->queues[i].kick_fd);
		fd_close(&d->queues[i].call_fd);
		fd_close(&d->queues[i].err_fd);
	}
	if (d->mem)
		munmap(d->mem, d->mem_bytes);
	d->mem = NULL;
	fd_close(&d->mem_fd);
	fd_close(&d->inflight_fd);
}

void driver_reset(struct driver *d)
{
	for (unsigned i = 0; i < d->options.nqueues; i++)
		queue_reset(&d->queues[i]);
	fd_close(&d->inflight_fd);
}

int driver_vq_start(struct driver *d, unsigned index, void *log, struct vq *q)
{
	const struct driver_queue *dq = &d->queues[index];
	const char *why;
	struct vq_setup setup = {
		.gmem = &d->gmem,
		.features = VIRTIO_BIT(VIRTIO_RING_F_INDIRECT_DESC),
		.size = dq->size,
		.desc = dq->desc_at,
		.driver = dq->driver_at,
		.device = dq->device_at,
		.base = dq->base,
		.log = log,
		.call_fd = dq->call_fd,
	};

	if (!d->options.no_event_idx)
		setup.features |= VIRTIO_BIT(VIRTIO_RING_F_EVENT_IDX);
	if (d->options.packed)
		setup.features |= VIRTIO_BIT(VIRTIO_F_RING_PACKED);
	d->acked = setup.features;
	return vq_start(q, &setup, &why);
}

/* ---- shared words ---- */

static uint16_t load16(void *area, size_t offset)
{
	return __atomic_load_n((uint16_t *)(void *)((char *)area + offset), __ATOMIC_ACQUIRE);
}

static void store16(void *area, size_t offset, uint16_t value)
{
	__atomic_store_n((uint16_t *)(void *)((char *)area + offset), value, __ATOMIC_RELEASE);
}

static bool has_event_idx(const struct driver_queue *q)
{
	return q->driver->acked & VIRTIO_BIT(VIRTIO_RING_F_EVENT_IDX);
}

static uint16_t buf_flags(const struct driver_buf *b)
{
	return b->writable ? VRING_DESC_F_WRITE : 0;
}

struct vring_desc *driver_desc(struct driver_queue *q, uint16_t i)
{
	return (struct vring_desc *)q->desc + i;
}

struct vring_packed_desc *driver_packed_desc(struct driver_queue *q, uint16_t i)
{
	return (struct vring_packed_desc *)q->desc + i;
}

struct vring_desc *driver_table(struct driver_queue *q, uint16_t id)
{
	size_t bytes = DRIVER_TABLE_MAX * sizeof(struct vring_desc);

	return driver_at(q->driver, q->tables_at + id * bytes, bytes);
}

static void table_fill_split(struct vring_desc *t, const struct driver_buf *bufs, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		uint16_t flags = buf_flags(&bufs[i]);

		if (i + 1 < n)
			flags |= VRING_DESC_F_NEXT;
		t[i] = (struct vring_desc){bufs[i].addr, bufs[i].len, flags, (uint16_t)(i + 1)};
	}
}

static void table_fill_packed(struct vring_packed_desc *t, const struct driver_buf *bufs,
			      unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		t[i] = (struct vring_packed_desc){bufs[i].addr, bufs[i].len, 0,
						  buf_flags(&bufs[i])};
}

/* Fills the indirect table of an id; the buffer that the ring's descriptor shows. */
static struct driver_buf table_fill(struct driver_queue *q, uint16_t id,
				    const struct driver_buf *bufs, unsigned n)
{
	size_t bytes = DRIVER_TABLE_MAX * sizeof(struct vring_desc);
	void *t = driver_table(q, id);

	if (q->driver->options.packed)
		table_fill_packed(t, bufs, n);
	else
		table_fill_split(t, bufs, n);
	return (struct driver_buf){q->tables_at + id * bytes,
				   (uint32_t)(n * sizeof(struct vring_desc)), false};
}

/* ---- split ---- */

void driver_publish(struct driver_queue *q, uint16_t head)
{
	store16(q->driver_area, 4 + 2 * (size_t)(q->avail_at & (q->size - 1)), head);
	q->avail_at++;
	q->added++;
	store16(q->driver_area, 2, q->avail_at);
}

void driver_avail_index_set(struct driver_queue *q, uint16_t index)
{
	q->avail_at = index;
	store16(q->driver_area, 2, index);
}

static int split_add(struct driver_queue *q, const struct driver_buf *bufs, unsigned n)
{
	uint16_t head = q->free_head, at = head, last = head;
	bool indirect = q->driver->options.indirect && n <= DRIVER_TABLE_MAX;
	struct driver_buf table;

	if (indirect) {
		table = table_fill(q, head, bufs, n);
		bufs = &table;
		n = 1;
	}
	if (n > q->nfree)
		return -ENOSPC;
	for (unsigned i = 0; i < n; i++, at = q->next[at]) {
		uint16_t flags = buf_flags(&bufs[i]);

		if (i + 1 < n)
			flags |= VRING_DESC_F_NEXT;
		if (indirect)
			flags |= VRING_DESC_F_INDIRECT;
		*driver_desc(q, at) = (struct vring_desc){bufs[i].addr, bufs[i].len, flags,
							  i + 1 < n ? q->next[at] : 0};
		last = at;
	}
	q->free_head = q->next[last];
	q->slots[head] = (uint16_t)n;
	q->nfree = (uint16_t)(q->nfree - n);
	driver_publish(q, head);
	return head;
}

static void split_free(struct driver_queue *q, uint16_t head)
{
	uint16_t last = head;

	for (unsigned i = 1; i < q->slots[head]; i++)
		last = q->next[last];
	q->next[last] = q->free_head;
	q->free_head = head;
	q->nfree = (uint16_t)(q->nfree + q->slots[head]);
	q->slots[head] = 0;
}

static bool split_poll(struct driver_queue *q, struct driver_used *ret)
{
	struct vring_used_elem e;

	if (load16(q->device_area, 2) == q->used_at)
		return false;
	memcpy(&e, (char *)q->device_area + 4 + 8 * (size_t)(q->used_at & (q->size - 1)),
	       sizeof(e));
	q->used_at++;
	ret->id = (uint16_t)e.id;
	ret->len = e.len;
	if (e.id < q->size && q->slots[e.id] > 0)
		split_free(q, ret->id);
	return true;
}

static bool split_wants_kick(struct driver_queue *q)
{
	uint16_t event;

	if (!has_event_idx(q))
		return !(load16(q->device_area, 0) & VRING_USED_F_NO_NOTIFY);
	event = load16(q->device_area, 4 + 8 * (size_t)q->size);
	return (uint16_t)(q->avail_at - event - 1) < q->added;
}

/* ---- packed ---- */

static uint16_t packed_flags(bool wrap)
{
	return wrap ? 1 << VRING_PACKED_DESC_F_AVAIL : 1 << VRING_PACKED_DESC_F_USED;
}

static void packed_advance(struct driver_queue *q, uint16_t *at, bool *wrap, unsigned n)
{
	unsigned sum = *at + n;

	if (sum >= q->size) {
		sum -= q->size;
		*wrap = !*wrap;
	}
	*at = (uint16_t)sum;
}

static int packed_add(struct driver_queue *q, const struct driver_buf *bufs, unsigned n)
{
	uint16_t id = q->free_head, at = q->avail_at, head = at, head_flags = 0;
	bool indirect = q->driver->options.indirect && n <= DRIVER_TABLE_MAX;
	bool wrap = q->avail_wrap;
	struct driver_buf table;

	if (q->nfree == 0)
		return -ENOSPC;
	if (indirect) {
		table = table_fill(q, id, bufs, n);
		bufs = &table;
		n = 1;
	}
	if (n > q->nfree)
		return -ENOSPC;
	for (unsigned i = 0; i < n; i++) {
		struct vring_packed_desc *d = driver_packed_desc(q, at);
		uint16_t flags = (uint16_t)(buf_flags(&bufs[i]) | packed_flags(wrap));

		if (i + 1 < n)
			flags |= VRING_DESC_F_NEXT;
		if (indirect)
			flags |= VRING_DESC_F_INDIRECT;
		d->addr = bufs[i].addr;
		d->len = bufs[i].len;
		d->id = id;
		if (at == head && i == 0)
			head_flags = flags;
		else
			d->flags = flags;
		packed_advance(q, &at, &wrap, 1);
	}
	q->free_head = q->next[id];
	q->nfree = (uint16_t)(q->nfree - n);
	q->slots[id] = (uint16_t)n;
	store16(q->desc, 16 * (size_t)head + 14, head_flags);
	q->avail_at = at;
	q->avail_wrap = wrap;
	q->added += n;
	return id;
}

static bool packed_poll(struct driver_queue *q, struct driver_used *ret)
{
	struct vring_packed_desc *d = driver_packed_desc(q, q->used_at);
	uint16_t both = 1 << VRING_PACKED_DESC_F_AVAIL | 1 << VRING_PACKED_DESC_F_USED;
	uint16_t flags = load16(q->desc, 16 * (size_t)q->used_at + 14);
	unsigned slots;

	if ((flags & both) != (q->used_wrap ? both : 0))
		return false;
	ret->id = d->id;
	ret->len = d->len;
	if (ret->id >= q->size || q->slots[ret->id] == 0)
		return true;
	slots = q->slots[ret->id];
	q->slots[ret->id] = 0;
	q->next[ret->id] = q->free_head;
	q->free_head = ret->id;
	q->nfree = (uint16_t)(q->nfree + slots);
	packed_advance(q, &q->used_at, &q->used_wrap, slots);
	return true;
}

static bool packed_wants_kick(struct driver_queue *q)
{
	uint16_t flags = load16(q->device_area, 2), index = load16(q->device_area, 0), event;

	if (flags != VRING_PACKED_EVENT_FLAG_DESC)
		return flags != VRING_PACKED_EVENT_FLAG_DISABLE;
	event = index & (WRAP - 1);
	if (!!(index & WRAP) != q->avail_wrap)
		event = (uint16_t)(event - q->size);
	return (uint16_t)(q->avail_at - event - 1) < q->added;
}

/* ---- both ---- */

int driver_add(struct driver_queue *q, const struct driver_buf *bufs, unsigned n)
{
	if (n == 0 || q->nfree == 0)
		return -ENOSPC;
	return q->driver->options.packed ? packed_add(q, bufs, n) : split_add(q, bufs, n);
}

void driver_kick_always(struct driver_queue *q)
{
	q->kicks++;
	fd_signal(q->kick_fd);
}

bool driver_kick(struct driver_queue *q)
{
	bool wanted;

	atomic_thread_fence(memory_order_seq_cst);
	wanted = q->driver->options.packed ? packed_wants_kick(q) : split_wants_kick(q);
	q->added = 0;
	if (wanted)
		driver_kick_always(q);
	return wanted;
}

bool driver_poll(struct driver_queue *q, struct driver_used *ret)
{
	return q->driver->options.packed ? packed_poll(q, ret) : split_poll(q, ret);
}

bool driver_was_called(struct driver_queue *q)
{
	return fd_drain(q->call_fd) > 0;
}

void driver_calls_set(struct driver_queue *q, bool on)
{
	if (q->driver->options.packed) {
		uint16_t at = (uint16_t)(q->used_at | (q->used_wrap ? WRAP : 0));

		store16(q->driver_area, 0, at);
		store16(q->driver_area, 2,
			!on ? VRING_PACKED_EVENT_FLAG_DISABLE
			    : has_event_idx(q) ? VRING_PACKED_EVENT_FLAG_DESC
					       : VRING_PACKED_EVENT_FLAG_ENABLE);
	} else {
		store16(q->driver_area, 0, on ? 0 : VRING_AVAIL_F_NO_INTERRUPT);
		store16(q->driver_area, 4 + 2 * (size_t)q->size,
			(uint16_t)(on ? q->used_at : q->used_at - 1));
	}
	atomic_thread_fence(memory_order_seq_cst);
}

int driver_wait(struct driver_queue *q, int timeout_ms, struct driver_used *ret)
{
	uint64_t end = clock_ns() + (uint64_t)timeout_ms * 1000000;

	for (;;) {
		struct pollfd p[2] = {{.fd = q->call_fd, .events = POLLIN},
				      {.fd = q->driver->conn.sock, .events = POLLRDHUP}};
		uint64_t now = clock_ns();

		driver_calls_set(q, true);
		if (driver_poll(q, ret))
			return 0;
		if (now >= end)
			return -ETIMEDOUT;
		if (poll(p, 2, (int)((end - now) / 1000000) + 1) < 0 && errno != EINTR)
			return -errno;
		if (p[1].revents & (POLLRDHUP | POLLHUP))
			return driver_poll(q, ret) ? 0 : -ENODATA;
		fd_drain(q->call_fd);
	}
}

int driver_wait_broken(struct driver_queue *q, int timeout_ms)
{
	struct pollfd p = {.fd = q->err_fd, .events = POLLIN};

	return poll(&p, 1, timeout_ms) == 1 ? 0 : -ETIMEDOUT;
}
