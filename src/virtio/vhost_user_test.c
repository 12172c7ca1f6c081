/* SPDX-License-Identifier: BSD-3-Clause */
/* vhost_user_test.c - messages: what goes out comes in, and what must not come in does not */
#include "virtio/vhost_user.h"

#include "base/fd.h"
#include "virtio/vu_ask_test.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

static struct vu_conn front, back;

static int begin(void **state)
{
	int pair[2];

	(void)state;
	if (fd_socketpair(SOCK_STREAM | SOCK_NONBLOCK, pair) < 0)
		return -1;
	front = (struct vu_conn){.sock = pair[0], .direction = VU_REPLIES};
	back = (struct vu_conn){.sock = pair[1], .direction = VU_REQUESTS};
	return 0;
}

static int end(void **state)
{
	(void)state;
	vu_conn_fini(&front);
	vu_conn_fini(&back);
	fd_close(&front.sock);
	fd_close(&back.sock);
	return 0;
}

static void put(int sock, uint32_t request, uint32_t flags, uint32_t size, const void *payload)
{
	uint32_t header[3] = {request, flags, size};

	assert_int_equal(send(sock, header, sizeof(header), 0), sizeof(header));
	if (payload)
		assert_int_equal(send(sock, payload, size, 0), size);
}

static void test_request_and_reply_go_round(void **state)
{
	struct vu_msg m = {.request = VU_GET_FEATURES}, got, reply;

	(void)state;
	assert_int_equal(vu_send(&front, &m), 0);
	assert_int_equal(vu_recv(&back, &got), 0);
	assert_int_equal(got.request, VU_GET_FEATURES);
	assert_int_equal(got.size, 0);
	assert_int_equal(vu_reply_u64(&back, &got, 0x123456789abcdef0), 0);
	assert_int_equal(vu_recv(&front, &reply), 0);
	assert_int_equal(reply.request, VU_GET_FEATURES);
	assert_true(le64_get(reply.p.u64) == 0x123456789abcdef0);
	assert_int_equal(vu_recv(&back, &got), -EAGAIN);
}

static void test_descriptors_come_along(void **state)
{
	struct vu_msg m = {.request = VU_SET_VRING_KICK, .size = 8, .nfds = 1}, got;
	int fd = eventfd(3, EFD_NONBLOCK | EFD_CLOEXEC), other;

	(void)state;
	m.fds[0] = fd;
	assert_int_equal(vu_send(&front, &m), 0);
	assert_int_equal(vu_recv(&back, &got), 0);
	assert_int_equal(got.nfds, 1);
	assert_int_equal(vu_msg_take_fd(&got, 1), -1);
	other = vu_msg_take_fd(&got, 0);
	assert_int_equal(vu_msg_take_fd(&got, 0), -1);
	assert_int_equal(fd_drain(other), 3);
	vu_msg_fini(&got);
	close(fd);
	close(other);
}

static void test_message_may_come_byte_by_byte(void **state)
{
	uint8_t bytes[20] = {VU_SET_FEATURES, 0, 0, 0, 1, 0, 0, 0, 8, 0, 0, 0, 7};
	struct vu_msg got;

	(void)state;
	for (size_t i = 0; i < sizeof(bytes); i++) {
		assert_int_equal(vu_recv(&back, &got), -EAGAIN);
		assert_int_equal(send(front.sock, bytes + i, 1, 0), 1);
	}
	assert_int_equal(vu_recv(&back, &got), 0);
	assert_int_equal(le64_get(got.p.u64), 7);
}

static void test_messages_do_not_run_together(void **state)
{
	const uint64_t a = 1, b = 2;
	struct vu_msg got;

	(void)state;
	put(front.sock, VU_SET_FEATURES, 1, 8, &a);
	put(front.sock, VU_SET_OWNER, 1, 0, NULL);
	put(front.sock, VU_SET_FEATURES, 1, 8, &b);
	assert_int_equal(vu_recv(&back, &got), 0);
	assert_int_equal(le64_get(got.p.u64), 1);
	assert_int_equal(vu_recv(&back, &got), 0);
	assert_int_equal(got.request, VU_SET_OWNER);
	assert_int_equal(vu_recv(&back, &got), 0);
	assert_int_equal(le64_get(got.p.u64), 2);
}

