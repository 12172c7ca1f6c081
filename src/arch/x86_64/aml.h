/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * aml.h - ACPI Machine Language, as far as static descriptions need it (ACPI 6.4, chapter 20)
 *
 * Whatever opens a block returns a mark, and aml_end() closes the innermost open one:
 *
 *	size_t device = aml_device(a, "PCI0");
 *	aml_name_integer(a, "_UID", 0);
 *	aml_end(a, device);
 *
 * Names have four characters.  When the buffer is full, everything after is dropped and full is
 * set; the caller looks at it once, at the end.
 */
#pragma once

#include "base/attr.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct aml {
	uint8_t *bytes; /* borrowed */
	size_t used, size;
	bool full;
};

void aml_bytes(struct aml *a, const void *bytes, size_t n);

size_t aml_scope(struct aml *a, const char *name);
size_t aml_device(struct aml *a, const char *name);

/* Name (name, Package (n) {...}): n elements follow before aml_end(). */
size_t aml_name_package(struct aml *a, const char *name, unsigned n);

/* A package inside a package. */
size_t aml_package(struct aml *a, unsigned n);
void aml_end(struct aml *a, size_t mark);

/* The shortest encoding of a number. */
void aml_integer(struct aml *a, uint64_t value);

/* Name (name, value). */
void aml_name_integer(struct aml *a, const char *name, uint64_t value);
void aml_name_string(struct aml *a, const char *name, const char *text);
void aml_name_buffer(struct aml *a, const char *name, const void *bytes, size_t n);

/* Name (name, EisaId (id)); id is three capitals and four hexadecimal digits. */
void aml_name_eisaid(struct aml *a, const char *name, const char *id);
