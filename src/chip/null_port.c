/* SPDX-License-Identifier: BSD-3-Clause */
/* null_port.c - ports that every PC has and that mean nothing here */
#include "chip/null_port.h"

static uint64_t null_read(struct bus_dev *d, uint64_t offset, unsigned size)
{
	(void)d, (void)offset, (void)size;
	return UINT64_MAX;
}

static void null_write(struct bus_dev *d, uint64_t offset, unsigned size, uint64_t value)
{
	(void)d, (void)offset, (void)size, (void)value;
}

static struct bus_dev null_port = {"null port", null_read, null_write};

int null_port_add(struct bus *ports, struct err *e)
{
	static const struct {
		uint16_t base, size;
	} ranges[] = {
		{0x80, 1},
		{0xed, 1},
		{0xf0, 2},
	};
	int r = 0;

	for (size_t i = 0; r == 0 && i < ARRAY_LEN(ranges); i++)
		r = bus_add(ports, ranges[i].base, ranges[i].size, &null_port, e);
	return r;
}
