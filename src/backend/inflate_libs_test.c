/* SPDX-License-Identifier: BSD-3-Clause */
/* inflate_libs_test.c - both libraries are there, and inflate */
#include "backend/inflate_libs.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <cmocka.h>

/* One stored block; RFC 1951, 3.2.4. */
static void zlib_inflates(void **state)
{
	static const uint8_t stored[] = {1, 5, 0, 0xfa, 0xff, 'h', 'e', 'l', 'l', 'o'};
	struct err e;
	const struct inflate_libs *libs = inflate_libs_load(&e);
	uint8_t out[5] = {0};
	z_stream s = {.next_in = (Bytef *)(uintptr_t)stored,
		      .avail_in = sizeof(stored),
		      .next_out = out,
		      .avail_out = sizeof(out)};

	(void)state;
	assert_non_null(libs);
	assert_int_equal(libs->inflate_init(&s, -15, ZLIB_VERSION, (int)sizeof(s)), Z_OK);
	assert_int_equal(libs->inflate(&s, Z_FINISH), Z_STREAM_END);
	assert_memory_equal(out, "hello", 5);
	assert_int_equal(libs->inflate_reset(&s), Z_OK);
	s.zfree(s.opaque, s.state);
}

/* One frame of one raw block; RFC 8878, 3.1.1. */
static void zstd_inflates(void **state)
{
	static const uint8_t raw[] = {0x28, 0xb5, 0x2f, 0xfd, 0x20, 5,   0x29, 0,
				      0,    'h',  'e',  'l',  'l',  'o', 0xff};
	struct err e;
	const struct inflate_libs *libs = inflate_libs_load(&e);
	ZSTD_DCtx *context;
	uint8_t out[5] = {0};

	(void)state;
	assert_non_null(libs);
	context = libs->zstd_new();
	assert_int_equal(libs->zstd_frame_bytes(raw, sizeof(raw)), sizeof(raw) - 1);
	assert_int_equal(libs->zstd_decompress(context, out, 5, raw, sizeof(raw) - 1), 5);
	assert_memory_equal(out, "hello", 5);
	assert_true(libs->zstd_is_error(libs->zstd_frame_bytes(raw + 1, sizeof(raw) - 1)));
	libs->zstd_free(context);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(zlib_inflates),
		cmocka_unit_test(zstd_inflates),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
