/* SPDX-License-Identifier: BSD-3-Clause */
/* memfd.h - what lies behind guest memory: sealed files that other processes can map */
#pragma once

#include "base/attr.h"
#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>

/*
 * A memfd of size bytes, sealed against shrinking, growing and further seals, so that nobody who
 * holds it can make another's mapping fault.  page_bytes: of huge pages that the host has set
 * aside, a power of two; 0: ordinary memory.  Close-on-exec.  Returns the fd.
 */
int memfd_new(const char *name, uint64_t size, uint64_t page_bytes, struct err *e) MUST_CHECK;

/* Gives pages back to the host for every process that maps them; they read as zero afterwards. */
int memfd_punch(int fd, uint64_t offset, uint64_t n) MUST_CHECK;
