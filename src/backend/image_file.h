/* SPDX-License-Identifier: BSD-3-Clause */
/* image_file.h - the file below an image: opened, locked, measured; for image.c and formats */
#pragma once

#include "backend/image.h"

/*
 * Opens o->path and sets fd, writable, direct, is_block_device, size, block_size, host_block and
 * dma_align of *im.  On failure im->fd may be open; image_close() closes it.
 *
 * The file is locked with flock(), without waiting but for a process that has just died: its I/O
 * may still be under way, and the lock goes only with the last of it (image.h, I4).
 */
int image_file_open(struct image *im, const struct image_options *o, struct err *e) MUST_CHECK;
