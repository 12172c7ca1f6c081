/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * pci.c - host bridge, configuration space, BARs
 *
 * Invariants, while bus->lock is free:
 *  1. A BAR is mapped exactly if its function decodes memory, its address lies wholly inside a
 *     window of the layout, and nobody else had that place first.
 *  2. The functions of a slot are numbered without gaps; function 0 says "multi-function" if there
 *     are others.
 *  3. Bits of config change by the guest's hand only where writable has them.
 *
 * A guest that sizes a BAR without turning decoding off moves it to the end of the address space
 * for a moment; that is outside the windows, so it merely vanishes until the address is back.
 */
#include "bus/pci.h"

#include "base/num.h"

#include <assert.h>
#include <errno.h>
#include <linux/pci_regs.h>
#include <string.h>

enum {
	ECAM_BYTES = 1 << 20,
	ECAM_FUNCTION_BYTES = 4096,
	BRIDGE_VENDOR = 0x1b36, /* Red Hat's generic PCIe host bridge, which needs no quirks */
	BRIDGE_DEVICE = 0x0008,
	BRIDGE_CLASS = 0x060000,
	SMALL_BAR = 1 << 20, /* up to this size 64-bit BARs may use the 32-bit window */
	COMMAND_WRITABLE = PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER | PCI_COMMAND_INTX_DISABLE,
};

static const uint64_t all_ones = UINT64_MAX;

static uint32_t get(const struct pci_dev *d, unsigned at, unsigned size)
{
	uint32_t value = 0;

	assert(size <= sizeof(value) && is_inside(at, size, PCI_CONFIG_BYTES));
	memcpy(&value, &d->config[at], size);
	return value;
}

static void set(struct pci_dev *d, unsigned at, unsigned size, uint32_t value)
{
	assert(size <= sizeof(value) && is_inside(at, size, PCI_CONFIG_BYTES));
	memcpy(&d->config[at], &value, size);
}

uint32_t pci_config_get(struct pci_dev *d, unsigned at, unsigned size)
{
	uint32_t value;

	pthread_mutex_lock(&d->bus->lock);
	value = get(d, at, size);
	pthread_mutex_unlock(&d->bus->lock);
	return value;
}

void pci_config_set(struct pci_dev *d, unsigned at, unsigned size, uint32_t value)
{
	pthread_mutex_lock(&d->bus->lock);
	set(d, at, size, value);
	pthread_mutex_unlock(&d->bus->lock);
}

/* ---- interrupt lines ---- */

static void line_update(struct pci_dev *d, bool wanted, bool blocked)
{
	struct pci_bus *b = d->bus;
	bool was, is;

	was = d->intx_wanted && !d->intx_blocked;
	is = wanted && !blocked;
	d->intx_wanted = wanted;
	d->intx_blocked = blocked;
	if (is && !was && b->asserted[d->line]++ == 0)
		host_line_set(b->host, d->gsi, true);
	if (was && !is && --b->asserted[d->line] == 0)
		host_line_set(b->host, d->gsi, false);
}

void pci_intx_set(struct pci_dev *d, bool level)
{
	bool blocked;

	pthread_mutex_lock(&d->bus->lock);
	blocked = get(d, PCI_COMMAND, 2) & PCI_COMMAND_INTX_DISABLE;
	line_update(d, level, blocked);
	pthread_mutex_unlock(&d->bus->lock);
}

/* ---- BARs ---- */

static bool in_window(uint64_t at, uint64_t size, uint64_t base, uint64_t window)
{
	return window > 0 && at >= base && is_inside(at - base, size, window);
}

/* Where the BAR should be mapped by what its registers say; false for nowhere. */
static bool bar_wanted(const struct pci_bar *bar, uint64_t *ret_address)
{
	const struct pci_dev *d = bar->dev;
	const struct pci_layout *l = &d->bus->layout;
	unsigned at = PCI_BASE_ADDRESS_0 + 4 * bar->index;
	uint64_t address = get(d, at, 4) & PCI_BASE_ADDRESS_MEM_MASK;

	if (bar->is_64bit)
		address |= (uint64_t)get(d, at + 4, 4) << 32;
	*ret_address = address;
	return (get(d, PCI_COMMAND, 2) & PCI_COMMAND_MEMORY) &&
	       (in_window(address, bar->size, l->mem32_base, l->mem32_size) ||
		in_window(address, bar->size, l->mem64_base, l->mem64_size));
}

