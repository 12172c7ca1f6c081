/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * gmem.c - guest physical memory
 *
 *  I1  Regions are sorted by base, non-empty, do not overlap and do not wrap.
 *  I2  A host pointer is made only by piece(), from a region and an offset checked against its size
 *      by subtraction.
 */
#include "mem/gmem.h"

#include "base/fd.h"
#include "base/num.h"
#include "mem/memfd.h"

#include <errno.h>
#include <linux/magic.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/vfs.h>
#include <unistd.h>

enum { PAGE_BYTES = 4096 };

void (*gmem_hostile_hook)(void *source, size_t n);

void gmem_init(struct gmem *m)
{
	*m = (struct gmem){0};
}

void gmem_fini(struct gmem *m)
{
	if (!m)
		return;
	for (unsigned i = 0; i < m->nregions; i++) {
		struct gmem_region *r = &m->regions[i];

		if (r->fd < 0)
			continue;
		munmap(r->host, r->size);
		fd_close(&r->fd);
	}
	m->nregions = 0;
}

static const struct gmem_region *region_find(const struct gmem *m, gpa a)
{
	for (unsigned i = 0; i < m->nregions; i++)
		if (a >= m->regions[i].base && a - m->regions[i].base < m->regions[i].size)
			return &m->regions[i];
	return NULL;
}

/* The first bytes of [a, a + n) that lie in one region; n > 0. */
static void *piece(const struct gmem *m, gpa a, size_t n, size_t *ret_n)
{
	const struct gmem_region *r = region_find(m, a);

	if (!r)
		return NULL;
	*ret_n = (size_t)min_u64(n, r->size - (a - r->base));
	return (char *)r->host + (a - r->base);
}

static int region_insert(struct gmem *m, const struct gmem_region *new)
{
	uint64_t end;
	unsigned at = 0;

	if (new->size == 0 || !add_ok(new->base, new->size, &end))
		return -EINVAL;
	if (m->nregions == GMEM_REGIONS_MAX)
		return -ENOSPC;
	while (at < m->nregions && m->regions[at].base < new->base)
		at++;
	if (at < m->nregions && m->regions[at].base < end)
		return -EINVAL;
	if (at > 0 && new->base - m->regions[at - 1].base < m->regions[at - 1].size)
		return -EINVAL;
	memmove(&m->regions[at + 1], &m->regions[at], (m->nregions - at) * sizeof(m->regions[0]));
	m->regions[at] = *new;
	m->nregions++;
	return 0;
}

int gmem_map_take(struct gmem *m, gpa base, uint64_t size, int fd, uint64_t offset)
{
	struct gmem_region new = {.base = base, .size = size, .fd = fd, .offset = offset};
	int r;

	if (((base | size | offset) & (PAGE_BYTES - 1)) != 0 || fd < 0)
		return -EINVAL;
	new.host = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, fd,
			(off_t)offset);
	if (new.host == MAP_FAILED)
		return -errno;
	r = region_insert(m, &new);
	if (r < 0)
		munmap(new.host, size);
	else
		madvise(new.host, size, MADV_DONTDUMP);
	return r;
}

int gmem_add_borrowed(struct gmem *m, gpa base, uint64_t size, void *host)
{
	struct gmem_region new = {.base = base, .size = size, .host = host, .fd = -1};

	return region_insert(m, &new);
}

bool gmem_covers(const struct gmem *m, gpa a, uint64_t n)
{
	uint64_t end;

	if (n == 0)
		return true;
	if (!add_ok(a, n, &end))
		return false;
	while (a < end) {
		const struct gmem_region *r = region_find(m, a);

		if (!r)
			return false;
		a = r->base + r->size;
	}
	return true;
}

static void offer_to_hook(void *source, size_t n)
{
	if (GMEM_IS_HOSTILE && gmem_hostile_hook)
		gmem_hostile_hook(source, n);
}

bool gmem_read(const struct gmem *m, gpa a, void *dst, size_t n)
{
	char *to = dst;

	if (!gmem_covers(m, a, n))
		return false;
	while (n > 0) {
		size_t part = 0;
		void *from = piece(m, a, n, &part);

		memcpy(to, from, part);
		offer_to_hook(from, part);
		to += part;
		a += part;
		n -= part;
	}
	return true;
}

bool gmem_write(const struct gmem *m, gpa a, const void *src, size_t n)
{
	const char *from = src;

	if (!gmem_covers(m, a, n))
		return false;
	while (n > 0) {
		size_t part = 0;
		void *to = piece(m, a, n, &part);

		memcpy(to, from, part);
		from += part;
		a += part;
		n -= part;
	}
	return true;
}

