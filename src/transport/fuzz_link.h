/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * fuzz_link.h - in place of link.c: a device without a process, which obeys, refuses or fails
 *
 * Linked before the library, it takes the place of link.c there.
 */
#pragma once

#include <stdint.h>

/* Of the next requests, two bits each, from the lowest: 0, 1 obey; 2 refuse; 3 fail. */
extern uint64_t fuzz_link_faults;

/* Rings that the device holds, a bit each. */
extern uint32_t fuzz_link_rings;
