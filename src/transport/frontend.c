/* SPDX-License-Identifier: BSD-3-Clause */
/* frontend.c - a virtio device as the main process sees it: registers, status, attachment */
#include "transport/frontend.h"

#include "base/fd.h"
#include "base/num.h"
#include "transport/frontend_peer.h"
#include "virtio/ids.h"

#include <assert.h>
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

enum {
	DRIVER_STATUS = VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER |
			VIRTIO_CONFIG_S_FEATURES_OK | VIRTIO_CONFIG_S_DRIVER_OK |
			VIRTIO_CONFIG_S_FAILED,
};

/* ---- life ---- */

/* A device found a ring broken, or peer_break() was called. */
static void error_ready(struct watch *w, uint32_t events)
{
	struct frontend *f = container_of(w, struct frontend, error_watch);
	unsigned session = f->session; /* before the drain: a reset in between drains first */

	(void)events;
	if (fd_drain(f->error_fd) == 0)
		return;
	f->broken_session = session;
	log_limited(&f->complaints, "%s: the device needs a reset", f->args.name);
	if (f->listener)
		f->listener->config_changed(f->listener);
}

static int queues_init(struct frontend *f)
{
	for (unsigned i = 0; i < f->nqueues; i++) {
		struct frontend_queue *q = &f->queues[i];

		q->size = f->args.queue_size;
		q->kick_fd = fd_eventfd();
		q->call_fd = fd_eventfd();
		if (q->kick_fd < 0 || q->call_fd < 0)
			return -EMFILE;
	}
	return 0;
}

static void lock_init(struct frontend *f)
{
	pthread_condattr_t a;

	pthread_mutex_init(&f->lock, NULL);
	pthread_condattr_init(&a);
	pthread_condattr_setclock(&a, CLOCK_MONOTONIC);
	pthread_cond_init(&f->linked, &a);
	pthread_condattr_destroy(&a);
}

int frontend_init(struct frontend *f, const struct frontend_args *args, struct err *e)
{
	int r;

	assert(args->nqueues > 0 && args->nqueues <= FRONTEND_QUEUES_MAX);
	assert(args->config_size <= FRONTEND_CONFIG_MAX);
	*f = (struct frontend){.args = *args,
			       .sock = -1,
			       .channel = -1,
			       .channel_peer = -1,
			       .inflight_fd = -1,
			       .session = 1,
			       .nqueues = args->nqueues};
	for (unsigned i = 0; i < FRONTEND_QUEUES_MAX; i++)
		f->queues[i].kick_fd = f->queues[i].call_fd = -1;
	if (f->args.queue_size == 0)
		f->args.queue_size = 256;
	if (f->args.limit_ms == 0)
		f->args.limit_ms = FRONTEND_LIMIT_MS;
	if (args->config)
		memcpy(f->config, args->config, args->config_size);
	lock_init(f);
	r = queues_init(f);
	f->error_fd = fd_eventfd();
	if (r == 0 && f->error_fd < 0)
		r = f->error_fd;
	f->error_watch = (struct watch){.fd = f->error_fd, .ready = error_ready};
	if (r == 0)
		r = loop_add(args->loop, &f->error_watch, EPOLLIN);
	return r < 0 ? err_set(e, -r, "%s: cannot make its eventfds", args->name) : 0;
}

static void channel_close(struct frontend *f)
{
	if (f->channel < 0)
		return;
	loop_remove(f->args.loop, &f->channel_watch);
	vu_conn_fini(&f->channel_conn);
	fd_close(&f->channel);
}

void frontend_detach(struct frontend *f)
{
	if (f->sock < 0)
		return;
	shutdown(f->sock, SHUT_RDWR); /* who waits for an answer stops waiting, and unlocks */
	pthread_mutex_lock(&f->lock);
	peer_cut(f, -ENODATA);
	loop_remove(f->args.loop, &f->sock_watch);
	link_fini(&f->link);
	fd_close(&f->sock);
	fd_close(&f->channel_peer);
	pthread_mutex_unlock(&f->lock);
	channel_close(f);
}

void frontend_fini(struct frontend *f)
{
	if (!f || !f->args.name)
		return;
	frontend_detach(f);
	if (f->error_fd >= 0)
		loop_remove(f->args.loop, &f->error_watch);
	fd_close(&f->error_fd);
	fd_close(&f->inflight_fd);
	for (unsigned i = 0; i < FRONTEND_QUEUES_MAX; i++) {
		fd_close(&f->queues[i].kick_fd);
		fd_close(&f->queues[i].call_fd);
	}
	pthread_mutex_destroy(&f->lock);
	pthread_cond_destroy(&f->linked);
	f->args.name = NULL;
}

