/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * balloon_policy_test.c - the rules of the balloon, over hours of simulated time
 *
 * Time goes in quarters of a second, or jumps to when the policy is due, as the test needs.
 */
#include "vm/balloon_policy.h"

#include "base/attr.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#define MB     (UINT64_C(1) << 20)
#define GB     (UINT64_C(1) << 30)
#define SECOND (1000 * BALLOON_MS)
#define START  (5 * SECOND)

enum { SEEDS = 500 };

static const struct balloon_reading low = {.is_low = true, .margin_bytes = 100};
static const struct balloon_reading plenty = {.available_bytes = UINT64_MAX, .margin_bytes = 100};
static const struct balloon_reading middling = {.available_bytes = 101, .margin_bytes = 100};

static struct balloon_policy p;

static void begin(uint64_t mem_bytes, uint64_t seed)
{
	balloon_policy_init(&p, mem_bytes, 0, seed);
}

static void maximum_goes_by_the_size_of_memory(void **state)
{
	static const struct {
		uint64_t mem, max;
	} rows[] = {
		{0, 0},
		{1 * MB, 0},
		{256 * MB, 0},
		{500 * MB - 1, 0},
		{500 * MB, 250 * MB}, /* "at least 500MB" */
		{500 * MB + 4096, 250 * MB},
		{500 * MB + 8192, 250 * MB + 4096},
		{512 * MB, 256 * MB},
		{1 * GB, 512 * MB},
		{1536 * MB - 4096, 768 * MB - 4096},
		{1536 * MB, 768 * MB}, /* not "more than 1.5GB" */
		{1536 * MB + 1, 512 * MB},
		{1536 * MB + 4096, 512 * MB + 4096},
		{2 * GB, 1 * GB},
		{4 * GB, 3 * GB},
		{4096 * GB, 4095 * GB},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		if (balloon_policy_max(rows[i].mem) != rows[i].max)
			fail_msg("row %zu: %llu", i,
				 (unsigned long long)balloon_policy_max(rows[i].mem));
}

static void sixteen_steps_are_enough_for_every_size(void **state)
{
	(void)state;
	for (uint64_t mem = 0; mem < 3 * GB; mem += 3 * MB + 5 * 4096) {
		begin(mem, 1);
		assert_int_equal(p.step % BALLOON_PAGE, 0);
		assert_true(p.step * BALLOON_STEPS >= p.max);
		assert_true(p.step * BALLOON_STEPS < p.max + BALLOON_STEPS * BALLOON_PAGE);
	}
	begin(2 * GB, 1);
	assert_int_equal(p.step, 64 * MB);
}

static void option_replaces_the_maximum_and_bounds_commands(void **state)
{
	(void)state;
	balloon_policy_init(&p, 256 * MB, 160 * MB + 1, 1);
	assert_int_equal(p.max, 160 * MB);
	assert_int_equal(p.limit, 160 * MB);
	assert_int_equal(p.step, 10 * MB);
	balloon_policy_init(&p, 256 * MB, 1 * GB, 1);
	assert_int_equal(p.max, 256 * MB);
	balloon_policy_init(&p, 256 * MB, 0, 1);
	assert_int_equal(p.max, 0);
	assert_int_equal(p.limit, 256 * MB);
}

static void without_pressure_nothing_happens(void **state)
{
	(void)state;
	begin(2 * GB, 1);
	for (uint64_t t = START; t < 7200 * SECOND; t += SECOND) {
		assert_false(balloon_policy_turn(&p, t, t % 2 ? &plenty : &middling));
		assert_int_equal(balloon_policy_due(&p), 0);
		assert_true(balloon_policy_listens(&p));
	}
	assert_int_equal(p.target, 0);
}

static void first_notice_grows_at_once_and_the_next_wait(void **state)
{
	(void)state;
	begin(2 * GB, 1);
	assert_true(balloon_policy_turn(&p, START, &low));
	assert_int_equal(p.target, 64 * MB);
	assert_false(balloon_policy_listens(&p));
	assert_in_range(balloon_policy_due(&p), START + SECOND, START + 1060 * BALLOON_MS);

	assert_false(balloon_policy_turn(&p, START + SECOND - 1, &low));
	assert_int_equal(p.target, 64 * MB);
	assert_true(balloon_policy_turn(&p, balloon_policy_due(&p), &low));
	assert_int_equal(p.target, 128 * MB);
}

static void growing_stops_when_the_host_has_enough_to_go_on(void **state)
{
	uint64_t due;

	(void)state;
	begin(2 * GB, 1);
	balloon_policy_turn(&p, START, &low);
	due = balloon_policy_due(&p);
	assert_false(balloon_policy_turn(&p, due, &middling));
	assert_true(balloon_policy_listens(&p));
	assert_in_range(balloon_policy_due(&p), START + 60 * SECOND, START + 66 * SECOND);
	assert_true(balloon_policy_turn(&p, due + 5 * SECOND, &low)); /* at any notice */
	assert_int_equal(p.target, 128 * MB);
}

/* Returns how long it took. */
static uint64_t fill(uint64_t now)
{
	uint64_t began = now;

	while (balloon_policy_turn(&p, now, &low) && p.target < p.max)
		now = balloon_policy_due(&p);
	return now - began;
}

static void lasting_pressure_fills_it_in_16_seconds(void **state)
{
	static const uint64_t sizes[] = {500 * MB, 1536 * MB, 2 * GB, 3 * GB + 20480, 64 * GB};

	(void)state;
	for (uint64_t seed = 1; seed <= SEEDS; seed++) {
		begin(sizes[seed % ARRAY_LEN(sizes)], seed * 7919);
		assert_in_range(fill(START), 15 * SECOND, 16 * SECOND);
		assert_int_equal(p.target, p.max);
		assert_true(p.max > 0);
	}
}

static void a_full_balloon_stays_full_under_pressure(void **state)
{
	uint64_t now = START;

	(void)state;
	begin(2 * GB, 3);
	fill(START);
	for (int i = 0; i < 3600; i++) {
		now = balloon_policy_due(&p);
		assert_false(balloon_policy_turn(&p, now, &low));
		assert_int_equal(p.target, p.max);
		assert_in_range(p.review_ns, now + 60 * SECOND, now + 66 * SECOND);
	}
}

/* From `now` on there is enough; returns how long it took to give everything back. */
static uint64_t drain(uint64_t enough_ns)
{
	uint64_t now = enough_ns;
	unsigned steps = 0;

	while (p.target > 0) {
		now = balloon_policy_due(&p) > enough_ns ? balloon_policy_due(&p) : enough_ns;
		if (balloon_policy_turn(&p, now, &plenty))
			steps++;
	}
	assert_int_equal(steps, BALLOON_STEPS);
	assert_int_equal(balloon_policy_due(&p), 0);
	return now - enough_ns;
}

static void it_is_empty_nine_minutes_after_there_is_enough(void **state)
{
	(void)state;
	for (uint64_t seed = 1; seed <= SEEDS; seed++) {
		begin(2 * GB, seed * 104729);
		assert_in_range(drain(START + fill(START)), 510 * SECOND, 540 * SECOND);
	}
}

/* There may be too little for a while although the host is not low: `wait` seconds. */
static void nine_minutes_hold_whenever_there_is_enough(void **state)
{
	(void)state;
	for (uint64_t wait = 1; wait < 600; wait++) {
		uint64_t end;

		begin(2 * GB, wait * 31337);
		end = START + fill(START) + wait * SECOND;
		while (balloon_policy_due(&p) < end)
			assert_false(balloon_policy_turn(&p, balloon_policy_due(&p), &middling));
		assert_in_range(drain(end), 450 * SECOND, 540 * SECOND);
	}
}

static void enough_is_the_margin_and_two_steps(void **state)
{
	struct balloon_reading r = {.margin_bytes = 100 * MB};

	(void)state;
	begin(2 * GB, 1);
	balloon_policy_turn(&p, START, &low);
	r.available_bytes = 100 * MB + 2 * p.step - 1;
	balloon_policy_turn(&p, p.check_ns, &r);
	assert_false(balloon_policy_turn(&p, p.review_ns, &r));
	r.available_bytes++;
	assert_true(balloon_policy_turn(&p, p.review_ns, &r));
	assert_int_equal(p.target, 0);
}

static void pressure_puts_giving_back_off_by_a_minute(void **state)
{
	uint64_t now;

	(void)state;
	begin(2 * GB, 1);
	now = START + fill(START);
	for (int i = 0; i < 5; i++) {
		now = balloon_policy_due(&p);
		balloon_policy_turn(&p, now, &plenty);
	}
	assert_int_equal(p.target, p.max - 4 * p.step); /* the first was the check */
	now += 10 * SECOND;
	assert_true(balloon_policy_turn(&p, now, &low));
	assert_int_equal(p.target, p.max - 3 * p.step);
	assert_in_range(p.review_ns, now + 60 * SECOND, now + 66 * SECOND);
}

static void a_small_vm_keeps_its_memory(void **state)
{
	uint64_t now = START;

	(void)state;
	begin(256 * MB, 1);
	for (int i = 0; i < 100; i++) {
		assert_false(balloon_policy_turn(&p, now, &low));
		now = balloon_policy_due(&p);
	}
	assert_int_equal(p.target, 0);
}

/* Most of n times that lie within 5 ms of each other. */
static unsigned crowd(uint64_t *times, unsigned n)
{
	unsigned most = 0;

	for (unsigned i = 0; i < n; i++) {
		unsigned near = 0;

		for (unsigned k = 0; k < n; k++)
			near += times[k] >= times[i] && times[k] - times[i] < 5 * BALLOON_MS;
		most = near > most ? near : most;
	}
	return most;
}

static void many_vms_do_not_move_together(void **state)
{
	enum { VMS = 100 };
	uint64_t grown[VMS], shrunk[VMS];

	(void)state;
	for (unsigned i = 0; i < VMS; i++) {
		begin(2 * GB, 1000 + i); /* all hear of it in the same moment */
		balloon_policy_turn(&p, START, &low);
		for (int k = 0; k < 4; k++)
			balloon_policy_turn(&p, balloon_policy_due(&p), &low);
		grown[i] = balloon_policy_due(&p);
		balloon_policy_turn(&p, grown[i], &plenty);
		shrunk[i] = balloon_policy_due(&p);
	}
	assert_in_range(crowd(grown, VMS), 1, VMS / 4);
	assert_in_range(crowd(shrunk, VMS), 1, VMS / 20);
}

static uint64_t dice(uint64_t sides)
{
	static uint64_t state = 88172645463325252;

	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return state % sides;
}

struct history {
	uint64_t target, low_ns, grown_ns, shrunk_ns;
};

static void check_quarter(struct history *h, uint64_t now, const struct balloon_reading *r,
			  bool has_changed)
{
	uint64_t spare = r->available_bytes - r->margin_bytes;

	assert_int_equal(has_changed, p.target != h->target);
	assert_in_range(p.target, 0, p.max);
	assert_true(p.floor == 0 && p.target % BALLOON_PAGE == 0);
	if (p.target > h->target) {
		assert_true(r->is_low);
		assert_true(p.target - h->target <= p.step);
		assert_true(h->grown_ns == 0 || now - h->grown_ns >= SECOND);
		h->grown_ns = now;
	} else if (p.target < h->target) {
		assert_true(!r->is_low && spare >= 2 * p.step);
		assert_true(h->target - p.target <= p.step);
		assert_true(now - h->low_ns >= 60 * SECOND);
		assert_true(h->shrunk_ns < h->grown_ns || now - h->shrunk_ns >= 30 * SECOND);
		h->shrunk_ns = now;
	}
	if (r->is_low && p.check_ns > now && p.check_ns - now > SECOND - SECOND / 4)
		h->low_ns = now;
	if (r->is_low && p.target < p.max) /* it has answered, and will look again */
		assert_in_range(p.check_ns, now + 1, now + 1060 * BALLOON_MS);
	assert_true(p.target == 0 || balloon_policy_due(&p) > now);
	h->target = p.target;
}

/* A host whose memory goes up and down at random, looked at every quarter of a second. */
static void every_second_of_many_hours_keeps_the_rules(void **state)
{
	enum { HOURS = 24 };
	struct history h = {0};
	struct balloon_reading r = {.margin_bytes = 200 * MB};
	uint64_t trend = 0;

	(void)state;
	begin(2 * GB, 42);
	r.available_bytes = 1 * GB;
	for (uint64_t t = START; t < HOURS * 3600 * SECOND; t += SECOND / 4) {
		if (dice(400) == 0)
			trend = dice(3);
		if (trend == 1 && r.available_bytes < 4 * GB)
			r.available_bytes += dice(4 * MB);
		else if (trend == 2 && r.available_bytes > 200 * MB + 4 * MB)
			r.available_bytes -= dice(4 * MB);
		r.is_low = r.available_bytes < 208 * MB;
		check_quarter(&h, t, &r, balloon_policy_turn(&p, t, &r));
	}
	assert_true(h.grown_ns > 0 && h.shrunk_ns > 0);
}

/*
 * The seed's own test in numbers: two VMs of 2 GB on a host of 3 GB write 1.4 GB each, 10 MB a
 * second; what the guests have in their page caches goes when the balloon wants it.
 */
static void two_vms_that_write_a_lot_live_and_get_it_back(void **state)
{
	struct balloon_policy vm[2];
	uint64_t written[2] = {0, 0}, least = UINT64_MAX, most_after = 0;
	struct balloon_reading r = {.margin_bytes = 300 * MB};

	(void)state;
	for (unsigned i = 0; i < 2; i++)
		balloon_policy_init(&vm[i], 2 * GB, 0, i + 1);
	for (uint64_t t = START; t < 1200 * SECOND; t += SECOND / 4) {
		uint64_t used = 0;

		for (unsigned i = 0; i < 2; i++) {
			if (t < 300 * SECOND && written[i] < 1400 * MB)
				written[i] += 5 * MB / 2;
			if (written[i] > 2 * GB - 200 * MB - vm[i].target)
				written[i] = 2 * GB - 200 * MB - vm[i].target;
			if (t > 300 * SECOND && written[i] >= 20 * MB)
				written[i] -= 20 * MB; /* removed */
			used += 200 * MB + written[i];
		}
		r.available_bytes = 3 * GB - used;
		r.is_low = r.available_bytes < r.margin_bytes;
		least = r.available_bytes < least ? r.available_bytes : least;
		if (least < r.margin_bytes && r.available_bytes > most_after)
			most_after = r.available_bytes;
		for (unsigned i = 0; i < 2; i++)
			balloon_policy_turn(&vm[i], t, &r);
	}
	assert_in_range(least, 10 * MB, 300 * MB - 1); /* fell to the margin, and no further */
	assert_true(most_after > 350 * MB);             /* came back */
	assert_int_equal(vm[0].target, 0);
	assert_int_equal(vm[1].target, 0);
}

static void commands_are_cut_to_pages_and_limits(void **state)
{
	static const struct {
		int64_t pages;
		uint64_t expected;
	} rows[] = {
		{0, 100 * MB},         {1, 100 * MB + 4096},
		{-1, 100 * MB - 4096}, {-25600, 0},
		{-25601, 0},           {INT64_MIN, 0},
		{INT64_MAX, 256 * MB}, {39936, 256 * MB},
		{39937, 256 * MB},     {39935, 256 * MB - 4096},
		{INT64_MIN + 1, 0},
	};

	(void)state;
	begin(256 * MB, 1);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		balloon_policy_set(&p, 100 * MB + 4095);
		assert_int_equal(p.target, 100 * MB);
		balloon_policy_adjust(&p, rows[i].pages);
		assert_int_equal(p.target, rows[i].expected);
		assert_int_equal(p.floor, rows[i].expected);
	}
	balloon_policy_set(&p, UINT64_MAX);
	assert_int_equal(p.target, 256 * MB);
}

