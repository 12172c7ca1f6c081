/* SPDX-License-Identifier: BSD-3-Clause */
/* iov.c - arithmetic on iovecs */
#include "base/iov.h"

#include "base/num.h"

#include <string.h>

size_t iov_length(const struct iovec *v, unsigned n)
{
	size_t sum = 0;

	for (unsigned i = 0; i < n; i++)
		sum += v[i].iov_len;
	return sum;
}

bool iov_is_aligned(const struct iovec *v, unsigned n, size_t align)
{
	size_t bits = 0;

	for (unsigned i = 0; i < n; i++)
		bits |= (uintptr_t)v[i].iov_base | v[i].iov_len;
	return (bits & (align - 1)) == 0;
}

void iov_at_skip(struct iov_at *at, size_t bytes)
{
	while (at->n > 0 && bytes >= at->v->iov_len - at->skip) {
		bytes -= at->v->iov_len - at->skip;
		at->skip = 0;
		at->v++;
		at->n--;
	}
	if (at->n > 0)
		at->skip += bytes;
}

const struct iovec *iov_at_next(const struct iov_at *at, struct iovec *storage, unsigned max,
				unsigned *ret_n)
{
	if (at->n == 0 || at->skip == 0) {
		*ret_n = at->n < max ? at->n : max;
		return at->v;
	}
	*storage = iov_of((char *)at->v->iov_base + at->skip, at->v->iov_len - at->skip);
	*ret_n = 1;
	return storage;
}

size_t iov_at_cut(const struct iov_at *at, size_t bytes, struct iovec *parts, unsigned max,
		  unsigned *ret_n)
{
	size_t skip = at->skip, done = 0;
	unsigned n = 0;

	for (; n < at->n && n < max && done < bytes; n++) {
		size_t part = min_size(at->v[n].iov_len - skip, bytes - done);

		parts[n] = iov_of((char *)at->v[n].iov_base + skip, part);
		done += part;
		skip = 0;
	}
	*ret_n = n;
	return done;
}

void iov_at_zero(const struct iov_at *at, size_t bytes)
{
	size_t skip = at->skip, done = 0;

	for (unsigned i = 0; i < at->n && done < bytes; i++) {
		size_t part = min_size(at->v[i].iov_len - skip, bytes - done);

		memset((char *)at->v[i].iov_base + skip, 0, part);
		done += part;
		skip = 0;
	}
}

size_t iov_at_gather(const struct iov_at *at, void *buf, size_t bytes)
{
	size_t skip = at->skip, done = 0;

	for (unsigned i = 0; i < at->n && done < bytes; i++) {
		size_t part = min_size(at->v[i].iov_len - skip, bytes - done);

		memcpy((char *)buf + done, (char *)at->v[i].iov_base + skip, part);
		done += part;
		skip = 0;
	}
	return done;
}

size_t iov_at_scatter(const struct iov_at *at, const void *buf, size_t bytes)
{
	size_t skip = at->skip, done = 0;

	for (unsigned i = 0; i < at->n && done < bytes; i++) {
		size_t part = min_size(at->v[i].iov_len - skip, bytes - done);

		memcpy((char *)at->v[i].iov_base + skip, (const char *)buf + done, part);
		done += part;
		skip = 0;
	}
	return done;
}
