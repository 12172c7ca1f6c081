/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * bytes.h - wide accesses to chips that are eight bits wide
 *
 * The ISA bus splits them: a two-byte write at offset 0 reaches registers 0 and 1, in that order.
 */
#pragma once

#include "bus/bus.h"

#include <stdint.h>

typedef uint8_t (*bytes_reader)(struct bus_dev *d, unsigned offset);
typedef void (*bytes_writer)(struct bus_dev *d, unsigned offset, uint8_t value);

static inline uint64_t bytes_read(struct bus_dev *d, uint64_t offset, unsigned size,
				  bytes_reader read)
{
	uint64_t value = 0;

	for (unsigned i = 0; i < size; i++)
		value |= (uint64_t)read(d, (unsigned)offset + i) << (8 * i);
	return value;
}

static inline void bytes_write(struct bus_dev *d, uint64_t offset, unsigned size, uint64_t value,
			       bytes_writer write)
{
	for (unsigned i = 0; i < size; i++)
		write(d, (unsigned)offset + i, (uint8_t)(value >> (8 * i)));
}
