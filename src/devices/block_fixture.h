/* SPDX-License-Identifier: BSD-3-Clause */
/* block_fixture.h - a disk with a pattern, its driver and requests; for block*_test.c only */
#pragma once

#include "base/fd.h"
#include "base/num.h"
#include "devices/harness_test.h"
#include "virtio/ids.h"

#include <fcntl.h>
#include <linux/virtio_blk.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

enum {
	WAIT_MS = 20000,
	QUEUE_SIZE = 64,
	DISK = 4 * 1024 * 1024,
	SECTOR = 512,
	NO_STATUS = 0x7f, /* what the status byte holds before */
};

static struct harness h;
static char disk_path[] = "block_test.XXXXXX";
static int disk = -1; /* a descriptor of our own */

#define ALL_FEATURES                                                                               \
	(VIRTIO_BIT(VIRTIO_BLK_F_RO) | VIRTIO_BIT(VIRTIO_BLK_F_FLUSH) |                            \
	 VIRTIO_BIT(VIRTIO_BLK_F_DISCARD) | VIRTIO_BIT(VIRTIO_BLK_F_WRITE_ZEROES) |                \
	 VIRTIO_BIT(VIRTIO_BLK_F_SEG_MAX) | VIRTIO_BIT(VIRTIO_BLK_F_MQ))

static const struct driver_options split = {
	.nqueues = 1, .queue_size = QUEUE_SIZE, .features = ALL_FEATURES};

static inline uint8_t pattern(uint64_t at)
{
	return (uint8_t)((at * 2654435761u) >> 13);
}

static inline void disk_make(uint64_t size)
{
	static uint8_t block[65536];

	snprintf(disk_path, sizeof(disk_path), "block_test.XXXXXX");
	disk = mkstemp(disk_path);
	assert_true(disk >= 0);
	for (uint64_t at = 0; at < size; at += sizeof(block)) {
		for (size_t i = 0; i < sizeof(block); i++)
			block[i] = pattern(at + i);
		assert_int_equal(pwrite(disk, block, min_u64(sizeof(block), size - at), (off_t)at),
				 min_u64(sizeof(block), size - at));
	}
}

static inline void start_with(const char *options, enum harness_kind kind,
			      const struct driver_options *o)
{
	static char text[256];

	if (disk < 0)
		disk_make(DISK);
	snprintf(text, sizeof(text), "path=%s%s%s", disk_path, options ? "," : "",
		 options ? options : "");
	harness_start(&h, "block", text, kind, o);
}

static inline void start(const char *options)
{
	start_with(options, HARNESS_THREAD, &split);
}

static inline int stop(void **state)
{
	(void)state;
	harness_stop(&h);
	unlink(disk_path);
	fd_close(&disk);
	return 0;
}

static inline struct driver_queue *queue(void)
{
	return &h.d.queues[0];
}

struct io {
	gpa header, data, status;
	uint32_t bytes;
};

static inline struct io call_new(uint32_t type, uint64_t sector, uint32_t bytes)
{
	struct io c = {.header = driver_alloc(&h.d, 16, 16),
		       .data = driver_alloc(&h.d, bytes ? bytes : 1, 512),
		       .status = driver_alloc(&h.d, 1, 1),
		       .bytes = bytes};
	struct virtio_blk_outhdr header = {.type = type, .sector = sector};

	assert_true(c.header && c.data && c.status);
	memcpy(driver_at(&h.d, c.header, 16), &header, 16);
	*(uint8_t *)driver_at(&h.d, c.status, 1) = NO_STATUS;
	return c;
}

static inline uint8_t *data_of(const struct io *c)
{
	return driver_at(&h.d, c->data, c->bytes);
}

static inline uint8_t status_of(const struct io *c)
{
	return *(uint8_t *)driver_at(&h.d, c->status, 1);
}

/* Sends any chain and waits for it; the used length. */
static inline uint32_t send_chain(const struct driver_buf *bufs, unsigned n)
{
	struct driver_used used = {0};
	int id = driver_add(queue(), bufs, n);

	assert_true(id >= 0);
	driver_kick(queue());
	assert_int_equal(driver_wait(queue(), WAIT_MS, &used), 0);
	assert_int_equal(used.id, id);
	return used.len;
}

static inline unsigned call_bufs(const struct io *c, bool data_is_writable, struct driver_buf b[3])
{
	unsigned n = 0;

	b[n++] = (struct driver_buf){c->header, 16, false};
	if (c->bytes)
		b[n++] = (struct driver_buf){c->data, c->bytes, data_is_writable};
	b[n++] = (struct driver_buf){c->status, 1, true};
	return n;
}

static inline uint8_t run(const struct io *c, bool data_is_writable, uint32_t *ret_len)
{
	struct driver_buf b[3];
	unsigned n = call_bufs(c, data_is_writable, b);
	uint32_t len = send_chain(b, n);

	if (ret_len)
		*ret_len = len;
	return status_of(c);
}

static inline uint8_t simple(uint32_t type, uint64_t sector, uint32_t bytes)
{
	struct io c = call_new(type, sector, bytes);

	return run(&c, type == VIRTIO_BLK_T_IN || type == VIRTIO_BLK_T_GET_ID, NULL);
}

static inline void expect_pattern(const uint8_t *p, uint64_t at, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (p[i] != pattern(at + i))
			fail_msg("byte %zu at %llu is wrong", i, (unsigned long long)at);
}

static inline void expect_disk_untouched(void)
{
	static uint8_t back[DISK];

	assert_int_equal(pread(disk, back, DISK, 0), DISK);
	expect_pattern(back, 0, DISK);
}
