/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * ram.h - a guest's memory: the file, its mapping, and what the host sets behind it
 *
 * All of it is shared: device processes map the same files.
 */
#pragma once

#include "base/err.h"
#include "mem/gmem.h"

struct ram_options {
	uint64_t page_bytes; /* of huge pages that the host has set aside; 0: ordinary memory */
	bool thp;            /* let the host put huge pages together by itself */
	bool lock;           /* all of it is there from the start, and is never swapped out */
	bool dump;           /* it is part of core dumps */
};

/*
 * Adds [base, base + size) to the memory.  Without the huge pages it needs, or where the host's
 * limits forbid what is asked for, it fails with a message that says what to do.
 */
int ram_add(struct gmem *m, const char *name, gpa base, uint64_t size, const struct ram_options *o,
	    struct err *e) MUST_CHECK;
