/* SPDX-License-Identifier: BSD-3-Clause */
/* block_limit_test.c - a disk with limits: as fast as they say, and nothing gets lost */
#include "base/fd.h"
#include "base/loop.h"
#include "devices/harness_test.h"
#include "virtio/ids.h"

#include <linux/virtio_blk.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

enum { WAIT_MS = 20000, QUEUES = 2, QUEUE_SIZE = 64, DISK = 1 << 20, SECTOR = 512, MS = 1000000 };

static struct harness h;
static char disk_path[] = "block_limit_test.XXXXXX";

static void start(const char *options, enum harness_kind kind)
{
	static const struct driver_options o = {.nqueues = QUEUES, .queue_size = QUEUE_SIZE};
	static char text[256];
	auto_fd disk = -1;

	snprintf(disk_path, sizeof(disk_path), "block_limit_test.XXXXXX");
	disk = mkstemp(disk_path);
	assert_true(disk >= 0);
	assert_int_equal(ftruncate(disk, DISK), 0);
	snprintf(text, sizeof(text), "path=%s,queues=%d,burst=1,%s", disk_path, QUEUES, options);
	harness_start(&h, "block", text, kind, &o);
}

static int stop(void **state)
{
	(void)state;
	harness_stop(&h);
	unlink(disk_path);
	return 0;
}

static void add(struct driver_queue *q, uint32_t type, uint32_t bytes)
{
	struct virtio_blk_outhdr header = {.type = type};
	struct driver_buf b[] = {{driver_alloc(&h.d, 16, 16), 16, false},
				 {driver_alloc(&h.d, bytes + 1, 512), bytes + 1, true}};

	memcpy(driver_at(&h.d, b[0].addr, 16), &header, 16);
	assert_true(driver_add(q, b, 2) >= 0);
}

static void finish(struct driver_queue *q, unsigned n)
{
	struct driver_used used;

	for (unsigned i = 0; i < n; i++)
		assert_int_equal(driver_wait(q, WAIT_MS, &used), 0);
}

/* Milliseconds that n reads in each queue take. */
static uint64_t reads_take(unsigned n, uint32_t bytes)
{
	uint64_t begin = clock_ns();

	for (unsigned q = 0; q < QUEUES; q++) {
		for (unsigned i = 0; i < n; i++)
			add(&h.d.queues[q], VIRTIO_BLK_T_IN, bytes);
		driver_kick(&h.d.queues[q]);
	}
	for (unsigned q = 0; q < QUEUES; q++)
		finish(&h.d.queues[q], n);
	return (clock_ns() - begin) / MS;
}

/* The process's processor time so far, in clock ticks. */
static unsigned long ticks(void)
{
	char path[64], text[512];
	unsigned long user, system;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/stat", (int)h.pid);
	f = fopen(path, "r");
	assert_non_null(f);
	assert_non_null(fgets(text, sizeof(text), f));
	fclose(f);
	assert_int_equal(sscanf(strrchr(text, ')'), ") %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u "
						    "%*u %lu %lu", &user, &system), 2);
	return user + system;
}

static void test_bytes_a_second(void **state)
{
	uint64_t took;

	(void)state;
	start("bps=8M", HARNESS_PROCESS);
	took = reads_take(32, 65536); /* 4 MiB */
	assert_true(took >= 480 && took < WAIT_MS);
}

static void test_requests_a_second_without_spinning(void **state)
{
	unsigned long before;

	(void)state;
	start("iops=100", HARNESS_PROCESS);
	before = ticks();
	assert_true(reads_take(20, SECTOR) >= 370);
	assert_true(ticks() - before < (unsigned long)sysconf(_SC_CLK_TCK) / 10);
}

static void test_flush_costs_nothing(void **state)
{
	uint64_t begin = clock_ns();

	(void)state;
	start("iops=1", HARNESS_PROCESS);
	for (unsigned i = 0; i < 20; i++)
		add(&h.d.queues[0], VIRTIO_BLK_T_FLUSH, 0);
	driver_kick(&h.d.queues[0]);
	finish(&h.d.queues[0], 20);
	assert_true(clock_ns() - begin < (uint64_t)10000 * MS);
}

static void test_reset_while_requests_wait(void **state)
{
	(void)state;
	start("iops=1", HARNESS_PROCESS);
	for (unsigned i = 0; i < 10; i++)
		add(&h.d.queues[1], VIRTIO_BLK_T_IN, SECTOR);
	driver_kick(&h.d.queues[1]);
	finish(&h.d.queues[1], 1);
	harness_expect_alive(&h);
}

static void command(const char *line, const char *reply)
{
	char text[4096];
	size_t nfds;
	ssize_t n;

	assert_int_equal(fd_send(h.control_sock, line, strlen(line), NULL, 0), 0);
	n = fd_recv(h.control_sock, text, sizeof(text) - 1, NULL, 0, &nfds);
	assert_true(n > 0);
	text[n] = '\0';
	if (!strstr(text, reply))
		fail_msg("%s: %s", line, text);
}

static void test_limits_are_changed_while_requests_wait(void **state)
{
	uint64_t begin = clock_ns();

	(void)state;
	start("iops=1", HARNESS_THREAD);
	for (unsigned i = 0; i < 30; i++)
		add(&h.d.queues[0], VIRTIO_BLK_T_IN, SECTOR);
	driver_kick(&h.d.queues[0]);
	finish(&h.d.queues[0], 1);
	command("status", "\"bps\":0,\"iops\":1,\"burst\":1");
	command("limit bps=1M,iops=10000,burst=5", "\"ok\":true");
	finish(&h.d.queues[0], 29);
	command("status", "\"bps\":1048576,\"iops\":10000,\"burst\":5");
	command("limit", "\"ok\":true");
	command("status", "\"bps\":0,\"iops\":0,\"burst\":100");
	command("limit iops=x", "iops");
	assert_true(clock_ns() - begin < (uint64_t)30000 * MS);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(test_bytes_a_second, stop),
		cmocka_unit_test_teardown(test_requests_a_second_without_spinning, stop),
		cmocka_unit_test_teardown(test_flush_costs_nothing, stop),
		cmocka_unit_test_teardown(test_reset_while_requests_wait, stop),
		cmocka_unit_test_teardown(test_limits_are_changed_while_requests_wait, stop),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
