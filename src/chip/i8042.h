/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * i8042.h - the parts of the keyboard controller that have nothing to do with keyboards
 *
 * Port 0x64 resets the machine (0xFE, and the other even pulse commands), port 0x92 does so by bit
 * 0, port 0x61 ends delay loops where the hypervisor has no speaker port.  There is no keyboard.
 */
#pragma once

#include "bus/bus.h"
#include "chip/events.h"

#include <stdatomic.h>

enum { I8042_DATA = 0x60, I8042_PORT_B = 0x61, I8042_COMMAND = 0x64, I8042_PORT_A = 0x92 };

struct i8042 {
	struct bus_dev data, port_b, command, port_a;
	const struct chip_events *events;
	atomic_uchar refresh; /* toggles with each read of port B */
};

/* events outlives the chip. */
void i8042_init(struct i8042 *k, const struct chip_events *events);

/* Puts the four ports on the bus. */
int i8042_add(struct i8042 *k, struct bus *ports, struct err *e) MUST_CHECK;
