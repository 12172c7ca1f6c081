/* SPDX-License-Identifier: BSD-3-Clause */
/* cpu.c - the state in which vCPUs start */
#include "arch/arch.h"

#include "arch/x86_64/cpuid.h"
#include "arch/x86_64/msr.h"
#include "arch/x86_64/paging.h"
#include "arch/x86_64/regs.h"

#include <errno.h>
#include <string.h>

enum {
	LVT0 = 0x350,
	LVT1 = 0x360,
	MODE_MASK = 0x700,
	MODE_NMI = 0x400,
	MODE_EXTINT = 0x700,
};

static void lvt_mode_set(struct kvm_lapic_state *lapic, unsigned at, uint32_t mode)
{
	uint32_t value;

	memcpy(&value, lapic->regs + at, sizeof(value));
	value = (value & ~(uint32_t)MODE_MASK) | mode;
	memcpy(lapic->regs + at, &value, sizeof(value));
}

/* Interrupts of the old controller come in at LINT0, NMI at LINT1, as the tables say. */
static int lapic_init(struct vcpu *v)
{
	struct kvm_lapic_state lapic;
	int r = vcpu_ioctl(v, KVM_GET_LAPIC, &lapic);

	if (r < 0)
		return r;
	lvt_mode_set(&lapic, LVT0, MODE_EXTINT);
	lvt_mode_set(&lapic, LVT1, MODE_NMI);
	return vcpu_ioctl(v, KVM_SET_LAPIC, &lapic);
}

static int tables_write(struct gmem *m, enum arch_entry_mode mode)
{
	if (mode == ARCH_ENTRY_LONG && !paging_write(m))
		return -EFAULT;
	return regs_gdt_write(m, mode) ? 0 : -EFAULT;
}

static int state_set(struct vcpu *v, const struct arch_entry *entry)
{
	struct kvm_sregs sregs;
	struct kvm_regs regs;
	struct kvm_fpu fpu;
	int r = vcpu_ioctl(v, KVM_GET_SREGS, &sregs);

	regs_general(entry, &regs);
	regs_fpu(&fpu);
	if (r == 0) {
		regs_special(entry->mode, &sregs);
		r = vcpu_ioctl(v, KVM_SET_SREGS, &sregs);
	}
	if (r == 0)
		r = vcpu_ioctl(v, KVM_SET_REGS, &regs);
	if (r == 0)
		r = vcpu_ioctl(v, KVM_SET_FPU, &fpu);
	return r;
}

int arch_vcpu_init(struct vcpu *v, unsigned index, unsigned ncpus, const struct arch_entry *entry,
		   struct gmem *m, struct err *e)
{
	int r = cpuid_init(v, ncpus, e);

	if (r == 0)
		r = msr_init(v, e);
	if (r < 0 || index > 0)
		return r; /* the others wait for INIT and SIPI, which reset all the rest */
	r = tables_write(m, entry->mode);
	if (r == 0)
		r = state_set(v, entry);
	if (r == 0)
		r = lapic_init(v);
	return r < 0 ? err_set(e, -r, "vCPU %u: cannot set its registers", index) : 0;
}
