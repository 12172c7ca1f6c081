/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * frontend.h - a virtio device as the main process sees it
 *
 * Between a transport (virtio_pci.h, virtio_mmio.h), which turns the guest's register accesses into
 * the calls below, and a device process, which is spoken to in vhost-user.  All that the driver
 * has set up is kept here, so that the device process may die and another take its place:
 *
 *	frontend_init -> frontend_attach_take -> (frontend_detach -> frontend_attach_take)*
 *
 * A front end without a device goes on: registers answer from what is known, kicks pile up in the
 * eventfds, and what the driver starts or resets meanwhile is carried out when a device is back.  A
 * new device gets features, memory, ring addresses, eventfds and the in-flight log of the one
 * before it; the guest sees a pause.
 *
 * Invariants:
 *  1. Features change only before FEATURES_OK; a queue's size and addresses only while it is off.
 *  2. A device has a queue ("live") only if the driver is ready (DRIVER_OK) and the queue on.
 *     Before a reset or queue reset is over it has let go: it answered GET_VRING_BASE, or is
 *     disconnected.
 *  3. Whatever the device does, no call takes longer than limit_ms; one that takes longer, or
 *     breaks the protocol, is cut off, and lost() is called.
 *  4. The loop's thread waits for a device only in the handshake after it first answered, and when
 *     it hands over the queues of the one before.
 *
 * Threads: attach, detach, init and fini on the loop's thread, everything else on any.
 */
#pragma once

#include "base/attr.h"
#include "base/err.h"
#include "base/log.h"
#include "base/loop.h"
#include "mem/gmem.h"
#include "transport/link.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

enum {
	FRONTEND_QUEUES_MAX = 32,
	FRONTEND_CONFIG_MAX = VU_CONFIG_MAX,
	FRONTEND_LIMIT_MS = 10000, /* a disk that takes longer to finish its requests is broken */
};

struct frontend;

struct frontend_args {
	const char *name;         /* "block0", borrowed */
	uint16_t virtio_id;       /* virtio 1.2, section 5 */
	unsigned nqueues;         /* at most; the device may have fewer, if it can say so */
	uint16_t queue_size;      /* largest that is offered, a power of two; 0: 256 */
	uint64_t features_hidden; /* features not to be offered to the driver */
	bool has_protocol;        /* certainly has protocol features, being one of ours */
	size_t config_size;
	const void *config; /* config_size bytes, for devices without such a space; or NULL */
	const struct gmem *gmem; /* with an fd in each region */
	struct loop *loop;
	unsigned limit_ms; /* 0: FRONTEND_LIMIT_MS */

	/*
	 * The device has closed the connection or was cut off; why is a constant string.  Called on
	 * the loop's thread, once an attachment.  The owner ends the process and attaches another.
	 */
	void (*lost)(struct frontend *f, const char *why);
	void *owner; /* for lost */
};

struct frontend_queue {
	uint16_t size;
	bool enabled;  /* by the driver */
	bool live;     /* the device has it */
	bool has_base; /* the device before has said where to go on: at base */
	uint32_t base;
	bool begun; /* a device has had it since it was enabled: its ring says where to go on */
	gpa desc, driver, device;
	int kick_fd, call_fd; /* eventfds, the same from init to fini */
};

/* What a transport hears. */
struct frontend_listener {
	/* The configuration space or the NEEDS_RESET bit has changed; on the loop's thread,
	 * unlocked. */
	void (*config_changed)(struct frontend_listener *l);
};

enum frontend_link {
	FRONTEND_UNLINKED, /* no device, or it was cut off */
	FRONTEND_GREETED,  /* asked for its features, nothing known yet */
	FRONTEND_LINKED,
};

struct frontend {
	struct frontend_args args;
	struct frontend_listener *listener;
	struct frontend_queue queues[FRONTEND_QUEUES_MAX];
	struct log_limit complaints;

	/* The loop's thread only. */
	int sock, channel; /* -1: none */
	struct watch sock_watch, channel_watch, error_watch;
	struct vu_conn channel_conn;
	int error_fd; /* eventfd: a device found a ring broken */

	/* Shared without the lock. */
	_Atomic enum frontend_link state;
	atomic_bool config_stale;   /* the device has said that it changed */
	atomic_uint session;        /* number of the driver's session; a reset begins the next */
	atomic_uint broken_session; /* in which a device broke */
	atomic_uint restarts;       /* attachments after the first */

