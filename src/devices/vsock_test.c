/* SPDX-License-Identifier: BSD-3-Clause */
/* vsock_test.c - virtual sockets of our own, with good, bad and absurd packets */
#include "base/num.h"
#include "devices/vsock_guest_test.h"

#include <errno.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

enum {
	WAIT_MS = 10000,
	PORT = 1024,
	BOTH = VIRTIO_VSOCK_SHUTDOWN_RCV | VIRTIO_VSOCK_SHUTDOWN_SEND,
	BUFFER_BYTES = 16384,
};

static struct guest g;
static uint8_t bytes[1 << 16];

static int start_thread(void **state)
{
	(void)state;
	guest_start(&g, HARNESS_THREAD, ",buffer=16K");
	guest_give(&g, 64);
	return 0;
}

static int start_process(void **state)
{
	(void)state;
	guest_start(&g, HARNESS_PROCESS, ",buffer=16K");
	guest_give(&g, 64);
	return 0;
}

static int stop(void **state)
{
	(void)state;
	guest_stop(&g);
	return 0;
}

static void expect_end(int fd)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};
	char byte;

	assert_int_equal(poll(&p, 1, WAIT_MS), 1);
	assert_true(read(fd, &byte, 1) <= 0);
}

static void fill_bytes(uint32_t seed)
{
	for (size_t i = 0; i < sizeof(bytes); i++) {
		seed = seed * 1664525 + 1013904223;
		bytes[i] = (uint8_t)(seed >> 24);
	}
}

/* ---- connections ---- */

static void test_guest_reaches_a_program(void **state)
{
	int listener = host_listen(&g, PORT, 4), fd;
	char text[16] = "";
	struct flow f;

	(void)state;
	fd = guest_connect(&g, &f, listener, 5000, PORT);
	assert_int_equal(f.last.buf_alloc, BUFFER_BYTES);
	guest_send(&g, &f, VIRTIO_VSOCK_OP_RW, 0, "question", 8);
	host_read_all(fd, text, 8);
	assert_string_equal(text, "question");
	assert_int_equal(write(fd, "answer", 6), 6);
	guest_expect(&g, &f, VIRTIO_VSOCK_OP_RW, text);
	assert_int_equal(f.last.len, 6);
	assert_memory_equal(text, "answer", 6);
	assert_int_equal(f.last.fwd_cnt, 8);
	guest_send(&g, &f, VIRTIO_VSOCK_OP_SHUTDOWN, BOTH, NULL, 0);
	guest_expect(&g, &f, VIRTIO_VSOCK_OP_RST, NULL);
	expect_end(fd);
	close(fd);
	close(listener);
}

static void test_program_reaches_the_guest(void **state)
{
	struct flow f, second;
	char text[16] = "";
	int fd, other;

	(void)state;
	fd = host_connect_guest(&g, &f, 52);
	other = host_connect_guest(&g, &second, 52);
	assert_int_not_equal(f.host_port, second.host_port);
	assert_int_equal(write(fd, "hello", 5), 5);
	guest_expect(&g, &f, VIRTIO_VSOCK_OP_RW, text);
	assert_memory_equal(text, "hello", 5);
	guest_send(&g, &second, VIRTIO_VSOCK_OP_RW, 0, "world", 5);
	host_read_all(other, text, 5);
	assert_memory_equal(text, "world", 5);
	close(fd);
	guest_expect(&g, &f, VIRTIO_VSOCK_OP_SHUTDOWN, NULL);
	assert_int_equal(f.last.flags, BOTH);
	guest_send(&g, &f, VIRTIO_VSOCK_OP_RST, 0, NULL, 0);
	guest_expect_silence(&g);
	close(other);
}

static void test_nobody_there_is_a_reset(void **state)
{
	struct flow f = {.guest_port = 5000, .host_port = PORT, .buf_alloc = 65536};
	int fd = host_connect_path(&g);

	(void)state;
	guest_send(&g, &f, VIRTIO_VSOCK_OP_REQUEST, 0, NULL, 0);
	guest_expect(&g, &f, VIRTIO_VSOCK_OP_RST, NULL);
	assert_int_equal(write(fd, "CONNECT 53\n", 11), 11);
	assert_true(guest_receive(&g, WAIT_MS, &f.last, NULL));
	f = (struct flow){.guest_port = 53, .host_port = f.last.src_port};
	guest_send(&g, &f, VIRTIO_VSOCK_OP_RST, 0, NULL, 0);
	expect_end(fd);
	guest_expect_silence(&g);
	close(fd);
}

