/* SPDX-License-Identifier: BSD-3-Clause */
/* block_count_test.c - what a disk counts, where main reads it */
#include "base/fd.h"
#include "devices/harness_test.h"

#include <linux/virtio_blk.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

enum { WAIT_MS = 20000, QUEUE_SIZE = 64, DISK = 1 << 20, HEADER = 16, STATUS = 1 };

static struct harness h;
static char disk_path[] = "block_count_test.XXXXXX";

static int start(void **state)
{
	static const struct driver_options o = {.nqueues = 1, .queue_size = QUEUE_SIZE};
	static char options[64];
	auto_fd disk = -1;

	(void)state;
	snprintf(disk_path, sizeof(disk_path), "block_count_test.XXXXXX");
	disk = mkstemp(disk_path);
	if (disk < 0 || ftruncate(disk, DISK) < 0)
		return -1;
	snprintf(options, sizeof(options), "path=%s", disk_path);
	harness_start(&h, "block", options, HARNESS_THREAD, &o);
	return 0;
}

static int stop(void **state)
{
	(void)state;
	harness_stop(&h);
	return unlink(disk_path);
}

/* A request of its kind with so many bytes of data, at a sector; its status. */
static uint8_t ask(uint32_t type, uint32_t bytes, uint64_t sector)
{
	struct virtio_blk_outhdr header = {.type = type, .sector = sector};
	struct driver_buf b[] = {
		{driver_alloc(&h.d, HEADER, 16), HEADER, false},
		{driver_alloc(&h.d, bytes + 1, 512), bytes, type != VIRTIO_BLK_T_OUT},
		{driver_alloc(&h.d, STATUS, 16), STATUS, true},
	};
	struct driver_used used;

	memcpy(driver_at(&h.d, b[0].addr, HEADER), &header, HEADER);
	assert_true(driver_add(&h.d.queues[0], b, 3) >= 0);
	driver_kick(&h.d.queues[0]);
	assert_int_equal(driver_wait(&h.d.queues[0], WAIT_MS, &used), 0);
	return *(uint8_t *)driver_at(&h.d, b[2].addr, STATUS);
}

static uint64_t counted(const char *name)
{
	const struct device_type *type = device_type_find("block");

	for (const struct counter *c = type->counters; c->name; c++)
		if (strcmp(c->name, name) == 0)
			return counter_get(
				&h.shared.counters[DEVICE_COUNTERS + (c - type->counters)]);
	fail_msg("nothing is called %s", name);
	return 0;
}

static void requests_are_counted_by_kind(void **state)
{
	(void)state;
	assert_int_equal(ask(VIRTIO_BLK_T_OUT, 4096, 0), VIRTIO_BLK_S_OK);
	assert_int_equal(ask(VIRTIO_BLK_T_IN, 512, 0), VIRTIO_BLK_S_OK);
	assert_int_equal(ask(VIRTIO_BLK_T_IN, 1024, 8), VIRTIO_BLK_S_OK);
	assert_int_equal(ask(VIRTIO_BLK_T_GET_ID, 20, 0), VIRTIO_BLK_S_OK);

	assert_int_equal(counted("writes"), 1);
	assert_int_equal(counted("written_bytes"), 4096);
	assert_int_equal(counted("reads"), 2);
	assert_int_equal(counted("read_bytes"), 1536);
	assert_int_equal(counted("ids"), 1);
	assert_int_equal(counted("flushes"), 0);
	assert_int_equal(counter_get(&h.shared.counters[VQ_REQUESTS]), 4);
	assert_int_equal(counter_get(&h.shared.counters[VQ_BYTES_OUT]), 4 * HEADER + 4096);
	assert_int_equal(counter_get(&h.shared.counters[DEVICE_ERRORS]), 0);
}

static void requests_that_fail_are_errors_and_nothing_else(void **state)
{
	(void)state;
	assert_int_equal(ask(VIRTIO_BLK_T_IN, 512, DISK), VIRTIO_BLK_S_IOERR);
	assert_int_equal(ask(VIRTIO_BLK_T_OUT, 512, UINT64_MAX), VIRTIO_BLK_S_IOERR);
	assert_int_equal(ask(77, 512, 0), VIRTIO_BLK_S_UNSUPP);

	assert_int_equal(counter_get(&h.shared.counters[DEVICE_ERRORS]), 3);
	assert_int_equal(counted("reads") + counted("writes") + counted("read_bytes"), 0);
}

static void another_process_counts_on(void **state)
{
	(void)state;
	assert_int_equal(ask(VIRTIO_BLK_T_OUT, 512, 0), VIRTIO_BLK_S_OK);
	harness_restart(&h);
	assert_int_equal(ask(VIRTIO_BLK_T_OUT, 512, 0), VIRTIO_BLK_S_OK);

	assert_int_equal(counted("writes"), 2);
	assert_int_equal(counted("written_bytes"), 1024);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, start, stop)

int main(void)
{
	static const struct CMUnitTest tests[] = {
		TEST(requests_are_counted_by_kind),
		TEST(requests_that_fail_are_errors_and_nothing_else),
		TEST(another_process_counts_on),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
