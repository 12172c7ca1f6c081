/* SPDX-License-Identifier: BSD-3-Clause */
/* debug_exit.c - a port that ends the virtual machine with an exit code, for test guests */
#include "chip/debug_exit.h"

static uint64_t exit_read(struct bus_dev *d, uint64_t offset, unsigned size)
{
	(void)d, (void)offset, (void)size;
	return 0;
}

static void exit_write(struct bus_dev *d, uint64_t offset, unsigned size, uint64_t value)
{
	struct debug_exit *x = container_of(d, struct debug_exit, dev);

	(void)size;
	if (offset == 0)
		x->events->debug_exit(x->events->context, (unsigned)value);
}

void debug_exit_init(struct debug_exit *x, const struct chip_events *events)
{
	*x = (struct debug_exit){
		.dev = {"debug exit", exit_read, exit_write},
		.events = events,
	};
}
