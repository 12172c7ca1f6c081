/* SPDX-License-Identifier: BSD-3-Clause */
/* stream_test.c - frames over a stream: whole, in pieces, too many, and not frames at all */
#include "backend/stream.h"

#include "base/fd.h"
#include "base/iov.h"
#include "base/num.h"
#include "base/wire.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

enum { FRAME = 1000 };

static struct stream s;
static int other = -1;

static int setup(void **state)
{
	int pair[2];
	struct err e;

	(void)state;
	assert_int_equal(fd_socketpair(SOCK_STREAM, pair), 0);
	assert_int_equal(stream_init_take(&s, pair[0], &e), 0);
	other = pair[1];
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	s.backend.ops->close(&s.backend);
	fd_close(&other);
	return 0;
}

static uint8_t pattern(size_t i, unsigned seed)
{
	return (uint8_t)(i * 7 + seed);
}

/* Sends a frame of n bytes in three pieces. */
static int send_frame(size_t n, unsigned seed)
{
	static uint8_t header[NET_HEADER_BYTES], frame[STREAM_FRAME_MAX + 1];
	struct iovec v[] = {iov_of(header, sizeof(header)), iov_of(frame, 10),
			    iov_of(frame + 10, 3), iov_of(frame + 13, n > 13 ? n - 13 : 0)};

	for (size_t i = 0; i < n; i++)
		frame[i] = pattern(i, seed);
	return s.backend.ops->send(&s.backend, 0, v, ARRAY_LEN(v));
}

/* The next frame as the other side sees it; 0: none. */
static size_t take_frame(uint8_t *frame)
{
	be32 prefix;
	uint32_t n;

	if (recv(other, &prefix, sizeof(prefix), MSG_DONTWAIT) != sizeof(prefix))
		return 0;
	n = be32_get(prefix);
	assert_in_range(n, STREAM_FRAME_MIN, STREAM_FRAME_MAX);
	assert_int_equal(recv(other, frame, n, MSG_WAITALL), n);
	return n;
}

static void expect_frame(size_t n, unsigned seed)
{
	static uint8_t frame[STREAM_FRAME_MAX];

	assert_int_equal(take_frame(frame), n);
	for (size_t i = 0; i < n; i++)
		if (frame[i] != pattern(i, seed))
			fail_msg("byte %zu differs", i);
}

static void frames_go_out_behind_their_length(void **state)
{
	(void)state;
	assert_int_equal(send_frame(FRAME, 1), 0);
	assert_int_equal(send_frame(STREAM_FRAME_MIN, 2), 0);
	expect_frame(FRAME, 1);
	expect_frame(STREAM_FRAME_MIN, 2);
}

static void frames_of_impossible_lengths_are_not_sent(void **state)
{
	(void)state;
	assert_int_equal(send_frame(STREAM_FRAME_MIN - 1, 1), -EMSGSIZE);
	assert_int_equal(send_frame(STREAM_FRAME_MAX + 1, 1), -EMSGSIZE);
	assert_int_equal(send_frame(FRAME, 1), 0);
	expect_frame(FRAME, 1);
}

static void full_socket_cuts_no_frame(void **state)
{
	unsigned sent = 0, seen = 0;
	int small = 8192, r;

	(void)state;
	assert_int_equal(setsockopt(s.backend.fd[0], SOL_SOCKET, SO_SNDBUF, &small, sizeof(small)),
			 0);
	while (seen < 20) {
		size_t n = STREAM_FRAME_MAX - sent;

		while ((r = send_frame(n, sent)) == 0)
			n = STREAM_FRAME_MAX - ++sent;
		assert_int_equal(r, -EAGAIN);
		if (s.out_at == s.out_end) { /* nothing of it was taken */
			expect_frame(STREAM_FRAME_MAX - seen, seen);
			seen++;
			continue;
		}
		/* The other side reads what is there of it; then it is offered again. */
		for (; seen < sent; seen++)
			expect_frame(STREAM_FRAME_MAX - seen, seen);
		while (r == -EAGAIN && s.out_at < s.out_end) {
			static uint8_t some[STREAM_OUT_BYTES];
			static size_t got;
			ssize_t part = recv(other, some + got, 4 + n - got, MSG_DONTWAIT);

			assert_true(part > 0);
			got += (size_t)part;
			r = send_frame(n, 77); /* also if the guest has changed it */
			if (r < 0)
				continue;
			assert_int_equal(recv(other, some + got, 4 + n - got, MSG_WAITALL),
					 4 + n - got);
			for (size_t i = 0; i < n; i++)
				assert_int_equal(some[4 + i], pattern(i, sent));
			got = 0;
			sent++;
			seen++;
		}
		assert_int_equal(r, 0);
	}
}

