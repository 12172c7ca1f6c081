/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * null_port.h - ports that every PC has and that mean nothing here
 *
 * Writes are swallowed, reads give all ones: POST code and I/O delay (0x80, 0xED), coprocessor
 * error (0xF0, 0xF1).
 */
#pragma once

#include "bus/bus.h"

/* Puts them on the bus. */
int null_port_add(struct bus *ports, struct err *e) MUST_CHECK;
