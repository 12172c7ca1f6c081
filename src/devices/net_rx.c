/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * net_rx.c - frames from the back end into the guest's buffers
 *
 *	held chains -> receive: header and peek to us, the rest to the chains
 *		    -> filter -> vq_push_all
 *
 * The kernel writes a frame straight into the buffers that lie next in the queue; only the header
 * and the first bytes, which the filter looks at, are copied.  How long a frame is shows when it is
 * there: buffers for a usual one are offered, and what does not fit lands in rx->rest, is copied
 * from there once there are more buffers, and makes longer frames usual.
 *
 *  I1  Chains are pushed in the order in which they were popped, and all that one frame fills at
 *	once.  Those that are held when a session ends are popped again in the next.
 *  I2  While no buffer is held nothing is received and the descriptor is not watched: the driver's
 *	kick makes us go on.
 *  I3  A chain's cursors move only when its frame is complete, so a frame can be dropped before.
 */
#include "devices/net.h"

#include "base/iov.h"
#include "base/num.h"

#include <errno.h>
#include <linux/virtio_net.h>
#include <stdlib.h>
#include <string.h>

enum {
	BATCH = 32,	/* frames between two looks at whether the driver wants an interrupt */
	TURN_MAX = 256, /* frames of a pair before others get their turn */
	HEAD_BYTES = NET_HEADER_BYTES + NET_PEEK_BYTES, /* of a frame, that are with us */
	WANTED_MIN = 2048,
	REST_BYTES = NET_HEADER_BYTES + NET_FRAME_MAX,
};

static_assert(sizeof(struct net_rx_head) == HEAD_BYTES, "without a gap");

int net_rx_init(struct net_rx *rx, struct err *e)
{
	rx->chains = calloc(NET_HELD_MAX, sizeof(*rx->chains));
	rx->rest = calloc(1, REST_BYTES);
	rx->wanted = WANTED_MIN;
	return rx->chains && rx->rest ? 0 : err_set(e, ENOMEM, "cannot make receive buffers");
}

void net_rx_fini(struct net_rx *rx)
{
	free(rx->chains);
	free(rx->rest);
	rx->chains = NULL;
	rx->rest = NULL;
}

static bool is_mergeable(const struct net_pair *p)
{
	return net_has(p->net, VIRTIO_NET_F_MRG_RXBUF);
}

static struct chain *held(struct net_rx *rx, unsigned i)
{
	return &rx->chains[(rx->first + i) % NET_HELD_MAX];
}

/* Pops until there is room for so much, or nothing more to pop. */
static void hold(struct net_pair *p, size_t bytes)
{
	unsigned limit = is_mergeable(p) ? NET_HELD_MAX : 1;
	struct vq *q = net_rx_queue(p);
	struct net_rx *rx = &p->rx;

	while (rx->held_bytes < bytes && rx->nheld < limit) {
		struct chain *c = held(rx, rx->nheld);

		if (!vq_pop(q, c))
			return;
		if (chain_left(c, CHAIN_WRITABLE) < NET_HEADER_BYTES) {
			vq_break(q, "receive buffer without room for a header");
			return;
		}
		chain_prefetch(c); /* its header is written once a frame is there */
		rx->nheld++;
		rx->held_bytes += chain_left(c, CHAIN_WRITABLE);
	}
}

/* The chains behind the first HEAD_BYTES, at most max pieces; sets how many bytes these are. */
static unsigned room_iov(struct net_rx *rx, struct iovec *v, unsigned max, size_t *ret_bytes)
{
	unsigned n = 0;

	*ret_bytes = 0;
	if (rx->nheld == 0 || chain_left(held(rx, 0), CHAIN_WRITABLE) <= HEAD_BYTES)
		return 0;
	for (unsigned i = 0; i < rx->nheld; i++) {
		struct iov_at at = {0};
		struct iovec storage;
		unsigned part;

		at.v = chain_iov(held(rx, i), CHAIN_WRITABLE, &at.n);
		if (i == 0)
			iov_at_skip(&at, HEAD_BYTES);
		while (n < max) {
			const struct iovec *some = iov_at_next(&at, &storage, max - n, &part);
			size_t bytes = iov_length(some, part);

			if (part == 0)
				break;
			memcpy(&v[n], some, part * sizeof(*some));
			n += part;
			*ret_bytes += bytes;
			iov_at_skip(&at, bytes);
		}
		if (at.n > 0)
			break; /* no piece may be left out between two chains */
	}
	return n;
}

/* Receives a frame; 0 or -errno. */
static int receive(struct net_pair *p)
{
	struct net_backend *b = p->net->backend;
	struct net_rx *rx = &p->rx;
	struct iovec *v = rx->iov;
	unsigned n = 1;
	size_t room;
	ssize_t r;

	v[0] = iov_of(&rx->head, sizeof(rx->head));
	n += room_iov(rx, &v[1], NET_RX_PIECES_MAX, &room);
	v[n++] = iov_of(rx->rest, REST_BYTES);
	r = b->ops->receive(b, p->index, v, n);
	if (r < 0)
		return (int)r;
	rx->total = min_size((size_t)r, HEAD_BYTES + room + REST_BYTES);
	rx->direct = rx->total > HEAD_BYTES ? min_size(rx->total - HEAD_BYTES, room) : 0;
	return 0;
}

