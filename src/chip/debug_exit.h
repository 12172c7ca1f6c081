/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * debug_exit.h - a port that ends the virtual machine with an exit code, for test guests
 *
 * The value written, of one, two or four bytes, is reported; what becomes of it is the program's
 * business (base/exit_codes.h).  Reads give zero.
 */
#pragma once

#include "bus/bus.h"
#include "chip/events.h"

enum { DEBUG_EXIT_PORT = 0xF4, DEBUG_EXIT_PORTS = 4 };

struct debug_exit {
	struct bus_dev dev;
	const struct chip_events *events;
};

void debug_exit_init(struct debug_exit *x, const struct chip_events *events);
