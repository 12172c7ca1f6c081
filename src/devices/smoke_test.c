/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * smoke_test.c - every device of the table: starts, serves any chain, resets, and survives
 *
 * A device that needs options to open gets a row in options_of(); nothing else is known about it
 * here.
 */
#include "base/fd.h"
#include "base/netns_test.h"
#include "devices/device.h"
#include "devices/harness_test.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

enum { QUEUE_SIZE = 16, ROUNDS = 300, BUFFERS = 4 };

static struct harness h;
static bool has_taps;
static char disk_path[64], disk_option[80], vsock_path[80], vsock_option[96];
static uint32_t seed;

static uint32_t any(uint32_t below)
{
	seed = seed * 1664525 + 1013904223;
	return (seed >> 8) % below;
}

static const char *options_of(const char *type)
{
	if (strcmp(type, "block") == 0)
		return disk_option;
	if (strcmp(type, "net") == 0)
		return "tap=smoke0,queues=2,mac=02:00:00:00:00:01";
	if (strcmp(type, "vsock") == 0)
		return vsock_option;
	if (strcmp(type, "vhost_vsock") == 0)
		return "cid=4000000000";
	return strcmp(type, "console") == 0 ? "type=sink" : NULL;
}

/* A sound chain with whatever in it. */
static void add_any(struct driver_queue *q, gpa memory)
{
	struct driver_buf bufs[BUFFERS];
	unsigned n = any(BUFFERS) + 1, writable = any(n + 1);

	for (unsigned i = 0; i < n; i++)
		bufs[i] = (struct driver_buf){memory + any(32768), any(2) ? any(32) : any(8192),
					      i >= writable};
	for (unsigned i = 0; i < 64; i++)
		*(uint8_t *)driver_at(&h.d, memory + any(65536), 1) = (uint8_t)any(8);
	driver_add(q, bufs, n);
}

static void damage_any(struct driver_queue *q)
{
	uint8_t *ring = q->desc;

	if (any(8) == 0)
		driver_publish(q, (uint16_t)any(QUEUE_SIZE * 2));
	else
		ring[any(16 * QUEUE_SIZE)] = (uint8_t)any(256);
}

static void reset(void)
{
	for (unsigned i = 0; i < h.d.options.nqueues; i++)
		assert_int_equal(driver_stop_queue(&h.d, i), 0);
	assert_int_equal(vu_set(&h.d.conn, VU_RESET_DEVICE), 0);
	driver_reset(&h.d);
	for (unsigned i = 0; i < h.d.options.nqueues; i++)
		assert_int_equal(driver_send_queue(&h.d, i), 0);
}

static void harass(gpa memory, bool with_damage)
{
	for (unsigned round = 0; round < ROUNDS; round++) {
		struct driver_queue *q = &h.d.queues[any(h.d.options.nqueues)];
		struct driver_used used;

		for (unsigned i = any(4); i > 0; i--)
			add_any(q, memory);
		if (with_damage && any(8) == 0)
			damage_any(q);
		driver_kick_always(q);
		/* A balloon may have taken the ring itself away: then there is no end of zeros. */
		for (unsigned i = 0; i < QUEUE_SIZE && driver_poll(q, &used); i++)
			;
		if (any(32) == 0)
			reset();
	}
	harness_expect_alive(&h);
	reset();
}

static unsigned queues_before_open(const struct device_type *type)
{
	const char *options[] = {options_of(type->name), NULL};
	struct err e = {0};
	struct device *d = device_new(type, type->name, options, &e);
	unsigned n = d ? d->nqueues : 0;

	device_free(d);
	return n;
}

