/* SPDX-License-Identifier: BSD-3-Clause */
/* vsock_trouble_test.c - virtual sockets: absurd packets, too many, a device that goes */
#include "devices/vsock_fixture.h"

/* ---- bad and absurd packets ---- */

static void test_packets_of_nobody_are_reset(void **state)
{
	static const struct vsock_packet good = {.src_cid = GUEST_CID,
						 .dst_cid = VSOCK_HOST_CID,
						 .src_port = 1,
						 .dst_port = 2,
						 .type = VIRTIO_VSOCK_TYPE_STREAM,
						 .op = VIRTIO_VSOCK_OP_REQUEST,
						 .buf_alloc = 65536};
	struct vsock_packet bad[24], answer;
	unsigned n = 0;

	(void)state;
	for (uint16_t op = 0; op < 12; op++) {
		bad[n] = good;
		bad[n++].op = op;
	}
	bad[n] = good;
	bad[n++].op = UINT16_MAX;
	bad[n] = good;
	bad[n++].src_cid = GUEST_CID + 1;
	bad[n] = good;
	bad[n++].src_cid = GUEST_CID + (1ull << 32);
	bad[n] = good;
	bad[n++].dst_cid = 0;
	bad[n] = good;
	bad[n++].dst_cid = GUEST_CID;
	bad[n] = good;
	bad[n++].dst_cid = UINT64_MAX;
	bad[n] = good;
	bad[n++].type = VIRTIO_VSOCK_TYPE_SEQPACKET;
	bad[n] = good;
	bad[n++].type = 0;
	bad[n] = good;
	bad[n++].len = 1;
	bad[n] = good;
	bad[n++].fwd_cnt = 1;
	for (unsigned i = 0; i < n; i++) {
		guest_send_raw(&g, &bad[i], NULL, 0);
		if (bad[i].op == VIRTIO_VSOCK_OP_RST) {
			guest_expect_silence(&g);
			continue;
		}
		assert_true(guest_receive(&g, WAIT_MS, &answer, NULL));
		assert_int_equal(answer.op, VIRTIO_VSOCK_OP_RST);
		assert_int_equal(answer.src_cid, bad[i].dst_cid);
		assert_int_equal(answer.dst_cid, bad[i].src_cid);
		assert_int_equal(answer.src_port, 2);
		assert_int_equal(answer.dst_port, 1);
		assert_int_equal(answer.type, bad[i].type);
	}
	harness_expect_alive(&g.h);
}

/* Each breaks a connection of its own, which is reset, and leaves the device as it was. */
static void test_packets_that_break_a_rule_reset_the_connection(void **state)
{
	static const struct vsock_packet bad[] = {
		{.op = VIRTIO_VSOCK_OP_INVALID},
		{.op = VIRTIO_VSOCK_OP_REQUEST},
		{.op = VIRTIO_VSOCK_OP_RESPONSE},
		{.op = 8},
		{.op = UINT16_MAX},
		{.op = VIRTIO_VSOCK_OP_RW, .len = 9}, /* with 8 bytes */
		{.op = VIRTIO_VSOCK_OP_RW, .len = UINT32_MAX},
		{.op = VIRTIO_VSOCK_OP_SHUTDOWN, .len = 1},
		{.op = VIRTIO_VSOCK_OP_CREDIT_UPDATE, .len = 8},
		{.op = VIRTIO_VSOCK_OP_CREDIT_UPDATE, .fwd_cnt = 1},
		{.op = VIRTIO_VSOCK_OP_RW, .len = 8, .fwd_cnt = INT32_MAX},
	};
	int listener = host_listen(&g, PORT, 4);

	(void)state;
	for (unsigned i = 0; i < ARRAY_LEN(bad); i++) {
		struct vsock_packet p = bad[i];
		struct flow f;
		int fd = guest_connect(&g, &f, listener, 5000 + i, PORT);

		p.src_cid = GUEST_CID;
		p.dst_cid = VSOCK_HOST_CID;
		p.src_port = f.guest_port;
		p.dst_port = f.host_port;
		p.type = VIRTIO_VSOCK_TYPE_STREAM;
		guest_send_raw(&g, &p, bytes, 8);
		guest_expect(&g, &f, VIRTIO_VSOCK_OP_RST, NULL);
		expect_end(fd);
		close(fd);
	}
	close(listener);
	guest_expect_silence(&g);
}

