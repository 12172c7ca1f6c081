/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * vsock.h - virtual sockets (virtio 1.2, 5.10) that need nothing of the host's kernel
 *
 *	vsock.c		the queues: packets taken from the guest, packets waiting to go to it
 *	vsock_conn.c	connections: what a packet does to one, credit, bytes in both directions
 *	vsock_host.c	the host's side: the socket that programs connect to, and theirs
 *
 * A connection is a UNIX socket on one side and a pair of ports on the other.  States:
 *
 *	FREE -> COMMAND -> REQUESTED -> OPEN		a host program writes "CONNECT P"
 *	FREE -> CONNECTING -> OPEN			the guest connects to port P: PATH_P
 *	OPEN -> DRAINING -> FREE			the host still gets its bytes
 *	any but FREE -> RESETTING -> FREE		the guest still has to be told
 *
 *  C1  rx_count - forwarded is what the ring buffer holds, at most buffer_bytes: what the guest was
 *	promised.  A guest that sends more is reset.
 *  C2  tx_count - peer_forwarded is never above what the guest said it has room for.
 *  C3  A connection is in the table of ports exactly in the states REQUESTED, CONNECTING, OPEN and
 *	RESETTING.
 *  C4  Bytes of the host are read only into a buffer of the guest: nothing is held here.  Without a
 *	buffer, or credit, the socket is not watched.
 *  C5  What the guest must be told of a connection is a set of bits, so it cannot pile up; answers
 *	to packets of no connection are kept in a ring, and when it is full no packet is taken.
 */
#pragma once

#include "base/log.h"
#include "base/loop.h"
#include "base/wire.h"
#include "devices/device.h"
#include "jail/connector.h"
#include "virtio/vq.h"

#include <assert.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

enum { VSOCK_RX, VSOCK_TX, VSOCK_EVENT, VSOCK_QUEUES };

enum {
	VSOCK_HOST_CID = 2,
	VSOCK_CONNECTIONS_MAX = 4096, /* what the option may ask for; each is an open file */
	VSOCK_REPLIES_MAX = 256,      /* as many as a queue has packets */
	VSOCK_COMMAND_MAX = 24,	      /* "CONNECT 4294967295\n" and room */
	VSOCK_BATCH_MAX = 256,	      /* packets in a row before others get their turn */
};

/* 5.10.6 */
struct vsock_header {
	le64 src_cid, dst_cid;
	le32 src_port, dst_port, len;
	le16 type, op;
	le32 flags, buf_alloc, fwd_cnt;
};
static_assert(sizeof(struct vsock_header) == 44, "virtio 1.2, 5.10.6");

/* Its fields as numbers; which port is whose depends on the direction. */
struct vsock_packet {
	uint64_t src_cid, dst_cid;
	uint32_t src_port, dst_port, len;
	uint16_t type, op;
	uint32_t flags, buf_alloc, fwd_cnt;
};

enum conn_state {
	CONN_FREE,
	CONN_COMMAND,	 /* a host program has yet to say which port it wants */
	CONN_REQUESTED,	 /* the guest has yet to answer */
	CONN_CONNECTING, /* the guest asked, the host's socket is not connected yet */
	CONN_OPEN,
	CONN_DRAINING,	 /* forgotten by the guest */
	CONN_RESETTING,	 /* no socket any more */
};

/* What the guest is to be told, in this order. */
enum {
	TELL_REQUEST = 1 << 0,
	TELL_RESPONSE = 1 << 1,
	TELL_CREDIT = 1 << 2,
	ASK_CREDIT = 1 << 3,
	TELL_SHUTDOWN = 1 << 4,
	TELL_RESET = 1 << 5,
};

enum { WATCH_OFF = -1 }; /* not on the loop; 0: only the end of the other side */

struct conn {
	struct vsock *v;
	enum conn_state state;
	uint32_t guest_port, host_port;
	LIST_ENTRY(conn) by_ports;
	TAILQ_ENTRY(conn) link; /* of one of the lists of struct vsock, or none */
	bool is_waiting;	/* in v->waiting */

	struct watch watch; /* fd -1: none; owned */
	int watched;	    /* events, or WATCH_OFF */
	bool readable;	    /* the host has sent something, or its end */
	bool hung_up;	    /* the host has closed */

	unsigned tell;		     /* TELL_ */
	uint32_t guest_shut;	     /* VIRTIO_VSOCK_SHUTDOWN_ of the guest */
	uint32_t host_shut;	     /* the same of the host: what the guest is told */
	bool host_was_told;	     /* that the guest sends no more */

	uint32_t peer_buf_alloc, peer_forwarded, tx_count; /* to the guest */
	bool credit_asked;				   /* since the last news of it */
	uint32_t rx_count, forwarded, told_forwarded;	   /* from the guest */
	uint8_t *buffer;
	bool buffer_used;

