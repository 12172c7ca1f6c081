/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * trace.h - the flight recorder: what a thread did last, always on
 *
 * A thread that takes part has a ring of fixed-size records, in memory that others read: also when
 * the thread, or its whole process, is gone.  Writing is a time stamp and a store, without locks or
 * system calls; where no ring was set it is nothing.  vm/recorder.h reads, merges and prints.
 *
 *  T1  One thread writes a ring: the one that called trace_begin() for it.  Others can write to it
 *      only if they share the memory, as a captured device process does with its own.
 *  T2  next counts the records ever written and is stored after the record, so that a reader who
 *      looks at it before and after knows which he may have seen half written.
 *  T3  What reads a ring believes nothing of it: record n is at n modulo TRACE_RECORDS whatever
 *      next says, and any value may stand in any field.
 *
 * A time stamp takes most of what a record costs, so what comes in numbers (requests) has that of
 * the record before it.
 */
#pragma once

#include "base/attr.h"

#include <assert.h>
#include <stddef.h>
#include <stdint.h>

/* What happened; the words are in vm/recorder_text.c. */
enum trace_kind {
	TRACE_NONE,

	/* of vCPUs and main */
	TRACE_EXIT,	 /* what: KVM's reason; n: trace_access(); a: address; b: value */
	TRACE_LINE,	 /* n: interrupt line; a: its level */
	TRACE_MESSAGE,	 /* a message-signalled interrupt; a: address; b: data */
	TRACE_COMMAND,	 /* of the control socket; a and b: its name's first 16 letters */
	TRACE_VM,	 /* what: enum trace_vm; a: the exit code of TRACE_VM_ENDS */
	TRACE_DEVICE,	 /* what: enum trace_device; n: which device; a: exit code or signal */

	/* of devices; n: the queue */
	TRACE_KICK,
	TRACE_TAKE,	 /* a request; a: bytes to read, b: to write */
	TRACE_CALL,	 /* an interrupt; a: requests given back since the last */
	TRACE_BROKEN,
	TRACE_REQUEST,	 /* what: of vhost-user; a: its first 8 bytes */
	TRACE_START,	 /* the device */
	TRACE_STOP,
	TRACE_KINDS,
	TRACE_OF_DEVICES = TRACE_KICK, /* from here on */
};

enum trace_vm { TRACE_VM_RUNS, TRACE_VM_SUSPENDED, TRACE_VM_RESUMED, TRACE_VM_ENDS };
enum trace_device {
	TRACE_DEVICE_LOST,
	TRACE_DEVICE_EXITED,
	TRACE_DEVICE_KILLED,
	TRACE_DEVICE_AGAIN,
};

struct trace_record {
	uint64_t time; /* of trace_now() */
	uint16_t kind, what;
	uint32_t n;
	uint64_t a, b;
};
static_assert(sizeof(struct trace_record) == 32, "two a cache line");

enum { TRACE_RECORDS = 511 };

struct trace_ring {
	uint64_t next;
	uint64_t reserved[3];
	struct trace_record records[TRACE_RECORDS];
};
static_assert(sizeof(struct trace_ring) == 16384, "whole pages");

/* The n of TRACE_EXIT: so many accesses of so many bytes, of memory or of ports. */
enum { TRACE_ACCESS_WRITES = 1 << 8, TRACE_ACCESS_HAS_VALUE = 1 << 9 };

static inline uint32_t trace_access(unsigned size, uint32_t flags, uint32_t count)
{
	return (size & 0xff) | flags | (count < 0xffff ? count : 0xffff) << 16;
}

/* From now on the calling thread writes there, behind what is there already.  NULL: nowhere. */
void trace_begin(struct trace_ring *ring);

/* Adds a record; returns where, for a value that is known later, or NULL. */
struct trace_record *trace(enum trace_kind kind, unsigned what, uint32_t n, uint64_t a, uint64_t b);

/* Adds a value to a record of the calling thread, and flags to its n that say so. */
static inline void trace_value(struct trace_record *record, uint32_t flags, uint64_t b)
{
	__atomic_store_n(&record->b, b, __ATOMIC_RELAXED);
	__atomic_store_n(&record->n, record->n | flags, __ATOMIC_RELEASE);
}

/* As trace(), at the time of the record before. */
void trace_more(enum trace_kind kind, unsigned what, uint32_t n, uint64_t a, uint64_t b);

/* What the processor counts: the same on all of them, at one pace; ticks_ARCHITECTURE.c. */
uint64_t trace_now(void);
