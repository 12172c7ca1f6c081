/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * pvpanic.h - a port by which the guest says that it panicked
 *
 * A read of the port gives the events that are understood: 1 panicked, 2 crash kernel loaded, 4
 * shut down.  A write of one of them reports it.
 */
#pragma once

#include "bus/bus.h"
#include "chip/events.h"

enum { PVPANIC_PORT = 0x505, PVPANIC_PORTS = 1 };

struct pvpanic {
	struct bus_dev dev;
	const struct chip_events *events;
};

void pvpanic_init(struct pvpanic *p, const struct chip_events *events);
