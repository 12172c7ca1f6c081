/* SPDX-License-Identifier: BSD-3-Clause */
/* msr.c - model-specific registers that every vCPU starts with */
#include "arch/x86_64/msr.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

enum { FAST_STRINGS = 1, MTRR_ENABLE = 1 << 11, MTRR_WRITE_BACK = 6 };

/*
 * Memory types: write-back everywhere, as firmware would set it for memory.  Left off, Linux takes
 * all memory for uncached and gives up on PAT; devices are mapped uncached by page tables.
 */
static const struct {
	uint32_t index;
	uint32_t value;
	const char *name;
} msrs[] = {
	{0x174, 0, "SYSENTER_CS"},
	{0x175, 0, "SYSENTER_ESP"},
	{0x176, 0, "SYSENTER_EIP"},
	{0xC0000081, 0, "STAR"},
	{0xC0000083, 0, "CSTAR"},
	{0xC0000102, 0, "KERNEL_GS_BASE"},
	{0xC0000084, 0, "SYSCALL_MASK"},
	{0xC0000082, 0, "LSTAR"},
	{0x10, 0, "TSC"},
	{0x1A0, FAST_STRINGS, "MISC_ENABLE"},
	{0x2FF, MTRR_ENABLE | MTRR_WRITE_BACK, "MTRR_DEF_TYPE"},
};

int msr_init(struct vcpu *v, struct err *e)
{
	union {
		struct kvm_msrs head;
		char bytes[sizeof(struct kvm_msrs) +
			   ARRAY_LEN(msrs) * sizeof(struct kvm_msr_entry)];
	} request;
	int r;

	memset(&request, 0, sizeof(request));
	request.head.nmsrs = ARRAY_LEN(msrs);
	for (unsigned i = 0; i < ARRAY_LEN(msrs); i++)
		request.head.entries[i] =
			(struct kvm_msr_entry){.index = msrs[i].index, .data = msrs[i].value};
	r = vcpu_ioctl(v, KVM_SET_MSRS, &request);
	if (r < 0)
		return err_set(e, -r, "vCPU %u: cannot set model-specific registers", v->index);
	if ((unsigned)r < ARRAY_LEN(msrs))
		return err_say(e, EINVAL, "vCPU %u: KVM refuses MSR 0x%x (%s)", v->index,
			       msrs[r].index, msrs[r].name);
	return 0;
}
