/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * loop.h - epoll: descriptors that become ready, timers
 *
 * A watch is a member of its owner; container_of() leads back.  The loop allocates nothing after
 * loop_init().  A watch may be removed, also by another's callback, while events are handed out; it
 * is not called afterwards.  One thread runs a loop; only loop_stop() may be called from others.
 */
#pragma once

#include "base/attr.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/epoll.h>

struct watch {
	int fd; /* borrowed */
	void (*ready)(struct watch *w, uint32_t events);
};

enum { LOOP_BATCH = 32 };

struct loop {
	int epoll_fd, stop_fd;
	struct watch stop_watch;
	bool stopped;
	struct epoll_event batch[LOOP_BATCH]; /* being handed out */
	int batch_at, batch_count;
};

int loop_init(struct loop *l) MUST_CHECK;
void loop_fini(struct loop *l);

/* events: EPOLLIN, EPOLLOUT; EPOLLHUP and EPOLLERR always come.  Level-triggered. 0 or -errno. */
int loop_add(struct loop *l, struct watch *w, uint32_t events) MUST_CHECK;
int loop_change(struct loop *l, struct watch *w, uint32_t events) MUST_CHECK;
void loop_remove(struct loop *l, struct watch *w);

/* Hands out events until loop_stop(). 0 or -errno. */
int loop_run(struct loop *l) MUST_CHECK;

/* Waits at most timeout_ms (-1: for ever) and hands out one batch. 0 or -errno. */
int loop_once(struct loop *l, int timeout_ms) MUST_CHECK;

/* Makes loop_run() return after the callback that runs; from any thread or a signal handler. */
void loop_stop(struct loop *l);

/* A CLOCK_MONOTONIC timer on the loop. */
struct timer {
	struct watch watch;
	void (*expired)(struct timer *t);
};

int timer_init(struct timer *t, struct loop *l, void (*expired)(struct timer *t)) MUST_CHECK;
void timer_fini(struct timer *t, struct loop *l);

/* Expires once after first_ns, then every period_ns (0: only once); first_ns 0 disarms. */
void timer_set(struct timer *t, uint64_t first_ns, uint64_t period_ns);

/* CLOCK_MONOTONIC in nanoseconds. */
uint64_t clock_ns(void);
