/* SPDX-License-Identifier: BSD-3-Clause */
/* link.c - a conversation with a vhost-user back end that is never waited for without a limit */
#include "transport/link.h"

#include "base/loop.h"
#include "base/num.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>

int link_init(struct link *l, int sock)
{
	int flags = fcntl(sock, F_GETFL);

	*l = (struct link){.conn = {.sock = sock, .direction = VU_REPLIES}};
	if (flags < 0 || fcntl(sock, F_SETFL, flags | O_NONBLOCK) < 0)
		return -errno;
	return 0;
}

void link_fini(struct link *l)
{
	vu_conn_fini(&l->conn);
}

void link_begin(struct link *l, unsigned limit_ms)
{
	l->deadline_ns = clock_ns() + limit_ms * 1000000ull;
}

/* Until there is something to read, or time is up. */
static int wait_readable(const struct link *l)
{
	struct pollfd p = {.fd = l->conn.sock, .events = POLLIN};

	for (;;) {
		uint64_t now = clock_ns();
		int r;

		if (now >= l->deadline_ns)
			return -ETIMEDOUT;
		r = poll(&p, 1, (int)min_u64((l->deadline_ns - now) / 1000000 + 1, 60000));
		if (r > 0)
			return 0;
		if (r < 0 && errno != EINTR)
			return -errno;
	}
}

int link_answer(struct link *l, uint32_t request, struct vu_msg *ret_reply)
{
	struct vu_msg reply;
	int r;

	while ((r = vu_recv(&l->conn, &reply)) == -EAGAIN) {
		r = wait_readable(l);
		if (r < 0)
			return r;
	}
	if (r < 0)
		return r;
	if (reply.request != request) {
		vu_msg_fini(&reply);
		return -EPROTO;
	}
	*ret_reply = reply;
	return 0;
}

int link_post(struct link *l, const struct vu_msg *m)
{
	int r = vu_send(&l->conn, m);

	/* A peer that does not even read is a peer that does not answer. */
	return r == -EAGAIN ? -ETIMEDOUT : r;
}

int link_ask(struct link *l, const struct vu_msg *m, struct vu_msg *ret_reply)
{
	int r = link_post(l, m);

	return r < 0 ? r : link_answer(l, m->request, ret_reply);
}

int link_tell(struct link *l, const struct vu_msg *m)
{
	struct vu_msg tell = *m, reply;
	int r;

	if (!link_has(l, VU_PROTOCOL_F_REPLY_ACK))
		return link_post(l, m);
	tell.flags |= VU_FLAG_NEED_REPLY;
	r = link_ask(l, &tell, &reply);
	if (r < 0)
		return r;
	r = le64_get(reply.p.u64) == 0 ? 0 : -EREMOTEIO;
	vu_msg_fini(&reply);
	return r;
}

int link_answer_u64(struct link *l, uint32_t request, uint64_t *ret_value)
{
	struct vu_msg reply;
	int r = link_answer(l, request, &reply);

	if (r < 0)
		return r;
	*ret_value = le64_get(reply.p.u64);
	vu_msg_fini(&reply);
	return 0;
}

int link_get_u64(struct link *l, uint32_t request, uint64_t *ret_value)
{
	int r = link_post(l, &(struct vu_msg){.request = request});

	return r < 0 ? r : link_answer_u64(l, request, ret_value);
}

int link_set(struct link *l, uint32_t request)
{
	return link_tell(l, &(struct vu_msg){.request = request});
}

int link_set_u64(struct link *l, uint32_t request, uint64_t value)
{
	return link_tell(l, &(struct vu_msg){.request = request,
					     .size = sizeof(le64),
					     .p.u64 = le64_of(value)});
}

static struct vu_msg state_msg(uint32_t request, unsigned index, uint32_t num)
{
	return (struct vu_msg){.request = request,
			       .size = sizeof(struct vu_vring_state),
			       .p.state = {.index = le32_of(index), .num = le32_of(num)}};
}

int link_set_state(struct link *l, uint32_t request, unsigned index, uint32_t num)
{
	struct vu_msg m = state_msg(request, index, num);

	return link_tell(l, &m);
}

int link_set_vring_fd(struct link *l, uint32_t request, unsigned index, int fd)
{
	return link_tell(l, &(struct vu_msg){.request = request,
					     .size = sizeof(le64),
					     .p.u64 = le64_of(index),
					     .fds = {fd},
					     .nfds = 1});
}

int link_stop_vring(struct link *l, unsigned index, uint32_t *ret_base)
{
	struct vu_msg m = state_msg(VU_GET_VRING_BASE, index, 0), reply;
	int r = link_ask(l, &m, &reply);

	if (r < 0)
		return r;
	vu_msg_fini(&reply);
	if (le32_get(reply.p.state.index) != index)
		return -EPROTO;
	*ret_base = le32_get(reply.p.state.num);
	return 0;
}

int link_set_memory(struct link *l, const struct gmem *m)
{
	struct vu_msg msg = {.request = VU_SET_MEM_TABLE, .nfds = m->nregions};

	static_assert((int)GMEM_REGIONS_MAX <= (int)VU_REGIONS_MAX, "one message holds them all");
	msg.size = (uint32_t)(offsetof(struct vu_memory, regions) +
			      m->nregions * sizeof(struct vu_region));
	msg.p.memory.count = le32_of(m->nregions);
	for (unsigned i = 0; i < m->nregions; i++) {
		const struct gmem_region *r = &m->regions[i];

		msg.p.memory.regions[i] = (struct vu_region){.guest = le64_of(r->base),
							     .size = le64_of(r->size),
							     .user = le64_of(r->base),
							     .offset = le64_of(r->offset)};
		msg.fds[i] = r->fd;
	}
	return link_tell(l, &msg);
}

static struct vu_msg config_msg(uint32_t request, uint32_t offset, uint32_t size)
{
	assert(size <= VU_CONFIG_MAX);
	return (struct vu_msg){.request = request,
			       .size = (uint32_t)offsetof(struct vu_config, data) + size,
			       .p.config = {.offset = le32_of(offset), .size = le32_of(size)}};
}

int link_post_get_config(struct link *l, uint32_t offset, uint32_t size)
{
	struct vu_msg m = config_msg(VU_GET_CONFIG, offset, size);

	return link_post(l, &m);
}

int link_answer_config(struct link *l, void *out, uint32_t size)
{
	struct vu_msg reply;
	int r = link_answer(l, VU_GET_CONFIG, &reply);

	if (r < 0)
		return r;
	if (reply.size != offsetof(struct vu_config, data) + size)
		r = -EREMOTEIO; /* the way to say "no" here */
	else
		memcpy(out, reply.p.config.data, size);
	vu_msg_fini(&reply);
	return r;
}

int link_set_config(struct link *l, uint32_t offset, const void *in, uint32_t size)
{
	struct vu_msg m = config_msg(VU_SET_CONFIG, offset, size);

	memcpy(m.p.config.data, in, size);
	return link_tell(l, &m);
}
