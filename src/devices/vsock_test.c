/* SPDX-License-Identifier: BSD-3-Clause */
/* vsock_test.c - virtual sockets of our own: connections, their ends, credit */
#include "base/num.h"
#include "devices/vsock_fixture.h"

#include <errno.h>

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
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
