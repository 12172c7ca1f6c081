/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * chip_fuzz.c - all chips on a port bus, driven by a script
 *
 * Each step is a byte that says what to do, and what that needs: the guest reads or writes a port,
 * the host takes output or gives input, sends a break, presses the power button, time passes.
 */
#include "chip/chips.h"

#include <assert.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

enum {
	FILL_MAX = UART_OUTPUT_MAX + 512, /* bytes a run: they are what takes time, so */
	FILL_BYTE = 'f',		  /* only this one fills more than */
	FILL_LITTLE = 64,
};

struct script {
	const uint8_t *at;
	size_t left;
	unsigned filled;
};

static uint64_t number(struct script *s, unsigned bytes)
{
	uint64_t value = 0;

	if (bytes > s->left)
		bytes = (unsigned)s->left;
	memcpy(&value, s->at, bytes);
	s->at += bytes;
	s->left -= bytes;
	return value;
}

static bool level[16];

static int level_set(struct host *h, unsigned gsi, bool on)
{
	(void)h;
	assert(gsi < ARRAY_LEN(level) && level[gsi] != on);
	level[gsi] = on;
	return 0;
}

static void nothing(void *context)
{
	(void)context;
}

static void no_panic(void *context, enum chip_panic kind)
{
	(void)context, (void)kind;
}

static void no_exit(void *context, unsigned value)
{
	(void)context, (void)value;
}

static struct timespec realtime;
static uint64_t monotonic;

static void realtime_get(struct timespec *ret)
{
	*ret = realtime;
}

static uint64_t monotonic_get(void)
{
	return monotonic;
}

static bool room_promised[CHIPS_UARTS];

static void uart_event(void *context, enum uart_event event)
{
	bool *promised = context;

	if (event == UART_ROOM)
		*promised = false;
}

/* Ports with something behind them, and some of their neighbours. */
static unsigned port_of(uint8_t n)
{
	static const uint16_t bases[] = {0x3f8, 0x2f8, 0x3e8, 0x2e8, 0x70, 0x60, 0x600, 0x608,
					 0xcf8, 0x505, 0xf0,  0x92,  0x80, 0xed, 0x90,  0x3f0};

	return bases[n >> 4] + (n & 15);
}

static void give(struct chips *c, struct script *s)
{
	unsigned i = (unsigned)number(s, 1) % CHIPS_UARTS;
	size_t n = (size_t)number(s, 2), taken;
	static uint8_t buf[65536];

	taken = uart8250_give(&c->uarts[i], buf, n);
	assert(taken <= n && taken <= UART_INPUT_MAX + UART_FIFO);
	room_promised[i] = taken < n && i < CHIPS_UARTS - 1; /* the last tells nobody */
}

static void take(struct chips *c, struct script *s)
{
	unsigned i = (unsigned)number(s, 1) % CHIPS_UARTS;
	size_t n = (size_t)number(s, 2);
	static uint8_t buf[65536];

	assert(uart8250_take(&c->uarts[i], buf, n) <= n);
}

static void port_write(struct bus *ports, struct script *s, unsigned size)
{
	unsigned port = port_of((uint8_t)number(s, 1));
	uint64_t value = number(s, size);

	bus_write(ports, port, &value, size);
}

/* The same byte again and again, as a guest fills a buffer. */
static void port_fill(struct bus *ports, struct script *s)
{
	unsigned port = port_of((uint8_t)number(s, 1)), times = 66 * (unsigned)number(s, 1);
	uint8_t value = (uint8_t)number(s, 1);

	if (value != FILL_BYTE && times > FILL_LITTLE)
		times = FILL_LITTLE;
	for (; times > 0 && s->filled < FILL_MAX; times--, s->filled++)
		bus_write(ports, port, &value, 1);
}

static void step(struct chips *c, struct bus *ports, struct script *s)
{
	uint8_t what = (uint8_t)number(s, 1);
	uint64_t value;

	switch (what & 7) {
	case 0:
	case 1:
		port_write(ports, s, 1 + (what >> 3) % 8);
		break;
	case 2:
	case 3:
		bus_read(ports, port_of((uint8_t)number(s, 1)), &value, 1 + (what >> 3) % 8);
		break;
	case 4:
		give(c, s);
		break;
	case 5:
		take(c, s);
		break;
	case 6:
		realtime.tv_sec += (int32_t)number(s, 4);
		realtime.tv_nsec = (long)(number(s, 4) % 1000000000);
		monotonic += number(s, 8);
		break;
	case 7:
		if (what & 8)
			port_fill(ports, s);
		else if (what & 16)
			(void)!pm_power_button(&c->pm);
		else
			uart8250_break(&c->uarts[(what >> 5) % CHIPS_UARTS]);
		break;
	}
}

static void check(const struct chips *c)
{
	bool sources[2] = {false, false};

	for (unsigned i = 0; i < CHIPS_UARTS; i++) {
		const struct uart8250 *u = &c->uarts[i];

		assert(u->output_count <= UART_OUTPUT_MAX && u->output_at < UART_OUTPUT_MAX);
		assert(u->input_count <= UART_INPUT_MAX && u->input_at < UART_INPUT_MAX);
		assert(u->fifo_count <= UART_FIFO && u->fifo_at < UART_FIFO);
		assert(!room_promised[i] || u->input_refused);
		sources[i & 1] |= u->line_level;
	}
	assert(level[4] == sources[0] && level[3] == sources[1]);
	assert(c->rtc.index < RTC_BYTES);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	static const struct host_ops ops = {.line_set = level_set};
	static const struct chip_events events = {NULL, nothing, nothing, no_panic, no_exit};
	static struct host host = {&ops};
	static struct chips c;
	static struct bus ports;
	struct script s = {data, n, 0};
	struct err e;
	int r;

	memset(level, 0, sizeof(level));
	memset(room_promised, 0, sizeof(room_promised));
	realtime = (struct timespec){1500000000, 0};
	bus_init(&ports);
	chips_init(&c, &host, &events);
	c.has_debug_exit = true;
	c.rtc.now = realtime_get;
	c.pm.clock = monotonic_get;
	r = chips_add(&c, &ports, &e);
	assert(r == 0);
	r = bus_add(&ports, PM_RESET, 1, &c.pm.reset_control, &e);
	assert(r == 0);
	(void)r;
	for (unsigned i = 0; i < CHIPS_UARTS - 1; i++) /* the last has no host */
		uart8250_connect(&c.uarts[i], uart_event, &room_promised[i]);
	while (s.left > 0) {
		step(&c, &ports, &s);
		check(&c);
	}
	chips_fini(&c);
	bus_fini(&ports);
	return 0;
}
