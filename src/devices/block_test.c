/* SPDX-License-Identifier: BSD-3-Clause */
/* block_test.c - the disk, jailed and in a thread, with good, bad and absurd requests */
#include "devices/block_fixture.h"

static void read_and_write(void)
{
	uint32_t len;
	struct io in = call_new(VIRTIO_BLK_T_IN, 7, 9 * SECTOR);
	struct io out = call_new(VIRTIO_BLK_T_OUT, 100, 3 * SECTOR);
	uint8_t back[3 * SECTOR];

	assert_int_equal(run(&in, true, &len), VIRTIO_BLK_S_OK);
	assert_int_equal(len, 9 * SECTOR + 1);
	expect_pattern(data_of(&in), 7 * SECTOR, 9 * SECTOR);
	memset(data_of(&out), 0xa5, out.bytes);
	assert_int_equal(run(&out, false, &len), VIRTIO_BLK_S_OK);
	assert_int_equal(len, 1);
	assert_int_equal(pread(disk, back, sizeof(back), 100 * SECTOR), sizeof(back));
	assert_memory_equal(back, data_of(&out), sizeof(back));
	assert_int_equal(simple(VIRTIO_BLK_T_FLUSH, 0, 0), VIRTIO_BLK_S_OK);
	assert_int_equal(simple(VIRTIO_BLK_T_IN, DISK / SECTOR - 1, SECTOR), VIRTIO_BLK_S_OK);
}

static void test_reads_and_writes_with_every_engine_and_ring(void **state)
{
	static const char *const options[] = {"aio=io_uring", "aio=threads", "aio=auto,direct",
					      "aio=threads,direct,threads=1"};

	for (unsigned i = 0; i < 4 * ARRAY_LEN(options); i++) {
		struct driver_options o = split;

		o.packed = i & 1;
		o.indirect = i & 2;
		start_with(options[i / 4], i & 1 ? HARNESS_PROCESS : HARNESS_THREAD, &o);
		if (strstr(options[i / 4], "direct") == NULL)
			read_and_write();
		else
			assert_int_equal(simple(VIRTIO_BLK_T_IN, 8, 4096), VIRTIO_BLK_S_OK);
		stop(state);
	}
}

static void test_direct_io_with_misaligned_buffers(void **state)
{
	struct io c;

	(void)state;
	start("direct");
	c = call_new(VIRTIO_BLK_T_IN, 8, 8192);
	c.data = driver_alloc(&h.d, 3 * 8192, 512) + 3;
	assert_int_equal(run(&c, true, NULL), VIRTIO_BLK_S_OK);
	expect_pattern(data_of(&c), 4096, 8192);
}

static void test_request_of_many_segments(void **state)
{
	struct driver_options o = split;
	struct driver_buf b[242];
	struct io c;

	(void)state;
	o.queue_size = 256;
	start_with(NULL, HARNESS_PROCESS, &o);
	c = call_new(VIRTIO_BLK_T_IN, 3, 240 * SECTOR);
	b[0] = (struct driver_buf){c.header, 16, false};
	for (unsigned i = 0; i < 240; i++)
		b[1 + i] = (struct driver_buf){c.data + i * SECTOR, SECTOR, true};
	b[241] = (struct driver_buf){c.status, 1, true};
	assert_int_equal(send_chain(b, 242), 240 * SECTOR + 1);
	assert_int_equal(status_of(&c), VIRTIO_BLK_S_OK);
	expect_pattern(data_of(&c), 3 * SECTOR, c.bytes);
}

/* Drivers may split a request as they like: header and data in pieces, the status with the data. */
static void test_layout_of_the_chain_does_not_matter(void **state)
{
	struct io c;

	(void)state;
	start(NULL);
	c = call_new(VIRTIO_BLK_T_IN, 5, SECTOR + 1);
	struct driver_buf b[] = {{c.header, 3, false},
				 {c.header + 3, 13, false},
				 {c.data, 100, true},
				 {c.data + 100, SECTOR + 1 - 100, true}};
	assert_int_equal(send_chain(b, 4), SECTOR + 1);
	expect_pattern(data_of(&c), 5 * SECTOR, SECTOR);
	assert_int_equal(data_of(&c)[SECTOR], VIRTIO_BLK_S_OK);
}

