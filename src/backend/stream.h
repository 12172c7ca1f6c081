/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * stream.h - frames over a stream socket, as passt and QEMU's "-netdev stream" speak
 *
 * Each frame follows its length, 32 bits in network order.  Nothing is left for later: headers are
 * zeros both ways.
 *
 *  I1  What the socket takes of a frame is followed by the rest of it, whatever becomes of the
 *	guest's memory meanwhile: the rest was copied, and the frame counts as not taken until all
 *	of it is.  If by then another is offered in its place, that one is lost.
 *  I2  A length that no frame has ends the connection: what follows can't be told apart.
 */
#pragma once

#include "backend/net_backend.h"

#include <stddef.h>

struct stream {
	struct net_backend backend;
	uint8_t *in, *out; /* STREAM_IN_BYTES and STREAM_OUT_BYTES */
	size_t in_at, in_end;
	size_t out_at, out_end; /* the rest of a frame, not taken yet */
};

enum {
	STREAM_LENGTH_BYTES = 4,
	STREAM_FRAME_MIN = 14,
	STREAM_FRAME_MAX = 65535,
	STREAM_IN_BYTES = 4 * (STREAM_LENGTH_BYTES + STREAM_FRAME_MAX),
	STREAM_OUT_BYTES = STREAM_LENGTH_BYTES + STREAM_FRAME_MAX,
};

/* Takes the connected socket, also when it fails. receive() gives -EPIPE at the other's end. */
int stream_init_take(struct stream *s, int sock, struct err *e) MUST_CHECK;
