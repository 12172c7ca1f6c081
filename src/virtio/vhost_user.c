/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * vhost_user.c - messages of the vhost-user protocol, with their descriptors
 *
 * One table says for every request which payload it has, which its reply, and how many descriptors
 * come along; everything that arrives is held against it.  A message is received in two steps, the
 * header and then exactly the payload that it announces, so nothing of the next message is read and
 * descriptors cannot be attributed to the wrong one.
 */
#include "virtio/vhost_user.h"

#include "base/fd.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>

static_assert((int)VU_FDS_MAX <= (int)FD_PASS_MAX, "one message, one sendmsg()");

/* Sizes of a payload: fixed, or a fixed part and entries, which are counted separately. */
struct vu_sizes {
	uint16_t min, max;
};

struct vu_row {
	const char *name;
	struct vu_sizes request, reply; /* reply.max 0: has none of its own */
	uint8_t request_fds, reply_fds; /* most */
};

#define NO_PAYLOAD     { 0, 0 }
#define PAYLOAD(field)                                                                             \
	{                                                                                          \
		sizeof(((union vu_payload *)0)->field), sizeof(((union vu_payload *)0)->field)     \
	}
#define MEMORY	       { offsetof(struct vu_memory, regions), sizeof(struct vu_memory) }
#define CONFIG	       { offsetof(struct vu_config, data), sizeof(struct vu_config) }
#define INFLIGHT       { offsetof(struct vu_inflight, padding), sizeof(struct vu_inflight) }

static const struct vu_row frontend_rows[VU_REQUEST_END] = {
	[VU_GET_FEATURES] = {"GET_FEATURES", NO_PAYLOAD, PAYLOAD(u64), 0, 0},
	[VU_SET_FEATURES] = {"SET_FEATURES", PAYLOAD(u64), NO_PAYLOAD, 0, 0},
	[VU_SET_OWNER] = {"SET_OWNER", NO_PAYLOAD, NO_PAYLOAD, 0, 0},
	[VU_RESET_OWNER] = {"RESET_OWNER", NO_PAYLOAD, NO_PAYLOAD, 0, 0},
	[VU_SET_MEM_TABLE] = {"SET_MEM_TABLE", MEMORY, NO_PAYLOAD, VU_REGIONS_MAX, 0},
	[VU_SET_VRING_NUM] = {"SET_VRING_NUM", PAYLOAD(state), NO_PAYLOAD, 0, 0},
	[VU_SET_VRING_ADDR] = {"SET_VRING_ADDR", PAYLOAD(addr), NO_PAYLOAD, 0, 0},
	[VU_SET_VRING_BASE] = {"SET_VRING_BASE", PAYLOAD(state), NO_PAYLOAD, 0, 0},
	[VU_GET_VRING_BASE] = {"GET_VRING_BASE", PAYLOAD(state), PAYLOAD(state), 0, 0},
	[VU_SET_VRING_KICK] = {"SET_VRING_KICK", PAYLOAD(u64), NO_PAYLOAD, 1, 0},
	[VU_SET_VRING_CALL] = {"SET_VRING_CALL", PAYLOAD(u64), NO_PAYLOAD, 1, 0},
	[VU_SET_VRING_ERR] = {"SET_VRING_ERR", PAYLOAD(u64), NO_PAYLOAD, 1, 0},
	[VU_GET_PROTOCOL_FEATURES] = {"GET_PROTOCOL_FEATURES", NO_PAYLOAD, PAYLOAD(u64), 0, 0},
	[VU_SET_PROTOCOL_FEATURES] = {"SET_PROTOCOL_FEATURES", PAYLOAD(u64), NO_PAYLOAD, 0, 0},
	[VU_GET_QUEUE_NUM] = {"GET_QUEUE_NUM", NO_PAYLOAD, PAYLOAD(u64), 0, 0},
	[VU_SET_VRING_ENABLE] = {"SET_VRING_ENABLE", PAYLOAD(state), NO_PAYLOAD, 0, 0},
	[VU_SET_BACKEND_REQ_FD] = {"SET_BACKEND_REQ_FD", NO_PAYLOAD, NO_PAYLOAD, 1, 0},
	[VU_GET_CONFIG] = {"GET_CONFIG", CONFIG, CONFIG, 0, 0},
	[VU_SET_CONFIG] = {"SET_CONFIG", CONFIG, NO_PAYLOAD, 0, 0},
	[VU_GET_INFLIGHT_FD] = {"GET_INFLIGHT_FD", INFLIGHT, INFLIGHT, 0, 1},
	[VU_SET_INFLIGHT_FD] = {"SET_INFLIGHT_FD", INFLIGHT, NO_PAYLOAD, 1, 0},
	[VU_RESET_DEVICE] = {"RESET_DEVICE", NO_PAYLOAD, NO_PAYLOAD, 0, 0},
	[VU_GET_MAX_MEM_SLOTS] = {"GET_MAX_MEM_SLOTS", NO_PAYLOAD, PAYLOAD(u64), 0, 0},
	[VU_ADD_MEM_REG] = {"ADD_MEM_REG", PAYLOAD(one_region), NO_PAYLOAD, 1, 0},
	[VU_REM_MEM_REG] = {"REM_MEM_REG", PAYLOAD(one_region), NO_PAYLOAD, 1, 0},
	[VU_SET_STATUS] = {"SET_STATUS", PAYLOAD(u64), NO_PAYLOAD, 0, 0},
	[VU_GET_STATUS] = {"GET_STATUS", NO_PAYLOAD, PAYLOAD(u64), 0, 0},
	[VU_SET_DEVICE_STATE_FD] = {"SET_DEVICE_STATE_FD", PAYLOAD(device_state), PAYLOAD(u64), 1,
				    1},
	[VU_CHECK_DEVICE_STATE] = {"CHECK_DEVICE_STATE", NO_PAYLOAD, PAYLOAD(u64), 0, 0},
};

