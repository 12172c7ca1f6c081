/* SPDX-License-Identifier: BSD-3-Clause */
/* session_test.c - what a front end may do, and what it may not, with the entropy device behind */
#include "base/fd.h"
#include "devices/harness_test.h"
#include "virtio/ids.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

enum { WAIT_MS = 10000, QUEUE_SIZE = 16 };

static struct harness h;

static const struct driver_options plain = {
	.nqueues = 1, .queue_size = QUEUE_SIZE, .inflight = true};

static int start(void **state)
{
	(void)state;
	harness_start(&h, "rng", NULL, HARNESS_THREAD, &plain);
	return 0;
}

static int stop(void **state)
{
	(void)state;
	harness_stop(&h);
	return 0;
}

static struct driver_queue *queue(void)
{
	return &h.d.queues[0];
}

static void expect_service(void)
{
	struct driver_used used;
	struct driver_buf b = {driver_alloc(&h.d, 32, 64), 32, true};

	assert_true(driver_add(queue(), &b, 1) >= 0);
	driver_kick_always(queue());
	assert_int_equal(driver_wait(queue(), WAIT_MS, &used), 0);
	assert_int_equal(used.len, 32);
}

static int tell(uint32_t request, uint32_t size, const union vu_payload *p)
{
	struct vu_msg m = {.request = request, .size = size};

	if (p)
		m.p = *p;
	return vu_tell(&h.d.conn, &m);
}

static int tell_state(uint32_t request, uint32_t index, uint32_t num)
{
	return vu_set_state(&h.d.conn, request, index, num);
}

/* ---- registers ---- */

static void test_registers_of_a_live_queue_cannot_be_changed(void **state)
{
	union vu_payload p = {.addr = {.index = le32_of(0)}};

	(void)state;
	p.addr.desc = le64_of((uintptr_t)queue()->desc + 16);
	p.addr.used = le64_of((uintptr_t)queue()->device_area);
	p.addr.avail = le64_of((uintptr_t)queue()->driver_area);
	assert_int_equal(tell(VU_SET_VRING_ADDR, sizeof(p.addr), &p), -EREMOTEIO);
	assert_int_equal(tell_state(VU_SET_VRING_NUM, 0, 8), -EREMOTEIO);
	assert_int_equal(tell_state(VU_SET_VRING_BASE, 0, 7), -EREMOTEIO);
	assert_int_equal(vu_set_u64(&h.d.conn, VU_SET_FEATURES, VIRTIO_BIT(VIRTIO_F_VERSION_1)),
			 -EREMOTEIO);
	expect_service();
}

static void test_same_addresses_again_are_accepted(void **state)
{
	union vu_payload p = {.addr = {.index = le32_of(0)}};

	(void)state;
	p.addr.desc = le64_of((uintptr_t)queue()->desc);
	p.addr.used = le64_of((uintptr_t)queue()->device_area);
	p.addr.avail = le64_of((uintptr_t)queue()->driver_area);
	assert_int_equal(tell(VU_SET_VRING_ADDR, sizeof(p.addr), &p), 0);
	expect_service();
}

static void test_queues_that_do_not_exist_are_refused(void **state)
{
	static const uint32_t indexes[] = {1, 31, 32, 255, 0x10000, UINT32_MAX};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(indexes); i++) {
		assert_int_equal(tell_state(VU_SET_VRING_NUM, indexes[i], 8), -EREMOTEIO);
		assert_int_equal(tell_state(VU_SET_VRING_BASE, indexes[i], 0), -EREMOTEIO);
		assert_int_equal(tell_state(VU_SET_VRING_ENABLE, indexes[i], 1), -EREMOTEIO);
	}
	assert_int_equal(vu_set_vring_fd(&h.d.conn, VU_SET_VRING_KICK, 1, queue()->kick_fd),
			 -EREMOTEIO);
	assert_int_equal(vu_set_vring_fd(&h.d.conn, VU_SET_VRING_CALL, 255, queue()->kick_fd),
			 -EREMOTEIO);
	expect_service();
}

