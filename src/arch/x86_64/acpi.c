/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * acpi.c - ACPI tables (ACPI 6.4, chapter 5)
 *
 *	RSDP -> XSDT -> FADT -> FACS, DSDT (dsdt.c)
 *	             -> MADT  processors and interrupt controllers
 *	             -> MCFG  configuration space in memory
 *
 * Fixed hardware (chip/pm.h) rather than the reduced kind: all kernels know its sleep and reset
 * registers, and its timer serves for calibration.
 */
#include "arch/x86_64/acpi.h"

#include "arch/x86_64/dsdt.h"
#include "arch/x86_64/layout.h"
#include "base/fd.h"
#include "base/wire.h"
#include "chip/pm.h"
#include "chip/rtc_cmos.h"

#include <assert.h>
#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

struct header {
	char signature[4];
	le32 length;
	uint8_t revision, checksum;
	char oem[6], oem_table[8];
	le32 oem_revision;
	char creator[4];
	le32 creator_revision;
};
static_assert(sizeof(struct header) == 36, "ACPI 6.4, 5.2.6");

struct rsdp {
	char signature[8];
	uint8_t checksum;
	char oem[6];
	uint8_t revision;
	le32 rsdt, length;
	le64 xsdt;
	uint8_t extended_checksum, reserved[3];
};
static_assert(sizeof(struct rsdp) == 36, "ACPI 6.4, 5.2.5.3");

/* Where a register lies: generic address structure. */
struct gas {
	uint8_t space, bits, offset, access;
	le64 address;
};

struct facs {
	char signature[4];
	le32 length, hardware_signature, waking_vector, global_lock, flags;
	le64 x_waking_vector;
	uint8_t version, reserved[31];
};
static_assert(sizeof(struct facs) == 64, "ACPI 6.4, 5.2.10");

struct fadt {
	struct header header;
	le32 facs, dsdt;
	uint8_t reserved0, profile;
	le16 sci;
	le32 smi_command;
	uint8_t acpi_enable, acpi_disable, s4bios, pstate;
	le32 pm1a_event, pm1b_event, pm1a_control, pm1b_control, pm2_control, pm_timer, gpe0, gpe1;
	uint8_t pm1_event_bytes, pm1_control_bytes, pm2_control_bytes, pm_timer_bytes;
	uint8_t gpe0_bytes, gpe1_bytes, gpe1_base, cstate;
	le16 c2_latency, c3_latency, flush_size, flush_stride;
	uint8_t duty_offset, duty_width, day_alarm, month_alarm, century;
	le16 boot_flags;
	uint8_t reserved1;
	le32 flags;
	struct gas reset;
	uint8_t reset_value;
	le16 arm_flags;
	uint8_t minor_version;
	le64 x_facs, x_dsdt;
	struct gas x_pm1a_event, x_pm1b_event, x_pm1a_control, x_pm1b_control, x_pm2_control;
	struct gas x_pm_timer, x_gpe0, x_gpe1, sleep_control, sleep_status;
	le64 hypervisor;
};
static_assert(sizeof(struct fadt) == 276, "ACPI 6.4, 5.2.9");

struct madt {
	struct header header;
	le32 lapic, flags;
};

struct madt_lapic {
	uint8_t type, length, uid, id;
	le32 flags;
};

struct madt_x2apic {
	uint8_t type, length, reserved[2];
	le32 id, flags, uid;
};

struct madt_ioapic {
	uint8_t type, length, id, reserved;
	le32 address, first_gsi;
};

struct madt_override {
	uint8_t type, length, bus, source;
	le32 gsi;
	le16 flags;
};
static_assert(sizeof(struct madt_override) == 10, "ACPI 6.4, 5.2.12.5");

struct madt_nmi {
	uint8_t type, length, uid;
	le16 flags;
	uint8_t lint;
};
static_assert(sizeof(struct madt_nmi) == 6, "ACPI 6.4, 5.2.12.7");

struct madt_x2apic_nmi {
	uint8_t type, length;
	le16 flags;
	le32 uid;
	uint8_t lint, reserved[3];
};

