/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * vsock_guest_test.h - a guest's driver for the virtual socket device, and host programs
 *
 * The guest says exactly what it is told to, sound or not; struct flow keeps the numbers that a
 * sound one needs.  Functions assert (cmocka).
 */
#pragma once

#include "devices/harness_test.h"
#include "devices/vsock.h"

#include <linux/virtio_vsock.h>

enum { GUEST_CID = 77, GUEST_QUEUE = 128, GUEST_BUFFER = 4096 };

struct guest {
	struct harness h;
	char dir[64], path[80], options[160];
	gpa rx[GUEST_QUEUE], tx, events;
	unsigned ntx;
	int rx_slot[GUEST_QUEUE]; /* buffer of descriptor i, or -1 */
	unsigned rx_held;	  /* buffers that the guest keeps to itself */
};

/* One connection as the guest keeps it. */
struct flow {
	uint32_t guest_port, host_port;
	uint32_t buf_alloc, received, sent;
	struct vsock_packet last; /* of the device */
};

void guest_start(struct guest *g, enum harness_kind kind, const char *more_options);
void guest_stop(struct guest *g);

/* Gives the device n buffers for packets, as many as fit. */
void guest_give(struct guest *g, unsigned n);

/* Sends p as it is, with n bytes behind the header. */
void guest_send_raw(struct guest *g, const struct vsock_packet *p, const void *data, size_t n);

/* A sound packet of the flow. */
void guest_send(struct guest *g, struct flow *f, uint16_t op, uint32_t flags, const void *data,
		size_t n);

/* The next packet and its bytes; false if none comes for timeout_ms.  Its buffer is given back. */
bool guest_receive(struct guest *g, int timeout_ms, struct vsock_packet *ret, void *data);

/* The next packet, which must be this op for this flow. */
void guest_expect(struct guest *g, struct flow *f, uint16_t op, void *data);

/* No packet for a tenth of a second. */
void guest_expect_silence(struct guest *g);

/* A socket that listens at PATH_port. */
int host_listen(struct guest *g, uint32_t port, int backlog);

/* A connection of the guest to that port, established; returns the host's end. */
int guest_connect(struct guest *g, struct flow *f, int listener, uint32_t guest_port,
		  uint32_t host_port);

/* A program's connection to PATH. */
int host_connect_path(struct guest *g);

/* Asks for a port of the guest, which accepts; returns the host's end. */
int host_connect_guest(struct guest *g, struct flow *f, uint32_t guest_port);

/* Reads n bytes, or asserts. */
void host_read_all(int fd, void *data, size_t n);
