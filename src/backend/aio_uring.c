/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * aio_uring.c - asynchronous I/O through io_uring, by its three system calls
 *
 * Where the kernel can, completions are deferred until we enter (DEFER_TASKRUN): no interrupt of
 * the thread for each of them.  The loop learns of them by an eventfd; it is watched by edges, so
 * nobody has to read it, and it is silenced (CQ_EVENTFD_DISABLED) but for when we go back to the
 * loop with requests in flight: what completes within the call that starts it signals nothing.
 *
 *  I1  The submission queue is never longer than its entries: a full one is started.
 *  I2  Completions in flight <= depth <= entries of the completion queue.
 *  I3  Once enabled the ring does READ(V), WRITE(V), FSYNC and FALLOCATE on registered files, and
 *	registers nothing more; a captured process that holds it can do nothing else with it.
 */
#include "backend/aio.h"

#include "base/fd.h"
#include "base/iov.h"
#include "base/num.h"

#include <assert.h>
#include <errno.h>
#include <linux/io_uring.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

enum {
	SUBMIT_MAX = 128,      /* longest batch: entries of the submission queue */
	START_ATTEMPTS = 1000, /* entering that made no progress before requests fail */
};

struct uring {
	int fd, event;
	void *rings;
	size_t rings_size;
	struct io_uring_sqe *sqes;
	size_t sqes_size;
	const uint32_t *sq_head, *sq_flags, *cq_tail; /* written by the kernel */
	uint32_t *sq_tail, *cq_head, *cq_flags;       /* written by us */
	uint32_t sq_mask, sq_entries, cq_mask;
	const struct io_uring_cqe *cqes;
	uint32_t tail;          /* of submissions, ahead of *sq_tail */
	struct aio_req *failed; /* could not be started; reap() hands them out */
};

static int enter(const struct uring *u, unsigned submit, unsigned wait)
{
	long r = syscall(SYS_io_uring_enter, u->fd, submit, wait, IORING_ENTER_GETEVENTS, NULL, 0);

	return r < 0 ? -errno : (int)r;
}

static int ring_register(const struct uring *u, unsigned what, const void *arg, unsigned n)
{
	return syscall(SYS_io_uring_register, u->fd, what, arg, n) < 0 ? -errno : 0;
}

/* The newest way of running completions that this kernel knows. */
static int setup(struct io_uring_params *p, unsigned depth)
{
	static const uint32_t modes[] = {
		IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_TASKRUN_FLAG,
		IORING_SETUP_COOP_TASKRUN | IORING_SETUP_TASKRUN_FLAG,
		0,
	};
	uint32_t entries = depth < SUBMIT_MAX ? depth : SUBMIT_MAX;

	for (size_t i = 0; i < ARRAY_LEN(modes); i++) {
		long fd;

		*p = (struct io_uring_params){.flags = modes[i] | IORING_SETUP_R_DISABLED |
						       IORING_SETUP_CQSIZE | IORING_SETUP_CLAMP,
					      .cq_entries = depth < entries ? entries : depth};
		fd = syscall(SYS_io_uring_setup, entries, p);
		if (fd >= 0)
			return (int)fd;
		if (errno != EINVAL)
			break;
	}
	return -errno;
}

static int map_rings(struct uring *u, const struct io_uring_params *p)
{
	size_t sq = p->sq_off.array + p->sq_entries * sizeof(uint32_t);
	size_t cq = p->cq_off.cqes + p->cq_entries * sizeof(struct io_uring_cqe);
	void *at;

	u->rings_size = sq > cq ? sq : cq;
	at = mmap(NULL, u->rings_size, PROT_READ | PROT_WRITE, MAP_SHARED, u->fd,
		  IORING_OFF_SQ_RING);
	if (at == MAP_FAILED)
		return -errno;
	u->rings = at;
	u->sqes_size = p->sq_entries * sizeof(struct io_uring_sqe);
	at = mmap(NULL, u->sqes_size, PROT_READ | PROT_WRITE, MAP_SHARED, u->fd, IORING_OFF_SQES);
	if (at == MAP_FAILED)
		return -errno;
	u->sqes = at;
	return 0;
}

static void *ring_at(const struct uring *u, uint32_t offset)
{
	return (char *)u->rings + offset;
}