static void test_end_of_stream(void **state)
{
	struct vu_msg got;

	(void)state;
	put(front.sock, VU_SET_OWNER, 1, 0, NULL);
	shutdown(front.sock, SHUT_WR);
	assert_int_equal(vu_recv(&back, &got), 0);
	assert_int_equal(vu_recv(&back, &got), -ENODATA);
}

static void test_end_inside_a_message_is_a_fault(void **state)
{
	struct vu_msg got;

	(void)state;
	put(front.sock, VU_SET_FEATURES, 1, 8, NULL);
	shutdown(front.sock, SHUT_WR);
	assert_int_equal(vu_recv(&back, &got), -EPROTO);
}

static void expect_refused(enum vu_direction direction, uint32_t request, uint32_t flags,
			   uint32_t size, const void *payload)
{
	struct vu_msg got;

	end(NULL);
	assert_int_equal(begin(NULL), 0);
	back.direction = direction;
	put(front.sock, request, flags, size, payload);
	assert_int_equal(vu_recv(&back, &got), -EPROTO);
}

static void test_wrong_sizes_and_directions_are_refused(void **state)
{
	static const uint32_t two_regions[2 + 2 * 8] = {2};
	static const uint32_t config[3] = {0, 5, 0}, many[3] = {0, 257, 0};

	(void)state;
	expect_refused(VU_REQUESTS, VU_GET_FEATURES, 0, 0, NULL);
	expect_refused(VU_REQUESTS, VU_GET_FEATURES, 3, 0, NULL);
	expect_refused(VU_REQUESTS, VU_GET_FEATURES, 1 | VU_FLAG_REPLY, 0, NULL);
	expect_refused(VU_REPLIES, VU_GET_FEATURES, 1, 8, NULL);
	expect_refused(VU_REPLIES, VU_GET_FEATURES, 1 | VU_FLAG_REPLY, 0, NULL);
	expect_refused(VU_REPLIES, VU_GET_VRING_BASE, 1 | VU_FLAG_REPLY, 4, NULL);
	expect_refused(VU_REPLIES, 1000, 1 | VU_FLAG_REPLY, 8, NULL);
	expect_refused(VU_BACKEND_REQUESTS, VU_BACKEND_CONFIG_CHANGE, 1, 8, NULL);
	expect_refused(VU_BACKEND_REPLIES, VU_BACKEND_CONFIG_CHANGE, 1 | VU_FLAG_REPLY, 4, NULL);
	expect_refused(VU_REQUESTS, VU_SET_FEATURES, 1, 7, NULL);
	expect_refused(VU_REQUESTS, VU_SET_FEATURES, 1, 9, NULL);
	expect_refused(VU_REQUESTS, VU_SET_MEM_TABLE, 1, sizeof(two_regions), two_regions);
	expect_refused(VU_REQUESTS, VU_GET_CONFIG, 1, sizeof(config), config);
	expect_refused(VU_REQUESTS, VU_SET_CONFIG, 1, sizeof(many), many);
	expect_refused(VU_REQUESTS, 1000, 1, sizeof(union vu_payload) + 1, NULL);
}

static void test_too_many_descriptors_are_refused_and_closed(void **state)
{
	struct vu_msg m = {.request = VU_SET_VRING_KICK, .size = 8, .nfds = 2}, got;
	int pair[2];
	char byte;

	(void)state;
	assert_int_equal(pipe(pair), 0);
	m.fds[0] = m.fds[1] = pair[1];
	assert_int_equal(vu_send(&front, &m), 0);
	assert_int_equal(vu_recv(&back, &got), -EPROTO);
	close(pair[1]);
	assert_int_equal(read(pair[0], &byte, 1), 0); /* nobody else has it open */
	close(pair[0]);
}

static void test_empty_config_reply_says_that_it_failed(void **state)
{
	struct vu_msg got;

	(void)state;
	put(back.sock, VU_GET_CONFIG, 1 | VU_FLAG_REPLY, 0, NULL);
	assert_int_equal(vu_recv(&front, &got), 0);
	assert_int_equal(got.size, 0);
}

