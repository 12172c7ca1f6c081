/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * discard.c - memory the guest has given up, handed back to the host in few calls
 *
 *  I1  A page is discarded only while it lies wholly inside one region.
 *  I2  A huge page is discarded only while the balloon has all of its frames, or the guest named
 *      all of it at once.
 *  I3  Bit first_bit[i] + k belongs to the k-th frame of region i.
 */
#include "mem/discard.h"

#include "base/num.h"

#include <assert.h>
#include <errno.h>
#include <sys/mman.h>

enum { WORD_BITS = 64 };

/* ---- huge pages ---- */

static bool is_huge(const struct discard *d, unsigned region)
{
	return d->page_bytes[region] > DISCARD_FRAME_BYTES;
}

int discard_start(struct discard *d, const struct gmem *m, bool can_gather)
{
	uint64_t nbits = 0;
	void *bits;

	d->gmem = m;
	d->nframes = 0;
	for (unsigned i = 0; i < m->nregions; i++) {
		d->page_bytes[i] = gmem_page_bytes(&m->regions[i]);
		d->first_bit[i] = nbits;
		if (is_huge(d, i))
			nbits += round_up(m->regions[i].size / DISCARD_FRAME_BYTES, WORD_BITS);
	}
	if (nbits == 0 || !can_gather)
		return 0;
	bits = mmap(NULL, nbits / 8, PROT_READ | PROT_WRITE,
		    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (bits == MAP_FAILED)
		return -errno;
	d->bits = bits;
	d->bits_bytes = nbits / 8;
	return 0;
}

void discard_stop(struct discard *d)
{
	if (d->bits)
		munmap(d->bits, d->bits_bytes);
	d->bits = NULL;
	d->gmem = NULL;
	d->nframes = 0;
}

/* n bits from shift on, within a word. */
static uint64_t bits_mask(unsigned shift, unsigned n)
{
	return (n == WORD_BITS ? UINT64_MAX : (UINT64_C(1) << n) - 1) << shift;
}

/* Sets or clears n bits. */
static void bits_change(struct discard *d, uint64_t at, uint64_t n, bool set)
{
	while (n > 0) {
		const unsigned shift = (unsigned)(at % WORD_BITS);
		const unsigned part = (unsigned)min_u64(n, WORD_BITS - shift);
		const uint64_t mask = bits_mask(shift, part);

		if (set)
			d->bits[at / WORD_BITS] |= mask;
		else
			d->bits[at / WORD_BITS] &= ~mask;
		at += part;
		n -= part;
	}
}

static bool bits_are_set(const struct discard *d, uint64_t at, uint64_t n)
{
	while (n > 0) {
		const unsigned shift = (unsigned)(at % WORD_BITS);
		const unsigned part = (unsigned)min_u64(n, WORD_BITS - shift);
		const uint64_t mask = bits_mask(shift, part);

		if ((d->bits[at / WORD_BITS] & mask) != mask)
			return false;
		at += part;
		n -= part;
	}
	return true;
}

/* ---- giving back ---- */

/* Whole pages of one region. */
static void give_back(struct discard *d, gpa a, uint64_t n)
{
	if (n == 0)
		return;
	d->counters.calls++;
	if (gmem_discard(d->gmem, a, n) < 0)
		d->counters.failed++;
	else
		d->counters.bytes += n;
}

/* The part of [start, end) that lies in the region, cut to whole pages; false for none. */
static bool part_of(const struct gmem_region *r, uint64_t page_bytes, gpa start, gpa end,
		    gpa *ret_start, gpa *ret_end)
{
	/* Pages are counted from the begin of the file, not from guest address 0. */
	const uint64_t first = r->offset % page_bytes;

	if (end <= r->base || start >= r->base + r->size)
		return false;
	start = max_u64(start, r->base) - r->base;
	end = min_u64(end - r->base, r->size);
	start = round_up(start + first, page_bytes);
	end = round_down(end + first, page_bytes);
	if (start >= end)
		return false;
	*ret_start = r->base + (start - first);
	*ret_end = r->base + (end - first);
	return true;
}

/* Of the huge pages that [a, end) touches, those the balloon has all frames of. */
static void give_back_full(struct discard *d, unsigned region, gpa a, gpa end)
{
	const struct gmem_region *r = &d->gmem->regions[region];
	const uint64_t page = d->page_bytes[region], frames = page / DISCARD_FRAME_BYTES;
	const uint64_t lead = r->offset % page; /* of the first one, what lies before the region */
	gpa from, to, full = 0;
	uint64_t n = 0;

	a = r->base + max_u64(round_down(a - r->base + lead, page), lead) - lead;
	end = r->base + min_u64(round_up(end - r->base + lead, page) - lead, r->size);
	if (!part_of(r, page, a, end, &from, &to))
		return;
	for (; from < to; from += page) {
		const uint64_t bit = d->first_bit[region] + (from - r->base) / DISCARD_FRAME_BYTES;

		if (bits_are_set(d, bit, frames)) {
			full = n == 0 ? from : full;
			n += page;
			continue;
		}
		give_back(d, full, n);
		n = 0;
	}
	give_back(d, full, n);
}

/* Neighbours, [start, end). */
static void run_discard(struct discard *d, gpa start, gpa end)
{
	uint64_t covered = 0;

	for (unsigned i = 0; i < d->gmem->nregions; i++) {
		const struct gmem_region *r = &d->gmem->regions[i];
		gpa a, b;

		if (!part_of(r, DISCARD_FRAME_BYTES, start, end, &a, &b))
			continue;
		covered += (b - a) / DISCARD_FRAME_BYTES;
		if (!is_huge(d, i)) {
			give_back(d, a, b - a);
		} else if (d->bits) {
			bits_change(d, d->first_bit[i] + (a - r->base) / DISCARD_FRAME_BYTES,
				    (b - a) / DISCARD_FRAME_BYTES, true);
			give_back_full(d, i, a, b);
		}
	}
	d->counters.frames += covered;
	d->counters.bad += (end - start) / DISCARD_FRAME_BYTES - covered;
}

/* Shell's: in place, no worse whatever the guest sends, and fast for what is nearly in order. */
static void sort(uint32_t *v, unsigned n)
{
	static const unsigned gaps[] = {1750, 701, 301, 132, 57, 23, 10, 4, 1};

	for (size_t g = 0; g < sizeof(gaps) / sizeof(gaps[0]); g++) {
		for (unsigned i = gaps[g]; i < n; i++) {
			const uint32_t x = v[i];
			unsigned k = i;

			for (; k >= gaps[g] && v[k - gaps[g]] > x; k -= gaps[g])
				v[k] = v[k - gaps[g]];
			v[k] = x;
		}
	}
}

void discard_frame(struct discard *d, uint32_t frame)
{
	assert(!discard_is_full(d));
	d->frames[d->nframes++] = frame;
}

void discard_flush(struct discard *d)
{
	unsigned i = 0;

	sort(d->frames, d->nframes);
	while (i < d->nframes) {
		const gpa start = (gpa)d->frames[i] << DISCARD_FRAME_SHIFT;
		gpa end = start + DISCARD_FRAME_BYTES;

		for (i++; i < d->nframes; i++) {
			const gpa next = (gpa)d->frames[i] << DISCARD_FRAME_SHIFT;

			if (next > end)
				break;
			if (next < end)
				d->counters.repeated++;
			else
				end += DISCARD_FRAME_BYTES;
		}
		run_discard(d, start, end);
	}
	d->nframes = 0;
}

void discard_restore(struct discard *d, uint32_t frame)
{
	const gpa start = (gpa)frame << DISCARD_FRAME_SHIFT;

	for (unsigned i = 0; i < d->gmem->nregions; i++) {
		const struct gmem_region *r = &d->gmem->regions[i];
		gpa a, b;

		if (!part_of(r, DISCARD_FRAME_BYTES, start, start + DISCARD_FRAME_BYTES, &a, &b))
			continue;
		d->counters.restored++;
		if (is_huge(d, i) && d->bits)
			bits_change(d, d->first_bit[i] + (a - r->base) / DISCARD_FRAME_BYTES, 1,
				    false);
		return;
	}
	d->counters.bad++;
}

void discard_range(struct discard *d, gpa a, uint64_t n)
{
	gpa end, from, to;

	if (!add_ok(a, n, &end))
		return;
	for (unsigned i = 0; i < d->gmem->nregions; i++)
		if (part_of(&d->gmem->regions[i], d->page_bytes[i], a, end, &from, &to))
			give_back(d, from, to - from);
}
