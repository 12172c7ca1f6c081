/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * device.h - what a device implements
 *
 * A device is one file with one const struct device_type.  Life cycle:
 *
 *	parse -> open -> [jail -> prepare -> filter] -> (start -> kick* -> stop)* -> close
 *
 * All state is in one struct that begins with struct device; there are no globals.  What a device
 * does not have: ring addresses, interrupts, suppression of notifications, feature negotiation,
 * process set-up.  It pops chains from its queues (virtio/vq.h) and pushes them back.
 */
#pragma once

#include "base/attr.h"
#include "base/counter.h"
#include "base/err.h"
#include "base/json.h"
#include "base/loop.h"
#include "base/opt.h"
#include "base/trace.h"
#include "jail/seccomp.h"
#include "mem/gmem.h"
#include "virtio/vq.h"

#include <stdbool.h>
#include <stdint.h>

struct device;

/*
 * A command to a running device, by its control socket: the name, then, after a space, options as
 * key=value,...  Memory cannot be allocated then: rows of kind text are for main only.
 */
struct device_command {
	const char *name;	/* "resize"; not "status" or "help" */
	const struct opt *opts; /* of a zeroed struct of at most DEVICE_ARGUMENTS_MAX bytes */

	/* Adds what it has to say to the open object. 0 or -errno with *e set; never waits. */
	int (*handle)(struct device *d, void *arguments, struct json *reply, struct err *e);
	const char *summary; /* one sentence without a full stop */
	bool lasts;	     /* a process that takes this one's place is told the same */
};

enum {
	DEVICE_ARGUMENTS_MAX = 256,
	DEVICE_PACKET_MAX = 4096, /* bytes of a command on the control socket, and of a reply */
};

struct device_type {
	const char *name;    /* "rng": option, process name and section of the manual */
	const char *summary; /* one line */
	uint16_t virtio_id;  /* virtio 1.2, section 5 */
	uint16_t nqueues;    /* most queues */
	uint16_t queue_size; /* largest, a power of two; 0: DEVICE_QUEUE_SIZE */
	uint64_t features;   /* the device's own; those of rings and VERSION_1 are added */
	size_t size;	     /* of the struct that begins with struct device */
	size_t config_size;  /* bytes of device-specific configuration space, at most 256 */
	const struct opt *opts;	  /* set fields of that struct; NULL: takes none */
	const struct call *calls; /* system calls beyond the common set; NULL: none */
	size_t state_size;	  /* of d->state, what a later process has to know; or 0 */
	unsigned end_ms; /* how long it may take to end in good order; 0: it is killed */
	bool writes_files;	  /* regular files may grow; else the jail forbids it */
	bool kernel_threads;	  /* uses io_uring; jail/jail.h */
	unsigned fds;		  /* most that it holds open besides those of the front end */

	/*
	 * Whether the options go together, of a struct that is not open; main asks too, before it
	 * starts anything.  Optional.
	 */
	int (*check)(const struct device *d, struct err *e);

	/* Defaults of the options, before parsing. Optional. */
	void (*defaults)(struct device *d);

	/*
	 * What has to outlive a process of the device: opened once, by main, before it starts the
	 * first process; every process of the device finds it in d->kept before open(), which
	 * takes what it needs.  It may fill nothing.  Optional.
	 */
	int (*keep)(struct device *d, struct err *e);

	/*
	 * How many queues there are by the options, at most nqueues; main asks too, of a struct
	 * that is not open.  NULL: nqueues.
	 */
	unsigned (*queues)(const struct device *d);

	/* Before the jail: open files. May narrow d->features and d->nqueues. */
	int (*open)(struct device *d, struct err *e);

	/*
	 * In the thread that will serve; jailed, but for the filter, which will cover what is
	 * started here: threads, if any, and what belongs to one thread. Optional.
	 */
	int (*prepare)(struct device *d, struct err *e);

	/*
	 * Between start and stop: the driver put buffers into queue q, or the queue became live (so
	 * what lies in it already is seen too).  Pop until empty, or go on by yourself.
	 */
	void (*kick)(struct device *d, unsigned q);

	/* Features are agreed, queues live. Optional; failure breaks all queues until reset. */
	int (*start)(struct device *d, struct err *e);

	/*
	 * Finish what is in flight or drop it: queues and guest memory are no longer touched
	 * afterwards.  Chains that were popped and not pushed will be popped again when a queue
	 * that was only paused goes on, in-order devices only; out-of-order devices push all.
	 * Optional.
	 */
	void (*stop)(struct device *d);

	/*
	 * The driver has reset the device, which is stopped, or another front end begins: what
	 * drivers wrote to the configuration space is forgotten. Optional.
	 */
	void (*reset)(struct device *d);

