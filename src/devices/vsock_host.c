/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * vsock_host.c - the host's side of virtual sockets: UNIX sockets
 *
 * A program that connects to PATH writes "CONNECT 1024\n" to reach port 1024 of the guest and reads
 * "OK 1073741824\n", with the port it has in the guest's eyes; then bytes flow.  If the guest does
 * not take it, the socket is closed without a word.
 *
 * The guest's connections to port P go to the UNIX socket PATH_P, through a process that still sees
 * names (jail/connector.h), one at a time and in their order.  A program whose backlog is full is
 * asked again every RETRY_NS for as long as a guest waits, while others go on.
 */
#include "devices/vsock.h"

#include "base/fd.h"
#include "base/leftover.h"
#include "base/listen.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

enum {
	ACCEPTS_MAX = 32,	/* in a row, before others get their turn */
	BACKLOG = 128,
	RETRY_NS = 10000000,
	RETRIES_MAX = 200,	/* two seconds: so long does Linux wait for an answer */
	PORT_FIRST = 1 << 30,	/* far from those that services use */
	PORT_LAST = INT32_MAX,
};

/* ---- programs that connect to the guest ---- */

static void command_failed(struct conn *c)
{
	vsock_count(c->v, VSOCK_REFUSED);
	conn_free(c);
}

/* A port that this guest's port has no connection with; there are more than connections. */
static uint32_t port_choose(struct vsock *v, uint32_t guest_port)
{
	uint32_t port;

	do {
		port = v->next_port;
		v->next_port = port == PORT_LAST ? PORT_FIRST : port + 1;
	} while (conn_find(v, guest_port, port));
	return port;
}

/* "CONNECT 1024\n", nothing else. */
static bool command_parse(const char *text, uint32_t *ret_port)
{
	static const char word[] = "CONNECT ";
	const char *digits = text + sizeof(word) - 1;
	uint64_t port;
	char number[VSOCK_COMMAND_MAX];
	size_t n;

	if (strncmp(text, word, sizeof(word) - 1) != 0)
		return false;
	n = strcspn(digits, "\n");
	memcpy(number, digits, n);
	number[n] = '\0';
	if (strspn(number, "0123456789") != n || opt_number(number, &port) < 0 ||
	    port > UINT32_MAX)
		return false;
	*ret_port = (uint32_t)port;
	return true;
}

static void command_execute(struct conn *c)
{
	uint32_t port;

	if (!command_parse(c->command, &port)) {
		command_failed(c);
		return;
	}
	c->state = CONN_REQUESTED;
	conn_ports_set(c, port, port_choose(c->v, port));
	c->tell = TELL_REQUEST;
	vsock_wait(c);
	conn_watch(c, 0);
}

/* Takes the bytes up to the end of the line and none behind it. */
void host_command(struct conn *c)
{
	char *at = c->command + c->command_bytes;
	size_t room = sizeof(c->command) - 1 - c->command_bytes, n;
	ssize_t r = recv(c->watch.fd, at, room, MSG_PEEK | MSG_DONTWAIT);
	char *end;

	if (r < 0 && (errno == EAGAIN || errno == EINTR) && !c->hung_up)
		return;
	end = r > 0 ? memchr(at, '\n', (size_t)r) : NULL;
	n = end ? (size_t)(end - at) + 1 : r > 0 ? (size_t)r : 0;
	if (n == 0 || (!end && n == room) || recv(c->watch.fd, at, n, MSG_DONTWAIT) != (ssize_t)n) {
		command_failed(c);
		return;
	}
	c->command_bytes += n;
	c->command[c->command_bytes] = '\0';
	if (end)
		command_execute(c);
}

bool host_answer(struct conn *c)
{
	char line[32];
	int n = snprintf(line, sizeof(line), "OK %u\n", c->host_port);

	vsock_count(c->v, VSOCK_ACCEPTED);
	return send(c->watch.fd, line, (size_t)n, MSG_NOSIGNAL | MSG_DONTWAIT) == n;
}

