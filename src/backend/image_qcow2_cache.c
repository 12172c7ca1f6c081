/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * image_qcow2_cache.c - metadata in memory, in slices of 4 KiB of the files
 *
 * Tables are looked at through it, entry by entry, and never believed longer than that: what they
 * say is checked at each use.  Writes go to the file at once, so a slice can be dropped at any
 * time; the one dropped is the next that was not used since the hand came by.
 */
#include "backend/image_qcow2_state.h"

#include "base/num.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/uio.h>

int qcow2_cache_init(struct qcow2_cache *c, uint64_t bytes, struct err *e)
{
	uint64_t slots = max_u64(bytes / QCOW2_SLICE, 8), heads = 8;

	while (heads < slots)
		heads *= 2;
	c->nslots = (unsigned)slots;
	c->mask = (uint32_t)heads - 1;
	c->heads = calloc(heads, sizeof(c->heads[0]));
	c->slots = calloc(slots, sizeof(c->slots[0]));
	c->bytes = mmap(NULL, slots * QCOW2_SLICE, PROT_READ | PROT_WRITE,
			MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (c->bytes == MAP_FAILED)
		c->bytes = NULL;
	if (!c->heads || !c->slots || !c->bytes)
		return err_set(e, ENOMEM, "cannot make a cache of %llu bytes",
			       (unsigned long long)bytes);
	return 0;
}

void qcow2_cache_fini(struct qcow2_cache *c)
{
	if (c->bytes)
		munmap(c->bytes, (size_t)c->nslots * QCOW2_SLICE);
	free(c->heads);
	free(c->slots);
	c->bytes = NULL;
	c->heads = NULL;
	c->slots = NULL;
}

/* Not 0, as the layer is counted from 1. */
static uint64_t key_of(unsigned layer, uint64_t offset)
{
	return offset / QCOW2_SLICE << 5 | (layer + 1);
}

static uint32_t *head_of(struct qcow2_cache *c, uint64_t key)
{
	return &c->heads[key * UINT64_C(0x9e3779b97f4a7c15) >> 32 & c->mask];
}

static uint8_t *bytes_of(struct qcow2_cache *c, unsigned slot)
{
	return c->bytes + (size_t)slot * QCOW2_SLICE;
}

/* The index of the slot with that key, or nslots. */
static unsigned find(struct qcow2_cache *c, uint64_t key)
{
	for (uint32_t i = *head_of(c, key); i != 0; i = c->slots[i - 1].next)
		if (c->slots[i - 1].key == key)
			return i - 1;
	return c->nslots;
}

static void drop(struct qcow2_cache *c, unsigned slot)
{
	uint32_t *link = head_of(c, c->slots[slot].key);

	while (*link != slot + 1)
		link = &c->slots[*link - 1].next;
	*link = c->slots[slot].next;
	c->slots[slot].key = 0;
}

/* A slot that is not in use; memory that was never touched last. */
static unsigned take(struct qcow2_cache *c)
{
	if (c->fresh < c->nslots)
		return c->fresh++;
	for (;;) {
		unsigned i = c->hand;

		c->hand = (i + 1) % c->nslots;
		if (c->slots[i].key == 0)
			return i;
		if (!c->slots[i].is_recent) {
			drop(c, i);
			return i;
		}
		c->slots[i].is_recent = false;
	}
}

static void insert(struct qcow2_cache *c, unsigned slot, uint64_t key)
{
	uint32_t *head = head_of(c, key);

	c->slots[slot].key = key;
	c->slots[slot].next = *head;
	*head = slot + 1;
}

/* Blocking calls, by those names that the device's filter allows anyway. */
static int read_slice(int fd, uint8_t *bytes, uint64_t offset)
{
	size_t done = 0;

	while (done < QCOW2_SLICE) {
		struct iovec v = iov_of(bytes + done, QCOW2_SLICE - done);
		ssize_t n = preadv(fd, &v, 1, (off_t)(offset + done));

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			break;
		done += (size_t)n;
	}
	memset(bytes + done, 0, QCOW2_SLICE - done);
	return 0;
}

static int write_bytes(int fd, const void *bytes, size_t n, uint64_t offset, int flags)
{
	size_t done = 0;

	while (done < n) {
		struct iovec v = iov_of((char *)(uintptr_t)bytes + done, n - done);
		ssize_t moved = pwritev2(fd, &v, 1, (off_t)(offset + done), flags);

		if (moved < 0 && errno == EINTR)
			continue;
		if (moved <= 0)
			return moved < 0 ? -errno : -EIO;
		done += (size_t)moved;
	}
	return 0;
}

static int load(struct qcow2 *q, unsigned layer, uint64_t offset, unsigned *ret)
{
	struct qcow2_cache *c = &q->cache;
	unsigned slot = take(c);
	int r;

	c->misses++;
	c->slots[slot].key = 0;
	r = read_slice(q->layers[layer].fd, bytes_of(c, slot), round_down(offset, QCOW2_SLICE));
	if (r < 0)
		return r;
	insert(c, slot, key_of(layer, offset));
	*ret = slot;
	return 0;
}

const uint8_t *qcow2_cache_get(struct qcow2 *q, unsigned layer, uint64_t offset, size_t *ret_n,
			       int *ret_error)
{
	struct qcow2_cache *c = &q->cache;
	unsigned slot = find(c, key_of(layer, offset));

	*ret_error = 0;
	c->hits++;
	if (slot == c->nslots)
		*ret_error = load(q, layer, offset, &slot);
	if (*ret_error < 0)
		return NULL;
	c->slots[slot].is_recent = true;
	*ret_n = QCOW2_SLICE - offset % QCOW2_SLICE;
	return bytes_of(c, slot) + offset % QCOW2_SLICE;
}

int qcow2_get64(struct qcow2 *q, unsigned layer, uint64_t offset, uint64_t *ret)
{
	size_t n;
	int r;
	const uint8_t *p = qcow2_cache_get(q, layer, offset, &n, &r);
	be64 value;

	if (!p)
		return r;
	memcpy(&value, p, sizeof(value)); /* whole: offset is a multiple of 8 */
	*ret = be64_get(value);
	return 0;
}

static int put(struct qcow2 *q, uint64_t offset, const void *bytes, size_t n, int flags)
{
	int r = write_bytes(q->layers[0].fd, bytes, n, offset, flags);

	for (size_t done = 0; done < n;) {
		size_t part = min_size(n - done, QCOW2_SLICE - (offset + done) % QCOW2_SLICE);
		unsigned slot = find(&q->cache, key_of(0, offset + done));

		if (slot < q->cache.nslots && r < 0)
			drop(&q->cache, slot);
		else if (slot < q->cache.nslots)
			memcpy(bytes_of(&q->cache, slot) + (offset + done) % QCOW2_SLICE,
			       (const char *)bytes + done, part);
		done += part;
	}
	return r;
}

int qcow2_put(struct qcow2 *q, uint64_t offset, const void *bytes, size_t n)
{
	return put(q, offset, bytes, n, 0);
}

int qcow2_put_durable(struct qcow2 *q, uint64_t offset, const void *bytes, size_t n)
{
	return put(q, offset, bytes, n, RWF_DSYNC);
}

int qcow2_put64(struct qcow2 *q, uint64_t offset, uint64_t value)
{
	const be64 v = be64_of(value);

	return qcow2_put(q, offset, &v, sizeof(v));
}

int qcow2_put_zeroes(struct qcow2 *q, uint64_t offset, uint64_t n)
{
	static const uint8_t zeroes[65536];
	int r = 0;

	while (r == 0 && n > 0) {
		size_t part = (size_t)min_u64(n, sizeof(zeroes));

		r = qcow2_put(q, offset, zeroes, part);
		offset += part;
		n -= part;
	}
	return r;
}

int qcow2_copy(struct qcow2 *q, uint64_t to, uint64_t from, uint64_t bytes)
{
	uint8_t slice[QCOW2_SLICE];
	int r = 0;

	for (uint64_t done = 0; r == 0 && done < bytes;) {
		size_t n;
		const uint8_t *p = qcow2_cache_get(q, 0, from + done, &n, &r);

		if (!p)
			break;
		n = (size_t)min_u64(n, bytes - done);
		memcpy(slice, p, n);
		r = qcow2_put(q, to + done, slice, n);
		done += n;
	}
	return r;
}

void qcow2_cache_forget(struct qcow2 *q, uint64_t offset, uint64_t n)
{
	uint64_t end = offset + n;

	for (offset = round_down(offset, QCOW2_SLICE); offset < end; offset += QCOW2_SLICE) {
		unsigned slot = find(&q->cache, key_of(0, offset));

		if (slot < q->cache.nslots)
			drop(&q->cache, slot);
	}
}
