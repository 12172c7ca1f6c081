/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * net_backend.h - where the frames of a network card go to and come from
 *
 * A frame is an Ethernet frame without its checksum, behind a header of NET_HEADER_BYTES (struct
 * virtio_net_hdr_v1) which says what is left to do: a checksum to fill in, segments to cut.  A back
 * end that cannot do such work (offloads 0) gets and gives headers of zeros.
 *
 * Every pair of queues has one descriptor; it is non-blocking and belongs to the back end.
 */
#pragma once

#include "base/attr.h"
#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>

enum {
	NET_PAIRS_MAX = 8,
	NET_HEADER_BYTES = 12,
	NET_FRAME_MAX = 65535 + 18, /* IP packets of 64 KiB behind an Ethernet header and a tag */
};

/* What the other side may leave for later. */
enum net_offload {
	NET_OFFLOAD_CSUM = 1,
	NET_OFFLOAD_TSO4 = 2,
	NET_OFFLOAD_TSO6 = 4,
	NET_OFFLOAD_ECN = 8,
	NET_OFFLOAD_UFO = 16,
	NET_OFFLOAD_USO = 32, /* both, IPv4 and IPv6 */
};

struct net_backend;

struct net_backend_ops {
	/*
	 * Sends one frame from the guest; v[0] is its header, and nothing but that.  0, or -EAGAIN:
	 * nothing was taken; offer the same again when the descriptor is writable.  Other errors:
	 * the frame is lost.
	 */
	int (*send)(struct net_backend *b, unsigned pair, const struct iovec *v, unsigned n);

	/*
	 * Receives one frame into v, the header first.  Returns its bytes with header, of which
	 * those that found no room are lost; -EAGAIN: none is there.
	 */
	ssize_t (*receive)(struct net_backend *b, unsigned pair, const struct iovec *v, unsigned n);

	/* What frames to the guest may leave for later; a set of enum net_offload.  Optional. */
	int (*offloads_set)(struct net_backend *b, unsigned offloads);

	/* Frames to the guest are spread over the first so many pairs.  Optional. */
	int (*pairs_set)(struct net_backend *b, unsigned pairs);

	void (*close)(struct net_backend *b);
};

struct net_backend {
	const struct net_backend_ops *ops;
	unsigned pairs;    /* 1 or more */
	unsigned offloads; /* that it can do for the guest, and leave to it */
	int fd[NET_PAIRS_MAX];
};
