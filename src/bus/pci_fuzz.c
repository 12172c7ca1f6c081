/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * pci_fuzz.c - configuration space, BARs and MSI-X by register script
 *
 * The input is a row of eight-byte steps: what to do, with which size, where, and a value.  After
 * each step the invariants of pci.c are checked, from the outside.
 */
#include "base/num.h"
#include "bus/fake_host.h"
#include "bus/msix.h"
#include "bus/pci.h"

#include <assert.h>
#include <linux/pci_regs.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

enum { CARDS = 35, VECTORS = 5 }; /* more than slots */

#define ECAM	    0xe0000000ull
#define MEM32	    0xc0000000ull
#define MEM32_BYTES 0x10000000ull
#define MEM64	    0x8000000000ull
#define MEM64_BYTES 0x1000000000ull

static const struct pci_layout layout = {
	.ecam_base = ECAM,
	.mem32_base = MEM32,
	.mem32_size = MEM32_BYTES,
	.mem64_base = MEM64,
	.mem64_size = MEM64_BYTES,
	.intx_gsi = {16, 17, 18, 19},
};

struct step {
	uint8_t kind, size;
	uint16_t at;
	uint32_t value;
};
static_assert(sizeof(struct step) == 8, "as in the corpus");

struct card {
	struct pci_dev dev;
	struct msix msix;
	uint64_t mapped_at[PCI_BARS]; /* 0: not mapped */
	bool wants_line;
};

static struct bus ports, mmio;
static struct fake_host host;
static struct pci_bus pci;
static struct card cards[CARDS];

static struct card *card_of(struct pci_dev *d)
{
	return container_of(d, struct card, dev);
}

static uint64_t card_read(struct pci_dev *d, unsigned bar, uint64_t offset, unsigned size)
{
	assert(is_inside(offset, size, d->bars[bar].size));
	if (bar != 0)
		return 0;
	return offset < 0x800 ? msix_table_read(&card_of(d)->msix, offset, size)
			      : msix_pba_read(&card_of(d)->msix, offset - 0x800, size);
}

static void card_write(struct pci_dev *d, unsigned bar, uint64_t offset, unsigned size,
		       uint64_t value)
{
	assert(is_inside(offset, size, d->bars[bar].size));
	if (bar == 0 && offset < 0x800)
		msix_table_write(&card_of(d)->msix, offset, size, value);
}

static void card_mapped(struct pci_dev *d, unsigned bar, uint64_t address, bool mapped)
{
	struct card *c = card_of(d);

	assert(c->mapped_at[bar] == (mapped ? 0 : address)); /* each is undone before the next */
	c->mapped_at[bar] = mapped ? address : 0;
}

static void card_config_written(struct pci_dev *d, unsigned at, unsigned size)
{
	(void)at;
	(void)size;
	msix_config_written(&card_of(d)->msix);
}

static const struct pci_ops card_ops = {
	.bar_read = card_read,
	.bar_write = card_write,
	.bar_mapped = card_mapped,
	.config_written = card_config_written,
};

static const struct msix_ops msix_ops = {0};

static void set_up(void)
{
	struct err e;
	int r;

	bus_init(&ports);
	bus_init(&mmio);
	fake_host_init(&host);
	memset(cards, 0, sizeof(cards));
	r = pci_bus_init(&pci, &layout, &ports, &mmio, &host.host, &e);
	assert(r == 0);
	for (unsigned i = 0; i < CARDS; i++) {
		struct pci_dev *d = &cards[i].dev;

		pci_dev_init(d, "card", &card_ops, 0x1af4, 0x1040, 0xff0000, 0x1af4, 1);
		pci_dev_bar(d, 0, 0x1000, i % 2, false);
		pci_dev_bar(d, 2, 0x100000u << (i % 4), true, true);
		msix_init(&cards[i].msix, &msix_ops, d, &host.host, VECTORS, 0, 0, 0x800);
		r = pci_add(&pci, d, &e);
		assert(r == 0);
	}
	(void)r;
}

static void tear_down(void)
{
	for (unsigned i = 0; i < CARDS; i++)
		msix_fini(&cards[i].msix);
	pci_bus_fini(&pci);
	bus_fini(&ports);
	bus_fini(&mmio);
}

static void access(struct bus *b, uint64_t address, const struct step *s)
{
	uint8_t data[16] = {0};
	size_t n = 1 + s->size % 9;

	memcpy(data, &s->value, sizeof(s->value));
	if (s->size & 0x80)
		bus_write(b, address, data, n);
	else
		bus_read(b, address, data, n);
}

/* An address in a BAR, or where one may be. */
static uint64_t memory_address(const struct step *s)
{
	const struct card *c = &cards[s->at % CARDS];
	const struct pci_bar *bar = &c->dev.bars[s->at & 0x8000 ? 2 : 0];

	return bar->address + (s->at >> 6) % (bar->size + 16) - 8;
}

static void run(const struct step *s)
{
	struct card *c = &cards[s->value % CARDS];

	switch (s->kind % 6) {
	case 0:
		access(&ports, 0xcf4 + s->at % 16, s);
		break;
	case 1: /* all registers of the first slots */
		access(&mmio, ECAM + ((s->at & 0x700ull) << 7) + (s->at & 0xff), s);
		break;
	case 2: /* anywhere in ECAM */
		access(&mmio, ECAM + s->at * 16ull + s->value % 16, s);
		break;
	case 3:
		access(&mmio, memory_address(s), s);
		break;
	case 4:
		c->wants_line = s->at & 1;
		pci_intx_set(&c->dev, c->wants_line);
		break;
	default:
		msix_use(&c->msix, s->at % VECTORS);
		msix_raise(&c->msix, s->at);
		break;
	}
}

static void check_bar(const struct card *c, unsigned i)
{
	const struct pci_bar *bar = &c->dev.bars[i];

	assert(bar->is_mapped == (c->mapped_at[i] != 0));
	if (!bar->is_mapped)
		return;
	assert(bar->address == c->mapped_at[i] && bar->address % bar->size == 0);
	assert((bar->address >= MEM32 && is_inside(bar->address - MEM32, bar->size, MEM32_BYTES)) ||
	       (bar->address >= MEM64 && is_inside(bar->address - MEM64, bar->size, MEM64_BYTES)));
}

static void check(void)
{
	bool level[PCI_INTX_LINES] = {0};

	for (unsigned i = 0; i < CARDS; i++) {
		const struct card *c = &cards[i];

		check_bar(c, 0);
		check_bar(c, 2);
		assert(c->dev.config[PCI_VENDOR_ID] == 0xf4);
		assert(!c->wants_line == !c->dev.intx_wanted);
		if (c->wants_line && !(c->dev.config[PCI_COMMAND + 1] & 4))
			level[c->dev.line] = true;
	}
	for (unsigned line = 0; line < PCI_INTX_LINES; line++)
		assert(level[line] == host.level[16 + line]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	set_up();
	for (; n >= sizeof(struct step); n -= sizeof(struct step), data += sizeof(struct step)) {
		struct step s;

		memcpy(&s, data, sizeof(s));
		run(&s);
		check();
	}
	tear_down();
	return 0;
}
