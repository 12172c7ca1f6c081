/* SPDX-License-Identifier: BSD-3-Clause */
/* paging.h - the page tables that a 64-bit kernel starts with */
#pragma once

#include "base/attr.h"
#include "mem/gmem.h"

#include <stdbool.h>

/* Maps the first 4 GiB to themselves with 2 MiB pages; false when memory is too small for it. */
bool paging_write(struct gmem *m) MUST_CHECK;
