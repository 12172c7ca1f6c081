/* SPDX-License-Identifier: BSD-3-Clause */
/* irqchip.c - interrupt controllers, timer and KVM's own pages */
#include "arch/arch.h"

#include "arch/x86_64/layout.h"

#include <errno.h>
#include <linux/kvm.h>
#include <sys/ioctl.h>

/* A port 0x61 in the kernel comes with the timer, so that the guest can calibrate by it. */
static int pit_new(struct vm *vm)
{
	struct kvm_pit_config pit = {.flags = KVM_PIT_SPEAKER_DUMMY};

	return vm_ioctl(vm, KVM_CREATE_PIT2, &pit);
}

int arch_vm_init(struct vm *vm, struct err *e)
{
	uint64_t identity_map = LAYOUT_KVM_IDENTITY_MAP;
	int r = vm_ioctl(vm, KVM_SET_IDENTITY_MAP_ADDR, &identity_map);

	if (r < 0)
		return err_set(e, -r, "cannot place KVM's identity map");
	if (ioctl(vm->fd, KVM_SET_TSS_ADDR, (unsigned long)LAYOUT_KVM_TSS) < 0)
		return err_set(e, errno, "cannot place KVM's task state segment");
	if (ioctl(vm->fd, KVM_CREATE_IRQCHIP, 0L) < 0)
		return err_set(e, errno, "KVM cannot create interrupt controllers");
	r = pit_new(vm); /* after the controllers: newer kernels insist */
	return r < 0 ? err_set(e, -r, "KVM cannot create a timer") : 0;
}
