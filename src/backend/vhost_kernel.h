/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * vhost_kernel.h - devices that the kernel drives (/dev/vhost-net, /dev/vhost-vsock)
 *
 *	vhost_kernel_open	open
 *	vhost_kernel_own	prepare: the kernel's thread becomes one of this process
 *	vhost_kernel_begin	start: features and memory
 *	vhost_kernel_ring_start	kick: a ring, with its eventfds; the kernel may serve it once the
 *				device's own call (VHOST_NET_SET_BACKEND and the like) says so
 *	vhost_kernel_ring_stop	stop, after the device's own call took it back
 *
 * All but opening are ioctls: VHOST_KERNEL_CALLS is for the device's list of system calls, which
 * needs <linux/vhost.h> and <sys/ioctl.h>.
 */
#pragma once

#include "base/attr.h"
#include "base/err.h"

#include <stdint.h>

#define VHOST_KERNEL_CALLS                               \
	CALL_ARG(ioctl, 1, VHOST_SET_FEATURES),          \
		CALL_ARG(ioctl, 1, VHOST_SET_MEM_TABLE), \
		CALL_ARG(ioctl, 1, VHOST_SET_VRING_NUM), \
		CALL_ARG(ioctl, 1, VHOST_SET_VRING_ADDR), \
		CALL_ARG(ioctl, 1, VHOST_SET_VRING_BASE), \
		CALL_ARG(ioctl, 1, VHOST_SET_VRING_KICK), \
		CALL_ARG(ioctl, 1, VHOST_SET_VRING_CALL), \
		CALL_ARG(ioctl, 1, VHOST_SET_VRING_ERR), \
		CALL_ARG(ioctl, 1, VHOST_GET_VRING_BASE)

enum { VHOST_KERNEL_REGIONS_MAX = 16 };

struct vhost_kernel_region {
	uint64_t guest, size, host; /* host: an address of this process */
};

struct vhost_kernel_ring {
	unsigned index; /* as this vhost device counts */
	uint32_t size, base;
	uint64_t desc, driver, device;  /* addresses of this process */
	int kick_fd, call_fd, err_fd;	/* borrowed; -1 for none */
};

/* Opens the device file, whose kernel module is named in the message.  The fd, or -errno. */
int vhost_kernel_open(const char *path, const char *module, uint64_t *ret_features,
		      struct err *e) MUST_CHECK;

int vhost_kernel_own(int fd, struct err *e) MUST_CHECK;

/* features: agreed with the driver; those that the kernel's device does not know are left out. */
int vhost_kernel_begin(int fd, uint64_t features, const struct vhost_kernel_region *regions,
		       unsigned n, struct err *e) MUST_CHECK;
int vhost_kernel_ring_start(int fd, const struct vhost_kernel_ring *r, struct err *e) MUST_CHECK;

/* Where the ring goes on. 0 or -errno. */
int vhost_kernel_ring_stop(int fd, unsigned index, uint16_t *ret_base) MUST_CHECK;
