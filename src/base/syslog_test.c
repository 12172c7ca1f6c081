/* SPDX-License-Identifier: BSD-3-Clause */
/* syslog_test.c - lines to a daemon of the test's own */
#include "base/syslog.h"

#include "base/fd.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

struct daemon {
	char dir[32], path[64];
	int sock;
};

static void daemon_listen(struct daemon *d)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};

	snprintf(address.sun_path, sizeof(address.sun_path), "%s", d->path);
	d->sock = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	assert_true(d->sock >= 0);
	assert_int_equal(bind(d->sock, (struct sockaddr *)&address, sizeof(address)), 0);
}

static void daemon_start(struct daemon *d)
{
	strcpy(d->dir, "/tmp/syslog-XXXXXX");
	assert_non_null(mkdtemp(d->dir));
	snprintf(d->path, sizeof(d->path), "%s/log", d->dir);
	daemon_listen(d);
}

static void daemon_end(struct daemon *d)
{
	fd_close(&d->sock);
	unlink(d->path);
	rmdir(d->dir);
}

/* Checks that the next datagram is the severity, a time of 15 letters, and that. */
static void received(const struct daemon *d, const char *severity, const char *rest)
{
	char packet[4096], expected[2048];
	ssize_t n = recv(d->sock, packet, sizeof(packet) - 1, 0);
	size_t head = strlen(severity) + 15;

	assert_true(n > (ssize_t)head);
	packet[n] = '\0';
	assert_memory_equal(packet, severity, strlen(severity));
	snprintf(expected, sizeof(expected), " tag[%d]: %s", (int)getpid(), rest);
	assert_string_equal(packet + head, expected);
}

static void line_has_severity_time_tag_and_name(void **state)
{
	struct daemon d;
	struct syslog s;

	(void)state;
	daemon_start(&d);
	assert_int_equal(syslog_open(&s, d.path, "tag"), 0);

	assert_int_equal(syslog_line(&s, LOG_LEVEL_ERROR, NULL, "a"), SYSLOG_TAKEN);
	assert_int_equal(syslog_line(&s, LOG_LEVEL_WARN, "block0", "b"), SYSLOG_TAKEN);
	assert_int_equal(syslog_line(&s, LOG_LEVEL_INFO, NULL, "c"), SYSLOG_TAKEN);
	assert_int_equal(syslog_line(&s, LOG_LEVEL_DEBUG, "net1", "d"), SYSLOG_TAKEN);

	received(&d, "<11>", "a");
	received(&d, "<12>", "block0: b");
	received(&d, "<14>", "c");
	received(&d, "<15>", "net1: d");
	syslog_close(&s);
	daemon_end(&d);
}

static void nobody_who_listens_is_an_error(void **state)
{
	struct syslog s;

	(void)state;
	assert_int_equal(syslog_open(&s, "/nowhere/log", "tag"), -ENOENT);
	assert_int_equal(syslog_line(&s, LOG_LEVEL_ERROR, NULL, "goes nowhere"), SYSLOG_TAKEN);
	syslog_close(&s);
}

static void daemon_that_does_not_read_is_not_waited_for(void **state)
{
	struct daemon d;
	struct syslog s;

	(void)state;
	daemon_start(&d);
	assert_int_equal(syslog_open(&s, d.path, "tag"), 0);
	for (int i = 0; i < 100000; i++)
		assert_int_equal(syslog_line(&s, LOG_LEVEL_INFO, NULL, "again"), SYSLOG_TAKEN);
	received(&d, "<14>", "again");
	syslog_close(&s);
	daemon_end(&d);
}

static void daemon_that_ends_is_told_once(void **state)
{
	struct daemon d;
	struct syslog s;

	(void)state;
	daemon_start(&d);
	assert_int_equal(syslog_open(&s, d.path, "tag"), 0);
	fd_close(&d.sock);
	assert_int_equal(syslog_line(&s, LOG_LEVEL_INFO, NULL, "a"), SYSLOG_GONE);
	assert_int_equal(syslog_line(&s, LOG_LEVEL_INFO, NULL, "b"), SYSLOG_AWAY);
	syslog_close(&s);
	daemon_end(&d);
}

/* Connects again, as another process does that has the socket, too. */
static void reconnect_elsewhere(const struct syslog *s)
{
	int status;
	pid_t pid = fork();

	if (pid == 0)
		_exit(syslog_connect_again(s) < 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

static void daemon_that_comes_back_is_told_what_it_missed(void **state)
{
	struct daemon d;
	struct syslog s;

	(void)state;
	daemon_start(&d);
	assert_int_equal(syslog_open(&s, d.path, "tag"), 0);
	for (int round = 0; round < 2; round++) {
		fd_close(&d.sock);
		assert_int_equal(syslog_line(&s, LOG_LEVEL_INFO, NULL, "a"), SYSLOG_GONE);
		assert_true(syslog_connect_again(&s) < 0);
		assert_int_equal(syslog_line(&s, LOG_LEVEL_INFO, NULL, "b"), SYSLOG_AWAY);
		assert_int_equal(unlink(d.path), 0);
		daemon_listen(&d);
		reconnect_elsewhere(&s);
		assert_int_equal(syslog_line(&s, LOG_LEVEL_INFO, NULL, "c"), SYSLOG_TAKEN);
		received(&d, "<12>", "2 lines did not reach the syslog; crosvm log may have them");
		received(&d, "<14>", "c");
		assert_int_equal(syslog_line(&s, LOG_LEVEL_INFO, NULL, "d"), SYSLOG_TAKEN);
		received(&d, "<14>", "d");
	}
	syslog_close(&s);
	daemon_end(&d);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(line_has_severity_time_tag_and_name),
		cmocka_unit_test(nobody_who_listens_is_an_error),
		cmocka_unit_test(daemon_that_does_not_read_is_not_waited_for),
		cmocka_unit_test(daemon_that_ends_is_told_once),
		cmocka_unit_test(daemon_that_comes_back_is_told_what_it_missed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
