/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * virtio_mmio.h - virtio over MMIO (virtio 1.2, section 4.2), version 2
 *
 * One page of registers and one interrupt number, which the guest must treat as edge-triggered.
 * Kicks and calls never pass through here: doorbells tell the queues apart by the value that is
 * written, and every queue's calls pulse the line.  So nobody can tell whether a queue has called,
 * and InterruptStatus says "used buffer" as long as the driver is ready; the driver then looks into
 * its queues, as the specification allows.
 */
#pragma once

#include "base/attr.h"
#include "base/err.h"
#include "bus/bus.h"
#include "bus/host.h"
#include "transport/frontend.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

enum { VIRTIO_MMIO_BYTES = 0x1000 };

struct virtio_mmio {
	struct bus_dev window;
	struct frontend *frontend;
	struct frontend_listener listener;
	struct host *host;
	uint64_t base;
	unsigned gsi;
	int config_fd; /* eventfd that pulses the line */

	pthread_mutex_t lock; /* of the rest; not held while the front end is called */
	uint32_t device_feature_select, driver_feature_select, queue_select;
	bool config_has_changed; /* bit 1 of InterruptStatus */
	bool door_is_open[FRONTEND_QUEUES_MAX];
	bool call_is_bound[FRONTEND_QUEUES_MAX];
};

/*
 * Puts the registers on the bus at base.  All arguments are borrowed and must outlive it; the front
 * end need not have a device yet.  Call virtio_mmio_fini() even if this fails.
 */
int virtio_mmio_init(struct virtio_mmio *v, struct frontend *f, struct bus *mmio, uint64_t base,
		     struct host *host, unsigned gsi, struct err *e) MUST_CHECK;

/* For the end of the program, when no vCPU runs.  NULL is fine. */
void virtio_mmio_fini(struct virtio_mmio *v);
