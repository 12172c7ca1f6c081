/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * control.c - the control socket of a running VM
 *
 * Invariants:
 *  I1  A client's next request is looked at only when its last reply has gone out whole, so a reply
 *      always fits its buffer, and whoever does not read is not read from.
 *  I2  Nothing here blocks: sockets are non-blocking, buffers bounded, clients limited; a command
 *      that a device answers keeps only its own client waiting, and has a time limit.
 *  I3  Bytes that are no request are answered with an error; the connection stays usable.
 */
#include "vm/control.h"

#include "base/fd.h"
#include "base/leftover.h"
#include "vm/control_parts.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static void drop(struct control_client *k)
{
	if (k->watch.fd < 0)
		return;
	ask_cancel(&k->ask);
	k->wait = CONTROL_WAITS_NOT;
	loop_remove(k->control->loop, &k->watch);
	fd_close(&k->watch.fd);
}

/* Sends what the socket takes; 0, or -errno when the client is lost. */
static int flush(struct control_client *k)
{
	while (k->out_sent < k->out_used) {
		ssize_t r = send(k->watch.fd, k->out + k->out_sent, k->out_used - k->out_sent,
				 MSG_NOSIGNAL | MSG_DONTWAIT);

		if (r < 0 && errno == EAGAIN)
			return 0;
		if (r < 0 && errno == EINTR)
			continue;
		if (r < 0)
			return -errno;
		k->out_sent += (size_t)r;
	}
	k->out_sent = 0;
	k->out_used = 0;
	return 0;
}

void control_reply_begin(struct control_client *k, struct json *reply)
{
	assert(k->out_used == 0); /* I1 */
	json_init(reply, k->out, sizeof(k->out) - 1);
}

void control_reply_end(struct control_client *k, struct json *reply)
{
	struct err e;

	if (reply->is_full) {
		err_say(&e, EMSGSIZE, "the reply is too long");
		json_error(reply, &e);
	}
	k->out[reply->used] = '\n';
	k->out_used = reply->used + 1;
	k->wait = CONTROL_WAITS_NOT;
}

static void reply_to(struct control_client *k, char *line)
{
	struct json reply;

	control_reply_begin(k, &reply);
	if (control_execute(k, line, &reply))
		control_reply_end(k, &reply);
}

static void refuse_long_line(struct control_client *k)
{
	struct err e;
	struct json reply;

	err_say(&e, EMSGSIZE, "the line is longer than %d bytes", CONTROL_LINE_MAX - 1);
	control_reply_begin(k, &reply);
	json_error(&reply, &e);
	control_reply_end(k, &reply);
}

/* Takes the first line out of the buffer and answers it; false when there is no whole one. */
static bool answer_line(struct control_client *k)
{
	char *end = memchr(k->in, '\n', k->in_used);
	size_t n = end ? (size_t)(end - k->in) + 1 : k->in_used;

	if (!end && k->in_used < sizeof(k->in))
		return false;
	if (!end && !k->is_skipping) {
		refuse_long_line(k);
		k->is_skipping = true;
	} else if (end && k->is_skipping) {
		k->is_skipping = false;
	} else if (end) {
		*end = '\0';
		for (char *p = k->in; p < end; p++)
			if (!*p)
				*p = '?';
		if (end > k->in && end[-1] == '\r')
			end[-1] = '\0';
		if (k->in[0])
			reply_to(k, k->in);
	}
	k->in_used -= n;
	memmove(k->in, k->in + n, k->in_used);
	return true;
}

/* Answers as many lines as I1 allows, then waits for what is needed next. */
static int serve(struct control_client *k)
{
	uint32_t events;
	int r;

	do {
		r = flush(k);
		if (r < 0)
			return r;
	} while (k->out_used == 0 && !k->wait && answer_line(k));
	if (k->out_used == 0 && !k->wait && k->has_ended)
		return -ENODATA;
	events = k->wait ? 0 : k->out_used > 0 ? EPOLLOUT : EPOLLIN;
	return loop_change(k->control->loop, &k->watch, events);
}

void control_go_on(struct control_client *k)
{
	if (serve(k) < 0)
		drop(k);
}

