/* SPDX-License-Identifier: BSD-3-Clause */
/* packing.c - how a file is packed, told by its first bytes, and what unpacks it */
#include "cli/packing.h"

#include "base/attr.h"

#include <string.h>

static const struct packing packings[] = {
	{"\x1f\x8b", 2, "gzip", "gzip"},
	{"\xfd"
	 "7zXZ",
	 5, "xz", "xz-utils"},
	{"\x28\xb5\x2f\xfd", 4, "zstd", "zstd"},
	{"BZh", 3, "bzip2", "bzip2"},
};

const struct packing *packing_of(const char *bytes)
{
	for (size_t i = 0; i < ARRAY_LEN(packings); i++)
		if (memcmp(bytes, packings[i].magic, packings[i].n) == 0)
			return &packings[i];
	return NULL;
}
