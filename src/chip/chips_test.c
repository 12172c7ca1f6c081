/* SPDX-License-Identifier: BSD-3-Clause */
/* chips_test.c - all chips on a port bus: what each port does, at every size */
#include "chip/chips.h"

#include <errno.h>
#include <linux/serial_reg.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

enum { GSIS = 16 };

struct pc {
	struct host host;
	struct bus ports;
	struct chips chips;
	struct chip_events events;
	bool levels[GSIS];
	unsigned resets, poweroffs, panics, crashes, exits, exit_value;
};

static int level_set(struct host *h, unsigned gsi, bool level)
{
	struct pc *pc = container_of(h, struct pc, host);

	assert_in_range(gsi, 0, GSIS - 1);
	pc->levels[gsi] = level;
	return 0;
}

static const struct host_ops host_ops = {.line_set = level_set};

static void note_reset(void *context)
{
	((struct pc *)context)->resets++;
}

static void note_poweroff(void *context)
{
	((struct pc *)context)->poweroffs++;
}

static void note_panic(void *context, enum chip_panic kind)
{
	struct pc *pc = context;

	if (kind == CHIP_PANIC)
		pc->panics++;
	else
		pc->crashes++;
}

static void note_exit(void *context, unsigned value)
{
	struct pc *pc = context;

	pc->exits++;
	pc->exit_value = value;
}

static int setup(void **state)
{
	static struct pc pc;
	struct err e = {0};

	memset(&pc, 0, sizeof(pc));
	pc.host.ops = &host_ops;
	pc.events = (struct chip_events){&pc, note_reset, note_poweroff, note_panic, note_exit};
	bus_init(&pc.ports);
	chips_init(&pc.chips, &pc.host, &pc.events);
	pc.chips.has_debug_exit = true;
	assert_int_equal(chips_add(&pc.chips, &pc.ports, &e), 0);
	assert_int_equal(bus_add(&pc.ports, PM_RESET, 1, &pc.chips.pm.reset_control, &e), 0);
	*state = &pc;
	return 0;
}

static int teardown(void **state)
{
	struct pc *pc = *state;

	chips_fini(&pc->chips);
	bus_fini(&pc->ports);
	return 0;
}

static uint64_t in(struct pc *pc, unsigned port, unsigned size)
{
	uint64_t value = 0;

	bus_read(&pc->ports, port, &value, size);
	return value;
}

static void out(struct pc *pc, unsigned port, unsigned size, uint64_t value)
{
	bus_write(&pc->ports, port, &value, size);
}

/* ---- keyboard controller ---- */

static void keyboard_controller_resets(void **state)
{
	struct pc *pc = *state;

	out(pc, 0x64, 1, 0xfe);
	assert_int_equal(pc->resets, 1);
	out(pc, 0x64, 1, 0xf0);
	assert_int_equal(pc->resets, 2);
	for (unsigned v = 0; v < 256; v++)
		if (v < 0xf0 || v % 2 == 1)
			out(pc, 0x64, 1, v);
	assert_int_equal(pc->resets, 2);
}

/* A driver's probe: it must find an end soon. */
static void keyboard_probe_gives_up(void **state)
{
	struct pc *pc = *state;

	for (unsigned i = 0; i < 17; i++) {
		assert_int_equal(in(pc, 0x64, 1), 0x01);
		assert_int_equal(in(pc, 0x60, 1), 0);
	}
	out(pc, 0x60, 1, 0xff);
}

static void port_92_has_a20_and_resets(void **state)
{
	struct pc *pc = *state;

	assert_int_equal(in(pc, 0x92, 1), 2);
	out(pc, 0x92, 1, 2);
	assert_int_equal(pc->resets, 0);
	out(pc, 0x92, 1, 3);
	assert_int_equal(pc->resets, 1);
}

static void port_61_lets_delay_loops_end(void **state)
{
	struct pc *pc = *state;
	uint64_t first = in(pc, 0x61, 1);

	assert_int_equal(first & 0x20, 0x20);
	assert_int_equal(in(pc, 0x61, 1) ^ first, 0x10);
	out(pc, 0x61, 1, 0xff);
	assert_int_equal(in(pc, 0x61, 1), first);
}

/* ---- power management ---- */

static uint64_t fake_ns;

static uint64_t fake_clock(void)
{
	return fake_ns;
}

static void sleep_type_5_powers_off(void **state)
{
	struct pc *pc = *state;

	out(pc, PM_CONTROL, 2, PM_SLEEP_S5 << 10);
	assert_int_equal(pc->poweroffs, 0);
	assert_int_equal(in(pc, PM_CONTROL, 2), (PM_SLEEP_S5 << 10) | 1);
	out(pc, PM_CONTROL, 2, PM_SLEEP_S5 << 10 | 1 << 13);
	assert_int_equal(pc->poweroffs, 1);
	assert_int_equal(in(pc, PM_CONTROL, 2), (PM_SLEEP_S5 << 10) | 1);
}

