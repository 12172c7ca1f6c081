/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * kernel_rings.h - queues of a device that a vhost device of the kernel serves
 *
 * For the hooks of struct device_type: kernel_rings_begin() in start, kernel_ring_start() in kick,
 * kernel_ring_stop() in stop.  The device itself tells the kernel when to begin and to end; in
 * between neither kicks nor interrupts pass through us.
 */
#pragma once

#include "devices/device.h"

/* Agreed features that the vhost device knows, and guest memory. */
int kernel_rings_begin(const struct device *d, int vhost_fd, uint64_t vhost_features,
		       struct err *e) MUST_CHECK;

/* Queue q of d as ring index of the vhost device. */
int kernel_ring_start(const struct device *d, unsigned q, int vhost_fd, unsigned index,
		      struct err *e) MUST_CHECK;

/* The kernel has been told to end: notes how far it got. */
void kernel_ring_stop(struct device *d, unsigned q, int vhost_fd, unsigned index);
