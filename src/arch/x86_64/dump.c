/* SPDX-License-Identifier: BSD-3-Clause */
/* dump.c - a vCPU's registers for people, after something went wrong */
#include "arch/arch.h"

#include <linux/kvm.h>
#include <stdio.h>

enum { CODE_BYTES = 16 };

typedef void print_line(const char *format, ...);

static void general_print(const struct kvm_regs *r, print_line *print)
{
	print("rip %016llx  rflags %08llx", r->rip, r->rflags);
	print("rax %016llx  rbx %016llx  rcx %016llx  rdx %016llx", r->rax, r->rbx, r->rcx, r->rdx);
	print("rsi %016llx  rdi %016llx  rsp %016llx  rbp %016llx", r->rsi, r->rdi, r->rsp, r->rbp);
	print("r8  %016llx  r9  %016llx  r10 %016llx  r11 %016llx", r->r8, r->r9, r->r10, r->r11);
	print("r12 %016llx  r13 %016llx  r14 %016llx  r15 %016llx", r->r12, r->r13, r->r14, r->r15);
}

static void segment_print(const char *name, const struct kvm_segment *s, print_line *print)
{
	print("%s  %04x  base %016llx  limit %08x  type %x%s%s%s%s", name, s->selector, s->base,
	      s->limit, s->type, s->l ? " long" : "", s->db ? " 32-bit" : "",
	      s->present ? "" : " absent", s->unusable ? " unusable" : "");
}

static void special_print(const struct kvm_sregs *s, print_line *print)
{
	print("cr0 %08llx  cr2 %016llx  cr3 %016llx  cr4 %08llx  efer %llx", s->cr0, s->cr2, s->cr3,
	      s->cr4, s->efer);
	segment_print("cs", &s->cs, print);
	segment_print("ss", &s->ss, print);
	segment_print("ds", &s->ds, print);
	segment_print("tr", &s->tr, print);
	print("gdt %016llx limit %04x  idt %016llx limit %04x", s->gdt.base, s->gdt.limit,
	      s->idt.base, s->idt.limit);
}

/* The bytes at the program counter, which KVM translates through the guest's page tables. */
static void code_print(struct vcpu *v, const struct gmem *m, uint64_t linear, print_line *print)
{
	struct kvm_translation t = {.linear_address = linear};
	char text[CODE_BYTES * 3 + 1] = "";
	uint8_t byte;

	if (vcpu_ioctl(v, KVM_TRANSLATE, &t) < 0 || !t.valid) {
		print("code at %016llx: not mapped", (unsigned long long)linear);
		return;
	}
	for (unsigned i = 0; i < CODE_BYTES; i++) {
		if (!gmem_read(m, t.physical_address + i, &byte, 1))
			break;
		snprintf(text + i * 3, 4, " %02x", byte);
	}
	print("code at %016llx (physical %llx):%s", (unsigned long long)linear, t.physical_address,
	      text);
}

void arch_vcpu_dump(struct vcpu *v, const struct gmem *m, void (*print)(const char *format, ...))
{
	struct kvm_regs regs;
	struct kvm_sregs sregs;

	print("registers of vCPU %u:", v->index);
	if (vcpu_ioctl(v, KVM_GET_REGS, &regs) < 0 || vcpu_ioctl(v, KVM_GET_SREGS, &sregs) < 0) {
		print("KVM does not give them");
		return;
	}
	general_print(&regs, print);
	special_print(&sregs, print);
	code_print(v, m, sregs.cs.base + regs.rip, print);
}
