/* SPDX-License-Identifier: BSD-3-Clause */
/* cpuid.h - what a vCPU says about itself */
#pragma once

#include "base/attr.h"
#include "base/err.h"
#include "kvm/vcpu.h"

#include <linux/kvm.h>
#include <stdbool.h>

enum { CPUID_MAX = 256 }; /* entries of a table; KVM's own limit */

/* What the table depends on besides KVM. */
struct cpuid_facts {
	unsigned index, ncpus; /* index is the APIC id */
	bool has_tsc_deadline; /* KVM_CAP_TSC_DEADLINE_TIMER */
};

/*
 * Changes KVM's table of supported leaves, which has room for max entries, into that of one vCPU:
 * a core of a single socket with one thread a core.  -E2BIG when there is no room for the leaves to
 * add.
 */
int cpuid_adjust(struct kvm_cpuid2 *table, unsigned max, const struct cpuid_facts *facts)
	MUST_CHECK;

/* Gives the vCPU its table. */
int cpuid_init(struct vcpu *v, unsigned ncpus, struct err *e) MUST_CHECK;
