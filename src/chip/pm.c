/* SPDX-License-Identifier: BSD-3-Clause */
/* pm.c - fixed ACPI hardware: power button, sleep, timer; reset register (ACPI 6.4, section 4.8) */
#include "chip/pm.h"

#include "base/loop.h"
#include "chip/bytes.h"

enum {
	POWER_BUTTON = 1 << 8, /* in status and enable */
	/* Timer, global lock, buttons, clock: nothing but the button happens, but kernels look
	 * whether the bits stay set. */
	ENABLE_KEPT = 0x721,
	SCI_ENABLED = 1 << 0,
	SLEEP_TYPE_SHIFT = 10,
	SLEEP_TYPE_MASK = 7,
	SLEEP_ENABLE = 1 << 13,
	CONTROL_KEPT = SLEEP_TYPE_MASK << SLEEP_TYPE_SHIFT,
	RESET_CPU = 0x04, /* resets when it goes from 0 to 1 */
	RESET_KEPT = 0x0e,
};

static const uint64_t second_ns = 1000000000;

static uint32_t timer_value(const struct pm *p)
{
	uint64_t ns = p->clock();

	return (uint32_t)(ns / second_ns * PM_TIMER_HZ + ns % second_ns * PM_TIMER_HZ / second_ns);
}

static void sci_update(struct pm *p)
{
	if (p->sci)
		line_set(p->sci, 0, p->status & p->enable);
}

static void byte_set(uint16_t *word, unsigned offset, uint8_t value)
{
	unsigned shift = 8 * (offset & 1);

	*word = (uint16_t)((*word & ~(0xffu << shift)) | (unsigned)value << shift);
}

/* Bits written as 1 are cleared. */
static void status_write(struct pm *p, unsigned offset, uint8_t value)
{
	p->status &= (uint16_t) ~((unsigned)value << (8 * (offset & 1)));
}

/* True when the write asks to power off. */
static bool control_write(struct pm *p, unsigned offset, uint8_t value)
{
	uint16_t control = p->control;
	bool sleeps;

	byte_set(&control, offset, value);
	sleeps = control & SLEEP_ENABLE;
	p->control = control & CONTROL_KEPT;
	return sleeps && (control >> SLEEP_TYPE_SHIFT & SLEEP_TYPE_MASK) == PM_SLEEP_S5;
}

static uint8_t byte_of(uint32_t value, unsigned offset)
{
	return (uint8_t)(value >> (8 * offset));
}

static uint8_t port_read(struct bus_dev *d, unsigned offset)
{
	struct pm *p = container_of(d, struct pm, dev);
	uint8_t value = 0;

	pthread_mutex_lock(&p->lock);
	if (offset < 2)
		value = byte_of(p->status, offset);
	else if (offset < 4)
		value = byte_of(p->enable, offset - 2);
	else if (offset < 6)
		value = byte_of(p->control | SCI_ENABLED, offset - 4);
	else if (offset >= PM_TIMER - PM_BASE)
		value = byte_of(timer_value(p), offset - (PM_TIMER - PM_BASE));
	pthread_mutex_unlock(&p->lock);
	return value;
}

static void port_write(struct bus_dev *d, unsigned offset, uint8_t value)
{
	struct pm *p = container_of(d, struct pm, dev);
	bool powers_off = false;

	pthread_mutex_lock(&p->lock);
	if (offset < 2)
		status_write(p, offset, value);
	else if (offset < 4)
		byte_set(&p->enable, offset, value);
	else if (offset < 6)
		powers_off = control_write(p, offset, value);
	p->enable &= ENABLE_KEPT;
	sci_update(p);
	pthread_mutex_unlock(&p->lock);
	if (powers_off)
		p->events->poweroff(p->events->context);
}

static uint64_t pm_read(struct bus_dev *d, uint64_t offset, unsigned size)
{
	struct pm *p = container_of(d, struct pm, dev);

	/* The timer runs on between the bytes of one access. */
	if (offset == PM_TIMER - PM_BASE && size == 4)
		return timer_value(p);
	return bytes_read(d, offset, size, port_read);
}

static void pm_write(struct bus_dev *d, uint64_t offset, unsigned size, uint64_t value)
{
	bytes_write(d, offset, size, value, port_write);
}

static uint64_t reset_read(struct bus_dev *d, uint64_t offset, unsigned size)
{
	struct pm *p = container_of(d, struct pm, reset_control);
	uint8_t value;

	(void)offset, (void)size;
	pthread_mutex_lock(&p->lock);
	value = p->reset_value;
	pthread_mutex_unlock(&p->lock);
	return value;
}

static void reset_write(struct bus_dev *d, uint64_t offset, unsigned size, uint64_t value)
{
	struct pm *p = container_of(d, struct pm, reset_control);
	bool resets;

	(void)offset, (void)size;
	pthread_mutex_lock(&p->lock);
	resets = value & ~p->reset_value & RESET_CPU;
	p->reset_value = value & RESET_KEPT;
	pthread_mutex_unlock(&p->lock);
	if (resets)
		p->events->reset(p->events->context);
}

void pm_init(struct pm *p, const struct chip_events *events, struct line *sci)
{
	*p = (struct pm){
		.dev = {"power management", pm_read, pm_write},
		.reset_control = {"reset control", reset_read, reset_write},
		.events = events,
		.clock = clock_ns,
		.sci = sci,
	};
	pthread_mutex_init(&p->lock, NULL);
}

void pm_fini(struct pm *p)
{
	if (p)
		pthread_mutex_destroy(&p->lock);
}

bool pm_power_button(struct pm *p)
{
	bool is_enabled;

	pthread_mutex_lock(&p->lock);
	is_enabled = p->enable & POWER_BUTTON;
	if (is_enabled)
		p->status |= POWER_BUTTON;
	sci_update(p);
	pthread_mutex_unlock(&p->lock);
	return is_enabled;
}