static unsigned queues_of(const struct device_type *type)
{
	unsigned n = type->nqueues < DRIVER_QUEUES_MAX ? type->nqueues : DRIVER_QUEUES_MAX;
	uint64_t most = 0;
	struct driver_options o = {.nqueues = 1, .queue_size = 4};
	int sock = harness_start_device(&h, type->name, options_of(type->name), HARNESS_THREAD, &o);

	assert_int_equal(driver_greet_take(&h.d, sock), 0);
	assert_int_equal(vu_get_u64(&h.d.conn, VU_GET_QUEUE_NUM, &most), 0);
	harness_stop(&h);
	assert_int_equal(most, queues_before_open(type)); /* main goes by that */
	return most < n ? (unsigned)most : n;
}

static void smoke(const struct device_type *type, enum harness_kind kind, bool packed)
{
	struct driver_options o = {.nqueues = queues_of(type),
				   .queue_size = QUEUE_SIZE,
				   .packed = packed,
				   .inflight = true,
				   .features = type->features};
	uint8_t space[VU_CONFIG_MAX];
	gpa memory;

	print_message("# %s, %s, %s\n", type->name, kind == HARNESS_PROCESS ? "process" : "thread",
		      packed ? "packed" : "split");
	seed = 1;
	harness_start(&h, type->name, options_of(type->name), kind, &o);
	assert_int_equal(driver_config_read(&h.d, 0, space, sizeof(space)), 0);
	for (size_t i = type->config_size; i < sizeof(space); i++)
		assert_int_equal(space[i], 0);
	memory = driver_alloc(&h.d, 65536, 4096);
	harass(memory, false);
	harass(memory, true);
	harness_stop(&h);
}

static void test_every_device_starts_resets_and_survives(void **state)
{
	(void)state;
	for (const struct device_type *const *t = device_types; *t; t++) {
		if (strcmp((*t)->name, "vhost_vsock") == 0 && access("/dev/vhost-vsock", R_OK) < 0)
			continue; /* no kernel module, and no way to have one here */
		if (strcmp((*t)->name, "net") == 0 && !has_taps)
			continue;
		smoke(*t, HARNESS_THREAD, false);
		smoke(*t, HARNESS_THREAD, true);
		smoke(*t, HARNESS_PROCESS, false);
		smoke(*t, HARNESS_PROCESS, true);
	}
}

static void test_every_row_of_the_table_is_complete(void **state)
{
	(void)state;
	for (const struct device_type *const *t = device_types; *t; t++) {
		assert_non_null((*t)->summary);
		assert_non_null((*t)->kick);
		assert_true((*t)->virtio_id > 0);
		assert_in_range((*t)->nqueues, 1, DEVICE_QUEUES_MAX);
		assert_true((*t)->size >= sizeof(struct device));
		assert_true((*t)->config_size <= VU_CONFIG_MAX);
		assert_true((*t)->config_size == 0 || (*t)->config != NULL);
		assert_true(((*t)->queue_size & ((*t)->queue_size - 1)) == 0);
		assert_true((*t)->queue_size <= VQ_SIZE_MAX);
		assert_ptr_equal(device_type_find((*t)->name), *t);
	}
	assert_null(device_type_find("no such"));
}

static int make_disk(void **state)
{
	auto_fd fd = -1;

	(void)state;
	has_taps = netns_enter();
	snprintf(disk_path, sizeof(disk_path), "/tmp/crosvm-smoke-XXXXXX");
	fd = mkstemp(disk_path);
	snprintf(vsock_path, sizeof(vsock_path), "%s.vsock", disk_path);
	snprintf(vsock_option, sizeof(vsock_option), "cid=3,socket=%s", vsock_path);
	snprintf(disk_option, sizeof(disk_option), "path=%s", disk_path);
	return fd >= 0 && ftruncate(fd, 1 << 20) == 0 ? 0 : -1;
}

static int remove_disk(void **state)
{
	(void)state;
	return unlink(vsock_path) == 0 ? unlink(disk_path) : -1;
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_row_of_the_table_is_complete),
		cmocka_unit_test(test_every_device_starts_resets_and_survives),
	};

	return cmocka_run_group_tests(tests, make_disk, remove_disk);
}