/* The device has answered the greeting, or has gone. */
static void sock_ready(struct watch *w, uint32_t events)
{
	struct frontend *f = container_of(w, struct frontend, sock_watch);
	const char *why;

	if (!(events & (EPOLLHUP | EPOLLERR))) {
		if (loop_change(f->args.loop, w, 0) < 0)
			log_error("%s: cannot watch its socket", f->args.name);
		pthread_mutex_lock(&f->lock);
		peer_shake_hands(f);
		pthread_mutex_unlock(&f->lock);
		return;
	}
	loop_remove(f->args.loop, w);
	pthread_mutex_lock(&f->lock);
	peer_cut(f, -ENODATA);
	why = f->why;
	pthread_mutex_unlock(&f->lock);
	f->args.lost(f, why);
}

/* One message of the device's own accord.  It is answered first, for it may wait for that. */
static void channel_message(struct frontend *f, const struct vu_msg *m)
{
	bool is_known = m->request == VU_BACKEND_CONFIG_CHANGE;

	if (m->flags & VU_FLAG_NEED_REPLY &&
	    vu_reply_u64(&f->channel_conn, m, is_known ? 0 : 1) < 0)
		return; /* it does not read: then it does not want to know */
	if (!is_known)
		return;
	atomic_store(&f->config_stale, true);
	if (f->listener)
		f->listener->config_changed(f->listener);
}

static void channel_ready(struct watch *w, uint32_t events)
{
	struct frontend *f = container_of(w, struct frontend, channel_watch);
	struct vu_msg m;
	int r = vu_recv(&f->channel_conn, &m);

	(void)events;
	if (r == -EAGAIN)
		return;
	if (r < 0) {
		channel_close(f);
		return;
	}
	channel_message(f, &m);
	vu_msg_fini(&m);
}

static int channel_open(struct frontend *f)
{
	struct link nonblocking;
	int pair[2];
	int r = fd_socketpair(SOCK_STREAM, pair);

	if (r < 0)
		return r;
	f->channel = pair[0];
	f->channel_peer = pair[1];
	f->channel_conn = (struct vu_conn){.sock = pair[0], .direction = VU_BACKEND_REQUESTS};
	f->channel_watch = (struct watch){.fd = pair[0], .ready = channel_ready};
	r = link_init(&nonblocking, pair[0]);
	return r < 0 ? r : loop_add(f->args.loop, &f->channel_watch, EPOLLIN);
}

static int attach(struct frontend *f, int sock)
{
	const struct vu_msg greeting = {.request = VU_GET_FEATURES};
	const struct vu_msg second = {.request = VU_GET_PROTOCOL_FEATURES};
	int r = link_init(&f->link, sock);

	if (r == 0)
		r = channel_open(f);
	if (r == 0)
		r = vu_send(&f->link.conn, &greeting);
	if (r == 0 && f->args.has_protocol)
		r = vu_send(&f->link.conn, &second);
	f->sock_watch = (struct watch){.fd = sock, .ready = sock_ready};
	if (r == 0)
		r = loop_add(f->args.loop, &f->sock_watch, EPOLLIN);
	if (r < 0)
		return r;
	f->sock = sock;
	f->why = NULL;
	f->state = FRONTEND_GREETED;
	pthread_cond_broadcast(&f->linked);
	return 0;
}

int frontend_attach_take(struct frontend *f, int sock, struct err *e)
{
	int r;

	frontend_detach(f);
	pthread_mutex_lock(&f->lock);
	r = attach(f, sock);
	if (r == 0 && f->known)
		f->restarts++;
	pthread_mutex_unlock(&f->lock);
	if (r < 0) {
		fd_close(&f->channel_peer);
		channel_close(f);
		return err_set(e, -r, "%s: cannot speak to the device", f->args.name);
	}
	return 0;
}

void frontend_give_up(struct frontend *f)
{
	frontend_detach(f);
	pthread_mutex_lock(&f->lock);
	f->given_up = true;
	if (f->status & VIRTIO_CONFIG_S_DRIVER_OK)
		peer_break(f);
	pthread_cond_broadcast(&f->linked);
	pthread_mutex_unlock(&f->lock);
}

unsigned frontend_restarts(const struct frontend *f)
{
	return f->restarts;
}

bool frontend_is_linked(const struct frontend *f)
{
	return f->state == FRONTEND_LINKED;
}

/* The index of a split ring's last used element; of a packed ring, whose elements tell, a hash. */
static uint64_t queue_progress(const struct frontend *f, const struct frontend_queue *q)
{
	uint64_t hash = 0;
	le16 used_index = {{0}};
	le64 half;

	if (!(f->driver_features & VIRTIO_BIT(VIRTIO_F_RING_PACKED))) {
		if (!gmem_read(f->args.gmem, q->device + 2, &used_index, sizeof(used_index)))
			return 0;
		return le16_get(used_index);
	}
	for (unsigned i = 0; i < q->size; i++)
		if (gmem_read(f->args.gmem, q->desc + 16 * i + 8, &half, sizeof(half)))
			hash = hash * 31 + le64_get(half);
	return hash;
}

