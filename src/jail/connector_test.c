/* SPDX-License-Identifier: BSD-3-Clause */
/* connector_test.c - a process that connects to UNIX sockets for another */
#include "jail/connector.h"

#include "base/fd.h"
#include "base/skip.h"
#include "jail/jail.h"
#include "jail/spawn_run.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

static char dir[64], prefix[80], found[RUN_TEXT_MAX];

#define SAY(...) (snprintf(found, sizeof(found), __VA_ARGS__), found)

/* A socket that listens at NAME in the directory. */
static int listen_at(const char *name)
{
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	auto_fd fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	snprintf(a.sun_path, sizeof(a.sun_path), "%s/%s", dir, name);
	unlink(a.sun_path);
	if (bind(fd, (struct sockaddr *)&a, sizeof(a)) < 0 || listen(fd, 0) < 0)
		return -1;
	chmod(a.sun_path, 0700);
	return fd_take(&fd);
}

static int ask(struct connector *c, uint32_t number, int *ret_fd)
{
	struct pollfd p = {.fd = c->sock, .events = POLLIN};
	int error = 0, r = connector_ask(c, number);

	*ret_fd = -1;
	if (r == 0 && poll(&p, 1, 10000) != 1)
		return -ETIMEDOUT;
	if (r == 0)
		r = connector_answer(c, ret_fd, &error);
	return r < 0 ? r : error;
}

static const char *connects_by_number(void *arg)
{
	const uint32_t numbers[] = {0, 7, 4294967295u};
	struct connector c;
	static struct err e;

	(void)arg;
	if (connector_start(&c, prefix, &e) < 0)
		return e.text;
	for (size_t i = 0; i < ARRAY_LEN(numbers); i++) {
		char name[32], text[4] = "";
		int fd, peer, r, l;

		snprintf(name, sizeof(name), "v.sock_%u", numbers[i]);
		l = listen_at(name);
		r = ask(&c, numbers[i], &fd);
		if (r != 0)
			return SAY("%s: %s", name, strerror(r < 0 ? -r : r));
		if (!(fcntl(fd, F_GETFL) & O_NONBLOCK) || !(fcntl(fd, F_GETFD) & FD_CLOEXEC))
			return "flags of the socket";
		peer = accept(l, NULL, NULL);
		if (peer < 0 || write(fd, "hey", 3) != 3 || read(peer, text, 3) != 3 ||
		    strcmp(text, "hey") != 0)
			return "not connected";
		close(fd);
		close(peer);
		close(l);
	}
	connector_stop(&c);
	return NULL;
}

static const char *tells_errors(void *arg)
{
	struct connector c;
	static struct err e;
	char path[128];
	int l, fd, first, r;

	(void)arg;
	if (connector_start(&c, prefix, &e) < 0)
		return e.text;
	snprintf(path, sizeof(path), "%s_5", prefix);
	unlink(path); /* of another user who ran this before */
	r = ask(&c, 5, &fd);
	if (r != ENOENT || fd != -1)
		return SAY("nobody there: %d", r);
	close(listen_at("v.sock_5"));
	r = ask(&c, 5, &fd);
	if (r != ECONNREFUSED)
		return SAY("nobody listens: %d", r);
	l = listen_at("v.sock_5");
	if (ask(&c, 5, &first) != 0)
		return "cannot connect";
	r = ask(&c, 5, &fd);
	if (r != EAGAIN)
		return SAY("backlog is full: %d", r);
	close(l);
	connector_stop(&c);
	return NULL;
}

/* As many files as the limit allows are open: the answer is an error, not the end. */
static const char *survives_a_full_table(void *arg)
{
	struct rlimit old, full;
	struct connector c;
	static struct err e;
	int l = listen_at("v.sock_7"), fd, r;

	(void)arg;
	if (connector_start(&c, prefix, &e) < 0)
		return e.text;
	fd = dup(l);
	close(fd);
	getrlimit(RLIMIT_NOFILE, &old);
	full = (struct rlimit){.rlim_cur = (rlim_t)fd, .rlim_max = old.rlim_max};
	setrlimit(RLIMIT_NOFILE, &full);
	r = ask(&c, 7, &fd);
	setrlimit(RLIMIT_NOFILE, &old);
	if (r != EMFILE || fd != -1)
		return SAY("with a full table: %d", r);
	close(accept(l, NULL, NULL));
	r = ask(&c, 7, &fd);
	if (r != 0)
		return SAY("afterwards: %d", r);
	connector_stop(&c);
	return NULL;
}

/* A packet with so many descriptors that nobody takes. */
static int leave_in_flight(int sock, unsigned n)
{
	enum { MOST = 250 };
	int fds[MOST] = {0};
	_Alignas(struct cmsghdr) char control[CMSG_SPACE(sizeof(fds))] = {0};
	struct iovec v = {.iov_base = dir, .iov_len = 1};
	struct msghdr m = {.msg_iov = &v, .msg_iovlen = 1, .msg_control = control,
			   .msg_controllen = CMSG_SPACE(n * sizeof(int))};
	struct cmsghdr *c = CMSG_FIRSTHDR(&m);

	*c = (struct cmsghdr){.cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS,
			      .cmsg_len = CMSG_LEN(n * sizeof(int))};
	memcpy(CMSG_DATA(c), fds, n * sizeof(int));
	return sendmsg(sock, &m, 0) == 1 ? 0 : -1;
}

