/* SPDX-License-Identifier: BSD-3-Clause */
/* inflate_libs_linked.c - zlib and zstd of a static program */
#include "backend/inflate_libs.h"

const struct inflate_libs *inflate_libs_load(struct err *e UNUSED)
{
	static const struct inflate_libs libs = {
		.inflate_init = inflateInit2_,
		.inflate_reset = inflateReset,
		.inflate = inflate,
		.zstd_new = ZSTD_createDCtx,
		.zstd_free = ZSTD_freeDCtx,
		.zstd_frame_bytes = ZSTD_findFrameCompressedSize,
		.zstd_decompress = ZSTD_decompressDCtx,
		.zstd_is_error = ZSTD_isError,
	};

	return &libs;
}
