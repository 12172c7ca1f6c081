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
	uint32_t low, high;

	__asm__ volatile("rdtsc" : "=a"(low), "=d"(high));
	return (uint64_t)high << 32 | low;
}