bool gmem_fill(const struct gmem *m, gpa a, uint8_t byte, size_t n)
{
	if (!gmem_covers(m, a, n))
		return false;
	while (n > 0) {
		size_t part = 0;
		void *to = piece(m, a, n, &part);

		memset(to, byte, part);
		a += part;
		n -= part;
	}
	return true;
}

int gmem_iov(const struct gmem *m, gpa a, size_t n, struct iovec *v, unsigned max)
{
	unsigned count = 0;

	if (!gmem_covers(m, a, n))
		return -EFAULT;
	while (n > 0) {
		size_t part = 0;

		if (count == max)
			return -E2BIG;
		v[count].iov_base = piece(m, a, n, &part);
		v[count].iov_len = part;
		count++;
		a += part;
		n -= part;
	}
	return (int)count;
}

void GUEST *gmem_ptr(const struct gmem *m, gpa a, size_t n, size_t align)
{
	size_t part = 0;
	void *host;

	if (n == 0 || a % align != 0)
		return NULL;
	host = piece(m, a, n, &part);
	if (!host || part != n || (uintptr_t)host % align != 0)
		return NULL;
	return (FORCE void GUEST *)host;
}

/*
 * Through the memory file rather than the mapping: whole pages are copied once, without being
 * cleared and faulted in first, which takes a third of the time.  *done counts what was copied.
 */
static int load_by_sendfile(const struct gmem_region *r, uint64_t at, size_t n, int fd,
			    uint64_t offset, size_t *done)
{
	off_t from = (off_t)offset;

	if (lseek(r->fd, (off_t)(r->offset + at), SEEK_SET) < 0)
		return -errno;
	while (*done < n) {
		ssize_t sent = sendfile(r->fd, fd, &from, n - *done);

		if (sent < 0 && errno != EINTR)
			return -errno;
		if (sent == 0)
			return -ENODATA;
		if (sent > 0)
			*done += (size_t)sent;
	}
	return 0;
}

/* [at, at + n) of the region. */
static int load_piece(const struct gmem_region *r, uint64_t at, size_t n, int fd, uint64_t offset)
{
	size_t done = 0;
	int error = -EINVAL;

	if (r->fd >= 0)
		error = load_by_sendfile(r, at, n, fd, offset, &done);
	if (error != -EINVAL && error != -ENOSYS)
		return error;
	/* Not every file can be sent. */
	return fd_pread_all(fd, (char *)r->host + at + done, n - done, offset + done);
}

int gmem_load(const struct gmem *m, gpa a, size_t n, int fd, uint64_t offset)
{
	if (!gmem_covers(m, a, n))
		return -EFAULT;
	while (n > 0) {
		const struct gmem_region *r = region_find(m, a);
		const uint64_t at = a - r->base;
		const size_t part = (size_t)min_u64(n, r->size - at);
		int error = load_piece(r, at, part, fd, offset);

		if (error < 0)
			return error;
		offset += part;
		a += part;
		n -= part;
	}
	return 0;
}

int gmem_discard(const struct gmem *m, gpa a, uint64_t n)
{
	if (!gmem_covers(m, a, n))
		return -EFAULT;
	while (n > 0) {
		const struct gmem_region *r = region_find(m, a);
		const uint64_t at = a - r->base, part = min_u64(n, r->size - at);
		int error = 0;

		if (r->fd >= 0)
			error = memfd_punch(r->fd, r->offset + at, part);
		else
			memset((char *)r->host + at, 0, part);
		if (error < 0)
			return error;
		a += part;
		n -= part;
	}
	return 0;
}

uint64_t gmem_page_bytes(const struct gmem_region *r)
{
	struct statfs st;

	/* What stat() says is of no use: for memory that may be huge it is as large. */
	if (r->fd < 0 || fstatfs(r->fd, &st) < 0 || st.f_type != HUGETLBFS_MAGIC)
		return PAGE_BYTES;
	return (uint64_t)st.f_bsize;
}

bool gmem_iov_address(const struct gmem *m, const struct iovec *v, gpa *ret)
{
	for (unsigned i = 0; i < m->nregions; i++) {
		const struct gmem_region *r = &m->regions[i];
		const uint64_t at = (uint64_t)((uintptr_t)v->iov_base - (uintptr_t)r->host);

		if (!is_inside(at, v->iov_len, r->size))
			continue;
		*ret = r->base + at;
		return true;
	}
	return false;
}

uint64_t gmem_size(const struct gmem *m)
{
	uint64_t sum = 0;

	for (unsigned i = 0; i < m->nregions; i++)
		sum += m->regions[i].size;
	return sum;
}

gpa gmem_end(const struct gmem *m)
{
	const struct gmem_region *last;

	if (m->nregions == 0)
		return 0;
	last = &m->regions[m->nregions - 1];
	return last->base + last->size;
}
