/* SPDX-License-Identifier: BSD-3-Clause */
/* rng_test.c - the entropy device, jailed and in a thread, with good, bad and absurd requests */
#include "base/loop.h"
#include "devices/harness_test.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

enum { WAIT_MS = 10000, QUEUE_SIZE = 16 };

static struct harness h;

static const struct driver_options split = {.nqueues = 1, .queue_size = QUEUE_SIZE};

static struct driver_queue *queue(void)
{
	return &h.d.queues[0];
}

static int stop(void **state)
{
	(void)state;
	harness_stop(&h);
	return 0;
}

static struct driver_used ask(const struct driver_buf *bufs, unsigned n)
{
	struct driver_used used = {0};
	int id = driver_add(queue(), bufs, n);

	assert_true(id >= 0);
	driver_kick(queue());
	assert_int_equal(driver_wait(queue(), WAIT_MS, &used), 0);
	assert_int_equal(used.id, id);
	return used;
}

static bool is_zero(gpa a, size_t n)
{
	const uint8_t *p = driver_at(&h.d, a, n);

	for (size_t i = 0; i < n; i++)
		if (p[i])
			return false;
	return true;
}

static void fills_what_is_writable(void)
{
	gpa a = driver_alloc(&h.d, 4096, 64);
	struct driver_buf b[] = {{a, 64, false}, {a + 1024, 100, true}, {a + 2048, 28, true}};

	assert_int_equal(ask(b, 3).len, 128);
	assert_true(is_zero(a, 64));
	assert_false(is_zero(a + 1024, 100));
	assert_false(is_zero(a + 2048, 28));
	assert_true(is_zero(a + 2048 + 28, 100));
}

static void test_fills_every_writable_byte(void **state)
{
	(void)state;
	for (int kind = HARNESS_THREAD; kind <= HARNESS_PROCESS; kind++) {
		for (int packed = 0; packed < 2; packed++) {
			struct driver_options o = split;

			o.packed = packed;
			harness_start(&h, "rng", NULL, (enum harness_kind)kind, &o);
			fills_what_is_writable();
			harness_stop(&h);
		}
	}
}

static void test_long_request_is_answered_in_part(void **state)
{
	struct driver_buf b;

	(void)state;
	harness_start(&h, "rng", NULL, HARNESS_THREAD, &split);
	b = (struct driver_buf){driver_alloc(&h.d, 1 << 20, 64), 1 << 20, true};
	assert_int_equal(ask(&b, 1).len, 2048);
}

static void test_request_without_room_is_returned_empty(void **state)
{
	struct driver_buf b;

	(void)state;
	harness_start(&h, "rng", NULL, HARNESS_THREAD, &split);
	b = (struct driver_buf){driver_alloc(&h.d, 64, 64), 64, false};
	assert_int_equal(ask(&b, 1).len, 0);
	b = (struct driver_buf){b.addr, 0, true};
	assert_int_equal(ask(&b, 1).len, 0);
}

/* As main sees it: in the memory that it keeps. */
static uint64_t counted(unsigned counter)
{
	return counter_get(&h.shared.counters[counter]);
}

static void test_counters_rise_and_outlive_the_device(void **state)
{
	struct driver_buf b;

	(void)state;
	harness_start(&h, "rng", NULL, HARNESS_THREAD, &split);
	assert_int_equal(counted(VQ_REQUESTS), 0);
	b = (struct driver_buf){driver_alloc(&h.d, 1 << 20, 64), 100, true};
	ask(&b, 1);
	assert_int_equal(counted(VQ_REQUESTS), 1);
	assert_int_equal(counted(VQ_BYTES_IN), 100);
	b.writable = false;
	ask(&b, 1);
	assert_int_equal(counted(VQ_BYTES_OUT), 100);
	harness_expect_alive(&h);			   /* its turn is over */
	assert_true(counted(VQ_INTERRUPTS) >= 1); /* if the driver asked */
	assert_true(counted(DEVICE_KICKS) >= 2);
	assert_int_equal(counted(VQ_BROKEN), 0);

	harness_restart(&h);
	b.writable = true;
	ask(&b, 1);
	assert_int_equal(counted(VQ_REQUESTS), 3);
	assert_int_equal(counted(VQ_BYTES_IN), 200);
	driver_publish(queue(), QUEUE_SIZE);
	driver_kick_always(queue());
	assert_int_equal(driver_wait_broken(queue(), WAIT_MS), 0);
	assert_int_equal(counted(VQ_BROKEN), 1);
}

static void test_rate_is_bounded(void **state)
{
	struct driver_used used;
	struct driver_buf b;
	unsigned n = 0;

	(void)state;
	harness_start(&h, "rng", "rate=40K", HARNESS_THREAD, &split);
	b = (struct driver_buf){driver_alloc(&h.d, 4096, 64), 2048, true};
	while (driver_add(queue(), &b, 1) >= 0)
		n++;
	driver_kick(queue());
	/* 4 KiB a tenth of a second: two requests at once, the third must wait for the timer. */
	for (unsigned i = 0; i < 6; i++)
		assert_int_equal(driver_wait(queue(), WAIT_MS, &used), 0);
	assert_true(n > 6);
	assert_false(driver_poll(queue(), &used));
}

/* Or a driver with nothing but those would have all of a processor, and nobody else a turn. */
static void test_requests_without_room_count_too(void **state)
{
	struct driver_used used;
	struct driver_buf b;
	uint64_t begin;

	(void)state;
	harness_start(&h, "rng", "rate=4K", HARNESS_THREAD, &split);
	b = (struct driver_buf){driver_alloc(&h.d, 64, 64), 64, false};
	while (driver_add(queue(), &b, 1) >= 0)
		;
	begin = clock_ns();
	driver_kick(queue());
	for (unsigned i = 0; i < QUEUE_SIZE; i++)
		assert_int_equal(driver_wait(queue(), WAIT_MS, &used), 0);
	assert_true(clock_ns() - begin > 200000000); /* two periods more than the first */
}