struct mcfg {
	struct header header;
	uint8_t reserved[8];
	le64 base;
	le16 segment;
	uint8_t first_bus, last_bus, reserved2[4];
};
static_assert(sizeof(struct mcfg) == 60, "PCI firmware 3.2, 4.1.2");

enum {
	MADT_LAPIC = 0,
	MADT_IOAPIC = 1,
	MADT_OVERRIDE = 2,
	MADT_NMI = 4,
	MADT_X2APIC = 9,
	MADT_X2APIC_NMI = 10,
	MADT_PCAT_COMPAT = 1,
	MADT_ENABLED = 1,
	MADT_LEVEL_HIGH = 0xD,
	LAPIC_IDS = 255, /* those that fit eight bits and are not broadcast */
	NMI_LINT = 1,
	TIMER_GSI = 2,
};

enum {
	FADT_WBINVD = 1 << 0,
	FADT_PROC_C1 = 1 << 2,
	FADT_NO_SLEEP_BUTTON = 1 << 5,
	FADT_NO_RTC_WAKE = 1 << 6,
	FADT_TIMER_32BIT = 1 << 8,
	FADT_RESET = 1 << 10,
	BOOT_LEGACY_DEVICES = 1 << 0, /* serial ports and clock, on ports; no keyboard controller */
	BOOT_NO_VGA = 1 << 2,
	LATENCY_NO_C2 = 101,
	LATENCY_NO_C3 = 1001,
	SPACE_IO = 1,
	FACS_ALIGN = 64,
	TABLE_ALIGN = 16,
	TABLES_MAX = 4,
};

struct area {
	struct aml out;
	uint64_t tables[TABLES_MAX]; /* what the XSDT lists */
	unsigned ntables;
	uint8_t bytes[LAYOUT_ACPI_BYTES];
};

static uint8_t sum_to_zero(const void *bytes, size_t n)
{
	const uint8_t *at = bytes;
	uint8_t sum = 0;

	while (n-- > 0)
		sum = (uint8_t)(sum + *at++);
	return (uint8_t)-sum;
}

static void align(struct area *a, size_t unit)
{
	static const uint8_t zeros[FACS_ALIGN];

	aml_bytes(&a->out, zeros, -a->out.used & (unit - 1));
}

static struct header header_of(const char *signature, uint8_t revision)
{
	struct header h = {
		.revision = revision,
		.oem_revision = le32_of(1),
		.creator_revision = le32_of(1),
	};

	memcpy(h.signature, signature, sizeof(h.signature));
	memcpy(h.oem, "CROSVM", sizeof(h.oem));
	memcpy(h.oem_table, "CROSVMPC", sizeof(h.oem_table));
	memcpy(h.creator, "CVMM", sizeof(h.creator));
	return h;
}

/* Appends the fixed part of a table, which begins with a header; returns its offset. */
static size_t table_begin(struct area *a, const void *table, size_t n)
{
	size_t at;

	align(a, TABLE_ALIGN);
	at = a->out.used;
	aml_bytes(&a->out, table, n);
	return at;
}

/* Fills in length and checksum; returns the table's address. */
static uint64_t table_end(struct area *a, size_t at)
{
	const le32 length = le32_of((uint32_t)(a->out.used - at));
	uint8_t *table = a->bytes + at;

	if (!a->out.full) {
		memcpy(table + offsetof(struct header, length), &length, sizeof(length));
		table[offsetof(struct header, checksum)] = sum_to_zero(table, a->out.used - at);
	}
	return LAYOUT_ACPI + at;
}

static void table_list(struct area *a, uint64_t address)
{
	assert(a->ntables < TABLES_MAX);
	a->tables[a->ntables++] = address;
}

static uint64_t facs_add(struct area *a)
{
	struct facs facs = {.length = le32_of(sizeof(facs)), .version = 2};

	memcpy(facs.signature, "FACS", sizeof(facs.signature));
	align(a, FACS_ALIGN);
	aml_bytes(&a->out, &facs, sizeof(facs));
	return LAYOUT_ACPI + a->out.used - sizeof(facs);
}

