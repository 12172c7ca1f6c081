/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * elf.c - ELF files
 *
 * Both classes are read into one form.  What lies between a segment's file and memory size is not
 * cleared: guest memory is zero when it is new, and nothing else is put there.
 */
#include "arch/x86_64/elf.h"

#include "arch/x86_64/memory.h"
#include "base/num.h"

#include <elf.h>
#include <errno.h>
#include <stddef.h>
#include <string.h>

enum {
	HEADERS_MAX = 256,     /* program headers looked at; real kernels have five */
	NOTES_MAX = 4096,      /* bytes of a note segment that are looked at */
	XEN_PHYS32_ENTRY = 18, /* XEN_ELFNOTE_PHYS32_ENTRY */
};

bool elf_matches(const struct kernel_file *f)
{
	return f->head_bytes >= SELFMAG && memcmp(f->head, ELFMAG, SELFMAG) == 0;
}

static const char *machine_name(unsigned machine)
{
	switch (machine) {
	case EM_386:
		return "i386";
	case EM_X86_64:
		return "x86-64";
	case EM_AARCH64:
		return "aarch64";
	case EM_ARM:
		return "arm";
	case EM_RISCV:
		return "RISC-V";
	case EM_PPC64:
		return "PowerPC";
	case EM_S390:
		return "S/390";
	case EM_MIPS:
		return "MIPS";
	default:
		return "another machine";
	}
}

/* Reads either class's header as that of ELF64. */
static int header_read(const struct kernel_file *f, Elf64_Ehdr *h, struct err *e)
{
	Elf32_Ehdr h32;
	int r;

	if (f->head_bytes < EI_NIDENT)
		return err_say(e, EINVAL, "%s: truncated: %zu bytes of an ELF file", f->path,
			       f->head_bytes);
	if (f->head[EI_CLASS] == ELFCLASS64)
		return kernel_file_read(f, 0, h, sizeof(*h), "the ELF header", e);
	if (f->head[EI_CLASS] != ELFCLASS32)
		return err_say(e, EINVAL, "%s: ELF of unknown class %u", f->path,
			       f->head[EI_CLASS]);
	r = kernel_file_read(f, 0, &h32, sizeof(h32), "the ELF header", e);
	if (r < 0)
		return r;
	memcpy(h->e_ident, h32.e_ident, sizeof(h->e_ident));
	h->e_type = h32.e_type;
	h->e_machine = h32.e_machine;
	h->e_entry = h32.e_entry;
	h->e_phoff = h32.e_phoff;
	h->e_phentsize = h32.e_phentsize;
	h->e_phnum = h32.e_phnum;
	h->e_ehsize = h32.e_ehsize;
	return 0;
}

static int header_check(const struct kernel_file *f, const Elf64_Ehdr *h, struct err *e)
{
	const bool is_64 = h->e_ident[EI_CLASS] == ELFCLASS64;
	const unsigned machine = is_64 ? EM_X86_64 : EM_386;
	const size_t entry_bytes = is_64 ? sizeof(Elf64_Phdr) : sizeof(Elf32_Phdr);

	if (h->e_ident[EI_DATA] != ELFDATA2LSB)
		return err_say(e, EINVAL, "%s: a big-endian ELF file", f->path);
	if (h->e_machine != machine)
		return err_say(e, EINVAL, "%s: an ELF%s file for %s (machine %u), not for x86-64",
			       f->path, is_64 ? "64" : "32", machine_name(h->e_machine),
			       h->e_machine);
	if (h->e_type != ET_EXEC && h->e_type != ET_DYN)
		return err_say(e, EINVAL, "%s: an ELF file of type %u, which is not linked to run",
			       f->path, h->e_type);
	if (h->e_phentsize != entry_bytes)
		return err_say(e, EINVAL, "%s: ELF program headers of %u bytes instead of %zu",
			       f->path, h->e_phentsize, entry_bytes);
	if (h->e_phoff < (is_64 ? sizeof(Elf64_Ehdr) : sizeof(Elf32_Ehdr)))
		return err_say(e, EINVAL, "%s: ELF program headers lie on the ELF header", f->path);
	if (h->e_phnum == 0 || h->e_phnum > HEADERS_MAX)
		return err_say(e, EINVAL, "%s: %u ELF program headers: 1 to %d are possible",
			       f->path, h->e_phnum, HEADERS_MAX);
	return 0;
}

