/* SPDX-License-Identifier: BSD-3-Clause */
/* exits.c - what a vCPU asks of us when KVM_RUN returns */
#include "vm/exits.h"

#include "base/num.h"
#include "base/trace.h"

#include <linux/kvm.h>
#include <stdio.h>
#include <string.h>

static bool ends(struct cpu *c, enum cpu_end end, const char *why)
{
	c->all->events.ended(c->all->events.context, c, end, why);
	return false;
}

/* At most 8 bytes of a little-endian access. */
static uint64_t value_of(const void *data, size_t n)
{
	uint64_t value = 0;

	memcpy(&value, data, min_size(n, sizeof(value)));
	return value;
}

/* Before it is handled: a read has no value yet. */
static struct trace_record *trace_access_begin(const struct cpu *c, uint64_t address,
					       const void *data, size_t size, bool is_write,
					       uint32_t count)
{
	uint32_t flags = is_write ? TRACE_ACCESS_WRITES | TRACE_ACCESS_HAS_VALUE : 0;

	return trace(TRACE_EXIT, c->vcpu.run->exit_reason,
		     trace_access((unsigned)size, flags, count), address,
		     is_write ? value_of(data, size) : 0);
}

static void trace_access_end(struct trace_record *record, const void *data, size_t size)
{
	if (record && !(record->n & TRACE_ACCESS_HAS_VALUE))
		trace_value(record, TRACE_ACCESS_HAS_VALUE, value_of(data, size));
}

/* String instructions come as one exit with count elements for the same port. */
static bool handle_io(struct cpu *c)
{
	struct kvm_run *run = c->vcpu.run;
	size_t size = run->io.size;
	uint8_t *data = (uint8_t *)run + run->io.data_offset;
	bool is_write = run->io.direction == KVM_EXIT_IO_OUT;
	const uint8_t *first = data;
	struct trace_record *record;

	if (!is_inside(run->io.data_offset, (uint64_t)size * run->io.count, c->vcpu.run_bytes))
		return ends(c, CPU_END_KVM_ERROR, "KVM names port data outside its page");
	record = trace_access_begin(c, run->io.port, data, size, is_write, run->io.count);
	for (uint32_t i = 0; i < run->io.count; i++, data += size) {
		if (is_write)
			bus_write(c->all->ports, run->io.port, data, size);
		else
			bus_read(c->all->ports, run->io.port, data, size);
	}
	trace_access_end(record, first, size);
	return true;
}

static bool handle_mmio(struct cpu *c)
{
	struct kvm_run *run = c->vcpu.run;
	size_t n = min_size(run->mmio.len, sizeof(run->mmio.data));
	struct trace_record *record =
		trace_access_begin(c, run->mmio.phys_addr, run->mmio.data, n,
				   run->mmio.is_write, 1);

	if (run->mmio.is_write)
		bus_write(c->all->mmio, run->mmio.phys_addr, run->mmio.data, n);
	else
		bus_read(c->all->mmio, run->mmio.phys_addr, run->mmio.data, n);
	trace_access_end(record, run->mmio.data, n);
	return true;
}

static bool handle_system_event(struct cpu *c)
{
	switch (c->vcpu.run->system_event.type) {
	case KVM_SYSTEM_EVENT_SHUTDOWN:
		return ends(c, CPU_END_POWEROFF, "the guest powered off");
	case KVM_SYSTEM_EVENT_RESET:
		return ends(c, CPU_END_RESET, "the guest asked for a reset");
	case KVM_SYSTEM_EVENT_CRASH:
		return ends(c, CPU_END_CRASH, "the guest reported a crash");
	default:
		return ends(c, CPU_END_KVM_ERROR, "KVM reports a system event nobody knows");
	}
}

static bool handle_internal_error(struct cpu *c)
{
	struct kvm_run *run = c->vcpu.run;
	char why[256];

	if (run->internal.suberror == KVM_INTERNAL_ERROR_EMULATION)
		snprintf(
			why, sizeof(why),
			"vCPU %u: KVM could not emulate an instruction of the guest; a KVM without "
			"hardware virtualization can't run stock kernels (see crosvm check)",
			c->vcpu.index);
	else
		snprintf(why, sizeof(why), "vCPU %u: KVM internal error, suberror %u",
			 c->vcpu.index, run->internal.suberror);
	return ends(c, CPU_END_KVM_ERROR, why);
}