static void test_data_after_its_end_is_a_reset(void **state)
{
	struct flow f;
	int fd;

	(void)state;
	fd = host_connect_guest(&g, &f, 52);
	guest_send(&g, &f, VIRTIO_VSOCK_OP_SHUTDOWN, VIRTIO_VSOCK_SHUTDOWN_SEND, NULL, 0);
	guest_send(&g, &f, VIRTIO_VSOCK_OP_RW, 0, "x", 1);
	guest_expect(&g, &f, VIRTIO_VSOCK_OP_RST, NULL);
	close(fd);
}

static void test_packet_without_a_header_is_dropped(void **state)
{
	struct driver_queue *q = &g.h.d.queues[VSOCK_TX];
	struct driver_used used;
	struct driver_buf b;

	(void)state;
	for (uint32_t n = 1; n < sizeof(struct vsock_header); n += 7) {
		b = (struct driver_buf){g.tx, n, false};
		assert_true(driver_add(q, &b, 1) >= 0);
		driver_kick(q);
		assert_int_equal(driver_wait(q, WAIT_MS, &used), 0);
	}
	guest_expect_silence(&g);
	harness_expect_alive(&g.h);
}

static void test_receive_buffer_without_room_breaks_the_queue(void **state)
{
	struct driver_queue *q = &g.h.d.queues[VSOCK_RX];
	struct driver_buf b = {g.events, sizeof(struct vsock_header), true};
	int fd;

	(void)state;
	g.rx_held = 1;
	while (driver_add(q, &b, 1) >= 0)
		;
	driver_kick(q);
	for (unsigned i = 0; i < 65; i++) {
		fd = host_connect_path(&g);
		assert_int_equal(write(fd, "CONNECT 7\n", 10), 10);
	}
	assert_int_equal(driver_wait_broken(q, WAIT_MS), 0);
	harness_expect_alive(&g.h);
}

/* ---- many, full, stopped ---- */

static void test_a_thousand_connections(void **state)
{
	enum { N = 1000 };
	static struct flow f[N];
	static int fd[N];
	struct flow more = {.guest_port = 1, .host_port = PORT, .buf_alloc = 65536};
	char text[8];
	int listener;

	(void)state;
	guest_stop(&g);
	guest_start(&g, HARNESS_PROCESS, ",connections=1000");
	guest_give(&g, 64);
	listener = host_listen(&g, PORT, 4);
	for (unsigned i = 0; i < N; i++)
		fd[i] = i % 2 ? guest_connect(&g, &f[i], listener, 5000 + i, PORT)
			      : host_connect_guest(&g, &f[i], 6000 + i % 7);
	guest_send(&g, &more, VIRTIO_VSOCK_OP_REQUEST, 0, NULL, 0);
	guest_expect(&g, &more, VIRTIO_VSOCK_OP_RST, NULL);
	for (unsigned i = 0; i < N; i++) {
		guest_send(&g, &f[i], VIRTIO_VSOCK_OP_RW, 0, &i, sizeof(i));
		host_read_all(fd[i], text, sizeof(i));
		assert_memory_equal(text, &i, sizeof(i));
		assert_int_equal(write(fd[i], &i, sizeof(i)), sizeof(i));
		guest_expect(&g, &f[i], VIRTIO_VSOCK_OP_RW, text);
		assert_memory_equal(text, &i, sizeof(i));
	}
	for (unsigned i = 0; i < N; i++) {
		guest_send(&g, &f[i], VIRTIO_VSOCK_OP_SHUTDOWN, BOTH, NULL, 0);
		guest_expect(&g, &f[i], VIRTIO_VSOCK_OP_RST, NULL);
		close(fd[i]);
	}
	close(guest_connect(&g, &more, listener, 1, PORT));
	close(listener);
}

/* A full backlog is a matter of time. */
static void test_busy_program_is_asked_again(void **state)
{
	int busy = host_listen(&g, PORT, 0), idle = host_listen(&g, PORT + 1, 1), fd;
	struct flow first = {.guest_port = 1, .host_port = PORT, .buf_alloc = 65536};
	struct flow second = {.guest_port = 2, .host_port = PORT, .buf_alloc = 65536};
	struct flow other;

	(void)state;
	guest_send(&g, &first, VIRTIO_VSOCK_OP_REQUEST, 0, NULL, 0);
	guest_expect(&g, &first, VIRTIO_VSOCK_OP_RESPONSE, NULL);
	guest_send(&g, &second, VIRTIO_VSOCK_OP_REQUEST, 0, NULL, 0);
	guest_expect_silence(&g);
	close(guest_connect(&g, &other, idle, 3, PORT + 1));
	guest_expect(&g, &other, VIRTIO_VSOCK_OP_SHUTDOWN, NULL);
	fd = accept(busy, NULL, NULL);
	guest_expect(&g, &second, VIRTIO_VSOCK_OP_RESPONSE, NULL);
	close(fd);
	close(busy);
	close(idle);
}

