/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * multiboot.c - Multiboot kernels
 *
 * They are entered in flat 32-bit protected mode, paging off, with a magic number in EAX and the
 * address of the information structure in EBX.  That and the command line lie on the page behind
 * the kernel, the module (our initrd) behind that, so that kernels linked low, in what other kinds
 * find filled with tables, have room.  The command line begins with the kernel's path, as other
 * loaders do it, and has none of Linux's words.
 */
#include "arch/x86_64/multiboot.h"

#include "arch/x86_64/e820.h"
#include "arch/x86_64/elf.h"
#include "arch/x86_64/initrd.h"
#include "arch/x86_64/layout.h"
#include "arch/x86_64/memory.h"
#include "base/num.h"
#include "base/wire.h"

#include <assert.h>
#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

enum {
	HEADER_MAGIC = 0x1BADB002,
	LOADER_MAGIC = 0x2BADB002,
	HEADER_ALIGN = 4,
	NEEDS_VIDEO = 1 << 2,
	NEEDS_UNKNOWN = 0xFFF8, /* bits 0 to 15 must be understood */
	HAS_ADDRESSES = 1 << 16,
	INFO_MEMORY = 1 << 0,
	INFO_CMDLINE = 1 << 2,
	INFO_MODULES = 1 << 3,
	INFO_MAP = 1 << 6,
	INFO_LOADER = 1 << 9,
	LOW_MIN = 0x1000, /* kernels go no lower: the GDT is there */
	PAGE_BYTES = 4096,
	CMDLINE_MAX = 4095,
};

struct mb_header {
	le32 magic, flags, checksum;
	le32 header_address, load_address, load_end, bss_end, entry; /* with HAS_ADDRESSES */
};

struct mb_info {
	le32 flags, memory_lower, memory_upper, boot_device, cmdline, nmodules, modules;
	le32 symbols[4], map_bytes, map, drives[2], config_table, loader_name, unused[10];
};
static_assert(offsetof(struct mb_info, loader_name) == 64, "Multiboot 3.3");

struct mb_module {
	le32 start, end, string, reserved;
};

struct mb_range {
	le32 size; /* of what follows */
	le64 base, length;
	le32 type;
};
static_assert(sizeof(struct mb_range) == 24, "Multiboot 3.3");

struct mb_block {
	struct mb_info info;
	struct mb_module module;
	struct mb_range map[E820_MAX];
	char loader[8], module_string[8];
	char cmdline[CMDLINE_MAX + 1];
};

/* Where things go. */
struct plan {
	uint64_t entry, end; /* end of the kernel with its bss */
	uint64_t block;      /* struct mb_block */
	struct initrd module;
};

/* Copies the header; false if there is none.  ret_at: where it is in the file. */
static bool header_find(const struct kernel_file *f, struct mb_header *ret, size_t *ret_at)
{
	for (size_t at = 0; at + 3 * sizeof(le32) <= f->head_bytes; at += HEADER_ALIGN) {
		struct mb_header h = {0};

		memcpy(&h, f->head + at, min_size(sizeof(h), f->head_bytes - at));
		if (le32_get(h.magic) != HEADER_MAGIC ||
		    le32_get(h.magic) + le32_get(h.flags) + le32_get(h.checksum) != 0)
			continue;
		*ret = h;
		*ret_at = at;
		return true;
	}
	return false;
}

bool multiboot_matches(const struct kernel_file *f)
{
	struct mb_header header;
	size_t at;

	return header_find(f, &header, &at);
}

/* A flat image: the header's addresses say which part of the file goes where. */
static int flat_load(const struct kernel_file *f, const struct mb_header *h, size_t at,
		     struct gmem *m, struct plan *p, struct err *e)
{
	const uint64_t header = le32_get(h->header_address), start = le32_get(h->load_address);
	const uint64_t load_end = le32_get(h->load_end), bss_end = le32_get(h->bss_end);
	uint64_t from, bytes;

	if (at + sizeof(*h) > f->head_bytes || header < start || header - start > at)
		return err_say(e, EINVAL, "%s: multiboot header with impossible addresses",
			       f->path);
	from = at - (header - start);
	bytes = load_end ? load_end - start : f->size - from;
	p->end = max_u64(start + bytes, bss_end);
	p->entry = le32_get(h->entry);
	if ((load_end && load_end < start) || p->entry < start || p->entry >= p->end)
		return err_say(e, EINVAL, "%s: multiboot header with impossible addresses",
			       f->path);
	if (!memory_is_free(m, start, p->end - start, LOW_MIN))
		return err_say(e, ENOMEM,
			       "%s: multiboot kernel at 0x%llx to 0x%llx does not fit in memory",
			       f->path, (unsigned long long)start, (unsigned long long)p->end);
	return kernel_file_load(f, from, bytes, m, start, "the kernel", e);
}

static int elf_kernel_load(const struct kernel_file *f, struct gmem *m, struct plan *p,
			   struct err *e)
{
	struct elf elf;
	int r = elf_parse(f, &elf, e);

