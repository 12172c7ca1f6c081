/* SPDX-License-Identifier: BSD-3-Clause */
/* client.c - one request to the control socket of a VM */
#include "cli/client.h"

#include "config/names.h"

#include "base/fd.h"
#include "base/loop.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define MS_NS UINT64_C(1000000)

static const char *remedy(int errnum)
{
	switch (errnum) {
	case ENOENT:
		return "; a VM makes it when run with -s or --name";
	case ECONNREFUSED:
		return "; no VM listens there any more";
	case EACCES:
		return "; only the user who runs the VM may";
	default:
		return "";
	}
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
		return err_say(e, errno, "%s%s", strerror(errno), remedy(errno));
	return fd_take(&fd);
}

/* As recv(); -EAGAIN at the end of the time. */
static ssize_t recv_until(int fd, char *buf, size_t room, uint64_t end_ns)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};
	uint64_t now = clock_ns();
	int r = now < end_ns ? poll(&p, 1, (int)((end_ns - now) / MS_NS) + 1) : 0;

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

static void wait_for_hangup(int fd)
{
	char c;

	while (recv(fd, &c, 1, 0) > 0) {
		/* it has nothing more to say that matters */
	}
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
	if (json_read(ret_reply->text, take_verdict, ret_reply) < 0)
		return err_say(e, EPROTO, "the answer is not JSON; is this a VM's control socket?");
	return 0;
}

int client_ask(const char *word, const char *line, bool wait_for_end,
	       struct client_reply *ret_reply, struct err *e)
{
	auto_fd fd = dial(word, CLIENT_TIMEOUT_MS, e);
	int r = ask(fd, line, CLIENT_TIMEOUT_MS, ret_reply, e);

	if (r == 0 && ret_reply->is_ok && wait_for_end)
		wait_for_hangup(fd);
	return r;
}

int client_ask_within(const char *word, const char *line, unsigned ms,
		      struct client_reply *ret_reply, struct err *e)
{
	auto_fd fd = dial(word, ms, e);

	return ask(fd, line, ms, ret_reply, e);
}
