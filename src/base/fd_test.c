/* SPDX-License-Identifier: BSD-3-Clause */
/* fd_test.c - owning descriptors, whole transfers, descriptors over sockets */
#include "base/fd.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

static bool is_open(int fd)
{
	return fcntl(fd, F_GETFD) >= 0;
}

static bool is_cloexec(int fd)
{
	return fcntl(fd, F_GETFD) & FD_CLOEXEC;
}

static void close_is_done_once_and_keeps_errno(void **state)
{
	int fd = fd_eventfd();
	int number = fd;

	(void)state;
	errno = EXDEV;
	fd_close(&fd);
	assert_int_equal(fd, -1);
	assert_false(is_open(number));
	errno = EXDEV;
	fd_close(&fd);
	assert_int_equal(errno, EXDEV);
}

static void local_is_closed_unless_taken(void **state)
{
	int lost, kept;

	(void)state;
	{
		auto_fd a = fd_eventfd();
		auto_fd b = fd_eventfd();

		lost = a;
		kept = fd_take(&b);
		assert_int_equal(b, -1);
	}
	assert_false(is_open(lost));
	assert_true(is_open(kept));
	close(kept);
}

static void memory_is_freed_at_the_end_of_the_scope(void **state)
{
	(void)state;
	{
		void *p auto_free = malloc(100); /* a leak checker tells */
		void *none auto_free = NULL;

		assert_non_null(p);
		assert_null(none);
	}
}

static void whole_transfers_join_pieces(void **state)
{
	char text[6] = "";
	int fds[2];

	(void)state;
	assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
	assert_int_equal(fd_write_all(fds[1], "hal", 3), 0);
	assert_int_equal(fd_write_all(fds[1], "lo", 2), 0);
	assert_int_equal(fd_read_all(fds[0], text, 5), 0);
	assert_string_equal(text, "hallo");

	assert_int_equal(fd_write_all(fds[1], "x", 1), 0);
	close(fds[1]);
	assert_int_equal(fd_read_all(fds[0], text, 2), -ENODATA);
	close(fds[0]);
	assert_int_equal(fd_read_all(fds[0], text, 2), -EBADF);
	assert_int_equal(fd_write_all(fds[0], text, 2), -EBADF);
}

static void pread_says_when_the_file_ends(void **state)
{
	auto_fd fd = memfd_create("test", MFD_CLOEXEC);
	char text[4] = "";

	(void)state;
	assert_int_equal(fd_write_all(fd, "hello", 5), 0);
	assert_int_equal(fd_pread_all(fd, text, 3, 2), 0);
	assert_string_equal(text, "llo");
	assert_int_equal(fd_pread_all(fd, text, 3, 3), -ENODATA);
	assert_int_equal(fd_pread_all(-1, text, 3, 3), -EBADF);
}

static void eventfd_counts_until_drained(void **state)
{
	auto_fd fd = fd_eventfd();

	(void)state;
	assert_true(is_cloexec(fd));
	assert_int_equal(fd_drain(fd), 0);
	fd_signal(fd);
	fd_signal(fd);
	assert_int_equal(fd_drain(fd), 2);
	assert_int_equal(fd_drain(fd), 0);
}

static void full_eventfd_does_not_block(void **state)
{
	const uint64_t most = UINT64_MAX - 1;
	auto_fd fd = fd_eventfd();

	(void)state;
	assert_int_equal(write(fd, &most, sizeof(most)), sizeof(most));
	fd_signal(fd);
	assert_true(fd_drain(fd) == most);
}

static void descriptors_travel_with_bytes(void **state)
{
	int pair[2], sent[2], got[2], fds[FD_PASS_MAX];
	char text[8] = "";
	size_t nfds = 99;

	(void)state;
	assert_int_equal(fd_socketpair(SOCK_STREAM, pair), 0);
	assert_true(is_cloexec(pair[0]));
	assert_int_equal(pipe2(sent, O_CLOEXEC), 0);
	assert_int_equal(fd_send(pair[0], "hi", 2, sent, 2), 0);
	assert_int_equal(fd_recv(pair[1], text, sizeof(text), fds, FD_PASS_MAX, &nfds), 2);
	assert_int_equal(nfds, 2);
	memcpy(got, fds, sizeof(got));
	assert_true(is_cloexec(got[0]));
	assert_int_equal(fd_write_all(got[1], "x", 1), 0);
	assert_int_equal(fd_read_all(sent[0], text, 1), 0);
	assert_int_equal(text[0], 'x');
	for (int i = 0; i < 2; i++) {
		close(sent[i]);
		close(got[i]);
	}

	assert_int_equal(fd_send(pair[0], "bye", 3, NULL, 0), 0);
	assert_int_equal(fd_recv(pair[1], text, sizeof(text), fds, FD_PASS_MAX, &nfds), 3);
	assert_int_equal(nfds, 0);
	close(pair[0]);
	assert_int_equal(fd_recv(pair[1], text, sizeof(text), fds, FD_PASS_MAX, &nfds), 0);
	close(pair[1]);
}