static void test_id_is_told_whatever_the_buffer(void **state)
{
	struct io c;
	uint32_t len;

	(void)state;
	start("id=serial-0123456789abc");
	c = call_new(VIRTIO_BLK_T_GET_ID, 0, 20);
	assert_int_equal(run(&c, true, &len), VIRTIO_BLK_S_OK);
	assert_memory_equal(data_of(&c), "serial-0123456789abc", 20);
	assert_int_equal(len, 21);
	c = call_new(VIRTIO_BLK_T_GET_ID, 0, 6);
	assert_int_equal(run(&c, true, &len), VIRTIO_BLK_S_OK);
	assert_memory_equal(data_of(&c), "serial", 6);
	c = call_new(VIRTIO_BLK_T_GET_ID, 0, 512);
	assert_int_equal(run(&c, true, &len), VIRTIO_BLK_S_OK);
	assert_int_equal(len, 21);
	assert_int_equal(data_of(&c)[20], 0);
}

static void put_range(const struct io *c, unsigned i, uint64_t sector, uint32_t sectors,
		      uint32_t flags)
{
	struct virtio_blk_discard_write_zeroes r = {
		.sector = sector, .num_sectors = sectors, .flags = flags};

	memcpy(data_of(c) + i * sizeof(r), &r, sizeof(r));
}

static void ranges_with(const char *options, enum harness_kind kind)
{
	static uint8_t back[DISK];
	struct io c;
	struct stat st;

	start_with(options, kind, &split);
	c = call_new(VIRTIO_BLK_T_WRITE_ZEROES, 0, 3 * 16);
	put_range(&c, 0, 8, 8, 0);
	put_range(&c, 1, 100, 0, 0);
	put_range(&c, 2, DISK / SECTOR - 3, 3, VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP);
	assert_int_equal(run(&c, false, NULL), VIRTIO_BLK_S_OK);
	assert_int_equal(pread(disk, back, DISK, 0), DISK);
	expect_pattern(back, 0, 8 * SECTOR);
	for (unsigned i = 0; i < 8 * SECTOR; i++)
		assert_int_equal(back[8 * SECTOR + i], 0);
	expect_pattern(back + 16 * SECTOR, 16 * SECTOR, DISK - 19 * SECTOR);
	for (unsigned i = 0; i < 3 * SECTOR; i++)
		assert_int_equal(back[DISK - 3 * SECTOR + i], 0);
	c = call_new(VIRTIO_BLK_T_DISCARD, 0, 16 * 16);
	for (unsigned i = 0; i < 16; i++)
		put_range(&c, i, i * (DISK / SECTOR / 16), DISK / SECTOR / 16, 0);
	assert_int_equal(run(&c, false, NULL), VIRTIO_BLK_S_OK);
	assert_int_equal(fstat(disk, &st), 0);
	assert_int_equal(st.st_size, DISK);
	assert_true(st.st_blocks < 64);
	stop(NULL);
}

static void test_ranges_are_zeroed_and_discarded(void **state)
{
	(void)state;
	ranges_with("aio=io_uring", HARNESS_THREAD);
	ranges_with("aio=threads", HARNESS_PROCESS);
}

static void test_config_describes_the_disk(void **state)
{
	struct virtio_blk_config c = {0};
	struct driver_options o = split;

	(void)state;
	o.nqueues = 4;
	start_with("queues=4,block_size=4096", HARNESS_PROCESS, &o);
	assert_int_equal(
		driver_config_read(&h.d, 0, &c, offsetof(struct virtio_blk_config, unused1)), 0);
	assert_int_equal(c.capacity, DISK / SECTOR);
	assert_int_equal(c.blk_size, 4096);
	assert_int_equal(c.num_queues, 4);
	assert_true(c.seg_max >= 128 && c.seg_max < 256);
	assert_int_equal(c.max_discard_seg, 16);
	assert_true(h.d.offered & VIRTIO_BIT(VIRTIO_BLK_F_DISCARD));
	assert_false(h.d.offered & VIRTIO_BIT(VIRTIO_BLK_F_RO));
}

