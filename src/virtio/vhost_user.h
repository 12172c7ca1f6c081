/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * vhost_user.h - messages of the vhost-user protocol, with their descriptors
 *
 * A codec without policy, for both sides and both directions: front end to back end on the main
 * socket, back end to front end on the back-end channel.  What arrives is checked for version,
 * direction, size of the payload and number of descriptors by a table (vhost_user.c), so whoever
 * handles a message may read the member of the union that belongs to its request.  The values are
 * still the peer's: indexes, addresses and sizes are to be checked by the handler.
 *
 * Receiving works on blocking sockets (with fd_timeout_set(): -EAGAIN means that time ran out) and
 * on non-blocking ones (-EAGAIN means that the rest has not come yet; call again).
 *
 * Reference: QEMU, docs/interop/vhost-user.rst.  Integers are in host order, which is
 * little-endian.
 */
#pragma once

#include "base/attr.h"
#include "base/wire.h"

#include <assert.h>
#include <stdbool.h>
#include <stdint.h>

enum {
	VU_FDS_MAX = 8,	     /* as many as a memory table has regions */
	VU_REGIONS_MAX = 8,
	VU_CONFIG_MAX = 256, /* bytes of configuration space in one message */
};

/* Front end to back end. */
enum vu_request {
	VU_GET_FEATURES = 1,
	VU_SET_FEATURES = 2,
	VU_SET_OWNER = 3,
	VU_RESET_OWNER = 4,
	VU_SET_MEM_TABLE = 5,
	VU_SET_VRING_NUM = 8,
	VU_SET_VRING_ADDR = 9,
	VU_SET_VRING_BASE = 10,
	VU_GET_VRING_BASE = 11,
	VU_SET_VRING_KICK = 12,
	VU_SET_VRING_CALL = 13,
	VU_SET_VRING_ERR = 14,
	VU_GET_PROTOCOL_FEATURES = 15,
	VU_SET_PROTOCOL_FEATURES = 16,
	VU_GET_QUEUE_NUM = 17,
	VU_SET_VRING_ENABLE = 18,
	VU_SET_BACKEND_REQ_FD = 21,
	VU_GET_CONFIG = 24,
	VU_SET_CONFIG = 25,
	VU_GET_INFLIGHT_FD = 31,
	VU_SET_INFLIGHT_FD = 32,
	VU_RESET_DEVICE = 34,
	VU_GET_MAX_MEM_SLOTS = 36,
	VU_ADD_MEM_REG = 37,
	VU_REM_MEM_REG = 38,
	VU_SET_STATUS = 39,
	VU_GET_STATUS = 40,
	VU_SET_DEVICE_STATE_FD = 42,
	VU_CHECK_DEVICE_STATE = 43,
	VU_REQUEST_END
};

/* Back end to front end. */
enum vu_backend_request {
	VU_BACKEND_CONFIG_CHANGE = 2,
	VU_BACKEND_SHMEM_MAP = 9,
	VU_BACKEND_SHMEM_UNMAP = 10,
	VU_BACKEND_REQUEST_END
};

/* Bits of flags; the version is in the lowest two. */
enum { VU_VERSION = 1, VU_VERSION_MASK = 3, VU_FLAG_REPLY = 4, VU_FLAG_NEED_REPLY = 8 };

/* Feature bit that announces protocol features, and those. Bit numbers. */
enum { VU_F_PROTOCOL_FEATURES = 30 };

enum vu_protocol_feature {
	VU_PROTOCOL_F_MQ = 0,
	VU_PROTOCOL_F_REPLY_ACK = 3,
	VU_PROTOCOL_F_BACKEND_REQ = 5,
	VU_PROTOCOL_F_CONFIG = 9,
	VU_PROTOCOL_F_BACKEND_SEND_FD = 10,
	VU_PROTOCOL_F_INFLIGHT_SHMFD = 12,
	VU_PROTOCOL_F_RESET_DEVICE = 13,
	VU_PROTOCOL_F_CONFIGURE_MEM_SLOTS = 15,
	VU_PROTOCOL_F_STATUS = 16,
	VU_PROTOCOL_F_DEVICE_STATE = 19,
};

#define VU_BIT(number) (1ull << (number))

/*
 * Payload of VU_SET_VRING_KICK, _CALL and _ERR: the queue, and whether no descriptor comes along.
 */
enum { VU_VRING_INDEX_MASK = 0xff, VU_VRING_NO_FD = 0x100 };

struct vu_header {
	le32 request, flags, size;
};
static_assert(sizeof(struct vu_header) == 12, "wire");

struct vu_vring_state {
	le32 index, num;
};
static_assert(sizeof(struct vu_vring_state) == 8, "wire");

