/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * frontend_peer.c - the side of a front end that speaks to the device
 *
 * Greeting (GET_FEATURES is sent) and handshake are apart, so that nobody waits for a device that
 * is still opening its files: the answer wakes the loop, or is waited for by the first vCPU that
 * needs to know something.  What can be asked is asked before the first answer is waited for: each
 * wait is two changes of process.  Cutting a device off only shuts the socket down; the loop hears
 * the hang-up and tells the owner.
 *
 * A request that a device refuses (-EREMOTEIO) while a driver starts is taken for the driver's
 * fault, and breaks its session; during the handshake it is the device's.
 */
#include "transport/frontend_peer.h"

#include "base/fd.h"
#include "base/num.h"
#include "virtio/ids.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum {
	HANDSHAKE_LIMIT_MS = 2000, /* for a device that is up and running */
	INFLIGHT_BYTES_MAX = 64 << 20,  /* more than any number of queues needs */
	INFLIGHT_HEAD_BYTES = 64,       /* of a queue's part, with the version; 0 means unused */
};

static const uint64_t protocol_wanted =
	VU_BIT(VU_PROTOCOL_F_MQ) | VU_BIT(VU_PROTOCOL_F_REPLY_ACK) |
	VU_BIT(VU_PROTOCOL_F_BACKEND_REQ) | VU_BIT(VU_PROTOCOL_F_CONFIG) |
	VU_BIT(VU_PROTOCOL_F_INFLIGHT_SHMFD) | VU_BIT(VU_PROTOCOL_F_RESET_DEVICE) |
	VU_BIT(VU_PROTOCOL_F_STATUS);

/* Of the reserved bits (24 to 49), those that work with any transport of ours. */
static const uint64_t reserved_bits = ((1ull << 50) - 1) & ~((1ull << 24) - 1);
static const uint64_t reserved_known = VIRTIO_RING_FEATURES | VIRTIO_BIT(VIRTIO_F_VERSION_1) |
				       VIRTIO_BIT(VIRTIO_F_IN_ORDER) |
				       VIRTIO_BIT(VIRTIO_F_ORDER_PLATFORM);

static const char *reason(int r)
{
	switch (r) {
	case -ETIMEDOUT:
		return "did not answer in time";
	case -EPROTO:
		return "broke the vhost-user protocol";
	case -ENODATA:
	case -EPIPE:
	case -ECONNRESET:
		return "closed the connection";
	case -EREMOTEIO:
		return "refused a request";
	case -ENOTSUP:
		return "lacks a feature that is needed";
	default:
		return "cannot be spoken to";
	}
}

void peer_cut(struct frontend *f, int r)
{
	for (unsigned q = 0; q < FRONTEND_QUEUES_MAX; q++)
		f->queues[q].live = false;
	if (f->state == FRONTEND_UNLINKED)
		return;
	f->state = FRONTEND_UNLINKED;
	f->why = reason(r);
	if (f->sock >= 0)
		shutdown(f->sock, SHUT_RDWR);
}

void peer_break(struct frontend *f)
{
	f->broken_session = f->session;
	fd_signal(f->error_fd); /* the loop interrupts the driver */
}

/* ---- handshake ---- */

static int negotiate_protocol(struct frontend *f)
{
	struct link *l = &f->link;
	uint64_t offered, agreed;
	int r;

	if (!(f->backend_features & VU_BIT(VU_F_PROTOCOL_FEATURES)))
		return f->args.has_protocol ? -EPROTO : 0;
	if (f->args.has_protocol) /* asked with the greeting */
		r = link_answer_u64(l, VU_GET_PROTOCOL_FEATURES, &offered);
	else
		r = link_get_u64(l, VU_GET_PROTOCOL_FEATURES, &offered);
	if (r < 0)
		return r;
	agreed = offered & protocol_wanted;
	if (!(agreed & VU_BIT(VU_PROTOCOL_F_REPLY_ACK)))
		agreed &= ~VU_BIT(VU_PROTOCOL_F_BACKEND_REQ); /* it could not be told of refusals */
	r = link_set_u64(l, VU_SET_PROTOCOL_FEATURES, agreed);
	if (r == 0)
		l->protocol = agreed;
	return r;
}

static bool has_queue_count(const struct frontend *f)
{
	return link_has(&f->link, VU_PROTOCOL_F_MQ) && f->args.nqueues > 1;
}

