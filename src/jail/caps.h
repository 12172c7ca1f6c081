/* SPDX-License-Identifier: BSD-3-Clause */
/* caps.h - capabilities of the calling thread, by number (linux/capability.h) */
#pragma once

#include "base/attr.h"

#include <stdint.h>

#define CAP_BIT(cap) (UINT64_C(1) << (cap))

/* Effective, permitted and inheritable sets. 0 or -errno. */
int caps_set(uint64_t effective, uint64_t permitted, uint64_t inheritable) MUST_CHECK;

/* Keeps these, and only these, across exec by an ordinary user. 0 or -errno. */
int caps_pass_on(uint64_t set) MUST_CHECK;

/*
 * Empties every set and locks the door behind: bounding set, ambient set, securebits. 0 or -errno.
 */
int caps_drop_all(void) MUST_CHECK;
