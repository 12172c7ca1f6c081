/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * virtio_pci.h - virtio over PCI (virtio 1.2, section 4.1), modern interface only
 *
 * One 64-bit BAR holds all structures.  Kicks go from KVM straight to the device (doorbells for
 * queues that are on, wherever the BAR is), calls from the device straight to KVM (irqfd), as long
 * as the queue's MSI-X vector is open.  Otherwise calls are watched on the loop: they set the
 * vector's pending bit, or, without MSI-X, the ISR bit and the interrupt line.
 *
 * lock guards registers and interrupts, door_lock the doorbells.  Neither is held while the front
 * end is called, for that may wait for the device.  Order: lock, bus->lock, door_lock.
 */
#pragma once

#include "base/attr.h"
#include "base/err.h"
#include "base/loop.h"
#include "bus/msix.h"
#include "bus/pci.h"
#include "transport/frontend.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

/* Where a queue's calls go. */
enum virtio_pci_way {
	VIRTIO_PCI_DROPPED, /* nowhere: MSI-X is on and the queue has no vector */
	VIRTIO_PCI_DIRECT,  /* irqfd */
	VIRTIO_PCI_WATCHED, /* to call_heard() */
};

struct virtio_pci_queue {
	uint16_t vector;
	enum virtio_pci_way way;
	unsigned gsi;  /* of the irqfd, if direct */
	bool has_door; /* the driver has turned the queue on */
	bool door_is_open;
};

struct virtio_pci {
	struct pci_dev dev;
	struct frontend *frontend;
	struct frontend_listener listener;
	struct host *host;
	struct loop *loop;
	unsigned nqueues; /* for which there are doorbells and vectors */
	int calls_fd;     /* epoll of the calls that are watched */
	struct watch calls_watch;
	unsigned config_access; /* where that capability is */

	pthread_mutex_t lock;
	struct msix msix;
	struct virtio_pci_queue queues[FRONTEND_QUEUES_MAX]; /* the doors: door_lock */
	uint16_t config_vector, queue_select;
	uint32_t device_feature_select, driver_feature_select;
	uint8_t isr;
	bool is_master; /* bit of the command register, as last seen */

	pthread_mutex_t door_lock;
	uint64_t door_base; /* of the notification structure; 0: not mapped */
};

/*
 * Plugs the device into the bus.  All arguments are borrowed and must outlive it; the front end
 * need not have a device yet.  Call virtio_pci_fini() even if this fails.
 */
int virtio_pci_init(struct virtio_pci *v, struct frontend *f, struct pci_bus *bus,
		    struct host *host, struct loop *loop, struct err *e) MUST_CHECK;

/* For the end of the program, when no vCPU runs: functions are not unplugged.  NULL is fine. */
void virtio_pci_fini(struct virtio_pci *v);
