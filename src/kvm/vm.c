/* SPDX-License-Identifier: BSD-3-Clause */
/* vm.c - a KVM virtual machine: creation, memory slots */
#include "kvm/vm.h"

#include "base/fd.h"

#include <errno.h>
#include <linux/kvm.h>
#include <sys/ioctl.h>

/* What this program cannot do without. */
static const struct {
	int capability;
	const char *what;
} needed[] = {
	{KVM_CAP_IRQCHIP, "an interrupt controller in the kernel"},
	{KVM_CAP_IRQFD, "interrupts by eventfd"},
	{KVM_CAP_IOEVENTFD, "doorbells by eventfd"},
	{KVM_CAP_USER_MEMORY, "user memory"},
	{KVM_CAP_IMMEDIATE_EXIT, "immediate_exit"},
};

static int capabilities_check(const struct kvm *k, struct err *e)
{
	for (unsigned i = 0; i < ARRAY_LEN(needed); i++)
		if (kvm_capability(k, needed[i].capability) <= 0)
			return err_say(e, ENOSYS, "this KVM does not offer %s; run a newer kernel",
				       needed[i].what);
	return 0;
}

int vm_init(struct vm *vm, struct kvm *k, struct err *e)
{
	int r;

	*vm = (struct vm){.kvm = k, .fd = -1};
	pthread_mutex_init(&vm->lock, NULL);
	r = capabilities_check(k, e);
	if (r < 0)
		return r;
	do
		vm->fd = ioctl(k->fd, KVM_CREATE_VM, 0L);
	while (vm->fd < 0 && errno == EINTR);
	if (vm->fd < 0)
		return err_set(e, errno, "KVM cannot create a virtual machine");
	r = vm_host_init(vm);
	return r < 0 ? err_set(e, -r, "cannot keep interrupt routes") : 0;
}

void vm_fini(struct vm *vm)
{
	if (!vm || !vm->kvm)
		return;
	fd_close(&vm->fd);
	vm_host_fini(vm);
	pthread_mutex_destroy(&vm->lock);
	vm->kvm = NULL;
}

int vm_ioctl(const struct vm *vm, unsigned long request, void *argument)
{
	int r = ioctl(vm->fd, request, argument);

	return r < 0 ? -errno : r;
}

int vm_memory_set(struct vm *vm, const struct gmem *m, struct err *e)
{
	for (unsigned i = 0; i < m->nregions; i++) {
		const struct gmem_region *region = &m->regions[i];
		struct kvm_userspace_memory_region slot = {
			.slot = vm->nslots,
			.guest_phys_addr = region->base,
			.memory_size = region->size,
			.userspace_addr = (uintptr_t)region->host,
		};
		int r = vm_ioctl(vm, KVM_SET_USER_MEMORY_REGION, &slot);

		if (r < 0)
			return err_set(e, -r, "KVM refuses %llu MiB of memory at 0x%llx",
				       (unsigned long long)region->size >> 20,
				       (unsigned long long)region->base);
		vm->nslots++;
	}
	return 0;
}
