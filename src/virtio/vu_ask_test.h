/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * vu_ask_test.h - for tests: a front end's questions, on a blocking socket
 *
 * The main process asks through transport/link.h, which never waits without a limit.
 */
#pragma once

#include "base/attr.h"
#include "virtio/vhost_user.h"

#include <stdint.h>

/*
 * Sends m and waits for its answer (blocking socket).  *ret_reply as for vu_recv(); -EPROTO if the
 * answer is to another request.
 */
int vu_ask(struct vu_conn *c, const struct vu_msg *m, struct vu_msg *ret_reply) MUST_CHECK;

/* Sends m; with has_reply_ack waits for the acknowledgement; -EREMOTEIO if the peer refused. */
int vu_tell(struct vu_conn *c, const struct vu_msg *m) MUST_CHECK;

/* The most frequent shapes of both.  fd -1: none; it stays the caller's. */
int vu_get_u64(struct vu_conn *c, uint32_t request, uint64_t *ret_value) MUST_CHECK;
int vu_set(struct vu_conn *c, uint32_t request) MUST_CHECK;
int vu_set_u64(struct vu_conn *c, uint32_t request, uint64_t value) MUST_CHECK;
int vu_set_state(struct vu_conn *c, uint32_t request, uint32_t index, uint32_t num) MUST_CHECK;
int vu_set_vring_fd(struct vu_conn *c, uint32_t request, unsigned index, int fd) MUST_CHECK;
int vu_get_vring_base(struct vu_conn *c, unsigned index, uint32_t *ret_base) MUST_CHECK;
