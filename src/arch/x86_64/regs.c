/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * regs.c - the registers that the first vCPU starts with
 *
 * Selectors are those that Linux's boot protocols ask for: code 0x10, data 0x18; PVH and multiboot
 * leave them open.  Interrupts are off and there is no IDT: a kernel that faults before it has one
 * ends in a triple fault, which is what we report.
 */
#include "arch/x86_64/regs.h"

#include "arch/x86_64/layout.h"
#include "base/wire.h"

enum {
	GDT_CODE = 2, /* indices; selectors are eight times as much */
	GDT_DATA = 3,
	GDT_TSS = 4,
	GDT_ENTRIES = 5,
	TYPE_CODE = 0xB, /* execute, read, accessed */
	TYPE_DATA = 0x3, /* read, write, accessed */
	TYPE_TSS_BUSY = 0xB,
	TSS_LIMIT = 0x67,
};

enum {
	CR0_PE = 0x1,
	CR0_ET = 0x10,
	CR0_NW = 0x20000000,
	CR0_CD = 0x40000000,
	CR4_PAE = 0x20,
	EFER_LME = 0x100,
	EFER_LMA = 0x400,
	RFLAGS_ALWAYS = 0x2,
	FPU_CONTROL = 0x37F,
	FPU_MXCSR = 0x1F80,
};

#define CR0_PG UINT64_C(0x80000000)

static struct kvm_segment flat(unsigned index, uint8_t type, bool is_long)
{
	return (struct kvm_segment){
		.limit = 0xFFFFFFFF,
		.selector = (uint16_t)(index * 8),
		.type = type,
		.present = 1,
		.db = !is_long,
		.s = 1,
		.l = is_long,
		.g = 1,
	};
}

static struct kvm_segment task_state(void)
{
	return (struct kvm_segment){
		.limit = TSS_LIMIT,
		.selector = GDT_TSS * 8,
		.type = TYPE_TSS_BUSY,
		.present = 1,
	};
}

/* The descriptor that loads the segment (Intel SDM volume 3, 3.4.5). */
static uint64_t descriptor(const struct kvm_segment *s)
{
	const uint64_t limit = s->g ? s->limit >> 12 : s->limit;

	return (limit & 0xFFFF) | (s->base & 0xFFFFFF) << 16 | (uint64_t)s->type << 40 |
	       (uint64_t)s->s << 44 | (uint64_t)s->dpl << 45 | (uint64_t)s->present << 47 |
	       (limit >> 16 & 0xF) << 48 | (uint64_t)s->l << 53 | (uint64_t)s->db << 54 |
	       (uint64_t)s->g << 55 | (s->base >> 24 & 0xFF) << 56;
}

bool regs_gdt_write(struct gmem *m, enum arch_entry_mode mode)
{
	const struct kvm_segment code = flat(GDT_CODE, TYPE_CODE, mode == ARCH_ENTRY_LONG);
	const struct kvm_segment data = flat(GDT_DATA, TYPE_DATA, false);
	const struct kvm_segment task = task_state();
	const le64 gdt[GDT_ENTRIES] = {
		[GDT_CODE] = le64_of(descriptor(&code)),
		[GDT_DATA] = le64_of(descriptor(&data)),
		[GDT_TSS] = le64_of(descriptor(&task)),
	};

	return gmem_write(m, LAYOUT_GDT, gdt, sizeof(gdt));
}

void regs_special(enum arch_entry_mode mode, struct kvm_sregs *sregs)
{
	const struct kvm_segment data = flat(GDT_DATA, TYPE_DATA, false);

	sregs->cs = flat(GDT_CODE, TYPE_CODE, mode == ARCH_ENTRY_LONG);
	sregs->ds = sregs->es = sregs->fs = sregs->gs = sregs->ss = data;
	sregs->tr = task_state();
	sregs->gdt = (struct kvm_dtable){.base = LAYOUT_GDT, .limit = GDT_ENTRIES * 8 - 1};
	sregs->idt = (struct kvm_dtable){0};
	sregs->cr0 = (sregs->cr0 & ~(uint64_t)(CR0_CD | CR0_NW)) | CR0_PE | CR0_ET;
	if (mode == ARCH_ENTRY_LONG) {
		sregs->cr0 |= CR0_PG;
		sregs->cr3 = LAYOUT_PML4;
		sregs->cr4 |= CR4_PAE;
		sregs->efer |= EFER_LME | EFER_LMA;
	}
}

void regs_general(const struct arch_entry *entry, struct kvm_regs *ret)
{
	*ret = (struct kvm_regs){
		.rip = entry->pc,
		.rsi = entry->argument[0],
		.rbx = entry->argument[1],
		.rax = entry->argument[2],
		.rsp = LAYOUT_STACK_TOP,
		.rbp = LAYOUT_STACK_TOP,
		.rflags = RFLAGS_ALWAYS,
	};
}

void regs_fpu(struct kvm_fpu *ret)
{
	*ret = (struct kvm_fpu){.fcw = FPU_CONTROL, .mxcsr = FPU_MXCSR};
}