static const struct vu_row backend_rows[VU_BACKEND_REQUEST_END] = {
	[VU_BACKEND_CONFIG_CHANGE] = {"BACKEND_CONFIG_CHANGE", NO_PAYLOAD, NO_PAYLOAD, 0, 0},
	[VU_BACKEND_SHMEM_MAP] = {"BACKEND_SHMEM_MAP", PAYLOAD(shmem), NO_PAYLOAD, 1, 0},
	[VU_BACKEND_SHMEM_UNMAP] = {"BACKEND_SHMEM_UNMAP", PAYLOAD(shmem), NO_PAYLOAD, 0, 0},
};

static const struct vu_row *row_of(enum vu_direction direction, uint32_t request)
{
	bool is_backend = direction == VU_BACKEND_REQUESTS || direction == VU_BACKEND_REPLIES;
	const struct vu_row *rows = is_backend ? backend_rows : frontend_rows;
	uint32_t count = is_backend ? VU_BACKEND_REQUEST_END : VU_REQUEST_END;

	return request < count && rows[request].name ? &rows[request] : NULL;
}

const char *vu_request_name(uint32_t request)
{
	const struct vu_row *row = row_of(VU_REQUESTS, request);

	return row ? row->name : "unknown";
}

bool vu_has_reply(uint32_t request)
{
	const struct vu_row *row = row_of(VU_REQUESTS, request);

	return row && row->reply.max > 0;
}

/* ---- descriptors ---- */

void vu_msg_fini(struct vu_msg *m)
{
	for (size_t i = 0; i < m->nfds; i++)
		fd_close(&m->fds[i]);
	m->nfds = 0;
}

int vu_msg_take_fd(struct vu_msg *m, size_t i)
{
	return i < m->nfds ? fd_take(&m->fds[i]) : -1;
}

void vu_conn_fini(struct vu_conn *c)
{
	vu_msg_fini(&c->partial);
	c->have = 0;
}

/* ---- checks of what arrives ---- */

/* An acknowledgement is a u64 in answer to a request without a reply of its own. */
static struct vu_sizes reply_sizes(const struct vu_row *row)
{
	return row->reply.max > 0 ? row->reply : (struct vu_sizes)PAYLOAD(u64);
}

/*
 * Requests that we do not know are let through with any payload that fits, so that the handler can
 * refuse them and go on.
 */
static bool header_is_sound(const struct vu_conn *c, const struct vu_msg *m)
{
	const struct vu_row *row = row_of(c->direction, m->request);
	bool is_reply = c->direction == VU_REPLIES || c->direction == VU_BACKEND_REPLIES;
	struct vu_sizes sizes = {0, sizeof(m->p)};

	if ((m->flags & VU_VERSION_MASK) != VU_VERSION || is_reply != !!(m->flags & VU_FLAG_REPLY))
		return false;
	if (!row && is_reply)
		return false;
	if (row)
		sizes = is_reply ? reply_sizes(row) : row->request;
	/* Without payload: a back end's way to say that it could not. */
	if (is_reply && m->request == VU_GET_CONFIG && m->size == 0)
		return true;
	return m->size >= sizes.min && m->size <= sizes.max;
}

