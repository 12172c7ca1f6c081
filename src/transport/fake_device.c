/* SPDX-License-Identifier: BSD-3-Clause */
/* fake_device.c - a vhost-user back end in a thread, for tests */
#include "transport/fake_device.h"

#include "base/fd.h"
#include "virtio/ids.h"

#include <assert.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

void fake_device_init(struct fake_device *d)
{
	*d = (struct fake_device){
		.features = VIRTIO_BIT(VIRTIO_F_VERSION_1) | VIRTIO_RING_FEATURES |
			    VU_BIT(VU_F_PROTOCOL_FEATURES) | 0x3,
		.protocol_features =
			VU_BIT(VU_PROTOCOL_F_MQ) | VU_BIT(VU_PROTOCOL_F_REPLY_ACK) |
			VU_BIT(VU_PROTOCOL_F_BACKEND_REQ) | VU_BIT(VU_PROTOCOL_F_CONFIG) |
			VU_BIT(VU_PROTOCOL_F_INFLIGHT_SHMFD) | VU_BIT(VU_PROTOCOL_F_STATUS),
		.nqueues = FAKE_QUEUES,
		.config_known = FAKE_CONFIG_BYTES,
		.inflight_fd = -1,
		.channel = -1,
		.sock = -1,
		.stop_fd = -1,
	};
	for (unsigned i = 0; i < FAKE_CONFIG_BYTES; i++)
		d->config[i] = (uint8_t)i;
	for (unsigned q = 0; q < FAKE_QUEUES; q++)
		d->vrings[q].kick_fd = d->vrings[q].call_fd = d->vrings[q].err_fd = -1;
}

static void keep_fd(int *kept, struct vu_msg *m)
{
	fd_close(kept);
	*kept = vu_msg_take_fd(m, 0);
}

static struct fake_vring *vring_of(struct fake_device *d, uint64_t index)
{
	assert(index < FAKE_QUEUES);
	return &d->vrings[index];
}

static void vring_addr_set(struct fake_device *d, const struct vu_vring_addr *a)
{
	struct fake_vring *v = vring_of(d, le32_get(a->index));

	v->desc = le64_get(a->desc);
	v->used = le64_get(a->used);
	v->avail = le64_get(a->avail);
}

static void config_set(struct fake_device *d, const struct vu_config *c)
{
	uint32_t at = le32_get(c->offset), n = le32_get(c->size);

	assert(at + n <= FAKE_CONFIG_BYTES);
	memcpy(&d->config[at], c->data, n);
}

/* Requests without an answer of their own. */
static void hear(struct fake_device *d, struct vu_msg *m)
{
	uint32_t index = le32_get(m->p.state.index), num = le32_get(m->p.state.num);
	uint64_t value = le64_get(m->p.u64);

	switch (m->request) {
	case VU_SET_FEATURES:
		d->acked = value;
		break;
	case VU_SET_PROTOCOL_FEATURES:
		d->protocol_acked = value;
		break;
	case VU_SET_STATUS:
		d->status = value;
		break;
	case VU_SET_MEM_TABLE:
		d->memory = m->p.memory;
		break;
	case VU_SET_VRING_NUM:
		vring_of(d, index)->size = num;
		break;
	case VU_SET_VRING_BASE:
		vring_of(d, index)->base = num;
		break;
	case VU_SET_VRING_ENABLE:
		vring_of(d, index)->enabled = num;
		break;
	case VU_SET_VRING_ADDR:
		vring_addr_set(d, &m->p.addr);
		break;
	case VU_SET_VRING_KICK:
		keep_fd(&vring_of(d, value)->kick_fd, m);
		break;
	case VU_SET_VRING_CALL:
		keep_fd(&vring_of(d, value)->call_fd, m);
		break;
	case VU_SET_VRING_ERR:
		keep_fd(&vring_of(d, value)->err_fd, m);
		break;
	case VU_SET_INFLIGHT_FD:
		d->inflight = m->p.inflight;
		keep_fd(&d->inflight_fd, m);
		break;
	case VU_SET_BACKEND_REQ_FD:
		keep_fd(&d->channel, m);
		break;
	case VU_SET_CONFIG:
		config_set(d, &m->p.config);
		break;
	default:
		break;
	}
}

static int make_log(struct fake_device *d)
{
	int fd = memfd_create("log", MFD_CLOEXEC), pipe_fds[2];

	if (!d->log_is_a_pipe) {
		assert(fd >= 0 && ftruncate(fd, 4096 * FAKE_QUEUES) == 0);
		return fd;
	}
	fd_close(&fd);
	assert(pipe2(pipe_fds, O_CLOEXEC) == 0);
	close(pipe_fds[0]);
	return pipe_fds[1];
}

