/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * driver_test.h - a fake driver, for tests, fuzzers and benchmarks
 *
 * Plays the guest (memory, rings, requests) and, towards a device, the vhost-user front end.  The
 * device under test is a process or a thread on the other end of a socket, or a struct vq in the
 * same thread:
 *
 *	struct driver d;
 *	driver_init(&d, &(struct driver_options){.nqueues = 1, .queue_size = 128});
 *	driver_connect_take(&d, sock);			or: driver_vq_start(&d, 0, &q)
 *	gpa buf = driver_alloc(&d, 4096, 64);
 *	struct driver_buf b = {buf, 4096, true};
 *	int id = driver_add(&d.queues[0], &b, 1);
 *	driver_kick(&d.queues[0]);
 *	driver_wait(&d.queues[0], 1000, &used);		used.id == id
 *
 * Chains made by driver_add() are valid; driver_desc() and the like are there to damage them
 * before, or behind, the device's back, and driver_publish() makes anything available.
 *
 * No function asserts; failures are returned, so that fuzzers can use all of it.
 */
#pragma once

#include "base/attr.h"
#include "mem/gmem.h"
#include "virtio/vhost_user.h"
#include "virtio/vq.h"
#include "virtio/vu_ask_test.h"

#include <linux/virtio_ring.h>
#include <stdbool.h>
#include <stdint.h>

enum {
	DRIVER_QUEUES_MAX = 16,
	DRIVER_TABLE_MAX = 64, /* entries of an indirect table made by driver_add() */
	DRIVER_BASE = 0x100000, /* first guest address */
};

struct driver_options {
	unsigned nqueues, queue_size;
	size_t memory;	       /* bytes; 0: 16 MiB */
	size_t second_region;  /* memory is two regions, the second this large; 0: one region */
	bool packed, indirect; /* ring format; driver_add() uses tables */
	bool no_event_idx;
	bool inflight;	       /* use an in-flight log, if the device has that */
	uint64_t features;     /* device features to accept, besides those of rings */
	int timeout_ms;	       /* of every answer; 0: 5000 */
};

struct driver_buf {
	gpa addr;
	uint32_t len;
	bool writable;
};

struct driver_used {
	uint16_t id;
	uint32_t len;
};

struct driver;

struct driver_queue {
	struct driver *driver;
	unsigned index;
	uint16_t size;
	gpa desc_at, driver_at, device_at; /* areas */
	void *desc, *driver_area, *device_area;
	gpa tables_at; /* size tables of DRIVER_TABLE_MAX entries */
	int kick_fd, call_fd, err_fd;
	uint32_t base; /* to be sent to the device at the next connection */

	uint16_t next[VQ_SIZE_MAX];  /* free list of descriptors (split) or ids (packed) */
	uint16_t slots[VQ_SIZE_MAX]; /* packed: ring slots that an id takes */
	uint16_t free_head, nfree;
	uint16_t avail_at, used_at; /* split: indexes; packed: slots */
	bool avail_wrap, used_wrap;
	unsigned added; /* ring slots since the last driver_kick() */
	uint64_t kicks; /* sent */
};

struct driver {
	struct driver_options options;
	int mem_fd;
	uint8_t *mem;
	size_t mem_bytes, mem_used;
	struct gmem gmem; /* the same memory, for queues in this thread */

	struct vu_conn conn; /* sock -1 while there is none */
	struct vu_conn backend; /* requests of the device */
	uint64_t offered, acked, protocol;
	struct vu_inflight inflight;
	int inflight_fd;

	struct driver_queue queues[DRIVER_QUEUES_MAX];
};

/* Makes memory and empty rings. 0 or -errno. */
int driver_init(struct driver *d, const struct driver_options *options) MUST_CHECK;
void driver_fini(struct driver *d);

/* n bytes of guest memory, zeroed; 0 when there is no more. align: a power of two. */
gpa driver_alloc(struct driver *d, size_t n, size_t align);

/* Where we see guest memory; NULL unless all n bytes are. */
void *driver_at(struct driver *d, gpa a, size_t n);

/* Rings as after a reset of the guest; the log starts anew. Not connected. */
void driver_reset(struct driver *d);

/* ---- towards a device ---- */

/* The whole handshake, up to queues that run.  Takes sock, also on failure. 0 or -errno. */
int driver_connect_take(struct driver *d, int sock) MUST_CHECK;

/* Only features, without memory or queues. */
int driver_greet_take(struct driver *d, int sock) MUST_CHECK;
int driver_send_memory(struct driver *d) MUST_CHECK;
int driver_send_queue(struct driver *d, unsigned index) MUST_CHECK;

/* Stops a queue; base is kept for driver_send_queue(). */
int driver_stop_queue(struct driver *d, unsigned index) MUST_CHECK;

/* Drops the connection, as if one of both had died; rings, memory and log stay for another. */
void driver_disconnect(struct driver *d);

/* Configuration space. */
int driver_config_read(struct driver *d, uint32_t at, void *out, uint32_t n) MUST_CHECK;
int driver_config_write(struct driver *d, uint32_t at, const void *in, uint32_t n) MUST_CHECK;

/* Waits for the device to say that its configuration changed. 0 or -errno. */
int driver_config_wait(struct driver *d) MUST_CHECK;

/* ---- a queue in this thread ---- */

/* Starts q on our ring; log may be NULL. As vq_start(). */
int driver_vq_start(struct driver *d, unsigned index, void *log, struct vq *q) MUST_CHECK;

/* ---- requests ---- */

/* A valid chain; returns its id, or -ENOSPC. Available at once, also without a kick. */
int driver_add(struct driver_queue *q, const struct driver_buf *bufs, unsigned n);

/* Kicks if the device wants to be kicked; true if so. */
bool driver_kick(struct driver_queue *q);
void driver_kick_always(struct driver_queue *q);

/* The next used chain; its descriptors are free again.  False: none. */
bool driver_poll(struct driver_queue *q, struct driver_used *ret);

/* The same, waiting for a call at most timeout_ms; -ETIMEDOUT, -ENODATA: the device hung up. */
int driver_wait(struct driver_queue *q, int timeout_ms, struct driver_used *ret) MUST_CHECK;

/* Whether the device called since the last time we asked. */
bool driver_was_called(struct driver_queue *q);

/* Waits until the device reports the queue as broken. 0 or -ETIMEDOUT. */
int driver_wait_broken(struct driver_queue *q, int timeout_ms) MUST_CHECK;

/* Interrupts on or off (used event, flags); on: at the next used chain. */
void driver_calls_set(struct driver_queue *q, bool on);

/* ---- damage ---- */

struct vring_desc *driver_desc(struct driver_queue *q, uint16_t i);		  /* split */
struct vring_packed_desc *driver_packed_desc(struct driver_queue *q, uint16_t i); /* packed */
struct vring_desc *driver_table(struct driver_queue *q, uint16_t id);		  /* indirect */

/* Split: makes a head available, whatever it is, and its index that much further. */
void driver_publish(struct driver_queue *q, uint16_t head);
void driver_avail_index_set(struct driver_queue *q, uint16_t index);
