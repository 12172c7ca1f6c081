/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * debug_exit.h - a port that ends the virtual machine with an exit code, for test guests
 *
 * Writing v ends it with (v << 1 | 1) cut to eight bits, so that success of the guest (often v =
 * 0x10) never looks like success of the program.  Reads give zero.
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
