/* SPDX-License-Identifier: BSD-3-Clause */
/* rtc_cmos_test.c - the clock in all its formats, setting it, status registers, memory */
#include "chip/rtc_cmos.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static struct timespec host_time;

static void host_now(struct timespec *ret)
{
	*ret = host_time;
}

static int setup(void **state)
{
	static struct rtc_cmos r;

	host_time = (struct timespec){1582934399, 0}; /* Fri 28 Feb 2020 23:59:59 UTC */
	rtc_cmos_init(&r);
	r.now = host_now;
	r.offset_s = 0;
	r.flags_read_s = host_time.tv_sec;
	*state = &r;
	return 0;
}

static int teardown(void **state)
{
	rtc_cmos_fini(*state);
	return 0;
}

static uint8_t get(struct rtc_cmos *r, unsigned index)
{
	r->dev.write(&r->dev, 0, 1, index);
	return (uint8_t)r->dev.read(&r->dev, 1, 1);
}

static void set(struct rtc_cmos *r, unsigned index, unsigned value)
{
	r->dev.write(&r->dev, 0, 1, index);
	r->dev.write(&r->dev, 1, 1, value);
}

static void assert_clock(struct rtc_cmos *r, const uint8_t expected[8])
{
	static const uint8_t indices[8] = {0, 2, 4, 6, 7, 8, 9, RTC_CENTURY};

	for (unsigned i = 0; i < 8; i++)
		assert_int_equal(get(r, indices[i]), expected[i]);
}

static void clock_is_bcd_and_24_hours_at_reset(void **state)
{
	struct rtc_cmos *r = *state;

	assert_clock(r, (const uint8_t[]){0x59, 0x59, 0x23, 6, 0x28, 2, 0x20, 0x20});
	host_time.tv_sec++;
	assert_clock(r, (const uint8_t[]){0, 0, 0, 7, 0x29, 2, 0x20, 0x20});
}

static void binary_and_12_hours(void **state)
{
	struct rtc_cmos *r = *state;

	set(r, 0x0b, 0x04);
	assert_clock(r, (const uint8_t[]){59, 59, 0x80 | 11, 6, 28, 2, 20, 20});
	host_time.tv_sec++;
	assert_clock(r, (const uint8_t[]){0, 0, 12, 7, 29, 2, 20, 20});
	host_time.tv_sec += 12 * 3600;
	assert_int_equal(get(r, 4), 0x80 | 12);
	set(r, 0x0b, 0x00);
	assert_int_equal(get(r, 4), 0x92);
}

static void every_day_of_centuries_agrees_with_the_library(void **state)
{
	struct rtc_cmos *r = *state;

	set(r, 0x0b, 0x06);
	for (time_t t = -2208988800 /* 1900 */; t < 16725225600 /* 2500 */; t += 86400 + 3607) {
		struct tm tm;

		host_time.tv_sec = t;
		gmtime_r(&t, &tm);
		assert_clock(r, (const uint8_t[]){(uint8_t)tm.tm_sec, (uint8_t)tm.tm_min,
						  (uint8_t)tm.tm_hour, (uint8_t)(tm.tm_wday + 1),
						  (uint8_t)tm.tm_mday, (uint8_t)(tm.tm_mon + 1),
						  (uint8_t)(tm.tm_year % 100),
						  (uint8_t)((tm.tm_year + 1900) / 100)});
	}
}

static void set_stops_updates_and_its_end_starts_the_clock_there(void **state)
{
	struct rtc_cmos *r = *state;

	set(r, 0x0b, 0x82);
	host_time.tv_sec += 100;
	assert_int_equal(get(r, 0), 0x59);
	set(r, 0, 0x30);
	set(r, 2, 0x45);
	set(r, 4, 0x12);
	set(r, 7, 0x31);
	set(r, 8, 0x12);
	set(r, 9, 0x99);
	set(r, RTC_CENTURY, 0x19);
	set(r, 0x0b, 0x02);

	assert_clock(r, (const uint8_t[]){0x30, 0x45, 0x12, 6, 0x31, 0x12, 0x99, 0x19});
	host_time.tv_sec += 12 * 3600;
	assert_clock(r, (const uint8_t[]){0x30, 0x45, 0, 7, 1, 1, 0, 0x20});
}

static void writing_one_register_of_the_running_clock(void **state)
{
	struct rtc_cmos *r = *state;

	set(r, 4, 0x10);
	assert_clock(r, (const uint8_t[]){0x59, 0x59, 0x10, 6, 0x28, 2, 0x20, 0x20});
	set(r, 0x0b, 0x00);
	set(r, 4, 0x81);
	set(r, 0x0b, 0x02);
	assert_int_equal(get(r, 4), 0x13);
}