/* Requests with one. */
static void compose(struct fake_device *d, const struct vu_msg *m, struct vu_msg *reply)
{
	uint32_t index = le32_get(m->p.state.index);

	reply->size = sizeof(le64);
	switch (m->request) {
	case VU_GET_FEATURES:
		reply->p.u64 = le64_of(d->features);
		break;
	case VU_GET_PROTOCOL_FEATURES:
		reply->p.u64 = le64_of(d->protocol_features);
		break;
	case VU_GET_QUEUE_NUM:
		reply->p.u64 = le64_of(d->nqueues);
		break;
	case VU_GET_STATUS:
		reply->p.u64 = le64_of(d->status);
		break;
	case VU_GET_VRING_BASE:
		reply->p.state.index = le32_of(index + (d->faults.indexed == m->request));
		reply->p.state.num = le32_of(vring_of(d, index)->base);
		vring_of(d, index)->enabled = false;
		break;
	case VU_GET_CONFIG:
		if (le32_get(m->p.config.size) > d->config_known) {
			reply->size = 0;
			break;
		}
		reply->size = m->size;
		reply->p.config = m->p.config;
		memcpy(reply->p.config.data, d->config, FAKE_CONFIG_BYTES);
		break;
	case VU_GET_INFLIGHT_FD:
		reply->size = sizeof(struct vu_inflight);
		reply->p.inflight = m->p.inflight;
		reply->p.inflight.size = le64_of(4096 * FAKE_QUEUES);
		reply->fds[reply->nfds++] = make_log(d);
		break;
	default:
		break;
	}
}

/* False ends the connection. */
static bool answer(struct fake_device *d, struct vu_msg *m)
{
	struct vu_msg reply = {0};
	bool sent;

	if (m->request < VU_REQUEST_END)
		d->count[m->request]++;
	if (m->request == d->faults.closed)
		return false;
	if (m->request == d->faults.delayed)
		(void)poll(NULL, 0, (int)d->faults.delay_ms);
	hear(d, m);
	if (m->request == d->faults.ignored ||
	    (!vu_has_reply(m->request) && !(m->flags & VU_FLAG_NEED_REPLY)))
		return true;
	if (vu_has_reply(m->request))
		compose(d, m, &reply);
	else
		reply = (struct vu_msg){.size = sizeof(le64)};
	if (m->request == d->faults.refused) {
		reply.size = m->request == VU_GET_CONFIG ? 0 : reply.size;
		reply.p.u64 = le64_of(1);
	}
	if (m->request == d->faults.mistaken)
		m->request = m->request == VU_GET_STATUS ? VU_GET_FEATURES : VU_GET_STATUS;
	sent = vu_reply(&d->conn, m, &reply) == 0;
	vu_msg_fini(&reply);
	return sent;
}

static void *serve(void *argument)
{
	struct fake_device *d = argument;
	struct pollfd fds[2] = {{.fd = d->sock, .events = POLLIN},
				{.fd = d->stop_fd, .events = POLLIN}};
	bool goes_on = true;

	while (goes_on) {
		struct vu_msg m;

		if (poll(fds, 2, -1) < 0 || fds[1].revents)
			break;
		goes_on = vu_recv(&d->conn, &m) == 0;
		if (goes_on) {
			goes_on = answer(d, &m);
			vu_msg_fini(&m);
		}
	}
	shutdown(d->sock, SHUT_RDWR);
	return NULL;
}

int fake_device_start(struct fake_device *d)
{
	int pair[2];

	assert(fd_socketpair(SOCK_STREAM, pair) == 0);
	d->sock = pair[0];
	d->stop_fd = fd_eventfd();
	d->conn = (struct vu_conn){.sock = d->sock, .direction = VU_REQUESTS};
	assert(pthread_create(&d->thread, NULL, serve, d) == 0);
	d->is_running = true;
	return pair[1];
}

void fake_device_stop(struct fake_device *d)
{
	if (!d->is_running)
		return;
	fd_signal(d->stop_fd);
	pthread_join(d->thread, NULL);
	vu_conn_fini(&d->conn);
	fd_close(&d->sock);
	fd_close(&d->stop_fd);
	d->is_running = false;
}

void fake_device_fini(struct fake_device *d)
{
	fake_device_stop(d);
	fd_close(&d->inflight_fd);
	fd_close(&d->channel);
	for (unsigned q = 0; q < FAKE_QUEUES; q++) {
		fd_close(&d->vrings[q].kick_fd);
		fd_close(&d->vrings[q].call_fd);
		fd_close(&d->vrings[q].err_fd);
	}
}

bool fake_device_tell(struct fake_device *d, uint32_t request)
{
	struct vu_conn c = {.sock = d->channel, .direction = VU_BACKEND_REPLIES};
	struct vu_msg m = {.request = request, .flags = VU_FLAG_NEED_REPLY};

	return vu_send(&c, &m) == 0;
}

bool fake_device_was_heard(struct fake_device *d)
{
	struct vu_conn c = {.sock = d->channel, .direction = VU_BACKEND_REPLIES};
	struct vu_msg reply;

	return vu_recv(&c, &reply) == 0 && le64_get(reply.p.u64) == 0;
}
