/* SPDX-License-Identifier: BSD-3-Clause */
/* bus.c - address to handler, for ports and for MMIO */
#include "bus/bus.h"

#include "base/num.h"

#include <errno.h>
#include <string.h>

void bus_init(struct bus *b)
{
	*b = (struct bus){0};
	pthread_rwlock_init(&b->lock, NULL);
}

void bus_fini(struct bus *b)
{
	if (b)
		pthread_rwlock_destroy(&b->lock);
}

/* How many ranges start at or below addr: the last of them is the only one that can hold it. */
static unsigned count_up_to(const struct bus *b, uint64_t addr)
{
	unsigned low = 0, high = b->nranges;

	while (low < high) {
		unsigned middle = low + (high - low) / 2;

		if (b->ranges[middle].base <= addr)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static int add(struct bus *b, uint64_t base, uint64_t size, struct bus_dev *dev, struct err *e)
{
	unsigned at = count_up_to(b, base);
	const struct bus_range *below = at > 0 ? &b->ranges[at - 1] : NULL;
	const struct bus_range *above = at < b->nranges ? &b->ranges[at] : NULL;
	const struct bus_range *other = NULL;

	if (below && base - below->base < below->size)
		other = below;
	else if (above && above->base - base < size)
		other = above;
	if (other)
		return err_say(e, EEXIST, "%s at 0x%llx overlaps %s at 0x%llx", dev->name,
			       (unsigned long long)base, other->dev->name,
			       (unsigned long long)other->base);
	if (b->nranges == BUS_RANGES_MAX)
		return err_say(e, ENOSPC, "%s: more than %d address ranges", dev->name,
			       BUS_RANGES_MAX);
	memmove(&b->ranges[at + 1], &b->ranges[at], (b->nranges - at) * sizeof(b->ranges[0]));
	b->ranges[at] = (struct bus_range){.base = base, .size = size, .dev = dev};
	b->nranges++;
	return 0;
}

int bus_add(struct bus *b, uint64_t base, uint64_t size, struct bus_dev *dev, struct err *e)
{
	int r;

	if (size == 0 || base + (size - 1) < base)
		return err_say(e, EINVAL, "%s: 0x%llx bytes at 0x%llx is no address range",
			       dev->name, (unsigned long long)size, (unsigned long long)base);
	pthread_rwlock_wrlock(&b->lock);
	r = add(b, base, size, dev, e);
	pthread_rwlock_unlock(&b->lock);
	return r;
}

int bus_remove(struct bus *b, uint64_t base)
{
	unsigned at;
	int r = -ENOENT;

	pthread_rwlock_wrlock(&b->lock);
	at = count_up_to(b, base);
	if (at > 0 && b->ranges[at - 1].base == base) {
		memmove(&b->ranges[at - 1], &b->ranges[at],
			(b->nranges - at) * sizeof(b->ranges[0]));
		b->nranges--;
		r = 0;
	}
	pthread_rwlock_unlock(&b->lock);
	return r;
}

/* The range that holds addr, copied: it may be gone when the handler runs. */
static bool find(struct bus *b, uint64_t addr, struct bus_range *ret)
{
	bool found = false;
	unsigned at;

	pthread_rwlock_rdlock(&b->lock);
	at = count_up_to(b, addr);
	if (at > 0 && addr - b->ranges[at - 1].base < b->ranges[at - 1].size) {
		*ret = b->ranges[at - 1];
		found = true;
	}
	pthread_rwlock_unlock(&b->lock);
	return found;
}

/* Whether an access of n bytes at addr can go to the range's handler in one piece. */
static bool is_whole(const struct bus_range *r, uint64_t addr, size_t n)
{
	return n <= 8 && is_power_of_two(n) && is_inside(addr - r->base, n, r->size);
}

static void read_piece(struct bus_range *r, uint64_t addr, uint8_t *data, size_t n)
{
	uint64_t value = r->dev->read(r->dev, addr - r->base, (unsigned)n);

	memcpy(data, &value, n);
}

static void write_piece(struct bus_range *r, uint64_t addr, const uint8_t *data, size_t n)
{
	uint64_t value = 0;

	memcpy(&value, data, n);
	r->dev->write(r->dev, addr - r->base, (unsigned)n, value);
}

void bus_read(struct bus *b, uint64_t addr, void *data, size_t n)
{
	struct bus_range r;
	uint8_t *out = data;

	if (find(b, addr, &r) && is_whole(&r, addr, n)) {
		read_piece(&r, addr, out, n);
		return;
	}
	for (size_t i = 0; i < n; i++) {
		if (find(b, addr + i, &r))
			read_piece(&r, addr + i, &out[i], 1);
		else
			out[i] = 0xff;
	}
}

void bus_write(struct bus *b, uint64_t addr, const void *data, size_t n)
{
	struct bus_range r;
	const uint8_t *in = data;

	if (find(b, addr, &r) && is_whole(&r, addr, n)) {
		write_piece(&r, addr, in, n);
		return;
	}
	for (size_t i = 0; i < n; i++)
		if (find(b, addr + i, &r))
			write_piece(&r, addr + i, &in[i], 1);
}
