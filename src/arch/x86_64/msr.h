/* SPDX-License-Identifier: BSD-3-Clause */
/* msr.h - model-specific registers that every vCPU starts with */
#pragma once

#include "base/attr.h"
#include "base/err.h"
#include "kvm/vcpu.h"

int msr_init(struct vcpu *v, struct err *e) MUST_CHECK;