/* Writes bytes [at, at + n) of the frame into the chain, or finds them there. */
static void fill(struct net_rx *rx, struct chain *c, size_t at, size_t n)
{
	const struct {
		const uint8_t *from; /* NULL: they are in place */
		size_t begin, end;
	} parts[] = {
		{(const uint8_t *)&rx->head, 0, HEAD_BYTES},
		{NULL, HEAD_BYTES, HEAD_BYTES + rx->direct},
		{rx->rest, HEAD_BYTES + rx->direct, SIZE_MAX},
	};
	bool fits = true;

	for (size_t i = 0; i < ARRAY_LEN(parts) && n > 0; i++) {
		size_t part;

		if (at >= parts[i].end)
			continue;
		part = min_size(n, parts[i].end - at);
		if (parts[i].from)
			fits &= chain_put(c, parts[i].from + (at - parts[i].begin), part);
		else
			fits &= chain_skip(c, CHAIN_WRITABLE, part);
		at += part;
		n -= part;
	}
	assert(fits); /* deliver() asked for no more than there is room */
}

static unsigned chains_for(struct net_rx *rx, size_t bytes)
{
	unsigned n = 0;

	for (size_t room = 0; room < bytes; n++)
		room += chain_left(held(rx, n), CHAIN_WRITABLE);
	return n;
}

/* The frame is complete and there is room. */
static void deliver(struct net_pair *p)
{
	struct net_rx *rx = &p->rx;
	struct chain **chains = rx->filled;
	unsigned n = chains_for(rx, rx->total);
	size_t at = 0;

	rx->head.header.num_buffers = le16_of((uint16_t)n);
	if (!net_has(p->net, VIRTIO_NET_F_GUEST_CSUM))
		rx->head.header.flags = 0;
	for (unsigned i = 0; i < n; i++) {
		struct chain *c = held(rx, i);
		size_t room = chain_left(c, CHAIN_WRITABLE);
		size_t part = min_size(room, rx->total - at);

		fill(rx, c, at, part);
		at += part;
		chains[i] = c;
		rx->held_bytes -= room;
	}
	vq_push_all(net_rx_queue(p), chains, n);
	rx->first = (rx->first + n) % NET_HELD_MAX;
	rx->nheld -= n;
	net_count(p->net, NET_RX_FRAMES, 1);
	net_count(p->net, NET_RX_BYTES, rx->total - NET_HEADER_BYTES);
}

/* Longer frames are wanted at once, shorter ones by and by. */
static void learn(struct net_rx *rx)
{
	if (rx->total > rx->wanted)
		rx->wanted = REST_BYTES;
	else if (rx->wanted > WANTED_MIN)
		rx->wanted -= (rx->wanted - rx->total) / 64 + 1;
}

/* Whether the frame can be done with: it was delivered or dropped. */
static bool settle(struct net_pair *p)
{
	struct net_rx *rx = &p->rx;

	if (rx->held_bytes < rx->total)
		hold(p, rx->total);
	rx->is_pending = false;
	if (rx->held_bytes >= rx->total) {
		deliver(p);
		return true;
	}
	if (rx->nheld < (is_mergeable(p) ? NET_HELD_MAX : 1)) {
		rx->is_pending = true;
		return false;
	}
	net_count(p->net, NET_RX_DROPPED, 1);
	log_limited(&p->net->complaints, "frame of %zu bytes is too long for the guest's buffers",
		    rx->total - NET_HEADER_BYTES);
	return true;
}

/* One frame; false: none is there, or no room for it. */
static bool receive_one(struct net_pair *p)
{
	struct net *n = p->net;
	struct net_rx *rx = &p->rx;
	int r;

	if (rx->is_pending)
		return settle(p);
	if (!limit_may_go(&n->gate.rx))
		return false;
	hold(p, rx->wanted);
	rx->is_starved = rx->nheld == 0 && !n->link_down;
	if (rx->is_starved)
		return false;
	r = receive(p);
	if (r < 0) {
		p->is_dead = r != -EAGAIN && r != -EINTR;
		return false;
	}
	limit_take(&n->gate.rx, rx->total);
	learn(rx);
	if (n->link_down || rx->total < NET_HEADER_BYTES) {
		net_count(n, NET_RX_DROPPED, 1);
		return true;
	}
	if (!net_filter_passes(n, rx->head.peek, rx->total - NET_HEADER_BYTES)) {
		net_count(n, NET_RX_FILTERED, 1);
		return true;
	}
	return settle(p);
}

void net_rx_serve(struct net_pair *p)
{
	unsigned turn = 0;

	while (turn < TURN_MAX && receive_one(p)) {
		turn++;
		if (turn == 1 || turn % BATCH == 0) /* the first waits for no other */
			vq_notify(net_rx_queue(p));
	}
	vq_notify(net_rx_queue(p));
	p->rx.is_starved |= p->rx.is_pending;
	if (turn == TURN_MAX)
		net_again(p->net, &p->net->again_rx, p->index); /* it may be in a buffer of ours */
	net_pair_watch(p);
}

void net_rx_stop(struct net_pair *p)
{
	p->rx.is_starved = p->rx.is_pending = false;
	p->rx.nheld = p->rx.first = 0;
	p->rx.held_bytes = 0;
}