static void bar_announce(struct pci_bar *bar)
{
	struct pci_dev *d = bar->dev;

	if (d->ops->bar_mapped)
		d->ops->bar_mapped(d, bar->index, bar->address, bar->is_mapped);
}

/* Takes the BAR away if its registers no longer say where it is. */
static void bar_unmap(struct pci_bar *bar)
{
	uint64_t address;
	int r;

	if (!bar->is_mapped || (bar_wanted(bar, &address) && address == bar->address))
		return;
	r = bus_remove(bar->dev->bus->mmio, bar->address);
	assert(r == 0);
	(void)r;
	bar->is_mapped = false;
	bar_announce(bar);
}

static void bar_map(struct pci_bar *bar)
{
	uint64_t address;
	struct err e;

	if (bar->is_mapped || !bar_wanted(bar, &address))
		return;
	if (bus_add(bar->dev->bus->mmio, address, bar->size, &bar->window, &e) < 0)
		return; /* somebody else is there: first come, first served */
	bar->address = address;
	bar->is_mapped = true;
	bar_announce(bar);
}

static void bars_of_update(struct pci_dev *d, void (*update)(struct pci_bar *))
{
	for (unsigned bar = 0; bar < PCI_BARS; bar++)
		if (d->bars[bar].size > 0)
			update(&d->bars[bar]);
}

/* A place given up may be one that another function waits for, so all of them are looked at. */
static void bars_update(struct pci_bus *b, void (*update)(struct pci_bar *))
{
	for (unsigned slot = 0; slot < PCI_SLOTS; slot++)
		for (unsigned i = 0; i < PCI_FUNCTIONS && b->functions[slot][i]; i++)
			bars_of_update(b->functions[slot][i], update);
}

static void bars_follow(struct pci_bus *b)
{
	bars_update(b, bar_unmap);
	bars_update(b, bar_map);
}

static uint64_t bar_window_read(struct bus_dev *w, uint64_t offset, unsigned size)
{
	struct pci_bar *bar = container_of(w, struct pci_bar, window);

	return bar->dev->ops->bar_read(bar->dev, bar->index, offset, size);
}

static void bar_window_write(struct bus_dev *w, uint64_t offset, unsigned size, uint64_t value)
{
	struct pci_bar *bar = container_of(w, struct pci_bar, window);

	bar->dev->ops->bar_write(bar->dev, bar->index, offset, size, value);
}

/* ---- configuration space ---- */

static bool touches(unsigned at, unsigned size, unsigned first, unsigned end)
{
	return at < end && at + size > first;
}

static uint8_t config_byte(const struct pci_dev *d, unsigned at)
{
	if (at >= PCI_CONFIG_BYTES)
		return 0;
	if (at == PCI_STATUS && d->intx_wanted)
		return d->config[at] | PCI_STATUS_INTERRUPT;
	return d->config[at];
}

/* The function at that place; absent ones, and all of a slot without function 0, are NULL. */
static struct pci_dev *function_at(struct pci_bus *b, unsigned slot, unsigned function)
{
	assert(slot < PCI_SLOTS && function < PCI_FUNCTIONS);
	return b->functions[slot][0] ? b->functions[slot][function] : NULL;
}

uint64_t pci_config_read(struct pci_bus *b, unsigned slot, unsigned function, unsigned at,
			 unsigned size)
{
	struct pci_dev *d = function_at(b, slot, function);
	uint64_t value = 0;

	if (!d)
		return all_ones;
	if (d->ops->config_read)
		d->ops->config_read(d, at, size);
	pthread_mutex_lock(&b->lock);
	for (unsigned i = 0; i < size; i++)
		value |= (uint64_t)config_byte(d, at + i) << (8 * i);
	pthread_mutex_unlock(&b->lock);
	return value;
}

/* What follows from registers of the header that were written. */
static void header_written(struct pci_dev *d, unsigned at, unsigned size)
{
	if (touches(at, size, PCI_COMMAND, PCI_COMMAND + 2))
		line_update(d, d->intx_wanted, get(d, PCI_COMMAND, 2) & PCI_COMMAND_INTX_DISABLE);
	if (touches(at, size, PCI_COMMAND, PCI_COMMAND + 2) ||
	    touches(at, size, PCI_BASE_ADDRESS_0, PCI_BASE_ADDRESS_5 + 4))
		bars_follow(d->bus);
}

