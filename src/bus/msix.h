/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * msix.h - message-signalled interrupts of one function (PCI Local Bus 3.0, section 6.8.2)
 *
 * Table and pending bits lie in one of the function's BARs; the owner hands accesses on.  A vector
 * is open while MSI-X is on and neither it nor the function is masked.  The owner asks for a route
 * (a number that an eventfd can be bound to, see host.h) for each vector that it uses, and learns
 * through changed() when the vector opens and closes.
 *
 * Accesses that the specification leaves undefined do this: reads of any size and alignment give
 * the bytes that are there, writes other than aligned 4 or 8 bytes are dropped, places behind the
 * table read as zero.
 *
 * Nothing here locks: all calls come under a lock of the owner's.
 */
#pragma once

#include "base/attr.h"
#include "bus/host.h"
#include "bus/pci.h"

#include <stdbool.h>
#include <stdint.h>

enum {
	MSIX_VECTORS_MAX = 64,
	MSIX_ENTRY_BYTES = 16,
};

struct msix;

struct msix_ops {
	/* Optional.  Before pending bits are read: raise what has been signalled meanwhile. */
	void (*poll)(struct msix *m);

	/* Optional.  The vector opened or closed, or has no working route any more. */
	void (*changed)(struct msix *m, unsigned vector);
};

struct msix_vector {
	uint64_t address;
	uint32_t data;
	bool masked, pending;
	bool open;		/* as last told to changed() */
	bool has_gsi;		/* a route was asked for and given */
	bool routed;		/* what follows is what the hypervisor has */
	unsigned gsi;
	uint64_t routed_address;
	uint32_t routed_data;
};

struct msix {
	const struct msix_ops *ops;
	struct pci_dev *dev;
	struct host *host;
	unsigned capability; /* where it is in the configuration space */
	unsigned nvectors;
	bool enabled, function_masked;
	struct msix_vector vectors[MSIX_VECTORS_MAX];
};

/* Adds the capability; the table is at table of the BAR, the pending bits at pba. */
void msix_init(struct msix *m, const struct msix_ops *ops, struct pci_dev *dev, struct host *host,
	       unsigned nvectors, unsigned bar, uint32_t table, uint32_t pba);

/* Gives the routes back. */
void msix_fini(struct msix *m);

/* The guest's accesses; offsets from the start of the table or the pending bits. */
uint64_t msix_table_read(const struct msix *m, uint64_t offset, unsigned size);
void msix_table_write(struct msix *m, uint64_t offset, unsigned size, uint64_t value);
uint64_t msix_pba_read(struct msix *m, uint64_t offset, unsigned size);

/* To be called from config_written. */
void msix_config_written(struct msix *m);

/* Reserves a route for the vector; without one (none left) msix_raise() still works. */
void msix_use(struct msix *m, unsigned vector);

/* Whether an eventfd bound to the vector's gsi reaches the guest now. */
bool msix_is_direct(const struct msix *m, unsigned vector);

/* Sends the vector's message, or leaves it pending.  Vectors out of range are dropped. */
void msix_raise(struct msix *m, unsigned vector);

/* Forgets pending bits, for a device's reset. */
void msix_clear(struct msix *m);
