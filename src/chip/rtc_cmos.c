/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * rtc_cmos.c - clock and battery-backed memory (data sheet: MC146818A)
 *
 * The clock registers are computed from the host's clock when they are read, in the format that
 * status B selects.  While its SET bit is on they are memory; when it goes off the guest's offset
 * is computed from what is there.  A write without SET changes one part of the running time.
 *
 * "Update in progress" shows in the last 2.2 ms of each second, as on the real chip (244 us warning
 * and 1984 us update), so a guest that finds it off has that long to read a consistent time.
 *
 * There is no interrupt.  Status C reports the end of an update (UF) when the second has changed
 * since it was last read.  The calendar is computed here: the C library's functions may want to
 * read time zone files, which a process in its jail cannot.
 */
#include "chip/rtc_cmos.h"

#include "base/num.h"
#include "chip/bytes.h"

#include <string.h>

enum {
	SECONDS = 0x00,
	MINUTES = 0x02,
	HOURS = 0x04,
	WEEKDAY = 0x06,
	DAY = 0x07,
	MONTH = 0x08,
	YEAR = 0x09,
	STATUS_A = 0x0a,
	STATUS_B = 0x0b,
	STATUS_C = 0x0c,
	STATUS_D = 0x0d,

	A_UPDATING = 0x80,
	A_RESET = 0x26, /* 32768 Hz, 976.5 us */
	B_SET = 0x80,
	B_UPDATE_INTERRUPT = 0x10,
	B_BINARY = 0x04,
	B_24_HOURS = 0x02,
	C_INTERRUPT = 0x80,
	C_UPDATE_ENDED = 0x10,
	D_VALID = 0x80,
	HOURS_PM = 0x80,
};

static const int64_t second_ns = 1000000000, updating_ns = 2228000, day_s = 86400;

struct calendar {
	unsigned second, minute, hour, weekday /* 1: Sunday */, day, month, year;
};

static void clock_realtime(struct timespec *ret)
{
	clock_gettime(CLOCK_REALTIME, ret);
}

/*
 * Days count from 1 March of the year -400, so that leap days end both years and eras of 400 years;
 * a year of that kind has 153 days in each five months.
 */
enum { ERA_DAYS = 146097, EPOCH_DAYS = 719468 + ERA_DAYS };

static int64_t days_of(const struct calendar *c)
{
	int64_t month = c->month > 2 ? c->month - 3 : c->month + 9;
	int64_t year = (int64_t)c->year + 400 - (c->month <= 2);

	return year * 365 + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + c->day -
	       1 - EPOCH_DAYS;
}

static int64_t seconds_of(const struct calendar *c)
{
	return days_of(c) * day_s + c->hour * 3600 + c->minute * 60 + c->second;
}