static void find_fields(struct uring *u, const struct io_uring_params *p)
{
	uint32_t *array = ring_at(u, p->sq_off.array);

	u->sq_head = ring_at(u, p->sq_off.head);
	u->sq_tail = ring_at(u, p->sq_off.tail);
	u->sq_flags = ring_at(u, p->sq_off.flags);
	u->cq_head = ring_at(u, p->cq_off.head);
	u->cq_tail = ring_at(u, p->cq_off.tail);
	u->cq_flags = ring_at(u, p->cq_off.flags);
	u->cqes = ring_at(u, p->cq_off.cqes);
	u->sq_entries = p->sq_entries;
	u->sq_mask = p->sq_entries - 1;
	u->cq_mask = p->cq_entries - 1;
	for (uint32_t i = 0; i < p->sq_entries; i++)
		array[i] = i;
}

/* I3. */
static int restrict_ring(const struct uring *u)
{
	static const uint8_t ops[] = {IORING_OP_READ,   IORING_OP_READV, IORING_OP_WRITE,
				      IORING_OP_WRITEV, IORING_OP_FSYNC, IORING_OP_FALLOCATE};
	struct io_uring_restriction rows[ARRAY_LEN(ops) + 2] = {0};
	unsigned n = 0;

	for (; n < ARRAY_LEN(ops); n++) {
		rows[n].opcode = IORING_RESTRICTION_SQE_OP;
		rows[n].sqe_op = ops[n];
	}
	rows[n].opcode = IORING_RESTRICTION_SQE_FLAGS_REQUIRED;
	rows[n++].sqe_flags = IOSQE_FIXED_FILE;
	rows[n].opcode = IORING_RESTRICTION_REGISTER_OP;
	rows[n++].register_op = IORING_REGISTER_ENABLE_RINGS;
	return ring_register(u, IORING_REGISTER_RESTRICTIONS, rows, n);
}

static int build(struct aio *a, struct uring *u)
{
	struct io_uring_params p;
	int r;

	u->fd = setup(&p, a->depth);
	if (u->fd < 0)
		return u->fd;
	if (!(p.features & IORING_FEAT_SINGLE_MMAP) || p.cq_entries < a->depth)
		return -ENOSYS;
	r = map_rings(u, &p);
	if (r < 0)
		return r;
	find_fields(u, &p);
	*u->cq_flags = IORING_CQ_EVENTFD_DISABLED;
	u->event = fd_eventfd();
	if (u->event < 0)
		return u->event;
	r = ring_register(u, IORING_REGISTER_EVENTFD, &u->event, 1);
	if (r == 0)
		r = ring_register(u, IORING_REGISTER_FILES, a->files, a->nfiles);
	return r < 0 ? r : restrict_ring(u);
}

static int uring_init(struct aio *a, struct err *e)
{
	struct uring *u = calloc(1, sizeof(*u));
	int r;

	if (!u)
		return err_set(e, ENOMEM, "cannot make an io_uring");
	u->fd = u->event = -1;
	a->state = u;
	r = build(a, u);
	if (r == -EPERM)
		return err_say(e, EPERM,
			       "io_uring is not permitted here (sysctl kernel.io_uring_disabled); "
			       "use aio=threads");
	if (r < 0)
		return err_set(e, -r,
			       "cannot make a restricted io_uring (aio=threads does without)");
	a->watch.fd = u->event;
	return 0;
}

/* The thread that enables the ring is the one that may submit. */
static int uring_enable(struct aio *a, struct err *e)
{
	int r = ring_register(a->state, IORING_REGISTER_ENABLE_RINGS, NULL, 0);

	return r < 0 ? err_set(e, -r, "cannot enable the io_uring") : 0;
}

static void uring_fini(struct aio *a)
{
	struct uring *u = a->state;

	if (!u)
		return;
	if (u->sqes)
		munmap(u->sqes, u->sqes_size);
	if (u->rings)
		munmap(u->rings, u->rings_size);
	fd_close(&u->fd);
	fd_close(&u->event);
	free(u);
	a->state = NULL;
	a->watch.fd = -1;
}

/* Entered often enough without progress: what was not started fails. */
static void fail_queued(struct aio *a, struct uring *u, int error)
{
	uint32_t head = __atomic_load_n(u->sq_head, __ATOMIC_ACQUIRE);

	for (; u->tail != head; u->tail--) {
		struct io_uring_sqe *sqe = &u->sqes[(u->tail - 1) & u->sq_mask];
		struct aio_req *r = (struct aio_req *)(uintptr_t)sqe->user_data;

		r->result = error;
		r->next = u->failed;
		u->failed = r;
	}
	__atomic_store_n(u->sq_tail, u->tail, __ATOMIC_RELEASE);
	a->queued = 0;
}

static void uring_start(struct aio *a)
{
	struct uring *u = a->state;
	unsigned attempts = 0;

	__atomic_store_n(u->sq_tail, u->tail, __ATOMIC_RELEASE);
	while (a->queued > 0) {
		int r = enter(u, a->queued, 0);

		if (r > 0) {
			a->queued -= (unsigned)r;
			attempts = 0;
		} else if (++attempts == START_ATTEMPTS) {
			fail_queued(a, u, r < 0 ? r : -EIO);
		}
	}
}

