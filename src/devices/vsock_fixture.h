/* SPDX-License-Identifier: BSD-3-Clause */
/* vsock_fixture.h - a guest with virtual sockets of our own, for tests of them */
#pragma once

#include "devices/vsock_guest_test.h"

#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

enum {
	WAIT_MS = 10000,
	PORT = 1024,
	BOTH = VIRTIO_VSOCK_SHUTDOWN_RCV | VIRTIO_VSOCK_SHUTDOWN_SEND,
	BUFFER_BYTES = 16384,
};

static struct guest g;
static uint8_t bytes[1 << 16];

static inline int start_thread(void **state)
{
	(void)state;
	guest_start(&g, HARNESS_THREAD, ",buffer=16K");
	guest_give(&g, 64);
	return 0;
}

static inline int start_process(void **state)
{
	(void)state;
	guest_start(&g, HARNESS_PROCESS, ",buffer=16K");
	guest_give(&g, 64);
	return 0;
}

static inline int stop(void **state)
{
	(void)state;
	guest_stop(&g);
	return 0;
}

static inline void expect_end(int fd)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};
	char byte;

	assert_int_equal(poll(&p, 1, WAIT_MS), 1);
	assert_true(read(fd, &byte, 1) <= 0);
}

static inline void fill_bytes(uint32_t seed)
{
	for (size_t i = 0; i < sizeof(bytes); i++) {
		seed = seed * 1664525 + 1013904223;
		bytes[i] = (uint8_t)(seed >> 24);
	}
}
