/* SPDX-License-Identifier: BSD-3-Clause */
/* net_header.c - what lies in front of every frame (virtio 1.2, 5.1.6) */
#include "devices/net_header.h"

#include "base/num.h"
#include "virtio/ids.h"

#include <linux/virtio_net.h>

enum { ETHERNET_HEADER = 14, FRAME_MAX = 65535 + 18, CHECKSUM_BYTES = 2 };

static const struct {
	uint8_t gso_type;
	unsigned feature;
} segmentations[] = {
	{VIRTIO_NET_HDR_GSO_TCPV4, VIRTIO_NET_F_HOST_TSO4},
	{VIRTIO_NET_HDR_GSO_TCPV6, VIRTIO_NET_F_HOST_TSO6},
	{VIRTIO_NET_HDR_GSO_UDP, VIRTIO_NET_F_HOST_UFO},
	{NET_HDR_GSO_UDP_L4, NET_F_HOST_USO},
};

static bool is_agreed(uint8_t gso_type, uint64_t features)
{
	uint8_t type = gso_type & (uint8_t)~VIRTIO_NET_HDR_GSO_ECN;
	bool has_ecn = gso_type & VIRTIO_NET_HDR_GSO_ECN;
	bool is_tcp = type == VIRTIO_NET_HDR_GSO_TCPV4 || type == VIRTIO_NET_HDR_GSO_TCPV6;

	if (has_ecn && !(is_tcp && features & VIRTIO_BIT(VIRTIO_NET_F_HOST_ECN)))
		return false;
	for (size_t i = 0; i < ARRAY_LEN(segmentations); i++)
		if (segmentations[i].gso_type == type)
			return features & VIRTIO_BIT(segmentations[i].feature);
	return false;
}

static const char *check_checksum(const struct net_header *h, uint64_t features, size_t length)
{
	uint32_t at = (uint32_t)le16_get(h->csum_start) + le16_get(h->csum_offset);

	if (!(features & VIRTIO_BIT(VIRTIO_NET_F_CSUM)))
		return "checksum to fill in that was not agreed on";
	if (!is_inside(at, CHECKSUM_BYTES, length))
		return "checksum outside the frame";
	return NULL;
}

static const char *check_segmentation(const struct net_header *h, uint64_t features, size_t length)
{
	if (!is_agreed(h->gso_type, features))
		return "segmentation that was not agreed on";
	if (!(h->flags & VIRTIO_NET_HDR_F_NEEDS_CSUM))
		return "segmentation without checksums";
	if (le16_get(h->gso_size) == 0)
		return "segments of no bytes";
	if (le16_get(h->hdr_len) > length)
		return "headers longer than the frame";
	return NULL;
}

const char *net_header_check(struct net_header *h, uint64_t features, size_t length)
{
	const char *wrong = NULL;

	if (length < ETHERNET_HEADER)
		return "frame shorter than its header";
	if (length > FRAME_MAX)
		return "frame too long";
	h->flags &= VIRTIO_NET_HDR_F_NEEDS_CSUM;
	h->num_buffers = le16_of(0);
	if (h->flags)
		wrong = check_checksum(h, features, length);
	else
		h->csum_start = h->csum_offset = le16_of(0);
	if (wrong)
		return wrong;
	if (h->gso_type != VIRTIO_NET_HDR_GSO_NONE)
		return check_segmentation(h, features, length);
	h->gso_size = h->hdr_len = le16_of(0);
	return NULL;
}
