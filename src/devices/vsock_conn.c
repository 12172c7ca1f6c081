/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * vsock_conn.c - connections of the virtual socket device
 *
 * Watching.  A socket that became readable is put in line for a buffer of the guest and is not
 * taken off the loop, since mostly there is one; only when it is reported again, unread, is it.  A
 * socket is watched for nothing but its end while neither direction has a use for it, and not at
 * all once that end was seen: a level-triggered loop would report it for ever.
 */
#include "devices/vsock.h"

#include "base/fd.h"
#include "base/iov.h"
#include "base/num.h"

#include <errno.h>
#include <linux/virtio_vsock.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>

enum {
	SHUT_BOTH = VIRTIO_VSOCK_SHUTDOWN_RCV | VIRTIO_VSOCK_SHUTDOWN_SEND,
	PIECES_MAX = 64, /* of guest memory for one call; what is left takes another */
};

/* ---- storage ---- */

int conns_init(struct vsock *v)
{
	size_t bytes = (size_t)v->connections * v->buffer_bytes;

	TAILQ_INIT(&v->free);
	TAILQ_INIT(&v->waiting);
	TAILQ_INIT(&v->connecting);
	TAILQ_INIT(&v->later);
	for (v->nports = 1; v->nports < v->connections;)
		v->nports *= 2;
	v->conn = calloc(v->connections, sizeof(*v->conn));
	v->ports = calloc(v->nports, sizeof(*v->ports));
	v->buffers = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (v->buffers == MAP_FAILED)
		v->buffers = NULL;
	if (!v->conn || !v->ports || !v->buffers)
		return -ENOMEM;
	for (unsigned i = 0; i < v->connections; i++) {
		struct conn *c = &v->conn[i];

		*c = (struct conn){.v = v, .watch.fd = -1, .watched = WATCH_OFF};
		c->buffer = v->buffers + i * v->buffer_bytes;
		TAILQ_INSERT_TAIL(&v->free, c, link);
	}
	return 0;
}

void conns_fini(struct vsock *v)
{
	for (unsigned i = 0; v->conn && i < v->connections; i++)
		if (v->conn[i].state != CONN_FREE)
			conn_free(&v->conn[i]);
	if (v->buffers)
		munmap(v->buffers, (size_t)v->connections * v->buffer_bytes);
	free(v->conn);
	free(v->ports);
	v->buffers = NULL;
	v->conn = NULL;
	v->ports = NULL;
}

void conns_drop(struct vsock *v)
{
	for (unsigned i = 0; i < v->connections; i++) {
		struct conn *c = &v->conn[i];
		bool is_known = c->state != CONN_FREE && c->state != CONN_COMMAND &&
				c->state != CONN_DRAINING && !(c->tell & TELL_REQUEST);

		if (is_known)
			conn_free(c);
	}
}

struct conn *conn_new(struct vsock *v, enum conn_state state)
{
	struct conn *c = TAILQ_FIRST(&v->free);

	if (!c)
		return NULL;
	TAILQ_REMOVE(&v->free, c, link);
	*c = (struct conn){.v = v,
			   .state = state,
			   .watch.fd = -1,
			   .watched = WATCH_OFF,
			   .buffer = c->buffer};
	v->open++;
	vsock_count_open(v);
	return c;
}

static bool has_ports(const struct conn *c)
{
	return c->state == CONN_REQUESTED || c->state == CONN_CONNECTING ||
	       c->state == CONN_OPEN || c->state == CONN_RESETTING;
}

static struct conn_chain *chain_of(const struct vsock *v, uint32_t guest_port, uint32_t host_port)
{
	uint64_t key = ((uint64_t)guest_port << 32 | host_port) * 0x9e3779b97f4a7c15ull;

	return &v->ports[key >> 32 & (v->nports - 1)];
}

struct conn *conn_find(const struct vsock *v, uint32_t guest_port, uint32_t host_port)
{
	struct conn *c;

	LIST_FOREACH (c, chain_of(v, guest_port, host_port), by_ports)
		if (c->guest_port == guest_port && c->host_port == host_port)
			return c;
	return NULL;
}