/* Ticks of CPU time that the device's process has used. */
static unsigned long cpu_ticks(void)
{
	unsigned long user = 0, system = 0;
	char path[64];
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%d/stat", (int)g.h.pid);
	file = fopen(path, "re");
	assert_non_null(file);
	assert_int_equal(fscanf(file, "%*d %*s %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu",
				&user, &system),
			 2);
	fclose(file);
	return user + system;
}

/* Full sockets, closed programs, no buffers, no credit: nothing of it is a reason to spin. */
static void test_guest_without_buffers_costs_nothing(void **state)
{
	enum { N = 20, WAIT = 1000 };
	unsigned long before, ticks = (unsigned long)sysconf(_SC_CLK_TCK);
	struct flow f[N];
	struct vsock_packet p;
	int fd[N];
	uint32_t got = 0;

	(void)state;
	for (unsigned i = 0; i < N; i++)
		fd[i] = host_connect_guest(&g, &f[i], 100 + i);
	g.rx_held = 1;
	for (unsigned i = 0; i < N; i++)
		assert_int_equal(write(fd[i], bytes, 30000), 30000);
	for (unsigned i = 0; i < N; i += 2)
		close(fd[i]);
	while (guest_receive(&g, 500, &p, NULL))
		got += p.len;
	assert_true(got < N * 30000);
	before = cpu_ticks();
	poll(NULL, 0, WAIT);
	assert_true(cpu_ticks() - before <= ticks / 20);
	g.rx_held = 0;
	guest_give(&g, 64);
	while (guest_receive(&g, 300, &p, NULL))
		got += p.len;
	assert_int_equal(got, N * 30000);
	before = cpu_ticks();
	poll(NULL, 0, WAIT); /* half of the programs are gone, and the guest keeps quiet */
	assert_true(cpu_ticks() - before <= ticks / 20);
	for (unsigned i = 1; i < N; i += 2)
		close(fd[i]);
}

static void test_program_waits_for_a_free_connection(void **state)
{
	struct flow f, second = {.guest_port = 8};
	int fd, other;

	(void)state;
	guest_stop(&g);
	guest_start(&g, HARNESS_THREAD, ",connections=1");
	guest_give(&g, 64);
	fd = host_connect_guest(&g, &f, 7);
	other = host_connect_path(&g);
	assert_int_equal(write(other, "CONNECT 8\n", 10), 10);
	guest_expect_silence(&g);
	guest_send(&g, &f, VIRTIO_VSOCK_OP_RST, 0, NULL, 0);
	expect_end(fd);
	assert_true(guest_receive(&g, WAIT_MS, &second.last, NULL));
	assert_int_equal(second.last.op, VIRTIO_VSOCK_OP_REQUEST);
	assert_int_equal(second.last.dst_port, 8);
	close(other);
	close(fd);
}

static void test_answers_wait_for_buffers_and_packets_for_answers(void **state)
{
	struct vsock_packet p = {.src_cid = GUEST_CID, .dst_cid = 9, .op = VIRTIO_VSOCK_OP_RW};
	struct driver_queue *q = &g.h.d.queues[VSOCK_TX];
	struct driver_buf b = {g.tx, sizeof(struct vsock_header), false};
	struct driver_used used;
	unsigned taken = 0, answers = 0;

	(void)state;
	guest_send_raw(&g, &p, NULL, 0);
	g.rx_held = 1;
	for (unsigned i = 0; i < 10; i++) {
		while (driver_add(q, &b, 1) >= 0)
			;
		driver_kick(q);
		while (driver_wait(q, 100, &used) == 0)
			taken++;
	}
	assert_in_range(taken, VSOCK_REPLIES_MAX, VSOCK_REPLIES_MAX + 64);
	g.rx_held = 0;
	guest_give(&g, 64);
	while (guest_receive(&g, 300, &p, NULL))
		answers++;
	while (driver_wait(q, 100, &used) == 0)
		taken++;
	assert_int_equal(answers, taken + 1);
}

/* ---- the device comes and goes ---- */

static void expect_transport_reset(void)
{
	struct driver_queue *q = &g.h.d.queues[VSOCK_EVENT];
	struct driver_used used;

	assert_int_equal(driver_wait(q, WAIT_MS, &used), 0);
	assert_int_equal(used.len, 4);
	assert_int_equal(*(uint32_t *)driver_at(&g.h.d, g.events, 4), 0);
}

