/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * ticks_x86_64.c - the time stamp counter
 *
 * Every processor that runs KVM guests well counts at one pace, on all cores alike, whatever its
 * clock does.  It takes half of what clock_gettime() does.
 */
#include "base/trace.h"

uint64_t trace_now(void)
{
	return __builtin_ia32_rdtsc();
}
