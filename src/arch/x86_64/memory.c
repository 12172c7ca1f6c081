/* SPDX-License-Identifier: BSD-3-Clause */
/* memory.c - guest memory on both sides of the hole, and what lies in the hole */
#include "arch/arch.h"

#include "arch/x86_64/layout.h"
#include "arch/x86_64/memory.h"
#include "base/num.h"

#include <assert.h>
#include <errno.h>

#define LEAF_EXTENDED_MAX 0x80000000u
#define LEAF_SIZES        0x80000008u

enum { PAGE_BYTES = 4096, ADDRESS_BITS_OLD = 36 };

static uint32_t cpuid_eax(uint32_t leaf)
{
	uint32_t a = leaf, b, c = 0, d;

	__asm__("cpuid" : "+a"(a), "=b"(b), "+c"(c), "=d"(d));
	return a;
}

unsigned memory_address_bits(void)
{
	if (cpuid_eax(LEAF_EXTENDED_MAX) < LEAF_SIZES)
		return ADDRESS_BITS_OLD;
	return cpuid_eax(LEAF_SIZES) & 0xFF;
}

uint64_t memory_low_end(const struct gmem *m)
{
	if (m->nregions == 0 || m->regions[0].base != 0)
		return 0;
	return min_u64(m->regions[0].size, LAYOUT_HOLE);
}

bool memory_is_free(const struct gmem *m, uint64_t base, uint64_t n, uint64_t min)
{
	if (base < min || !is_inside(base, n, memory_low_end(m)))
		return false;
	return base >= LAYOUT_HIGH || base + n <= LAYOUT_EBDA;
}

int arch_memory_new(struct gmem *m, uint64_t size, const struct ram_options *o, struct err *e)
{
	const unsigned bits = memory_address_bits();
	const uint64_t page = o->page_bytes ? o->page_bytes : PAGE_BYTES;
	const uint64_t low = min_u64(size, round_down(LAYOUT_HOLE, page));
	int r;

	gmem_init(m);
	if (size < LAYOUT_MEMORY_MIN)
		return err_say(e, EINVAL, "guest memory of %llu KiB is too small: at least %u MiB",
			       (unsigned long long)size >> 10, LAYOUT_MEMORY_MIN >> 20);
	if (size % page != 0)
		return err_say(e, EINVAL, "guest memory is not a whole number of pages of %llu KiB",
			       (unsigned long long)page >> 10);
	if (size - low > (UINT64_C(1) << bits) - LAYOUT_4G)
		return err_say(
			e, EINVAL,
			"guest memory of %llu MiB exceeds the %u address bits of this processor",
			(unsigned long long)size >> 20, bits);
	r = ram_add(m, "guest-low", 0, low, o, e);
	if (r == 0 && size > low)
		r = ram_add(m, "guest-high", LAYOUT_4G, size - low, o, e);
	if (r < 0)
		gmem_fini(m);
	return r;
}

/* The window begins on a border of 1 GiB above all memory; it may be empty. */
static void window64(uint64_t memory_end, unsigned bits, struct pci_layout *ret)
{
	const uint64_t top = UINT64_C(1) << bits;
	const uint64_t base = round_up(max_u64(memory_end, LAYOUT_4G), LAYOUT_PCI64_UNIT);

	ret->mem64_base = base;
	ret->mem64_size = base < top ? min_u64(top - base, LAYOUT_PCI64_BYTES) : 0;
}

void arch_pci_layout(const struct gmem *m, struct pci_layout *ret)
{
	/* Pins of the I/O APIC beyond those that the ISA bus has. */
	*ret = (struct pci_layout){
		.ecam_base = LAYOUT_ECAM,
		.mem32_base = LAYOUT_PCI32,
		.mem32_size = LAYOUT_PCI32_BYTES,
		.intx_gsi = {16, 17, 18, 19},
	};
	window64(gmem_end(m), memory_address_bits(), ret);
}

struct arch_mmio_device arch_mmio_device(unsigned n)
{
	/*
	 * ISA lines that no device of ours has, so that kernels without ACPI can use them.  Beyond
	 * eight devices lines are shared, which edges allow: every handler on a line is called.
	 */
	static const unsigned gsi[] = {5, 6, 7, 10, 11, 12, 14, 15};

	assert(n < ARCH_MMIO_DEVICES_MAX);
	return (struct arch_mmio_device){
		.base = LAYOUT_MMIO_DEVICES + (uint64_t)n * LAYOUT_MMIO_DEVICE_BYTES,
		.gsi = gsi[n % ARRAY_LEN(gsi)],
	};
}

unsigned arch_serial_gsi(unsigned n)
{
	return n % 2 == 0 ? 4 : 3;
}

uint64_t arch_serial_base(unsigned n, bool *ret_on_ports)
{
	static const uint16_t ports[ARCH_SERIAL_PORTS] = {0x3F8, 0x2F8, 0x3E8, 0x2E8};

	assert(n < ARCH_SERIAL_PORTS);
	*ret_on_ports = true;
	return ports[n];
}