static int learn_queue_count(struct frontend *f)
{
	uint64_t n;
	int r;

	if (!has_queue_count(f))
		return 0;
	r = link_answer_u64(&f->link, VU_GET_QUEUE_NUM, &n);
	if (r < 0)
		return r;
	if (f->known)
		return n < f->nqueues ? -ENOTSUP : 0;
	f->nqueues = (unsigned)max_u64(1, min_u64(n, f->nqueues));
	return 0;
}

static int hand_over_channel(struct frontend *f)
{
	struct vu_msg m = {.request = VU_SET_BACKEND_REQ_FD, .fds = {f->channel_peer}, .nfds = 1};
	int r = 0;

	if (link_has(&f->link, VU_PROTOCOL_F_BACKEND_REQ))
		r = link_post(&f->link, &m);
	fd_close(&f->channel_peer);
	return r;
}

static int ask_config(struct frontend *f, uint32_t size)
{
	if (size == 0 || !link_has(&f->link, VU_PROTOCOL_F_CONFIG))
		return 0;
	return link_post_get_config(&f->link, 0, size);
}

/* The configuration as the device has it now; a change becomes visible as a new generation. */
static int learn_config(struct frontend *f, uint32_t size)
{
	uint8_t now[FRONTEND_CONFIG_MAX];
	int r;

	if (size == 0 || !link_has(&f->link, VU_PROTOCOL_F_CONFIG))
		return 0;
	r = link_answer_config(&f->link, now, size);
	if (r < 0 || memcmp(now, f->config, size) == 0)
		return r;
	memcpy(f->config, now, size);
	f->generation++;
	return 0;
}

static int fetch_config(struct frontend *f, uint32_t size)
{
	int r = ask_config(f, size);

	return r < 0 ? r : learn_config(f, size);
}

/*
 * All of it has been asked for.  Foreign devices may know less of the configuration than we, and
 * refuse to be asked for more.
 */
static int find_config(struct frontend *f)
{
	uint32_t size = (uint32_t)f->args.config_size, refused = size + 1, granted = 0;
	int r = learn_config(f, size);

	while (r == 0 || r == -EREMOTEIO) {
		if (r == 0)
			granted = size;
		else
			refused = size;
		if (refused - granted <= 1)
			break;
		size = granted + (refused - granted) / 2;
		r = fetch_config(f, size);
	}
	f->config_known = granted;
	return r == -EREMOTEIO ? 0 : r;
}

/*
 * The driver's writes to the configuration, of which a device may refuse those that make no sense.
 */
static int replay_config(struct frontend *f)
{
	int r = 0;

	if (!link_has(&f->link, VU_PROTOCOL_F_CONFIG))
		return 0;
	for (uint32_t at = 0; at < f->args.config_size && r == 0; at++) {
		if (f->written[at] > 0)
			r = link_set_config(&f->link, at, &f->driver_config[at], f->written[at]);
		if (r == -EREMOTEIO)
			r = 0;
	}
	return r;
}

/* What the driver sees of the device's features; of a later one: has it what was agreed? */
static int settle_features(struct frontend *f)
{
	const uint64_t ours = VIRTIO_BIT(VIRTIO_F_RING_RESET);
	uint64_t offered = f->backend_features & ~VU_BIT(VU_F_PROTOCOL_FEATURES);

	if (!(offered & VIRTIO_BIT(VIRTIO_F_VERSION_1)))
		return -ENOTSUP;
	if (f->known)
		return (f->driver_features & ~offered & ~ours) ? -ENOTSUP : 0;
	offered &= ~reserved_bits | reserved_known;
	if (!link_has(&f->link, VU_PROTOCOL_F_INFLIGHT_SHMFD))
		offered &= ~VIRTIO_BIT(VIRTIO_F_RING_PACKED); /* see ring_base() */
	f->features = (offered & ~f->args.features_hidden) | ours;
	return 0;
}

/* The configuration of a first device only: a later one has writes to hear of before. */
static int ask_all(struct frontend *f)
{
	int r = link_post(&f->link, &(struct vu_msg){.request = VU_SET_OWNER});

	if (r == 0 && has_queue_count(f))
		r = link_post(&f->link, &(struct vu_msg){.request = VU_GET_QUEUE_NUM});
	if (r == 0)
		r = hand_over_channel(f);
	if (r == 0 && !f->known)
		r = ask_config(f, (uint32_t)f->args.config_size);
	return r;
}

