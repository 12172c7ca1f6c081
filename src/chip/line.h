/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * line.h - an interrupt line that several chips share
 *
 * COM1 and COM3 drive GSI 4, COM2 and COM4 GSI 3: the line is high while any source is.  The
 * hypervisor is told of changes only.
 */
#pragma once

#include "base/attr.h"
#include "bus/host.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

enum { LINE_SOURCES_MAX = 32 };

struct line {
	pthread_mutex_t lock;
	struct host *host; /* NULL: nobody listens */
	unsigned gsi;
	uint32_t sources; /* which of them are high; guarded by lock */
};

void line_init(struct line *l, struct host *host, unsigned gsi);
void line_fini(struct line *l);

/* Sets the level of one source; any thread. source < LINE_SOURCES_MAX. */
void line_set(struct line *l, unsigned source, bool level);
