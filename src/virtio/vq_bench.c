/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * vq_bench.c - nanoseconds that one request costs in the virtqueue code
 *
 * A request is what a disk's driver sends: header, 4 KiB of data, status.  The device's side of it
 * is timed: pop, copy the header, split off the status, look at the iovec, write the status, push;
 * one notification a batch.  The driver fills the ring between the timed stretches.  Medians of
 * many batches; run it alone on its core for figures that repeat.
 */
#include "base/loop.h"
#include "virtio/driver_test.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { QUEUE_SIZE = 256, BATCH = 32, BATCHES = 20001, HEADER = 16, DATA = 4096 };

static struct chain chains[BATCH];

static void fill(struct driver *d, gpa memory)
{
	for (unsigned i = 0; i < BATCH; i++) {
		gpa a = memory + i * 8192u;
		struct driver_buf b[] = {
			{a, HEADER, false}, {a + 4096, DATA, true}, {a + HEADER, 1, true}};

		if (driver_add(&d->queues[0], b, 3) < 0)
			abort();
	}
}

static void serve(struct vq *q)
{
	uint8_t header[HEADER], status = 0;
	uint64_t bytes = 0;

	for (unsigned i = 0; i < BATCH; i++) {
		unsigned n;

		if (!vq_pop(q, &chains[i]) || !chain_get(&chains[i], header, HEADER) ||
		    !chain_tail(&chains[i], 1))
			abort();
		bytes += chain_iov(&chains[i], CHAIN_WRITABLE, &n)->iov_len;
	}
	for (unsigned i = 0; i < BATCH; i++) {
		if (!chain_skip(&chains[i], CHAIN_WRITABLE, DATA) ||
		    !chain_tail_put(&chains[i], &status, 1))
			abort();
		vq_push(q, &chains[i]);
	}
	vq_notify(q);
	if (bytes != BATCH * (uint64_t)DATA)
		abort();
}

static int by_value(const void *a, const void *b)
{
	const double *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

static void measure(const char *name, struct driver_options o, bool with_log)
{
	static double ns[BATCHES];
	static uint8_t log[65536];
	static struct driver d;
	static uint64_t counters[VQ_COUNTERS];
	static struct vq q;
	gpa memory;

	o.nqueues = 1;
	o.queue_size = QUEUE_SIZE;
	memset(log, 0, sizeof(log));
	memset(&q, 0, sizeof(q));
	q.counters = counters;
	if (driver_init(&d, &o) < 0 || driver_vq_start(&d, 0, with_log ? log : NULL, &q) < 0)
		abort();
	memory = driver_alloc(&d, BATCH * 8192, 4096);
	driver_calls_set(&d.queues[0], false);
	for (unsigned i = 0; i < BATCHES; i++) {
		struct driver_used used;
		uint64_t before;

		fill(&d, memory);
		before = clock_ns();
		serve(&q);
		ns[i] = (double)(clock_ns() - before) / BATCH;
		while (driver_poll(&d.queues[0], &used))
			;
	}
	qsort(ns, BATCHES, sizeof(ns[0]), by_value);
	printf("%-28s %6.1f ns  (fastest %.1f)\n", name, ns[BATCHES / 2], ns[0]);
	vq_stop(&q);
	driver_fini(&d);
}

int main(void)
{
	printf("one three-descriptor request:\n");
	measure("split", (struct driver_options){0}, false);
	measure("split, indirect", (struct driver_options){.indirect = true}, false);
	measure("split, in-flight log", (struct driver_options){0}, true);
	measure("packed", (struct driver_options){.packed = true}, false);
	measure("packed, indirect", (struct driver_options){.packed = true, .indirect = true},
		false);
	measure("packed, in-flight log", (struct driver_options){.packed = true}, true);
	return 0;
}
