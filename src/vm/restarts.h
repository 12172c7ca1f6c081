/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * restarts.h - how soon a device process that ended is started again, and when not any more
 *
 * Whether a process has done anything cannot be told: rings are memory that it writes to, and one
 * that is captured can make them look as it likes.  So every end costs, and what it costs is earned
 * back by time alone, in two accounts:
 *
 *  R1  In quick succession RESTARTS_AT_ONCE ends are borne, and one more every second.
 *  R2  Of those beyond it each next process waits twice as long, from RESTARTS_DELAY_MS to
 *      RESTARTS_DELAY_MAX_MS; after RESTARTS_DELAYED of them there is none.
 *  R3  In the long run RESTARTS_IN_ALL ends are borne, and one more every minute.
 *
 * So a process that crashes as fast as it can is given up in about ten seconds, and one that takes
 * its time is started at most once a minute in the end.  Pure: the caller says what time it is.
 */
#pragma once

#include "base/attr.h"

#include <stdint.h>

enum {
	RESTARTS_AT_ONCE = 64,
	RESTARTS_DELAYED = 16,
	RESTARTS_DELAY_MS = 50,
	RESTARTS_DELAY_MAX_MS = 400, /* less than a second, in which one is earned back */
	RESTARTS_IN_ALL = 1024,
};

/* Begins as zeros. */
struct restarts {
	uint64_t quick_ns, all_ns;  /* of each account, until everything is earned back */
	uint64_t first_ns, last_ns; /* when the first and the last process ended */
	unsigned count;
};

enum { RESTARTS_NEVER = -1 };

/* One has ended.  Milliseconds until the next one is to be started, or RESTARTS_NEVER. */
int restarts_count(struct restarts *r, uint64_t now_ns) MUST_CHECK;