	if (r == 0)
		r = elf_entry(f, &elf, &p->entry, e);
	if (r < 0)
		return r;
	p->end = elf.end;
	return elf_load(f, &elf, m, LOW_MIN, e);
}

static int kernel_load(const struct kernel_file *f, struct gmem *m, struct plan *p, struct err *e)
{
	struct mb_header h = {0};
	size_t at = 0;
	uint32_t flags;

	header_find(f, &h, &at);
	flags = le32_get(h.flags);
	if (flags & NEEDS_VIDEO)
		return err_say(e, ENOTSUP, "%s: multiboot kernel that needs a video mode", f->path);
	if (flags & NEEDS_UNKNOWN)
		return err_say(e, ENOTSUP, "%s: multiboot kernel with unknown needs 0x%x", f->path,
			       flags & 0xFFFF);
	if (flags & HAS_ADDRESSES)
		return flat_load(f, &h, at, m, p, e);
	if (!elf_matches(f))
		return err_say(e, EINVAL,
			       "%s: multiboot kernel that is not ELF and has no addresses",
			       f->path);
	return elf_kernel_load(f, m, p, e);
}

static void map_fill(struct mb_block *b, const struct gmem *m, uint64_t at)
{
	struct e820_range map[E820_MAX];
	const unsigned n = e820_fill(m, map);

	for (unsigned i = 0; i < n; i++)
		b->map[i] = (struct mb_range){
			.size = le32_of(sizeof(b->map[i]) - sizeof(b->map[i].size)),
			.base = le64_of(map[i].base),
			.length = le64_of(map[i].size),
			.type = le32_of(map[i].type),
		};
	b->info.map_bytes = le32_of(n * (uint32_t)sizeof(b->map[0]));
	b->info.map = le32_of((uint32_t)(at + offsetof(struct mb_block, map)));
}

static int cmdline_fill(struct mb_block *b, const struct arch_kernel *k, struct err *e)
{
	const char *words = k->cmdline ? k->cmdline : "";
	const int n = snprintf(b->cmdline, sizeof(b->cmdline), "%s%s%s", k->path,
			       words[0] ? " " : "", words);

	if (n < 0 || (size_t)n >= sizeof(b->cmdline))
		return err_say(e, E2BIG, "command line of %d characters is too long: at most %d; "
			       "shorten --params", n,
			       CMDLINE_MAX);
	return 0;
}

static int block_write(const struct arch_kernel *k, struct gmem *m, const struct plan *p,
		       struct err *e)
{
	const uint32_t at = (uint32_t)p->block;
	const uint64_t memory_end = memory_low_end(m);
	const struct initrd *module = &p->module;
	struct mb_block b = {
		.info = {.flags = le32_of(INFO_MEMORY | INFO_CMDLINE | INFO_MAP | INFO_LOADER |
					  (module->size > 0 ? (uint32_t)INFO_MODULES : 0)),
			 .memory_lower = le32_of(LAYOUT_EBDA >> 10),
			 .memory_upper = le32_of((uint32_t)((memory_end - LAYOUT_HIGH) >> 10)),
			 .cmdline = le32_of(at + (uint32_t)offsetof(struct mb_block, cmdline)),
			 .nmodules = le32_of(module->size > 0 ? 1 : 0),
			 .modules = le32_of(at + (uint32_t)offsetof(struct mb_block, module)),
			 .loader_name = le32_of(at + (uint32_t)offsetof(struct mb_block, loader))},
		.module = {.start = le32_of((uint32_t)module->base),
			   .end = le32_of((uint32_t)(module->base + module->size)),
			   .string = le32_of(at +
					     (uint32_t)offsetof(struct mb_block, module_string))},
		.loader = "crosvm",
		.module_string = "initrd",
	};
	int r = cmdline_fill(&b, k, e);

	if (r < 0)
		return r;
	map_fill(&b, m, at);
	if (!gmem_write(m, at, &b, sizeof(b)))
		return err_say(e, ENOMEM, "no memory for multiboot information at 0x%x", at);
	return 0;
}

int multiboot_load(const struct kernel_file *f, const struct arch_kernel *k, struct gmem *m,
		   struct arch_entry *ret, struct err *e)
{
	struct plan p = {0};
	int r = kernel_load(f, m, &p, e);

	if (r < 0)
		return r;
	/* Not into the low part, where the reserved tables are near. */
	p.block = round_up(max_u64(p.end, LAYOUT_HIGH), PAGE_BYTES);
	r = initrd_place_low(k, p.block + sizeof(struct mb_block), memory_low_end(m), &p.module, e);
	if (r == 0)
		r = initrd_load(k, &p.module, m, e);
	if (r == 0)
		r = block_write(k, m, &p, e);
	*ret = (struct arch_entry){.mode = ARCH_ENTRY_PROTECTED,
				   .pc = p.entry,
				   .argument = {0, p.block, LOADER_MAGIC}};
	return r;
}
