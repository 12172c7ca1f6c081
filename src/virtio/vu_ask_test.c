/* SPDX-License-Identifier: BSD-3-Clause */
/* vu_ask_test.c - for tests: a front end's questions, on a blocking socket */
#include "virtio/vu_ask_test.h"

#include <errno.h>

int vu_ask(struct vu_conn *c, const struct vu_msg *m, struct vu_msg *ret_reply)
{
	int r = vu_send(c, m);

	if (r < 0)
		return r;
	r = vu_recv(c, ret_reply);
	if (r < 0)
		return r;
	if (ret_reply->request == m->request)
		return 0;
	vu_msg_fini(ret_reply);
	return -EPROTO;
}

int vu_tell(struct vu_conn *c, const struct vu_msg *m)
{
	struct vu_msg with_flag, reply;
	int r;

	if (!c->has_reply_ack)
		return vu_send(c, m);
	with_flag = *m;
	with_flag.flags |= VU_FLAG_NEED_REPLY;
	r = vu_ask(c, &with_flag, &reply);
	if (r < 0)
		return r;
	vu_msg_fini(&reply);
	return le64_get(reply.p.u64) == 0 ? 0 : -EREMOTEIO;
}

int vu_get_u64(struct vu_conn *c, uint32_t request, uint64_t *ret_value)
{
	struct vu_msg m = {.request = request}, reply;
	int r = vu_ask(c, &m, &reply);

	if (r < 0)
		return r;
	vu_msg_fini(&reply);
	if (reply.size != sizeof(reply.p.u64))
		return -EPROTO;
	*ret_value = le64_get(reply.p.u64);
	return 0;
}

int vu_set(struct vu_conn *c, uint32_t request)
{
	struct vu_msg m = {.request = request};

	return vu_tell(c, &m);
}

int vu_set_u64(struct vu_conn *c, uint32_t request, uint64_t value)
{
	struct vu_msg m = {.request = request, .size = sizeof(m.p.u64), .p.u64 = le64_of(value)};

	return vu_tell(c, &m);
}

int vu_set_state(struct vu_conn *c, uint32_t request, uint32_t index, uint32_t num)
{
	struct vu_msg m = {
		.request = request,
		.size = sizeof(m.p.state),
		.p.state = {le32_of(index), le32_of(num)},
	};

	return vu_tell(c, &m);
}

int vu_set_vring_fd(struct vu_conn *c, uint32_t request, unsigned index, int fd)
{
	struct vu_msg m = {.request = request, .size = sizeof(m.p.u64)};

	m.p.u64 = le64_of(fd < 0 ? index | VU_VRING_NO_FD : index);
	m.fds[0] = fd;
	m.nfds = fd < 0 ? 0 : 1;
	return vu_tell(c, &m);
}

int vu_get_vring_base(struct vu_conn *c, unsigned index, uint32_t *ret_base)
{
	struct vu_msg m = {
		.request = VU_GET_VRING_BASE,
		.size = sizeof(m.p.state),
		.p.state = {le32_of(index), le32_of(0)},
	};
	struct vu_msg reply;
	int r = vu_ask(c, &m, &reply);

	if (r < 0)
		return r;
	vu_msg_fini(&reply);
	if (le32_get(reply.p.state.index) != index)
		return -EPROTO;
	*ret_base = le32_get(reply.p.state.num);
	return 0;
}
