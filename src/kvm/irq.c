/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * irq.c - interrupts and doorbells: bus/host.h on top of KVM
 *
 * KVM's routing table is set as a whole.  It always begins with the standard routes of the I/O APIC
 * and the two PICs; behind them stand the MSI routes that are live.  Numbers from VM_IRQCHIP_PINS
 * upward are for MSI.
 */
#include "kvm/vm.h"

#include "base/trace.h"

#include <assert.h>
#include <errno.h>
#include <linux/kvm.h>
#include <stdlib.h>

enum { PIC_PINS = 16, ROUTES_MAX = VM_IRQCHIP_PINS + PIC_PINS + VM_MSI_ROUTES };

/* struct kvm_irq_routing with room for all; allocated once, used under the VM's lock. */
struct vm_routing {
	union {
		struct kvm_irq_routing head;
		char bytes[sizeof(struct kvm_irq_routing) +
			   ROUTES_MAX * sizeof(struct kvm_irq_routing_entry)];
	};
};

static struct vm *vm_of(struct host *h)
{
	return container_of(h, struct vm, host);
}

static void interrupt_count(struct vm *vm)
{
	__atomic_fetch_add(&vm->interrupts, 1, __ATOMIC_RELAXED);
}

static void route_add(struct kvm_irq_routing *table, const struct kvm_irq_routing_entry *entry)
{
	table->entries[table->nr++] = *entry;
}

static void routes_chips(struct kvm_irq_routing *table)
{
	for (unsigned pin = 0; pin < VM_IRQCHIP_PINS; pin++) {
		/* The timer's line 0 comes in at pin 2, as on every PC. */
		struct kvm_irq_routing_entry entry = {
			.gsi = pin == 2 ? 0 : pin,
			.type = KVM_IRQ_ROUTING_IRQCHIP,
			.u.irqchip = {.irqchip = KVM_IRQCHIP_IOAPIC, .pin = pin},
		};

		if (pin != 0)
			route_add(table, &entry);
	}
	for (unsigned pin = 0; pin < PIC_PINS; pin++) {
		struct kvm_irq_routing_entry entry = {
			.gsi = pin,
			.type = KVM_IRQ_ROUTING_IRQCHIP,
			.u.irqchip = {.irqchip = pin < 8 ? KVM_IRQCHIP_PIC_MASTER
							 : KVM_IRQCHIP_PIC_SLAVE,
				      .pin = pin % 8},
		};

		if (pin != 2) /* the cascade */
			route_add(table, &entry);
	}
}

static int routes_set(struct vm *vm) REQUIRES(vm->lock)
{
	struct kvm_irq_routing *table = &vm->routing->head;

	*table = (struct kvm_irq_routing){0};
	routes_chips(table);
	for (unsigned i = 0; i < VM_MSI_ROUTES; i++) {
		const struct vm_route *route = &vm->routes[i];
		struct kvm_irq_routing_entry entry = {
			.gsi = VM_IRQCHIP_PINS + i,
			.type = KVM_IRQ_ROUTING_MSI,
			.u.msi = {.address_lo = (uint32_t)route->address,
				  .address_hi = (uint32_t)(route->address >> 32),
				  .data = route->data},
		};

		if (route->live)
			route_add(table, &entry);
	}
	return vm_ioctl(vm, KVM_SET_GSI_ROUTING, table);
}

static int line_set(struct host *h, unsigned gsi, bool level)
{
	struct kvm_irq_level line = {.irq = gsi, .level = level};

	trace(TRACE_LINE, 0, gsi, level, 0);
	if (level)
		interrupt_count(vm_of(h));
	return vm_ioctl(vm_of(h), KVM_IRQ_LINE, &line);
}

static int irqfd(struct host *h, unsigned gsi, int eventfd, bool on)
{
	struct kvm_irqfd request = {
		.fd = (uint32_t)eventfd,
		.gsi = gsi,
		.flags = on ? 0 : KVM_IRQFD_FLAG_DEASSIGN,
	};

	return vm_ioctl(vm_of(h), KVM_IRQFD, &request);
}

static int msi_alloc(struct host *h, unsigned *ret_gsi)
{
	struct vm *vm = vm_of(h);
	int r = -ENOSPC;

	pthread_mutex_lock(&vm->lock);
	for (unsigned i = 0; i < VM_MSI_ROUTES; i++) {
		if (vm->routes[i].used)
			continue;
		vm->routes[i] = (struct vm_route){.used = true};
		*ret_gsi = VM_IRQCHIP_PINS + i;
		r = 0;
		break;
	}
	pthread_mutex_unlock(&vm->lock);
	return r;
}

static void msi_free(struct host *h, unsigned gsi)
{
	struct vm *vm = vm_of(h);

	assert(gsi - VM_IRQCHIP_PINS < VM_MSI_ROUTES);
	pthread_mutex_lock(&vm->lock);
	vm->routes[gsi - VM_IRQCHIP_PINS] = (struct vm_route){0};
	pthread_mutex_unlock(&vm->lock);
}

static int msi_route(struct host *h, unsigned gsi, uint64_t address, uint32_t data)
{
	struct vm *vm = vm_of(h);
	struct vm_route *route;
	int r;

	assert(gsi - VM_IRQCHIP_PINS < VM_MSI_ROUTES);
	pthread_mutex_lock(&vm->lock);
	route = &vm->routes[gsi - VM_IRQCHIP_PINS];
	*route = (struct vm_route){.used = true, .live = true, .address = address, .data = data};
	r = routes_set(vm);
	pthread_mutex_unlock(&vm->lock);
	return r;
}

static int msi_send(struct host *h, uint64_t address, uint32_t data)
{
	struct kvm_msi msi = {
		.address_lo = (uint32_t)address,
		.address_hi = (uint32_t)(address >> 32),
		.data = data,
	};
	int r;

	interrupt_count(vm_of(h));
	trace(TRACE_MESSAGE, 0, 0, address, data);
	r = vm_ioctl(vm_of(h), KVM_SIGNAL_MSI, &msi);
	return r < 0 ? r : 0; /* 0 also when the guest blocks it */
}

static int doorbell(struct host *h, bool pio, uint64_t addr, unsigned size, const uint64_t *match,
		    int eventfd, bool on)
{
	struct kvm_ioeventfd request = {
		.addr = addr,
		.len = size,
		.fd = eventfd,
		.datamatch = match ? *match : 0,
	};

	if (match)
		request.flags |= KVM_IOEVENTFD_FLAG_DATAMATCH;
	if (pio)
		request.flags |= KVM_IOEVENTFD_FLAG_PIO;
	if (!on)
		request.flags |= KVM_IOEVENTFD_FLAG_DEASSIGN;
	return vm_ioctl(vm_of(h), KVM_IOEVENTFD, &request);
}

static const struct host_ops kvm_host_ops = {
	.line_set = line_set,
	.irqfd = irqfd,
	.msi_alloc = msi_alloc,
	.msi_free = msi_free,
	.msi_route = msi_route,
	.msi_send = msi_send,
	.doorbell = doorbell,
};

int vm_host_init(struct vm *vm)
{
	vm->host.ops = &kvm_host_ops;
	vm->routing = calloc(1, sizeof(*vm->routing));
	return vm->routing ? 0 : -ENOMEM;
}

void vm_host_fini(struct vm *vm)
{
	free(vm->routing);
	vm->routing = NULL;
}

int vm_lines_route(struct vm *vm)
{
	int r;

	pthread_mutex_lock(&vm->lock);
	r = routes_set(vm);
	pthread_mutex_unlock(&vm->lock);
	return r;
}
