/* SPDX-License-Identifier: BSD-3-Clause */
/* driver_front_test.c - the fake driver's vhost-user front end */
#include "base/fd.h"
#include "virtio/driver_test.h"
#include "virtio/ids.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

void driver_disconnect(struct driver *d)
{
	vu_conn_fini(&d->conn);
	vu_conn_fini(&d->backend);
	fd_close(&d->conn.sock);
	fd_close(&d->backend.sock);
	d->conn = (struct vu_conn){.sock = -1};
	d->backend = (struct vu_conn){.sock = -1};
	for (unsigned i = 0; i < d->options.nqueues && !d->options.packed; i++) {
		struct vring_used *used = d->queues[i].device_area;

		if (used)
			d->queues[i].base = used->idx; /* what died with its process is not known */
	}
}

static uint64_t protocol_wanted(const struct driver *d)
{
	uint64_t wanted = VU_BIT(VU_PROTOCOL_F_MQ) | VU_BIT(VU_PROTOCOL_F_REPLY_ACK) |
			  VU_BIT(VU_PROTOCOL_F_BACKEND_REQ) | VU_BIT(VU_PROTOCOL_F_CONFIG) |
			  VU_BIT(VU_PROTOCOL_F_STATUS) | VU_BIT(VU_PROTOCOL_F_RESET_DEVICE);

	return d->options.inflight ? wanted | VU_BIT(VU_PROTOCOL_F_INFLIGHT_SHMFD) : wanted;
}

static uint64_t features_wanted(const struct driver *d)
{
	uint64_t wanted = VIRTIO_BIT(VIRTIO_F_VERSION_1) | VU_BIT(VU_F_PROTOCOL_FEATURES) |
			  VIRTIO_BIT(VIRTIO_RING_F_INDIRECT_DESC) | d->options.features;

	if (d->options.packed)
		wanted |= VIRTIO_BIT(VIRTIO_F_RING_PACKED);
	if (!d->options.no_event_idx)
		wanted |= VIRTIO_BIT(VIRTIO_RING_F_EVENT_IDX);
	return wanted;
}

static int channel_open(struct driver *d)
{
	struct vu_msg m = {.request = VU_SET_BACKEND_REQ_FD, .nfds = 1};
	int pair[2], r;

	if (!(d->protocol & VU_BIT(VU_PROTOCOL_F_BACKEND_REQ)))
		return 0;
	r = fd_socketpair(SOCK_STREAM, pair);
	if (r < 0)
		return r;
	d->backend = (struct vu_conn){.sock = pair[0], .direction = VU_BACKEND_REQUESTS};
	m.fds[0] = pair[1];
	r = vu_tell(&d->conn, &m);
	fd_close(&pair[1]);
	return r;
}

int driver_greet_take(struct driver *d, int sock)
{
	int timeout = d->options.timeout_ms ? d->options.timeout_ms : 5000;
	int r;

	d->conn = (struct vu_conn){.sock = sock, .direction = VU_REPLIES};
	r = fd_timeout_set(sock, (unsigned)timeout);
	if (r == 0)
		r = vu_get_u64(&d->conn, VU_GET_FEATURES, &d->offered);
	if (r == 0 && d->offered & VU_BIT(VU_F_PROTOCOL_FEATURES)) {
		r = vu_get_u64(&d->conn, VU_GET_PROTOCOL_FEATURES, &d->protocol);
		d->protocol &= protocol_wanted(d);
		if (r == 0)
			r = vu_set_u64(&d->conn, VU_SET_PROTOCOL_FEATURES, d->protocol);
		d->conn.has_reply_ack = d->protocol & VU_BIT(VU_PROTOCOL_F_REPLY_ACK);
	}
	if (r == 0)
		r = vu_set(&d->conn, VU_SET_OWNER);
	if (r == 0)
		r = channel_open(d);
	d->acked = d->offered & features_wanted(d);
	if (r == 0)
		r = vu_set_u64(&d->conn, VU_SET_FEATURES, d->acked);
	if (r < 0)
		driver_disconnect(d);
	return r;
}

static struct vu_region region_of(const struct driver *d, unsigned i)
{
	const struct gmem_region *g = &d->gmem.regions[i];

	return (struct vu_region){
		.guest = le64_of(g->base),
		.size = le64_of(g->size),
		.user = le64_of((uintptr_t)g->host),
		.offset = le64_of(g->base - DRIVER_BASE),
	};
}

int driver_send_memory(struct driver *d)
{
	struct vu_msg m = {.request = VU_SET_MEM_TABLE};

	m.p.memory.count = le32_of(d->gmem.nregions);
	for (unsigned i = 0; i < d->gmem.nregions; i++) {
		m.p.memory.regions[i] = region_of(d, i);
		m.fds[m.nfds++] = d->mem_fd;
	}
	m.size = (uint32_t)(8 + d->gmem.nregions * sizeof(struct vu_region));
	return vu_tell(&d->conn, &m);
}

