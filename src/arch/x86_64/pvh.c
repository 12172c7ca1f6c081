/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * pvh.c - PVH entry (Xen, docs/misc/pvh.pandoc and public/arch-x86/hvm/start_info.h)
 *
 * The kernel is entered in flat 32-bit protected mode, paging off, at the address in its
 * XEN_ELFNOTE_PHYS32_ENTRY note, with EBX pointing at struct start_info.
 */
#include "arch/x86_64/pvh.h"

#include "arch/x86_64/cmdline.h"
#include "arch/x86_64/e820.h"
#include "arch/x86_64/initrd.h"
#include "arch/x86_64/layout.h"
#include "arch/x86_64/memory.h"
#include "base/wire.h"

#include <assert.h>
#include <errno.h>
#include <stddef.h>

enum {
	START_MAGIC = 0x336EC578,
	START_VERSION = 1,  /* the first with a memory map */
	CMDLINE_MAX = 2047, /* Linux's COMMAND_LINE_SIZE, less the terminator */
};

struct start_info {
	le32 magic, version, flags, nmodules;
	le64 modules, cmdline, rsdp, map;
	le32 nmap, reserved;
};
static_assert(sizeof(struct start_info) == 56, "start_info.h");

struct start_module {
	le64 base, size, cmdline, reserved;
};

struct start_range {
	le64 base, size;
	le32 type, reserved;
};
static_assert(sizeof(struct start_range) == 24, "start_info.h");

/* All in one page. */
struct start_page {
	struct start_info info;
	struct start_module module;
	struct start_range map[E820_MAX];
};
static_assert(sizeof(struct start_page) <= LAYOUT_ZERO_PAGE - LAYOUT_START_INFO, "overlap");

static int start_info_write(struct gmem *m, const struct initrd *initrd, struct err *e)
{
	const gpa at = LAYOUT_START_INFO;
	struct e820_range map[E820_MAX];
	const unsigned n = e820_fill(m, map);
	struct start_page page = {
		.info = {.magic = le32_of(START_MAGIC),
			 .version = le32_of(START_VERSION),
			 .nmodules = le32_of(initrd->size > 0 ? 1 : 0),
			 .modules = le64_of(at + offsetof(struct start_page, module)),
			 .cmdline = le64_of(LAYOUT_CMDLINE),
			 .rsdp = le64_of(LAYOUT_ACPI),
			 .map = le64_of(at + offsetof(struct start_page, map)),
			 .nmap = le32_of(n)},
		.module = {.base = le64_of(initrd->base), .size = le64_of(initrd->size)},
	};

	for (unsigned i = 0; i < n; i++)
		page.map[i] = (struct start_range){.base = le64_of(map[i].base),
						   .size = le64_of(map[i].size),
						   .type = le32_of(map[i].type)};
	if (!gmem_write(m, at, &page, sizeof(page)))
		return err_say(e, ENOMEM, "no memory for start information at 0x%x",
			       LAYOUT_START_INFO);
	return 0;
}

int pvh_load(const struct kernel_file *f, const struct elf *elf, const struct arch_kernel *k,
	     struct gmem *m, struct arch_entry *ret, struct err *e)
{
	struct initrd initrd;
	int r;

	if (!elf_covers(elf, elf->pvh_entry))
		return err_say(e, EINVAL, "%s: the PVH entry 0x%llx lies outside of what is loaded",
			       f->path, (unsigned long long)elf->pvh_entry);
	r = cmdline_write(m, arch_cmdline_base(), k->cmdline, CMDLINE_MAX, e);
	if (r == 0)
		r = elf_load(f, elf, m, LAYOUT_HIGH, e);
	if (r == 0)
		r = initrd_place_high(k, elf->end, memory_low_end(m), &initrd, e);
	if (r == 0)
		r = initrd_load(k, &initrd, m, e);
	if (r < 0)
		return r;
	*ret = (struct arch_entry){.mode = ARCH_ENTRY_PROTECTED,
				   .pc = elf->pvh_entry,
				   .argument = {0, LAYOUT_START_INFO, 0}};
	return start_info_write(m, &initrd, e);
}