void conn_ports_set(struct conn *c, uint32_t guest_port, uint32_t host_port)
{
	c->guest_port = guest_port;
	c->host_port = host_port;
	LIST_INSERT_HEAD(chain_of(c->v, guest_port, host_port), c, by_ports);
}

/* No longer in line for anything. */
static void conn_unlink(struct conn *c)
{
	if (c->is_waiting)
		TAILQ_REMOVE(&c->v->waiting, c, link);
	c->is_waiting = false;
	if (c->state == CONN_CONNECTING)
		host_connect_cancel(c);
}

static void conn_close(struct conn *c)
{
	conn_watch(c, WATCH_OFF);
	fd_close(&c->watch.fd);
	if (c->buffer_used)
		madvise(c->buffer, c->v->buffer_bytes, MADV_DONTNEED);
	c->buffer_used = false;
	c->readable = false;
	c->rx_count = c->forwarded;
}

void conn_free(struct conn *c)
{
	struct vsock *v = c->v;

	conn_unlink(c);
	conn_close(c);
	if (has_ports(c))
		LIST_REMOVE(c, by_ports);
	c->state = CONN_FREE;
	c->tell = 0;
	TAILQ_INSERT_TAIL(&v->free, c, link);
	v->open--;
	vsock_count_open(v);
	host_listen_update(v);
}

void conn_reset(struct conn *c)
{
	if (c->state == CONN_RESETTING)
		return;
	if (!has_ports(c) || c->tell & TELL_REQUEST) { /* the guest knows nothing of it */
		conn_free(c);
		return;
	}
	conn_unlink(c);
	conn_close(c);
	c->state = CONN_RESETTING;
	c->tell = TELL_RESET;
	vsock_wait(c);
}

/* ---- watching ---- */

static uint32_t buffered(const struct conn *c)
{
	return c->rx_count - c->forwarded;
}

static void conn_ready(struct watch *w, uint32_t events);

void conn_watch(struct conn *c, int events)
{
	struct loop *l = c->v->device.loop;
	int r = 0;

	if (c->watched == events || c->watch.fd < 0)
		return;
	c->watch.ready = conn_ready;
	if (events == WATCH_OFF)
		loop_remove(l, &c->watch);
	else if (c->watched == WATCH_OFF)
		r = loop_add(l, &c->watch, (uint32_t)events);
	else
		r = loop_change(l, &c->watch, (uint32_t)events);
	if (r < 0)
		log_limited(&c->v->log, "cannot watch a socket: the connection stands still");
	else
		c->watched = events;
}

static bool wants_input(const struct conn *c)
{
	return c->state == CONN_OPEN && !(c->host_shut & VIRTIO_VSOCK_SHUTDOWN_SEND) &&
	       !(c->guest_shut & VIRTIO_VSOCK_SHUTDOWN_RCV);
}

static void watch_update(struct conn *c)
{
	bool reads = wants_input(c) && !c->readable;
	int events = (reads ? EPOLLIN : 0) | (buffered(c) > 0 ? EPOLLOUT : 0);

	if (events == 0 && (c->readable || c->hung_up))
		events = WATCH_OFF;
	conn_watch(c, events);
}

/* ---- telling the guest ---- */

static void tell(struct conn *c, unsigned what)
{
	c->tell |= what;
	vsock_wait(c);
}

static uint32_t credit(const struct conn *c)
{
	uint32_t in_flight = c->tx_count - c->peer_forwarded;

	return in_flight < c->peer_buf_alloc ? c->peer_buf_alloc - in_flight : 0;
}

/* A quarter is worth a packet; less is told by the way. */
static void credit_news(struct conn *c)
{
	if (c->state == CONN_OPEN && c->forwarded - c->told_forwarded >= c->v->buffer_bytes / 4)
		tell(c, TELL_CREDIT);
}

/* The host sends no more, or takes no more. */
static void host_ended(struct conn *c, uint32_t flags)
{
	if ((c->host_shut & flags) == flags)
		return;
	c->host_shut |= flags;
	tell(c, TELL_SHUTDOWN);
}