void pci_config_write(struct pci_bus *b, unsigned slot, unsigned function, unsigned at,
		      unsigned size, uint64_t value)
{
	struct pci_dev *d = function_at(b, slot, function);

	if (!d)
		return;
	pthread_mutex_lock(&b->lock);
	for (unsigned i = 0; i < size && at + i < PCI_CONFIG_BYTES; i++) {
		uint8_t mask = d->writable[at + i];
		uint8_t byte = (uint8_t)(value >> (8 * i));

		d->config[at + i] = (uint8_t)((d->config[at + i] & ~mask) | (byte & mask));
	}
	header_written(d, at, size);
	pthread_mutex_unlock(&b->lock);
	if (d->ops->config_written)
		d->ops->config_written(d, at, size);
}

/*
 * Mechanism 1: only whole dwords reach the address register (PCI 3.0, 3.2.2.3); the byte at 0xCF9
 * is the chip set's reset control.
 */

static bool is_reset_control(const struct pci_bus *b, uint64_t offset, unsigned size)
{
	return b->reset_control && offset == 1 && size == 1;
}

static uint64_t address_read(struct bus_dev *w, uint64_t offset, unsigned size)
{
	struct pci_bus *b = container_of(w, struct pci_bus, address_port);
	uint32_t address;

	if (is_reset_control(b, offset, size))
		return b->reset_control->read(b->reset_control, 0, 1);
	if (offset != 0 || size != 4)
		return all_ones;
	pthread_mutex_lock(&b->lock);
	address = b->config_address;
	pthread_mutex_unlock(&b->lock);
	return address;
}

static void address_write(struct bus_dev *w, uint64_t offset, unsigned size, uint64_t value)
{
	struct pci_bus *b = container_of(w, struct pci_bus, address_port);

	if (is_reset_control(b, offset, size))
		b->reset_control->write(b->reset_control, 0, 1, value);
	if (offset != 0 || size != 4)
		return;
	pthread_mutex_lock(&b->lock);
	b->config_address = (uint32_t)value & 0x80fffffcu;
	pthread_mutex_unlock(&b->lock);
}

/* Whether the address register selects a function of bus 0, and which register. */
static bool selected(struct pci_bus *b, unsigned *slot, unsigned *function, unsigned *at)
{
	uint32_t address;

	pthread_mutex_lock(&b->lock);
	address = b->config_address;
	pthread_mutex_unlock(&b->lock);
	*slot = (address >> 11) & 31;
	*function = (address >> 8) & 7;
	*at = address & 0xfc;
	return (address >> 31) && ((address >> 16) & 0xff) == 0;
}

static uint64_t data_read(struct bus_dev *w, uint64_t offset, unsigned size)
{
	struct pci_bus *b = container_of(w, struct pci_bus, data_port);
	unsigned slot, function, at;

	if (!selected(b, &slot, &function, &at))
		return all_ones;
	return pci_config_read(b, slot, function, at + (unsigned)offset, size);
}

static void data_write(struct bus_dev *w, uint64_t offset, unsigned size, uint64_t value)
{
	struct pci_bus *b = container_of(w, struct pci_bus, data_port);
	unsigned slot, function, at;

	if (selected(b, &slot, &function, &at))
		pci_config_write(b, slot, function, at + (unsigned)offset, size, value);
}

/* ECAM.  An access across the end of a function's space stops there. */

static unsigned ecam_size(uint64_t offset, unsigned size)
{
	return (unsigned)min_u64(size, ECAM_FUNCTION_BYTES - offset % ECAM_FUNCTION_BYTES);
}

static uint64_t ecam_read(struct bus_dev *w, uint64_t offset, unsigned size)
{
	struct pci_bus *b = container_of(w, struct pci_bus, ecam);

	return pci_config_read(b, (unsigned)(offset >> 15) % PCI_SLOTS,
			       (unsigned)(offset >> 12) % PCI_FUNCTIONS,
			       (unsigned)(offset % ECAM_FUNCTION_BYTES), ecam_size(offset, size));
}

static void ecam_write(struct bus_dev *w, uint64_t offset, unsigned size, uint64_t value)
{
	struct pci_bus *b = container_of(w, struct pci_bus, ecam);

	pci_config_write(b, (unsigned)(offset >> 15) % PCI_SLOTS,
			 (unsigned)(offset >> 12) % PCI_FUNCTIONS,
			 (unsigned)(offset % ECAM_FUNCTION_BYTES), ecam_size(offset, size), value);
}