static void test_command_may_come_in_pieces(void **state)
{
	struct flow f = {.guest_port = 7};
	int fd = host_connect_path(&g);
	char text[64] = "";

	(void)state;
	assert_int_equal(write(fd, "CON", 3), 3);
	guest_expect_silence(&g);
	assert_int_equal(write(fd, "NECT 7", 6), 6);
	guest_expect_silence(&g);
	assert_int_equal(write(fd, "\nearly", 6), 6);
	assert_true(guest_receive(&g, WAIT_MS, &f.last, NULL));
	assert_int_equal(f.last.op, VIRTIO_VSOCK_OP_REQUEST);
	f.host_port = f.last.src_port;
	f.buf_alloc = 65536;
	guest_send(&g, &f, VIRTIO_VSOCK_OP_RESPONSE, 0, NULL, 0);
	guest_expect(&g, &f, VIRTIO_VSOCK_OP_RW, text);
	assert_memory_equal(text, "early", 5);
	close(fd);
}

static void test_bad_commands_are_refused(void **state)
{
	static const char *const commands[] = {
		"\n", "CONNECT\n", "CONNECT \n", "CONNECT 4294967296\n", "CONNECT -1\n",
		"CONNECT 0x10\n", "connect 52\n", "CONNECT 52 \n", "CONNECT 52\r\n",
		"GET / HTTP/1.0\r\n\r\n", "CONNECT 00000000000000000000000052\n",
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(commands); i++) {
		int fd = host_connect_path(&g);
		size_t n = strlen(commands[i]);

		assert_int_equal(write(fd, commands[i], n), n);
		expect_end(fd);
		close(fd);
	}
	close(host_connect_path(&g));
	guest_expect_silence(&g);
}

static void test_program_that_does_not_wait_is_forgotten(void **state)
{
	struct flow f = {.guest_port = 7};
	int fd = host_connect_path(&g);

	(void)state;
	assert_int_equal(write(fd, "CONNECT 7\n", 10), 10);
	assert_true(guest_receive(&g, WAIT_MS, &f.last, NULL));
	f.host_port = f.last.src_port;
	close(fd);
	guest_expect(&g, &f, VIRTIO_VSOCK_OP_RST, NULL);
	guest_send(&g, &f, VIRTIO_VSOCK_OP_RESPONSE, 0, NULL, 0);
	guest_expect(&g, &f, VIRTIO_VSOCK_OP_RST, NULL);
}

/* ---- half-close ---- */

static void test_guest_closes_its_half(void **state)
{
	int listener = host_listen(&g, PORT, 4), fd;
	char text[16];
	struct flow f;

	(void)state;
	fd = guest_connect(&g, &f, listener, 5000, PORT);
	guest_send(&g, &f, VIRTIO_VSOCK_OP_RW, 0, "last", 4);
	guest_send(&g, &f, VIRTIO_VSOCK_OP_SHUTDOWN, VIRTIO_VSOCK_SHUTDOWN_SEND, NULL, 0);
	host_read_all(fd, text, 4);
	expect_end(fd);
	assert_int_equal(write(fd, "still", 5), 5);
	guest_expect(&g, &f, VIRTIO_VSOCK_OP_RW, text);
	assert_memory_equal(text, "still", 5);
	close(fd);
	guest_expect(&g, &f, VIRTIO_VSOCK_OP_SHUTDOWN, NULL);
	assert_int_equal(f.last.flags, BOTH);
	guest_send(&g, &f, VIRTIO_VSOCK_OP_SHUTDOWN, BOTH, NULL, 0);
	guest_expect(&g, &f, VIRTIO_VSOCK_OP_RST, NULL);
	close(listener);
}

static void test_program_closes_its_half(void **state)
{
	struct flow f;
	char text[16];
	int fd;

	(void)state;
	fd = host_connect_guest(&g, &f, 52);
	assert_int_equal(write(fd, "last", 4), 4);
	shutdown(fd, SHUT_WR);
	guest_expect(&g, &f, VIRTIO_VSOCK_OP_RW, text);
	guest_expect(&g, &f, VIRTIO_VSOCK_OP_SHUTDOWN, NULL);
	assert_int_equal(f.last.flags, VIRTIO_VSOCK_SHUTDOWN_SEND);
	guest_send(&g, &f, VIRTIO_VSOCK_OP_RW, 0, "still", 5);
	host_read_all(fd, text, 5);
	close(fd);
	guest_expect(&g, &f, VIRTIO_VSOCK_OP_SHUTDOWN, NULL);
	assert_int_equal(f.last.flags, BOTH);
	guest_send(&g, &f, VIRTIO_VSOCK_OP_RST, 0, NULL, 0);
}

static void test_guest_that_reads_no_more_is_sent_no_more(void **state)
{
	struct flow f;
	int fd;

	(void)state;
	fd = host_connect_guest(&g, &f, 52);
	guest_send(&g, &f, VIRTIO_VSOCK_OP_SHUTDOWN, VIRTIO_VSOCK_SHUTDOWN_RCV, NULL, 0);
	assert_int_equal(send(fd, "x", 1, MSG_NOSIGNAL), -1);
	assert_int_equal(errno, EPIPE);
	guest_expect_silence(&g);
	guest_send(&g, &f, VIRTIO_VSOCK_OP_RW, 0, "x", 1);
	host_read_all(fd, bytes, 1);
	close(fd);
}

