/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * probe.h - whether this KVM can run the kernels of distributions
 *
 * Some hosts offer a /dev/kvm that interprets the guest's kernel mode and knows only part of the
 * instructions.  A guest of a few instructions finds out in some milliseconds.
 */
#pragma once

#include "base/attr.h"
#include "base/err.h"
#include "kvm/kvm.h"

#include <stdbool.h>
#include <stdint.h>

struct arch_probe {
	bool runs_kernels;
	char refused[96];	/* instructions that kernels use and KVM refused: "int3, xrstor" */
	uint64_t loops_per_second; /* of a loop of two instructions in kernel mode */
};

/* Fewer than this, and the guest's kernel mode is interpreted. */
#define ARCH_PROBE_LOOPS_MIN UINT64_C(10000000)

/* 0, also when the answer is no; -errno when the guest could not be made. */
int arch_probe(struct kvm *k, struct arch_probe *ret, struct err *e) MUST_CHECK;