static void test_unknown_requests_reach_the_handler(void **state)
{
	struct vu_msg got;

	(void)state;
	put(front.sock, 1000, 1, 3, "abc");
	assert_int_equal(vu_recv(&back, &got), 0);
	assert_int_equal(got.request, 1000);
	assert_int_equal(got.size, 3);
	assert_string_equal(vu_request_name(1000), "unknown");
	assert_string_equal(vu_request_name(VU_SET_VRING_NUM), "SET_VRING_NUM");
	assert_false(vu_has_reply(1000));
	assert_true(vu_has_reply(VU_GET_VRING_BASE));
	assert_false(vu_has_reply(VU_SET_VRING_BASE));
}

static void test_acknowledgement_says_yes_or_no(void **state)
{
	const uint64_t yes = 0, no = 1;

	(void)state;
	front.has_reply_ack = true;
	put(back.sock, VU_SET_OWNER, 1 | VU_FLAG_REPLY, 8, &yes);
	assert_int_equal(vu_set(&front, VU_SET_OWNER), 0);
	put(back.sock, VU_SET_OWNER, 1 | VU_FLAG_REPLY, 8, &no);
	assert_int_equal(vu_set(&front, VU_SET_OWNER), -EREMOTEIO);
	put(back.sock, VU_SET_FEATURES, 1 | VU_FLAG_REPLY, 8, &yes);
	assert_int_equal(vu_set(&front, VU_SET_OWNER), -EPROTO);
	assert_int_equal(vu_set(&front, VU_SET_OWNER), -EAGAIN);
	front.has_reply_ack = false;
	assert_int_equal(vu_set(&front, VU_SET_OWNER), 0);
}

static void test_shapes_of_questions(void **state)
{
	const uint64_t value = 77;
	const uint32_t base[2] = {3, 9};
	uint64_t got = 0;
	uint32_t got_base = 0;

	(void)state;
	put(back.sock, VU_GET_QUEUE_NUM, 1 | VU_FLAG_REPLY, 8, &value);
	assert_int_equal(vu_get_u64(&front, VU_GET_QUEUE_NUM, &got), 0);
	assert_int_equal(got, 77);
	put(back.sock, VU_GET_VRING_BASE, 1 | VU_FLAG_REPLY, 8, base);
	assert_int_equal(vu_get_vring_base(&front, 3, &got_base), 0);
	assert_int_equal(got_base, 9);
	put(back.sock, VU_GET_VRING_BASE, 1 | VU_FLAG_REPLY, 8, base);
	assert_int_equal(vu_get_vring_base(&front, 4, &got_base), -EPROTO);
}

static void test_vring_descriptor_or_none(void **state)
{
	struct vu_msg got;

	(void)state;
	assert_int_equal(vu_set_vring_fd(&front, VU_SET_VRING_CALL, 2, STDERR_FILENO), 0);
	assert_int_equal(vu_recv(&back, &got), 0);
	assert_int_equal(le64_get(got.p.u64), 2);
	assert_int_equal(got.nfds, 1);
	vu_msg_fini(&got);
	assert_int_equal(vu_set_vring_fd(&front, VU_SET_VRING_CALL, 2, -1), 0);
	assert_int_equal(vu_recv(&back, &got), 0);
	assert_int_equal(le64_get(got.p.u64), 2 | VU_VRING_NO_FD);
	assert_int_equal(got.nfds, 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(test_##name, begin, end)

int main(void)
{
	static const struct CMUnitTest tests[] = {
		TEST(request_and_reply_go_round),
		TEST(descriptors_come_along),
		TEST(message_may_come_byte_by_byte),
		TEST(messages_do_not_run_together),
		TEST(end_of_stream),
		TEST(end_inside_a_message_is_a_fault),
		TEST(wrong_sizes_and_directions_are_refused),
		TEST(too_many_descriptors_are_refused_and_closed),
		TEST(empty_config_reply_says_that_it_failed),
		TEST(unknown_requests_reach_the_handler),
		TEST(acknowledgement_says_yes_or_no),
		TEST(shapes_of_questions),
		TEST(vring_descriptor_or_none),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
