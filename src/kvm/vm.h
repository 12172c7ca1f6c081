/* SPDX-License-Identifier: BSD-3-Clause */
/* vm.h - a KVM virtual machine: memory slots, interrupts, doorbells */
#pragma once

#include "base/attr.h"
#include "base/err.h"
#include "bus/host.h"
#include "kvm/kvm.h"
#include "mem/gmem.h"

#include <pthread.h>
#include <stdbool.h>

enum {
	VM_IRQCHIP_PINS = 24,  /* of the I/O APIC: GSI 0 to 23 */
	VM_MSI_ROUTES = 1024,  /* GSI numbers from 24 upward, for MSI */
};

struct vm_routing;

struct vm_route {
	bool used, live; /* reserved; has an address */
	uint64_t address;
	uint32_t data;
};

struct vm {
	struct kvm *kvm; /* borrowed */
	int fd;
	struct host host;
	unsigned nslots; /* numbers given out so far */
	uint64_t interrupts; /* raised by this process, not through irqfds; atomic */
	pthread_mutex_t lock;
	struct vm_route routes[VM_MSI_ROUTES] GUARDED_BY(lock);
	struct vm_routing *routing GUARDED_BY(lock); /* irq.c: the table as KVM takes it */
};

int vm_init(struct vm *vm, struct kvm *k, struct err *e) MUST_CHECK;
void vm_fini(struct vm *vm);

/* Gives the guest every region of m. */
int vm_memory_set(struct vm *vm, const struct gmem *m, struct err *e) MUST_CHECK;

/* An ioctl on the VM with a pointer argument: its result, or -errno. */
int vm_ioctl(const struct vm *vm, unsigned long request, void *argument) MUST_CHECK;

/* irq.c: binds vm->host to KVM; -ENOMEM. */
int vm_host_init(struct vm *vm) MUST_CHECK;
void vm_host_fini(struct vm *vm);

/*
 * Routes interrupt lines 0 to 23 to the I/O APIC (line 0 to pin 2, as on every PC) and 0 to 15 to
 * the PICs as well; once, when the interrupt controllers exist.
 */
int vm_lines_route(struct vm *vm) MUST_CHECK;
