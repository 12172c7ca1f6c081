/* SPDX-License-Identifier: BSD-3-Clause */
/* ids.h - device ids, status and feature bits, from the kernel's headers */
#pragma once

#include <linux/virtio_config.h>
#include <linux/virtio_ids.h>
#include <linux/virtio_ring.h>

/* A feature bit as a mask: VIRTIO_BIT(VIRTIO_F_VERSION_1). */
#define VIRTIO_BIT(number) (1ull << (number))

/* The ring features that vq.c knows; every device may offer them. */
#define VIRTIO_RING_FEATURES                                                              \
	(VIRTIO_BIT(VIRTIO_RING_F_INDIRECT_DESC) | VIRTIO_BIT(VIRTIO_RING_F_EVENT_IDX) | \
	 VIRTIO_BIT(VIRTIO_F_RING_PACKED))
