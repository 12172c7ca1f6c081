/* SPDX-License-Identifier: BSD-3-Clause */
/* dsdt.h - the devices that a kernel can't find by itself */
#pragma once

#include "arch/arch.h"
#include "arch/x86_64/aml.h"

/* Appends the body of the DSDT. */
void dsdt_body(struct aml *a, const struct arch_platform *p);
