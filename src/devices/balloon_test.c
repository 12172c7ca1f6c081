/* SPDX-License-Identifier: BSD-3-Clause */
/* balloon_test.c - the balloon, jailed and in a thread, with good, bad and absurd drivers */
#include "base/wire.h"
#include "devices/harness_test.h"
#include "virtio/ids.h"

#include <errno.h>
#include <linux/virtio_balloon.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

enum {
	WAIT_MS = 10000,
	QUEUE_SIZE = 64,
	FRAME = 4096,
	INFLATE = 0,
	DEFLATE = 1,
	STATS = 2,
	HINT = 3,
	REPORT = 4,
	MEMORY = 32 << 20,
};

#define BIT(name) VIRTIO_BIT(VIRTIO_BALLOON_F_##name)
#define ALL_FEATURES                                                                               \
	(BIT(MUST_TELL_HOST) | BIT(STATS_VQ) | BIT(DEFLATE_ON_OOM) | BIT(FREE_PAGE_HINT) |         \
	 BIT(PAGE_POISON) | BIT(REPORTING))

static struct harness h;

static const struct driver_options all = {
	.nqueues = 5, .queue_size = QUEUE_SIZE, .memory = MEMORY, .features = ALL_FEATURES};

static int stop(void **state)
{
	(void)state;
	harness_stop(&h);
	return 0;
}

static void start(enum harness_kind kind)
{
	harness_start(&h, "balloon", NULL, kind, &all);
}

/* ---- commands ---- */

static const char *ask(const char *command)
{
	static char answer[4096];
	ssize_t n;

	assert_int_equal(send(h.control_sock, command, strlen(command), 0), strlen(command));
	n = recv(h.control_sock, answer, sizeof(answer) - 1, 0);
	assert_true(n > 0);
	answer[n] = '\0';
	return answer;
}

static bool has_number(const char *json, const char *key, uint64_t *ret)
{
	char quoted[64];
	const char *at;

	snprintf(quoted, sizeof(quoted), "\"%s\":", key);
	at = strstr(json, quoted);
	if (at)
		*ret = strtoull(at + strlen(quoted), NULL, 10);
	return at != NULL;
}

static uint64_t status(const char *key)
{
	uint64_t n = 0;

	assert_true(has_number(ask("status"), key, &n));
	return n;
}

static struct virtio_balloon_config config(void)
{
	struct virtio_balloon_config c;

	assert_int_equal(driver_config_read(&h.d, 0, &c, sizeof(c)), 0);
	return c;
}

/* ---- requests ---- */

static uint32_t send_chain(unsigned queue, const struct driver_buf *bufs, unsigned n)
{
	struct driver_queue *q = &h.d.queues[queue];
	struct driver_used used = {0};
	int id = driver_add(q, bufs, n);

	assert_true(id >= 0);
	driver_kick(q);
	assert_int_equal(driver_wait(q, WAIT_MS, &used), 0);
	assert_int_equal(used.id, id);
	return used.len;
}

static void send_frames(unsigned queue, const uint32_t *frames, unsigned n)
{
	static gpa list;
	struct driver_buf b;

	list = driver_alloc(&h.d, n * sizeof(*frames), 4);
	assert_true(list > 0);
	memcpy(driver_at(&h.d, list, n * sizeof(*frames)), frames, n * sizeof(*frames));
	b = (struct driver_buf){list, n * (uint32_t)sizeof(*frames), false};
	assert_int_equal(send_chain(queue, &b, 1), 0);
}

/* n frames of guest memory that hold something; the address of the first. */
static gpa used_pages(unsigned n)
{
	gpa a = driver_alloc(&h.d, n * (size_t)FRAME, FRAME);

	assert_true(a > 0);
	memset(driver_at(&h.d, a, n * (size_t)FRAME), 7, n * (size_t)FRAME);
	return a;
}

static uint32_t frame_of(gpa a)
{
	return (uint32_t)(a / FRAME);
}

static uint64_t memory_in_use(void)
{
	struct stat st;

	assert_int_equal(fstat(h.d.mem_fd, &st), 0);
	return (uint64_t)st.st_blocks * 512;
}

static bool is_filled(gpa a, uint8_t byte)
{
	const uint8_t *p = driver_at(&h.d, a, FRAME);

	for (unsigned i = 0; i < FRAME; i++)
		if (p[i] != byte)
			return false;
	return true;
}