/* ---- set-up ---- */

void pci_dev_init(struct pci_dev *d, const char *name, const struct pci_ops *ops, uint16_t vendor,
		  uint16_t device, uint32_t class_code, uint16_t subsystem_vendor,
		  uint16_t subsystem)
{
	*d = (struct pci_dev){.name = name, .ops = ops};
	set(d, PCI_VENDOR_ID, 2, vendor);
	set(d, PCI_DEVICE_ID, 2, device);
	set(d, PCI_CLASS_PROG, 1, class_code & 0xff);
	set(d, PCI_CLASS_DEVICE, 2, class_code >> 8);
	set(d, PCI_SUBSYSTEM_VENDOR_ID, 2, subsystem_vendor);
	set(d, PCI_SUBSYSTEM_ID, 2, subsystem);
	d->writable[PCI_COMMAND] = COMMAND_WRITABLE & 0xff;
	d->writable[PCI_COMMAND + 1] = COMMAND_WRITABLE >> 8;
	d->writable[PCI_CACHE_LINE_SIZE] = 0xff;
	d->writable[PCI_INTERRUPT_LINE] = 0xff;
	d->capabilities_end = PCI_STD_HEADER_SIZEOF;
}

void pci_dev_bar(struct pci_dev *d, unsigned index, uint64_t size, bool is_64bit,
		 bool is_prefetchable)
{
	unsigned at = PCI_BASE_ADDRESS_0 + 4 * index;
	uint64_t mask = ~(size - 1);
	uint32_t kind = (is_64bit ? PCI_BASE_ADDRESS_MEM_TYPE_64 : 0u) |
			(is_prefetchable ? PCI_BASE_ADDRESS_MEM_PREFETCH : 0u);

	assert(is_power_of_two(size) && size >= 4096 && index + is_64bit < PCI_BARS);
	assert(is_64bit || size <= UINT32_MAX);
	d->bars[index] = (struct pci_bar){
		.size = size,
		.is_64bit = is_64bit,
		.is_prefetchable = is_prefetchable,
		.window = {.name = d->name, .read = bar_window_read, .write = bar_window_write},
		.dev = d,
		.index = index,
	};
	set(d, at, 4, kind);
	memcpy(&d->writable[at], &mask, is_64bit ? 8 : 4);
}

unsigned pci_dev_capability(struct pci_dev *d, const void *capability, unsigned n)
{
	unsigned at = d->capabilities_end;

	assert(n >= PCI_CAP_SIZEOF && is_inside(at, n, PCI_CONFIG_BYTES));
	memcpy(&d->config[at], capability, n);
	d->config[at + PCI_CAP_LIST_NEXT] = 0;
	if (d->last_capability)
		d->config[d->last_capability + PCI_CAP_LIST_NEXT] = (uint8_t)at;
	else
		d->config[PCI_CAPABILITY_LIST] = (uint8_t)at;
	d->config[PCI_STATUS] |= PCI_STATUS_CAP_LIST;
	d->last_capability = (uint8_t)at;
	d->capabilities_end = (unsigned)round_up(at + n, 4);
	return at;
}

/* Cuts size bytes, aligned to size, from the window; false when they do not fit. */
static bool window_take(struct pci_window *w, uint64_t size, uint64_t *ret_address)
{
	uint64_t skip = -w->next & (size - 1);

	if (skip > w->left || size > w->left - skip)
		return false;
	*ret_address = w->next + skip;
	w->next += skip + size;
	w->left -= skip + size;
	return true;
}

/* Small BARs go where 32-bit code can reach them, large ones where there is room. */
static bool bar_place(struct pci_bus *b, struct pci_bar *bar)
{
	bool prefer_low = !bar->is_64bit || bar->size <= SMALL_BAR;
	unsigned at = PCI_BASE_ADDRESS_0 + 4 * bar->index;
	uint64_t address;

	if (!(prefer_low && window_take(&b->mem32, bar->size, &address)) &&
	    !(bar->is_64bit && window_take(&b->mem64, bar->size, &address)) &&
	    !window_take(&b->mem32, bar->size, &address))
		return false;
	set(bar->dev, at, 4, get(bar->dev, at, 4) | (uint32_t)address);
	if (bar->is_64bit)
		set(bar->dev, at + 4, 4, (uint32_t)(address >> 32));
	return true;
}