static void sleep_may_be_asked_for_by_bytes(void **state)
{
	struct pc *pc = *state;

	out(pc, PM_CONTROL + 1, 1, PM_SLEEP_S5 << 2 | 1 << 5);
	assert_int_equal(pc->poweroffs, 1);
}

static void other_sleep_types_are_refused(void **state)
{
	struct pc *pc = *state;

	for (unsigned type = 0; type < 8; type++)
		if (type != PM_SLEEP_S5)
			out(pc, PM_CONTROL, 2, type << 10 | 1 << 13);
	assert_int_equal(pc->poweroffs, 0);
	assert_int_equal(pc->resets, 0);
}

static void power_button_interrupts_when_enabled(void **state)
{
	struct pc *pc = *state;

	out(pc, PM_EVENT + 2, 2, 0xffff);
	assert_false(pc->levels[PM_SCI_GSI]);
	assert_true(pm_power_button(&pc->chips.pm));
	assert_true(pm_power_button(&pc->chips.pm));
	assert_true(pc->levels[PM_SCI_GSI]);
	assert_int_equal(in(pc, PM_EVENT, 4), 0x07210100);

	out(pc, PM_EVENT, 2, 0x00ff);
	assert_true(pc->levels[PM_SCI_GSI]);
	out(pc, PM_EVENT, 2, 0x0100);
	assert_false(pc->levels[PM_SCI_GSI]);
	assert_int_equal(in(pc, PM_EVENT, 2), 0);
	assert_true(pm_power_button(&pc->chips.pm));
	assert_true(pc->levels[PM_SCI_GSI]);
}

static void power_button_that_is_not_enabled_is_not_pressed(void **state)
{
	struct pc *pc = *state;

	assert_false(pm_power_button(&pc->chips.pm));
	out(pc, PM_EVENT + 2, 2, 0x0621); /* all else */
	assert_false(pm_power_button(&pc->chips.pm));
	assert_int_equal(in(pc, PM_EVENT, 2), 0);
	out(pc, PM_EVENT + 3, 1, 0x01);
	assert_false(pc->levels[PM_SCI_GSI]);
	assert_true(pm_power_button(&pc->chips.pm));
	out(pc, PM_EVENT + 2, 2, 0); /* with the press not taken */
	assert_false(pc->levels[PM_SCI_GSI]);
	assert_false(pm_power_button(&pc->chips.pm));
	out(pc, PM_EVENT + 2, 2, 0x0100);
	assert_true(pc->levels[PM_SCI_GSI]);
}

static void timer_counts_at_its_frequency(void **state)
{
	struct pc *pc = *state;

	pc->chips.pm.clock = fake_clock;
	fake_ns = 0;
	assert_int_equal(in(pc, PM_TIMER, 4), 0);
	fake_ns = 1000000000;
	assert_int_equal(in(pc, PM_TIMER, 4), PM_TIMER_HZ);
	fake_ns = 1000000000ull * 1200 + 500000000;
	assert_int_equal(in(pc, PM_TIMER, 4), (uint32_t)(PM_TIMER_HZ * 1200ull + PM_TIMER_HZ / 2));
	fake_ns = UINT64_MAX;
	assert_int_equal(in(pc, PM_TIMER, 4), (uint32_t)(UINT64_MAX / 1000000000 * PM_TIMER_HZ +
							 709551615ull * PM_TIMER_HZ / 1000000000));
	fake_ns = 1000000000;
	assert_int_equal(in(pc, PM_TIMER + 1, 2), PM_TIMER_HZ >> 8 & 0xffff);
	out(pc, PM_TIMER, 4, 0);
	assert_int_equal(in(pc, PM_TIMER, 4), PM_TIMER_HZ);
}

static void gap_between_control_and_timer_reads_as_zero(void **state)
{
	struct pc *pc = *state;

	out(pc, PM_CONTROL + 2, 2, 0xffff);
	assert_int_equal(in(pc, PM_CONTROL + 2, 2), 0);
	assert_int_equal(in(pc, PM_EVENT, 8), 1ull << 32);
}

static void reset_control_resets_on_the_rising_bit(void **state)
{
	struct pc *pc = *state;

	out(pc, PM_RESET, 1, 0x02);
	assert_int_equal(pc->resets, 0);
	out(pc, PM_RESET, 1, PM_RESET_VALUE);
	assert_int_equal(pc->resets, 1);
	assert_int_equal(in(pc, PM_RESET, 1), PM_RESET_VALUE);
	out(pc, PM_RESET, 1, PM_RESET_VALUE);
	assert_int_equal(pc->resets, 1);
	out(pc, PM_RESET, 1, 0x0a);
	out(pc, PM_RESET, 1, 0x0e);
	assert_int_equal(pc->resets, 2);
}

/* ---- reports of test guests and panicking ones ---- */

