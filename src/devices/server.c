/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * server.c - an open device with the sockets it is served on
 *
 * Front ends come one after the other: the next is accepted when the session of the one before it
 * is over.  Without a listening socket the loop ends with the session.
 */
#include "devices/server.h"

#include "base/fd.h"
#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>

/* ---- control socket ---- */

/* One packet is one command. */
static void control_answer(struct server *s, char *command)
{
	static _Thread_local char text[DEVICE_PACKET_MAX]; /* too much for a small stack */
	struct json reply;

	json_init(&reply, text, sizeof(text));
	device_command_execute(s->d, command, &reply);
	if (fd_send(s->control_sock, text, reply.used, NULL, 0) < 0)
		log_debug("control socket: answer not sent");
}

static void control_ready(struct watch *w, uint32_t events UNUSED)
{
	struct server *s = container_of(w, struct server, control_watch);
	char command[DEVICE_PACKET_MAX + 1];
	size_t nfds;
	ssize_t n = fd_recv(w->fd, command, DEVICE_PACKET_MAX, NULL, 0, &nfds);

	if (n == -EAGAIN)
		return;
	if (n <= 0) {
		loop_remove(&s->loop, w);
		return;
	}
	command[n] = '\0';
	control_answer(s, command);
}

/* ---- serving ---- */

static void session_over(struct session *session)
{
	struct server *s = session->owner;

	s->in_session = false;
	if (s->listen_fd < 0 || loop_add(&s->loop, &s->listen_watch, EPOLLIN) < 0)
		loop_stop(&s->loop);
}

static int session_take(struct server *s, int sock)
{
	int r;

	s->session.on_end = session_over;
	s->session.owner = s;
	s->session.inflight_fd = s->inflight_fd;
	r = session_start_take(&s->session, s->d, &s->loop, sock);
	s->in_session = r == 0;
	return r;
}

static void listen_ready(struct watch *w, uint32_t events UNUSED)
{
	struct server *s = container_of(w, struct server, listen_watch);
	auto_fd sock = accept4(w->fd, NULL, NULL, SOCK_CLOEXEC);

	if (sock < 0 || session_take(s, sock) < 0)
		return;
	sock = -1;
	loop_remove(&s->loop, w); /* the next one waits */
}

static int control_start(struct server *s)
{
	if (s->control_sock < 0)
		return 0;
	if (fcntl(s->control_sock, F_SETFL, O_NONBLOCK) < 0)
		return -errno;
	s->control_watch = (struct watch){.fd = s->control_sock, .ready = control_ready};
	return loop_add(&s->loop, &s->control_watch, EPOLLIN);
}

static int listen_start(struct server *s)
{
	if (s->listen_fd < 0)
		return 0;
	s->listen_watch = (struct watch){.fd = s->listen_fd, .ready = listen_ready};
	return loop_add(&s->loop, &s->listen_watch, EPOLLIN);
}

void server_fini(struct server *s)
{
	if (s->in_session)
		session_fini(&s->session);
	if (s->was_opened && s->d->type->close)
		s->d->type->close(s->d);
	device_free(s->d);
	s->d = NULL;
	fd_close(&s->listen_fd);
	fd_close(&s->control_sock);
	fd_close(&s->inflight_fd);
	loop_fini(&s->loop);
}

int server_init_take(struct server *s, struct device *d, int sock, int listen_fd, int control_sock,
		     struct err *e)
{
	auto_fd session_sock = sock;
	int r = loop_init(&s->loop);

	s->d = d;
	s->listen_fd = listen_fd;
	s->control_sock = control_sock;
	s->inflight_fd = -1;
	d->loop = &s->loop;
	if (r == 0)
		r = listen_start(s);
	if (r == 0)
		r = control_start(s);
	s->was_opened = r == 0;
	r = r < 0 ? err_set(e, -r, "cannot wait for its sockets")
		  : device_open(d, e);
	if (r == 0)
		s->inflight_fd = inflight_file_create(d); /* without, front ends get no log */
	if (r == 0 && sock >= 0) {
		r = session_take(s, sock);
		if (r == 0)
			session_sock = -1;
		else
			err_set(e, -r, "cannot serve its socket");
	}
	if (r < 0)
		server_fini(s);
	return r;
}

int server_prepare(void *device, struct err *e)
{
	struct device *d = device;

	return d->type->prepare ? d->type->prepare(d, e) : 0;
}
