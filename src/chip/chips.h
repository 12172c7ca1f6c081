/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * chips.h - the platform devices of a PC, together
 *
 * Order of calls: chips_init(), fields, chips_add(), then the serial ports' host side
 * (chip/serial_port.h), chips_fini() when no vCPU runs any more.
 */
#pragma once

#include "base/attr.h"
#include "base/err.h"
#include "bus/bus.h"
#include "bus/host.h"
#include "chip/debug_exit.h"
#include "chip/events.h"
#include "chip/i8042.h"
#include "chip/line.h"
#include "chip/pm.h"
#include "chip/pvpanic.h"
#include "chip/rtc_cmos.h"
#include "chip/uart8250.h"

#include <stdbool.h>
#include <stdint.h>

enum { CHIPS_UARTS = 4 };

struct chips {
	/* Between chips_init() and chips_add(). */
	bool has_uart[CHIPS_UARTS]; /* all at first */
	bool has_pvpanic;           /* at first */
	bool has_debug_exit;        /* not at first */

	struct line uart_lines[2]; /* GSI 4 and 3 */
	struct line sci;
	struct uart8250 uarts[CHIPS_UARTS];
	struct rtc_cmos rtc;
	struct i8042 i8042;
	struct pm pm; /* pm.reset_control is for the PCI host bridge, whose ports cover its own */
	struct pvpanic pvpanic;
	struct debug_exit debug_exit;
};

/* events is kept, not copied.  Not to be moved afterwards. */
void chips_init(struct chips *c, struct host *host, const struct chip_events *events);
void chips_fini(struct chips *c);

/* Puts all that the flags ask for on the port bus. */
int chips_add(struct chips *c, struct bus *ports, struct err *e) MUST_CHECK;
