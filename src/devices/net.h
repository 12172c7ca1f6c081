/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * net.h - network card; for net*.c only
 *
 *	net.c		options, life, configuration space, commands
 *	net_rx.c	frames from the back end into the guest's buffers
 *	net_tx.c	frames from the guest to the back end
 *	net_gate.c	which of them may pass, and how many
 *	net_ctrl.c	control queue: filters, pairs of queues, offloads
 *	net_header.c	the header in front of every frame
 *	net_vhost.c	instead of the first two: the kernel
 */
#pragma once

#include "backend/egress_log.h"
#include "backend/net_backend.h"
#include "backend/passt.h"
#include "backend/stream.h"
#include "backend/tap.h"
#include "base/log.h"
#include "devices/device.h"
#include "devices/limit.h"
#include "devices/net_header.h"

#include <assert.h>

enum {
	NET_MAC_BYTES = 6,
	NET_MACS_MAX = 64, /* that the driver may list; more mean all */
	NET_VLANS = 4096,

	/* Buffers in hand for one frame: 64 KiB in pieces of 1 KiB. */
	NET_HELD_MAX = 64,

	/* Pieces of memory that a frame is received into. */
	NET_RX_PIECES_MAX = 256,

	/* What of a frame to the guest goes through us: Ethernet header and tag. */
	NET_PEEK_BYTES = 18,

	/* What of a frame from the guest is copied for who has to look at it. */
	NET_HEAD_MAX = 256,
};

static_assert(sizeof(struct net_header) == NET_HEADER_BYTES, "as back ends have it");

/* ---- frames from the guest ---- */

/* One frame.  The guest can change what it gave us, but not what is here. */
struct net_frame {
	struct net_header header; /* checked */
	uint32_t length;	  /* bytes of the frame, without the header */
	uint32_t head_bytes;	  /* the first so many, sent from here: n->head_bytes at most */
	uint8_t head[NET_HEAD_MAX];
};

enum net_verdict {
	NET_PASS,
	NET_REFUSE, /* by a rule */
	NET_DROP,   /* there is no link */
	NET_WAIT,   /* offer it again after net_tx_resume() */
};

struct net_tx {
	bool is_held;	 /* chain and frame are waiting to be sent */
	bool is_passed;	 /* the one that is held was judged, and paid for */
	bool is_blocked; /* until the back end's descriptor is writable */
	struct net_frame frame;
	struct iovec iov[CHAIN_IOV_MAX + 2]; /* what is sent; on a stack it would be cleared */
	struct chain chain;
};

/* ---- frames to the guest ---- */

struct net_rx {
	bool is_starved; /* no buffers: until the driver kicks */
	bool is_pending; /* a frame was received that needs more buffers than there are */
	unsigned first, nheld; /* of chains, a ring */
	size_t held_bytes;     /* room in all of them */
	size_t wanted;         /* room that is usual for a frame */

	/* Of the frame that was received last. */
	size_t total;  /* bytes with header */
	size_t direct; /* of these, behind the peek, already in the chains */
	struct net_rx_head {
		struct net_header header;
		uint8_t peek[NET_PEEK_BYTES];
	} head; /* received as one piece */
	uint8_t *rest; /* what found no room; NET_HEADER_BYTES + NET_FRAME_MAX */

	/* Where it is received, and what it fills; not on the stack, to be cleared there. */
	struct iovec iov[NET_RX_PIECES_MAX + 2];
	struct chain *filled[NET_HELD_MAX];

	struct chain *chains; /* NET_HELD_MAX */
};

struct net_pair {
	struct net *net;
	unsigned index;
	struct watch watch;
	uint32_t events; /* watched for; 0: not on the loop */
	bool is_dead;    /* its descriptor has failed */
	struct net_rx rx;
	struct net_tx tx;
};

/* What the driver asked for by the control queue. */
struct net_driver_state {
	uint16_t pairs;
	uint64_t offloads; /* VIRTIO_BIT(VIRTIO_NET_F_GUEST_...) */
	uint8_t has_offloads; /* it said which; else all that were agreed on */
	uint8_t promiscuous, all_multicast, all_unicast, no_multicast, no_unicast, no_broadcast;
	uint8_t has_mac;
	uint8_t mac[NET_MAC_BYTES];
	uint8_t too_many_unicast, too_many_multicast;
	uint16_t nmacs;
	uint8_t macs[NET_MACS_MAX][NET_MAC_BYTES];
	uint64_t vlans[NET_VLANS / 64];
};

/* What the next process has to know.  Anything may stand there, so nothing of it is a bool. */
struct net_state {
	uint8_t is_set, link_down;
	struct net_driver_state driver;
};

/* What they mean is in the table of net.c. */
enum net_counter {
	NET_RX_FRAMES = DEVICE_COUNTERS,
	NET_RX_BYTES,
	NET_RX_DROPPED,
	NET_RX_FILTERED,
	NET_TX_FRAMES,
	NET_TX_BYTES,
	NET_TX_MALFORMED,
	NET_TX_REFUSED,
	NET_TX_DROPPED,
	NET_COUNTERS_END,
};