static void test_impossible_sizes_are_refused(void **state)
{
	static const uint32_t sizes[] = {0, 512, 65536, UINT32_MAX};

	(void)state;
	assert_int_equal(driver_stop_queue(&h.d, 0), 0);
	for (size_t i = 0; i < ARRAY_LEN(sizes); i++)
		assert_int_equal(tell_state(VU_SET_VRING_NUM, 0, sizes[i]), -EREMOTEIO);
	assert_int_equal(driver_send_queue(&h.d, 0), 0);
	expect_service();
}

static void test_odd_size_is_reported_as_broken(void **state)
{
	(void)state;
	assert_int_equal(driver_stop_queue(&h.d, 0), 0);
	queue()->size = 12;
	assert_int_equal(driver_send_queue(&h.d, 0), 0);
	assert_int_equal(driver_wait_broken(queue(), WAIT_MS), 0);
	fd_drain(queue()->err_fd);
	assert_int_equal(driver_stop_queue(&h.d, 0), 0);
	queue()->size = QUEUE_SIZE;
	queue()->base = 0;
	assert_int_equal(driver_send_queue(&h.d, 0), 0);
	expect_service();
}

static void test_areas_outside_memory_are_reported_as_broken(void **state)
{
	void *desc = queue()->desc;

	(void)state;
	assert_int_equal(driver_stop_queue(&h.d, 0), 0);
	queue()->desc = h.d.mem + h.d.mem_bytes - 16;
	assert_int_equal(driver_send_queue(&h.d, 0), 0);
	assert_int_equal(driver_wait_broken(queue(), WAIT_MS), 0);
	fd_drain(queue()->err_fd);
	assert_int_equal(driver_stop_queue(&h.d, 0), 0);
	queue()->desc = &h;
	assert_int_equal(driver_send_queue(&h.d, 0), 0);
	assert_int_equal(driver_wait_broken(queue(), WAIT_MS), 0);
	queue()->desc = desc;
	assert_int_equal(driver_stop_queue(&h.d, 0), 0);
	assert_int_equal(driver_send_queue(&h.d, 0), 0);
	expect_service();
}

static void test_unknown_features_are_refused(void **state)
{
	(void)state;
	assert_int_equal(driver_stop_queue(&h.d, 0), 0);
	assert_int_equal(vu_set_u64(&h.d.conn, VU_SET_FEATURES, h.d.acked | 1ull << 60),
			 -EREMOTEIO);
	assert_int_equal(vu_set_u64(&h.d.conn, VU_SET_PROTOCOL_FEATURES, 1ull << 60), -EREMOTEIO);
	assert_int_equal(driver_send_queue(&h.d, 0), 0);
	expect_service();
}

/* ---- memory ---- */

static int send_region(uint64_t base, uint64_t size, uint64_t user, uint64_t offset, int fd)
{
	struct vu_msg m = {.request = VU_SET_MEM_TABLE, .size = 8 + sizeof(struct vu_region)};

	m.p.memory.count = le32_of(1);
	m.p.memory.regions[0] = (struct vu_region){le64_of(base), le64_of(size), le64_of(user),
						   le64_of(offset)};
	m.fds[0] = fd;
	m.nfds = 1;
	return vu_tell(&h.d.conn, &m);
}

static void test_impossible_memory_is_refused(void **state)
{
	uint64_t user = (uintptr_t)h.d.mem, bytes = h.d.mem_bytes;
	int fd = h.d.mem_fd, read_end[2];

	(void)state;
	assert_int_equal(driver_stop_queue(&h.d, 0), 0);
	assert_int_equal(pipe(read_end), 0);
	assert_int_equal(send_region(0, 0, user, 0, fd), -EREMOTEIO);
	assert_int_equal(send_region(1, bytes, user, 0, fd), -EREMOTEIO);
	assert_int_equal(send_region(0, bytes + 4096, user, 0, fd), -EREMOTEIO);
	assert_int_equal(send_region(0, bytes, user, 4096, fd), -EREMOTEIO);
	assert_int_equal(send_region(0, bytes, user, 1, fd), -EREMOTEIO);
	assert_int_equal(send_region(0, UINT64_MAX & ~4095ull, user, 0, fd), -EREMOTEIO);
	assert_int_equal(send_region(UINT64_MAX & ~4095ull, bytes, user, 0, fd), -EREMOTEIO);
	assert_int_equal(send_region(0, bytes, UINT64_MAX - 4095, 0, fd), -EREMOTEIO);
	assert_int_equal(send_region(0, bytes, user, UINT64_MAX & ~4095ull, fd), -EREMOTEIO);
	assert_int_equal(send_region(0, bytes, user, 0, read_end[0]), -EREMOTEIO);
	close(read_end[0]);
	close(read_end[1]);
	assert_int_equal(driver_send_memory(&h.d), 0);
	assert_int_equal(driver_send_queue(&h.d, 0), 0);
	expect_service();
}