static int program_header_read(const struct kernel_file *f, const Elf64_Ehdr *h, unsigned i,
			       Elf64_Phdr *ret, struct err *e)
{
	Elf32_Phdr p32;
	uint64_t at;
	int r;

	if (!add_ok(h->e_phoff, (uint64_t)i * h->e_phentsize, &at))
		at = UINT64_MAX;
	if (h->e_ident[EI_CLASS] == ELFCLASS64)
		return kernel_file_read(f, at, ret, sizeof(*ret), "an ELF program header", e);
	r = kernel_file_read(f, at, &p32, sizeof(p32), "an ELF program header", e);
	if (r < 0)
		return r;
	*ret = (Elf64_Phdr){
		.p_type = p32.p_type,
		.p_offset = p32.p_offset,
		.p_vaddr = p32.p_vaddr,
		.p_paddr = p32.p_paddr,
		.p_filesz = p32.p_filesz,
		.p_memsz = p32.p_memsz,
		.p_align = p32.p_align,
	};
	return 0;
}

static int segment_add(const struct kernel_file *f, struct elf *elf, const Elf64_Phdr *p,
		       struct err *e)
{
	uint64_t end;

	if (p->p_memsz == 0)
		return 0;
	if (p->p_filesz > p->p_memsz || !add_ok(p->p_paddr, p->p_memsz, &end) ||
	    !add_ok(p->p_vaddr, p->p_memsz, &end))
		return err_say(e, EINVAL, "%s: an ELF segment at 0x%llx has impossible sizes",
			       f->path, (unsigned long long)p->p_paddr);
	if (elf->nsegments == ELF_SEGMENTS_MAX)
		return err_say(e, EINVAL, "%s: more than %d ELF segments", f->path,
			       ELF_SEGMENTS_MAX);
	elf->segments[elf->nsegments++] = (struct elf_segment){
		.at = p->p_offset,
		.file_bytes = p->p_filesz,
		.physical = p->p_paddr,
		.virtual = p->p_vaddr,
		.memory_bytes = p->p_memsz,
	};
	elf->start = min_u64(elf->start, p->p_paddr);
	elf->end = max_u64(elf->end, p->p_paddr + p->p_memsz);
	return 0;
}

/* One note at the start of n bytes; returns how many it takes, 0 when it does not fit. */
static size_t note_read(const uint8_t *bytes, size_t n, struct elf *elf)
{
	Elf64_Nhdr note; /* both classes have the same */
	size_t desc_at, total;
	uint64_t value = 0;

	if (n < sizeof(note))
		return 0;
	memcpy(&note, bytes, sizeof(note));
	if (note.n_namesz > n || note.n_descsz > n)
		return 0;
	desc_at = sizeof(note) + round_up(note.n_namesz, 4);
	total = desc_at + round_up(note.n_descsz, 4);
	if (total > n)
		return 0;
	if (note.n_type == XEN_PHYS32_ENTRY && note.n_namesz == 4 &&
	    memcmp(bytes + sizeof(note), "Xen", 4) == 0 &&
	    (note.n_descsz == 4 || note.n_descsz == 8)) {
		memcpy(&value, bytes + desc_at, note.n_descsz);
		elf->has_pvh = true;
		elf->pvh_entry = value;
	}
	return total;
}

static int notes_read(const struct kernel_file *f, struct elf *elf, const Elf64_Phdr *p,
		      struct err *e)
{
	uint8_t notes[NOTES_MAX];
	size_t n = (size_t)min_u64(p->p_filesz, sizeof(notes)), at = 0, used;
	int r;

