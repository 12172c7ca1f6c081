/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * arch.h - what an architecture provides
 *
 * Meson compiles one of the folders below.  Everything above this line of the program is the same
 * for all.  The order of calls is that of vm/build.c:
 *
 *	arch_memory_new -> arch_vm_init -> arch_chips_add -> (devices) -> arch_kernel_load
 *	-> arch_describe -> arch_vcpu_init for each vCPU
 */
#pragma once

#include "base/attr.h"
#include "base/err.h"
#include "bus/bus.h"
#include "bus/pci.h"
#include "kvm/vcpu.h"
#include "kvm/vm.h"
#include "mem/gmem.h"
#include "mem/ram.h"

#include <stdbool.h>
#include <stdint.h>

enum {
	ARCH_SERIAL_PORTS = 4,
	ARCH_MMIO_DEVICES_MAX = 64, /* virtio-mmio */
};

/* A device that has no bus to be found on: the tables name it. */
struct arch_mmio_device {
	uint64_t base; /* ARCH_MMIO_DEVICE_BYTES long */
	unsigned gsi;
};

/* What the firmware tables describe. */
struct arch_platform {
	unsigned ncpus;
	bool serial_present[ARCH_SERIAL_PORTS];
	bool has_pvpanic;
	bool has_pci;
	struct pci_layout pci;
	struct arch_mmio_device mmio_devices[ARCH_MMIO_DEVICES_MAX];
	unsigned nmmio_devices;
};

/* What to boot; the fds are borrowed. */
struct arch_kernel {
	const char *path;	 /* for messages */
	int fd;
	const char *initrd_path; /* NULL for none */
	int initrd_fd;
	const char *cmdline;	 /* complete, without the architecture's own words */
};

/* How the first vCPU starts; filled by arch_kernel_load(). */
enum arch_entry_mode { ARCH_ENTRY_LONG, ARCH_ENTRY_PROTECTED };

struct arch_entry {
	enum arch_entry_mode mode;
	uint64_t pc;
	uint64_t argument[3]; /* x86: RSI, RBX, RAX */
};

/*
 * Creates guest memory of size bytes, a multiple of the pages behind it, with all of it present on
 * both sides of the architecture's holes.
 */
int arch_memory_new(struct gmem *m, uint64_t size, const struct ram_options *o, struct err *e)
	MUST_CHECK;

/* Where PCI finds its windows beside memory of that shape. */
void arch_pci_layout(const struct gmem *m, struct pci_layout *ret);

/* Address and interrupt of the n-th virtio-mmio device, n < ARCH_MMIO_DEVICES_MAX. */
struct arch_mmio_device arch_mmio_device(unsigned n);

/* Interrupt line of serial port n (0 to 3). */
unsigned arch_serial_gsi(unsigned n);

/* Where serial port n lies; on_ports is true for port I/O. */
uint64_t arch_serial_base(unsigned n, bool *ret_on_ports);

/* Interrupt controllers, timers, identity map: what must exist before the first vCPU. */
int arch_vm_init(struct vm *vm, struct err *e) MUST_CHECK;

/*
 * Recognises and loads the kernel and initrd into memory, writes the command line (with the
 * architecture's base words in front) and boot parameters.
 */
int arch_kernel_load(const struct arch_kernel *k, struct gmem *m, struct arch_entry *ret,
		     struct err *e) MUST_CHECK;

/* Which release of Linux the file is, such as "6.1.0-9-amd64". -EINVAL when it does not say. */
int arch_kernel_release(const char *path, int fd, char *ret, size_t room, struct err *e) MUST_CHECK;

/* Writes the tables that tell the kernel about the platform (ACPI and MP table, or FDT). */
int arch_describe(const struct arch_platform *p, struct gmem *m, struct err *e) MUST_CHECK;

/* CPUID, registers and model-specific registers of vCPU index; only vCPU 0 starts at the entry. */
int arch_vcpu_init(struct vcpu *v, unsigned index, unsigned ncpus, const struct arch_entry *entry,
		   struct gmem *m, struct err *e) MUST_CHECK;

/* Words that a kernel needs on this machine, in front of the user's. */
const char *arch_cmdline_base(void);

/* Registers, control registers and the bytes at the program counter, as lines through print(). */
void arch_vcpu_dump(struct vcpu *v, const struct gmem *m, void (*print)(const char *format, ...));
