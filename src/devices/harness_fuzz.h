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
 * A device is opened once for each text of options, of which a target has two at most and which
 * stays where it is; it serves a new session for every input, in this thread, without a
 * jail; guest memory is rewritten as it is read (GMEM_HOSTILE).  Scripts connect in order unless
 * they say otherwise, so nearly all of them get to live queues.
 */
#pragma once

#include "devices/device.h"
#include "virtio/driver_test.h"

/* What a device deals with besides its front end. */
struct fuzz_world {
	/* The device has been opened, once. */
	void (*begin)(struct device *d);

	/* Something happens; bytes of the script come from take(), guest memory is at data. */
	void (*step)(struct device *d, struct driver_queue *queues, gpa data,
		     uint8_t (*take)(void));

	/* The script is over, the device stopped: all is to be as at the beginning. */
	void (*end)(struct device *d);
};

int fuzz_device_in(const struct fuzz_world *world, const struct device_type *type,
		   const char *options, const uint8_t *data, size_t n);

/* Without a world. */
int fuzz_device(const struct device_type *type, const char *options, const uint8_t *data, size_t n);