static bool handle_fail_entry(struct cpu *c)
{
	struct kvm_run *run = c->vcpu.run;
	char why[128];

	snprintf(why, sizeof(why),
		 "vCPU %u: the processor refused the guest's state, reason 0x%llx", c->vcpu.index,
		 (unsigned long long)run->fail_entry.hardware_entry_failure_reason);
	return ends(c, CPU_END_KVM_ERROR, why);
}

static bool handle_unknown(struct cpu *c)
{
	char why[96];

	snprintf(why, sizeof(why), "vCPU %u: KVM exit %u is not one this program asked for",
		 c->vcpu.index, c->vcpu.run->exit_reason);
	return ends(c, CPU_END_KVM_ERROR, why);
}

const struct counter cpu_counters[] = {
	[CPU_EXITS_IO] = {"io", COUNTER_EVENTS, "Port accesses"},
	[CPU_EXITS_MMIO] = {"mmio", COUNTER_EVENTS, "Accesses to registers in memory"},
	[CPU_EXITS_HLT] = {"hlt", COUNTER_EVENTS, "Halts"},
	[CPU_EXITS_INTERRUPTED] = {"interrupted", COUNTER_EVENTS, "Interrupted by a signal"},
	[CPU_EXITS_SYSTEM_EVENT] = {"system_event", COUNTER_EVENTS, "Power off, reset, crash"},
	[CPU_EXITS_OTHER] = {"other", COUNTER_EVENTS, "Errors, and what nobody asked for"},
	[CPU_COUNTERS] = {.name = NULL},
};

static enum cpu_counter counter_of(uint32_t reason)
{
	switch (reason) {
	case KVM_EXIT_IO:
		return CPU_EXITS_IO;
	case KVM_EXIT_MMIO:
		return CPU_EXITS_MMIO;
	case KVM_EXIT_HLT:
		return CPU_EXITS_HLT;
	case KVM_EXIT_INTR:
		return CPU_EXITS_INTERRUPTED;
	case KVM_EXIT_SYSTEM_EVENT:
		return CPU_EXITS_SYSTEM_EVENT;
	default:
		return CPU_EXITS_OTHER;
	}
}

void exit_count(struct cpu *c, int result)
{
	enum cpu_counter counter =
		result < 0 ? CPU_EXITS_INTERRUPTED : counter_of(c->vcpu.run->exit_reason);

	counter_add(&c->counters[counter], 1);
}

/* Those that are not accesses. */
static void trace_other(const struct cpu *c)
{
	const struct kvm_run *run = c->vcpu.run;
	uint64_t detail = 0;

	if (run->exit_reason == KVM_EXIT_IO || run->exit_reason == KVM_EXIT_MMIO)
		return;
	if (run->exit_reason == KVM_EXIT_SYSTEM_EVENT)
		detail = run->system_event.type;
	else if (run->exit_reason == KVM_EXIT_INTERNAL_ERROR)
		detail = run->internal.suberror;
	else if (run->exit_reason == KVM_EXIT_FAIL_ENTRY)
		detail = run->fail_entry.hardware_entry_failure_reason;
	trace(TRACE_EXIT, run->exit_reason, 0, detail, 0);
}

bool exit_handle(struct cpu *c)
{
	trace_other(c);
	switch (c->vcpu.run->exit_reason) {
	case KVM_EXIT_IO:
		return handle_io(c);
	case KVM_EXIT_MMIO:
		return handle_mmio(c);
	case KVM_EXIT_INTR:
	case KVM_EXIT_HLT: /* the interrupt controller in the kernel waits for us */
		return true;
	case KVM_EXIT_SHUTDOWN:
		return ends(c, CPU_END_TRIPLE_FAULT, "triple fault");
	case KVM_EXIT_SYSTEM_EVENT:
		return handle_system_event(c);
	case KVM_EXIT_INTERNAL_ERROR:
		return handle_internal_error(c);
	case KVM_EXIT_FAIL_ENTRY:
		return handle_fail_entry(c);
	default:
		return handle_unknown(c);
	}
}

void exit_run_failed(struct cpu *c, int errnum)
{
	char why[160];

	snprintf(why, sizeof(why), "vCPU %u: KVM_RUN: %s", c->vcpu.index, strerror(errnum));
	ends(c, CPU_END_KVM_ERROR, why);
}