static void test_overlapping_regions_are_refused(void **state)
{
	struct vu_msg m = {.request = VU_SET_MEM_TABLE, .size = 8 + 2 * sizeof(struct vu_region)};

	(void)state;
	m.p.memory.count = le32_of(2);
	for (unsigned i = 0; i < 2; i++) {
		m.p.memory.regions[i] = (struct vu_region){
			le64_of(i * 4096), le64_of(8192), le64_of(i << 20), le64_of(0)};
		m.fds[m.nfds++] = h.d.mem_fd;
	}
	assert_int_equal(vu_tell(&h.d.conn, &m), -EREMOTEIO);
	assert_int_equal(driver_send_memory(&h.d), 0);
	expect_service();
}

static void test_memory_may_be_replaced_while_queues_run(void **state)
{
	(void)state;
	expect_service();
	assert_int_equal(driver_send_memory(&h.d), 0);
	expect_service();
}

static int slot(uint32_t request, uint64_t base, int fd)
{
	struct vu_msg m = {.request = request, .size = sizeof(m.p.one_region)};

	m.p.one_region.region = (struct vu_region){le64_of(base), le64_of(4096), le64_of(1 << 20),
						   le64_of(0)};
	m.fds[0] = fd;
	m.nfds = fd >= 0;
	return vu_tell(&h.d.conn, &m);
}

static void test_memory_slots_come_and_go(void **state)
{
	uint64_t most = 0, base = 1ull << 40;

	(void)state;
	assert_int_equal(vu_get_u64(&h.d.conn, VU_GET_MAX_MEM_SLOTS, &most), 0);
	assert_int_equal(most, 8);
	for (uint64_t i = 0; i < most - 1; i++)
		assert_int_equal(slot(VU_ADD_MEM_REG, base + (i << 20), h.d.mem_fd), 0);
	assert_int_equal(slot(VU_ADD_MEM_REG, base << 1, h.d.mem_fd), -EREMOTEIO);
	assert_int_equal(slot(VU_ADD_MEM_REG, base << 1, -1), -EREMOTEIO);
	assert_int_equal(slot(VU_REM_MEM_REG, base + 4096, -1), -EREMOTEIO);
	for (uint64_t i = 0; i < most - 1; i++)
		assert_int_equal(slot(VU_REM_MEM_REG, base + (i << 20), -1), 0);
	expect_service();
}

/* ---- the in-flight log ---- */

static int send_log(uint64_t size, uint64_t offset, uint16_t queues, uint16_t queue_size, int fd)
{
	struct vu_msg m = {.request = VU_SET_INFLIGHT_FD, .size = sizeof(m.p.inflight)};

	m.p.inflight = (struct vu_inflight){le64_of(size), le64_of(offset), le16_of(queues),
					    le16_of(queue_size), le32_of(0)};
	m.fds[0] = fd;
	m.nfds = fd >= 0;
	return vu_tell(&h.d.conn, &m);
}

/* A captured device could fill the host's memory with it. */
static void test_the_log_keeps_its_size(void **state)
{
	struct stat st;

	(void)state;
	assert_int_equal(fstat(h.d.inflight_fd, &st), 0);
	assert_true(st.st_size > 0);
	assert_int_equal(ftruncate(h.d.inflight_fd, st.st_size + 4096), -1);
	assert_int_equal(ftruncate(h.d.inflight_fd, 0), -1);
	assert_int_equal(pwrite(h.d.inflight_fd, "x", 1, st.st_size), -1);
	expect_service();
}

