/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * iov.h - arithmetic on iovecs
 *
 * The ranges may be guest memory: these functions hand bytes on and never look at them.
 */
#pragma once

#include "base/attr.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

/* Bytes in all ranges; callers rule out a sum above SIZE_MAX. */
size_t iov_length(const struct iovec *v, unsigned n) MUST_CHECK;

/* Whether every address and every length is a multiple of align, a power of two. */
bool iov_is_aligned(const struct iovec *v, unsigned n, size_t align) MUST_CHECK;

static inline struct iovec iov_of(void *base, size_t n)
{
	return (struct iovec){.iov_base = base, .iov_len = n};
}

/* For system calls that take an address as a number. */
MUST_CHECK static inline uint64_t iov_address(const struct iovec *v)
{
	return (uintptr_t)v->iov_base;
}

/* The kernel has written the first bytes of the ranges, in no call that MSan sees. */
static inline void iov_written(const struct iovec *v, unsigned n, size_t bytes)
{
	for (; n > 0 && bytes > 0; v++, n--) {
		size_t part = v->iov_len < bytes ? v->iov_len : bytes;

		MEMORY_WRITTEN(v->iov_base, part);
		bytes -= part;
	}
}

/* A position in ranges that belong to somebody else and are not changed. */
struct iov_at {
	const struct iovec *v;
	unsigned n;
	size_t skip; /* bytes of v[0] that lie behind us; less than its length */
};

/* Goes on by so many bytes, at most to the end; then n is 0. */
void iov_at_skip(struct iov_at *at, size_t bytes);

/*
 * What to give the kernel next: at most max ranges, not always all that is left.  storage is used
 * when the position is inside a range.  *ret_n is 0 at the end only.
 */
const struct iovec *iov_at_next(const struct iov_at *at, struct iovec *storage, unsigned max,
				unsigned *ret_n) MUST_CHECK;

/*
 * The same for exactly bytes of it: sets up to max of parts and *ret_n, and returns how many bytes
 * they hold, fewer where max is reached.
 */
size_t iov_at_cut(const struct iov_at *at, size_t bytes, struct iovec *parts, unsigned max,
		  unsigned *ret_n) MUST_CHECK;

/* Sets up to bytes of what lies ahead to zero, without going on. */
void iov_at_zero(const struct iov_at *at, size_t bytes);

/* Copies up to bytes between what lies ahead and buf, without going on; returns how many. */
size_t iov_at_gather(const struct iov_at *at, void *buf, size_t bytes);
size_t iov_at_scatter(const struct iov_at *at, const void *buf, size_t bytes);
