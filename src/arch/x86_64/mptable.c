/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * mptable.c - MP table (Intel MultiProcessor Specification 1.4, chapter 4)
 *
 * The floating pointer lies at the start of the area that kernels search, the table behind it.  ISA
 * interrupts go to the I/O APIC's pin of the same number, but for the timer, which goes to pin 2 as
 * on every PC; PCI interrupts as arch_platform says.  APIC ids have eight bits here, 255 is
 * broadcast, so more processors than 255 need ACPI.
 */
#include "arch/x86_64/mptable.h"

#include "arch/x86_64/layout.h"
#include "base/fd.h"
#include "base/num.h"
#include "base/wire.h"
#include "chip/pm.h"

#include <assert.h>
#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

enum {
	SPEC_1_4 = 4,
	APIC_VERSION = 0x14,
	CPUS_MAX = 255,
	BUS_PCI = 0,
	BUS_ISA = 1,
	ISA_IRQS = 16,
	ISA_CASCADE = 2,
	TIMER_PIN = 2,
	PINS = 4, /* of a PCI slot */
	ALL_APICS = 0xFF,
	PROCESSOR_SIGNATURE = 0x600,
	PROCESSOR_FEATURES = 0x201, /* FPU, local APIC */
};

enum { ENTRY_PROCESSOR, ENTRY_BUS, ENTRY_IOAPIC, ENTRY_INTERRUPT, ENTRY_LOCAL_INTERRUPT };

enum { INTERRUPT_NORMAL, INTERRUPT_NMI, INTERRUPT_SMI, INTERRUPT_EXTINT };

enum { FLAGS_BUS = 0, FLAGS_HIGH_LEVEL = 0xD, FLAGS_LOW_LEVEL = 0xF };

struct mp_floating {
	char signature[4];
	le32 table;
	uint8_t length; /* in units of 16 bytes */
	uint8_t revision, checksum, features[5];
};
static_assert(sizeof(struct mp_floating) == 16, "MP 1.4, 4.1");

struct mp_header {
	char signature[4];
	le16 length;
	uint8_t revision, checksum;
	char oem[8], product[12];
	le32 oem_table;
	le16 oem_bytes, entries;
	le32 lapic;
	le16 extended_bytes;
	uint8_t extended_checksum, reserved;
};
static_assert(sizeof(struct mp_header) == 44, "MP 1.4, 4.2");

struct mp_processor {
	uint8_t type, id, version, flags;
	le32 signature, features, reserved[2];
};
static_assert(sizeof(struct mp_processor) == 20, "MP 1.4, 4.3.1");

struct mp_bus {
	uint8_t type, id;
	char name[6];
};

struct mp_ioapic {
	uint8_t type, id, version, flags;
	le32 address;
};

struct mp_interrupt {
	uint8_t type, kind;
	le16 flags;
	uint8_t bus, source, apic, pin;
};
static_assert(sizeof(struct mp_interrupt) == 8, "MP 1.4, 4.3.4");

struct table {
	size_t used, entries;
	uint8_t bytes[LAYOUT_MPTABLE_BYTES - sizeof(struct mp_floating)];
};

static uint8_t checksum(const void *bytes, size_t n)
{
	const uint8_t *at = bytes;
	uint8_t sum = 0;

	while (n-- > 0)
		sum = (uint8_t)(sum + *at++);
	return (uint8_t)-sum;
}

/* The area holds 255 processors and a full PCI bus with room to spare. */
static void add(struct table *t, const void *entry, size_t n)
{
	assert(n <= sizeof(t->bytes) - t->used);
	memcpy(t->bytes + t->used, entry, n);
	t->used += n;
	t->entries++;
}

static void processors_add(struct table *t, unsigned ncpus)
{
	for (unsigned i = 0; i < ncpus; i++) {
		const struct mp_processor entry = {
			.type = ENTRY_PROCESSOR,
			.id = (uint8_t)i,
			.version = APIC_VERSION,
			.flags = i == 0 ? 3 : 1, /* usable, and the first one boots */
			.signature = le32_of(PROCESSOR_SIGNATURE),
			.features = le32_of(PROCESSOR_FEATURES),
		};

		add(t, &entry, sizeof(entry));
	}
}

static void buses_add(struct table *t)
{
	const struct mp_bus pci = {.type = ENTRY_BUS, .id = BUS_PCI, .name = "PCI   "};
	const struct mp_bus isa = {.type = ENTRY_BUS, .id = BUS_ISA, .name = "ISA   "};

	add(t, &pci, sizeof(pci));
	add(t, &isa, sizeof(isa));
}

