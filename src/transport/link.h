/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * link.h - a conversation with a vhost-user back end that is never waited for without a limit
 *
 * The socket is non-blocking; before a row of questions link_begin() says how long all of them may
 * take together.  Nothing in a reply is trusted but what virtio/vhost_user.h checks.
 *
 * Errors of all calls: -ETIMEDOUT, -EPROTO the peer broke the protocol, -ENODATA it closed the
 * connection, -EREMOTEIO it refused, else errno of the socket.  After any but -EREMOTEIO the link
 * is of no use.
 */
#pragma once

#include "base/attr.h"
#include "mem/gmem.h"
#include "virtio/vhost_user.h"

#include <stdbool.h>
#include <stdint.h>

struct link {
	struct vu_conn conn; /* conn.sock is the struct's owner's */
	uint64_t protocol;   /* protocol features agreed */
	uint64_t deadline_ns;
};

/* Makes the socket non-blocking. 0 or -errno. */
int link_init(struct link *l, int sock) MUST_CHECK;
void link_fini(struct link *l);

/* From now on, limit_ms for everything until the next call. */
void link_begin(struct link *l, unsigned limit_ms);

static inline bool link_has(const struct link *l, enum vu_protocol_feature feature)
{
	return l->protocol & VU_BIT(feature);
}

/* Receives what the peer answers to request; for questions that were sent by themselves. */
int link_answer(struct link *l, uint32_t request, struct vu_msg *ret_reply) MUST_CHECK;

/* Sends m and receives the answer, or sends it and receives the acknowledgement if agreed. */
int link_ask(struct link *l, const struct vu_msg *m, struct vu_msg *ret_reply) MUST_CHECK;
int link_tell(struct link *l, const struct vu_msg *m) MUST_CHECK;

/* Sends m and asks for no acknowledgement: who refuses it will be found by the next question. */
int link_post(struct link *l, const struct vu_msg *m) MUST_CHECK;

/* Of an answer to a question that was sent by itself; the short form of link_answer(). */
int link_answer_u64(struct link *l, uint32_t request, uint64_t *ret_value) MUST_CHECK;

/* Short forms. */
int link_get_u64(struct link *l, uint32_t request, uint64_t *ret_value) MUST_CHECK;
int link_set(struct link *l, uint32_t request) MUST_CHECK;
int link_set_u64(struct link *l, uint32_t request, uint64_t value) MUST_CHECK;
int link_set_state(struct link *l, uint32_t request, unsigned index, uint32_t num) MUST_CHECK;
int link_set_vring_fd(struct link *l, uint32_t request, unsigned index, int fd) MUST_CHECK;

/* Stops a ring; returns when the peer no longer touches it, and where it would have gone on. */
int link_stop_vring(struct link *l, unsigned index, uint32_t *ret_base) MUST_CHECK;

/*
 * Gives the peer guest memory.  User addresses, which the protocol has for rings, are guest
 * addresses here, so the peer learns nothing of this process's address space.
 */
int link_set_memory(struct link *l, const struct gmem *m) MUST_CHECK;

/*
 * size bytes of configuration space at offset; size at most VU_CONFIG_MAX, offset small.  To read
 * them is a question and, for the same size, an answer.
 */
int link_post_get_config(struct link *l, uint32_t offset, uint32_t size) MUST_CHECK;
int link_answer_config(struct link *l, void *out, uint32_t size) MUST_CHECK;
int link_set_config(struct link *l, uint32_t offset, const void *in, uint32_t size) MUST_CHECK;
