/* SPDX-License-Identifier: BSD-3-Clause */
/* client.c - one request to the control socket of a VM */
#include "cli/client.h"

#include "config/names.h"

#include "base/fd.h"
#include "base/listen.h"
#include "base/loop.h"

#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define MS_NS UINT64_C(1000000)

enum { POLL_MS_MAX = 1000000, REDIAL_NS = 50000000 };

static bool is_lost_name(const char *word)
{
	struct err e = {0};
	char dir[128];

	return !strchr(word, '/') && vm_name_dir(dir, sizeof(dir), &e) == -ENOENT;
}

static const char *remedy(int errnum, const char *word)
{
	switch (errnum) {
	case ENOENT:
		if (is_lost_name(word))
			return "; if it is a VM's name, set XDG_RUNTIME_DIR as where it was run";
		return "; a VM makes it when run with -s or --name";
	case ECONNREFUSED:
		return "; no VM listens there any more";
	case EACCES:
		return "; only the user who runs the VM may";
	default:
		return "";
	}
}

/* A VM whose other processes were killed could not remove its socket itself. */
static void remove_leftover(const char *word)
{
	char path[sizeof(((struct sockaddr_un *)0)->sun_path) + 1];

	vm_name_resolve(word, path, sizeof(path));
	listen_stale_remove(path);
}

static int dial(const char *word, unsigned ms, struct err *e)
{
	char path[sizeof(((struct sockaddr_un *)0)->sun_path) + 1];
	auto_fd fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int r;

	if (fd < 0)
		return err_set(e, errno, "cannot make a socket");
	vm_name_resolve(word, path, sizeof(path));
	if (strlen(path) >= sizeof(address.sun_path))
		return err_say(e, ENAMETOOLONG, "too long for the path of a socket");
	memcpy(address.sun_path, path, strlen(path));
	r = fd_timeout_set(fd, ms);
	if (r < 0)
		return err_set(e, -r, "cannot set a time limit");
	if (connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
		return err_say(e, errno, "%s%s", strerror(errno), remedy(errno, word));
	return fd_take(&fd);
}

static int poll_ms(uint64_t ns)
{
	return ns / MS_NS < POLL_MS_MAX ? (int)(ns / MS_NS) + 1 : POLL_MS_MAX;
}

/* As recv(); EAGAIN at the end of the time. */
static ssize_t recv_until(int fd, char *buf, size_t room, uint64_t end_ns)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};
	uint64_t now;
	int r;

	do {
		now = clock_ns();
		r = poll(&p, 1, now < end_ns ? poll_ms(end_ns - now) : 0);
	} while (r == 0 && now < end_ns);
	if (r == 0)
		errno = EAGAIN;
	return r > 0 ? recv(fd, buf, room, 0) : -1;
}

/* One line without its newline, within ms; -errno, -ENODATA when there is none. */
static int read_line(int fd, char *buf, size_t room, unsigned ms)
{
	const uint64_t end_ns = clock_ns() + ms * MS_NS;
	size_t used = 0;

	while (used < room) {
		ssize_t r = recv_until(fd, buf + used, room - used, end_ns);
		char *end;

		if (r < 0 && errno == EINTR)
			continue;
		if (r < 0)
			return -errno;
		if (r == 0)
			return -ENODATA;
		end = memchr(buf + used, '\n', (size_t)r);
		used += (size_t)r;
		if (!end)
			continue;
		*end = '\0';
		return 0;
	}
	return -EMSGSIZE;
}

static void take_verdict(void *context, const char *path, const char *value)
{
	struct client_reply *reply = context;

	if (strcmp(path, "ok") == 0)
		reply->is_ok = strcmp(value, "true") == 0;
	else if (strcmp(path, "error") == 0)
		snprintf(reply->error, sizeof(reply->error), "%s", value);
}

static int read_failed(int errnum, unsigned ms, struct err *e)
{
	if (errnum == EAGAIN)
		return err_say(e, ETIMEDOUT, "no answer within %u.%u s", ms / 1000,
			       ms % 1000 / 100);
	if (errnum == ENODATA)
		return err_say(e, EPIPE, "hung up without an answer");
	if (errnum == EMSGSIZE)
		return err_say(e, EPROTO, "the answer is too long; is this a VM's control socket?");
	return err_set(e, errnum, "cannot read the answer");
}

/* fd is that of a dial(), or why it failed. */
static int ask(int fd, const char *line, unsigned ms, struct client_reply *ret_reply,
	       struct err *e)
{
	int r;

	ret_reply->is_ok = false;
	snprintf(ret_reply->error, sizeof(ret_reply->error), "no reason given");
	if (fd < 0)
		return fd;
	r = fd_send(fd, line, strlen(line), NULL, 0);
	if (r < 0)
		return err_set(e, -r, "cannot send");
	r = read_line(fd, ret_reply->text, sizeof(ret_reply->text), ms);
	if (r < 0)
		return read_failed(-r, ms, e);
	if (json_read(ret_reply->text, take_verdict, ret_reply) < 0 ||
	    !json_is_object(ret_reply->text, JSON_DEPTH_MAX))
		return err_say(e, EPROTO, "the answer is not JSON; is this a VM's control socket?");
	return 0;
}

int client_ask(const char *word, const char *line, struct client_reply *ret_reply, struct err *e)
{
	return client_ask_within(word, line, CLIENT_TIMEOUT_MS, ret_reply, e);
}

int client_ask_within(const char *word, const char *line, unsigned ms,
		      struct client_reply *ret_reply, struct err *e)
{
	auto_fd fd = dial(word, ms, e);

	return ask(fd, line, ms, ret_reply, e);
}

int client_dial(const char *word, struct err *e)
{
	return dial(word, CLIENT_TIMEOUT_MS, e);
}

int client_ask_on(int fd, const char *line, struct client_reply *ret_reply, struct err *e)
{
	return ask(fd, line, CLIENT_TIMEOUT_MS, ret_reply, e);
}

/* Until the other end hangs up, whatever it says.  False at the end of the time. */
static bool wait_for_hangup(int fd, uint64_t end_ns)
{
	char bytes[256];
	ssize_t r;

	do
		r = recv_until(fd, bytes, sizeof(bytes), end_ns);
	while (r > 0 || (r < 0 && errno == EINTR));
	return r == 0 || errno != EAGAIN;
}

/*
 * A VM that is there may hang up on the client that was silent longest.  False when it is gone, or
 * another one has its socket.
 */
static bool redial(const char *word, int *fd)
{
	const struct timespec moment = {.tv_nsec = REDIAL_NS};
	struct err ignored;
	auto_fd again = client_dial(word, &ignored);

	if (again < 0 || client_pid(again) != client_pid(*fd))
		return false;
	fd_close(fd);
	*fd = fd_take(&again);
	nanosleep(&moment, NULL);
	return true;
}

int client_wait(const char *word, int *fd, uint64_t end_ns)
{
	do
		if (!wait_for_hangup(*fd, end_ns))
			return -ETIMEDOUT;
	while (redial(word, fd));
	remove_leftover(word);
	return 0;
}

pid_t client_pid(int fd)
{
	struct ucred peer = {0};
	socklen_t n = sizeof(peer);

	return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &n) == 0 ? peer.pid : 0;
}
