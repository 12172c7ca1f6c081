/* SPDX-License-Identifier: BSD-3-Clause */
/* image_qcow2_new.h - new qcow2 images by path, for the command and libqcow_utils */
#pragma once

#include "backend/image_qcow2.h"

/*
 * Makes the empty image path of size bytes, or makes path one: what was in it is gone, its name,
 * owner and permissions stay.  A file that somebody uses (flock, or the locks of QEMU) is refused
 * before anything is changed; one that was made here and could not be finished is removed.  On
 * stable storage when done.  -EINVAL, -EFBIG for sizes that qcow2 does not have.
 */
int qcow2_new(const char *path, uint64_t size, const struct qcow2_create_options *o,
	      struct err *e) MUST_CHECK;
