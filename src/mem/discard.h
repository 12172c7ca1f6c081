/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * discard.h - memory the guest has given up, handed back to the host in few calls
 *
 *	discard_start(&d, gmem, true)
 *	discard_frame(&d, frame) ...	the balloon has it
 *	discard_flush(&d)		sorted; one call for each row of neighbours
 *	discard_restore(&d, frame)	the guest has it again
 *	discard_range(&d, a, n)		free at the moment, at once
 *	discard_stop(&d)
 *
 * Frames have 4 KiB (virtio 1.2, 5.5.6).  Where the host set huge pages aside only a whole one can
 * be given back: one bit a frame says which the balloon has, and a huge page goes when it has all
 * of its frames.  Whatever the guest says, bits only ever cost it its own memory; for a guest that
 * keeps the rules they err to the other side, so they may be forgotten at any time.
 */
#pragma once

#include "mem/gmem.h"

#include <stdbool.h>
#include <stdint.h>

enum {
	DISCARD_FRAMES_MAX = 4096, /* gathered before they have to be flushed */
	DISCARD_FRAME_SHIFT = 12,
	DISCARD_FRAME_BYTES = 1 << DISCARD_FRAME_SHIFT,
};

struct discard_counters {
	uint64_t frames;   /* taken that lie in memory, each time */
	uint64_t bad;      /* outside memory */
	uint64_t repeated; /* more than once before a flush */
	uint64_t restored;
	uint64_t calls;  /* to the host */
	uint64_t failed; /* of them; what they were for is still there */
	uint64_t bytes;  /* that the others gave back */
};

/* Private but for the counters, which run on over start and stop. */
struct discard {
	struct discard_counters counters;
	const struct gmem *gmem;
	uint64_t page_bytes[GMEM_REGIONS_MAX]; /* of each region */
	uint64_t first_bit[GMEM_REGIONS_MAX];  /* of a region of huge pages */
	uint64_t *bits;                        /* NULL without huge pages */
	uint64_t bits_bytes;
	unsigned nframes;
	uint32_t frames[DISCARD_FRAMES_MAX];
};

/*
 * Memory as it is now, which must outlive the stop.  can_gather: frames are restored before they
 * are used again; without it huge pages stay as they are.  0 or -errno.
 */
int discard_start(struct discard *d, const struct gmem *m, bool can_gather) MUST_CHECK;
void discard_stop(struct discard *d);

/* Room for another discard_frame(). */
static inline bool discard_is_full(const struct discard *d)
{
	return d->nframes == DISCARD_FRAMES_MAX;
}

/* Gathers a frame; there is room. */
void discard_frame(struct discard *d, uint32_t frame);
void discard_flush(struct discard *d);

/* The guest will use the frame again. */
void discard_restore(struct discard *d, uint32_t frame);

/* The whole pages of [a, a + n), at once. */
void discard_range(struct discard *d, gpa a, uint64_t n);
