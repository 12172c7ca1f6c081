/* SPDX-License-Identifier: BSD-3-Clause */
/* exits.h - what a vCPU asks of us when KVM_RUN returns */
#pragma once

#include "base/counter.h"
#include "vm/cpus.h"

/*
 * Handles the exit that is in the vCPU's shared page, on its thread.  True: run on; false: this
 * vCPU ended the VM and cpus_events.ended was called.
 */
bool exit_handle(struct cpu *c);

/* Counts the exit, or the failure of KVM_RUN, in c->counters. */
void exit_count(struct cpu *c, int result);

/* Names of enum cpu_counter. */
extern const struct counter cpu_counters[];

/* KVM_RUN itself failed with errnum: ends the VM. */
void exit_run_failed(struct cpu *c, int errnum);
