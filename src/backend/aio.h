/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * aio.h - asynchronous file I/O: io_uring, or a pool of threads where that is not to be had
 *
 * Requests belong to the caller and carry their own list link, so nothing is allocated after
 * aio_init().  aio_submit() only queues; aio_flush() starts everything queued with one system call
 * and hands out what has completed by then, so one kick of a queue costs one io_uring_enter.  What
 * completes later is handed out by the loop.
 *
 * io_uring is not filtered by seccomp.  The ring is therefore made before the jail, disabled, its
 * operations restricted to those of enum aio_op on the registered files, and only then enabled.
 *
 *	aio_init -> [jail] -> aio_start -> [filter] -> (aio_submit* -> aio_flush)* -> aio_fini
 *
 *  I1  done() is called exactly once for each submitted request, never from aio_submit().
 *  I2  No more than depth requests are between submit and done; the completion ring cannot
 *	overflow.
 *  I3  One thread owns a struct aio: the one that called aio_start().
 */
#pragma once

#include "base/attr.h"
#include "base/err.h"
#include "base/loop.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

enum aio_op {
	AIO_READ,
	AIO_WRITE,
	AIO_SYNC,     /* fdatasync */
	AIO_ALLOCATE, /* fallocate */
};

enum {
	AIO_IOV_MAX = 1024,      /* the kernel's limit; longer requests are submitted in parts */
	AIO_DEPTH_MAX = 4096,    /* requests in flight */
	AIO_FILES_MAX = 20,      /* registered files */
	AIO_THREADS_DEFAULT = 4, /* enough to keep one disk busy; a thread costs 20 KiB */
	AIO_THREADS_MAX = 16,
};

struct aio_req {
	enum aio_op op;
	unsigned file;           /* index of the file, as given to aio_init() */
	bool durable;            /* AIO_WRITE: on stable storage when done */
	int mode;                /* AIO_ALLOCATE: FALLOC_FL_... */
	uint64_t offset, length; /* bytes; length counts for AIO_ALLOCATE only */
	const struct iovec *iov; /* kept until done; 1 to AIO_IOV_MAX of them */
	unsigned niov;

	/* result: bytes moved, 0, or -errno.  May submit, but not flush. */
	void (*done)(struct aio_req *r, int64_t result);

	struct aio_req *next; /* of the engine */
	int64_t result;       /* of the engine */
};

struct aio;

/* What an engine does; tests bring their own. */
struct aio_engine {
	const char *name;
	int (*init)(struct aio *a, struct err *e);
	int (*enable)(struct aio *a, struct err *e); /* see aio_start() */
	void (*fini)(struct aio *a);
	void (*queue)(struct aio *a, struct aio_req *r);
	void (*start)(struct aio *a); /* everything queued */
	void (*reap)(struct aio *a);  /* aio_done() for all that completed, without blocking */
	void (*wait)(struct aio *a);  /* until at least one more completed; in_flight > 0 */

	/* Optional: completions make watch.fd readable; false: some came before.  Off at first. */
	bool (*arm)(struct aio *a, bool on);

	/* Optional: whether reap would find something, without a system call. */
	bool (*is_ready)(const struct aio *a);
};

extern const struct aio_engine aio_uring, aio_threads;

struct aio {
	const struct aio_engine *engine;
	struct loop *loop;
	struct watch watch; /* completions; by edges */
	int files[AIO_FILES_MAX];
	unsigned nfiles, depth, threads;
	unsigned queued, in_flight; /* queued: not started yet; counted by in_flight too */
	bool is_armed;
	struct aio_req *posted, **posted_last; /* done without I/O */
	void *state; /* of the engine */

	/* Optional: after completions that the loop handed out, to notify once for all of them. */
	void (*batch_end)(struct aio *a);
	void *owner;
};

struct aio_options {
	/* NULL: io_uring, else threads where it is not permitted */
	const struct aio_engine *engine;
	unsigned depth, threads; /* 0 threads: AIO_THREADS_DEFAULT */
	const int *files;        /* borrowed, open until aio_fini() */
	unsigned nfiles;
};

/* Before the jail. */
int aio_init(struct aio *a, struct loop *l, const struct aio_options *o, struct err *e) MUST_CHECK;

/*
 * By the thread that will serve, before its filter: starts the pool's threads (a process that has
 * threads can't enter namespaces), or enables the ring for this thread.
 */
int aio_start(struct aio *a, struct err *e) MUST_CHECK;

/* Nothing may be in flight; NULL, zeroed and half-built are fine. */
void aio_fini(struct aio *a);

/* Queues a request; in_flight < depth. */
void aio_submit(struct aio *a, struct aio_req *r);

/* Completes with the next aio_flush(), without I/O: its result is known; in_flight < depth. */
void aio_post(struct aio *a, struct aio_req *r, int64_t result);

/* Starts what is queued and hands out what is done; also what done() submitted in turn. */
void aio_flush(struct aio *a);

/*
 * For those who look for completions themselves a while, rather than to go back to the loop.
 * aio_look_begin(): nothing is signalled from here to the next aio_flush(), which must come; false:
 * this cannot be told of requests that are in flight, go back to the loop.
 */
bool aio_look_begin(struct aio *a) MUST_CHECK;

/* Whether aio_flush() would hand out something. */
bool aio_is_ready(const struct aio *a) MUST_CHECK;

/* Blocks until nothing is in flight, with done() called for all. */
void aio_drain(struct aio *a);

/* For engines: one request has completed. */
void aio_done(struct aio *a, struct aio_req *r, int64_t result);
