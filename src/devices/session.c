/* SPDX-License-Identifier: BSD-3-Clause */
/* session.c - one device, serving one vhost-user front end: its messages */
#include "devices/session.h"

#include "base/fd.h"
#include "base/log.h"
#include "base/num.h"
#include "base/trace.h"
#include "virtio/ids.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>

const struct call session_calls[] = {
	/* And nothing else: eventfds are the front end's too, which does not want to wait. */
	CALL_IF2(fcntl, 1, CALL_TEST_EQ, F_SETFL, 2, CALL_TEST_EQ, O_NONBLOCK),
	CALL(fstat),
	CALL_ARG(newfstatat, 3, 0x1000 /* AT_EMPTY_PATH */),
	CALL_ARG(madvise, 2, MADV_DONTDUMP),
	CALL_END
};

static const uint64_t protocol_features_offered =
	VU_BIT(VU_PROTOCOL_F_MQ) | VU_BIT(VU_PROTOCOL_F_REPLY_ACK) |
	VU_BIT(VU_PROTOCOL_F_BACKEND_REQ) | VU_BIT(VU_PROTOCOL_F_CONFIG) |
	VU_BIT(VU_PROTOCOL_F_INFLIGHT_SHMFD) | VU_BIT(VU_PROTOCOL_F_RESET_DEVICE) |
	VU_BIT(VU_PROTOCOL_F_CONFIGURE_MEM_SLOTS) | VU_BIT(VU_PROTOCOL_F_STATUS);

static uint64_t features_offered(const struct session *s)
{
	uint64_t rings = VIRTIO_RING_FEATURES & ~s->d->hidden;

	return s->d->features | VIRTIO_BIT(VIRTIO_F_VERSION_1) | rings |
	       VU_BIT(VU_F_PROTOCOL_FEATURES);
}

/*
 * ---- handlers ----
 *
 * 0, or -errno: the request is refused.  Those with a reply of their own send it, also when they
 * could not do what was asked, and return what came of sending.
 */

static int get_features(struct session *s, struct vu_msg *m)
{
	return vu_reply_u64(&s->conn, m, features_offered(s));
}

static bool any_live(const struct session *s)
{
	for (unsigned i = 0; i < s->nrings; i++)
		if (s->rings[i].live)
			return true;
	return false;
}

static int set_features(struct session *s, struct vu_msg *m)
{
	uint64_t acked = le64_get(m->p.u64);

	if (acked & ~features_offered(s))
		return -EINVAL;
	if (acked != s->acked && any_live(s)) /* N3 */
		return -EBUSY;
	s->acked = acked;
	rings_resume(s);
	return 0;
}

static int set_owner(struct session *s UNUSED, struct vu_msg *m UNUSED)
{
	return 0;
}

static int get_protocol_features(struct session *s, struct vu_msg *m)
{
	return vu_reply_u64(&s->conn, m, protocol_features_offered);
}

static int set_protocol_features(struct session *s, struct vu_msg *m)
{
	uint64_t features = le64_get(m->p.u64);

	if (features & ~protocol_features_offered)
		return -EINVAL;
	s->protocol_features = features;
	s->conn.has_reply_ack = features & VU_BIT(VU_PROTOCOL_F_REPLY_ACK);
	return 0;
}

static int get_queue_num(struct session *s, struct vu_msg *m)
{
	return vu_reply_u64(&s->conn, m, s->nrings);
}

static int get_max_mem_slots(struct session *s, struct vu_msg *m)
{
	return vu_reply_u64(&s->conn, m, GMEM_REGIONS_MAX);
}

/* After a change of memory that came to result. */
static int memory_changed(struct session *s, int result)
{
	for (unsigned i = 0; i < s->nrings; i++)
		s->rings[i].failed = false; /* N4 */
	rings_resume(s);
	return result;
}

static int set_mem_table(struct session *s, struct vu_msg *m)
{
	rings_pause(s);
	return memory_changed(s, memory_set(s, m));
}

static int add_mem_reg(struct session *s, struct vu_msg *m)
{
	rings_pause(s);
	return memory_changed(s, memory_add(s, m));
}

static int rem_mem_reg(struct session *s, struct vu_msg *m)
{
	rings_pause(s);
	return memory_changed(s, memory_remove(s, &m->p.one_region.region));
}

static struct ring *ring_find(struct session *s, uint32_t index)
{
	return index < s->nrings ? &s->rings[index] : NULL;
}