static int shake_hands(struct frontend *f)
{
	struct vu_msg reply;
	int r;

	link_begin(&f->link, f->args.limit_ms);
	r = link_answer(&f->link, VU_GET_FEATURES, &reply);
	if (r < 0)
		return r;
	f->backend_features = le64_get(reply.p.u64);
	vu_msg_fini(&reply);

	link_begin(&f->link, (unsigned)min_u64(HANDSHAKE_LIMIT_MS, f->args.limit_ms));
	r = negotiate_protocol(f);
	if (r == 0)
		r = settle_features(f);
	if (r == 0)
		r = ask_all(f);
	if (r == 0)
		r = learn_queue_count(f);
	if (r == 0 && f->known)
		r = replay_config(f);
	if (r == 0 && f->known)
		r = ask_config(f, (uint32_t)f->args.config_size);
	if (r == 0)
		r = find_config(f);
	return r;
}

void peer_shake_hands(struct frontend *f)
{
	int r;

	if (f->state != FRONTEND_GREETED)
		return;
	r = shake_hands(f);
	if (r < 0) {
		peer_cut(f, r);
		return;
	}
	f->known = true;
	f->state = FRONTEND_LINKED;
	pthread_cond_broadcast(&f->linked);
	if (f->status & VIRTIO_CONFIG_S_DRIVER_OK)
		peer_resume(f);
}

bool peer_known(struct frontend *f)
{
	uint64_t limit = clock_ns() + f->args.limit_ms * 1000000ull;
	struct timespec until = {.tv_sec = (time_t)(limit / 1000000000),
				 .tv_nsec = (long)(limit % 1000000000)};
	int r = 0;

	while (!f->known && !f->given_up && r == 0) {
		if (f->state == FRONTEND_GREETED)
			peer_shake_hands(f);
		else
			r = pthread_cond_timedwait(&f->linked, &f->lock, &until);
	}
	return f->known;
}

/* ---- sessions ---- */

/* Whether a log that a device made may be kept: memory, so that writing to it cannot block. */
static bool inflight_is_sound(int fd, const struct vu_inflight *log)
{
	return le64_get(log->size) <= INFLIGHT_BYTES_MAX &&
	       le64_get(log->offset) <= INFLIGHT_BYTES_MAX && fcntl(fd, F_GET_SEALS) >= 0;
}

/* Has the device make a log, for it knows its shape. */
static int fetch_inflight(struct frontend *f)
{
	struct vu_msg reply, m = {.request = VU_GET_INFLIGHT_FD, .size = sizeof(m.p.inflight)};
	auto_fd fd = -1;
	int r;

	m.p.inflight.queues = le16_of((uint16_t)f->nqueues);
	m.p.inflight.queue_size = le16_of(f->args.queue_size);
	r = link_ask(&f->link, &m, &reply);
	if (r < 0)
		return r;
	fd = vu_msg_take_fd(&reply, 0);
	vu_msg_fini(&reply);
	if (fd < 0 || le64_get(reply.p.inflight.size) == 0)
		return 0; /* it has none to offer */
	if (!inflight_is_sound(fd, &reply.p.inflight))
		return -EPROTO;
	f->inflight = reply.p.inflight;
	f->inflight_fd = fd_take(&fd);
	return 0;
}

/* A queue begins anew: marks its part of the log, which are all of one length, as unused. */
static void inflight_clear(struct frontend *f, unsigned q)
{
	const uint8_t zeros[INFLIGHT_HEAD_BYTES] = {0};
	uint64_t part;

	if (f->inflight_fd < 0)
		return;
	part = le64_get(f->inflight.size) / f->nqueues;
	if (pwrite(f->inflight_fd, zeros, sizeof(zeros),
		   (off_t)(le64_get(f->inflight.offset) + q * part)) < 0)
		log_limited(&f->complaints, "%s: cannot clear its in-flight log", f->args.name);
}

/* The first device of a session makes the log, the later ones find it as it was left. */
static int hand_over_inflight(struct frontend *f)
{
	struct vu_msg m;
	int r = 0;

	if (!link_has(&f->link, VU_PROTOCOL_F_INFLIGHT_SHMFD))
		return 0;
	if (f->inflight_fd < 0)
		r = fetch_inflight(f);
	if (r < 0 || f->inflight_fd < 0)
		return r;
	m = (struct vu_msg){.request = VU_SET_INFLIGHT_FD,
			    .size = sizeof(f->inflight),
			    .p.inflight = f->inflight,
			    .fds = {f->inflight_fd},
			    .nfds = 1};
	return link_tell(&f->link, &m);
}