static void test_queues_work_side_by_side(void **state)
{
	struct driver_options o = split;
	struct io c[4][8];

	(void)state;
	o.nqueues = 4;
	start_with("queues=4", HARNESS_PROCESS, &o);
	for (unsigned q = 0; q < 4; q++) {
		for (unsigned i = 0; i < 8; i++) {
			struct driver_buf b[3];

			c[q][i] = call_new(VIRTIO_BLK_T_IN, q * 100 + i, SECTOR);
			assert_true(driver_add(&h.d.queues[q], b, call_bufs(&c[q][i], true, b)) >=
				    0);
		}
		driver_kick(&h.d.queues[q]);
	}
	for (unsigned q = 0; q < 4; q++) {
		for (unsigned i = 0; i < 8; i++) {
			struct driver_used used;

			assert_int_equal(driver_wait(&h.d.queues[q], WAIT_MS, &used), 0);
		}
		for (unsigned i = 0; i < 8; i++)
			expect_pattern(data_of(&c[q][i]), (q * 100 + i) * SECTOR, SECTOR);
	}
}

/* More requests than the pool has, from several queues at once. */
static void test_more_requests_than_the_pool_holds(void **state)
{
	enum { EACH = 256, QUEUES = 4 };
	static struct io c[QUEUES][EACH];
	struct driver_options o = {
		.nqueues = QUEUES, .queue_size = EACH, .indirect = true, .features = ALL_FEATURES};

	(void)state;
	start_with("queues=4,aio=threads", HARNESS_PROCESS, &o);
	for (unsigned q = 0; q < QUEUES; q++) {
		for (unsigned i = 0; i < EACH; i++) {
			struct driver_buf b[3];

			c[q][i] = call_new(VIRTIO_BLK_T_IN, q * EACH + i, SECTOR);
			assert_true(driver_add(&h.d.queues[q], b, call_bufs(&c[q][i], true, b)) >=
				    0);
		}
	}
	for (unsigned q = 0; q < QUEUES; q++)
		driver_kick(&h.d.queues[q]);
	for (unsigned q = 0; q < QUEUES; q++) {
		for (unsigned i = 0; i < EACH; i++) {
			struct driver_used used;

			assert_int_equal(driver_wait(&h.d.queues[q], WAIT_MS, &used), 0);
			assert_int_equal(used.len, SECTOR + 1);
		}
	}
}

static void test_io_past_the_end_touches_nothing(void **state)
{
	const uint64_t end = DISK / SECTOR;
	struct io c;
	struct stat st;

	(void)state;
	start(NULL);
	assert_int_equal(simple(VIRTIO_BLK_T_IN, end, SECTOR), VIRTIO_BLK_S_IOERR);
	assert_int_equal(simple(VIRTIO_BLK_T_OUT, end, SECTOR), VIRTIO_BLK_S_IOERR);
	assert_int_equal(simple(VIRTIO_BLK_T_OUT, end - 1, 2 * SECTOR), VIRTIO_BLK_S_IOERR);
	assert_int_equal(simple(VIRTIO_BLK_T_OUT, UINT64_MAX, SECTOR), VIRTIO_BLK_S_IOERR);
	assert_int_equal(simple(VIRTIO_BLK_T_OUT, UINT64_MAX / SECTOR, SECTOR), VIRTIO_BLK_S_IOERR);
	assert_int_equal(simple(VIRTIO_BLK_T_OUT, UINT64_MAX / SECTOR + 1, SECTOR),
			 VIRTIO_BLK_S_IOERR);
	c = call_new(VIRTIO_BLK_T_IN, end - 1, 2 * SECTOR);
	memset(data_of(&c), 0x11, c.bytes);
	assert_int_equal(run(&c, true, NULL), VIRTIO_BLK_S_IOERR);
	for (unsigned i = 0; i < c.bytes; i++)
		assert_int_equal(data_of(&c)[i], 0x11);
	assert_int_equal(fstat(disk, &st), 0);
	assert_int_equal(st.st_size, DISK);
	expect_disk_untouched();
}