/* ---- inflate and deflate ---- */

static void inflate_and_deflate(void)
{
	gpa a = used_pages(256);
	uint64_t before = memory_in_use();
	uint32_t frames[256];

	for (unsigned i = 0; i < 256; i++)
		frames[i] = frame_of(a) + 255 - i;
	send_frames(INFLATE, frames, 256);
	/* One page may have come: that with the list. */
	assert_in_range(before - memory_in_use(), 255 * FRAME, 256 * FRAME);
	assert_true(is_filled(a, 0));
	assert_true(is_filled(a + 255 * FRAME, 0));
	send_frames(DEFLATE, frames, 256);
	memset(driver_at(&h.d, a, FRAME), 9, FRAME);
	assert_true(is_filled(a, 9));
}

static void test_inflating_returns_memory_at_once(void **state)
{
	(void)state;
	for (int kind = HARNESS_THREAD; kind <= HARNESS_PROCESS; kind++) {
		for (int packed = 0; packed < 2; packed++) {
			struct driver_options o = all;

			o.packed = packed;
			o.indirect = packed;
			harness_start(&h, "balloon", NULL, (enum harness_kind)kind, &o);
			inflate_and_deflate();
			harness_stop(&h);
		}
	}
}

static void test_neighbours_are_one_call(void **state)
{
	uint32_t frames[64];
	gpa a;

	(void)state;
	start(HARNESS_THREAD);
	a = used_pages(64);
	for (unsigned i = 0; i < 64; i++)
		frames[i] = frame_of(a) + i * 5 % 64;
	send_frames(INFLATE, frames, 64);
	assert_int_equal(status("discard_calls"), 1);
	assert_int_equal(status("inflated_pages"), 64);
	assert_int_equal(status("discarded_bytes"), 64 * FRAME);
	send_frames(DEFLATE, frames, 10);
	assert_int_equal(status("deflated_pages"), 10);
	assert_int_equal(status("discard_calls"), 1);
	assert_int_equal(status("bad_requests"), 0);
}

static void test_memory_of_two_regions(void **state)
{
	struct driver_options o = all;
	uint32_t frames[32];
	gpa a;

	(void)state;
	o.second_region = MEMORY / 2;
	harness_start(&h, "balloon", NULL, HARNESS_PROCESS, &o);
	a = h.d.gmem.regions[1].base;
	assert_true(gmem_fill(&h.d.gmem, a - 16 * FRAME, 7, 16 * FRAME));
	assert_true(gmem_fill(&h.d.gmem, a, 7, 17 * FRAME));
	for (unsigned i = 0; i < 32; i++)
		frames[i] = frame_of(a) - 16 + i;
	send_frames(INFLATE, frames, 32);
	for (unsigned i = 0; i < 32; i++)
		assert_true(is_filled((gpa)frames[i] * FRAME, 0));
	assert_true(is_filled(a + 16 * FRAME, 7));
}

/* ---- what drivers do wrong ---- */

static void test_frames_outside_memory_are_counted(void **state)
{
	uint32_t frames[] = {0, 1, UINT32_MAX, UINT32_MAX - 1, 0x80000000, 0};
	gpa a;

	(void)state;
	start(HARNESS_THREAD);
	a = used_pages(1);
	frames[5] = frame_of(a);
	send_frames(INFLATE, frames, 6);
	send_frames(DEFLATE, frames, 6);
	assert_int_equal(status("bad_frames"), 10);
	assert_int_equal(status("inflated_pages"), 1);
	assert_int_equal(status("deflated_pages"), 1);
	assert_true(is_filled(a, 0));
	harness_expect_alive(&h);
}

static void test_repeated_frames_are_counted(void **state)
{
	uint32_t frames[200];
	gpa a;

	(void)state;
	start(HARNESS_THREAD);
	a = used_pages(1);
	for (unsigned i = 0; i < 200; i++)
		frames[i] = frame_of(a);
	send_frames(INFLATE, frames, 200);
	assert_int_equal(status("repeated_frames"), 199);
	assert_int_equal(status("discard_calls"), 1);
}

