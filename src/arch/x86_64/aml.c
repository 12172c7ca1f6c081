/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * aml.c - ACPI Machine Language
 *
 * Lengths of blocks are always written in their three-byte form, so that they can be filled in when
 * the block ends: no block is longer than 1 MiB.
 */
#include "arch/x86_64/aml.h"

#include "base/wire.h"

#include <assert.h>
#include <string.h>

enum {
	OP_ZERO = 0x00,
	OP_ONE = 0x01,
	OP_NAME = 0x08,
	OP_BYTE = 0x0A,
	OP_WORD = 0x0B,
	OP_DWORD = 0x0C,
	OP_STRING = 0x0D,
	OP_QWORD = 0x0E,
	OP_SCOPE = 0x10,
	OP_BUFFER = 0x11,
	OP_PACKAGE = 0x12,
	OP_EXT = 0x5B,
	OP_EXT_DEVICE = 0x82,
	NAME_BYTES = 4,
	LENGTH_BYTES = 3,
	LENGTH_FORM = 2 << 6, /* two bytes follow the first */
};

void aml_bytes(struct aml *a, const void *bytes, size_t n)
{
	if (a->full || n > a->size - a->used) {
		a->full = true;
		return;
	}
	memcpy(a->bytes + a->used, bytes, n);
	a->used += n;
}

static void byte(struct aml *a, unsigned value)
{
	const uint8_t b = (uint8_t)value;

	aml_bytes(a, &b, 1);
}

static void name_put(struct aml *a, const char *name)
{
	assert(strlen(name) == NAME_BYTES);
	aml_bytes(a, name, NAME_BYTES);
}

/* Leaves room for the length; the mark is where it goes. */
static size_t length_begin(struct aml *a)
{
	const size_t mark = a->used;

	aml_bytes(a, (uint8_t[LENGTH_BYTES]){0}, LENGTH_BYTES);
	return mark;
}

void aml_end(struct aml *a, size_t mark)
{
	const size_t n = a->used - mark;

	if (a->full)
		return;
	assert(n < 1 << 20);
	a->bytes[mark] = (uint8_t)(LENGTH_FORM | (n & 0xF));
	a->bytes[mark + 1] = (uint8_t)(n >> 4);
	a->bytes[mark + 2] = (uint8_t)(n >> 12);
}

size_t aml_scope(struct aml *a, const char *name)
{
	size_t mark;

	byte(a, OP_SCOPE);
	mark = length_begin(a);
	name_put(a, name);
	return mark;
}

size_t aml_device(struct aml *a, const char *name)
{
	size_t mark;

	byte(a, OP_EXT);
	byte(a, OP_EXT_DEVICE);
	mark = length_begin(a);
	name_put(a, name);
	return mark;
}

size_t aml_package(struct aml *a, unsigned n)
{
	size_t mark;

	assert(n <= 255);
	byte(a, OP_PACKAGE);
	mark = length_begin(a);
	byte(a, n);
	return mark;
}

static void name_begin(struct aml *a, const char *name)
{
	byte(a, OP_NAME);
	name_put(a, name);
}

size_t aml_name_package(struct aml *a, const char *name, unsigned n)
{
	name_begin(a, name);
	return aml_package(a, n);
}

void aml_integer(struct aml *a, uint64_t value)
{
	const le64 wire = le64_of(value);

	if (value <= 1) {
		byte(a, value ? OP_ONE : OP_ZERO);
	} else if (value <= UINT8_MAX) {
		byte(a, OP_BYTE);
		aml_bytes(a, &wire, 1);
	} else if (value <= UINT16_MAX) {
		byte(a, OP_WORD);
		aml_bytes(a, &wire, 2);
	} else if (value <= UINT32_MAX) {
		byte(a, OP_DWORD);
		aml_bytes(a, &wire, 4);
	} else {
		byte(a, OP_QWORD);
		aml_bytes(a, &wire, 8);
	}
}

void aml_name_integer(struct aml *a, const char *name, uint64_t value)
{
	name_begin(a, name);
	aml_integer(a, value);
}

void aml_name_string(struct aml *a, const char *name, const char *text)
{
	name_begin(a, name);
	byte(a, OP_STRING);
	aml_bytes(a, text, strlen(text) + 1);
}

void aml_name_buffer(struct aml *a, const char *name, const void *bytes, size_t n)
{
	size_t mark;

	name_begin(a, name);
	byte(a, OP_BUFFER);
	mark = length_begin(a);
	aml_integer(a, n);
	aml_bytes(a, bytes, n);
	aml_end(a, mark);
}

static unsigned hex_digit(char c)
{
	return (unsigned)(c >= 'A' ? c - 'A' + 10 : c - '0');
}

/* Three letters of five bits, four digits; stored as if big-endian (ACPI 6.4, 19.3.4). */
void aml_name_eisaid(struct aml *a, const char *name, const char *id)
{
	uint32_t value;

	assert(strlen(id) == 7);
	value = (uint32_t)(id[0] - '@') << 26 | (uint32_t)(id[1] - '@') << 21 |
		(uint32_t)(id[2] - '@') << 16 | hex_digit(id[3]) << 12 | hex_digit(id[4]) << 8 |
		hex_digit(id[5]) << 4 | hex_digit(id[6]);
	aml_name_integer(a, name, __builtin_bswap32(value));
}