static uint64_t dsdt_add(struct area *a, const struct arch_platform *p)
{
	const struct header h = header_of("DSDT", 2); /* 2: integers have 64 bits */
	const size_t at = table_begin(a, &h, sizeof(h));

	dsdt_body(&a->out, p);
	return table_end(a, at);
}

static struct gas on_ports(uint16_t port, unsigned bytes)
{
	return (struct gas){
		.space = SPACE_IO,
		.bits = (uint8_t)(bytes * 8),
		.access = (uint8_t)(bytes >= 4 ? 3 : bytes), /* 1 byte, 2 word, 3 dword */
		.address = le64_of(port),
	};
}

static void fadt_add(struct area *a, uint64_t facs, uint64_t dsdt)
{
	const struct fadt fadt = {
		.header = header_of("FACP", 6),
		.facs = le32_of((uint32_t)facs),
		.dsdt = le32_of((uint32_t)dsdt),
		.sci = le16_of(PM_SCI_GSI),
		.pm1a_event = le32_of(PM_EVENT),
		.pm1a_control = le32_of(PM_CONTROL),
		.pm_timer = le32_of(PM_TIMER),
		.pm1_event_bytes = PM_EVENT_BYTES,
		.pm1_control_bytes = PM_CONTROL_BYTES,
		.pm_timer_bytes = PM_TIMER_BYTES,
		.c2_latency = le16_of(LATENCY_NO_C2),
		.c3_latency = le16_of(LATENCY_NO_C3),
		.century = RTC_CENTURY,
		.boot_flags = le16_of(BOOT_LEGACY_DEVICES | BOOT_NO_VGA),
		.flags = le32_of(FADT_WBINVD | FADT_PROC_C1 | FADT_NO_SLEEP_BUTTON |
				 FADT_NO_RTC_WAKE | FADT_TIMER_32BIT | FADT_RESET),
		.reset = on_ports(PM_RESET, 1),
		.reset_value = PM_RESET_VALUE,
		.minor_version = 4,
		.x_dsdt = le64_of(dsdt),
		.x_pm1a_event = on_ports(PM_EVENT, PM_EVENT_BYTES),
		.x_pm1a_control = on_ports(PM_CONTROL, PM_CONTROL_BYTES),
		.x_pm_timer = on_ports(PM_TIMER, PM_TIMER_BYTES),
	};

	table_list(a, table_end(a, table_begin(a, &fadt, sizeof(fadt))));
}

static void madt_cpu(struct area *a, unsigned id)
{
	const struct madt_lapic lapic = {
		.type = MADT_LAPIC,
		.length = sizeof(lapic),
		.uid = (uint8_t)id,
		.id = (uint8_t)id,
		.flags = le32_of(MADT_ENABLED),
	};
	const struct madt_x2apic x2apic = {
		.type = MADT_X2APIC,
		.length = sizeof(x2apic),
		.id = le32_of(id),
		.flags = le32_of(MADT_ENABLED),
		.uid = le32_of(id),
	};

	if (id < LAPIC_IDS)
		aml_bytes(&a->out, &lapic, sizeof(lapic));
	else
		aml_bytes(&a->out, &x2apic, sizeof(x2apic));
}

static void madt_override(struct area *a, unsigned source, unsigned gsi, uint16_t flags)
{
	const struct madt_override entry = {
		.type = MADT_OVERRIDE,
		.length = sizeof(entry),
		.source = (uint8_t)source,
		.gsi = le32_of(gsi),
		.flags = le16_of(flags),
	};

	aml_bytes(&a->out, &entry, sizeof(entry));
}

static void madt_nmi(struct area *a, unsigned ncpus)
{
	const struct madt_nmi nmi = {
		.type = MADT_NMI, .length = sizeof(nmi), .uid = 0xFF, .lint = NMI_LINT};
	const struct madt_x2apic_nmi x2apic_nmi = {
		.type = MADT_X2APIC_NMI,
		.length = sizeof(x2apic_nmi),
		.uid = le32_of(UINT32_MAX),
		.lint = NMI_LINT,
	};

	aml_bytes(&a->out, &nmi, sizeof(nmi));
	if (ncpus > LAPIC_IDS)
		aml_bytes(&a->out, &x2apic_nmi, sizeof(x2apic_nmi));
}