static void test_odd_lengths_and_writable_buffers_are_counted(void **state)
{
	struct driver_buf b[3];
	gpa list, a;

	(void)state;
	start(HARNESS_THREAD);
	a = used_pages(2);
	list = driver_alloc(&h.d, 64, 4);
	*(uint32_t *)driver_at(&h.d, list, 4) = frame_of(a);
	/* A whole frame and three bytes of another; cut in odd places. */
	b[0] = (struct driver_buf){list, 3, false};
	b[1] = (struct driver_buf){list + 3, 4, false};
	assert_int_equal(send_chain(INFLATE, b, 2), 0);
	assert_true(is_filled(a, 0));
	assert_int_equal(status("bad_requests"), 1);
	b[0] = (struct driver_buf){list, 0, false};
	assert_int_equal(send_chain(INFLATE, b, 1), 0);
	assert_int_equal(status("bad_requests"), 1);
	b[0] = (struct driver_buf){a + FRAME, FRAME, true};
	assert_int_equal(send_chain(INFLATE, b, 1), 0);
	assert_int_equal(send_chain(DEFLATE, b, 1), 0);
	assert_int_equal(status("bad_requests"), 3);
	assert_true(is_filled(a + FRAME, 7));
	b[0] = (struct driver_buf){list, 4, false};
	b[1] = (struct driver_buf){a + FRAME, FRAME, true};
	assert_int_equal(send_chain(INFLATE, b, 2), 0);
	assert_int_equal(status("bad_requests"), 4);
	harness_expect_alive(&h);
}

/* A chain that lists the same list again and again: more frames than the guest could have. */
static void test_huge_chain_is_bounded(void **state)
{
	struct driver_buf b[32];
	gpa list;

	(void)state;
	start(HARNESS_THREAD);
	list = driver_alloc(&h.d, 1 << 20, 4);
	for (unsigned i = 0; i < 32; i++)
		b[i] = (struct driver_buf){list, 1 << 20, false};
	memset(driver_at(&h.d, list, 1 << 20), 0xff, 1 << 20);
	assert_int_equal(send_chain(INFLATE, b, 32), 0);
	assert_int_equal(status("bad_requests"), 1);
	assert_in_range(status("bad_frames"), 1, 16384);
	harness_expect_alive(&h);
}

/* Its rings go the way of all pages; it has itself to blame, and others must not notice. */
static void test_rings_that_are_given_away(void **state)
{
	const uint32_t first = DRIVER_BASE / FRAME, n = MEMORY / FRAME, last = first + n - 1;
	struct driver_buf b;
	uint32_t *frames;
	gpa list;

	(void)state;
	start(HARNESS_PROCESS);
	list = driver_alloc(&h.d, n * sizeof(*frames), 4);
	frames = driver_at(&h.d, list, n * sizeof(*frames));
	for (uint32_t i = 0; i < n; i++)
		frames[i] = first + i;
	b = (struct driver_buf){list, n * (uint32_t)sizeof(*frames), false};
	assert_true(driver_add(&h.d.queues[INFLATE], &b, 1) >= 0);
	driver_kick_always(&h.d.queues[INFLATE]);
	harness_expect_alive(&h);
	for (unsigned i = 0; i < 5; i++)
		driver_kick_always(&h.d.queues[i]);
	harness_expect_alive(&h);
	assert_int_equal(vu_set(&h.d.conn, VU_RESET_DEVICE), 0);
	driver_reset(&h.d);
	assert_int_equal(driver_send_queue(&h.d, INFLATE), 0);
	send_frames(INFLATE, &last, 1);
}

static void test_many_chains_let_commands_through(void **state)
{
	struct driver_queue *q;
	struct driver_used used;
	struct driver_buf b;
	unsigned n = 0;
	gpa list;

	(void)state;
	start(HARNESS_THREAD);
	q = &h.d.queues[INFLATE];
	list = driver_alloc(&h.d, 4, 4);
	*(uint32_t *)driver_at(&h.d, list, 4) = frame_of(used_pages(1));
	b = (struct driver_buf){list, 4, false};
	while (driver_add(q, &b, 1) >= 0)
		n++;
	assert_int_equal(n, QUEUE_SIZE);
	driver_kick(q);
	for (; n > 0; n--)
		assert_int_equal(driver_wait(q, WAIT_MS, &used), 0);
	assert_int_equal(status("inflated_pages"), QUEUE_SIZE);
}

static void write_config(uint32_t at, const void *in, uint32_t n)
{
	int r = driver_config_write(&h.d, at, in, n);

	(void)r; /* of a write that is refused */
}

