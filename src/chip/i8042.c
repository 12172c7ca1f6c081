/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * i8042.c - the parts of the keyboard controller that have nothing to do with keyboards
 *
 * The status register always says "output full, input empty".  A driver that probes for a keyboard
 * first drains the output, finds that it never ends and gives up within a millisecond, where a
 * controller that stays silent would cost it half a second for each command.  Code that waits for
 * the input to be empty before it writes a reset command goes on at once.
 */
#include "chip/i8042.h"

enum {
	STATUS_OUTPUT_FULL = 0x01,
	COMMAND_PULSE = 0xf0, /* pulses the output lines whose bits are 0; bit 0 is reset */
	PORT_A_RESET = 0x01,
	PORT_A_A20 = 0x02,
	PORT_B_REFRESH = 0x10,
	PORT_B_TIMER2_OUT = 0x20,
};

static uint64_t data_read(struct bus_dev *d, uint64_t offset, unsigned size)
{
	(void)d, (void)offset, (void)size;
	return 0;
}

static uint64_t status_read(struct bus_dev *d, uint64_t offset, unsigned size)
{
	(void)d, (void)offset, (void)size;
	return STATUS_OUTPUT_FULL;
}

static void nothing_write(struct bus_dev *d, uint64_t offset, unsigned size, uint64_t value)
{
	(void)d, (void)offset, (void)size, (void)value;
}

static void command_write(struct bus_dev *d, uint64_t offset, unsigned size, uint64_t value)
{
	struct i8042 *k = container_of(d, struct i8042, command);

	(void)offset, (void)size;
	if ((value & 0xf0) == COMMAND_PULSE && !(value & 0x01))
		k->events->reset(k->events->context);
}

/* Delay loops wait for the timer's output or for the refresh bit to change. */
static uint64_t port_b_read(struct bus_dev *d, uint64_t offset, unsigned size)
{
	struct i8042 *k = container_of(d, struct i8042, port_b);

	(void)offset, (void)size;
	return PORT_B_TIMER2_OUT | (atomic_fetch_xor(&k->refresh, PORT_B_REFRESH));
}

static uint64_t port_a_read(struct bus_dev *d, uint64_t offset, unsigned size)
{
	(void)d, (void)offset, (void)size;
	return PORT_A_A20;
}

static void port_a_write(struct bus_dev *d, uint64_t offset, unsigned size, uint64_t value)
{
	struct i8042 *k = container_of(d, struct i8042, port_a);

	(void)offset, (void)size;
	if (value & PORT_A_RESET)
		k->events->reset(k->events->context);
}

void i8042_init(struct i8042 *k, const struct chip_events *events)
{
	*k = (struct i8042){
		.data = {"keyboard controller data", data_read, nothing_write},
		.port_b = {"system control port B", port_b_read, nothing_write},
		.command = {"keyboard controller", status_read, command_write},
		.port_a = {"system control port A", port_a_read, port_a_write},
		.events = events,
	};
}

int i8042_add(struct i8042 *k, struct bus *ports, struct err *e)
{
	int r = bus_add(ports, I8042_DATA, 1, &k->data, e);

	if (r == 0)
		r = bus_add(ports, I8042_PORT_B, 1, &k->port_b, e);
	if (r == 0)
		r = bus_add(ports, I8042_COMMAND, 1, &k->command, e);
	if (r == 0)
		r = bus_add(ports, I8042_PORT_A, 1, &k->port_a, e);
	return r;
}
