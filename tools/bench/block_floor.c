/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * block_floor.c - the least that a disk in its own process costs: the bare loop, fed by another
 *
 * No virtqueue, no checks, no jail: the driver writes offsets into a ring in shared memory, a child
 * reads the file by io_uring into the same memory, and gives back the slots in a second ring.  Each
 * side says when it sleeps and is woken by an eventfd, as with EVENT_IDX.  What a device needs more
 * than this is its own; what this needs more than the loop is the price of being two.
 */
#include "block_floor.h"

#include "base/fd.h"

#include <errno.h>
#include <liburing.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <unistd.h>

enum { KICK = UINT32_MAX, BATCH = 16 };

/* One way: written by one side, read by the other. */
struct way {
	_Alignas(64) uint32_t tail;
	_Alignas(64) uint32_t wake_at; /* the reader sleeps until tail is beyond */
	_Alignas(64) struct floor_entry entry[FLOOR_SLOTS];
};

struct floor_shared {
	struct way there, back;
};

static void die(const char *what)
{
	perror(what);
	exit(1);
}

static bool is_empty(const struct way *w, uint32_t at)
{
	return __atomic_load_n(&w->tail, __ATOMIC_ACQUIRE) == at;
}

/* False: something came meanwhile. */
static bool may_sleep(struct way *w, uint32_t at)
{
	__atomic_store_n(&w->wake_at, at, __ATOMIC_RELAXED);
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	return is_empty(w, at);
}

static void publish(struct way *w, uint32_t tail, int event)
{
	uint32_t before = w->tail, wake_at;

	if (tail == before)
		return;
	__atomic_store_n(&w->tail, tail, __ATOMIC_RELEASE);
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	wake_at = __atomic_load_n(&w->wake_at, __ATOMIC_RELAXED);
	if (tail - wake_at - 1 < tail - before)
		fd_signal(event);
}

/* ---- the child ---- */

struct server {
	struct floor_shared *shared;
	struct io_uring ring;
	char *memory;
	int kick, call;
	uint32_t at, done;
	unsigned in_flight;
};

static unsigned take(struct server *s)
{
	struct way *there = &s->shared->there;
	unsigned n = 0;

	for (; n < BATCH && !is_empty(there, s->at); n++) {
		const struct floor_entry e = there->entry[s->at++ % FLOOR_SLOTS];
		struct io_uring_sqe *sqe = io_uring_get_sqe(&s->ring);

		io_uring_prep_read(sqe, 0, s->memory + e.memory_at, e.bytes, e.offset);
		sqe->flags |= IOSQE_FIXED_FILE;
		sqe->user_data = e.slot;
		s->in_flight++;
	}
	return n;
}

/* Whether the kick was among what completed. */
static bool give_back(struct server *s)
{
	struct io_uring_cqe *cqe;
	bool was_kicked = false;
	unsigned head, n = 0;

	io_uring_for_each_cqe(&s->ring, head, cqe)
	{
		n++;
		if (cqe->user_data == KICK) {
			was_kicked = true;
			continue;
		}
		s->shared->back.entry[s->done++ % FLOOR_SLOTS] =
			(struct floor_entry){.slot = (uint32_t)cqe->user_data, .result = cqe->res};
		s->in_flight--;
	}
	io_uring_cq_advance(&s->ring, n);
	publish(&s->shared->back, s->done, s->call);
	return was_kicked;
}

static void watch_kick(struct server *s)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(&s->ring);

	io_uring_prep_poll_add(sqe, s->kick, POLLIN);
	sqe->user_data = KICK;
}

static void serve(struct server *s)
{
	watch_kick(s);
	for (;;) {
		bool may_wait = take(s) == 0 && may_sleep(&s->shared->there, s->at);

		if (io_uring_submit_and_wait(&s->ring, may_wait) < 0 && errno != EINTR)
			die("io_uring");
		if (give_back(s)) {
			fd_drain(s->kick);
			watch_kick(s);
		}
	}
}

static void child(struct server *s, int fd)
{
	struct io_uring_params p = {.flags = IORING_SETUP_SINGLE_ISSUER |
					     IORING_SETUP_DEFER_TASKRUN};

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (io_uring_queue_init_params(2 * FLOOR_SLOTS, &s->ring, &p) < 0 &&
	    io_uring_queue_init(2 * FLOOR_SLOTS, &s->ring, 0) < 0)
		die("io_uring");
	if (io_uring_register_files(&s->ring, &fd, 1) < 0)
		die("io_uring files");
	serve(s);
}

/* ---- the driver ---- */

void floor_open(struct floor *f, int fd, char *memory)
{
	f->shared = mmap(NULL, sizeof(*f->shared), PROT_READ | PROT_WRITE,
			 MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	f->kick = fd_eventfd();
	f->call = eventfd(0, EFD_CLOEXEC);
	if (f->shared == MAP_FAILED || f->kick < 0 || f->call < 0)
		die("floor");
	f->pid = fork();
	if (f->pid == 0) {
		struct server s = {
			.shared = f->shared, .memory = memory, .kick = f->kick, .call = f->call};

		child(&s, fd);
	}
}

void floor_submit(struct floor *f, const struct floor_entry *e, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		f->shared->there.entry[f->sent++ % FLOOR_SLOTS] = e[i];
	publish(&f->shared->there, f->sent, f->kick);
}

unsigned floor_reap(struct floor *f, struct floor_entry *e)
{
	struct way *back = &f->shared->back;
	uint64_t count;
	unsigned n = 0;

	while (is_empty(back, f->seen))
		if (may_sleep(back, f->seen) && read(f->call, &count, sizeof(count)) < 0)
			die("call");
	while (!is_empty(back, f->seen))
		e[n++] = back->entry[f->seen++ % FLOOR_SLOTS];
	return n;
}

void floor_close(struct floor *f)
{
	kill(f->pid, SIGKILL);
}
