/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * fake_device.h - a vhost-user back end in a thread, for tests
 *
 * It does nothing but answer, and write down what it was told; the faults tell it to misbehave.
 * With VU_PROTOCOL_F_REPLY_ACK the front end's calls return after the device has heard them, so
 * what is written down may be looked at then; without, fake_device_stop() comes first.
 */
#pragma once

#include "virtio/vhost_user.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

enum { FAKE_QUEUES = 4, FAKE_CONFIG_BYTES = 64 };

struct fake_vring {
	uint32_t size, base;
	uint64_t desc, used, avail;
	int kick_fd, call_fd, err_fd; /* owned; -1: none */
	bool enabled;
};

/* Requests by number, 0 for none. */
struct fake_faults {
	uint32_t ignored;  /* gets no answer */
	uint32_t closed;   /* the connection is closed instead of an answer */
	uint32_t refused;  /* gets a 1 as acknowledgement, or an empty configuration */
	uint32_t mistaken; /* gets an answer to another request */
	uint32_t indexed;  /* gets an answer about another queue */
	uint32_t delayed;  /* gets its answer late: */
	unsigned delay_ms;
};

struct fake_device {
	/* Set by the test before fake_device_start(). */
	uint64_t features, protocol_features, nqueues;
	uint8_t config[FAKE_CONFIG_BYTES];
	struct fake_faults faults;
	bool log_is_a_pipe;
	uint32_t config_known; /* longer reads of the configuration are refused */

	/* What happened. */
	unsigned count[VU_REQUEST_END];
	uint64_t acked, protocol_acked, status;
	struct vu_memory memory;
	struct fake_vring vrings[FAKE_QUEUES];
	struct vu_inflight inflight;
	int inflight_fd; /* the last one set */
	int channel;

	int sock, stop_fd;
	struct vu_conn conn;
	pthread_t thread;
	bool is_running;
};

/* A device with all that ours have: four queues, a configuration of ascending bytes. */
void fake_device_init(struct fake_device *d);

/* Serves from now on; returns the socket for the front end, which is the caller's. */
int fake_device_start(struct fake_device *d);

/* Ends the thread and closes the connection, as if the process had died. Twice is fine. */
void fake_device_stop(struct fake_device *d);
void fake_device_fini(struct fake_device *d);

/* Sends a request of the device's own over the channel; then whether it was acknowledged. */
bool fake_device_tell(struct fake_device *d, uint32_t request);
bool fake_device_was_heard(struct fake_device *d);
