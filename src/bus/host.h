/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * host.h - what buses and transports need from a hypervisor
 *
 * Implemented by kvm/irq.c and, in tests, by fakes, so that transports and buses never see KVM.
 * All calls may come from any thread.  They return 0 or -errno.
 */
#pragma once

#include "base/attr.h"

#include <stdbool.h>
#include <stdint.h>

struct host;

struct host_ops {
	/* Sets the level of an interrupt line (global system interrupt number). */
	int (*line_set)(struct host *h, unsigned gsi, bool level);

	/* Makes a write to the eventfd pulse the line, without a thread of ours; or undoes it. */
	int (*irqfd)(struct host *h, unsigned gsi, int eventfd, bool on);

	/* Reserves a number to route an MSI through (for irqfd); -ENOSPC when none are left. */
	int (*msi_alloc)(struct host *h, unsigned *ret_gsi);
	void (*msi_free)(struct host *h, unsigned gsi);

	/* What the reserved number sends from now on. */
	int (*msi_route)(struct host *h, unsigned gsi, uint64_t address, uint32_t data);

	/* Sends one MSI at once. */
	int (*msi_send)(struct host *h, uint64_t address, uint32_t data);

	/*
	 * Makes a guest write of size bytes (0: any) at addr signal the eventfd without an exit to
	 * user space; with match, only if *match is written.  pio chooses the port space.
	 */
	int (*doorbell)(struct host *h, bool pio, uint64_t addr, unsigned size,
			const uint64_t *match, int eventfd, bool on);
};

struct host {
	const struct host_ops *ops;
};

static inline int host_line_set(struct host *h, unsigned gsi, bool level)
{
	return h->ops->line_set(h, gsi, level);
}