static void test_impossible_logs_are_refused(void **state)
{
	int fd = memfd_create("log", MFD_CLOEXEC);

	(void)state;
	assert_int_equal(ftruncate(fd, 8192), 0);
	assert_int_equal(send_log(8192, 0, 1, QUEUE_SIZE, fd), -EREMOTEIO); /* queues are live */
	assert_int_equal(driver_stop_queue(&h.d, 0), 0);
	assert_int_equal(send_log(8192, 0, 0, QUEUE_SIZE, fd), -EREMOTEIO);
	assert_int_equal(send_log(8192, 0, 1, 0, fd), -EREMOTEIO);
	assert_int_equal(send_log(8192, 0, 0xffff, 0xffff, fd), -EREMOTEIO);
	assert_int_equal(send_log(64, 0, 1, QUEUE_SIZE, fd), -EREMOTEIO);
	assert_int_equal(send_log(8192, 4096, 1, QUEUE_SIZE, fd), -EREMOTEIO);
	assert_int_equal(send_log(4096, 64, 1, QUEUE_SIZE, fd), -EREMOTEIO);
	assert_int_equal(send_log(UINT64_MAX, 0, 1, QUEUE_SIZE, fd), -EREMOTEIO);
	assert_int_equal(send_log(4096, UINT64_MAX & ~4095ull, 1, QUEUE_SIZE, fd), -EREMOTEIO);
	assert_int_equal(send_log(8192, 0, 1, QUEUE_SIZE, -1), -EREMOTEIO);
	assert_int_equal(send_log(8192, 0, 1, 8, fd), 0); /* shorter than the ring: */
	assert_int_equal(driver_send_queue(&h.d, 0), 0);
	assert_int_equal(driver_wait_broken(queue(), WAIT_MS), 0);
	assert_int_equal(driver_stop_queue(&h.d, 0), 0);
	assert_int_equal(send_log(4096, 4096, 1, QUEUE_SIZE, fd), 0);
	assert_int_equal(driver_send_queue(&h.d, 0), 0);
	expect_service();
	close(fd);
}

/* ---- descriptors ---- */

static void test_descriptors_of_the_wrong_kind_are_harmless(void **state)
{
	int pair[2], file = memfd_create("file", MFD_CLOEXEC);

	(void)state;
	assert_int_equal(pipe(pair), 0);
	assert_int_equal(vu_set_vring_fd(&h.d.conn, VU_SET_VRING_CALL, 0, pair[1]), 0);
	assert_int_equal(vu_set_vring_fd(&h.d.conn, VU_SET_VRING_ERR, 0, file), 0);
	for (int i = 0; i < 3; i++)
		assert_int_equal(vu_set_vring_fd(&h.d.conn, VU_SET_VRING_CALL, 0, -1), 0);
	/* A file cannot be waited for: the queue is broken, not the device. */
	assert_int_equal(vu_set_vring_fd(&h.d.conn, VU_SET_VRING_ERR, 0, queue()->err_fd), 0);
	assert_int_equal(vu_set_vring_fd(&h.d.conn, VU_SET_VRING_KICK, 0, file), 0);
	assert_int_equal(driver_wait_broken(queue(), WAIT_MS), 0);
	/* A pipe whose other end is closed would be ready for ever. */
	assert_int_equal(driver_stop_queue(&h.d, 0), 0);
	assert_int_equal(driver_send_queue(&h.d, 0), 0);
	close(pair[1]);
	assert_int_equal(vu_set_vring_fd(&h.d.conn, VU_SET_VRING_KICK, 0, pair[0]), 0);
	close(pair[0]);
	close(file);
	assert_int_equal(driver_stop_queue(&h.d, 0), 0);
	assert_int_equal(driver_send_queue(&h.d, 0), 0);
	expect_service();
}

static void test_polling_instead_of_kicks_is_refused(void **state)
{
	(void)state;
	assert_int_equal(vu_set_vring_fd(&h.d.conn, VU_SET_VRING_KICK, 0, -1), -EREMOTEIO);
	expect_service();
}

/* ---- life of a queue ---- */