/* Ring addresses are the front end's user addresses. */
struct vu_vring_addr {
	le32 index, flags;
	le64 desc, used, avail, log;
};
static_assert(sizeof(struct vu_vring_addr) == 40, "wire");

struct vu_region {
	le64 guest, size, user, offset; /* user: where the front end has it; offset: in the fd */
};
static_assert(sizeof(struct vu_region) == 32, "wire");

struct vu_memory {
	le32 count, padding;
	struct vu_region regions[VU_REGIONS_MAX];
};
static_assert(sizeof(struct vu_memory) == 264, "wire");

struct vu_one_region {
	le64 padding;
	struct vu_region region;
};
static_assert(sizeof(struct vu_one_region) == 40, "wire");

struct vu_config {
	le32 offset, size, flags;
	uint8_t data[VU_CONFIG_MAX];
};
static_assert(sizeof(struct vu_config) == 268, "wire");

struct vu_inflight {
	le64 size, offset; /* of the area in the descriptor */
	le16 queues, queue_size;
	le32 padding; /* as C on 64-bit hosts lays it out; peers may leave it away */
};
static_assert(sizeof(struct vu_inflight) == 24, "wire");

/* VU_SET_DEVICE_STATE_FD: direction 0 save, 1 load; phase 0 stopped. */
struct vu_device_state {
	le32 direction, phase;
};
static_assert(sizeof(struct vu_device_state) == 8, "wire");

/* VU_BACKEND_SHMEM_MAP and _UNMAP. */
struct vu_shmem {
	uint8_t id, padding[7];
	le64 fd_offset, shm_offset, size, flags;
};
static_assert(sizeof(struct vu_shmem) == 40, "wire");

union vu_payload {
	le64 u64;
	struct vu_vring_state state;
	struct vu_vring_addr addr;
	struct vu_memory memory;
	struct vu_one_region one_region;
	struct vu_config config;
	struct vu_inflight inflight;
	struct vu_device_state device_state;
	struct vu_shmem shmem;
};

/* One message. It owns its descriptors until they are taken. */
struct vu_msg {
	uint32_t request; /* enum vu_request, or vu_backend_request on the back-end channel */
	uint32_t flags;
	uint32_t size; /* bytes of payload */
	union vu_payload p;
	int fds[VU_FDS_MAX]; /* -1 where taken */
	size_t nfds;
};

/* What a socket carries towards us. */
enum vu_direction {
	VU_REQUESTS,	     /* we are a back end: requests of the front end */
	VU_REPLIES,	     /* we are a front end: replies of the back end */
	VU_BACKEND_REQUESTS, /* we are a front end, on the back-end channel */
	VU_BACKEND_REPLIES,  /* we are a back end, on the back-end channel */
};

/* One end of a connection; zero-initialise all but sock and direction. */
struct vu_conn {
	int sock; /* borrowed */
	enum vu_direction direction;
	bool has_reply_ack; /* VU_PROTOCOL_F_REPLY_ACK was agreed; the owner's to set */
	size_t have;	    /* bytes of the message that is being received */
	struct vu_header header;
	struct vu_msg partial;
};

/* Closes the descriptors of a message that was received in part. */
void vu_conn_fini(struct vu_conn *c);

/*
 * Receives one whole message.  *ret_msg is written on success and then owns its descriptors
 * (vu_msg_fini()).  Errors end the connection, but -EAGAIN: -ENODATA the peer has closed it,
 * -EPROTO it broke the protocol, else errno.
 */
int vu_recv(struct vu_conn *c, struct vu_msg *ret_msg) MUST_CHECK;

/* Sends m with its descriptors, which stay the caller's. 0 or -errno. */
int vu_send(const struct vu_conn *c, const struct vu_msg *m) MUST_CHECK;

/* Closes what was not taken. */
void vu_msg_fini(struct vu_msg *m);

/* Moves descriptor i to the caller; -1 if there is none. */
int vu_msg_take_fd(struct vu_msg *m, size_t i) MUST_CHECK;

/* "SET_VRING_NUM", or "unknown". */
const char *vu_request_name(uint32_t request);

/* ---- back end: answers ---- */

/* Answers a request with the payload in reply (u64, state, config, inflight, ...) and its fds. */
int vu_reply(const struct vu_conn *c, const struct vu_msg *request, struct vu_msg *reply)
	MUST_CHECK;
int vu_reply_u64(const struct vu_conn *c, const struct vu_msg *request, uint64_t value) MUST_CHECK;

/* Whether the request has a reply of its own, so that no acknowledgement is due. */
bool vu_has_reply(uint32_t request);
