/* SPDX-License-Identifier: BSD-3-Clause */
/* sample_kernels.h - small kernel files made by hand, for tests */
#pragma once

#include <stddef.h>
#include <stdint.h>

enum {
	SAMPLE_BYTES_MAX = 16384,
	SAMPLE_PREF_ADDRESS = 0x1000000,
	SAMPLE_INIT_SIZE = 0x400000,
	SAMPLE_CMDLINE_MAX = 100,
	SAMPLE_ELF_ADDRESS = 0x1200000,
	SAMPLE_PVH_OFFSET = 0x100, /* of the PVH entry in the segment */
	SAMPLE_SEGMENT_BYTES = 0x200,
	SAMPLE_SEGMENT_MEMORY = 0x3000,
};

struct sample {
	const char *name;
	size_t n;
	uint8_t bytes[SAMPLE_BYTES_MAX];
};

/* Linux's format; code at the 64-bit entry. */
void sample_bzimage(struct sample *s, const uint8_t *code, size_t n);

/* ELF64 with code at its entry, linked at that address. */
void sample_elf64(struct sample *s, uint64_t address, const uint8_t *code, size_t n);

/* ELF64 with a PVH note; code at the PVH entry. */
void sample_pvh(struct sample *s, const uint8_t *code, size_t n);

/* ELF32 with a multiboot header; code at its entry, linked at that address. */
void sample_multiboot(struct sample *s, uint32_t address, const uint8_t *code, size_t n);

/* A flat file whose multiboot header says where it goes. */
void sample_multiboot_flat(struct sample *s, uint32_t address, const uint8_t *code, size_t n);
