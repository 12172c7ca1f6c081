/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * rtc_cmos.h - clock and battery-backed memory (data sheet: MC146818A)
 *
 * Port 0x70 selects one of 128 bytes (bit 7, the NMI mask, is ignored), port 0x71 accesses it.  The
 * clock runs in UTC from the host's; setting it moves the guest's offset only.
 */
#pragma once

#include "bus/bus.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <time.h>

enum {
	RTC_PORT = 0x70,
	RTC_PORTS = 2,
	RTC_BYTES = 128,
	RTC_CENTURY = 0x32, /* for the FADT */
};

struct rtc_cmos {
	struct bus_dev dev;
	void (*now)(struct timespec *ret); /* CLOCK_REALTIME; tests replace it */
	pthread_mutex_t lock;              /* guards all below */
	uint8_t index;
	uint8_t ram[RTC_BYTES]; /* clock registers are kept here while SET stops updates */
	int64_t offset_s;       /* guest's clock minus host's */
	int64_t flags_read_s;   /* guest's second when status C was last read */
};

void rtc_cmos_init(struct rtc_cmos *r);
void rtc_cmos_fini(struct rtc_cmos *r);