/* The ring of a state message, which is being set up (N3, N4); NULL if that cannot be. */
static struct ring *ring_to_set(struct session *s, uint32_t index)
{
	struct ring *r = ring_find(s, index);

	if (!r || r->live)
		return NULL;
	ring_forgive(r);
	return r;
}

static int set_vring_num(struct session *s, struct vu_msg *m)
{
	struct ring *r = ring_to_set(s, le32_get(m->p.state.index));
	uint32_t size = le32_get(m->p.state.num);

	if (!r || size == 0 || size > device_queue_size(s->d))
		return -EINVAL;
	r->size = size;
	rings_resume(s);
	return 0;
}

static int set_vring_addr(struct session *s, struct vu_msg *m)
{
	const struct vu_vring_addr *a = &m->p.addr;
	uint64_t desc = le64_get(a->desc), used = le64_get(a->used), avail = le64_get(a->avail);
	struct ring *r = ring_find(s, le32_get(a->index));

	/* The same again, as when a front end turns logging on, changes nothing. */
	if (r && r->live && r->desc == desc && r->used == used && r->avail == avail)
		return 0;
	r = ring_to_set(s, le32_get(a->index));
	if (!r)
		return -EINVAL;
	r->desc = desc;
	r->used = used;
	r->avail = avail;
	r->has_addresses = true;
	rings_resume(s);
	return 0;
}

static int set_vring_base(struct session *s, struct vu_msg *m)
{
	struct ring *r = ring_to_set(s, le32_get(m->p.state.index));

	if (!r)
		return -EINVAL;
	r->base = le32_get(m->p.state.num);
	return 0;
}

/* Stops the ring until it is given a kick descriptor again. */
static int get_vring_base(struct session *s, struct vu_msg *m)
{
	struct vu_msg reply = {.size = sizeof(reply.p.state)};
	uint32_t index = le32_get(m->p.state.index);
	struct ring *r = ring_find(s, index);

	if (!r)
		return -EINVAL;
	if (r->live)
		rings_pause(s);
	fd_close(&r->kick_fd);
	ring_forgive(r);
	rings_resume(s);
	reply.p.state = (struct vu_vring_state){le32_of(index), le32_of(r->base)};
	return vu_reply(&s->conn, m, &reply);
}

/* The ring and the descriptor of a KICK, CALL or ERR message; *ret_fd is -1 for none. */
static struct ring *vring_fd(struct session *s, struct vu_msg *m, int *ret_fd)
{
	uint64_t value = le64_get(m->p.u64);
	struct ring *r = ring_find(s, (uint32_t)(value & VU_VRING_INDEX_MASK));
	bool without = value & VU_VRING_NO_FD;

	if (!r || without != (m->nfds == 0) ||
	    (value & ~(uint64_t)(VU_VRING_INDEX_MASK | VU_VRING_NO_FD)) != 0)
		return NULL;
	*ret_fd = vu_msg_take_fd(m, 0);
	/* A counter that is full, or a pipe, must not stop us. */
	if (*ret_fd < 0 || fcntl(*ret_fd, F_SETFL, O_NONBLOCK) == 0)
		return r;
	fd_close(ret_fd);
	return NULL;
}

static int set_vring_kick(struct session *s, struct vu_msg *m)
{
	auto_fd fd = -1;
	struct ring *r = vring_fd(s, m, &fd);

	if (!r || fd < 0) /* polling instead of kicks is not done */
		return -EINVAL;
	if (r->live)
		rings_pause(s);
	fd_close(&r->kick_fd);
	r->kick_fd = fd_take(&fd);
	rings_resume(s);
	return 0;
}

static int set_vring_call(struct session *s, struct vu_msg *m)
{
	auto_fd fd = -1;
	struct ring *r = vring_fd(s, m, &fd);

	if (!r)
		return -EINVAL;
	if (r->live && r->is_kernels)
		rings_pause(s);
	fd_close(&r->call_fd);
	r->call_fd = fd_take(&fd);
	if (r->live)
		s->d->queues[r->index].call_fd = r->call_fd;
	rings_resume(s);
	return 0;
}

static int set_vring_err(struct session *s, struct vu_msg *m)
{
	auto_fd fd = -1;
	struct ring *r = vring_fd(s, m, &fd);

	if (!r)
		return -EINVAL;
	fd_close(&r->err_fd);
	r->err_fd = fd_take(&fd);
	return 0;
}

