/* SPDX-License-Identifier: BSD-3-Clause */
/* elf.h - ELF files, as far as loading a kernel needs them */
#pragma once

#include "arch/x86_64/kernel_file.h"
#include "base/attr.h"
#include "base/err.h"
#include "mem/gmem.h"

#include <stdbool.h>
#include <stdint.h>

enum { ELF_SEGMENTS_MAX = 64 };

/* One piece to load: file_bytes from the file, then zeros up to memory_bytes. */
struct elf_segment {
	uint64_t at, file_bytes;
	uint64_t physical, virtual, memory_bytes;
};

struct elf {
	bool is_64;     /* ELF64 for x86-64; else ELF32 for i386 */
	uint64_t entry; /* as in the header */
	bool has_pvh;   /* there is an XEN_ELFNOTE_PHYS32_ENTRY */
	uint64_t pvh_entry;
	unsigned nsegments; /* at least 1 */
	struct elf_segment segments[ELF_SEGMENTS_MAX];
	uint64_t start, end; /* physical extent of all segments */
};

bool elf_matches(const struct kernel_file *f);

/* Reads headers and notes; segments are sane in themselves but not yet compared with memory. */
int elf_parse(const struct kernel_file *f, struct elf *ret, struct err *e) MUST_CHECK;

/* Whether the physical address lies in a segment. */
bool elf_covers(const struct elf *elf, uint64_t address);

/* The physical address of the entry, which some linker scripts give as a virtual one. */
int elf_entry(const struct kernel_file *f, const struct elf *elf, uint64_t *ret, struct err *e)
	MUST_CHECK;

/* Moves all physical addresses, PVH's entry included, up. -EINVAL when one would wrap. */
int elf_move(struct elf *elf, uint64_t up) MUST_CHECK;

/* Checks that each segment fits (memory_is_free()), and loads them. */
int elf_load(const struct kernel_file *f, const struct elf *elf, struct gmem *m, uint64_t min,
	     struct err *e) MUST_CHECK;