static bool put_header(struct conn *c, struct chain *chain, uint16_t op, uint32_t len)
{
	const struct vsock_header h = {
		.src_cid = le64_of(VSOCK_HOST_CID),
		.dst_cid = le64_of(c->v->cid),
		.src_port = le32_of(c->host_port),
		.dst_port = le32_of(c->guest_port),
		.len = le32_of(len),
		.type = le16_of(VIRTIO_VSOCK_TYPE_STREAM),
		.op = le16_of(op),
		.flags = le32_of(op == VIRTIO_VSOCK_OP_SHUTDOWN ? c->host_shut : 0),
		.buf_alloc = le32_of((uint32_t)c->v->buffer_bytes),
		.fwd_cnt = le32_of(c->forwarded),
	};

	c->told_forwarded = c->forwarded;
	c->tell &= ~(unsigned)TELL_CREDIT;
	return chain_put(chain, &h, sizeof(h));
}

/* The first of what is to be told. */
static bool fill_news(struct conn *c, struct chain *chain)
{
	static const uint16_t ops[] = {
		VIRTIO_VSOCK_OP_REQUEST,	VIRTIO_VSOCK_OP_RESPONSE,
		VIRTIO_VSOCK_OP_CREDIT_UPDATE,	VIRTIO_VSOCK_OP_CREDIT_REQUEST,
		VIRTIO_VSOCK_OP_SHUTDOWN,	VIRTIO_VSOCK_OP_RST,
	};
	unsigned first = (unsigned)__builtin_ctz(c->tell);
	bool fits;

	static_assert(1u << (ARRAY_LEN(ops) - 1) == TELL_RESET, "one for each bit");
	c->tell &= ~(1u << first);
	fits = put_header(c, chain, ops[first], 0);
	if (c->state == CONN_RESETTING)
		conn_free(c);
	return fits;
}

/* ---- host to guest ---- */

/* The first limit bytes behind skip of one side of a chain. */
static unsigned pieces_of(const struct chain *chain, enum chain_side side, size_t skip,
			  size_t limit, struct iovec pieces[PIECES_MAX])
{
	struct iov_at at = {0};
	unsigned n = 0;

	at.v = chain_iov(chain, side, &at.n);
	iov_at_skip(&at, skip);
	while (n < PIECES_MAX && limit > 0) {
		struct iovec storage;
		unsigned one;
		const struct iovec *v = iov_at_next(&at, &storage, 1, &one);

		if (one == 0)
			break;
		pieces[n] = *v;
		pieces[n].iov_len = min_size(pieces[n].iov_len, limit);
		limit -= pieces[n].iov_len;
		iov_at_skip(&at, pieces[n++].iov_len);
	}
	return n;
}

static ssize_t host_read(struct conn *c, const struct chain *chain)
{
	struct iovec pieces[PIECES_MAX];
	struct msghdr m = {.msg_iov = pieces};

	m.msg_iovlen = pieces_of(chain, CHAIN_WRITABLE, sizeof(struct vsock_header), credit(c),
				 pieces);
	return recvmsg(c->watch.fd, &m, MSG_DONTWAIT);
}

static bool fill_data(struct conn *c, struct chain *chain)
{
	ssize_t n = host_read(c, chain);

	if (n > 0) {
		c->tx_count += (uint32_t)n;
		return put_header(c, chain, VIRTIO_VSOCK_OP_RW, (uint32_t)n) &&
		       chain_skip(chain, CHAIN_WRITABLE, (size_t)n);
	}
	c->readable = false;
	if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
		watch_update(c);
		return false;
	}
	c->hung_up = c->hung_up || n < 0;
	host_ended(c, c->hung_up ? SHUT_BOTH : VIRTIO_VSOCK_SHUTDOWN_SEND);
	watch_update(c);
	return fill_news(c, chain);
}

bool conn_fill(struct conn *c, struct chain *chain, bool *ret_more)
{
	bool filled = false, was_resetting = c->state == CONN_RESETTING;

	if (c->tell)
		filled = fill_news(c, chain);
	else if (c->readable && wants_input(c) && credit(c) > 0)
		filled = fill_data(c, chain);
	if (!was_resetting && c->readable && credit(c) == 0 && !c->credit_asked) {
		c->credit_asked = true;
		c->tell |= ASK_CREDIT;
	}
	*ret_more = !was_resetting && (c->tell || (c->readable && credit(c) > 0));
	return filled;
}

