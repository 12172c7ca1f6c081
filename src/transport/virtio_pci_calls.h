/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * virtio_pci_calls.h - virtio over PCI: where kicks come from and where calls go
 *
 * For virtio_pci.c only.  With v->lock held, but for init, fini and doors.
 */
#pragma once

#include "base/attr.h"
#include "transport/virtio_pci.h"

#include <stdbool.h>
#include <stdint.h>

enum { NOTIFY_BYTES = 4 }; /* of a queue's doorbell */

extern const struct msix_ops calls_msix_ops;

/* Begins to listen to the front end; calls go where the registers say.  0 or -errno. */
int calls_init(struct virtio_pci *v) MUST_CHECK;
void calls_fini(struct virtio_pci *v);

/* MSI-X was turned on or off, or masked: every queue's way, and the line. */
void calls_follow(struct virtio_pci *v);

/* The vector of a queue; what is out of range stands for none. */
void calls_vector_set(struct virtio_pci *v, unsigned q, uint32_t vector);

/* The queue, or the device, was reset: what it called before is over. */
void calls_queue_forget(struct virtio_pci *v, unsigned q);
void calls_forget(struct virtio_pci *v);

/* The ISR byte, which reading clears. */
uint8_t calls_isr_take(struct virtio_pci *v);

/* The doorbell of a queue opens or closes; without one, writes exit to us. */
void door_set(struct virtio_pci *v, unsigned q, bool on);

/* All of them are at base now, or, not mapped, are there no more. */
void doors_move(struct virtio_pci *v, uint64_t base, bool mapped);