static ssize_t receive(uint8_t *buf, size_t n)
{
	struct iovec v[] = {iov_of(buf, min_size(n, 5)),
			    iov_of(buf + min_size(n, 5), n - min_size(n, 5))};

	return s.backend.ops->receive(&s.backend, 0, v, ARRAY_LEN(v));
}

static void put_frame(const void *frame, uint32_t n)
{
	be32 prefix = be32_of(n);

	assert_int_equal(write(other, &prefix, sizeof(prefix)), sizeof(prefix));
	assert_int_equal(write(other, frame, n), n);
}

static void frames_come_in_behind_a_header_of_zeros(void **state)
{
	uint8_t frame[FRAME], buf[2 * FRAME];

	(void)state;
	for (size_t i = 0; i < FRAME; i++)
		frame[i] = pattern(i, 3);
	put_frame(frame, FRAME);
	put_frame(frame, 60);
	memset(buf, 0xff, sizeof(buf));
	assert_int_equal(receive(buf, sizeof(buf)), NET_HEADER_BYTES + FRAME);
	for (size_t i = 0; i < NET_HEADER_BYTES; i++)
		assert_int_equal(buf[i], 0);
	assert_memory_equal(buf + NET_HEADER_BYTES, frame, FRAME);
	assert_int_equal(receive(buf, 30), NET_HEADER_BYTES + 60); /* the rest is lost */
	assert_memory_equal(buf + NET_HEADER_BYTES, frame, 30 - NET_HEADER_BYTES);
	assert_int_equal(receive(buf, sizeof(buf)), -EAGAIN);
}

static void frame_in_pieces_is_one(void **state)
{
	uint8_t text[4 + FRAME] = {0, 0, FRAME >> 8, FRAME & 255}, buf[2 * FRAME];

	(void)state;
	for (size_t i = 0; i < sizeof(text); i++) {
		assert_int_equal(receive(buf, sizeof(buf)), -EAGAIN);
		assert_int_equal(write(other, text + i, 1), 1);
	}
	assert_int_equal(receive(buf, sizeof(buf)), NET_HEADER_BYTES + FRAME);
}

static void many_frames_pass_the_end_of_the_buffer(void **state)
{
	static uint8_t frame[STREAM_FRAME_MAX], buf[NET_HEADER_BYTES + STREAM_FRAME_MAX];

	(void)state;
	for (unsigned i = 0; i < 200; i++) {
		uint32_t n = 20000 + i * 200;

		frame[n - 1] = (uint8_t)i;
		put_frame(frame, n);
		if (i == 0)
			continue; /* one is always there more */
		assert_int_equal(receive(buf, sizeof(buf)), NET_HEADER_BYTES + n - 200);
		assert_int_equal(buf[NET_HEADER_BYTES + n - 201], (uint8_t)(i - 1));
	}
}

static void impossible_length_ends_it(void **state)
{
	static const uint8_t lengths[][4] = {{0, 0, 0, 0}, {0, 0, 0, 13}, {0, 1, 0, 0},
					     {255, 255, 255, 255}};
	uint8_t buf[FRAME];

	for (size_t i = 0; i < ARRAY_LEN(lengths); i++) {
		assert_int_equal(write(other, lengths[i], 4), 4);
		assert_int_equal(receive(buf, sizeof(buf)), -EPROTO);
		assert_int_equal(receive(buf, sizeof(buf)), -EPROTO);
		teardown(state);
		setup(state);
	}
}

static void end_of_the_other_side_is_told(void **state)
{
	uint8_t frame[60] = {0}, buf[FRAME];

	(void)state;
	put_frame(frame, sizeof(frame));
	fd_close(&other);
	assert_int_equal(receive(buf, sizeof(buf)), NET_HEADER_BYTES + 60);
	assert_int_equal(receive(buf, sizeof(buf)), -EPIPE);
	assert_int_equal(send_frame(FRAME, 1), -EPIPE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(frames_go_out_behind_their_length, setup, teardown),
		cmocka_unit_test_setup_teardown(frames_of_impossible_lengths_are_not_sent, setup,
						teardown),
		cmocka_unit_test_setup_teardown(full_socket_cuts_no_frame, setup, teardown),
		cmocka_unit_test_setup_teardown(frames_come_in_behind_a_header_of_zeros, setup,
						teardown),
		cmocka_unit_test_setup_teardown(frame_in_pieces_is_one, setup, teardown),
		cmocka_unit_test_setup_teardown(many_frames_pass_the_end_of_the_buffer, setup,
						teardown),
		cmocka_unit_test_setup_teardown(impossible_length_ends_it, setup, teardown),
		cmocka_unit_test_setup_teardown(end_of_the_other_side_is_told, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
