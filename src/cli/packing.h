/* SPDX-License-Identifier: BSD-3-Clause */
/* packing.h - how a file is packed, told by its first bytes, and what unpacks it */
#pragma once

#include <stddef.h>

enum { PACKING_MAGIC_BYTES = 6 };

struct packing {
	const char *magic;
	size_t n;		    /* bytes of it */
	const char *name, *package; /* "NAME -dc" unpacks */
};

/* By the first PACKING_MAGIC_BYTES of a file; NULL if it is not packed. */
const struct packing *packing_of(const char *bytes);