struct ring_bytes {
	uint64_t desc, driver, device;
};

static struct ring_bytes ring_bytes(const struct frontend *f, const struct frontend_queue *q)
{
	if (f->driver_features & VIRTIO_BIT(VIRTIO_F_RING_PACKED))
		return (struct ring_bytes){16u * q->size, 4, 4};
	return (struct ring_bytes){16u * q->size, 6 + 2u * q->size, 6 + 8u * q->size};
}

/* The device checks the same; but a foreign one might end over what is the guest's doing. */
static bool rings_are_sound(const struct frontend *f, const struct frontend_queue *q)
{
	bool is_packed = f->driver_features & VIRTIO_BIT(VIRTIO_F_RING_PACKED);
	struct ring_bytes n = ring_bytes(f, q);

	return q->desc % 16 == 0 && q->driver % (is_packed ? 4 : 2) == 0 && q->device % 4 == 0 &&
	       (is_packed || is_power_of_two(q->size)) &&
	       gmem_covers(f->args.gmem, q->desc, n.desc) &&
	       gmem_covers(f->args.gmem, q->driver, n.driver) &&
	       gmem_covers(f->args.gmem, q->device, n.device);
}

/*
 * Where a device goes on.  A ring that another device had: after the last buffer it gave back,
 * which the ring itself says; the log has what is missing in between.  A packed ring does not say
 * it, but its log does, so there are none without.
 */
static uint32_t ring_base(const struct frontend *f, const struct frontend_queue *q)
{
	le16 used_index;

	if (q->has_base)
		return q->base;
	if (f->driver_features & VIRTIO_BIT(VIRTIO_F_RING_PACKED))
		return 0x80008000;
	if (!q->begun || !gmem_read(f->args.gmem, q->device + 2, &used_index, sizeof(used_index)))
		return 0;
	return le16_get(used_index);
}

static int set_vring_addr(struct frontend *f, unsigned i)
{
	const struct frontend_queue *q = &f->queues[i];

	return link_tell(&f->link, &(struct vu_msg){.request = VU_SET_VRING_ADDR,
						    .size = sizeof(struct vu_vring_addr),
						    .p.addr = {.index = le32_of(i),
							       .desc = le64_of(q->desc),
							       .used = le64_of(q->device),
							       .avail = le64_of(q->driver)}});
}

static int queue_start(struct frontend *f, unsigned i)
{
	struct frontend_queue *q = &f->queues[i];
	struct link *l = &f->link;
	int r = link_set_state(l, VU_SET_VRING_NUM, i, q->size);

	if (r == 0)
		r = link_set_state(l, VU_SET_VRING_BASE, i, ring_base(f, q));
	if (r == 0)
		r = set_vring_addr(f, i);
	if (r == 0)
		r = link_set_vring_fd(l, VU_SET_VRING_CALL, i, q->call_fd);
	if (r == 0)
		r = link_set_vring_fd(l, VU_SET_VRING_ERR, i, f->error_fd);
	if (r < 0)
		return r;
	q->live = true; /* with the next message it may begin */
	q->begun = true;
	q->has_base = false;
	r = link_set_vring_fd(l, VU_SET_VRING_KICK, i, q->kick_fd);
	if (r == 0 && (f->backend_features & VU_BIT(VU_F_PROTOCOL_FEATURES)))
		r = link_set_state(l, VU_SET_VRING_ENABLE, i, 1);
	return r;
}

/* What came of a conversation with a started driver. */
static void settle(struct frontend *f, int r)
{
	if (r == -EREMOTEIO)
		peer_break(f);
	else if (r < 0)
		peer_cut(f, r);
}

/* Within the time that was given. */
static void queue_hand_over(struct frontend *f, unsigned q)
{
	if (f->state != FRONTEND_LINKED || f->paused || f->queues[q].live)
		return;
	if (!rings_are_sound(f, &f->queues[q])) {
		log_limited(&f->complaints, "%s: queue %u: rings are not in memory", f->args.name,
			    q);
		peer_break(f);
		return;
	}
	settle(f, queue_start(f, q));
}

