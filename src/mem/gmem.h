/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * gmem.h - guest physical memory
 *
 * The only way to look at it: copies in and out, iovecs for the kernel, and (rings only) a marked
 * pointer.  No function without a length; a range may cross regions that adjoin.  Everything the
 * guest can name may change at any moment, so: copy, then check the copy, then use the copy.
 *
 * Built with GMEM_HOSTILE, gmem_read() calls gmem_hostile_hook after each copy, and fuzzers rewrite
 * the source there: whoever reads anything twice sees two values.
 */
#pragma once

#include "base/attr.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

typedef uint64_t gpa; /* guest physical address; never mixed with host pointers */

enum { GMEM_REGIONS_MAX = 8 };

struct gmem_region {
	gpa base;
	uint64_t size;	 /* bytes, > 0, base + size does not wrap */
	void *host;	 /* where it is mapped here */
	int fd;		 /* memfd behind it, owned by the struct gmem; -1 for none (tests) */
	uint64_t offset; /* of the region in the memfd */
};

/* Regions are sorted by base and do not overlap. Constant once the guest runs. */
struct gmem {
	struct gmem_region regions[GMEM_REGIONS_MAX];
	unsigned nregions;
};

void gmem_init(struct gmem *m);

/* Unmaps every region and closes its fd; NULL, zeroed and half-built are fine. */
void gmem_fini(struct gmem *m);

/*
 * Adds [base, base + size), mapped shared from fd at offset; takes the fd only on success.
 * -EINVAL: empty, unaligned, wrapping or overlapping; -ENOSPC: too many regions, or that of mmap.
 */
int gmem_map_take(struct gmem *m, gpa base, uint64_t size, int fd, uint64_t offset) MUST_CHECK;

/* Adds memory that the caller owns and keeps mapped; for tests.  Same errors. */
int gmem_add_borrowed(struct gmem *m, gpa base, uint64_t size, void *host) MUST_CHECK;

/* Copies of n bytes; false, with nothing copied, unless the whole range is memory. n 0 is true. */
bool gmem_read(const struct gmem *m, gpa a, void *dst, size_t n) MUST_CHECK;
bool gmem_write(const struct gmem *m, gpa a, const void *src, size_t n) MUST_CHECK;
bool gmem_fill(const struct gmem *m, gpa a, uint8_t byte, size_t n) MUST_CHECK;

/*
 * The range as at most max host ranges, for the kernel to read or write.  Returns how many, or
 * -EFAULT when not all of it is memory, -E2BIG when max is too small.  n 0 gives 0.
 */
int gmem_iov(const struct gmem *m, gpa a, size_t n, struct iovec *v, unsigned max) MUST_CHECK;

/* For rings only: NULL unless the range lies in one region and a is a multiple of align. */
void GUEST *gmem_ptr(const struct gmem *m, gpa a, size_t n, size_t align) MUST_CHECK;

/*
 * Reads exactly n bytes of fd at offset into guest memory, without passing through our buffers.
 * 0, -EFAULT when the range is not memory, -ENODATA when the file ends early, else errno.
 */
int gmem_load(const struct gmem *m, gpa a, size_t n, int fd, uint64_t offset) MUST_CHECK;

/*
 * Gives [a, a + n) back to the host, for every process that maps it; it reads as zero from now on.
 * Both are multiples of the pages that lie behind it, see gmem_page_bytes().  0; -EFAULT, and
 * nothing done, unless all of it is memory; else errno, and a part may have been done.
 */
int gmem_discard(const struct gmem *m, gpa a, uint64_t n) MUST_CHECK;

/* Bytes of one page of what lies behind a region: more than 4096 where the host set huge pages
 * aside. */
uint64_t gmem_page_bytes(const struct gmem_region *r);

/* The guest address of a range that gmem_iov() made, or a part of it; false if it is none. */
bool gmem_iov_address(const struct gmem *m, const struct iovec *v, gpa *ret) MUST_CHECK;

/* Whether [a, a + n) is memory. */
bool gmem_covers(const struct gmem *m, gpa a, uint64_t n) MUST_CHECK;

/* Sum of all regions and address behind the last one, in bytes. */
uint64_t gmem_size(const struct gmem *m);
gpa gmem_end(const struct gmem *m);

/* Called after each gmem_read() in GMEM_HOSTILE builds; NULL there means: leave alone. */
extern void (*gmem_hostile_hook)(void *source, size_t n);