static void panic_reports(void **state)
{
	struct pc *pc = *state;

	assert_int_equal(in(pc, PVPANIC_PORT, 1), 7);
	out(pc, PVPANIC_PORT, 1, 2);
	assert_int_equal(pc->crashes, 1);
	out(pc, PVPANIC_PORT, 1, 1);
	assert_int_equal(pc->panics, 1);
	out(pc, PVPANIC_PORT, 1, 4);
	assert_int_equal(pc->poweroffs, 1);
	out(pc, PVPANIC_PORT, 1, 0xf8);
	assert_int_equal(pc->panics + pc->crashes + pc->poweroffs, 3);
}

static void debug_exit_reports_the_value(void **state)
{
	struct pc *pc = *state;

	out(pc, DEBUG_EXIT_PORT, 4, 0x12345678);
	assert_int_equal(pc->exit_value, 0x12345678);
	out(pc, DEBUG_EXIT_PORT, 1, 0x10);
	assert_int_equal(pc->exit_value, 0x10);
	out(pc, DEBUG_EXIT_PORT + 2, 1, 0x20);
	assert_int_equal(pc->exits, 2);
	assert_int_equal(in(pc, DEBUG_EXIT_PORT, 4), 0);
}

static void null_ports_swallow_writes(void **state)
{
	static const uint16_t ports[] = {0x80, 0xed, 0xf0, 0xf1};
	struct pc *pc = *state;

	for (unsigned i = 0; i < ARRAY_LEN(ports); i++) {
		out(pc, ports[i], 1, 0x55);
		assert_int_equal(in(pc, ports[i], 1), 0xff);
	}
}

/* ---- together ---- */

static void serial_ports_are_where_pcs_have_them(void **state)
{
	static const unsigned bases[] = {0x3f8, 0x2f8, 0x3e8, 0x2e8}, gsis[] = {4, 3, 4, 3};
	struct pc *pc = *state;

	for (unsigned i = 0; i < CHIPS_UARTS; i++) {
		assert_int_equal(in(pc, bases[i] + UART_LSR, 1), 0x60);
		out(pc, bases[i] + UART_IER, 1, UART_IER_THRI);
		assert_true(pc->levels[gsis[i]]);
		in(pc, bases[i] + UART_IIR, 1);
		assert_false(pc->levels[gsis[i]]);
	}
}

static void absent_chips_read_as_ones(void **state)
{
	static struct chips few;
	static struct bus ports;
	struct pc *pc = *state;
	struct err e = {0};
	uint64_t value = 0;

	bus_init(&ports);
	chips_init(&few, &pc->host, &pc->events);
	few.has_uart[1] = few.has_pvpanic = false;
	assert_int_equal(chips_add(&few, &ports, &e), 0);
	bus_read(&ports, 0x2f8, &value, 8);
	assert_int_equal(value, UINT64_MAX);
	value = 0;
	bus_read(&ports, PVPANIC_PORT, &value, 1);
	assert_int_equal(value, 0xff);
	bus_read(&ports, DEBUG_EXIT_PORT, &value, 1);
	assert_int_equal(value, 0xff);
	bus_read(&ports, PM_RESET, &value, 1);
	assert_int_equal(value, 0xff);
	bus_fini(&ports);
	chips_fini(&few);
}

static void overlap_with_what_is_there_is_an_error(void **state)
{
	struct pc *pc = *state;
	static struct chips second;
	struct err e = {0};

	chips_init(&second, &pc->host, &pc->events);
	assert_int_equal(chips_add(&second, &pc->ports, &e), -EEXIST);
	assert_true(strlen(e.text) > 0);
	chips_fini(&second);
}

/* Nothing that a guest does to a port may do more than call back. */
static void every_port_takes_every_size(void **state)
{
	static const uint64_t values[] = {0, UINT64_MAX, 0x5555555555555555, 0x3434343434343434};
	struct pc *pc = *state;

	for (unsigned port = 0; port < 0x1000; port++) {
		for (unsigned size = 1; size <= 8; size++) {
			for (unsigned i = 0; i < ARRAY_LEN(values); i++)
				out(pc, port, size, values[i]);
			in(pc, port, size);
		}
	}
	assert_true(pc->resets > 0 && pc->poweroffs > 0 && pc->exits > 0 && pc->panics > 0);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
		T(keyboard_controller_resets),
		T(keyboard_probe_gives_up),
		T(port_92_has_a20_and_resets),
		T(port_61_lets_delay_loops_end),
		T(sleep_type_5_powers_off),
		T(sleep_may_be_asked_for_by_bytes),
		T(other_sleep_types_are_refused),
		T(power_button_interrupts_when_enabled),
		T(power_button_that_is_not_enabled_is_not_pressed),
		T(timer_counts_at_its_frequency),
		T(gap_between_control_and_timer_reads_as_zero),
		T(reset_control_resets_on_the_rising_bit),
		T(panic_reports),
		T(debug_exit_reports_the_value),
		T(null_ports_swallow_writes),
		T(serial_ports_are_where_pcs_have_them),
		T(absent_chips_read_as_ones),
		T(overlap_with_what_is_there_is_an_error),
		T(every_port_takes_every_size),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
