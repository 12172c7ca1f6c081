/* SPDX-License-Identifier: BSD-3-Clause */
/* num.h - arithmetic that says when it does not fit */
#pragma once

#include "base/attr.h"

#include <stdbool.h>
#include <stdint.h>

/* *ret = a + b; false, and *ret unspecified, when the sum needs more than 64 bits. */
MUST_CHECK static inline bool add_ok(uint64_t a, uint64_t b, uint64_t *ret)
{
	return !__builtin_add_overflow(a, b, ret);
}

/* *ret = a * b; false, and *ret unspecified, when the product needs more than 64 bits. */
MUST_CHECK static inline bool mul_ok(uint64_t a, uint64_t b, uint64_t *ret)
{
	return !__builtin_mul_overflow(a, b, ret);
}

static inline uint64_t min_u64(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static inline uint64_t max_u64(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

static inline size_t min_size(size_t a, size_t b)
{
	return a < b ? a : b;
}

static inline bool is_power_of_two(uint64_t n)
{
	return n != 0 && (n & (n - 1)) == 0;
}

/* Both take a power of two; round_up wraps to 0 above 2^64 - unit, which callers rule out. */
static inline uint64_t round_down(uint64_t n, uint64_t unit)
{
	return n & ~(unit - 1);
}

static inline uint64_t round_up(uint64_t n, uint64_t unit)
{
	return (n + unit - 1) & ~(unit - 1);
}

/* Whether [at, at + n) lies inside [0, size); cannot wrap. */
static inline bool is_inside(uint64_t at, uint64_t n, uint64_t size)
{
	return n <= size && at <= size - n;
}