static void test_killed_device_tells_that_connections_are_gone(void **state)
{
	struct driver_buf b = {g.events, 4, true};
	int listener = host_listen(&g, PORT, 4), fd;
	struct driver_used used;
	struct flow f;

	(void)state;
	memset(driver_at(&g.h.d, g.events, 4), 0xff, 4);
	assert_true(driver_add(&g.h.d.queues[VSOCK_EVENT], &b, 1) >= 0);
	fd = guest_connect(&g, &f, listener, 5000, PORT);
	assert_false(driver_poll(&g.h.d.queues[VSOCK_EVENT], &used));
	harness_kill(&g.h);
	expect_end(fd);
	harness_restart(&g.h);
	expect_transport_reset();
	guest_send(&g, &f, VIRTIO_VSOCK_OP_RW, 0, "x", 1);
	guest_expect(&g, &f, VIRTIO_VSOCK_OP_RST, NULL);
	close(fd);
	fd = guest_connect(&g, &f, listener, 5000, PORT);
	close(fd);
	close(listener);
}

static void test_paused_queues_keep_connections(void **state)
{
	struct driver_queue *q = &g.h.d.queues[VSOCK_EVENT];
	struct driver_buf b = {g.events, 4, true};
	struct driver_used used;
	struct flow f;
	char text[8];
	int fd;

	(void)state;
	assert_true(driver_add(q, &b, 1) >= 0);
	fd = host_connect_guest(&g, &f, 52);
	for (unsigned i = 0; i < VSOCK_QUEUES; i++)
		assert_int_equal(driver_stop_queue(&g.h.d, i), 0);
	assert_int_equal(write(fd, "later", 5), 5);
	poll(NULL, 0, 50);
	for (unsigned i = 0; i < VSOCK_QUEUES; i++)
		assert_int_equal(driver_send_queue(&g.h.d, i), 0);
	guest_expect(&g, &f, VIRTIO_VSOCK_OP_RW, text);
	assert_memory_equal(text, "later", 5);
	assert_false(driver_poll(q, &used));
	close(fd);
}

static void test_reset_by_the_driver_ends_connections(void **state)
{
	struct driver_queue *q = &g.h.d.queues[VSOCK_EVENT];
	struct driver_buf b = {g.events, 4, true};
	struct driver_used used;
	struct flow f;
	int fd;

	(void)state;
	fd = host_connect_guest(&g, &f, 52);
	assert_int_equal(vu_set(&g.h.d.conn, VU_RESET_DEVICE), 0);
	driver_reset(&g.h.d);
	memset(g.rx_slot, 0xff, sizeof(g.rx_slot));
	for (unsigned i = 0; i < VSOCK_QUEUES; i++)
		assert_int_equal(driver_send_queue(&g.h.d, i), 0);
	assert_true(driver_add(q, &b, 1) >= 0);
	guest_give(&g, 64);
	expect_end(fd);
	close(fd);
	close(host_connect_guest(&g, &f, 52));
	assert_false(driver_poll(q, &used));
}

static void test_configuration_has_the_cid(void **state)
{
	uint64_t cid = 0;

	(void)state;
	assert_int_equal(driver_config_read(&g.h.d, 0, &cid, sizeof(cid)), 0);
	assert_int_equal(cid, GUEST_CID);
}

#define TEST(name)    cmocka_unit_test_setup_teardown(test_##name, start_thread, stop)
#define PROCESS(name) cmocka_unit_test_setup_teardown(test_##name, start_process, stop)

int main(void)
{
	static const struct CMUnitTest tests[] = {
		PROCESS(packets_of_nobody_are_reset),
		PROCESS(packets_that_break_a_rule_reset_the_connection),
		TEST(data_after_its_end_is_a_reset),
		TEST(packet_without_a_header_is_dropped),
		PROCESS(receive_buffer_without_room_breaks_the_queue),
		PROCESS(a_thousand_connections),
		TEST(program_waits_for_a_free_connection),
		PROCESS(busy_program_is_asked_again),
		PROCESS(guest_without_buffers_costs_nothing),
		TEST(answers_wait_for_buffers_and_packets_for_answers),
		PROCESS(killed_device_tells_that_connections_are_gone),
		TEST(paused_queues_keep_connections),
		TEST(reset_by_the_driver_ends_connections),
		TEST(configuration_has_the_cid),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
