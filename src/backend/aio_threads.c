/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * aio_threads.c - asynchronous I/O by a pool of threads with blocking calls
 *
 * All threads are made before the first request, none later.  Requests move through three lists:
 * queued (owner's alone), todo and finished (both under the lock).  Each start() hands the queued
 * list over whole; an eventfd tells the owner that finished is no longer empty.
 */
#include "backend/aio.h"

#include "base/fd.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

/* Room for a system call wrapper and a signal frame; the smallest that pthreads takes is near. */
enum { STACK_BYTES = 64 * 1024 };

struct list {
	struct aio_req *first, **last;
};

struct pool {
	struct list queued;
	pthread_mutex_t lock;
	pthread_cond_t work, running;
	struct list todo, finished;
	bool quit;
	int event;
	pthread_t threads[AIO_THREADS_MAX];
	unsigned nthreads, nrunning;
	const struct aio *aio;
};

static void list_init(struct list *l)
{
	*l = (struct list){.last = &l->first};
}

static void list_add(struct list *l, struct aio_req *r)
{
	r->next = NULL;
	*l->last = r;
	l->last = &r->next;
}

static void list_move(struct list *to, struct list *from)
{
	if (!from->first)
		return;
	*to->last = from->first;
	to->last = from->last;
	list_init(from);
}

static struct aio_req *list_pop(struct list *l)
{
	struct aio_req *r = l->first;

	if (!r)
		return NULL;
	l->first = r->next;
	if (!l->first)
		l->last = &l->first;
	return r;
}

static int64_t perform(const struct aio_req *r, int fd)
{
	int64_t n = -1;

	switch (r->op) {
	case AIO_READ:
		n = preadv(fd, r->iov, (int)r->niov, (off_t)r->offset);
		break;
	case AIO_WRITE:
		n = pwritev2(fd, r->iov, (int)r->niov, (off_t)r->offset,
			     r->durable ? RWF_DSYNC : 0);
		break;
	case AIO_SYNC:
		n = fdatasync(fd);
		break;
	case AIO_ALLOCATE:
		n = fallocate(fd, r->mode, (off_t)r->offset, (off_t)r->length);
		break;
	}
	return n < 0 ? -errno : n;
}

static void *thread_main(void *arg)
{
	struct pool *p = arg;

	pthread_mutex_lock(&p->lock);
	p->nrunning++;
	pthread_cond_signal(&p->running);
	while (!p->quit) {
		struct aio_req *r = list_pop(&p->todo);
		bool first;

		if (!r) {
			pthread_cond_wait(&p->work, &p->lock);
			continue;
		}
		pthread_mutex_unlock(&p->lock);
		r->result = perform(r, p->aio->files[r->file]);
		pthread_mutex_lock(&p->lock);
		first = !p->finished.first;
		list_add(&p->finished, r);
		if (first)
			fd_signal(p->event);
	}
	pthread_mutex_unlock(&p->lock);
	return NULL;
}

/*
 * The pool's threads take no signals: those belong to the loop.  Returns when all of them run:
 * how a thread begins is not in the filter's list.
 */
static int create_threads(struct pool *p, unsigned n)
{
	pthread_attr_t attr;
	sigset_t all, before;
	int r = 0;

	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, STACK_BYTES);
	sigfillset(&all);
	sigdelset(&all, SIGSYS); /* a refused call is to be reported */
	pthread_sigmask(SIG_SETMASK, &all, &before);
	while (r == 0 && p->nthreads < n) {
		r = pthread_create(&p->threads[p->nthreads], &attr, thread_main, p);
		if (r == 0)
			p->nthreads++;
	}
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	pthread_attr_destroy(&attr);
	pthread_mutex_lock(&p->lock);
	while (p->nrunning < p->nthreads)
		pthread_cond_wait(&p->running, &p->lock);
	pthread_mutex_unlock(&p->lock);
	return r;
}

static int threads_init(struct aio *a, struct err *e)
{
	struct pool *p = calloc(1, sizeof(*p));

	if (!p)
		return err_set(e, ENOMEM, "cannot make a pool of threads");
	p->aio = a;
	list_init(&p->queued);
	list_init(&p->todo);
	list_init(&p->finished);
	pthread_mutex_init(&p->lock, NULL);
	pthread_cond_init(&p->work, NULL);
	pthread_cond_init(&p->running, NULL);
	a->state = p;
	p->event = fd_eventfd();
	if (p->event < 0)
		return err_set(e, -p->event, "cannot make an eventfd");
	a->watch.fd = p->event;
	return 0;
}

static int threads_enable(struct aio *a, struct err *e)
{
	struct pool *p = a->state;
	int r = create_threads(p, a->threads);

	if (r != 0)
		return err_set(e, r, "cannot start I/O thread %u of %u", p->nthreads + 1,
			       a->threads);
	return 0;
}

static void threads_fini(struct aio *a)
{
	struct pool *p = a->state;

	if (!p)
		return;
	pthread_mutex_lock(&p->lock);
	p->quit = true;
	pthread_cond_broadcast(&p->work);
	pthread_mutex_unlock(&p->lock);
	for (unsigned i = 0; i < p->nthreads; i++)
		pthread_join(p->threads[i], NULL);
	pthread_cond_destroy(&p->work);
	pthread_cond_destroy(&p->running);
	pthread_mutex_destroy(&p->lock);
	fd_close(&p->event);
	free(p);
	a->state = NULL;
	a->watch.fd = -1;
}

static void threads_queue(struct aio *a, struct aio_req *r)
{
	struct pool *p = a->state;

	list_add(&p->queued, r);
}

static void threads_start(struct aio *a)
{
	struct pool *p = a->state;

	if (a->queued == 0)
		return;
	pthread_mutex_lock(&p->lock);
	list_move(&p->todo, &p->queued);
	pthread_mutex_unlock(&p->lock);
	if (a->queued == 1)
		pthread_cond_signal(&p->work);
	else
		pthread_cond_broadcast(&p->work);
	a->queued = 0;
}

static void threads_reap(struct aio *a)
{
	struct pool *p = a->state;
	struct aio_req *r;
	struct list done;

	fd_drain(p->event);
	list_init(&done);
	pthread_mutex_lock(&p->lock);
	list_move(&done, &p->finished);
	pthread_mutex_unlock(&p->lock);
	while ((r = list_pop(&done)))
		aio_done(a, r, r->result);
}

static void threads_wait(struct aio *a)
{
	struct pool *p = a->state;
	struct pollfd pfd = {.fd = p->event, .events = POLLIN};

	poll(&pfd, 1, -1);
}

const struct aio_engine aio_threads = {
	.name = "threads",
	.init = threads_init,
	.enable = threads_enable,
	.fini = threads_fini,
	.queue = threads_queue,
	.start = threads_start,
	.reap = threads_reap,
	.wait = threads_wait,
};
