/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * layout.h - where things lie in the guest's physical address space
 *
 *	0x00000500  GDT                                 \
 *	0x00005000  seed for the guest's random numbers  | ordinary memory to the kernel: used up
 *	0x00006000  PVH or multiboot information         | before it hands out pages
 *	0x00007000  zero page (struct boot_params)       |
 *	0x00009000  page tables                          |
 *	0x00020000  command line                        /
 *	0x0009FC00  where PCs have the extended BIOS data area: reserved
 *	0x000E0000  ACPI tables: reserved
 *	0x000F0000  MP table: reserved
 *	0x00100000  kernel and initrd
 *	0xD0000000  hole: 32-bit PCI window, virtio-mmio, ECAM, I/O APIC, local APIC, KVM's pages
 *	4 GiB       the rest of memory, then the 64-bit PCI window
 *
 * ACPI and MP tables lie where a kernel that was told nothing looks for them, too.
 */
#pragma once

#include <stdint.h>

enum {
	LAYOUT_GDT = 0x500,
	LAYOUT_STACK_TOP = 0x5000, /* for kernels that push before they have a stack of their own */
	LAYOUT_SETUP_DATA = 0x5000,
	LAYOUT_START_INFO = 0x6000,
	LAYOUT_ZERO_PAGE = 0x7000,
	LAYOUT_PML4 = 0x9000,
	LAYOUT_PDPT = 0xA000,
	LAYOUT_PD = 0xB000, /* four pages, one a GiB */
	LAYOUT_CMDLINE = 0x20000,
	LAYOUT_EBDA = 0x9FC00,
	LAYOUT_CMDLINE_BYTES = LAYOUT_EBDA - LAYOUT_CMDLINE,
	LAYOUT_VIDEO = 0xA0000, /* not described as memory up to LAYOUT_ACPI */
	LAYOUT_ACPI = 0xE0000,
	LAYOUT_ACPI_BYTES = 0x10000,
	LAYOUT_MPTABLE = 0xF0000,
	LAYOUT_MPTABLE_BYTES = 0x10000,
	LAYOUT_HIGH = 0x100000, /* kernels go no lower */

	/* Images linked at 0, such as Linux's boot/compressed/vmlinux, are moved up by this much.
	 */
	LAYOUT_LINKED_AT_0 = 0x200000,

	LAYOUT_MEMORY_MIN = 0x400000, /* below that nothing boots */
	LAYOUT_MMIO_DEVICE_BYTES = 0x1000,
	LAYOUT_ECAM_BYTES = 0x100000, /* bus 0 */
};

/* The hole starts where that of 2018 did, so that the same sizes give the same low memory. */
#define LAYOUT_HOLE         UINT64_C(0xD0000000)
#define LAYOUT_PCI32        UINT64_C(0xD0000000)
#define LAYOUT_PCI32_BYTES  UINT64_C(0x10000000)
#define LAYOUT_MMIO_DEVICES UINT64_C(0xE0000000)
#define LAYOUT_ECAM         UINT64_C(0xE8000000)
#define LAYOUT_IOAPIC       UINT64_C(0xFEC00000)
#define LAYOUT_LAPIC        UINT64_C(0xFEE00000)

/* Pages that KVM uses itself on processors that cannot run real mode in a guest. */
#define LAYOUT_KVM_IDENTITY_MAP UINT64_C(0xFFFBC000)
#define LAYOUT_KVM_TSS          UINT64_C(0xFFFBD000)
#define LAYOUT_KVM_END          UINT64_C(0xFFFC0000)

#define LAYOUT_4G               UINT64_C(0x100000000)

/* The 64-bit window stays below AMD's HyperTransport range at 1012 GiB if it can. */
#define LAYOUT_PCI64_UNIT  UINT64_C(0x40000000)
#define LAYOUT_PCI64_BYTES UINT64_C(0x8000000000)
