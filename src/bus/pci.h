/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * pci.h - host bridge, configuration space, BARs (PCI Local Bus 3.0, PCI Express 4.0 section 7.2.2)
 *
 * One root bus.  The guest reaches configuration space through ports 0xCF8/0xCFC and through ECAM.
 * Devices get a slot each as long as there are free ones; from the 32nd on they become further
 * functions of the slots, from slot 1 up, so that 248 fit.  BARs are placed before the guest
 * starts, so that a kernel without ACPI finds them, and follow when it moves them.
 *
 * bus->lock guards all configuration spaces, where BARs are mapped, and the interrupt lines.
 * Handlers of BARs and the config_* functions are called without it, bar_mapped with it.  So an
 * owner may call pci_config_get() and pci_intx_set() under a lock of its own, but may not take that
 * lock in bar_mapped.
 */
#pragma once

#include "base/attr.h"
#include "base/err.h"
#include "bus/bus.h"
#include "bus/host.h"

#include <stdbool.h>
#include <stdint.h>

enum {
	PCI_CONFIG_BYTES = 256, /* conventional space; the rest of ECAM's 4 KiB reads as zero */
	PCI_BARS = 6,
	PCI_SLOTS = 32,
	PCI_FUNCTIONS = 8,
	PCI_INTX_LINES = 4,
};

struct pci_dev;

struct pci_ops {
	/* An access inside BAR n; offsets are from its start, sizes 1, 2, 4, 8. */
	uint64_t (*bar_read)(struct pci_dev *d, unsigned bar, uint64_t offset, unsigned size);
	void (*bar_write)(struct pci_dev *d, unsigned bar, uint64_t offset, unsigned size,
			  uint64_t value);

	/*
	 * Optional.  The BAR became visible at that address (mapped) or vanished from it; doorbells
	 * follow.  Called with bus->lock held, also from pci_add().
	 */
	void (*bar_mapped)(struct pci_dev *d, unsigned bar, uint64_t address, bool mapped);

	/* Optional.  Before a read of [at, at + size) of the configuration space is answered. */
	void (*config_read)(struct pci_dev *d, unsigned at, unsigned size);

	/* Optional.  After the bits of [at, at + size) that are writable were written. */
	void (*config_written)(struct pci_dev *d, unsigned at, unsigned size);
};

struct pci_bar {
	uint64_t size; /* power of two, at least 4096; 0: no such BAR */
	bool is_64bit, is_prefetchable;
	bool is_mapped;
	uint64_t address; /* where it is mapped */
	struct bus_dev window;
	struct pci_dev *dev;
	unsigned index;
};

struct pci_bus;

/* A function, embedded in its owner.  config and writable are set up before pci_add(). */
struct pci_dev {
	const char *name;
	const struct pci_ops *ops;
	struct pci_bus *bus;
	unsigned slot, function;
	unsigned line;     /* which of the four its INTx pin is wired to */
	unsigned gsi;      /* of that line */
	bool intx_wanted;  /* what pci_intx_set() said */
	bool intx_blocked; /* by bit 10 of the command register */
	uint8_t config[PCI_CONFIG_BYTES];
	uint8_t writable[PCI_CONFIG_BYTES]; /* bits that the guest may write */
	struct pci_bar bars[PCI_BARS];
	unsigned capabilities_end; /* where the next capability goes */
	uint8_t last_capability;
};

/* Where the guest finds things: chosen by the architecture. */
struct pci_layout {
	uint64_t ecam_base;              /* 1 MiB, for bus 0 */
	uint64_t mem32_base, mem32_size; /* windows for BARs; size 0: there is none */
	uint64_t mem64_base, mem64_size;
	unsigned intx_gsi[PCI_INTX_LINES]; /* of line (slot + pin - 1) % 4, pin 1 being INTA */
};

/* The free part of a window: [next, end), or nothing. */
struct pci_window {
	uint64_t next, left;
};

struct pci_bus {
	pthread_mutex_t lock; /* guards what the functions hold, and all that changes below */
	struct pci_layout layout;
	struct bus *mmio;
	struct host *host;
	struct pci_dev *functions[PCI_SLOTS][PCI_FUNCTIONS];
	struct pci_dev bridge;
	uint32_t config_address; /* port 0xCF8 */
	struct bus_dev address_port, data_port, ecam;
	unsigned functions_per_slot; /* set before pci_add(); 0: 1, for up to 31 functions */
	struct bus_dev *reset_control; /* byte accesses at 0xCF9, or NULL; set before vCPUs run */
	struct pci_window mem32, mem64;
	unsigned asserted[PCI_INTX_LINES]; /* how many functions hold the line up */
};

/*
 * Puts the host bridge at 00:00.0 and both configuration mechanisms on the buses (ports may be
 * NULL, as may host while no function uses INTx).
 */
int pci_bus_init(struct pci_bus *b, const struct pci_layout *layout, struct bus *ports,
		 struct bus *mmio, struct host *host, struct err *e) MUST_CHECK;
void pci_bus_fini(struct pci_bus *b);

/* Fills the header's identity; revision 0, subsystem as given, no capabilities, no BARs. */
void pci_dev_init(struct pci_dev *d, const char *name, const struct pci_ops *ops, uint16_t vendor,
		  uint16_t device, uint32_t class_code, uint16_t subsystem_vendor,
		  uint16_t subsystem);

/* Declares a memory BAR; a 64-bit one takes index and index + 1. */
void pci_dev_bar(struct pci_dev *d, unsigned index, uint64_t size, bool is_64bit,
		 bool is_prefetchable);

/* Appends a capability of n bytes (id and next included, next is filled in); returns its offset. */
unsigned pci_dev_capability(struct pci_dev *d, const void *capability, unsigned n);

/*
 * Plugs the function into the next free place, gives it an interrupt line and addresses for its
 * BARs (memory decoding on).  -ENOSPC when the bus or a window is full.
 */
int pci_add(struct pci_bus *b, struct pci_dev *d, struct err *e) MUST_CHECK;

/* What the guest has asserted or cleared on the function's INTx pin; from any thread. */
void pci_intx_set(struct pci_dev *d, bool level);

/* The owner's own look at its configuration space, size 1, 2 or 4 and inside; takes bus->lock. */
uint32_t pci_config_get(struct pci_dev *d, unsigned at, unsigned size);
void pci_config_set(struct pci_dev *d, unsigned at, unsigned size, uint32_t value);

/* One access by the guest to register at of a function of bus 0; what both mechanisms end in. */
uint64_t pci_config_read(struct pci_bus *b, unsigned slot, unsigned function, unsigned at,
			 unsigned size);
void pci_config_write(struct pci_bus *b, unsigned slot, unsigned function, unsigned at,
		      unsigned size, uint64_t value);
