/* SPDX-License-Identifier: BSD-3-Clause */
/* net_header.h - what lies in front of every frame (virtio 1.2, 5.1.6) */
#pragma once

#include "base/attr.h"
#include "base/wire.h"

#include <assert.h>
#include <stddef.h>
#include <stdint.h>

struct net_header {
	uint8_t flags, gso_type;
	le16 hdr_len, gso_size, csum_start, csum_offset, num_buffers;
};

static_assert(sizeof(struct net_header) == 12, "virtio 1.2, 5.1.6");

/* Virtio 1.3: segmentation of UDP, which the kernel's headers do not have yet. */
enum {
	NET_F_GUEST_USO4 = 54,
	NET_F_GUEST_USO6 = 55,
	NET_F_HOST_USO = 56,
	NET_HDR_GSO_UDP_L4 = 5,
};

/*
 * Whether the header may stand in front of a frame of so many bytes from a driver that agreed on
 * these features.  NULL, and what the device has to ignore is zero; or what is wrong with it, a
 * constant string.
 */
const char *net_header_check(struct net_header *h, uint64_t features, size_t length) MUST_CHECK;
