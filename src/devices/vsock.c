/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * vsock.c - virtual socket device: packets from the guest, and those that wait to go to it
 *
 * Everything for the guest goes through one line: connections wait in it, one buffer each and then
 * to its end again, so no connection keeps another from the guest for longer than a turn.  Nothing
 * waits for the host: what a socket does not take is kept in the connection's ring buffer, for
 * which the guest has credit.
 *
 * Connections do not survive this process.  One that finds the receive queue in use already, and
 * knows of no connection, is the successor of one that died, and tells the driver so (5.10.6.7).
 */
#include "devices/vsock.h"

#include "base/fd.h"
#include "base/num.h"
#include "virtio/ids.h"

#include <errno.h>
#include <linux/virtio_vsock.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>

enum { BUFFER_MIN = 4096, BUFFER_MAX = 16 << 20 };

static struct vsock *vsock_of(struct device *d)
{
	return container_of(d, struct vsock, device);
}

/* ---- to the guest ---- */

void vsock_wait(struct conn *c)
{
	if (c->is_waiting || c->state == CONN_CONNECTING)
		return;
	c->is_waiting = true;
	TAILQ_INSERT_TAIL(&c->v->waiting, c, link);
}

/* A buffer of the guest is held until there is something to put into it. */
static bool rx_take(struct vsock *v)
{
	struct vq *q = &v->device.queues[VSOCK_RX];

	if (v->has_rx)
		return true;
	if (!vq_pop(q, &v->rx))
		return false;
	if (chain_left(&v->rx, CHAIN_WRITABLE) <= sizeof(struct vsock_header)) {
		vq_break(q, "receive buffer without room for data");
		return false;
	}
	v->has_rx = true;
	return true;
}

/* Answers a packet that belongs to no connection. */
static bool reply_fill(struct vsock *v)
{
	const struct vsock_packet *p = &v->reply[v->reply_at];
	const struct vsock_header h = {
		.src_cid = le64_of(p->dst_cid),
		.dst_cid = le64_of(p->src_cid),
		.src_port = le32_of(p->dst_port),
		.dst_port = le32_of(p->src_port),
		.type = le16_of(p->type),
		.op = le16_of(VIRTIO_VSOCK_OP_RST),
	};

	v->reply_at = (v->reply_at + 1) % VSOCK_REPLIES_MAX;
	v->nreplies--;
	return chain_put(&v->rx, &h, sizeof(h));
}

/* False when whoever was first in line had nothing to say. */
static bool rx_fill(struct vsock *v)
{
	struct conn *c = TAILQ_FIRST(&v->waiting);
	bool filled, more;

	if (v->nreplies > 0)
		return reply_fill(v);
	TAILQ_REMOVE(&v->waiting, c, link);
	c->is_waiting = false;
	filled = conn_fill(c, &v->rx, &more);
	if (more)
		vsock_wait(c);
	return filled;
}

static bool rx_is_wanted(const struct vsock *v)
{
	return v->nreplies > 0 || !TAILQ_EMPTY(&v->waiting);
}

void vsock_rx_pump(struct vsock *v)
{
	struct vq *q = &v->device.queues[VSOCK_RX];
	unsigned turns = 0;

	if (!v->device.started || v->undecided)
		return;
	for (; turns < VSOCK_BATCH_MAX && rx_is_wanted(v) && rx_take(v); turns++) {
		if (!rx_fill(v))
			continue;
		vq_push(q, &v->rx);
		v->has_rx = false;
	}
	vq_notify(q);
	if (turns == VSOCK_BATCH_MAX || (v->tx_stalled && v->nreplies < VSOCK_REPLIES_MAX))
		fd_signal(v->again.fd);
}

/* ---- from the guest ---- */

static bool packet_get(struct chain *chain, struct vsock_packet *ret)
{
	struct vsock_header h;

	if (!chain_get(chain, &h, sizeof(h)))
		return false;
	*ret = (struct vsock_packet){
		.src_cid = le64_get(h.src_cid),
		.dst_cid = le64_get(h.dst_cid),
		.src_port = le32_get(h.src_port),
		.dst_port = le32_get(h.dst_port),
		.len = le32_get(h.len),
		.type = le16_get(h.type),
		.op = le16_get(h.op),
		.flags = le32_get(h.flags),
		.buf_alloc = le32_get(h.buf_alloc),
		.fwd_cnt = le32_get(h.fwd_cnt),
	};
	return true;
}

