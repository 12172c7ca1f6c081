/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * script_fuzz.h - what the fuzz targets of both transports share
 *
 * The input is a row of eight-byte steps: what to do, with which size, where, and a value.  Steps
 * either access registers, which the target does, or are something that the device does.
 */
#pragma once

#include "bus/bus.h"
#include "bus/fake_host.h"
#include "transport/frontend.h"

#include <assert.h>
#include <stdbool.h>
#include <stdint.h>

enum { SCRIPT_QUEUES = 3, SCRIPT_CONFIG = 24 };

struct step {
	uint8_t kind, size;
	uint16_t at;
	uint32_t value;
};
static_assert(sizeof(struct step) == 8, "as in the corpus");

struct script {
	struct loop loop;
	struct gmem gmem;
	struct fake_host host;
	struct bus mmio;
	struct frontend f;
	int peer; /* the device's end of the socket */
};

extern struct script script;

void script_set_up(void);
void script_tear_down(void);

/* A device's step; false if the step is an access to registers. */
bool script_device_step(const struct step *s);

/* Reads or writes 1 to 8 bytes; the step's size says. */
void script_access(uint64_t address, const struct step *s);

/* Runs the input: access() is called for each step that is not the device's. */
void script_run(const uint8_t *data, size_t n, void (*access)(const struct step *s));
