/* SPDX-License-Identifier: BSD-3-Clause */
/* vcpu.c - one virtual CPU */
#include "kvm/vcpu.h"

#include "base/fd.h"

#include <errno.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

int vcpu_init(struct vcpu *v, struct vm *vm, unsigned index, struct err *e)
{
	auto_fd fd = ioctl(vm->fd, KVM_CREATE_VCPU, (unsigned long)index);
	void *run;

	*v = (struct vcpu){.vm = vm, .index = index, .fd = -1, .run_bytes = vm->kvm->run_bytes};
	if (fd < 0)
		return err_set(e, errno, "KVM cannot create vCPU %u", index);
	run = mmap(NULL, v->run_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (run == MAP_FAILED)
		return err_set(e, errno, "cannot map the area of vCPU %u", index);
	v->run = run;
	v->fd = fd_take(&fd);
	return 0;
}

void vcpu_fini(struct vcpu *v)
{
	if (!v || !v->run)
		return;
	munmap(v->run, v->run_bytes);
	v->run = NULL;
	fd_close(&v->fd);
}

int vcpu_ioctl(const struct vcpu *v, unsigned long request, void *argument)
{
	int r = ioctl(v->fd, request, argument);

	return r < 0 ? -errno : r;
}

int vcpu_run(struct vcpu *v)
{
	return ioctl(v->fd, KVM_RUN, 0L) < 0 ? -errno : 0;
}

void vcpu_immediate_exit(struct vcpu *v, bool on)
{
	/* The vCPU's thread and the kernel read it. */
	__atomic_store_n(&v->run->immediate_exit, on, __ATOMIC_SEQ_CST);
}