/* Counts inside the payload against its size, and the number of descriptors. */
static bool body_is_sound(const struct vu_conn *c, const struct vu_msg *m)
{
	const struct vu_row *row = row_of(c->direction, m->request);
	bool is_reply = c->direction == VU_REPLIES || c->direction == VU_BACKEND_REPLIES;
	bool is_backend = c->direction == VU_BACKEND_REQUESTS || c->direction == VU_BACKEND_REPLIES;

	if (!row)
		return true;
	if (m->nfds > (is_reply ? row->reply_fds : row->request_fds))
		return false;
	if (is_backend || m->size == 0)
		return true;
	if (m->request == VU_SET_MEM_TABLE && !is_reply) {
		uint32_t count = le32_get(m->p.memory.count);

		return count <= VU_REGIONS_MAX && m->nfds == count &&
		       m->size >= offsetof(struct vu_memory, regions) +
					  count * sizeof(struct vu_region);
	}
	if (m->request == VU_GET_CONFIG || (m->request == VU_SET_CONFIG && !is_reply)) {
		uint32_t size = le32_get(m->p.config.size);

		return size <= VU_CONFIG_MAX && m->size == offsetof(struct vu_config, data) + size;
	}
	return true;
}

/* ---- receiving ---- */

/* One receive; descriptors are gathered in the partial message. */
static int receive_part(struct vu_conn *c, void *to, size_t n)
{
	struct vu_msg *m = &c->partial;
	size_t got = 0;
	ssize_t r = fd_recv(c->sock, to, n, m->fds + m->nfds, VU_FDS_MAX - m->nfds, &got);

	if (r < 0)
		return (int)r;
	m->nfds += got;
	if (r == 0)
		return c->have > 0 ? -EPROTO : -ENODATA;
	c->have += (size_t)r;
	return 0;
}

static int receive_header(struct vu_conn *c)
{
	struct vu_msg *m = &c->partial;

	while (c->have < sizeof(c->header)) {
		int r = receive_part(c, (char *)&c->header + c->have, sizeof(c->header) - c->have);

		if (r < 0)
			return r;
	}
	m->request = le32_get(c->header.request);
	m->flags = le32_get(c->header.flags);
	m->size = le32_get(c->header.size);
	return header_is_sound(c, m) ? 0 : -EPROTO;
}

static int receive(struct vu_conn *c)
{
	struct vu_msg *m = &c->partial;
	int r = receive_header(c);

	if (r < 0)
		return r;
	while (c->have < sizeof(c->header) + m->size) {
		size_t at = c->have - sizeof(c->header);

		r = receive_part(c, (char *)&m->p + at, m->size - at);
		if (r < 0)
			return r;
	}
	return body_is_sound(c, m) ? 0 : -EPROTO;
}

int vu_recv(struct vu_conn *c, struct vu_msg *ret_msg)
{
	int r;

	if (c->have == 0)
		c->partial = (struct vu_msg){0};
	r = receive(c);
	if (r == -EAGAIN)
		return r;
	if (r < 0) {
		vu_conn_fini(c);
		return r;
	}
	*ret_msg = c->partial;
	c->partial.nfds = 0;
	c->have = 0;
	return 0;
}

/* ---- sending ---- */

int vu_send(const struct vu_conn *c, const struct vu_msg *m)
{
	struct {
		struct vu_header header;
		union vu_payload p;
	} wire;

	static_assert(sizeof(wire) == sizeof(wire.header) + sizeof(wire.p), "wire");
	assert(m->size <= sizeof(wire.p));
	wire.header.request = le32_of(m->request);
	wire.header.flags = le32_of(m->flags | VU_VERSION);
	wire.header.size = le32_of(m->size);
	memcpy(&wire.p, &m->p, m->size);
	return fd_send(c->sock, &wire, sizeof(wire.header) + m->size, m->fds, m->nfds);
}

int vu_reply(const struct vu_conn *c, const struct vu_msg *request, struct vu_msg *reply)
{
	reply->request = request->request;
	reply->flags = VU_FLAG_REPLY;
	return vu_send(c, reply);
}

int vu_reply_u64(const struct vu_conn *c, const struct vu_msg *request, uint64_t value)
{
	struct vu_msg reply = {.size = sizeof(le64), .p.u64 = le64_of(value)};

	return vu_reply(c, request, &reply);
}