uint64_t frontend_progress(struct frontend *f)
{
	uint64_t sum = 0;

	pthread_mutex_lock(&f->lock);
	for (unsigned i = 0; i < f->nqueues; i++)
		if (f->queues[i].enabled)
			sum = sum * 65537 + queue_progress(f, &f->queues[i]);
	pthread_mutex_unlock(&f->lock);
	return sum;
}

/* ---- features and status ---- */

uint64_t frontend_features(struct frontend *f)
{
	uint64_t features;

	pthread_mutex_lock(&f->lock);
	features = peer_known(f) ? f->features : 0;
	pthread_mutex_unlock(&f->lock);
	return features;
}

uint64_t frontend_driver_features(struct frontend *f)
{
	uint64_t features;

	pthread_mutex_lock(&f->lock);
	features = f->driver_features;
	pthread_mutex_unlock(&f->lock);
	return features;
}

void frontend_driver_features_set(struct frontend *f, uint32_t word, uint32_t value)
{
	unsigned shift = 32 * word;

	if (word > 1)
		return;
	pthread_mutex_lock(&f->lock);
	if (!(f->status & VIRTIO_CONFIG_S_FEATURES_OK)) {
		f->driver_features &= ~((uint64_t)UINT32_MAX << shift);
		f->driver_features |= (uint64_t)value << shift;
	}
	pthread_mutex_unlock(&f->lock);
}

uint8_t frontend_status(struct frontend *f)
{
	uint8_t status;

	pthread_mutex_lock(&f->lock);
	status = f->status;
	if (f->broken_session == f->session)
		status |= VIRTIO_CONFIG_S_NEEDS_RESET;
	pthread_mutex_unlock(&f->lock);
	return status;
}

/* All but the eventfds, which others read without the lock. */
static void queue_clear(struct frontend *f, struct frontend_queue *q)
{
	q->size = f->args.queue_size;
	q->enabled = q->live = q->begun = q->has_base = false;
	q->desc = q->driver = q->device = 0;
}

static void reset(struct frontend *f)
{
	peer_stop(f);
	for (unsigned q = 0; q < f->nqueues; q++)
		queue_clear(f, &f->queues[q]);
	memset(f->written, 0, sizeof(f->written));
	f->driver_features = 0;
	f->status = 0;
	f->paused = false;
	f->config_stale = true;
	fd_drain(f->error_fd);
	f->session++;
}

static bool features_are_fine(struct frontend *f)
{
	return peer_known(f) && !(f->driver_features & ~f->features) &&
	       (f->driver_features & VIRTIO_BIT(VIRTIO_F_VERSION_1));
}

/* The bits that the driver sets now and may set; bits are taken away by a reset only. */
static uint8_t status_added(struct frontend *f, uint8_t status)
{
	uint8_t added = status & (uint8_t)~f->status & DRIVER_STATUS;

	if (added & VIRTIO_CONFIG_S_FEATURES_OK && !features_are_fine(f))
		added &= (uint8_t)~VIRTIO_CONFIG_S_FEATURES_OK;
	if (!((f->status | added) & VIRTIO_CONFIG_S_FEATURES_OK))
		added &= (uint8_t)~VIRTIO_CONFIG_S_DRIVER_OK;
	return added;
}

void frontend_status_set(struct frontend *f, uint8_t status)
{
	uint8_t added;

	pthread_mutex_lock(&f->lock);
	if (status == 0) {
		reset(f);
	} else {
		added = status_added(f, status);
		f->status |= added;
		if (added & VIRTIO_CONFIG_S_DRIVER_OK)
			peer_start(f);
	}
	pthread_mutex_unlock(&f->lock);
}

void frontend_pause(struct frontend *f)
{
	pthread_mutex_lock(&f->lock);
	f->paused = f->status & VIRTIO_CONFIG_S_DRIVER_OK;
	if (f->paused)
		peer_pause(f);
	pthread_mutex_unlock(&f->lock);
}

void frontend_resume(struct frontend *f)
{
	pthread_mutex_lock(&f->lock);
	if (f->paused) {
		f->paused = false;
		peer_resume(f);
	}
	pthread_mutex_unlock(&f->lock);
}

/* ---- queues ---- */

/* Locks f if there is such a queue, or returns NULL. */
static struct frontend_queue *queue_lock(struct frontend *f, unsigned q)
{
	pthread_mutex_lock(&f->lock);
	if (q < f->nqueues)
		return &f->queues[q];
	pthread_mutex_unlock(&f->lock);
	return NULL;
}