static void test_only_its_own_fields_can_be_written(void **state)
{
	static const uint8_t ones[32] = {[0 ... 31] = 0xff};
	const uint32_t actual = 12, poison = 0xaaaaaaaa;
	struct virtio_balloon_config c;

	(void)state;
	start(HARNESS_THREAD);
	assert_non_null(strstr(ask("target bytes=1M"), "\"ok\":true"));
	write_config(4, &actual, 4);
	write_config(12, &poison, 4);
	write_config(0, ones, 4);
	write_config(8, ones, 4);
	write_config(5, ones, 4);
	write_config(4, ones, 3);
	write_config(4, ones, 8);
	write_config(0, ones, 16);
	c = config();
	assert_int_equal(c.num_pages, 256);
	assert_int_equal(c.actual, 12);
	assert_int_equal(c.poison_val, poison);
	assert_int_equal(c.free_page_hint_cmd_id, VIRTIO_BALLOON_CMD_ID_DONE);
	assert_int_equal(status("actual_bytes"), 12 * FRAME);
	assert_int_equal(status("bad_requests"), 6);
}

static void test_actual_is_no_more_than_memory(void **state)
{
	const uint32_t actual = UINT32_MAX;

	(void)state;
	start(HARNESS_THREAD);
	write_config(4, &actual, 4);
	assert_int_equal(status("actual_bytes"), MEMORY);
	assert_int_equal(config().actual, actual);
}

/* ---- target ---- */

static void test_target_reaches_the_driver(void **state)
{
	(void)state;
	start(HARNESS_THREAD);
	assert_int_equal(config().num_pages, 0);
	ask("target bytes=10M");
	assert_int_equal(driver_config_wait(&h.d), 0);
	assert_int_equal(config().num_pages, 2560);
	/* Absolute; the latest one wins. */
	ask("target bytes=8M");
	ask("target bytes=4097");
	assert_int_equal(driver_config_wait(&h.d), 0);
	assert_int_equal(config().num_pages, 1);
	assert_int_equal(status("target_bytes"), 4097);
	ask("target bytes=0");
	assert_int_equal(config().num_pages, 0);
}

static void test_target_beyond_frame_numbers_is_refused(void **state)
{
	(void)state;
	start(HARNESS_THREAD);
	assert_non_null(strstr(ask("target bytes=17592186040320"), "\"ok\":true"));
	assert_int_equal(config().num_pages, UINT32_MAX);
	assert_non_null(strstr(ask("target bytes=16T"), "\"ok\":false"));
	assert_non_null(strstr(ask("target bytes=-1"), "\"ok\":false"));
	assert_non_null(strstr(ask("target pages=1"), "\"ok\":false"));
	assert_int_equal(config().num_pages, UINT32_MAX);
}

static void test_target_before_the_driver_is_told_when_it_starts(void **state)
{
	int sock;

	(void)state;
	sock = harness_start_device(&h, "balloon", NULL, HARNESS_THREAD, &all);
	assert_non_null(strstr(ask("target bytes=1M"), "\"ok\":true"));
	assert_int_equal(driver_connect_take(&h.d, sock), 0);
	assert_int_equal(config().num_pages, 256);
	assert_int_equal(driver_config_wait(&h.d), 0);
}

static void test_reset_keeps_the_target_and_forgets_the_driver(void **state)
{
	const uint32_t actual = 12;

	(void)state;
	start(HARNESS_THREAD);
	ask("target bytes=1M");
	write_config(4, &actual, 4);
	write_config(12, &actual, 4);
	assert_int_equal(vu_set(&h.d.conn, VU_RESET_DEVICE), 0);
	driver_reset(&h.d);
	assert_int_equal(config().num_pages, 256);
	assert_int_equal(config().actual, 0);
	assert_int_equal(config().poison_val, 0);
}

/* ---- statistics ---- */

struct __attribute__((packed)) stat_pair {
	uint16_t tag;
	uint64_t value;
};

static int give_stats(const struct stat_pair *s, unsigned n)
{
	uint32_t bytes = n * (uint32_t)sizeof(*s);
	struct driver_buf b = {driver_alloc(&h.d, bytes, 2), bytes, false};
	int id;

	memcpy(driver_at(&h.d, b.addr, bytes), s, bytes);
	id = driver_add(&h.d.queues[STATS], &b, 1);
	assert_true(id >= 0);
	driver_kick(&h.d.queues[STATS]);
	return id;
}