static int receive(struct control_client *k)
{
	ssize_t r = recv(k->watch.fd, k->in + k->in_used, sizeof(k->in) - k->in_used, MSG_DONTWAIT);

	if (r < 0 && (errno == EAGAIN || errno == EINTR))
		return 0;
	if (r < 0)
		return -errno;
	k->used_ns = clock_ns();
	k->in_used += (size_t)r;
	k->has_ended = r == 0;
	return 0;
}

static void client_ready(struct watch *w, uint32_t events)
{
	struct control_client *k = container_of(w, struct control_client, watch);
	int r = 0;

	if (events & EPOLLERR)
		r = -EPIPE;
	else if ((events & (EPOLLIN | EPOLLHUP)) && k->out_used == 0 && !k->wait)
		r = receive(k);
	else if (events & EPOLLHUP)
		r = -EPIPE; /* gone without having read its reply */
	if (r < 0)
		drop(k);
	else
		control_go_on(k);
}

/* A free place, or that of the client which was silent longest. */
static struct control_client *find_place(struct control *c)
{
	struct control_client *oldest = &c->clients[0];

	for (size_t i = 0; i < CONTROL_CLIENTS_MAX; i++) {
		if (c->clients[i].watch.fd < 0)
			return &c->clients[i];
		if (c->clients[i].used_ns < oldest->used_ns)
			oldest = &c->clients[i];
	}
	drop(oldest);
	return oldest;
}

/* A client without a number would wait, and wake us, for ever: the spare one hangs up on it. */
static void turn_away(struct control *c)
{
	fd_close(&c->spare_fd);
	c->spare_fd = accept4(c->watch.fd, NULL, NULL, SOCK_CLOEXEC);
	fd_close(&c->spare_fd);
	c->spare_fd = fcntl(c->watch.fd, F_DUPFD_CLOEXEC, 0);
}

static void accept_ready(struct watch *w, uint32_t events)
{
	struct control *c = container_of(w, struct control, watch);
	auto_fd fd = accept4(w->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	struct control_client *k;

	(void)events;
	if (fd < 0 && (errno == EMFILE || errno == ENFILE))
		turn_away(c);
	if (fd < 0)
		return;
	k = find_place(c);
	k->control = c;
	k->watch = (struct watch){.fd = fd, .ready = client_ready};
	k->used_ns = clock_ns();
	k->wait = CONTROL_WAITS_NOT;
	k->ask = (struct ask){.asks = NULL};
	k->is_skipping = false;
	k->has_ended = false;
	k->in_used = 0;
	k->out_used = 0;
	k->out_sent = 0;
	if (loop_add(c->loop, &k->watch, EPOLLIN) < 0)
		k->watch.fd = -1;
	else
		k->watch.fd = fd_take(&fd);
}

int control_init(struct control *c, struct loop *l, const char *path, const struct control_ops *ops,
		 void *vm, struct err *e)
{
	int r;

	c->loop = l; /* field by field: the buffers stay untouched, and cost no memory */
	c->ops = ops;
	c->ncommands = 0;
	c->vm = vm;
	c->watch = (struct watch){.fd = -1, .ready = accept_ready};
	c->spare_fd = -1;
	for (size_t i = 0; i < CONTROL_CLIENTS_MAX; i++)
		c->clients[i].watch.fd = -1;
	control_status_init(c);
	r = control_listen(path, e);
	if (r < 0)
		return r;
	c->watch.fd = r;
	c->spare_fd = fcntl(c->watch.fd, F_DUPFD_CLOEXEC, 0);
	return c->spare_fd < 0 ? err_set(e, errno, "cannot keep a descriptor") : 0;
}

int control_start(struct control *c, struct err *e)
{
	int r = loop_add(c->loop, &c->watch, EPOLLIN);

	return r < 0 ? err_set(e, -r, "cannot watch the control socket") : 0;
}

void control_fini(struct control *c)
{
	if (!c || !c->loop)
		return;
	if (c->watch.fd >= 0) {
		loop_remove(c->loop, &c->watch);
		leftovers_remove();
	}
	fd_close(&c->watch.fd); /* before clients that wait for the end see it */
	fd_close(&c->spare_fd);
	for (size_t i = 0; i < CONTROL_CLIENTS_MAX; i++)
		drop(&c->clients[i]);
	control_status_fini(c);
}
