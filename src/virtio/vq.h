/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * vq.h - virtqueues, device side (virtio 1.2, sections 2.6 to 2.8)
 *
 *	struct chain c;
 *	while (vq_pop(q, &c)) {			false: empty, or q->broken says why
 *		struct virtio_blk_outhdr hdr;
 *		if (!chain_get(&c, &hdr, sizeof(hdr)))
 *			...			too short; hdr is a copy, the guest can't change it
 *		...
 *		vq_push(q, &c);			used length = what was really written
 *	}
 *	vq_notify(q);				interrupts the driver if it asked for it
 *
 * A chain is copied and checked whole by vq_pop(): either all of it is sound or the queue is
 * broken.  What is checked: every index and address, loops, readable before writable, the sum of
 * lengths, indirect tables (size, nesting), heads that are in flight already, an available index
 * too far ahead.  Whatever rule the guest breaks, q->broken is set to a constant string, once, and
 * vq_pop() returns false until the queue is started again.  Nothing here trusts, logs or allocates.
 *
 * struct chain is meant to be embedded in a device's request; chains may be pushed in any order.
 * Its iovecs point into guest memory: the kernel may use them, our code goes through chain_get()
 * and chain_put().
 *
 * Notifications need no care: a driver is asked to kick when vq_pop() found the queue empty, and
 * only then.  Whoever stops popping earlier must go on by himself.
 *
 * With an in-flight log (vhost-user, "Inflight I/O tracking") a queue that is started after its
 * process died hands out again, first and in their order, the requests that were not pushed.
 */
#pragma once

#include "base/attr.h"
#include "mem/gmem.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

enum {
	/* Linux asks for 128 to 256, other drivers for at most 1024. */
	VQ_SIZE_MAX = 1024,

	/*
	 * Pieces of one chain, readable and writable together.  Devices tell drivers in their
	 * configuration space (seg_max and the like); 256 pages are what one block request of 1 MiB
	 * needs, and a struct chain stays close to one page.
	 */
	CHAIN_IOV_MAX = 256,
};

struct vq;

/* What a queue counts, in an array of the owner's. */
enum vq_counter {
	VQ_REQUESTS,   /* pushed */
	VQ_BYTES_OUT,  /* of chains that were popped: readable */
	VQ_BYTES_IN,   /* of chains that were pushed: written */
	VQ_INTERRUPTS, /* sent to the driver */
	VQ_BROKEN,
	VQ_COUNTERS,
};

enum chain_side { CHAIN_READABLE, CHAIN_WRITABLE };

/* What is left of one side: pieces [at, end) of the chain's iov, bytes in all. */
struct chain_cursor {
	uint16_t at, end;
	uint32_t left;
};

struct chain {
	uint16_t id;	    /* split: head descriptor; packed: buffer id */
	uint16_t slots;	    /* ring slots it takes; split: 1 */
	uint16_t log_entry; /* packed: where the in-flight log has it */
	uint16_t tail_end;  /* pieces [cursor[CHAIN_WRITABLE].end, tail_end) are the tail */
	uint32_t tail_left; /* bytes of it */
	uint32_t written;   /* bytes the device wrote: the used length */
	struct chain_cursor cursor[2];
	struct iovec iov[CHAIN_IOV_MAX + 1]; /* one more, for chain_tail() */
};

/* What the driver set up, and where to go on. */
struct vq_setup {
	const struct gmem *gmem; /* must outlive the session */
	uint64_t features;	 /* agreed */
	uint32_t size;		 /* entries; a power of two for split rings */
	gpa desc, driver, device; /* the three areas (split: descriptors, available, used) */

	/*
	 * As in VHOST_USER_SET_VRING_BASE.  Split: the available index.  Packed: bits 0 to 15
	 * available index and wrap counter, 16 to 31 the same of the used side; 0x80008000 for a
	 * fresh ring.
	 */
	uint32_t base;
	void *log;	  /* in-flight log of this queue, vq_log_bytes() of it; NULL for none */
	int call_fd;	  /* eventfd to interrupt the driver, borrowed; -1 for none */
};

/* Fields are private to vq*.c but for those marked public. */
struct vq {
	const char *broken; /* public: NULL, or what the guest did wrong; a constant string */
	unsigned index;	    /* public: which queue of its device; the owner's to set */
	bool started;	    /* public */
	bool resumed;	    /* public: not at the beginning of the ring, when it was started */
	int call_fd;	    /* public: may be replaced while started */

	/* Public: called once when broken is set; may be NULL. */
	void (*on_broken)(struct vq *q);
	void *owner;
	uint64_t *counters; /* public: VQ_COUNTERS of them; NULL: nothing is counted */