static void madt_add(struct area *a, unsigned ncpus)
{
	const struct madt madt = {
		.header = header_of("APIC", 5),
		.lapic = le32_of((uint32_t)LAYOUT_LAPIC),
		.flags = le32_of(MADT_PCAT_COMPAT),
	};
	const struct madt_ioapic ioapic = {
		.type = MADT_IOAPIC,
		.length = sizeof(ioapic),
		.address = le32_of((uint32_t)LAYOUT_IOAPIC),
	};
	const size_t at = table_begin(a, &madt, sizeof(madt));

	for (unsigned i = 0; i < ncpus; i++)
		madt_cpu(a, i);
	aml_bytes(&a->out, &ioapic, sizeof(ioapic));
	madt_override(a, 0, TIMER_GSI, 0);
	madt_override(a, PM_SCI_GSI, PM_SCI_GSI, MADT_LEVEL_HIGH);
	madt_nmi(a, ncpus);
	table_list(a, table_end(a, at));
}

static void mcfg_add(struct area *a, const struct pci_layout *pci)
{
	const struct mcfg mcfg = {
		.header = header_of("MCFG", 1),
		.base = le64_of(pci->ecam_base),
	};

	table_list(a, table_end(a, table_begin(a, &mcfg, sizeof(mcfg))));
}

static uint64_t xsdt_add(struct area *a)
{
	const struct header h = header_of("XSDT", 1);
	const size_t at = table_begin(a, &h, sizeof(h));

	for (unsigned i = 0; i < a->ntables; i++) {
		const le64 address = le64_of(a->tables[i]);

		aml_bytes(&a->out, &address, sizeof(address));
	}
	return table_end(a, at);
}

static struct rsdp rsdp_of(uint64_t xsdt)
{
	struct rsdp rsdp = {
		.revision = 2,
		.length = le32_of(sizeof(rsdp)),
		.xsdt = le64_of(xsdt),
	};

	memcpy(rsdp.signature, "RSD PTR ", sizeof(rsdp.signature));
	memcpy(rsdp.oem, "CROSVM", sizeof(rsdp.oem));
	rsdp.checksum = sum_to_zero(&rsdp, offsetof(struct rsdp, length));
	rsdp.extended_checksum = sum_to_zero(&rsdp, sizeof(rsdp));
	return rsdp;
}

static void tables_add(struct area *a, const struct arch_platform *p)
{
	const struct rsdp nothing = {0};
	struct rsdp rsdp;
	uint64_t facs;

	aml_bytes(&a->out, &nothing, sizeof(nothing));
	facs = facs_add(a);
	fadt_add(a, facs, dsdt_add(a, p));
	madt_add(a, p->ncpus);
	if (p->has_pci)
		mcfg_add(a, &p->pci);
	rsdp = rsdp_of(xsdt_add(a));
	memcpy(a->bytes, &rsdp, sizeof(rsdp));
}

int acpi_write(const struct arch_platform *p, struct gmem *m, struct err *e)
{
	struct area *a auto_free = calloc(1, sizeof(*a));

	if (!a)
		return err_set(e, ENOMEM, "ACPI tables");
	a->out = (struct aml){.bytes = a->bytes, .size = sizeof(a->bytes)};
	tables_add(a, p);
	if (a->out.full)
		return err_say(e, E2BIG, "ACPI tables for %u vCPUs and %u devices exceed %u KiB",
			       p->ncpus, p->nmmio_devices, LAYOUT_ACPI_BYTES >> 10);
	if (!gmem_write(m, LAYOUT_ACPI, a->bytes, a->out.used))
		return err_say(e, ENOMEM, "no memory for ACPI tables at 0x%x", LAYOUT_ACPI);
	return 0;
}