static void test_statistics_come_when_asked_for(void **state)
{
	static const struct stat_pair first[] = {{VIRTIO_BALLOON_S_MEMFREE, 12345},
						 {VIRTIO_BALLOON_S_MEMTOT, 1ull << 40},
						 {999, 5},
						 {VIRTIO_BALLOON_S_HTLB_PGFAIL, 3}};
	static const struct stat_pair second[] = {{VIRTIO_BALLOON_S_MEMFREE, 777}};
	struct driver_queue *q;
	struct driver_used used;
	uint64_t n;

	(void)state;
	start(HARNESS_THREAD);
	q = &h.d.queues[STATS];
	assert_false(has_number(ask("stats"), "age_ms", &n));
	give_stats(first, 4);
	while (!has_number(ask("stats"), "free_bytes", &n))
		;
	assert_int_equal(n, 12345);
	/* The buffer came back with the first answer that told of it, for new ones. */
	assert_int_equal(driver_wait(q, WAIT_MS, &used), 0);
	assert_int_equal(used.len, 0);
	assert_true(has_number(ask("stats"), "total_bytes", &n));
	assert_int_equal(n, 1ull << 40);
	assert_true(has_number(ask("stats"), "hugetlb_failures", &n));
	assert_false(driver_poll(q, &used));
	give_stats(second, 1);
	do
		assert_true(has_number(ask("stats"), "free_bytes", &n));
	while (n != 777);
	assert_false(has_number(ask("stats"), "total_bytes", &n));
	assert_int_equal(status("bad_requests"), 0);
}

static void test_second_statistics_buffer_returns_the_first(void **state)
{
	static const struct stat_pair s[] = {{VIRTIO_BALLOON_S_MEMFREE, 1}};
	struct driver_used used;
	int first;

	(void)state;
	start(HARNESS_THREAD);
	first = give_stats(s, 1);
	assert_int_equal(status("bad_requests"), 0);
	give_stats(s, 1);
	assert_int_equal(driver_wait(&h.d.queues[STATS], WAIT_MS, &used), 0);
	assert_int_equal(used.id, first);
	assert_int_equal(status("bad_requests"), 1);
}

static void test_statistics_without_end_are_cut(void **state)
{
	static const struct stat_pair s[1000] = {{VIRTIO_BALLOON_S_MEMFREE, 5},
						 [999] = {VIRTIO_BALLOON_S_MEMTOT, 6}};
	uint64_t n = 0;

	(void)state;
	start(HARNESS_THREAD);
	give_stats(s, 1000);
	while (!has_number(ask("stats"), "swap_in_bytes", &n))
		;
	assert_false(has_number(ask("stats"), "total_bytes", &n));
	assert_int_equal(status("bad_requests"), 1);
}

static void test_statistics_survive_the_process(void **state)
{
	static const struct stat_pair s[] = {{VIRTIO_BALLOON_S_MEMFREE, 5}};
	struct driver_options o = all;
	struct driver_used used;
	uint64_t n = 0;

	(void)state;
	o.inflight = true;
	harness_start(&h, "balloon", NULL, HARNESS_THREAD, &o);
	give_stats(s, 1);
	harness_restart(&h);
	while (!has_number(ask("stats"), "free_bytes", &n))
		;
	assert_int_equal(n, 5);
	assert_int_equal(driver_wait(&h.d.queues[STATS], WAIT_MS, &used), 0);
}

static void test_no_statistics_without_the_feature(void **state)
{
	struct driver_options o = {.nqueues = 2, .queue_size = QUEUE_SIZE};

	(void)state;
	harness_start(&h, "balloon", NULL, HARNESS_THREAD, &o);
	assert_non_null(strstr(ask("stats"), "gives no statistics"));
	assert_non_null(strstr(ask("hint"), "gives no hints"));
	/* A second balloon.c lies behind this: what it gets is what it agreed to. */
	assert_int_equal(driver_stop_queue(&h.d, 0), 0);
	assert_int_equal(driver_stop_queue(&h.d, 1), 0);
	assert_non_null(strstr(ask("stats"), "no driver"));
	assert_non_null(strstr(ask("hint"), "no driver"));
}

/* ---- free pages ---- */

