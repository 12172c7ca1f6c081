/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * inflate_libs.h - zlib and zstd, for images that may have compressed clusters
 *
 * Few processes open such an image, and each shared library costs a process 50 us at its start and
 * 8 KiB.  So both are loaded by the first who asks; a static program has them linked.
 */
#pragma once

#include "base/attr.h"
#include "base/err.h"

#include <stddef.h>
#include <zlib.h>
#include <zstd.h>

/* Functions of the libraries, by their documented names. */
struct inflate_libs {
	int (*inflate_init)(z_stream *s, int window_bits, const char *version, int size);
	int (*inflate_reset)(z_stream *s);
	int (*inflate)(z_stream *s, int flush);
	ZSTD_DCtx *(*zstd_new)(void);
	size_t (*zstd_free)(ZSTD_DCtx *context);
	size_t (*zstd_frame_bytes)(const void *in, size_t n);
	size_t (*zstd_decompress)(ZSTD_DCtx *context, void *out, size_t size, const void *in,
				  size_t n);
	unsigned (*zstd_is_error)(size_t result);
};

/* The same for all callers; NULL with *e set if a library is missing.  Call before the jail. */
const struct inflate_libs *inflate_libs_load(struct err *e) MUST_CHECK;