/* The log of an earlier connection, or a new one. */
static int log_send(struct driver *d)
{
	struct vu_msg m = {.request = VU_GET_INFLIGHT_FD, .size = sizeof(m.p.inflight)};
	struct vu_msg reply;
	int r;

	if (!(d->protocol & VU_BIT(VU_PROTOCOL_F_INFLIGHT_SHMFD)))
		return 0;
	if (d->inflight_fd < 0) {
		m.p.inflight.queues = le16_of((uint16_t)d->options.nqueues);
		m.p.inflight.queue_size = le16_of((uint16_t)d->options.queue_size);
		r = vu_ask(&d->conn, &m, &reply);
		if (r < 0)
			return r;
		d->inflight = reply.p.inflight;
		d->inflight_fd = vu_msg_take_fd(&reply, 0);
		vu_msg_fini(&reply);
		if (d->inflight_fd < 0)
			return -EPROTO;
	}
	m.request = VU_SET_INFLIGHT_FD;
	m.p.inflight = d->inflight;
	m.fds[0] = d->inflight_fd;
	m.nfds = 1;
	return vu_tell(&d->conn, &m);
}

int driver_send_queue(struct driver *d, unsigned index)
{
	const struct driver_queue *q = &d->queues[index];
	struct vu_msg addr = {.request = VU_SET_VRING_ADDR, .size = sizeof(addr.p.addr)};
	int r = vu_set_state(&d->conn, VU_SET_VRING_NUM, index, q->size);

	addr.p.addr = (struct vu_vring_addr){
		.index = le32_of(index),
		.desc = le64_of((uintptr_t)q->desc),
		.used = le64_of((uintptr_t)q->device_area),
		.avail = le64_of((uintptr_t)q->driver_area),
	};
	if (r == 0)
		r = vu_set_state(&d->conn, VU_SET_VRING_BASE, index, q->base);
	if (r == 0)
		r = vu_tell(&d->conn, &addr);
	if (r == 0)
		r = vu_set_vring_fd(&d->conn, VU_SET_VRING_ERR, index, q->err_fd);
	if (r == 0)
		r = vu_set_vring_fd(&d->conn, VU_SET_VRING_CALL, index, q->call_fd);
	if (r == 0)
		r = vu_set_vring_fd(&d->conn, VU_SET_VRING_KICK, index, q->kick_fd);
	if (r == 0)
		r = vu_set_state(&d->conn, VU_SET_VRING_ENABLE, index, 1);
	return r;
}

int driver_stop_queue(struct driver *d, unsigned index)
{
	return vu_get_vring_base(&d->conn, index, &d->queues[index].base);
}

int driver_connect_take(struct driver *d, int sock)
{
	int r = driver_greet_take(d, sock);

	if (r < 0)
		return r;
	r = driver_send_memory(d);
	if (r == 0)
		r = log_send(d);
	for (unsigned i = 0; r == 0 && i < d->options.nqueues; i++)
		r = driver_send_queue(d, i);
	if (r < 0)
		driver_disconnect(d);
	return r;
}

/* ---- configuration space ---- */

static struct vu_msg config_message(uint32_t request, uint32_t at, uint32_t n)
{
	struct vu_msg m = {.request = request};

	m.p.config.offset = le32_of(at);
	m.p.config.size = le32_of(n);
	m.size = (uint32_t)(sizeof(m.p.config) - VU_CONFIG_MAX + n);
	return m;
}

int driver_config_read(struct driver *d, uint32_t at, void *out, uint32_t n)
{
	struct vu_msg m, reply;
	int r;

	if (n > VU_CONFIG_MAX)
		return -EINVAL;
	m = config_message(VU_GET_CONFIG, at, n);
	r = vu_ask(&d->conn, &m, &reply);
	if (r < 0)
		return r;
	if (reply.size != m.size)
		return -EREMOTEIO;
	memcpy(out, reply.p.config.data, n);
	return 0;
}

int driver_config_write(struct driver *d, uint32_t at, const void *in, uint32_t n)
{
	struct vu_msg m;

	if (n > VU_CONFIG_MAX)
		return -EINVAL;
	m = config_message(VU_SET_CONFIG, at, n);
	memcpy(m.p.config.data, in, n);
	return vu_tell(&d->conn, &m);
}

int driver_config_wait(struct driver *d)
{
	struct vu_msg m;
	int r = fd_timeout_set(d->backend.sock, 5000);

	if (r == 0)
		r = vu_recv(&d->backend, &m);
	if (r < 0)
		return r;
	vu_msg_fini(&m);
	return m.request == VU_BACKEND_CONFIG_CHANGE ? 0 : -EPROTO;
}