static void test_reported_pages_are_returned(void **state)
{
	struct driver_buf b[4];
	uint64_t before;
	gpa a;

	(void)state;
	start(HARNESS_THREAD);
	a = used_pages(64);
	before = memory_in_use();
	b[0] = (struct driver_buf){a, 8 * FRAME, true};
	b[1] = (struct driver_buf){a + 8 * FRAME, 8 * FRAME, true}; /* a neighbour */
	b[2] = (struct driver_buf){a + 32 * FRAME, FRAME, true};
	b[3] = (struct driver_buf){a + 40 * FRAME + 1, 2 * FRAME, true}; /* one page is whole */
	assert_int_equal(send_chain(REPORT, b, 4), 0);
	assert_int_equal(before - memory_in_use(), 18 * FRAME);
	assert_int_equal(status("reported_bytes"), 18 * FRAME);
	assert_int_equal(status("discard_calls"), 3);
	assert_int_equal(status("inflated_pages"), 0);
	assert_true(is_filled(a, 0));
	assert_true(is_filled(a + 16 * FRAME, 7));
	assert_true(is_filled(a + 41 * FRAME, 0));
}

static void test_poisoned_pages_stay(void **state)
{
	uint32_t poison = 0xaaaaaaaa;
	struct driver_buf b;
	gpa a;

	(void)state;
	start(HARNESS_THREAD);
	write_config(12, &poison, 4);
	a = used_pages(2);
	b = (struct driver_buf){a, FRAME, true};
	send_chain(REPORT, &b, 1);
	assert_int_equal(status("reported_bytes"), 0);
	assert_true(is_filled(a, 7));
	/* Poison of zeros is what a hole reads as. */
	poison = 0;
	write_config(12, &poison, 4);
	send_chain(REPORT, &b, 1);
	assert_int_equal(status("reported_bytes"), FRAME);
	assert_true(is_filled(a, 0));
}

static void test_report_without_pages_is_counted(void **state)
{
	struct driver_buf b;

	(void)state;
	start(HARNESS_THREAD);
	b = (struct driver_buf){used_pages(1), FRAME, false};
	assert_int_equal(send_chain(REPORT, &b, 1), 0);
	assert_int_equal(status("bad_requests"), 1);
	assert_true(is_filled(b.addr, 7));
}

static void send_hint_id(uint32_t id)
{
	struct driver_buf b = {driver_alloc(&h.d, 4, 4), 4, false};

	memcpy(driver_at(&h.d, b.addr, 4), &id, 4);
	send_chain(HINT, &b, 1);
}

static void test_hinted_pages_are_counted_and_stay(void **state)
{
	struct driver_buf b;
	uint32_t id;

	(void)state;
	start(HARNESS_THREAD);
	b = (struct driver_buf){used_pages(4), 4 * FRAME, true};
	send_chain(HINT, &b, 1); /* nobody has asked */
	assert_non_null(strstr(ask("hint"), "\"ok\":true"));
	assert_int_equal(driver_config_wait(&h.d), 0);
	id = config().free_page_hint_cmd_id;
	assert_true(id > VIRTIO_BALLOON_CMD_ID_DONE);
	send_chain(HINT, &b, 1); /* not yet */
	send_hint_id(id + 1);    /* another one */
	send_chain(HINT, &b, 1);
	assert_int_equal(status("hinted_bytes"), 0);
	send_hint_id(id);
	send_chain(HINT, &b, 1);
	send_chain(HINT, &b, 1);
	assert_non_null(strstr(ask("status"), "\"hinting\":true"));
	send_hint_id(VIRTIO_BALLOON_CMD_ID_STOP);
	assert_int_equal(driver_config_wait(&h.d), 0);
	assert_int_equal(config().free_page_hint_cmd_id, VIRTIO_BALLOON_CMD_ID_DONE);
	assert_int_equal(status("hinted_bytes"), 8 * FRAME);
	assert_non_null(strstr(ask("status"), "\"hinting\":false"));
	assert_true(is_filled(b.addr, 7));
	ask("hint");
	assert_true(config().free_page_hint_cmd_id > VIRTIO_BALLOON_CMD_ID_DONE);
}

