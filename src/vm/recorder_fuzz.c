/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * recorder_fuzz.c - the ring of a captured device: any bytes, also such as change while it is read
 *
 * The input is the counter and then records; times below 2^16 are made moments of the recorder, so
 * that they are not all left out.
 */
#include "vm/recorder.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void ring_fill(struct trace_ring *ring, const struct recorder *r, const uint8_t *data,
		      size_t size)
{
	memset(ring, 0, sizeof(*ring));
	if (size < sizeof(ring->next))
		return;
	memcpy(&ring->next, data, sizeof(ring->next));
	data += sizeof(ring->next);
	size -= sizeof(ring->next);
	if (size > sizeof(ring->records))
		size = sizeof(ring->records);
	memcpy(ring->records, data, size);
	for (unsigned i = 0; i < TRACE_RECORDS; i++)
		if (ring->records[i].time < 1 << 16)
			ring->records[i].time += r->head->start_ticks;
}

static void check_text(const char *text)
{
	size_t n = strlen(text);

	assert(n > 0 && n < RECORDER_TEXT_MAX - 1);
	for (size_t i = 0; i < n; i++)
		assert(text[i] >= 0x20 && text[i] < 0x7f);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct recorder r;
	static struct trace_ring ring;
	struct recorder_event event;
	unsigned n = 0;
	struct err e;

	if (!r.memory) {
		if (recorder_init(&r, 1, &e) < 0)
			abort();
		recorder_device_add(&r, "block0", &ring);
	}
	ring_fill(&ring, &r, data, size);
	recorder_walk(&r, size > 0 && data[0] & 1 ? UINT64_MAX : 7);
	while (recorder_next(&r, &event)) {
		check_text(event.text);
		if (++n == 3) /* the device goes on meanwhile */
			ring.next += size;
	}
	assert(n <= TRACE_RECORDS);
	return 0;
}