static void ioapic_add(struct table *t, uint8_t id)
{
	const struct mp_ioapic entry = {
		.type = ENTRY_IOAPIC,
		.id = id,
		.version = APIC_VERSION,
		.flags = 1, /* usable */
		.address = le32_of((uint32_t)LAYOUT_IOAPIC),
	};

	add(t, &entry, sizeof(entry));
}

static void interrupt_add(struct table *t, uint8_t type, uint8_t kind, uint16_t flags, uint8_t bus,
			  unsigned source, uint8_t apic, unsigned pin)
{
	const struct mp_interrupt entry = {
		.type = type,
		.kind = kind,
		.flags = le16_of(flags),
		.bus = bus,
		.source = (uint8_t)source,
		.apic = apic,
		.pin = (uint8_t)pin,
	};

	add(t, &entry, sizeof(entry));
}

static void isa_interrupts_add(struct table *t, uint8_t ioapic)
{
	for (unsigned irq = 0; irq < ISA_IRQS; irq++) {
		const unsigned pin = irq == 0 ? TIMER_PIN : irq;
		const uint16_t flags = irq == PM_SCI_GSI ? FLAGS_HIGH_LEVEL : FLAGS_BUS;

		if (irq != ISA_CASCADE)
			interrupt_add(t, ENTRY_INTERRUPT, INTERRUPT_NORMAL, flags, BUS_ISA, irq,
				      ioapic, pin);
	}
}

static void pci_interrupts_add(struct table *t, const struct pci_layout *pci, uint8_t ioapic)
{
	for (unsigned slot = 0; slot < PCI_SLOTS; slot++)
		for (unsigned pin = 0; pin < PINS; pin++)
			interrupt_add(t, ENTRY_INTERRUPT, INTERRUPT_NORMAL, FLAGS_LOW_LEVEL,
				      BUS_PCI, slot << 2 | pin, ioapic,
				      pci->intx_gsi[(slot + pin) % PCI_INTX_LINES]);
}

static void local_interrupts_add(struct table *t)
{
	interrupt_add(t, ENTRY_LOCAL_INTERRUPT, INTERRUPT_EXTINT, FLAGS_BUS, BUS_ISA, 0, ALL_APICS,
		      0);
	interrupt_add(t, ENTRY_LOCAL_INTERRUPT, INTERRUPT_NMI, FLAGS_BUS, BUS_ISA, 0, ALL_APICS, 1);
}

static void header_write(struct table *t)
{
	struct mp_header header = {
		.length = le16_of((uint16_t)t->used),
		.revision = SPEC_1_4,
		.entries = le16_of((uint16_t)t->entries),
		.lapic = le32_of((uint32_t)LAYOUT_LAPIC),
	};

	memcpy(header.signature, "PCMP", sizeof(header.signature));
	memcpy(header.oem, "CROSVM  ", sizeof(header.oem));
	memcpy(header.product, "000000000000", sizeof(header.product));
	memcpy(t->bytes, &header, sizeof(header));
	header.checksum = checksum(t->bytes, t->used);
	memcpy(t->bytes, &header, sizeof(header));
}

static struct mp_floating floating_pointer(void)
{
	struct mp_floating floating = {
		.table = le32_of(LAYOUT_MPTABLE + sizeof(floating)),
		.length = 1,
		.revision = SPEC_1_4,
	};

	memcpy(floating.signature, "_MP_", sizeof(floating.signature));
	floating.checksum = checksum(&floating, sizeof(floating));
	return floating;
}

int mptable_write(const struct arch_platform *p, struct gmem *m, struct err *e)
{
	const unsigned ncpus = (unsigned)min_u64(p->ncpus, CPUS_MAX);
	/* Ids up to 15 are all that the oldest I/O APICs have; Linux takes any that is free. */
	const uint8_t ioapic = (uint8_t)(ncpus < CPUS_MAX ? ncpus : 0);
	const struct mp_floating floating = floating_pointer();
	struct table *t auto_free = calloc(1, sizeof(*t));

	if (!t)
		return err_set(e, ENOMEM, "MP table");
	t->used = sizeof(struct mp_header);
	processors_add(t, ncpus);
	buses_add(t);
	ioapic_add(t, ioapic);
	isa_interrupts_add(t, ioapic);
	if (p->has_pci)
		pci_interrupts_add(t, &p->pci, ioapic);
	local_interrupts_add(t);
	header_write(t);
	if (!gmem_write(m, LAYOUT_MPTABLE, &floating, sizeof(floating)) ||
	    !gmem_write(m, LAYOUT_MPTABLE + sizeof(floating), t->bytes, t->used))
		return err_say(e, ENOMEM, "no memory for the MP table at 0x%x", LAYOUT_MPTABLE);
	return 0;
}
