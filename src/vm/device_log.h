/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * device_log.h - what device processes say on stderr, put out by main
 *
 * The stdout and stderr of a device process are a pipe, of which main holds the other end.  Main
 * puts the device's name in front of each line, so that a captured process can't speak for another,
 * and hands the line to log.h.  It is presumed captured:
 *
 *  D1  What it writes costs main one read of at most DEVICE_LOG_READ bytes every
 *      DEVICE_LOG_REST_MS; what the pipe can't hold then, the process loses, as writing to it does
 *      not block.
 *  D2  Of its lines a burst is shown and then two a second; the others are counted, and the number
 *      is shown when there is room again.
 *  D3  Nothing of a line reaches a terminal that log_clean() does not let pass.
 *
 * All on the main thread.
 */
#pragma once

#include "base/attr.h"
#include "base/err.h"
#include "base/log.h"
#include "base/loop.h"

#include <stdbool.h>
#include <stdint.h>

enum {
	DEVICE_LOG_READ = 4096,
	DEVICE_LOG_REST_MS = 10,
	DEVICE_LOG_BURST = 200,	 /* lines at once */
	DEVICE_LOG_REFILL_MS = 500, /* then one every so often */
};

struct device_logs;

struct device_log {
	struct device_logs *all; /* NULL: the device has none */
	const char *name;	 /* borrowed */
	int out;		 /* for the process; -1 when all that need it have it */
	struct watch watch;	 /* of our end */
	struct device_log *next_resting;
	bool is_watched, is_resting, is_skipping;
	uint64_t filled_ns;
	unsigned allowance, suppressed;
	size_t used;
	char text[LOG_TEXT_MAX]; /* the line that has not ended yet */
};

/* What they have in common: who is not read from for the moment. */
struct device_logs {
	struct loop *loop;
	struct timer rest;
	struct device_log *resting;
};

/* 0 or -errno. */
int device_logs_init(struct device_logs *all, struct loop *l) MUST_CHECK;

/* Those of the devices have ended before. */
void device_logs_fini(struct device_logs *all);

/* A pipe; not read from before device_log_start().  name is kept, not copied. */
int device_log_init(struct device_log *log, struct device_logs *all, const char *name,
		    struct err *e) MUST_CHECK;

/* Closes both ends; tells how many lines were not shown.  Takes NULL, and what was only zeroed. */
void device_log_fini(struct device_log *log);

/* Nobody needs the end that processes write to any more; lines are read by the loop. */
int device_log_start(struct device_log *log) MUST_CHECK;

/* Puts out all that is there now, as when the process has ended; a last line needs no end. */
void device_log_drain(struct device_log *log);
