/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * recorder.h - reads the flight recorder (base/trace.h): all rings of a VM, merged by time
 *
 * Rings of main and of vCPU threads are memory that main shares with the process that outlives it
 * (jail/respawn.h); those of devices are shared with their processes, which are presumed captured.
 *
 *  F1  A ring yields at most TRACE_RECORDS records, in the order in which they stand, whatever is
 *      in it.  Records of times before the recorder began or still to come are left out and
 *      counted.
 *  F2  Each field is copied before it is looked at.  A record that may have been written meanwhile
 *      is skipped.
 *  F3  What is printed of a record are constant words and numbers; a device's ring can't hold
 *      records of main.
 *
 * One walk at a time.
 */
#pragma once

#include "base/attr.h"
#include "base/err.h"
#include "base/json.h"
#include "base/log.h"
#include "base/trace.h"

#include <stdbool.h>
#include <stdint.h>

enum {
	RECORDER_SOURCES = 1 + 255 + 64, /* main, vCPUs, devices */
	RECORDER_TEXT_MAX = 160,
	RECORDER_LAST_MAX = 500, /* events of one reply; they fit it */
	RECORDER_WHY_MAX = 320,
};

/* How the VM does, for whoever finds main gone. */
enum recorder_state { RECORDER_BUILDS, RECORDER_RUNS, RECORDER_ENDED_WELL, RECORDER_ENDED_BADLY };

struct recorder_head {
	uint64_t start_ticks, start_ns; /* the same moment by both clocks */
	uint32_t state;			/* enum recorder_state */
	int32_t exit_code;
	char why[RECORDER_WHY_MAX];
};

/* Records [at, end) of a ring are still to come; the next of them is copied. */
struct recorder_source {
	char name[LOG_NAME_MAX];
	const struct trace_ring *ring; /* NULL: none */
	bool is_device, has_next;
	uint64_t at, end;
	struct trace_record next;
};

struct recorder {
	void *memory; /* NULL: there is no recorder */
	size_t bytes;
	struct recorder_head *head;
	struct trace_ring *rings; /* of main, then of vCPUs */
	unsigned nsources, first_device;
	uint64_t now_ticks, now_ns; /* when the walk began */
	uint64_t left_out;	    /* records, in the walk */
	struct recorder_source sources[RECORDER_SOURCES];
};

/* One record, in words. */
struct recorder_event {
	uint64_t time_ns;   /* since the recorder began */
	const char *source; /* "main", "vcpu0", "block0" */
	char text[RECORDER_TEXT_MAX];
};

/* *r must be zeroed.  The calling thread becomes main. 0 or -errno. */
int recorder_init(struct recorder *r, unsigned ncpus, struct err *e) MUST_CHECK;
void recorder_fini(struct recorder *r);

struct trace_ring *recorder_cpu_ring(struct recorder *r, unsigned cpu);

/* The next device; ring is borrowed, NULL for one that has none. */
void recorder_device_add(struct recorder *r, const char *name, const struct trace_ring *ring);

void recorder_state_set(struct recorder *r, enum recorder_state state, int exit_code,
			const char *why);

/* Begins a walk over the last events, as many as last_max says; then each, the oldest first. */
void recorder_walk(struct recorder *r, uint64_t last_max);
bool recorder_next(struct recorder *r, struct recorder_event *ret) MUST_CHECK;

/* Adds members to the open object: "events", and how many records were "left_out". */
void recorder_reply(struct recorder *r, unsigned last_max, struct json *reply);

/* Writes the end of the VM, and then all there is. 0 or -errno. */
int recorder_write(struct recorder *r, int fd) MUST_CHECK;

/* recorder_text.c: a record in words; devices are those of r. */
void recorder_text(const struct recorder *r, const struct trace_record *record, bool is_device,
		   char text[RECORDER_TEXT_MAX]);