static uint32_t fill_up(struct flow *f);

/* What waits for a program that goes is thrown away, as its own unread bytes are. */
static void test_program_that_goes_without_reading(void **state)
{
	int listener = host_listen(&g, PORT, 4), fd;
	struct flow f;

	(void)state;
	fd = guest_connect(&g, &f, listener, 5000, PORT);
	fill_up(&f);
	close(fd);
	do /* room again, no more bytes taken, no more sent: in any order */
		assert_true(guest_receive(&g, WAIT_MS, &f.last, NULL));
	while (f.last.op != VIRTIO_VSOCK_OP_SHUTDOWN || f.last.flags != BOTH);
	assert_int_equal(f.last.fwd_cnt, f.sent);
	guest_send(&g, &f, VIRTIO_VSOCK_OP_SHUTDOWN, BOTH, NULL, 0);
	guest_expect(&g, &f, VIRTIO_VSOCK_OP_RST, NULL);
	close(listener);
}

/* A program that closes with bytes unread: the guest hears of it and its bytes are thrown away. */
static void test_program_that_is_gone_takes_no_more(void **state)
{
	int listener = host_listen(&g, PORT, 4), fd;
	struct flow f;

	(void)state;
	fd = guest_connect(&g, &f, listener, 5000, PORT);
	guest_send(&g, &f, VIRTIO_VSOCK_OP_RW, 0, "unread", 6);
	close(fd);
	guest_expect(&g, &f, VIRTIO_VSOCK_OP_SHUTDOWN, NULL);
	assert_int_equal(f.last.flags, BOTH);
	guest_send(&g, &f, VIRTIO_VSOCK_OP_RW, 0, bytes, 5000);
	guest_expect(&g, &f, VIRTIO_VSOCK_OP_CREDIT_UPDATE, NULL);
	assert_int_equal(f.last.fwd_cnt, 5006);
	guest_send(&g, &f, VIRTIO_VSOCK_OP_SHUTDOWN, BOTH, NULL, 0);
	guest_expect(&g, &f, VIRTIO_VSOCK_OP_RST, NULL);
	close(listener);
}

/* ---- credit ---- */

/* Sends until the device holds all it promised to; returns the bytes sent. */
static uint32_t fill_up(struct flow *f)
{
	struct vsock_packet p;
	uint32_t forwarded = 0;

	for (;;) {
		uint32_t room = BUFFER_BYTES - (f->sent - forwarded);

		if (room == 0 && !guest_receive(&g, 200, &p, NULL))
			return f->sent;
		if (room == 0) {
			assert_int_equal(p.op, VIRTIO_VSOCK_OP_CREDIT_UPDATE);
			forwarded = p.fwd_cnt;
			continue;
		}
		guest_send(&g, f, VIRTIO_VSOCK_OP_RW, 0, bytes + f->sent % 32768,
			   min_size(room, 8192));
	}
}

static void test_program_that_does_not_read_holds_nobody_up(void **state)
{
	int listener = host_listen(&g, PORT, 4), stuck, fd;
	uint32_t sent, at = 0;
	struct flow f, other;
	char text[4096];

	(void)state;
	fill_bytes(1);
	stuck = guest_connect(&g, &f, listener, 5000, PORT);
	fd = guest_connect(&g, &other, listener, 5001, PORT);
	sent = fill_up(&f);
	for (unsigned i = 0; i < 100; i++) {
		guest_send(&g, &other, VIRTIO_VSOCK_OP_RW, 0, "ping", 4);
		host_read_all(fd, text, 4);
		assert_int_equal(write(fd, "pong", 4), 4);
		guest_expect(&g, &other, VIRTIO_VSOCK_OP_RW, text);
	}
	for (; at < sent; at += (uint32_t)sizeof(text)) {
		uint32_t n = (uint32_t)min_size(sizeof(text), sent - at);

		host_read_all(stuck, text, n);
		assert_memory_equal(text, bytes + at % 32768, n);
	}
	do
		guest_expect(&g, &f, VIRTIO_VSOCK_OP_CREDIT_UPDATE, NULL);
	while (sent - f.last.fwd_cnt > BUFFER_BYTES / 4);
	close(stuck);
	close(fd);
	close(listener);
}

static void test_more_than_the_credit_is_a_reset(void **state)
{
	int listener = host_listen(&g, PORT, 4), fd;
	struct flow f;

	(void)state;
	fd = guest_connect(&g, &f, listener, 5000, PORT);
	fill_up(&f);
	guest_send(&g, &f, VIRTIO_VSOCK_OP_RW, 0, "x", 1);
	guest_expect(&g, &f, VIRTIO_VSOCK_OP_RST, NULL);
	close(fd);
	close(listener);
}