	unsigned tries;			 /* CONNECTING */
	bool is_later;			 /* in v->later, not in v->connecting */
	char command[VSOCK_COMMAND_MAX]; /* COMMAND: what came so far */
	size_t command_bytes;
};

TAILQ_HEAD(conn_list, conn);
LIST_HEAD(conn_chain, conn);

struct vsock {
	struct device device;
	uint32_t cid;	       /* option */
	char *socket;	       /* option: path */
	uint64_t buffer_bytes; /* option: a connection's; a power of two */
	uint32_t connections;  /* option */

	struct conn *conn; /* connections of them */
	uint8_t *buffers;
	struct conn_chain *ports; /* nports, a power of two, chains */
	unsigned nports, open;

	struct conn_list free;
	struct conn_list waiting;    /* for a buffer of the guest; first come, first served */
	struct conn_list connecting; /* for the connector */
	struct conn_list later;	     /* the same, once the timer has run out */

	struct vsock_packet reply[VSOCK_REPLIES_MAX];
	unsigned reply_at, nreplies;
	bool tx_stalled; /* because of them */

	bool undecided;	    /* just started: are the driver's connections known here? */
	bool has_history;   /* they are: nobody else has served it since its reset */
	bool reset_due;	    /* the guest must hear that its connections are gone */
	bool has_rx;	    /* rx is popped and not pushed */
	struct chain rx, tx;
	struct watch again; /* an eventfd: a batch was full */

	struct watch listen_watch;
	bool is_listening;
	uint32_t next_port;
	struct connector connector;
	struct watch connector_watch;
	struct conn *asked; /* whom the next answer is for; NULL: nobody any more */
	bool is_asking;
	struct timer retry;

	struct log_limit log;
};

/* What they mean is in the table of vsock.c. */
enum vsock_counter {
	VSOCK_OPEN = DEVICE_COUNTERS, /* connections now: struct vsock has the number too */
	VSOCK_ACCEPTED,
	VSOCK_REFUSED,
	VSOCK_MALFORMED,
	VSOCK_COUNTERS_END,
};

static inline void vsock_count(struct vsock *v, enum vsock_counter counter)
{
	device_count(&v->device, counter, 1);
}

static inline void vsock_malformed(struct vsock *v)
{
	vsock_count(v, VSOCK_MALFORMED);
	device_count(&v->device, DEVICE_ERRORS, 1);
}

/* After a change of v->open. */
static inline void vsock_count_open(struct vsock *v)
{
	counter_set(&v->device.shared->counters[VSOCK_OPEN], v->open);
}

/* ---- vsock.c ---- */

/* Puts the connection in line for a buffer of the guest; vsock_rx_pump() serves it. */
void vsock_wait(struct conn *c);
void vsock_rx_pump(struct vsock *v);

/* ---- vsock_conn.c ---- */

/* Storage for all connections. -ENOMEM. */
int conns_init(struct vsock *v) MUST_CHECK;
void conns_fini(struct vsock *v);

/* Closes every connection without a word. */
void conns_drop(struct vsock *v);

/* A free connection in that state, or NULL. */
struct conn *conn_new(struct vsock *v, enum conn_state state);

/* Enters it into the table of ports. */
void conn_ports_set(struct conn *c, uint32_t guest_port, uint32_t host_port);
struct conn *conn_find(const struct vsock *v, uint32_t guest_port, uint32_t host_port);

/* The end, without a word to either side but that the socket is closed. */
void conn_free(struct conn *c);

/* The end; the guest will be told. */
void conn_reset(struct conn *c);

/* A packet of the guest for this connection; the chain is behind its header. */
void conn_receive(struct conn *c, const struct vsock_packet *p, struct chain *chain);

/*
 * Fills one buffer of the guest, at least header and one byte long.  False if there was nothing to
 * say.  *ret_more: there may be more.  The connection may be free afterwards.
 */
bool conn_fill(struct conn *c, struct chain *chain, bool *ret_more) MUST_CHECK;

/* What the loop is to look for; see WATCH_OFF. */
void conn_watch(struct conn *c, int events);

/* Takes the socket: data may flow. */
void conn_open_take(struct conn *c, int fd);

/* ---- vsock_host.c ---- */

/* Listens at the path; the descriptor outlives this process. */
int host_keep(struct vsock *v, struct err *e) MUST_CHECK;
int host_open(struct vsock *v, struct err *e) MUST_CHECK;
void host_close(struct vsock *v);

/* A guest's wish for host port c->host_port begins, or is forgotten. */
void host_connect(struct conn *c);
void host_connect_cancel(struct conn *c);

/* A connection in state COMMAND has something to read. */
void host_command(struct conn *c);

/* The guest has accepted; false if the program has gone. */
bool host_answer(struct conn *c);

/* Listens again if there is room for connections. */
void host_listen_update(struct vsock *v);
