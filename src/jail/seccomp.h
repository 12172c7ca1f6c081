/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * seccomp.h - lists of system calls, and the filters made of them
 *
 * A list is an array of struct call that lies beside the code which makes the calls.  Several rows
 * with one name are alternatives; the conditions inside a row must all hold.  Names are resolved
 * for the architecture the filter is for; those it does not have are skipped, so one list serves
 * all. What no row allows kills the process (SIGSYS), after the number was told to whoever asked
 * for it, see jail/jail.h.
 */
#pragma once

#include "base/attr.h"
#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>

enum call_test {
	CALL_TEST_NONE,
	CALL_TEST_EQ, /* argument == value, all 64 bits */
	CALL_TEST_NE, /* these five are unsigned */
	CALL_TEST_LT,
	CALL_TEST_LE,
	CALL_TEST_GT,
	CALL_TEST_GE,
	CALL_TEST_ANY, /* argument & value, any bit */
	CALL_TEST_IN,  /* no bit of the argument outside value */
};

struct call_cond {
	uint64_t value;
	uint8_t arg;  /* 0 to 5 */
	uint8_t test; /* enum call_test */
};

enum { CALL_CONDS_MAX = 2 };

struct call {
	const char *name; /* NULL ends the list */
	struct call_cond cond[CALL_CONDS_MAX];
	uint16_t error; /* not 0: where no row allows the call, it fails with this errno */
};

#define CALL(call_name)                                                                            \
	{                                                                                          \
		.name = #call_name                                                                 \
	}
#define CALL_ARG(call_name, n, v)     CALL_IF(call_name, n, CALL_TEST_EQ, v)
#define CALL_BITS(call_name, n, mask) CALL_IF(call_name, n, CALL_TEST_IN, mask)
#define CALL_IF(call_name, n, t, v)                                                                \
	{                                                                                          \
		.name = #call_name, .cond = { {v, n, t} }                                          \
	}
#define CALL_IF2(call_name, n, t, v, m, u, w)                                                      \
	{                                                                                          \
		.name = #call_name, .cond = { {v, n, t}, {w, m, u} }                               \
	}
#define CALL_ERROR(call_name, errnum)                                                              \
	{                                                                                          \
		.name = #call_name, .error = (errnum)                                              \
	}
#define CALL_END                                                                                   \
	{                                                                                          \
		.name = NULL                                                                       \
	}

/* What every device process needs to serve: its loop, its sockets, its end. */
extern const struct call seccomp_common[];

struct rules;  /* jail/rules.h */
struct filter; /* jail/filter.h */

/*
 * A filter of exactly these rows, for seccomp_thread_load(); compiled before the process is jailed,
 * so that its threads need no memory.  free() it.  NULL with *e set.
 */
struct filter *seccomp_prepare(const struct call *calls, struct err *e) MUST_CHECK;

/*
 * Adds the filter to the calling thread, on top of those that are there; a call must pass them all.
 * For vCPU threads, after jail_enter() put the process's filter in place.  no_new_privs must be
 * set.  The filter may be loaded by any number of threads.  0 or -errno.
 */
int seccomp_thread_load(const struct filter *f, struct err *e) MUST_CHECK;

/* Compiles rules for this machine; the caller frees them. NULL with *e set. */
struct filter *seccomp_compile(struct rules *r, struct err *e) MUST_CHECK;

/*
 * Loads for the calling thread or for all, if no other has a filter that this one lacks.  The
 * filter is freed before; an uncommonly long one is kept, since afterwards freeing may be a call it
 * refuses.
 */
int seccomp_load_take(struct filter *f, bool all_threads, struct err *e) MUST_CHECK;

/*
 * From now on a refused call is told before the process dies: its number as an int32_t to fd or, if
 * fd is -1, a line with its name on stderr.  To an fd, so is that the process aborts.  A handler of
 * SIGSYS that was there is called afterwards; what the filter does not allow it, ends the process.
 */
enum { SECCOMP_REPORT_ABORTED = -2 };

int seccomp_report_to(const char *name, int fd, struct err *e) MUST_CHECK;
