/* SPDX-License-Identifier: BSD-3-Clause */
/* netns_test.h - a network of the test's own, where it may make interfaces */
#pragma once

#include <stdbool.h>
#include <stdint.h>

/*
 * Moves the process into a network namespace of its own (an ordinary user's into a user namespace
 * too), where the loopback device is up.  False: this machine does not let us, or has no taps.
 */
bool netns_enter(void);

/*
 * A socket that sends and receives whole frames of the interface, each behind the first 10 bytes of
 * a virtio header; receives only frames of that protocol.  -1 on failure.
 */
int netns_packet_socket(const char *interface, uint16_t protocol);