static void test_read_only_disk_is_not_written(void **state)
{
	struct io c;

	(void)state;
	start_with("ro", HARNESS_PROCESS, &split);
	assert_true(h.d.offered & VIRTIO_BIT(VIRTIO_BLK_F_RO));
	assert_false(h.d.offered & VIRTIO_BIT(VIRTIO_BLK_F_DISCARD));
	assert_int_equal(simple(VIRTIO_BLK_T_OUT, 0, SECTOR), VIRTIO_BLK_S_IOERR);
	c = call_new(VIRTIO_BLK_T_DISCARD, 0, 16);
	put_range(&c, 0, 0, 8, 0);
	assert_int_not_equal(run(&c, false, NULL), VIRTIO_BLK_S_OK);
	c = call_new(VIRTIO_BLK_T_WRITE_ZEROES, 0, 16);
	put_range(&c, 0, 0, 8, 0);
	assert_int_not_equal(run(&c, false, NULL), VIRTIO_BLK_S_OK);
	assert_int_equal(simple(VIRTIO_BLK_T_IN, 0, SECTOR), VIRTIO_BLK_S_OK);
	assert_int_equal(simple(VIRTIO_BLK_T_FLUSH, 0, 0), VIRTIO_BLK_S_OK);
	expect_disk_untouched();
}

static void test_misaligned_lengths_are_refused(void **state)
{
	(void)state;
	start("block_size=4096");
	assert_int_equal(simple(VIRTIO_BLK_T_OUT, 0, SECTOR - 1), VIRTIO_BLK_S_IOERR);
	assert_int_equal(simple(VIRTIO_BLK_T_OUT, 0, 1), VIRTIO_BLK_S_IOERR);
	assert_int_equal(simple(VIRTIO_BLK_T_OUT, 0, SECTOR), VIRTIO_BLK_S_IOERR);
	assert_int_equal(simple(VIRTIO_BLK_T_OUT, 1, 4096), VIRTIO_BLK_S_IOERR);
	assert_int_equal(simple(VIRTIO_BLK_T_IN, 8, 4096), VIRTIO_BLK_S_OK);
	expect_disk_untouched();
}

static void test_empty_transfer_is_well(void **state)
{
	(void)state;
	start(NULL);
	assert_int_equal(simple(VIRTIO_BLK_T_IN, 0, 0), VIRTIO_BLK_S_OK);
	assert_int_equal(simple(VIRTIO_BLK_T_OUT, DISK / SECTOR, 0), VIRTIO_BLK_S_OK);
	assert_int_equal(simple(VIRTIO_BLK_T_OUT, DISK / SECTOR + 1, 0), VIRTIO_BLK_S_IOERR);
}

static void test_buffers_of_the_wrong_direction_are_refused(void **state)
{
	struct io c;

	(void)state;
	start(NULL);
	c = call_new(VIRTIO_BLK_T_IN, 0, SECTOR);
	assert_int_equal(run(&c, false, NULL), VIRTIO_BLK_S_IOERR);
	c = call_new(VIRTIO_BLK_T_OUT, 0, SECTOR);
	assert_int_equal(run(&c, true, NULL), VIRTIO_BLK_S_IOERR);
	c = call_new(VIRTIO_BLK_T_GET_ID, 0, SECTOR);
	assert_int_equal(run(&c, false, NULL), VIRTIO_BLK_S_OK); /* nothing to tell it into */
	expect_disk_untouched();
}

static void test_requests_in_part_are_answered(void **state)
{
	struct io c;

	(void)state;
	start(NULL);
	c = call_new(VIRTIO_BLK_T_OUT, 0, SECTOR);
	struct driver_buf no_status[] = {{c.header, 16, false}, {c.data, SECTOR, false}};
	assert_int_equal(send_chain(no_status, 2), 0);
	struct driver_buf no_data[] = {{c.header, 16, false}};
	assert_int_equal(send_chain(no_data, 1), 0);
	struct driver_buf short_header[] = {{c.header, 15, false}, {c.status, 1, true}};
	assert_int_equal(send_chain(short_header, 2), 1);
	assert_int_equal(status_of(&c), VIRTIO_BLK_S_IOERR);
	struct driver_buf only_status[] = {{c.status, 1, true}};
	assert_int_equal(send_chain(only_status, 1), 1);
	harness_expect_alive(&h);
	expect_disk_untouched();
}