/* Room for the reply was made sure of before the packet was taken. */
static void refuse(struct vsock *v, const struct vsock_packet *p)
{
	if (p->op == VIRTIO_VSOCK_OP_RST)
		return;
	vsock_count(v, VSOCK_REFUSED);
	v->reply[(v->reply_at + v->nreplies++) % VSOCK_REPLIES_MAX] = *p;
}

static void request(struct vsock *v, const struct vsock_packet *p)
{
	struct conn *c = p->len == 0 && p->fwd_cnt == 0 ? conn_new(v, CONN_CONNECTING) : NULL;

	if (!c) {
		refuse(v, p);
		return;
	}
	conn_ports_set(c, p->src_port, p->dst_port);
	c->peer_buf_alloc = p->buf_alloc;
	host_connect(c);
}

static void tx_packet(struct vsock *v, struct chain *chain)
{
	struct vsock_packet p;
	struct conn *c;

	if (!packet_get(chain, &p)) {
		vsock_malformed(v);
		log_limited(&v->log, "packet of %u bytes, shorter than its header",
			    chain_left(chain, CHAIN_READABLE));
		return;
	}
	if (p.src_cid != v->cid || p.dst_cid != VSOCK_HOST_CID ||
	    p.type != VIRTIO_VSOCK_TYPE_STREAM) {
		refuse(v, &p);
		return;
	}
	c = conn_find(v, p.src_port, p.dst_port);
	if (c)
		conn_receive(c, &p, chain);
	else if (p.op == VIRTIO_VSOCK_OP_REQUEST)
		request(v, &p);
	else
		refuse(v, &p);
}

static void tx_pump(struct vsock *v)
{
	struct vq *q = &v->device.queues[VSOCK_TX];
	unsigned turns = 0;

	if (!v->device.started || v->undecided)
		return;
	for (; turns < VSOCK_BATCH_MAX && v->nreplies < VSOCK_REPLIES_MAX; turns++) {
		if (!vq_pop(q, &v->tx))
			break;
		tx_packet(v, &v->tx);
		vq_push(q, &v->tx);
	}
	v->tx_stalled = v->nreplies == VSOCK_REPLIES_MAX;
	vq_notify(q);
	if (turns == VSOCK_BATCH_MAX)
		fd_signal(v->again.fd);
	vsock_rx_pump(v);
}

/* ---- events ---- */

static void event_pump(struct vsock *v)
{
	const le32 id = le32_of(VIRTIO_VSOCK_EVENT_TRANSPORT_RESET);
	struct vq *q = &v->device.queues[VSOCK_EVENT];

	if (!v->reset_due || v->undecided || !vq_pop(q, &v->tx))
		return;
	v->reset_due = false;
	if (!chain_put(&v->tx, &id, sizeof(id)))
		vq_break(q, "event buffer too small");
	vq_push(q, &v->tx);
	vq_notify(q);
}

/* The receive queue says whether this is a driver that has just begun. */
static void decide(struct vsock *v)
{
	v->undecided = false;
	if (v->device.queues[VSOCK_RX].resumed && !v->has_history)
		v->reset_due = true;
	v->has_history = true;
}

static void vsock_kick(struct device *d, unsigned q)
{
	struct vsock *v = vsock_of(d);

	if (v->undecided && d->queues[VSOCK_RX].started)
		decide(v);
	if (q == VSOCK_EVENT || v->reset_due)
		event_pump(v);
	if (q == VSOCK_TX || v->tx_stalled)
		tx_pump(v);
	else
		vsock_rx_pump(v);
}

static void again_ready(struct watch *w, uint32_t events)
{
	struct vsock *v = container_of(w, struct vsock, again);

	(void)events;
	fd_drain(w->fd);
	if (v->device.started)
		tx_pump(v);
}

/* ---- life ---- */

static int vsock_start(struct device *d, struct err *e)
{
	struct vsock *v = vsock_of(d);

	(void)e;
	v->undecided = true;
	return 0;
}

/* The buffer that is held was not touched, and is the last that was popped. */
static void vsock_stop(struct device *d)
{
	vsock_of(d)->has_rx = false;
}

static void vsock_reset(struct device *d)
{
	struct vsock *v = vsock_of(d);

	conns_drop(v);
	v->nreplies = 0;
	v->tx_stalled = v->reset_due = v->has_history = false;
}

static void vsock_defaults(struct device *d)
{
	struct vsock *v = vsock_of(d);

	v->again = (struct watch){.fd = -1, .ready = again_ready};
	v->listen_watch.fd = v->connector.sock = v->retry.watch.fd = -1;
	v->buffer_bytes = 128 << 10;
	v->connections = 1024;
}