/* ---- guest to host ---- */

/* It takes no more: what it did not take is thrown away, as it would be in its own buffer. */
static void host_deaf(struct conn *c)
{
	c->forwarded = c->rx_count;
	host_ended(c, VIRTIO_VSOCK_SHUTDOWN_RCV);
}

/* Everything the guest sent has been taken, or thrown away. The connection may be free after. */
static void flushed(struct conn *c)
{
	if (c->state == CONN_DRAINING) {
		conn_free(c);
	} else if (c->guest_shut == SHUT_BOTH) {
		conn_reset(c);
	} else if (c->guest_shut & VIRTIO_VSOCK_SHUTDOWN_SEND && !c->host_was_told) {
		c->host_was_told = true;
		shutdown(c->watch.fd, SHUT_WR);
	}
}

/* Bytes that the socket took; 0 if it is full or gone. */
static size_t host_write(struct conn *c, struct iovec *v, unsigned n)
{
	const struct msghdr m = {.msg_iov = v, .msg_iovlen = n};
	ssize_t r = sendmsg(c->watch.fd, &m, MSG_NOSIGNAL | MSG_DONTWAIT);

	if (r >= 0)
		return (size_t)r;
	if (errno != EAGAIN && errno != EINTR)
		host_deaf(c);
	return 0;
}

/* Writes what is in the ring buffer. The connection may be free after. */
static void flush(struct conn *c)
{
	uint32_t size = (uint32_t)c->v->buffer_bytes, at = c->forwarded & (size - 1);
	uint32_t first = (uint32_t)min_size(buffered(c), size - at);
	struct iovec v[2] = {iov_of(c->buffer + at, first), iov_of(c->buffer, buffered(c) - first)};
	uint32_t n = (uint32_t)host_write(c, v, 2); /* which may change c->forwarded */

	c->forwarded += n;
	credit_news(c);
	if (buffered(c) == 0)
		flushed(c);
	if (c->state != CONN_FREE)
		watch_update(c);
}

/* Copies n bytes of the chain, for which there is room, into the ring buffer. */
static bool store(struct conn *c, struct chain *chain, uint32_t n)
{
	uint32_t size = (uint32_t)c->v->buffer_bytes, at = c->rx_count & (size - 1);
	uint32_t first = (uint32_t)min_size(n, size - at);

	c->buffer_used = true;
	if (!chain_get(chain, c->buffer + at, first) ||
	    !chain_get(chain, c->buffer, n - first))
		return false;
	c->rx_count += n;
	return true;
}

/* Straight from the guest's memory while nothing lies before it. */
static void forward(struct conn *c, struct chain *chain, uint32_t len)
{
	struct iovec pieces[PIECES_MAX];
	uint32_t n = 0;

	if (buffered(c) == 0 && len > 0) {
		unsigned count = pieces_of(chain, CHAIN_READABLE, 0, len, pieces);

		n = (uint32_t)host_write(c, pieces, count);
	}
	c->rx_count += n;
	c->forwarded += n;
	if (c->host_shut & VIRTIO_VSOCK_SHUTDOWN_RCV) {
		c->rx_count += len - n;
		c->forwarded = c->rx_count;
	} else if (n < len && chain_skip(chain, CHAIN_READABLE, n) && store(c, chain, len - n)) {
		watch_update(c);
	}
	credit_news(c);
}

static void receive_data(struct conn *c, const struct vsock_packet *p, struct chain *chain)
{
	if (p->len > chain_left(chain, CHAIN_READABLE) ||
	    p->len > c->v->buffer_bytes - buffered(c) || /* C1 */
	    c->guest_shut & VIRTIO_VSOCK_SHUTDOWN_SEND) {
		vsock_malformed(c->v);
		conn_reset(c);
		return;
	}
	forward(c, chain, p->len);
}

static void receive_shutdown(struct conn *c, uint32_t flags)
{
	c->guest_shut |= flags & SHUT_BOTH;
	if (c->guest_shut & VIRTIO_VSOCK_SHUTDOWN_RCV) {
		c->readable = false;
		shutdown(c->watch.fd, SHUT_RD);
	}
	if (buffered(c) == 0)
		flushed(c);
	if (c->state == CONN_OPEN)
		watch_update(c);
}