static void test_unknown_requests_are_unsupported(void **state)
{
	static const uint32_t types[] = {2,  3,  5,  6,     7,          9,         10,
					 12, 14, 15, 0x100, 0x80000000, UINT32_MAX};

	(void)state;
	start(NULL);
	for (size_t i = 0; i < ARRAY_LEN(types); i++)
		assert_int_equal(simple(types[i], 0, SECTOR), VIRTIO_BLK_S_UNSUPP);
}

static uint8_t one_range(uint32_t type, uint64_t sector, uint32_t sectors, uint32_t flags)
{
	struct io c = call_new(type, 0, 16);

	put_range(&c, 0, sector, sectors, flags);
	return run(&c, false, NULL);
}

static void test_bad_ranges_are_refused_whole(void **state)
{
	const uint32_t zero = VIRTIO_BLK_T_WRITE_ZEROES, discard = VIRTIO_BLK_T_DISCARD;
	struct io c;

	(void)state;
	start(NULL);
	assert_int_equal(one_range(zero, DISK / SECTOR, 1, 0), VIRTIO_BLK_S_IOERR);
	assert_int_equal(one_range(zero, 0, UINT32_MAX, 0), VIRTIO_BLK_S_IOERR);
	assert_int_equal(one_range(zero, UINT64_MAX, 1, 0), VIRTIO_BLK_S_IOERR);
	assert_int_equal(one_range(zero, UINT64_MAX / SECTOR + 2, 1, 0), VIRTIO_BLK_S_IOERR);
	assert_int_equal(one_range(zero, 0, 1, 2), VIRTIO_BLK_S_UNSUPP);
	assert_int_equal(one_range(discard, 0, 1, 1), VIRTIO_BLK_S_UNSUPP);
	assert_int_equal(one_range(discard, 1, DISK / SECTOR, 0), VIRTIO_BLK_S_IOERR);
	assert_int_equal(simple(discard, 0, 15), VIRTIO_BLK_S_IOERR);
	assert_int_equal(simple(discard, 0, 17), VIRTIO_BLK_S_IOERR);
	assert_int_equal(simple(discard, 0, 0), VIRTIO_BLK_S_IOERR);
	assert_int_equal(simple(discard, 0, 17 * 16), VIRTIO_BLK_S_IOERR);
	assert_int_equal(simple(zero, 0, 100000), VIRTIO_BLK_S_IOERR);
	c = call_new(zero, 0, 32); /* the second is bad: the first must not happen */
	put_range(&c, 0, 0, 8, 0);
	put_range(&c, 1, DISK / SECTOR - 1, 2, 0);
	assert_int_equal(run(&c, false, NULL), VIRTIO_BLK_S_IOERR);
	expect_disk_untouched();
}

static void test_disk_that_is_not_sparse_offers_no_discard(void **state)
{
	(void)state;
	start("sparse=false");
	assert_false(h.d.offered & VIRTIO_BIT(VIRTIO_BLK_F_DISCARD));
	assert_int_equal(one_range(VIRTIO_BLK_T_DISCARD, 0, 8, 0), VIRTIO_BLK_S_UNSUPP);
	assert_int_equal(one_range(VIRTIO_BLK_T_WRITE_ZEROES, 0, 8, 1), VIRTIO_BLK_S_OK);
}

static void test_image_cut_short_is_an_io_error_not_the_end(void **state)
{
	(void)state;
	start_with(NULL, HARNESS_PROCESS, &split);
	assert_int_equal(ftruncate(disk, 4096), 0);
	assert_int_equal(simple(VIRTIO_BLK_T_IN, 4, 16 * SECTOR), VIRTIO_BLK_S_IOERR);
	assert_int_equal(simple(VIRTIO_BLK_T_IN, 0, 8 * SECTOR), VIRTIO_BLK_S_OK);
	assert_int_equal(simple(VIRTIO_BLK_T_OUT, 100, SECTOR), VIRTIO_BLK_S_OK);
}

