/* SPDX-License-Identifier: BSD-3-Clause */
/* inflate_libs_loaded.c - zlib and zstd, loaded when they are needed */
#include "backend/inflate_libs.h"

#include <dlfcn.h>
#include <errno.h>
#include <string.h>

static const char zlib[] = "libz.so.1", zstd[] = "libzstd.so.1";

#define PLACE(field) offsetof(struct inflate_libs, field)

static const struct {
	const char *library, *symbol;
	size_t place;
} symbols[] = {
	{zlib, "inflateInit2_", PLACE(inflate_init)},
	{zlib, "inflateReset", PLACE(inflate_reset)},
	{zlib, "inflate", PLACE(inflate)},
	{zstd, "ZSTD_createDCtx", PLACE(zstd_new)},
	{zstd, "ZSTD_freeDCtx", PLACE(zstd_free)},
	{zstd, "ZSTD_findFrameCompressedSize", PLACE(zstd_frame_bytes)},
	{zstd, "ZSTD_decompressDCtx", PLACE(zstd_decompress)},
	{zstd, "ZSTD_isError", PLACE(zstd_is_error)},
};

const struct inflate_libs *inflate_libs_load(struct err *e)
{
	static struct inflate_libs libs;

	for (size_t i = 0; i < ARRAY_LEN(symbols); i++) {
		/* Each is loaded once, and stays. */
		void *library = dlopen(symbols[i].library, RTLD_NOW | RTLD_LOCAL);
		void *symbol = library ? dlsym(library, symbols[i].symbol) : NULL;

		if (!symbol) {
			err_say(e, ENOENT, "compressed clusters need %s: %s; install it",
				symbols[i].library, dlerror());
			return NULL;
		}
		memcpy((char *)&libs + symbols[i].place, &symbol, sizeof(symbol));
	}
	return &libs;
}
