/* SPDX-License-Identifier: BSD-3-Clause */
/* chips.c - the platform devices of a PC, together */
#include "chip/chips.h"

#include "chip/null_port.h"

static const struct {
	uint16_t port;
	uint8_t gsi, line;
} uart_places[CHIPS_UARTS] = {
	{0x3f8, 4, 0},
	{0x2f8, 3, 1},
	{0x3e8, 4, 0},
	{0x2e8, 3, 1},
};

void chips_init(struct chips *c, struct host *host, const struct chip_events *events)
{
	c->has_pvpanic = true;
	c->has_debug_exit = false;
	line_init(&c->uart_lines[0], host, uart_places[0].gsi);
	line_init(&c->uart_lines[1], host, uart_places[1].gsi);
	for (unsigned i = 0; i < CHIPS_UARTS; i++) {
		c->has_uart[i] = true;
		uart8250_init(&c->uarts[i], &c->uart_lines[uart_places[i].line], i);
	}
	line_init(&c->sci, host, PM_SCI_GSI);
	pm_init(&c->pm, events, &c->sci);
	rtc_cmos_init(&c->rtc);
	i8042_init(&c->i8042, events);
	pvpanic_init(&c->pvpanic, events);
	debug_exit_init(&c->debug_exit, events);
}

void chips_fini(struct chips *c)
{
	if (!c)
		return;
	for (unsigned i = 0; i < CHIPS_UARTS; i++)
		uart8250_fini(&c->uarts[i]);
	pm_fini(&c->pm);
	rtc_cmos_fini(&c->rtc);
	line_fini(&c->sci);
	line_fini(&c->uart_lines[0]);
	line_fini(&c->uart_lines[1]);
}

static int uarts_add(struct chips *c, struct bus *ports, struct err *e)
{
	int r = 0;

	for (unsigned i = 0; r == 0 && i < CHIPS_UARTS; i++)
		if (c->has_uart[i])
			r = bus_add(ports, uart_places[i].port, UART_REGISTERS, &c->uarts[i].dev,
				    e);
	return r;
}

int chips_add(struct chips *c, struct bus *ports, struct err *e)
{
	int r = uarts_add(c, ports, e);

	if (r == 0)
		r = bus_add(ports, RTC_PORT, RTC_PORTS, &c->rtc.dev, e);
	if (r == 0)
		r = i8042_add(&c->i8042, ports, e);
	if (r == 0)
		r = bus_add(ports, PM_BASE, PM_BYTES, &c->pm.dev, e);
	if (r == 0 && c->has_pvpanic)
		r = bus_add(ports, PVPANIC_PORT, PVPANIC_PORTS, &c->pvpanic.dev, e);
	if (r == 0 && c->has_debug_exit)
		r = bus_add(ports, DEBUG_EXIT_PORT, DEBUG_EXIT_PORTS, &c->debug_exit.dev, e);
	if (r == 0)
		r = null_port_add(ports, e);
	return r;
}
