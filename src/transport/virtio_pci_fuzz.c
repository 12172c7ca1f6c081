/* SPDX-License-Identifier: BSD-3-Clause */
/* virtio_pci_fuzz.c - virtio over PCI by register script */
#include "transport/script_fuzz.h"
#include "transport/virtio_pci.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

#define ECAM  0xe0000000ull
#define MEM32 0xc0000000ull

static const struct pci_layout layout = {
	.ecam_base = ECAM,
	.mem32_base = MEM32,
	.mem32_size = 0x10000000,
	.intx_gsi = {16, 17, 18, 19},
};

static struct pci_bus pci;
static struct virtio_pci v;

/* Steps choose a structure, so that most of them hit something. */
static void access(const struct step *s)
{
	uint64_t bar = v.dev.bars[0].address;

	switch (s->kind & 0x0f) {
	case 0:
		script_access(bar + s->at % 0x40, s); /* common */
		break;
	case 1:
		script_access(bar + 0x1000 + s->at % 8, s); /* ISR */
		break;
	case 2:
		script_access(bar + 0x2000 + s->at % 0x20, s); /* configuration */
		break;
	case 3:
		script_access(bar + 0x3000 + s->at % 0x10, s); /* notification */
		break;
	case 4:
		script_access(bar + 0x4000 + s->at % 0x50, s); /* table */
		break;
	case 5:
		script_access(bar + 0x5000 + s->at % 0x10, s); /* pending bits */
		break;
	case 6:
		script_access(bar + s->at % 0x8000, s); /* anything */
		break;
	default:
		script_access(ECAM + (1 << 15) + s->at % 0x100, s);
		break;
	}
}

static void check_doors(void)
{
	unsigned open = 0, direct = 0;

	for (unsigned q = 0; q < SCRIPT_QUEUES; q++) {
		open += v.queues[q].door_is_open;
		direct += v.queues[q].way == VIRTIO_PCI_DIRECT;
		assert(!v.queues[q].door_is_open || v.door_base != 0);
	}
	assert(open == script.host.ndoorbells && direct == script.host.nirqfds);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct err e;
	int r;

	script_set_up();
	script.host.msi_limit = 2; /* one queue goes without */
	r = pci_bus_init(&pci, &layout, NULL, &script.mmio, &script.host.host, &e);
	assert(r == 0);
	r = virtio_pci_init(&v, &script.f, &pci, &script.host.host, &script.loop, &e);
	assert(r == 0);
	(void)r;
	script_run(data, n, access);
	check_doors();
	virtio_pci_fini(&v);
	assert(script.host.ndoorbells == 0 && script.host.nirqfds == 0);
	pci_bus_fini(&pci);
	script_tear_down();
	return 0;
}