enum { PACKETS = JAIL_SENDER_FDS / 250 + 2, PACKET_FDS = 250, SOMEBODY = 54321 };

/* More descriptors of the user's are in flight than Linux lets the connector add to. */
static const char *survives_many_in_flight(void *arg)
{
	struct rlimit limit;
	struct connector c;
	static struct err e;
	int l, pair[2], fd, r;

	(void)arg;
	getrlimit(RLIMIT_NOFILE, &limit);
	limit.rlim_cur = limit.rlim_max;
	setrlimit(RLIMIT_NOFILE, &limit);
	if (setresuid(SOMEBODY, SOMEBODY, SOMEBODY) < 0) /* or it harms others of this user */
		return "cannot be somebody else";
	l = listen_at("v.sock_7");
	if (connector_start(&c, prefix, &e) < 0 || fd_socketpair(SOCK_SEQPACKET, pair) < 0)
		return e.text;
	for (int i = 0; i < PACKETS; i++)
		if (leave_in_flight(pair[0], PACKET_FDS) < 0)
			return "cannot leave descriptors in flight";
	r = ask(&c, 7, &fd);
	close(pair[0]);
	close(pair[1]);
	if (r != EAGAIN || fd != -1)
		return SAY("with many in flight: %d", r);
	close(accept(l, NULL, NULL));
	r = ask(&c, 7, &fd);
	if (r != 0)
		return SAY("afterwards: %d", r);
	connector_stop(&c);
	return NULL;
}

static void test_many_descriptors_in_flight_are_survived(void **state)
{
	struct rlimit limit;

	(void)state;
	getrlimit(RLIMIT_NOFILE, &limit);
	SKIP_UNLESS(geteuid() == 0, "to be root, to be a user who has nothing in flight");
	SKIP_UNLESS(limit.rlim_max >= (PACKETS + 1) * PACKET_FDS,
		    "a limit of 5000 open files (ulimit -Hn)");
	run_forked(survives_many_in_flight, NULL, false);
}

static void test_full_table_of_files_is_an_error(void **state)
{
	(void)state;
	run_forked(survives_a_full_table, NULL, false);
}

static void test_connects_by_number(void **state)
{
	(void)state;
	run_both_ways(connects_by_number, NULL);
}

static void test_tells_why_not(void **state)
{
	(void)state;
	run_both_ways(tells_errors, NULL);
}

static void test_long_prefix_is_refused(void **state)
{
	char longest[sizeof(((struct sockaddr_un *)0)->sun_path)] = "";
	struct connector c;
	static struct err e;

	(void)state;
	memset(longest, 'x', sizeof(longest) - 1 - CONNECTOR_SUFFIX_MAX);
	assert_int_equal(connector_start(&c, longest, &e), 0);
	connector_stop(&c);
	longest[strlen(longest)] = 'x';
	assert_int_equal(connector_start(&c, longest, &e), -ENAMETOOLONG);
	assert_int_equal(connector_start(&c, "", &e), -ENAMETOOLONG);
}

/* Longer or shorter than a number: it ends rather than guess. */
static void test_nonsense_ends_it(void **state)
{
	struct pollfd p = {.events = POLLIN};
	struct connector c;
	static struct err e;
	int fd, error;

	(void)state;
	assert_int_equal(connector_start(&c, prefix, &e), 0);
	assert_int_equal(fd_send(c.sock, "12345", 5, NULL, 0), 0);
	p.fd = c.sock;
	assert_int_equal(poll(&p, 1, 10000), 1);
	assert_int_equal(connector_answer(&c, &fd, &error), -EPROTO);
	assert_int_equal(connector_ask(&c, 1), -EPIPE);
	connector_stop(&c);
}

static int make_directory(void **state)
{
	(void)state;
	snprintf(dir, sizeof(dir), "/tmp/crosvm-connector-XXXXXX");
	if (!mkdtemp(dir) || chmod(dir, 0777) < 0)
		return -1;
	snprintf(prefix, sizeof(prefix), "%s/v.sock", dir);
	return 0;
}

static int remove_directory(void **state)
{
	static const char *const names[] = {"v.sock_0", "v.sock_5", "v.sock_7",
					    "v.sock_4294967295"};
	char path[128];

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		snprintf(path, sizeof(path), "%s/%s", dir, names[i]);
		unlink(path);
	}
	return rmdir(dir);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_connects_by_number),
		cmocka_unit_test(test_tells_why_not),
		cmocka_unit_test(test_full_table_of_files_is_an_error),
		cmocka_unit_test(test_many_descriptors_in_flight_are_survived),
		cmocka_unit_test(test_long_prefix_is_refused),
		cmocka_unit_test(test_nonsense_ends_it),
	};

	return cmocka_run_group_tests(tests, make_directory, remove_directory);
}
