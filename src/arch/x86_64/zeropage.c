/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * zeropage.c - struct boot_params (Linux, Documentation/arch/x86/boot.rst and zero-page.rst)
 *
 * The seed goes in as SETUP_RNG_SEED, which Linux mixes in before it starts anything (6.0 and
 * later; others skip it), so that the guest need not wait for entropy.
 */
#include "arch/x86_64/zeropage.h"

#include "arch/x86_64/e820.h"
#include "arch/x86_64/layout.h"

#include <assert.h>
#include <errno.h>
#include <string.h>
#include <sys/random.h>

enum { LOADER_UNDEFINED = 0xFF, SEED_BYTES = 32 };

static_assert(sizeof(struct boot_params) == 4096, "zero page");

static void map_fill(struct boot_params *p, const struct gmem *m)
{
	struct e820_range map[E820_MAX];
	const unsigned n = e820_fill(m, map);

	for (unsigned i = 0; i < n; i++)
		p->e820_table[i] = (struct boot_e820_entry){
			.addr = map[i].base, .size = map[i].size, .type = map[i].type};
	p->e820_entries = (uint8_t)n;
}

/* Returns the address of the list of setup_data, 0 for none. */
static uint64_t seed_write(struct gmem *m)
{
	struct setup_data head = {.type = SETUP_RNG_SEED, .len = SEED_BYTES};
	uint8_t seed[SEED_BYTES];

	if (getrandom(seed, sizeof(seed), GRND_NONBLOCK) != sizeof(seed))
		return 0; /* the guest finds entropy without us, later */
	if (!gmem_write(m, LAYOUT_SETUP_DATA, &head, sizeof(head)) ||
	    !gmem_write(m, LAYOUT_SETUP_DATA + sizeof(head), seed, sizeof(seed)))
		return 0;
	explicit_bzero(seed, sizeof(seed));
	return LAYOUT_SETUP_DATA;
}

int zeropage_write(struct gmem *m, const struct setup_header *header, const struct initrd *initrd,
		   struct err *e)
{
	struct boot_params p = {.hdr = *header};

	p.hdr.type_of_loader = LOADER_UNDEFINED;
	p.hdr.cmd_line_ptr = LAYOUT_CMDLINE;
	p.hdr.ramdisk_image = (uint32_t)initrd->base; /* below the hole */
	p.hdr.ramdisk_size = (uint32_t)initrd->size;
	p.hdr.setup_data = seed_write(m);
	p.acpi_rsdp_addr = LAYOUT_ACPI;
	map_fill(&p, m);
	if (!gmem_write(m, LAYOUT_ZERO_PAGE, &p, sizeof(p)))
		return err_say(e, ENOMEM, "no memory for the zero page at 0x%x", LAYOUT_ZERO_PAGE);
	return 0;
}
