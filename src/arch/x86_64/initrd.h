/* SPDX-License-Identifier: BSD-3-Clause */
/* initrd.h - the initial RAM disk, or multiboot's only module */
#pragma once

#include "arch/arch.h"
#include "base/attr.h"
#include "base/err.h"
#include "mem/gmem.h"

#include <stdint.h>

struct initrd {
	uint64_t base, size; /* size 0: none */
};

/*
 * Sets ret->size to the size of k's initrd, 0 if there is none, and chooses a base within
 * [min, max): as high as possible, on a page.
 */
int initrd_place_high(const struct arch_kernel *k, uint64_t min, uint64_t max, struct initrd *ret,
		      struct err *e) MUST_CHECK;

/* The same, as low as possible. */
int initrd_place_low(const struct arch_kernel *k, uint64_t min, uint64_t max, struct initrd *ret,
		     struct err *e) MUST_CHECK;

/* Reads it into its place. */
int initrd_load(const struct arch_kernel *k, const struct initrd *initrd, struct gmem *m,
		struct err *e) MUST_CHECK;
