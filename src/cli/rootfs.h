/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * rootfs.h - --rootfs: a directory or a tar archive becomes the guest's root file system
 *
 * rootfs_make() packs it into a squashfs image in a file without a name, has the disk that was
 * reserved for it take that file, and makes the initial RAM disk that brings the kernel's modules
 * and mounts it.  Nothing of it outlives the processes that have the files open.
 */
#pragma once

#include "base/attr.h"
#include "base/err.h"
#include "config/config.h"

#include <stddef.h>

/* Programs that this needs, with their packages; ends with a NULL name. */
struct rootfs_tool {
	const char *name, *package;
};

extern const struct rootfs_tool rootfs_tools[];

/*
 * What c->rootfs asks for; does nothing when it asks for nothing.  Call while the process has one
 * thread and all its rights.  c->rootfs.image_fd and .initrd_fd are set, and c->initrd stays NULL.
 */
int rootfs_make(struct config *c, struct err *e) MUST_CHECK;