static int set_vring_enable(struct session *s, struct vu_msg *m)
{
	struct ring *r = ring_find(s, le32_get(m->p.state.index));
	uint32_t enable = le32_get(m->p.state.num);

	if (!r || enable > 1)
		return -EINVAL;
	if (r->live && !enable)
		rings_pause(s);
	r->enabled = enable;
	rings_resume(s);
	return 0;
}

static int set_backend_req_fd(struct session *s, struct vu_msg *m)
{
	auto_fd fd = vu_msg_take_fd(m, 0);

	if (fd < 0 || fcntl(fd, F_SETFL, O_NONBLOCK) < 0)
		return -EINVAL;
	fd_close(&s->backend.sock);
	s->backend.sock = fd_take(&fd);
	return 0;
}

static int get_config(struct session *s, struct vu_msg *m)
{
	uint32_t at = le32_get(m->p.config.offset), n = le32_get(m->p.config.size);
	uint8_t space[VU_CONFIG_MAX] = {0};
	struct vu_msg reply = {0};

	/* Front ends may know a longer space than we: its rest is zero.  No reply is an error. */
	if (is_inside(at, n, sizeof(space))) {
		if (s->d->type->config)
			s->d->type->config(s->d, space);
		reply.p.config = m->p.config;
		memcpy(reply.p.config.data, space + at, n);
		reply.size = m->size;
	}
	return vu_reply(&s->conn, m, &reply);
}

static int set_config(struct session *s, struct vu_msg *m)
{
	uint32_t at = le32_get(m->p.config.offset), n = le32_get(m->p.config.size);

	if (!is_inside(at, n, s->d->type->config_size) || !s->d->type->config_set)
		return -EINVAL;
	s->d->type->config_set(s->d, at, m->p.config.data, n);
	return 0;
}

static int get_inflight_fd(struct session *s, struct vu_msg *m)
{
	struct vu_msg reply = {.size = sizeof(reply.p.inflight)};
	int r;

	reply.p.inflight.queues = m->p.inflight.queues;
	reply.p.inflight.queue_size = m->p.inflight.queue_size;
	r = any_live(s) ? -EBUSY : inflight_create(s, &reply.p.inflight);
	if (r < 0)
		reply.p.inflight = (struct vu_inflight){0}; /* size 0: there is none */
	else
		reply.fds[reply.nfds++] = s->inflight_fd;
	return vu_reply(&s->conn, m, &reply);
}

static int set_inflight_fd(struct session *s, struct vu_msg *m)
{
	auto_fd fd = vu_msg_take_fd(m, 0);

	return any_live(s) ? -EBUSY : inflight_set(s, &m->p.inflight, fd);
}

/* All rings to their first state; whoever was in flight is forgotten by both sides. */
static int reset_device(struct session *s, struct vu_msg *m UNUSED)
{
	rings_fini(s);
	inflight_clear(s);
	s->status = 0;
	if (s->d->type->reset)
		s->d->type->reset(s->d);
	return 0;
}

static int set_status(struct session *s, struct vu_msg *m)
{
	uint64_t status = le64_get(m->p.u64);

	if (status > UINT8_MAX)
		return -EINVAL;
	if (status == 0 && s->status != 0)
		return reset_device(s, m);
	s->status = (uint8_t)status;
	return 0;
}

static int get_status(struct session *s, struct vu_msg *m)
{
	return vu_reply_u64(&s->conn, m, s->status);
}

static int (*const handlers[VU_REQUEST_END])(struct session *s, struct vu_msg *m) = {
	[VU_GET_FEATURES] = get_features,
	[VU_SET_FEATURES] = set_features,
	[VU_SET_OWNER] = set_owner,
	[VU_RESET_OWNER] = set_owner, /* obsolete: to be ignored */
	[VU_SET_MEM_TABLE] = set_mem_table,
	[VU_SET_VRING_NUM] = set_vring_num,
	[VU_SET_VRING_ADDR] = set_vring_addr,
	[VU_SET_VRING_BASE] = set_vring_base,
	[VU_GET_VRING_BASE] = get_vring_base,
	[VU_SET_VRING_KICK] = set_vring_kick,
	[VU_SET_VRING_CALL] = set_vring_call,
	[VU_SET_VRING_ERR] = set_vring_err,
	[VU_GET_PROTOCOL_FEATURES] = get_protocol_features,
	[VU_SET_PROTOCOL_FEATURES] = set_protocol_features,
	[VU_GET_QUEUE_NUM] = get_queue_num,
	[VU_SET_VRING_ENABLE] = set_vring_enable,
	[VU_SET_BACKEND_REQ_FD] = set_backend_req_fd,
	[VU_GET_CONFIG] = get_config,
	[VU_SET_CONFIG] = set_config,
	[VU_GET_INFLIGHT_FD] = get_inflight_fd,
	[VU_SET_INFLIGHT_FD] = set_inflight_fd,
	[VU_RESET_DEVICE] = reset_device,
	[VU_GET_MAX_MEM_SLOTS] = get_max_mem_slots,
	[VU_ADD_MEM_REG] = add_mem_reg,
	[VU_REM_MEM_REG] = rem_mem_reg,
	[VU_SET_STATUS] = set_status,
	[VU_GET_STATUS] = get_status,
};

