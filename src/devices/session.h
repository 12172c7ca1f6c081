/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * session.h - one device, serving one vhost-user front end
 *
 * States of a ring:
 *
 *	empty --(size, addresses, base, kick fd, enabled)--> live --(GET_VRING_BASE)--> empty
 *
 *  N1  Rings are live, and the device is started, only between rings_resume() and rings_pause().
 *  N2  Guest memory and the in-flight log are mapped and unmapped only while all is paused.
 *  N3  A ring is live only with what was checked by ring_start(); size, addresses and base cannot
 *      be changed while it is.
 *  N4  A ring that broke stays so until it is set up anew; one that could not be started is tried
 *      again also when there is other memory.
 *
 * The front end is trusted to be the owner of the memory, with nothing else: indexes, sizes,
 * addresses and descriptors are checked.  What it does wrong is refused (with REPLY_ACK) or ends
 * the connection.
 */
#pragma once

#include "base/log.h"
#include "devices/device.h"
#include "jail/seccomp.h"
#include "mem/gmem.h"
#include "virtio/vhost_user.h"
#include "virtio/vq.h"

struct ring {
	struct session *session;
	unsigned index;
	uint32_t size, base;
	uint64_t desc, used, avail; /* the front end's user addresses */
	bool has_addresses, enabled, live;
	bool failed; /* could not be started */
	bool broken; /* was, when it was paused */
	bool is_kernels; /* while live: served by the kernel */
	int kick_fd, call_fd, err_fd;
	struct watch kick_watch; /* on the loop while live */
};

struct session {
	struct device *d;
	struct loop *loop;
	struct vu_conn conn; /* its socket is owned */
	struct watch conn_watch;
	struct vu_conn backend; /* the channel towards the front end; sock -1 while there is none */
	uint64_t protocol_features;
	uint64_t acked; /* with VU_F_PROTOCOL_FEATURES */
	uint8_t status;

	struct gmem gmem;
	uint64_t user[GMEM_REGIONS_MAX]; /* of gmem.regions[i], where the front end has it */

	void *inflight; /* the log of requests in flight, or NULL */
	size_t inflight_bytes;
	void *state; /* the device's, behind it; or NULL */
	unsigned inflight_queues, inflight_queue_size;

	struct ring rings[DEVICE_QUEUES_MAX];
	unsigned nrings;

	bool ended; /* the connection is no more */
	struct log_limit broken, unstartable, refused; /* lines that the guest can cause */

	/* The owner's, set before session_start_take(). on_end: the connection has ended. */
	void (*on_end)(struct session *s);
	void *owner;
	int inflight_fd; /* of inflight_file_create(), borrowed; -1: no logs are made */
};

/* Calls that a session makes, beyond seccomp_common; ended as usual. */
extern const struct call session_calls[];

/*
 * Begins to serve the socket (non-blocking), which it takes on success.  d->queues must have room
 * for d->nqueues; the device is open.  0 or -errno.
 */
int session_start_take(struct session *s, struct device *d, struct loop *l, int sock) MUST_CHECK;

/* Stops the device and gives back all that came from the front end.  Twice is fine. */
void session_fini(struct session *s);

/* The longest queue of the device. */
static inline uint32_t device_queue_size(const struct device *d)
{
	return d->type->queue_size ? d->type->queue_size : DEVICE_QUEUE_SIZE;
}

/* ---- session_rings.c ---- */

void rings_init(struct session *s);
void rings_fini(struct session *s);

/* Stops the device and all its queues; bases are kept. */
void rings_pause(struct session *s);

/* Starts every ring that has all it needs, and the device if there is one. */
void rings_resume(struct session *s);

/* Forgets what was wrong with a ring. */
static inline void ring_forgive(struct ring *r)
{
	r->failed = r->broken = false;
}

/* ---- session_memory.c ---- */

/* Replaces the memory table; fds are taken from the message. All is paused. 0 or -errno. */
int memory_set(struct session *s, struct vu_msg *m) MUST_CHECK;
int memory_add(struct session *s, struct vu_msg *m) MUST_CHECK;
int memory_remove(struct session *s, const struct vu_region *region) MUST_CHECK;
void memory_fini(struct session *s);

/* The guest address of a user address of the front end; false if it is in no region. */
bool memory_find(const struct session *s, uint64_t user, gpa *ret) MUST_CHECK;

/* A file of a sealed size with room for the log of every queue, made before the jail; or -errno. */
int inflight_file_create(const struct device *d) MUST_CHECK;

/* Begins a new log in that file and maps it; the front end is to keep the file. */
int inflight_create(struct session *s, struct vu_inflight *desc) MUST_CHECK;
int inflight_set(struct session *s, const struct vu_inflight *desc, int fd) MUST_CHECK;
void inflight_fini(struct session *s);

/* The part of a queue, or NULL without a log; cleared when the device is reset. */
void *inflight_of(const struct session *s, unsigned queue);
void inflight_clear(struct session *s);
