/* SPDX-License-Identifier: BSD-3-Clause */
/* client_test.c - asking a VM: good answers, bad ones, none */
#include "cli/client.h"

#include "base/fd.h"
#include "base/loop.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#define MS_NS UINT64_C(1000000)

static char dir[] = "/tmp/client-test-XXXXXX";
static char path[64];
static int listen_fd;
static struct client_reply reply;

/* What the other end says, in two pieces, after it has read the request. */
static const char *pieces[2];
static char request[64];

static int set_up(void **state)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};

	(void)state;
	strcpy(dir, "/tmp/client-test-XXXXXX");
	if (!mkdtemp(dir))
		return -1;
	snprintf(path, sizeof(path), "%s/vm.sock", dir);
	snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
	listen_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	return bind(listen_fd, (struct sockaddr *)&address, sizeof(address)) < 0 ||
	       listen(listen_fd, 1) < 0;
}

static int tear_down(void **state)
{
	(void)state;
	fd_close(&listen_fd);
	unlink(path);
	return rmdir(dir);
}

static void *answer(void *unused)
{
	auto_fd fd = accept4(listen_fd, NULL, NULL, SOCK_CLOEXEC);
	ssize_t n = read(fd, request, sizeof(request) - 1);

	(void)unused;
	request[n > 0 ? n : 0] = '\0';
	for (size_t i = 0; i < ARRAY_LEN(pieces) && pieces[i]; i++)
		if (fd_send(fd, pieces[i], strlen(pieces[i]), NULL, 0) < 0)
			break;
	return NULL;
}

/* client_ask() against one that says this. */
static int ask(const char *first, const char *second, struct err *e)
{
	pthread_t thread;
	int r;

	pieces[0] = first;
	pieces[1] = second;
	assert_int_equal(pthread_create(&thread, NULL, answer, NULL), 0);
	r = client_ask(path, "stop\n", &reply, e);
	pthread_join(thread, NULL);
	return r;
}

static void reply_may_come_in_pieces(void **state)
{
	struct err e = {0};

	(void)state;
	assert_int_equal(ask("{\"ok\":", "true}\nmore", &e), 0);
	assert_string_equal(request, "stop\n");
	assert_string_equal(reply.text, "{\"ok\":true}");
	assert_true(reply.is_ok);
}

/* Drops so many connections that were silent, then is gone. */
static void *drop(void *count)
{
	for (unsigned i = 0; i < *(const unsigned *)count; i++) {
		auto_fd fd = accept4(listen_fd, NULL, NULL, SOCK_CLOEXEC);

		(void)!write(fd, "x", 1);
	}
	fd_close(&listen_fd);
	return NULL;
}

static void wait_is_for_the_vm_not_the_connection(void **state)
{
	unsigned count = 3;
	struct err e = {0};
	pthread_t thread;
	int fd = client_dial(path, &e);

	(void)state;
	assert_true(fd >= 0);
	assert_int_equal(client_pid(fd), getpid());
	assert_int_equal(client_wait(path, &fd, clock_ns() + 30 * MS_NS), -ETIMEDOUT);
	assert_int_equal(client_wait(path, &fd, 0), -ETIMEDOUT);
	assert_int_equal(pthread_create(&thread, NULL, drop, &count), 0);
	assert_int_equal(client_wait(path, &fd, UINT64_MAX), 0);
	pthread_join(thread, NULL);
	assert_int_equal(client_wait(path, &fd, 0), 0);
	close(fd);
}

static void refusal_comes_with_its_reason(void **state)
{
	struct err e = {0};

	(void)state;
	assert_int_equal(ask("{\"ok\":false,\"error\":\"busy\"}\n", NULL, &e), 0);
	assert_false(reply.is_ok);
	assert_string_equal(reply.error, "busy");
	assert_int_equal(ask("{}\n", NULL, &e), 0);
	assert_false(reply.is_ok);
	assert_string_equal(reply.error, "no reason given");
}

static void other_programs_are_recognised(void **state)
{
	static char flood[CONTROL_REPLY_MAX + 1];
	struct err e = {0};

	(void)state;
	assert_int_equal(ask("HTTP/1.1 400 Bad Request\r\n", NULL, &e), -EPROTO);
	assert_non_null(strstr(e.text, "is not JSON"));
	assert_int_equal(ask("{\"ok\":true,\"a\":\"\x1b[2J\"}\n", NULL, &e), -EPROTO);
	assert_int_equal(ask("{\"ok\":true,\"a\":\"\xc2\x9b\"}\n", NULL, &e), -EPROTO);
	assert_int_equal(ask(NULL, NULL, &e), -EPIPE);
	assert_string_equal(e.text, "hung up without an answer");
	memset(flood, 'x', sizeof(flood) - 1);
	assert_int_equal(ask(flood, NULL, &e), -EPROTO);
	assert_non_null(strstr(e.text, "too long"));
}

/* A byte now and then, until the client has gone. */
static void *drip(void *unused)
{
	auto_fd fd = accept4(listen_fd, NULL, NULL, SOCK_CLOEXEC);
	struct pollfd gone = {.fd = fd, .events = POLLRDHUP};

	(void)unused;
	for (unsigned i = 0; i < 200 && poll(&gone, 1, 20) == 0; i++)
		if (fd_send(fd, "{", 1, NULL, 0) < 0)
			break;
	return NULL;
}

static void answer_as_a_whole_has_its_time(void **state)
{
	uint64_t begun = clock_ns();
	struct err e = {0};
	pthread_t thread;

	(void)state;
	assert_int_equal(pthread_create(&thread, NULL, drip, NULL), 0);
	assert_int_equal(client_ask_within(path, "counters\n", 100, &reply, &e), -ETIMEDOUT);
	assert_string_equal(e.text, "no answer within 0.1 s");
	assert_true(clock_ns() - begun < UINT64_C(2000000000));
	pthread_join(thread, NULL);
}

static void missing_vm_is_told_with_the_remedy(void **state)
{
	char too_long[200];
	struct err e = {0};

	(void)state;
	fd_close(&listen_fd);
	assert_int_equal(client_ask(path, "stop\n", &reply, &e), -ECONNREFUSED);
	assert_string_equal(e.text, "Connection refused; no VM listens there any more");
	unlink(path);
	assert_int_equal(client_ask(path, "stop\n", &reply, &e), -ENOENT);
	assert_string_equal(e.text, "No such file or directory; a VM makes it when run with -s or "
				    "--name");
	memset(too_long, 'x', sizeof(too_long) - 1);
	too_long[sizeof(too_long) - 1] = '\0';
	assert_int_equal(client_ask(too_long, "stop\n", &reply, &e), -ENAMETOOLONG);
	assert_int_equal(client_ask("/proc/self/stat/x", "", &reply, &e), -ENOTDIR);
	assert_string_equal(e.text, "Not a directory");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(reply_may_come_in_pieces),
		TEST(wait_is_for_the_vm_not_the_connection),
		TEST(refusal_comes_with_its_reason),
		TEST(other_programs_are_recognised),
		TEST(answer_as_a_whole_has_its_time),
		TEST(missing_vm_is_told_with_the_remedy),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
