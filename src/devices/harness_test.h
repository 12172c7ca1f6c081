/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * harness_test.h - a device under test, with the fake driver on the other end
 *
 *	struct harness h;
 *	harness_start(&h, "rng", "rate=1M", HARNESS_PROCESS, &(struct driver_options){...});
 *	... driver_add(&h.d.queues[0], ...), driver_kick(), driver_wait() ...
 *	harness_stop(&h);
 *
 * HARNESS_PROCESS is `crosvm device` in its jail, beside the test program; HARNESS_THREAD is the
 * same loop in this process, where sanitizers and debuggers see it.  Functions assert (cmocka).
 */
#pragma once

#include "devices/device.h"
#include "devices/serve.h"
#include "virtio/driver_test.h"

#include <stdbool.h>
#include <sys/types.h>

enum harness_kind { HARNESS_THREAD, HARNESS_PROCESS };

struct harness {
	struct driver d;
	enum harness_kind kind;
	const char *type, *options;
	struct device_thread *thread;
	pid_t pid;
	int control_sock; /* thread only: packets, see serve.h */
	struct device_shared shared; /* thread only; outlives it, as main's does */
};

/* Starts the device and connects; the queues run. */
void harness_start(struct harness *h, const char *type, const char *options, enum harness_kind kind,
		   const struct driver_options *o);

/* Starts only the device: an unconnected h->d and the socket to it. */
int harness_start_device(struct harness *h, const char *type, const char *options,
			 enum harness_kind kind, const struct driver_options *o);

/* Ends the device and asserts that it went well: exit code 0 after the connection was closed. */
void harness_stop(struct harness *h);

/* kill -9 (process only), and a new one that takes up where it was. */
void harness_kill(struct harness *h);
void harness_restart(struct harness *h);

/* Asserts that the device serves a new connection: it is neither dead nor stuck. */
void harness_expect_alive(struct harness *h);

/* Asserts that a device with these options does not open, and that the message has reason in it. */
void harness_expect_refused(const char *type, const char *options, const char *reason);

/* The path of the program under test, which lies beside the test. */
void harness_program_path(char *path, size_t n);
