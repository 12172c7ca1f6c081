/* SPDX-License-Identifier: BSD-3-Clause */
/* netns_test.h - a network of the test's own, where it may make interfaces */
#pragma once

#include <stdbool.h>

/*
 * Moves the process into a network namespace of its own (an ordinary user's into a user namespace
 * too), where the loopback device is up.  False: this machine does not let us, or has no taps.
 */
bool netns_enter(void);
