/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * confine.h - the main process's own jail
 *
 * Before the guest's first instruction main gives up all it no longer needs: identity,
 * capabilities, file system, network, exec.  vCPU threads, which touch what the guest writes first,
 * are held to a smaller list of calls than the loop.
 */
#pragma once

#include "base/attr.h"
#include "base/err.h"

struct machine;

/* Starts the vCPU threads, parked, and jails the process with them. */
int confine(struct machine *m, struct err *e) MUST_CHECK;

/* On each vCPU's thread, before its first instruction; context is the struct machine. */
int confine_vcpu(void *context, struct err *e) MUST_CHECK;