static int vsock_check(const struct device *d, struct err *e)
{
	const struct vsock *v = container_of(d, const struct vsock, device);

	if (v->cid == 0)
		return err_say(e, EINVAL, "cid=N is missing");
	if (!v->socket)
		return err_say(e, EINVAL, "socket=PATH is missing");
	return 0;
}

static int vsock_keep(struct device *d, struct err *e)
{
	return host_keep(vsock_of(d), e);
}

static int vsock_open(struct device *d, struct err *e)
{
	struct vsock *v = vsock_of(d);
	int r;

	while (!is_power_of_two(v->buffer_bytes)) /* up: the ring buffer counts in 32 bits */
		v->buffer_bytes += v->buffer_bytes & -v->buffer_bytes;
	vsock_count_open(v);
	if (conns_init(v) < 0)
		return err_set(e, ENOMEM, "cannot make %u connections", v->connections);
	v->again.fd = fd_eventfd();
	r = v->again.fd < 0 ? v->again.fd : loop_add(d->loop, &v->again, EPOLLIN);
	return r < 0 ? err_set(e, -r, "cannot make an eventfd") : host_open(v, e);
}

static void vsock_close(struct device *d)
{
	struct vsock *v = vsock_of(d);

	host_close(v);
	conns_fini(v);
	if (v->again.fd >= 0)
		loop_remove(d->loop, &v->again);
	fd_close(&v->again.fd);
}

static void vsock_config(struct device *d, void *out)
{
	const struct virtio_vsock_config config = {.guest_cid = vsock_of(d)->cid};

	memcpy(out, &config, sizeof(config));
}

static const struct counter vsock_counters[] = {
	DEVICE_COUNTER(VSOCK_OPEN) = {"connections", COUNTER_LEVEL, "Connections now"},
	DEVICE_COUNTER(VSOCK_ACCEPTED) = {"accepted", COUNTER_EVENTS, "Connections that were made"},
	DEVICE_COUNTER(VSOCK_REFUSED) = {"refused", COUNTER_EVENTS, "Connections that did not"},
	DEVICE_COUNTER(VSOCK_MALFORMED) = {"malformed", COUNTER_EVENTS, "Packets that cannot be"},
	DEVICE_COUNTER(VSOCK_COUNTERS_END) = {.name = NULL},
};

static void vsock_status(struct device *d, struct json *reply)
{
	const struct vsock *v = vsock_of(d);

	json_number(reply, "cid", v->cid);
}

static const struct opt vsock_opts[] = {
	OPT_NUMBER(struct vsock, cid, 3, UINT32_MAX - 1, "Context id of the guest"),
	OPT_TEXT(struct vsock, socket, "PATH",
		 "UNIX socket for programs; the guest's connections to port P go to PATH_P"),
	OPT_NUMBER(struct vsock, connections, 1, VSOCK_CONNECTIONS_MAX,
		   "Connections at the same time"),
	{.name = "buffer", .kind = OPT_KIND_SIZE,
	 .offset = OPT_OFFSET(struct vsock, buffer_bytes, uint64_t), .min = BUFFER_MIN,
	 .max = BUFFER_MAX, .value = "SIZE",
	 .help = "Bytes kept for a program that does not read, for each connection"},
	OPT_END
};

static const struct call vsock_calls[] = {
	CALL(accept4),
	CALL(recvfrom), /* recv() */
	CALL(sendto),	/* send() */
	CALL(shutdown),
	CALL(timerfd_settime),
	CALL_ARG(madvise, 2, MADV_DONTNEED),
	CALL_END,
};

const struct device_type vsock_type = {
	.name = "vsock",
	.summary = "Virtual sockets, through UNIX sockets",
	.virtio_id = VIRTIO_ID_VSOCK,
	.nqueues = VSOCK_QUEUES,
	.size = sizeof(struct vsock),
	.config_size = sizeof(struct virtio_vsock_config),
	.fds = VSOCK_CONNECTIONS_MAX + 4, /* listening; connector, again, retry */
	.opts = vsock_opts,
	.calls = vsock_calls,
	.check = vsock_check,
	.defaults = vsock_defaults,
	.keep = vsock_keep,
	.open = vsock_open,
	.kick = vsock_kick,
	.start = vsock_start,
	.stop = vsock_stop,
	.reset = vsock_reset,
	.close = vsock_close,
	.config = vsock_config,
	.counters = vsock_counters,
	.status = vsock_status,
};