void peer_queue_start(struct frontend *f, unsigned q)
{
	link_begin(&f->link, f->args.limit_ms);
	queue_hand_over(f, q);
}

void peer_start(struct frontend *f)
{
	uint64_t features = f->driver_features & f->backend_features;
	int r;

	if (f->state != FRONTEND_LINKED || f->paused)
		return;
	link_begin(&f->link, f->args.limit_ms);
	features |= f->backend_features & VU_BIT(VU_F_PROTOCOL_FEATURES);
	r = link_set_u64(&f->link, VU_SET_FEATURES, features);
	if (r == 0)
		r = link_set_memory(&f->link, f->args.gmem);
	if (r == 0)
		r = hand_over_inflight(f);
	settle(f, r);
	for (unsigned q = 0; q < f->nqueues && r == 0; q++)
		if (f->queues[q].enabled)
			queue_hand_over(f, q);
	if (f->state == FRONTEND_LINKED && r == 0 && link_has(&f->link, VU_PROTOCOL_F_STATUS))
		settle(f, link_set_u64(&f->link, VU_SET_STATUS, f->status));
}

/* Requests may have been made, and interrupts lost, while there was no device. */
static void wake_both_sides(struct frontend *f)
{
	for (unsigned q = 0; q < f->nqueues; q++) {
		if (!f->queues[q].live)
			continue;
		fd_signal(f->queues[q].kick_fd);
		fd_signal(f->queues[q].call_fd);
	}
}

void peer_resume(struct frontend *f)
{
	peer_start(f);
	wake_both_sides(f);
}

/* Returns when the device has let go of it, within the time that was given. */
static void queue_take_back(struct frontend *f, unsigned i)
{
	struct frontend_queue *q = &f->queues[i];
	int r;

	if (!q->live)
		return;
	r = link_stop_vring(&f->link, i, &q->base);
	if (r < 0)
		peer_cut(f, r);
	q->live = false;
	q->has_base = r == 0;
}

void peer_queue_stop(struct frontend *f, unsigned q)
{
	link_begin(&f->link, f->args.limit_ms);
	queue_take_back(f, q);
	inflight_clear(f, q);
}

void peer_pause(struct frontend *f)
{
	link_begin(&f->link, f->args.limit_ms);
	for (unsigned q = 0; q < f->nqueues; q++)
		queue_take_back(f, q);
}

void peer_stop(struct frontend *f)
{
	int r = 0;

	peer_pause(f);
	fd_close(&f->inflight_fd);
	if (f->state != FRONTEND_LINKED)
		return;
	if (link_has(&f->link, VU_PROTOCOL_F_STATUS))
		r = link_set_u64(&f->link, VU_SET_STATUS, 0);
	else if (link_has(&f->link, VU_PROTOCOL_F_RESET_DEVICE))
		r = link_set(&f->link, VU_RESET_DEVICE);
	if (r < 0)
		peer_cut(f, r);
}

/* ---- configuration ---- */

/* With VU_PROTOCOL_F_STATUS a device may say by a change of its configuration that it is broken. */
static int fetch_status(struct frontend *f)
{
	uint64_t status = 0;
	int r = 0;

	if (link_has(&f->link, VU_PROTOCOL_F_STATUS) && (f->status & VIRTIO_CONFIG_S_DRIVER_OK))
		r = link_get_u64(&f->link, VU_GET_STATUS, &status);
	if (status & VIRTIO_CONFIG_S_NEEDS_RESET && f->broken_session != f->session)
		peer_break(f);
	return r;
}

void peer_config_refresh(struct frontend *f)
{
	int r;

	if (f->state != FRONTEND_LINKED || !atomic_exchange(&f->config_stale, false))
		return;
	link_begin(&f->link, f->args.limit_ms);
	r = fetch_config(f, f->config_known);
	if (r == 0)
		r = fetch_status(f);
	if (r < 0 && r != -EREMOTEIO)
		peer_cut(f, r);
}

void peer_config_write(struct frontend *f, uint32_t at, uint32_t n)
{
	int r;

	if (f->state != FRONTEND_LINKED || !link_has(&f->link, VU_PROTOCOL_F_CONFIG))
		return;
	link_begin(&f->link, f->args.limit_ms);
	r = link_set_config(&f->link, at, &f->driver_config[at], n);
	if (r < 0 && r != -EREMOTEIO)
		peer_cut(f, r);
	atomic_store(&f->config_stale, true);
}
