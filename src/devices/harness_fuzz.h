/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * harness_fuzz.h - a device under a script: messages of the front end, chains, damage, commands
 *
 * A fuzz target of a device is one call of it:
 *
 *	int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
 *	{
 *		return fuzz_device(&rng_type, NULL, data, n);
 *	}
 *
 * The device is opened once and serves a new session for every input, in this thread, without a
 * jail; guest memory is rewritten as it is read (GMEM_HOSTILE).  Scripts connect in order unless
 * they say otherwise, so nearly all of them get to live queues.
 */
#pragma once

#include "devices/device.h"

int fuzz_device(const struct device_type *type, const char *options, const uint8_t *data, size_t n);