	pthread_mutex_t lock; /* of everything below, and of queues but for the eventfds */
	pthread_cond_t linked;
	struct link link;
	const char *why;       /* the link was cut, or NULL */
	int channel_peer;      /* the device's end of the channel, until it is sent */
	bool known;            /* a device has answered once: what follows is right */
	uint32_t config_known; /* bytes of the configuration that the device has */
	bool paused;           /* the driver is ready, but the device must not touch memory */
	bool given_up;         /* and none will any more */
	unsigned nqueues;
	uint64_t backend_features; /* as the device offers them */
	uint64_t features;         /* as the driver sees them */
	uint64_t driver_features;  /* as the driver wants them */
	uint8_t status;
	uint8_t generation;
	uint8_t config[FRONTEND_CONFIG_MAX];
	uint8_t driver_config[FRONTEND_CONFIG_MAX]; /* written since the last reset, */
	uint8_t written[FRONTEND_CONFIG_MAX];       /* in writes of how many bytes from there */
	int inflight_fd; /* the log, made by the first device; -1: none */
	struct vu_inflight inflight;
};

int frontend_init(struct frontend *f, const struct frontend_args *args, struct err *e) MUST_CHECK;
void frontend_fini(struct frontend *f);

/*
 * A device that is, or will soon be, serving at the other end.  Returns at once; the conversation
 * goes on when it answers, or when something needs to be known.  Takes sock on success.
 */
int frontend_attach_take(struct frontend *f, int sock, struct err *e) MUST_CHECK;

/* The device is dead: forgets it. */
void frontend_detach(struct frontend *f);

/* No device will come any more: the driver is told by DEVICE_NEEDS_RESET. */
void frontend_give_up(struct frontend *f);

/* How often a device was replaced. */
unsigned frontend_restarts(const struct frontend *f);

/* Whether a device serves. */
bool frontend_is_linked(const struct frontend *f);

/*
 * A number that differs after requests were completed, and may differ after the driver made new
 * ones.  To tell a device that dies of every request from one that dies now and then.
 */
uint64_t frontend_progress(struct frontend *f);

/* ---- registers; queue numbers and offsets out of range read as 0 and write nowhere ---- */

uint64_t frontend_features(struct frontend *f);
uint64_t frontend_driver_features(struct frontend *f);

/* Word 0 or 1 of the features that the driver accepts; others are dropped. */
void frontend_driver_features_set(struct frontend *f, uint32_t word, uint32_t value);

/* Section 2.1; writing 0 resets. */
uint8_t frontend_status(struct frontend *f);
void frontend_status_set(struct frontend *f, uint8_t status);

/*
 * While the driver is ready: stops the device's access to memory, and lets it go on.  A reset ends
 * the pause, too.
 */
void frontend_pause(struct frontend *f);
void frontend_resume(struct frontend *f);

unsigned frontend_nqueues(struct frontend *f);
uint16_t frontend_queue_size_max(struct frontend *f, unsigned q);
uint16_t frontend_queue_size(struct frontend *f, unsigned q);
void frontend_queue_size_set(struct frontend *f, unsigned q, uint32_t size);

enum frontend_area { FRONTEND_DESC, FRONTEND_DRIVER, FRONTEND_DEVICE };

uint64_t frontend_queue_address(struct frontend *f, unsigned q, enum frontend_area area);
void frontend_queue_address_set(struct frontend *f, unsigned q, enum frontend_area area,
				bool high_half, uint32_t value);

bool frontend_queue_enabled(struct frontend *f, unsigned q);
void frontend_queue_enable(struct frontend *f, unsigned q);

/* Stops one queue and forgets its registers; returns when the device has let go. */
void frontend_queue_reset(struct frontend *f, unsigned q);

/* Whether the driver may reset single queues (VIRTIO_F_RING_RESET was agreed). */
bool frontend_has_queue_reset(struct frontend *f);

/* Device-specific configuration: cached here.  Behind its end zeros are read. */
void frontend_config_read(struct frontend *f, uint64_t at, void *out, size_t n);
void frontend_config_write(struct frontend *f, uint64_t at, const void *in, size_t n);

/* Changes whenever the configuration does. */
uint8_t frontend_generation(struct frontend *f);
