/* SPDX-License-Identifier: BSD-3-Clause */
/* aml_resource.c - resource templates */
#include "arch/x86_64/aml_resource.h"

#include "base/wire.h"

#include <assert.h>
#include <string.h>

enum {
	SMALL_IRQ = 0x23, /* tag 4, 3 bytes */
	SMALL_IO = 0x47,  /* tag 8, 7 bytes */
	SMALL_END = 0x79,
	LARGE_MEMORY32 = 0x86,
	LARGE_WINDOW32 = 0x87,
	LARGE_WINDOW16 = 0x88,
	LARGE_GSI = 0x89,
	LARGE_WINDOW64 = 0x8A,
	IRQ_EDGE = 1,
	IRQ_SHARED = 1 << 4,
	GSI_CONSUMER = 1,
	GSI_EDGE = 2,
	GSI_SHARED = 8,
	DECODE_16 = 1,
	WRITABLE = 1,
	TYPE_MEMORY = 0,
	TYPE_BUSES = 2,
	FIXED = 0xC, /* both ends of a window */
};

static void add(struct aml_resources *r, const void *descriptor, size_t n)
{
	assert(n <= sizeof(r->bytes) - r->used);
	memcpy(r->bytes + r->used, descriptor, n);
	r->used += n;
}

/* Large items have a length of two bytes that leaves out tag and length. */
static le16 large(size_t n)
{
	return le16_of((uint16_t)(n - 3));
}

void aml_resource_io(struct aml_resources *r, uint16_t base, uint8_t n)
{
	const struct {
		uint8_t tag, decode;
		le16 min, max;
		uint8_t align, length;
	} io = {SMALL_IO, DECODE_16, le16_of(base), le16_of(base), 1, n};

	add(r, &io, sizeof(io));
}

void aml_resource_isa_irq(struct aml_resources *r, unsigned irq, bool shared)
{
	const struct {
		uint8_t tag;
		le16 mask;
		uint8_t flags;
	} item = {SMALL_IRQ, le16_of((uint16_t)(1u << irq)),
		  (uint8_t)(IRQ_EDGE | (shared ? IRQ_SHARED : 0))};

	assert(irq < 16);
	add(r, &item, sizeof(item));
}

void aml_resource_gsi(struct aml_resources *r, unsigned gsi)
{
	const struct {
		uint8_t tag;
		le16 length;
		uint8_t flags, count;
		le32 gsi;
	} item = {LARGE_GSI, large(sizeof(item)), GSI_CONSUMER | GSI_EDGE | GSI_SHARED, 1,
		  le32_of(gsi)};

	add(r, &item, sizeof(item));
}

void aml_resource_memory32(struct aml_resources *r, uint32_t base, uint32_t n)
{
	const struct {
		uint8_t tag;
		le16 length;
		uint8_t flags;
		le32 base, n;
	} item = {LARGE_MEMORY32, large(sizeof(item)), WRITABLE, le32_of(base), le32_of(n)};

	add(r, &item, sizeof(item));
}

void aml_resource_buses(struct aml_resources *r, uint16_t first, uint16_t last)
{
	const struct {
		uint8_t tag;
		le16 length;
		uint8_t type, flags, specific;
		le16 granularity, min, max, offset, count;
	} item = {.tag = LARGE_WINDOW16,
		  .length = large(sizeof(item)),
		  .type = TYPE_BUSES,
		  .flags = FIXED,
		  .min = le16_of(first),
		  .max = le16_of(last),
		  .count = le16_of((uint16_t)(last - first + 1))};

	add(r, &item, sizeof(item));
}

void aml_resource_window32(struct aml_resources *r, uint32_t base, uint32_t n)
{
	const struct {
		uint8_t tag;
		le16 length;
		uint8_t type, flags, specific;
		le32 granularity, min, max, offset, count;
	} item = {.tag = LARGE_WINDOW32,
		  .length = large(sizeof(item)),
		  .type = TYPE_MEMORY,
		  .flags = FIXED,
		  .specific = WRITABLE,
		  .min = le32_of(base),
		  .max = le32_of(base + (n - 1)),
		  .count = le32_of(n)};

	if (n > 0)
		add(r, &item, sizeof(item));
}

void aml_resource_window64(struct aml_resources *r, uint64_t base, uint64_t n)
{
	const struct {
		uint8_t tag;
		le16 length;
		uint8_t type, flags, specific;
		le64 granularity, min, max, offset, count;
	} item = {.tag = LARGE_WINDOW64,
		  .length = large(sizeof(item)),
		  .type = TYPE_MEMORY,
		  .flags = FIXED,
		  .specific = WRITABLE,
		  .min = le64_of(base),
		  .max = le64_of(base + (n - 1)),
		  .count = le64_of(n)};

	if (n > 0)
		add(r, &item, sizeof(item));
}

void aml_name_resources(struct aml *a, struct aml_resources *r)
{
	static const uint8_t end[] = {SMALL_END, 0}; /* checksum 0: not used */

	add(r, end, sizeof(end));
	aml_name_buffer(a, "_CRS", r->bytes, r->used);
}