	/*
	 * Bit i: queue i is served by the kernel (vhost), for the features in d->acked.  Its kick
	 * descriptor is not ours to read: kick() is called once, when it has become live, and hands
	 * it to the kernel; stop() takes it back and says with vq_base_set() how far it got.  See
	 * kernel_rings.h.  Optional.
	 */
	uint32_t (*kernel_queues)(const struct device *d);

	/* Optional. */
	void (*close)(struct device *d);

	/* Fills the whole configuration space, config_size bytes; zeroed before. */
	void (*config)(struct device *d, void *out);

	/* The driver wrote n bytes at offset at; the range lies inside config_size. Optional. */
	void (*config_set)(struct device *d, size_t at, const void *in, size_t n);

	/* Ended by a name of NULL; NULL: only status. */
	const struct device_command *commands;

	/*
	 * What counters[DEVICE_COUNTERS] and those behind it are; NULL: it has none of its own.
	 * The reply to status has them too.
	 */
	const struct counter *counters;

	/* Adds what else there is to say to the reply to status. Optional. */
	void (*status)(struct device *d, struct json *reply);
};

enum {
	DEVICE_QUEUES_MAX = 32,
	DEVICE_QUEUE_SIZE = 256,
	DEVICE_KEPT_MAX = 12,
};

/* Counters of every device, at the beginning of device_shared.counters. */
enum {
	DEVICE_KICKS = VQ_COUNTERS, /* those before are virtio/vq.h's */
	DEVICE_ERRORS,
	DEVICE_COUNTERS, /* the device's own begin here */
	DEVICE_COUNTERS_MAX = 4096 / sizeof(uint64_t),
};

/* A row of the table of those. */
#define DEVICE_COUNTER(counter) [(counter)-DEVICE_COUNTERS]

/* Names of those below DEVICE_COUNTERS; device.c. */
extern const struct counter device_counters[];

/*
 * Memory that a device process has in common with main, whose it is: it outlives the process, and
 * the next one goes on with what is there.  Main must not believe what it reads in it.  A whole
 * number of pages.
 */
struct device_shared {
	_Alignas(4096) uint64_t counters[DEVICE_COUNTERS_MAX];
	_Alignas(4096) struct trace_ring trace;
};

struct session;

/* Descriptors; -1 behind the first n, and where one was taken. */
struct device_kept {
	unsigned n;
	int fd[DEVICE_KEPT_MAX];
};

struct device {
	const struct device_type *type;
	const char *name;	  /* "block0" */
	struct loop *loop;	  /* of this process or thread */
	const struct gmem *gmem;  /* valid between start and stop */
	struct vq *queues;	  /* nqueues of them */
	unsigned nqueues;
	uint64_t features;	  /* offered */
	uint64_t hidden;	  /* ring features that are not to be offered */
	uint64_t acked;		  /* agreed with the driver; valid from start on */
	bool started;

	/*
	 * From start() to stop(): state_size bytes that lie with the in-flight log and outlive this
	 * process; zero when the driver begins.  NULL with a front end that keeps no log.
	 */
	void *state;
	bool has_kernel_threads;  /* as kernel_threads of the type; set by open() */
	struct device_kept kept;  /* owned */
	struct device_shared *shared; /* from open() on; borrowed */
	struct device_shared *own_shared; /* if nobody gave it any; owned */
	struct session *session;  /* private to session.c */
};

/*
 * Executes one line of the control socket, which it may change, and writes the reply: one JSON
 * object, {"ok":true,...} or {"ok":false,"error":"..."}; commands.c.
 */
void device_command_execute(struct device *d, char *line, struct json *reply);

/* Adds to a counter: DEVICE_COUNTERS plus an index into the type's table, or DEVICE_ERRORS. */
static inline void device_count(struct device *d, unsigned counter, uint64_t n)
{
	counter_add(&d->shared->counters[counter], n);
}

/* Descriptors of a live queue, borrowed; *ret_err is -1 for none. */
void device_ring_fds(const struct device *d, unsigned q, int *ret_kick, int *ret_err);

/* Tells the driver that the configuration space changed; from the loop's thread. */
void device_config_changed(struct device *d);

/* The table of all devices built in, ended by NULL; device.c. */
extern const struct device_type *const device_types[];

/* The type of that name, or NULL. */
const struct device_type *device_type_find(const char *name);

/*
 * For those who run devices.  Makes one from options, a list of key=value,... that ends with NULL;
 * it is not open yet.  name is kept, not copied.  NULL with *e set.
 */
struct device *device_new(const struct device_type *type, const char *name,
			  const char *const *options, struct err *e) MUST_CHECK;

/* Opens it; what has to be kept is opened first, unless it is there, and d->shared made. */
int device_open(struct device *d, struct err *e) MUST_CHECK;

void device_kept_init(struct device_kept *k);
void device_kept_fini(struct device_kept *k);

/* Takes another descriptor. */
void device_kept_add_take(struct device_kept *k, int fd);

/* The device is closed. NULL is fine. */
void device_free(struct device *d);