	if (p->p_align == 8)
		return 0; /* GNU properties, laid out differently */
	r = kernel_file_read(f, p->p_offset, notes, n, "an ELF note", e);
	if (r < 0)
		return r;
	do {
		used = note_read(notes + at, n - at, elf);
		at += used;
	} while (used > 0);
	return 0;
}

int elf_parse(const struct kernel_file *f, struct elf *ret, struct err *e)
{
	Elf64_Ehdr h = {0};
	int r = header_read(f, &h, e);

	*ret = (struct elf){.start = UINT64_MAX};
	if (r == 0)
		r = header_check(f, &h, e);
	ret->is_64 = h.e_ident[EI_CLASS] == ELFCLASS64;
	ret->entry = h.e_entry;
	for (unsigned i = 0; r == 0 && i < h.e_phnum; i++) {
		Elf64_Phdr p;

		r = program_header_read(f, &h, i, &p, e);
		if (r == 0 && p.p_type == PT_LOAD)
			r = segment_add(f, ret, &p, e);
		else if (r == 0 && p.p_type == PT_NOTE)
			r = notes_read(f, ret, &p, e);
	}
	if (r == 0 && ret->nsegments == 0)
		return err_say(e, EINVAL, "%s: an ELF file with nothing to load", f->path);
	return r;
}

bool elf_covers(const struct elf *elf, uint64_t address)
{
	for (unsigned i = 0; i < elf->nsegments; i++) {
		const struct elf_segment *s = &elf->segments[i];

		if (address >= s->physical && address - s->physical < s->memory_bytes)
			return true;
	}
	return false;
}

int elf_entry(const struct kernel_file *f, const struct elf *elf, uint64_t *ret, struct err *e)
{
	if (elf_covers(elf, elf->entry)) {
		*ret = elf->entry;
		return 0;
	}
	for (unsigned i = 0; i < elf->nsegments; i++) {
		const struct elf_segment *s = &elf->segments[i];

		if (elf->entry >= s->virtual && elf->entry - s->virtual < s->memory_bytes) {
			*ret = elf->entry - s->virtual + s->physical;
			return 0;
		}
	}
	return err_say(e, EINVAL, "%s: the entry 0x%llx lies outside of what is loaded", f->path,
		       (unsigned long long)elf->entry);
}

int elf_move(struct elf *elf, uint64_t up)
{
	if (!add_ok(elf->end, up, &elf->end))
		return -EINVAL;
	elf->start += up;
	elf->pvh_entry += up;
	for (unsigned i = 0; i < elf->nsegments; i++)
		elf->segments[i].physical += up;
	return 0;
}

/* Each segment in memory, and off the tables. */
static int segments_check(const struct kernel_file *f, const struct elf *elf, const struct gmem *m,
			  uint64_t min, struct err *e)
{
	for (unsigned i = 0; i < elf->nsegments; i++) {
		const struct elf_segment *s = &elf->segments[i];

		if (!is_inside(s->physical, s->memory_bytes, memory_low_end(m)))
			return err_say(e, ENOMEM,
				       "%s: the kernel reaches up to 0x%llx, low memory only to "
				       "0x%llx (see -m)",
				       f->path, (unsigned long long)elf->end,
				       (unsigned long long)memory_low_end(m));
		if (!memory_is_free(m, s->physical, s->memory_bytes, min))
			return err_say(e, EINVAL,
				       "%s: an ELF segment at 0x%llx lies on tables below 1 MiB",
				       f->path, (unsigned long long)s->physical);
	}
	return 0;
}

int elf_load(const struct kernel_file *f, const struct elf *elf, struct gmem *m, uint64_t min,
	     struct err *e)
{
	int r = segments_check(f, elf, m, min, e);

	for (unsigned i = 0; r == 0 && i < elf->nsegments; i++) {
		const struct elf_segment *s = &elf->segments[i];

		r = kernel_file_load(f, s->at, s->file_bytes, m, s->physical, "an ELF segment", e);
	}
	return r;
}
