/* SPDX-License-Identifier: BSD-3-Clause */
/* cmdline.h - the kernel's command line in guest memory */
#pragma once

#include "base/attr.h"
#include "base/err.h"
#include "mem/gmem.h"

#include <stddef.h>

/*
 * Writes "first rest" (either may be empty, rest also NULL) at LAYOUT_CMDLINE.  limit is the
 * longest text that the kernel takes, without its terminator.
 */
int cmdline_write(struct gmem *m, const char *first, const char *rest, size_t limit, struct err *e)
	MUST_CHECK;
