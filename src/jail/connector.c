/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * connector.c - connects to UNIX sockets for a process that has jailed itself
 *
 * It is forked twice, so that nobody has to wait for its end: the asker cannot once it is jailed.
 * The asker may have threads, so what runs in the new process makes system calls and little else.
 */
#include "jail/connector.h"

#include "base/fd.h"
#include "jail/caps.h"
#include "jail/jail.h"
#include "jail/seccomp.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

enum { HELLO_MS = 5000 };

static const struct call connector_calls[] = {
	CALL(recvmsg),
	CALL_ARG(socket, 0, AF_UNIX),
	CALL(connect),
	CALL(sendmsg),
	CALL(close),
	CALL(restart_syscall),
	CALL(exit_group),
	CALL_END,
};

struct server {
	int sock;
	struct sockaddr_un address; /* with the prefix and "_" */
	size_t prefix_bytes;	    /* of both */
	struct filter *filter;
};

/* ---- in the new process ---- */

static void number_put(char *at, uint32_t number)
{
	char digits[CONNECTOR_SUFFIX_MAX];
	size_t n = 0;

	do
		digits[n++] = (char)('0' + number % 10);
	while (number /= 10);
	while (n > 0)
		*at++ = digits[--n];
	*at = '\0';
}

/* The socket, connected, or -errno. */
static int number_connect(struct server *s, uint32_t number)
{
	auto_fd fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	number_put(s->address.sun_path + s->prefix_bytes, number);
	if (fd < 0 ||
	    connect(fd, (const struct sockaddr *)&s->address, sizeof(s->address)) < 0)
		return -errno;
	return fd_take(&fd);
}

/* One question; false when there will be no more. */
static bool server_turn(struct server *s)
{
	int32_t answer;
	uint32_t number;
	size_t nfds;
	int fd, r;

	if (fd_recv(s->sock, &number, sizeof(number), NULL, 0, &nfds) != sizeof(number))
		return false;
	fd = number_connect(s, number);
	answer = fd < 0 ? -fd : 0;
	r = fd_send(s->sock, &answer, sizeof(answer), &fd, fd >= 0);
	if (r == -ETOOMANYREFS) { /* by all of the user's programs: to be asked again */
		answer = EAGAIN;
		r = fd_send(s->sock, &answer, sizeof(answer), NULL, 0);
	}
	fd_close(&fd);
	return r == 0;
}

/* Gives up what is not needed. 0 or -errno. */
static int server_shrink(const struct server *s)
{
	const uint64_t pass = CAP_BIT(CAP_DAC_OVERRIDE); /* root expects to reach every socket */
	const struct rlimit none = {0, 0}, fds = {JAIL_SENDER_FDS, JAIL_SENDER_FDS};
	struct err e = {0};

	prctl(PR_SET_NAME, "crosvm-connect", 0, 0, 0);
	setpgid(0, 0); /* what the terminal sends is for others */
	if (s->sock > 0 && syscall(SYS_close_range, 0, s->sock - 1, 0) < 0)
		return -errno;
	if (syscall(SYS_close_range, s->sock + 1, ~0U, 0) < 0)
		return -errno;
	if (setrlimit(RLIMIT_CORE, &none) < 0 || setrlimit(RLIMIT_FSIZE, &none) < 0 ||
	    setrlimit(RLIMIT_NOFILE, &fds) < 0)
		return -errno;
	if (caps_set(pass, pass, 0) < 0 && caps_set(0, 0, 0) < 0)
		return -errno;
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 || prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0)
		return -errno;
	return seccomp_thread_load(s->filter, &e);
}

static NORETURN void server_run(struct server *s)
{
	int32_t hello = -server_shrink(s);

	if (fd_send(s->sock, &hello, sizeof(hello), NULL, 0) == 0 && hello == 0)
		while (server_turn(s))
			;
	_exit(0);
}

/* ---- the asker ---- */

static int server_fork(struct server *s, struct err *e)
{
	pid_t pid = fork();

	if (pid == 0) {
		if (fork() == 0)
			server_run(s);
		_exit(0);
	}
	if (pid < 0 || waitpid(pid, NULL, 0) < 0)
		return err_set(e, errno, "cannot start the process that connects sockets");
	return 0;
}

static int hello_wait(int sock, struct err *e)
{
	int32_t hello = 0;
	size_t nfds;
	ssize_t n = fd_recv(sock, &hello, sizeof(hello), NULL, 0, &nfds);

	if (n != sizeof(hello))
		hello = n < 0 ? (int32_t)-n : ECHILD;
	if (hello != 0)
		return err_set(e, hello, "the process that connects sockets cannot confine itself");
	if (fcntl(sock, F_SETFL, O_NONBLOCK) < 0)
		return err_set(e, errno, "cannot use its socket");
	return 0;
}

static int address_make(struct server *s, const char *prefix, struct err *e)
{
	size_t n = strlen(prefix);

	s->address = (struct sockaddr_un){.sun_family = AF_UNIX};
	s->prefix_bytes = n + 1;
	if (n == 0 || n + CONNECTOR_SUFFIX_MAX >= sizeof(s->address.sun_path))
		return err_say(e, ENAMETOOLONG,
			       "%s: with _PORT behind it, longer than a socket's name can be (%zu "
			       "bytes)",
			       prefix, sizeof(s->address.sun_path) - 1);
	memcpy(s->address.sun_path, prefix, n);
	s->address.sun_path[n] = '_';
	return 0;
}

int connector_start(struct connector *c, const char *prefix, struct err *e)
{
	struct server s;
	auto_fd ours = -1;
	int pair[2];
	int r = address_make(&s, prefix, e);

	c->sock = -1;
	if (r < 0)
		return r;
	r = fd_socketpair(SOCK_SEQPACKET, pair);
	if (r < 0)
		return err_set(e, -r, "cannot make a socket pair");
	ours = pair[0];
	s.sock = pair[1];
	s.filter = seccomp_prepare(connector_calls, e);
	if (!s.filter)
		r = -e->code;
	else if (fd_timeout_set(ours, HELLO_MS) < 0)
		r = err_set(e, errno, "cannot set a time limit");
	else
		r = server_fork(&s, e);
	fd_close(&s.sock);
	free(s.filter);
	if (r == 0)
		r = hello_wait(ours, e);
	if (r == 0)
		c->sock = fd_take(&ours);
	return r;
}

void connector_stop(struct connector *c)
{
	fd_close(&c->sock);
}

int connector_ask(struct connector *c, uint32_t number)
{
	return fd_send(c->sock, &number, sizeof(number), NULL, 0);
}

int connector_answer(struct connector *c, int *ret_fd, int *ret_error)
{
	int32_t answer;
	size_t nfds;
	int fd = -1;
	ssize_t n = fd_recv(c->sock, &answer, sizeof(answer), &fd, 1, &nfds);

	if (n == -EMFILE) { /* connected, and no number left for it here */
		n = sizeof(answer);
		answer = EMFILE;
	}
	if (n == sizeof(answer) && answer >= 0 && (answer == 0) == (nfds == 1)) {
		*ret_error = answer;
		*ret_fd = fd;
		return 0;
	}
	fd_close(&fd);
	return n < 0 ? (int)n : -EPROTO;
}
