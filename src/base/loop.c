/* SPDX-License-Identifier: BSD-3-Clause */
/* loop.c - epoll: descriptors that become ready, timers */
#include "base/loop.h"

#include "base/fd.h"

#include <assert.h>
#include <errno.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

static void stop_ready(struct watch *w, uint32_t events)
{
	struct loop *l = container_of(w, struct loop, stop_watch);

	(void)events;
	fd_drain(l->stop_fd);
	l->stopped = true;
}

int loop_init(struct loop *l)
{
	int r;

	*l = (struct loop){.epoll_fd = -1, .stop_fd = -1};
	l->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (l->epoll_fd < 0)
		return -errno;
	l->stop_fd = fd_eventfd();
	if (l->stop_fd < 0) {
		r = l->stop_fd;
		loop_fini(l);
		return r;
	}
	l->stop_watch = (struct watch){.fd = l->stop_fd, .ready = stop_ready};
	return loop_add(l, &l->stop_watch, EPOLLIN);
}

void loop_fini(struct loop *l)
{
	if (!l)
		return;
	fd_close(&l->epoll_fd);
	fd_close(&l->stop_fd);
}

static int control(struct loop *l, int op, struct watch *w, uint32_t events)
{
	struct epoll_event ev = {.events = events, .data.ptr = w};

	return epoll_ctl(l->epoll_fd, op, w->fd, &ev) < 0 ? -errno : 0;
}

int loop_add(struct loop *l, struct watch *w, uint32_t events)
{
	assert(w->ready);
	return control(l, EPOLL_CTL_ADD, w, events);
}

int loop_change(struct loop *l, struct watch *w, uint32_t events)
{
	return control(l, EPOLL_CTL_MOD, w, events);
}

void loop_remove(struct loop *l, struct watch *w)
{
	epoll_ctl(l->epoll_fd, EPOLL_CTL_DEL, w->fd, NULL);
	for (int i = l->batch_at; i < l->batch_count; i++)
		if (l->batch[i].data.ptr == w)
			l->batch[i].data.ptr = NULL;
}

int loop_once(struct loop *l, int timeout_ms)
{
	int n = epoll_wait(l->epoll_fd, l->batch, LOOP_BATCH, timeout_ms);

	if (n < 0)
		return errno == EINTR ? 0 : -errno;
	l->batch_count = n;
	for (l->batch_at = 0; l->batch_at < l->batch_count;) {
		struct epoll_event ev = l->batch[l->batch_at++];
		struct watch *w = ev.data.ptr;

		if (w)
			w->ready(w, ev.events);
	}
	return 0;
}

int loop_run(struct loop *l)
{
	int r = 0;

	l->stopped = false;
	while (!l->stopped && r == 0)
		r = loop_once(l, -1);
	return r;
}

void loop_stop(struct loop *l)
{
	fd_signal(l->stop_fd);
}

static void timer_ready(struct watch *w, uint32_t events)
{
	struct timer *t = container_of(w, struct timer, watch);

	(void)events;
	if (fd_drain(w->fd) > 0)
		t->expired(t);
}

int timer_init(struct timer *t, struct loop *l, void (*expired)(struct timer *t))
{
	auto_fd fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	int r;

	*t = (struct timer){.watch = {.fd = -1, .ready = timer_ready}, .expired = expired};
	if (fd < 0)
		return -errno;
	t->watch.fd = fd;
	r = loop_add(l, &t->watch, EPOLLIN);
	if (r < 0) {
		t->watch.fd = -1;
		return r;
	}
	t->watch.fd = fd_take(&fd);
	return 0;
}

void timer_fini(struct timer *t, struct loop *l)
{
	if (!t || t->watch.fd < 0)
		return;
	loop_remove(l, &t->watch);
	fd_close(&t->watch.fd);
}

void timer_set(struct timer *t, uint64_t first_ns, uint64_t period_ns)
{
	const uint64_t second = 1000000000u;
	struct itimerspec spec = {
		.it_value = {(time_t)(first_ns / second), (long)(first_ns % second)},
		.it_interval = {(time_t)(period_ns / second), (long)(period_ns % second)},
	};
	int r = timerfd_settime(t->watch.fd, 0, &spec, NULL);

	assert(r == 0);
	(void)r;
}

uint64_t clock_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}
