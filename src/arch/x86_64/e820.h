/* SPDX-License-Identifier: BSD-3-Clause */
/* e820.h - the memory map, as every way to boot passes it on */
#pragma once

#include "mem/gmem.h"

#include <stdint.h>

enum { E820_RAM = 1, E820_RESERVED = 2, E820_MAX = 16 };

struct e820_range {
	uint64_t base, size;
	uint32_t type;
};

/* Memory and reserved ranges in ascending order, without overlaps; returns how many. */
unsigned e820_fill(const struct gmem *m, struct e820_range ret[E820_MAX]);