/* What the guest sent before it went is not lost. */
static void drain_after(uint16_t op)
{
	int listener = host_listen(&g, PORT + op, 4), fd;
	uint32_t sent, got = 0;
	struct flow f;
	ssize_t n;

	fill_bytes(2);
	fd = guest_connect(&g, &f, listener, 5000, PORT + op);
	sent = fill_up(&f);
	guest_send(&g, &f, op, BOTH, NULL, 0);
	while ((n = read(fd, bytes, sizeof(bytes))) > 0)
		got += (uint32_t)n;
	assert_int_equal(got, sent);
	close(fd);
	close(listener);
}

static void test_bytes_outlive_the_connection(void **state)
{
	(void)state;
	drain_after(VIRTIO_VSOCK_OP_RST);
	drain_after(VIRTIO_VSOCK_OP_SHUTDOWN);
}

static void test_guest_is_never_sent_more_than_it_has_room_for(void **state)
{
	struct flow f;
	uint32_t got = 0;
	int fd;

	(void)state;
	fd = host_connect_guest(&g, &f, 52);
	f.buf_alloc = 1000;
	guest_send(&g, &f, VIRTIO_VSOCK_OP_CREDIT_UPDATE, 0, NULL, 0);
	assert_int_equal(write(fd, bytes, 10000), 10000);
	while (got < 10000) {
		uint32_t before = f.received;

		guest_expect(&g, &f, VIRTIO_VSOCK_OP_RW, NULL);
		assert_int_equal(f.last.len, 1000);
		got += f.last.len;
		if (got == 10000)
			break;
		guest_expect(&g, &f, VIRTIO_VSOCK_OP_CREDIT_REQUEST, NULL);
		guest_expect_silence(&g);
		f.received = before; /* old news changes nothing */
		guest_send(&g, &f, VIRTIO_VSOCK_OP_CREDIT_UPDATE, 0, NULL, 0);
		guest_expect_silence(&g);
		f.received = got;
		guest_send(&g, &f, VIRTIO_VSOCK_OP_CREDIT_UPDATE, 0, NULL, 0);
	}
	close(fd);
}

static void test_old_news_takes_no_credit_away(void **state)
{
	struct flow f;
	int fd;

	(void)state;
	fd = host_connect_guest(&g, &f, 52);
	f.buf_alloc = 1000;
	assert_int_equal(write(fd, bytes, 600), 600);
	guest_expect(&g, &f, VIRTIO_VSOCK_OP_RW, NULL);
	guest_send(&g, &f, VIRTIO_VSOCK_OP_CREDIT_UPDATE, 0, NULL, 0);
	f.received = 0;
	guest_send(&g, &f, VIRTIO_VSOCK_OP_CREDIT_UPDATE, 0, NULL, 0);
	assert_int_equal(write(fd, bytes, 1000), 1000);
	guest_expect(&g, &f, VIRTIO_VSOCK_OP_RW, NULL);
	assert_int_equal(f.last.len, 1000);
	close(fd);
}

static void test_credit_request_is_answered(void **state)
{
	struct flow f;
	int fd;

	(void)state;
	fd = host_connect_guest(&g, &f, 52);
	guest_send(&g, &f, VIRTIO_VSOCK_OP_RW, 0, "four", 4);
	guest_send(&g, &f, VIRTIO_VSOCK_OP_CREDIT_REQUEST, 0, NULL, 0);
	guest_expect(&g, &f, VIRTIO_VSOCK_OP_CREDIT_UPDATE, NULL);
	assert_int_equal(f.last.buf_alloc, BUFFER_BYTES);
	assert_int_equal(f.last.fwd_cnt, 4);
	close(fd);
}

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
		TEST(guest_reaches_a_program),
		PROCESS(guest_reaches_a_program),
		TEST(program_reaches_the_guest),
		PROCESS(program_reaches_the_guest),
		PROCESS(nobody_there_is_a_reset),
		TEST(command_may_come_in_pieces),
		TEST(bad_commands_are_refused),
		TEST(program_that_does_not_wait_is_forgotten),
		TEST(guest_closes_its_half),
		TEST(program_closes_its_half),
		PROCESS(guest_that_reads_no_more_is_sent_no_more),
		PROCESS(program_that_is_gone_takes_no_more),
		PROCESS(program_that_goes_without_reading),
		PROCESS(program_that_does_not_read_holds_nobody_up),
		TEST(more_than_the_credit_is_a_reset),
		PROCESS(bytes_outlive_the_connection),
		TEST(guest_is_never_sent_more_than_it_has_room_for),
		TEST(old_news_takes_no_credit_away),
		TEST(credit_request_is_answered),
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
