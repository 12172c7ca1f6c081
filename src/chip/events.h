/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * events.h - what chips tell the virtual machine
 *
 * Callbacks come from vCPU threads, without locks held, and must not block: they note what happened
 * and make the vCPUs stop; the vCPU that caused it returns from its access as if nothing was.
 * Several may come, also at the same time.
 */
#pragma once

#include <stdint.h>

enum chip_panic {
	CHIP_PANIC,        /* the guest's kernel panicked */
	CHIP_CRASH_LOADED, /* it panicked and a crash kernel takes over: the guest goes on */
};

struct chip_events {
	void *context;
	void (*reset)(void *context);
	void (*poweroff)(void *context);
	void (*panic)(void *context, enum chip_panic kind);
	void (*debug_exit)(void *context, unsigned value); /* what the guest wrote */
};