static void test_broken_queue_is_reported_and_heals_by_reset(void **state)
{
	(void)state;
	harness_start(&h, "rng", NULL, HARNESS_PROCESS, &split);
	driver_publish(queue(), QUEUE_SIZE);
	driver_kick_always(queue());
	assert_int_equal(driver_wait_broken(queue(), WAIT_MS), 0);
	harness_expect_alive(&h);
	assert_int_equal(vu_set(&h.d.conn, VU_RESET_DEVICE), 0);
	driver_reset(&h.d);
	assert_int_equal(driver_send_queue(&h.d, 0), 0);
	fills_what_is_writable();
}

static void test_reset_while_requests_wait(void **state)
{
	struct driver_used used;
	struct driver_buf b;

	(void)state;
	harness_start(&h, "rng", "rate=4K", HARNESS_PROCESS, &split);
	b = (struct driver_buf){driver_alloc(&h.d, 4096, 64), 400, true};
	while (driver_add(queue(), &b, 1) >= 0)
		;
	driver_kick(queue());
	assert_int_equal(driver_wait(queue(), WAIT_MS, &used), 0);
	assert_int_equal(vu_set_u64(&h.d.conn, VU_SET_STATUS, 15), 0);
	assert_int_equal(vu_set_u64(&h.d.conn, VU_SET_STATUS, 0), 0);
	driver_reset(&h.d);
	memset(driver_at(&h.d, b.addr, 4096), 0, 4096);
	assert_false(driver_poll(queue(), &used));
	assert_int_equal(driver_send_queue(&h.d, 0), 0);
	fills_what_is_writable();
}

/* Driver and device wake each other; were a kick or a call lost, both would wait for ever. */
static void wake_each_other(struct driver_options o)
{
	struct driver_buf b[2];
	unsigned in_flight = 0, seed = 7;

	harness_start(&h, "rng", "rate=1G", HARNESS_THREAD, &o);
	b[0] = (struct driver_buf){driver_alloc(&h.d, 64, 64), 1, true};
	b[1] = b[0];
	for (unsigned round = 0; round < 20000; round++) {
		struct driver_used used;

		seed = seed * 1664525 + 1013904223;
		for (unsigned i = seed >> 28 & 3; i > 0; i--)
			if (driver_add(queue(), b, seed >> 30 ? 1 : 2) >= 0)
				in_flight++;
		driver_kick(queue());
		for (unsigned i = seed >> 20 & 3; i > 0 && in_flight > 0; i--) {
			assert_int_equal(driver_wait(queue(), WAIT_MS, &used), 0);
			in_flight--;
		}
	}
	harness_stop(&h);
}

static void test_no_notification_is_lost(void **state)
{
	(void)state;
	for (int i = 0; i < 8; i++)
		wake_each_other((struct driver_options){.nqueues = 1,
							.queue_size = QUEUE_SIZE,
							.packed = i & 1,
							.no_event_idx = i & 2,
							.indirect = i & 4});
}

/* Every request is completed once, whenever the process dies. */
static void kill_again_and_again(bool packed)
{
	struct driver_options o = {
		.nqueues = 1, .queue_size = 64, .packed = packed, .inflight = true};
	enum { KILLS = 30, ROUNDS = 40 };
	bool pending[64] = {0};
	struct driver_buf b;
	unsigned done = 0;

	harness_start(&h, "rng", "rate=1G", HARNESS_PROCESS, &o);
	b = (struct driver_buf){driver_alloc(&h.d, 4096, 64), 64, true};
	for (unsigned kills = 0; kills < KILLS; kills++) {
		struct driver_used used;
		int id;

		for (unsigned i = 0; i < ROUNDS * (kills % 7); i++) {
			while ((id = driver_add(queue(), &b, 1)) >= 0) {
				assert_false(pending[id]);
				pending[id] = true;
			}
			driver_kick(queue());
			assert_int_equal(driver_wait(queue(), WAIT_MS, &used), 0);
			assert_true(pending[used.id]);
			pending[used.id] = false;
			done++;
		}
		harness_kill(&h);
		harness_restart(&h);
	}
	for (unsigned i = 0; i < 64; i++) {
		struct driver_used used;
		unsigned left = 0;

		for (unsigned k = 0; k < 64; k++)
			left += pending[k];
		if (left == 0)
			break;
		assert_int_equal(driver_wait(queue(), WAIT_MS, &used), 0);
		assert_true(pending[used.id]);
		pending[used.id] = false;
		done++;
	}
	assert_true(done > KILLS);
	fills_what_is_writable();
	harness_stop(&h);
}

static void test_killed_process_is_replaced_without_loss(void **state)
{
	(void)state;
	kill_again_and_again(false);
	kill_again_and_again(true);
}

#define TEST(name) cmocka_unit_test_teardown(test_##name, stop)

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_fills_every_writable_byte),
		TEST(long_request_is_answered_in_part),
		TEST(request_without_room_is_returned_empty),
		TEST(counters_rise_and_outlive_the_device),
		TEST(rate_is_bounded),
		TEST(requests_without_room_count_too),
		TEST(broken_queue_is_reported_and_heals_by_reset),
		TEST(reset_while_requests_wait),
		cmocka_unit_test(test_no_notification_is_lost),
		cmocka_unit_test(test_killed_process_is_replaced_without_loss),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
