/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * machine.h - one virtual machine: what build.c puts together and run.c runs
 *
 * Threads: the main thread runs the loop and owns everything here; vCPU threads reach the buses and
 * the chips, each with a lock of its own, and machine_end().
 */
#pragma once

#include "arch/arch.h"
#include "base/attr.h"
#include "base/err.h"
#include "base/log.h"
#include "base/loop.h"
#include "bus/bus.h"
#include "bus/pci.h"
#include "chip/chips.h"
#include "chip/serial_port.h"
#include "config/config.h"
#include "kvm/kvm.h"
#include "kvm/vm.h"
#include "mem/gmem.h"
#include "vm/balloon.h"
#include "vm/control.h"
#include "vm/cpus.h"
#include "vm/devices.h"
#include "vm/postmortem.h"
#include "vm/recorder.h"

#include <pthread.h>
#include <stdbool.h>

enum { MACHINE_WHY_MAX = 320 };

struct machine {
	const struct config *config; /* borrowed */
	struct loop loop;
	struct recorder recorder;
	struct postmortem postmortem;
	struct kvm kvm;
	struct vm vm;
	struct gmem gmem;
	struct bus ports, mmio;
	struct pci_bus pci;
	struct chip_events chip_events;
	struct chips chips;
	struct serial_port serial_ports[ARCH_SERIAL_PORTS];
	unsigned nserial_ports;
	struct vm_devices devices;
	struct balloon balloon;
	struct arch_platform platform;
	struct arch_entry entry;
	struct cpus cpus;
	struct filter *vcpu_filter; /* of system calls; NULL without a sandbox */
	int signal_fd;
	struct watch signals;
	struct control control;
	bool is_suspended;
	bool is_unwanted; /* the user has ended it: no device need be waited for */
	struct log_limit crashes; /* lines about those that a crash kernel takes over */
	struct timer silence; /* the guest should have been heard of by then */
	uint64_t started_ns; /* CLOCK_MONOTONIC when the guest began to run */

	pthread_mutex_t end_lock;
	bool has_ended GUARDED_BY(end_lock);
	int exit_code GUARDED_BY(end_lock); /* enum exit_code, or that of the guest's debug exit */
	char why[MACHINE_WHY_MAX] GUARDED_BY(end_lock);
};

/*
 * Everything up to the first instruction.  *m must be zeroed.  *ret_code is the exit code that goes
 * with a failure.  machine_fini() is due in every case.
 */
int machine_build(struct machine *m, const struct config *config, int *ret_code,
		  struct err *e) MUST_CHECK;
void machine_fini(struct machine *m);

/* Lets the guest run until something ends it, says what that was, and returns the exit code. */
int machine_run(struct machine *m);

/* Ends the VM; from any thread.  The first call decides on the code and the words; "" for none. */
void machine_end(struct machine *m, int exit_code, const char *format, ...) PRINTF(3, 4);

/* end.c: what vCPUs and chips call when the guest comes to an end of some kind. */
extern const struct chip_events machine_chip_events;
void machine_cpu_ended(void *machine, struct cpu *c, enum cpu_end end, const char *why);

/* operate.c: what the control socket may ask of a struct machine. */
extern const struct control_ops machine_control_ops;