struct net_gate {
	struct egress rules;
	struct egress_log log;
	uint64_t refused[EGRESS_VERDICTS]; /* why */
	struct limit tx, rx;
};

struct net {
	struct device device;

	/* Options. */
	char *tap, *host_ip, *netmask;
	uint32_t tap_fd, queues, mtu;
	struct opt_mac mac;
	bool vhost;
	bool user, host_loopback;
	char *forward, *allow, *deny, *log;
	uint64_t bps;
	uint32_t pps, burst;

	struct net_backend *backend; /* one of: */
	struct tap tap_backend;
	struct stream stream_backend;
	struct passt passt; /* at the other end of the stream */
	struct net_gate gate;

	struct net_pair pairs[NET_PAIRS_MAX];
	struct net_driver_state driver;
	struct chain ctrl_chain;
	uint32_t head_bytes; /* what net_frame_judge() needs to see, at most NET_HEAD_MAX */
	uint32_t again_rx, again_tx; /* bit i: pair i has more to do than one turn allows */
	uint32_t again_ctrl;	     /* bit 0: so has the control queue */
	struct watch again;
	bool link_down;

	int vhost_fd[NET_PAIRS_MAX];
	uint64_t vhost_features; /* that the kernel knows */
	uint32_t vhost_rings;	 /* bit q: the kernel has queue q */
	struct log_limit complaints;
};

static inline struct net *net_of(struct device *d)
{
	return container_of(d, struct net, device);
}

/* 5.1.2: receive and transmit queues take turns. */
static inline struct vq *net_rx_queue(struct net_pair *p)
{
	return &p->net->device.queues[2 * p->index];
}

static inline struct vq *net_tx_queue(struct net_pair *p)
{
	return &p->net->device.queues[2 * p->index + 1];
}

static inline void net_count(struct net *n, enum net_counter counter, uint64_t by)
{
	device_count(&n->device, counter, by);
}

static inline bool net_has(const struct net *n, unsigned feature)
{
	return n->device.acked >> feature & 1;
}

/* ---- net.c ---- */

/* Waits for what the pair needs. */
void net_pair_watch(struct net_pair *p);

/* Goes on with the pair's queue after others had their turn; bits of one of n->again_*. */
void net_again(struct net *n, uint32_t *bits, unsigned pair);

/* ---- net_rx.c ---- */

int net_rx_init(struct net_rx *rx, struct err *e) MUST_CHECK;
void net_rx_fini(struct net_rx *rx);

/* Of a pair that the driver uses: without VIRTIO_NET_F_MQ queue 2 is the control queue. */
void net_rx_serve(struct net_pair *p);
void net_rx_stop(struct net_pair *p);

/* ---- net_tx.c ---- */

void net_tx_serve(struct net_pair *p);
void net_tx_stop(struct net_pair *p);

/* What was told to wait is offered again. */
void net_tx_resume(struct net *n);

/* ---- net_gate.c ---- */

/* init: nothing is open; open: before the jail; close: in every state after init. */
void net_gate_init(struct net *n);
/* Whether rules and limits can be read, and go with the rest of the options. */
int net_gate_check(const struct net *n, struct err *e) MUST_CHECK;
int net_gate_open(struct net *n, struct err *e) MUST_CHECK;
void net_gate_close(struct net *n);

/*
 * Every frame of the guest passes here, once its header was found sound, before it is sent, and
 * pays when it may pass.  Looks at f->head only, of which n->head_bytes say how much it needs.
 */
enum net_verdict net_frame_judge(struct net *n, const struct net_frame *f);

/* For each direction. */
void net_gate_limit(struct net *n, const struct limit_values *v);

void net_gate_status(const struct net *n, struct json *reply);

/* ---- net_ctrl.c ---- */

/* Back to what holds before the first command. */
void net_driver_state_reset(struct net *n);

/* At start: takes over what the process before us noted, has the back end do it, and notes it. */
void net_driver_state_apply(struct net *n);

/* After every change of n->driver or n->link_down. */
void net_state_save(struct net *n);

/* Which queue it is depends on whether the driver knows several pairs (5.1.2). */
bool net_is_ctrl(const struct net *n, unsigned queue);
void net_ctrl_serve(struct net *n);

/* Whether the driver wants a frame that begins so; bytes: how much of it there is. */
bool net_filter_passes(const struct net *n, const uint8_t *frame, size_t bytes);

/* ---- net_vhost.c: each where the hook of struct device_type is ---- */

int net_vhost_open(struct net *n, struct err *e) MUST_CHECK;
int net_vhost_prepare(struct net *n, struct err *e) MUST_CHECK;
int net_vhost_start(struct net *n, struct err *e) MUST_CHECK;

/* Queue q has become live. */
void net_vhost_kick(struct net *n, unsigned q);
void net_vhost_stop(struct net *n);

/* n->link_down has changed. */
void net_vhost_link(struct net *n);
void net_vhost_close(struct net *n);
