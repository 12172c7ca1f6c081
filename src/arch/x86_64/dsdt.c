/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * dsdt.c - the devices that a kernel can't find by itself
 *
 * Everything is a constant: there are no methods to run.  There is no keyboard controller here (the
 * FADT says so, too), which keeps kernels from waiting for one; its reset port works all the same.
 */
#include "arch/x86_64/dsdt.h"

#include "arch/x86_64/aml_resource.h"
#include "arch/x86_64/layout.h"
#include "chip/pm.h"
#include "chip/pvpanic.h"
#include "chip/rtc_cmos.h"

#include <stdio.h>

enum {
	PINS = 4,
	SERIAL_PORTS_BYTES = 8,
	CONFIG_PORT = 0xCF8,
	CONFIG_PORTS = 8,
	STA_ALL = 0xF, /* present, enabled, shown, working */
};

/* Which interrupt each pin of each slot is wired to; no link devices in between. */
static void routing_table(struct aml *a, const struct pci_layout *pci)
{
	const size_t table = aml_name_package(a, "_PRT", PCI_SLOTS * PINS);

	for (unsigned slot = 0; slot < PCI_SLOTS; slot++)
		for (unsigned pin = 0; pin < PINS; pin++) {
			const size_t entry = aml_package(a, 4);

			aml_integer(a, slot << 16 | 0xFFFF); /* any function */
			aml_integer(a, pin);
			aml_integer(a, 0);
			aml_integer(a, pci->intx_gsi[(slot + pin) % PCI_INTX_LINES]);
			aml_end(a, entry);
		}
	aml_end(a, table);
}

static void pci_root(struct aml *a, const struct pci_layout *pci)
{
	const size_t device = aml_device(a, "PCI0");
	struct aml_resources r = {0};

	aml_name_eisaid(a, "_HID", "PNP0A08");
	aml_name_eisaid(a, "_CID", "PNP0A03");
	aml_name_integer(a, "_UID", 0);
	aml_name_integer(a, "_SEG", 0);
	aml_name_integer(a, "_BBN", 0);
	aml_resource_buses(&r, 0, 0);
	aml_resource_io(&r, CONFIG_PORT, CONFIG_PORTS);
	aml_resource_window32(&r, (uint32_t)pci->mem32_base, (uint32_t)pci->mem32_size);
	aml_resource_window64(&r, pci->mem64_base, pci->mem64_size);
	aml_name_resources(a, &r);
	routing_table(a, pci);
	aml_end(a, device);
}

/* Linux uses ECAM only when a device says that the addresses are taken. */
static void motherboard(struct aml *a, const struct pci_layout *pci)
{
	const size_t device = aml_device(a, "MBRD");
	struct aml_resources r = {0};

	aml_name_eisaid(a, "_HID", "PNP0C02");
	aml_name_integer(a, "_UID", 0);
	aml_resource_memory32(&r, (uint32_t)pci->ecam_base, LAYOUT_ECAM_BYTES);
	aml_name_resources(a, &r);
	aml_end(a, device);
}

static void serial(struct aml *a, unsigned n)
{
	const char name[] = {'C', 'O', 'M', (char)('1' + n), '\0'};
	const size_t device = aml_device(a, name);
	struct aml_resources r = {0};
	bool on_ports;

	aml_name_eisaid(a, "_HID", "PNP0501");
	aml_name_integer(a, "_UID", n + 1);
	aml_resource_io(&r, (uint16_t)arch_serial_base(n, &on_ports), SERIAL_PORTS_BYTES);
	aml_resource_isa_irq(&r, arch_serial_gsi(n), true);
	aml_name_resources(a, &r);
	aml_end(a, device);
}

static void clock_device(struct aml *a)
{
	const size_t device = aml_device(a, "RTC_");
	struct aml_resources r = {0};

	aml_name_eisaid(a, "_HID", "PNP0B00");
	aml_resource_io(&r, RTC_PORT, RTC_PORTS);
	aml_name_resources(a, &r);
	aml_end(a, device);
}

static void panic_port(struct aml *a)
{
	const size_t device = aml_device(a, "PEVT");
	struct aml_resources r = {0};

	aml_name_string(a, "_HID", "QEMU0001"); /* the id that Linux's driver knows */
	aml_name_integer(a, "_STA", STA_ALL);
	aml_resource_io(&r, PVPANIC_PORT, PVPANIC_PORTS);
	aml_name_resources(a, &r);
	aml_end(a, device);
}

static void mmio_device(struct aml *a, unsigned n, const struct arch_mmio_device *d)
{
	struct aml_resources r = {0};
	char name[8];
	size_t device;

	snprintf(name, sizeof(name), "VR%02X", n & 0xFF);
	device = aml_device(a, name);
	aml_name_string(a, "_HID", "LNRO0005");
	aml_name_integer(a, "_UID", n);
	aml_name_integer(a, "_CCA", 1);
	aml_resource_memory32(&r, (uint32_t)d->base, LAYOUT_MMIO_DEVICE_BYTES);
	aml_resource_gsi(&r, d->gsi);
	aml_name_resources(a, &r);
	aml_end(a, device);
}

static void sleep_state(struct aml *a)
{
	const size_t package = aml_name_package(a, "_S5_", 4);

	aml_integer(a, PM_SLEEP_S5);
	for (unsigned i = 1; i < 4; i++)
		aml_integer(a, 0);
	aml_end(a, package);
}

void dsdt_body(struct aml *a, const struct arch_platform *p)
{
	size_t scope;

	sleep_state(a);
	scope = aml_scope(a, "_SB_");
	if (p->has_pci) {
		pci_root(a, &p->pci);
		motherboard(a, &p->pci);
	}
	for (unsigned i = 0; i < ARCH_SERIAL_PORTS; i++)
		if (p->serial_present[i])
			serial(a, i);
	clock_device(a);
	if (p->has_pvpanic)
		panic_port(a);
	for (unsigned i = 0; i < p->nmmio_devices; i++)
		mmio_device(a, i, &p->mmio_devices[i]);
	aml_end(a, scope);
}
