/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * rig_test.h - a front end with memory, buses and a host for a transport to stand on, for tests
 *
 *	rig_init(rig_lost);
 *	... the transport is made of f, mmio, host; for PCI rig_pci_init() does it
 *	rig_attach();
 *	... the test; then the transport's end
 *	rig_fini();
 */
#pragma once

#include "bus/fake_host.h"
#include "bus/pci.h"
#include "transport/fake_device.h"
#include "transport/virtio_pci.h"

enum {
	RIG_QUEUES = 4,
	RIG_QUEUE_SIZE = 64,
	RIG_CONFIG = 16,
	RIG_MEMORY = 1 << 20, /* bytes of guest memory from address 0 */
};

/* Where the PCI bus is; the BAR of the only device is where MEM32 begins. */
#define RIG_ECAM  0xe0000000ull
#define RIG_MEM32 0xc0000000ull

extern struct loop loop;
extern struct gmem gmem;
extern struct bus mmio;
extern struct fake_host host;
extern struct pci_bus pci;
extern struct frontend f;
extern struct fake_device device;

/* The front end "block0" calls lost() when its device is gone. */
void rig_init(void (*lost)(struct frontend *f, const char *why));
void rig_fini(void);

/* For tests in which no device may be lost. */
void rig_lost(struct frontend *frontend, const char *why);

/* As much guest memory again, there. */
void rig_memory_add(gpa base);

/* Starts device, which has all that ours have, and gives it to the front end. */
void rig_attach(void);

/* Runs what waits for the loop, without waiting for more. */
void rig_run(void);

/* A transport by PCI, and its bus. */
void rig_pci_init(struct virtio_pci *v);
void rig_pci_fini(struct virtio_pci *v);
