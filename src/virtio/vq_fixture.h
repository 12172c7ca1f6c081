/* SPDX-License-Identifier: BSD-3-Clause */
/* vq_fixture.h - for tests of queues: a driver and a queue in one thread */
#pragma once

#include "virtio/driver_test.h"
#include "virtio/vq.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

enum { QUEUE_SIZE = 16 };

struct fixture {
	struct driver d;
	struct vq vq;
	struct chain c;
	gpa buf; /* 64 KiB */
	int times_broken;
};

static struct fixture f;

static inline void count_broken(struct vq *q)
{
	assert_ptr_equal(q->owner, &f);
	f.times_broken++;
}

static inline void begin(struct driver_options o)
{
	memset(&f, 0, sizeof(f));
	o.nqueues = 1;
	if (!o.queue_size)
		o.queue_size = QUEUE_SIZE;
	assert_int_equal(driver_init(&f.d, &o), 0);
	f.vq.on_broken = count_broken;
	f.vq.owner = &f;
	assert_int_equal(driver_vq_start(&f.d, 0, NULL, &f.vq), 0);
	f.buf = driver_alloc(&f.d, 65536, 4096);
	assert_int_not_equal(f.buf, 0);
}

static inline int end(void **state)
{
	(void)state;
	vq_stop(&f.vq);
	driver_fini(&f.d);
	return 0;
}

static inline struct driver_queue *dq(void)
{
	return &f.d.queues[0];
}

static inline uint8_t *at(gpa a)
{
	return driver_at(&f.d, a, 1);
}

/* Header, data, status: what a disk's driver sends. */
static inline int add_three(uint32_t data)
{
	struct driver_buf b[] = {
		{f.buf, 16, false}, {f.buf + 4096, data, true}, {f.buf + 8192 + data, 1, true}};

	return driver_add(dq(), b, 3);
}

static inline void expect_broken(const char *why)
{
	assert_false(vq_pop(&f.vq, &f.c));
	assert_non_null(f.vq.broken);
	assert_string_equal(f.vq.broken, why);
	assert_int_equal(f.times_broken, 1);
	assert_false(vq_pop(&f.vq, &f.c));
	assert_false(vq_has_more(&f.vq));
	vq_break(&f.vq, "another reason");
	assert_string_equal(f.vq.broken, why);
	assert_int_equal(f.times_broken, 1);
}