static void test_disabled_queue_waits(void **state)
{
	struct driver_buf b = {driver_alloc(&h.d, 32, 64), 32, true};
	struct driver_used used;

	(void)state;
	assert_int_equal(tell_state(VU_SET_VRING_ENABLE, 0, 0), 0);
	assert_true(driver_add(queue(), &b, 1) >= 0);
	driver_kick_always(queue());
	harness_expect_alive(&h);
	assert_false(driver_poll(queue(), &used));
	assert_int_equal(tell_state(VU_SET_VRING_ENABLE, 0, 2), -EREMOTEIO);
	assert_int_equal(tell_state(VU_SET_VRING_ENABLE, 0, 1), 0);
	assert_int_equal(driver_wait(queue(), WAIT_MS, &used), 0);
}

static void test_stopped_queue_goes_on_at_its_base(void **state)
{
	(void)state;
	for (int i = 0; i < 40; i++) {
		expect_service();
		assert_int_equal(driver_stop_queue(&h.d, 0), 0);
		assert_int_equal(queue()->base, i + 1);
		assert_int_equal(driver_send_queue(&h.d, 0), 0);
	}
}

static void test_status_is_kept_and_zero_resets(void **state)
{
	uint64_t status = 1;

	(void)state;
	assert_int_equal(vu_get_u64(&h.d.conn, VU_GET_STATUS, &status), 0);
	assert_int_equal(status, 0);
	assert_int_equal(vu_set_u64(&h.d.conn, VU_SET_STATUS, 256), -EREMOTEIO);
	assert_int_equal(vu_set_u64(&h.d.conn, VU_SET_STATUS, 0xf), 0);
	assert_int_equal(vu_get_u64(&h.d.conn, VU_GET_STATUS, &status), 0);
	assert_int_equal(status, 0xf);
	expect_service();
	assert_int_equal(vu_set_u64(&h.d.conn, VU_SET_STATUS, 0), 0);
	driver_reset(&h.d);
	assert_int_equal(driver_send_queue(&h.d, 0), 0);
	expect_service();
}

static void test_second_connection_after_the_first(void **state)
{
	(void)state;
	expect_service();
	harness_restart(&h);
	expect_service();
}

/* ---- configuration space ---- */

static void test_config_space_beyond_the_end(void **state)
{
	uint8_t bytes[VU_CONFIG_MAX];

	(void)state;
	memset(bytes, 1, sizeof(bytes));
	assert_int_equal(driver_config_read(&h.d, 0, bytes, sizeof(bytes)), 0);
	assert_int_equal(bytes[0] | bytes[255], 0);
	assert_int_equal(driver_config_read(&h.d, 1, bytes, sizeof(bytes)), -EREMOTEIO);
	assert_int_equal(driver_config_read(&h.d, UINT32_MAX, bytes, 1), -EREMOTEIO);
	assert_int_equal(driver_config_write(&h.d, 0, bytes, 1), -EREMOTEIO);
	expect_service();
}

/* ---- messages ---- */

static void test_unknown_requests_are_refused(void **state)
{
	static const uint32_t requests[] = {0,  6,  7,  19, 20, 22,        28,
					    33, 35, 41, 43, 99, UINT32_MAX};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(requests); i++) {
		struct vu_msg m = {.request = requests[i], .flags = VU_FLAG_NEED_REPLY};
		uint8_t answer[20];

		assert_int_equal(vu_send(&h.d.conn, &m), 0);
		assert_int_equal(recv(h.d.conn.sock, answer, 20, MSG_WAITALL), 20);
		assert_int_equal(answer[12], 1);
	}
	expect_service();
}

static void expect_hang_up(const void *bytes, size_t n)
{
	struct harness *x = &h;
	char byte;

	harness_start(x, "rng", NULL, HARNESS_THREAD, &plain);
	assert_int_equal(send(x->d.conn.sock, bytes, n, MSG_NOSIGNAL), n);
	assert_true(recv(x->d.conn.sock, &byte, 1, 0) <= 0);
	harness_stop(x);
}