static void policy_gives_back_to_what_a_command_asked_for(void **state)
{
	uint64_t now;

	(void)state;
	begin(2 * GB, 1);
	balloon_policy_set(&p, 300 * MB);
	now = START + fill(START);
	assert_int_equal(p.target, p.max);
	while (balloon_policy_due(&p) > 0) {
		now = balloon_policy_due(&p);
		balloon_policy_turn(&p, now, &plenty);
	}
	assert_int_equal(p.target, 300 * MB);

	balloon_policy_turn(&p, now, &low);
	balloon_policy_set(&p, 0); /* ends what the policy had added */
	while (balloon_policy_due(&p) > 0)
		assert_false(balloon_policy_turn(&p, balloon_policy_due(&p), &plenty));
	assert_int_equal(p.target, 0);
}

static void policy_does_not_touch_more_than_its_maximum(void **state)
{
	(void)state;
	begin(2 * GB, 1);
	balloon_policy_set(&p, 1900 * MB);
	assert_int_equal(p.target, 1900 * MB);
	for (int i = 0; i < 20; i++)
		assert_false(balloon_policy_turn(&p, START + (uint64_t)i * 2 * SECOND, &low));
	assert_int_equal(p.target, 1900 * MB);
}

/* Policy and commands in any order. */
static void account_stays_consistent(void **state)
{
	(void)state;
	for (uint64_t run = 0; run < 200; run++) {
		uint64_t now = START;

		balloon_policy_init(&p, 400 * MB + dice(3 * GB), dice(2) * dice(GB), run);
		for (int i = 0; i < 300; i++) {
			struct balloon_reading r = {.is_low = dice(2),
						    .margin_bytes = dice(GB),
						    .available_bytes = dice(4 * GB)};
			uint64_t before = p.target, floor = p.floor;

			now += dice(20 * SECOND);
			if (dice(8) == 0) {
				balloon_policy_set(&p, dice(4 * GB));
			} else if (dice(8) == 0) {
				balloon_policy_adjust(&p, (int64_t)dice(GB) - (int64_t)(GB / 2));
			} else {
				balloon_policy_turn(&p, now, &r);
				assert_int_equal(p.floor, floor);
				assert_true(p.target <= before || p.target <= p.max);
			}
			assert_true(p.floor <= p.target && p.target <= p.limit);
			assert_int_equal(p.target % BALLOON_PAGE, 0);
			assert_true(p.target == p.floor || balloon_policy_due(&p) > 0);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(maximum_goes_by_the_size_of_memory),
		cmocka_unit_test(sixteen_steps_are_enough_for_every_size),
		cmocka_unit_test(option_replaces_the_maximum_and_bounds_commands),
		cmocka_unit_test(without_pressure_nothing_happens),
		cmocka_unit_test(first_notice_grows_at_once_and_the_next_wait),
		cmocka_unit_test(growing_stops_when_the_host_has_enough_to_go_on),
		cmocka_unit_test(lasting_pressure_fills_it_in_16_seconds),
		cmocka_unit_test(a_full_balloon_stays_full_under_pressure),
		cmocka_unit_test(it_is_empty_nine_minutes_after_there_is_enough),
		cmocka_unit_test(nine_minutes_hold_whenever_there_is_enough),
		cmocka_unit_test(enough_is_the_margin_and_two_steps),
		cmocka_unit_test(pressure_puts_giving_back_off_by_a_minute),
		cmocka_unit_test(a_small_vm_keeps_its_memory),
		cmocka_unit_test(many_vms_do_not_move_together),
		cmocka_unit_test(every_second_of_many_hours_keeps_the_rules),
		cmocka_unit_test(two_vms_that_write_a_lot_live_and_get_it_back),
		cmocka_unit_test(commands_are_cut_to_pages_and_limits),
		cmocka_unit_test(policy_gives_back_to_what_a_command_asked_for),
		cmocka_unit_test(policy_does_not_touch_more_than_its_maximum),
		cmocka_unit_test(account_stays_consistent),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
