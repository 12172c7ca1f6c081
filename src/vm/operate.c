/* SPDX-License-Identifier: BSD-3-Clause */
/* operate.c - what the control socket asks of a running machine; on the main thread */
#include "base/exit_codes.h"
#include "devices/device.h"
#include "vm/machine.h"

#include <errno.h>

static bool is_suspended(void *vm)
{
	const struct machine *m = vm;

	return m->is_suspended;
}

static void stop(void *vm)
{
	machine_end(vm, EXIT_CODE_OK, "stopped by command");
}

static int suspend_vm(void *vm, struct err *e)
{
	struct machine *m = vm;

	(void)e;
	cpus_pause(&m->cpus);
	trace(TRACE_VM, TRACE_VM_SUSPENDED, 0, 0, 0);
	m->is_suspended = true;
	return 0;
}

static int resume_vm(void *vm, struct err *e)
{
	struct machine *m = vm;

	(void)e;
	m->is_suspended = false;
	trace(TRACE_VM, TRACE_VM_RESUMED, 0, 0, 0);
	cpus_resume(&m->cpus);
	return 0;
}

static int power_button(void *vm, struct err *e)
{
	struct machine *m = vm;

	if (pm_power_button(&m->chips.pm))
		return 0;
	return err_say(e, ENODEV,
		       "the guest does not listen to its power button: it was started without "
		       "ACPI, lacks the driver, or is not that far yet; stop ends it all the same");
}

static void status(void *vm, struct control_status *ret)
{
	struct machine *m = vm;

	ret->state = m->is_suspended ? "suspended" : "running";
	ret->mem_bytes = gmem_size(&m->gmem);
	ret->uptime_ms = (clock_ns() - m->started_ns) / 1000000;
	ret->nvcpus = m->cpus.count;
	for (unsigned i = 0; i < m->cpus.count; i++)
		ret->vcpu_counters[i] = m->cpus.cpu[i].counters;
	ret->interrupts = __atomic_load_n(&m->vm.interrupts, __ATOMIC_RELAXED);
	ret->has_balloon = m->balloon.asks;
	if (ret->has_balloon)
		balloon_status(&m->balloon, &ret->balloon);
	devices_status(m, ret);
}

static struct asks *find_device(void *vm, const char *type, const char *name, struct err *e)
{
	return devices_find(vm, type, name, e);
}

static int change_balloon(void *vm, const struct control_balloon *change,
			  struct balloon_status *ret, struct err *e)
{
	struct balloon *b = &((struct machine *)vm)->balloon;

	if (!b->asks)
		return err_say(e, ENODEV, "the VM has no balloon");
	if (change->has_target)
		balloon_set(b, change->target_bytes);
	else if (change->pages != 0)
		balloon_adjust(b, change->pages);
	balloon_status(b, ret);
	return 0;
}

static void tell_trace(void *vm, unsigned last_max, struct json *reply)
{
	recorder_reply(&((struct machine *)vm)->recorder, last_max, reply);
}

const struct control_ops machine_control_ops = {
	.types = device_types,
	.is_suspended = is_suspended,
	.stop = stop,
	.suspend = suspend_vm,
	.resume = resume_vm,
	.power_button = power_button,
	.status = status,
	.find_device = find_device,
	.balloon = change_balloon,
	.trace = tell_trace,
};
