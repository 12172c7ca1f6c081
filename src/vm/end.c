/* SPDX-License-Identifier: BSD-3-Clause */
/* end.c - how a virtual machine comes to an end */
#include "base/exit_codes.h"
#include "base/log.h"
#include "vm/machine.h"

#include <stdarg.h>
#include <stdio.h>

void machine_end(struct machine *m, int exit_code, const char *format, ...)
{
	va_list args;

	pthread_mutex_lock(&m->end_lock);
	if (!m->has_ended) {
		m->has_ended = true;
		m->exit_code = exit_code;
		va_start(args, format);
		vsnprintf(m->why, sizeof(m->why), format, args);
		va_end(args);
	}
	pthread_mutex_unlock(&m->end_lock);
	loop_stop(&m->loop);
}

static void chip_reset(void *context)
{
	machine_end(context, EXIT_CODE_RESET, "the guest asked for a reset");
}

static void chip_poweroff(void *context)
{
	machine_end(context, EXIT_CODE_OK, "the guest powered off");
}

static void chip_panic(void *context, enum chip_panic kind)
{
	struct machine *m = context;

	if (kind == CHIP_CRASH_LOADED)
		log_limited(&m->crashes,
			    "the guest's kernel panicked; its crash kernel takes over");
	else
		machine_end(m, EXIT_CODE_PANIC, "the guest's kernel panicked");
}

static void chip_debug_exit(void *context, unsigned value)
{
	machine_end(context, exit_code_debug(value), "the guest wrote %u to the debug-exit port",
		    value);
}

const struct chip_events machine_chip_events = {
	.reset = chip_reset,
	.poweroff = chip_poweroff,
	.panic = chip_panic,
	.debug_exit = chip_debug_exit,
};

void machine_cpu_ended(void *machine, struct cpu *c, enum cpu_end end, const char *why)
{
	static const int codes[] = {
		[CPU_END_TRIPLE_FAULT] = EXIT_CODE_TRIPLE_FAULT,
		[CPU_END_POWEROFF] = EXIT_CODE_OK,
		[CPU_END_RESET] = EXIT_CODE_RESET,
		[CPU_END_CRASH] = EXIT_CODE_PANIC,
		[CPU_END_KVM_ERROR] = EXIT_CODE_KVM,
	};
	struct machine *m = machine;

	if (end == CPU_END_KVM_ERROR) {
		log_error("%s", why);
		arch_vcpu_dump(&c->vcpu, &m->gmem, log_error);
	}
	machine_end(m, codes[end], "%s", why);
}
