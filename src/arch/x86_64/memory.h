/* SPDX-License-Identifier: BSD-3-Clause */
/* memory.h - facts about guest memory that loaders and tables need */
#pragma once

#include "mem/gmem.h"

#include <stdint.h>

/* End of the memory that starts at address 0 and stays below the hole; 0 if there is none. */
uint64_t memory_low_end(const struct gmem *m);

/* Physical address bits of this processor. */
unsigned memory_address_bits(void);