static void test_broken_queue_heals_by_reset(void **state)
{
	(void)state;
	start_with(NULL, HARNESS_PROCESS, &split);
	driver_publish(queue(), QUEUE_SIZE);
	driver_kick_always(queue());
	assert_int_equal(driver_wait_broken(queue(), WAIT_MS), 0);
	assert_int_equal(vu_set(&h.d.conn, VU_RESET_DEVICE), 0);
	driver_reset(&h.d);
	assert_int_equal(driver_send_queue(&h.d, 0), 0);
	read_and_write();
}

static void test_same_head_twice_in_flight_breaks_the_queue(void **state)
{
	struct driver_buf b[3];
	struct io c;
	int id;

	(void)state;
	start_with("aio=threads", HARNESS_PROCESS, &split);
	c = call_new(VIRTIO_BLK_T_IN, 0, SECTOR);
	id = driver_add(queue(), b, call_bufs(&c, true, b));
	assert_true(id >= 0);
	for (unsigned i = 0; i < 30; i++)
		driver_publish(queue(), (uint16_t)id);
	driver_kick_always(queue());
	assert_int_equal(driver_wait_broken(queue(), WAIT_MS), 0);
	harness_expect_alive(&h);
}

/* Requests are under way in the threads while the queue is taken away. */
static void test_reset_in_the_middle_of_requests(void **state)
{
	struct driver_options o = {
		.nqueues = 1, .queue_size = 256, .indirect = true, .features = ALL_FEATURES};

	(void)state;
	start_with("aio=threads", HARNESS_PROCESS, &o);
	for (unsigned round = 0; round < 20; round++) {
		struct io c = call_new(VIRTIO_BLK_T_OUT, 1000, 64 * SECTOR);
		struct driver_buf b[3];

		memset(data_of(&c), (int)round, c.bytes);
		while (driver_add(queue(), b, call_bufs(&c, false, b)) >= 0)
			;
		driver_kick(queue());
		if (round % 2 == 0)
			assert_int_equal(driver_stop_queue(&h.d, 0), 0);
		assert_int_equal(vu_set(&h.d.conn, VU_RESET_DEVICE), 0);
		driver_reset(&h.d);
		assert_int_equal(driver_send_queue(&h.d, 0), 0);
	}
	read_and_write();
}

static void test_bad_options_say_what_is_wrong(void **state)
{
	char text[256];

	(void)state;
	disk_make(DISK);
	harness_expect_refused("block", "path=/nonexistent/x", "/nonexistent/x: No such file");
	harness_expect_refused("block", "ro", "path");
	harness_expect_refused("block", "path=/dev/zero", "not a regular file");
	snprintf(text, sizeof(text), "path=%s,id=123456789012345678901", disk_path);
	harness_expect_refused("block", text, "20 bytes");
	snprintf(text, sizeof(text), "path=%s,queues=17", disk_path);
	harness_expect_refused("block", text, "queues");
	snprintf(text, sizeof(text), "path=%s,format=qcow", disk_path);
	harness_expect_refused("block", text, "raw");
	unlink(disk_path);
	fd_close(&disk);
}

#define TEST(name) cmocka_unit_test_teardown(test_##name, stop)

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_reads_and_writes_with_every_engine_and_ring),
		TEST(direct_io_with_misaligned_buffers),
		TEST(request_of_many_segments),
		TEST(layout_of_the_chain_does_not_matter),
		TEST(id_is_told_whatever_the_buffer),
		cmocka_unit_test(test_ranges_are_zeroed_and_discarded),
		TEST(config_describes_the_disk),
		TEST(queues_work_side_by_side),
		TEST(more_requests_than_the_pool_holds),
		TEST(io_past_the_end_touches_nothing),
		TEST(read_only_disk_is_not_written),
		TEST(misaligned_lengths_are_refused),
		TEST(empty_transfer_is_well),
		TEST(buffers_of_the_wrong_direction_are_refused),
		TEST(requests_in_part_are_answered),
		TEST(unknown_requests_are_unsupported),
		TEST(bad_ranges_are_refused_whole),
		TEST(disk_that_is_not_sparse_offers_no_discard),
		TEST(image_cut_short_is_an_io_error_not_the_end),
		TEST(broken_queue_heals_by_reset),
		TEST(same_head_twice_in_flight_breaks_the_queue),
		TEST(reset_in_the_middle_of_requests),
		cmocka_unit_test(test_bad_options_say_what_is_wrong),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
