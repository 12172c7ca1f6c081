/* SPDX-License-Identifier: BSD-3-Clause */
/* rootfs_initrd.h - the initial RAM disk of --rootfs: modules, and the program that loads them */
#pragma once

#include "base/attr.h"
#include "base/err.h"
#include "config/config.h"

/* Sets c->rootfs.initrd_fd, by c->kernel, c->rootfs, the transport and the devices. */
int rootfs_initrd_make(struct config *c, struct err *e) MUST_CHECK;
