/* SPDX-License-Identifier: BSD-3-Clause */
/* sample_kernels.c - small kernel files made by hand, for tests */
#include "arch/x86_64/sample_kernels.h"

#include <asm/bootparam.h>
#include <assert.h>
#include <elf.h>
#include <string.h>

enum {
	SETUP_SECTORS = 2,
	PAYLOAD_AT = (SETUP_SECTORS + 1) * 512,
	PAYLOAD_BYTES = 0x400,
	ENTRY64 = 0x200,
	SEGMENT_AT = 0x400,
	NOTE_AT = 0x200,
	MB_AT = 0x300,
	MB_MAGIC = 0x1BADB002,
	MB_ADDRESSES = 0x10000,
};

static void start(struct sample *s, const char *name, size_t n)
{
	assert(n <= sizeof(s->bytes));
	memset(s, 0, sizeof(*s));
	s->name = name;
	s->n = n;
}

static void put(struct sample *s, size_t at, const void *bytes, size_t n)
{
	assert(at + n <= s->n);
	memcpy(s->bytes + at, bytes, n);
}

void sample_bzimage(struct sample *s, const uint8_t *code, size_t n)
{
	const struct setup_header header = {
		.setup_sects = SETUP_SECTORS,
		.syssize = PAYLOAD_BYTES / 16,
		.boot_flag = 0xAA55,
		.jump = 0x66EB, /* over the header, which ends at 0x268 */
		.header = 0x53726448,
		.version = 0x20F,
		.loadflags = LOADED_HIGH,
		.initrd_addr_max = 0x7FFFFFFF,
		.kernel_alignment = 0x200000,
		.relocatable_kernel = 1,
		.xloadflags = XLF_KERNEL_64,
		.cmdline_size = SAMPLE_CMDLINE_MAX,
		.pref_address = SAMPLE_PREF_ADDRESS,
		.init_size = SAMPLE_INIT_SIZE,
	};

	start(s, "bzimage", PAYLOAD_AT + PAYLOAD_BYTES);
	put(s, offsetof(struct boot_params, hdr), &header, sizeof(header));
	put(s, PAYLOAD_AT + ENTRY64, code, n);
}

static void elf64_headers(struct sample *s, uint64_t address, unsigned nheaders)
{
	const Elf64_Ehdr h = {
		.e_ident = {ELFMAG0, ELFMAG1, ELFMAG2, ELFMAG3, ELFCLASS64, ELFDATA2LSB,
			    EV_CURRENT},
		.e_type = ET_EXEC,
		.e_machine = EM_X86_64,
		.e_version = EV_CURRENT,
		.e_entry = address,
		.e_phoff = sizeof(h),
		.e_ehsize = sizeof(h),
		.e_phentsize = sizeof(Elf64_Phdr),
		.e_phnum = (uint16_t)nheaders,
	};
	const Elf64_Phdr load = {
		.p_type = PT_LOAD,
		.p_flags = PF_R | PF_W | PF_X,
		.p_offset = SEGMENT_AT,
		.p_vaddr = address + 0xFFFFFFFF80000000,
		.p_paddr = address,
		.p_filesz = SAMPLE_SEGMENT_BYTES,
		.p_memsz = SAMPLE_SEGMENT_MEMORY,
		.p_align = 0x1000,
	};

	start(s, "elf64", SEGMENT_AT + SAMPLE_SEGMENT_BYTES);
	put(s, 0, &h, sizeof(h));
	put(s, sizeof(h), &load, sizeof(load));
}

void sample_elf64(struct sample *s, uint64_t address, const uint8_t *code, size_t n)
{
	elf64_headers(s, address, 1);
	put(s, SEGMENT_AT, code, n);
}

void sample_pvh(struct sample *s, const uint8_t *code, size_t n)
{
	const struct {
		Elf64_Nhdr head;
		char name[4];
		uint32_t entry, padding;
	} note = {{4, 4, 18}, "Xen", SAMPLE_ELF_ADDRESS + SAMPLE_PVH_OFFSET, 0};
	const Elf64_Phdr header = {
		.p_type = PT_NOTE,
		.p_offset = NOTE_AT,
		.p_filesz = sizeof(note) - sizeof(note.padding),
		.p_memsz = sizeof(note) - sizeof(note.padding),
		.p_align = 4,
	};

	elf64_headers(s, SAMPLE_ELF_ADDRESS, 2);
	s->name = "pvh";
	put(s, sizeof(Elf64_Ehdr) + sizeof(Elf64_Phdr), &header, sizeof(header));
	put(s, NOTE_AT, &note, sizeof(note));
	put(s, SEGMENT_AT + SAMPLE_PVH_OFFSET, code, n);
}

void sample_multiboot(struct sample *s, uint32_t address, const uint8_t *code, size_t n)
{
	const Elf32_Ehdr h = {
		.e_ident = {ELFMAG0, ELFMAG1, ELFMAG2, ELFMAG3, ELFCLASS32, ELFDATA2LSB,
			    EV_CURRENT},
		.e_type = ET_EXEC,
		.e_machine = EM_386,
		.e_version = EV_CURRENT,
		.e_entry = address,
		.e_phoff = sizeof(h),
		.e_ehsize = sizeof(h),
		.e_phentsize = sizeof(Elf32_Phdr),
		.e_phnum = 1,
	};
	const Elf32_Phdr load = {
		.p_type = PT_LOAD,
		.p_offset = SEGMENT_AT,
		.p_vaddr = address,
		.p_paddr = address,
		.p_filesz = SAMPLE_SEGMENT_BYTES,
		.p_memsz = SAMPLE_SEGMENT_MEMORY,
	};
	const uint32_t header[] = {MB_MAGIC, 3, 0u - MB_MAGIC - 3};

	start(s, "multiboot", SEGMENT_AT + SAMPLE_SEGMENT_BYTES);
	put(s, 0, &h, sizeof(h));
	put(s, sizeof(h), &load, sizeof(load));
	put(s, MB_AT, header, sizeof(header));
	put(s, SEGMENT_AT, code, n);
}

void sample_multiboot_flat(struct sample *s, uint32_t address, const uint8_t *code, size_t n)
{
	const uint32_t code_at = 0x40;
	const uint32_t header[] = {
		MB_MAGIC,
		MB_ADDRESSES,
		0u - MB_MAGIC - MB_ADDRESSES,
		address + 4,                             /* of this header */
		address,                                 /* load */
		address + SAMPLE_SEGMENT_BYTES,          /* end of what is loaded */
		address + SAMPLE_SEGMENT_BYTES + 0x1000, /* end of bss */
		address + code_at,
	};

	start(s, "multiboot-flat", SAMPLE_SEGMENT_BYTES);
	put(s, 4, header, sizeof(header));
	put(s, code_at, code, n);
}