static void packet_that_is_looked_at_stays_for_the_next(void **state)
{
	int pair[2], sent[2], got[2] = {-1, -1};
	char text[8] = "";
	size_t nfds = 99;

	(void)state;
	assert_int_equal(fd_socketpair(SOCK_SEQPACKET, pair), 0);
	assert_int_equal(pipe2(sent, O_CLOEXEC), 0);
	assert_int_equal(fd_send(pair[0], "hi", 2, sent, 2), 0);
	close(pair[0]);
	close(sent[0]);
	for (int i = 0; i < 3; i++) {
		assert_int_equal(fd_peek(pair[1], text, sizeof(text), got, 2, &nfds), 2);
		assert_int_equal(nfds, 2);
		assert_true(is_cloexec(got[0]));
		assert_int_equal(fd_write_all(got[1], "x", 1), 0);
		assert_int_equal(fd_read_all(got[0], text, 1), 0);
		close(got[0]);
		close(got[1]);
	}
	close(sent[1]);
	assert_int_equal(fd_recv(pair[1], text, sizeof(text), NULL, 0, &nfds), -EMFILE);
	assert_int_equal(fd_peek(pair[1], text, sizeof(text), got, 2, &nfds), 0);
	assert_int_equal(nfds, 0);
	close(pair[1]);
}

/* The lowest free number tells whether descriptors were left open. */
static int lowest_free(void)
{
	auto_fd fd = fd_eventfd();

	return fd;
}

static void descriptors_beyond_the_limit_are_closed(void **state)
{
	int pair[2], fds[4], sent[] = {0, 1, 2, 0};
	char text[8];
	size_t nfds = 99;
	int before;

	(void)state;
	assert_int_equal(fd_socketpair(SOCK_SEQPACKET, pair), 0);
	before = lowest_free();
	assert_int_equal(fd_send(pair[0], "x", 1, sent, 4), 0);
	assert_int_equal(fd_recv(pair[1], text, sizeof(text), fds, 3, &nfds), -EMFILE);
	assert_int_equal(nfds, 0);
	assert_int_equal(lowest_free(), before);
	assert_int_equal(fd_send(pair[0], "x", 1, sent, FD_PASS_MAX + 1), -EINVAL);
	close(pair[0]);
	close(pair[1]);
}

static void packet_that_is_too_long_is_refused_whole(void **state)
{
	int pair[2], fds[1], zero = 0;
	size_t nfds = 99;
	char text[4];
	int before;

	(void)state;
	assert_int_equal(fd_socketpair(SOCK_SEQPACKET, pair), 0);
	before = lowest_free();
	assert_int_equal(fd_send(pair[0], "12345", 5, &zero, 1), 0);
	assert_int_equal(fd_recv(pair[1], text, sizeof(text), fds, 1, &nfds), -EMSGSIZE);
	assert_int_equal(nfds, 0);
	assert_int_equal(lowest_free(), before);
	close(pair[0]);
	close(pair[1]);
}

static void other_side_gone_is_an_error_not_a_signal(void **state)
{
	int pair[2], fds[1];
	size_t nfds;
	char c;

	(void)state;
	assert_int_equal(fd_socketpair(SOCK_STREAM, pair), 0);
	close(pair[1]);
	assert_int_equal(fd_send(pair[0], "x", 1, NULL, 0), -EPIPE);
	close(pair[0]);
	assert_int_equal(fd_recv(pair[0], &c, 1, fds, 1, &nfds), -EBADF);
}

static void time_limit_ends_send_and_receive(void **state)
{
	static const char bytes[1 << 20];
	int pair[2], fds[1];
	size_t nfds;
	char c;

	(void)state;
	assert_int_equal(fd_socketpair(SOCK_STREAM, pair), 0);
	assert_int_equal(fd_timeout_set(pair[0], 1), 0);
	assert_int_equal(fd_recv(pair[0], &c, 1, fds, 1, &nfds), -EAGAIN);
	assert_int_equal(fd_send(pair[0], bytes, sizeof(bytes), NULL, 0), -EAGAIN);
	close(pair[0]);
	close(pair[1]);
	assert_int_equal(fd_timeout_set(pair[0], 1), -EBADF);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(close_is_done_once_and_keeps_errno),
		cmocka_unit_test(local_is_closed_unless_taken),
		cmocka_unit_test(memory_is_freed_at_the_end_of_the_scope),
		cmocka_unit_test(whole_transfers_join_pieces),
		cmocka_unit_test(pread_says_when_the_file_ends),
		cmocka_unit_test(eventfd_counts_until_drained),
		cmocka_unit_test(full_eventfd_does_not_block),
		cmocka_unit_test(descriptors_travel_with_bytes),
		cmocka_unit_test(packet_that_is_looked_at_stays_for_the_next),
		cmocka_unit_test(descriptors_beyond_the_limit_are_closed),
		cmocka_unit_test(packet_that_is_too_long_is_refused_whole),
		cmocka_unit_test(other_side_gone_is_an_error_not_a_signal),
		cmocka_unit_test(time_limit_ends_send_and_receive),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
