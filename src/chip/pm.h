/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * pm.h - fixed ACPI hardware: power button, sleep, timer; reset register (ACPI 6.4, section 4.8)
 *
 *	0x600  PM1a_STS, 2 bytes: PWRBTN_STS; write 1 to clear
 *	0x602  PM1a_EN, 2 bytes: PWRBTN_EN
 *	0x604  PM1a_CNT, 2 bytes: SCI_EN (always 1), SLP_TYP, SLP_EN
 *	0x608  PM_TMR, 4 bytes: 32 bits at 3.579545 MHz (TMR_VAL_EXT)
 *	0xCF9  reset control, 1 byte: 0x06 and 0x0E reset
 *
 * The power button interrupts by the SCI; the guest enables it, reads that it was pressed, and
 * clears that.  ACPI is always enabled (no SMI command port).  Sleeping with type PM_SLEEP_S5
 * powers off; other types are refused: nothing happens.
 */
#pragma once

#include "base/attr.h"
#include "bus/bus.h"
#include "chip/events.h"
#include "chip/line.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

enum {
	PM_BASE = 0x600,
	PM_BYTES = 12,
	PM_EVENT = 0x600,
	PM_EVENT_BYTES = 4,
	PM_CONTROL = 0x604,
	PM_CONTROL_BYTES = 2,
	PM_TIMER = 0x608,
	PM_TIMER_BYTES = 4,
	PM_TIMER_HZ = 3579545,
	PM_SLEEP_S5 = 5, /* SLP_TYP for \_S5 */
	PM_SCI_GSI = 9,  /* level, active high */
	PM_RESET = 0xCF9,
	PM_RESET_VALUE = 0x06, /* for the FADT */
};

struct pm {
	struct bus_dev dev;
	struct bus_dev reset_control; /* one byte, at 0xCF9 or behind the PCI host bridge */
	const struct chip_events *events;
	uint64_t (*clock)(void); /* CLOCK_MONOTONIC in ns; tests replace it */
	struct line *sci;
	pthread_mutex_t lock; /* guards all below */
	uint16_t status, enable, control;
	uint8_t reset_value;
};

/* events and sci (NULL for none) outlive the chip. */
void pm_init(struct pm *p, const struct chip_events *events, struct line *sci);
void pm_fini(struct pm *p);

/*
 * Presses the power button: the guest shuts down if it wants to.  False, and nothing happens: the
 * guest did not enable the button, so it would not hear of it.  Any thread.
 */
bool pm_power_button(struct pm *p) MUST_CHECK;
