/* SPDX-License-Identifier: BSD-3-Clause */
/* passt_test.c - passt is started, serves, says what it dislikes, and ends; skipped without it */
#include "backend/passt.h"

#include "base/fd.h"
#include "base/skip.h"

#include <arpa/inet.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

enum { PATIENCE_MS = 10000 };

static struct loop loop;
static struct passt passt;

static bool has_ended;

static void note_end(struct passt *p)
{
	assert_int_equal(p->messages.fd, -1);
	has_ended = true;
}

static int setup(void **state)
{
	(void)state;
	has_ended = false;
	passt = (struct passt){.messages = {.fd = -1}, .ended = note_end};
	return loop_init(&loop);
}

static int teardown(void **state)
{
	(void)state;
	passt_fini(&passt);
	loop_fini(&loop);
	return 0;
}

static void refused(const char *list, const char *message)
{
	struct err e = {0};

	assert_true(passt_forward_check(list, &e) < 0);
	assert_string_equal(e.text, message);
}

#define FORM "not [ADDRESS:]HOSTPORT:GUESTPORT[/tcp|udp], as in 2222:22 or 0.0.0.0:8080:80/tcp"

static void forwards_are_checked(void **state)
{
	static const char *const good[] = {"2222:22", "2222:22/tcp;5353:53/udp+1:65535",
					   "0.0.0.0:80:8080", "[::]:80:8080/tcp", "[::1]:80:80"};
	static const char *const bad[] = {"22",      "2222:",      ":22",         "0:22",
					  "2222:0",  "65536:1",    "2222:22/sctp", "a:2222:22",
					  "::1:2:3", "[::1:80:80", "1.2.3:80:80",  "2222:22:22",
					  "+1:1",    "-1:1",       "000022:22",    "1.2.3.4"};
	struct err e;

	(void)state;
	assert_int_equal(passt_forward_check(NULL, &e), 0);
	for (size_t i = 0; i < ARRAY_LEN(good); i++)
		if (passt_forward_check(good[i], &e) < 0)
			fail_msg("%s", e.text);
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		assert_true(passt_forward_check(bad[i], &e) < 0);
	refused("2222:22;x", "forward: \"x\": " FORM);
}

static void forwards_have_an_end(void **state)
{
	char list[512] = "1:1";
	struct err e = {0};

	(void)state;
	for (unsigned i = 1; i <= PASST_FORWARDS_MAX; i++)
		strcat(list, ";1:1");
	assert_true(passt_forward_check(list, &e) < 0);
	assert_string_equal(e.text, "forward: more than 32");
}

/* Its socket, or -1 where passt cannot run: not installed, or a host without a network. */
static int started(const char *forward)
{
	const struct passt_options o = {.forward = forward, .mtu = 1500};
	struct err e = {0};
	int sock = -1;

	if (passt_start(&passt, &loop, &o, &sock, &e) < 0) {
		print_message("%s\n", e.text);
		return -1;
	}
	return sock;
}

/* Asks who has an address; passt says it does. */
static void passt_answers(void **state)
{
	static const uint8_t question[4 + 42] = {
		0, 0, 0, 42, 255, 255, 255, 255, 255, 255, 0x52, 0x54, 0, 0x12, 0x34, 0x56, 8, 6,
		0, 1, 8, 0, 6, 4, 0, 1, 0x52, 0x54, 0, 0x12, 0x34, 0x56, [42] = 192, 0, 2, 99};
	uint8_t answer[4 + 42];
	auto_fd sock = started(NULL);
	struct pollfd p = {.fd = sock, .events = POLLIN};

	(void)state;
	SKIP_UNLESS(sock >= 0, "passt (package passt)");
	assert_int_equal(fd_write_all(sock, question, sizeof(question)), 0);
	assert_int_equal(poll(&p, 1, PATIENCE_MS), 1);
	assert_int_equal(fd_read_all(sock, answer, sizeof(answer)), 0);
	assert_int_equal(answer[4 + 21], 2); /* a reply */
}

static void passt_ends_with_its_socket(void **state)
{
	auto_fd sock = started(NULL);

	(void)state;
	SKIP_UNLESS(sock >= 0, "passt (package passt)");
	fd_close(&sock);
	for (unsigned i = 0; i < 10 && !has_ended; i++) /* a few last words */
		assert_int_equal(loop_once(&loop, PATIENCE_MS), 0);
	assert_true(has_ended);
}

static void port_in_use_is_named(void **state)
{
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	auto_fd fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	const struct passt_options none = {.mtu = 0};
	char forward[32], wanted[64];
	socklen_t n = sizeof(a);
	auto_fd sock = -1;
	struct err e = {0};

	(void)state;
	SKIP_UNLESS(passt_start(&passt, &loop, &none, &sock, &e) == 0, "passt (package passt)");
	passt_fini(&passt);
	fd_close(&sock);
	assert_int_equal(bind(fd, (struct sockaddr *)&a, n), 0);
	assert_int_equal(listen(fd, 1), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&a, &n), 0);
	snprintf(forward, sizeof(forward), "%u:22", ntohs(a.sin_port));
	{
		const struct passt_options o = {.forward = forward};

		assert_true(passt_start(&passt, &loop, &o, &sock, &e) < 0);
	}
	snprintf(wanted, sizeof(wanted), "127.0.0.1/%u:22", ntohs(a.sin_port));
	if (!strstr(e.text, wanted) || strncmp(e.text, "user: passt does not start: ", 28) != 0)
		fail_msg("%s", e.text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(forwards_are_checked),
		cmocka_unit_test(forwards_have_an_end),
		cmocka_unit_test_setup_teardown(passt_answers, setup, teardown),
		cmocka_unit_test_setup_teardown(passt_ends_with_its_socket, setup, teardown),
		cmocka_unit_test_setup_teardown(port_in_use_is_named, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