static void uring_queue(struct aio *a, struct aio_req *r)
{
	static const uint8_t ops[][2] = {
		[AIO_READ] = {IORING_OP_READV, IORING_OP_READ},
		[AIO_WRITE] = {IORING_OP_WRITEV, IORING_OP_WRITE},
		[AIO_SYNC] = {IORING_OP_FSYNC, IORING_OP_FSYNC},
		[AIO_ALLOCATE] = {IORING_OP_FALLOCATE, IORING_OP_FALLOCATE},
	};
	struct uring *u = a->state;
	struct io_uring_sqe *sqe;

	if (a->queued > u->sq_entries) { /* I1; r is counted already */
		a->queued--;
		uring_start(a);
		a->queued++;
	}
	sqe = &u->sqes[u->tail++ & u->sq_mask];
	*sqe = (struct io_uring_sqe){.opcode = ops[r->op][r->niov == 1],
				     .flags = IOSQE_FIXED_FILE,
				     .fd = (int)r->file,
				     .user_data = (uintptr_t)r};
	if (r->op == AIO_SYNC) {
		sqe->fsync_flags = IORING_FSYNC_DATASYNC;
		return;
	}
	sqe->off = r->offset;
	if (r->op == AIO_ALLOCATE) {
		sqe->len = (uint32_t)r->mode;
		sqe->addr = r->length;
		return;
	}
	sqe->rw_flags = r->op == AIO_WRITE && r->durable ? RWF_DSYNC : 0;
	sqe->addr = r->niov == 1 ? iov_address(r->iov) : (uintptr_t)r->iov;
	sqe->len = (uint32_t)(r->niov == 1 ? min_size(r->iov[0].iov_len, INT32_MAX) : r->niov);
}

static void reap_failed(struct aio *a, struct uring *u)
{
	while (u->failed) {
		struct aio_req *r = u->failed;

		u->failed = r->next;
		aio_done(a, r, r->result);
	}
}

static void uring_reap(struct aio *a)
{
	struct uring *u = a->state;
	uint32_t head = *u->cq_head;
	uint32_t tail = __atomic_load_n(u->cq_tail, __ATOMIC_ACQUIRE);

	if (u->failed)
		reap_failed(a, u);
	if (__atomic_load_n(u->sq_flags, __ATOMIC_RELAXED) &
	    (IORING_SQ_TASKRUN | IORING_SQ_CQ_OVERFLOW)) {
		enter(u, 0, 0); /* failure shows in the next round: the ring stays readable */
		tail = __atomic_load_n(u->cq_tail, __ATOMIC_ACQUIRE);
	}
	while (head != tail) {
		const struct io_uring_cqe *cqe = &u->cqes[head++ & u->cq_mask];
		struct aio_req *r = (struct aio_req *)(uintptr_t)cqe->user_data;
		int64_t result = cqe->res;

		__atomic_store_n(u->cq_head, head, __ATOMIC_RELEASE);
		if (r->op == AIO_READ && result > 0)
			iov_written(r->iov, r->niov, (size_t)result);
		aio_done(a, r, result);
	}
}

static bool has_completions(const struct uring *u)
{
	return u->failed || *u->cq_head != __atomic_load_n(u->cq_tail, __ATOMIC_ACQUIRE) ||
	       (__atomic_load_n(u->sq_flags, __ATOMIC_ACQUIRE) &
		(IORING_SQ_TASKRUN | IORING_SQ_CQ_OVERFLOW));
}

static bool uring_is_ready(const struct aio *a)
{
	return has_completions(a->state);
}

/* Whoever completes after the store signals; what completed before it is seen by the loads. */
static bool uring_arm(struct aio *a, bool on)
{
	struct uring *u = a->state;

	__atomic_store_n(u->cq_flags, on ? 0 : IORING_CQ_EVENTFD_DISABLED, __ATOMIC_SEQ_CST);
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	return !on || !has_completions(u);
}

static void uring_wait(struct aio *a)
{
	struct uring *u = a->state;

	if (!u->failed)
		enter(u, 0, 1); /* interrupted: the caller comes again */
}

const struct aio_engine aio_uring = {
	.name = "io_uring",
	.init = uring_init,
	.enable = uring_enable,
	.fini = uring_fini,
	.queue = uring_queue,
	.start = uring_start,
	.reap = uring_reap,
	.wait = uring_wait,
	.arm = uring_arm,
	.is_ready = uring_is_ready,
};