static void calendar_of(int64_t s, struct calendar *ret)
{
	int64_t days = s / day_s - (s % day_s < 0), rest = s - days * day_s;
	int64_t from_start = days + EPOCH_DAYS;
	int64_t era = from_start / ERA_DAYS, day_of_era = from_start % ERA_DAYS;
	int64_t year =
		(day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
	int64_t day = day_of_era - (365 * year + year / 4 - year / 100);
	int64_t month = (5 * day + 2) / 153;

	*ret = (struct calendar){
		.second = (unsigned)(rest % 60),
		.minute = (unsigned)(rest / 60 % 60),
		.hour = (unsigned)(rest / 3600),
		.weekday = (unsigned)((from_start + 3) % 7) + 1,
		.day = (unsigned)(day - (153 * month + 2) / 5 + 1),
		.month = (unsigned)(month < 10 ? month + 3 : month - 9),
		.year = (unsigned)(year + era * 400 + (month >= 10) - 400),
	};
}

/* ---- formats of status B ---- */

static uint8_t encode(const struct rtc_cmos *r, unsigned n)
{
	if (r->ram[STATUS_B] & B_BINARY)
		return (uint8_t)n;
	return (uint8_t)(n / 10 % 10 << 4 | n % 10);
}

static unsigned decode(const struct rtc_cmos *r, uint8_t v)
{
	return r->ram[STATUS_B] & B_BINARY ? v : (v >> 4) * 10u + (v & 0xf);
}

static uint8_t encode_hour(const struct rtc_cmos *r, unsigned hour)
{
	if (r->ram[STATUS_B] & B_24_HOURS)
		return encode(r, hour);
	return encode(r, (hour + 11) % 12 + 1) | (hour >= 12 ? HOURS_PM : 0);
}

static unsigned decode_hour(const struct rtc_cmos *r, uint8_t v)
{
	if (r->ram[STATUS_B] & B_24_HOURS)
		return decode(r, v);
	return decode(r, v & ~HOURS_PM & 0xff) % 12 + (v & HOURS_PM ? 12 : 0);
}

static unsigned clamp(unsigned n, unsigned lo, unsigned hi)
{
	return n < lo ? lo : n > hi ? hi : n;
}

static bool is_set(const struct rtc_cmos *r)
{
	return r->ram[STATUS_B] & B_SET;
}

static int64_t guest_seconds(const struct rtc_cmos *r)
{
	struct timespec t;

	r->now(&t);
	return (int64_t)t.tv_sec + r->offset_s;
}

/* Writes the running time to the clock registers. */
static void registers_fill(struct rtc_cmos *r)
{
	struct calendar c;

	calendar_of(guest_seconds(r), &c);
	r->ram[SECONDS] = encode(r, c.second);
	r->ram[MINUTES] = encode(r, c.minute);
	r->ram[HOURS] = encode_hour(r, c.hour);
	r->ram[WEEKDAY] = encode(r, c.weekday);
	r->ram[DAY] = encode(r, c.day);
	r->ram[MONTH] = encode(r, c.month);
	r->ram[YEAR] = encode(r, c.year % 100);
	r->ram[RTC_CENTURY] = encode(r, c.year / 100);
}

/* Makes the clock go on from what is in the registers; nonsense is moved into range. */
static void registers_apply(struct rtc_cmos *r)
{
	struct calendar c = {
		.second = clamp(decode(r, r->ram[SECONDS]), 0, 59),
		.minute = clamp(decode(r, r->ram[MINUTES]), 0, 59),
		.hour = clamp(decode_hour(r, r->ram[HOURS]), 0, 23),
		.day = clamp(decode(r, r->ram[DAY]), 1, 31),
		.month = clamp(decode(r, r->ram[MONTH]), 1, 12),
		.year = decode(r, r->ram[RTC_CENTURY]) * 100 +
			clamp(decode(r, r->ram[YEAR]), 0, 99),
	};

	r->offset_s += seconds_of(&c) - guest_seconds(r);
	r->flags_read_s = guest_seconds(r);
}

static bool is_clock(unsigned index)
{
	switch (index) {
	case SECONDS:
	case MINUTES:
	case HOURS:
	case WEEKDAY:
	case DAY:
	case MONTH:
	case YEAR:
	case RTC_CENTURY:
		return true;
	default:
		return false;
	}
}

static uint8_t status_a(const struct rtc_cmos *r)
{
	struct timespec t;

	r->now(&t);
	if (!is_set(r) && t.tv_nsec >= second_ns - updating_ns)
		return r->ram[STATUS_A] | A_UPDATING;
	return r->ram[STATUS_A];
}

static uint8_t status_c(struct rtc_cmos *r)
{
	int64_t now = guest_seconds(r);
	uint8_t flags = 0;

	if (!is_set(r) && now != r->flags_read_s)
		flags = C_UPDATE_ENDED;
	if (flags && (r->ram[STATUS_B] & B_UPDATE_INTERRUPT))
		flags |= C_INTERRUPT;
	r->flags_read_s = now;
	return flags;
}

static uint8_t data_read(struct rtc_cmos *r)
{
	switch (r->index) {
	case STATUS_A:
		return status_a(r);
	case STATUS_C:
		return status_c(r);
	case STATUS_D:
		return D_VALID;
	default:
		if (is_clock(r->index) && !is_set(r))
			registers_fill(r);
		return r->ram[r->index];
	}
}

static void status_b_write(struct rtc_cmos *r, uint8_t value)
{
	bool was_set = is_set(r);

	if (!was_set && (value & B_SET))
		registers_fill(r);
	if (was_set && !(value & B_SET)) {
		r->ram[STATUS_B] = value;
		registers_apply(r);
	}
	r->ram[STATUS_B] = value;
}

static void clock_write(struct rtc_cmos *r, uint8_t value)
{
	if (is_set(r)) {
		r->ram[r->index] = value;
		return;
	}
	registers_fill(r);
	r->ram[r->index] = value;
	registers_apply(r);
}

static void data_write(struct rtc_cmos *r, uint8_t value)
{
	switch (r->index) {
	case STATUS_A:
		r->ram[STATUS_A] = value & ~A_UPDATING & 0xff;
		break;
	case STATUS_B:
		status_b_write(r, value);
		break;
	case STATUS_C:
	case STATUS_D:
		break;
	default:
		if (is_clock(r->index))
			clock_write(r, value);
		else
			r->ram[r->index] = value;
	}
}

/* The index is write-only on the real chip; here it can be read back. */
static uint8_t port_read(struct bus_dev *d, unsigned offset)
{
	struct rtc_cmos *r = container_of(d, struct rtc_cmos, dev);
	uint8_t value;

	pthread_mutex_lock(&r->lock);
	value = offset == 0 ? r->index : data_read(r);
	pthread_mutex_unlock(&r->lock);
	return value;
}

static void port_write(struct bus_dev *d, unsigned offset, uint8_t value)
{
	struct rtc_cmos *r = container_of(d, struct rtc_cmos, dev);

	pthread_mutex_lock(&r->lock);
	if (offset == 0)
		r->index = value % RTC_BYTES;
	else
		data_write(r, value);
	pthread_mutex_unlock(&r->lock);
}

static uint64_t rtc_read(struct bus_dev *d, uint64_t offset, unsigned size)
{
	return bytes_read(d, offset, size, port_read);
}

static void rtc_write(struct bus_dev *d, uint64_t offset, unsigned size, uint64_t value)
{
	bytes_write(d, offset, size, value, port_write);
}

void rtc_cmos_init(struct rtc_cmos *r)
{
	*r = (struct rtc_cmos){
		.dev = {"real-time clock", rtc_read, rtc_write},
		.now = clock_realtime,
	};
	pthread_mutex_init(&r->lock, NULL);
	r->ram[STATUS_A] = A_RESET;
	r->ram[STATUS_B] = B_24_HOURS;
	r->flags_read_s = guest_seconds(r);
}

void rtc_cmos_fini(struct rtc_cmos *r)
{
	if (r)
		pthread_mutex_destroy(&r->lock);
}
