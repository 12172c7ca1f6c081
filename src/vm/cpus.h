/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * cpus.h - the vCPU threads: start, pause, resume, stop; what they do at an exit
 *
 * cpus_pause(), cpus_resume() and cpus_stop() are for the main thread.
 */
#pragma once

#include "base/attr.h"
#include "base/err.h"
#include "base/trace.h"
#include "bus/bus.h"
#include "kvm/vcpu.h"
#include "kvm/vm.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

/* Why a vCPU can't go on. */
enum cpu_end {
	CPU_END_TRIPLE_FAULT, /* KVM_EXIT_SHUTDOWN */
	CPU_END_POWEROFF,     /* KVM_EXIT_SYSTEM_EVENT */
	CPU_END_RESET,
	CPU_END_CRASH,
	CPU_END_KVM_ERROR, /* entry failed, internal error, an exit nobody knows */
};

/* Why KVM_RUN returned; cpu_counters[] of exits.c has their names. */
enum cpu_counter {
	CPU_EXITS_IO,
	CPU_EXITS_MMIO,
	CPU_EXITS_HLT,
	CPU_EXITS_INTERRUPTED, /* by us, or by a signal */
	CPU_EXITS_SYSTEM_EVENT,
	CPU_EXITS_OTHER,
	CPU_COUNTERS,
};

enum cpu_wanted { CPU_RUN, CPU_PAUSE, CPU_STOP };

struct cpus;

struct cpu {
	struct vcpu vcpu;
	struct cpus *all;
	pthread_t thread;
	bool has_thread;
	struct trace_ring *trace; /* of its thread; NULL: none */
	_Alignas(64) uint64_t counters[CPU_COUNTERS]; /* written by its thread, read by status */
};

struct cpus_events {
	/* A vCPU ended the VM; why is one line for the user.  Called on the vCPU's thread, which
	 * then waits to be stopped.  May be called by several. */
	void (*ended)(void *context, struct cpu *c, enum cpu_end end, const char *why);

	/* On each vCPU's thread before its first instruction: its filter. Failure ends the VM. */
	int (*thread_begins)(void *context, struct err *e);
	void *context;
};

struct cpus {
	struct cpu *cpu; /* count of them */
	unsigned count;
	struct bus *ports, *mmio;
	struct vm *vm;
	struct cpus_events events;
	pthread_mutex_t lock;
	pthread_cond_t changed;
	enum cpu_wanted wanted GUARDED_BY(lock);
	unsigned waiting GUARDED_BY(lock); /* threads that wait for wanted to become CPU_RUN */
};

/* Creates the vCPUs; their registers are set by the architecture afterwards. */
int cpus_init(struct cpus *all, struct vm *vm, unsigned count, struct bus *ports, struct bus *mmio,
	      const struct cpus_events *events, struct err *e) MUST_CHECK;

/* Stops the threads and frees everything; NULL, zeroed and half-built are fine. */
void cpus_fini(struct cpus *all);

/*
 * Starts a thread for each vCPU; when it returns they are parked and make no system call until
 * cpus_resume() lets them go.
 */
int cpus_start(struct cpus *all, struct err *e) MUST_CHECK;

/* Returns when no vCPU runs guest code any more.  Pausing twice is the same as once. */
void cpus_pause(struct cpus *all);
void cpus_resume(struct cpus *all);

/* Ends and joins all threads. */
void cpus_stop(struct cpus *all);