unsigned frontend_nqueues(struct frontend *f)
{
	unsigned n;

	pthread_mutex_lock(&f->lock);
	n = peer_known(f) ? f->nqueues : 0;
	pthread_mutex_unlock(&f->lock);
	return n;
}

uint16_t frontend_queue_size_max(struct frontend *f, unsigned q)
{
	return q < frontend_nqueues(f) ? f->args.queue_size : 0;
}

uint16_t frontend_queue_size(struct frontend *f, unsigned q)
{
	struct frontend_queue *queue = queue_lock(f, q);
	uint16_t size;

	if (!queue)
		return 0;
	size = queue->size;
	pthread_mutex_unlock(&f->lock);
	return size;
}

void frontend_queue_size_set(struct frontend *f, unsigned q, uint32_t size)
{
	struct frontend_queue *queue = queue_lock(f, q);
	bool is_packed;

	if (!queue)
		return;
	is_packed = f->driver_features & VIRTIO_BIT(VIRTIO_F_RING_PACKED);
	if (!queue->enabled && size > 0 && size <= f->args.queue_size &&
	    (is_packed || is_power_of_two(size)))
		queue->size = (uint16_t)size;
	pthread_mutex_unlock(&f->lock);
}

static gpa *queue_area(struct frontend_queue *q, enum frontend_area area)
{
	switch (area) {
	case FRONTEND_DESC:
		return &q->desc;
	case FRONTEND_DRIVER:
		return &q->driver;
	case FRONTEND_DEVICE:
		return &q->device;
	}
	return &q->desc;
}

uint64_t frontend_queue_address(struct frontend *f, unsigned q, enum frontend_area area)
{
	struct frontend_queue *queue = queue_lock(f, q);
	gpa address;

	if (!queue)
		return 0;
	address = *queue_area(queue, area);
	pthread_mutex_unlock(&f->lock);
	return address;
}

void frontend_queue_address_set(struct frontend *f, unsigned q, enum frontend_area area,
				bool high_half, uint32_t value)
{
	struct frontend_queue *queue = queue_lock(f, q);
	unsigned shift = high_half ? 32 : 0;
	gpa *address;

	if (!queue)
		return;
	address = queue_area(queue, area);
	if (!queue->enabled)
		*address = (*address & ~((gpa)UINT32_MAX << shift)) | (gpa)value << shift;
	pthread_mutex_unlock(&f->lock);
}

bool frontend_queue_enabled(struct frontend *f, unsigned q)
{
	struct frontend_queue *queue = queue_lock(f, q);
	bool enabled;

	if (!queue)
		return false;
	enabled = queue->enabled;
	pthread_mutex_unlock(&f->lock);
	return enabled;
}

void frontend_queue_enable(struct frontend *f, unsigned q)
{
	struct frontend_queue *queue = queue_lock(f, q);

	if (!queue)
		return;
	if (!queue->enabled) {
		queue->enabled = true;
		if (f->status & VIRTIO_CONFIG_S_DRIVER_OK)
			peer_queue_start(f, q);
	}
	pthread_mutex_unlock(&f->lock);
}

void frontend_queue_reset(struct frontend *f, unsigned q)
{
	struct frontend_queue *queue = queue_lock(f, q);

	if (!queue)
		return;
	peer_queue_stop(f, q);
	queue_clear(f, queue);
	pthread_mutex_unlock(&f->lock);
}

bool frontend_has_queue_reset(struct frontend *f)
{
	return frontend_driver_features(f) & VIRTIO_BIT(VIRTIO_F_RING_RESET);
}

/* ---- device-specific configuration ---- */

void frontend_config_read(struct frontend *f, uint64_t at, void *out, size_t n)
{
	memset(out, 0, n);
	if (at >= f->args.config_size)
		return;
	pthread_mutex_lock(&f->lock);
	if (peer_known(f))
		peer_config_refresh(f);
	memcpy(out, &f->config[at], min_size(n, f->args.config_size - at));
	pthread_mutex_unlock(&f->lock);
}

void frontend_config_write(struct frontend *f, uint64_t at, const void *in, size_t n)
{
	if (!is_inside(at, n, f->args.config_size))
		return;
	pthread_mutex_lock(&f->lock);
	memcpy(&f->driver_config[at], in, n);
	f->written[at] = (uint8_t)n;
	peer_config_write(f, (uint32_t)at, (uint32_t)n);
	pthread_mutex_unlock(&f->lock);
}

uint8_t frontend_generation(struct frontend *f)
{
	uint8_t generation;

	pthread_mutex_lock(&f->lock);
	if (peer_known(f))
		peer_config_refresh(f);
	generation = f->generation;
	pthread_mutex_unlock(&f->lock);
	return generation;
}