/* ---- the connection ---- */

/* Whether r means that the front end has hung up, which it may at any time. */
static bool is_hangup(int r)
{
	return r == -EPIPE || r == -ECONNRESET;
}

/* Refused requests end the connection unless the front end asked for an answer. */
static int handle(struct session *s, struct vu_msg *m)
{
	bool wants_ack = s->conn.has_reply_ack && m->flags & VU_FLAG_NEED_REPLY;
	bool is_known = m->request < VU_REQUEST_END && handlers[m->request];
	uint64_t first = m->size >= sizeof(m->p.u64) ? le64_get(m->p.u64) : 0;
	int r;

	trace(TRACE_REQUEST, m->request, 0, first, 0);
	r = is_known ? handlers[m->request](s, m) : -ENOSYS;

	if (r < 0 && !is_hangup(r))
		log_limited(&s->refused, "front end: %s refused: %s", vu_request_name(m->request),
			    strerror(-r));
	if (vu_has_reply(m->request) && is_known)
		return r;
	return wants_ack ? vu_reply_u64(&s->conn, m, r < 0) : r;
}

static void end(struct session *s)
{
	session_fini(s);
	s->ended = true;
	if (s->on_end)
		s->on_end(s);
}

static void conn_ready(struct watch *w, uint32_t events UNUSED)
{
	struct session *s = container_of(w, struct session, conn_watch);
	struct vu_msg m;
	int r = vu_recv(&s->conn, &m);

	if (r == -EAGAIN)
		return;
	if (r == 0) {
		r = handle(s, &m);
		vu_msg_fini(&m);
	} else if (r != -ENODATA && r != -ECONNRESET) { /* hung up; having read all, or not */
		log_warn("front end: %s", strerror(-r));
	}
	if (r < 0)
		end(s);
}

int session_start_take(struct session *s, struct device *d, struct loop *l, int sock)
{
	int r;

	*s = (struct session){
		.d = d,
		.loop = l,
		.on_end = s->on_end,
		.owner = s->owner,
		.inflight_fd = s->inflight_fd,
	};
	s->conn = (struct vu_conn){.sock = sock, .direction = VU_REQUESTS};
	s->backend = (struct vu_conn){.sock = -1, .direction = VU_BACKEND_REPLIES};
	s->conn_watch = (struct watch){.fd = sock, .ready = conn_ready};
	if (fcntl(sock, F_SETFL, O_NONBLOCK) < 0)
		return -errno;
	r = loop_add(l, &s->conn_watch, EPOLLIN);
	if (r < 0)
		return r;
	d->session = s;
	d->loop = l;
	rings_init(s);
	if (d->type->reset)
		d->type->reset(d);
	return 0;
}

void session_fini(struct session *s)
{
	if (!s->d || s->conn.sock < 0)
		return;
	rings_fini(s);
	inflight_fini(s);
	memory_fini(s);
	loop_remove(s->loop, &s->conn_watch);
	vu_conn_fini(&s->conn);
	fd_close(&s->conn.sock);
	fd_close(&s->backend.sock);
	s->d->session = NULL;
}

void device_ring_fds(const struct device *d, unsigned q, int *ret_kick, int *ret_err)
{
	*ret_kick = d->session->rings[q].kick_fd;
	*ret_err = d->session->rings[q].err_fd;
}

void device_config_changed(struct device *d)
{
	struct vu_msg m = {.request = VU_BACKEND_CONFIG_CHANGE};
	struct session *s = d->session;

	if (!s || s->backend.sock < 0)
		return;
	/* A front end that does not read its channel will find the news when it reads the space. */
	if (vu_send(&s->backend, &m) < 0)
		log_debug("front end: cannot tell that the configuration changed");
}