static bool bars_place(struct pci_bus *b, struct pci_dev *d)
{
	for (unsigned i = 0; i < PCI_BARS; i++)
		if (d->bars[i].size > 0 && !bar_place(b, &d->bars[i]))
			return false;
	return true;
}

/*
 * The functions of a slot that are used, then the next slot: the guest numbers its disks in this
 * order, which is that of the command line.  What does not fit so goes into functions further up.
 */
static bool find_place(struct pci_bus *b, unsigned *ret_slot, unsigned *ret_function)
{
	unsigned used = b->functions_per_slot > 0 ? b->functions_per_slot : 1;

	for (unsigned first = 0; first < PCI_FUNCTIONS; first += used) {
		unsigned places = (PCI_SLOTS - 1) * used;

		for (unsigned i = 0; i < places && first + i % used < PCI_FUNCTIONS; i++) {
			*ret_slot = 1 + i / used;
			*ret_function = first + i % used;
			if (!b->functions[*ret_slot][*ret_function])
				return true;
		}
	}
	return false;
}

static void plug(struct pci_bus *b, struct pci_dev *d)
{
	unsigned pin = d->function % PCI_INTX_LINES; /* 0 is INTA */

	d->line = (d->slot + pin) % PCI_INTX_LINES;
	d->gsi = b->layout.intx_gsi[d->line];
	set(d, PCI_INTERRUPT_LINE, 1, d->gsi & 0xff);
	set(d, PCI_INTERRUPT_PIN, 1, pin + 1);
	set(d, PCI_COMMAND, 2, PCI_COMMAND_MEMORY);
	b->functions[d->slot][d->function] = d;
	if (d->function > 0)
		b->functions[d->slot][0]->config[PCI_HEADER_TYPE] |= 0x80;
	bars_follow(b);
}

static int add(struct pci_bus *b, struct pci_dev *d, struct err *e)
{
	if (!find_place(b, &d->slot, &d->function))
		return err_say(e, ENOSPC, "%s: no free place on the PCI bus", d->name);
	d->bus = b;
	if (!bars_place(b, d))
		return err_say(e, ENOSPC, "%s: no address space left for PCI devices", d->name);
	plug(b, d);
	for (unsigned i = 0; i < PCI_BARS; i++)
		if (d->bars[i].size > 0 && !d->bars[i].is_mapped)
			return err_say(e, ENOSPC, "%s: more address ranges than the bus has",
				       d->name);
	return 0;
}

int pci_add(struct pci_bus *b, struct pci_dev *d, struct err *e)
{
	int r;

	pthread_mutex_lock(&b->lock);
	r = add(b, d, e);
	pthread_mutex_unlock(&b->lock);
	return r;
}

static const struct pci_ops bridge_ops = {0};

int pci_bus_init(struct pci_bus *b, const struct pci_layout *layout, struct bus *ports,
		 struct bus *mmio, struct host *host, struct err *e)
{
	int r;

	*b = (struct pci_bus){
		.layout = *layout,
		.mmio = mmio,
		.host = host,
		.address_port = {"PCI configuration address", address_read, address_write},
		.data_port = {"PCI configuration data", data_read, data_write},
		.ecam = {"PCI configuration space", ecam_read, ecam_write},
		.mem32 = {layout->mem32_base, layout->mem32_size},
		.mem64 = {layout->mem64_base, layout->mem64_size},
	};
	pthread_mutex_init(&b->lock, NULL);
	pci_dev_init(&b->bridge, "host bridge", &bridge_ops, BRIDGE_VENDOR, BRIDGE_DEVICE,
		     BRIDGE_CLASS, BRIDGE_VENDOR, BRIDGE_DEVICE);
	b->bridge.bus = b;
	b->functions[0][0] = &b->bridge;
	if (ports) {
		r = bus_add(ports, 0xcf8, 4, &b->address_port, e);
		if (r == 0)
			r = bus_add(ports, 0xcfc, 4, &b->data_port, e);
		if (r < 0)
			return r;
	}
	return bus_add(mmio, layout->ecam_base, ECAM_BYTES, &b->ecam, e);
}

void pci_bus_fini(struct pci_bus *b)
{
	if (!b)
		return;
	pthread_mutex_destroy(&b->lock);
}
