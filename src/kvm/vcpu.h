/* SPDX-License-Identifier: BSD-3-Clause */
/* vcpu.h - one virtual CPU: creation, running, exits */
#pragma once

#include "base/attr.h"
#include "base/err.h"
#include "kvm/vm.h"

#include <linux/kvm.h>
#include <stdbool.h>

struct vcpu {
	struct vm *vm;	/* borrowed */
	unsigned index; /* also its APIC id */
	int fd;
	struct kvm_run *run; /* shared with the kernel */
	size_t run_bytes;
};

int vcpu_init(struct vcpu *v, struct vm *vm, unsigned index, struct err *e) MUST_CHECK;
void vcpu_fini(struct vcpu *v);

/* An ioctl on the vCPU: its result, or -errno. */
int vcpu_ioctl(const struct vcpu *v, unsigned long request, void *argument) MUST_CHECK;

/* KVM_RUN: 0, or -errno (-EINTR after a signal or with immediate_exit set). */
int vcpu_run(struct vcpu *v) MUST_CHECK;

/* Makes the current or next vcpu_run() return -EINTR; together with a signal to its thread. */
void vcpu_immediate_exit(struct vcpu *v, bool on);
