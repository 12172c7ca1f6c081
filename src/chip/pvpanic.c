/* SPDX-License-Identifier: BSD-3-Clause */
/* pvpanic.c - a port by which the guest says that it panicked */
#include "chip/pvpanic.h"

enum {
	PANICKED = 1,
	CRASH_LOADED = 2,
	SHUT_DOWN = 4,
	UNDERSTOOD = PANICKED | CRASH_LOADED | SHUT_DOWN
};

static uint64_t pvpanic_read(struct bus_dev *d, uint64_t offset, unsigned size)
{
	(void)d, (void)offset, (void)size;
	return UNDERSTOOD;
}

static void pvpanic_write(struct bus_dev *d, uint64_t offset, unsigned size, uint64_t value)
{
	struct pvpanic *p = container_of(d, struct pvpanic, dev);

	(void)offset, (void)size;
	if (value & PANICKED)
		p->events->panic(p->events->context, CHIP_PANIC);
	else if (value & CRASH_LOADED)
		p->events->panic(p->events->context, CHIP_CRASH_LOADED);
	else if (value & SHUT_DOWN)
		p->events->poweroff(p->events->context);
}

void pvpanic_init(struct pvpanic *p, const struct chip_events *events)
{
	*p = (struct pvpanic){
		.dev = {"pvpanic", pvpanic_read, pvpanic_write},
		.events = events,
	};
}
