/* SPDX-License-Identifier: BSD-3-Clause */
/* memory.h - facts about guest memory that loaders and tables need */
#pragma once

#include "mem/gmem.h"

#include <stdbool.h>
#include <stdint.h>

/* End of the memory that starts at address 0 and stays below the hole; 0 if there is none. */
uint64_t memory_low_end(const struct gmem *m);

/*
 * Whether a kernel may occupy [base, base + n): memory below the hole, not below min, and not on
 * what LAYOUT_EBDA to LAYOUT_HIGH has.
 */
bool memory_is_free(const struct gmem *m, uint64_t base, uint64_t n, uint64_t min);

/* Physical address bits of this processor. */
unsigned memory_address_bits(void);