static void test_what_is_no_message_ends_the_connection(void **state)
{
	static const uint32_t messages[][5] = {
		{VU_GET_FEATURES, 0, 0},		  /* version 0 */
		{VU_GET_FEATURES, 2, 0},		  /* version 2 */
		{VU_GET_FEATURES, 5, 0},		  /* a reply */
		{VU_GET_FEATURES, 1, 8},		  /* a payload that it has not */
		{VU_SET_FEATURES, 1, 4},		  /* too short */
		{VU_SET_FEATURES, 1, UINT32_MAX},	  /* too long */
		{VU_SET_MEM_TABLE, 1, 8, 1, 0},		  /* a region short */
		{VU_SET_MEM_TABLE, 1, 8, UINT32_MAX, 0},
		{VU_SET_VRING_NUM, 1, 8, 9, 16},	  /* no such queue, no answer asked for */
		{99, 1, 0},
		{99, 1, 4096},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(messages); i++)
		expect_hang_up(messages[i], sizeof(messages[i]));
}

static void test_descriptors_where_none_belong_end_the_connection(void **state)
{
	struct vu_msg m = {.request = VU_SET_OWNER, .nfds = 2};
	char byte;

	(void)state;
	harness_start(&h, "rng", NULL, HARNESS_THREAD, &plain);
	m.fds[0] = m.fds[1] = h.d.mem_fd;
	assert_int_equal(vu_send(&h.d.conn, &m), 0);
	assert_true(recv(h.d.conn.sock, &byte, 1, 0) <= 0);
	harness_stop(&h);
}

static void test_message_in_pieces_does_not_stop_the_device(void **state)
{
	static const uint8_t message[20] = {VU_SET_STATUS, 0, 0, 0, 1 | 8, 0, 0, 0, 8, 0, 0, 0, 3};
	uint8_t answer[20];
	uint64_t status = 0;

	(void)state;
	for (size_t i = 0; i < sizeof(message); i++) {
		assert_int_equal(send(h.d.conn.sock, message + i, 1, 0), 1);
		if (i % 5 == 0)
			expect_service();
	}
	assert_int_equal(recv(h.d.conn.sock, answer, 20, MSG_WAITALL), 20);
	assert_int_equal(vu_get_u64(&h.d.conn, VU_GET_STATUS, &status), 0);
	assert_int_equal(status, 3);
}

/* ---- control socket ---- */

static void ask_control(const char *command, const char *expected)
{
	char answer[512] = {0};

	assert_true(send(h.control_sock, command, strlen(command), 0) >= 0);
	assert_true(recv(h.control_sock, answer, sizeof(answer) - 1, 0) > 0);
	assert_non_null(strstr(answer, expected));
}

static void test_control_socket_answers(void **state)
{
	(void)state;
	ask_control("status",
		    "\"ok\":true,\"type\":\"rng\",\"started\":true,\"queues\":1,\"live\":1");
	ask_control("destroy", "\"ok\":false");
	driver_publish(queue(), QUEUE_SIZE);
	driver_kick_always(queue());
	assert_int_equal(driver_wait_broken(queue(), WAIT_MS), 0);
	ask_control("status", "\"broken\":1");
}

#define TEST(name) cmocka_unit_test_setup_teardown(test_##name, start, stop)

int main(void)
{
	static const struct CMUnitTest tests[] = {
		TEST(registers_of_a_live_queue_cannot_be_changed),
		TEST(same_addresses_again_are_accepted),
		TEST(queues_that_do_not_exist_are_refused),
		TEST(impossible_sizes_are_refused),
		TEST(odd_size_is_reported_as_broken),
		TEST(areas_outside_memory_are_reported_as_broken),
		TEST(unknown_features_are_refused),
		TEST(impossible_memory_is_refused),
		TEST(overlapping_regions_are_refused),
		TEST(memory_may_be_replaced_while_queues_run),
		TEST(memory_slots_come_and_go),
		TEST(the_log_keeps_its_size),
		TEST(impossible_logs_are_refused),
		TEST(descriptors_of_the_wrong_kind_are_harmless),
		TEST(polling_instead_of_kicks_is_refused),
		TEST(disabled_queue_waits),
		TEST(stopped_queue_goes_on_at_its_base),
		TEST(status_is_kept_and_zero_resets),
		TEST(second_connection_after_the_first),
		TEST(config_space_beyond_the_end),
		TEST(unknown_requests_are_refused),
		cmocka_unit_test(test_what_is_no_message_ends_the_connection),
		cmocka_unit_test(test_descriptors_where_none_belong_end_the_connection),
		TEST(message_in_pieces_does_not_stop_the_device),
		TEST(control_socket_answers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