	const struct gmem *gmem;
	const struct gmem_region *near; /* the region that the last address was in */
	void GUEST *desc, *driver, *device;
	uint16_t size, mask; /* mask: split only */
	bool is_packed, has_event_idx, has_indirect;
	bool polling;		      /* kicks stay off */
	bool armed;		      /* the driver will kick at avail_at */
	bool call_is_forced;	      /* a call may have been lost with the process before us */
	bool avail_wrap, used_wrap;   /* packed only */
	uint16_t avail_at, avail_end; /* next to pop; split: the driver's index as last seen */
	uint16_t used_at;	      /* next to push */
	uint16_t in_flight;	      /* ring slots: split: heads, packed: descriptors */
	uint32_t uncalled;	      /* ring slots pushed since the last vq_notify() */
	void *log;
	uint64_t log_counter;
	uint16_t replay_at, replay_end;
	uint64_t ids[VQ_SIZE_MAX / 64]; /* bit i: id i is in flight */
	uint16_t replay[VQ_SIZE_MAX];	/* split: heads, packed: log entries; to hand out again */
};

/*
 * Begins a session.  0, or -EINVAL with *ret_why a constant string: size, alignment or position of
 * an area is wrong, or the log is not of this queue.  Keeps index, on_broken, owner and
 * counters.
 */
int vq_start(struct vq *q, const struct vq_setup *setup, const char **ret_why) MUST_CHECK;

/*
 * Ends a session; the queue touches guest memory no more.  Returns the base for the next
 * vq_start(): requests popped but not pushed will be popped again then (in-order devices only; the
 * others must push all before, or have a log).
 */
uint32_t vq_stop(struct vq *q);

/* Bytes of in-flight log that a queue needs; a multiple of 64. */
size_t vq_log_bytes(unsigned size, bool is_packed);

/*
 * For queues that the kernel serves: where the areas of a started split queue are in this process,
 * and where to go on.
 */
struct vq_layout {
	uint32_t size, base;
	uint64_t desc, driver, device;
};

void vq_layout(const struct vq *q, struct vq_layout *ret);

/* The kernel has let go of the queue and got this far; vq_stop() will say the same. */
void vq_base_set(struct vq *q, uint16_t base);

/* The next chain; false when there is none or the queue is broken or not started. */
bool vq_pop(struct vq *q, struct chain *c) MUST_CHECK;

/* Whether vq_pop() may find something; does not ask the driver for a kick. */
bool vq_has_more(struct vq *q) MUST_CHECK;

/* Gives a popped chain back with c->written as its length.  Nothing happens to a stopped queue. */
void vq_push(struct vq *q, struct chain *c);

/*
 * The same of n chains, 1 or more, of which the driver sees all or none: for what belongs together
 * (virtio 1.2, 5.1.6.4.1).
 */
void vq_push_all(struct vq *q, struct chain *const *chains, unsigned n);

/* Interrupts the driver if something was pushed and it wants to know.  Once a batch. */
void vq_notify(struct vq *q);

/* While true the driver is not asked for kicks; set to false, then pop until empty. */
void vq_polling_set(struct vq *q, bool polling);

/* A rule of the device's own was broken; why is a constant string.  The first one stays. */
void vq_break(struct vq *q, const char *why);

/* Fetches the beginning and the end of a chain into the cache, to be looked at soon. */
void chain_prefetch(const struct chain *c);

/* Bytes left on one side (writable: without the tail). */
static inline uint32_t chain_left(const struct chain *c, enum chain_side side)
{
	return c->cursor[side].left;
}

/* Copies exactly n bytes out of, or into, the chain and advances; false, and nothing done, if fewer
 * are left.  n 0 is true. */
bool chain_get(struct chain *c, void *dst, size_t n) MUST_CHECK;
bool chain_put(struct chain *c, const void *src, size_t n) MUST_CHECK;

/* Advances without looking; chain_skip() of the writable side counts the bytes as written, for
 * those that the kernel wrote through chain_iov(). False, and nothing done, if fewer are left. */
bool chain_skip(struct chain *c, enum chain_side side, size_t n) MUST_CHECK;

/*
 * Takes the last n bytes (1 or more) off the writable side, wherever the driver put them, for
 * chain_tail_put(); once a chain.  False, and nothing done, if fewer are left.
 */
bool chain_tail(struct chain *c, size_t n) MUST_CHECK;

/* Writes the tail; n as in chain_tail(), or false. Once. */
bool chain_tail_put(struct chain *c, const void *src, size_t n) MUST_CHECK;

/* What is left of one side, for readv(), io_uring and the like; valid until the chain advances. */
const struct iovec *chain_iov(const struct chain *c, enum chain_side side, unsigned *ret_count);
