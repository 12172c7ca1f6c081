/* SPDX-License-Identifier: BSD-3-Clause */
/* stream.c - frames over a stream socket */
#include "backend/stream.h"

#include "base/fd.h"
#include "base/iov.h"
#include "base/num.h"
#include "base/wire.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { PIECES_MAX = 300 /* of a chain, with header and head */ };

static struct stream *stream_of(struct net_backend *b)
{
	return container_of(b, struct stream, backend);
}

/* ---- to the other side ---- */

/* Bytes, or -errno; never raises SIGPIPE. */
static ssize_t send_pieces(int sock, struct iovec *v, unsigned n)
{
	struct msghdr m = {.msg_iov = v, .msg_iovlen = n};
	ssize_t sent;

	do
		sent = sendmsg(sock, &m, MSG_NOSIGNAL | MSG_DONTWAIT);
	while (sent < 0 && errno == EINTR);
	return sent < 0 ? -errno : sent;
}

/* I1. */
static int rest_send(struct stream *s)
{
	struct iovec v = iov_of(s->out + s->out_at, s->out_end - s->out_at);
	ssize_t sent = send_pieces(s->backend.fd[0], &v, 1);

	if (sent < 0 && sent != -EAGAIN)
		s->out_at = s->out_end;
	if (sent < 0)
		return (int)sent;
	s->out_at += (size_t)sent;
	return s->out_at < s->out_end ? -EAGAIN : 0;
}

static void rest_keep(struct stream *s, const struct iovec *v, unsigned n, size_t sent)
{
	struct iov_at at = {.v = v, .n = n};

	iov_at_skip(&at, sent);
	s->out_at = 0;
	s->out_end = iov_at_gather(&at, s->out, STREAM_OUT_BYTES);
}

static int stream_send(struct net_backend *b, unsigned pair, const struct iovec *v, unsigned n)
{
	struct stream *s = stream_of(b);
	struct iovec pieces[PIECES_MAX];
	size_t length = iov_length(v + 1, n - 1);
	be32 prefix = be32_of((uint32_t)length);
	ssize_t sent;

	(void)pair;
	if (s->out_at < s->out_end)
		return rest_send(s);
	if (n > PIECES_MAX || length < STREAM_FRAME_MIN || length > STREAM_FRAME_MAX)
		return -EMSGSIZE;
	memcpy(pieces, v, n * sizeof(*v));
	pieces[0] = iov_of(&prefix, sizeof(prefix));
	sent = send_pieces(b->fd[0], pieces, n);
	if (sent < 0)
		return (int)sent;
	if ((size_t)sent == sizeof(prefix) + length)
		return 0;
	rest_keep(s, pieces, n, (size_t)sent);
	return -EAGAIN;
}

/* ---- from the other side ---- */

/* Reads more behind what is there; 0, -EAGAIN, or why there will be none. */
static int refill(struct stream *s)
{
	size_t have = s->in_end - s->in_at;
	ssize_t n;

	memmove(s->in, s->in + s->in_at, have);
	s->in_at = 0;
	s->in_end = have;
	do
		n = read(s->backend.fd[0], s->in + have, STREAM_IN_BYTES - have);
	while (n < 0 && errno == EINTR);
	if (n <= 0)
		return n < 0 ? -errno : -EPIPE;
	s->in_end += (size_t)n;
	return 0;
}

/* Whether a whole frame is there; its length, or -EPROTO. */
static int frame_length(const struct stream *s)
{
	size_t have = s->in_end - s->in_at;
	uint32_t length;
	be32 prefix;

	if (have < sizeof(prefix))
		return 0;
	memcpy(&prefix, s->in + s->in_at, sizeof(prefix));
	length = be32_get(prefix);
	if (length < STREAM_FRAME_MIN || length > STREAM_FRAME_MAX)
		return -EPROTO; /* I2 */
	return have - sizeof(prefix) >= length ? (int)length : 0;
}

static ssize_t stream_receive(struct net_backend *b, unsigned pair, const struct iovec *v,
			      unsigned n)
{
	static const uint8_t header[NET_HEADER_BYTES];
	struct stream *s = stream_of(b);
	struct iov_at at = {.v = v, .n = n};
	int length, r;

	(void)pair;
	while ((length = frame_length(s)) == 0) {
		r = refill(s);
		if (r < 0)
			return r;
	}
	if (length < 0)
		return length;
	iov_at_scatter(&at, header, sizeof(header));
	iov_at_skip(&at, sizeof(header));
	iov_at_scatter(&at, s->in + s->in_at + STREAM_LENGTH_BYTES, (size_t)length);
	s->in_at += STREAM_LENGTH_BYTES + (size_t)length;
	return NET_HEADER_BYTES + length;
}

static void stream_close(struct net_backend *b)
{
	struct stream *s = stream_of(b);

	fd_close(&b->fd[0]);
	free(s->in);
	free(s->out);
	s->in = s->out = NULL;
}

static const struct net_backend_ops stream_ops = {
	.send = stream_send,
	.receive = stream_receive,
	.close = stream_close,
};

int stream_init_take(struct stream *s, int sock, struct err *e)
{
	*s = (struct stream){.backend = {.ops = &stream_ops, .pairs = 1}};
	s->backend.fd[0] = sock;
	s->in = malloc(STREAM_IN_BYTES);
	s->out = malloc(STREAM_OUT_BYTES);
	if (s->in && s->out && fcntl(sock, F_SETFL, O_NONBLOCK) == 0)
		return 0;
	stream_close(&s->backend);
	return err_set(e, ENOMEM, "cannot make buffers for frames");
}