/* The guest is rid of it; what it sent before still goes to the host. */
static void receive_reset(struct conn *c)
{
	if (c->state != CONN_OPEN || buffered(c) == 0) {
		conn_free(c);
		return;
	}
	conn_unlink(c);
	LIST_REMOVE(c, by_ports);
	c->state = CONN_DRAINING;
	c->tell = 0;
	c->readable = false;
	watch_update(c);
}

/* C2. False when the guest has received more than it was sent. */
static bool take_credit(struct conn *c, const struct vsock_packet *p)
{
	uint32_t in_flight = c->tx_count - p->fwd_cnt;

	if (in_flight > INT32_MAX)
		return false;
	if (in_flight <= c->tx_count - c->peer_forwarded) /* else it was overtaken by another */
		c->peer_forwarded = p->fwd_cnt;
	c->peer_buf_alloc = p->buf_alloc;
	if (credit(c) > 0)
		c->credit_asked = false;
	if (credit(c) > 0 && c->readable)
		vsock_wait(c);
	return true;
}

static void receive_open(struct conn *c, const struct vsock_packet *p, struct chain *chain)
{
	switch (p->op) {
	case VIRTIO_VSOCK_OP_RW:
		receive_data(c, p, chain);
		break;
	case VIRTIO_VSOCK_OP_SHUTDOWN:
		receive_shutdown(c, p->flags);
		break;
	case VIRTIO_VSOCK_OP_CREDIT_UPDATE:
		break;
	case VIRTIO_VSOCK_OP_CREDIT_REQUEST:
		tell(c, TELL_CREDIT);
		break;
	default:
		vsock_malformed(c->v);
		conn_reset(c);
	}
}

void conn_receive(struct conn *c, const struct vsock_packet *p, struct chain *chain)
{
	bool is_answer = c->state == CONN_REQUESTED && !(c->tell & TELL_REQUEST) &&
			 p->op == VIRTIO_VSOCK_OP_RESPONSE;

	if (p->op == VIRTIO_VSOCK_OP_RST) {
		receive_reset(c);
	} else if (c->state == CONN_RESETTING) {
		return; /* sent before it knew */
	} else if ((p->op != VIRTIO_VSOCK_OP_RW && p->len > 0) || !take_credit(c, p)) {
		vsock_malformed(c->v);
		conn_reset(c);
	} else if (c->state == CONN_OPEN) {
		receive_open(c, p, chain);
	} else if (is_answer && host_answer(c)) {
		c->state = CONN_OPEN;
		watch_update(c);
	} else {
		conn_reset(c);
	}
}

/* ---- the socket ---- */

static void input_ready(struct conn *c)
{
	if (!wants_input(c)) {
		if (c->hung_up)
			host_ended(c, VIRTIO_VSOCK_SHUTDOWN_RCV);
		watch_update(c);
	} else if (c->readable) { /* still: there is no buffer, or no credit */
		watch_update(c);
	} else {
		c->readable = true;
		vsock_wait(c);
	}
}

static void conn_ready(struct watch *w, uint32_t events)
{
	struct conn *c = container_of(w, struct conn, watch);
	struct vsock *v = c->v;

	c->hung_up = c->hung_up || events & (EPOLLHUP | EPOLLERR);
	if (c->state == CONN_COMMAND) {
		host_command(c);
	} else if (c->state == CONN_REQUESTED) {
		conn_reset(c); /* the program did not wait for the answer */
	} else {
		if (buffered(c) > 0 && events & (EPOLLOUT | EPOLLHUP | EPOLLERR))
			flush(c);
		if (c->state == CONN_OPEN && events & (EPOLLIN | EPOLLHUP | EPOLLERR))
			input_ready(c);
	}
	vsock_rx_pump(v);
}

void conn_open_take(struct conn *c, int fd)
{
	c->watch.fd = fd;
	c->state = CONN_OPEN;
	watch_update(c);
	tell(c, TELL_RESPONSE);
}