static void listen_ready(struct watch *w, uint32_t events)
{
	struct vsock *v = container_of(w, struct vsock, listen_watch);
	int fd = 0;

	(void)events;
	for (unsigned i = 0; i < ACCEPTS_MAX && fd >= 0 && !TAILQ_EMPTY(&v->free); i++) {
		struct conn *c;

		fd = accept4(w->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
		if (fd < 0)
			break;
		c = conn_new(v, CONN_COMMAND);
		c->watch.fd = fd;
		conn_watch(c, EPOLLIN);
	}
	if (TAILQ_EMPTY(&v->free) || (fd < 0 && (errno == EMFILE || errno == ENFILE))) {
		loop_remove(v->device.loop, w);
		v->is_listening = false;
	}
}

void host_listen_update(struct vsock *v)
{
	if (v->is_listening || v->listen_watch.fd < 0)
		return;
	v->is_listening = loop_add(v->device.loop, &v->listen_watch, EPOLLIN) == 0;
}

/* ---- the guest's connections ---- */

static void ask_next(struct vsock *v)
{
	struct conn *c = TAILQ_FIRST(&v->connecting);

	if (v->is_asking || !c)
		return;
	v->is_asking = true;
	v->asked = c;
	if (connector_ask(&v->connector, c->host_port) < 0)
		loop_stop(v->device.loop); /* it is gone; a new process can start it */
}

void host_connect(struct conn *c)
{
	TAILQ_INSERT_TAIL(&c->v->connecting, c, link);
	ask_next(c->v);
}

void host_connect_cancel(struct conn *c)
{
	struct vsock *v = c->v;

	TAILQ_REMOVE(c->is_later ? &v->later : &v->connecting, c, link);
	if (v->asked == c)
		v->asked = NULL;
}

/* Whoever has waited for a full backlog is in both senses later than the others. */
static void retry_expired(struct timer *t)
{
	struct vsock *v = container_of(t, struct vsock, retry);
	struct conn *c;

	while ((c = TAILQ_FIRST(&v->later))) {
		TAILQ_REMOVE(&v->later, c, link);
		c->is_later = false;
		TAILQ_INSERT_TAIL(&v->connecting, c, link);
	}
	ask_next(v);
}

static void connect_later(struct conn *c)
{
	struct vsock *v = c->v;

	TAILQ_REMOVE(&v->connecting, c, link);
	if (TAILQ_EMPTY(&v->later))
		timer_set(&v->retry, RETRY_NS, 0);
	TAILQ_INSERT_TAIL(&v->later, c, link);
	c->is_later = true;
	c->tries++;
}

static void connect_failed(struct conn *c, int error)
{
	struct vsock *v = c->v;

	if (error != ENOENT && error != ECONNREFUSED)
		log_limited(&v->log, "port %u: cannot connect to %s_%u: %s", c->host_port,
			    v->socket, c->host_port, strerror(error));
	vsock_count(v, VSOCK_REFUSED);
	conn_reset(c);
}

static void answer_ready(struct watch *w, uint32_t events)
{
	struct vsock *v = container_of(w, struct vsock, connector_watch);
	struct conn *c = v->asked;
	int error;
	auto_fd fd = -1;
	int r = connector_answer(&v->connector, &fd, &error);

	(void)events;
	if (r == -EAGAIN)
		return;
	if (r < 0) {
		log_error("the process that connects sockets is gone: %s", strerror(-r));
		loop_remove(v->device.loop, w);
		loop_stop(v->device.loop);
		return;
	}
	v->is_asking = false;
	v->asked = NULL;
	if (c && error == EAGAIN && c->tries < RETRIES_MAX) {
		connect_later(c);
	} else if (c && error) {
		connect_failed(c, error);
	} else if (c) {
		TAILQ_REMOVE(&v->connecting, c, link);
		vsock_count(v, VSOCK_ACCEPTED);
		conn_open_take(c, fd_take(&fd));
	}
	ask_next(v);
	vsock_rx_pump(v);
}

/* ---- life ---- */

/* Programs that connect while one process is gone are served by the next. */

int host_keep(struct vsock *v, struct err *e)
{
	auto_fd fd = listen_at(v->socket, BACKLOG, 0777, e);
	int r = fd < 0 ? fd : leftover_add(v->socket, e);

	if (r == 0)
		device_kept_add_take(&v->device.kept, fd_take(&fd));
	return r;
}

static int listen_start(struct vsock *v, struct err *e)
{
	int fd = fd_take(&v->device.kept.fd[0]);

	v->listen_watch = (struct watch){.fd = fd, .ready = listen_ready};
	host_listen_update(v);
	return v->is_listening ? 0 : err_say(e, ENOMEM, "cannot watch %s", v->socket);
}

static int connector_watch_start(struct vsock *v, struct err *e)
{
	int r = connector_start(&v->connector, v->socket, e);

	if (r < 0)
		return r;
	v->connector_watch = (struct watch){.fd = v->connector.sock, .ready = answer_ready};
	r = loop_add(v->device.loop, &v->connector_watch, EPOLLIN);
	return r < 0 ? err_set(e, -r, "cannot watch the process that connects sockets") : 0;
}

int host_open(struct vsock *v, struct err *e)
{
	int r;

	v->listen_watch.fd = v->connector.sock = v->retry.watch.fd = -1;
	v->next_port = PORT_FIRST;
	r = timer_init(&v->retry, v->device.loop, retry_expired);
	if (r < 0)
		return err_set(e, -r, "cannot make a timer");
	r = connector_watch_start(v, e); /* before there are more fds for it to close */
	return r < 0 ? r : listen_start(v, e);
}

void host_close(struct vsock *v)
{
	if (v->is_listening)
		loop_remove(v->device.loop, &v->listen_watch);
	v->is_listening = false;
	fd_close(&v->listen_watch.fd);
	if (v->connector.sock >= 0)
		loop_remove(v->device.loop, &v->connector_watch);
	connector_stop(&v->connector);
	timer_fini(&v->retry, v->device.loop);
}
