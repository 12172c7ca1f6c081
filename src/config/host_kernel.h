/* SPDX-License-Identifier: BSD-3-Clause */
/* host_kernel.h - the kernels that are installed on this host, and their modules */
#pragma once

#include "base/attr.h"
#include "base/err.h"

#include <stddef.h>

enum { HOST_KERNEL_RELEASE_MAX = 128 };

/* The places of this host; tests have others. */
struct host_kernel_paths {
	const char *boot;    /* "/boot" */
	const char *release; /* of the running kernel; NULL: ask */
};

extern const struct host_kernel_paths host_kernel_paths;

/*
 * The kernel that a guest gets when its user names none: the running one's vmlinuz, else the newest
 * in the folder that may be read.  -ENOENT: *e says what there is and what to do.
 */
int host_kernel_find(const struct host_kernel_paths *paths, char *path, size_t room, struct err *e)
	MUST_CHECK;

/* The release of the running kernel. */
const char *host_kernel_running(void);