/* Without statistics and hints, reporting is queue 4 by the specification, queue 2 by Linux. */
static void report_at(unsigned queue, unsigned nqueues, const char *options, uint64_t features)
{
	struct driver_options o = {
		.nqueues = nqueues, .queue_size = QUEUE_SIZE, .features = features};
	struct driver_buf b;

	harness_start(&h, "balloon", options, HARNESS_THREAD, &o);
	b = (struct driver_buf){used_pages(1), FRAME, true};
	for (unsigned i = 2; i < nqueues && nqueues == 5; i++)
		if (i != queue)
			assert_int_equal(driver_stop_queue(&h.d, i), 0);
	send_chain(queue, &b, 1);
	assert_int_equal(status("reported_bytes"), FRAME);
	harness_stop(&h);
}

static void test_queues_of_features_that_lack(void **state)
{
	(void)state;
	report_at(2, 3, NULL, BIT(REPORTING));
	report_at(3, 4, NULL, BIT(REPORTING) | BIT(STATS_VQ));
	report_at(3, 4, "stats=off", BIT(REPORTING) | BIT(FREE_PAGE_HINT));
	report_at(4, 5, NULL, BIT(REPORTING));
}

static void test_options_withdraw_features(void **state)
{
	struct driver_options o = {.nqueues = 1, .queue_size = 4};
	int sock;

	(void)state;
	sock = harness_start_device(&h, "balloon",
				    "stats=off,hinting=off,reporting=off,deflate-on-oom=off",
				    HARNESS_THREAD, &o);
	assert_int_equal(driver_greet_take(&h.d, sock), 0);
	assert_int_equal(h.d.offered & ALL_FEATURES, BIT(MUST_TELL_HOST) | BIT(PAGE_POISON));
}

/* ---- death ---- */

static void test_killed_process_loses_no_frame(void **state)
{
	enum { CHAINS = 400, FRAMES = 16 };
	struct driver_options o = all;
	struct driver_used used;
	unsigned done = 0, sent = 0;
	gpa a, lists;

	(void)state;
	o.inflight = true;
	harness_start(&h, "balloon", NULL, HARNESS_PROCESS, &o);
	a = used_pages(CHAINS * FRAMES);
	lists = driver_alloc(&h.d, CHAINS * FRAMES * 4, 4);
	for (uint32_t i = 0; i < CHAINS * FRAMES; i++)
		*(uint32_t *)driver_at(&h.d, lists + i * 4, 4) = frame_of(a) + i;
	while (done < CHAINS) {
		while (sent < CHAINS) {
			struct driver_buf b = {lists + sent * FRAMES * 4, FRAMES * 4, false};

			if (driver_add(&h.d.queues[INFLATE], &b, 1) < 0)
				break;
			sent++;
		}
		driver_kick(&h.d.queues[INFLATE]);
		assert_int_equal(driver_wait(&h.d.queues[INFLATE], WAIT_MS, &used), 0);
		done++;
		if (done % 50 != 0)
			continue;
		harness_kill(&h);
		harness_restart(&h);
	}
	for (unsigned i = 0; i < CHAINS * FRAMES; i++)
		assert_true(is_filled(a + i * FRAME, 0));
	send_frames(DEFLATE, (uint32_t[]){frame_of(a), frame_of(a) + 1}, 2);
}

#define TEST(name) cmocka_unit_test_teardown(test_##name, stop)

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_inflating_returns_memory_at_once),
		TEST(neighbours_are_one_call),
		TEST(memory_of_two_regions),
		TEST(frames_outside_memory_are_counted),
		TEST(repeated_frames_are_counted),
		TEST(odd_lengths_and_writable_buffers_are_counted),
		TEST(huge_chain_is_bounded),
		TEST(rings_that_are_given_away),
		TEST(many_chains_let_commands_through),
		TEST(only_its_own_fields_can_be_written),
		TEST(actual_is_no_more_than_memory),
		TEST(target_reaches_the_driver),
		TEST(target_beyond_frame_numbers_is_refused),
		TEST(target_before_the_driver_is_told_when_it_starts),
		TEST(reset_keeps_the_target_and_forgets_the_driver),
		TEST(statistics_come_when_asked_for),
		TEST(second_statistics_buffer_returns_the_first),
		TEST(statistics_without_end_are_cut),
		TEST(statistics_survive_the_process),
		TEST(no_statistics_without_the_feature),
		TEST(reported_pages_are_returned),
		TEST(poisoned_pages_stay),
		TEST(report_without_pages_is_counted),
		TEST(hinted_pages_are_counted_and_stay),
		cmocka_unit_test(test_queues_of_features_that_lack),
		TEST(options_withdraw_features),
		TEST(killed_process_loses_no_frame),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
