/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * vq_fuzz.c - queues on memory that changes under them
 *
 * The input is a script.  The fake driver makes valid chains and damages rings as it says; the
 * device side pops, reads, writes, pushes, dies and starts again; and whenever anything is read
 * from guest memory, the script may rewrite what was just read (mem/gmem.h, GMEM_HOSTILE).
 */
#include "base/num.h"
#include "virtio/driver_test.h"

#include <stdlib.h>
#include <string.h>

enum { QUEUE_SIZE = 8, CHAINS = 8, BUFFERS = 0x4000, BUFFER_BYTES = 0x4000 };

static const uint8_t *script;
static size_t script_left;

static uint8_t take(void)
{
	if (script_left == 0)
		return 0;
	script_left--;
	return *script++;
}

static void rewrite(void *source, size_t n)
{
	uint8_t *bytes = source;

	if (script_left == 0 || take() < 0xd0)
		return;
	bytes[take() % n] ^= take();
}

static struct driver drivers[2]; /* split, packed */
static struct vq vq;
static struct chain chains[CHAINS];
static bool is_popped[CHAINS];
static _Alignas(64) uint8_t log_memory[4096];

static void make_drivers(void)
{
	for (unsigned i = 0; i < 2; i++) {
		struct driver_options o = {.nqueues = 1,
					   .queue_size = QUEUE_SIZE,
					   .memory = 0x10000,
					   .second_region = 0x9000,
					   .packed = i == 1};

		if (!drivers[i].mem && driver_init(&drivers[i], &o) < 0)
			abort();
	}
}

/* Mostly inside memory, now and then across its end or the border of its regions. */
static struct driver_buf any_buffer(void)
{
	unsigned where = take();
	gpa a = DRIVER_BASE + BUFFERS + take() * 64u + where % 64;

	if (where > 250)
		a = DRIVER_BASE + 0x7000 - take();
	if (where == 250)
		a = DRIVER_BASE + 0x10000 - take();
	return (struct driver_buf){a, take(), where & 1};
}

static void add_chain(struct driver *d)
{
	struct driver_buf bufs[4];
	unsigned n = take() % 4 + 1;

	for (unsigned i = 0; i < n; i++)
		bufs[i] = any_buffer();
	if (take() & 1)
		for (unsigned i = 0; i < n; i++)
			bufs[i].writable = i >= n / 2;
	d->options.indirect = take() & 1;
	driver_add(&d->queues[0], bufs, n);
}

static void damage(struct driver *d)
{
	struct driver_queue *q = &d->queues[0];
	uint8_t what = take(), at = take(), value = take();

	switch (what % 5) {
	case 0:
		((uint8_t *)q->desc)[at % (16 * QUEUE_SIZE)] = value;
		break;
	case 1:
		((uint8_t *)q->driver_area)[at % (6 + 2 * QUEUE_SIZE)] = value;
		break;
	case 2:
		((uint8_t *)q->device_area)[at % (6 + 8 * QUEUE_SIZE)] = value;
		break;
	case 3:
		((uint8_t *)driver_table(q, at % QUEUE_SIZE))[at % 64] = value;
		break;
	default:
		log_memory[(at + 256u * what) % sizeof(log_memory)] = value;
		break;
	}
}

/* Counts what a chain's iovecs say against what it says itself. */
static void check(const struct chain *c, enum chain_side side)
{
	uint64_t sum = 0;
	unsigned n;
	const struct iovec *v = chain_iov(c, side, &n);

	for (unsigned i = 0; i < n; i++) {
		if (v[i].iov_len == 0)
			abort();
		sum += v[i].iov_len;
		*(volatile uint8_t *)v[i].iov_base;
		*((volatile uint8_t *)v[i].iov_base + v[i].iov_len - 1);
	}
	if (sum != chain_left(c, side))
		abort();
}

static void use_chain(struct chain *c)
{
	static uint8_t data[4096];
	size_t n = take();
	enum chain_side side = n & 1 ? CHAIN_WRITABLE : CHAIN_READABLE;
	bool fits_read = n <= chain_left(c, CHAIN_READABLE);
	bool fits_write = n <= chain_left(c, CHAIN_WRITABLE);

	switch (take() % 6) {
	case 0:
		if (chain_get(c, data, n) != fits_read)
			abort();
		break;
	case 1:
		if (chain_put(c, data, n) != fits_write)
			abort();
		break;
	case 2:
		if (chain_skip(c, side, n) != (side == CHAIN_WRITABLE ? fits_write : fits_read))
			abort();
		break;
	case 3:
		if (!chain_tail(c, n))
			break;
		check(c, CHAIN_WRITABLE);
		if (!chain_tail_put(c, data, n))
			abort();
		break;
	default:
		break;
	}
	check(c, CHAIN_READABLE);
	check(c, CHAIN_WRITABLE);
}

static void pop(struct chain *c, bool *popped)
{
	if (*popped || !vq_pop(&vq, c))
		return;
	*popped = true;
	check(c, CHAIN_READABLE);
	check(c, CHAIN_WRITABLE);
}

static void restart(struct driver *d, uint8_t how)
{
	void *log = how & 1 ? log_memory : NULL;

	memset(is_popped, 0, sizeof(is_popped));
	if (how & 2)
		d->queues[0].base = vq_stop(&vq);
	else
		memset(&vq, 0, sizeof(vq)); /* the process died */
	d->options.no_event_idx = how & 4;
	if (how & 8 && driver_vq_start(d, 0, log, &vq) == 0)
		return;
	vq_stop(&vq);
	driver_reset(d);
	memset(log_memory, 0, sizeof(log_memory));
	if (driver_vq_start(d, 0, log, &vq) < 0)
		abort();
}

static void push_all(void)
{
	struct chain *all[CHAINS];
	unsigned n = 0;

	for (unsigned i = 0; i < CHAINS; i++)
		if (is_popped[i])
			all[n++] = &chains[i];
	if (n > 0)
		vq_push_all(&vq, all, n);
	memset(is_popped, 0, sizeof(is_popped));
}

static void step(struct driver *d)
{
	struct driver_used used;
	uint8_t op = take();
	unsigned which = op >> 4 & (CHAINS - 1);

	switch (op & 15) {
	case 0:
	case 1:
	case 2:
		add_chain(d);
		break;
	case 3:
		damage(d);
		break;
	case 4:
		driver_publish(&d->queues[0], take());
		break;
	case 5:
		vq_notify(&vq);
		break;
	case 6:
		vq_polling_set(&vq, take() & 1);
		break;
	case 7:
		restart(d, take());
		break;
	case 8:
		driver_poll(&d->queues[0], &used);
		break;
	case 9:
	case 10:
		if (is_popped[which])
			use_chain(&chains[which]);
		break;
	case 11:
	case 12:
		if (is_popped[which])
			vq_push(&vq, &chains[which]);
		is_popped[which] = false;
		break;
	case 13:
		push_all();
		break;
	default:
		pop(&chains[which], &is_popped[which]);
		break;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct driver *d;
	uint8_t how;

	make_drivers();
	gmem_hostile_hook = NULL;
	script = data;
	script_left = n;
	how = take();
	d = &drivers[how >> 7];
	memset(d->mem + BUFFERS, 0, BUFFER_BYTES);
	memset(&vq, 0, sizeof(vq));
	restart(d, how & 5);
	gmem_hostile_hook = take() & 1 ? rewrite : NULL;
	while (script_left > 0)
		step(d);
	vq_stop(&vq);
	gmem_hostile_hook = NULL;
	return 0;
}
