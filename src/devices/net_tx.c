/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * net_tx.c - frames from the guest to the back end
 *
 *	vq_pop -> header copied and checked -> net_frame_judge() -> send -> vq_push
 *
 * The kernel reads a frame where the guest has it, behind a header that was copied before it was
 * checked.  What somebody has to look at is copied too, and sent from the copy.
 *
 *  I1  A pair holds at most one chain, that of the frame to be sent next.  While it is held nothing
 *	is popped, so frames keep their order.
 *  I2  Whatever becomes of a frame, its chain is pushed.
 */
#include "devices/net.h"

#include "base/iov.h"
#include "base/num.h"

#include <errno.h>
#include <string.h>

enum {
	BATCH = 32,	/* frames between two looks at whether the driver wants an interrupt */
	TURN_MAX = 256, /* frames of a pair before others get their turn */
};

/* Takes the header off the chain and checks it. */
static bool frame_begin(struct net *n, struct net_frame *f, struct chain *c)
{
	const char *wrong = "frame without a header";

	if (chain_get(c, &f->header, sizeof(f->header))) {
		f->length = chain_left(c, CHAIN_READABLE);
		wrong = net_header_check(&f->header, n->device.acked, f->length);
	}
	if (wrong) {
		net_count(n, NET_TX_MALFORMED, 1);
		device_count(&n->device, DEVICE_ERRORS, 1);
		log_limited(&n->complaints, "frame refused: %s", wrong);
		return false;
	}
	f->head_bytes = (uint32_t)min_size(f->length, n->head_bytes);
	return chain_get(c, f->head, f->head_bytes);
}

static int frame_send(struct net_pair *p)
{
	struct net_tx *tx = &p->tx;
	struct iovec *v = tx->iov;
	struct net_backend *b = p->net->backend;
	unsigned n = 0, nrest;
	const struct iovec *rest = chain_iov(&tx->chain, CHAIN_READABLE, &nrest);

	v[n++] = iov_of(&tx->frame.header, sizeof(tx->frame.header));
	if (tx->frame.head_bytes > 0)
		v[n++] = iov_of(tx->frame.head, tx->frame.head_bytes);
	memcpy(&v[n], rest, nrest * sizeof(*rest));
	return b->ops->send(b, p->index, v, n + nrest);
}

/* False: the frame stays where it is. */
static bool frame_out(struct net_pair *p)
{
	struct net_tx *tx = &p->tx;
	int r;

	switch (tx->is_passed ? NET_PASS : net_frame_judge(p->net, &tx->frame)) {
	case NET_WAIT:
		return false;
	case NET_REFUSE:
		net_count(p->net, NET_TX_REFUSED, 1);
		return true;
	case NET_DROP:
		net_count(p->net, NET_TX_DROPPED, 1);
		return true;
	case NET_PASS:
		break;
	}
	tx->is_passed = true;
	r = frame_send(p);
	if (r == -EAGAIN) {
		tx->is_blocked = true;
		return false;
	}
	if (r < 0) {
		net_count(p->net, NET_TX_DROPPED, 1);
		return true;
	}
	net_count(p->net, NET_TX_FRAMES, 1);
	net_count(p->net, NET_TX_BYTES, tx->frame.length);
	return true;
}

/* Sends up to limit frames, those counted that cannot be; how many. */
static unsigned send_some(struct net_pair *p, unsigned limit)
{
	struct vq *q = net_tx_queue(p);
	struct net_tx *tx = &p->tx;
	unsigned n = 0;

	for (; n < limit && (tx->is_held || vq_pop(q, &tx->chain)); n++) {
		if (!tx->is_held)
			tx->is_held = frame_begin(p->net, &tx->frame, &tx->chain);
		if (tx->is_held && !frame_out(p))
			break;
		vq_push(q, &tx->chain);
		tx->is_held = tx->is_passed = false;
	}
	vq_notify(q);
	return n;
}

/*
 * While we look ourselves the driver need not kick; at the end, and before the last look, it must.
 */
void net_tx_serve(struct net_pair *p)
{
	struct vq *q = net_tx_queue(p);
	unsigned turn = 0, n;

	p->tx.is_blocked = false;
	vq_polling_set(q, true);
	do {
		n = send_some(p, BATCH);
		turn += n;
	} while (n == BATCH && turn < TURN_MAX);
	if (p->tx.is_held) {
		net_pair_watch(p);
		return;
	}
	vq_polling_set(q, false);
	if (n == BATCH || send_some(p, BATCH) == BATCH)
		net_again(p->net, &p->net->again_tx, p->index);
	net_pair_watch(p);
}

void net_tx_resume(struct net *n)
{
	for (unsigned i = 0; i < n->backend->pairs && n->device.started; i++)
		if (n->pairs[i].tx.is_held && !n->pairs[i].tx.is_blocked)
			net_tx_serve(&n->pairs[i]);
}

/* The chain is popped again, by us or by who comes after us. */
void net_tx_stop(struct net_pair *p)
{
	p->tx.is_held = p->tx.is_passed = p->tx.is_blocked = false;
	vq_polling_set(net_tx_queue(p), false);
}
