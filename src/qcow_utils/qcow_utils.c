/* SPDX-License-Identifier: BSD-3-Clause */
/* qcow_utils.c - libqcow_utils: its one function */
#include "qcow_utils/qcow_utils.h"

#include "backend/image_qcow2_new.h"

#include <errno.h>
#include <stdbool.h>

/* Bytes that follow a first byte, or -1: not a first byte. */
static int bytes_behind(unsigned char c)
{
	if (c < 0x80)
		return 0;
	if (c >= 0xc2 && c < 0xe0)
		return 1;
	if (c >= 0xe0 && c < 0xf0)
		return 2;
	return c >= 0xf0 && c < 0xf5 ? 3 : -1;
}

/* RFC 3629: shortest forms only, no surrogates, nothing above U+10FFFF. */
static bool is_second_byte(unsigned char first, unsigned char c)
{
	unsigned char low = first == 0xe0 ? 0xa0 : first == 0xf0 ? 0x90 : 0x80;
	unsigned char high = first == 0xed ? 0x9f : first == 0xf4 ? 0x8f : 0xbf;

	return c >= low && c <= high;
}

static bool is_utf8(const char *text)
{
	const unsigned char *p = (const unsigned char *)text;

	while (*p) {
		unsigned char first = *p++;
		int n = bytes_behind(first);

		if (n < 0 || (n > 0 && !is_second_byte(first, *p)))
			return false;
		for (; n > 0; n--, p++)
			if ((*p & 0xc0) != 0x80)
				return false;
	}
	return true;
}

__attribute__((visibility("default"))) int create_qcow_with_size(const char *path,
								 uint64_t virtual_size)
{
	struct err e = {0};

	if (!path || !is_utf8(path))
		return -EINVAL;
	return qcow2_new(path, virtual_size, NULL, &e) < 0 ? -1 : 0;
}