static void nonsense_is_moved_into_range(void **state)
{
	struct rtc_cmos *r = *state;

	set(r, 0x0b, 0x86);
	for (unsigned i = 0; i < 10; i++)
		set(r, i, 0xff);
	set(r, RTC_CENTURY, 0xff);
	set(r, 0x0b, 0x06);
	/* 25599-12-31 23:59:59 */
	assert_clock(r, (const uint8_t[]){59, 59, 23, 6, 31, 12, 99, 255});

	set(r, 0x0b, 0x86);
	for (unsigned i = 0; i < 10; i++)
		set(r, i, 0);
	set(r, RTC_CENTURY, 0);
	set(r, 0x0b, 0x06);
	assert_clock(r, (const uint8_t[]){0, 0, 0, 7, 1, 1, 0, 0});
}

static void update_in_progress_ends_each_second(void **state)
{
	struct rtc_cmos *r = *state;

	assert_int_equal(get(r, 0x0a), 0x26);
	host_time.tv_nsec = 1000000000 - 2228001;
	assert_int_equal(get(r, 0x0a), 0x26);
	host_time.tv_nsec++;
	assert_int_equal(get(r, 0x0a), 0xa6);
	set(r, 0x0a, 0xff);
	assert_int_equal(get(r, 0x0a), 0xff);
	set(r, 0x0b, 0x82);
	assert_int_equal(get(r, 0x0a), 0x7f);
}

static void status_c_is_cleared_by_reading(void **state)
{
	struct rtc_cmos *r = *state;

	assert_int_equal(get(r, 0x0c), 0);
	host_time.tv_sec++;
	assert_int_equal(get(r, 0x0c), 0x10);
	assert_int_equal(get(r, 0x0c), 0);
	set(r, 0x0b, 0x12);
	host_time.tv_sec++;
	assert_int_equal(get(r, 0x0c), 0x90);
	set(r, 0x0c, 0xff);
	assert_int_equal(get(r, 0x0c), 0);
}

static void status_d_says_that_time_is_valid(void **state)
{
	struct rtc_cmos *r = *state;

	set(r, 0x0d, 0);
	assert_int_equal(get(r, 0x0d), 0x80);
}

static void other_bytes_are_memory(void **state)
{
	struct rtc_cmos *r = *state;

	for (unsigned i = 0x0e; i < RTC_BYTES; i++)
		if (i != RTC_CENTURY)
			set(r, i, 0xff - i);
	for (unsigned i = 0x0e; i < RTC_BYTES; i++)
		if (i != RTC_CENTURY)
			assert_int_equal(get(r, i), 0xff - i);
}

static void nmi_bit_of_the_index_is_ignored(void **state)
{
	struct rtc_cmos *r = *state;

	set(r, 0x8f, 0x0a);
	assert_int_equal(get(r, 0x0f), 0x0a);
	assert_int_equal(r->dev.read(&r->dev, 0, 1), 0x0f);
}

static void wide_accesses_are_index_and_data(void **state)
{
	struct rtc_cmos *r = *state;

	r->dev.write(&r->dev, 0, 2, 0x5511);
	assert_int_equal(get(r, 0x11), 0x55);
	assert_int_equal(r->dev.read(&r->dev, 0, 2), 0x5511);
}

static void clock_follows_the_host(void **state)
{
	struct rtc_cmos r;
	struct timespec before, after;
	unsigned seconds;

	(void)state;
	rtc_cmos_init(&r);
	clock_gettime(CLOCK_REALTIME, &before);
	set(&r, 0x0b, 0x06);
	seconds = get(&r, 0);
	clock_gettime(CLOCK_REALTIME, &after);
	assert_true(seconds == (unsigned)(before.tv_sec % 60) ||
		    seconds == (unsigned)(after.tv_sec % 60));
	rtc_cmos_fini(&r);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
		T(clock_is_bcd_and_24_hours_at_reset),
		T(binary_and_12_hours),
		T(every_day_of_centuries_agrees_with_the_library),
		T(set_stops_updates_and_its_end_starts_the_clock_there),
		T(writing_one_register_of_the_running_clock),
		T(nonsense_is_moved_into_range),
		T(update_in_progress_ends_each_second),
		T(status_c_is_cleared_by_reading),
		T(status_d_says_that_time_is_valid),
		T(other_bytes_are_memory),
		T(nmi_bit_of_the_index_is_ignored),
		T(wide_accesses_are_index_and_data),
		T(clock_follows_the_host),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
